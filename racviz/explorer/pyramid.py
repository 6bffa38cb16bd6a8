"""Errors at every resolution: sums over 1, 2, 4, … tokens of a row, as float32 arrays that are mapped and not read.

A pyramid is made once, beside the artefact `errors.parquet` in a folder of `errors.parquet.pyramid/` that is named by the artefact's
size, time and inode, so that what is open stays what it is when the artefact is replaced. Its finest level holds the errors
themselves. A picture of any part at any zoom is a slice of one level.

    <folder>/meta.json           rows, columns, sources, vocabulary, label, and the size, time and inode of the artefact
    <folder>/ids.npy             [rows, columns] int32 token ids, -1 where a row has no token
    <folder>/start/<name>.<k>.npy     [rows, ceil(columns / 2^k)] float32: sums over 2^k neighbouring tokens
    <folder>/start/sums.json          a checksum for every 64 KiB of these arrays, compared when they are read
    <folder>/boundary/…               the same with all rows shifted so that their thoughts begin in one column

A damaged pyramid is made anew from the artefact.
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
from racviz.explorer.columns import read_columns
from racviz.explorer.summing import DENSE, UNUSABLE, file_of, levels, shifted, write_levels, write_pyramid
from racviz.explorer.sums import NAME, SUMS, Checked, Damaged, lost, unsealed, write_sums
from racviz.printable import shown
from racviz.store import explained
from racviz.store.drafts import new_draft, newest, reclaim
from racviz.store.files import regular_file
from racviz.store.kinds import PyramidMeta

__all__ = ["DENSE", "UNUSABLE", "Pyramid", "levels", "make_pyramid", "open_pyramid", "shifted"]
FORMAT = 2
OLD = 24 * 3600
"""Seconds after which the pyramid of an artefact that was replaced is removed."""


@dataclass(frozen=True)
class Pyramid:
    """One artefact of errors at every resolution."""

    folder: Path
    meta: dict[str, Any] = field(repr=False)
    held: Any = field(default=None, repr=False)
    """Reference that keeps a temporary folder alive."""
    artefact: Path | None = None
    _elsewhere: list[Any] = field(default_factory=list, repr=False)
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)
    """Arrays that are open, checksums, and the pyramid that took the place of a damaged one."""

    @property
    def replaced(self) -> bool:
        """True if the source file changed since this pyramid was built."""
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
    def ids(self) -> Checked:  # [rows, columns]
        shape = (self.rows, self.columns)
        try:
            return Checked(
                self.folder / "ids.npy", shape, np.int32, self._sums(self.folder / "start")["ids.npy"], lambda: self._anew().ids
            )
        except (Damaged, KeyError, OSError):
            return self._anew().ids

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

    def level(self, name: str, k: int, align: str = "start") -> Checked:
        """`[rows, ceil(width / 2^k)]` float32, mapped; the aligned ones are made when they are first asked for."""
        if "anew" in self._kept:
            return self._kept["anew"].level(name, k, align)
        if (align, name, k) not in self._kept:
            try:
                folder, file = self._aligned(align), file_of(self.names, name, k)
                shape = (self.rows, -(-(self.columns if align == "start" else self.width(align)) // (1 << k)))
                instead = functools.partial(self._level_anew, name, k, align)
                self._kept[align, name, k] = Checked(folder / file, shape, np.float32, self._sums(folder)[file], instead)
            except (Damaged, KeyError, OSError):
                return self._level_anew(name, k, align)
        return self._kept[align, name, k]

    def _level_anew(self, name: str, k: int, align: str) -> Checked:
        return self._anew().level(name, k, align)

    def _sums(self, folder: Path) -> dict[str, list[int]]:
        if folder not in self._kept:
            self._kept[folder] = unsealed(folder / NAME, SUMS)
        return self._kept[folder]

    def _anew(self) -> "Pyramid":
        """The pyramid made again, in a temporary folder, where this one is damaged. Raises DataError where the errors are gone."""
        if "anew" not in self._kept:
            if self.artefact is None or self.replaced:
                raise lost(self.artefact)
            warnings.warn(
                f"the explorer's sums of {shown(self.artefact)} were damaged on disk; they are made again.", stacklevel=2
            )
            made = make_pyramid(*read_columns(self.artefact), self.meta["made_of"])
            if made.meta["sequences"] != self.meta["sequences"]:
                raise lost(self.artefact)
            shutil.rmtree(self.folder, ignore_errors=True)  # so that the next one to open the errors makes its own
            self._kept["anew"] = made
        return self._kept["anew"]

    def _aligned(self, align: str) -> Path:
        folder = self.folder / align
        if folder.exists():
            return folder
        if self._elsewhere:
            return Path(self._elsewhere[0].name)
        try:
            reclaim(self.folder, "")
            draft = new_draft(self.folder, align)
        except OSError:  # another's pyramid, which one may only read
            self._elsewhere.append(tempfile.TemporaryDirectory(prefix="racviz-pyramid-"))
            draft = folder = Path(self._elsewhere[0].name)
        with explained("write", folder), _or_nothing(draft):
            sums: dict[str, list[int]] = {}
            for each in (*self.names, *([UNUSABLE] if self.has_unusable else [])):
                finest = shifted(self.level(each, 0), self.offsets(align), self.width(align))
                write_levels(draft, self.names, each, finest, sums)
            write_sums(draft, sums)
            if draft != folder:
                _settle(draft, folder)
        return folder

    @property
    def has_unusable(self) -> bool:
        return self.meta["unusable"] > 0


def _settle(draft: Path, folder: Path) -> None:
    """Move a finished folder to its place; where another process was faster, its own, which is the same, stays."""
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
    # The inode tells a copy of a folder from the folder: sums that came along with another's errors are not believed.
    return {"format": FORMAT, "size": stat.st_size, "time": stat.st_mtime_ns, "inode": stat.st_ino}


def open_pyramid(path: str | Path) -> Pyramid:
    """The pyramid of an errors file, made if it is not there or damaged, or the file is another by now.

    It lies beside the file; where one may not write there, in a temporary folder. Raises DataError for what is no errors file.
    """
    path = Path(path)
    regular_file(path)
    made_of = _made_of(path)
    if made_of is None:
        raise DataError(f"the errors file {path} cannot be read: there is no such file.")
    home = path.with_name(path.name + ".pyramid")
    folder = home / "-".join(str(value) for value in made_of.values())
    own = not home.is_symlink()  # a link may lead to a folder of the user's
    try:
        if own and not folder.is_symlink():
            unsealed(folder / "start" / NAME, SUMS)
            meta = unsealed(folder / "meta.json", PyramidMeta)
            if not len(meta["problems"]) == len(meta["lengths"]) == len(meta["t_in"]):
                raise Damaged("meta.json names another number of problems than of rows")
            if meta["made_of"] == made_of:
                return Pyramid(folder, meta, artefact=path)
    except OSError:
        pass  # none, or one that one may not read
    except Damaged as error:
        warnings.warn(f"the explorer's sums of {shown(path)} are damaged ({error}); they are made again.", stacklevel=2)
        shutil.rmtree(folder, ignore_errors=True)
    columns, label = read_columns(path)
    try:
        if not own:
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


def _clean(home: Path, folder: Path) -> None:
    """Remove drafts without an owner, and old pyramids of what the artefact was before; nothing that is named otherwise."""
    reclaim(home, "")
    for other in home.iterdir():
        ours = re.fullmatch(r"\d+(-\d+){2,3}", other.name) and other.is_dir() and not other.is_symlink()
        if ours and other != folder and 0 < newest(other) < time.time() - OLD:  # 0: removed by another process
            shutil.rmtree(other, ignore_errors=True)


def make_pyramid(columns: Mapping[str, Any], label: Mapping[str, Any], made_of: Mapping[str, Any] | None = None) -> Pyramid:
    """A pyramid of the columns of a frame of errors, in a temporary folder that goes with it."""
    held = tempfile.TemporaryDirectory(prefix="racviz-pyramid-")
    meta = write_pyramid(columns, label, dict(made_of or {}), Path(held.name))
    return Pyramid(Path(held.name), meta, held)
