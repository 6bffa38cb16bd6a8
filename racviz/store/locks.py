"""Folders that one process at a time works in: a lock with an owner, so that a message can name who holds it."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from racviz.exceptions import DataError, StorageError
from racviz.processes import Owner, this_process
from racviz.store.drafts import remove
from racviz.store.files import explained, open_regular, read_text, write_text

BEAT = 300.0
"""Seconds between two signs of life of an owner."""
FOREIGN = 2 * 3600.0
"""Seconds without a sign of life after which an owner on another host counts as gone."""


@contextlib.contextmanager
def alone(folder: Path, work: str) -> Iterator[None]:
    """Hold a folder. The system frees it when this process ends, however that ends.

    work: the kind of work, for the message of the one who comes second, such as `sweep`.

    Raises StorageError where another process holds the folder: its number, host and time.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    with explained("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
    owner = folder / ".lock.owner"
    lock = FileLock(folder / ".lock")
    with explained("lock", folder):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(
                f"another {work} is at work in {folder}{_shown(owner)}; wait for it, or name another."
            ) from error
    try:
        _refuse_foreign(owner, folder, work)
        with _signed(owner, work):
            yield
    finally:
        lock.release()


def share(file: IO) -> None:
    """Mark an open file as in use, for `in_use`, until it is closed; does nothing where the file system has no locks."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def in_use(path: Path) -> bool:
    """True if a living process has marked the file by `share`."""
    try:
        import fcntl

        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError, DataError):
        pass
    return False


def _refuse_foreign(owner: Path, folder: Path, work: str) -> None:
    """Raise StorageError for an owner on another host: locks of network file systems do not always reach from one to the other."""
    try:
        kept = json.loads(read_text(owner))
        holder = Owner(str(kept["token"]), int(kept["pid"]), str(kept["start"]))
        seen = owner.stat().st_mtime
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # none, or one that was cut off when its process died
    if not holder.here and time.time() - seen < FOREIGN:
        raise StorageError(
            f"another {work} is at work in {folder}{_shown(owner)}; wait for it, or name another. If it has ended, remove {owner}."
        )


@contextlib.contextmanager
def _signed(owner: Path, work: str) -> Iterator[None]:
    """Name this process as the owner, with a sign of life every few minutes."""
    me, ended = this_process(), threading.Event()
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    text = json.dumps(dict(work=work, host=socket.gethostname(), pid=me.pid, since=began, token=me.host, start=me.start))
    with explained("write", owner):
        if os.path.lexists(owner) and not owner.is_file():
            remove(owner)
        write_text(owner, text)

    def beat() -> None:
        while not ended.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(owner)

    threading.Thread(target=beat, name="racviz-lock", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            owner.unlink()


def _shown(owner: Path) -> str:
    """` (process 123 on host since …)`, or nothing where that is not known."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError, DataError):
        kept = json.loads(read_text(owner))
        return f" (process {int(kept['pid'])} on {str(kept['host'])[:80]!r} since {str(kept['since'])[:20]!r})"
    return ""
