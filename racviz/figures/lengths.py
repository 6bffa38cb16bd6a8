"""How long the thoughts are: the share that has ended by each length, and the share that never ends."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.exceptions import DataError, unknown
from racviz.figures.theme import (
    caption,
    empty,
    finish,
    label_from,
    legend_name,
    panels,
    source_colour,
    source_order,
    source_symbol,
)
from racviz.statistics import thought_lengths

SCALES = ("linear", "log")


def cot_lengths(evaluations: pd.DataFrame, *, scale: str = "linear") -> go.Figure:
    """CoT lengths, dense and pruned, a panel a sparsity.

    Above: the cumulative share of thoughts that ended; a curve stops short of 100 % by what the budget cut off, and an open
    mark at the budget says so. Filled marks are medians. Below: the share cut off, hatched.
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    if missing := [column for column in ("source", "sparsity") if column not in evaluations]:
        raise DataError(f"evaluations must have the columns source and sparsity; there is no {', '.join(missing)}.")
    title = "Length of the chain of thought"
    if evaluations.empty:
        return empty(title, "The evaluations have no row.")
    frame = thought_lengths(evaluations)
    is_dense = frame["source"] == "dense"
    sparsities = sorted(frame.loc[~is_dense, "sparsity"].unique()) or [0.0]
    sources = source_order(frame["source"])
    figure = make_subplots(
        rows=2,
        cols=len(sparsities),
        row_heights=[0.74, 0.26],
        vertical_spacing=0.21,
        horizontal_spacing=0.04,
        shared_yaxes=True,
        subplot_titles=[f"{100 * sparsity:.3g} % sparsity" if sparsity else "dense" for sparsity in sparsities],
    )
    for column, sparsity in enumerate(sparsities, 1):
        here = is_dense | np.isclose(frame["sparsity"].astype(float), sparsity)
        cells = {source: frame[(frame["source"] == source) & here] for source in sources}
        for source, rows in cells.items():
            if len(rows):
                figure.add_traces(_curve(rows, source, column == 1), rows=1, cols=column)
        figure.add_trace(_cut_off(cells), row=2, col=column)
    longest = float(frame["length"].max())
    figure.update_xaxes(title_text="CoT tokens", row=1, title_standoff=4)
    if scale == "log":
        figure.update_xaxes(type="log", row=1)
    else:
        figure.update_xaxes(range=[0, 1.04 * longest], row=1)
    figure.update_yaxes(range=[0, 104], row=1)
    figure.update_yaxes(title_text="ended by then, %", row=1, col=1)
    worst = 100 * frame.groupby(["source", "sparsity"])["unended"].mean().max()
    figure.update_xaxes(range=[0, min(118.0, max(10.0, 1.25 * worst))], title_text="cut off by the budget, %", row=2)
    figure.update_yaxes(autorange="reversed", showgrid=False, row=2)
    label = label_from(evaluations)
    budget = label.pop("budget", None)
    text = f"Filled marks: medians. Open marks, hatched bars: no end within {_tokens(budget)}, so the true length is unknown."
    note = caption(label, frame["problem_id"].nunique(), text)
    figure = finish(figure, title, note, height=540)
    return panels(figure, 1.07)


def _tokens(budget: object) -> str:
    return f"the budget of {budget:,} tokens" if isinstance(budget, int | float) else "the budget"


def _curve(rows: pd.DataFrame, source: str, legend: bool) -> list[go.Scatter]:
    """The ECDF over all samples, of which only those that ended make a step."""
    ended = np.sort(rows.loc[~rows["unended"], "length"].to_numpy(float))
    end = float(rows["length"].max())
    share = 100 * np.arange(1, len(ended) + 1) / len(rows)
    reached = share[-1] if len(ended) else 0.0
    first = ended[0] if len(ended) else end
    x, y = np.r_[first, ended, max(end, first)], np.r_[0.0, share, reached]
    colour, name = source_colour(source), legend_name(source)
    common = {"legendgroup": source, "showlegend": False}
    traces = [
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": colour, "width": 2, "shape": "hv", "dash": "dash" if source == "dense" else "solid"},
            hovertemplate="%{y:.1f} % ended by %{x:.0f} tokens<extra>" + name + "</extra>",
            name=name,
            **common | {"showlegend": legend},
        )
    ]
    if reached >= 50:
        median = float(ended[np.searchsorted(share, 50 - 1e-9)])
        mark = {"color": colour, "size": 10, "symbol": source_symbol(source), "line": {"color": "white", "width": 0.5}}
        tip = f"median {median:.0f} tokens<extra>{name}</extra>"
        traces.append(go.Scatter(x=[median], y=[50], mode="markers", marker=mark, hovertemplate=tip, **common))
    if rows["unended"].any():
        mark = {"color": colour, "size": 10, "symbol": f"{source_symbol(source)}-open", "line": {"width": 2}}
        tip = f"{100 - reached:.1f} % cut off at {end:.0f} tokens<extra>{name}</extra>"
        point = {"x": [end], "y": [reached], "mode": "markers", "cliponaxis": False}
        traces.append(go.Scatter(**point, marker=mark, hovertemplate=tip, **common))
    return traces


def _cut_off(cells: dict[str, pd.DataFrame]) -> go.Bar:
    sources: Sequence[str] = [source for source, rows in cells.items() if len(rows)]
    shares = [100 * cells[source]["unended"].mean() for source in sources]
    colours = [source_colour(source) for source in sources]
    return go.Bar(
        x=shares,
        y=[legend_name(source) for source in sources],
        orientation="h",
        marker={
            "color": colours,
            "line": {"color": colours, "width": 1.2},
            "pattern": {"shape": "/", "bgcolor": "white", "size": 7, "solidity": 0.4},
        },
        text=[f"{share:.1f} %" for share in shares],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1f} % cut off<extra></extra>",
        showlegend=False,
    )
