"""Variants side by side: accuracy and decode error as bars, a group a variant."""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.exceptions import DataError
from racviz.figures.theme import (
    INK,
    SPARE,
    caption,
    empty,
    finish,
    label_from,
    legend_name,
    panels,
    source_colour,
    source_order,
)
from racviz.sources import SOURCES
from racviz.statistics import accuracy_table

SHADES = ("#0072B2", "#56B4E9", "#7a5195", *SPARE)


def variant_bars(results: pd.DataFrame, title: str) -> go.Figure:
    """Accuracy ± SE, a group of bars a variant, a bar a source; the dense model as a level. results: of `vary`."""
    pruned = _pruned(results, ("variant", "accuracy", "se", "source"))
    if pruned.empty:
        return empty(title, "There is no pruned model.")
    figure = go.Figure()
    for source in source_order(pruned["source"]):
        rows = pruned[pruned["source"] == source]
        name = legend_name(source)
        figure.add_bar(
            x=[html.escape(str(each), quote=False) for each in rows["variant"]], y=100 * rows["accuracy"], name=name,
            marker_color=source_colour(source), error_y={"type": "data", "array": 100 * rows["se"], "thickness": 1.4, "width": 4},
            hovertemplate="%{x}: <b>%{y:.1f} %</b><extra>" + name + "</extra>",
        )  # fmt: skip
    _level(figure, results)
    figure.update_yaxes(range=[0, 103], title_text="accuracy, % (± SE)")
    figure.update_xaxes(type="category", title_text=title.partition(",")[0])
    label = label_from(results, "budget")
    note = "Bars: SE over problems. Dashed: the dense model."
    return panels(
        finish(figure, title[:1].upper() + title[1:], caption(label, int(results["problems"].max()), note), height=400), 1.05
    )


def policy_bars(results: pd.DataFrame, apart: pd.DataFrame) -> go.Figure:
    """Accuracy and error on decode tokens by whose traces calibrate, a shade a sparsity, in the order of their distance.

    results: of `vary(study, "trace_source", …, errors=True)`. apart: of `distances`.
    """
    title = "Whose traces calibrate"
    pruned = _pruned(results, ("variant", "accuracy", "se", "decode_error", "sparsity"))
    if pruned.empty:
        return empty(title, "There is no pruned model.")
    nats = dict(zip(apart["variant"], apart["nats a token"], strict=True))
    order = [each for each in apart["variant"] if each in set(pruned["variant"])]
    names = {each: f"{html.escape(str(each), quote=False)}<br>{nats[each]:.2f} nats a token" for each in order}
    figure = make_subplots(
        rows=1, cols=2, horizontal_spacing=0.09, subplot_titles=["accuracy, % (± SE)", "error on decode tokens"]
    )
    for shade, (sparsity, part) in zip(SHADES, pruned.groupby("sparsity"), strict=False):
        rows = part.set_index("variant").reindex(order)
        common = dict(
            x=[names[each] for each in order], name=f"{100 * sparsity:.3g} %", marker_color=shade, legendgroup=f"{sparsity}"
        )
        bars = {"type": "data", "array": 100 * rows["se"], "thickness": 1.4, "width": 4}
        figure.add_bar(
            y=100 * rows["accuracy"], error_y=bars, hovertemplate="%{y:.1f} %<extra></extra>", **common, row=1, col=1
        )
        figure.add_bar(
            y=rows["decode_error"], showlegend=False, hovertemplate="%{y:.3f}<extra></extra>", **common, row=1, col=2
        )
    _level(figure, results, row=1, col=1)
    figure.update_yaxes(range=[0, 103], row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    label = label_from(results, "budget")
    note = "Dashed: the dense model. Nats a token: how surprised the model is by the traces. Error: e_t / ‖x_dense,t‖, medians."
    return panels(finish(figure, title, caption(label, int(results["problems"].max()), note), height=420), 1.09)


def _pruned(results: pd.DataFrame, needed: tuple[str, ...]) -> pd.DataFrame:
    if missing := [name for name in needed if name not in results]:
        raise DataError(f"results must have the columns of vary(…); there is no {', '.join(missing)}.")
    return results[results["source"] != "dense"]


def _level(figure: go.Figure, results: pd.DataFrame, **place: int) -> None:
    level = 100 * results.loc[results["source"] == "dense", "accuracy"].mean()
    if np.isfinite(level):
        figure.add_hline(y=level, line={"color": INK, "width": 1.5, "dash": "dash"}, **place)


def source_bars(evaluations: pd.DataFrame) -> go.Figure:
    """Accuracy ± SE of one sparsity, a bar a source from the lowest to the highest; the dense model as a level."""
    title = "Accuracy by what calibrated"
    table = accuracy_table(evaluations, by=())
    pruned = table[table["source"] != "dense"].sort_values("accuracy, %")
    if pruned.empty:
        return empty(title, "There is no pruned model.")
    names = [legend_name(source) for source in pruned["source"]]
    figure = go.Figure()
    figure.add_bar(
        y=names, x=pruned["accuracy, %"], orientation="h", showlegend=False,
        marker_color=[source_colour(source) if source in SOURCES else SPARE[1] for source in pruned["source"]],
        error_x={"type": "data", "array": pruned["SE"], "thickness": 1.4, "width": 4},
        hovertemplate="%{y}: <b>%{x:.1f} %</b><extra></extra>",
    )  # fmt: skip
    level = table.loc[table["source"] == "dense", "accuracy, %"].mean()
    if np.isfinite(level):
        figure.add_vline(x=level, line={"color": INK, "width": 1.5, "dash": "dash"})
    figure.update_xaxes(range=[0, 103], title_text="accuracy, % (± SE)")
    figure.update_yaxes(automargin=True)
    label = label_from(evaluations[evaluations["source"] != "dense"], "budget", "source")
    note = "Bars: SE over problems. Dashed: the dense model."
    return panels(
        finish(figure, title, caption(label, evaluations["problem_id"].nunique(), note), height=200 + 34 * len(names)), 1.05
    )
