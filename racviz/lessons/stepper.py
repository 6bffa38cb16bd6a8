"""SparseGPT column by column, to step through: what goes, what it costs, and what the columns to the right make up for.

Plain numpy in float64, a column at a time. `racviz.pruning.solvers.sparsegpt` does the same in fp32, in blocks, compiled.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.exceptions import NumericalError, check
from racviz.figures.theme import FAINT, INK, RATIO_SCALE, finish, panels
from racviz.lessons.matters import DAMPING, error_of
from racviz.sources import SOURCES

BLOCK, PRINTED = 128, 200
"""Columns whose mask SparseGPT chooses at once; weights up to which a figure prints their numbers."""


@dataclass(frozen=True)
class Steps:
    """Everything that SparseGPT computed for one linear, before the first column and after each."""

    weight: np.ndarray
    """`[rows, columns]`: W as it was."""
    factor: np.ndarray
    """`[columns, columns]`: U, upper, with UᵀU = (H + λI)⁻¹."""
    mask: np.ndarray
    """`[rows, columns]` bool, True where pruned."""
    saliency: np.ndarray
    """`[rows, columns]`: w² / U_jj² when the mask of the column's block was chosen."""
    weights: np.ndarray
    """`[columns + 1, rows, columns]`: the weights after 0, 1, … columns."""
    errors: np.ndarray
    """`[columns, rows]`: e_j = w_j / U_jj where pruned, else 0. Column j makes the (damped) error larger by Σ e_j²."""
    loss: np.ndarray
    """`[columns + 1]`: ‖(W − Ŵ)X‖² / ‖WX‖² after each column, from H."""
    loss_alone: np.ndarray
    """`[columns + 1]`: the same where the same weights go and nothing is made up for."""

    @property
    def columns(self) -> int:
        return len(self.factor)

    @property
    def pruned(self) -> np.ndarray:
        return self.weights[-1]


