"""Read a final answer as a value: words, a number, a quantity with its unit, a list, a set, an interval, a matrix."""

import re
from dataclasses import dataclass, replace

from racviz.grading.normalising import ROW, normal
from racviz.grading.splitting import enclosed, split
from racviz.grading.units import CANONICAL, MONEY, SCALES, SYMBOLS, canonical

DEEPEST = 24
"""Brackets inside brackets that are read; what is deeper is compared as text."""


@dataclass(frozen=True)
class Value:
    """A value and its parts.

    Parameters
    ----------
    kind
        `atom`, `words`, `option`, `quantity`, `list`, `set`, `tuple`, `interval`, `union`, `difference`, `matrix`, `ratio`, `based`,
        `label`, `chain`, `equation`, `relation`, `numbers` or `dots`.
    text
        The formula in its normal spelling.
    items
        Its parts, in the order written.
    mark
        The unit of a quantity, the letter of an option, the brackets of an interval, the base of a number, the name before `=`,
        the signs of a relation, or the word that joins a list.
    """

    kind: str
    text: str
    items: tuple["Value", ...] = ()
    mark: str = ""


THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d]|,\d)")


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


SEPARATOR = re.compile(
    r"[,;]\s*(?:\\text\{\s*(?:and|or)\s*\}|(?:and|or)(?![a-zA-Z]))?|\\text\{\s*,?\s*(?:and|or|and also|where|for|for all|for any|with)\s*,?\s*\}"
    r"|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|\\land(?![a-zA-Z])|\\lor(?![a-zA-Z])"
)
RELATION = re.compile(r"<|>|\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|\\ne(?![a-zA-Z])")
EQUALS = re.compile(r"(?<![<>!:\\])=|\\approx(?![a-zA-Z])")
UNION, MINUS, IN = (re.compile(rf"\\(?:{name})(?![a-zA-Z])") for name in ("cup|bigcup", "setminus", "in"))
COMMA, COLON, BAR, ROWS, CELLS = (re.compile(p) for p in ("[,;]", ":", r"\||:", ROW, "&"))
PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![a-zA-Z])")
MATRIX = re.compile(r"\\begin\{([pbB]?|small)(?:matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1(?:matrix|array)\}", re.DOTALL)
NUMBER_SETS = re.compile(r"\\mathbb\{([RNZQC])\}")
REALS = re.compile(r"(?i)(?:all |the |set of )*real(?:s| numbers?)")
VARIABLE = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?|\\(?!pi\b|infty\b)[a-z]+")


def read(text: str, depth: int = 0) -> Value:
    """The value that a normal text means; an `atom` where it is neither a list nor words."""
    text = _bare(text)
    if depth > DEEPEST or not text:
        return Value("words" if not text else "atom", text)
    for reader in (_outward, _framed, _option, _listed, _based, _related, _valued, _bracketed, _worded, _signed, _quantity):
        if (value := reader(text, depth + 1)) is not None:
            return value
    return Value("atom", text)


def _bare(text: str) -> str:
    """Without white space, full stops, dollar signs and braces around the whole."""
    for _ in range(8):
        before = text
        text = text.strip().strip("$").strip()
        text = re.sub(r"(?<!\\)[.,;:?]+$", "", text) if not text.endswith(r"\ldots") else text
        text = re.sub(r"^(?:\\approx|\\Rightarrow|\\implies|\\therefore|\\to)(?![a-zA-Z])", "", text).strip()
        if (inner := enclosed(text, "{", "}")) is not None:
            text = inner
        if (
            (inner := enclosed(text, r"\text{", "}")) is not None
            and "{" not in inner
            and not re.fullmatch(r"(?!.*\b(?:and|or)\b)[A-Za-z' -]*", inner)
        ):
            text = inner
        if text == before:
            break
    return text


OUTWARD = re.compile(r"([\[\]])([^\[\](),;{}]+)[,;]([^\[\](),;{}]+)([\[\]])")


def _outward(text: str, depth: int) -> Value | None:
    """An interval whose open ends are written with brackets turned outward, `]2,4[`."""
    if not (found := OUTWARD.fullmatch(text)) or (found[1], found[4]) == ("[", "]"):
        return None
    brackets = {"]": "(", "[": "["}[found[1]] + {"[": ")", "]": "]"}[found[4]]
    kind = "tuple" if brackets == "()" else "interval"
    return Value(kind, text, tuple(read(part, depth) for part in found.group(2, 3)), brackets)


