"""Tables of cells, with what can be told of them: the best source, budgets, seeds."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from racviz.exceptions import DataError, check
from racviz.statistics.estimates import holm, paired_difference, standard_error, thought_lengths
from racviz.statistics.words import listed, percent, pretty

BEST = "●"
"""Stands by the source that is above every other, beyond the noise."""


def accuracy_table(
    evaluations: pd.DataFrame, by: Sequence[str] = ("model",), results: pd.DataFrame | None = None
) -> pd.DataFrame:
    """A row a cell: the columns `by`, sparsity, source, accuracy and SE in per cent, best, tokens a sample, mean and median CoT, share
    cut off, n; and with `results` that were timed, minutes, with the problems of the timing pass in the column's name.

    best: BEST where the cell's accuracy is above that of every other source at the same sparsity by more than twice the SE of the paired
    difference, with Holm's correction over all such comparisons of the table (p < 0.05); else empty.
    """
    if missing := [name for name in (*by, "source", "sparsity", "correct", "problem_id") if name not in evaluations]:
        raise DataError(f"evaluations must have the columns {', '.join(missing)}.")
    frame, rows = thought_lengths(evaluations), []
    groups = {
        group: {source: cell for source, cell in part.groupby("source", sort=False)}
        for group, part in frame.groupby([*by, "sparsity"], sort=False)
    }
    for (group, cells), best in zip(groups.items(), best_of(groups.values()), strict=True):
        for source, cell in cells.items():
            means = 100 * cell["correct"].astype(float).groupby(cell["problem_id"]).mean().to_numpy()
            rows.append([*group, source, means.mean(), standard_error(means), BEST if source == best else "", cell["output_tokens"].mean(),
                         cell["length"].mean(), cell["length"].median(), 100 * cell["truncated"].mean(), len(means)])  # fmt: skip
    names = [
        *by,
        "sparsity",
        "source",
        "accuracy, %",
        "SE",
        "best",
        "tokens a sample",
        "mean CoT",
        "median CoT",
        "cut off, %",
        "n",
    ]
    table = pd.DataFrame(rows, columns=names).sort_values([*by, "sparsity"], kind="stable", ignore_index=True)
    if results is None or results["minutes"].isna().all():
        return table
    timed = results[[*by, "sparsity", "source", "minutes"]].rename(
        columns={"minutes": f"minutes ({results['timed_problems'].max():.0f} problems)"}
    )
    return table.merge(timed, on=[*by, "sparsity", "source"], how="left")


def best_of(groups: Iterable[dict[str, pd.DataFrame]]) -> list[str | None]:
    """For each group of cells by source the one whose accuracy is above that of every other beyond the noise; None where there is none,
    or only one source. Holm's correction is over the comparisons of all groups."""
    tops, gaps = [], []
    for number, cells in enumerate(groups):
        means = {
            source: cell["correct"].astype(float).groupby(cell["problem_id"]).mean().mean() for source, cell in cells.items()
        }
        tops.append(max(means, key=lambda source: means[source]))
        gaps += [(number, paired_difference(cells[tops[-1]], cell)) for source, cell in cells.items() if source != tops[-1]]
    sure = holm([gap.p_value for _, gap in gaps]) < 0.05
    alone = set(range(len(tops))) - {number for number, _ in gaps}
    beaten = {number for (number, gap), told in zip(gaps, sure, strict=True) if gap.verdict != "above" or not told}
    return [None if number in alone | beaten else top for number, top in enumerate(tops)]


NAMED = {
    "calibration_tokens": "calibration tokens",
    "t_max": "T_max",
    "decode_error": "error on decode tokens",
    "solver_seconds": "solver, s",
    "sparsity_all": "sparsity of the model",
}


def results_table(results: pd.DataFrame, more: Sequence[str] = (), by: Sequence[str] = ("source", "sparsity")) -> pd.DataFrame:
    """Rows of results.csv for people: the columns `by` and `more`, n problems, accuracy ± SE and the share cut off in per cent, tokens a
    sample, mean and median CoT and, where they were timed, minutes. Raises DataError where a column is missing."""
    if missing := [name for name in (*by, *more) if name not in results]:
        raise DataError(f"results must have the columns {', '.join(missing)}.")
    table = results[[*by, *more]].rename(columns=NAMED)
    table["n"] = results["problems"].astype(int)
    table["accuracy, %"], table["SE"] = 100 * results["accuracy"], 100 * results["se"]
    table["tokens a sample"] = tokens_per_sample(results)
    table["mean CoT"], table["median CoT"], table["cut off, %"] = (
        results["mean_cot"],
        results["median_cot"],
        100 * results["truncated"],
    )
    if "minutes" in results and results["minutes"].notna().any():
        table[f"minutes ({results['timed_problems'].max():.0f} problems)"] = results["minutes"]
    return table


def tokens_per_sample(results: pd.DataFrame) -> pd.Series:
    """Generated tokens per problem and sample, from the totals of results.csv."""
    samples = results["samples"].fillna(1) if "samples" in results else 1
    return results["tokens"] / (results["problems"] * samples)


def saturation_sentence(evaluations: pd.DataFrame, column: str, words: str) -> str:
    """From which value of a column (calibration_tokens, t_max) on a source's accuracy is no longer told from that at the largest value.

    By source and sparsity; differences to the largest are paired by problem, with Holm's correction over all of them.
    """
    found = []
    for (source, sparsity), part in evaluations[evaluations["source"] != "dense"].groupby(["source", "sparsity"], sort=False):
        cells = {value: cell for value, cell in part.groupby(column)}
        most = max(cells)
        found += [
            (source, sparsity, most, value, paired_difference(cells[value], cells[most])) for value in cells if value != most
        ]
    told = holm([gap.p_value for *_, gap in found]) < 0.05
    apart: dict[tuple, list[tuple[float, int]]] = {}
    for (source, sparsity, most, value, gap), sure in zip(found, told, strict=True):
        side = {"above": 1, "below": -1}.get(gap.verdict, 0) if sure else 0
        apart.setdefault((source, sparsity, most), []).append((value, side))
    if not apart:
        return f"Only one number of {words} was measured, so where accuracy saturates cannot be told."
    clauses = []
    for (source, sparsity, most), sides in apart.items():
        different = [value for value, side in sides if side]
        first = min([value for value, _ in sides if not different or value > max(different)], default=None)
        clause = f"of {pretty(source)} at {percent(sparsity)} "
        clause += "only at the largest" if first is None else f"from {first:,.0f} on"
        if above := [value for value, side in sides if side > 0]:
            clause += f" (above it with {listed([f'{value:,.0f}' for value in above])})"
        clauses.append(f"{clause} (largest: {most:,.0f})")
    return (
        f"Where accuracy saturates, in {words} (no longer told from that at the largest number): {'; '.join(clauses)}. "
        f"Paired by problem, Holm's correction for {len(found)} comparisons; what cannot be told apart may still differ."
    )


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