def sparsegpt_steps(weight: Any, h: Any, sparsity: float, *, damping: float = DAMPING, block: int = BLOCK) -> Steps:
    """Prune weight `[rows, columns]` to round(sparsity · size) zeros, with the second moment h `[columns, columns]`.

    block: the mask is chosen for so many columns at once, on the weights as they have become by then.

    Raises ParameterError for shapes that do not fit, a sparsity outside [0, 1), or an h that is not symmetric; NumericalError for
    what is not finite or an h that is no second moment.
    """
    from racviz.pruning.patterns import quotas

    original, h = np.array(weight, dtype=float), np.array(h, dtype=float)
    check(original.ndim == 2 and original.size > 0, "weight", original.shape, "a matrix [rows, columns]")
    (rows, columns), square = original.shape, (original.shape[1],) * 2
    check(h.shape == square, "h", h.shape, f"of the shape {square}, the columns of weight")
    check(0 <= sparsity < 1, "sparsity", sparsity, "in [0, 1), the fraction of zeros")
    check(isinstance(block, int) and block >= 1, "block", block, "an integer >= 1")
    if not np.isfinite([original.sum(), h.sum()]).all():
        raise NumericalError("weight and h must be finite")
    check(np.allclose(h, h.T, rtol=1e-5, atol=1e-6 * np.abs(h).max()), "h", "a matrix that is not", "symmetric")

    dead = h.diagonal() == 0  # inputs that are always zero: their weights change nothing, and go first
    mended = h + np.diag(dead.astype(float))
    try:
        inverse = np.linalg.inv(mended + damping * mended.diagonal().mean() * np.eye(columns))
        factor = np.linalg.cholesky(inverse).T
    except np.linalg.LinAlgError as error:
        raise NumericalError("h + damping has no Cholesky factor: h is no second moment, or damping is too small") from error

    w = np.where(dead, 0.0, original)
    mask, saliency = np.zeros_like(w, dtype=bool), np.zeros_like(w)
    states, errors = [original], np.zeros((columns, rows))
    counts = quotas(round(sparsity * w.size), [rows * min(block, columns - start) for start in range(0, columns, block)])
    for j in range(columns):
        if j % block == 0:
            part = slice(j, j + block)
            saliency[:, part] = (w[:, part] / factor.diagonal()[part]) ** 2
            order = saliency[:, part].T.argsort(axis=None, kind="stable")  # of equal ones those of the first column
            mask[:, part] = (order.argsort(kind="stable") < counts[j // block]).reshape(-1, rows).T
        errors[j] = np.where(mask[:, j], w[:, j] / factor[j, j], 0)
        w[:, j + 1 :] -= np.outer(errors[j], factor[j, j + 1 :])
        w[mask[:, j], j] = 0
        states.append(np.where(dead, np.where(mask, 0, original), w))
    alone = [np.where(mask & (np.arange(columns) < j), 0, original) for j in range(columns + 1)]
    loss, loss_alone = (np.array([error_of(original, one, h) for one in each]) for each in (states, alone))
    return Steps(original, factor, mask, saliency, np.array(states), errors, loss, loss_alone)


def step_words(steps: Steps, k: int) -> str:
    """What the k-th column did, in a sentence."""
    check(0 <= k <= steps.columns, "k", k, f"from 0 to {steps.columns}, the columns done")
    if not k:
        return f"Nothing is done yet; {int(steps.mask.sum())} of {steps.mask.size} weights will go."
    text = f"Column {k - 1}: {int(steps.mask[:, k - 1].sum())} of {len(steps.mask)} weights go."
    return f"{text} Error so far {steps.loss[k]:.4f}, without compensation {steps.loss_alone[k]:.4f}."


def step_figure(steps: Steps, k: int, label: str = "") -> go.Figure:
    """The weights after k columns, what has been added to them, and the error so far. label: what the linear is, for the caption."""
    check(0 <= k <= steps.columns, "k", k, f"from 0 to {steps.columns}, the columns done")
    titles = ["weights now (× pruned)", "added to make up for what went", "error so far"]
    figure = make_subplots(rows=2, cols=2, specs=[[{}, {}], [{"colspan": 2}, None]], vertical_spacing=0.17,
                           horizontal_spacing=0.08, row_heights=[0.62, 0.38], subplot_titles=titles)  # fmt: skip
    figure.add_traces(_step_traces(steps, k), rows=[1, 1, 1, 1, 1, 1, 2, 2], cols=[1, 1, 1, 2, 2, 2, 1, 1])
    rows, columns = steps.weight.shape
    figure.update_xaxes(title_text="column (input)", range=[-0.5, columns - 0.5], showgrid=False, row=1)
    figure.update_yaxes(title_text="row (output)", range=[rows - 0.5, -0.5], showgrid=False, row=1)
    if columns <= 24:
        figure.update_xaxes(dtick=1).update_yaxes(dtick=1, row=1)
    top = float(max(steps.loss.max(), steps.loss_alone.max())) or 1.0
    figure.update_xaxes(title_text="columns done", range=[-0.2, columns + 0.2], row=2)
    figure.update_yaxes(title_text="‖(W − Ŵ)X‖² / ‖WX‖²", range=[0, 1.08 * top], row=2)
    made = " · ".join(filter(None, [label, f"{int(steps.mask.sum())} of {steps.mask.size} weights pruned"]))
    note = f"{made}\nThe frame is around the column just done. Blue: positive, red: negative."
    return panels(finish(figure, "SparseGPT, column by column", note, height=620), 0.335)


def _step_traces(steps: Steps, k: int) -> list[Any]:
    """Three traces for the weights, three for what was added to them, two lines of errors."""
    gone = steps.mask & (np.arange(steps.columns) < k)
    added = np.where(gone, 0, steps.weights[k] - steps.weight)
    traces = [*_panel(steps, k, steps.weights[k], gone), *_panel(steps, k, added, np.zeros_like(gone))]
    curves = (steps.loss, SOURCES["rac"].colour, "solid"), (steps.loss_alone, FAINT, "dash")
    for name, (loss, colour, dash) in zip(("with compensation", "the same mask alone"), curves, strict=True):
        traces.append(go.Scatter(
            x=np.arange(k + 1), y=loss[: k + 1], mode="lines+markers", name=name, line={"color": colour, "dash": dash, "width": 2.5},
            hovertemplate="after %{x} columns: <b>%{y:.4f}</b><extra>" + name + "</extra>",
        ))  # fmt: skip
    return traces


def _panel(steps: Steps, k: int, values: np.ndarray, crossed: np.ndarray) -> list[Any]:
    """Values `[rows, columns]` as colours; in print where they are few (× where crossed, nothing for 0); a frame around the last column."""
    reach, (y, x) = np.abs(steps.weights).max() or 1.0, (index.ravel() for index in np.indices(values.shape))
    printed = np.where(values == 0, "\u00a0", np.char.mod("%.2f", values.round(2) + 0.0))  # "" plotly could not bring back
    said = np.where(crossed, "×", printed).ravel() if values.size <= PRINTED else [""] * values.size
    ink = np.where(crossed | (np.abs(values) < 0.5 * reach), INK, "white").ravel().tolist()
    left, right, bottom = k - 1.5, k - 0.5, len(values) - 0.5
    frame = ([left, right, right, left, left], [-0.5, -0.5, bottom, bottom, -0.5]) if k else ([None], [None])
    common = dict(hoverinfo="skip", showlegend=False)
    return [
        go.Heatmap(z=np.where(crossed, np.nan, values), zmin=-reach, zmax=reach, colorscale=RATIO_SCALE, showscale=False, xgap=1,
                   ygap=1, hovertemplate="row %{y}, column %{x}: <b>%{z:.3f}</b><extra></extra>"),
        go.Scatter(x=x, y=y, text=said, mode="text", textfont={"size": 11, "color": ink}, **common),
        go.Scatter(x=frame[0], y=frame[1], mode="lines", line={"color": INK, "width": 2.5}, **common),
    ]  # fmt: skip


def slider_figure(steps: Steps, label: str = "", start: int = 0) -> go.Figure:
    """`step_figure` with a slider of its own over the columns, at `start` first; it also works in a page without a kernel."""
    figure = step_figure(steps, start, label)
    figure.frames = [go.Frame(data=_step_traces(steps, k), name=str(k)) for k in range(steps.columns + 1)]
    how = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    stops = [{"args": [[str(k)], how], "label": str(k), "method": "animate"} for k in range(steps.columns + 1)]
    shown = {"prefix": "columns done: ", "font": {"size": 13, "color": INK}, "xanchor": "left"}
    place = {"x": 0, "len": 1, "y": 1.07, "yanchor": "bottom", "pad": {"t": 0, "b": 0}}
    slider = {"steps": stops, "active": start, "currentvalue": shown, **place}
    figure.update_layout(sliders=[slider], margin_t=176, height=figure.layout.height + 92)
    return figure.update_layout(title={"y": 1, "yanchor": "top", "pad": {"t": 18, "l": 16}})


def stepper(weight: Any, h: Any, sparsity: float = 0.5, label: str = "") -> Any:
    """A widget: the column with a slider and buttons, the sparsity, and how many columns' masks are chosen at once. Needs a kernel."""
    import ipywidgets as widgets

    held = {"steps": sparsegpt_steps(weight, h, sparsity)}
    columns = held["steps"].columns
    figure, said = go.FigureWidget(step_figure(held["steps"], 0, label)), widgets.HTML()
    done = widgets.IntSlider(0, 0, columns, description="columns", continuous_update=False)
    share = widgets.FloatSlider(sparsity, min=0.0, max=0.9, step=0.05, description="sparsity", continuous_update=False)
    block = widgets.Dropdown(options=sorted({1, 2, 4, columns}), value=columns, description="mask for")
    back, on = (widgets.Button(description=text, layout={"width": "7em"}) for text in ("◀ back", "next ▶"))

    def show(_: Any = None) -> None:
        fresh = step_figure(held["steps"], done.value, label)
        with figure.batch_update():
            for mine, new in zip(figure.data, fresh.data, strict=True):
                mine.update(new.to_plotly_json(), overwrite=True)
            figure.layout.yaxis3.range = fresh.layout.yaxis3.range
        said.value = step_words(held["steps"], done.value)  # numbers alone, nothing to escape

    def solve(_: Any) -> None:
        held["steps"] = sparsegpt_steps(weight, h, share.value, block=block.value)
        show()

    back.on_click(lambda _: setattr(done, "value", done.value - 1))  # a slider keeps to its range
    on.on_click(lambda _: setattr(done, "value", done.value + 1))
    for control, answer in ((done, show), (share, solve), (block, solve)):
        control.observe(answer, "value")
    show()
    return widgets.VBox([widgets.HBox([back, on, done]), widgets.HBox([share, block]), said, figure])
