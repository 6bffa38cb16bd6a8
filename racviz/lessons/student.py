"""The students' edition of the lessons: the same notebooks without their solutions.

python -m racviz.lessons.student notebooks/lessons student
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError, ParameterError, RacvizError
from racviz.store import explained

SOLUTION, EXERCISE = "solution", "exercise"
YOUR_TURN = "# your turn"
FOR_INSTRUCTORS = ("instructor",)
"""Files whose name begins so stay behind."""


def student_edition(source_folder: str | Path, target_folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write the lessons of a folder into another, for students; returns the notebooks written.

    Code cells tagged `solution` become `# your turn`, text cells with the tag are left out, outputs are taken away, and
    files for instructors stay behind; other files (pictures, data) are copied as they are.

    Raises DataError where the source is no folder, holds no notebook or one that cannot be read, and where a notebook in the
    target is another than what would be written (somebody's answers: `overwrite=True` replaces them); ParameterError where one
    folder lies in the other.
    """
    source, target = Path(source_folder), Path(target_folder)
    if not source.is_dir():
        raise DataError(f"the folder {str(source)!r} does not exist, so there are no lessons to copy.")
    inside, outside = source.resolve(), target.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise ParameterError(
            f"target_folder must lie outside the lessons, and not around them; {str(target)!r} and {str(source)!r} do not."
        )
    if target.exists() and not target.is_dir():
        raise DataError(f"{str(target)!r} is a file; name a folder for the students' edition.")
    files = sorted(path for path in source.rglob("*") if path.is_file() and _for_students(path.relative_to(source)))
    notebooks = {path: _without_solutions(_read(path)) for path in files if path.suffix == ".ipynb"}
    if not notebooks:
        raise DataError(f"the folder {str(source)!r} holds no notebook (.ipynb); name the folder of the lessons.")
    places = {path: target / path.relative_to(source) for path in files}
    changed = [places[path] for path, made in notebooks.items() if _changed(places[path], made)]
    if changed and not overwrite:
        raise DataError(
            f"{len(changed)} of the notebooks in {str(target)!r} are not what would be written (first: {changed[0].name!r}): they may "
            "hold somebody's answers. Name another folder, or replace them with overwrite=True (--overwrite)."
        )
    with explained("write the students' edition in", target):
        for path, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            if path in notebooks:
                _write(place, notebooks[path])
            else:
                shutil.copyfile(path, place)
    return [places[path] for path in notebooks]


def _for_students(path: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)  # checkpoints of Jupyter among them
    return not hidden and not path.name.lower().startswith(FOR_INSTRUCTORS)


def _read(path: Path) -> Any:
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # of every kind for a file that is no notebook
        first = (str(error) or type(error).__name__).strip().split("\n")[0]
        raise DataError(f"{path} is not a notebook that can be read: {first}") from error


def _without_solutions(notebook: Any) -> Any:
    """The notebook changed in place."""
    cells = []
    for cell in notebook.cells:
        if SOLUTION in cell.metadata.get("tags", []):
            if cell.cell_type != "code":
                continue
            cell.source = YOUR_TURN
            cell.metadata = type(cell.metadata)()  # it is neither a solution any more nor folded away
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata.pop("widgets", None)
    return notebook


def _changed(place: Path, made: Any) -> bool:
    """Whether a notebook is there already, and its cells say something else; what they put out does not count."""
    return place.exists() and [each.source for each in _read(place).cells] != [each.source for each in made.cells]


def _write(place: Path, notebook: Any) -> None:
    import nbformat

    nbformat.write(notebook, place)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m racviz.lessons.student", description="Write the students' edition of the lessons."
    )
    parser.add_argument("source", help="the folder of the lessons, such as notebooks/lessons")
    parser.add_argument("target", help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace notebooks in the target that differ, answers and all")
    given = parser.parse_args(arguments)
    try:
        written = student_edition(given.source, given.target, overwrite=given.overwrite)
    except RacvizError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(written)} lesson{'' if len(written) == 1 else 's'} in {given.target}, without solutions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
