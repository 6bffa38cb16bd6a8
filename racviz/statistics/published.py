"""What was measured against what the paper prints: the same order of sources, or another."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from racviz.statistics.estimates import cell_of, holm, paired_difference
from racviz.statistics.words import percent, pretty

PUBLISHED_N = 500
"""Problems of MATH-500, one sample each."""
PAIRS = (("rac", "prompt"), ("prompt", "generic"))


def published_sentence(evaluations: pd.DataFrame, published: pd.DataFrame, pairs: Sequence[tuple[str, str]] = PAIRS) -> str:
    """For each pair of sources, at each sparsity that was measured and published: which is above the other here, beyond the noise, and in
    how many of the paper's models it is so. Heights are not compared: its models are others.

    evaluations: of one model. published: of `racviz.published("math")`.
    """
    compared = []
    for a, b in pairs:
        for sparsity in sorted(set(published["sparsity"]) & set(evaluations["sparsity"].round(6)) - {0.0}):
            theirs = _gaps(published[np.isclose(published["sparsity"], sparsity)], a, b)
            cells = [cell_of(evaluations, source, sparsity) for source in (a, b)]
            if len(theirs) and not any(cell.empty for cell in cells):
                compared.append((a, b, sparsity, theirs, paired_difference(*cells)))
    if not compared:
        return "No sparsity was both measured and published with these sources, so that orders cannot be compared."
    clauses = []
    for (a, b, sparsity, theirs, gap), p in zip(compared, holm([gap.p_value for *_, gap in compared]), strict=True):
        here = f"at {percent(sparsity)} {pretty(a)} − {pretty(b)} is {100 * gap.difference:+.1f} points"
        if gap.verdict not in ("above", "below") or p >= 0.05:
            clauses.append(f"{here}, inside the noise, so that nothing can be told of the paper's order")
            continue
        same = theirs * np.sign(gap.difference)
        said = [
            f"{words} {', '.join(models)}"
            for words, models in (("as the paper has it for", theirs.index[same > 0]), ("against the paper for", theirs.index[same < 0]),
                                  ("which the paper's own noise leaves open for", theirs.index[same == 0])) if len(models)
        ]  # fmt: skip
        clauses.append(f"{here}, {' and '.join(said)}")
    return (
        f"The order of sources, here and in the paper: {'; '.join(clauses)}. Here: Holm's correction for {len(compared)} comparisons; "
        f"there: differences of less than twice the SE of two accuracies on {PUBLISHED_N} problems are left open."
    )


def _gaps(rows: pd.DataFrame, a: str, b: str) -> pd.Series:
    """By model the sign of the difference of published accuracies, 0 where it is inside twice its SE (the paper prints no pairs)."""
    wide = rows.pivot_table(index="model", columns="source", values="accuracy", sort=False)
    if not {a, b} <= set(wide):
        return pd.Series(dtype=float)
    both = wide[[a, b]].dropna()
    se = np.sqrt((both * (1 - both)).sum(axis=1) / PUBLISHED_N)
    gap = both[a] - both[b]
    return np.sign(gap).where(gap.abs() > 2 * se, 0.0)
