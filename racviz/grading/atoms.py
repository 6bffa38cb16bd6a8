"""Formulas without parts: plain numbers by value, others by an algebra."""

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Protocol

from racviz.grading.kinds import Value


class Algebra(Protocol):
    """Decisions that need computer algebra."""

    def equal(self, left: str, right: str) -> bool:
        """True for formulas that are equal exactly."""

    def same_equation(self, left: Sequence[str], right: Sequence[str], sign: str) -> bool:
        """True for equations or inequalities with the same solutions."""

    def same_set(self, left: Value, right: Value) -> bool:
        """True for the same set of real numbers."""


def tight(text: str) -> str:
    """Text without the white space that parts neither two letters nor two digits."""
    return re.sub(r"\s+(?![\da-zA-Z])|(?<![\da-zA-Z])\s+", "", text)


def number_of(text: str) -> Fraction | None:
    """The number that a plain decimal or fraction is, exactly; None for other formulas."""
    plain = re.sub(r"^([+-]?)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}$", r"\1\2/\3", text.strip())
    plain = re.sub(r"^([+-])\s*(?=[\d.])", r"\1", plain).removeprefix("+")
    if not re.fullmatch(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:/\d+)?", plain, re.ASCII) or len(plain) > 4000:
        return None
    over, _, under = plain.partition("/")
    try:
        value = Fraction(Decimal(over))
        return value / int(under) if under else value
    except (InvalidOperation, ZeroDivisionError, ValueError):
        return None


def equal_atoms(left: str, right_: str, algebra: Algebra) -> bool:
    """True for equal formulas: plain numbers by value, others by the algebra."""
    if left == right_ or tight(left) == tight(right_):
        return bool(left)
    numbers = number_of(left), number_of(right_)
    return numbers[0] == numbers[1] if None not in numbers else algebra.equal(left, right_)
