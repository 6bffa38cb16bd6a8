"""A grid of cells: every model, source, sparsity, method, … that is asked for, each evaluated once and kept as it is finished.

A grid is a mapping (or a YAML file) from a study's parameters to values; a list of values is an axis, and the cells are all combinations.
Several grids in a list are put together. A cell depends on nothing but its parameters, so that it may run in any process; what cells share
(traces, calibration sets, second moments, factors) is made once.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError, ParameterError, StorageError, check, unknown
from racviz.generation import backend_key
from racviz.printable import placeless
from racviz.processes import terminable
from racviz.progress import progress_bar
from racviz.store import Store, explained, is_regular, key_of, regular_file, write_text
from racviz.store.drafts import reclaim
from racviz.store.files import failure_of_the_machine
from racviz.store.kinds import checked_grid, parsed_cell
from racviz.store.locks import alone
from racviz.store.schemas import shortened
from racviz.study import RESULT_COLUMNS, Study, as_parameters, check_timing, study_from
from racviz.study.memory import hand_over, show_keys
from racviz.study.parameters import parameter_names, tell_apart
from racviz.study.timing import time_cells
from racviz.study.workers import rows_of, run_cell

__all__ = ["Book", "Cell", "cell_names", "run_cell", "run_sweep", "studies_of"]

LISTS = ("sources", "sparsities")
"""Parameters that are lists themselves; all others are an axis where a list is given. (`thirds` is one where the list holds lists.)"""


NAMED = ("sources", "sparsities", "model", "domain", "method", "pattern", "mode", "run")
"""Parameters that a cell's name already contains."""
ANSWERING = ("test_problems", "budget", "temperature", "top_p", "seed", "samples", "problems", "backend", "thinking", "dtype")
"""Parameters on which the answers of the dense model depend."""


OF_THE_MACHINE = ("StorageError:", "MemoryError:", "OutOfMemoryError:")
"""Beginnings of errors that earlier releases kept as failures of cells: such cells are run again."""


