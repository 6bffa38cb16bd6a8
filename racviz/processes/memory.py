"""Memory that is free and in all, within the limits of a container too."""

import contextlib
from pathlib import Path

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files of the limit of a container's memory, and of its usage (version 2 and 1)."""


def available_memory() -> int:
    """Bytes of memory that are free, on the machine and within the limits of the container."""
    import psutil

    free = [limit - used for limit, used in _containers()]
    return max(0, min([psutil.virtual_memory().available, *free]))


def total_memory() -> int:
    """Bytes of memory in all: the machine's, or the container's limit where that is less."""
    import psutil

    return min([psutil.virtual_memory().total, *(limit for limit, _ in _containers())])


def memory_limit() -> int | None:
    """The container's limit in bytes; None where there is none below the machine's memory."""
    import psutil

    limit = min((limit for limit, _ in _containers()), default=None)
    return limit if limit is not None and limit < psutil.virtual_memory().total else None


def _containers() -> list[tuple[int, int]]:
    """Limit and usage, in bytes, of each control group that limits this process."""
    found = []
    for limit, used in CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such limit
            found.append((int(Path(limit).read_text()), int(Path(used).read_text())))
    return found
