"""Two cells compared, paired by problem: what can be told, in a clause, a sentence or a finding."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd

from racviz.statistics.estimates import FEWEST_PROBLEMS, PairedDifference, cell_of, holm, paired_difference, thought_lengths
from racviz.statistics.words import capital, listed, percent, pretty


@dataclass(frozen=True)
class Measure:
    """A compared quantity: a column of the evaluations, and the words for it."""

    value: str
    what: str
    unit: str
    better: str
    verdict: str
    more_is_better: bool

    @property
    def scale(self) -> int:
        return 100 if self.unit == "points" else 1

    @property
    def digits(self) -> int:
        return 1 if self.unit == "points" else 0


ACCURACY = Measure("correct", "Accuracy", "points", "is the more accurate", "is more accurate than", True)
LENGTH = Measure("length", "Mean length of thought", "tokens", "thinks shorter", "thinks shorter than", False)
TOKENS = Measure("output_tokens", "Generated tokens a problem", "tokens", "generates less", "generates less than", False)
Pair = tuple[str, str]


@dataclass(frozen=True)
class _Compared:
    """Two cells at one sparsity: why they cannot be compared, or their paired difference with its corrected p."""

    sparsity: float
    pair: Pair
    cells: list[pd.DataFrame]
    reason: str = ""
    gap: PairedDifference | None = None
    p: float = 1.0

    @property
    def side(self) -> int:
        """+1 where the first is above, -1 where it is below, 0 where nothing can be told."""
        return {"above": 1, "below": -1}.get(self.gap.verdict, 0) if self.gap and self.p < 0.05 else 0


def _compared(
    evaluations: pd.DataFrame, at: Sequence[float], pairs: Sequence[Pair], measure: Measure, by: str | None = None
) -> dict[tuple[str, Pair], list[_Compared]]:
    """For each value of the column `by` and each pair a comparison at each sparsity. Holm's correction is over all of them."""
    parts = [(_head(by, value), part) for value, part in evaluations.groupby(by, sort=False)] if by else [("", evaluations)]
    found = {}
    for head, part in parts:
        for pair in pairs:
            row = [(sparsity, *_cells(part, sparsity, pair)) for sparsity in at]
            found[head, pair] = [
                _Compared(sparsity, pair, cells, reason, None if reason else paired_difference(*cells, measure.value))
                for sparsity, reason, cells in row
            ]
    corrected = iter(holm([each.gap.p_value for row in found.values() for each in row if each.gap]))
    return {key: [replace(each, p=next(corrected)) if each.gap else each for each in row] for key, row in found.items()}


def _head(by: str, value: object) -> str:
    return f"{value}: " if isinstance(value, str) else f"{capital(by)} {value}: "


def _several(sparsities: float | Sequence[float]) -> list[float]:
    return [sparsities] if np.isscalar(sparsities) else list(sparsities)


def _compare(
    evaluations: pd.DataFrame,
    sparsities: float | Sequence[float],
    pairs: Sequence[Pair],
    measure: Measure,
    by: str | None = None,
) -> list[str]:
    """A sentence a pair (a against b), and for each value of the column `by`: paired by problem, with what can be told and the rule."""
    found = _compared(evaluations, _several(sparsities), pairs, measure, by)
    gaps = [each.gap for row in found.values() for each in row if each.gap]
    rule = f"A difference counts beyond twice its SE and with p < 0.05 ({' and '.join(sorted({gap.test for gap in gaps}))})"
    if len(gaps) > 1:
        rule += f" after Holm's correction for {len(gaps)} comparisons"
    sentences = []
    for (head, (a, b)), row in found.items():
        clauses = [f"at {percent(each.sparsity)} " + (each.reason or _clause(each, measure, len(gaps))) for each in row]
        told = f"{head}{measure.what}, {pretty(a)} against {pretty(b)}: {'; '.join(clauses)}."
        sentences.append(f"{told} {rule}." if any(each.gap for each in row) else told)
    return sentences


