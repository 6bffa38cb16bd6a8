"""Medians of r_t side by side: by the depth at which errors are taken, or by solver."""

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from racviz.exceptions import ParameterError
from racviz.figures.heatmap import heading
from racviz.figures.theme import INK, caption, empty, finish, panels
from racviz.statistics import label_of, ratio_table
from racviz.statistics.estimates import PHASES

COLOURS, SYMBOLS = {"prompt": "#7a5195", "decode": "#0072B2"}, {"prompt": "square", "decode": "circle"}


def ratio_medians(
    errors: Mapping[Any, Any], numerator: str, denominator: str, by: str = "depth", line: bool = True
) -> go.Figure:
    """Median r_t on prompt and on decode tokens, a mark for each of `errors`, with bootstrap intervals over problems.

    errors: by a name each, in the order in which they are drawn: layers (a number is a block), solvers, … by: what the names are.
    line: whether they have an order that a line may follow.

    Raises ParameterError where there is nothing to draw.
    """
    if not errors:
        raise ParameterError("errors must hold at least one: {0: study.errors(0.5, layer=0), …}.")
    title = f"{heading(numerator, denominator)}, by {by}"
    labels = [dict(label_of(each)) for each in errors.values()]
    label = {key: value for key, value in labels[0].items() if all(other.get(key) == value for other in labels)}
    names = [f"block {name}" if isinstance(name, int) else html.escape(str(name), quote=False) for name in errors]
    tables = [ratio_table([each], numerator, denominator) for each in errors.values()]
    figure = go.Figure()
    for shift, phase in zip((-0.06, 0.06), PHASES, strict=True):
        rows = [table[table["phase"] == phase].iloc[0] for table in tables]
        median, low, high = (np.array([row[key] for row in rows], float) for key in ("median_ratio", "low", "high"))
        if not np.isfinite(median).any():
            continue
        bars = {
            "type": "data",
            "symmetric": False,
            "array": high - median,
            "arrayminus": median - low,
            "thickness": 1.4,
            "width": 4,
        }
        figure.add_scatter(
            x=np.arange(len(rows)) + shift, y=median, error_y=bars, mode="lines+markers" if line else "markers", name=f"{phase} tokens",
            line={"color": COLOURS[phase], "width": 2.2}, marker={"size": 10, "symbol": SYMBOLS[phase], "color": COLOURS[phase]},
            customdata=[[name, row["n"]] for name, row in zip(names, rows, strict=True)],
            hovertemplate="%{customdata[0]}: <b>%{y:.3g}×</b> (n = %{customdata[1]})<extra>" + f"{phase} tokens</extra>",
        )  # fmt: skip
    if not figure.data:
        return empty(title, "There is no token at which both errors are known.", label)
    figure.add_hline(y=1, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=names, title_text=by, range=[-0.4, len(names) - 0.6])
    figure.update_yaxes(type="log", title_text="median r_t", tickformat="~g", dtick="D2")
    note = "Medians within a problem, then over problems; bars: 95 % bootstrap intervals over problems."
    n = max(int(table["n"].max()) for table in tables)
    return panels(finish(figure, title, caption(label, n, note), height=400), 1.08)
