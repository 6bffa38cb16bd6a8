"""The results of a run: read with a check, cut to what is asked for, and set as a table for a paper."""

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError, check, unknown
from racviz.printable import cell, redacted, shown
from racviz.store import regular_file
from racviz.study import RESULT_COLUMNS
from racviz.study.sweep import Book


def read_results(folder: str | Path):
    """The results.csv of a run as a frame. Raises DataError for a file that is none, was changed by hand, or holds impossible values."""
    import pandas as pd

    table = Path(folder) / "results.csv" if Path(folder).is_dir() else Path(folder)
    if os.path.lexists(table):
        regular_file(table)
    else:
        raise DataError(f"{table} does not exist; `racviz sweep` and the reports write it into the folder of their run.")
    Book(table.parent).check()
    try:
        frame = pd.read_csv(table, keep_default_na=True)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{table} is not a table of results: {error}") from error
    if missing := [name for name in RESULT_COLUMNS if name not in frame]:
        raise DataError(f"{table} lacks the columns {', '.join(missing)} of a table of results.")
    for name, low, high in (("accuracy", 0, 1), ("sparsity", 0, 1), ("truncated", 0, 1), ("tokens", 0, float("inf"))):
        values = pd.to_numeric(frame[name], errors="coerce")
        wrong = frame.index[(~values.between(low, high)) & frame[name].notna()]
        if len(wrong):
            raise DataError(f"{table}, line {wrong[0] + 2}: {name} is {frame[name][wrong[0]]!r}, which cannot be.")
    return frame.assign(trace_source=frame["trace_source"].astype(object).fillna(""))


SHOWN = ("model", "source", "method", "sparsity", "seed", "problems", "accuracy", "se", "tokens", "median_cot", "truncated")

NOT_TOLD = ("sparsity_all", "mean_cot", "minutes", "timed_problems")
"""Columns that differ and tell no cell from another."""


def chosen_results(folder: str | Path, where: Sequence[str], columns: Sequence[str] | None = None, sort: str | None = None):
    """Rows of a run's results where each `column=value` holds, in some of the columns: those given, or the usual ones and all that tell the
    rows apart. Raises ParameterError for a column that is none, DataError where no row is left (says what there is)."""
    frame = read_results(folder)
    names, there = list(frame.columns), frame
    for pair in where:
        name, equals, value = pair.partition("=")
        check(bool(equals), "where", pair, "column=value, such as source=rac")
        if name not in names:
            raise unknown("where", name, names)
        same = frame[name].astype(str) == value
        with contextlib.suppress(ValueError):
            same |= frame[name].map(_number) == float(value)
        frame = frame[same]
    for name in [*(columns or ()), *filter(None, [sort])]:
        if name not in names:
            raise unknown("columns" if name in (columns or ()) else "sort", name, names)
    if frame.empty:
        held = "; ".join(
            f"{n} holds {', '.join(map(shown, there[n].unique()[:12]))}" for n in (pair.partition("=")[0] for pair in where)
        )
        raise DataError(f"no row of {folder} has {' and '.join(where)}: {held}.")
    differing = [n for n in frame if n not in (*SHOWN, *NOT_TOLD) and frame[n].nunique(dropna=False) > 1]
    return (frame.sort_values(sort, kind="stable") if sort else frame)[list(columns or (*SHOWN, *differing))]


def printable_table(frame: Any, *, csv: bool = False) -> Any:
    """The frame with texts that a terminal shows as they are, without secrets; for CSV whole, and guarded where a spreadsheet runs them."""

    def plain(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return cell(redacted(value)) if csv else shown(redacted(value))

    texts = {name: frame[name].map(plain) for name in frame if frame[name].dtype.kind not in "biufc"}
    return frame.assign(**texts).rename(columns=plain)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


PER_CENT = {"accuracy", "se", "sparsity", "sparsity_all", "truncated"}
HEADINGS = {"se": "SE", "median_cot": "median CoT", "mean_cot": "mean CoT", "truncated": "cut off", "t_max": "$T_{max}$"}


def latex_table(frame: Any) -> str:
    """Rows of results as a LaTeX table (package booktabs): fractions in per cent, accuracy with its SE in one column, text escaped."""
    names = [name for name in frame if not (name == "se" and "accuracy" in frame)]
    numbers = {name for name in names if frame[name].dtype.kind in "fi"}
    heads = []
    for name in names:
        head = HEADINGS.get(name, _escaped(name.replace("_", " "))) + (r", \%" if name in PER_CENT else "")
        heads.append(head + (r" $\pm$ SE" if name == "accuracy" and "se" in frame else ""))
    lines = [r"\begin{tabular}{" + "".join("r" if name in numbers else "l" for name in names) + "}", r"\toprule"]
    lines += [" & ".join(heads) + r" \\", r"\midrule"]
    for row in frame.to_dict("records"):
        cells = [_cell(name, row[name]) for name in names]
        if "accuracy" in names and "se" in frame and row["se"] == row["se"]:
            cells[names.index("accuracy")] += rf" $\pm$ {100 * row['se']:.1f}"
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:
        return "--"
    if isinstance(value, str):
        return _escaped(value) or "--"
    if name in PER_CENT:
        return f"{100 * value:.1f}" if name in ("accuracy", "se") else f"{100 * value:.3g}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _escaped(text: str) -> str:
    """Text that LaTeX sets as it is."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return re.sub(r"[\\~^&%$#_{}]", lambda found: special.get(found[0], "\\" + found[0]), text)
