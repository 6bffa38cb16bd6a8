"""The sentences that reports print, computed from the data.

Reversed data give the opposite sentence, null data one that claims nothing, missing data one that says what is missing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from racviz.statistics.cells import tokens_per_sample
from racviz.statistics.comparisons import token_sentence
from racviz.statistics.estimates import (
    FEWEST_PROBLEMS,
    PHASES,
    as_frame,
    cell_of,
    label_of,
    ratio_interval,
    sources_of,
    standard_error,
    thought_lengths,
)
from racviz.statistics.words import capital, percent, pretty


def ratio_sentence(errors: Any, numerator: str = "prompt", denominator: str = "rac") -> str:
    """Verdict by phase of the better calibration: medians of r_t with bootstrap intervals over problems."""
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
        text = f"{capital(told['prompt'])} calibration preserves both the prompt and the thought better"
    else:
        text = ", ".join(f"{name} calibration preserves {words[phase]} better" for phase, name in told.items())
    if unclear:
        few = any(found[phase].n < FEWEST_PROBLEMS for phase in unclear)
        reason = f"fewer than {FEWEST_PROBLEMS} problems" if few else "the interval contains 1"
        silence = f"of {' and of '.join(words[phase] for phase in unclear)} nothing can be told ({reason})"
        text = f"{text}; {silence}" if text else silence
    return capital(text) + "."


def layer_sentence(layers: pd.DataFrame, a: str = "rac", b: str = "prompt") -> str:
    """In how many linears calibration a leaves a smaller held-out error than b, by phase, with the typical ratio."""
    parts = []
    for phase in PHASES:
        ratio = _layer_ratios(layers, phase, a, b)
        if isinstance(ratio, str):
            return ratio
        better, n = int((ratio > 1).sum()), len(ratio)
        typical = f", {np.exp(np.log(ratio).mean()):.2f} times that of {pretty(a)}, squared norms, geometric mean" if n else ""
        parts.append(
            f"on {phase} tokens {pretty(a)} leaves the smaller error in {better} of {n} linears ({pretty(b)}'s is{typical})"
        )
    text = f"{capital(parts[0])}; {parts[1]}."
    return f"{text} Linears of one model share their inputs, so this is a count and no test.".replace("is, ", "is ")


def layer_numbers(layers: pd.DataFrame, a: str = "rac", b: str = "prompt") -> dict[str, str]:
    """The numbers of `layer_sentence` for a table or an index; none where errors are missing."""
    ratios = {phase: _layer_ratios(layers, phase, a, b) for phase in PHASES}
    return {
        f"error of {b} / {a}, {phase}, typical linear": f"{np.exp(np.log(ratio).mean()):.2f} (n = {len(ratio)} linears)"
        for phase, ratio in ratios.items()
        if not isinstance(ratio, str) and len(ratio)
    }


def _layer_ratios(layers: pd.DataFrame, phase: str, a: str, b: str) -> pd.Series | str:
    """By linear the error of b over that of a; a sentence where one of them is missing."""
    errors = layers[layers["phase"] == phase].pivot_table(index="layer", columns="source", values="error")
    if missing := [source for source in (a, b) if source not in errors]:
        return f"Nothing can be said of single linears: errors of {' and of '.join(map(pretty, missing))} are missing."
    return (errors[b] / errors[a]).replace([np.inf, -np.inf, 0], np.nan).dropna()


def runtime_sentence(results: pd.DataFrame, evaluations: pd.DataFrame | None = None, a: str = "rac", b: str = "prompt") -> str:
    """Generated tokens and timed minutes of a against b. Counts without evaluations have no spread: then nothing is claimed."""
    frame = results.assign(per_sample=tokens_per_sample(results))
    sparsities = sorted(frame.loc[frame["source"].isin([a, b]) & (frame["source"] != "dense"), "sparsity"].unique())
    if not sparsities:
        return f"Nothing can be told of runtime: neither {pretty(a)} nor {pretty(b)} is in the results (n = 0)."
    dense = frame.loc[frame["source"] == "dense", "per_sample"]
    level = f"The dense model generates {dense.mean():.0f} tokens a problem." if len(dense) else "The dense row is missing."
    if evaluations is not None:
        told = token_sentence(evaluations, sparsities, a, b)
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
