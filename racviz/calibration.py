"""What calibrates: generic text, prompts, or prompts with the model's own traces, at an exact number of tokens.

Sequences hold no padding; each token carries its phase (0 prompt, 1 decode; generic text is 0) and a weight.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import DataError, NumericalError, ParameterError, check
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.models.conformance import check_tokens
from racviz.problems import Problem
from racviz.sources import DECODE, SOURCES, Material
from racviz.store.kinds import CALIBRATION, CalibrationLabel
from racviz.store.schemas import wrong
from racviz.traces import Traces, read_parquet, write_parquet


@dataclass(frozen=True)
class CalibrationSet:
    """Token ids, phases and weights of the calibration sequences; three lists of equally long arrays."""

    source: str
    sequences: list[np.ndarray] = field(repr=False)
    phases: list[np.ndarray] = field(repr=False)
    weights: list[np.ndarray] = field(repr=False)
    problems: tuple[str, ...] = field(repr=False, default=())
    """Content hashes of the problems that calibrate."""
    label: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for ids, phases, weights in zip(self.sequences, self.phases, self.weights, strict=True):
            if not len(ids) == len(phases) == len(weights):
                raise ParameterError("sequences, phases and weights must be of the same lengths")
            if not np.isfinite(weights).all() or (weights < 0).any():
                raise NumericalError("weights must be finite and not negative")
        if not self.tokens:
            raise DataError(f"the calibration set {self.source!r} is empty.")

    @property
    def tokens(self) -> int:
        return sum(map(len, self.sequences))

    @property
    def decode_tokens(self) -> int:
        return int(sum((phases == DECODE).sum() for phases in self.phases))

    @property
    def fingerprint(self) -> str:
        lengths = [len(ids) for ids in self.sequences]
        digest = hashlib.sha256(
            json.dumps([self.source, lengths, sorted(self.problems)]).encode()
        )  # the problems: what the guard reads
        for arrays in (self.sequences, self.phases, self.weights):
            digest.update(np.concatenate(arrays).tobytes())
        return digest.hexdigest()[:24]

    def to_frame(self):
        """A row a sequence: token_ids, phases, weights."""
        import pandas as pd

        return pd.DataFrame({"token_ids": self.sequences, "phases": self.phases, "weights": self.weights})

    def save(self, path: str | Path) -> None:
        write_parquet(
            Path(path), self.to_frame(), {"source": self.source, "problems": list(self.problems), "label": self.label}
        )

    @classmethod
    def load(cls, path: str | Path) -> "CalibrationSet":
        frame, meta = read_parquet(Path(path), CALIBRATION, CalibrationLabel)
        for row, lists in enumerate(zip(frame["token_ids"], frame["phases"], frame["weights"], strict=True), 1):
            if len({len(each) for each in lists}) > 1:
                raise wrong(path, row, "phases and weights", [len(each) for each in lists], "as long as token_ids")
        return cls(
            meta["source"], *([*frame[c]] for c in ("token_ids", "phases", "weights")), tuple(meta["problems"]), meta["label"]
        )


def calibration_set(
    source: str, loaded: LoadedModel, *, traces: Traces | None = None, problems: Sequence[Problem] | None = None,
    texts: Iterable[str] | None = None, tokens: int = 32_768, sequence_length: int = 2048, seed: int = 0, allow_fewer: bool = False,
    packed: bool = False,
) -> CalibrationSet:  # fmt: skip
    """Exactly `tokens` calibration tokens from one source.

    source: `generic` (from `texts`, or the packaged documentation text), `prompt` (from `problems`), `rac` (prompts with
    their own `traces`, the paper's method), `prompt-same-problems` (only the prompts of `traces`). Sequences come in an
    order drawn by `seed`; each is cut at `sequence_length` and the last where the count is reached.
    packed: generic texts, in an order drawn by `seed` (a stream: as it comes), fill whole windows of `sequence_length` one after the
    other, an end-of-sequence token between two texts; a stream is read only as far as that takes. Else each text begins a window.

    Raises DataError where the source has fewer tokens (says how many; `allow_fewer=True` goes on, labelled; tokens are
    never repeated), or where the traces were made with another tokenizer.
    """
    kind = SOURCES.named(source)
    check(not isinstance(texts, str), "texts", texts, "a list (or another iterable) of texts")
    check(isinstance(tokens, int) and tokens >= 1, "tokens", tokens, "an integer >= 1")
    check(isinstance(seed, int) and seed >= 0, "seed", seed, "an integer >= 0")
    check(1 <= sequence_length, "sequence_length", sequence_length, "an integer >= 1")
    sequence_length = min(sequence_length, loaded.context)
    material = Material(loaded, sequence_length, tokens, seed, texts, packed, problems, traces)
    _check_material(source, kind.needs, material)
    rows = list(kind.rows(material))
    order = np.random.default_rng(seed).permutation(len(rows))
    sequences, phases, used, left = [], [], {}, tokens
    for k in order:
        if left <= 0:
            break
        ids, phase, problem = rows[k]
        check_tokens(loaded, ids, f"a sequence of the source {source!r}")
        size = min(len(ids), sequence_length, left)
        sequences.append(np.asarray(ids[:size], dtype=np.int32))
        phases.append(np.asarray(phase[:size], dtype=np.uint8))
        used |= {problem: None} if problem else {}
        left -= size
    got = tokens - max(left, 0)
    if left > 0 and not allow_fewer:
        raise DataError(
            f"the source {source!r} has {got} calibration tokens; tokens={tokens} asks for more. Give more {SUPPLY[kind.needs]}, "
            f"lower tokens, or pass allow_fewer=True to go on with {got}."
        )
    label = {
        "source": source,
        "tokens": got,
        "asked": tokens,
        "sequences": len(sequences),
        "seed": seed,
        "tokenizer": loaded.name,
        "vocabulary": loaded.vocabulary,
    }
    if kind.needs == "traces":
        own = traces.model_fingerprint == loaded.fingerprint
        label |= {"trace_source": traces.model, "on_policy": own, "t_max": traces.sampling.get("max_new_tokens")}
    if kind.needs == "texts":
        label |= {"text": "packaged documentation text" if texts is None else "given texts", "packed": packed}
    return CalibrationSet(source, sequences, phases, [np.ones(len(s), dtype=np.float32) for s in sequences], tuple(used), label)


SUPPLY = {
    "texts": "texts",
    "problems": "problems",
    "traces": "traces (more problems, samples, or a larger t_max)",
}
HAVE = {
    "problems": "problems=…, for example load_problems('arithmetic', split='calibration')",
    "traces": "traces=…, from generate_traces or Traces.load",
}


def _check_material(source: str, needs: str, material: Material) -> None:
    """Raise an error where the material that a source needs is missing, or was made with another tokenizer."""
    if needs in HAVE and getattr(material, needs) is None:
        raise ParameterError(f"source={source!r} needs {HAVE[needs]}")
    traces, loaded = material.traces, material.loaded
    if needs == "traces" and traces.tokenizer != tokenizer_fingerprint(loaded.tokenizer):
        raise DataError(
            f"the traces were made with another tokenizer (by {traces.model!r}) than that of {loaded.name!r}: their token "
            "ids mean other text here. Generate traces with this model, or with one that shares its tokenizer."
        )
