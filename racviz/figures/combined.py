"""Heatmap above, curve below, one axis of positions: the paper's Figure 2 and its average."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.figures.grid import build_grid
from racviz.figures.heatmap import boundary_trace, heading, heatmap_trace, notes, position_title, reading, row_axis, x_range
from racviz.figures.ratio_curve import FEWEST, count_axis, count_trace, curve_note, curve_shapes, curve_traces, ratio_axis
from racviz.figures.theme import caption, empty, finish
from racviz.statistics import label_of


def figure2(
    errors: Any,
    numerator: str = "prompt",
    denominator: str = "rac",
    *,
    align: str = "start",
    sort: str = "prompt_length",
    clip: float | None = 0.98,
    max_columns: int = 1500,
) -> go.Figure:
    """`error_heatmap` over `ratio_by_position` with a shared axis."""
    title, label = heading(numerator, denominator), label_of(errors)
    grid = build_grid(errors, numerator, denominator, align=align, sort=sort, max_columns=max_columns)
    if not np.isfinite(grid.ratio).any():
        return empty(title, "There is no token at which both errors are known and the denominator is not 0.", label)
    cells, curve = heatmap_trace(grid, numerator, denominator, clip=clip), curve_traces(grid)
    cells.colorbar.update(y=0.66, len=0.70)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.04)
    figure.add_traces([cells, boundary_trace(grid)], rows=[1, 1], cols=[1, 1])
    if curve:
        figure.add_traces([*curve], rows=2, cols=1)
        figure.add_trace(count_trace(grid, "y3").update(xaxis="x2"))
        figure.update_layout(shapes=curve_shapes(grid, "x2", "y2"), yaxis3=count_axis(grid, "y2") | {"anchor": "x2"})
        figure.update_yaxes(**ratio_axis(curve), row=2, col=1)
    else:
        text = f"no position is reached by {FEWEST} problems"
        figure.add_annotation(text=text, xref="x2 domain", yref="y2 domain", x=0.5, y=0.5)
    figure.update_yaxes(**row_axis(grid), row=1, col=1)
    figure.update_xaxes(range=x_range(grid), showgrid=False)
    figure.update_xaxes(title_text=position_title(grid), hoverformat=".0f", row=2, col=1)
    text = caption(label, len(grid.problems), *notes(grid), f"Curve: {curve_note(grid, FEWEST)}")
    height = min(1000, max(520, 400 + 5 * len(grid.problems)))
    return finish(figure, title, text, height=height, subtitle=reading(numerator, denominator))
