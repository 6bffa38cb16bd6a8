"""Cells of a sweep evaluated one by one in this process or by several worker processes, which end with it, however it ends."""

import contextlib
import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from racviz.processes import end_with_parent
from racviz.store import Store
from racviz.store.files import failure_of_the_machine
from racviz.study import Study, as_parameters
from racviz.study.memory import hand_over
from racviz.study.processes import end_workers, study_of_worker


class Cell(Protocol):
    """One model, pruned in one way or dense, on one set of problems."""

    study: Study
    source: str
    sparsity: float


def run_cell(parameters: dict[str, Any], source: str, sparsity: float, root: str) -> dict[str, Any]:
    """One cell from its parameters alone: what a worker does, in this process or another, on this machine or another.

    root: the folder of the store. Returns the row of results.csv; what was answered is in the store.
    """
    study = study_of_worker(json.dumps(parameters, sort_keys=True), root)
    return study.row(source, sparsity)


def rows_of(cells: Mapping[str, Cell], workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, entry) as cells are finished: `row` or `error`, and `machine` (storage, memory) where an error says nothing about the cell."""
    if workers > 1 and len(cells) > 1:
        yield from _rows_of_workers(cells, workers)
        return
    before = next((cell.study for cell in cells.values()), None)
    for key, cell in cells.items():
        hand_over(before, cell.study)
        before, began = cell.study, time.monotonic()
        try:
            row = cell.study.row(cell.source, cell.sparsity)
        except Exception as error:  # a cell that fails does not take the others with it
            yield key, _failed(error)
        else:
            yield key, {"row": row, "seconds": round(time.monotonic() - began, 3)}


def _failed(error: BaseException) -> dict[str, Any]:
    """The entry of a cell that failed; with `machine` where that says nothing about the cell."""
    machine = failure_of_the_machine(error)
    return {"error": f"{type(error).__name__}: {error}"} | ({"machine": machine} if machine else {})


def _outcome(*cell: Any) -> dict[str, Any]:
    """The entry of a cell, for a worker: on the way to another process an error loses its cause."""
    try:
        return {"row": run_cell(*cell)}
    except Exception as error:
        return _failed(error)


def _rows_of_workers(cells: Mapping[str, Cell], workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    import torch

    left, alone = dict(cells), 0  # alone: how many cells are still to run by themselves
    threads = max(1, torch.get_num_threads() // workers)
    while left:
        batch = dict(itertools.islice(left.items(), 1 if alone else None))
        died = False
        with contextlib.closing(_pooled(batch, workers, threads)) as outcomes:
            for key, done, error in outcomes:
                if isinstance(error, BrokenProcessPool):
                    died = True
                    if len(batch) > 1:
                        continue  # any of those that ran may have been the one: they run again, one by one
                    error = RuntimeError(
                        "its worker died (most often memory ran out); take fewer workers or a smaller batch_size"
                    )
                left.pop(key)
                yield key, done if error is None else _failed(error)
        if not died:
            alone = max(0, alone - 1)
        else:  # the one that kills its worker is among the first `workers` that are left; once it is found, all go on together
            alone = 0 if alone else workers + 1


def _pooled(cells: Mapping[str, Cell], workers: int, threads: int) -> Iterator[tuple[str, Any, BaseException | None]]:
    """(key, entry, error) of cells in processes of their own, which end with the last, with an error, with Ctrl-C or with this process."""
    pool = ProcessPoolExecutor(
        min(workers, len(cells)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(threads, os.getpid()),
    )
    try:
        futures = {
            pool.submit(_outcome, as_parameters(c.study), c.source, c.sparsity, str(c.study.store.root)): key
            for key, c in cells.items()
        }
        for future in as_completed(futures):
            error = future.exception()
            yield futures[future], None if error else future.result(), error
    finally:
        end_workers(pool)
        for root in {cell.study.store.root for cell in cells.values()}:
            Store(root).reclaim()  # their drafts


def _begin(threads: int, parent: int) -> None:
    end_with_parent(parent)
    import torch

    torch.set_num_threads(threads)
