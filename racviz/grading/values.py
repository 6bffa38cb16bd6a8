"""Read a final answer as a value: words, a number, a quantity with its unit, a list, a set, an interval, a matrix."""

import re
from functools import partial

from racviz.grading import formulas, wording
from racviz.grading.kinds import Value
from racviz.grading.normalising import normal
from racviz.grading.splitting import enclosed

DEEPEST = 24
"""Brackets inside brackets that are read; what is deeper is compared as text."""
THOUSANDS = re.compile(r"(?<![\d.,])(?:[1-9]\d{0,2}(?:,\d{3})+|(?=[\d,]*,0)[1-9]\d?(?:,\d\d)+,\d{3})(?![\d]|,\d)")
"""Commas by thousands; or as India has them, where a group that begins with 0 shows that it is no list."""


def readings(text: str) -> list[Value]:
    """The values that a text may mean: more than one where a comma parts either thousands or a list."""
    plain = _bare(normal(text))
    merged = THOUSANDS.sub(lambda m: m[0].replace(",", ""), plain) if not re.search(r"[(\[]|\\\{", plain) else plain
    found = [read(merged)] if merged == plain else [read(merged), read(plain)]
    if SCIENTIFIC.search(plain):  # 2e-7 is a small number, or twice e less seven
        found = [read(SCIENTIFIC.sub(_power, merged)), read(SCIENTIFIC.sub(r"\1\\cdot e\2", plain))]
    return found


SCIENTIFIC = re.compile(r"(?<![\w.\\])(\d+\.?\d*|\.\d+)[eE]([+-]?\d+)(?![\w.])")


def _power(found: re.Match) -> str:
    return f"{found[1]}\\cdot 10^{{{int(found[2])}}}" if len(found[2]) < 8 else found[0]


READERS = (
    formulas.outward, wording.framed, wording.option, formulas.listed, formulas.based, formulas.related,
    formulas.valued, formulas.bracketed, wording.worded, formulas.signed, wording.quantity,
)  # fmt: skip
"""Tried in this order; the first that knows the text reads it."""


def read(text: str, depth: int = 0) -> Value:
    """The value that a normal text means; an `atom` where it is neither a list nor words."""
    text = _bare(text)
    if depth > DEEPEST or not text:
        return Value("words" if not text else "atom", text)
    for reader in READERS:
        if (value := reader(text, partial(read, depth=depth + 1))) is not None:
            return value
    return Value("atom", text)


def _bare(text: str) -> str:
    """Text without white space, full stops, dollar signs, braces and a text frame around the whole."""
    for _ in range(8):
        before = text
        text = re.sub(r"^\$+|(?<!\\)\$+$", "", text.strip()).strip()
        text = re.sub(r"(?<!\\)[.,;:?]+$", "", text) if not text.endswith(r"\ldots") else text
        text = re.sub(r"^(?:(?:\\approx|\\Rightarrow|\\implies|\\therefore|\\to)(?![a-zA-Z])|=)", "", text).strip()
        if (inner := enclosed(text, "{", "}")) is not None:
            text = inner
        if framed := re.fullmatch(r"\\text\{([^{}]*)\}", text):
            text = framed[1]
        if text == before:
            break
    return text
