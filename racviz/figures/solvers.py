"""Solvers against each other: accuracy, decode error and seconds against sparsity, a row of panels a calibration source."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.exceptions import DataError
from racviz.figures.theme import INK, SPARE, caption, empty, finish, label_from, legend_name, panels, rgba, source_order

COLUMNS = ("source", "method", "sparsity", "accuracy", "se", "decode_error", "decode_low", "decode_high", "solver_seconds")
PANELS = {
    "accuracy": "accuracy, % (± SE)",
    "decode_error": "relative error on decode tokens",
    "solver_seconds": "solver seconds",
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", *SPARE)
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x")


def solver_curves(frame: pd.DataFrame) -> go.Figure:
    """A line a method, a row of panels a source; the dense model's accuracy as a level. frame: of `compare_solvers`."""
    if missing := [column for column in COLUMNS if column not in frame]:
        raise DataError(f"frame must have the columns {', '.join(COLUMNS)}; there is no {', '.join(missing)}.")
    title, pruned = "Solvers against sparsity", frame[frame["source"] != "dense"]
    if pruned.empty:
        return empty(title, "There is no pruned model.")
    sources, methods = source_order(pruned["source"]), list(dict.fromkeys(pruned["method"]))
    titles = [f"{legend_name(source)}: {name}" for source in sources for name in PANELS.values()]
    figure = make_subplots(
        rows=len(sources), cols=len(PANELS), horizontal_spacing=0.075, vertical_spacing=0.28 / len(sources), subplot_titles=titles,
        shared_xaxes="all",
    )  # fmt: skip
    dense = frame[frame["source"] == "dense"]["accuracy"].mean()
    for row, source in enumerate(sources, 1):
        for column, value in enumerate(PANELS, 1):
            for place, method in enumerate(methods):
                part = pruned[(pruned["source"] == source) & (pruned["method"] == method)].sort_values("sparsity")
                first = row == 1 and column == 1
                figure.add_trace(_line(part, method, value, place, first), row=row, col=column)
        if np.isfinite(dense):
            figure.add_hline(y=100 * dense, line={"color": INK, "width": 1.5, "dash": "dash"}, row=row, col=1)
    figure.update_xaxes(title_text="sparsity, %", row=len(sources))
    figure.update_xaxes(tickvals=sorted(100 * pruned["sparsity"].unique()), tickformat="~g", showticklabels=True)
    figure.update_yaxes(range=[-3, 103], col=1)
    figure.update_yaxes(type="log", tickformat="~g", col=2, matches="y2")
    figure.update_yaxes(rangemode="tozero", col=3)
    note = (
        "Dashed: the dense model. Relative error: e_t / ‖x_dense,t‖, the median within a problem, then over problems; bars: "
        "quartiles over problems. Seconds: all linears, factorisations and all, on this machine, not a timing pass."
    )
    figure = finish(
        figure, title, caption(label_from(frame), int(frame["problems"].max()), note), height=300 * len(sources) + 90
    )
    return panels(figure, 1 + 0.16 / len(sources))


def _line(part: pd.DataFrame, method: str, value: str, place: int, legend: bool) -> go.Scatter:
    colour, scale = COLOURS[place % len(COLOURS)], 100 if value == "accuracy" else 1
    y, bars = scale * part[value], {}
    if value == "accuracy":
        bars = {"array": scale * part["se"].fillna(0)}
    elif value == "decode_error":
        bars = {"array": part["decode_high"] - y, "arrayminus": y - part["decode_low"]}
    return go.Scatter(
        x=100 * part["sparsity"], y=y, mode="lines+markers", name=method, legendgroup=method, showlegend=legend,
        line={"color": colour, "width": 2.2}, marker={"size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]},
        error_y={"type": "data", "thickness": 1.2, "width": 4, "color": rgba(colour, 0.6), **bars} if bars else None,
        hovertemplate="%{x:~g} %: <b>%{y:.4~g}</b><extra>" + method + "</extra>",
    )  # fmt: skip
