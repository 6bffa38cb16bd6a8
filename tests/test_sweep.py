"""A grid of cells: what is run, what is shared, what a failure, a kill or a hand in the table leaves."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from racviz.exceptions import DataError, ParameterError, StorageError
from racviz.processes import Owner, host_token, start_token
from racviz.results import chosen_results, read_results
from racviz.store import Store
from racviz.study import RESULT_COLUMNS, Study
from racviz.study.sweep import Book, cell_names, run_cell, run_sweep, studies_of

SMALL = dict(
    sources=["prompt", "rac"], calibration_tokens=800, t_max=24, budget=12, problems=4, batch_size=32, sparsities=[0.5], method="wanda",
)  # fmt: skip


@pytest.fixture
def grid(tmp_path, tiny_folder):
    def make(**changes):
        return {**SMALL, "model": str(tiny_folder), "run": str(tmp_path / "run"), **changes}

    return make


@pytest.fixture
def sweep(tmp_path):
    def run(grid, **how):
        return run_sweep(grid, store=Store(tmp_path / "store"), progress=False, **how)

    return run


def test_the_cells_are_all_combinations_and_the_dense_model_once(grid, sweep, tmp_path):
    frame = sweep(grid(method=["magnitude", "wanda"], sparsities=[0.3, 0.6]))
    assert list(frame.columns) == RESULT_COLUMNS and len(frame) == 1 + 2 * 2 * 2
    assert (frame["source"] == "dense").sum() == 1
    cells = frame[frame["source"] != "dense"][["source", "sparsity", "method"]]
    assert {tuple(row) for row in cells.to_numpy()} == {
        (s, p, m) for s in ("prompt", "rac") for p in (0.3, 0.6) for m in ("magnitude", "wanda")
    }
    pd.testing.assert_frame_equal(read_results(tmp_path / "run"), frame, check_dtype=False)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["versions"]


def test_a_cell_is_what_a_study_of_its_own_finds(grid, sweep, tmp_path):
    frame = sweep(grid(method=["wanda", "sparsegpt"], sparsities=[0.4, 0.5], seed=[0, 1]))
    given = grid(method="sparsegpt", sparsities=[0.5], seed=1, run=str(tmp_path / "alone"))
    mine = Study(**given, store=Store(tmp_path / "other"), progress=False).row("rac", 0.5)
    chosen = (frame["source"] == "rac") & (frame["sparsity"] == 0.5) & (frame["method"] == "sparsegpt") & (frame["seed"] == 1)
    row = frame[chosen].iloc[0]
    for name in ("accuracy", "tokens", "mean_cot", "sparsity_all"):
        assert row[name] == mine[name]


def test_factors_are_made_once_for_every_sparsity_and_pattern(grid, sweep, monkeypatch):
    from racviz.pruning import inputs

    made = []
    real = inputs.LinearInputs.inverse_factor.func
    monkeypatch.setattr(inputs.LinearInputs.inverse_factor, "func", lambda self: made.append(self.name) or real(self))
    base = grid(method="sparsegpt", sources=["prompt"])
    sweep([base | dict(sparsities=[0.3, 0.5, 0.7]), base | dict(pattern="2:4", sparsities=[0.5])])
    assert len(made) == len(set(made)) == 2 * 4, "four distinct inputs in each of two blocks"


def test_what_is_finished_is_not_run_again_and_a_grid_may_grow(grid, sweep, monkeypatch):
    first = sweep(grid())
    ran = []
    real = Study.row
    monkeypatch.setattr(Study, "row", lambda self, *cell: ran.append(cell) or real(self, *cell))
    pd.testing.assert_frame_equal(sweep(grid()), first)
    assert ran == []
    assert len(sweep(grid(sparsities=[0.5, 0.7]))) == 5 and sorted(ran) == [("prompt", 0.7), ("rac", 0.7)]


def test_a_cell_that_fails_is_told_and_run_again_when_asked_for(grid, sweep, monkeypatch, tmp_path):
    real = Study.row

    def fails(self, source, sparsity):
        if source == "prompt":
            raise OSError("no luck")
        return real(self, source, sparsity)

    monkeypatch.setattr(Study, "row", fails)
    assert set(sweep(grid())["source"]) == {"dense", "rac"}
    book = Book(tmp_path / "run")
    ((cell, error),) = book.failed(list(book.done)).items()
    assert error == "OSError: no luck" and "prompt 0.5" in cell
    monkeypatch.setattr(Study, "row", real)
    assert len(sweep(grid())) == 2 and len(sweep(grid(), retry=True)) == 3
    book = Book(tmp_path / "run")
    assert book.failed(list(book.done)) == {}


def test_workers_find_what_one_process_finds(grid, sweep, tmp_path, tiny_folder):
    several = run_sweep(grid(run=str(tmp_path / "several")), workers=2, store=Store(tmp_path / "own"), progress=False)
    one = sweep(grid())
    pd.testing.assert_frame_equal(several, one, check_dtype=False)
    cell = Study(**grid(), store=Store(tmp_path / "store"), progress=False)
    from racviz.study import as_parameters

    assert run_cell(as_parameters(cell), "rac", 0.5, str(tmp_path / "third"))["tokens"] == one["tokens"].iloc[2]


def test_a_worker_that_dies_loses_its_own_cell_only(grid, tmp_path, monkeypatch):
    """It dies on one problem file that kills whoever reads it: here a cell whose answers are graded by a hook in the environment."""
    hook = tmp_path / "site"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('DIES') and any('spawn_main' in part for part in sys.orig_argv):\n"
        "    import builtins\n"
        "    from racviz.study import Study\n"
        "    real = Study.row\n"
        "    def row(self, source, sparsity):\n"
        "        if source == 'prompt': os.kill(os.getpid(), 9)\n"
        "        return real(self, source, sparsity)\n"
        "    Study.row = row\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hook), str(Path(__file__).parents[1])]))
    monkeypatch.setenv("DIES", "1")
    frame = run_sweep(grid(), workers=2, store=Store(tmp_path / "store"), progress=False)
    assert set(frame["source"]) == {"dense", "rac"}
    book = Book(tmp_path / "run")
    assert "its worker died" in next(iter(book.failed(list(book.done)).values()))


HOOK = """
import os, sys
if os.environ.get("HOOKED") and any("spawn_main" in part for part in sys.orig_argv):  # a worker, no other process
    import errno, pathlib, time
    from racviz.study import Study
    real = Study.row
    def row(self, source, sparsity):
        if os.environ["HOOKED"] == "sleep":
            pathlib.Path(os.environ["PIDS"], str(os.getpid())).touch()
            time.sleep(120)
        elif source == "prompt":
            raise {"full": OSError(errno.ENOSPC, "No space left on device"), "memory": MemoryError("no room")}[os.environ["HOOKED"]]
        return real(self, source, sparsity)
    Study.row = row
