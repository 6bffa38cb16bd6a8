"""Cells answered by several processes: the same answers, no process left, failures met where they can be told."""

import multiprocessing
import os
from types import SimpleNamespace

import psutil
import pytest
import torch
from test_study import study_in

from racviz.exceptions import DataError
from racviz.processes.threads import SMALL, small_on_a_cpu, threads_for, using_threads
from racviz.study import processes as room
from racviz.study.processes import SideBySide, processes_for, side_by_side


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setenv(room.VARIABLE, "2")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


def frames_of(study):
    return study.evaluations(ids=True), study.results()


@pytest.mark.slow
def test_two_processes_answer_as_one(tiny_folder, tmp_path, two_processes, monkeypatch):
    together = frames_of(study_in(tmp_path / "two", tiny_folder))
    monkeypatch.setenv(room.VARIABLE, "1")
    alone = frames_of(study_in(tmp_path / "one", tiny_folder))
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.equals(theirs)
    for process in multiprocessing.active_children():
        process.join(5)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_others_take_cells_from_the_end(tiny_folder, tmp_path, two_processes):
    study = study_in(tmp_path, tiny_folder)
    cells = study.cells
    with side_by_side(study, "evaluation", cells) as others:
        others.claim(cells[0])
        others.start()
        others._taken[cells[-1]].result(60)
    kept = [row["key"] for row in study.store.entries() if row["kind"] == "evaluations"]
    study.evaluation(*cells[-1])
    assert [row["key"] for row in study.store.entries() if row["kind"] == "evaluations"] == kept, "it was there"
    study.evaluation(*cells[0])
    assert len([row for row in study.store.entries() if row["kind"] == "evaluations"]) == len(kept) + 1, "it was not"


def test_all_in_the_store_starts_no_process(tiny_folder, tmp_path, two_processes, monkeypatch):
    monkeypatch.setenv(room.VARIABLE, "1")
    first = study_in(tmp_path, tiny_folder).evaluations()
    monkeypatch.setenv(room.VARIABLE, "2")
    monkeypatch.setattr(SideBySide, "start", lambda self: pytest.fail("a process was started for nothing"))
    assert study_in(tmp_path, tiny_folder).evaluations().equals(first)


def test_a_failure_elsewhere_is_met_here(tiny_folder, tmp_path, two_processes, monkeypatch):
    """What another process could not make, this one makes itself, and says why where it cannot either."""
    study = study_in(tmp_path, tiny_folder)
    monkeypatch.setattr(room, "_make", _fails)
    assert len(study.evaluations()) == 5 * len(study.cells)
    problems = tmp_path / "problems.jsonl"
    problems.write_text('{"id": "a", "prompt": "1+1?", "answer": ""}\n', encoding="utf-8")
    with pytest.raises(DataError, match="answer"):
        study_in(tmp_path / "more", tiny_folder, test_problems=str(problems), calibration_problems="arithmetic").evaluations()


def _fails(*_):
    raise MemoryError("too little for two")


@pytest.mark.parametrize("how", ["backend", "inside", "memory", "cores", "large", "variable"])
def test_where_others_would_not_help_there_are_none(tiny_folder, tmp_path, two_processes, monkeypatch, how):
    study = study_in(tmp_path, tiny_folder)
    assert processes_for(study, 9) == 2 and processes_for(study, 1) == 1
    if how == "backend":
        study = study_in(tmp_path, tiny_folder, backend="vllm")
    elif how == "inside":
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    elif how == "memory":
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**29))
    elif how == "cores":
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    elif how == "large":
        monkeypatch.setattr("racviz.processes.threads.SMALL", 10)
    else:
        monkeypatch.setenv(room.VARIABLE, "1")
    assert processes_for(study, 9) == 1


def test_threads_by_the_size_of_the_model(tiny, monkeypatch):
    with using_threads(2):
        assert small_on_a_cpu(tiny) and threads_for(tiny) == 1
        monkeypatch.setattr("racviz.processes.threads.SMALL", 10)
        assert threads_for(tiny) == 2
        with pytest.raises(RuntimeError), using_threads(1):
            assert torch.get_num_threads() == 1
            raise RuntimeError
        assert torch.get_num_threads() == 2
    assert SMALL == 50_000_000
