"""What thoughts are like beside their length: do they go in circles, where do two of them part, when do they end."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from racviz.exceptions import DataError, check
from racviz.statistics.estimates import standard_error, thought_lengths

NGRAM, PERIOD, ROUNDS = 8, 128, 3


def repetition(ids: Sequence[int], n: int = NGRAM) -> float:
    """The share of n-grams of tokens that have occurred before in the same output; 0 where it is shorter than n."""
    check(n >= 1, "n", n, "an integer >= 1")
    grams = [tuple(ids[k : k + n]) for k in range(len(ids) - n + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def loop(ids: Sequence[int], longest: int = PERIOD, rounds: int = ROUNDS) -> int:
    """The period, in tokens, of the loop in which an output ends; 0 where its end does not repeat itself `rounds` times.

    A loop is a tail of at least `rounds` whole periods, and of at least 4·rounds tokens, so that `1 1 1` is none.
    """
    tail = np.asarray(ids)
    for period in range(1, min(longest, len(tail) // rounds) + 1):
        size = max(rounds * period, 4 * rounds)
        if size <= len(tail) and (tail[-size + period :] == tail[-size:-period]).all():
            return period
    return 0


def circles(evaluations: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: source, sparsity, samples, repetition (mean share of repeated 8-grams), looping (share of answers that end in a loop),
    truncated, and of those cut off the share that loops. Needs the column output_ids (`Study.evaluations(ids=True)`)."""
    if "output_ids" not in evaluations:
        raise DataError("evaluations must have the column output_ids; take Study.evaluations(ids=True).")
    frame = evaluations.assign(
        repetition=[repetition(ids) for ids in evaluations["output_ids"]],
        looping=[loop(ids) > 0 for ids in evaluations["output_ids"]],
        truncated=evaluations["finish_reason"] == "length",
    )
    rows = []
    for (source, sparsity), cell in frame.groupby(["source", "sparsity"], sort=False):
        cut = cell[cell["truncated"]]
        rows.append([source, sparsity, len(cell), cell["repetition"].mean(), cell["looping"].mean(), cell["truncated"].mean(),
                     cut["looping"].mean() if len(cut) else np.nan])  # fmt: skip
    names = ["source", "sparsity", "samples", "repetition", "looping", "truncated", "looping_of_truncated"]
    return pd.DataFrame(rows, columns=names)


def circle_sentence(table: pd.DataFrame) -> str:
    """How much of what was cut off went in circles: a count, by cell. table: of `circles`."""
    cut = table[table["truncated"] > 0]
    if cut.empty:
        return "No answer was cut off by the budget, so none is known to go on for ever."
    parts = [
        f"{row.source} at {100 * row.sparsity:.3g} %: {round(row.truncated * row.samples)} of {row.samples} cut off, "
        f"{100 * row.looping_of_truncated:.0f} % of them in a loop"
        for row in cut.itertuples()
    ]
    return "Answers that the budget cut off, and how many of them ended by repeating themselves: " + "; ".join(parts) + "."


def length_table(evaluations: pd.DataFrame) -> pd.DataFrame:
    """A row a cell, and for pruned ones a row for right and for wrong answers too: mean, quartiles and 90th percentile of the CoT length in
    tokens (of a thought that was cut off what there is of it), shares of thoughts without an end and of answers cut off, samples, and
    accuracy ± SE over problems, in per cent."""
    frame, rows = thought_lengths(evaluations), []
    for (source, sparsity), cell in frame.groupby(["source", "sparsity"], sort=False):
        means = 100 * cell["correct"].astype(float).groupby(cell["problem_id"]).mean().to_numpy()
        for which, part in (("all", cell), ("right", cell[cell["correct"]]), ("wrong", cell[~cell["correct"]])):
            if part.empty:
                continue
            levels = part["length"].quantile([0.25, 0.5, 0.75, 0.9])
            score = [means.mean(), standard_error(means)] if which == "all" else [np.nan, np.nan]
            shares = [100 * part[name].mean() for name in ("unended", "truncated")]
            rows.append([source, sparsity, which, part["length"].mean(), *levels, *shares, len(part), *score])
    names = [
        "source",
        "sparsity",
        "answers",
        "mean CoT",
        "25 %",
        "median",
        "75 %",
        "90 %",
        "no end, %",
        "cut off, %",
        "samples",
        "accuracy, %",
        "SE",
    ]
    return pd.DataFrame(rows, columns=names)


def divergence(one: Sequence[object], other: Sequence[object]) -> int:
    """The position at which two outputs part: the number of tokens that they begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def survival(evaluations: pd.DataFrame, points: int = 200) -> pd.DataFrame:
    """The share of thoughts that go on after t tokens, by cell and by whether the answer was right in the end: source, sparsity, correct,
    tokens, thinking, n. A thought that was cut off never ends."""
    frame = thought_lengths(evaluations)
    grid = np.linspace(0, float(frame["length"].max()) if len(frame) else 0.0, points)
    rows = []
    for (source, sparsity, correct), cell in frame.groupby(["source", "sparsity", "correct"], sort=False):
        ends = np.sort(np.where(cell["unended"], np.inf, cell["length"]))
        going_on = 1.0 - np.searchsorted(ends, grid, side="right") / len(cell)
        part = pd.DataFrame({"tokens": grid, "thinking": going_on})
        rows.append(part.assign(source=source, sparsity=sparsity, correct=bool(correct), n=len(cell)))
    names = ["source", "sparsity", "correct", "tokens", "thinking", "n"]
    return pd.concat(rows, ignore_index=True)[names] if rows else pd.DataFrame(columns=names)
