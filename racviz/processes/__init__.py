"""Processes: their identity, children that end with their parent, and SIGTERM handled as Ctrl-C."""

import contextlib
import ctypes
import hashlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Owner:
    """A process among all processes of all hosts and times. A process number alone is soon another process's."""

    host: str
    """A hash of the host's name, its machine id and its space of process numbers (a container has its own)."""
    pid: int
    start: str
    """A hash of the boot and the time in it at which the process began."""

    @property
    def here(self) -> bool:
        """True if the process runs, or ran, where this one does: only then is `living` an answer."""
        return self.host == host_token()

    @property
    def living(self) -> bool:
        """True if the process runs on this host, or if that cannot be seen."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass  # another user's
        start = start_token(self.pid)
        return start is None or start == self.start


def this_process() -> Owner:
    """The owner of what this process writes."""
    return Owner(host_token(), os.getpid(), start_token(os.getpid()) or _hash("unknown"))


def host_token() -> str:
    """A hash that tells hosts, and containers on one host, apart."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="utf-8").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return _hash(*parts)


def start_token(pid: int) -> str | None:
    """A hash that no later process with this number shares; `ended` for a zombie, None where it cannot be seen."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        if state in "ZX":
            return "ended"
        return _hash(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip(), fields[18])
    except (OSError, ValueError, IndexError):
        pass  # not Linux, or another user's process on a host that hides those
    import psutil

    try:
        return _hash(str(round(psutil.Process(pid).create_time())))
    except psutil.Error:
        return None


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:8]


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends. parent: the parent's process number.

    If the parent ended before the kernel was asked, this process ends now.
    """
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class Terminated(KeyboardInterrupt):
    """SIGTERM: what is open is closed and what is finished is kept, as on Ctrl-C."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated on SIGTERM inside the block; nothing is changed where somebody handles the signal already."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def terminate(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