LEAD = re.compile(
    r"(?i)^(?:\\text\{)?\s*((?:[a-z' ,]*\s)?(?:is|are|equals?|be|equal to|get|have|therefore|thus|so|hence|answer)\b\s*:?"
    r"|[a-z][a-z' ]+:)\s*(\})?\s*(?=\S)(.+)$"
)
STATING = re.compile(r"(?i)\b(?:answer|result|solution|it|this|that|therefore|thus|hence|so|option|choice)\b")
"""Words by which a sentence states its last words as the answer."""
CHANGING = set("not no never isn less more least most than over under between greater smaller fewer above below except almost nearly negative minus "
               "about approximately roughly around at up half twice double if when where unless either".split())  # fmt: skip
"""Words before a value that make it another."""
TAIL = re.compile(r"\s*(?:\\text\{)?\s*(?:is|as) (?:the|our|my) (?:final |correct )?answer\s*\}?$")


def _framed(text: str, depth: int) -> Value | None:
    """The value after "The answer is" and the like, or before "is the answer"."""
    shorter = TAIL.sub("", text)
    lead = LEAD.match(shorter)
    if lead and (shorter.startswith(r"\text{") != bool(lead[2])) and not re.match(r"\\text\{[^{}]*\}$", shorter):
        lead = None
    if (
        lead
        and not CHANGING & set(re.findall(r"[a-z]+", lead[1].lower()))
        and (re.search(r"[\d\\]", lead[3]) or STATING.search(lead[1]))
    ):
        return read(lead[3], depth)
    return read(shorter, depth) if shorter != text and shorter else None


OPTION = re.compile(
    r"(?:\\text\{\s*)?(?:\(([A-Z])\)|([A-Z])(?:[.):](?=\s|\}|$)|$|(?=\s*\})))\s*[.:]?\s*(\})?\s*[.:]?\s*(.*)$", re.DOTALL
)
FORMULA_GOES_ON = re.compile(
    r"[=+*/^<>_,;(:!|']|-\s|\\(?:cup|cap|le|ge|ne|in|cdot|times|pm|text\{\s*(?:and|or|,)|land|lor|to|subset|ldots)"
)


def _option(text: str, depth: int) -> Value | None:
    """An option's letter, alone or before its value: `(C)`, `C.`, `(C) 5`."""
    found = OPTION.match(text)
    if not found or text.startswith(r"\text{") != bool(found[3]):
        return None
    rest = found[4]
    if rest and (FORMULA_GOES_ON.match(rest) or re.match(r"(?:and|or)\b", rest)):
        return None
    return Value("option", text, (read(rest, depth),) if rest else (), found[1] or found[2])


def _listed(text: str, depth: int) -> Value | None:
    parts, marks = split(text, SEPARATOR)
    if len(parts) == 1 or _pronounced(text):
        return None
    items = [read(part, depth) for part in parts if part]
    if len(items) == 1:
        return items[0]
    words = " ".join(re.sub(r"[^a-z\\]", " ", mark) for mark in marks)
    joint = "or" if re.search(r"\bor\b|lor", words) else "and" if re.search(r"\band\b|land", words) else ","
    return Value("list", text, _flat(items), joint)


def _flat(items: list[Value]) -> tuple[Value, ...]:
    """Items with the two values of `a \\pm b` side by side."""
    return tuple(part for item in items for part in (item.items if item.kind == "list" and item.mark == "pm" else (item,)))


