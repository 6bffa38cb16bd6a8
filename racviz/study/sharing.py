"""What one study has made and another may take: in memory, beside what the store keeps on disk."""

import contextlib
from collections.abc import Sequence

from racviz.exceptions import RacvizError

MODEL = ("model", "thinking", "trust_remote_code", "device", "dtype")
PROBLEMS = ("domain", "calibration_problems")
TRACED = (
    *MODEL, *PROBLEMS, "trace_source", "calibration_tokens", "t_max", "temperature", "top_p", "seed", "backend", "batch_size",
    "sequence_length",
)  # fmt: skip
DEPENDS = {
    "dense": MODEL,
    "tracer": (*MODEL, "trace_source"),
    "test": ("domain", "test_problems", "problems"),
    "shown": ("domain", "test_problems", "problems"),
    "traces": TRACED,
    "calibration": (*TRACED, "generic_text"),
    "moments": (*TRACED, "generic_text", "scope", "thirds"),
}
"""What each thing in a study's memory is made of, by the first word of its name."""


HEAVY = ("dense", "tracer", "moments")
"""What takes so much memory that it is held once."""


def take_from(study, other) -> None:
    """Take over from `other` what is the same for `study`: the model, traces, calibration sets, their moments and factors."""
    for name, value in other._memo.items():
        needed = DEPENDS.get(name.partition(" ")[0])
        if needed is not None and all(getattr(study, each) == getattr(other, each) for each in needed):
            study._memo.setdefault(name, value)
    study._memo.setdefault("keys", {}).update(other._memo.get("keys", {}))


def hand_over(study, following) -> None:
    """`following` takes what it can use, and `study` forgets what is heavy; it is made again where it is asked for again."""
    if study is following:
        return
    take_from(following, study)
    for name in [name for name in study._memo if name.partition(" ")[0] in HEAVY]:
        del study._memo[name]


def show_keys(studies: Sequence) -> None:
    """Print keys of every set of test problems, each once, before traces are made."""
    shown: list = []
    for study in studies:
        for other in shown:
            take_from(study, other)
        with contextlib.suppress(RacvizError):  # which its cells are going to say
            study.show_keys()
            shown.append(study)
