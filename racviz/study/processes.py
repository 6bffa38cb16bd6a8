"""Steps of a study made side by side, by processes of one thread each.

A small model takes one thread (see `racviz.processes.threads`), which leaves the other cores free. The cells of a study do not depend
on each other, so other processes make cells from the end of the list while this one makes them from its beginning. All
results lie in the store: what a process made, the others read, and what a process failed to make, this one makes itself.
"""

import contextlib
import functools
import json
import multiprocessing
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

from racviz.exceptions import check
from racviz.generation import kind_of
from racviz.processes import end_with_parent
from racviz.processes.memory import available_memory
from racviz.processes.threads import small_on_a_cpu
from racviz.store import Store
from racviz.study.parameters import as_parameters

VARIABLE = "RACVIZ_PROCESSES"
"""Environment variable: processes at most, this one included; 1 starts no other."""
MEMORY = 2**30
"""Bytes that a process takes beside the model: Python, torch, what a batch needs."""


def processes_for(study: Any, calls: int) -> int:
    """Processes for so many calls, this one included: 1 where others would not help.

    That is: a model too large for one thread, a backend that has processes of its own, a process that is itself one of
    several, a machine with a single core or with too little memory.
    """
    if not kind_of(study.backend).by_batch or multiprocessing.parent_process() is not None or not small_on_a_cpu(study.dense):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    room = available_memory() // MEMORY
    return max(1, min(cores, room, _most(cores), calls))


def _most(cores: int) -> int:
    """The number of processes that RACVIZ_PROCESSES allows. Raises ParameterError for a value that is no number from 1 on."""
    value = os.environ.get(VARIABLE) or str(cores)
    check(re.fullmatch(r"[1-9]\d{0,5}", value.strip()) is not None, VARIABLE, value, "a whole number from 1 on, or unset")
    return int(value)


class SideBySide:
    """Calls of one step of a study, shared between this process and others.

    Nothing starts before `start`, so that results that are all in the store cost no process.

    Parameters
    ----------
    study : Study
        The study, whose parameters are all that other processes are told.
    step : str
        The name of the step.
    calls : sequence of tuples
        Its arguments, in the order in which this process is going to want the results.
    """

    def __init__(self, study: Any, step: str, calls: Sequence[tuple]):
        self._study, self._step = study, step
        self._left = deque(dict.fromkeys(calls))
        self._taken: dict[tuple, Future] = {}
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Start the other processes, the first time; each takes a call from the end of the list."""
        if self._pool is not None or not self._left:
            return
        others = processes_for(self._study, 1 + len(self._left)) - 1
        if others < 1:
            self._left.clear()
            return
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(others, mp_context=context, initializer=_begin, initargs=(os.getpid(),))
        self._parameters = json.dumps(as_parameters(self._study), sort_keys=True)
        for source in self._study.sources:
            self._study.calibration(source)  # its traces are made here, once, before others want them
        for _ in range(others):
            self._give()

    def _give(self, ended: Future | None = None) -> None:
        """Let a process take the last call that nobody has; done again whenever one has ended."""
        if ended is not None and (ended.cancelled() or isinstance(ended.exception(), BrokenProcessPool)):
            return  # a process was killed: the pool takes no more calls, and may hold its lock while it says so
        with contextlib.suppress(IndexError, RuntimeError):  # none are left, or the pool is closed
            call = self._left.pop()
            future = self._pool.submit(_make, self._parameters, str(self._study.store.root), self._step, call)
            self._taken[call] = future
            future.add_done_callback(self._give)

    def claim(self, call: tuple) -> None:
        """Take a call for this process, or wait for the process that has it."""
        with contextlib.suppress(ValueError):
            self._left.remove(call)
        if call in self._taken:
            self._taken[call].exception()  # a failure is met again here, where it can be told

    def close(self) -> None:
        """End the other processes, whatever they are at."""
        self._left.clear()
        if self._pool is None:
            return
        end_workers(self._pool)
        self._study.store.reclaim()  # drafts of a process that was at work


@contextlib.contextmanager
def side_by_side(study: Any, step: str, calls: Sequence[tuple]) -> Iterator[SideBySide]:
    """Calls shared with other processes, which end with the block."""
    others = SideBySide(study, step, calls)
    before, study.memory.others = study.memory.others, others
    try:
        yield others
    finally:
        study.memory.others = before
        others.close()


def _begin(parent: int) -> None:
    """In another process: one thread, and no life after its parent's."""
    end_with_parent(parent)
    import torch

    torch.set_num_threads(1)


def _make(parameters: str, root: str, step: str, call: tuple) -> None:
    getattr(study_of_worker(parameters, root), step)(*call)


def end_workers(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool, whatever they are at."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join(10)


@functools.lru_cache(maxsize=1)
def study_of_worker(parameters: str, root: str) -> Any:
    """The study of these parameters (JSON), on the store at `root`; kept, so that its models and moments are loaded once."""
    from racviz.study import study_from

    return replace(study_from(json.loads(parameters)), store=Store(Path(root)), progress=False)
