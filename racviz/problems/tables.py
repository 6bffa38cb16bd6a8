"""Rows of tables that others wrote: JSON, CSV and Parquet files, saved and hub data sets, one row at a time.

A table is named by a path or a hub id, and may say more after a question mark, as an address does:
`problems.csv?prompt=question&answer=solution`, `open-r1/OpenR1-Math-220k@main?config=extended&split=train`.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from racviz import hub
from racviz.exceptions import DataError, unknown
from racviz.problems.csvrows import DELIMITERS, csv_rows
from racviz.problems.filekinds import COLUMNAR, HEAD, PACKED, kind_of, suffixes, text_lines, unpacked
from racviz.problems.jsonrows import json_rows
from racviz.store.files import regular_file
from racviz.store.schemas import unreadable

Row = tuple[str, dict[str, Any]]
"""Where a row stands, for messages, and its columns."""
JSON = (".jsonl", ".json", ".ndjson")
CSV = (".csv", ".tsv", ".tab", ".psv")
PLAIN = (*JSON, *CSV, ".parquet", ".arrow")
SUFFIXES = (*PLAIN, *(kind + packed for kind in PLAIN for packed in PACKED))
"""Ends of names that mean a table, whether the file is there or not."""


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

    @property
    def is_saved(self) -> bool:
        """True for a folder that `datasets` saved."""
        return any(
            os.path.isfile(os.path.join(self.name, name)) for name in ("dataset_info.json", "dataset_dict.json", "state.json")
        )

    @property
    def is_folder(self) -> bool:
        return os.path.isdir(self.name)

    def no_data_set(self) -> DataError:
        """The error for a folder that `datasets` did not save, with the files in it that can be read."""
        files = sorted(path for path in Path(self.name).rglob("*") if path.name.lower().endswith(SUFFIXES))[:20]
        there = f"pass one of its files, such as {files[0]}" if files else "it holds no JSON, CSV, Parquet or Arrow file"
        return DataError(f"the folder {self.name} is not a data set that datasets saved; {there}.")

    def __str__(self) -> str:
        return Path(self.name).name if self.is_file else self.name


def file_rows(path: Path, split: str | None = None, likely: str | None = None, keep_going: bool = False) -> Iterator[Row]:
    """Rows of a JSON, CSV, Parquet or Arrow file, compressed or not, by its first bytes and its name.

    Parameters
    ----------
    path : Path
        The file.
    split : str, optional
        Key of the rows in a JSON file that holds several tables.
    likely : str, optional
        Key to take among several when `split` is not given.
    keep_going : bool
        Yield a DataError in the place of a row that cannot be read, where the next row can; else it is raised.

    Raises
    ------
    DataError
        For a file of another kind (says which) or a damaged one; names the file and the line.
    """
    path = regular_file(path)
    with unpacked(path) as stream:
        head = stream.peek(HEAD)[:HEAD]
        kind = kind_of(path, head)
        if kind in COLUMNAR:
            rows = _columnar(path, stream, kind)
        elif not head.decode(kind, "replace").strip("\ufeff \t\r\n"):
            rows = iter(())
        elif _is_csv(path, head, kind):
            rows = csv_rows(path, stream, kind, keep_going)
        else:
            rows = json_rows(path, text_lines(path, stream, kind, keep_going=keep_going), split, likely, keep_going)
        for row in rows:
            try:
                yield _clean(row)
            except DataError as error:
                if not keep_going:
                    raise
                yield row[0], error


def _is_csv(path: Path, head: bytes, encoding: str) -> bool:
    """True for a text that is CSV by its name, or by its first line where its name says nothing; an object of JSON decides first."""
    text = head.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    suffix, _ = suffixes(path.name)
    if suffix == ".parquet" and text[:1] not in "{[":
        raise DataError(f"{path} is not a readable parquet file, or was cut off: it does not begin as one.")
    if re.match(r"\{\s*[\"}]|\[\s*\{", text):
        return False
    if suffix in CSV:
        return True
    first = text.splitlines()[0]
    like = text[:1] not in '{["' and any(mark in first for mark in DELIMITERS)
    if suffix in JSON and like:
        raise DataError(f"{path} is not JSON; its first line, {first[:60]!r}, looks like CSV. Name it .csv.")
    return like


def _clean(row: tuple[str, Any]) -> Row:
    """The row with text where binary columns hold text. Raises DataError for half of a surrogate pair, which no tokenizer takes."""
    where, columns = row
    if isinstance(columns, dict):
        columns = {name: _decoded(value) for name, value in columns.items()}
        for name, value in columns.items():
            if not _is_text(value):
                raise DataError(f"{where}: the column {name!r} holds half of a surrogate pair, which is no text.")
    return where, columns


def _decoded(value: Any) -> Any:
    """Bytes as the UTF-8 text that they hold, at any depth; other bytes stay."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    if isinstance(value, list) and any(isinstance(each, bytes | list | dict) for each in value):
        return [_decoded(each) for each in value]
    if isinstance(value, dict):
        return {name: _decoded(each) for name, each in value.items()}
    return value


