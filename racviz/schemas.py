"""Schemas of the files that racviz writes and reads again, checked once where a file is opened.

JSON is checked by msgspec, columns by vectorised functions of pyarrow. One sentence names file, row, field, got and allowed.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from racviz.errors import DataError

TOKEN_LIMIT = 2**31 - 1
"""Token ids, positions and samples fit into 32 bits everywhere."""
SHOWN = 80


class ErrorsLabel(msgspec.Struct, frozen=True):
    """The label of an errors file; files of earlier versions lack some of it."""

    model: str | None = None
    metric: str | None = None
    domain: str | None = None
    method: str | None = None
    mode: str | None = None
    layer: str | int | None = None
    sparsity: Annotated[float, msgspec.Meta(ge=0, le=1)] | str | None = None
    """Text where the models differ in it."""
    seed: int | str | None = None
    rollouts: int | None = None
    rollouts_by: str | None = None
    calibration_tokens: int | str | dict[str, int | None] | None = None
    """A number, or one a model; None for a model that another tool pruned."""


class EvaluationLabel(msgspec.Struct, frozen=True):
    """The label of an evaluation."""

    model: str | None = None


class TracesLabel(msgspec.Struct, frozen=True):
    """The label of a traces file."""

    tokenizer: str
    model: str = ""
    model_fingerprint: str = ""
    sampling: dict[str, Any] = {}


class CalibrationLabel(msgspec.Struct, frozen=True):
    """The label of a calibration file."""

    source: str
    problems: list[str]
    label: dict[str, Any]


class CalibrationOfModel(msgspec.Struct, frozen=True):
    """The calibration of a pruned model in its racviz.json."""

    problems: list[str] = []


class Provenance(msgspec.Struct, frozen=True):
    """The content of racviz.json beside a model, as far as racviz reads it."""

    name: str = ""
    fingerprint: str = ""
    base: str = ""
    base_fingerprint: str = ""
    prune: dict[str, Any] = {}
    calibration: CalibrationOfModel = CalibrationOfModel()
    sparsity: float = 0.0
    sparsity_all: float = 0.0


TokenId = Annotated[int, msgspec.Meta(ge=0, le=TOKEN_LIMIT)]
Whole = Annotated[int, msgspec.Meta(ge=0)]


class JournalRow(msgspec.Struct, frozen=True):
    """A line of a journal: a completion and its place among the requests."""

    row: Whole
    output_ids: list[TokenId]
    finish_reason: str


class Progress(msgspec.Struct, frozen=True):
    """progress.json of a workspace."""

    identity: str
    done: Whole
    rows: list[dict[str, Any]]
    hashes: dict[str, str]


class PyramidMeta(msgspec.Struct, frozen=True):
    """meta.json of an explorer's pyramid."""

    made_of: dict[str, int | None]
    problems: list[str]
    lengths: list[Whole]
    t_in: list[Whole]
    columns: Whole
    names: list[str]
    unusable: Whole
    vocabulary: dict[str, str]
    label: dict[str, Any]
    sequences: str


class CalibrationOfMoments(msgspec.Struct, frozen=True):
    """The calibration set of second moments."""

    tokens: Whole
    fingerprint: str
    problems: list[str]


class MomentsLabel(msgspec.Struct, frozen=True):
    """The label of a file of second moments."""

    groups: dict[str, str]
    tokens: dict[str, tuple[Whole, Whole]]
    model: str
    calibration: CalibrationOfMoments


Scalar = str | int | float | bool | None


class CellEntry(msgspec.Struct, frozen=True):
    """A line of cells.jsonl."""

    key: str
    cell: str
    row: dict[str, Scalar] | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET


Axes = dict[str, Scalar | list[Scalar | list[Scalar]]]


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


ERRORS = (
    Column("problem_id", "text or whole", nullable=True),
    Column("position", "whole", 0, TOKEN_LIMIT),
    Column("phase", "text", nullable=True),
)
EVALUATION = (
    Column("problem_id", "text"),
    Column("correct", "truth"),
    Column("think_tokens", "number", 0, TOKEN_LIMIT),
    Column("sample", "whole", 0, TOKEN_LIMIT, required=False),
    Column("output_tokens", "whole", 0, TOKEN_LIMIT, required=False),
    Column("finish_reason", "text", required=False),
)
TRACES = (
    Column("problem_id", "text"),
    Column("sample", "whole", 0, TOKEN_LIMIT),
    Column("prompt_ids", "lists of whole", 0, TOKEN_LIMIT),
    Column("output_ids", "lists of whole", 0, TOKEN_LIMIT),
    Column("finish_reason", "text"),
    Column("content_hash", "text", required=False),
)
COMPLETIONS = (Column("output_ids", "lists of whole", 0, TOKEN_LIMIT), Column("finish_reason", "text"))
CALIBRATION = (
    Column("token_ids", "lists of whole", 0, TOKEN_LIMIT),
    Column("phases", "lists of whole", 0, 127),
    Column("weights", "lists of number", 0),
)


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


def check_table(table: Any, columns: tuple[Column, ...], file: object) -> None:
    """Raise DataError for the first column of an arrow table that is not what the schema says."""
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise wrong(file, None, twice[0], "two columns", "one column")
    if missing := [column.name for column in columns if column.required and column.name not in names]:
        kinds = ((TRACES, "a traces"), (ERRORS, "an errors"), (EVALUATION, "an evaluation"), (CALIBRATION, "a calibration"))
        kind = next((name for schema, name in kinds if schema is columns), "a")
        raise DataError(f"{file} is not {kind} file of racviz: it lacks the columns {', '.join(missing)}.")
    for column in columns:
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


def parsed_cell(line: str, file: object, number: int) -> dict[str, Any]:
    """An entry of cells.jsonl. Raises JSONDecodeError for a line that was cut off, DataError for one that is whole and is no entry."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise wrong(file, number, "the line", line[: SHOWN + 1], "an object that is not nested too deep") from error
    cell = checked(entry, CellEntry, file, number, "the line")
    for name in ("minutes", "timed_problems"):
        value = cell.row.get(name) if isinstance(cell.row, dict) else None
        if isinstance(value, str):
            raise wrong(file, number, f"row.{name}", value, "a number")
    return entry


def checked_grid(grid: Any, file: object) -> Any:
    """A grid as it is, its values plain. Raises DataError for dates, keys that are no texts, and deep nesting."""
    for row, each in enumerate(grid if isinstance(grid, list) else [grid], 1):
        checked(each, Axes, file, row if isinstance(grid, list) else None, "the grid")
    return grid
