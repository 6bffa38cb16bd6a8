"""Answers as HTML: a column a model, what it has in common with the dense one in grey, a mark where they part.

Whatever a model or a person wrote is text: escaped, its control characters spelled out, its direction kept to itself. Colours are
those of the JupyterLab theme, and nothing is told by colour alone.
"""

import html
from collections.abc import Mapping, Sequence

from racviz.figures.theme import FONT, source_colour
from racviz.play.answers import Answer, Answers
from racviz.play.asking import Asking
from racviz.sources import SOURCES
from racviz.statistics import pretty

TEXT, FAINT = "var(--jp-content-font-color1, #222)", "var(--jp-content-font-color2, #595959)"
GROUND, LINE = "var(--jp-layout-color0, #fff)", "var(--jp-border-color1, #9a9a9a)"
GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(250px,1fr));gap:10px"


def sign_of(name: str) -> str:
    """The mark of a source in the figures, as a character."""
    if name == "dense":
        return "■"
    return SOURCES[name].sign if name in SOURCES else "★"


def plain(text: str) -> str:
    """Text that changes nothing but itself: markup escaped, control and direction marks spelled out; lines stay lines."""
    return "".join(html.escape(char) if char.isprintable() or char in "\n\t" else _spelled(char) for char in text)


def _spelled(char: str) -> str:
    return f'<span style="color:{FAINT};border:1px dotted {LINE}">{html.escape(repr(char)[1:-1])}</span>'


def _attribute(text: str) -> str:
    """The same for what stands in an attribute, where there are no tags."""
    return html.escape("".join(char if char.isprintable() else repr(char)[1:-1] for char in text))


def page(answers: Answers) -> str:
    """The problem, a column a model, and r_t along the dense model's text."""
    columns = "".join(_finished(answers, row) for row in answers.rows)
    return block(f'{problem(answers)}<div style="{GRID}">{columns}</div>') + measured(answers)


def block(inside: str) -> str:
    return (
        f'<div dir="ltr" style="color:{TEXT};background:{GROUND};font-family:{FONT};font-size:13px;line-height:1.4;'
        f'padding:4px 2px">{inside}</div>'
    )


def problem(answers: Answers) -> str:
    key = answers.problem.answer
    known = f'<span style="color:{FAINT}">answer key</span> <bdi>{plain(key)}</bdi>' if key else ""
    return f'<p style="margin:0 0 8px"><b><bdi>{plain(answers.problem.prompt)}</bdi></b> {known}</p>'


def measured(answers: Answers) -> str:
    """r_t of the last comparison: a sentence, and the text with its colours."""
    strip = answers.strip()
    said = f'<p style="margin:8px 0">{html.escape(answers.sentence())}</p>'
    return block(said) + (f'<div style="max-height:420px;overflow:auto" tabindex="0">{strip}</div>' if strip else "")


def streaming(asking: Asking, name: str) -> str:
    """A column while its model goes on; scrolled to its end."""
    one, dense = asking.decodings[name], next(iter(asking.decodings))
    parted = None if name == dense else asking.parted(name)
    goes_on = one.finish is None
    said = "answering …" if goes_on else "stopped" if one.finish == "stopped" else "done"
    parts = {other: place for other in asking.decodings if (place := asking.parted(other)) is not None}
    return block(
        column(name, asking.titles[name], one.texts, _numbers(said, len(one.texts), one.seconds), parted, parts, False, goes_on)
    )


def finished(answers: Answers, name: str) -> str:
    """The same column when all is known."""
    return block(_finished(answers, answers[name]))


def _finished(answers: Answers, row: Answer) -> str:
    parts = {each.name: each.parted for each in answers.rows if each.parted is not None}
    whole = "stopped" not in (row.finish, answers.rows[0].finish)
    return column(row.name, row.title, row.texts, verdict(row), row.parted, parts, whole)


