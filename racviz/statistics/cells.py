"""Tables of cells, with what can be told of them: the best source, budgets, seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from racviz.errors import DataError, check
from racviz.statistics.estimates import holm, paired_difference, standard_error, thought_lengths

BEST = "●"
"""Stands by the source that is above every other, beyond the noise."""


def accuracy_table(
    evaluations: pd.DataFrame, by: Sequence[str] = ("model",), results: pd.DataFrame | None = None
) -> pd.DataFrame:
    """A row a cell: the columns `by`, sparsity, source, accuracy and SE in per cent, best, tokens a problem, mean and median CoT, share
    cut off, n; and with `results` that were timed, minutes, with the problems of the timing pass in the column's name.

    best: BEST where the cell's accuracy is above that of every other source at the same sparsity by more than twice the SE of the paired
    difference, with Holm's correction over those sources (p < 0.05); else empty.
    """
    if missing := [name for name in (*by, "source", "sparsity", "correct", "problem_id") if name not in evaluations]:
        raise DataError(f"evaluations must have the columns {', '.join(missing)}.")
    frame, rows = thought_lengths(evaluations), []
    for group, part in frame.groupby([*by, "sparsity"], sort=False):
        cells = {source: cell for source, cell in part.groupby("source", sort=False)}
        best = best_of(cells)
        for source, cell in cells.items():
            means = 100 * cell["correct"].astype(float).groupby(cell["problem_id"]).mean().to_numpy()
            rows.append([*group, source, means.mean(), standard_error(means), BEST if source == best else "", cell["output_tokens"].mean(),
                         cell["length"].mean(), cell["length"].median(), 100 * cell["truncated"].mean(), len(means)])  # fmt: skip
    names = [*by, "sparsity", "source", "accuracy, %", "SE", "best", "tokens", "mean CoT", "median CoT", "cut off, %", "n"]
    table = pd.DataFrame(rows, columns=names).sort_values([*by, "sparsity"], kind="stable", ignore_index=True)
    if results is None or results["minutes"].isna().all():
        return table
    timed = results[[*by, "sparsity", "source", "minutes"]].rename(
        columns={"minutes": f"minutes ({results['timed_problems'].max():.0f} problems)"}
    )
    return table.merge(timed, on=[*by, "sparsity", "source"], how="left")


def best_of(cells: dict[str, pd.DataFrame]) -> str | None:
    """The source whose accuracy is above that of every other beyond the noise; None where there is none, or only one source."""
    if len(cells) < 2:
        return None
    means = {source: cell["correct"].astype(float).groupby(cell["problem_id"]).mean().mean() for source, cell in cells.items()}
    top = max(means, key=lambda source: means[source])
    gaps = [paired_difference(cells[top], cell) for source, cell in cells.items() if source != top]
    told = holm([gap.p_value for gap in gaps]) < 0.05
    return top if all(gap.verdict == "above" and sure for gap, sure in zip(gaps, told, strict=True)) else None


def pass_table(evaluations: pd.DataFrame, ks: Sequence[int]) -> pd.DataFrame:
    """A row a cell: source, sparsity and, for each k, the unbiased pass@k ± SE over problems in per cent, with n and the samples a problem.

    Raises ParameterError for a k above the samples that there are.
    """
    rows = []
    for (sparsity, source), cell in evaluations.groupby(["sparsity", "source"], sort=False):
        counts = cell.groupby("problem_id")["correct"].agg(["size", "sum"])
        row: dict = {"sparsity": sparsity, "source": source}
        for k in dict.fromkeys(ks):
            check(1 <= k <= counts["size"].min(), "k", k, f"from 1 to {counts['size'].min()}, the samples of a problem")
            each = 100 * np.array([pass_at_k(int(n), int(c), k) for n, c in counts.to_numpy()])
            row |= {f"pass@{k}, %": each.mean(), f"SE of pass@{k}": standard_error(each)}
        rows.append(row | {"samples": int(counts["size"].min()), "n": len(counts)})
    return pd.DataFrame(rows).sort_values("sparsity", kind="stable", ignore_index=True)


def pass_at_k(samples: int, right: int, k: int) -> float:
    """1 − C(n−c, k) / C(n, k), as a product that does not overflow: the chance that k of n samples, c of them right, hold a right one."""
    if samples - right < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(samples - right + 1, samples + 1)))


def within_budgets(evaluations: pd.DataFrame, budgets: Sequence[int]) -> pd.DataFrame:
    """The evaluations as they would have been with smaller budgets: an answer that was not there by then is wrong and cut off.

    Exact, because the tokens of a sample do not depend on the cap. Raises ParameterError for a budget above the one that was run.
    """
    longest = int(evaluations["budget"].max())
    parts = []
    for budget in sorted(dict.fromkeys(budgets)):
        check(1 <= budget <= longest, "budgets", budget, f"integers from 1 to the budget that was run ({longest})")
        cut = evaluations["finish_reason"] == "length"
        late = (evaluations["output_tokens"] > budget) | (cut & (evaluations["output_tokens"] >= budget))
        part = evaluations.assign(budget=budget, correct=evaluations["correct"] & ~late)
        part["finish_reason"] = part["finish_reason"].where(~late, "length")
        for name in ("output_tokens", "think_tokens"):
            part[name] = part[name].clip(upper=budget)
        parts.append(part)
    if not parts:
        raise DataError("budgets must hold at least one budget.")
    return pd.concat(parts, ignore_index=True)
