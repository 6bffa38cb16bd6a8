"""Traces: prompt token ids and the very output token ids that a model sampled; never re-tokenised text."""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from racviz.exceptions import DamagedArtefact, DataError, RacvizError, check
from racviz.generation import Completion, Opened, Request, Sampling, backend_key, generate, opened
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.models.conformance import check_tokens
from racviz.printable import placeless
from racviz.problems import Problem, ProblemSet
from racviz.progress import progress_bar
from racviz.store import Store, atomic, explained, is_regular, key_of, regular_file
from racviz.store.drafts import remove
from racviz.store.kinds import COMPLETIONS, TRACES, JournalRow, TracesLabel
from racviz.store.locks import share
from racviz.store.schemas import (
    ANY_COLUMNS,
    Columns,
    check_table,
    checked,
    checked_label,
    loaded_json,
    readable_columns,
    shortened,
)

if TYPE_CHECKING:
    from racviz.interchange.summary import ImportSummary

COLUMNS = ("problem_id", "sample", "prompt_ids", "output_ids", "finish_reason", "content_hash")


@dataclass(frozen=True)
class Trace:
    """One rollout: z = prompt_ids + output_ids; the boundary T_in is len(prompt_ids)."""

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    finish_reason: str
    content_hash: str = ""
    """Of the problem, so that a model calibrated on the trace is not judged on the problem."""


@dataclass(frozen=True)
class Traces(Sequence[Trace]):
    """Rollouts of one model, with the tokenizer that their ids belong to."""

    rows: tuple[Trace, ...] = field(repr=False)
    model: str
    model_fingerprint: str
    tokenizer: str
    """The tokenizer's fingerprint."""
    sampling: dict[str, Any] = field(default_factory=dict)
    summary: "ImportSummary | None" = field(default=None, compare=False, repr=False)
    """Counts of the import that made them; not kept in files."""

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


def write_parquet(path: Path, frame, meta: dict[str, Any]) -> None:
    """A frame with its labels in the file's own metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"racviz": json.dumps(placeless(meta)).encode()})
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_parquet(path: Path, columns: Columns = ANY_COLUMNS, label: Any = dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A frame and its labels. Raises DataError for a file that is missing, no parquet, or not what the schemas of its columns and its
    label say."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(regular_file(path))
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not a readable parquet file, or was cut off: {shortened(str(error))}") from error
    check_table(table, columns, path)
    meta = checked_label(table, label, path)
    with readable_columns(path):
        return table.to_pandas(), meta


def generate_traces(
    loaded: LoadedModel, problems: Sequence[Problem], sampling: Sampling = Sampling(), *, samples: int = 1,
    backend: str | Opened = "hf", batch_size: int = 64, store: Store | None = None, progress: bool = True,
) -> Traces:  # fmt: skip
    """Roll the model out on each problem, `samples` times.

    Sampled traces calibrate (on-policy if `loaded` is the model that will be pruned); greedy ones on test problems
    (`Sampling(temperature=0)`) are the fixed sequences of Figure 2. With a `store`, each finished batch is kept, so that a
    run that was stopped goes on after its last whole batch.

    Raises DataError for no problems, ids that are not distinct, or a problem that does not fit the model's context.
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


