"""The number of threads for a model's size: a small model takes one, so that it does not wait for other programs.

The threads of one product wait for one another. Where another program holds a core, each of the many small products of a
small model waits until the system lets the thread on that core go on, which takes far longer than the product.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

SMALL = 50_000_000
"""Parameters of a model that gains little by a second thread, and loses much where another program holds a core."""


def small_on_a_cpu(loaded) -> bool:
    """True for a model on a CPU that is so small that threads cost more than they bring (benchmarks/threads.py)."""
    return loaded.device.type == "cpu" and sum(weight.numel() for weight in loaded.model.parameters()) < SMALL


def threads_for(loaded) -> int:
    """Threads for work on this model: one for a small model, else as many as torch has."""
    import torch

    return 1 if small_on_a_cpu(loaded) else torch.get_num_threads()


@contextlib.contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads within the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sized_threads(function: Callable) -> Callable:
    """Decorate a function whose first argument is a model: it runs with the threads for that model's size."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any):
        loaded = next(iter([*args, *kwargs.values()]), None)
        if not hasattr(loaded, "device"):  # what is wrong with it, the function says itself
            return function(*args, **kwargs)
        with using_threads(threads_for(loaded)):
            return function(*args, **kwargs)

    return run
