"""Generic text: the packaged documentation, files of one's own, C4 and other data sets of the hub."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from racviz import hub
from racviz.exceptions import DataError, unknown
from racviz.problems.filekinds import read_text
from racviz.problems.keys import named
from racviz.problems.tables import SUFFIXES, Row, Table, file_rows, folder_rows, hub_rows
from racviz.store import resource

HUB = {"c4": ("allenai/c4", "en"), "wikitext": ("Salesforce/wikitext", "wikitext-103-raw-v1")}
"""Data sets of text by a short name: id and config."""


def load_texts(name: str | Path = "", *, seed: int = 0) -> Iterable[str]:
    """Texts by name.

    name: empty for the packaged documentation text; a text file (paragraphs apart by a blank line); a JSON, CSV or Parquet file
    or a folder that `datasets` saved, with a column `text`; files may be compressed; `c4`, `wikitext` or a hub id owner/name,
    streamed in an order drawn by `seed`, so that only what is read is downloaded. Another column is named by ?text=… after the name.

    Raises DataError for a file that is missing or not UTF-8, a missing column (lists those that are there), or a hub that cannot
    be reached; ParameterError for a name that is none of these.
    """
    if not str(name):
        return generic_texts()
    table = Table.parse(name, ("text", "config", "split"))
    column = table.options.get("text", "text")
    path = Path(table.name)
    named, likely = table.options.get("split"), "train"
    if table.is_saved:
        return [_text(row, where, column) for where, row in folder_rows(path, named, likely)]
    if (path.is_file() or path.suffix == ".txt") and not table.name.lower().endswith(SUFFIXES):
        paragraphs = _paragraphs(path)
        if paragraphs is not None:
            return paragraphs
    if table.is_file:
        return [_text(row, where, column) for where, row in file_rows(path, named, likely)]
    if table.name in HUB or hub.is_id(table.name):
        known = dict(HUB.values())
        id_, config = HUB.get(table.name, (table.name, known.get(table.name)))
        options = {key: value for key, value in table.options.items() if key != "text"}
        return _stream(
            hub_rows(Table(id_, table.revision, options), "train", config=config, shuffled=seed, known=tuple(known)), column
        )
    if "/" in table.name or path.suffix:
        raise DataError(f"generic_text: the file {name} does not exist.")
    raise unknown("generic_text", str(name), HUB, "Or pass a text, JSONL, CSV or Parquet file, or a hub id owner/name.")


def _stream(rows: Iterator[Row], column: str) -> Iterator[str]:
    for where, row in rows:
        if text := _text(row, where, column).strip():
            yield text


def _text(row, where: str, column: str) -> str:
    if not isinstance(row, dict) or not isinstance(row.get(column), str):
        here = named(row) if isinstance(row, dict) else "none"
        raise DataError(f"{where}: not a row with the column {column!r}, a text; it has {here}. Another is named by ?text=…")
    return row[column]


def _paragraphs(path: Path) -> list[str] | None:
    """Parts of a text file that blank lines keep apart; None where the file holds a table."""
    if not path.is_file():
        raise DataError(f"generic_text: the file {path} does not exist.")
    content = read_text(path)
    if content is None:
        return None
    return [part for part in content.replace("\r\n", "\n").replace("\r", "\n").split("\n\n") if part.strip()]


def generic_texts() -> list[str]:
    """The packaged generic English: topics of CPython's language reference that trained no embedded model."""
    path = resource("data/texts/python-topics.jsonl")
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").split("\n") if line]
