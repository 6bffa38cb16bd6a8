"""The process that runs vLLM, with a stand-in for vLLM that fails on command; the real one is tested in tests/vllm."""

import json
import os
import signal
import sys
import time

import pytest

import racviz as rv
from racviz.exceptions import GenerationError, ParameterError
from racviz.generation import Request, Sampling, backend_key, check_backend, generate, opened
from racviz.generation.batches import complete
from racviz.generation.vllm import Vllm, Workers

STAND_IN = '''
"""Continues a prompt by counting up from its last token; does what $FAULT says."""
import os, signal, sys, time
from types import SimpleNamespace as Space
from vllm import settings
__version__ = os.environ.get("VERSION", "0.32.0")
fault = os.environ.get("FAULT", "")
if fault == "absent": raise ModuleNotFoundError("No module named 'vllm'", name="vllm")
class SamplingParams:
    def __init__(self, **kwargs): self.__dict__ |= kwargs
class Engine:
    def __init__(self): self.waiting, self.done = [], 0
    def add_request(self, id, prompt, sampling): self.waiting.append((id, prompt["prompt_token_ids"], sampling))
    def has_unfinished_requests(self): return bool(self.waiting)
    def step(self):
        id, prompt, sampling = self.waiting.pop()
        if fault == "first dies" and id.endswith("-0"): os.kill(os.getpid(), signal.SIGKILL)
        if fault.startswith("killed") and self.done == int(fault.split()[1]): os.kill(os.getpid(), signal.SIGKILL)
        if fault == "oom later" and self.done == 2: raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if fault == "hangs": time.sleep(600)
        self.done += 1
        ids = [(prompt[-1] + k + 1) % 900 + 100 for k in range(min(3 + int(id.partition('-')[2]), sampling.max_tokens))]
        row = Space(token_ids=ids, finish_reason="stop", stop_reason=2)
        return [Space(finished=True, request_id=id, outputs=[row], prompt_token_ids=prompt + [1] * (fault == "other prompt"))]
class LLM:
    def __init__(self, **kwargs):
        print("loading", kwargs["model"])
        if fault == "oom": raise ValueError("No available memory for the cache blocks")
        if fault == "bad config": raise ValueError("head size 33 is not supported")
        settings.check(kwargs)
        self.llm_engine = Engine()
'''


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder with a module vllm that this interpreter's workers import; returns a setter of its fault."""
    package = tmp_path / "stand-in" / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    (package / "settings.py").write_text(
        "def check(kwargs):\n    assert kwargs['dtype'] == 'float32' and kwargs['skip_tokenizer_init'] and kwargs['max_model_len'] > 4\n"
        "    assert kwargs['kv_cache_memory_bytes'] > 0 and kwargs['generation_config'] == 'vllm', kwargs\n"
    )
    (package / "platforms.py").write_text(
        "class current_platform:\n    device_name = 'cpu'\n    is_cpu = staticmethod(lambda: True)\n"
    )
    (package / "sampling_params.py").write_text("class RequestOutputKind:\n    FINAL_ONLY = 2\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("RACVIZ_VLLM_PYTHON", sys.executable)

    def fault(kind: str = "", version: str = "0.32.0") -> None:
        monkeypatch.setenv("FAULT", kind)
        monkeypatch.setenv("VERSION", version)

    fault()
    return fault


def requests(count: int) -> list[Request]:
    return [Request((5, 6, 7 + k), f"p{k}") for k in range(count)]


def expected(request: Request, number: int) -> tuple[int, ...]:
    ids = [(request.prompt_ids[-1] + k + 1) % 900 + 100 for k in range(min(3 + number, 20))]
    return (*ids, 2)  # vLLM may leave out the token that it stopped at


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_come_back_as_token_ids(tiny, stand_in, workers):
    rows = dict(generate(tiny, requests(6), Sampling(20), backend=f"vllm?workers={workers}"))
    for k, request in enumerate(requests(6)):
        assert rows[k].output_ids == expected(request, k) and rows[k].finish_reason == "stop"


def test_one_worker_serves_several_calls_and_ends_with_the_block(tiny, stand_in):
    with opened(tiny, "vllm") as running:
        first = dict(generate(tiny, requests(2), Sampling(20), backend=running))
        process = running.backend.workers[0].process
        second = dict(generate(tiny, requests(3), Sampling(20), backend=running))
        assert running.backend.workers[0].process is process and len(first) == 2 and len(second) == 3
        scratch = running.backend.scratch.name
        assert os.path.exists(os.path.join(scratch, "model.safetensors")), "a model in memory is written for vLLM to read"
        log = running.backend.workers[0].log
        longer = dict(generate(tiny, requests(1), Sampling(300), backend=running))
        assert running.backend.workers[0].process is not process and len(longer) == 1, "longer sequences need a new engine"
    assert process.poll() == 0 and not os.path.exists(scratch) and not log.exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("absent", "vLLM is not installed in .*RACVIZ_VLLM_PYTHON"),
        ("oom", "ran out of memory: .*No available memory.*kv_gib.*the last lines:\n(.*\n)*.*cache blocks"),
        ("bad config", "worker 0 failed: ValueError: head size 33.*the last lines:\nloading"),
        ("killed 0", "worker 0 was killed by SIGKILL .most often the system ran out of memory.*goes on from there"),
        ("oom later", "ran out of memory: RuntimeError: CUDA out of memory.*What was finished is kept"),
        ("other prompt", "another prompt than was sent"),
    ],
)
def test_what_goes_wrong_is_said(tiny, stand_in, fault, message):
    stand_in(fault)
    with pytest.raises(GenerationError, match=f"(?s){message}"):
        list(generate(tiny, requests(4), Sampling(20), backend="vllm"))


