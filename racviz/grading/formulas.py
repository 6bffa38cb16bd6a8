"""Read lists, sets, intervals, matrices, relations and equations by their top-level signs."""

import re

from racviz.grading.kinds import Reader, Value
from racviz.grading.normalising import ROW
from racviz.grading.splitting import enclosed, split, variables

SEPARATOR = re.compile(
    r"[,;]\s*(?:\\text\{\s*(?:and|or)\s*\}|(?:and|or)(?![a-zA-Z]))?"
    r"|\\text\{\s*,?\s*(?:and|or|and also|where|for|for all|for any|with)\s*,?\s*\}"
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


OUTWARD = re.compile(r"([\[\]])([^\[\](),;{}]+)[,;]([^\[\](),;{}]+)([\[\]])")


def outward(text: str, inner: Reader) -> Value | None:
    """An interval whose open ends are written with brackets turned outward, `]2,4[`."""
    if not (found := OUTWARD.fullmatch(text)) or (found[1], found[4]) == ("[", "]"):
        return None
    brackets = {"]": "(", "[": "["}[found[1]] + {"[": ")", "]": "]"}[found[4]]
    kind = "tuple" if brackets == "()" else "interval"
    return Value(kind, text, tuple(inner(part) for part in found.group(2, 3)), brackets)


def listed(text: str, inner: Reader) -> Value | None:
    parts, marks = split(text, SEPARATOR)
    if len(parts) == 1 or _pronounced(text):
        return None
    items = [inner(part) for part in parts if part]
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


def based(text: str, inner: Reader) -> Value | None:
    found = DIGITS.fullmatch(text) or IN_BASE.fullmatch(text)
    if not found:
        return None
    digits, base = found[1], re.sub(r"\\text|[{}\s]", "", found[2])
    base = BASES.get(base, base)
    if not base.isdigit() or not 2 <= int(base) <= 36 or (not digits[0].isdigit() and (len(digits) < 2 or int(base) < 11)):
        return None
    if base == "10":
        return inner(digits)
    return Value("based", text, (), f"{digits.lstrip('0') or '0'}_{base}")


def related(text: str, inner: Reader) -> Value | None:
    """Memberships, unions, differences, inequalities, equations and ratios, by their top-level signs."""
    parts, _ = split(text, IN)
    if len(parts) == 2 and all(parts):
        return Value("label", text, (inner(parts[1]),), _name(parts[0]))
    parts, marks = split(text, RELATION)
    if marks and all(parts):
        return Value("relation", text, tuple(Value("atom", part) for part in parts), " ".join(marks))
    parts, marks = split(text, EQUALS)
    if marks and all(parts):
        return _equated(text, parts, marks, inner)
    for kind, sign in (("union", UNION), ("difference", MINUS)):
        parts, marks = split(text, sign)
        if marks and all(parts):
            return Value(kind, text, tuple(inner(part) for part in parts))
    parts, _ = split(re.sub(r"(?<=[\d}])\s*(?:\\text\{\s*to\s*\}|\bto\b)\s*(?=[\d\\])", ":", text), COLON)
    if len(parts) > 1 and all(parts) and not any(re.search(r"(?<![\\a-z])[a-zA-Z]{2,}", part) for part in parts[:-1]):
        if clock := re.fullmatch(r"(\d{1,2}:\d\d)\s*(?:\\text\{)?\s*([apAP])\.?\s?[mM]\.?\s*\}?", text):
            return Value("quantity", text, (inner(clock[1]),), f"{clock[2].lower()}.m.")
        return Value("ratio", text, tuple(inner(part) for part in parts))
    return None


def _equated(text: str, parts: list[str], marks: list[str], inner: Reader) -> Value:
    """A name and its value, a chain of equal values, or an equation."""
    name = _name(parts[0])
    labelled = NAME.fullmatch(name) is not None and marks[0] == "="
    values = parts[1:] if labelled else parts
    if len(values) > 1 and (labelled or len(marks) > 1 or not variables(text) or marks[0] != "="):
        chain = Value("chain", text, tuple(inner(part) for part in values), " ".join(marks[1:] if labelled else marks))
        return Value("label", text, (chain,), name) if labelled else chain
    if labelled:
        value = inner(values[0])
        names = [part.strip() for part in name.strip("()").split(",")]
        if name.startswith("(") and value.kind == "tuple" and len(names) == len(value.items):
            return Value(
                "list", text, tuple(Value("label", text, (v,), n) for n, v in zip(names, value.items, strict=True)), ","
            )
        return Value("label", text, (value,), name)
    if len(values) == 2 and NAME.fullmatch(_name(values[1])) and not variables(values[0]):  # 5 = x
        return Value("label", text, (inner(values[0]),), _name(values[1]))
    return Value("equation", text, tuple(Value("atom", part) for part in parts))


NAME = re.compile(
    r"(?:m\s*)?(?:\\angle)?\s*(?:[A-Za-z]{1,3}|\\(?!pi|infty)[a-z]+)(?:_\{?\w+\}?)?'*"
    r"(?:\s*\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])*\s*\))?(?:\s*[xyz])?"
    r"|\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])+\s*\)|\\(?:overline|vec|mathbf)\{?[A-Za-z]+\}?|[A-Z]?[a-z]{3,}(?: [a-z]+)*|\|[A-Z]{2}\|"
)


def _name(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\\text\{([^{}]*)\}", r"\1", text)).strip()


def valued(text: str, inner: Reader) -> Value | None:
    """The empty set, the sets of numbers, dots, and lists that begin with `[` as programs write them."""
    if text in (r"\emptyset", r"\{\}", r"\{ \}"):
        return Value("set", text)
    if found := NUMBER_SETS.fullmatch(text):
        return Value("numbers", text, (), found[1])
    if REALS.fullmatch(re.sub(r"\\text\{([^{}]*)\}", r"\1", text)):
        return Value("numbers", text, (), "R")
    if re.fullmatch(r"\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}/\d{2,4}", text):  # a date
        return Value("words", text)
    return Value("dots", text) if text == r"\ldots" else None


def bracketed(text: str, inner: Reader) -> Value | None:
    """Sets, tuples, intervals and matrices."""
    if (content := enclosed(text, r"\{", r"\}")) is not None:
        parts, marks = split(content, BAR)
        if marks and VARIABLE.fullmatch(re.split(r"\\in(?![a-z])", parts[0])[0].strip()) and len(parts) == 2:
            return inner(parts[1])
        listed = inner(content)
        return Value("set", text, listed.items if listed.kind == "list" else (listed,))
    if (content := enclosed(text, r"\langle", r"\rangle")) is not None:
        return Value("tuple", text, tuple(inner(part) for part in split(content, COMMA)[0]), "()")
    for opening, closing in ("()", "[]", "(]", "[)"):
        if (content := enclosed(text, opening, closing)) is None:
            continue
        matrix = MATRIX.fullmatch(content)
        if matrix:
            return _matrix(matrix[2], text, inner)
        parts, _ = split(content, COMMA)
        if len(parts) == 1:
            return inner(content) if opening + closing == "()" else Value("tuple", text, (inner(content),), "[]")
        kind = "interval" if len(parts) == 2 and (opening + closing != "()") else "tuple"
        return Value(kind, text, _flat([inner(part) for part in parts]), opening + closing)
    matrix = MATRIX.fullmatch(text)
    return _matrix(matrix[2], text, inner) if matrix and matrix[1] != "B" else None


def _matrix(body: str, text: str, inner: Reader) -> Value:
    rows = [row for row in split(body, ROWS)[0] if row]
    cells = [Value("tuple", row, tuple(inner(cell) for cell in split(row, CELLS)[0])) for row in rows]
    return Value("matrix", text, tuple(cells))


def signed(text: str, inner: Reader) -> Value | None:
    """Both values of a formula with plus or minus."""
    if not PLUS_MINUS.search(text):
        return None
    swapped = {r"\pm": ("+", "-"), r"\mp": ("-", "+")}
    both = (PLUS_MINUS.sub(lambda m, k=k: swapped[m[0]][k], text) for k in (0, 1))
    return Value("list", text, tuple(inner(re.sub(r"^\+\s*", "", each)) for each in both), "pm")
