"""Several seeds: differences and ratios with intervals over seeds, then problems, and the sentences that they allow."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from racviz.exceptions import DataError
from racviz.statistics.estimates import FEWEST_PROBLEMS, Interval, bootstrap_interval, bootstrap_ratio, cell_of, thought_lengths
from racviz.statistics.words import percent, pretty

INTERVALS = "Intervals: the wider of a paired bootstrap over seeds, then problems, and of a t-interval over the seeds"


def seed_values(evaluations: pd.DataFrame, sparsity: float, source: str, value: str = "correct") -> pd.DataFrame:
    """`value`, the mean of a problem's samples: a row a seed, a column a problem. Raises DataError where a seed lacks the cell."""
    rows = {}
    for seed, part in evaluations.groupby("seed"):
        cell = cell_of(part, source, sparsity)
        if cell.empty:
            raise DataError(f"seed {seed} has no evaluation of {source} at a sparsity of {sparsity:g}.")
        rows[seed] = cell[value].astype(float).groupby(cell["problem_id"]).mean()
    return pd.DataFrame(rows).T


def seed_differences(
    evaluations: pd.DataFrame, sparsity: float, a: str = "rac", b: str = "prompt", value: str = "correct"
) -> pd.DataFrame:
    """a − b problem by problem, a row a seed, a column a problem. Raises DataError where a seed lacks one of the two."""
    return seed_values(evaluations, sparsity, a, value) - seed_values(evaluations, sparsity, b, value)


def seed_interval(
    evaluations: pd.DataFrame, sparsity: float, a: str = "rac", b: str = "prompt", level: float = 0.95
) -> Interval:
    """The mean of a − b with an interval over seeds and problems: see `over_seeds`."""
    table = seed_differences(evaluations, sparsity, a, b).to_numpy()
    return over_seeds(bootstrap_interval(table, level=level), np.nanmean(table, axis=1))


def over_seeds(found: Interval, each: np.ndarray) -> Interval:
    """The interval widened to hold the t-interval over the seeds' own values too; without ends for a single seed.

    A bootstrap that draws three seeds anew can reach no further than from the lowest to the highest of them, at any level.
    """
    if len(each) < 2:
        return replace(found, low=float("nan"), high=float("nan"))
    half = stdtrit(len(each) - 1, (1 + found.level) / 2) * each.std(ddof=1) / np.sqrt(len(each))
    return replace(found, low=min(found.low, each.mean() - half), high=max(found.high, each.mean() + half))


def seed_sentence(evaluations: pd.DataFrame, sparsities: float | Sequence[float], a: str = "rac", b: str = "prompt") -> str:
    """Whether a is above b at the sparsities named beforehand, over seeds and problems, each seed's value shown.

    The intervals are widened for the number of sparsities (Bonferroni), so that all of them hold together with 95 %.
    """
    chosen = [sparsities] if np.isscalar(sparsities) else list(sparsities)
    parts = []
    for sparsity in chosen:
        table = seed_differences(evaluations, sparsity, a, b)
        found = seed_interval(evaluations, sparsity, a, b, level=1 - 0.05 / len(chosen))
        each = ", ".join(f"{100 * gap:+.0f} (seed {seed})" for seed, gap in table.mean(axis=1).items())
        winner = {1: a, -1: b}.get(found.side_of(0.0))
        told = f"{pretty(winner)} is the more accurate" if winner else "nothing can be told"
        parts.append(
            f"at {percent(sparsity)} {100 * found.estimate:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}], by seed "
            f"{each}: {told}"
        )
    seeds = evaluations["seed"].nunique()
    words = f"{seeds} seeds" if seeds > 1 else "one seed, so that nothing is known of others"
    corrected = f", corrected for {len(chosen)} sparsities" if len(chosen) > 1 else ""
    return (
        f"Accuracy, {pretty(a)} against {pretty(b)}, over {words}: {'; '.join(parts)}. {INTERVALS}, 95 % together{corrected}."
    )


