"""Layer-wise relative errors by depth and phase, one line a source."""

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.exceptions import DataError, unknown
from racviz.figures.theme import caption, empty, finish, legend_name, panels, rgba, source_colour, source_order, source_symbol

COLUMNS = ("layer", "depth", "phase", "source", "error")


def layer_errors(frame: pd.DataFrame, label: Mapping[str, Any] | None = None, by: str = "depth") -> go.Figure:
    """‖(W − Ŵ)X‖² / ‖WX‖² of every linear on the same held-out rollouts: points, and their geometric mean at each depth.

    by: `depth` (of the decoder block) or `linear` (q_proj, …: what kind of linear it is).
    label: what made the models, such as the `label` of the tokenwise errors on the same rollouts; for the caption.
    """
    if missing := [column for column in COLUMNS if column not in frame]:
        raise DataError(f"frame must have the columns {', '.join(COLUMNS)}; there is no {', '.join(missing)}.")
    title, label = "Layer-wise error on held-out rollouts", dict(label or frame.attrs.get("label", {}))
    if by not in ("depth", "linear"):
        raise unknown("by", by, ("depth", "linear"))
    usable = frame[np.isfinite(frame["error"].astype(float)) & (frame["error"] > 0)]
    if usable.empty:
        return empty(title, "There is no layer with an error above 0.", label)
    kinds = list(dict.fromkeys(layer.rsplit(".", 1)[-1] for layer in usable["layer"]))
    at = usable["depth"] if by == "depth" else usable["layer"].map(lambda layer: kinds.index(layer.rsplit(".", 1)[-1]))
    usable = usable.assign(at=at)
    phases = [phase for phase in ("prompt", "decode") if (usable["phase"] == phase).any()]
    titles = [f"{phase} tokens" for phase in phases]
    figure = make_subplots(rows=1, cols=len(phases), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=titles)
    sources = source_order(usable["source"])
    for column, phase in enumerate(phases, 1):
        for place, source in enumerate(sources):
            rows = usable[(usable["phase"] == phase) & (usable["source"] == source)]
            shift = 0.12 * (place - (len(sources) - 1) / 2)
            figure.add_traces(_traces(rows, source, shift, column == 1, by), rows=1, cols=column)
    if by == "depth":
        figure.update_xaxes(title_text="depth (decoder block)", dtick=1 if usable["depth"].nunique() <= 16 else None)
    else:
        figure.update_xaxes(tickvals=list(range(len(kinds))), ticktext=kinds)
    figure.update_yaxes(type="log", dtick="D2" if np.ptp(np.log10(usable["error"].astype(float))) < 2.5 else 1, tickformat="~g")
    figure.update_yaxes(title_text="relative squared error", col=1)
    count = usable["layer"].nunique()
    mean = "Lines: their geometric mean at each depth." if by == "depth" else "Bars: their geometric mean over the depth."
    text = f"Points: one linear each ({count} linears). {mean} Lower is better."
    shown = {key: value for key, value in label.items() if key not in ("layer", "metric")}
    return panels(finish(figure, title, caption(shown, label.get("rollouts"), text), height=430), 1.08)


def _traces(rows: pd.DataFrame, source: str, shift: float, legend: bool, by: str) -> list[go.Scatter]:
    colour, name = source_colour(source), legend_name(source)
    mean = np.exp(np.log(rows["error"].astype(float)).groupby(rows["at"]).mean())
    points = go.Scatter(
        x=rows["at"] + shift,
        y=rows["error"],
        mode="markers",
        marker={"color": rgba(colour, 0.45), "size": 6, "symbol": source_symbol(source)},
        text=[html.escape(str(layer)) for layer in rows["layer"]],
        hovertemplate="%{text}<br>%{y:.4g}<extra>" + name + "</extra>",
        legendgroup=source,
        showlegend=False,
    )
    line = go.Scatter(
        x=mean.index + shift,
        y=mean.to_numpy(),
        mode="lines" if by == "depth" else "markers",
        line={"color": colour, "width": 2},
        marker={"symbol": "line-ew-open", "size": 16, "color": colour, "line": {"width": 3}},
        hoverinfo="skip",
        name=name,
        legendgroup=source,
        showlegend=legend,
    )
    return [points, line]
