"""Errors in a run's folder: files to show together, and hidden ones with the reason."""

from pathlib import Path

from racviz.exceptions import DataError
from racviz.explorer.pyramid import Pyramid, open_pyramid
from racviz.printable import shown
from racviz.store.files import regular_file


def folder_files(folder: Path) -> tuple[list[tuple[str, Pyramid]], list[str], list[str]]:
    """The errors of a run's folder: those along the same rollouts, the names of all others, and broken files with the reason.

    Raises DataError if none can be read.
    """
    inner = folder / "errors" if (folder / "errors").is_dir() else folder
    pyramids: dict[Path, Pyramid] = {}
    broken: list[str] = []
    # the study's own errors first
    for path in sorted(inner.glob("*.parquet"), key=lambda path: ("-final-" not in path.name, "=" in path.name, path.name)):
        try:
            if not path.name.startswith(".") and _is_errors(path):
                pyramids[path] = open_pyramid(path)
        except DataError as error:
            broken.append(shown(f"{path.stem}: {error}", 400))
    if not pyramids and broken:
        raise DataError(f"the folder {folder} holds no errors that can be read: {'; '.join(broken)}")
    if not pyramids:
        raise DataError(
            f"the folder {folder} holds no errors/*.parquet. The report figure2_error_heatmap writes them, as do Study.errors and "
            "ReconstructionErrors.save; a run that is still at work has them once they are whole."
        )
    # a run whose parameters changed leaves errors along other rollouts behind; the newest file decides
    newest = pyramids[max(pyramids, key=lambda path: path.stat().st_mtime)].meta["sequences"]
    shown_files = [(path.stem, pyramid) for path, pyramid in pyramids.items() if pyramid.meta["sequences"] == newest]
    other_rollouts = [path.stem for path, pyramid in pyramids.items() if pyramid.meta["sequences"] != newest]
    return shown_files, other_rollouts, broken


def _is_errors(path: Path) -> bool:
    """True if racviz wrote this file as errors: a table exported beside them is not errors."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    regular_file(path)
    try:
        return b"racviz" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable parquet file, or is still being written: {error}") from error
