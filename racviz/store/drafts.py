"""Drafts: hidden files and folders that take their place once they are whole. Their names say which process writes them.

A killed process leaves its drafts behind. `reclaim` removes those whose owner has ended; an owner on another host, which cannot be asked,
and a name without an owner (of earlier releases) count as living until the draft is old.
"""

import contextlib
import os
import re
import shutil
import stat
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from racviz.processes import Owner, this_process

OLD = 72 * 3600
"""Seconds after which a draft of another host, or without an owner, counts as abandoned: longer than one step takes to make."""
LONGEST = 255
"""Bytes of a file's name."""
STAMPED = re.compile(
    r"\.(?P<name>.*)\.(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,12})-(?P<start>[0-9a-f]{5,8})-[0-9a-f]{8}\.tmp", re.DOTALL
)
UNSTAMPED = re.compile(r"\.(?:(?P<name>.+)\.)?[0-9a-f]{8}\.tmp", re.DOTALL)
"""Names that earlier releases gave."""


@dataclass(frozen=True)
class Draft:
    """A file or folder that is named as a draft."""

    path: Path
    name: str
    """The name it was to take."""
    owner: Owner | None

    @classmethod
    def parse(cls, path: Path) -> "Draft | None":
        """The draft at a path, or None if the name is not a draft's."""
        if found := STAMPED.fullmatch(path.name):
            return cls(path, found["name"], Owner(found["host"], int(found["pid"]), found["start"]))
        if found := UNSTAMPED.fullmatch(path.name):
            return cls(path, found["name"] or "", None)
        return None

    @property
    def abandoned(self) -> bool:
        """True if the process that wrote it has ended, as far as can be known."""
        if self.owner is not None and self.owner.here:
            return not self.owner.living
        return newest(self.path) < time.time() - OLD


def draft_name(name: str) -> str:
    """The name of a new draft of this process; `name`, which it shall take, is shortened where it would be too long."""
    owner = this_process()
    end = f".{owner.host}-{owner.pid}-{owner.start}-{uuid.uuid4().hex[:8]}.tmp"
    return "." + os.fsdecode(os.fsencode(name)[: LONGEST - len(end) - 1]) + end


def new_draft(folder: Path, name: str) -> Path:
    """Make an empty folder that shall take the place `name` in a folder; returns its path."""
    draft = folder / draft_name(name)
    draft.mkdir()
    return draft


def drafts_in(folder: Path) -> list[Draft]:
    """The drafts that lie directly in a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.startswith(".") and entry.name.endswith(".tmp"))
    except OSError:
        return []
    return [draft for draft in (Draft.parse(Path(folder) / name) for name in names) if draft is not None]


def reclaim(folder: Path, unstamped: str = ".*") -> int:
    """Remove the abandoned drafts in a folder; returns the bytes freed.

    unstamped: a regular expression. A draft without an owner is removed only if the name that it was to take matches: in folders that
    racviz shares with others, such a file may be another program's.
    """
    freed = 0
    for draft in drafts_in(folder):
        if (draft.owner is not None or re.fullmatch(unstamped, draft.name, re.DOTALL)) and draft.abandoned:
            freed += remove(draft.path, missing_ok=True)
    return freed


def remove(path: Path, *, missing_ok: bool = False) -> int:
    """Remove a file, a link (not what it leads to) or a folder; returns the bytes freed. missing_ok: pass over what cannot be removed."""
    size = size_of(path)
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path)
    except OSError:
        if not missing_ok:
            raise
    return size if not os.path.lexists(path) else 0


def size_of(path: Path) -> int:
    """Bytes of the regular files at a path and below; links are not followed."""
    return sum(found.st_size for found in _below(path) if stat.S_ISREG(found.st_mode))


def newest(path: Path) -> float:
    """The time of the last change at a path and below; 0 where there is nothing."""
    return max((found.st_mtime for found in _below(path)), default=0.0)


def _below(path: Path) -> list[os.stat_result]:
    paths = [str(path)]
    if not path.is_symlink():
        paths += [os.path.join(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files)]
    found = []
    for each in paths:
        with contextlib.suppress(OSError):  # removed in between
            found.append(os.lstat(each))
    return found
