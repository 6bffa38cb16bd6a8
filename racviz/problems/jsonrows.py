"""Rows out of JSON as it is written: a row a line, one array, rows under a key, by column, or one object after the other."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError

TEXTS = ("prompt", "problem", "question", "question_content", "input", "text")
ROW = (*TEXTS, "messages", "conversations", "response", "completion", "prompt_ids", "input_ids", "generations")
"""Columns of problems, texts and traces: an object that has one of them is a row."""

TABLES = ("data", "rows", "problems", "examples", "items", "records", "train", "test")
"""Keys under which an empty list is a table without rows."""
SERVED = {"row_idx", "row", "truncated_cells"}
"""Keys of a row as the hub's rows API wraps it."""


class Written(float):
    """A number of JSON that keeps its digits: 0.10 and 1e400 are not what a float makes of them."""

    text: str

    def __new__(cls, text: str) -> "Written":
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __getnewargs__(self) -> tuple[str]:
        return (self.text,)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!r} more than once")
    return made


SPACE = re.compile(r"\s*")
DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Written)


def parse(where: str, text: str) -> Any:
    """One JSON value. Raises DataError that begins with `where`."""
    try:
        return DECODER.decode(text)
    except RecursionError as error:
        raise DataError(f"{where}: the JSON is nested too deeply.") from error
    except json.JSONDecodeError as error:
        cut = " The file seems to be cut off." if not text.endswith("\n") else ""
        raise DataError(f"{where}: not valid JSON ({error.msg} at column {error.colno}).{cut}") from error
    except ValueError as error:  # an integer of thousands of digits, a key that stands twice
        raise DataError(f"{where}: not usable JSON: {error}.") from error


def json_rows(
    path: Path,
    lines: Iterable[tuple[int, str | DataError]],
    split: str | None = None,
    likely: str | None = None,
    keep_going: bool = False,
) -> Iterator[tuple[str, Any]]:
    """Rows of a JSON file with their places, one at a time where the file has a row a line.

    Parameters
    ----------
    path : Path
        Named in messages.
    lines : iterable of (int, str)
        The file, line by line.
    split : str, optional
        Key of the rows to take where a file holds several tables.
    likely : str, optional
        Key to take among several when `split` is not given.
    keep_going : bool
        Yield a DataError in the place of a line that is not a row, if the file has a row a line; else it is raised.
    """
    rest = ((number, line) for number, line in lines if isinstance(line, DataError) or line.strip())
    first = next(rest, None)
    if first is None:
        return
    complete, late = _complete(first[1]), None
    try:
        second = next(rest, None)
    except DataError as error:  # of the second line, which stops nobody who wants the first alone
        if not complete:
            raise
        second, late = first, error
    by_line = complete and (second is not None or first[1].lstrip()[:1] not in "{[")
    if by_line or (keep_going and second is not None and _begins(first[1]) and _begins(second[1])):  # a row a line
        for number, line in chain([first], () if second is None or late else [second], rest):
            where = f"{path}, line {number}"
            yield where, _parsed(where, line, keep_going)
            if late:
                raise late
        return
    _stop_at(first[1], second and second[1])
    if complete:
        yield from _unwrapped(path, parse(f"{path}, line {first[0]}", first[1]), f"{path}, line {first[0]}", split, likely)
        return
    if first[1].lstrip()[:1] not in "{[" or (second is not None and second[1].lstrip()[:1] == "{" and _complete(second[1])):
        parse(f"{path}, line {first[0]}", first[1])  # which says what is wrong with it
    begins = first[0]
    text = "".join(_stop_at(line) or line for _, line in chain([first], () if second is None else [second], rest))
    documents = list(_documents(path, text, begins))
    if len(documents) == 1:
        yield from _unwrapped(path, documents[0][1], documents[0][0], split, likely)
    elif len({where for where, _ in documents}) == len(documents):
        yield from documents
    else:  # several on one line
        yield from ((f"{path}, row {number}", value) for number, (_, value) in enumerate(documents, 1))


def _begins(line: str | DataError) -> bool:
    """True for a line that begins as a row does, or cannot be read."""
    return isinstance(line, DataError) or line.lstrip()[:1] == "{"


def _parsed(where: str, line: str | DataError, keep_going: bool) -> Any:
    """The value of a line, or the DataError that says why it has none."""
    try:
        _stop_at(line)
        return parse(where, line)
    except DataError as error:
        if not keep_going:
            raise
        return error


def _stop_at(*lines: str | DataError | None) -> None:
    """Raise the first of the lines that cannot be read."""
    for line in lines:
        if isinstance(line, DataError):
            raise line


