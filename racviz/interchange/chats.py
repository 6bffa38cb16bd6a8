"""Cells of a table that should be texts or chats: what they are, and what they are not."""

import json
import re
from collections.abc import Mapping
from typing import Any

from racviz.errors import DataError
from racviz.interchange.thoughts import shown

PRINTED = re.compile(r"\s*(array\(\s*)?\[\s*\{\s*'(role|from|content|value)'\s*:.*\}\s*\](,[^\]]*\))?\s*\Z", re.DOTALL)
"""A list of turns as Python or numpy prints it."""


def is_chat(value: Any) -> bool:
    """True for a list of turns."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) for turn in value)


def check_text(name: str, value: Any) -> None:
    """Raise DataError for what stands in place of a text: NaN, bytes, and chats as Python prints them."""
    if isinstance(value, float) and value != value:
        raise DataError(f"{name} is NaN, as an empty cell is read, in place of a text.")
    if isinstance(value, bytes | bytearray):
        raise DataError(f"{name} holds bytes that are no UTF-8: {shown(bytes(value))}.")
    if isinstance(value, str) and PRINTED.match(value):
        raise DataError(
            f"{name} holds a chat as Python prints it (a repr, in single quotes), not as JSON; save the list itself, or json.dumps of it."
        )


def chat_of_text(value: Any) -> Any:
    """A list that a text column holds as JSON, as tables without lists have them; else the value."""
    if isinstance(value, str) and re.match(r"\s*\[\s*\{", value):
        try:
            made = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return made if is_chat(made) and all("role" in turn or "from" in turn for turn in made) else value
    return value