def accuracy_finding(evaluations: pd.DataFrame, sparsities: float | Sequence[float], a: str = "rac", b: str = "prompt") -> str:
    """The verdict of `accuracy_sentence` in a line: where a is above b, where below, and where nothing can be told."""
    return capital(_finding(evaluations, sparsities, (a, b), ACCURACY))


def length_finding(evaluations: pd.DataFrame, sparsities: float | Sequence[float], a: str = "rac", b: str = "prompt") -> str:
    """The verdict of `length_sentence` in a line."""
    return capital(_finding(thought_lengths(evaluations), sparsities, (a, b), LENGTH))


def _finding(evaluations: pd.DataFrame, sparsities: float | Sequence[float], pair: Pair, measure: Measure) -> str:
    (row,) = _compared(evaluations, _several(sparsities), [pair], measure).values()
    return _line(row, pair, measure)


def _line(row: Sequence[_Compared], pair: Pair, measure: Measure, claims: int | None = None) -> str:
    """claims: for how many comparisons p was corrected, where these are not all of them."""
    a, b = map(pretty, pair)
    above = 1 if measure.more_is_better else -1
    sides: dict[str, list[str]] = {f"{a} {measure.verdict} {b}": [], f"{b} {measure.verdict} {a}": [], "": []}
    for each in row:
        where = f"at {percent(each.sparsity)}"
        if each.gap is None:
            sides[""].append(where)
            continue
        means = " against ".join(f"{measure.scale * mean:.0f}" for mean in (each.gap.mean_a, each.gap.mean_b))
        shares = [100 * cell["unended"].mean() if measure.value == "length" else 0.0 for cell in each.cells]
        cut = f", cut off {shares[0]:.0f} against {shares[1]:.0f} %" if any(shares) else ""
        side = 0 if each.side and _longer_is_cut(each, measure) else each.side
        key = list(sides)[2 if side == 0 else 0 if side == above else 1]
        sides[key].append(f"{where} ({means} {'%' if measure.unit == 'points' else measure.unit}{cut})")
    told = [f"{words} {listed(places)}" for words, places in sides.items() if words and places]
    if sides[""]:
        told.append(f"{listed(sides[''])} nothing can be told{f' of {a} against {b}' if not told else ''}")
    counts = [each.gap.n for each in row if each.gap]
    n = f"{min(counts)}" if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}" if counts else "0"
    claims = claims or len(counts)
    corrected = f", corrected for {claims} comparisons" if claims > 1 else ""
    return f"{'; '.join(told)} (n = {n} problems, paired{corrected})."


def _longer_is_cut(each: _Compared, measure: Measure) -> bool:
    """True if the shorter thinker was cut off more often, so that its length says nothing."""
    if measure.value != "length":
        return False
    better, worse = each.cells if each.side < 0 else each.cells[::-1]
    return better["unended"].mean() > worse["unended"].mean()


def _cells(evaluations: pd.DataFrame, sparsity: float, pair: Pair) -> tuple[str, list[pd.DataFrame]]:
    """The cells of a pair, and why they cannot be compared; empty where they can."""
    cells = [cell_of(evaluations, source, sparsity) for source in pair]
    absent = [pretty(source) for source, rows in zip(pair, cells, strict=True) if rows.empty]
    if absent:
        return f"no evaluation of {' and of '.join(absent)} (n = 0), so nothing can be told", cells
    if not set(cells[0]["problem_id"]) & set(cells[1]["problem_id"]):
        return "no problem in common (n = 0), so nothing can be told", cells
    return "", cells


def _clause(each: _Compared, measure: Measure, claims: int) -> str:
    gap, pair = each.gap, each.pair
    first = (gap.difference > 0) == measure.more_is_better
    (winner, better), (_, worse) = sorted(zip(pair, each.cells, strict=True), key=lambda one: (one[0] == pair[0]) != first)
    told = f"{pretty(winner)} {measure.better}"
    if measure.value == "length" and better["unended"].mean() > worse["unended"].mean():
        told = f"{pretty(winner)} was cut off more often, so which thinks shorter cannot be told"
    means = [f"{measure.scale * mean:.{measure.digits}f}" for mean in (gap.mean_a, gap.mean_b)]
    numbers = f"{' against '.join(means)}{' %' if measure.unit == 'points' else ''}"
    difference = _difference(gap, measure.scale, measure.digits, measure.unit)
    return f"{numbers}, {difference}: {_verdict(gap, each.p, claims, told)}"


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