def _pronounced(text: str) -> bool:
    """True for a sentence: more than six words, where a comma is no separator."""
    return len(re.findall(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}", re.sub(r"\\text", " ", text))) > 6 and not re.search(r"[\d=<>]", text)


DIGITS = re.compile(
    r"\(?(?:\\text\{)?([0-9A-Z]+(?:\.[0-9A-Z]+)?)\}?\)?_\s*\{?\s*\(?(\d+|(?:\\text\{)?\s*[a-z]+\s*\}?)\)?\s*\}?"
)
IN_BASE = re.compile(r"\(?([0-9A-Z]+)\)?\s*(?:\\text\{)?\s*(?:\(?\s*in\s*)?\(?base[ -]*\}?\s*(\d+)\)?\}?")
BASES = {
    word: str(k) for k, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
} | {"sixteen": "16"}


def _based(text: str, depth: int) -> Value | None:
    found = DIGITS.fullmatch(text) or IN_BASE.fullmatch(text)
    if not found:
        return None
    digits, base = found[1], re.sub(r"\\text|[{}\s]", "", found[2])
    base = BASES.get(base, base)
    if not base.isdigit() or not 2 <= int(base) <= 36 or (not digits[0].isdigit() and (len(digits) < 2 or int(base) < 11)):
        return None
    if base == "10":
        return read(digits, depth)
    return Value("based", text, (), f"{digits.lstrip('0') or '0'}_{base}")


def _related(text: str, depth: int) -> Value | None:
    """Memberships, unions, differences, inequalities, equations and ratios, by their top-level signs."""
    parts, _ = split(text, IN)
    if len(parts) == 2 and all(parts):
        return Value("label", text, (read(parts[1], depth),), _name(parts[0]))
    parts, marks = split(text, RELATION)
    if marks and all(parts):
        return Value("relation", text, tuple(Value("atom", part) for part in parts), " ".join(marks))
    parts, marks = split(text, EQUALS)
    if marks and all(parts):
        return _equated(text, parts, marks, depth)
    for kind, sign in (("union", UNION), ("difference", MINUS)):
        parts, marks = split(text, sign)
        if marks and all(parts):
            return Value(kind, text, tuple(read(part, depth) for part in parts))
    parts, _ = split(re.sub(r"(?<=[\d}])\s*(?:\\text\{\s*to\s*\}|\bto\b)\s*(?=[\d\\])", ":", text), COLON)
    if len(parts) > 1 and all(parts) and not any(re.search(r"(?<![\\a-z])[a-zA-Z]{2,}", part) for part in parts[:-1]):
        if clock := re.fullmatch(r"(\d{1,2}:\d\d)\s*(?:\\text\{)?\s*([apAP])\.?\s?[mM]\.?\s*\}?", text):
            return Value("quantity", text, (read(clock[1], depth),), f"{clock[2].lower()}.m.")
        return Value("ratio", text, tuple(read(part, depth) for part in parts))
    return None


def _equated(text: str, parts: list[str], marks: list[str], depth: int) -> Value:
    """A name and its value, a chain of equal values, or an equation."""
    name = _name(parts[0])
    labelled = NAME.fullmatch(name) is not None and marks[0] == "="
    values = parts[1:] if labelled else parts
    if len(values) > 1 and (labelled or len(marks) > 1 or not _variables(text) or marks[0] != "="):
        chain = Value("chain", text, tuple(read(part, depth) for part in values), " ".join(marks[1:] if labelled else marks))
        return Value("label", text, (chain,), name) if labelled else chain
    if labelled:
        value = read(values[0], depth)
        names = [part.strip() for part in name.strip("()").split(",")]
        if name.startswith("(") and value.kind == "tuple" and len(names) == len(value.items):
            return Value(
                "list", text, tuple(Value("label", text, (v,), n) for n, v in zip(names, value.items, strict=True)), ","
            )
        return Value("label", text, (value,), name)
    return Value("equation", text, tuple(Value("atom", part) for part in parts))


NAME = re.compile(
    r"(?:m\s*)?(?:\\angle)?\s*(?:[A-Za-z]{1,3}|\\(?!pi|infty)[a-z]+)(?:_\{?\w+\}?)?'*(?:\s*\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])*\s*\))?(?:\s*[xyz])?"
    r"|\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])+\s*\)|\\(?:overline|vec|mathbf)\{?[A-Za-z]+\}?|[A-Z]?[a-z]{3,}(?: [a-z]+)*|\|[A-Z]{2}\|"
)


def _name(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\\text\{([^{}]*)\}", r"\1", text)).strip()


def _variables(text: str) -> set[str]:
    return set(re.findall(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", text))) - {"e", "i"}


def _valued(text: str, depth: int) -> Value | None:
    """The empty set, the sets of numbers, dots, and lists that begin with `[` as programs write them."""
    if text in (r"\emptyset", r"\{\}", r"\{ \}"):
        return Value("set", text)
    if found := NUMBER_SETS.fullmatch(text):
        return Value("numbers", text, (), found[1])
    if REALS.fullmatch(re.sub(r"\\text\{([^{}]*)\}", r"\1", text)):
        return Value("numbers", text, (), "R")
    return Value("dots", text) if text == r"\ldots" else None


def _bracketed(text: str, depth: int) -> Value | None:
    """Sets, tuples, intervals and matrices."""
    if (inner := enclosed(text, r"\{", r"\}")) is not None:
        parts, marks = split(inner, BAR)
        if marks and VARIABLE.fullmatch(re.split(r"\\in(?![a-z])", parts[0])[0].strip()) and len(parts) == 2:
            return read(parts[1], depth)
        listed = read(inner, depth)
        return Value("set", text, listed.items if listed.kind == "list" else (listed,))
    if (inner := enclosed(text, r"\langle", r"\rangle")) is not None:
        return Value("tuple", text, tuple(read(part, depth) for part in split(inner, COMMA)[0]), "()")
    for opening, closing in ("()", "[]", "(]", "[)"):
        if (inner := enclosed(text, opening, closing)) is None:
            continue
        matrix = MATRIX.fullmatch(inner)
        if matrix:
            return _matrix(matrix[2], text, depth)
        parts, _ = split(inner, COMMA)
        if len(parts) == 1:
            return read(inner, depth) if opening + closing == "()" else Value("tuple", text, (read(inner, depth),), "[]")
        kind = "interval" if len(parts) == 2 and (opening + closing != "()") else "tuple"
        return Value(kind, text, _flat([read(part, depth) for part in parts]), opening + closing)
    matrix = MATRIX.fullmatch(text)
    return _matrix(matrix[2], text, depth) if matrix and matrix[1] != "B" else None


def _matrix(body: str, text: str, depth: int) -> Value:
    rows = [row for row in split(body, ROWS)[0] if row]
    cells = [Value("tuple", row, tuple(read(cell, depth) for cell in split(row, CELLS)[0])) for row in rows]
    return Value("matrix", text, tuple(cells))


COUNTED = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
NUMERALS = {word: str(k) for k, word in enumerate(COUNTED.split())} | {word: str(10 * k + 30) for k, word in enumerate("thirty forty fifty sixty seventy eighty ninety".split())} | {
    "half": r"\frac{1}{2}", "one half": r"\frac{1}{2}", "one third": r"\frac{1}{3}", "two thirds": r"\frac{2}{3}", "one fourth": r"\frac{1}{4}",
    "one quarter": r"\frac{1}{4}", "three fourths": r"\frac{3}{4}", "three quarters": r"\frac{3}{4}", "one hundred": "100", "one thousand": "1000",
}  # fmt: skip
PRODUCT = re.compile(r"[abcxyz]{1,2}|[xyz]{3}|[mnpqrstkxyz]{1,2}|[a-z]")
"""Letters that are a product of variables, not a word."""


def _numeral(words: str) -> str | None:
    """The number that one or two words mean, up to 99."""
    tens, _, ones = words.partition(" ")
    if words not in NUMERALS and tens.endswith("ty") and {tens, ones} <= set(NUMERALS) and len(NUMERALS[ones]) == 1:
        return str(int(NUMERALS[tens]) + int(NUMERALS[ones]))
    return NUMERALS.get(words)


def _worded(text: str, depth: int) -> Value | None:
    """Words and letters, compared as written; a number's word is the number."""
    framed = r"\text{" in text
    plain = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    plain = re.sub(
        r"^(?:an?|[Tt]he|An|A(?= [a-z]{3})(?! and| or))\s+(?=[A-Za-z]{2})", "", " ".join(plain.split()).strip(" .!\"'`")
    )
    if not re.fullmatch(r"[A-Za-z][A-Za-z' ./-]*", plain) or re.search(r"\\", plain):
        return None
    if (numeral := _numeral(plain.lower().replace("-", " "))) is not None:
        return Value("atom", numeral)
    if PRODUCT.fullmatch(plain.replace(" ", "")) and (not framed or len(plain) == 1):
        return None
    return Value("words", plain) if re.search(r"[A-Za-z]{2}|[A-Za-z] [A-Za-z]", plain) else None


def _signed(text: str, depth: int) -> Value | None:
    """Both values of a formula with plus or minus."""
    if not PLUS_MINUS.search(text):
        return None
    swapped = {r"\pm": ("+", "-"), r"\mp": ("-", "+")}
    both = (PLUS_MINUS.sub(lambda m, k=k: swapped[m[0]][k], text) for k in (0, 1))
    return Value("list", text, tuple(read(re.sub(r"^\+\s*", "", each), depth) for each in both), "pm")


PREFIX = re.compile(
    r"^(-?)\s*(?:\\text\{)?\s*("
    + "|".join(map(re.escape, sorted(MONEY, key=len, reverse=True)))
    + r")\s*\}?\s*(?=[\d.\\(-])(.+)$"
)
FRAME = re.compile(r"\\degree(?![a-zA-Z])|\\text\{")
TAIL_UNIT = re.compile(r"(?:\\degree\s*[CFK]?(?![a-zA-Z])|\\text\{[^{}]*\}|\^\s*\{?-?\d\}?|/|\\cdot|\s|(?<=/)[a-zA-Z]+)+")
WORD_UNIT = re.compile(
    r"(.*?[\d})!])(?:(\s*)((?:[A-Za-z][A-Za-z.]*)(?:\^\{?[23]\}?)?(?:(?:\s*/\s*|\s+)[A-Za-z][A-Za-z.]*(?:\^\{?[23]\}?)?)*))"
)
FUNCTIONS = {"sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "max", "min", "gcd", "lcm", "det", "mod", "sqrt"}
NO_UNIT = {
    "and",
    "or",
    "if",
    "for",
    "where",
    "mod",
    "is",
    "are",
    "when",
    "with",
    "not",
    "to",
    "base",
    "of",
    "but",
    "such",
    "unless",
    "than",
    "minus",
    "plus",
    "times",
}
COMPOUND = re.compile(
    r"\s*(-?\d+(?:\.\d+)?)\s*(?:\\text\{\s*([A-Za-z.]+)\s*\}|([A-Za-z]{2,}))\s*(?:,|and|\\text\{\s*and\s*\})?"
)


def _quantity(text: str, depth: int) -> Value | None:
    """A value with a unit, a currency, a percent sign or a scale such as million."""
    if found := PREFIX.match(text):
        return _scaled(text, f"{found[1]}{found[3]}", MONEY[found[2]], depth)
    if text.endswith(r"\%"):
        return Value("quantity", text, (read(text[:-2], depth),), "%")
    pieces = list(COMPOUND.finditer(text))
    if len(pieces) > 1 and "".join(piece[0] for piece in pieces) == text:
        amounts = [Value("quantity", p[0], (Value("atom", p[1]),), canonical(p[2] or p[3])) for p in pieces]
        return Value("tuple", text, tuple(amounts), "()")
    if (frame := next((f for f in FRAME.finditer(text) if f.start()), None)) and TAIL_UNIT.fullmatch(text, frame.start()):
        return _scaled(text, text[: frame.start()], text[frame.start() :], depth)
    found = WORD_UNIT.fullmatch(text)
    if found and not _variables(found[1]) and _is_unit(re.split(r"[/^ ]", found[3])[0], spaced=bool(found[2])):
        return _scaled(text, found[1], found[3], depth)
    return None


def _is_unit(word: str, *, spaced: bool) -> bool:
    """True for a word outside a text frame that is a unit and no product of variables."""
    if word in SYMBOLS:
        return True
    wordy = re.fullmatch(r"[A-Za-z]?[a-z]{2,}\.?", word) and not PRODUCT.fullmatch(word) and word not in FUNCTIONS
    return spaced and (bool(wordy) or word.rstrip(".") in CANONICAL and len(word) > 1)


def _scaled(text: str, amount: str, unit: str, depth: int) -> Value | None:
    if re.search(r"[=+*/^_<>-]\s*$|\\(?:cdot|times|le|ge|ne|in)\s*$", amount):
        return None
    words = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", unit).split()
    if not words or words[0].lower() in NO_UNIT or any(word.lower() in NO_UNIT - {"of"} for word in words):
        return None
    value = read(amount, depth)
    if value.kind == "quantity" and value.mark == "dollar":  # two signs of one currency, as in \$5 \text{ dollars}
        return replace(value, text=text) if canonical(" ".join(words)) in ("dollar", "usd") else None
    if words[0].lower() in SCALES:
        value = Value("atom", f"({amount})\\cdot {SCALES[words[0].lower()]}")
        words = words[1:]
    elif (tail := re.match(r"^(.*?)\s*(?:\\text\{)?\s*(hundred|thousand|million|billion|trillion)\s*\}?$", amount)) and tail[1]:
        value = Value("atom", f"({tail[1]})\\cdot {SCALES[tail[2]]}")
    return Value("quantity", text, (value,), canonical(" ".join(words))) if words else replace(value, text=value.text)
