"""Rows of tables that others wrote: JSONL, CSV and Parquet files, and data sets of the hub, one row at a time.

A table is named by a path or a hub id, and may say more after a question mark, as an address does:
`problems.csv?prompt=question&answer=solution`, `open-r1/OpenR1-Math-220k@main?config=extended&split=train`.
"""

import csv
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from racviz import hub
from racviz.errors import DataError, unknown

Row = tuple[str, dict[str, Any]]
"""Where a row stands, for messages, and its columns."""
SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Table:
    """The name of a table, taken apart."""

    name: str
    revision: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | Path, allowed: tuple[str, ...] = ()) -> "Table":
        """A path that exists is taken as it is. Raises ParameterError for an option that is not allowed, with the nearest."""
        text = str(text)
        if os.path.exists(text):  # which, unlike Path's, bears a name that is too long
            return cls(text)
        name, _, query = text.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for key in options:
            if key not in allowed:
                raise unknown(f"the option of {name!r}", key, allowed)
        plain, at, revision = name.partition("@")
        if at and hub.is_id(plain):
            return cls(plain, revision, options)
        return cls(name, None, options)

    @property
    def is_file(self) -> bool:
        return self.name.lower().endswith(SUFFIXES) or os.path.isfile(self.name)

    def __str__(self) -> str:
        return Path(self.name).name if self.is_file else self.name


def file_rows(path: Path) -> Iterator[Row]:
    """Rows of a JSONL (or an array of JSON), CSV or Parquet file, by its name. Raises DataError that names the file and the line."""
    if not os.path.isfile(path):
        raise DataError(f"the file {path} does not exist.")
    name = path.name.lower()
    kind = _parquet if name.endswith(".parquet") else _csv if name.endswith((".csv", ".tsv")) else _jsonl
    for where, row in kind(path):
        if isinstance(row, dict):  # JSON may spell half of a surrogate pair, which no tokenizer takes
            for column, value in row.items():
                if not _is_text(value):
                    raise DataError(f"{where}: the column {column!r} holds half of a surrogate pair, which is no text.")
        yield where, row


def _is_text(value: Any) -> bool:
    """Whether all texts in a value can be written."""
    if isinstance(value, dict | list):
        return all(_is_text(each) for each in (value.values() if isinstance(value, dict) else value))
    try:
        value.encode() if isinstance(value, str) else None
    except UnicodeEncodeError:
        return False
    return True


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows = (row for batch in file.iter_batches(1024) for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                yield f"{path}, row {number}", row
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file, or was cut off: {error}") from error


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # a chain of thought is longer than the 131,072 characters that csv takes
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        while True:
            try:
                row = next(reader, None)
            except (UnicodeDecodeError, csv.Error) as error:
                raise DataError(f"{path}, line {reader.line_num + 1}: not CSV in UTF-8: {error}.") from error
            if row is None:
                return
            if None in row or None in row.values():
                has = "more" if None in row else "fewer"
                raise DataError(
                    f"{path}, line {reader.line_num}: it has {has} fields than the first line names; quote commas in a text."
                )
            yield f"{path}, line {reader.line_num}", row


def _jsonl(path: Path) -> Iterator[Row]:
    opened = gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")
    with opened as file:
        lines = enumerate(_read(path, file), 1)
        first = next(lines, (1, b""))
        if path.name.removesuffix(".gz").endswith(".json") and first[1].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            yield from _array(path, b"".join([first[1], *(raw for _, raw in lines)]))
            return
        for number, raw in chain([first], lines):
            where = f"{path}, line {number}"
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{where}: not UTF-8 text: {error}.") from error
            if line.strip():
                yield where, _json(where, line)


def _read(path: Path, file: Any) -> Iterator[bytes]:
    """The lines of a file that may be compressed. Raises DataError for one that is not, or was cut off."""
    try:
        yield from file
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} cannot be read, or was cut off: {error}") from error


def _array(path: Path, raw: bytes) -> Iterator[Row]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}.") from error
    for number, row in enumerate(_json(str(path), text), 1):
        yield f"{path}, row {number}", row


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError(f"{where}: the JSON is nested too deeply.") from error
    except json.JSONDecodeError as error:
        cut = " The file seems to be cut off." if not text.endswith("\n") else ""
        raise DataError(f"{where}: not valid JSON ({error.msg} at column {error.colno}).{cut}") from error
    except ValueError as error:  # an integer of thousands of digits
        raise DataError(f"{where}: not usable JSON: {error}.") from error


def hub_rows(
    table: Table, split: str, *, config: str | None = None, only: list[str] | None = None, shuffled: int | None = None,
    known: tuple[str, ...] = (),
) -> Iterator[Row]:  # fmt: skip
    """Rows of a data set on the hub, streamed: what is not asked for is not downloaded.

    only: columns to read, where the files are Parquet. shuffled: a seed; files one after the other in an order drawn by it, the rows of
    each through a buffer of 10,000. No code of the data set is run.

    Raises DataError in one line: no network, no such data set (with the nearest), gated, an unknown config or split (lists them).
    """
    try:
        import pyarrow as pa
        from datasets import load_dataset
    except ModuleNotFoundError as error:
        raise DataError(
            f"the data set {table.name!r} needs the package datasets: pip install 'racviz[hub]'. Or pass a file."
        ) from error
    name, split = table.name, table.options.get("split", split)
    config = table.options.get("config", config)
    instead = f"Pass a local file (JSONL, CSV or Parquet) instead of {name!r}"
    with hub.explained(f"data set {name!r}", name, "dataset", instead, known):
        hub.probe_dataset(name, table.revision)
        try:
            more = {"columns": only} if only else {}
            rows = load_dataset(name, config, split=split, revision=table.revision, streaming=True, **more)
        except ValueError as error:  # datasets raises it for configs and splits, and lists those that there are
            raise DataError(f"data set {name!r}: {' '.join(str(error).split())}") from error
        rows = rows if shuffled is None else _drawn(rows, shuffled)
        number = 0
        try:
            for number, row in enumerate(rows, 1):
                yield f"{name}, row {number}", row
        except pa.ArrowInvalid as error:
            if number or not only or "FieldRef" not in str(error):
                raise DataError(f"data set {name!r} cannot be read: {_first(error)}") from error
            only = None  # a column is not there: without the choice, whoever wants it says which there are
        else:
            return
    yield from hub_rows(table, split, config=config, shuffled=shuffled, known=known)


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _drawn(rows: Any, seed: int) -> Iterator[dict[str, Any]]:
    import numpy as np

    count = rows.num_shards
    for index in np.random.default_rng(seed).permutation(count).tolist():
        yield from rows.shard(num_shards=count, index=index).shuffle(seed=seed, buffer_size=10_000)
