"""A small picture of a plotly figure, drawn here: the index shows what a report looks like without a browser or 5 MB of script.

Lines, bars and heatmaps in their panels, no text; enough to recognise a figure by.
"""

import base64
import html
import struct
import zlib
from typing import Any

import numpy as np

WIDTH, HEIGHT = 320, 200
GREYS = "#e6e6e6"
MOST = 120
"""Points of a line, and columns of a heatmap, that are drawn."""


def thumbnail(figure: dict[str, Any]) -> str:
    """An SVG of a figure as plotly writes it to JSON; empty where it has nothing that is drawn here."""
    layout = figure.get("layout", {})
    panels: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for trace in figure.get("data", []):
        axes = trace.get("xaxis", "x"), trace.get("yaxis", "y")
        if layout.get(f"yaxis{axes[1][1:]}", {}).get("overlaying") is None:
            panels.setdefault(axes, []).append(trace)
    parts = []
    for (x, y), traces in panels.items():
        across, up = (layout.get(f"{name[0]}axis{name[1:]}", {}) for name in (x, y))
        box = _box(across.get("domain", [0, 1]), up.get("domain", [0, 1]))
        drawn = _panel(traces, across, up, box)
        if drawn:
            left, top, width, height = box
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#fff" stroke="{GREYS}"/>'
            )
            parts += drawn
    if not parts:
        return ""
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-hidden="true" class="thumbnail">{"".join(parts)}</svg>'


def _box(across: list[float], up: list[float]) -> tuple[float, float, float, float]:
    """Left, top, width and height of a panel; y grows downwards."""
    left, right = (4 + (WIDTH - 8) * float(each) for each in across)
    bottom, top = (HEIGHT - 4 - (HEIGHT - 8) * float(each) for each in up)
    return left, top, right - left, bottom - top


