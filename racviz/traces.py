"""Traces: prompt token ids and the very output token ids that a model sampled; never re-tokenised text."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError, check
from racviz.generation import Opened, Request, Sampling
from racviz.generation.batches import complete
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.printable import placeless
from racviz.problems import Problem, ProblemSet
from racviz.sources import DECODE, PROMPT
from racviz.store import Store
from racviz.store.kinds import TRACES, TracesLabel
from racviz.store.parquet import read_parquet, write_parquet

COLUMNS = ("problem_id", "sample", "prompt_ids", "output_ids", "finish_reason", "content_hash")


@dataclass(frozen=True)
class Trace:
    """One rollout: the sequence z is prompt_ids + output_ids, and its boundary T_in is len(prompt_ids).

    Attributes
    ----------
    problem_id : str
        The problem.
    sample : int
        Number of the sample, from 0.
    prompt_ids : tuple of int
        Token ids of the prompt, T_in of them.
    output_ids : tuple of int
        The sampled token ids, never re-tokenised text.
    finish_reason : str
        `stop`, `length`, or `unknown` for imported rollouts.
    content_hash : str, default ""
        Content hash of the problem; the overlap guard reads it.

    Examples
    --------
    >>> import racviz as rv
    >>> trace = rv.Trace("mine-1", 0, prompt_ids=(5, 6, 7), output_ids=(8, 9), finish_reason="stop")
    >>> trace.ids, trace.boundary, trace.phases
    ([5, 6, 7, 8, 9], 3, [0, 0, 0, 1, 1])
    """

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    finish_reason: str
    content_hash: str = ""
    """Content hash of the problem, so that a model calibrated on the trace is not judged on it."""

    @property
    def ids(self) -> list[int]:
        """The whole sequence z, prompt then output."""
        return [*self.prompt_ids, *self.output_ids]

    @property
    def boundary(self) -> int:
        """T_in, the number of prompt tokens: the position of the first output token."""
        return len(self.prompt_ids)

    @property
    def phases(self) -> list[int]:
        """The phase of each token of `ids`: PROMPT, then DECODE."""
        return [PROMPT] * len(self.prompt_ids) + [DECODE] * len(self.output_ids)

    def __len__(self) -> int:
        """Tokens of prompt and output together."""
        return len(self.prompt_ids) + len(self.output_ids)


@dataclass(frozen=True)
class Traces(Sequence[Trace]):
    """Rollouts of one model, with the fingerprint of the tokenizer of their ids. A sequence of `Trace`.

    Attributes
    ----------
    rows : tuple of Trace
        The rollouts.
    model, model_fingerprint : str
        The model that made them.
    tokenizer : str
        The tokenizer's fingerprint.
    sampling : dict
        Settings of sampling, as far as they are known.
    summary : ImportSummary or None
        Counts of the import, for imported traces.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> problems = rv.load_problems("arithmetic", split="calibration", limit=2)
    >>> traces = rv.generate_traces(dense, problems, rv.Sampling(max_new_tokens=8), progress=False)
    >>> traces.save("traces.parquet")
    >>> rv.Traces.load("traces.parquet").fingerprint == traces.fingerprint
    True
    """

    rows: tuple[Trace, ...] = field(repr=False)
    model: str
    model_fingerprint: str
    tokenizer: str
    """The tokenizer's fingerprint."""
    sampling: dict[str, Any] = field(default_factory=dict)
    summary: Any = field(default=None, compare=False, repr=False)
    """The `ImportSummary` of traces that were imported; not kept in files."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]

    @property
    def fingerprint(self) -> str:
        text = json.dumps(
            [self.tokenizer, [[t.problem_id, t.sample, t.prompt_ids, t.output_ids, t.content_hash] for t in self.rows]]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def to_frame(self):
        """A row a trace, columns as in the parquet file plus model and tokenizer."""
        import pandas as pd

        rows = [
            {k: getattr(t, k) for k in COLUMNS} | {"model": placeless(self.model), "tokenizer": self.tokenizer}
            for t in self.rows
        ]
        return pd.DataFrame(rows)

    def save(self, path: str | Path) -> None:
        meta = {k: getattr(self, k) for k in ("model", "model_fingerprint", "tokenizer", "sampling")}
        write_parquet(Path(path), self.to_frame(), meta)

    @classmethod
    def load(cls, path: str | Path) -> "Traces":
        """Read a traces file. Raises DataError that names the file for anything else."""
        frame, meta = read_parquet(Path(path), TRACES, TracesLabel)
        rows = tuple(
            Trace(
                r.problem_id,
                int(r.sample),
                tuple(map(int, r.prompt_ids)),
                tuple(map(int, r.output_ids)),
                r.finish_reason,
                getattr(r, "content_hash", ""),
            )
            for r in frame.itertuples()
        )
        return cls(rows, meta.get("model", ""), meta.get("model_fingerprint", ""), meta["tokenizer"], meta.get("sampling", {}))


def generate_traces(
    loaded: LoadedModel, problems: Sequence[Problem], sampling: Sampling = Sampling(), *, samples: int = 1,
    backend: str | Opened = "hf", batch_size: int = 64, store: Store | None = None, progress: bool = True,
) -> Traces:  # fmt: skip
    """Roll the model out on each problem, `samples` times.

    Sampled traces calibrate: on-policy if `loaded` is the model to prune. Greedy ones on test
    problems (`Sampling(temperature=0)`) are the fixed sequences of the paper's Figure 2.

    Parameters
    ----------
    loaded : LoadedModel
        The model that writes.
    problems : sequence of Problem
        Problems with distinct ids.
    sampling : Sampling, default Sampling()
        Cap on new tokens, temperature, top_p, seed.
    samples : int, default 1
        Rollouts a problem.
    backend : str, default "hf"
        `hf`, `vllm` or the address of a vLLM server, with settings after a question mark.
    batch_size : int, default 64
        Sequences generated at a time.
    store : Store, optional
        Cache of finished batches, from which an interrupted run resumes.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    Traces
        `samples` a problem, in the order of the problems.

    Raises
    ------
    DataError
        For no problems, ids that are not distinct, or a problem longer than the model's context.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> problems = rv.load_problems("arithmetic", split="calibration", limit=2)
    >>> sampling = rv.Sampling(max_new_tokens=16, temperature=0.6, seed=0)
    >>> traces = rv.generate_traces(dense, problems, sampling, progress=False)
    >>> len(traces), len(traces[0].output_ids)
    (2, 16)
    """
    check(isinstance(samples, int) and samples >= 1, "samples", samples, "an integer >= 1")
    problems = problems if isinstance(problems, ProblemSet) else ProblemSet(tuple(problems), "problems", "given")
    prompts = {problem.id: tuple(loaded.render(problem.text)) for problem in problems}
    for problem_id, ids in prompts.items():
        if len(ids) + sampling.max_new_tokens > loaded.reach:
            room = loaded.reach - len(ids)
            remedy = (
                f"lower max_new_tokens to {room} or less"
                if room > 0
                else "leave the problem out or take a model with a longer context"
            )
            raise DataError(
                f"problem {problem_id!r} has {len(ids)} prompt tokens; with max_new_tokens={sampling.max_new_tokens} that "
                f"exceeds {loaded.limit}: {remedy}."
            )
    pairs = [(problem, k) for problem in problems for k in range(samples)]
    requests = [Request(prompts[problem.id], problem.id, k) for problem, k in pairs]
    done = complete(loaded, requests, sampling, backend, batch_size, store, progress)
    rows = tuple(
        Trace(p.id, k, request.prompt_ids, c.output_ids, c.finish_reason, p.content_hash)
        for (p, k), request, c in zip(pairs, requests, done, strict=True)
    )
    return Traces(rows, loaded.name, loaded.fingerprint, tokenizer_fingerprint(loaded.tokenizer), asdict(sampling))
