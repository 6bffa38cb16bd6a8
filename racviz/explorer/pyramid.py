"""Errors at every resolution: sums over 1, 2, 4, … tokens of a row, as memory-mapped float32 arrays.

A pyramid is built once, beside its artefact: for `errors.parquet` in a folder of `errors.parquet.pyramid/`. The folder is named by
the artefact's size, time and inode, so that an open pyramid stays valid when the artefact is replaced. The finest level holds the
errors themselves. A picture of any part at any zoom is a slice of one level.

    <folder>/meta.json           rows, columns, sources, vocabulary, label, and the size, time and inode of the artefact
    <folder>/ids.npy             [rows, columns] int32 token ids, -1 where a row has no token
    <folder>/start/<name>.<k>.npy     [rows, ceil(columns / 2^k)] float32: sums over 2^k neighbouring tokens
    <folder>/start/sums.json          a checksum for every 64 KiB of these arrays, compared when they are read
    <folder>/boundary/…               the same arrays with each row shifted, so that all thoughts begin in one column

A damaged pyramid is rebuilt from its artefact.
"""

import contextlib
import functools
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import DataError
from racviz.explorer.checksums import CHECKSUMS, NAME, Checked, Damaged, lost, unsealed, write_checksums
from racviz.explorer.columns import read_columns
from racviz.explorer.summing import DENSE, UNUSABLE, file_of, levels, shifted, write_levels, write_pyramid
from racviz.printable import shown
from racviz.store import explained
from racviz.store.drafts import new_draft, newest, reclaim
from racviz.store.files import regular_file
from racviz.store.kinds import PyramidMeta

__all__ = ["DENSE", "UNUSABLE", "Pyramid", "levels", "make_pyramid", "open_pyramid", "shifted"]
FORMAT = 2
OLD = 24 * 3600
"""Seconds after which the pyramid of a replaced artefact is removed."""


