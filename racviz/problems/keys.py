"""Keys as data sets store them, made into the one text that grading compares.

A list of several values is one key: all of them are wanted, in any order.
"""

import ast
import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from racviz.exceptions import DataError
from racviz.problems.csvrows import Numeral
from racviz.problems.jsonrows import Written

THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
QUOTED_LIST = re.compile(r"\s*\[\s*['\"]")
BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])[ \t]*(?:\{|(-?[\d.,/]*\d|[A-Za-z](?![A-Za-z])))")
"""A box, or a number or letter boxed without braces."""
LONGEST = 80
"""Characters of a solution that may be an answer itself."""
FINAL = re.compile(r"^####[ \t]*(\S.*?)\s*\Z", re.MULTILINE)
"""The last line of a derivation in GSM8K."""


def key_text(value: Any, column: str, where: str) -> str:
    """The key as text; empty where there is none (null, NaN, an empty list).

    Parameters
    ----------
    value : object
        A text, a number, a truth value, bytes of UTF-8, or a list of these, at most one level of which holds several.
    column : str
        Name of its column, for messages.
    where : str
        File and row, for messages.

    Raises
    ------
    DataError
        For an object, bytes that are not text, a list with a missing value, and lists of several in a list of several.
    """
    value = plain(value)
    if isinstance(value, str) and (texts := _written_list(value)) is not None:
        value = texts
    if isinstance(value, list):
        return _list_text(value, column, where)
    text = scalar_text(value)
    if text is None:
        raise refused(value, column, where)
    return text


def _written_list(text: str) -> list[Any] | None:
    """The list that a text is, as tables without lists write it: `['1', '2']`; None for other texts, such as the interval `[1, 2]`."""
    if not QUOTED_LIST.match(text) or len(text) > 10_000:
        return None
    try:
        values = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return values if isinstance(values, list) and all(isinstance(each, str) for each in values) else None


def plain(value: Any) -> Any:
    """Arrays and scalars of numpy, and tuples, as lists and scalars of Python; a float32 by its own digits."""
    if type(value).__module__ == "numpy":
        if getattr(value, "shape", None) == () and value.dtype.kind == "f" and value.dtype.itemsize < 8:
            return float(str(value[()]))
        return plain(value.tolist()) if hasattr(value, "tolist") else value
    if isinstance(value, tuple) and not any(isinstance(each, tuple) for each in value):
        return list(value)
    return value


def refuse_number_of_choice(value: Any, column: str, where: str, row: Mapping[str, Any]) -> None:
    """Raise DataError for a number beside choices, which may be one of them or its place."""
    options = next((name for name in row if str(name).lower() in ("choices", "options") and plain(row[name])), None)
    number = isinstance(value, int | Written) and not isinstance(value, bool)
    if options is not None and isinstance(value, str) and re.fullmatch(r"\s*\d{1,2}\s*", value):
        number = int(value) <= len(plain(row[options]))  # a larger one is no place
    if options is not None and number:
        raise DataError(
            f"{where}: {column!r} is {scalar_text(value)!s:.40} beside {options!r}: the number of a choice, or the answer itself? Write "
            f"the letter or the text, or pass ?answer={column} where it is the answer itself."
        )


def is_missing(value: Any) -> bool:
    """True for null, NaN, an empty text and an empty list."""
    value = plain(value)
    if isinstance(value, list):
        return all(is_missing(each) for each in value)
    if isinstance(value, Mapping):
        return False
    return scalar_text(value) == ""


def scalar_text(value: Any) -> str | None:
    """The text of a value that is not a collection; None for one that has none. Numbers are written without an exponent."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return scalar_text(bytes(value).decode("utf-8"))
        except UnicodeDecodeError:
            return None
    if isinstance(value, str):
        return _positional(value) if isinstance(value, Numeral) else value
    if isinstance(value, Written):
        return _positional(value.text)
    if isinstance(value, float):
        return "" if math.isnan(value) else _positional(repr(value))
    if isinstance(value, Decimal):
        return "" if value.is_nan() else _positional(str(value))
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return None
    return str(value)


def _positional(text: str) -> str:
    """A decimal number without exponent, and without a fraction that is zero; infinity as TeX has it."""
    try:
        number = Decimal(text.replace("Infinity", "inf"))
    except InvalidOperation:
        return text
    if number.is_nan():
        return ""
    if number.is_infinite():
        return "\\infty" if number > 0 else "-\\infty"
    if abs(number.adjusted()) > 1000:  # digits that nobody reads
        return text
    whole = f"{number:f}"
    return whole.rstrip("0").rstrip(".") if "." in whole and number == number.to_integral_value() else whole


def _list_text(values: list[Any], column: str, where: str) -> str:
    if any(isinstance(each, Mapping | tuple) for each in values):
        raise refused(values, column, where)
    values = [plain(each) for each in values]
    if not values or (len(values) == 1 and is_missing(values[0])):
        return ""
    if len(values) == 1:
        return key_text(values[0], column, where)
    if any(isinstance(each, list) and len(each) > 1 for each in values):
        raise DataError(
            f"{where}: {column!r} holds lists in a list, {_shown(values)}: pairs, or alternatives? Write each as a text, such as "
            f"'(1, 2)'. {_name_another(column)}"
        )
    texts = [key_text(each, column, where) for each in values]
    if not all(text.strip() for text in texts):
        raise DataError(f"{where}: {column!r} holds a list with a missing value, {_shown(values)}. {_name_another(column)}")
    return ", ".join(_part(text.strip()) for text in texts)


def _part(text: str) -> str:
    """One of several values: without commas between thousands, and in brackets where it has commas of its own."""
    if THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0 and text[at - 1 : at] != "\\" and text[at : at + 2] != ",\\":
            return f"({text})"
    return text


def refused(value: Any, column: str, where: str) -> DataError:
    """The error of a value that is neither text nor number nor a list of these."""
    kind = (
        "bytes that are not UTF-8"
        if isinstance(value, bytes)
        else "an object"
        if isinstance(value, Mapping)
        else "a list of objects"
    )
    dotted = next((f" (or ?{{}}={column}.{name})" for name in value), "") if isinstance(value, Mapping) else ""
    return DataError(
        f"{where}: {column!r} holds {kind}, {_shown(value)}; a text, a number or a list of these is wanted. "
        f"{_name_another(column, dotted)}"
    )


def _name_another(column: str, dotted: str = "", field: str = "answer") -> str:
    return f"Another column is named by ?{field}=… after the file's name{dotted.format(field)}, or by columns={{{field!r}: …}}."


def named(row: Mapping[str, Any]) -> str:
    """Names of columns for a message: printable, and not without end."""
    names = ["".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(name)[:60]) for name in row]
    return ", ".join(names[:30] + (["…"] if len(names) > 30 else [])) or "none"


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 120 else f"{shown[:118]} …"


def final_answer(text: str, worked: bool = False) -> str:
    """The answer in a key with a derivation: after `####` in the last line (GSM8K), or in its box; else the text.

    Of several boxes in one line all are wanted; in a worked solution, or over several lines, the last is the answer (MATH).
    """
    if found := FINAL.search(text):
        return found[1]
    boxes = [box for box in dict.fromkeys(boxed(text)) if box.strip()]
    if not boxes:
        return text
    return boxes[-1] if worked or len(boxes) == 1 or "\n" in text.strip() else ", ".join(map(_part, boxes))


def boxed(text: str) -> list[str]:
    """Contents of all closed boxes, their inner braces balanced."""
    boxes = []
    for opened in BOX.finditer(text):
        if opened[1]:
            boxes.append(opened[1])
            continue
        depth, at = 1, opened.end()
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0) if text[at - 1] != "\\" else 0
            at += 1
        if not depth:
            boxes.append(text[opened.end() : at - 1])
    return boxes


def is_worked(text: str) -> bool:
    """True for a solution in sentences, which no answer equals."""
    return "\n" in text.strip() or len(text) > LONGEST


def difficulty_of(value: Any, where: str, asked: bool) -> int:
    """A number; 0 for a column with words in it that nobody asked for."""
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError) as error:
        if asked:
            raise DataError(f"{where}: 'difficulty' must be an integer; not {value!r}.") from error
        return 0
