"""The value that an answer is read as."""

from collections.abc import Callable
from dataclasses import dataclass


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


Reader = Callable[[str], Value]
"""Reads a part of a formula."""
