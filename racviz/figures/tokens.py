"""One problem as text: every token on the colour of its ratio."""

import html
from typing import Any

import numpy as np
from plotly.colors import find_intermediate_color

from racviz.exceptions import unknown
from racviz.figures.heatmap import colour_limit, times, visible
from racviz.figures.theme import FAINT, FONT, INK, RATIO_SCALE, caption
from racviz.statistics import as_frame, label_of, ratio


class Html(str):
    """A string of HTML that a notebook shows as such."""

    def _repr_html_(self) -> str:
        return str(self)


def ratio_colour(value: float, limit: float) -> str:
    """The heatmap's colour of a ratio, as rgb()."""
    if not np.isfinite(value):
        return "rgb(255, 255, 255)"
    place = float(np.clip(0.5 + np.log2(max(value, 2.0**-40)) / (2 * limit), 0, 1))
    for (low, first), (high, second) in zip(RATIO_SCALE, RATIO_SCALE[1:], strict=False):
        if place <= high:
            ends = [f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})" for colour in (first, second)]
            return _rounded(find_intermediate_color(*ends, (place - low) / (high - low), colortype="rgb"))
    raise AssertionError("the scale ends at 1")


def _rounded(colour: str) -> str:
    return f"rgb({', '.join(str(round(float(part))) for part in colour[4:-1].split(','))})"


def token_strip(
    errors: Any, problem_id: Any, numerator: str = "prompt", denominator: str = "rac", *, clip: float | None = 0.98
) -> Html:
    """The tokens of one problem in reading order, coloured as in the heatmap; a bar marks the end of the prompt."""
    frame = as_frame(errors)
    values = ratio(frame, numerator, denominator)
    mine = frame["problem_id"] == problem_id
    if not mine.any():
        raise unknown("problem_id", problem_id, map(str, frame["problem_id"].unique()[:20]), "(The first 20 are listed.)")
    if "token" not in frame:
        return Html("<p>These errors carry no token texts, so there is no strip to show.</p>")
    limit = colour_limit(values.to_numpy(), clip)
    rows = frame[mine].assign(ratio=values[mine]).sort_values("position")
    spans, phase = [], None
    for row in rows.itertuples():
        if phase == "prompt" and row.phase == "decode":
            spans.append(f'<span title="end of prompt (T_in)" style="border-left:3px solid {INK};margin:0 4px"></span>')
        phase = row.phase
        spans.append(_span(row, limit))
    steps = [2.0**power for power in range(-int(limit), int(limit) + 1)]
    key = "".join(f'<span style="{_style(step, limit)};padding:0 6px">{times(step)}</span>' for step in steps)
    label = html.escape(caption(label_of(errors), None).split("\n")[0])
    head = f"<b>{html.escape(str(problem_id))}</b> · e({html.escape(numerator)}) / e({html.escape(denominator)}) {key}"
    return Html(
        f'<div dir="ltr" style="background:white;color:{INK};padding:8px 10px;line-height:1.75;font-family:{FONT}">'
        f'<div style="margin-bottom:6px">{head}</div>'
        f'<div style="font-family:monospace;font-size:13px;overflow-wrap:anywhere">{"".join(spans)}</div>'
        f'<div style="color:{FAINT};font-size:12px;margin-top:6px">{label}</div></div>'
    )


def _span(row: Any, limit: float) -> str:
    token = row.token if isinstance(row.token, str) else ""
    text = "".join(char if char.isprintable() else {"\n": "⏎"}.get(char, "·" if char.isspace() else "�") for char in token)
    shown = html.escape(text).replace(" ", "&nbsp;") or "∅"
    known = f"{row.ratio:.3g}×" if np.isfinite(row.ratio) else "no ratio"
    tip = f"{visible(token)} · position {row.position} · {html.escape(str(row.phase))} · {known}"
    after = "<br>" if token.endswith("\n") else "<wbr>"
    return f'<bdi title="{tip}" style="{_style(row.ratio, limit)};border-radius:2px">{shown}</bdi>{after}'


def _style(value: float, limit: float) -> str:
    colour = ratio_colour(value, limit)
    red, green, blue = (int(part) for part in colour[4:-1].split(","))
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
    return f"background:{colour};color:{'white' if dark else INK}"