@pytest.mark.parametrize("version", ["0.5.4", "0.10.2", "0.9.0.post1"])
def test_a_vllm_that_is_too_old_is_named(tiny, stand_in, version):
    stand_in(version=version)
    with pytest.raises(GenerationError, match=f"vLLM {version} in .* is too old: 0.11 or newer"):
        list(generate(tiny, requests(1), Sampling(20), backend="vllm"))


def test_a_worker_that_dies_loses_only_what_was_in_flight(tiny, stand_in, store):
    stand_in("killed 3")
    with pytest.raises(GenerationError, match="SIGKILL"):
        complete(tiny, requests(8), Sampling(20), "vllm", store=store, progress=False)
    (journal,) = (store.root / "journals").iterdir()
    assert len(journal.read_text().splitlines()) == 3
    journal.write_text(journal.read_text() + '{"row": 1, "output_ids": [1')  # as a kill leaves a line
    stand_in("killed 5")  # would kill the second run too, if it generated more than the five that are missing
    rows = complete(tiny, requests(8), Sampling(20), "vllm", store=store, progress=False)
    assert [row.output_ids for row in rows[:1]] and len(rows) == 8 and not list((store.root / "journals").iterdir())
    stand_in("absent")  # a third run reads what is there
    assert complete(tiny, requests(8), Sampling(20), "vllm", store=store, progress=False) == rows


def test_when_one_of_two_workers_dies_the_other_s_rows_are_kept(tiny, stand_in, store):
    stand_in("first dies")
    with pytest.raises(GenerationError, match="worker 0 was killed"):
        complete(tiny, requests(9), Sampling(20), "vllm?workers=2", store=store, progress=False)
    (journal,) = (store.root / "journals").iterdir()
    kept = {json.loads(line)["row"] for line in journal.read_text().splitlines()}
    assert {1, 3, 5, 7} <= kept and 0 not in kept


def test_rows_of_a_call_that_was_broken_off_are_not_taken_for_others(tiny, stand_in):
    with opened(tiny, "vllm") as running:
        broken = generate(tiny, requests(6), Sampling(20), backend=running)
        next(broken)
        broken.close()
        rows = dict(generate(tiny, requests(3), Sampling(20), backend=running))
    assert {k: row.output_ids for k, row in rows.items()} == {k: expected(r, k) for k, r in enumerate(requests(3))}


def test_a_call_after_a_failure_begins_with_new_workers(tiny, stand_in):
    with opened(tiny, "vllm") as running:
        stand_in("killed 1")
        with pytest.raises(GenerationError, match="SIGKILL"):
            list(generate(tiny, requests(3), Sampling(20), backend=running))
        stand_in()
        assert len(dict(generate(tiny, requests(3), Sampling(20), backend=running))) == 3


def test_a_timing_pass_starts_one_engine(tiny, stand_in, monkeypatch):
    started = []
    monkeypatch.setattr("racviz.generation.vllm.ROOM", 16)
    monkeypatch.setattr(
        Workers, "_start", lambda self, longest, start=Workers._start: (started.append(longest), start(self, longest))
    )
    problems = [rv.Problem(f"p{k}", "1 + 1", "2") for k in range(3)]
    rv.time_generation({"tiny": tiny}, problems, Sampling(120), backend="vllm", progress=False)
    assert len(started) == 1 and started[0] >= 120


