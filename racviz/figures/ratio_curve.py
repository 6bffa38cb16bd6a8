"""The ratio against position: the rows of the heatmap averaged, with an interval over problems."""

import html
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy.special import stdtrit

from racviz.exceptions import check
from racviz.figures.grid import Grid, build_grid
from racviz.figures.heatmap import heading, position_title, times
from racviz.figures.theme import FAINT, INK, caption, empty, finish, rgba, source_colour
from racviz.statistics import label_of, pretty

FEWEST = 5
MAX_COLUMNS = 600


def ratio_by_position(
    errors: Any,
    numerator: str,
    denominator: str,
    *,
    align: str = "boundary",
    fewest: int = FEWEST,
    max_columns: int = MAX_COLUMNS,
) -> go.Figure:
    """Geometric mean of r_t over problems at each position, its 95 % t-interval, and how many problems reach so far."""
    title, label = f"{heading(numerator, denominator)}, by position", label_of(errors)
    grid = build_grid(errors, numerator, denominator, align=align, max_columns=max_columns)
    traces = curve_traces(grid, fewest=fewest)
    if not traces:
        return empty(title, f"No position is reached by {fewest} problems.", label)
    figure = go.Figure([*traces, count_trace(grid)])
    figure.update_layout(shapes=curve_shapes(grid))
    figure.update_xaxes(title_text=position_title(grid), hoverformat=".0f")
    figure.update_yaxes(**ratio_axis(traces))
    figure.update_layout(yaxis2=count_axis(grid), margin_r=70)
    text = caption(label, len(grid.problems), f"{curve_note(grid, fewest)[:1].upper()}{curve_note(grid, fewest)[1:]}")
    return finish(figure, title, text, height=430, subtitle=curve_reading(numerator))


def curve_reading(numerator: str) -> str:
    return html.escape(
        f"above 1: larger error after {pretty(numerator)} calibration; band: 95 % interval; grey: problems left, n"
    )


def curve_note(grid: Grid, fewest: int) -> str:
    binned = f" of the ratio of summed errors in bins of {grid.width} positions" if grid.width > 1 else ""
    band = f"95 % t-interval of its logarithm; drawn where at least {fewest} problems remain"
    return f"geometric mean over problems{binned}, {band}."


def position_summary(grid: Grid) -> dict[str, np.ndarray]:
    """x, mean, low, high and n by column."""
    ratios = grid.ratio
    logs = np.log(ratios, out=np.full(ratios.shape, np.nan), where=np.isfinite(ratios) & (ratios > 0))
    n = np.isfinite(logs).sum(axis=0)
    some = np.maximum(n, 1)
    mean = np.nansum(logs, axis=0) / some
    variance = np.nansum((logs - mean) ** 2, axis=0) / np.maximum(n - 1, 1)
    half = stdtrit(np.maximum(n - 1, 1), 0.975) * np.sqrt(variance / some)
    x = grid.x0 + grid.width * np.arange(len(n))
    return {"x": x, "mean": np.exp(mean), "low": np.exp(mean - half), "high": np.exp(mean + half), "n": n}


def curve_traces(grid: Grid, *, fewest: int = FEWEST) -> list[go.Scatter]:
    """Band and line, cut where fewer than `fewest` problems remain; nothing where that is everywhere."""
    check(fewest >= 2, "fewest", fewest, "at least 2, for an interval needs two problems")
    found = position_summary(grid)
    enough = found["n"] >= fewest
    if not enough.any():
        return []
    x = found["x"]
    mean, low, high = (np.where(enough, found[key], np.nan) for key in ("mean", "low", "high"))
    colour = source_colour("rac")
    traces = []
    edges = np.flatnonzero(np.diff(np.r_[False, enough, False].astype(int)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):  # one closed band for each unbroken run
        run = slice(first, last)
        band_x, band_y = np.r_[x[run], x[run][::-1]], np.r_[high[run], low[run][::-1]]
        fill = {"fill": "toself", "fillcolor": rgba(colour, 0.2), "line": {"width": 0}}
        traces.append(go.Scatter(x=band_x, y=band_y, mode="lines", hoverinfo="skip", showlegend=False, **fill))
    span = f" to +{grid.width - 1}" if grid.width > 1 else ""
    interval = "[%{customdata[0]:.3g}, %{customdata[1]:.3g}]<br>n = %{customdata[2]:.0f} problems<extra></extra>"
    traces.append(
        go.Scatter(
            x=x,
            y=mean,
            mode="lines",
            line={"color": colour, "width": 2},
            customdata=np.stack([low, high, found["n"], x - (grid.width - 1) / 2], axis=-1),
            hovertemplate="position %{customdata[3]:.0f}" + span + "<br>ratio <b>%{y:.3g}×</b> " + interval,
            name="geometric mean",
            showlegend=False,
        )
    )
    return traces


def count_trace(grid: Grid, axis: str = "y2") -> go.Scatter:
    found = position_summary(grid)
    look = {"line": {"color": rgba(FAINT, 0.45), "width": 1, "shape": "hvh"}, "fill": "tozeroy", "fillcolor": rgba(FAINT, 0.1)}
    return go.Scatter(x=found["x"], y=found["n"], mode="lines", yaxis=axis, hoverinfo="skip", showlegend=False, **look)


def count_axis(grid: Grid, overlaying: str = "y") -> dict[str, Any]:
    """The right axis: problems, kept to the lower quarter so that it stays out of the curve's way."""
    most = len(grid.problems)
    return {
        "overlaying": overlaying,
        "side": "right",
        "range": [0, 4.5 * most],
        "tickmode": "array",
        "tickvals": [0, most],
        "ticktext": ["0", f"n = {most}"],
        "showgrid": False,
        "tickfont": {"color": FAINT},
    }


def ratio_axis(traces: list[go.Scatter]) -> dict[str, Any]:
    """A logarithmic axis with ticks at powers of two that holds the curve and 1; wild bands may leave it."""
    mean, band = np.asarray(traces[-1].y, float), np.concatenate([np.asarray(trace.y, float) for trace in traces[:-1]])
    low = min(np.nanmin(mean), np.nanquantile(band, 0.02), 0.8)
    high = max(np.nanmax(mean), np.nanquantile(band, 0.98), 1.25)
    step = 0.5 if high / low < 6 else 1 if high / low < 500 else 2  # in powers of two
    ticks = 2.0 ** (step * np.arange(np.floor(np.log2(low) / step), np.ceil(np.log2(high) / step) + 1))
    return {
        "type": "log",
        "tickvals": ticks,
        "ticktext": [times(tick) for tick in ticks],
        "range": [np.log10(low) - 0.05, np.log10(high) + 0.05],
        "title_text": "error ratio",
    }


def curve_shapes(grid: Grid, x: str = "x", y: str = "y") -> list[dict[str, Any]]:
    """The line at 1, and the boundary where all rows share one."""
    one = {"type": "line", "xref": f"{x} domain", "x0": 0, "x1": 1, "yref": y, "y0": 1, "y1": 1}
    shapes = [one | {"line": {"color": INK, "width": 1, "dash": "dot"}}]
    if grid.align == "boundary":
        edge = {"type": "line", "xref": x, "x0": -0.5, "x1": -0.5, "yref": f"{y} domain", "y0": 0, "y1": 1}
        shapes.append(edge | {"line": {"color": INK, "width": 1.6}})
    return shapes
