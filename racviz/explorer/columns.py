"""The columns of errors, from a file or a frame, before anything is made of them: texts as codes, numbers as numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from racviz.errors import DataError
from racviz.schemas import ERRORS, ErrorsLabel, check_table, checked_label, shortened

TEXTS = ("problem_id", "token", "phase")


def read_columns(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of an errors file, texts as dictionaries: sixteen million rows in seconds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, read_dictionary=list(TEXTS))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable parquet file, or is still being written: {shortened(str(error))}") from error
    label = checked_label(table, ErrorsLabel, path)
    check_table(table, ERRORS, path)
    try:
        return _arrays(table), label
    except (
        pa.ArrowException,
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
        AttributeError,
        IndexError,
        SyntaxError,
    ) as error:
        raise DataError(f"{path} holds columns that cannot be read: {shortened(str(error))}") from error


def _arrays(table: Any) -> dict[str, Any]:
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


def columns_of(frame: Any) -> dict[str, Any]:
    """The same of a data frame."""
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
    """A column as an array of a kind of numbers. Raises DataError that names the column."""
    try:
        values = np.asarray(columns[name])
        if values.dtype.kind not in "iufb":
            values = values.astype(np.float64)
        whole = values.astype(kind)
    except (TypeError, ValueError) as error:
        raise DataError(f"the column {name} of errors must hold numbers: {error}") from error
    if np.issubdtype(kind, np.integer) and not np.array_equal(whole, values):
        raise DataError(f"the column {name} of errors must hold whole numbers.")
    return whole
