"""Exact grading: the last \\boxed{…} or the whole answer is the key but for white space and TeX's spacing; numbers by value."""

import re
from decimal import Decimal, InvalidOperation

from racviz.grading.boxes import final_boxes
from racviz.problems.keys import THOUSANDS


def grade(answer: str | None, key: str) -> bool:
    """Exact verdict on an answer.

    Parameters
    ----------
    answer
        The text after the thought; None where the thought never ended.
    key
        The wanted value.

    Returns
    -------
    bool
        True if every box of the final answer, or the whole text without a box, is the key.
    """
    if answer is None:
        return False
    boxed = final_boxes(answer)  # several boxes are one answer only if each of them is the key
    return all(_same(_plain(text), _plain(key)) for text in boxed or [answer])


def _same(answer: str, key: str) -> bool:
    if answer == key:
        return True
    try:
        return _number(answer) == _number(key)
    except InvalidOperation:
        return False


SPACING = re.compile(r"\\[!,]|\$|\\\$")
WIDE = re.compile(r"\\[;: ]")
WORDED = re.compile(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}")


def _plain(text: str) -> str:
    """Text without dollar signs, TeX's spaces, the frames of words in formulas, and folded white space; `{,}` is a comma."""
    text = (
        WORDED.sub(r"\1", SPACING.sub("", WIDE.sub(" ", text.replace("{,}", ","))))
        .replace("\\dfrac", "\\frac")
        .replace("\\tfrac", "\\frac")
    )
    return " ".join(text.split())


def _number(text: str) -> Decimal:
    """The number in a text: `1,234.50` is one, `1,2` is not, since commas count only where they part thousands."""
    if "_" in text:  # Decimal reads 52_8 as 528
        raise InvalidOperation
    return Decimal(text.replace(",", "") if THOUSANDS.fullmatch(text) else text)
