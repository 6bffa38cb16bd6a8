"""Minutes a cell, from a timing pass: one worker, warmed up, cells interleaved, never from cached or resumed work."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from racviz.evaluation import time_generation
from racviz.exceptions import check
from racviz.models import LoadedModel
from racviz.processes.threads import threads_for
from racviz.store.parquet import read_parquet, write_parquet
from racviz.study.memory import hand_over

ROUNDS = 2
FAR = 0.25
"""Largest relative difference of two rounds' times before the minutes are doubted."""


def check_timing(count: object) -> None:
    """Raise ParameterError for a number of problems of a timing pass that is none."""
    ok = isinstance(count, int) and not isinstance(count, bool) and count >= 0
    check(ok, "timing_problems", count, "an integer >= 0; 0 makes no timing pass")


@dataclass(frozen=True)
class Timing:
    """Result of a timing pass: a frame with a row a cell, in the order given, and a sentence on its reliability."""

    frame: Any
    """minutes (the mean over rounds), timed_problems."""
    said: str


def time_cells(cells: Sequence[tuple[Any, str, float]], count: int) -> Timing:
    """Minutes that each cell, a (study, source, sparsity), takes for the first `count` test problems, or for all if there are fewer.

    Cells that answer the same problems with the same sampling are interleaved in one pass: ROUNDS times over all, each time in another
    order. A pass is kept, for this machine.
    """
    import pandas as pd

    passes: dict[Any, list[int]] = {}
    for place, (study, _, _) in enumerate(cells):
        passes.setdefault(_conditions(study, count), []).append(place)
    frame = pd.DataFrame({"minutes": float("nan"), "timed_problems": 0.0}, index=range(len(cells)))
    spreads, loads = [], []
    for places in passes.values():
        found = _one_pass([cells[place] for place in places], count)
        by_cell = found.groupby(found["name"].astype(int))["minutes"]
        frame.loc[places, "minutes"] = by_cell.mean().to_numpy()
        frame.loc[places, "timed_problems"] = float(found["problems"].iloc[0])
        spreads += list((by_cell.max() / by_cell.min() - 1).to_numpy())
        loads += list(found["load"])
    return Timing(frame, _said(spreads, loads, int(frame["timed_problems"].max())))


def _said(spreads: list[float], loads: list[float], problems: int) -> str:
    cores = machine()["cores"]
    text = (
        f"Minutes: {problems} problems, one worker, warmed up, the cells interleaved in {ROUNDS} rounds that differ by "
        f"{100 * max(spreads):.0f} % at most; load of the machine before each {min(loads):.1f} to {max(loads):.1f} on {cores} cores"
    )
    busy = max(loads) > 1.5 * cores
    if busy:
        return f"{text}: other work was going on, so that minutes say little."
    return f"{text}: too far apart for minutes to say much." if max(spreads) > FAR else f"{text}."


def _conditions(study: Any, count: int) -> tuple:
    return study.test()[:count].fingerprint, study._sampling, study.batch_size, study.backend, study.store.root


def _one_pass(cells: list[tuple[Any, str, float]], count: int):
    """The frame of `time_generation`, `name` being the place of the cell."""
    first = cells[0][0]
    held = [first]  # the study whose models are in memory

    def load(study: Any, source: str, sparsity: float) -> LoadedModel:
        hand_over(held[0], study)
        held[0] = study
        return study.dense if source == "dense" else study.prune(source, sparsity)

    def make(folder: Path) -> None:
        lazy = {str(place): (lambda cell=cell: load(*cell)) for place, cell in enumerate(cells)}
        how = dict(batch_size=first.batch_size, backend=first.backend, progress=first.progress, rounds=ROUNDS)
        write_parquet(folder / "data.parquet", time_generation(lazy, first.test()[:count], first._sampling, **how), {})

    where = [platform.node(), *machine().values(), accelerator(first.dense)]
    key = dict(cells=[study._cell_key(source, sparsity, study.mode) for study, source, sparsity in cells],
               problems=first.test()[:count].fingerprint, sampling=first._sampling, batch_size=first.batch_size,
               backend=first.backend, machine=where, rounds=ROUNDS)  # fmt: skip
    return first._cached("timing", key, make, lambda folder: read_parquet(folder / "data.parquet"))[0]


def accelerator(loaded: LoadedModel) -> str:
    """The computing hardware, for the key of a timing: device, its name, threads, torch."""
    import torch

    name = torch.cuda.get_device_name(loaded.device) if loaded.device.type == "cuda" else ""
    return f"{loaded.device} {name} {loaded.dtype} {threads_for(loaded)} threads, torch {torch.__version__}"


def machine() -> dict[str, Any]:
    """The machine in the words that a reader of a timing wants: processor, cores, memory, system. No names, no paths."""
    import psutil

    return {
        "system": platform.system(), "processor": platform.machine(), "cores": psutil.cpu_count(logical=True),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }  # fmt: skip
