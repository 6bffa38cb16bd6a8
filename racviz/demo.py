"""The demo: a first picture, three reports on the embedded model, and the numbers that matter."""

import html
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from racviz.progress import show_lines

SPARSITIES = [0.4, 0.5, 0.6]
SHOWN = 0.5
"""Sparsity whose errors are drawn first: RAC still answers there, and prompt-only does not."""
FIRST = 16
"""Test problems of the first picture."""
TIMED = 4
"""Problems of the timing pass; each of the ten cells answers them once more, alone and uncached."""
REPORTS = ("figure2_error_heatmap", "runtime_vs_sparsity", "cot_lengths")
MINUTES, FIRST_SECONDS, GFLOPS = 5.0, 41.0, 105.0
"""Duration of the demo and of its first picture on the reference machine, two cores with AVX-512,
and the speed of one of its cores, in 10⁹ operations a second, as `Pace.measured` takes it."""
SLOW = 1.3
"""Times that a machine may be slower than the reference machine before the demo says so."""
MULTIPLY = """
import sys, time
import numpy as np
size, seconds = int(sys.argv[1]), float(sys.argv[2])
a = np.ones((size, size), np.float32)
a @ a
products, began = 0, time.perf_counter()
while (elapsed := time.perf_counter() - began) < seconds or not products:
    a @ a
    products += 1
print(products * 2 * size**3 / elapsed / 1e9)
"""
"""A program: the mean speed of products of matrices, in 10⁹ operations a second."""
PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 1180px; margin: 24px auto; padding: 0 16px; }}
</style></head><body>
<h1>{title}</h1>
<p>{finding}</p>
<p>{problems} test problems. The reports on all of them: <a href="index.html">index.html</a>, once
they are ready.</p>
{figure}
</body></html>
"""


@dataclass(frozen=True)
class Pace:
    """The speed of this machine just now.

    Parameters
    ----------
    gflops : float
        10⁹ operations a second of a product of matrices, on one core, beside other programs.
    load : float
        Processes that wanted a core in the last minute, on average.
    cores : int
        Cores that this process may use.
    """

    gflops: float
    load: float
    cores: int

    @classmethod
    def measured(cls, seconds: float = 0.5, size: int = 512) -> "Pace":
        """Multiply matrices for half a second, in a process of one thread.

        The models of the demo take one thread each, and threads beside other programs wait for each other.
        """
        one = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        command = [sys.executable, "-c", MULTIPLY, str(size), str(seconds)]
        done = subprocess.run(command, env=os.environ | one, capture_output=True, text=True, check=True)
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        return cls(float(done.stdout), load, cores_here())

    @property
    def slower(self) -> float:
        """Times that the demo takes longer than on the reference machine; 1 at least."""
        return max(1.0, GFLOPS / self.gflops) * (2 / min(2, self.cores))

    def lines(self) -> list[str]:
        """The expected duration, and the reason where it is long."""
        minutes, first = MINUTES * self.slower, FIRST_SECONDS * self.slower
        lines = [f"demo: {len(REPORTS)} reports in about {minutes:.0f} minutes; a first picture in about {first:.0f} seconds."]
        if self.slower > SLOW:
            reason = f"{self.gflops:.0f} of {GFLOPS:.0f} GFLOP/s a core"
            reason += ", and a single core" if self.cores == 1 else ""
            if self.load >= self.cores:
                reason = f"a load of {self.load:.1f} on {self.cores} cores; {reason}"
            lines.append(f"That is {self.slower:.1f} times the usual time: {reason}.")
        return lines


def cores_here() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_demo(out: Path, problems: int = 60, model: str = "tiny-reasoner") -> Path:
    """Draw the first picture, run the reports at 40, 50 and 60 %, build the index.

    Prints the places of the pages and the numbers that came out.

    Returns
    -------
    path
        The index.
    """
    from racviz.reports import Kernels, build_index, run_report

    began = time.monotonic()
    runs = Path(out).resolve() / "runs"
    parameters = {"model": model, "sparsities": SPARSITIES, "problems": problems}
    show_lines([*Pace.measured().lines(), f"Writes {out}/; finished steps are kept in the cache."])
    with Kernels(len(REPORTS), early=True) as kernels:
        page = first_picture(parameters, Path(out), runs)
        seconds = time.monotonic() - began
        print(f"First picture: {page}  ({seconds:.0f} seconds; open it now)", flush=True)
        for name in REPORTS:
            timed = {"timing_problems": min(TIMED, problems)}
            extra = timed if name == "runtime_vs_sparsity" else {}
            own = {"run": str(runs / name)}
            page = run_report(name, parameters | extra | own, out, kernels=kernels)
            print(f"{page}  ({time.monotonic() - began:.0f} seconds)", flush=True)
    index = build_index(out)
    print("\n".join(summary(parameters, runs)))
    print(f"\nOpen {index}  ({(time.monotonic() - began) / 60:.1f} minutes)")
    return index


def first_picture(parameters: dict[str, Any], out: Path, runs: Path) -> Path:
    """Write a page with Figure 2 on a few problems.

    Traces, calibration sets and pruned models are those of the first report, which takes them from
    the cache. Rollouts and errors of these few problems are extra.

    Parameters
    ----------
    parameters : dict
        model, sparsities and problems of the demo.
    out, runs : path
        Folders of the pages and of the runs.
    """
    from racviz import figures, statistics
    from racviz.figures.notebook import CONFIG, offline
    from racviz.store import write_text

    study = first_study(parameters, runs)
    errors = study.errors(SHOWN)
    figure = figures.figure2(errors, "prompt", "rac")
    text = figure.to_html(full_html=False, include_plotlyjs=True, config=CONFIG)
    page = PAGE.format(
        title="Prompt-only calibration against RAC, token by token",
        finding=html.escape(statistics.ratio_sentence(errors, "prompt", "rac")),
        problems=study.problems,
        figure=text,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "first_picture.html", offline(page))
    return out / "first_picture.html"


def first_study(parameters: dict[str, Any], runs: Path):
    """The study of the first report on a few problems, with the two sources that are drawn."""
    from racviz.reports import values_of
    from racviz.study import study_from
    from racviz.study.parameters import parameter_names

    names = parameter_names()
    values = {k: v for k, v in values_of(REPORTS[0], parameters).items() if k in names}
    few = {"problems": min(FIRST, values["problems"]), "sparsities": [SHOWN]}
    return study_from(values | few | {"sources": ["prompt", "rac"], "run": str(runs / "first_picture")})


def summary(parameters: dict[str, Any], runs: Path) -> Sequence[str]:
    """Median ratio on prompt and decode tokens, and accuracy by source, from the run folders."""
    import pandas as pd

    from racviz.reconstruction import ReconstructionErrors
    from racviz.statistics import ratio_sentence

    name = f"hidden-final-{SHOWN:g}-one-pass.parquet"
    errors = ReconstructionErrors.load(runs / REPORTS[0] / "errors" / name)
    results = pd.read_csv(runs / REPORTS[1] / "results.csv")
    lines = ["", ratio_sentence(errors, "prompt", "rac"), ""]
    lines.append(f"Accuracy on {parameters['problems']} problems, ± SE:")
    columns = " ".join(f"{sparsity:>11.0%} " for sparsity in SPARSITIES)
    lines.append(f"{'':>12} {'dense':>12} " + columns)
    for source in results["source"].unique():
        rows = {row.sparsity: f"{row.accuracy:.2f} ± {row.se:.2f}" for row in results[results["source"] == source].itertuples()}
        cells = [rows.get(0.0, "") if source == "dense" else ""]
        cells += [rows.get(sparsity, "") for sparsity in SPARSITIES]
        lines.append(f"{source:>12} " + " ".join(f"{cell:>12}" for cell in cells))
    return lines
