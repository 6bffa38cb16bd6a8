"""Errors at every resolution: sums over 1, 2, 4, … tokens of a row, as float32 arrays that are mapped and not read.

A pyramid is made once, beside the artefact `errors.parquet` in the folder `errors.parquet.pyramid`, and is as good as the
artefact: its finest level holds the errors themselves. A picture of any part at any zoom is a slice of one level.

    <folder>/meta.json           rows, columns, sources, vocabulary, label, and the size and time of the artefact
    <folder>/ids.npy             [rows, columns] int32 token ids, -1 where a row has no token
    <folder>/start/<name>.<k>.npy     [rows, ceil(columns / 2^k)] float32: sums over 2^k neighbouring tokens
    <folder>/boundary/…               the same with all rows shifted so that their thoughts begin in one column
"""

import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from racviz.errors import DataError
from racviz.store import explained

FORMAT = 1
DENSE = "‖x dense‖"
"""The norm of the dense model's hidden state, by which an error becomes a relative one."""
UNUSABLE = "unusable"
"""Counts of tokens at which an error is no finite number: they are in no sum."""
LARGEST = 2**31
"""Cells of one level: rows × tokens of the longest."""


def levels(finest: np.ndarray) -> Iterator[np.ndarray]:
    """`[rows, columns]` and its sums over 2, 4, 8, … neighbours, down to one column."""
    level = finest
    yield level
    while level.shape[1] > 1:
        if level.shape[1] % 2:
            level = np.pad(np.asarray(level), ((0, 0), (0, 1)))
        level = level[:, 0::2] + level[:, 1::2]
        yield level


def shifted(level: np.ndarray, offsets: np.ndarray, columns: int, blank: float = 0) -> np.ndarray:
    """Each row moved to the right by its offset, in an array of so many columns."""
    out = np.full((len(level), columns), blank, dtype=level.dtype)
    for row, offset in enumerate(offsets):
        size = min(level.shape[1], columns - offset)
        out[row, offset : offset + size] = level[row, :size]
    return out


@dataclass(frozen=True)
class Pyramid:
    """One artefact of errors at every resolution."""

    folder: Path
    meta: dict[str, Any] = field(repr=False)
    held: Any = field(default=None, repr=False)
    """What keeps a temporary folder alive."""

    @property
    def rows(self) -> int:
        return len(self.meta["problems"])

    @property
    def columns(self) -> int:
        """Tokens of the longest row."""
        return self.meta["columns"]

    @property
    def names(self) -> list[str]:
        """The sources, then the dense norm where it is known."""
        return self.meta["names"]

    @cached_property
    def lengths(self) -> np.ndarray:  # [rows]
        return np.array(self.meta["lengths"], dtype=np.int64)

    @cached_property
    def t_in(self) -> np.ndarray:  # [rows]
        return np.array(self.meta["t_in"], dtype=np.int64)

    @cached_property
    def ids(self) -> np.ndarray:  # [rows, columns]
        return np.load(self.folder / "ids.npy", mmap_mode="r")

    @cached_property
    def vocabulary(self) -> dict[int, str]:
        return {int(i): text for i, text in self.meta["vocabulary"].items()}

    def origin(self, align: str) -> int:
        """The column at which thoughts begin when rows are aligned there: a power of two, so that no bin mixes the phases."""
        longest = int(self.t_in.max(initial=0))
        return 0 if align == "start" else 1 << max(0, longest - 1).bit_length() if longest else 0

    def offsets(self, align: str) -> np.ndarray:
        """`[rows]`: the column of each row's first token."""
        return np.zeros(self.rows, dtype=np.int64) if align == "start" else self.origin(align) - self.t_in

    def width(self, align: str) -> int:
        return int((self.offsets(align) + self.lengths).max(initial=1))

    def level(self, name: str, k: int, align: str = "start") -> np.ndarray:
        """`[rows, ceil(width / 2^k)]` float32, mapped; the aligned ones are made when they are first asked for."""
        folder = self.folder / align
        if not folder.exists():
            draft = self.folder / f".{align}.{uuid.uuid4().hex[:8]}.tmp"
            with explained("write", folder):
                for each in (*self.names, UNUSABLE):
                    if (self.folder / "start" / _file(self.names, each, 0)).exists():
                        moved = shifted(self.level(each, 0), self.offsets(align), self.width(align))
                        _write(draft, self.names, each, moved)
                _settle(draft, folder)
        return np.load(folder / _file(self.names, name, k), mmap_mode="r")

    @property
    def has_unusable(self) -> bool:
        return self.meta["unusable"] > 0


def _file(names: list[str], name: str, k: int) -> str:
    return f"{name if name == UNUSABLE else names.index(name)}.{k}.npy"


def _write(folder: Path, names: list[str], name: str, finest: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, level in enumerate(levels(finest)):
        np.save(folder / _file(names, name, k), level.astype(np.float32, copy=False))


def _settle(draft: Path, folder: Path) -> None:
    """Move a finished folder to its place; where another process was faster, its own stays."""
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not folder.exists():
            raise


def open_pyramid(path: str | Path) -> Pyramid:
    """The pyramid of an errors file, made if it is not there or the file is another by now.

    It lies beside the file; where one may not write there, in a temporary folder. Raises DataError for what is no errors file.
    """
    path = Path(path)
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"the errors file {path} cannot be read: {error.strerror}.") from error
    made_of = {"format": FORMAT, "size": stat.st_size, "time": stat.st_mtime_ns}
    folder = path.with_name(path.name + ".pyramid")
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["made_of"] == made_of:
            return Pyramid(folder, meta)
    except (OSError, ValueError, KeyError):
        pass  # none, or one that was broken off or is of an older racviz
    columns, label = _read(path)
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError:
        return make_pyramid(columns, label, made_of)
    with explained("write", folder):
        _make(columns, label, made_of, draft)
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        _settle(draft, folder)
    return Pyramid(folder, json.loads((folder / "meta.json").read_text(encoding="utf-8")))


