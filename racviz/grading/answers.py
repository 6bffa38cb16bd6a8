"""Is this answer right? The last \\boxed{…} or the whole answer; exact but for white space and TeX's spacing, numbers by value."""

import re
from decimal import Decimal, InvalidOperation

THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")


def grade(answer: str | None, key: str) -> bool:
    """Whether `answer` (the text after the thought; None where the thought never ended) is `key`."""
    if answer is None:
        return False
    boxed = last_boxed(answer)
    answer, key = _plain(answer if boxed is None else boxed), _plain(key)
    if answer == key:
        return True
    try:
        return _number(answer) == _number(key)
    except InvalidOperation:
        return False


SPACING = re.compile(r"\\[!,;: ]|\$|\\\$")
WORDED = re.compile(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}")


def _plain(text: str) -> str:
    """Without dollar signs, TeX's spaces, the frames of words in formulas, and folded white space; `{,}` is a comma."""
    text = (
        WORDED.sub(r"\1", SPACING.sub("", text.replace("{,}", ","))).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    )
    return " ".join(text.split())


def last_boxed(text: str) -> str | None:
    """What stands in the last \\boxed{…} or \\fbox{…}, its inner braces balanced; None where there is none, or it was not closed."""
    start = max(
        text.rfind(f"\\{command}{{") + len(command) + 2 if f"\\{command}{{" in text else -1 for command in ("boxed", "fbox")
    )
    if start < 0:
        return None
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0) if text[place - 1] != "\\" else 0
        if depth == 0:
            return text[start:place]
    return None


BASE = re.compile(r"_\{?(\d+)\}?\s*$")


def same_base(answer: str, key: str) -> bool:
    """False where an answer names another base than a key such as 52_8, which math-verify overlooks."""
    wanted, boxed = BASE.search(_plain(key)), last_boxed(answer)
    found = BASE.search(_plain(answer if boxed is None else boxed).rstrip(". "))
    return wanted is None or found is None or found[1] == wanted[1]


def _number(text: str) -> Decimal:
    """`1,234.50` is a number, `1,2` is none: commas count only where they part thousands."""
    return Decimal(text.replace(",", "") if THOUSANDS.fullmatch(text) else text)