@pytest.mark.parametrize(("cards", "workers"), [("4,5,6", 4), ("2,3", 3)])
def test_more_workers_than_cards_are_refused(tiny, stand_in, monkeypatch, cards, workers):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", cards)
    with pytest.raises(
        ParameterError, match=f"workers={workers} with tensor_parallel=1 need {workers} cards.*shows {cards.count(',') + 1}"
    ):
        list(generate(tiny, requests(4), Sampling(20), backend=f"vllm?workers={workers}"))


def test_a_worker_that_dies_between_two_calls_is_noticed(tiny, stand_in):
    with opened(tiny, "vllm") as running:
        list(generate(tiny, requests(2), Sampling(20), backend=running))
        running.backend.workers[0].process.kill()
        running.backend.workers[0].process.wait()
        with pytest.raises(GenerationError, match="SIGKILL"):
            list(generate(tiny, requests(2), Sampling(20), backend=running))


def test_a_journal_with_whole_lines_after_a_torn_one(tiny, stand_in, store):
    for fault in ("killed 2", "killed 2", "killed 2"):
        stand_in(fault)
        with pytest.raises(GenerationError):
            complete(tiny, requests(7), Sampling(20), "vllm", store=store, progress=False)
        (journal,) = (store.root / "journals").iterdir()
        with journal.open("a") as file:
            file.write('{"row": 9')
    stand_in()
    rows = complete(tiny, requests(7), Sampling(20), "vllm", store=store, progress=False)
    assert len(rows) == 7 and all(row.output_ids[-1] == 2 for row in rows)


def test_ctrl_c_ends_the_worker(tiny, stand_in):
    stand_in("hangs")
    with pytest.raises(KeyboardInterrupt), opened(tiny, "vllm") as running:
        running.backend._start(50)
        process = running.backend.workers[0].process
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        list(generate(tiny, requests(1), Sampling(20), backend=running))
    assert process.poll() == -signal.SIGKILL


def test_a_worker_ends_when_nobody_reads_it_any_more(tiny, stand_in):
    with opened(tiny, "vllm") as running:
        running.backend._start(50)
        worker = running.backend.workers[0]
        worker.process.stdin.close()  # as when the parent is killed
        deadline = time.monotonic() + 20
        while worker.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert worker.process.poll() == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vlm", "not 'vlm'. Did you mean 'vllm'"),
        ("vllm?worker=2", "not 'worker'. Did you mean 'workers'"),
        ("vllm?workers=two", "workers must be of type int; not 'two'"),
        ("vllm?workers=0", "workers must be an integer >= 1; not 0"),
        ("vllm?memory=90", "memory must be a share"),
        ("vllm?dtype=int8", "dtype must be auto, float32"),
        ("hf?workers=2", "'hf' without settings"),
        ("vllm?python=/nowhere/python", "python must be a Python interpreter with vLLM"),
        ("http://user:secret@host:8000", "holds a credential"),
        ("http://host:8000?api_key=secret", "credentials do not belong"),
        ("https://", "is no address like"),
    ],
)
def test_settings_are_checked_and_never_hold_a_secret(tiny, name, message):
    with pytest.raises(ParameterError, match=message) as caught:
        list(generate(tiny, requests(1), Sampling(20), backend=name))
    assert "secret" not in str(caught.value)


def test_settings_are_read_by_type():
    assert check_backend("vllm?workers=2&kv_gib=0.5&dtype=bfloat16") == Vllm(workers=2, kv_gib=0.5, dtype="bfloat16")
    assert check_backend("hf") is None


def test_rows_depend_on_the_kind_of_backend_and_its_dtype_only():
    assert backend_key("vllm") == backend_key("vllm?workers=2") != backend_key("vllm?dtype=float16")
    assert backend_key("http://a:1") == backend_key("http://b:2?concurrency=3") not in (backend_key("hf"), backend_key("vllm"))


def test_a_study_takes_a_backend_and_refuses_a_secret_in_it():
    assert rv.Study(backend="vllm?workers=2").backend == "vllm?workers=2"
    with pytest.raises(ParameterError, match="credential"):
        rv.Study(backend="http://me:secret@host")
