"""The kinds of files that racviz writes: their labels, lines and columns, as schemas."""

import json
from typing import Annotated, Any

import msgspec

from racviz.store.schemas import SHOWN, Column, Columns, checked, wrong

TOKEN_LIMIT = 2**31 - 1
"""Token ids, positions and samples fit into 32 bits everywhere."""


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


ERRORS = Columns(
    "an errors",
    (
        Column("problem_id", "text or whole", nullable=True),
        Column("position", "whole", 0, TOKEN_LIMIT),
        Column("phase", "text", nullable=True),
    ),
)
EVALUATION = Columns(
    "an evaluation",
    (
        Column("problem_id", "text"),
        Column("correct", "truth"),
        Column("think_tokens", "number", 0, TOKEN_LIMIT),
        Column("sample", "whole", 0, TOKEN_LIMIT, required=False),
        Column("output_tokens", "whole", 0, TOKEN_LIMIT, required=False),
        Column("finish_reason", "text", required=False),
    ),
)
TRACES = Columns(
    "a traces",
    (
        Column("problem_id", "text"),
        Column("sample", "whole", 0, TOKEN_LIMIT),
        Column("prompt_ids", "lists of whole", 0, TOKEN_LIMIT),
        Column("output_ids", "lists of whole", 0, TOKEN_LIMIT),
        Column("finish_reason", "text"),
        Column("content_hash", "text", required=False),
    ),
)
COMPLETIONS = Columns(
    "a completions", (Column("output_ids", "lists of whole", 0, TOKEN_LIMIT), Column("finish_reason", "text"))
)
CALIBRATION = Columns(
    "a calibration",
    (
        Column("token_ids", "lists of whole", 0, TOKEN_LIMIT),
        Column("phases", "lists of whole", 0, 127),
        Column("weights", "lists of number", 0),
    ),
)


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