def make_pyramid(columns: Mapping[str, Any], label: Mapping[str, Any], made_of: Mapping[str, Any] | None = None) -> Pyramid:
    """A pyramid of the columns of a frame of errors, in a temporary folder that goes with it."""
    held = tempfile.TemporaryDirectory(prefix="racviz-pyramid-")
    meta = _make(columns, label, dict(made_of or {}), Path(held.name))
    return Pyramid(Path(held.name), meta, held)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of an errors file, texts as dictionaries: sixteen million rows in seconds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ["problem_id", "token", "phase"]
    try:
        table = pq.read_table(path, read_dictionary=texts)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file, or is still being written: {error}") from error
    label = json.loads((table.schema.metadata or {}).get(b"racviz", b"{}"))
    columns = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_dictionary(column.type):
            columns[name] = (column.indices.to_numpy(zero_copy_only=False), column.dictionary.to_pylist())
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns, label


def columns_of(frame: Any) -> dict[str, Any]:
    """The same of a data frame."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in frame:
        if name in ("problem_id", "token", "phase"):
            codes, values = pd.factorize(frame[name])
            columns[name] = (codes, [value if isinstance(value, str) else str(value) for value in values])
        else:
            columns[name] = frame[name].to_numpy()
    return columns


def _make(columns: Mapping[str, Any], label: Mapping[str, Any], made_of: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write a pyramid into a folder; returns its meta. Raises DataError for rows that are no errors."""
    sources = [name[2:] for name in columns if name.startswith("e_")]
    if missing := [name for name in ("problem_id", "position", "phase") if name not in columns]:
        raise DataError(
            f"errors must have the columns problem_id, position, phase and e_<name>; {', '.join(missing)} is missing."
        )
    if not sources:
        raise DataError("errors must have a column e_<name> for at least one pruned model; there is none.")
    row, problems = columns["problem_id"]
    position = np.asarray(columns["position"], dtype=np.int64)
    if not len(position):
        raise DataError("errors must hold at least one token; they are empty.")
    if (row < 0).any() or (position < 0).any():
        raise DataError("errors must have a problem_id in every row, and positions from 0 on.")
    shape = (len(problems), int(position.max()) + 1)
    if shape[0] * shape[1] > LARGEST:
        raise DataError(
            f"errors of {shape[0]:,} rows × {shape[1]:,} tokens are more than {LARGEST:,} cells; explore a part of them."
        )
    lengths = np.bincount(row, minlength=shape[0])
    there = np.zeros(shape, dtype=bool)
    there[row, position] = True
    if there.sum() != len(position) or (np.where(there, np.arange(shape[1]), -1).max(1) + 1 != lengths).any():
        raise DataError("errors must have each position of a problem once, from 0 on without gaps.")
    codes, phases = columns["phase"]
    prompt = np.array([phase == "prompt" for phase in phases], dtype=bool)[codes]
    t_in = np.bincount(row[prompt], minlength=shape[0])
    if (position[prompt] >= t_in[row[prompt]]).any():
        raise DataError("errors must have the prompt's tokens of a problem before those of its thought.")

    relative = "norm_dense" in columns and label.get("metric", "hidden") == "hidden"
    names = [*sources, *([DENSE] if relative else [])]
    values = {DENSE: columns.get("norm_dense"), **{name: columns[f"e_{name}"] for name in sources}}
    usable = np.ones(len(position), dtype=bool)
    for name in names:
        values[name] = np.asarray(values[name], dtype=np.float32)
        usable &= np.isfinite(values[name]) & (values[name] >= 0)
    for name in names:
        finest = np.zeros(shape, dtype=np.float32)
        finest[row[usable], position[usable]] = values[name][usable]
        _write(folder / "start", names, name, finest)
    if not usable.all():
        finest = np.zeros(shape, dtype=np.float32)
        finest[row[~usable], position[~usable]] = 1
        _write(folder / "start", names, UNUSABLE, finest)
    ids = np.full(shape, -1, dtype=np.int32)
    given = (
        np.asarray(columns["token_id"], dtype=np.int32) if "token_id" in columns else np.zeros(len(position), dtype=np.int32)
    )
    ids[row, position] = given
    np.save(folder / "ids.npy", ids)
    vocabulary: dict[int, str] = {}
    if "token" in columns:
        token, texts = columns["token"]
        _, first = np.unique(given, return_index=True)
        vocabulary = {int(given[k]): str(texts[token[k]]) if token[k] >= 0 else "" for k in first}
    meta = {
        "made_of": made_of, "problems": [str(name) for name in problems], "lengths": lengths.tolist(), "t_in": t_in.tolist(),
        "columns": shape[1], "names": names, "unusable": int((~usable).sum()), "vocabulary": vocabulary, "label": dict(label),
        "sequences": hashlib.sha256(ids.tobytes() + "\n".join(map(str, problems)).encode()).hexdigest()[:24],
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")  # in ASCII: a token may hold half a character
    return meta
