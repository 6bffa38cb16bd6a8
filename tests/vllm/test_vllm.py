"""The real vLLM, on the CPU: `make vllm` installs it into .venv-vllm, `make test-vllm` runs this."""

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import torch

import racviz as rv
from racviz.exceptions import GenerationError
from racviz.generation import Request, Sampling, generate, opened
from racviz.generation.batches import complete
from racviz.generation.vllm import Vllm

PYTHON = os.environ.get("RACVIZ_VLLM_PYTHON") or str(Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        not os.access(PYTHON, os.X_OK), reason="there is no interpreter with vLLM; `make vllm` makes .venv-vllm"
    ),
]
NEAR = 2e-3
"""Logits this close are a tie: kernels that add in another order may take either."""
BACKEND = "vllm?kv_gib=1"
HOT = 2.0
"""A temperature at which the embedded model, which is very sure of its thoughts, does sample."""


@pytest.fixture(scope="module", autouse=True)
def interpreter():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RACVIZ_VLLM_PYTHON", PYTHON)
        yield


@pytest.fixture(scope="module")
def dense():
    return rv.load_model("tiny-reasoner-small")


@pytest.fixture(scope="module")
def test_problems():
    return rv.load_problems("arithmetic", limit=12)


@pytest.fixture(scope="module")
def pruned(dense, tmp_path_factory):
    """A pruned checkpoint as it was saved and loaded again."""
    problems = rv.load_problems("arithmetic", split="calibration", limit=24)
    own = rv.generate_traces(dense, problems, rv.Sampling(400), progress=False)
    rac = rv.calibration_set("rac", dense, traces=own, tokens=4_000)
    folder = rv.prune(dense, rac, sparsity=0.5, progress=False).save(tmp_path_factory.mktemp("pruned") / "half")
    return rv.load_model(folder)


@pytest.fixture(scope="module")
def workers(dense):
    """Workers of the dense model, for all tests that leave them running: vLLM takes ten seconds to start."""
    with opened(dense, BACKEND) as running:
        running.backend._start(1024)
        yield running


@pytest.fixture(scope="module")
def served(dense, tmp_path_factory):
    """The address of a running server of the dense model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(dense.folder), "--dtype", "float32",
               "--max-model-len", "1024", "--enforce-eager", "--port", str(port)]  # fmt: skip
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "2",
        "TORCHDYNAMO_DISABLE": "1",  # its C++ compiler call cannot bear a space in a path
    }  # fmt: skip
    path = tmp_path_factory.mktemp("server") / "log"
    with path.open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(f"{url}/v1/models", timeout=2)
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, path.read_text()[-3000:]
            time.sleep(0.5)
    yield url
    os.killpg(process.pid, signal.SIGKILL)


def compare(loaded, theirs, ours) -> tuple[int, list[float]]:
    """How many rollouts are equal, and the gap of transformers' logits where each of the others parts from it first."""
    equal, gaps = 0, []
    for a, b in zip(theirs, ours, strict=True):
        assert a.prompt_ids == b.prompt_ids
        if a.output_ids == b.output_ids:
            equal += 1
            continue
        at = next(k for k, (x, y) in enumerate(zip(a.output_ids, b.output_ids, strict=False)) if x != y)
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([[*b.prompt_ids, *b.output_ids[:at]]])).logits[0, -1].float()
        gaps.append(float(logits[b.output_ids[at]] - logits[a.output_ids[at]]))
    return equal, gaps


@pytest.mark.parametrize(("which", "way"), [("dense", "workers"), ("dense", "served"), ("pruned", BACKEND)])
def test_greedy_tokens_are_those_of_transformers(which, way, request, test_problems, capsys):
    loaded = request.getfixturevalue(which)
    backend = way if way == BACKEND else request.getfixturevalue(way)
    greedy = Sampling(500, 0.0)
    theirs = rv.generate_traces(loaded, test_problems, greedy, backend=backend, progress=False)
    ours = rv.generate_traces(loaded, test_problems, greedy, progress=False)
    equal, gaps = compare(loaded, theirs, ours)
    with capsys.disabled():
        tokens = sum(len(t.output_ids) for t in ours)
        print(
            f"\n{which}, {way}: {equal} of {len(ours)} rollouts equal ({tokens} tokens), near-ties {[f'{gap:.1e}' for gap in gaps]}"
        )
    assert all(0 <= gap < NEAR for gap in gaps) and equal >= len(ours) - 2
    assert [t.finish_reason for t in theirs].count("stop") >= 1


def test_a_server_of_the_dense_model_does_not_answer_for_the_pruned_one(dense, pruned, served, test_problems):
    with pytest.raises(GenerationError, match="serves another model than"):
        rv.evaluate(pruned, test_problems, Sampling(20, 0.0), backend=served, progress=False)


