"""Errors in the folder of a run: those that are shown together, and those that are not, with the reason."""

from pathlib import Path

from racviz.exceptions import DataError
from racviz.explorer.pyramid import Pyramid, open_pyramid
from racviz.printable import shown
from racviz.store.files import regular_file


def folder_files(folder: Path) -> tuple[list[tuple[str, Pyramid]], list[str], list[str]]:
    """The errors of a run's folder along the same rollouts, names of those along others, and names and faults of broken files.

    Raises DataError where there is none that can be read.
    """
    inner = folder / "errors" if (folder / "errors").is_dir() else folder
    made: dict[Path, Pyramid] = {}
    broken: list[str] = []
    # the study's own errors first
    for path in sorted(inner.glob("*.parquet"), key=lambda path: ("-final-" not in path.name, "=" in path.name, path.name)):
        try:
            if not path.name.startswith(".") and _is_errors(path):
                made[path] = open_pyramid(path)
        except DataError as error:
            broken.append(shown(f"{path.stem}: {error}", 400))
    if not made and broken:
        raise DataError(f"the folder {folder} holds no errors that can be read: {'; '.join(broken)}")
    if not made:
        raise DataError(
            f"the folder {folder} holds no errors/*.parquet. The report figure2_error_heatmap writes them, as do Study.errors and "
            "ReconstructionErrors.save; a run that is still at work has them once they are whole."
        )
    # other problems or rollouts than those of the newest lie in a run's folder where its parameters were changed in between
    base = made[max(made, key=lambda path: path.stat().st_mtime)].meta["sequences"]
    same = [(path.stem, each) for path, each in made.items() if each.meta["sequences"] == base]
    return same, [path.stem for path, each in made.items() if each.meta["sequences"] != base], broken


def _is_errors(path: Path) -> bool:
    """True if racviz wrote this file as errors: a table that was exported beside them is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    regular_file(path)
    try:
        return b"racviz" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable parquet file, or is still being written: {error}") from error
