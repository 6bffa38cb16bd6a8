"""Measured values beside those that the paper prints: in one table, and as the order of sources."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from racviz.exceptions import DataError
from racviz.paper import printed_model
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
        "there: differences of less than twice the SE of two accuracies, as printed, are left open."
    )


def beside_published(
    results: pd.DataFrame, published: pd.DataFrame, keys: Sequence[str] = ("sparsity", "source"), value: str = "accuracy"
) -> pd.DataFrame:
    """A row a cell, the measured value of each model and the published one of each of the paper's models side by side.

    A model that the paper prints stands beside its own column alone; any other beside all of the paper's models.

    Parameters
    ----------
    results : DataFrame
        A row a cell in the columns of results.csv (model, `keys`, `value` and, for accuracies, se), or of `accuracy_table`.
    published : DataFrame
        Of `racviz.published`, with the same columns.
    keys : sequence of str
        Columns that name a cell. Cells of only one side have empty fields on the other.
    value : str
        `accuracy`, shown in per cent with its SE, or another column, shown as it is.

    Raises
    ------
    DataError
        Where one of the two lacks a column.
    """
    if value == "accuracy" and "accuracy, %" in results:
        results = results.assign(accuracy=results["accuracy, %"] / 100, se=results["SE"] / 100)
    for name, frame in (("results", results), ("published", published)):
        if missing := [column for column in ("model", *keys, value) if column not in frame]:
            raise DataError(f"{name} must have the columns {', '.join(missing)}.")
    printed = list(dict.fromkeys(published["model"]))
    measured = list(dict.fromkeys(results["model"]))
    own = {name: printed_model(str(name), printed) for name in measured}
    theirs = [model for model in printed if model in own.values()] if all(own.values()) else printed
    columns = {f"{_name(str(model))}, measured": results[results["model"] == model] for model in measured}
    columns |= {f"{model}, published": published[published["model"] == model] for model in theirs}
    cells: dict[tuple, dict[str, str]] = {}
    for column, rows in columns.items():
        for row in rows.to_dict("records"):
            cell = cells.setdefault(tuple(_key(row[key]) for key in keys), {})
            cell.setdefault(column, _cell(row, value))  # the dense model may be there once for each variant
    table = pd.DataFrame([dict(zip(keys, key, strict=True)) | cell for key, cell in cells.items()], columns=[*keys, *columns])
    return table.fillna("").sort_values([key for key in keys if key in ("sparsity", "budget")] or list(keys[:1]), kind="stable")


def _name(model: str) -> str:
    """A hub id or embedded name as it is; of a path the last part."""
    return model.rstrip("/").rpartition("/")[2] if model.startswith((".", "/", "~")) or model.count("/") > 1 else model


def _key(value: object) -> object:
    """A value of a key: numbers as one cell has them and another, nothing for what is missing."""
    if value is None or value != value:
        return ""
    return round(value, 6) if isinstance(value, float) else value


def _cell(row: dict, value: str) -> str:
    found = row[value]
    if found is None or found != found:
        return ""
    if value != "accuracy":
        return f"{found:.3g}" if abs(found) < 10 else f"{found:,.1f}".removesuffix(".0")
    se = row.get("se")
    return f"{100 * found:.1f}" + ("" if se is None or se != se else f" ± {100 * se:.1f}")


def _gaps(rows: pd.DataFrame, a: str, b: str) -> pd.Series:
    """By model the sign of the difference of published accuracies, 0 where it is inside twice its SE (the paper prints no pairs).

    The SE of an accuracy is the printed one, or the binomial one on PUBLISHED_N problems.
    """
    wide = rows.pivot_table(index="model", columns="source", values="accuracy", sort=False)
    if not {a, b} <= set(wide):
        return pd.Series(dtype=float)
    both = wide[[a, b]].dropna()
    each = np.sqrt(both * (1 - both) / PUBLISHED_N)
    if "se" in rows:
        printed = rows.pivot_table(index="model", columns="source", values="se", sort=False).reindex_like(both)
        each = printed.fillna(each)
    se = np.sqrt((each**2).sum(axis=1))
    gap = both[a] - both[b]
    return np.sign(gap).where(gap.abs() > 2 * se, 0.0)
