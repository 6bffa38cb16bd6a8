"""Read words, options, numerals and quantities with their units."""

import re
from dataclasses import replace

from racviz.grading.kinds import Reader, Value
from racviz.grading.splitting import variables
from racviz.grading.units import CANONICAL, MONEY, SCALES, SYMBOLS, canonical

LEAD = re.compile(
    r"(?i)^(?:\\text\{)?\s*((?:[a-z' ,]*\s)?(?:is|are|equals?|be|equal to|get|have|therefore|thus|so|hence|answer)\b\s*:?"
    r"|[a-z][a-z' ]+:)\s*(\})?\s*(?=\S)(.+)$"
)
STATING = re.compile(r"(?i)\b(?:answer|result|solution|it|this|that|therefore|thus|hence|so|option|choice)\b")
"""Words by which a sentence states its last words as the answer."""
CHANGING = set(
    "not no never cannot neither nor without isn "
    "less more least most than over under between greater smaller fewer above below except almost nearly negative "
    "minus about approximately roughly around at up half twice double if when where unless either".split()
)
"""Words before a value that make it another."""
TAIL = re.compile(r"\s*(?:\\text\{)?\s*(?:is|as) (?:the|our|my) (?:final |correct )?answer\s*\}?$")


def framed(text: str, inner: Reader) -> Value | None:
    """The value after "The answer is" and the like, or before "is the answer"."""
    shorter = TAIL.sub("", text)
    lead = LEAD.match(shorter)
    if lead and (shorter.startswith(r"\text{") != bool(lead[2])) and not re.match(r"\\text\{[^{}]*\}$", shorter):
        lead = None
    if (
        lead
        and not CHANGING & set(re.findall(r"[a-z]+", lead[1].lower().replace("n't", " not")))
        and (re.search(r"[\d\\]", lead[3]) or STATING.search(lead[1]))
    ):
        return inner(lead[3])
    return inner(shorter) if shorter != text and shorter else None


OPTION = re.compile(
    r"(?:(?:[Oo]ption|[Cc]hoice)\s+)?(?:\\text\{\s*)?(?:\(([A-Z])\)|([A-Z])(?:[.):](?=\s|\}|$)|$|(?=\s*\})))\s*[.:]?\s*(\})?\s*[.:]?\s*(.*)$",
    re.DOTALL,
)
ANOTHER = re.compile(r"(?:\b(?:and|or)\b|[,;])[\s}]*(?:\\text\{\s*)?(?:(?:and|or)\s+)?(?:\([A-Z]\)|[A-Z][.)](?=\s|\}))")
"""A second option behind the value of the first."""
FORMULA_GOES_ON = re.compile(
    r"[=+*/^<>_,;(:!|']|-\s|\\(?:cup|cap|le|ge|ne|in|cdot|times|pm|text\{\s*(?:and|or|,)|land|lor|to|subset|ldots)"
)


def option(text: str, inner: Reader) -> Value | None:
    """An option's letter, alone or before its value: `(C)`, `C.`, `(C) 5`."""
    found = OPTION.match(text)
    if not found or text.startswith(r"\text{") != bool(found[3]):
        return None
    rest = found[4]
    if rest and (FORMULA_GOES_ON.match(rest) or re.match(r"(?:and|or)\b", rest) or ANOTHER.search(rest)):
        return None
    return Value("option", text, (inner(rest),) if rest else (), found[1] or found[2])


COUNTED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
).split()
TENS = "thirty forty fifty sixty seventy eighty ninety".split()
NUMERALS = (
    {word: str(number) for number, word in enumerate(COUNTED)}
    | {word: str(10 * k + 30) for k, word in enumerate(TENS)}
    | {"one hundred": "100", "one thousand": "1000", "half": r"\frac{1}{2}", "one half": r"\frac{1}{2}"}
    | {"one third": r"\frac{1}{3}", "two thirds": r"\frac{2}{3}", "one fourth": r"\frac{1}{4}", "three fourths": r"\frac{3}{4}"}
    | {"one quarter": r"\frac{1}{4}", "three quarters": r"\frac{3}{4}"}
)
PRODUCT = re.compile(r"[abcxyz]{1,2}|[xyz]{3}|[mnpqrstkxyz]{1,2}|[a-z]")
"""Letters that are a product of variables, not a word."""


def _numeral(words: str) -> str | None:
    """The number that one or two words mean, up to 99."""
    tens, _, ones = words.partition(" ")
    if words not in NUMERALS and tens.endswith("ty") and {tens, ones} <= set(NUMERALS) and len(NUMERALS[ones]) == 1:
        return str(int(NUMERALS[tens]) + int(NUMERALS[ones]))
    return NUMERALS.get(words)


