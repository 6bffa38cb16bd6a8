"""Accuracy, generated tokens and timed minutes against sparsity: Figure 1 and Table 1 of the paper in one."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.exceptions import DataError
from racviz.figures.theme import (
    INK,
    caption,
    empty,
    finish,
    label_from,
    legend_name,
    panels,
    rgba,
    source_colour,
    source_order,
    source_symbol,
)
from racviz.statistics.cells import tokens_per_sample

PANELS = {"accuracy": "accuracy, % (± SE)", "per_sample": "generated tokens a problem", "minutes": "minutes, timing pass"}
DASHES = ("solid", "dash", "dot", "dashdot")


def runtime_curves(results: pd.DataFrame) -> go.Figure:
    """Three panels against sparsity, a line a source, the dense model as a level. Rows of several seeds are averaged."""
    if missing := [column for column in ("source", "sparsity", "accuracy", "tokens", "problems") if column not in results]:
        raise DataError(f"results must have the columns of results.csv; there is no {', '.join(missing)}.")
    title = "Accuracy and runtime against sparsity"
    if results.empty:
        return empty(title, "The results have no row.")
    frame = _prepared(results)
    figure = make_subplots(rows=1, cols=3, horizontal_spacing=0.075, subplot_titles=list(PANELS.values()))
    pruned = frame[frame["source"] != "dense"]
    for column, value in enumerate(PANELS, 1):
        if frame[value].isna().all():
            text = "no timing pass" if value == "minutes" else "not measured"
            figure.add_scatter(x=[None], y=[None], showlegend=False, row=1, col=column)  # axes need a trace to be drawn
            figure.add_annotation(text=text, xref="x domain", yref="y domain", x=0.5, y=0.5, font_size=14, row=1, col=column)
            figure.update_yaxes(showticklabels=False, range=[0, 1], row=1, col=column)
        else:
            for source in source_order(pruned["source"]):
                rows = pruned[pruned["source"] == source]
                figure.add_traces(_lines(rows, source, value, column == 1), rows=1, cols=column)
            _dense_level(figure, frame[frame["source"] == "dense"], value, column, pruned["sparsity"])
    sparsities = sorted(100 * pruned["sparsity"].unique())
    figure.update_xaxes(title_text="sparsity, %", tickvals=sparsities, tickformat="~g")
    if sparsities:
        pad = max(1.5, 0.07 * (sparsities[-1] - sparsities[0]))
        figure.update_xaxes(range=[sparsities[0] - pad, sparsities[-1] + pad])
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(range=[-3, 103], col=1)
    samples = results["samples"].max() if "samples" in results else np.nan
    notes = [f"{samples:.0f} sample{'s' if samples != 1 else ''} a problem; SE over problems."] if np.isfinite(samples) else []
    notes += _timing_note(results)
    figure = finish(figure, title, caption(label_from(results), int(results["problems"].max()), " ".join(notes)), height=430)
    return panels(figure, 1.1)


def _prepared(results: pd.DataFrame) -> pd.DataFrame:
    """A row a (source, method, mode, sparsity) with means over seeds; the SE is that of one seed, for problems are shared."""
    frame = results.assign(per_sample=tokens_per_sample(results))
    for column in ("se", "minutes"):
        if column not in frame:
            frame[column] = np.nan
    present = [column for column in ("method", "mode", "pattern") if column in frame]
    parts = frame[present].astype(object).itertuples(index=False)
    frame["variant"] = [", ".join(str(part) for part in row if isinstance(part, str)) for row in parts]
    values = ["accuracy", "se", "per_sample", "minutes"]
    return frame.groupby(["source", "variant", "sparsity"], as_index=False, sort=True)[values].mean()


def _lines(rows: pd.DataFrame, source: str, value: str, legend: bool) -> list[go.Scatter]:
    traces = []
    scale = 100 if value == "accuracy" else 1
    variants = sorted(rows["variant"].unique())
    for place, variant in enumerate(variants):
        part = rows[rows["variant"] == variant].sort_values("sparsity")
        name = legend_name(source) + (f" ({variant})" if len(variants) > 1 else "")
        bars: dict[str, Any] = {}
        if value == "accuracy" and part["se"].notna().any():
            bars = {"error_y": {"type": "data", "array": scale * part["se"].to_numpy(), "thickness": 1.4, "width": 4}}
        traces.append(
            go.Scatter(
                x=100 * part["sparsity"],
                y=scale * part[value],
                mode="lines+markers",
                line={"color": source_colour(source), "width": 2.2, "dash": DASHES[place % len(DASHES)]},
                marker={"size": 8, "symbol": source_symbol(source)},
                hovertemplate="%{x:~g} %: <b>%{y:.4~g}</b><extra>" + name + "</extra>",
                name=name,
                legendgroup=name,
                showlegend=legend,
                **bars,
            )
        )
    return traces


def _dense_level(figure: go.Figure, dense: pd.DataFrame, value: str, column: int, sparsities: pd.Series) -> None:
    level = dense[value].mean()
    if not np.isfinite(level):
        return
    scale = 100 if value == "accuracy" else 1
    x = [-10.0, 110.0]  # the axis' range is fixed; the level runs through the whole panel
    if value == "accuracy" and np.isfinite(dense["se"].mean()):
        low, high = scale * (level - dense["se"].mean()), scale * (level + dense["se"].mean())
        band = {"fill": "toself", "fillcolor": rgba(INK, 0.12), "line": {"width": 0}}
        figure.add_scatter(
            x=[*x, *x[::-1]],
            y=[low, low, high, high],
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            **band,
            row=1,
            col=column,
        )
    figure.add_scatter(
        x=x,
        y=[scale * level] * 2,
        mode="lines",
        line={"color": INK, "width": 1.8, "dash": "dash"},
        hovertemplate="<b>%{y:.4~g}</b><extra>dense</extra>",
        name="dense",
        legendgroup="dense",
        showlegend=column == 1,
        row=1,
        col=column,
    )


def _timing_note(results: pd.DataFrame) -> list[str]:
    if "minutes" not in results or results["minutes"].isna().all():
        return ["No timing pass was made: tokens are exact counts."]
    timed = results.get("timed_problems", pd.Series(dtype=float)).max()
    return [f"Minutes: one worker, warmed up, cells interleaved{f', {timed:.0f} problems' if np.isfinite(timed) else ''}."]