def _panel(traces: list[dict[str, Any]], across: dict, up: dict, box) -> list[str]:
    kinds = ("bar", "scatter", "scattergl", None)
    upright = [trace for trace in traces if trace.get("type") in kinds and trace.get("orientation") != "h"]
    numbers = [(trace, _numbers(trace.get("x"), across), _numbers(trace.get("y"), up)) for trace in upright]
    heat = next((trace for trace in traces if trace.get("type") == "heatmap"), None)
    if heat is not None:
        return _heatmap(heat, box)
    spread = [(x, y) for _, x, y in numbers if len(x) and len(x) == len(y)]
    if not spread:
        return []
    xs, ys = np.concatenate([x for x, _ in spread]), np.concatenate([y for _, y in spread])
    bars = any(trace.get("type") == "bar" for trace in traces)
    low, high = _ends(up, ys, zero=bars)
    first, last = _ends(across, xs, pad=0.5 if bars else 0.0)
    left, top, width, height = box

    def place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        at = np.stack([left + width * (x - first) / (last - first), top + height * (1 - (y - low) / (high - low))], 1)
        return np.clip(at[np.isfinite(at).all(axis=1)], [left, top], [left + width, top + height])

    parts, group = [], [trace for trace in traces if trace.get("type") == "bar"]
    for trace, x, y in numbers:
        if not len(x) or len(x) != len(y) or trace.get("visible") is False:
            continue
        colour = html.escape(_colour(trace), quote=True)
        if trace.get("type") == "bar":
            size = width / max(1.0, last - first) / (len(group) + 1)
            for (at, head), (_, foot) in zip(place(x, y), place(x, np.where(np.isfinite(y), 0.0, np.nan)), strict=True):
                start = at - size * len(group) / 2 + size * group.index(trace)
                size_of = f'width="{size:.1f}" height="{max(0.0, foot - head):.1f}"'
                parts.append(f'<rect x="{start:.1f}" y="{head:.1f}" {size_of} fill="{colour}"/>')
            continue
        at = place(x, y)[:: max(1, len(x) // MOST)]
        if "lines" in trace.get("mode", "lines") and trace.get("fill") in (None, "none") and len(at) > 1:
            dash = ' stroke-dasharray="4 3"' if trace.get("line", {}).get("dash") not in (None, "solid") else ""
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in at)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
        elif "markers" in trace.get("mode", ""):
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.4" fill="{colour}"/>' for a, b in at]
    return parts


def _colour(trace: dict[str, Any]) -> str:
    for place in ("line", "marker"):
        colour = trace.get(place, {}).get("color")
        if isinstance(colour, str):
            return colour
    return "#6b6b6b"


def _numbers(values: Any, axis: dict[str, Any]) -> np.ndarray:
    """The values of an axis as numbers: decoded where plotly packed them, logarithms on a logarithmic axis, places for words."""
    values = decoded(values)
    if values.dtype.kind in "OUS":
        words = list(dict.fromkeys(map(str, values.ravel())))
        try:
            values = values.astype(float)
        except (TypeError, ValueError):
            return np.array([words.index(str(each)) for each in values.ravel()], dtype=float)
    values = values.astype(float).ravel()
    if axis.get("type") == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log10(values)
    return values[: 10**6]


def decoded(values: Any) -> np.ndarray:
    """A list, or what plotly packs an array into: {dtype, bdata, shape}."""
    if isinstance(values, dict) and "bdata" in values:
        made = np.frombuffer(base64.b64decode(values["bdata"]), dtype=np.dtype(values["dtype"]).newbyteorder("<"))
        shape = values.get("shape")
        return made.reshape([int(k) for k in str(shape).split(",")]) if shape else made
    return np.array(values if values is not None else [], dtype=object)


def _ends(axis: dict[str, Any], values: np.ndarray, zero: bool = False, pad: float = 0.0) -> tuple[float, float]:
    given = axis.get("range")
    if isinstance(given, list) and len(given) == 2 and all(isinstance(each, int | float) for each in given):
        low, high = float(given[0]), float(given[1])
    else:
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        low = min(low, 0.0) if zero or axis.get("rangemode") == "tozero" else low
        low, high = low - pad, high + pad
    return (low, high) if high != low else (low - 0.5, high + 0.5)


def _heatmap(trace: dict[str, Any], box) -> list[str]:
    cells = decoded(trace.get("z"))
    if cells.dtype.kind == "O":
        cells = np.array([[np.nan if cell is None else cell for cell in row] for row in cells], dtype=float)
    cells = cells.astype(float)
    if cells.ndim != 2 or not cells.size:
        return []
    rows, columns = (np.linspace(0, size - 1, min(size, MOST)).astype(int) for size in cells.shape)
    cells = cells[np.ix_(rows, columns)]
    low = float(trace["zmin"] if trace.get("zmin") is not None else np.nanmin(cells))
    high = float(trace["zmax"] if trace.get("zmax") is not None else np.nanmax(cells))
    scale = [
        (float(at), _rgb(colour)) for at, colour in trace.get("colorscale") or [(0, "#ffffff"), (1, "#000000")] if _rgb(colour)
    ]
    share = np.clip((cells - low) / ((high - low) or 1.0), 0, 1)
    places = [at for at, _ in scale]
    channels = [np.interp(np.nan_to_num(share), places, [colour[k] for _, colour in scale]) for k in range(3)]
    pixels = np.stack([*channels, np.where(np.isfinite(cells), 255.0, 0.0)], -1).round().astype(np.uint8)
    left, top, width, height = box
    data = base64.b64encode(png(pixels)).decode()
    return [f'<image x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
            f'href="data:image/png;base64,{data}"/>']  # fmt: skip


def _rgb(colour: str) -> tuple[int, int, int] | None:
    text = str(colour).lstrip("#")
    return tuple(int(text[k : k + 2], 16) for k in (0, 2, 4)) if len(text) == 6 else None


def png(pixels: np.ndarray) -> bytes:
    """A PNG of `[rows, columns, 4]` bytes: red, green, blue, opacity."""
    height, width, _ = pixels.shape
    raw = b"".join(b"\0" + pixels[row].tobytes() for row in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
