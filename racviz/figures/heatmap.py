"""Figure 2 of the paper: tokenwise error ratios, a row a problem, a column a token position."""

import html
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from racviz.exceptions import check, unknown
from racviz.figures.grid import Grid, build_grid
from racviz.figures.theme import INK, RATIO_SCALE, caption, empty, finish
from racviz.statistics import label_of, pretty

SCALES = ("log2", "ratio")


def visible(token: str, limit: int = 60) -> str:
    """A token made harmless and visible: quoted with escapes for white space and control marks, then escaped for HTML."""
    shown = repr(token)
    return html.escape(shown if len(shown) <= limit else shown[: limit - 1] + "…")


def times(value: float) -> str:
    """2 -> '2×', 0.25 -> '¼×', 1.37 -> '1.4×'."""
    fractions = {0.5: "½", 0.25: "¼", 0.125: "⅛"}
    if value in fractions:
        return f"{fractions[value]}×"
    return f"1/{1 / value:.3g}×" if value < 0.125 else f"{value:.2g}×"


def colour_limit(ratios: np.ndarray, clip: float | None) -> float:
    """The |log2 r| at which colours end: the `clip` quantile, never below 1 (½× to 2×)."""
    check(clip is None or 0 < clip <= 1, "clip", clip, "a quantile in (0, 1], or None to clip nothing")
    finite = np.abs(np.log2(ratios[np.isfinite(ratios) & (ratios > 0)]))
    if not finite.size:
        return 1.0
    return max(1.0, float(np.quantile(finite, 1.0 if clip is None else clip)))


def error_heatmap(
    errors: Any,
    numerator: str,
    denominator: str,
    *,
    max_columns: int = 1500,
    scale: str = "log2",
    align: str = "start",
    sort: str = "prompt_length",
    clip: float | None = 0.98,
) -> go.Figure:
    """r_t = e_t(numerator) / e_t(denominator): blue > 1, red < 1, grey 1, white where there is no token.

    The step line is each row's T_in. With more positions than `max_columns` a column is a bin: the ratio of summed errors.
    """
    title, label = heading(numerator, denominator), label_of(errors)
    grid = build_grid(errors, numerator, denominator, align=align, sort=sort, max_columns=max_columns)
    trace = heatmap_trace(grid, numerator, denominator, scale=scale, clip=clip)  # checks scale and clip
    if not np.isfinite(grid.ratio).any():
        return empty(title, "There is no token at which both errors are known and the denominator is not 0.", label)
    figure = go.Figure([trace, boundary_trace(grid)])
    figure.update_xaxes(title_text=position_title(grid), showgrid=False, range=x_range(grid))
    figure.update_yaxes(**row_axis(grid))
    height = min(900, max(320, 180 + 7 * len(grid.problems)))
    text = caption(label, len(grid.problems), *notes(grid))
    return finish(figure, title, text, height=height, subtitle=reading(numerator, denominator))


def heading(numerator: str, denominator: str) -> str:
    return f"Tokenwise error, {pretty(numerator)} over {pretty(denominator)} calibration"


def reading(numerator: str, denominator: str) -> str:
    blue, red = pretty(numerator), pretty(denominator)
    return html.escape(
        f"blue: larger error after {blue} calibration, red: after {red}, grey: the same; line: end of the prompt"
    )


def notes(grid: Grid) -> list[str]:
    if grid.width == 1:
        return []
    return [f"A column spans {grid.width} positions and shows the ratio of their summed errors."]


def position_title(grid: Grid) -> str:
    return "token position relative to the end of the prompt" if grid.align == "boundary" else "token position"


def x_range(grid: Grid) -> list[float]:
    return [grid.start - 0.5, grid.start + grid.ratio.shape[1] * grid.width - 0.5]


def row_axis(grid: Grid) -> dict[str, Any]:
    rows = len(grid.problems)
    axis: dict[str, Any] = {"title_text": "test problem", "showgrid": False, "range": [rows - 0.5, -0.5]}
    if rows > 25:
        step = next(step for step in (10, 20, 50, 100, 200, 500, 1000, rows) if rows / step <= 12)
        ticks = [0, *range(step - 1, rows, step)]
        return axis | {"tickvals": ticks, "ticktext": [str(tick + 1) for tick in ticks]}
    short = [name if len(name) <= 26 else f"…{name[-25:]}" for name in grid.problems]
    return axis | {"tickvals": list(range(rows)), "ticktext": [html.escape(name) for name in short]}


