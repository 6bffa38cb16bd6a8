"""Parquet files with labels: written whole, checked by their schema when read."""

import json
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError
from racviz.printable import placeless
from racviz.store.files import atomic, regular_file
from racviz.store.schemas import ANY_COLUMNS, Columns, check_table, checked_label, readable_columns, shortened


def write_parquet(path: Path, frame, meta: dict[str, Any]) -> None:
    """A frame with its labels in the file's own metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"racviz": json.dumps(placeless(meta)).encode()})
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_parquet(path: Path, columns: Columns = ANY_COLUMNS, label: Any = dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A frame and its labels. Raises DataError for a file that is missing, no parquet, or not what the schemas of its columns and its
    label say."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(regular_file(path))
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not a readable parquet file, or was cut off: {shortened(str(error))}") from error
    check_table(table, columns, path)
    meta = checked_label(table, label, path)
    with readable_columns(path):
        return table.to_pandas(), meta