def verdict(row: Answer) -> str:
    """Right or wrong, in words and with a sign; what it answered; tokens and seconds."""
    said = {True: "✓ right", False: "✗ wrong", None: ""}[row.correct]
    cut = {"length": "cut off by the budget", "stopped": "stopped"}.get(row.finish, "")
    words = ", ".join(filter(None, [said, cut, row.note]))
    boxed = f' <bdi style="border:1px solid {LINE};padding:0 4px">{plain((row.answer or "")[:200])}</bdi>'
    answer = boxed if row.answer else ""
    return _numbers(words, len(row.output_ids), row.seconds, answer)


def _numbers(words: str, tokens: int, seconds: float, answer: str = "") -> str:
    speed = f" · {tokens / seconds:,.0f} tokens/s" if seconds else ""
    return (
        f'<div style="font-weight:600">{plain(words)}{answer}</div>'
        f'<div style="color:{FAINT};font-size:12px">{tokens:,} token{"" if tokens == 1 else "s"} · {seconds:.1f} s{speed}</div>'
    )


def column(
    name: str,
    title: str,
    texts: Sequence[str],
    head: str,
    parted: int | None,
    parts: Mapping[str, int],
    whole: bool = True,
    end: bool = False,
) -> str:
    """One model's text. parted: the place where it leaves the dense one; parts: those of all, shown in the dense model's column.

    whole: nobody has stopped it or the dense one. end: keep the end in sight, by a reversed column, which is scrolled to its last child.
    """
    colour = TEXT if name == "dense" else source_colour(name)
    flow = "display:flex;flex-direction:column-reverse;" if end else ""
    body = _dense_text(texts, parts) if name == "dense" else _other_text(texts, parted)
    leaves = "&nbsp;" if name == "dense" else "the same to the end" if whole else "the same so far"
    leaves = f"parts from the dense model after {parted:,} tokens" if parted is not None else leaves
    return (
        f'<section aria-label="answer of {_attribute(title)}" style="border:1px solid {LINE};border-top:5px solid {colour};'
        f'border-radius:4px;padding:6px 8px;min-width:0">'
        f'<div><span aria-hidden="true" style="color:{colour}">{sign_of(name)}</span> <b>{plain(title)}</b></div>{head}'
        f'<div style="color:{FAINT};font-size:12px">{leaves}</div>'
        f'<div tabindex="0" style="{flow}max-height:300px;overflow:auto;margin-top:6px;border-top:1px solid {LINE};padding-top:4px">'
        f'<div dir="ltr" style="font-family:monospace;font-size:12.5px;line-height:1.5;white-space:pre-wrap;overflow-wrap:anywhere">'
        f"{body}</div></div></section>"
    )


def _other_text(texts: Sequence[str], parted: int | None) -> str:
    """What it has in common with the dense model in grey; a mark; the rest."""
    if parted is None:
        return f'<bdi style="color:{FAINT}">{plain("".join(texts))}</bdi>'
    before, after = plain("".join(texts[:parted])), plain("".join(texts[parted:]))
    mark = _mark("▼", "here it parts from the dense model", "parts here")
    return f'<bdi style="color:{FAINT}">{before}</bdi>{mark}<bdi style="color:{TEXT}">{after}</bdi>'


def _dense_text(texts: Sequence[str], parts: Mapping[str, int]) -> str:
    """The dense model's text, with a mark where each of the others leaves it."""
    out, begin = [], 0
    for place in sorted(set(parts.values())):
        names = [name for name, other in parts.items() if other == place]
        out.append(f"<bdi>{plain(''.join(texts[begin:place]))}</bdi>")
        signs = "".join(sign_of(name) for name in names)
        out.append(_mark(signs, f"here {' and '.join(map(pretty, names))} parts from it"))
        begin = place
    return "".join(out) + f"<bdi>{plain(''.join(texts[begin:]))}</bdi>"


def _mark(sign: str, tip: str, words: str = "") -> str:
    label = _attribute(tip)
    return (
        f'<span role="img" title="{label}" aria-label="{label}" style="border:2px solid {TEXT};border-radius:3px;padding:0 3px;'
        f'margin:0 2px;font-weight:700;font-size:11px;white-space:nowrap">{sign}{" " + words if words else ""}</span>'
    )
