"""Artefacts on disk: content-addressed, written atomically, checked when read; and the resources that ship with racviz.

An artefact is a folder `cache/<kind>/<key>/` of data files and a `manifest.json` with the parameters that made it and a
checksum of each file. It appears by one rename, so a reader never sees half of it and writers may race. No pickle.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from racviz.exceptions import DamagedArtefact, ResourceError, check, unknown
from racviz.store.drafts import Draft, draft_name, drafts_in, new_draft, newest, reclaim, remove, size_of
from racviz.store.files import (
    atomic,
    atomic_files,
    explained,
    hash_file,
    is_regular,
    open_regular,
    read_text,
    regular_file,
    settle,
    write_text,
)  # fmt: skip
from racviz.store.locks import in_use

__all__ = [
    "FORMAT", "Store", "atomic", "atomic_files", "canonical", "explained", "hash_file", "is_regular", "key_of", "open_regular", "read_text",
    "regular_file", "resource", "write_text",
]  # fmt: skip

FORMAT = 1
"""Part of every key: raised when the meaning of an artefact changes, so that old ones are not read as new ones."""
KEY = re.compile(r"[0-9a-f]{24}")
TRIES = 10
"""Times that an artefact is made where other processes keep removing or damaging it."""
BESIDE = ".pyramid"
"""The end of folders that may lie beside the files of an artefact; hidden files may too."""

UNSTAMPED = r"[0-9a-f]{24}\.\d+"
"""Names of drafts that earlier releases made."""

T = TypeVar("T")


def resource(path: str = "") -> Path:
    """A packaged file or folder, `data/…` or `notebooks/…`, in an installation and in a checkout alike.

    Raises ResourceError, a FileNotFoundError that names the resource.
    """
    here = Path(__file__).parents[1]
    for root in (here / "_resources", here.parent):
        if (root / path).exists():
            return root / path
    raise ResourceError(f"racviz carries no {path!r}; the installation is incomplete: install it again")


def canonical(value: Any) -> Any:
    """A JSON-ready form of a value that is the same for equal values; for keys."""
    if is_dataclass(value) and not isinstance(value, type):
        return canonical(asdict(value))
    if isinstance(value, dict):
        return {str(k): canonical(value[k]) for k in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a key part must be plain data; got {type(value).__name__}")


def key_of(**parts: Any) -> str:
    """The key of an artefact: a hash of everything that determines its content."""
    from racviz import __version__

    text = json.dumps({"format": FORMAT, "racviz": __version__, **canonical(parts)}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Store:
    """The artefacts under one folder."""

    root: Path
    _reclaimed: list[bool] = field(default_factory=list, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    @classmethod
    def default(cls) -> "Store":
        """`$RACVIZ_CACHE`, or racviz in the user's cache folder."""
        if folder := os.environ.get("RACVIZ_CACHE"):
            return cls(Path(folder))
        from platformdirs import user_cache_path

        return cls(user_cache_path("racviz"))

    def path(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def cached(self, kind: str, parts: dict[str, Any], make: Callable[[Path], None], read: Callable[[Path], T]) -> T:
        """The artefact of `kind` made by `parts`: read if it is there and whole, else made in a folder and kept.

        A damaged artefact is reported by a warning, removed and made again. The first call of a store removes what killed runs left.
        """
        key = key_of(kind=kind, **parts)
        folder = self.path(kind, key)
        if not self._reclaimed:
            self._reclaimed.append(True)
            self.reclaim()
        for attempt in range(TRIES):
            if found := self._found(folder, read):
                return found[0]
            self._make(kind, key, parts, make)
            try:
                return read(folder)
            except Exception:
                if attempt == TRIES - 1 or self._whole(folder):
                    raise  # else somebody cleaned the cache in between
        raise AssertionError("the last attempt returns or raises")

    def _make(self, kind: str, key: str, parts: dict[str, Any], make: Callable[[Path], None]) -> None:
        """Make an artefact in a draft, with its manifest, and move it to its place."""
        folder, began = self.path(kind, key), time.monotonic()
        with explained("write", folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = new_draft(folder.parent, key)
            try:
                make(draft)
                files = {p.relative_to(draft).as_posix(): hash_file(p) for p in sorted(draft.rglob("*")) if p.is_file()}
                for name in files:
                    settle(draft / name)
                manifest = {"kind": kind, "key": key, "format": FORMAT, "seconds": round(time.monotonic() - began, 3)}
                manifest |= {"created": time.strftime("%Y-%m-%dT%H:%M:%S"), "parameters": canonical(parts), "files": files}
                write_text(draft / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))
                self._place(draft, folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def _found(self, folder: Path, read: Callable[[Path], T]) -> list[T]:
        """The artefact, if it is there and whole; else nothing, and the way is free to make it."""
        if not os.path.lexists(folder):
            return []
        verified = False
        try:
            with explained("read", folder):
                self.verify(folder)
            verified = True
            return [read(folder)]
        except DamagedArtefact as error:
            if os.path.lexists(folder):
                warnings.warn(f"{error} It is made again.", stacklevel=3)
                self._remove_damaged(folder, verified)
        except Exception:
            if not verified or self._whole(folder):
                raise  # else somebody cleaned the cache in between
        return []

    def _whole(self, folder: Path) -> bool:
        try:
            return bool(self.verify(folder))
        except DamagedArtefact:
            return False

    def _place(self, draft: Path, folder: Path) -> None:
        """Move a finished artefact to its place; one that another writer put there meanwhile stays if it is whole."""
        for attempt in range(TRIES):
            try:
                draft.rename(folder)
                return
            except OSError:
                if attempt == TRIES - 1 or not os.path.lexists(folder):
                    raise
            try:
                self.verify(folder)
                return
            except DamagedArtefact:
                self._remove_damaged(folder)

    def _remove_damaged(self, folder: Path, verified: bool = False) -> None:
        """Remove what is in the place of an artefact: a folder, a file, a link.

        It is moved away first, in one step, and looked at again: between the look and the move another process may have made it anew.
        verified: its checksums are right, and its reader found the damage.
        """
        aside = folder.with_name(draft_name(folder.name))
        with explained("remove the damaged", folder):
            try:
                os.rename(folder, aside)
            except FileNotFoundError:
                return  # another process has removed it
            with contextlib.suppress(DamagedArtefact, OSError):
                if not verified and self.verify(aside, folder.name):
                    os.rename(aside, folder)
            remove(aside, missing_ok=True)

    def verify(self, folder: Path, key: str | None = None) -> dict[str, Any]:
        """The manifest of an artefact whose files are all as they were written, and no others are there.

        key: that of the artefact where the folder has another name.

        Raises DamagedArtefact, and OSError where it may not be read, which is no damage.
        """
        try:
            manifest = json.loads(read_text(folder / "manifest.json"))
            wrong = _wrong(manifest, folder.parent.name, key or folder.name)
            files = {} if wrong else manifest["files"]
            if more := sorted(_present(folder) - {"manifest.json", *files}):
                wrong = wrong or f"{more[0][:80]!r} is not in its manifest"
            wrong = wrong or next(
                (f"{n!r} is not what was written" for n, d in files.items() if hash_file(folder / n) != d), ""
            )
        except PermissionError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            raise DamagedArtefact(f"the cached artefact {folder} is damaged: {wrong}.")
        return manifest

    def entries(self) -> list[dict[str, Any]]:
        """A row an artefact: kind, key, created, seconds (to make it), bytes; newest first. `created` is `damaged` where that is seen."""
        rows = []
        for path in self._artefacts():
            try:
                manifest = dict(json.loads(read_text(path / "manifest.json")))
            except (OSError, ValueError, TypeError, RecursionError):
                manifest = {"created": "damaged"}
            row = {
                "kind": path.parent.name,
                "key": path.name,
                "created": manifest.get("created"),
                "seconds": manifest.get("seconds"),
            }
            rows.append(row | {"bytes": size_of(path)})
        return sorted(rows, key=lambda row: str(row["created"]), reverse=True)

    def drafts(self) -> list[Draft]:
        """Drafts of runs at work, and those that killed ones left (`Draft.abandoned`)."""
        return [
            draft
            for kind in self._kinds()
            for draft in drafts_in(kind)
            if draft.owner is not None or re.fullmatch(UNSTAMPED, draft.name)
        ]

    def reclaim(self) -> int:
        """Remove what killed runs left; returns the bytes freed. What a living process writes stays."""
        return sum(reclaim(kind, UNSTAMPED) for kind in self._kinds())

    def prune(self, older_than_days: float = 0.0, kind: str | None = None) -> int:
        """Remove artefacts (and what killed runs left behind) older than so many days; returns the bytes freed.

        Only what is named as a store names it is touched, and nothing that a living process writes.
        kind: only artefacts of this kind; `drafts` are what killed runs left, `journals` the rows of runs that did not end.

        Raises ParameterError for a kind that is not there.
        """
        check(older_than_days >= 0, "older_than_days", older_than_days, "a number >= 0")
        artefacts, left, journals = self._artefacts(), self.drafts(), sorted(self.root.glob("journals/*.jsonl"))
        kinds = {path.parent.name for path in (*artefacts, *journals, *(draft.path for draft in left))} | (
            {"drafts"} if left else set()
        )
        if kind is not None and kinds and kind not in kinds:
            raise unknown("kind", kind, sorted(kinds))
        limit = time.time() - older_than_days * 86_400
        gone = [path for path in artefacts if kind in (None, path.parent.name) and _changed(path) <= limit]
        gone += [path for path in journals if kind in (None, "journals") and _changed(path) <= limit and not in_use(path)]
        for draft in left:  # a name without an owner is judged by the age that was asked for
            if kind in (None, "drafts", draft.path.parent.name):
                old = newest(draft.path) <= limit if draft.owner is None else draft.abandoned
                gone += [draft.path] if old else []
        freed = 0
        for path in gone:
            aside = path if Draft.parse(path) else path.with_name(draft_name(path.name))
            with explained("remove", path), contextlib.suppress(FileNotFoundError):
                os.rename(path, aside)  # in one step, so that nobody reads half of an artefact
                freed += remove(aside)
        return freed

    def _kinds(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return sorted(path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))
        return []

    def _artefacts(self) -> list[Path]:
        """Everything that has an artefact's name, also files and links."""
        found: list[Path] = []
        for kind in self._kinds():
            with contextlib.suppress(OSError):
                found += sorted(kind / name for name in os.listdir(kind) if KEY.fullmatch(name))
        return found


def _wrong(manifest: Any, kind: str, key: str) -> str:
    """A manifest's fault: it is another artefact's, or names no files, or files elsewhere; empty where it has none."""
    for name, value in (("kind", kind), ("key", key), ("format", FORMAT)):
        if manifest[name] != value:
            return f"its manifest has the {name} {str(manifest[name])[:80]!r} in place of {value!r}"
    files = manifest["files"]
    if not isinstance(files, dict) or not files:
        return "its manifest names no files"
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or name in (".", "manifest.json"):
            return f"its manifest names {name[:80]!r}, which is no file of its own"
    return ""


def _present(folder: Path) -> set[str]:
    """The files and links below a folder, but hidden ones and what lies beside an artefact."""
    found = set()
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not name.endswith(BESIDE)]
        links = [name for name in folders if os.path.islink(os.path.join(here, name))]
        names = [os.path.join(here, name) for name in (*files, *links) if not name.startswith(".")]
        found |= {Path(name).relative_to(folder).as_posix() for name in names}
    return found


def _changed(path: Path) -> float:
    """When a file was last changed, in seconds of the epoch; never, for one that another process has removed."""
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path).st_mtime
    return math.inf
