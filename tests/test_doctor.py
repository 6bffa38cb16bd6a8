"""The look at machine and installation: values, advice where something is poor, the exit status."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from racviz import doctor
from racviz.cli import app
from racviz.doctor import Finding, examine, lines

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "numba", "plotly", "papermill", "pandas", "vllm")


@pytest.fixture
def only(monkeypatch):
    """Let `racviz doctor` do these looks alone, by name."""

    def choose(*names):
        monkeypatch.setattr(doctor, "CHECKS", {name: doctor.CHECKS[name] for name in names})

    return choose


def asked(*arguments):
    result = CliRunner().invoke(app, ["doctor", *arguments])
    return result.exit_code, result.stdout


@pytest.mark.serial
def test_everything_is_examined_in_time_and_nothing_heavy_imported():
    code = (
        f"import sys, json; from racviz.doctor import examine; found = [one.plain() for one in examine()]\n"
        f"print(json.dumps([found, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    environment, began = {**os.environ, "PYTHONPATH": str(ROOT)}, time.monotonic()
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert time.monotonic() - began < 5
    found, imported = json.loads(run.stdout)
    assert imported == []
    facts = {one["name"]: one["facts"] for one in found}
    assert list(facts) == list(doctor.CHECKS)
    assert facts["Python"]["version"] == sys.version.split()[0]
    assert set(facts["libraries"]) == set(doctor.LIBRARIES) and all(facts["libraries"].values())
    assert 1 <= facts["cores"]["torch_threads"] and 0 < facts["memory"]["free"] <= facts["memory"]["total"]
    assert set(facts["processor"]) == set(doctor.FEATURES) and facts["cache"]["free"] > 0
    assert not any("could not be examined" in one["text"] for one in found)


def test_a_line_each_and_one_of_advice_where_something_is_poor():
    found = [Finding("one", "well"), Finding("second", "poor", "Mend it."), Finding("3", "gone", "Install it.", True)]
    shown = lines(found)
    assert len(shown) == 5 and shown[2].strip() == "Mend it." and shown[4].strip() == "Install it."
    assert len({line.split()[0] for line in (shown[0], shown[1], shown[3])}) == 3


def test_the_command_succeeds_where_racviz_can_work(only):
    only("Python", "libraries", "load")
    code, out = asked()
    assert code == 0 and len([line for line in out.splitlines() if line[:1] != " "]) == 3
    code, out = asked("--json")
    assert code == 0 and [one["name"] for one in json.loads(out)] == ["Python", "libraries", "load"]


def test_a_missing_library_is_fatal_and_named(only, monkeypatch):
    only("libraries")
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "numba" else "1.0")
    code, out = asked("--json")
    (found,) = json.loads(out)
    assert code == 1 and found["fatal"] and "numba" in found["advice"] and "torch" not in found["advice"]


def test_a_cache_that_cannot_be_written_is_fatal(only, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RACVIZ_CACHE", str(tmp_path / "file" / "cache"))
    only("cache")
    code, out = asked()
    assert code == 1 and "RACVIZ_CACHE" in out
    monkeypatch.setenv("RACVIZ_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "data").write_bytes(bytes(3000))
    found = doctor.cache()
    assert not found.fatal and found.facts["bytes"] == 3000 and found.facts["whole"]
    assert found.facts["place"] == str(tmp_path / "cache")
    monkeypatch.setattr(doctor, "LITTLE_DISK", 2**70)
    assert doctor.cache().advice and not doctor.cache().fatal


def test_what_is_poor_gets_advice(monkeypatch):
    monkeypatch.setattr(doctor, "available_memory", lambda: 2**30)
    assert doctor.memory().advice and not doctor.memory().fatal
    monkeypatch.setattr(doctor, "available_memory", lambda: 2**34)
    assert not doctor.memory().advice
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    for load, busy in ((0.1, False), (4.0, True)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, load, load))
        assert bool(doctor.load().advice) == doctor.load().facts["busy"] == busy


@pytest.mark.parametrize(
    ("flags", "poor"),
    [({"avx2", "avx512f", "avx512_bf16"}, False), ({"avx2"}, True), ({"sse2"}, True), ({"asimd", "bf16"}, False)],
)
def test_features_of_the_processor(monkeypatch, flags, poor):
    monkeypatch.setattr(doctor, "processor_flags", lambda: flags)
    found = doctor.processor()
    assert bool(found.advice) == poor
    assert {name for name, there in found.facts.items() if there} == flags & set(doctor.FEATURES)


def test_threads_are_those_of_the_environment(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert doctor.cores().facts == {"cores": 2, "torch_threads": 1} and not doctor.cores().advice
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    assert "OMP_NUM_THREADS" in doctor.cores().advice


def test_gpus_are_listed_with_their_memory(monkeypatch):
    monkeypatch.setattr(doctor, "ask", lambda command: "NVIDIA H100, 81559, 80000\nNVIDIA H100, 81559, 40960\n")
    monkeypatch.setattr(doctor, "torch_cuda", lambda: "12.8")
    found = doctor.gpu()
    assert [each["free_mib"] for each in found.facts["gpus"]] == [80000, 40960] and not found.advice
    monkeypatch.setattr(doctor, "torch_cuda", lambda: None)
    assert "CUDA" in doctor.gpu().advice
    monkeypatch.setattr(doctor, "ask", lambda command: None)
    assert doctor.gpu().facts == {"gpus": []} and not doctor.gpu().advice


def test_vllm_is_looked_for_in_the_interpreter_that_would_run_it(monkeypatch, tmp_path):
    monkeypatch.setenv("RACVIZ_VLLM_PYTHON", sys.executable)
    monkeypatch.setattr(doctor, "ask", lambda command: "0.32.0\n" if command[0] == sys.executable else None)
    facts = doctor.vllm().facts
    assert facts == {"version": "0.32.0", "interpreter": sys.executable, "origin": "RACVIZ_VLLM_PYTHON"}
    monkeypatch.setenv("RACVIZ_VLLM_PYTHON", str(tmp_path / "absent"))
    found = doctor.vllm()
    assert "RACVIZ_VLLM_PYTHON" in found.advice and not found.fatal


def test_a_sandbox_that_cannot_be_had_is_said_and_not_fatal(monkeypatch):
    from racviz.grading.sandbox import SandboxError

    def refuse(program):
        raise SandboxError("no user namespaces here")

    monkeypatch.setattr("racviz.grading.sandbox.run_program", refuse)
    found = doctor.sandbox()
    assert found.facts == {"usable": False} and "namespaces" in found.text and not found.fatal


def test_a_look_that_fails_takes_no_other_with_it(monkeypatch):
    def broken():
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor, "CHECKS", {"bad": broken, "Python": doctor.python})
    bad, good = examine()
    assert "boom" in bad.text and bad.advice and not bad.fatal and not good.advice


def test_secrets_are_never_shown(only, monkeypatch):
    secret = "hf_abcdefghijklmnopqrstuvwxyz"
    monkeypatch.setenv("HF_TOKEN", secret)
    monkeypatch.setenv("RACVIZ_VLLM_PYTHON", f"/nowhere/{secret}")
    monkeypatch.setenv("RACVIZ_CACHE", f"/nowhere/{secret}")
    only("vLLM", "cache")
    for arguments in ((), ("--json",)):
        assert secret not in asked(*arguments)[1] and "redacted" in asked(*arguments)[1]
