"""The shared look: one template, one colour a source, one scale for ratios, a caption under every figure."""

import html
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go

from racviz.metrics import METRICS, metric_label
from racviz.sources import SOURCES
from racviz.statistics import pretty

FONT = "Inter, Segoe UI, Roboto, Helvetica Neue, Liberation Sans, Arial, sans-serif"
INK, FAINT, GRID, GREY = "#222222", "#6b6b6b", "#e6e6e6", "#d2d2d2"

SPARE = ("#E69F00", "#56B4E9", "#7a5195", "#8c8c00")

# Red below 1, grey at 1, blue above, as in the paper; white is left for "no token here".
RATIO_SCALE = [
    (0.00, "#7f0a20"),
    (0.15, "#b5263a"),
    (0.32, "#dd7a63"),
    (0.45, "#e0b9ad"),
    (0.50, GREY),
    (0.55, "#b3c6d8"),
    (0.68, "#6a9fcb"),
    (0.85, "#2465a4"),
    (1.00, "#0b2f66"),
]


def source_colour(source: str) -> str:
    """The colour of a calibration source or the dense model; other names get a spare one that depends on the name alone."""
    if source == "dense":
        return INK
    return SOURCES[source].colour if source in SOURCES else SPARE[sum(source.encode()) % len(SPARE)]


def source_symbol(source: str) -> str:
    """The marker of a calibration source or the dense model."""
    if source == "dense":
        return "square"
    return SOURCES[source].symbol if source in SOURCES else "x"


def rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


@cache
def template() -> go.layout.Template:
    axis = {
        "showgrid": True,
        "gridcolor": GRID,
        "zeroline": False,
        "showline": True,
        "linecolor": "#9a9a9a",
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "#9a9a9a",
        "title": {"standoff": 8, "font": {"size": 13}},
        "automargin": True,
    }
    layout = go.Layout(
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        title={"x": 0, "xref": "container", "xanchor": "left", "pad": {"l": 16}, "font": {"size": 17}},
        xaxis=axis,
        yaxis=axis,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
        hoverlabel={
            "bgcolor": "white",
            "bordercolor": "#9a9a9a",
            "align": "left",
            "font": {"family": FONT, "size": 12, "color": INK},
        },
        margin={"l": 70, "r": 40, "t": 84, "b": 110},
        modebar={"remove": ["sendChartToCloud", "sendDataToCloud", "lasso2d", "select2d"]},
        annotationdefaults={"showarrow": False, "font": {"size": 12, "color": FAINT}},
    )
    return go.layout.Template(layout=layout)


def finish(figure: go.Figure, title: str, caption: str, *, height: int, subtitle: str = "") -> go.Figure:
    """Template, title and caption; the caption is wrapped and has its own room below the axes."""
    lines = [line for part in caption.split("\n") for line in textwrap.wrap(part, 145)]
    figure.update_layout(
        template=template(),
        height=height + 17 * len(lines),
        title={"text": html.escape(title, quote=False), "subtitle": {"text": subtitle, "font": {"size": 13, "color": FAINT}}},
        margin_b=66 + 17 * len(lines),
    )
    figure.add_annotation(
        text="<br>".join(html.escape(line, quote=False) for line in lines),
        xref="paper",
        yref="paper",
        x=0,
        y=0,
        xanchor="left",
        yanchor="top",
        yshift=-50,
        align="left",
        name="caption",
    )
    return figure


def panels(figure: go.Figure, legend: float) -> go.Figure:
    """Titles of subplots in the text's ink, and the legend above them."""
    figure.update_annotations(selector={"yanchor": "bottom"}, font={"size": 14, "color": INK})
    return figure.update_layout(legend_y=legend)


def caption(label: Mapping[str, Any], n: int | None, *notes: str) -> str:
    """What is shown and from what: model, domain, method, sparsity, mode, metric, tokens, seed, n; then the notes."""
    sparsity, seed = label.get("sparsity"), label.get("seed")
    parts = [short_name(label.get("model")), label.get("domain"), label.get("method")]
    parts += [f"{100 * sparsity:.3g} % sparsity" if isinstance(sparsity, float | int) else sparsity, label.get("mode")]
    parts += [_measure(label), _tokens(label.get("calibration_tokens")), None if seed is None else f"seed {seed}"]
    parts += [None if n is None else f"n = {n} problem{'' if n == 1 else 's'}"]
    whole = [str(part).replace(" ", "\u00a0") for part in parts if part not in (None, "")]  # lines break between parts only
    return "\n".join([" · ".join(whole), *notes])


def short_name(model: Any) -> Any:
    """A hub id or embedded name as it is; of a path the last part."""
    text = str(model)
    return text.rstrip("/").split("/")[-1] if text.startswith((".", "/", "~")) or text.count("/") > 1 else model


def _measure(label: Mapping[str, Any]) -> str | None:
    metric, layer = label.get("metric"), label.get("layer")
    if metric is None:
        return None
    if metric not in METRICS or not METRICS[metric].layers:
        return metric_label(str(metric))
    if layer is None:  # several of them
        return "hidden states"
    return {"final": "last hidden state", "last": "last block's output"}.get(str(layer), f"output of block {layer}")


def _tokens(tokens: Any) -> str | None:
    """One count, or one by source; said once where they are equal."""
    counts = {source: count for source, count in tokens.items() if count} if isinstance(tokens, Mapping) else {}
    if len(set(counts.values())) > 1:
        return " / ".join(f"{count:,} ({source})" for source, count in counts.items()) + " calibration tokens"
    tokens = next(iter(counts.values()), None) if isinstance(tokens, Mapping) else tokens
    return f"{tokens:,} calibration tokens each" if isinstance(tokens, int | float) else tokens


def label_from(frame: Any, *but: str) -> dict[str, Any]:
    """The same label read off the columns of a results or evaluations frame, where a column holds one value; `but` are left out."""
    found = {}
    for column in ("model", "domain", "method", "mode", "calibration_tokens", "seed", "budget"):
        if column in frame and column not in but:
            values = frame[column][frame["source"] != "dense"] if "source" in frame else frame[column]
            values = [value for value in values.dropna().unique() if value != "dense"]
            found[column] = values[0] if len(values) == 1 else ", ".join(map(str, values)) or None
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in found.items()}


def empty(title: str, reason: str, label: Mapping[str, Any] | None = None) -> go.Figure:
    """A figure that says why there is nothing to see."""
    figure = go.Figure()
    figure.add_annotation(text=html.escape(reason, quote=False), xref="paper", yref="paper", x=0.5, y=0.5, font_size=15)
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return finish(figure, title, caption(label or {}, 0), height=260)


def source_order(sources: Any) -> list[str]:
    """Dense first, then the known sources in their fixed order, then others by name."""
    known = ["dense", *SOURCES]
    return sorted(set(sources), key=lambda source: (known.index(source) if source in known else len(known), source))


def legend_name(source: str) -> str:
    return html.escape("dense" if source == "dense" else pretty(source), quote=False)
