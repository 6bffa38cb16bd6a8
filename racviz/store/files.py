"""Files: written whole or not at all, read only where they are regular, and failures of the disk explained."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from racviz.exceptions import DataError, StorageError
from racviz.store.drafts import draft_name, reclaim, remove

REASONS = {
    errno.ENOSPC: "the disk is full; free space or set RACVIZ_CACHE to a folder elsewhere",
    errno.EDQUOT: "your quota is used up; free space or set RACVIZ_CACHE to a folder elsewhere",
    errno.EFBIG: "the file would be larger than is allowed here; set RACVIZ_CACHE (or the output folder) to one elsewhere",
    errno.EACCES: "no permission; set RACVIZ_CACHE (or the output folder) to one you may read and write",
    errno.EPERM: "no permission; set RACVIZ_CACHE (or the output folder) to one you may read and write",
    errno.EROFS: "the file system is read-only; set RACVIZ_CACHE (or the output folder) to one you may write to",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EEXIST: "a part of the path is a file, not a folder; choose another path",
    errno.EISDIR: "it is a folder; give the path of a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}
OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOLCK}
OF_MEMORY = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN}
"""Numbers of errors that say nothing about the work at hand: the same call succeeds on a machine with room."""
INCOMPLETE = "incomplete"
"""The key by which a seal says that the files beside it are of two savings."""
TURN = 60.0
"""Seconds to wait for another process that moves files into the same folder."""
SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


# --- failures ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def explained(doing: str, path: Path) -> Iterator[None]:
    """Turn a full disk or a folder without permission into an error that says so and what to do."""
    try:
        yield
    except Exception as error:
        reason = REASONS.get(system_error(error))
        if reason is None or isinstance(error, StorageError):
            raise
        raise StorageError(f"could not {doing} {path}: {reason}. What was finished before is kept.") from error


def system_error(error: BaseException) -> int | None:
    """The system's number of an error. Libraries written in Rust have it in the message alone, numpy not even there."""
    if isinstance(error, OSError) and (error.errno is not None or isinstance(error, StorageError)):
        return error.errno
    if isinstance(error, OSError):
        return errno.ENOSPC if re.search(r"\d+ requested and \d+ written", str(error)) else None
    if type(error) is Exception or type(error).__name__ == "SafetensorError":
        found = re.search(r"\(os error (\d+)\)", str(error))
        return int(found[1]) if found else None
    return None


def failure_of_the_machine(error: BaseException | None) -> str | None:
    """`storage` or `memory` for an error that a full disk, a lost file system or missing memory caused; else None."""
    while error is not None:
        number = system_error(error)
        if isinstance(error, StorageError) or number in OF_THE_DISK:
            return "storage"
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or number in OF_MEMORY:
            return "memory"
        if isinstance(error, RuntimeError) and re.search(
            r"can(?:no|')t allocate memory|CUDA out of memory", str(error), re.IGNORECASE
        ):
            return "memory"
        error = error.__cause__
    return None


# --- reading -----------------------------------------------------------------------------------------------------------


def regular_file(path: str | Path) -> Path:
    """The path, if a regular file or a link to one is there: reading anything else may never end.

    Raises DataError for a folder, a FIFO, a socket, a device, a link to one of these or to nothing, and where nothing is.
    """
    try:
        _check_regular(path, os.stat(path))
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = "is a link to nothing" if os.path.islink(path) else "does not exist"
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            reason = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise DataError(f"the file {path} {reason}.") from error
    return Path(path)


def is_regular(path: str | Path) -> bool:
    """True for a regular file and a link to one."""
    return os.path.isfile(path)


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading bytes. Raises DataError as `regular_file` does, but OSError where nothing is."""
    _check_regular(path, os.stat(path))  # before it is opened: that alone hangs on a FIFO and rewinds a tape
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        _check_regular(path, os.fstat(file))  # replaced in between
        return os.fdopen(file, "rb")
    except BaseException:
        os.close(file)
        raise


def read_text(path: str | Path) -> str:
    """The text of a regular file in UTF-8. Raises as `open_regular` does, and UnicodeDecodeError."""
    with open_regular(path) as file:
        return file.read().decode("utf-8")


def _check_regular(path: str | Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = SPECIAL.get(stat.S_IFMT(found.st_mode), "not a file")
        raise DataError(f"{path} is {kind}, not a regular file; put the file itself there, or remove it.")


def hash_file(path: Path) -> str:
    """SHA-256 of a regular file. Raises as `open_regular` does."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- writing -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and vanishes when it does not."""
    path = Path(path)
    with explained("write", path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists() and not is_regular(path):
            raise StorageError(f"could not write {path}: it is a device, a FIFO or a socket; give the path of a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        reclaim(path.parent, re.escape(path.name))
        temporary = path.with_name(draft_name(path.name))
        try:
            yield temporary
            settle(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_files(folder: Path, *, seal: str | None = None, stale: Sequence[str] = ()) -> Iterator[Path]:
    """A temporary folder inside `folder` whose files move into it, over what was there, when the block ends well.

    seal: name of a JSON file that speaks of the others. Before the first file moves it is replaced by one that says `incomplete`, and the
    new one moves last: whenever the process is killed, a seal never stands beside files of another saving.
    stale: patterns of names that are removed, before the seal comes, where the temporary folder has no such file.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    reclaim(folder, "")
    draft = folder / draft_name("files")
    try:
        draft.mkdir()
        yield draft
        for path in sorted(draft.rglob("*")):
            if path.is_file():
                settle(path)
        with _turn(folder):
            _move_in(draft, folder, seal, stale)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only where nothing came of it: it is empty


def _move_in(draft: Path, folder: Path, seal: str | None, stale: Sequence[str]) -> None:
    names = sorted(path.name for path in draft.iterdir())
    if seal is not None:
        write_text(
            folder / seal, json.dumps({INCOMPLETE: "files of two savings may lie here: a saving was killed, or is at work"})
        )
    for name in names:
        if name != seal:
            if (draft / name).is_dir() and os.path.lexists(folder / name):
                remove(folder / name)  # a folder takes the place of an empty one only
            os.replace(draft / name, folder / name)
    for path in {path for pattern in stale for path in folder.glob(pattern)}:
        if path.name not in names:
            path.unlink(missing_ok=True)
    if seal in names:
        os.replace(draft / seal, folder / seal)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait for another process that moves its files into the same folder, where the file system has locks on folders."""
    try:
        import fcntl

        place = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        end = time.monotonic() + TURN
        while time.monotonic() < end:
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:  # as on NFS
                break
        yield
    finally:
        os.close(place)


def settle(path: Path) -> None:
    """Flush a finished file to the disk, and let those read it whom the umask lets: safetensors writes for its owner alone."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if (wanted := mode | (0o666 & ~umask())) != mode:
            with contextlib.suppress(PermissionError, NotImplementedError):  # file systems without modes
                os.chmod(path, wanted)


def umask() -> int:
    """The process's umask, read without changing it where the system says it: other threads write files too."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            return int(next(line for line in file if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