def test_sampled_rows_keep_their_books(dense, workers, test_problems):
    """Not the sampled text, which depends on version and machine: lengths, ends, seeds."""
    first, again, other = (
        rv.generate_traces(dense, test_problems, Sampling(60, HOT, seed=seed), samples=2, backend=workers, progress=False)
        for seed in (0, 0, 1)
    )
    assert len(first) == 24 and [(t.problem_id, t.sample) for t in first] == [(p.id, k) for p in test_problems for k in (0, 1)]
    for trace in first:
        ended = trace.output_ids[-1] == dense.tokenizer.eos_token_id
        assert trace.finish_reason == ("stop" if ended else "length") and (ended or len(trace.output_ids) == 60)
    assert [t.output_ids for t in first] != [t.output_ids for t in other]
    same = sum(a.output_ids == b.output_ids for a, b in zip(first, again, strict=True))
    assert same >= 20, "a row is drawn from its own seed"
    assert len({t.output_ids for t in first if t.problem_id == test_problems[0].id}) == 2, "samples differ"


def test_more_prompts_than_go_into_one_step_each_with_its_seed(dense, workers):
    """vLLM 0.32 on a CPU fails where a seeded prompt is prefilled in pieces; the worker does not let it."""
    problems = rv.load_problems("arithmetic", limit=120)
    requests = [Request(tuple(dense.render(p.text)), p.id) for p in problems]
    assert sum(len(r.prompt_ids) for r in requests) > 2 * 4096 / 2
    rows = dict(generate(dense, requests, Sampling(16, 0.9), backend=workers))
    assert len(rows) == 120 and all(1 <= len(row.output_ids) <= 16 for row in rows.values())


def test_shards_give_what_one_worker_gives(dense, workers, test_problems):
    one, two = (
        rv.generate_traces(dense, test_problems, Sampling(60, 0.0), backend=backend, progress=False)
        for backend in (workers, "vllm?kv_gib=1&workers=2")
    )
    equal, gaps = compare(dense, two, one)
    assert equal >= 10 and all(abs(gap) < NEAR for gap in gaps)


def test_a_worker_that_is_killed_midway_loses_only_what_was_in_flight(dense, workers, store, monkeypatch):
    problems = rv.load_problems("arithmetic", limit=16)
    requests = [Request(tuple(dense.render(p.text)), p.id) for p in problems]
    sampling = Sampling(700, 0.6)
    with pytest.raises(GenerationError, match="(?s)worker 0 was killed by SIGKILL.*goes on from there.*the last lines"), opened(
        dense, BACKEND
    ) as running:  # fmt: skip
        running.backend._start(1024)
        process = running.backend.workers[0].process

        def kill_when_some_are_done() -> None:
            journals = store.root / "journals"
            while not journals.exists() or not any(p.read_text().count("\n") >= 3 for p in journals.iterdir()):
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)

        threading.Thread(target=kill_when_some_are_done, daemon=True).start()
        complete(dense, requests, sampling, running, store=store, progress=False)
    (journal,) = (store.root / "journals").iterdir()
    kept = len(journal.read_text().splitlines())
    assert 3 <= kept < 16
    made, run = [], workers.backend.run
    monkeypatch.setattr(workers.backend, "run", lambda left, s, size: made.extend(left) or run(left, s, size))
    rows = complete(dense, requests, sampling, workers, store=store, progress=False)
    assert len(made) == 16 - kept and len(rows) == 16 and all(row.output_ids for row in rows)


def test_what_vllm_cannot_load_is_said_with_its_log(tmp_path, make_tiny):
    odd = make_tiny(
        hidden_size=36, num_attention_heads=2, num_key_value_heads=1
    )  # a head size that its attention does not have
    with pytest.raises(GenerationError, match="(?s)vLLM's worker 0 failed: .*Its log is .*the last lines"):
        list(generate(odd, [Request((1, 2), "a")], Sampling(4), backend=BACKEND))


def test_more_memory_than_there_is(dense):
    with pytest.raises(GenerationError, match="memory"):
        list(generate(dense, [Request((1, 2), "a")], Sampling(4), backend="vllm?kv_gib=100000"))


def test_an_interpreter_without_vllm_is_named(dense, monkeypatch):
    import sys

    monkeypatch.setenv("RACVIZ_VLLM_PYTHON", sys.executable)
    with pytest.raises(GenerationError, match="vLLM is not installed in .*make vllm"):
        list(generate(dense, [Request((1, 2), "a")], Sampling(4), backend="vllm"))


def test_a_study_runs_on_vllm(tmp_path, store):
    study = rv.Study(model="tiny-reasoner-small", backend=BACKEND, sources=["rac"], calibration_tokens=4_000, problems=8, budget=400,
                     t_max=400, sparsities=[0.5], store=store, run=str(tmp_path / "run"), progress=False)  # fmt: skip
    results = study.results()
    assert list(results["source"]) == ["dense", "rac"] and set(results["backend"]) == {BACKEND}
    assert results["accuracy"].iloc[0] > 0.5 and Vllm().interpreter() == PYTHON
