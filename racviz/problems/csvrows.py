"""Rows of CSV as many programs write it: other delimiters, Excel's first line, an encoding by its mark."""

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError
from racviz.problems.filekinds import suffixes, text_lines

DELIMITERS = (",", ";", "\t", "|")
SEPARATOR = re.compile(r"\ufeff?\"?sep=(.)\"?\r?\n?", re.IGNORECASE)
"""The line that Excel takes a delimiter from."""
SAMPLE = 64
"""Records that tell a delimiter."""
SCIENTIFIC = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,3}")
LARGEST = 2**15
"""Characters of the beginning in which they are."""
BY_NAME = {".tsv": "\t", ".tab": "\t", ".psv": "|"}
MISSING = ("nan", "NaN", "<NA>")
"""Fields by which pandas and csv.writer say that there is no value."""
KNOWN = ("prompt", "problem", "question", "input", "answer", "solution", "text", "response", "messages")
"""Column names that tell a delimiter where several would do."""


class Numeral(str):
    """A number with an exponent in a table without types; elsewhere such a text is a text."""

    __slots__ = ()


def csv_rows(path: Path, stream: io.BufferedReader, encoding: str, keep_going: bool = False) -> Iterator[tuple[str, Any]]:
    """Rows of a CSV file with their places.

    The delimiter is that of a first line `sep=;`, else the one that splits the header and every row of the beginning alike.

    Raises DataError for text in another encoding, rows that do not fit the header, a column that stands twice, and open quotes.
    With keep_going the DataError of a row that does not fit stands in its place.
    """
    csv.field_size_limit(2**31 - 1)  # a chain of thought is longer than the 131,072 characters that csv takes
    lines = _lines(path, stream, encoding)
    sample, before, delimiter = _begin(path, lines)
    spaced = bool(re.search(rf'[{re.escape(delimiter)}] +"(?!")', "".join(line for line in sample if isinstance(line, str))))
    reader = csv.reader(_again(sample, lines), delimiter=delimiter, skipinitialspace=spaced, strict=True)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]
        names = [name for name in header if name]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise DataError(
                f"{path}, line {before + 1}: the column {twice!r} stands there more than once; rename or remove one."
            )
        for row in filter(None, reader):
            where = f"{path}, line {before + reader.line_num}"
            if failure := _misfit(where, row, len(header), delimiter):
                if not keep_going:
                    raise failure
                yield where, failure
                continue
            yield where, {name: _field(value) for name, value in zip(header, row, strict=True) if name}
    except csv.Error as error:
        raise DataError(
            f"{path}, line {before + reader.line_num}: not CSV: {error}. A quote inside a quoted text is written twice, and a text "
            "that begins with a quote ends with one."
        ) from error


def _misfit(where: str, row: list[str], width: int, delimiter: str) -> DataError | None:
    """The error of a row that does not fit the header, or None."""
    if len(row) != width:
        has = "more" if len(row) > width else "fewer"
        return DataError(f"{where}: it has {has} fields than the first line names; quote {_name(delimiter)} in a text.")
    if any("\0" in value for value in row):
        return DataError(f"{where}: it holds NUL bytes, which no text has; the file is damaged or not UTF-8.")
    return None


def _field(value: str) -> str | None:
    if value in MISSING:
        return None
    return Numeral(value) if SCIENTIFIC.fullmatch(value) else value


def _lines(path: Path, stream: io.BufferedReader, encoding: str) -> Iterator[str]:
    r"""Lines, apart at \n or, as old programs have it, at \r alone."""
    for _, line in text_lines(path, stream, encoding, "CSV in UTF-8"):
        yield from re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", line)


def _begin(path: Path, lines: Iterator[str]) -> tuple[list[str | DataError], int, str]:
    """The first lines, the number of lines before them, and the delimiter. An error among them is raised when it is its turn."""
    sample: list[str | DataError] = []
    size = 0
    try:
        for line in lines:
            if not sample and (said := SEPARATOR.fullmatch(line)):
                return [], 1, said[1]
            sample.append(line)
            size += len(line)
            if size > LARGEST:
                break
    except DataError as error:
        sample.append(error)
    usual = BY_NAME.get(suffixes(path.name)[0], ",")
    return sample, 0, _delimiter([line for line in sample if isinstance(line, str)], usual)


def _delimiter(lines: list[str], usual: str) -> str:
    """The delimiter that splits the header and all rows of the beginning alike, or into known names; else the usual one."""
    heads = {mark: next(csv.reader(lines[:1], delimiter=mark), []) for mark in DELIMITERS}
    fits = [mark for mark in DELIMITERS if _splits(lines, mark)] or [mark for mark in DELIMITERS if len(heads[mark]) > 1]
    named = [mark for mark in fits if {name.strip("\ufeff ").lower() for name in heads[mark]} & set(KNOWN)]
    fits = named or fits
    return usual if usual in fits or not fits else fits[0]


def _splits(lines: list[str], delimiter: str) -> bool:
    try:
        records = [row for row in islice(csv.reader(lines, delimiter=delimiter), SAMPLE) if row]
    except csv.Error:
        return False
    whole = records[:-1] if 2 < len(records) < SAMPLE else records  # the last of a sample may be cut
    return len(whole[0]) > 1 and all(len(row) == len(whole[0]) for row in whole) if whole else False


def _again(sample: list[str | DataError], lines: Iterator[str]) -> Iterator[str]:
    for line in sample:
        if isinstance(line, DataError):
            raise line
        yield line
    yield from lines


def _name(delimiter: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(delimiter, f"{delimiter!r}")