@dataclass(frozen=True)
class Cell:
    """One model, pruned in one way or dense, on one set of problems."""

    study: Study = field(repr=False)
    source: str
    sparsity: float

    def name(self, more: Sequence[str] = ()) -> str:
        """For people; `more` parameters are named too."""
        s = self.study
        what = "dense" if self.source == "dense" else f"{self.source} {self.sparsity:g} {s.method} {s.pattern} {s.mode}"
        known = ANSWERING if self.source == "dense" else more
        return ", ".join([f"{s.model} {s.domain} {what}", *(f"{name}={getattr(s, name)}" for name in more if name in known)])

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on: the content of the model, the calibration set and the problems."""
        s = self.study
        answers = dict(problems=s.test().fingerprint, budget=s.budget, temperature=s.temperature, top_p=s.top_p, seed=s.seed,
                       samples=s.samples, backend=backend_key(s.backend))  # fmt: skip
        return key_of(**answers, cell=s._cell_key(self.source, self.sparsity, s.mode))


def studies_of(grid: str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]], store: Store | None = None) -> list[Study]:
    """The studies of a grid: all combinations of its axes but sources and sparsities, which a study has itself.

    Raises ParameterError for a key that is none (with the nearest), a value that is not allowed, or a combination that cannot be, before
    anything runs; DataError for a file that is no YAML.
    """
    given = _read(Path(grid)) if isinstance(grid, str | Path) else grid
    grids = [given] if isinstance(given, Mapping) else given
    check(isinstance(grids, Sequence) and bool(grids), "grid", given, "a mapping of parameters to values, or a list of them")
    studies: list[Study] = []
    for each in grids:
        check(isinstance(each, Mapping), "grid", each, "a mapping of parameters to values")
        for key in each:
            if key not in parameter_names():
                raise unknown("a key of the grid", key, parameter_names())
        axes = {key: value if _is_axis(key, value) else [value] for key, value in each.items()}
        for key, values in axes.items():
            check(bool(values), key, values, "a list that is not empty")
        for values in itertools.product(*axes.values()):
            chosen = dict(zip(axes, values, strict=True))
            try:
                study = study_from(chosen)
            except ParameterError as error:
                varied = ", ".join(f"{key}={chosen[key]}" for key in axes if len(axes[key]) > 1)
                raise ParameterError(f"{error}" + (f" (in the grid, where {varied})" if varied else "")) from error
            study = study if store is None else replace(study, store=store)
            if study not in studies:
                studies.append(study)
    if len({study.run for study in studies}) > 1:
        raise ParameterError(f"run must be one name for all of a sweep; not {', '.join(sorted({s.run for s in studies}))}.")
    tell_apart([study.model for study in studies])
    return studies


def _is_axis(key: str, value: Any) -> bool:
    if key == "thirds":
        return isinstance(value, list | tuple) and any(isinstance(each, list | tuple) for each in value)
    return isinstance(value, list | tuple) and key not in LISTS


def _read(path: Path) -> Any:
    import yaml

    try:
        return checked_grid(yaml.safe_load(path.read_text(encoding="utf-8")), path)
    except FileNotFoundError as error:
        raise DataError(f"the grid {path} does not exist.") from error
    except DataError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise DataError(f"the grid {path} is not a YAML file: {shortened(' '.join(str(error).split()))}") from error


def run_sweep(
    grid: str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]], *, workers: int = 1, retry: bool = False,
    timing_problems: int = 0, store: Store | None = None, progress: bool = True,
):  # fmt: skip
    """Evaluate every cell of a grid.

    results.csv grows in the run's folder cell by cell. Finished cells are not run again. A full
    disk stops the sweep; missing memory skips the cell; the same call runs such cells again.

    Parameters
    ----------
    grid : str, Path, mapping or sequence of mappings
        A YAML file or its content: parameters of `Study`, each a value or a list of values. The
        cells are all combinations.
    workers : int, default 1
        Processes that share the cells and the processors; they end with this one.
    retry : bool, default False
        Run failed cells again.
    timing_problems : int, default 0
        Test problems of a timing pass after the last cell: one worker, warmed up, cells
        interleaved. 0 makes none.
    store : Store, optional
        Cache of finished steps.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    pandas.DataFrame
        The rows of results.csv. `frame.attrs["failed"]` has the failed cells with their errors.

    Raises
    ------
    ParameterError
        For an invalid grid.
    StorageError
        For a folder in use by another sweep, or a full disk; finished cells are kept.
    DataError
        For a results.csv that was changed by hand.

    Examples
    --------
    >>> import racviz as rv
    >>> grid = {"sources": ["prompt"], "sparsities": [0.5], "problems": 2, "budget": 16}
    >>> frame = rv.run_sweep(grid | {"calibration_tokens": 1024, "run": "first"}, progress=False)
    >>> list(frame["source"])
    ['dense', 'prompt']
    """
    check(isinstance(workers, int) and not isinstance(workers, bool) and workers >= 1, "workers", workers, "an integer >= 1")
    check_timing(timing_problems)
    studies = studies_of(grid, store)
    for study in studies:
        study.can_answer()
    with terminable(), alone(studies[0].folder, "sweep"):
        reclaim(studies[0].folder)
        book = Book(studies[0].folder)
        book.check()
        show_keys(studies if progress else [])
        cells, impossible = _prepared(studies, progress)
        for key, done in impossible.items():
            if book.wants(key, retry=True):
                book.add(key, done)
        left = {key: cell for key, cell in cells.items() if book.wants(key, retry)}
        unlucky: dict[str, str] = {}
        with (
            progress_bar(total=len(cells), desc="sweep", unit="cell", shown=progress) as bar,
            contextlib.closing(rows_of(left, workers)) as rows,  # its processes end with the loop, whatever ends that
        ):
            bar.update(len(cells) - len(left))
            for key, done in rows:
                name = cells[key].name(_varied(studies))
                if machine := done.pop("machine", None):
                    _stop_on(machine, done["error"])
                    unlucky[name] = done["error"]
                else:
                    book.add(key, {"cell": name, **done})
                bar.update()
        if timing_problems:
            _time(book, cells, timing_problems)
        book.write()
        manifest = studies[0].manifest() | {"studies": placeless([as_parameters(study) for study in studies])}
        write_text(studies[0].folder / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))
        frame = book.frame(list(cells))
        frame.attrs["failed"] = book.failed([*cells, *impossible]) | unlucky
        return frame


def _varied(studies: list[Study]) -> list[str]:
    """Parameters in which the studies of a grid differ, but those that a cell's name says anyway."""
    return [n for n in parameter_names() if n not in NAMED and len({str(getattr(study, n)) for study in studies}) > 1]


def cell_names(studies: list[Study]) -> list[str]:
    """The cells of a grid by name, each once, in order; nothing is made."""
    more = _varied(studies)
    return list(dict.fromkeys(Cell(study, *cell).name(more) for study in studies for cell in study.cells))