def worded(text: str, inner: Reader) -> Value | None:
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
    if plain.lower() in ("true", "false"):  # JSON, Python and people write them in different cases
        return Value("words", plain.lower())
    return Value("words", plain) if re.search(r"[A-Za-z]{2}|[A-Za-z] [A-Za-z]", plain) else None


PREFIX = re.compile(
    r"^(-?)\s*(?:\\text\{)?\s*("
    + "|".join(map(re.escape, sorted(MONEY, key=len, reverse=True)))
    + r")\s*\}?\s*(?=[\d.\\(-])(.+)$"
)
SUFFIX = re.compile(r"(.*\d)\s*(?:\\text\{)?\s*(" + "|".join(map(re.escape, (r"\$", "€", "£", "¥", "₹"))) + r")\s*\}?")
FRAME = re.compile(r"\\degree(?![a-zA-Z])|\\text\{")
TAIL_UNIT = re.compile(r"(?:\\degree\s*[CFK]?(?![a-zA-Z])|\\text\{[^{}]*\}|\^\s*\{?-?\d\}?|/|\\cdot|\s|(?<=/)[a-zA-Z]+)+")
WORD_UNIT = re.compile(
    r"(.*?[\d})!])(?:(\s*)((?:[A-Za-z][A-Za-z.]*)(?:\^\{?[23]\}?)?(?:(?:\s*/\s*|\s+)[A-Za-z][A-Za-z.]*(?:\^\{?[23]\}?)?)*))"
)
RATE = re.compile(r"(?:m|km|cm|mm|ft|mi|g|kg|L)\s*/\s*(?:s|h|hr|min|m|L|mL)(?:\^\{?[23]\}?)?")
"""One unit by another, outside a text frame."""
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
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


def quantity(text: str, inner: Reader) -> Value | None:
    """A value with a unit, a currency, a percent sign or a scale such as million."""
    if found := PREFIX.match(text):
        return _scaled(text, f"{found[1]}{found[3]}", MONEY[found[2]], inner)
    if found := SUFFIX.fullmatch(text):
        return _scaled(text, found[1], MONEY[found[2]], inner)
    if text.endswith(r"\%"):
        return Value("quantity", text, (inner(text[:-2]),), "%")
    pieces = list(COMPOUND.finditer(text))
    if len(pieces) > 1 and "".join(piece[0] for piece in pieces) == text:
        amounts = [Value("quantity", p[0], (Value("atom", p[1]),), canonical(p[2] or p[3])) for p in pieces]
        return Value("tuple", text, tuple(amounts), "()")
    if TRIGONOMETRIC.search(text) and r"\degree" in text:
        return None
    if (frame := next((f for f in FRAME.finditer(text) if f.start()), None)) and TAIL_UNIT.fullmatch(text, frame.start()):
        return _scaled(text, text[: frame.start()], text[frame.start() :], inner)
    found = WORD_UNIT.fullmatch(text)
    if (
        found
        and not variables(found[1])
        and (_is_unit(re.split(r"[/^ ]", found[3])[0], spaced=bool(found[2])) or (found[2] and RATE.fullmatch(found[3])))
    ):
        return _scaled(text, found[1], found[3], inner)
    return None


def _is_unit(word: str, *, spaced: bool) -> bool:
    """True for a word outside a text frame that is a unit and no product of variables."""
    if word in SYMBOLS:
        return True
    wordy = re.fullmatch(r"[A-Za-z]?[a-z]{2,}\.?", word) and not PRODUCT.fullmatch(word) and word not in FUNCTIONS
    return spaced and (bool(wordy) or word.rstrip(".") in CANONICAL and len(word) > 1)


def _scaled(text: str, amount: str, unit: str, inner: Reader) -> Value | None:
    if re.search(r"[=+*/^_<>-]\s*$|\\(?:cdot|times|le|ge|ne|in)\s*$", amount):
        return None
    words = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", unit).split()
    if not words or words[0].lower() in NO_UNIT or any(word.lower() in NO_UNIT - {"of"} for word in words):
        return None
    value = inner(amount)
    if value.kind == "quantity" and value.mark == "dollar":  # two signs of one currency, as in \$5 \text{ dollars}
        return replace(value, text=text) if canonical(" ".join(words)) in ("dollar", "usd") else None
    if words[0].lower() in SCALES:
        value = Value("atom", f"({amount})\\cdot {SCALES[words[0].lower()]}")
        words = words[1:]
    elif (tail := re.match(r"^(.*?)\s*(?:\\text\{)?\s*(hundred|thousand|million|billion|trillion)\s*\}?$", amount)) and tail[1]:
        value = Value("atom", f"({tail[1]})\\cdot {SCALES[tail[2]]}")
    return Value("quantity", text, (value,), canonical(" ".join(words))) if words else replace(value, text=value.text)
