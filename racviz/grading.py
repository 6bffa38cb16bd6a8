"""Is this answer right? The last \\boxed{…} or the whole answer; exact after folding white space, numbers by value."""

import re
from decimal import Decimal, InvalidOperation

THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")


def grade(answer: str | None, key: str) -> bool:
    """Whether `answer` (the text after the thought; None where the thought never ended) is `key`."""
    if answer is None:
        return False
    boxed = re.findall(r"\\boxed\{([^{}]*)\}", answer)
    answer = boxed[-1] if boxed else answer
    answer, key = " ".join(answer.split()), " ".join(key.split())
    if answer == key:
        return True
    try:
        return _number(answer) == _number(key)
    except InvalidOperation:
        return False


def _number(text: str) -> Decimal:
    """`1,234.50` is a number, `1,2` is none: commas count only where they part thousands."""
    return Decimal(text.replace(",", "") if THOUSANDS.fullmatch(text) else text)