def pass_sentences(evaluations: pd.DataFrame, sparsity: float | Sequence[float], pairs: Sequence[Pair]) -> list[str]:
    """Problems that at least one sample solves (pass@k, k all samples), of several pairs, corrected for all of them together."""
    samples = int(evaluations.groupby(["source", "sparsity", "problem_id"])["correct"].size().min())
    solved = evaluations.groupby(["source", "sparsity", "problem_id"], sort=False, as_index=False)["correct"].any()
    return _compare(solved, sparsity, pairs, replace(ACCURACY, what=f"pass@{samples}", better="solves more"))


def budget_sentences(evaluations: pd.DataFrame, sparsities: float | Sequence[float], budget: int) -> list[str]:
    """Gain of the largest budget over a smaller one: for each source, paired by problem, corrected for all together.

    evaluations: of `within_budgets`.
    """
    pruned = evaluations[evaluations["source"] != "dense"]
    rows = pruned.assign(
        model=pruned["source"].map(pretty).map(capital), source=[f"{each} tokens" for each in pruned["budget"]]
    )
    pair = (f"{pruned['budget'].max()} tokens", f"{budget} tokens")
    return _compare(rows, sparsities, [pair], replace(ACCURACY, what="accuracy", better="buys accuracy"), "model")


SOLVERS = replace(ACCURACY, what="accuracy", better="answers better")


def solver_sentences(
    evaluations: pd.DataFrame, sparsity: float | Sequence[float], methods: Sequence[str], b: str = "sparsegpt"
) -> list[str]:
    """Accuracy of each solver against solver b, for each source that calibrates: corrected for all of them together."""
    return _compare(_by_solver(evaluations), sparsity, [(method, b) for method in methods], SOLVERS, "calibration")


def solver_finding(
    evaluations: pd.DataFrame, sparsity: float | Sequence[float], methods: Sequence[str], b: str = "sparsegpt"
) -> str:
    """The verdict of `solver_sentences` on the last of the solvers, with the last source, in a line."""
    found = _compared(_by_solver(evaluations), _several(sparsity), [(method, b) for method in methods], SOLVERS, "calibration")
    (head, pair), row = list(found.items())[-1]
    return f"{head}{_line(row, pair, SOLVERS, sum(each.gap is not None for each in chain(*found.values())))}"


def _by_solver(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The pruned cells with the solver in the source's place."""
    pruned = evaluations[evaluations["source"] != "dense"]
    return pruned.assign(calibration="Calibrated on " + pruned["source"].map(pretty), source=pruned["method"])


def length_sentence(evaluations: pd.DataFrame, sparsity: float | Sequence[float], a: str = "rac", b: str = "prompt") -> str:
    """Mean CoT length of a against b, with the shares that never ended: their lengths are only lower bounds."""
    return length_sentences(evaluations, sparsity, [(a, b)])[0]


def length_sentences(evaluations: pd.DataFrame, sparsity: float | Sequence[float], pairs: Sequence[Pair]) -> list[str]:
    """`length_sentence` of several pairs, corrected for all of them together."""
    frame = thought_lengths(evaluations)
    told = _compare(frame, sparsity, pairs, LENGTH)
    return [f"{sentence} {_cut_off(frame, sparsity, pair)}" for sentence, pair in zip(told, pairs, strict=True)]


def token_sentence(evaluations: pd.DataFrame, sparsities: Sequence[float], a: str = "rac", b: str = "prompt") -> str:
    """Generated tokens a problem of a against b: the paper's runtime, but for the seconds that a token takes."""
    return _compare(evaluations, sparsities, [(a, b)], TOKENS)[0]


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
