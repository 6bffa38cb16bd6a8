"""Errors at every resolution: sums over 1, 2, 4, … tokens of a row, as float32 arrays that are mapped and not read.

A pyramid is made once, beside the artefact `errors.parquet` in a folder of `errors.parquet.pyramid/` that is named by the artefact's
size and time, so that what is open stays what it is when the artefact is replaced. Its finest level holds the errors themselves. A picture
of any part at any zoom is a slice of one level.

    <folder>/meta.json           rows, columns, sources, vocabulary, label, and the size and time of the artefact
    <folder>/ids.npy             [rows, columns] int32 token ids, -1 where a row has no token
    <folder>/start/<name>.<k>.npy     [rows, ceil(columns / 2^k)] float32: sums over 2^k neighbouring tokens
    <folder>/boundary/…               the same with all rows shifted so that their thoughts begin in one column
    <folder>/sums.json, <folder>/boundary/sums.json   a checksum of each file, which is held against it when a pyramid is opened
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from racviz.drafts import Draft, new_draft, newest, reclaim
from racviz.errors import DataError
from racviz.explorer.columns import numbers, read_columns
from racviz.files import is_regular
from racviz.store import explained

FORMAT = 2
SUMS = "sums.json"
DENSE = "‖x dense‖"
"""The norm of the dense model's hidden state, by which an error becomes a relative one."""
UNUSABLE = "\0unusable"
"""Counts of tokens at which an error is no finite number: they are in no sum."""
LARGEST = 2**30
"""Cells of one level: rows × tokens of the longest."""
OLD = 24 * 3600
"""Seconds after which the pyramid of an artefact that was replaced is removed."""


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
    artefact: Path | None = None
    _elsewhere: list[Any] = field(default_factory=list, repr=False)
    _checked: list[Path] = field(default_factory=list, repr=False)
    """Folders whose files are as they were written."""

    @property
    def replaced(self) -> bool:
        """Whether the artefact is another by now than that of which this was made."""
        return self.artefact is not None and _made_of(self.artefact) != self.meta["made_of"]

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
        return np.load(self._aligned(align) / _file(self.names, name, k), mmap_mode="r")

    def _aligned(self, align: str) -> Path:
        folder = self.folder / align
        if align == "start" or folder in self._checked:
            return folder
        if folder.exists():
            if _intact(folder):
                self._checked.append(folder)
                return folder
            shutil.rmtree(folder, ignore_errors=True)  # it is made anew
        if self._elsewhere:
            return Path(self._elsewhere[0].name)
        try:
            reclaim(self.folder, "")
            draft = new_draft(self.folder, align)
        except OSError:  # another's pyramid, which one may only read
            self._elsewhere.append(tempfile.TemporaryDirectory(prefix="racviz-pyramid-"))
            draft = folder = Path(self._elsewhere[0].name)
        with explained("write", folder), _or_nothing(draft):
            for each in (*self.names, *([UNUSABLE] if self.has_unusable else [])):
                _write(draft, self.names, each, shifted(self.level(each, 0), self.offsets(align), self.width(align)))
            _seal(draft)
            if draft != folder:
                _settle(draft, folder)
        return folder

    @property
    def has_unusable(self) -> bool:
        return self.meta["unusable"] > 0


def _file(names: list[str], name: str, k: int) -> str:
    return f"{'unusable' if name == UNUSABLE else names.index(name)}.{k}.npy"


