"""Thoughts on one problem, one under the other, to where they part."""

import html
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from racviz.figures.theme import INK, finish, legend_name, source_colour
from racviz.statistics import divergence

SHOWN, WIDTH = 6, 96


def aligned_thoughts(
    thoughts: Mapping[str, Sequence[str]], correct: Mapping[str, bool], title: str, lines: int = SHOWN
) -> go.Figure:
    """The thoughts of the dense and of pruned models as text: what each has in common with the dense one in grey, the rest in its colour.

    thoughts: token texts by source, `dense` among them. Control characters are shown as spaces.
    """
    figure, y = go.Figure(), 0.0
    dense = list(thoughts.get("dense", ()))
    for source, tokens in thoughts.items():
        same = divergence(dense, tokens)
        rows = _wrapped(tokens, max(0, same - 3 * WIDTH // 4), lines)
        verdict = "right" if correct.get(source) else "wrong"
        parts = f"parts after {same:,} tokens" if source != "dense" else f"{len(tokens):,} tokens"
        if source != "dense" and same == len(tokens) == len(dense):
            parts = "the same to the end"
        head = f"<b>{legend_name(source)}</b>, {verdict}, {parts}"
        colour = INK if source == "dense" else source_colour(source)
        figure.add_annotation(
            text=head, x=0, y=y, xanchor="left", yanchor="top", font={"size": 13, "color": colour}, xref="paper"
        )
        for number, row in enumerate(rows, 1):
            text = "".join(_span(piece, "#8a8a8a" if place < same and source != "dense" else colour) for place, piece in row)
            figure.add_annotation(text=text, x=0, y=y - number, xanchor="left", yanchor="top", xref="paper",
                                  font={"family": "monospace", "size": 12})  # fmt: skip
        y -= len(rows) + 1.6
    figure.add_scatter(x=[0, 1], y=[0.0, y], mode="markers", marker_opacity=0, hoverinfo="skip", showlegend=False)
    figure.update_xaxes(visible=False, fixedrange=True)
    figure.update_yaxes(visible=False, range=[y, 0.4], fixedrange=True)
    note = "Grey: in common with the dense model's. Shown from shortly before the place where they part."
    return finish(figure, title, note, height=int(130 - 19 * y)).update_layout(margin_t=60, margin_l=24)


def _span(text: str, colour: str) -> str:
    return f'<span style="color:{colour}">{html.escape(text, quote=False)}</span>'


def _wrapped(tokens: Sequence[str], first: int, lines: int) -> list[list[tuple[int, str]]]:
    """Rows of (place, text), each up to WIDTH characters, beginning at a token not before `first`."""
    rows: list[list[tuple[int, str]]] = [[]]
    used = 0
    for place in range(min(first, max(0, len(tokens) - 1)), len(tokens)):
        piece = "".join(" " if ord(sign) < 32 or ord(sign) == 127 else sign for sign in tokens[place])
        if used + len(piece) > WIDTH:
            if len(rows) == lines:
                rows[-1].append((place, " …"))
                break
            rows.append([])
            used = 0
        rows[-1].append((place, piece))
        used += len(piece)
    return rows
