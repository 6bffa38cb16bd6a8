"""Estimates with intervals: ratios of errors, paired differences, the bootstrap over problems, Holm's correction.

The unit is the problem. Tokens of one thought, and samples of one problem, are summarised first; intervals are taken over
problems, because a thousand tokens of one problem are still one problem.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import bdtr, stdtr

from racviz.exceptions import DataError, ParameterError, check, unknown

PHASES = ("prompt", "decode")
FEWEST_PROBLEMS = 5  # with fewer, no sentence claims anything
SUMMARIES: dict[str, Callable[[np.ndarray], float]] = {
    "median": lambda values: float(np.median(values)),
    "geometric_mean": lambda values: float(np.exp(np.mean(np.log(values)))),
}


def as_frame(errors: Any) -> pd.DataFrame:
    """The tidy frame of an errors object (anything with `to_frame()`), or the frame itself."""
    frame = errors.to_frame() if not isinstance(errors, pd.DataFrame) and hasattr(errors, "to_frame") else errors
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"errors must be the result of reconstruction_errors or a data frame; not {type(errors).__name__}.")
    if missing := [column for column in ("problem_id", "position", "phase") if column not in frame]:
        raise DataError(f"errors must have the columns problem_id, position and phase; there is no {', '.join(missing)}.")
    return frame


def label_of(errors: Any) -> dict[str, Any]:
    """What made these errors: model, domain, sparsity, mode, … as far as it is known."""
    return dict(getattr(errors, "label", None) or getattr(errors, "attrs", {}).get("label", {}))


def sources_of(frame: pd.DataFrame) -> list[str]:
    return [column[2:] for column in frame.columns if column.startswith("e_")]


def ratio(errors: Any, numerator: str, denominator: str) -> pd.Series:
    """r_t = e_t(numerator) / e_t(denominator) a row; NaN where the denominator is 0 or either error is not finite."""
    frame = as_frame(errors)
    for parameter, name in (("numerator", numerator), ("denominator", denominator)):
        if f"e_{name}" not in frame:
            remedy = "Compute the errors with that model too, or choose another."
            raise unknown(parameter, name, sources_of(frame), remedy)
    top, bottom = (frame[f"e_{name}"].to_numpy(np.float64) for name in (numerator, denominator))
    usable = np.isfinite(top) & np.isfinite(bottom) & (bottom > 0)
    values = np.divide(top, bottom, out=np.full(len(frame), np.nan), where=usable)
    return pd.Series(values, index=frame.index, name="ratio")


def per_problem_ratio(
    errors: Any, numerator: str, denominator: str, phase: str | None = None, how: str = "median"
) -> pd.Series:
    """One number a problem: the median or geometric mean of its r_t (of one phase, or of all tokens)."""
    if how not in SUMMARIES:
        raise unknown("how", how, SUMMARIES)
    if phase is not None and phase not in PHASES:
        raise unknown("phase", phase, PHASES, "None takes both.")
    frame, values = as_frame(errors), ratio(errors, numerator, denominator)
    keep = values.notna() if how == "median" else values.notna() & (values > 0)  # a geometric mean has no place for 0
    if phase is not None:
        keep &= frame["phase"] == phase
    return values[keep].groupby(frame.loc[keep, "problem_id"], sort=True).agg(lambda one: SUMMARIES[how](one.to_numpy()))


def summary_ratio(errors: Any, numerator: str, denominator: str, phase: str | None = None, how: str = "median") -> float:
    """r_t summarised within each problem, then over problems; NaN when there is nothing to summarise."""
    each = per_problem_ratio(errors, numerator, denominator, phase, how).to_numpy()
    return SUMMARIES[how](each) if len(each) else float("nan")


@dataclass(frozen=True)
class Interval:
    """An estimate over `n` problems with its bootstrap interval (NaN ends: too few problems for one)."""

    estimate: float
    low: float
    high: float
    n: int
    level: float = 0.95

    def side_of(self, value: float) -> int:
        """1 when the whole interval lies above `value`, -1 below, 0 when it contains it or is unknown."""
        if self.n < FEWEST_PROBLEMS:
            return 0
        return int(self.low > value) - int(self.high < value)

    def __str__(self) -> str:
        if not np.isfinite(self.estimate):
            return "unknown"
        ends = f" [{self.low:.2f}, {self.high:.2f}]" if np.isfinite(self.low) else " [no interval]"
        return f"{self.estimate:.2f}{ends}"


def bootstrap_interval(
    values: Iterable[float] | np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap. One axis: problems. Two: (calibration seeds, problems), both drawn anew, seeds first."""
    check(0 < level < 1, "level", level, "between 0 and 1, such as 0.95")
    check(resamples >= 1, "resamples", resamples, "at least 1")
    table = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)
    check(table.ndim in (1, 2), "values", f"{table.ndim} axes", "of one axis (problems) or two (seeds, problems)")
    table = np.atleast_2d(table)
    table = table[:, np.isfinite(table).all(axis=0)]  # a problem counts when every seed has it
    seeds, n = table.shape
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0, level)
    estimate = float(statistic(table.ravel()))
    if n < 2:
        return Interval(estimate, float("nan"), float("nan"), n, level)
    draw = np.random.default_rng(seed)
    drawn = [statistic(table[draw.integers(seeds, size=seeds)][:, draw.integers(n, size=n)].ravel()) for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), n, level)