"""


@pytest.fixture
def hooked(tmp_path, monkeypatch):
    """Make cells of worker processes sleep, or meet a full disk or missing memory."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HOOK)
    (tmp_path / "pids").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).parents[1])]))
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    return lambda what: monkeypatch.setenv("HOOKED", what)


def living(pid: int) -> bool:
    return Owner(host_token(), pid, start_token(pid) or "").living and start_token(pid) != "ended"


def until(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_workers_end_with_the_sweep_however_it_ends(grid, hooked, tmp_path, number, code):
    hooked("sleep")
    (tmp_path / "grid.yaml").write_text(json.dumps(grid()))
    command = [sys.executable, "-m", "racviz", "sweep", str(tmp_path / "grid.yaml"), "--workers", "2"]
    environment = dict(os.environ, RACVIZ_CACHE=str(tmp_path / "store"))
    sweep = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert until(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
    workers = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert all(map(living, workers))
    sweep.send_signal(number)
    _, said = sweep.communicate(timeout=30)
    assert sweep.returncode == code and (code < 0 or "is kept" in said)
    assert until(lambda: not any(map(living, workers)), 5)
    assert not (tmp_path / "run" / "cells.jsonl").exists()


@pytest.mark.parametrize("where", ["row", "key"])
def test_a_full_disk_stops_a_sweep_and_is_no_failure_of_its_cells(grid, sweep, monkeypatch, tmp_path, where):
    from racviz.study.sweep import Cell

    row, ran = Study.row, []

    def full(self, source, sparsity):
        ran.append(source)
        if source == "prompt":
            raise DataError("not a checkpoint") from OSError(errno.ENOSPC, "No space left on device")
        return row(self, source, sparsity)

    def none(self):
        raise StorageError("could not write traces: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(*((Study, "row", full) if where == "row" else (Cell, "key", property(none))))
        with pytest.raises(StorageError, match="the sweep stopped.*(not a checkpoint|the disk is full)"):
            sweep(grid())
    assert ran == (["dense", "prompt"] if where == "row" else []), "the others would meet it too"
    book = Book(tmp_path / "run")
    assert all("row" in entry for entry in book.done.values()) and len(book.done) == len(ran[:-1])
    assert len(sweep(grid())) == 3, "without retry"


def test_missing_memory_is_told_and_not_remembered(grid, sweep, monkeypatch, tmp_path):
    real = Study.row

    def fails(self, source, sparsity):
        if source == "prompt":
            raise MemoryError
        return real(self, source, sparsity)

    with monkeypatch.context() as patch:
        patch.setattr(Study, "row", fails)
        frame = sweep(grid())
    assert set(frame["source"]) == {"dense", "rac"}
    ((cell, error),) = frame.attrs["failed"].items()
    assert "prompt 0.5" in cell and "MemoryError" in error
    again = sweep(grid())
    assert len(again) == 3 and again.attrs["failed"] == {}


@pytest.mark.parametrize("what", ["full", "memory"])
def test_workers_tell_failures_of_the_machine_from_those_of_cells(grid, hooked, tmp_path, monkeypatch, what):
    hooked(what)
    how = dict(workers=2, store=Store(tmp_path / "store"), progress=False)
    if what == "full":
        with pytest.raises(StorageError, match="No space left"):
            run_sweep(grid(), **how)
    else:
        assert list(run_sweep(grid(), **how).attrs["failed"].values()) == ["MemoryError: no room"]
    assert all("row" in entry for entry in Book(tmp_path / "run").done.values())
    monkeypatch.delenv("HOOKED")
    assert len(run_sweep(grid(), **how | dict(workers=1))) == 3


@pytest.mark.parametrize(
    ("error", "again"), [("StorageError: the disk is full", True), ("MemoryError: ", True), ("ValueError: x", False)]
)
def test_failures_of_the_machine_that_earlier_releases_remembered(grid, sweep, tmp_path, error, again):
    sweep(grid())
    path = tmp_path / "run" / "cells.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1] = {"key": lines[1]["key"], "cell": lines[1]["cell"], "error": error}
    path.write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "run" / "results.csv").unlink()
    assert len(sweep(grid())) == (3 if again else 2)


def test_drafts_of_killed_runs_in_the_folder_of_a_run(grid, sweep, tmp_path):
    (tmp_path / "run").mkdir()
    dead = tmp_path / "run" / f".results.csv.{host_token()}-{2**22 + 1}-00000000-01234567.tmp"
    dead.write_text("half")
    sweep(grid())
    assert not dead.exists()


@pytest.mark.parametrize("name", ["cells.jsonl", "results.csv"])
def test_special_files_in_the_folder_of_a_run(grid, sweep, tmp_path, name):
    sweep(grid())
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    with pytest.raises((DataError, StorageError), match=name):
        read_results(tmp_path / "run")
    with pytest.raises((DataError, StorageError), match=name):
        sweep(grid())


def test_a_kill_loses_one_cell_at_most(grid, sweep, tmp_path):
    given = tmp_path / "grid.yaml"
    given.write_text(json.dumps(grid(sparsities=[0.2, 0.3, 0.4, 0.5, 0.6])))
    command = [sys.executable, "-m", "racviz", "sweep", str(given)]
    environment = dict(os.environ, RACVIZ_CACHE=str(tmp_path / "store"))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    book = tmp_path / "run" / "cells.jsonl"
    end = time.monotonic() + 120
    while time.monotonic() < end and (not book.exists() or book.read_text().count("\n") < 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = book.read_text()
    assert 4 <= len(there.splitlines()) < 11
    book.write_text(there + '\n{"key": "cut o')  # as a kill in the middle of a line leaves it
    frame = sweep(grid(sparsities=[0.2, 0.3, 0.4, 0.5, 0.6]))
    assert len(frame) == 11 and book.read_text().startswith(there)


def test_two_sweeps_in_one_folder(grid, sweep, tmp_path):
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with (
        FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(StorageError, match="another sweep is at work in .*; wait for it, or name"),
    ):
        sweep(grid())
    assert len(sweep(grid())) == 3


def test_a_table_that_was_changed_by_hand(grid, sweep, tmp_path):
    sweep(grid())
    table = tmp_path / "run" / "results.csv"
    table.write_text(table.read_text().replace(",rac,", ",rca,"))
    for read in (lambda: sweep(grid()), lambda: read_results(tmp_path / "run")):
        with pytest.raises(DataError, match="results.csv, line 4, was changed by hand"):
            read()
    table.unlink()
    sweep(grid())


def test_a_table_that_is_a_line_behind_is_no_hand(grid, sweep, tmp_path):
    """What a kill between the cell's line and the table leaves."""
    whole = sweep(grid())
    table = tmp_path / "run" / "results.csv"
    text = table.read_text()
    table.write_text("".join(text.splitlines(keepends=True)[:-1]))
    assert len(read_results(tmp_path / "run")) == len(whole) - 1
    sweep(grid())
    assert table.read_text() == text
    table.write_text("".join(text.splitlines(keepends=True)[:-2]))
    with pytest.raises(DataError, match="line 3, was changed by hand"):
        sweep(grid())


@pytest.mark.parametrize(("name", "value"), [("accuracy", 1.5), ("sparsity", "half"), ("tokens", -1)])
def test_a_table_without_its_book_is_checked_by_its_values(grid, sweep, tmp_path, name, value):
    frame = sweep(grid()).astype({name: object})
    frame.loc[1, name] = value
    frame.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "alone").mkdir()
    frame.to_csv(tmp_path / "alone" / "results.csv", index=False)
    with pytest.raises(DataError, match=f"line 3: {name} is .*, which cannot be"):
        read_results(tmp_path / "alone")
    with pytest.raises(DataError, match="lacks the columns"):
        (tmp_path / "alone" / "results.csv").write_text("a,b\n1,2\n")
        read_results(tmp_path / "alone")
    with pytest.raises(DataError, match="does not exist"):
        read_results(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(methods=["wanda"]), "a key of the grid must be one of .*not 'methods'. Did you mean 'method'"),
        (dict(pattern=["unstructured", "2:4"], sparsities=[0.6]), r"contradicts pattern='2:4'.*\(in the grid, where pattern=2:4\)"),
        (dict(seed=[]), "seed must be a list that is not empty"),
        (dict(method=["wanda", "wnda"]), "Did you mean 'wanda'"),
        (dict(run=["a", "b"]), "run must be one name for all of a sweep"),
        (dict(backend="http://localhost:1"), "serves one model"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be_is_named_before_anything_runs(grid, sweep, tmp_path, changes, message):
    with pytest.raises(ParameterError, match=message):
        sweep(grid(**changes))
    assert not (tmp_path / "store").exists()


def test_a_grid_from_a_file(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(
        "- {method: [wanda, magnitude], seed: [0, 1]}\n- {thirds: [[1], [1, 3]], sources: [rac]}\n- {method: wanda, seed: 1}\n"
    )
    studies = studies_of(path)
    assert [(s.method, s.seed, s.thirds) for s in studies] == [
        ("wanda", 0, (1, 2, 3)), ("wanda", 1, (1, 2, 3)), ("magnitude", 0, (1, 2, 3)), ("magnitude", 1, (1, 2, 3)),
        ("sparsegpt", 0, (1,)), ("sparsegpt", 0, (1, 3)),
    ]  # fmt: skip
    for text, message in (
        ("a: [", "is not a YAML file"),
        ("[]", "grid must be"),
        ("7", "grid must be"),
        ("- 7", "grid must be"),
    ):
        path.write_text(text)
        with pytest.raises((DataError, ParameterError), match=message):
            studies_of(path)
    with pytest.raises(DataError, match="does not exist"):
        studies_of(tmp_path / "absent.yaml")
    with pytest.raises(ParameterError, match="workers must be an integer >= 1"):
        run_sweep({}, workers=0)


def test_results_are_filtered(grid, sweep, tmp_path):
    sweep(grid(sparsities=[0.3, 0.6]))
    run = tmp_path / "run"
    assert list(chosen_results(run, ["source=rac"], ["sparsity"], "sparsity")["sparsity"]) == [0.3, 0.6]
    assert len(chosen_results(run, ["sparsity=.60"])) == 2
    with pytest.raises(DataError, match="no row of .* has source=no: source holds dense, prompt, rac"):
        chosen_results(run, ["source=no"])
    for where, columns, sort in (
        (["sourc=rac"], None, None),
        ([], ["acuracy"], None),
        ([], None, "acuracy"),
        (["rac"], None, None),
    ):
        with pytest.raises(ParameterError, match="Did you mean|column=value"):
            chosen_results(run, where, columns, sort)


def test_a_study_that_cannot_be_prepared_does_not_take_the_others_with_it(grid, sweep, tmp_path):
    bad = str(tmp_path / "nowhere")
    given = [grid(calibration_tokens=[400, 10**9], sources=["generic"]), grid(model=bad)]
    frame = sweep(given)
    assert len(frame) == 2 and set(frame["calibration_tokens"]) == {0, 400}
    failed = frame.attrs["failed"]
    assert len(failed) == 4, "too many tokens; three cells of a model that is not there"
    assert any("asks for more" in error for error in failed.values()) and any(
        "not a folder here" in error for error in failed.values()
    )
    assert any("calibration_tokens=1000000000" in name for name in failed)
    again = sweep(grid(calibration_tokens=400, sources=["generic"]))
    assert again.attrs["failed"] == {} and len(again) == 2, "what failed is of another grid"


def test_cells_are_listed_once_and_told_apart(grid):
    names = cell_names(studies_of(grid(method=["wanda", "magnitude"], t_max=[24, 30])))
    assert len(names) == len(set(names)) == 1 + 2 * 2 * 2
    assert sum(" dense" in name for name in names) == 1 and all("t_max=" in name for name in names if " dense" not in name)
    assert sum(" dense" in name for name in cell_names(studies_of(grid(seed=[0, 1])))) == 2, "other answers"


def test_the_manifest_of_a_sweep_holds_every_study(grid, sweep, tmp_path):
    sweep(grid(method=["wanda", "magnitude"]))
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert [each["method"] for each in kept["studies"]] == ["wanda", "magnitude"]


def test_a_report_does_not_write_over_a_sweep(grid, sweep, tmp_path):
    sweep(grid())
    study = Study(**grid(), store=Store(tmp_path / "store"), progress=False)
    with pytest.raises(StorageError, match="holds the results of a sweep; name another run"):
        study.results()