def _complete(line: str | DataError) -> bool:
    """True for a line that is JSON on its own, usable or not."""
    if isinstance(line, DataError):
        return False
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):
        return True
    return True


def _documents(path: Path, text: str, begins: int) -> Iterator[tuple[str, Any]]:
    """JSON values that follow each other, with the line where each begins."""
    at, line = 0, begins
    while at < len(text):
        before, at = at, SPACE.match(text, at).end()
        if at == len(text):
            return
        line += text.count("\n", before, at)
        where = f"{path}, line {line}"
        try:
            value, end = DECODER.raw_decode(text, at)
        except RecursionError as error:
            raise DataError(f"{where}: the JSON is nested too deeply.") from error
        except json.JSONDecodeError as error:
            cut = " The file seems to be cut off." if not text[error.pos :].strip() else ""
            raise DataError(
                f"{path}, line {begins + error.lineno - 1}: not valid JSON ({error.msg} at column {error.colno}).{cut}"
            ) from error
        except ValueError as error:
            raise DataError(f"{where}: not usable JSON: {error}.") from error
        yield where, value
        line += text.count("\n", at, end)
        at = end


def _unwrapped(path: Path, value: Any, where: str, split: str | None, likely: str | None) -> Iterator[tuple[str, Any]]:
    """The rows of a file that is one JSON value; an object that is a row stays one."""
    rows = value if isinstance(value, list) else _rows_of(path, value, split, likely) if isinstance(value, dict) else None
    if rows is None:
        yield where, value
        return
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number}", row


def _rows_of(path: Path, value: dict[str, Any], split: str | None, likely: str | None) -> list[Any] | None:
    """The rows in an object, or None where it is a row itself."""
    if (by_column := _by_column(value)) is not None:
        return by_column
    if set(ROW) & set(value):
        return None
    tables = {key: each for key, each in value.items() if _is_rows(each)}
    if "features" in tables and all(set(row) <= SERVED for row in tables.get("rows", [{"": 0}])):
        del tables["features"]  # of the hub's rows API
    named = split or (likely if likely in tables else None)
    if len(tables) > 1:
        if named not in tables:
            raise DataError(f"{path} holds several tables: {', '.join(tables)}. Name one by ?split=… after the file's name.")
        return [_served(path, row) for row in tables[named]]
    if tables:
        return [_served(path, row) for row in next(iter(tables.values()))]
    if any(value.get(name) == [] for name in TABLES):
        return []
    inner = [each for each in value.values() if isinstance(each, dict)]
    if len(inner) == 1 and not set(ROW) & set(inner[0]):
        return _rows_of(path, inner[0], split, likely)
    if value and len(inner) == len(value) and set.intersection(*map(set, inner)) & set(ROW):  # a record under each id
        return [{"id": key, **row} for key, row in value.items()]
    return None


def _is_rows(value: Any) -> bool:
    """True for a list of objects that is not a chat."""
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        return False
    return not all({"role", "content"} <= set(row) or {"from", "value"} <= set(row) for row in value)


def _served(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    """A row as the hub's rows API wraps it, or as it is. Raises DataError for cells that the API cut."""
    if set(row) <= SERVED and isinstance(row.get("row"), dict):
        if row.get("truncated_cells"):
            cells = ", ".join(map(str, row["truncated_cells"]))
            raise DataError(
                f"{path}: the server cut the cells {cells} of row {row.get('row_idx')}; download the data set's files."
            )
        return row["row"]
    return row


def _by_column(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Rows out of columns, as pandas and datasets write them: lists of one length, objects by row number, or columns and data."""
    columns, data = value.get("columns"), value.get("data")
    if set(value) <= {"columns", "index", "data"} and isinstance(columns, list) and isinstance(data, list):
        if all(isinstance(row, list) and len(row) == len(columns) for row in data) and len(set(map(str, columns))) == len(
            columns
        ):
            return [dict(zip(map(str, columns), row, strict=True)) for row in data]
        return None
    parts = list(value.values())
    named = [value[name] for name in TEXTS if name in value]
    if not parts:
        return None
    if all(isinstance(each, list) for each in parts) and len({len(each) for each in parts}) == 1 and parts[0]:
        if any(all(isinstance(text, str) for text in each) for each in named):
            return [dict(zip(value, row, strict=True)) for row in zip(*parts, strict=True)]
        return None
    if all(isinstance(each, dict) and each for each in parts) and named:
        numbers = list(parts[0])
        if all(list(each) == numbers for each in parts) and all(re.fullmatch(r"\d+", number) for number in numbers):
            return [{name: column[number] for name, column in value.items()} for number in numbers]
    return None