def heatmap_trace(
    grid: Grid, numerator: str, denominator: str, *, scale: str = "log2", clip: float | None = 0.98
) -> go.Heatmap:
    """The cells: integer axes without gaps and float32, which plotly draws as one image."""
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    ratios = grid.ratio
    limit = colour_limit(ratios, clip)
    known = np.isfinite(ratios)
    beyond = (np.abs(np.log2(ratios, out=np.full(ratios.shape, np.nan), where=known & (ratios > 0))) > limit * (1 + 1e-9)).sum()
    beyond += (ratios == 0).sum()
    if scale == "log2":
        z = np.log2(np.maximum(ratios, 2.0**-40), out=np.full(ratios.shape, np.nan), where=known)
        colours = {"zmid": 0, "zmin": -limit, "zmax": limit}
        ticks = np.arange(-math.floor(limit), math.floor(limit) + 1, 1 if limit < 5 else 2)
        labels = [times(2.0**tick) for tick in ticks]
    else:
        z = ratios
        reach = 2.0**limit - 1
        colours = {"zmid": 1, "zmin": 1 - reach, "zmax": 1 + reach}
        ticks = np.linspace(0, 2, 5) if reach < 2 else np.arange(0, math.floor(1 + reach) + 1, max(1, round(reach / 4)))
        labels = [f"{tick:g}×" for tick in ticks]
    share = 100 * beyond / max(1, known.sum())
    clipped = f"<br>{share:.2g} % beyond {times(2.0**limit)}, clipped" if beyond else ""
    return go.Heatmap(
        z=z.astype(np.float32),
        x0=grid.x0,
        dx=grid.width,
        y0=0,
        dy=1,
        text=_token_text(grid),
        hovertext=_hover_text(grid),
        customdata=np.stack([grid.numerator, grid.denominator, ratios], axis=-1).astype(np.float32),
        hovertemplate=(
            "%{hovertext}<br>"
            + (f"token{'' if grid.width == 1 else 's'} %{{text}}<br>" if (grid.tokens != "").any() else "")
            + f"e({html.escape(numerator)}) %{{customdata[0]:.4g}}<br>e({html.escape(denominator)}) %{{customdata[1]:.4g}}<br>"
            "ratio <b>%{customdata[2]:.3g}×</b><extra></extra>"
        ),
        hoverongaps=False,
        zsmooth=False,
        colorscale=RATIO_SCALE,
        colorbar={
            "title": {
                "text": f"e({html.escape(numerator)}) / e({html.escape(denominator)}){clipped}",
                "side": "right",
                "font": {"size": 12},
            },
            "tickvals": ticks,
            "ticktext": labels,
            "thickness": 14,
            "outlinewidth": 0,
            "x": 1.01,
        },
        **colours,
    )


def _hover_text(grid: Grid) -> np.ndarray:
    """Problem, position or span, and phase, for every cell that has a token."""
    text = np.full(grid.phases.shape, "", dtype=object)
    names = [html.escape(name) for name in grid.problems]
    for row, column in zip(*np.nonzero(grid.phases != ""), strict=True):
        first = grid.start + column * grid.width + (int(grid.t_in[row]) if grid.align == "boundary" else 0)
        span = f"positions {max(first, 0)} to {first + grid.width - 1} (ratio of sums)"
        where = f"position {first}" if grid.width == 1 else span
        text[row, column] = f"{names[row]}, {where}, {grid.phases[row, column]}"
    return text


def _token_text(grid: Grid) -> np.ndarray:
    text = np.full(grid.tokens.shape, "", dtype=object)
    for row, column in zip(*np.nonzero(grid.tokens != ""), strict=True):
        text[row, column] = visible(grid.tokens[row, column])
    return text


def boundary_trace(grid: Grid) -> go.Scatter:
    """The step line at each row's T_in."""
    x = np.repeat(grid.boundary, 2)
    y = (np.arange(len(grid.problems))[:, None] + [-0.5, 0.5]).ravel()
    line = {"color": INK, "width": 2}
    return go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name="end of prompt (T_in)", showlegend=False)