def nowhere_below_sentence(evaluations: pd.DataFrame, sparsities: Sequence[float], a: str = "rac", b: str = "prompt") -> str:
    """Whether a is below b beyond the noise at any of these sparsities: intervals over seeds and problems, each with 95 % by itself.

    They are not widened for their number, which would make it easier to find nothing.
    """
    if not sparsities:
        return "No other sparsity was asked for."
    found = {sparsity: seed_interval(evaluations, sparsity, a, b) for sparsity in sparsities}
    below = {sparsity: each for sparsity, each in found.items() if each.side_of(0.0) < 0}
    where = ", ".join(map(percent, sparsities))
    shown = "; ".join(
        f"{percent(s)} {100 * each.estimate:+.1f} points [{100 * each.low:+.1f}, {100 * each.high:+.1f}]"
        for s, each in found.items()
    )
    if below:
        told = f"{pretty(a)} is below {pretty(b)} beyond the noise at {', '.join(map(percent, below))}"
    elif any(not np.isfinite(each.low) or each.n < FEWEST_PROBLEMS for each in found.values()):
        told = "there are too few problems or seeds to tell"
    else:
        # where no problem differs the interval has no width: by the rule of three a share of up to 3 / n may
        most = {s: max(-each.low, 3 / each.n if each.low == each.high else 0.0) for s, each in found.items()}
        worst = max(most, key=lambda sparsity: most[sparsity])
        told = (
            f"{pretty(a)} is nowhere below {pretty(b)} by more than the noise; it could be by up to "
            f"{100 * max(0.0, most[worst]):.1f} points (at {percent(worst)})"
        )
    return f"At {where}: {told}. {pretty(a)[:1].upper()}{pretty(a)[1:]} − {pretty(b)}: {shown}. {INTERVALS}, 95 % each."


def seed_token_sentence(
    evaluations: pd.DataFrame, sparsities: Sequence[float], a: str = "prompt", b: str = "rac", claims: int | None = None
) -> str:
    """Tokens of a over tokens of b on the same problems (the paper's runtime effect), with intervals over seeds and problems.

    claims: the number of sparsities for which intervals are widened, where these were chosen from more after a look. An answer that was
    cut off counts with the tokens that it had; what it would have needed is unknown.
    """
    frame, clauses = thought_lengths(evaluations), []
    claims = max(claims or 0, len(sparsities))
    for sparsity in sparsities:
        tokens = [seed_values(frame, sparsity, source, "output_tokens") for source in (a, b)]
        over, under = (each.to_numpy() for each in (tokens[0], tokens[1].reindex(columns=tokens[0].columns)))
        found = bootstrap_ratio(over, under, level=1 - 0.05 / claims)
        logs = over_seeds(
            replace(found, low=np.log(found.low), high=np.log(found.high)),
            np.log(np.nanmean(over, axis=1) / np.nanmean(under, axis=1)),
        )
        found = replace(found, low=float(np.exp(logs.low)), high=float(np.exp(logs.high)))
        cut = [cell_of(frame, source, sparsity)["truncated"].mean() for source in (a, b)]
        price = [_price(cell_of(frame, source, sparsity)) for source in (a, b)]
        told = {1: f"{pretty(a)} needs more", -1: f"{pretty(b)} needs more"}.get(found.side_of(1.0), "nothing can be told")
        if cut[0] and cut[1]:
            told += " until the budget, which cut off both"
        clauses.append(
            f"at {percent(sparsity)} {'at least ' if cut[0] and not cut[1] else ''}{found} ({np.nanmean(over):.0f} against "
            f"{np.nanmean(under):.0f}; cut off {100 * cut[0]:.1f} against {100 * cut[1]:.1f} %; all tokens over right answers: {price[0]} "
            f"against {price[1]}): {told}"
        )
    corrected = f" together for {claims} sparsities" if claims > 1 else ""
    return f"Tokens a problem, {pretty(a)} over {pretty(b)}: {'; '.join(clauses)}. {INTERVALS}, 95 %{corrected}."


def _price(cell: pd.DataFrame) -> str:
    """Tokens generated in all for each right answer."""
    right = int(cell["correct"].sum())
    return f"{cell['output_tokens'].sum() / right:,.0f}" if right else "no right answer"