def bootstrap_ratio(a: np.ndarray, b: np.ndarray, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean of a over mean of b, both `[seeds, problems]` and paired, with a percentile bootstrap: seeds drawn anew, then problems.

    A problem counts where all of its values are finite.
    """
    a, b = (np.atleast_2d(np.asarray(each, dtype=np.float64)) for each in (a, b))
    check(a.shape == b.shape and a.ndim == 2, "a and b", f"{a.shape} and {b.shape}", "of one shape, (seeds, problems)")
    usable = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    a, b = a[:, usable], b[:, usable]
    seeds, n = a.shape
    if n == 0 or b.sum() <= 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0, level)
    estimate = float(a.mean() / b.mean())
    if n < 2:
        return Interval(estimate, float("nan"), float("nan"), n, level)
    draw, drawn = np.random.default_rng(seed), np.empty(resamples)
    for k in range(resamples):
        rows, columns = draw.integers(seeds, size=seeds)[:, None], draw.integers(n, size=n)
        drawn[k] = a[rows, columns].sum() / max(b[rows, columns].sum(), np.finfo(float).tiny)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), n, level)


def ratio_interval(
    errors: Any, numerator: str, denominator: str, phase: str | None = None, how: str = "median", **bootstrap: Any
) -> Interval:
    """`summary_ratio` with a bootstrap interval over problems."""
    each = per_problem_ratio(errors, numerator, denominator, phase, how).to_numpy()
    return bootstrap_interval(each, SUMMARIES[how], **bootstrap)


def ratio_table(
    collection: Iterable[Any], numerator: str = "prompt", denominator: str = "rac", by: tuple[str, ...] = ()
) -> pd.DataFrame:
    """A row for each errors object and phase: sparsity, mode, phase, median r_t, low, high, n. by: more of their labels, before."""
    rows = []
    for errors in collection:
        label = label_of(errors)
        for phase in PHASES:
            found = ratio_interval(errors, numerator, denominator, phase)
            rows.append(
                [
                    *(label.get(name) for name in by),
                    label.get("sparsity"),
                    label.get("mode"),
                    phase,
                    found.estimate,
                    found.low,
                    found.high,
                    found.n,
                ]
            )
    table = pd.DataFrame(rows, columns=[*by, "sparsity", "mode", "phase", "median_ratio", "low", "high", "n"])
    return table.sort_values(["sparsity", "mode"], kind="stable", ignore_index=True)


@dataclass(frozen=True)
class PairedDifference:
    """a − b, problem by problem: the mean difference, its SE, a bootstrap interval, n and what can be told."""

    difference: float
    se: float
    interval: Interval
    n: int
    p_value: float
    """Two-sided: McNemar's exact test for one sample a problem, else the paired t-test; see `test`."""
    mean_a: float
    mean_b: float
    unpaired: int
    test: str = "paired t-test"

    @property
    def verdict(self) -> str:
        """`above` / `below`: beyond twice the SE of the paired difference; else `inside the noise` or `too few problems`."""
        if self.n < FEWEST_PROBLEMS:
            return "too few problems"
        if self.difference == 0 or abs(self.difference) <= 2 * self.se:
            return "inside the noise"
        return "above" if self.difference > 0 else "below"


def standard_error(means: np.ndarray) -> float:
    """Of the mean over problems: their sample standard deviation over √problems; NaN for a single one."""
    return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan")


def paired_difference(a: pd.DataFrame, b: pd.DataFrame, value: str = "correct") -> PairedDifference:
    """Compare two cells of the evaluations frame: the mean over samples a problem, then differences of the shared problems."""
    means = []
    for parameter, frame in (("a", a), ("b", b)):
        if missing := [column for column in ("problem_id", value) if column not in frame]:
            raise DataError(f"{parameter} must be an evaluations frame; it has no column {missing[0]!r}.")
        for column in ("source", "sparsity", "method", "mode", "budget"):
            if column in frame and frame[column].nunique() > 1:
                raise ParameterError(
                    f"{parameter} must be one cell; it mixes {frame[column].nunique()} values of {column!r} "
                    f"({', '.join(map(str, frame[column].unique()))}). Select one first."
                )
        means.append(frame[value].astype(float).groupby(frame["problem_id"]).mean())
    both = pd.concat(means, axis=1, join="inner", keys=["a", "b"]).dropna()
    unpaired = len(means[0].index.union(means[1].index)) - len(both)
    if both.empty:
        raise DataError("a and b share no problem, so nothing can be paired. Evaluate both on the same problems.")
    gap = (both["a"] - both["b"]).to_numpy()
    n, difference = len(gap), float(gap.mean())
    se = standard_error(gap)
    p_value, test = _p_value(gap, difference, se)
    return PairedDifference(
        difference, se, bootstrap_interval(gap), n, p_value, both["a"].mean(), both["b"].mean(), unpaired, test
    )


def _p_value(gap: np.ndarray, difference: float, se: float) -> tuple[float, str]:
    """Two-sided, with the name of the test; where every difference is the same there is no spread to divide by: the sign test."""
    if np.isin(gap, (-1, 0, 1)).all():
        return sign_test(int((gap > 0).sum()), int((gap < 0).sum())), "McNemar's exact test"
    if len(gap) < 2 or se == 0:
        return sign_test(int((gap > 0).sum()), int((gap < 0).sum())), "sign test"
    return float(2 * stdtr(len(gap) - 1, -abs(difference) / se)), "paired t-test"


def sign_test(more: int, fewer: int) -> float:
    """The exact two-sided p that either sign is as likely; of right against wrong answers it is McNemar's test."""
    return min(1.0, 2 * float(bdtr(min(more, fewer), more + fewer, 0.5)))


def holm(p_values: Iterable[float]) -> np.ndarray:
    """Holm's step-down correction: adjusted p-values in the order given."""
    p = np.asarray(list(p_values), dtype=np.float64)
    check(bool(((p >= 0) & (p <= 1)).all()), "p_values", p.tolist(), "numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p[order] * (p.size - np.arange(p.size))), 1.0)
    return adjusted[np.argsort(order, kind="stable")]


def thought_lengths(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The evaluations with `length` (CoT tokens; what was generated where no end came), `truncated` (the answer was cut off by the budget)
    and `unended` (the thought was) added: an answer may be cut off after its thought has ended, whose length is then known."""
    if missing := [column for column in ("problem_id", "finish_reason") if column not in evaluations]:
        raise DataError(f"evaluations must have the columns problem_id and finish_reason; there is no {', '.join(missing)}.")
    generated = evaluations.get("output_tokens", pd.Series(np.nan, index=evaluations.index))
    thought = evaluations.get("think_tokens", generated)
    length, cut = thought.fillna(generated).astype(float), (evaluations["finish_reason"] == "length").to_numpy()
    return evaluations.assign(length=length, truncated=cut, unended=cut & ~(length < generated).to_numpy())


def cell_of(frame: pd.DataFrame, source: str, sparsity: float) -> pd.DataFrame:
    chosen = frame["source"] == source
    return frame[chosen if source == "dense" else chosen & np.isclose(frame["sparsity"].astype(float), sparsity)]