def complete(
    loaded: LoadedModel, requests: Sequence[Request], sampling: Sampling, backend: str | Opened = "hf", batch_size: int = 64,
    store: Store | None = None, progress: bool = True,
) -> list[Completion]:  # fmt: skip
    """Completions in the order of the requests, each batch an artefact if there is a store.

    hf goes batch by batch, and a batch that was stopped is redone whole, since its rows depend on each other's in the last bit. Other
    backends get all requests at once, and each row that is finished is kept in a journal until all are.
    """
    check(batch_size >= 1, "batch_size", batch_size, "an integer >= 1")
    results: dict[int, Completion] = {}
    with (
        opened(loaded, backend) as running,
        progress_bar(total=len(requests), desc="generate", unit="row", shown=progress) as bar,
    ):
        size = batch_size if running.by_batch else max(1, len(requests))
        order = sorted(
            range(len(requests)), key=lambda k: -len(requests[k].prompt_ids)
        )  # rows of about one length, longest first
        for first in range(0, len(requests), size):
            chosen = order[first : first + size]
            batch = [requests[k] for k in chosen]
            parts = {
                "model": loaded.fingerprint,
                "sampling": sampling,
                "backend": backend_key(running.name),
                "requests": [asdict(r) for r in batch],
            }
            journal = Journal(store, None if running.by_batch else parts, loaded)

            def run(batch=batch, journal=journal) -> list[Completion]:
                with journal:
                    rows = {k: row for k, row in journal.rows.items() if k < len(batch)}
                    bar.update(len(rows))
                    left = [k for k in range(len(batch)) if k not in rows]
                    for index, completion in generate(loaded, [batch[k] for k in left], sampling, batch_size, running):
                        rows[left[index]] = completion
                        journal.add(left[index], completion)
                        bar.update()
                return [rows[k] for k in range(len(batch))]

            if store is None:
                made = run()
            else:
                before = bar.n
                read = functools.partial(_read_batch, count=len(batch), loaded=loaded)
                made = store.cached("batches", parts, lambda folder, run=run: _write_batch(folder, run()), read)
                journal.remove()
                bar.update(len(batch) - (bar.n - before))
            results |= dict(zip(chosen, made, strict=True))
    return [results[k] for k in range(len(requests))]


class Journal:
    """Rows as they were finished, one a line, so that a run that dies loses only what was in flight."""

    def __init__(self, store: Store | None, parts: dict[str, Any] | None, loaded: LoadedModel):
        self.loaded = loaded
        self.path = None if store is None or parts is None else store.root / "journals" / f"{key_of(**parts)}.jsonl"
        self.rows: dict[int, Completion] = {}

    def __enter__(self) -> "Journal":
        if self.path is None:
            return self
        if is_regular(self.path):
            text = ""
            with contextlib.suppress(FileNotFoundError):  # removed by another process, which has all rows by now
                text = self.path.read_text(encoding="utf-8", errors="replace")
            for number, line in enumerate(text.split("\n"), 1):
                with contextlib.suppress(DataError):  # cut off when the run died, or damaged: the row is generated anew
                    row = checked(loaded_json(line, self.path, number), JournalRow, self.path, number)
                    check_tokens(self.loaded, row.output_ids, "the row")
                    self.rows[row.row] = Completion(tuple(row.output_ids), row.finish_reason)
        with explained("write", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(self.path) and not is_regular(self.path):
                remove(self.path)
            self.file = self.path.open("a", encoding="utf-8")
            share(self.file)  # so that nobody who cleans the cache removes it
            self.file.write(
                "\n" if self.file.seek(0, os.SEEK_END) else ""
            )  # so that what was cut off does not spoil the next line
        return self

    def add(self, row: int, completion: Completion) -> None:
        if self.path is not None:
            with explained("write", self.path):
                self.file.write(json.dumps({"row": row, **asdict(completion)}) + "\n")
                self.file.flush()

    def __exit__(self, *_: object) -> None:
        if self.path is not None:
            self.file.close()

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _write_batch(folder: Path, rows: list[Completion]) -> None:
    import pandas as pd

    write_parquet(folder / "data.parquet", pd.DataFrame([asdict(row) for row in rows]), {})


def _read_batch(folder: Path, count: int, loaded: LoadedModel) -> list[Completion]:
    try:
        frame, _ = read_parquet(folder / "data.parquet", COMPLETIONS)
        check(len(frame) == count, "rows of a batch", len(frame), str(count))
        for ids in frame["output_ids"]:
            check_tokens(loaded, ids, "the batch")
    except RacvizError as error:
        raise DamagedArtefact(str(error)) from error
    return [Completion(tuple(map(int, row.output_ids)), row.finish_reason) for row in frame.itertuples()]
