"""What a pruning run did, linear by linear: sparsity, error on its own calibration set, damping, seconds."""

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.exceptions import DataError
from racviz.figures.theme import caption, empty, finish, legend_name, panels, source_colour, source_order, source_symbol

PANELS = {
    "sparsity": "sparsity, %", "calibration_error": "error on its own calibration set", "damping": "damping needed",
    "seconds": "seconds",
}  # fmt: skip


def pruning_run(reports: Mapping[str, pd.DataFrame], label: Mapping[str, Any] | None = None) -> go.Figure:
    """Four panels over the linears in the order of the model, a mark a linear and source. reports: `pruned.report` by source."""
    title = "The pruning run, linear by linear"
    if not reports:
        return empty(title, "There is no report of a pruned model.", label)
    for source, report in reports.items():
        if missing := [column for column in ("layer", "sparsity", "calibration_error", "seconds") if column not in report]:
            raise DataError(f"the report of {source!r} must be that of a pruned model; there is no {', '.join(missing)}.")
    figure = make_subplots(rows=2, cols=2, shared_xaxes="all", vertical_spacing=0.13, horizontal_spacing=0.075,
                           subplot_titles=list(PANELS.values()))  # fmt: skip
    layers = pd.concat([report["layer"] for report in reports.values()]).drop_duplicates()
    blocks = layers.str.split(".").str[1].astype(int)
    order = blocks.argsort(kind="stable")  # sources with different scopes share the places of their linears
    blocks, place = blocks.iloc[order].reset_index(drop=True), {layer: k for k, layer in enumerate(layers.iloc[order])}
    for number, value in enumerate(PANELS):
        for source in source_order(reports):
            report = reports[source]
            y = report[value] if value in report else pd.Series(float("nan"), index=report.index)
            figure.add_trace(go.Scatter(
                x=report["layer"].map(place), y=100 * y if value == "sparsity" else y, mode="markers", name=legend_name(source),
                legendgroup=source, showlegend=number == 0, text=[html.escape(str(layer)) for layer in report["layer"]],
                marker={"color": source_colour(source), "symbol": source_symbol(source), "size": 7, "opacity": 0.75},
                hovertemplate="%{text}: <b>%{y:.4~g}</b><extra>" + legend_name(source) + "</extra>",
            ), row=1 + number // 2, col=1 + number % 2)  # fmt: skip
    starts = blocks.drop_duplicates()
    every = max(1, -(-len(starts) // 16))
    figure.update_xaxes(tickvals=starts.index[::every].tolist(), ticktext=starts[::every].astype(str).tolist())
    figure.update_xaxes(title_text="decoder block", row=2)
    figure.update_yaxes(type="log", tickformat="~g", row=1, col=2)
    figure.update_yaxes(rangemode="tozero", row=2)
    note = (
        "A mark a linear, in the order of the model. The errors here are each on its own calibration set: they say how hard the "
        "solver had it, and are not compared between sources."
    )
    return panels(finish(figure, title, caption(dict(label or {}), None, note), height=520), 1.07)
