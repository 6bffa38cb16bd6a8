"""Is this answer right? The last \\boxed{…} or the whole answer; exact but for white space and TeX's spacing, numbers by value."""

import re
from decimal import Decimal, InvalidOperation

from racviz.grading.boxes import final_boxes

THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")


def grade(answer: str | None, key: str) -> bool:
    """Whether `answer` (the text after the thought; None where the thought never ended) is `key`."""
    if answer is None:
        return False
    boxed = final_boxes(answer)
    key = _plain(key)
    plains = {_plain(text) for text in boxed or [answer]}
    if len(plains) > 1:  # several boxes are one answer only if they hold the same
        return False
    answer = plains.pop()
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


def _number(text: str) -> Decimal:
    """`1,234.50` is a number, `1,2` is none: commas count only where they part thousands."""
    if "_" in text:  # Decimal reads 52_8 as 528
        raise InvalidOperation
    return Decimal(text.replace(",", "") if THOUSANDS.fullmatch(text) else text)
