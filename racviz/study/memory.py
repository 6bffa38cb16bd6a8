"""A study's memory: results that related studies can reuse, beside those that the store keeps on disk."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from racviz.exceptions import RacvizError

MODEL = ("model", "thinking", "trust_remote_code", "device", "dtype")
PROBLEMS = ("domain", "calibration_problems")
TRACED = (
    *MODEL,
    *PROBLEMS,
    "trace_source",
    "calibration_tokens",
    "t_max",
    "temperature",
    "top_p",
    "seed",
    "backend",
    "batch_size",
    "sequence_length",
)
DEPENDS = {
    "dense": MODEL,
    "tracer": (*MODEL, "trace_source"),
    "test": ("domain", "test_problems", "problems"),
    "shown": ("domain", "test_problems", "problems"),
    "traces": TRACED,
    "calibration": (*TRACED, "generic_text"),
    "moments": (*TRACED, "generic_text", "scope", "thirds"),
}
"""Parameters that the result of each step depends on."""

HEAVY = ("dense", "tracer", "moments")
"""Steps with results so large that memory holds one of them at a time."""

Place = tuple[str, str, tuple]
"""Step, source ("" where a step has none), and the values of the parameters that the result depends on."""


@dataclass
class Memory:
    """Results of one study, and the book of its run."""

    made: dict[Place, Any] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """Kind by key of the artefacts that were used, for the manifest."""
    tables: list[Any] = field(default_factory=list)
    """Tables that follow each other in results.csv."""
    variant: dict[str, str] = field(default_factory=dict)
    """Parameters in which the study differs from the one that it is a variant of, in words."""
    varied: dict[str, list] = field(default_factory=dict)
    """Values of the parameters that were varied, for the manifest."""
    cached_only: bool = False
    """True where nothing may be made that is not in the store."""
    others: Any = None
    """The processes that make other results of the same study meanwhile."""

    def once(self, study: Any, step: str, source: str, make: Callable[[], Any]) -> Any:
        """The result of a step, made where it is asked for first."""
        place = _place(study, step, source)
        if place not in self.made:
            self.made[place] = make()
        return self.made[place]

    def put(self, study: Any, step: str, source: str, result: Any) -> None:
        """Take a result that was made elsewhere."""
        self.made[_place(study, step, source)] = result

    def forget(self, study: Any, step: str, source: str) -> None:
        """Forget a result, which is made again where it is asked for again."""
        self.made.pop(_place(study, step, source), None)


def _place(study: Any, step: str, source: str) -> Place:
    return step, source, tuple(getattr(study, name) for name in DEPENDS[step])


def take_from(study: Any, other: Any) -> None:
    """Take over the results of `other` that are the same for `study`: model, traces, calibration sets, moments."""
    for place, result in other.memory.made.items():
        if place == _place(study, *place[:2]):
            study.memory.made.setdefault(place, result)
    study.memory.keys.update(other.memory.keys)


def hand_over(study: Any, following: Any) -> None:
    """`following` takes the results that it can use, and `study` forgets the heavy ones."""
    if study is following:
        return
    take_from(following, study)
    for place in [place for place in study.memory.made if place[0] in HEAVY]:
        del study.memory.made[place]


def show_keys(studies: Sequence[Any]) -> None:
    """Print keys of every set of test problems, each once, before traces are made."""
    before: list = []
    for study in studies:
        for other in before:
            take_from(study, other)
        with contextlib.suppress(RacvizError):  # which its cells are going to say
            study.show_keys()
            before.append(study)
