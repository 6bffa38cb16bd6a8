"""Cells of a table that should be texts or chats: what they are, and what they are not."""

import json
import re
from collections.abc import Mapping
from typing import Any

from racviz.exceptions import DataError
from racviz.interchange.thoughts import shown

PRINTED = re.compile(r"\s*(array\(\s*)?\[\s*\{\s*'(role|from|content|value)'\s*:.*\}\s*\](,[^\]]*\))?\s*\Z", re.DOTALL)
"""A list of turns as Python or numpy prints it."""
PRINTED_LIST = re.compile(r"\s*(array\(\s*)?\[\s*['\"].*['\"]\s*\](,[^\]]*\))?\s*\Z", re.DOTALL)
PRINTED_OBJECT = re.compile(
    r"\s*\[?(ChatCompletion|ChatCompletionMessage|Choice|Completion|RequestOutput|CompletionOutput|AIMessage|Message)\(\w+="
)
"""Answers of the clients of servers, as Python prints them."""
BARE_CHANNELS = re.compile(r"analysis(?!\s).*assistant(commentary|final)", re.DOTALL)
"""The channels of gpt-oss, decoded without their control tokens."""
PLURAL = ("generations", "responses", "completions", "outputs", "candidates", "resps")
"""Columns that hold several answers."""


def is_chat(value: Any) -> bool:
    """True for a list of turns."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) for turn in value)


def check_text(name: str, value: Any) -> None:
    """Raise DataError for what stands in place of a text: NaN, bytes, and chats, lists and answers as Python prints them."""
    if isinstance(value, float) and value != value:
        raise DataError(f"{name} is NaN, as an empty cell is read, in place of a text.")
    if isinstance(value, bytes | bytearray):
        raise DataError(f"{name} holds bytes that are no UTF-8: {shown(bytes(value))}.")
    if not isinstance(value, str):
        return
    if PRINTED.match(value):
        raise DataError(
            f"{name} holds a chat as Python prints it (a repr, in single quotes), not as JSON; save the list itself, or json.dumps of it."
        )
    if (name in PLURAL and PRINTED_LIST.match(value)) or PRINTED_OBJECT.match(value):
        raise DataError(
            f"{name} holds {shown(value, 40)}, as Python prints a value (its repr), not as JSON; save the text itself."
        )
    if BARE_CHANNELS.match(value):
        raise DataError(
            f"{name} holds the channels analysis and final without their control tokens; decode with special tokens."
        )


def chat_of(value: Any) -> Any:
    """A chat that a text column holds as JSON, or that datasets holds as columns (a list by name); else the value."""
    if isinstance(value, Mapping) and ({"role", "content"} <= set(value) or {"from", "value"} <= set(value)):
        columns = list(value.values())
        if all(isinstance(each, list) for each in columns) and len({len(each) for each in columns}) == 1:
            return [dict(zip(value, turn, strict=True)) for turn in zip(*columns, strict=True)]
    made = _parsed(value)
    return made if _has_roles(made) else value


def answers_of_text(name: str, value: Any) -> Any:
    """Answers that a text column holds as JSON: a list of texts or messages, or the response of a server; else the value.

    An answer that is JSON itself stays a text.
    """
    made = _parsed(value)
    if _has_roles(made) or (name in PLURAL and isinstance(made, list) and all(isinstance(each, str) for each in made)):
        return made
    if isinstance(made, Mapping) and (
        any(isinstance(made.get(key), list) and is_chat(made[key]) for key in ("choices", "candidates", "output"))
        or {"role", "content"} <= set(made)
    ):
        return made
    return value


def _has_roles(value: Any) -> bool:
    return is_chat(value) and all("role" in turn or "from" in turn for turn in value)


def _parsed(value: Any) -> Any:
    """JSON of a list or an object in a text, or None."""
    if isinstance(value, str) and re.match(r"\s*(\[\s*[{\"]|\{\s*\")", value):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return None
