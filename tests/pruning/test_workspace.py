"""Runs that were killed go on where they were, bit by bit the same; and hidden states live on disk where asked."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pruning_helpers import ragged

import racviz as rv
from racviz.exceptions import DataError, NumericalError, StorageError
from racviz.pruning import run
from racviz.pruning.blocks import decoder_blocks

MODES = pytest.mark.parametrize("mode", ["one-pass", "sequential"])
DEEP = dict(num_hidden_layers=4)


def same(one, other) -> bool:
    states = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@MODES
def test_a_workspace_changes_nothing(make_tiny, mode, tmp_path):
    model = make_tiny(**DEEP)
    plain = rv.prune(model, ragged(model), mode=mode, progress=False)
    kept = rv.prune(model, ragged(model), mode=mode, workspace=tmp_path / "w", progress=False)
    assert same(plain, kept) and plain.fingerprint == kept.fingerprint
    assert not list((tmp_path / "w").glob("hidden-*")), "hidden states are gone when the run has ended"
    again = rv.prune(model, ragged(model), mode=mode, workspace=tmp_path / "w", progress=False)
    assert same(plain, again) and again.report["layer"].tolist() == plain.report["layer"].tolist()


@MODES
@pytest.mark.parametrize("at", [1, 9, 17, 28])
def test_a_run_that_broke_goes_on_at_that_block(make_tiny, mode, at, tmp_path, monkeypatch):
    model, calls, real = make_tiny(**DEEP), [], run.prune_linear
    plain = rv.prune(model, ragged(model), mode=mode, progress=False)

    def broken(*arguments):
        calls.append(arguments[0])
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(run, "prune_linear", broken)
    with pytest.raises(KeyboardInterrupt):
        rv.prune(model, ragged(model), mode=mode, workspace=tmp_path / "w", progress=False)
    first = len(calls)
    resumed = rv.prune(model, ragged(model), mode=mode, workspace=tmp_path / "w", progress=False)
    assert same(plain, resumed) and plain.fingerprint == resumed.fingerprint
    assert len(calls) - first == 28 - 7 * ((at - 1) // 7), "finished blocks are not pruned again"
    assert resumed.report["calibration_error"].tolist() == plain.report["calibration_error"].tolist()


@pytest.mark.slow
@MODES
def test_a_run_that_was_killed_ends_bit_identical(make_tiny, mode, tmp_path):
    model = make_tiny(**DEEP)
    folder = model.save(tmp_path / "model")
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import racviz as rv
from pruning_helpers import ragged
from racviz.pruning import stream
model = rv.load_model({str(folder)!r})
put, calls = stream.HiddenStates.put, []
def bomb(self, *arguments):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(self, *arguments)
stream.HiddenStates.put = bomb
rv.prune(model, ragged(model), mode={mode!r}, workspace={str(tmp_path / "w")!r}, progress=False)
"""
    killed = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    loaded = rv.load_model(folder)
    assert list((tmp_path / "w").glob("hidden-*"))
    resumed = rv.prune(loaded, ragged(loaded), mode=mode, workspace=tmp_path / "w", progress=False)
    assert same(resumed, rv.prune(loaded, ragged(loaded), mode=mode, progress=False))


def test_another_run_in_the_same_folder_is_refused(tiny, tmp_path):
    rv.prune(tiny, ragged(tiny), sparsity=0.5, workspace=tmp_path / "w", progress=False)
    with pytest.raises(DataError, match="another run"):
        rv.prune(tiny, ragged(tiny), sparsity=0.6, workspace=tmp_path / "w", progress=False)
    (tmp_path / "w" / "progress.json").write_text('{"identity"')
    with pytest.raises(DataError, match="damaged"):
        rv.prune(tiny, ragged(tiny), sparsity=0.5, workspace=tmp_path / "w", progress=False)


def test_two_runs_at_a_time_in_one_workspace(make_tiny, tmp_path, monkeypatch):
    """The second is told to wait, and not to delete the folder that the first works in."""
    model, real, refused = make_tiny(**DEEP), run.prune_linear, []
    other = dict(sparsity=0.7, workspace=tmp_path / "w", progress=False)

    def meanwhile(*arguments):
        if not refused:
            with pytest.raises(StorageError, match="another prune is at work in .*w") as caught:
                rv.prune(model, ragged(model), **other)
            refused.append(str(caught.value))
        return real(*arguments)

    monkeypatch.setattr(run, "prune_linear", meanwhile)
    made = rv.prune(model, ragged(model), workspace=tmp_path / "w", progress=False)
    assert same(made, rv.prune(model, ragged(model), progress=False))
    assert refused and "delete" not in refused[0] and f"process {os.getpid()}" in refused[0]
    with pytest.raises(DataError, match="another run"):
        rv.prune(model, ragged(model), **other)


@pytest.mark.parametrize("spoil", [
    '[]', 'null', '7', '{}', '{"identity": 1}', "[" * 50_000, b"\x80",
    *({"done": value} for value in (-1, 99, "1", 1.0, True, None)), *({"rows": value} for value in (None, {}, [1], "x")),
    *({"hashes": value} for value in (None, [], {"../x": "0"}, {"block-9.safetensors": "0"}, {"block-x.safetensors": "0"}, {"/x": 1})),
    *({"identity": value} for value in (None, [], 3)),
])  # fmt: skip
def test_progress_that_is_not_of_a_run(tiny, tmp_path, spoil):
    rv.prune(tiny, ragged(tiny), workspace=tmp_path / "w", progress=False)
    path = tmp_path / "w" / "progress.json"
    text = json.dumps(json.loads(path.read_text()) | spoil) if isinstance(spoil, dict) else spoil
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match="progress.json is damaged"):
        rv.prune(tiny, ragged(tiny), workspace=tmp_path / "w", progress=False)


@pytest.mark.parametrize("name", ["progress.json", "block-0.safetensors"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_special_files_in_a_workspace_are_named(tiny, tmp_path, name, make):
    rv.prune(tiny, ragged(tiny), workspace=tmp_path / "w", progress=False)
    (tmp_path / "w" / name).unlink()
    make(tmp_path / "w" / name)
    with pytest.raises(DataError, match=name):
        rv.prune(tiny, ragged(tiny), workspace=tmp_path / "w", progress=False)


def test_what_killed_runs_left_in_a_workspace_is_removed(tiny, tmp_path):
    (tmp_path / "w").mkdir()
    for name in (".hidden-0-0.safetensors.01234567.tmp", "hidden-0-0.safetensors", "block-1.safetensors"):
        (tmp_path / "w" / name).write_bytes(b"half")
    (tmp_path / "w" / ".folder.01234567.tmp").mkdir()
    os.mkfifo(tmp_path / "w" / "hidden-1-0.safetensors")
    rv.prune(tiny, ragged(tiny), workspace=tmp_path / "w", progress=False)
    left = sorted(path.name for path in (tmp_path / "w").iterdir() if path.name != ".lock")
    assert left == ["block-0.safetensors", "block-1.safetensors", "progress.json"]


def test_finished_blocks_are_kept_when_a_later_one_fails(make_tiny, tmp_path):
    broken = make_tiny(**DEEP).copy()
    decoder_blocks(broken.model)[1][2].mlp.up_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(NumericalError, match=r"layers\.2"):
        rv.prune(broken, ragged(broken), mode="sequential", workspace=tmp_path / "w", progress=False)
    assert sorted(path.name for path in (tmp_path / "w").glob("block-*")) == ["block-0.safetensors", "block-1.safetensors"]
