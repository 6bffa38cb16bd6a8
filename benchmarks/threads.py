"""Threads and processes for small models, alone and beside another program: `python benchmarks/threads.py [PART …]`.

decode: tokens a second of tiny-reasoner's decode loop with 1, 16 and 128 rows on one and on two threads.
cells: minutes for the ten cells of a study (three sources, three sparsities, 32 problems) in one process on two threads, in one on
    one thread, and in two on one thread each; models pruned beforehand.
demo: minutes of `racviz demo`, from nothing.

Each part runs alone first, then beside one process that computes without pause. Results go to benchmarks/results/threads-PART.csv,
with the ratio of both.
"""

import argparse
import contextlib
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch

import racviz as rv
from racviz.generation import Request, Sampling, generate
from racviz.processes import threads as threads_module
from racviz.store import Store
from racviz.study.processes import VARIABLE

RESULTS = Path(__file__).parent / "results"
BUSY = "while True: sum(range(10_000))"


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute without pause."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


@contextlib.contextmanager
def forced(threads: int, processes: int) -> Iterator[None]:
    """So many threads for small models too, and so many processes."""
    with (
        mock.patch.object(threads_module, "SMALL", threads_module.SMALL if threads == 1 else 0),
        mock.patch.dict(os.environ, {VARIABLE: str(processes)}),
    ):
        torch.set_num_threads(threads)
        yield


def decode() -> Iterator[tuple[dict, Callable[[], float]]]:
    loaded = rv.load_model("tiny-reasoner")
    requests = [Request(tuple(loaded.render(p.text)), p.id) for p in rv.load_problems("arithmetic", limit=128)]

    def rate(rows: int, threads: int) -> float:
        with forced(threads, 1):
            began = time.perf_counter()
            tokens = sum(len(done.output_ids) for _, done in generate(loaded, requests[:rows], Sampling(160), rows))
            return tokens / (time.perf_counter() - began)

    for rows in (1, 16, 128):
        for threads in (1, 2):
            yield dict(rows=rows, threads=threads, unit="tokens/s"), lambda rows=rows, threads=threads: rate(rows, threads)


def cells() -> Iterator[tuple[dict, Callable[[], float]]]:
    folder = Path(tempfile.mkdtemp(prefix="racviz-threads-"))
    shared = dict(model="tiny-reasoner", problems=32, sparsities=[0.5, 0.6, 0.7], progress=False)
    first = rv.Study(**shared, run=str(folder / "run"), store=Store(folder / "store"))
    for source, sparsity in first.cells[1:]:
        first.prune(source, sparsity)

    def minutes(threads: int, processes: int, seed: int) -> float:
        with forced(threads, processes):
            study = replace(first, budget=first.budget - seed)  # other answers: none is in the store
            began = time.perf_counter()
            study.evaluations()
            return (time.perf_counter() - began) / 60

    for place, (threads, processes) in enumerate(((2, 1), (1, 1), (1, 2))):
        used = iter(range(1 + 100 * place, 100 + 100 * place))
        label = dict(processes=processes, threads=threads, unit="minutes")
        yield label, lambda t=threads, p=processes, u=used: minutes(t, p, next(u))


def demo() -> Iterator[tuple[dict, Callable[[], float]]]:
    def minutes() -> float:
        with tempfile.TemporaryDirectory(prefix="racviz-demo-") as folder:
            began = time.perf_counter()
            environment = os.environ | {"RACVIZ_CACHE": f"{folder}/cache"}
            command = [sys.executable, "-m", "racviz", "demo", "--out", f"{folder}/reports"]
            subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
            return (time.perf_counter() - began) / 60

    yield dict(unit="minutes"), minutes


PARTS = {"decode": decode, "cells": cells, "demo": demo}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is named")
    for name in parser.parse_args().parts or PARTS:
        rows = []
        for label, run in PARTS[name]():
            alone = run()
            with busy(1):
                beside = run()
            slower = alone / beside if label["unit"] == "tokens/s" else beside / alone
            rows.append(label | dict(alone=round(alone, 2), beside_one=round(beside, 2), times_slower=round(slower, 2)))
            print(name, rows[-1], flush=True)
        with (RESULTS / f"threads-{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
