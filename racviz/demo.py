"""The demo: three reports on the embedded model, and the numbers that matter."""

import time
from pathlib import Path

SPARSITIES = [0.4, 0.5, 0.6]
SHOWN = 0.5
"""Sparsity whose ratio of errors is printed: RAC still answers there, and prompt-only does not."""
TIMED = 4
"""Problems of the timing pass; each of the ten cells answers them once more, alone and uncached."""
REPORTS = ("figure2_error_heatmap", "runtime_vs_sparsity", "cot_lengths")


def run_demo(out: Path, problems: int = 60, model: str = "tiny-reasoner") -> Path:
    """Run the three reports at 40, 50 and 60 %, build the index, print where it is and what came out."""
    from racviz.reports import Kernels, build_index, run_report

    began = time.monotonic()
    runs = Path(out).resolve() / "runs"
    parameters = {"model": model, "sparsities": SPARSITIES, "problems": problems}
    with Kernels(len(REPORTS)) as kernels:
        for name in REPORTS:
            extra = {"timing_problems": min(TIMED, problems)} if name == "runtime_vs_sparsity" else {}
            run_report(name, parameters | extra | {"run": str(runs / name)}, out, kernels=kernels)
    index = build_index(out)
    print("\n".join(summary(parameters, runs)))
    print(f"\nOpen {index}  ({(time.monotonic() - began) / 60:.1f} minutes)")
    return index


def summary(parameters: dict, runs: Path) -> list[str]:
    """Median ratio on prompt and decode tokens, and accuracy by source, from what the reports left in their run folders."""
    import pandas as pd

    from racviz.reconstruction import ReconstructionErrors
    from racviz.statistics import ratio_sentence

    errors = ReconstructionErrors.load(runs / REPORTS[0] / "errors" / f"hidden-final-{SHOWN:g}-one-pass.parquet")
    results = pd.read_csv(runs / REPORTS[1] / "results.csv")
    lines = ["", ratio_sentence(errors, "prompt", "rac"), "", f"Accuracy on {parameters['problems']} problems, ± SE:"]
    lines.append(f"{'':>12} {'dense':>12} " + " ".join(f"{sparsity:>11.0%} " for sparsity in SPARSITIES))
    for source in results["source"].unique():
        rows = {row.sparsity: f"{row.accuracy:.2f} ± {row.se:.2f}" for row in results[results["source"] == source].itertuples()}
        cells = [rows.get(0.0, "") if source == "dense" else "", *(rows.get(sparsity, "") for sparsity in SPARSITIES)]
        lines.append(f"{source:>12} " + " ".join(f"{cell:>12}" for cell in cells))
    return lines
