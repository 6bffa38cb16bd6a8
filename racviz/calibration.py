"""Calibration sets of generic text, of prompts, or of prompts with the model's own traces, at an exact number of tokens.

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
from racviz.models.limits import check_tokens
from racviz.problems import Problem
from racviz.sources import DECODE, SOURCES, Material
from racviz.store.kinds import CALIBRATION, CalibrationLabel
from racviz.store.parquet import read_parquet, write_parquet
from racviz.store.schemas import wrong
from racviz.traces import Traces


@dataclass(frozen=True)
class CalibrationSet:
    """Token ids, phases and weights of the calibration sequences.

    Attributes
    ----------
    source : str
        `generic`, `prompt`, `rac`, `prompt-same-problems`, or a name of yours.
    sequences : list of numpy.ndarray, int32 `[tokens]`
        Token ids, without padding.
    phases : list of numpy.ndarray, uint8 `[tokens]`
        0 for prompt tokens, 1 for decode tokens.
    weights : list of numpy.ndarray, float `[tokens]`
        Weight of each token in the second moments; finite, not negative.
    problems : tuple of str
        Content hashes of the calibration problems.
    label : dict
        Provenance.

    Raises
    ------
    ParameterError
        For lists of different lengths.
    NumericalError
        For weights that are negative or not finite.
    DataError
        For an empty set.

    Examples
    --------
    >>> import numpy as np
    >>> import racviz as rv
    >>> ids = np.arange(10, dtype=np.int32)
    >>> mine = rv.CalibrationSet("mine", [ids], [np.zeros(10, np.uint8)], [np.ones(10, np.float32)])
    >>> mine.tokens, mine.decode_tokens
    (10, 0)
    """

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
        sequences, phases, weights = ([*frame[column]] for column in ("token_ids", "phases", "weights"))
        return cls(meta["source"], sequences, phases, weights, tuple(meta["problems"]), meta["label"])


def calibration_set(
    source: str, loaded: LoadedModel, *, traces: Traces | None = None, problems: Sequence[Problem] | None = None,
    texts: Iterable[str] | None = None, tokens: int = 32_768, sequence_length: int = 2048, seed: int = 0, allow_fewer: bool = False,
    packed: bool = False,
) -> CalibrationSet:  # fmt: skip
    """Draw exactly `tokens` calibration tokens from one source.

    Sequences come in an order drawn by `seed`. Each is cut at `sequence_length`, and the last one
    where the count is reached.

    Parameters
    ----------
    source : str
        `generic` (from `texts`), `prompt` (from `problems`), `rac` (prompts with their own
        `traces`, the paper's method), or `prompt-same-problems` (only the prompts of `traces`).
    loaded : LoadedModel
        The model to prune; its tokenizer and chat template are used.
    traces : Traces, optional
        For `rac` and `prompt-same-problems`.
    problems : sequence of Problem, optional
        For `prompt`.
    texts : iterable of str, optional
        For `generic`; by default the packaged documentation text.
    tokens : int, default 32768
        Tokens in the set, without padding.
    sequence_length : int, default 2048
        Longest sequence, in tokens.
    seed : int, default 0
        Seed of the order.
    allow_fewer : bool, default False
        Accept fewer tokens than asked for; the label says so.
    packed : bool, default False
        Fill whole windows with generic texts, an end-of-sequence token between two. Else each text
        begins a window. A stream is read only as far as needed.

    Returns
    -------
    CalibrationSet
        With phases and provenance.

    Raises
    ------
    DataError
        For a source with fewer tokens (says how many; tokens are never repeated), or traces of
        another tokenizer.
    ParameterError
        For an unknown source or a setting outside of its range.

    References
    ----------
    Reasoning-Aware Compression, arXiv 2509.12464, Algorithm 1.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> problems = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=problems, tokens=1024)
    >>> prompt.tokens, prompt.decode_tokens
    (1024, 0)
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
    sequences: list[np.ndarray] = []
    phases: list[np.ndarray] = []
    used: dict[str, None] = {}
    left = tokens
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
    if kind.needs == "traces" and traces is not None:
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