def _write(folder: Path, names: list[str], name: str, finest: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, level in enumerate(levels(finest)):
        np.save(folder / _file(names, name, k), level.astype(np.float32, copy=False))


def _sum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while part := file.read(2**23):
            total = zlib.crc32(part, total)
    return total


def _seal(folder: Path) -> None:
    """Write down a checksum of each file."""
    sums = {str(path.relative_to(folder)): _sum(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / SUMS).write_text(json.dumps(sums), encoding="utf-8")


def _intact(folder: Path) -> bool:
    """True where each file is as it was written: a flipped bit would show other numbers."""
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        return all(is_regular(folder / name) and _sum(folder / name) == total for name, total in sums.items())
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return False


def _settle(draft: Path, folder: Path) -> None:
    """Move a finished folder to its place; where another process was faster, its own, which is the same, stays."""
    umask = os.umask(0)
    os.umask(umask)
    draft.chmod(0o777 & ~umask)  # drafts are their maker's alone
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not folder.exists():
            raise


@contextlib.contextmanager
def _or_nothing(draft: Path) -> Iterator[None]:
    """Leave no half of a pyramid behind."""
    try:
        yield
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):
            draft.parent.rmdir()  # only where nothing else is in it
        raise


def _made_of(path: Path) -> dict[str, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return {"format": FORMAT, "size": stat.st_size, "time": stat.st_mtime_ns}


def open_pyramid(path: str | Path) -> Pyramid:
    """The pyramid of an errors file, made if it is not there or the file is another by now.

    It lies beside the file; where one may not write there, in a temporary folder. Raises DataError for what is no errors file.
    """
    path = Path(path)
    made_of = _made_of(path)
    if made_of is None or not is_regular(path):
        raise DataError(f"the errors file {path} cannot be read: there is no such file.")
    home = path.with_name(path.name + ".pyramid")
    folder = home / f"{made_of['format']}-{made_of['size']}-{made_of['time']}"
    if folder.exists():
        if _intact(folder):
            return Pyramid(folder, json.loads((folder / "meta.json").read_text(encoding="utf-8")), artefact=path)
        warnings.warn(f"the pyramid {folder} is damaged; it is made again.", stacklevel=2)
        shutil.rmtree(folder, ignore_errors=True)
    columns, label = read_columns(path)
    try:
        home.mkdir(exist_ok=True)
        draft = new_draft(home, folder.name)
    except OSError:
        return replace(make_pyramid(columns, label, made_of), artefact=path)
    with explained("write", folder), _or_nothing(draft):
        meta = _make(columns, label, made_of, draft)
        _settle(draft, folder)
    reclaim(home, "")
    for other in home.iterdir():
        if (
            other != folder and Draft.parse(other) is None and 0 < newest(other) < time.time() - OLD
        ):  # 0: removed by another process
            shutil.rmtree(other, ignore_errors=True)
    return Pyramid(folder, meta, artefact=path)


def make_pyramid(columns: Mapping[str, Any], label: Mapping[str, Any], made_of: Mapping[str, Any] | None = None) -> Pyramid:
    """A pyramid of the columns of a frame of errors, in a temporary folder that goes with it."""
    held = tempfile.TemporaryDirectory(prefix="racviz-pyramid-")
    meta = _make(columns, label, dict(made_of or {}), Path(held.name))
    return Pyramid(Path(held.name), meta, held)


def _make(columns: Mapping[str, Any], label: Mapping[str, Any], made_of: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write a pyramid into a folder; returns its meta. Raises DataError for rows that are no errors."""
    sources = [name[2:] for name in columns if name.startswith("e_")]
    if missing := [name for name in ("problem_id", "position", "phase") if name not in columns]:
        raise DataError(
            f"errors must have the columns problem_id, position, phase and e_<name>; {', '.join(missing)} is missing."
        )
    if not sources or "" in sources or DENSE in sources:
        raise DataError(f"errors must have a column e_<name> for at least one pruned model, with a name other than {DENSE!r}.")
    (row, problems), (codes, phases) = columns["problem_id"], columns["phase"]
    position = numbers(columns, "position", np.int64)
    if not len(position):
        raise DataError("errors must hold at least one token; they are empty.")
    if (row < 0).any() or (position < 0).any():
        raise DataError("errors must have a problem_id in every row, and positions from 0 on.")
    if wrong := sorted({*(phases[code] if code >= 0 else "nothing" for code in np.unique(codes))} - {"prompt", "decode"}):
        raise DataError(f"the column phase of errors must hold prompt and decode; there is {', '.join(map(repr, wrong))}.")
    shape = (len(problems), int(position.max()) + 1)
    _fits(shape, len(sources), len(position), problems[int(row[position.argmax()])], folder)
    lengths, last = np.bincount(row, minlength=shape[0]), np.zeros(shape[0], dtype=np.int64)
    np.maximum.at(last, row, position + 1)
    there = np.zeros(shape, dtype=bool)
    there[row, position] = True
    if np.count_nonzero(there) != len(position) or (last != lengths).any():
        raise DataError("errors must have each position of a problem once, from 0 on without gaps.")
    prompt = np.array([phase == "prompt" for phase in phases], dtype=bool)[codes]
    t_in = np.bincount(row[prompt], minlength=shape[0])
    if (position[prompt] >= t_in[row[prompt]]).any():
        raise DataError("errors must have the prompt's tokens of a problem before those of its thought.")

    relative = "norm_dense" in columns and label.get("metric", "hidden") == "hidden"
    names = [*sources, *([DENSE] if relative else [])]
    values = {name: numbers(columns, "norm_dense" if name == DENSE else f"e_{name}", np.float32) for name in names}
    usable = np.ones(len(position), dtype=bool)
    for name in names:
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
    if "token_id" in columns:
        given = numbers(columns, "token_id", np.int32)
    else:  # the texts tell tokens apart too
        given = np.asarray(columns["token"][0] if "token" in columns else np.zeros(len(position)), dtype=np.int32)
    ids[row, position] = np.maximum(given, 0)
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
    _seal(folder)
    return meta


def _fits(shape: tuple[int, int], sources: int, tokens: int, longest: str, folder: Path) -> None:
    """Raise DataError where the pyramid would be larger than the disk, or than can be."""
    size, free = 8 * shape[0] * shape[1] * (sources + 1), shutil.disk_usage(folder).free
    if shape[0] * shape[1] > LARGEST or size > 0.9 * free:
        raise DataError(
            f"errors of {shape[0]:,} problems, of which the longest ({longest}) has {shape[1]:,} tokens, need {size / 2**30:.1f} GiB of "
            f"disk to explore ({free / 2**30:.1f} GiB are free), though they are {tokens:,} tokens. Leave the longest out, or explore a "
            "part of the problems."
        )
