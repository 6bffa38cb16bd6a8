"""The sentences that reports print, computed from the data.

Reversed data give the opposite sentence, null data one that claims nothing, missing data one that says what is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from racviz.statistics.estimates import (
    FEWEST_PROBLEMS,
    PHASES,
    PairedDifference,
    as_frame,
    holm,
    label_of,
    paired_difference,
    ratio_interval,
    sources_of,
    standard_error,
    thought_lengths,
)

NAMES = {
    "dense": "the dense model",
    "generic": "generic text",
    "prompt": "prompt-only",
    "rac": "RAC",
    "prompt-same-problems": "prompt-only (same problems)",
}


def pretty(source: str) -> str:
    """How a source is called in sentences and legends."""
    return NAMES.get(source, source)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def percent(sparsity: float) -> str:
    return f"{100 * sparsity:.3g} %"


def ratio_sentence(errors: Any, numerator: str = "prompt", denominator: str = "rac") -> str:
    """Which calibration preserves which phase: medians of r_t with bootstrap intervals over problems."""
    frame, label = as_frame(errors), label_of(errors)
    if missing := [name for name in (numerator, denominator) if f"e_{name}" not in frame]:
        there = ", ".join(map(pretty, sources_of(frame))) or "no pruned model at all"
        what = f"{pretty(numerator)} against {pretty(denominator)}"
        gone = ", ".join(map(pretty, missing))
        return f"Nothing can be said of {what}: errors of {gone} are missing (there are those of {there}; n = 0)."
    found = {phase: ratio_interval(frame, numerator, denominator, phase) for phase in PHASES}
    if not any(interval.n for interval in found.values()):
        return "Nothing can be said: there is no token at which both errors are known (n = 0 problems)."
    parts = [
        f"{interval} on {phase} tokens (n = {interval.n})" if interval.n else f"missing on {phase} tokens (n = 0)"
        for phase, interval in found.items()
    ]
    at = [percent(label["sparsity"])] if label.get("sparsity") is not None else []
    at += [str(label["mode"])] if label.get("mode") else []
    head = f"At {', '.join(at)}: the" if at else "The"
    return (
        f"{head} median of r_t = e({numerator}) / e({denominator}) is {' and '.join(parts)}, with 95 % bootstrap intervals "
        f"over the n problems. {_which_preserves_what(found, numerator, denominator)}"
    )


def _which_preserves_what(found: dict[str, Any], numerator: str, denominator: str) -> str:
    better = {1: denominator, -1: numerator}  # r_t > 1: the numerator's error is the larger one
    sides = {phase: interval.side_of(1.0) for phase, interval in found.items() if interval.n}
    words = {"prompt": "the prompt", "decode": "the thought"}
    unclear = [phase for phase, side in sides.items() if side == 0]
    told = {phase: pretty(better[side]) for phase, side in sides.items() if side}
    if len(set(told.values())) == 1 and len(told) == 2:
        text = f"{_capital(told['prompt'])} calibration preserves both the prompt and the thought better"
    else:
        text = ", ".join(f"{name} calibration preserves {words[phase]} better" for phase, name in told.items())
    if unclear:
        few = any(found[phase].n < FEWEST_PROBLEMS for phase in unclear)
        reason = f"fewer than {FEWEST_PROBLEMS} problems" if few else "the interval contains 1"
        silence = f"of {' and of '.join(words[phase] for phase in unclear)} nothing can be told ({reason})"
        text = f"{text}; {silence}" if text else silence
    return _capital(text) + "."


def cell_of(frame: pd.DataFrame, source: str, sparsity: float) -> pd.DataFrame:
    chosen = frame["source"] == source
    return frame[chosen if source == "dense" else chosen & np.isclose(frame["sparsity"].astype(float), sparsity)]


@dataclass(frozen=True)
class Measure:
    """What is compared: a column of the evaluations, and the words for it."""

    value: str
    what: str
    unit: str
    better: str
    more_is_better: bool


ACCURACY = Measure("correct", "Accuracy", "points", "is the more accurate", True)
LENGTH = Measure("length", "Mean length of thought", "tokens", "thinks shorter", False)
TOKENS = Measure("output_tokens", "Generated tokens a problem", "tokens", "generates less", False)
Pair = tuple[str, str]


def _compare(
    evaluations: pd.DataFrame,
    sparsities: float | Sequence[float],
    pairs: Sequence[Pair],
    measure: Measure,
    by: str | None = None,
) -> list[str]:
    """A sentence a pair (a against b), and for each value of the column `by`: paired by problem, with what can be told and the rule.

    Holm's correction is over all comparisons of all sentences.
    """
    at = [sparsities] if np.isscalar(sparsities) else list(sparsities)
    parts = [(f"{value}: ", part) for value, part in evaluations.groupby(by, sort=False)] if by else [("", evaluations)]
    found = [[_cells(part, sparsity, pair) for sparsity in at] for _, part in parts for pair in pairs]
    gaps = [[None if reason else paired_difference(*cells, measure.value) for reason, cells in row] for row in found]
    compared = [gap for row in gaps for gap in row if gap is not None]
    corrected = iter(holm([gap.p_value for gap in compared]))
    rule = f"A difference counts beyond twice its SE and with p < 0.05 ({' and '.join(sorted({gap.test for gap in compared}))})"
    if len(compared) > 1:
        rule += f" after Holm's correction for {len(compared)} comparisons"
    sentences = []
    for (head, (a, b)), row, mine in zip([(h, pair) for h, _ in parts for pair in pairs], found, gaps, strict=True):
        clauses = [
            f"at {percent(sparsity)} " + (reason or _clause(gap, cells, (a, b), measure, next(corrected), len(compared)))
            for sparsity, (reason, cells), gap in zip(at, row, mine, strict=True)
        ]
        told = f"{head}{measure.what}, {pretty(a)} against {pretty(b)}: {'; '.join(clauses)}."
        sentences.append(f"{told} {rule}." if any(gap is not None for gap in mine) else told)
    return sentences


def _cells(evaluations: pd.DataFrame, sparsity: float, pair: Pair) -> tuple[str, list[pd.DataFrame]]:
    """The cells of a pair, and why they cannot be compared; empty where they can."""
    cells = [cell_of(evaluations, source, sparsity) for source in pair]
    absent = [pretty(source) for source, rows in zip(pair, cells, strict=True) if rows.empty]
    if absent:
        return f"no evaluation of {' and of '.join(absent)} (n = 0), so nothing can be told", cells
    if not set(cells[0]["problem_id"]) & set(cells[1]["problem_id"]):
        return "no problem in common (n = 0), so nothing can be told", cells
    return "", cells


def _clause(gap: PairedDifference, cells: list[pd.DataFrame], pair: Pair, measure: Measure, p: float, claims: int) -> str:
    scale, digits = (100, 1) if measure.unit == "points" else (1, 0)
    first = (gap.difference > 0) == measure.more_is_better
    (winner, better), (_, worse) = sorted(zip(pair, cells, strict=True), key=lambda one: (one[0] == pair[0]) != first)
    told = f"{pretty(winner)} {measure.better}"
    if measure.value == "length" and better["unended"].mean() > worse["unended"].mean():
        told = f"{pretty(winner)} was cut off more often, so which thinks shorter cannot be told"
    numbers = (
        f"{scale * gap.mean_a:.{digits}f} against {scale * gap.mean_b:.{digits}f}{' %' if measure.unit == 'points' else ''}"
    )
    return f"{numbers}, {_difference(gap, scale, digits, measure.unit)}: {_verdict(gap, p, claims, told)}"


def _verdict(gap: PairedDifference, p: float, claims: int, difference: str) -> str:
    if gap.verdict == "too few problems":
        return f"fewer than {FEWEST_PROBLEMS} problems, too few to tell"
    if gap.verdict == "inside the noise":
        return "inside the noise, so nothing can be told"
    if p < 0.05:
        return difference
    rule = "Holm's correction" if claims > 1 else gap.test
    return f"not after {rule} (p = {p:.2f}), so nothing can be told"


def _difference(gap: PairedDifference, scale: float, digits: int, unit: str) -> str:
    low, high = scale * gap.interval.low, scale * gap.interval.high
    spread = f"SE {scale * gap.se:.{digits}f}, 95 % interval {low:+.{digits}f} to {high:+.{digits}f}" if gap.n > 1 else "no SE"
    spread += f", p = {gap.p_value:.2g}" if gap.n > 1 else ""
    if gap.n > 1 and gap.difference == 0 and gap.se == 0:
        spread = "no problem differs"
    unpaired = f", {gap.unpaired} more not in both" if gap.unpaired else ""
    return f"{scale * gap.difference:+.{digits}f} {unit} ({spread}, n = {gap.n} problem{'s' if gap.n != 1 else ''}{unpaired})"


def accuracy_sentence(evaluations: pd.DataFrame, sparsity: float | Sequence[float], a: str = "rac", b: str = "prompt") -> str:
    """Accuracy of a against b at one or several sparsities."""
    return _compare(evaluations, sparsity, [(a, b)], ACCURACY)[0]


def accuracy_sentences(
    evaluations: pd.DataFrame,
    sparsity: float | Sequence[float],
    pairs: Sequence[Pair] = (("rac", "prompt"),),
    by: str | None = None,
) -> list[str]:
    """`accuracy_sentence` of several pairs, and of each value of the column `by` (model, method): corrected for all of them together."""
    return _compare(evaluations, sparsity, pairs, ACCURACY, by)


def layer_sentence(layers: pd.DataFrame, a: str = "rac", b: str = "prompt") -> str:
    """In how many linears calibration a leaves a smaller held-out error than b, by phase, with the typical ratio."""
    parts = []
    for phase in PHASES:
        errors = layers[layers["phase"] == phase].pivot_table(index="layer", columns="source", values="error")
        if missing := [source for source in (a, b) if source not in errors]:
            return f"Nothing can be said of single linears: errors of {' and of '.join(map(pretty, missing))} are missing."
        ratio = (errors[b] / errors[a]).replace([np.inf, -np.inf, 0], np.nan).dropna()
        better, n = int((ratio > 1).sum()), len(ratio)
        typical = f", {np.exp(np.log(ratio).mean()):.2f} times that of {pretty(a)}, squared norms, geometric mean" if n else ""
        parts.append(
            f"on {phase} tokens {pretty(a)} leaves the smaller error in {better} of {n} linears ({pretty(b)}'s is{typical})"
        )
    text = f"{_capital(parts[0])}; {parts[1]}."
    return f"{text} Linears of one model share their inputs, so this is a count and no test.".replace("is, ", "is ")


def solver_sentences(
    evaluations: pd.DataFrame, sparsity: float | Sequence[float], methods: Sequence[str], b: str = "sparsegpt"
) -> list[str]:
    """Accuracy of each solver against solver b, for each source that calibrates: corrected for all of them together."""
    pruned = evaluations[evaluations["source"] != "dense"]
    rows = pruned.assign(calibration="Calibrated on " + pruned["source"].map(pretty), source=pruned["method"])
    how = replace(ACCURACY, what="accuracy", better="answers better")
    return _compare(rows, sparsity, [(method, b) for method in methods], how, "calibration")


def length_sentence(evaluations: pd.DataFrame, sparsity: float | Sequence[float], a: str = "rac", b: str = "prompt") -> str:
    """Mean CoT length of a against b, with the shares that never ended: their lengths are only lower bounds."""
    return length_sentences(evaluations, sparsity, [(a, b)])[0]


def length_sentences(evaluations: pd.DataFrame, sparsity: float | Sequence[float], pairs: Sequence[Pair]) -> list[str]:
    """`length_sentence` of several pairs, corrected for all of them together."""
    frame = thought_lengths(evaluations)
    told = _compare(frame, sparsity, pairs, LENGTH)
    return [f"{sentence} {_cut_off(frame, sparsity, pair)}" for sentence, pair in zip(told, pairs, strict=True)]


def _cut_off(frame: pd.DataFrame, sparsity: float | Sequence[float], pair: Pair) -> str:
    cut = []
    for at in [sparsity] if np.isscalar(sparsity) else list(sparsity):
        shares = [100 * cell_of(frame, source, at)["unended"].mean() for source in pair]
        if np.nansum(shares) > 0:
            cut.append(f"{' against '.join(f'{share:.0f} %' for share in shares)} at {percent(at)}")
    if not cut:
        return "No thought was cut off by the budget."
    return (
        f"Thoughts cut off by the budget, and counted with what was generated: {'; '.join(cut)}; such means are lower bounds."
    )


def tokens_per_sample(results: pd.DataFrame) -> pd.Series:
    """Generated tokens per problem and sample, from the totals of results.csv."""
    samples = results["samples"].fillna(1) if "samples" in results else 1
    return results["tokens"] / (results["problems"] * samples)


def runtime_sentence(results: pd.DataFrame, evaluations: pd.DataFrame | None = None, a: str = "rac", b: str = "prompt") -> str:
    """Generated tokens and timed minutes of a against b. Counts without evaluations have no spread: then nothing is claimed."""
    frame = results.assign(per_sample=tokens_per_sample(results))
    sparsities = sorted(frame.loc[frame["source"].isin([a, b]) & (frame["source"] != "dense"), "sparsity"].unique())
    if not sparsities:
        return f"Nothing can be told of runtime: neither {pretty(a)} nor {pretty(b)} is in the results (n = 0)."
    dense = frame.loc[frame["source"] == "dense", "per_sample"]
    level = f"The dense model generates {dense.mean():.0f} tokens a problem." if len(dense) else "The dense row is missing."
    if evaluations is not None:
        told = _compare(evaluations, sparsities, [(a, b)], TOKENS)[0]
    else:
        clauses = []
        for at in sparsities:
            cells = {source: cell_of(frame, source, at) for source in (a, b)}
            counts = [f"{rows['per_sample'].mean():.0f}" if len(rows) else "missing" for rows in cells.values()]
            n = max(rows["problems"].max() for rows in cells.values() if len(rows))
            clauses.append(f"at {percent(at)} {' against '.join(counts)} (n = {n:.0f} problems)")
        told = f"Generated tokens a problem, {pretty(a)} against {pretty(b)}: {'; '.join(clauses)}. "
        told += "Totals alone have no spread, so nothing can be told about differences."
    return " ".join([level, told, _minutes(frame, a, b, sparsities[-1])])


def _minutes(frame: pd.DataFrame, a: str, b: str, sparsity: float) -> str:
    if "minutes" not in frame or frame["minutes"].isna().all():
        return "No timing pass was made, so these are tokens, not minutes."
    chosen = {source: cell_of(frame, source, sparsity)["minutes"].mean() for source in ("dense", a, b)}
    problems = frame.get("timed_problems", pd.Series(dtype=float)).max()
    count = f" of {problems:.0f} problems" if np.isfinite(problems) else ""
    told = ", ".join(f"{pretty(s)} {m:.2f}" if np.isfinite(m) else f"{pretty(s)} not timed" for s, m in chosen.items())
    return f"Timed pass{count} at {percent(sparsity)}, in minutes: {told} (mean of the rounds, no interval)."


def ratio_numbers(errors: Any, numerator: str = "prompt", denominator: str = "rac") -> dict[str, str]:
    """The numbers of `ratio_sentence` for a table or an index."""
    found = {phase: ratio_interval(errors, numerator, denominator, phase) for phase in PHASES}
    numbers = {f"median e({numerator}) / e({denominator}), {phase}": str(interval) for phase, interval in found.items()}
    return numbers | {"problems": str(max(interval.n for interval in found.values()))}


def accuracy_numbers(evaluations: pd.DataFrame, sparsity: float) -> dict[str, str]:
    """Accuracy ± SE over problems, and the share cut off: the dense model, and every source at one sparsity.

    Several seeds: the mean of their accuracies, each of which has an SE of its own, and so without one.
    """

    def describe(rows: pd.DataFrame) -> str:
        seeds = rows["seed"].nunique() if "seed" in rows else 1
        score = (
            f"{100 * rows['correct'].mean():.1f} % over {seeds} seeds"
            if seeds > 1
            else _mean_and_se(rows, "correct", 100, " %")
        )
        return score + _cut(rows)

    return _by_source(thought_lengths(evaluations), sparsity, "accuracy", describe)


def length_numbers(evaluations: pd.DataFrame, sparsity: float) -> dict[str, str]:
    """Mean CoT length ± SE over problems and the share cut off: the dense model, and every source at one sparsity."""

    def describe(rows: pd.DataFrame) -> str:
        return _mean_and_se(rows, "length", 1, " tokens") + _cut(rows)

    return _by_source(thought_lengths(evaluations), sparsity, "mean CoT", describe)


def _cut(rows: pd.DataFrame) -> str:
    share = 100 * rows["truncated"].mean()
    return f", {share:.1f} % cut off" if share else ""


def _by_source(
    evaluations: pd.DataFrame, sparsity: float, what: str, describe: Callable[[pd.DataFrame], str]
) -> dict[str, str]:
    cells = {source: cell_of(evaluations, source, sparsity) for source in evaluations["source"].unique()}
    at = {source: "" if source == "dense" else f" at {percent(sparsity)}" for source in cells}
    numbers = {f"{what}, {pretty(source)}{at[source]}": describe(rows) for source, rows in cells.items() if len(rows)}
    return numbers | {"problems": str(evaluations["problem_id"].nunique())}


def _mean_and_se(rows: pd.DataFrame, value: str, scale: float, unit: str) -> str:
    means = scale * rows[value].astype(float).groupby(rows["problem_id"]).mean()
    return f"{means.mean():.1f} ± {standard_error(means.to_numpy()):.1f}{unit}"
