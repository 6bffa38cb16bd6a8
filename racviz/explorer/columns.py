"""Columns of errors from a file or a data frame: texts as codes, numbers as numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import DataError
from racviz.store.files import regular_file
from racviz.store.kinds import ERRORS, ErrorsLabel
from racviz.store.schemas import check_table, checked, checked_label, readable_columns, shortened

TEXTS = ("problem_id", "token", "phase")


def read_columns(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns and the label of an errors file; sixteen million rows take seconds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    regular_file(path)
    try:
        table = pq.read_table(path, read_dictionary=list(TEXTS))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable parquet file, or is still being written: {shortened(str(error))}") from error
    label = label_of(checked_label(table, ErrorsLabel, path), str(path))
    check_table(table, ERRORS, path)
    with readable_columns(path):
        return _arrays(table), label


def _arrays(table: Any) -> dict[str, Any]:
    """Columns of a table as arrays; a column of texts as codes, with -1 for none, and their texts."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if pa.types.is_dictionary(column.type) and name in TEXTS:
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            columns[name] = (codes, [str(value) for value in column.dictionary.to_pylist()])
        elif name in TEXTS:
            columns |= columns_of(table.select([name]).to_pandas())
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def label_of(label: Any, where: str) -> dict[str, Any]:
    """The label of errors without empty fields. Raises DataError with the file and the field if it is not a label."""
    checked(label, ErrorsLabel, where, field="the label")
    fields = ErrorsLabel.__struct_fields__
    return {str(name): value for name, value in label.items() if value is not None or name not in fields}


def label_words(label: Mapping[str, Any]) -> list[str]:
    """A label in words: model, problems, method, sparsity, mode, calibration tokens, seed."""
    sparsity, tokens, seed = label.get("sparsity"), label.get("calibration_tokens"), label.get("seed")
    tokens = next(iter(tokens.values()), None) if isinstance(tokens, dict) else tokens
    parts = [label.get("model"), label.get("domain"), label.get("method")]
    parts += [f"{100 * sparsity:.3g} % sparsity" if isinstance(sparsity, float) else None, label.get("mode")]
    parts += [
        f"{tokens:,} calibration tokens" if isinstance(tokens, int) else None,
        f"seed {seed}" if seed is not None else None,
    ]
    return [str(part) for part in parts if part]


def columns_of(frame: Any) -> dict[str, Any]:
    """Columns of a data frame, as those of a file."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in frame:
        if name in TEXTS:
            codes, values = pd.factorize(frame[name])  # -1 where there is none
            columns[name] = (codes, [str(value) for value in values])
        else:
            columns[str(name)] = frame[name].to_numpy()
    return columns


def numbers(columns: Mapping[str, Any], name: str, kind: Any) -> np.ndarray:
    """A column as an array of a kind of numbers. Raises DataError with the column's name for anything else."""
    import pandas as pd

    try:
        values = np.asarray(columns[name])
        if values.dtype.kind not in "iufb":
            values = pd.to_numeric(values).astype(np.float64)  # refuses lists, which numpy takes for numbers
        with np.errstate(invalid="ignore"):
            whole = values.astype(kind)  # NaN becomes anything, and is found below
    except (TypeError, ValueError) as error:
        raise DataError(f"the column {name} of errors must hold numbers: {error}") from error
    if np.issubdtype(kind, np.integer) and not np.array_equal(whole, values):
        raise DataError(f"the column {name} of errors must hold whole numbers.")
    return whole
