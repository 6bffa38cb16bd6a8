"""Completions batch by batch or row by row: kept as they finish, read again, and resumed."""

import contextlib
import functools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from racviz.exceptions import DamagedArtefact, DataError, RacvizError, check
from racviz.generation import Completion, Opened, Request, Sampling, backend_key, check_requests, opened
from racviz.models import LoadedModel
from racviz.models.limits import check_tokens
from racviz.progress import progress_bar
from racviz.store import Store, explained, is_regular, key_of
from racviz.store.drafts import remove
from racviz.store.kinds import COMPLETIONS, JournalRow
from racviz.store.locks import share
from racviz.store.parquet import read_parquet, write_parquet
from racviz.store.schemas import checked, loaded_json


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
        check_requests(loaded, requests, sampling, running.by_batch)
        size = batch_size if running.by_batch else max(1, len(requests))
        order = sorted(range(len(requests)), key=lambda k: -len(requests[k].prompt_ids))  # rows of about one length
        for first in range(0, len(requests), size):
            chosen = order[first : first + size]
            batch = _Batch(running, [requests[k] for k in chosen], sampling, batch_size, store, bar)
            results |= dict(zip(chosen, batch.completed(), strict=True))
    return [results[k] for k in range(len(requests))]


@dataclass(frozen=True)
class _Batch:
    """Requests that are continued together, and read again once they are finished."""

    running: Opened
    requests: list[Request]
    sampling: Sampling
    batch_size: int
    store: Store | None
    bar: Any

    def completed(self) -> list[Completion]:
        """The completions in the order of the requests: out of the store, or made now and kept there."""
        loaded = self.running.loaded
        parts = {
            "model": loaded.fingerprint,
            "sampling": self.sampling,
            "backend": backend_key(self.running.name),
            "requests": [asdict(request) for request in self.requests],
        }
        journal = Journal(self.store, None if self.running.by_batch else parts, loaded)
        if self.store is None:
            return self._made(journal)
        before = self.bar.n
        read = functools.partial(_read_batch, count=len(self.requests), loaded=loaded)
        made = self.store.cached("batches", parts, lambda folder: _write_batch(folder, self._made(journal)), read)
        journal.remove()
        self.bar.update(len(self.requests) - (self.bar.n - before))
        return made

    def _made(self, journal: "Journal") -> list[Completion]:
        """Continue the requests whose rows the journal does not hold."""
        with journal:
            rows = {k: row for k, row in journal.rows.items() if k < len(self.requests)}
            self.bar.update(len(rows))
            left = [k for k in range(len(self.requests)) if k not in rows]
            asked = [self.requests[k] for k in left]
            for index, completion in self.running.backend.run(asked, self.sampling, self.batch_size) if asked else ():
                rows[left[index]] = completion
                journal.add(left[index], completion)
                self.bar.update()
        return [rows[k] for k in range(len(self.requests))]


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
