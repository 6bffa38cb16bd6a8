"""Schemas of the files that racviz writes and reads again, checked once where a file is opened.

JSON is checked by msgspec, columns by vectorised functions of pyarrow. One sentence names file, row, field, got and allowed.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from racviz.exceptions import DataError

SHOWN = 80


@dataclass(frozen=True)
class Column:
    """A column of a parquet file: a family of types and the range of its values, or of the values of its lists."""

    name: str
    family: str
    """`text`, `whole`, `text or whole`, `number`, `truth`, or `lists of whole` and `lists of number`."""
    low: float | None = None
    high: float | None = None
    required: bool = True
    nullable: bool = False


@dataclass(frozen=True)
class Columns:
    """The columns of a kind of file, with its name for messages."""

    kind: str
    columns: tuple[Column, ...]


ANY_COLUMNS = Columns("a parquet", ())


def shortened(value: object) -> str:
    """A value as one short printable line."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (RecursionError, ValueError):  # nested too deep, or an integer of too many digits
        text = f"a {type(value).__name__} too large to show"
    return ascii(text[:SHOWN])[1:-1] + ("…" if len(text) > SHOWN else "")


def wrong(file: object, row: int | None, field: str, got: object, allowed: str) -> DataError:
    """The one sentence of all schemas. row counts from 1."""
    where = f"{file}, row {row}" if row is not None else f"{file}"
    return DataError(f"{where}: {shortened(field)} must be {allowed}; not {shortened(got)}.")


def checked(value: Any, schema: Any, file: object, row: int | None = None, field: str = "the content") -> Any:
    """A value converted as its schema says. Raises DataError."""
    try:
        return msgspec.convert(value, schema)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        reason, _, path = str(error).partition(" - at ")
        allowed = "as its schema says"
        if reason.startswith("Expected "):
            allowed = reason[len("Expected ") :].split(", got")[0].replace("`", "")
        elif reason.startswith("Object missing required field "):
            allowed = f"an object with the field {reason.rsplit(' ', 1)[1].strip('`')}"
        name = path.strip("`").removeprefix("$").lstrip(".") or field
        raise wrong(file, row, name, _at(value, path), allowed) from error


def _at(value: Any, path: str) -> Any:
    """The value at a path of msgspec such as `$.sampling.seed`, as far as the path names keys."""
    for part in path.strip("`").removeprefix("$").strip(".").split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
    return value


def loaded_json(text: bytes | str, file: object, row: int | None = None, field: str = "the label") -> Any:
    """Parse JSON. Raises DataError for text that is none or is nested too deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raw = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        raise wrong(file, row, field, raw[: SHOWN + 1], "JSON that is not nested too deep") from error


def checked_label(table: Any, schema: Any, file: object) -> dict[str, Any]:
    """The label in the metadata of an arrow table. Raises DataError."""
    label = loaded_json((table.schema.metadata or {}).get(b"racviz", b"{}"), file)
    if not isinstance(label, dict):
        raise wrong(file, None, "the label", label, "an object")
    checked(label, schema, file, field="the label")
    return label


def unreadable() -> tuple[type[Exception], ...]:
    """The exceptions of pyarrow, pandas and datasets for columns that they cannot turn into rows."""
    import pyarrow as pa

    return (
        pa.ArrowException,
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
        AttributeError,
        IndexError,
        SyntaxError,
        OverflowError,
    )


@contextlib.contextmanager
def readable_columns(file: object) -> Iterator[None]:
    """Turn whatever pyarrow and pandas raise of odd columns into a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except unreadable() as error:
        raise DataError(f"{file} holds columns that cannot be read: {shortened(str(error))}") from error


def check_table(table: Any, schema: Columns, file: object) -> None:
    """Raise DataError for the first column of an arrow table that is not what the schema says."""
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise wrong(file, None, twice[0], "two columns", "one column")
    if missing := [column.name for column in schema.columns if column.required and column.name not in names]:
        raise DataError(f"{file} is not {schema.kind} file of racviz: it lacks the columns {', '.join(missing)}.")
    for column in schema.columns:
        if column.name in names:
            _check_column(table.column(column.name), column, file)


def _check_column(values: Any, column: Column, file: object) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = column.family.startswith("lists of ")
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if pa.types.is_null(kind) and (column.nullable or not len(values)):
        return
    if values.null_count and not column.nullable:
        raise wrong(file, pc.index(values.is_null(), True).as_py() + 1, column.name, None, f"{column.family}, not null")
    if lists:
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            raise wrong(file, None, column.name, f"a column of {kind}", column.family)
        rows, values, kind = pc.list_parent_indices(values), pc.list_flatten(values), kind.value_type
        if pa.types.is_null(kind) and not len(values):
            return
    family = column.family.removeprefix("lists of ")
    if not _is_family(kind, family):
        raise wrong(file, None, column.name, f"a column of {'lists of ' * lists}{kind}", column.family)
    bad = _outside(values, column) if family in ("whole", "number") else values.is_null() if lists else None
    if bad is not None and pc.any(bad).as_py():
        at = pc.index(bad, True).as_py()
        row = rows[at].as_py() if lists else at
        ends = f" from {column.low or 0:g}" + (f" to {column.high:.0f}" if column.high is not None else "")
        raise wrong(file, row + 1, column.name, values[at].as_py(), column.family + ends)


def _is_family(kind: Any, family: str) -> bool:
    import pyarrow as pa

    whole, text = pa.types.is_integer(kind), pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return {
        "text": text,
        "text or whole": text or whole,
        "whole": whole,
        "number": whole or pa.types.is_floating(kind),
        "truth": pa.types.is_boolean(kind),
    }[family]


def _outside(values: Any, column: Column) -> Any:
    """A mask of the values that are null, not finite, or out of range; None where two extremes show that there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    floating = pa.types.is_floating(values.type)
    bad = values.is_null()
    if floating:
        bad = pc.or_(bad, pc.invert(pc.fill_null(pc.is_finite(values), True)))
    elif not values.null_count:
        ends = pc.min_max(values).as_py()
        fits = (column.low is None or ends["min"] is None or ends["min"] >= column.low) and (
            column.high is None or ends["max"] is None or ends["max"] <= column.high
        )
        if fits:
            return None
    # compared as float64: a bound may not fit into the column's own type
    as_float = pc.cast(values, pa.float64(), safe=False)
    for bound, compare in ((column.low, pc.less), (column.high, pc.greater)):
        if bound is not None:
            bad = pc.or_(bad, pc.fill_null(compare(as_float, float(bound)), True))
    return bad
