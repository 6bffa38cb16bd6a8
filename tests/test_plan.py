"""The plan of a report: what it finds without weights, and what it expects, against runs that were measured."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import racviz as rv
from racviz.cli import app
from racviz.exceptions import ParameterError
from racviz.generation.cost import Rows, errors_seconds, generation_seconds
from racviz.models import load_model
from racviz.planning.checks import on_meta
from racviz.planning.plan import MACHINES
from racviz.pruning.cost import Machine, Shapes, expected_cost
from racviz.reports import plan_report
from racviz.study.variants import variant

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "plan.csv"
MEASURED = [row for row in csv.DictReader(RESULTS.open())] if RESULTS.exists() else []


def failed(plan) -> dict[str, str]:
    return {what: found for what, ok, found in plan.checks if not ok}


def test_a_plan_reads_no_weights_and_lists_every_step(monkeypatch):
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    plan = plan_report("figure2", {"problems": 20})
    assert plan.right, failed(plan)
    what = [step.what for step in plan.steps]
    assert what == [
        "load tiny-reasoner", "traces of 128 problems, t_max 1024", "greedy rollouts on 20 problems, budget 1024",
        "prune 15 models, one-pass", "prune 3 models, sequential", "tokenwise errors of 18 models", "errors at more depths, 12 passes",
        "layer-wise errors",
    ]  # fmt: skip
    assert all(step.seconds > 0 and step.memory > 0 for step in plan.steps)
    text = "\n".join(plan.lines())
    assert "in all" in text and "tiny-reasoner, 0.00367B parameters" in text


@pytest.mark.parametrize(
    ("report", "more", "expected"),
    [
        ("runtime", {}, ["answers of 10 models, 1 a problem", "timing pass of 10 models on 16 problems, 2 rounds"]),
        ("cot_lengths", {"samples": 4}, ["answers of 10 models, 4 a problem"]),
        ("solvers", {}, ["prune 18 models, one-pass", "tokenwise errors of 18 models", "answers of 19 models, 1 a problem"]),
        ("pruning_report", {}, ["prune 3 models, one-pass", "layer-wise errors"]),
        ("figure1", {}, ["prune 5 models, one-pass", "answers of 6 models, 1 a problem"]),
        ("table1", {}, ["load tiny-reasoner", "answers of 10 models, 1 a problem", "load tiny-reasoner-small"]),
        (
            "table3",
            {},
            [
                "traces of 128 problems, t_max 1024 by tiny-reasoner-small",
                "prune 8 models, one-pass",
                "tokenwise errors of 8 models",
                "answers of 9 models, 1 a problem",
            ],
        ),
        ("table4", {}, ["prune 6 models, one-pass", "answers of 7 models, 1 a problem"]),
        (
            "calibration",
            {},
            ["prune 14 models, one-pass", "tokenwise errors of 14 models", "answers of 15 models, 1 a problem"],
        ),
        (
            "seeds",
            {},
            ["traces of 128 problems, t_max 1024, seed 2", "prune 48 models, one-pass", "answers of 51 models, 1 a problem"],
        ),
        ("generic_text", {}, ["prune 9 models, one-pass", "answers of 10 models, 1 a problem"]),
    ],
)
def test_every_report_has_its_steps(report, more, expected):
    what = [step.what for step in plan_report(report, more).steps]
    assert [step for step in expected if step in what] == expected


def test_the_plan_names_what_the_report_makes(tiny_folder, tmp_path):
    """The steps of a plan and the artefacts of a run of the same parameters."""
    given = dict(model=str(tiny_folder), thinking="plain", calibration_tokens=400, problems=6, budget=20, t_max=30, sparsities=[0.5],
                 sources=["prompt", "rac"], run=str(tmp_path / "run"))  # fmt: skip
    plan = plan_report("figure2", given)
    study = rv.Study(store=rv.store.Store(tmp_path / "store"), progress=False, **given)
    [study.errors(0.5, mode) for mode in ("one-pass", "sequential")]
    [variant(study, "method", method).errors(0.5) for method in ("wanda", "magnitude")]
    kinds = [path.parent.name for path in (tmp_path / "store").glob("*/*") if path.parent.name == "checkpoints"]
    assert sum(int(step.what.split()[1]) for step in plan.steps if step.what.startswith("prune")) == len(kinds)
    assert next(s.tokens for s in plan.steps if "rollouts" in s.what) >= sum(len(t.output_ids) for t in study.rollouts())


@pytest.fixture
def broken(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "broken")


def test_what_is_wrong_is_found_before_anything_runs(tiny_folder, broken, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"ask": "x"}))
    cases = {
        "model": dict(model="tiny-reasonr"),
        "test problems": dict(test_problems=str(rows), calibration_problems="arithmetic"),
        "calibration problems": dict(calibration_problems="no-such-set"),
        "generic text": dict(generic_text=str(tmp_path / "absent.txt")),
        "context": dict(budget=100_000),
        "prompt tokens": dict(calibration_problems=str(tmp_path / "few.jsonl")),
        "backend": dict(backend="vllm?python=/nowhere/python"),
        "traces": dict(trace_source=str(rows)),
        "scope and pattern": dict(scope="nothing_like_this"),
    }
    (tmp_path / "few.jsonl").write_text(json.dumps({"prompt": "x"}))
    for what, given in cases.items():
        assert what in failed(plan_report("figure2", given)), what
    (broken / "config.json").write_text("{}")
    assert "no config and tokenizer" in failed(plan_report("figure2", dict(model=str(broken))))["model"]
    (broken / "config.json").write_text((tiny_folder / "config.json").read_text())
    (broken / "chat_template.jinja").write_text("{{ 'no user here' }}")
    assert "it renders 'no user here'" in str(failed(plan_report("figure2", dict(model=str(broken)))))
    with pytest.raises(ParameterError, match="not 'problms'. Did you mean 'problems'"):
        plan_report("figure2", dict(problms=3))
    with pytest.raises(ParameterError, match="on must be one of 'here', 'a100', 'h100'; not 'a10'"):
        plan_report("figure2", on="a10")


def test_the_command_prints_the_plan_and_says_by_its_code_whether_it_is_right():
    run = CliRunner().invoke
    right = run(app, ["report", "figure2", "--dry-run", "-p", "problems=5", "--expected-tokens", "50"])
    assert right.exit_code == 0 and "answers of 50 tokens" in right.output and "prune 15 models, one-pass" in right.output
    wrong = run(
        app, ["report", "figure2", "--dry-run", "-p", "test_problems=absent.jsonl", "-p", "calibration_problems=arithmetic"]
    )
    assert wrong.exit_code == 1 and "NOT test problems: the file absent.jsonl does not exist." in wrong.output


def test_a_large_model_is_planned_for_a_gpu(tmp_path, tiny_folder):
    """The shape of R1-Distill-Qwen-7B; a server's time is not known, a worker's is guessed by the data sheet."""
    folder = shutil.copytree(tiny_folder, tmp_path / "r1")
    config = json.loads((folder / "config.json").read_text())
    config |= dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
                   vocab_size=152_064, max_position_embeddings=131_072, dtype="bfloat16", layer_types=["full_attention"] * 28)  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    given = dict(model=str(folder), calibration_tokens=100_000, t_max=8192, budget=32_768, problems=500, backend="vllm", thinking="plain",
                 dtype="bfloat16", sparsities=[0.5], sources=["prompt", "rac"])  # fmt: skip
    plan = plan_report("figure2", given, on="a100", expected_tokens=4_000)
    assert {what for what in failed(plan)} <= {"backend", "room on disk"}
    by = {step.what.split()[0]: step for step in plan.steps}
    assert 14 * 2**30 < by["load"].memory < 16 * 2**30 and by["tokenwise"].memory < 40 * 2**30
    assert by["greedy"].tokens == 2_000_000 and 600 < sum(s.seconds for s in plan.steps) < 100 * 3600
    server = plan_report("figure2", given | dict(backend="http://localhost:8000"), expected_tokens=4_000)
    assert any(step.seconds is None for step in server.steps) and "not known" in "\n".join(server.lines())


def test_the_cost_of_generating_follows_what_is_generated(tiny):
    shapes, machine = Shapes.of(tiny.model), Machine(1e11, 1e10)

    def cost(**changes):
        return generation_seconds(
            shapes, 1024, 64, Rows(**(dict(count=64, prompt=50, mean=100, longest=200, batch=64) | changes)), machine
        )

    assert cost(count=128) == pytest.approx(2 * cost(), rel=0.01)
    assert cost() < cost(mean=150) < cost(mean=150, longest=400) and cost(batch=8) > cost()
    assert Rows(10, 5, 20.0, 30, 4).tokens == 200


# --- against measured runs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes_of():
    made = {}

    def of(name):
        if name not in made:
            study = rv.Study(model=name)
            try:
                loaded = on_meta(study) if name == "smollm2" else load_model(name)
            except rv.RacvizError:
                pytest.skip("the model smollm2 is not installed (make smollm2)")
            config = loaded.model.config
            head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
            made[name] = Shapes.of(loaded.model), config.vocab_size, 2 * config.num_key_value_heads * head
        return made[name]

    return of


def expected_seconds(row, shapes, vocabulary, kv) -> float:
    machine = Machine(float(row["flops"]), float(row["bandwidth"]))
    step, tokens = row["step"], int(row["tokens"])
    if step in ("traces", "rollouts"):
        rows = Rows(int(row["rows"]), float(row["prompt"]), float(row["mean"]), int(row["longest"]), int(row["rows"]))
        return generation_seconds(shapes, vocabulary, kv, rows, machine)
    if step.startswith("prune"):
        mode = step.split()[1]
        return expected_cost(
            shapes, tokens, machine, mode=mode, length=int(row["length"]), phases=int(row["phases"])
        ).total_seconds
    if step == "errors":
        return errors_seconds(shapes, tokens, float(row["length"]), machine)
    cost = expected_cost(shapes, tokens, machine, length=int(row["length"]))
    return cost.seconds["forward"] + cost.seconds["moments"]


@pytest.mark.skipif(not MEASURED, reason="benchmarks/results/plan.csv is not there")
@pytest.mark.parametrize("model", ["tiny-reasoner", "smollm2"])
def test_the_whole_of_a_measured_report_is_expected_within_a_quarter(model, shapes_of):
    """Generating, pruning and errors together, from the lengths that the answers had; each step apart within a factor of two."""
    rows = [row for row in MEASURED if row["model"] == model and row["step"] != "all"]
    expected = [expected_seconds(row, *shapes_of(model)) for row in rows]
    measured = [float(row["seconds"]) for row in rows]
    assert sum(expected) == pytest.approx(sum(measured), rel=0.25)
    for kind in ("traces", "rollouts", "prune", "errors"):
        mine = [(e, m) for row, e, m in zip(rows, expected, measured, strict=True) if row["step"].startswith(kind)]
        assert 0.5 < sum(e for e, _ in mine) / sum(m for _, m in mine) < 2, kind


def test_the_machines_of_the_plan_are_those_of_the_readme():
    assert MACHINES["a100"].flops == 1.95e13 and MACHINES["a100"].bandwidth == 2.0e12


def test_what_no_run_could_do_is_found(tiny_folder):
    for what, given in {
        "trace_source tiny-reasonr-small": dict(trace_source="tiny-reasonr-small"), "context of traces": dict(t_max=10_000_000),
        "test problems": dict(problems=100_000),
    }.items():  # fmt: skip
        assert what in failed(plan_report("figure2", given)), what
    assert "Did you mean 'sparsegpt'" in failed(plan_report("solvers", dict(methods=["sparsgpt"])))["comparisons"]
    assert "device" in failed(plan_report("figure2", dict(device="cuda:7")))
    few = plan_report("figure2", dict(calibration_tokens=64, problems=5))
    assert few.right and "traces of 64 problems" in few.steps[1].what


def test_what_would_stop_a_report_later_is_found(tiny_folder, tmp_path):
    lines = [json.dumps({"prompt": f"What is {k} + {k}?"}) for k in range(40)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    (tmp_path / "text.txt").write_text("A short text.")
    (tmp_path / "few.jsonl").write_text(json.dumps(dict(prompt="What is 1 + 1?", response="2")))
    mine = str(tmp_path / "mine.jsonl")
    cases = [
        ("figure2", "overlap", dict(test_problems=mine, calibration_problems=mine), "40 of the test problems are among"),
        ("figure2", "sources", dict(sources=["generic", "rac"]), "sources must hold prompt and rac"),
        ("figure2", "generic tokens", dict(generic_text=str(tmp_path / "text.txt")), "calibration_tokens|asks for more"),
        ("figure2", "rac tokens", dict(trace_source=str(tmp_path / "few.jsonl")), "asks for more"),
        ("runtime", "grading", dict(test_problems=mine, calibration_problems="arithmetic"), "40 problems have no answer"),
        ("runtime", "backend", dict(backend="http://127.0.0.1:9"), "serves one model"),
        ("figure2", "backend", dict(backend="http://127.0.0.1:9"), "no server answers"),
        ("figure2", "backend", dict(backend=f"vllm?python={sys.executable}"), "vLLM is not installed in"),
    ]  # fmt: skip
    for report, what, given, message in cases:
        found = failed(plan_report(report, dict(model=str(tiny_folder), t_max=64, budget=64) | given))
        assert re.search(message, found.get(what, "")), (what, found)
    test = rv.load_problems("arithmetic", limit=6)
    test.save(tmp_path / "test.jsonl")
    tiny = load_model(tiny_folder)
    traces = rv.generate_traces(tiny, test, rv.Sampling(64), progress=False)
    traces.save(tmp_path / "traces.parquet")
    pruned = rv.prune(tiny, rv.calibration_set("rac", tiny, traces=traces, tokens=200), progress=False).save(
        tmp_path / "pruned"
    )
    (tmp_path / "bad.jsonl").write_text(json.dumps({"prompt": "x", "tests": "none"}))
    own = dict(test_problems=str(tmp_path / "test.jsonl"), calibration_problems="arithmetic")
    bad = own | dict(test_problems=str(tmp_path / "bad.jsonl"))
    more = [
        (
            "figure2",
            "rac tokens",
            own | dict(trace_source=str(tmp_path / "traces.parquet"), calibration_tokens=300),
            "of the test problems are in it",
        ),
        ("runtime", "what calibrated the model", dict(model=str(pruned)), "of the test problems calibrated"),
        ("runtime", "grading", bad, "its tests cannot be read"),
        ("solvers", "traced tokens", dict(calibration_problems=mine, calibration_tokens=100_000), "at most"),
    ]
    for report, what, given, message in more:
        found = failed(plan_report(report, dict(model=str(tiny_folder), t_max=64, budget=64) | given))
        assert re.search(message, found.get(what, "")), (what, found)
    assert "methods must be a list that is not empty" in failed(plan_report("solvers", dict(methods=[])))["comparisons"]
    assert "seeds must be a list" in failed(plan_report("seeds", dict(seeds=3)))["comparisons"]
    folder = shutil.copytree(tiny_folder, tmp_path / "without")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    assert "git lfs pull" in failed(plan_report("figure2", dict(model=str(folder))))["weights"]
    (folder / "model.safetensors").unlink()
    assert "has no *.safetensors" in failed(plan_report("figure2", dict(model=str(folder))))["weights"]