def _prepared(studies: list[Study], progress: bool) -> tuple[dict[str, Cell], dict[str, dict[str, Any]]]:
    """The cells by their keys, each once, and what they share made: models, traces, calibration sets. Then the entries of those for which
    that cannot be made, by a key of their parameters."""
    cells: dict[str, Cell] = {}
    impossible: dict[str, dict[str, Any]] = {}
    before, more = studies[0], _varied(studies)
    for study in progress_bar(studies, desc="calibrate", unit="study", shown=progress):
        hand_over(before, study)
        before = study
        for cell in (Cell(study, *each) for each in study.cells):
            try:
                cells.setdefault(cell.key, cell)
            except Exception as error:  # a cell that cannot be does not take the others with it
                _stop_on(failure_of_the_machine(error), f"{type(error).__name__}: {error}")
                asked = key_of(parameters=as_parameters(study), source=cell.source, sparsity=cell.sparsity)
                impossible[asked] = {"cell": cell.name(more), "error": f"{type(error).__name__}: {error}"}
    return cells, impossible


def _stop_on(machine: str | None, error: str) -> None:
    """Raise StorageError for what all other cells would meet too."""
    if machine == "storage":
        raise StorageError(
            f"the sweep stopped, since its files cannot be written or read. The same call goes on from there. {error}"
        )


def _time(book: "Book", cells: dict[str, Cell], count: int) -> None:
    """Put the minutes of a timing pass into the rows that are there."""
    there = {key: cell for key, cell in cells.items() if "row" in book.done.get(key, {})}
    if not there:
        return
    timing = time_cells([(cell.study, cell.source, cell.sparsity) for cell in there.values()], count)
    for key, measured in zip(there, timing.frame.to_dict("records"), strict=True):
        entry = book.done[key]
        book.add(key, {**entry, "row": entry["row"] | measured})


class Book:
    """Record of the cells of a run: cells.jsonl, a line a cell as it is finished, and results.csv, which is made from it."""

    def __init__(self, folder: Path):
        self.path, self.table = folder / "cells.jsonl", folder / "results.csv"
        self.done: dict[str, dict[str, Any]] = {}
        self.before: dict[str, dict[str, Any]] = {}
        """All but the last line: what the table holds when a run died between the two."""
        if os.path.lexists(self.path):
            text = regular_file(self.path).read_text(encoding="utf-8", errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                with contextlib.suppress(json.JSONDecodeError):  # cut off when the run died
                    entry = parsed_cell(line, self.path, number)
                    self.before = dict(self.done)
                    self.done[entry.pop("key")] = entry

    def wants(self, key: str, retry: bool) -> bool:
        error = str(self.done.get(key, {}).get("error", ""))
        return key not in self.done or (bool(error) and (retry or error.startswith(OF_THE_MACHINE)))

    def add(self, key: str, done: dict[str, Any]) -> None:
        self.done[key] = done
        with explained("write", self.path), self.path.open("a", encoding="utf-8") as file:
            file.write("\n" if file.tell() else "")  # so that a line that was cut off does not spoil this one
            file.write(json.dumps({"key": key, **done}))
        self.write()

    def write(self) -> None:
        write_text(self.table, self.frame().to_csv(index=False, lineterminator="\n"))

    def failed(self, keys: Sequence[str]) -> dict[str, str]:
        """Names and errors of those of the cells that failed."""
        entries = [self.done[key] for key in keys if "error" in self.done.get(key, {})]
        return {entry["cell"]: entry["error"] for entry in entries}

    def frame(self, keys: list[str] | None = None, done: dict[str, dict[str, Any]] | None = None):
        """The rows in the columns of results.csv: all, or those of these cells in this order."""
        import pandas as pd

        done = self.done if done is None else done
        rows = [done[key]["row"] for key in (done if keys is None else keys) if "row" in done.get(key, {})]
        return pd.DataFrame(rows, columns=RESULT_COLUMNS).astype({"minutes": float, "timed_problems": float})

    def check(self) -> None:
        """Raise DataError where results.csv is not what the cells say."""
        if not is_regular(self.table) or not self.path.exists():
            return
        ours, theirs = (
            self.frame().to_csv(index=False, lineterminator="\n"),
            self.table.read_text(encoding="utf-8", errors="replace"),
        )
        if theirs not in (ours, self.frame(done=self.before).to_csv(index=False, lineterminator="\n")):
            both = itertools.zip_longest(ours.splitlines(), theirs.splitlines(), fillvalue="(nothing)")
            number, (a, b) = next((k, pair) for k, pair in enumerate(both, 1) if pair[0] != pair[1])
            raise DataError(
                f"{self.table}, line {number}, was changed by hand: it is '{shortened(b)}', measured was '{shortened(a)}'. "
                "Remove the file to have it made "
                "anew from cells.jsonl, or keep your table under another name."
            )