@dataclass(frozen=True)
class Pyramid:
    """One artefact of errors at every resolution."""

    folder: Path
    meta: dict[str, Any] = field(repr=False)
    temporary: Any = field(default=None, repr=False)
    """The temporary folder that ends with the pyramid, if it lies in one."""
    artefact: Path | None = None
    """The file of errors; None for errors in memory."""
    _elsewhere: list[Any] = field(default_factory=list, repr=False)
    """A temporary folder for the aligned levels, where the pyramid's own is read-only."""
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)
    """Open arrays, checksums, and the pyramid that replaces a damaged one."""

    @property
    def replaced(self) -> bool:
        """True if the source file changed since this pyramid was built."""
        return self.artefact is not None and _made_of(self.artefact) != self.meta["made_of"]

    @property
    def rows(self) -> int:
        """Texts: a row is one problem's rollout."""
        return len(self.meta["problems"])

    @property
    def columns(self) -> int:
        """Tokens of the longest row."""
        return self.meta["columns"]

    @property
    def names(self) -> list[str]:
        """The sources, then the dense norm if it is known."""
        return self.meta["names"]

    @cached_property
    def lengths(self) -> np.ndarray:
        """`[rows]`: tokens of each row."""
        return np.array(self.meta["lengths"], dtype=np.int64)

    @cached_property
    def t_in(self) -> np.ndarray:
        """`[rows]`: tokens of each row's prompt."""
        return np.array(self.meta["t_in"], dtype=np.int64)

    @cached_property
    def ids(self) -> Checked:
        """`[rows, columns]` int32: token ids, -1 where a row has no token."""
        shape = (self.rows, self.columns)
        try:
            return Checked(
                self.folder / "ids.npy",
                shape,
                np.int32,
                self._checksums(self.folder / "start")["ids.npy"],
                lambda: self._rebuilt().ids,
            )
        except (Damaged, KeyError, OSError):
            return self._rebuilt().ids

    @cached_property
    def vocabulary(self) -> dict[int, str]:
        """The text of each token id; empty where errors come without texts."""
        return {int(i): text for i, text in self.meta["vocabulary"].items()}

    def texts(self, row: int, first: int, last: int) -> list[str]:
        """The texts of a row's tokens; `#<id>` for one without a text."""
        return [self.vocabulary.get(int(i), f"#{i}") for i in self.ids[row][first:last]]

    def origin(self, align: str) -> int:
        """The column at which all thoughts begin if rows are aligned there: a power of two, so that no bin mixes the phases."""
        longest = int(self.t_in.max(initial=0))
        return 0 if align == "start" else 1 << max(0, longest - 1).bit_length() if longest else 0

    def offsets(self, align: str) -> np.ndarray:
        """`[rows]`: the column of each row's first token."""
        return np.zeros(self.rows, dtype=np.int64) if align == "start" else self.origin(align) - self.t_in

    def width(self, align: str) -> int:
        """Columns up to the last token, with rows aligned."""
        return int((self.offsets(align) + self.lengths).max(initial=1))

    def level(self, name: str, k: int, align: str = "start") -> Checked:
        """`[rows, ceil(width / 2^k)]` float32, memory-mapped; aligned levels are built when they are first read."""
        if "rebuilt" in self._cache:
            return self._cache["rebuilt"].level(name, k, align)
        if (align, name, k) not in self._cache:
            try:
                folder, file = self._aligned(align), file_of(self.names, name, k)
                width = self.columns if align == "start" else self.width(align)
                shape = (self.rows, -(-width // (1 << k)))
                instead = functools.partial(self._rebuilt_level, name, k, align)
                self._cache[align, name, k] = Checked(folder / file, shape, np.float32, self._checksums(folder)[file], instead)
            except (Damaged, KeyError, OSError):
                return self._rebuilt_level(name, k, align)
        return self._cache[align, name, k]

    def _rebuilt_level(self, name: str, k: int, align: str) -> Checked:
        return self._rebuilt().level(name, k, align)

    def _checksums(self, folder: Path) -> dict[str, list[int]]:
        """Checksums of a folder's arrays, by file name."""
        if folder not in self._cache:
            self._cache[folder] = unsealed(folder / NAME, CHECKSUMS)
        return self._cache[folder]

    def _rebuilt(self) -> "Pyramid":
        """Rebuild this damaged pyramid in a temporary folder. Raises DataError if the errors are gone."""
        if "rebuilt" not in self._cache:
            if self.artefact is None or self.replaced:
                raise lost(self.artefact)
            warnings.warn(
                f"the explorer's sums of {shown(self.artefact)} were damaged on disk; they are made again.", stacklevel=2
            )
            pyramid = make_pyramid(*read_columns(self.artefact), self.meta["made_of"])
            if pyramid.meta["sequences"] != self.meta["sequences"]:
                raise lost(self.artefact)
            shutil.rmtree(self.folder, ignore_errors=True)  # the next to open the errors builds its own
            self._cache["rebuilt"] = pyramid
        return self._cache["rebuilt"]

    def _aligned(self, align: str) -> Path:
        """The folder of the levels with rows aligned, built if it is missing."""
        folder = self.folder / align
        if folder.exists():
            return folder
        if self._elsewhere:
            return Path(self._elsewhere[0].name)
        try:
            reclaim(self.folder, "")
            draft = new_draft(self.folder, align)
        except OSError:  # a read-only pyramid
            self._elsewhere.append(tempfile.TemporaryDirectory(prefix="racviz-pyramid-"))
            draft = folder = Path(self._elsewhere[0].name)
        with explained("write", folder), _or_nothing(draft):
            crcs: dict[str, list[int]] = {}
            for name in (*self.names, *([UNUSABLE] if self.has_unusable else [])):
                finest = shifted(self.level(name, 0), self.offsets(align), self.width(align))
                write_levels(draft, self.names, name, finest, crcs)
            write_checksums(draft, crcs)
            if draft != folder:
                _settle(draft, folder)
        return folder

    @property
    def has_unusable(self) -> bool:
        """True if some error is not finite."""
        return self.meta["unusable"] > 0


def _settle(draft: Path, folder: Path) -> None:
    """Move a finished folder to its place, unless another process put an equal one there first."""
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not folder.exists():
            raise


@contextlib.contextmanager
def _or_nothing(draft: Path) -> Iterator[None]:
    """Remove an unfinished pyramid on an error."""
    try:
        yield
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        with contextlib.suppress(OSError):
            draft.parent.rmdir()  # fails unless it is empty
        raise


def _made_of(path: Path) -> dict[str, int] | None:
    """Format, size, time and inode of a file; None if it is missing.

    The inode differs in a copy of a folder: sums that were copied along with errors are rejected.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    return {"format": FORMAT, "size": stat.st_size, "time": stat.st_mtime_ns, "inode": stat.st_ino}


def open_pyramid(path: str | Path) -> Pyramid:
    """The pyramid of an errors file, built if it is missing, damaged or out of date.

    It lies beside the file, or in a temporary folder if that place is read-only. Raises DataError for any other file.
    """
    path = Path(path)
    regular_file(path)
    made_of = _made_of(path)
    if made_of is None:
        raise DataError(f"the errors file {path} cannot be read: there is no such file.")
    home = path.with_name(path.name + ".pyramid")
    folder = home / "-".join(str(value) for value in made_of.values())
    trusted = not home.is_symlink()  # a link may lead to a folder of the user's
    if trusted and not folder.is_symlink():
        meta = _read_meta(folder, path)
        if meta is not None and meta["made_of"] == made_of:
            return Pyramid(folder, meta, artefact=path)
    columns, label = read_columns(path)
    try:
        if not trusted:
            raise NotADirectoryError(home)
        home.mkdir(exist_ok=True)
        draft = new_draft(home, folder.name)
    except OSError:
        return replace(make_pyramid(columns, label, made_of), artefact=path)
    with explained("write", folder), _or_nothing(draft):
        meta = write_pyramid(columns, label, made_of, draft)
        _settle(draft, folder)
    _clean(home, folder)
    return Pyramid(folder, meta, artefact=path)


def _read_meta(folder: Path, path: Path) -> dict[str, Any] | None:
    """The content of a pyramid's meta.json; None if the pyramid is missing, unreadable or damaged, and then removed."""
    try:
        unsealed(folder / "start" / NAME, CHECKSUMS)
        meta = unsealed(folder / "meta.json", PyramidMeta)
        if not len(meta["problems"]) == len(meta["lengths"]) == len(meta["t_in"]):
            raise Damaged("meta.json names another number of problems than of rows")
        return meta
    except OSError:
        return None
    except Damaged as error:
        warnings.warn(f"the explorer's sums of {shown(path)} are damaged ({error}); they are made again.", stacklevel=3)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _clean(home: Path, folder: Path) -> None:
    """Remove abandoned drafts, and old pyramids of the artefact's earlier versions; nothing with another name."""
    reclaim(home, "")
    for neighbour in home.iterdir():
        is_pyramid = re.fullmatch(r"\d+(-\d+){2,3}", neighbour.name) and neighbour.is_dir() and not neighbour.is_symlink()
        if is_pyramid and neighbour != folder and 0 < newest(neighbour) < time.time() - OLD:  # 0: removed by another process
            shutil.rmtree(neighbour, ignore_errors=True)


def make_pyramid(columns: Mapping[str, Any], label: Mapping[str, Any], made_of: Mapping[str, Any] | None = None) -> Pyramid:
    """Build a pyramid from columns of errors, in a temporary folder that ends with it."""
    temporary = tempfile.TemporaryDirectory(prefix="racviz-pyramid-")
    meta = write_pyramid(columns, label, dict(made_of or {}), Path(temporary.name))
    return Pyramid(Path(temporary.name), meta, temporary)