def _is_text(value: Any) -> bool:
    """True if all texts in a value can be written."""
    if isinstance(value, dict | list):
        return all(_is_text(each) for each in (value.values() if isinstance(value, dict) else value))
    try:
        value.encode() if isinstance(value, str) else None
    except UnicodeEncodeError:
        return False
    return True


def _columnar(path: Path, stream: BufferedReader, kind: str) -> Iterator[Row]:
    """Rows of a Parquet or Arrow file, batch by batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        packed = stream.peek(4)[:4] != _first_bytes(path)
        source = pa.BufferReader(stream.read()) if packed else pa.memory_map(str(path))  # Parquet is read at its end first
        opened = {"parquet": pq.ParquetFile, "arrow": pa.ipc.open_file, "arrow stream": pa.ipc.open_stream}[kind](source)
        schema = opened.schema_arrow if kind == "parquet" else opened.schema
        _once(str(path), schema.names)
        narrow = [name for name, type_ in zip(schema.names, schema.types, strict=True) if _is_narrow(type_)]
        if kind == "arrow":
            batches = map(opened.get_batch, range(opened.num_record_batches))
        else:
            batches = opened.iter_batches(1024) if kind == "parquet" else iter(opened)
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, 1):
            yield f"{path}, row {number}", {**row, **{name: _widened(row[name]) for name in narrow}}
    except DataError:
        raise
    except (*unreadable(), OSError) as error:
        raise DataError(f"{path} is not a readable {kind} file, or was cut off: {_first(error)}") from error


def _first_bytes(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(4)


def _is_narrow(kind: Any) -> bool:
    """True for floats of less than 64 bits, also in lists."""
    import pyarrow as pa

    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return pa.types.is_float32(kind) or pa.types.is_float16(kind)


def _widened(value: Any) -> Any:
    """A float32 as its own shortest digits say: 0.1, not 0.10000000149."""
    import numpy as np

    if isinstance(value, list):
        return [_widened(each) for each in value]
    return float(str(np.float32(value))) if isinstance(value, float) else value


def _once(where: str, names: Sequence[str]) -> None:
    """Raise DataError for a column name that stands twice; only unnamed columns may."""
    if twice := next((name for name in names if name and list(names).count(name) > 1), None):
        raise DataError(f"{where}: the column {twice!r} stands there more than once; rename or remove one.")


def folder_rows(folder: Path, split: str | None = None, likely: str | None = None) -> Iterator[Row]:
    """Rows of a folder that `datasets` saved.

    Parameters
    ----------
    folder : Path
        The folder.
    split : str, optional
        Name of the split to read.
    likely : str, optional
        Split to take among several when `split` is not given.

    Raises
    ------
    DataError
        For a folder that datasets cannot load, or where none of several splits is named (lists them).
    """
    try:
        from datasets import load_from_disk
    except ModuleNotFoundError as error:
        raise DataError(f"the folder {folder} needs the package datasets: pip install 'racviz[hub]'.") from error
    try:
        found = load_from_disk(str(folder))
    except Exception as error:  # of every kind, for folders that are something else
        raise DataError(f"the folder {folder} is not a data set that datasets saved: {_first(error)}") from error
    if isinstance(found, dict):
        named = split or (likely if likely in found else next(iter(found)) if len(found) == 1 else None)
        if named not in found:
            there = ", ".join(found)
            but = f", not {named!r}" if named else ""
            raise DataError(f"the folder {folder} has the splits {there}; name one by ?split=… after its name{but}.")
        found = found[named]
    elif split and str(getattr(found, "split", None) or split) != split:
        raise DataError(f"the folder {folder} has only the split {found.split}, not {split!r}.")
    number = 0
    try:
        for number, row in enumerate(found, 1):
            yield _clean((f"{folder}, row {number}", dict(row)))
    except DataError:
        raise
    except (*unreadable(), OSError) as error:
        raise DataError(f"the folder {folder} cannot be read after row {number}: {_first(error)}") from error


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
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
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
                yield _clean((f"{name}, row {number}", row))
        except DataError:
            raise
        except (*unreadable(), DatasetsError) as error:
            if number or not only or "FieldRef" not in str(error):
                why = _first(error) or type(error).__name__
                raise DataError(f"data set {name!r} cannot be read after row {number}: {why}. {instead}.") from error
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
