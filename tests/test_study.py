"""A whole comparison: what is cached, what a kill leaves, what the tables say."""

import dataclasses
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from racviz.exceptions import DataError, ParameterError
from racviz.generation import Sampling
from racviz.problems import load_problems
from racviz.store import Store
from racviz.study import RESULT_COLUMNS, Study, as_parameters, study_from

DESIGN_COLUMNS = """model, domain, source, trace_source, method, pattern, scope, thirds, allocation, sparsity, sparsity_all, mode,
calibration_tokens, t_max, budget, seed, backend, problems, samples, accuracy, se, tokens, minutes, timed_problems, mean_cot,
median_cot, truncated"""
SMALL = dict(
    sources=("prompt", "rac"), calibration_tokens=1500, t_max=24, budget=20, problems=5, batch_size=32, sequence_length=96,
    sparsities=(0.5,), progress=False,
)  # fmt: skip


def study_in(folder: Path, model: Path, **changes) -> Study:
    return Study(**{**SMALL, "model": str(model), "run": str(folder / "run"), "store": Store(folder / "store"), **changes})


def run_all(study: Study) -> None:
    """Every step that leaves an artefact."""
    study.traces()
    study.rollouts()
    study.errors(0.5)
    study.layerwise(0.5)
    study.evaluations()
    study.results()


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of the store and of the run, except what holds times of day and durations."""
    timed = ("manifest.json", "racviz_report.csv")
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in timed
    }


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory):
    """A run that was not disturbed: its study and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    study = study_in(folder, tiny_folder)
    run_all(study)
    return study, folder


def patched(monkeypatch, target: str, wrap) -> None:
    """Wrap a function where a module, or one of the modules of a folder, has it."""
    module, name = target.rsplit(".", 1)
    importlib.import_module(module)
    places = [place for key, place in sys.modules.items() if key == module or key.startswith(f"{module}.")]
    found = [place for place in places if name in vars(place)]
    assert found, target
    for place in found:
        monkeypatch.setattr(place, name, wrap(getattr(place, name)))


# --- killed and begun again --------------------------------------------------------------------------------------------

TRACING = Sampling(24)
EVALUATING = Sampling(20)
GREEDY = Sampling(20, temperature=0.0)
KILLS = {
    "in the second batch of the traces": ("racviz.generation.hf.choose", TRACING, 30),
    "while the first artefact is checked": ("racviz.store.hash_file", None, 1),
    "while traces are written": ("racviz.store.files.settle", None, 3),
    "in the rollouts": ("racviz.generation.hf.choose", GREEDY, 9),
    "in the moments": ("racviz.pruning.moments._accumulate", None, 7),
    "while the second model is pruned": ("racviz.pruning.run.prune_linear", None, 20),
    "between weights and provenance of a checkpoint": ("racviz.models.loaded.write_text", None, 2),
    "in the errors": ("racviz.reconstruction._states", None, 2),
    "in the layer-wise errors": ("racviz.layerwise.relative_error", None, 5),
    "in the second evaluation": ("racviz.generation.hf.choose", EVALUATING, 25),
    "while answers are graded": ("racviz.evaluation.grade_all", None, 2),
    "before the manifest of the run": ("racviz.study.write_text", None, 2),
}


@pytest.mark.parametrize("where", KILLS)
def test_a_killed_run_ends_as_one_that_was_not_killed(where, whole, tiny_folder, tmp_path, monkeypatch):
    target, sampling, at = KILLS[where]
    how = [KeyboardInterrupt, RuntimeError][list(KILLS).index(where) % 2]
    calls = []

    def bomb(function):
        def wrapped(*args, **options):
            if sampling is None or sampling in args:
                calls.append(1)
                if len(calls) == at:
                    raise how("killed")
            return function(*args, **options)

        return wrapped

    with monkeypatch.context() as patch:
        patched(patch, target, bomb)
        with pytest.raises(how, match="killed"):
            run_all(study_in(tmp_path, tiny_folder))
    assert len(calls) == at, "the kill came where it was meant to"
    half = snapshot(tmp_path)
    assert not [name for name in half if ".tmp" in name], "nothing half-done is left"
    finished = snapshot(whole[1])
    assert len(half) < len(finished) or where == "before the manifest of the run"
    assert all(finished[name] == content for name, content in half.items())
    run_all(study_in(tmp_path, tiny_folder))
    assert snapshot(tmp_path) == finished
    assert (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.slow
def test_a_run_that_the_system_killed_ends_as_one_that_was_not_killed(whole, tiny_folder, tmp_path):
    """SIGKILL leaves no time to clean up: what is left behind must not be taken for an artefact."""
    script = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from pathlib import Path
from racviz.pruning import run
from test_study import run_all, study_in
prune, calls = run.prune_linear, []
def bomb(*args, **options):
    calls.append(1)
    if len(calls) == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return prune(*args, **options)
run.prune_linear = bomb
run_all(study_in(Path({str(tmp_path)!r}), Path({str(tiny_folder)!r})))
"""
    killed = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = [p for p in (tmp_path / "store" / "checkpoints").iterdir() if p.name.endswith(".tmp")]
    assert left and len(list((tmp_path / "store" / "checkpoints").iterdir())) == 2
    run_all(study_in(tmp_path, tiny_folder))
    assert not any(draft.exists() for draft in left)
    assert snapshot(tmp_path) == snapshot(whole[1])


WORK = [
    "racviz.generation.hf.choose", "racviz.generation.hf.generate", "racviz.pruning.run.prune_linear", "racviz.study.steps.prune",
    "racviz.study.steps.second_moments", "racviz.pruning.moments.run_block", "racviz.study.steps.reconstruction_errors",
    "racviz.reconstruction._states", "racviz.study.steps.layerwise_errors", "racviz.study.steps.evaluate",
    "racviz.study.steps.generate_traces",
]  # fmt: skip


@pytest.fixture
def work(monkeypatch):
    """How often each piece of work is done from here on."""
    calls: dict[str, int] = {}

    def counting(name):
        def wrap(function):
            def wrapped(*args, **options):
                calls[name] = calls.get(name, 0) + 1
                return function(*args, **options)

            return wrapped

        return wrap

    for target in WORK:
        patched(monkeypatch, target, counting(target.rsplit(".", 1)[1]))
    return calls


def test_a_second_study_computes_nothing_again(whole, tiny_folder, work):
    study, folder = whole
    before = snapshot(folder)
    again = study_in(folder, tiny_folder)
    run_all(again)
    assert work == {} and snapshot(folder) == before and again == study


def test_work_is_counted(tiny_folder, tmp_path, work):
    """The test above can fail: a run of its own does every piece of work."""
    run_all(study_in(tmp_path, tiny_folder, sparsities=(0.5, 0.6)))  # of one sparsity no moments are kept
    assert set(work) == {target.rsplit(".", 1)[1] for target in WORK}


def test_only_what_changed_is_computed(whole, tiny_folder, tmp_path, work):
    folder = shutil.copytree(whole[1], tmp_path / "copy")
    study_in(folder, tiny_folder, sparsities=(0.5, 0.6)).results()
    assert work.pop("prune") == 2 and work.pop("prune_linear") == 2 * 14 and work.pop("second_moments") == 2
    assert work.pop("evaluate") == 2 and "reconstruction_errors" not in work
    work.clear()
    study_in(folder, tiny_folder, budget=21).results()
    assert work["evaluate"] == 3 and "prune" not in work and "second_moments" not in work
    work.clear()
    study_in(folder, tiny_folder, seed=1).prune("rac", 0.5)
    assert work["generate_traces"] == 1 and work["prune"] == 1


# --- steps -------------------------------------------------------------------------------------------------------------


def test_traces_are_as_many_as_the_tokens_ask_for(whole, tiny_folder, tmp_path):
    study, _ = whole
    pool = load_problems("arithmetic", split="calibration", limit=300)
    made = study.traces()
    assert [t.problem_id for t in made] == [p.id for p in pool[: len(made)]] and len(made) % 64 == 0
    more = study_in(tmp_path, tiny_folder, calibration_tokens=4500)
    assert len(more.traces()) == 128 and more.traces().rows[:64] == made.rows[:64]
    assert more.calibration("rac").tokens == more.calibration("prompt").tokens == 4500


def test_the_sources_of_a_study(whole, tiny_folder, tmp_path):
    study = study_in(tmp_path, tiny_folder, sources=("generic", "prompt", "rac", "prompt-same-problems"))
    sets = {source: study.calibration(source) for source in study.sources}
    assert {s.tokens for s in sets.values()} == {1500}
    assert {name for name, s in sets.items() if s.decode_tokens} == {"rac"}
    test = {p.content_hash for p in study.test()}
    assert not test & {h for s in sets.values() for h in s.problems}
    assert max(map(len, sets["generic"].sequences)) == 96
    assert sets["rac"].fingerprint == whole[0].calibration("rac").fingerprint


def test_rollouts_are_greedy_and_on_test_problems(whole):
    study, _ = whole
    rollouts = study.rollouts()
    assert [t.problem_id for t in rollouts] == [p.id for p in load_problems("arithmetic", limit=5)]
    assert rollouts.sampling["temperature"] == 0 and rollouts.sampling["max_new_tokens"] == 20


def test_pruned_models_are_pruned_and_the_dense_one_is_not(whole):
    import torch

    study, _ = whole
    pruned = study.prune("rac", 0.5)
    assert pruned.provenance["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert pruned.calibrated_on == set(study.calibration("rac").problems)
    for name, weight in study.dense.model.named_parameters():
        linear = name.endswith("proj.weight")
        zeros = float((pruned.model.get_parameter(name) == 0).float().mean())
        assert zeros == pytest.approx(0.5, abs=0.02) if linear else torch.equal(weight, pruned.model.get_parameter(name))
        assert not linear or float((weight == 0).float().mean()) < 0.01


def test_errors_are_written_to_the_run(whole):
    study, folder = whole
    frame = pd.read_parquet(folder / "run" / "errors" / "hidden-final-0.5-one-pass.parquet")
    expected = sum(len(t.prompt_ids) + len(t.output_ids) for t in study.rollouts())
    assert len(frame) == expected and {"e_prompt", "e_rac"} <= set(frame.columns)
    pd.testing.assert_frame_equal(frame, study.errors(0.5).frame)
    assert study.errors(0.5).label["domain"] == "arithmetic"


def test_both_modes_side_by_side(whole, tiny_folder, tmp_path):
    study = study_in(shutil.copytree(whole[1], tmp_path / "copy"), tiny_folder)
    one, two = study.errors(0.5), study.errors(0.5, mode="sequential")
    assert (one.label["mode"], two.label["mode"]) == ("one-pass", "sequential")
    assert not one.frame["e_rac"].equals(two.frame["e_rac"]) and one.frame["norm_dense"].equals(two.frame["norm_dense"])
    assert {p.name for p in (study.folder / "errors").iterdir()} == {
        "hidden-final-0.5-one-pass.parquet",
        "hidden-final-0.5-sequential.parquet",
    }


def test_traces_of_another_model_are_off_policy(tiny, tiny_folder, tmp_path):
    other = tiny.copy()
    with __import__("torch").no_grad():
        other.model.lm_head.weight.mul_(1.5)
    other.save(tmp_path / "other")
    study = study_in(tmp_path, tiny_folder, trace_source=str(tmp_path / "other"))
    calibration = study.calibration("rac")
    assert calibration.label["on_policy"] is False and calibration.label["trace_source"] == "other"
    assert study.traces().model_fingerprint == study.tracer.fingerprint != study.dense.fingerprint
    assert study_in(tmp_path, tiny_folder, trace_source=str(tiny_folder)).tracer.name == str(tiny_folder)


def test_problems_and_texts_from_files(tiny_folder, tmp_path):
    load_problems("tracing", split="calibration", limit=70).save(tmp_path / "mine.jsonl")
    load_problems("tracing", limit=3).save(tmp_path / "judge.jsonl")
    (tmp_path / "text.txt").write_text("One paragraph.\n\n" + "Another one, which is longer. " * 200)
    study = study_in(
        tmp_path, tiny_folder, domain="mine", calibration_problems=str(tmp_path / "mine.jsonl"),
        test_problems=str(tmp_path / "judge.jsonl"), generic_text=str(tmp_path / "text.txt"), sources=("generic", "rac"),
    )  # fmt: skip
    assert [t.problem_id for t in study.rollouts()] == [p.id for p in load_problems("tracing", limit=3)]
    assert study.calibration("generic").label["text"] == "given texts"
    assert len(study.traces()) == 64 and set(study.results()["domain"]) == {"mine"}
    few = study_in(tmp_path, tiny_folder, calibration_problems=str(tmp_path / "judge.jsonl"), calibration_tokens=1500)
    with pytest.raises(DataError, match=r"'rac' has \d+ calibration tokens; tokens=1500 asks for more"):
        few.calibration("rac")


def test_a_problem_that_calibrated_is_refused_as_a_test_problem(tiny_folder, tmp_path):
    from racviz.exceptions import OverlapError

    load_problems("arithmetic", split="calibration", limit=70).save(tmp_path / "mine.jsonl")
    study = study_in(
        tmp_path, tiny_folder, test_problems=str(tmp_path / "mine.jsonl"), calibration_problems="arithmetic", problems=70
    )
    for step in (lambda: study.errors(0.5), lambda: study.layerwise(0.5), lambda: study.evaluation("rac", 0.5)):
        with pytest.raises(OverlapError, match="of the test problems calibrated"):
            step()


# --- tables ------------------------------------------------------------------------------------------------------------


def test_results_have_the_columns_of_the_design(whole):
    study, folder = whole
    table = pd.read_csv(folder / "run" / "results.csv")
    assert list(table.columns) == RESULT_COLUMNS == [c.strip() for c in DESIGN_COLUMNS.replace("\n", " ").split(",")]
    assert list(zip(table["source"], table["sparsity"], strict=True)) == [("dense", 0.0), ("prompt", 0.5), ("rac", 0.5)]
    assert list(table["method"]) == ["dense", "sparsegpt", "sparsegpt"] and list(table["calibration_tokens"]) == [0, 1500, 1500]
    assert list(table["trace_source"].fillna("")) == ["", "", "own"] and set(table["thirds"]) == {"1,2,3"}
    assert (
        (table["sparsity_all"] > 0).tolist() == [False, True, True]
        and table["minutes"].isna().all()
        and table["timed_problems"].isna().all()
    )


def test_results_sum_up_the_evaluations(whole):
    study, folder = whole
    table, answers = pd.read_csv(folder / "run" / "results.csv"), study.evaluations()
    for row in table.itertuples():
        mine = answers[(answers["source"] == row.source) & (answers["sparsity"] == row.sparsity)]
        assert len(mine) == row.problems == 5 and row.tokens == mine["output_tokens"].sum()
        assert row.accuracy == pytest.approx(mine["correct"].mean()) and row.mean_cot == pytest.approx(
            mine["think_tokens"].mean()
        )
        assert row.truncated == pytest.approx((mine["finish_reason"] == "length").mean())
    assert "output_ids" not in answers and len(answers) == 15


def test_minutes_come_from_a_timing_pass_alone(whole, tiny_folder, tmp_path, work):
    folder = shutil.copytree(whole[1], tmp_path / "copy")
    study = study_in(folder, tiny_folder)
    table = study.results(timing_problems=2)
    assert (
        (table["minutes"] > 0).all()
        and set(table["timed_problems"]) == {2}
        and table["accuracy"].equals(whole[0].results()["accuracy"])
    )
    work.clear()
    again = study_in(folder, tiny_folder).results(timing_problems=2)
    assert work == {} and again["minutes"].equals(table["minutes"])
    assert study_in(folder, tiny_folder).results()["minutes"].isna().all()


def test_the_manifest_says_what_to_do_again(whole):
    study, folder = whole
    manifest = json.loads((folder / "run" / "manifest.json").read_text(encoding="utf-8"))
    again = study_from(manifest["parameters"])
    assert "/" not in again.model + again.run, "no folders of this machine"
    assert Path(study.model).name == again.model and Path(study.run).name == again.run
    assert dataclasses.replace(again, model=study.model, run=study.run) == study
    keys = {(row["kind"], row["key"]) for row in study.store.entries() if row["kind"] != "batches"}
    assert {(kind, key) for key, kind in manifest["keys"].items()} == keys
    assert {"torch", "transformers", "racviz", "python"} <= set(manifest["versions"]) and manifest["embedded"] is False
    table = study.provenance()
    assert list(table.columns) == ["key", "value"] and {"model", "seed", "torch", "cores"} <= set(table["key"])


def test_samples_are_answers_to_the_same_problem(tiny_folder, tmp_path):
    table = study_in(tmp_path, tiny_folder, samples=2, sources=("prompt",)).results()
    assert set(table["samples"]) == {2} and set(table["problems"]) == {5}


# --- parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"),
    [("sparsites", "sparsities"), ("calibration_token", "calibration_tokens"), ("Model", "model"), ("t-max", "t_max")],
)
def test_unknown_parameters_are_answered_with_the_nearest(name, near):
    with pytest.raises(ParameterError, match=f"parameter must be one of 'model', .*; not {name!r}. Did you mean {near!r}"):
        study_from({name: 1})


@pytest.mark.parametrize("name", ["store", "progress", "memory"])
def test_what_is_no_parameter_is_none(name):
    with pytest.raises(ParameterError, match="parameter must be one of"):
        study_from({name: None})


BAD = [
    ("sources", "rac"), ("sources", []), ("sources", ["c4"]), ("sources", None), ("sources", [1]), ("method", "wanda2"),
    ("method", None), ("pattern", "2;4"), ("mode", "onepass"), ("backend", "vlm"), ("sparsities", 0.5), ("sparsities", []),
    ("sparsities", [1.0]), ("sparsities", [-0.1]), ("sparsities", [50]), ("sparsities", ["0.5"]), ("sparsities", [float("nan")]),
    ("sparsities", [True]), ("calibration_tokens", 0), ("calibration_tokens", 1e4), ("t_max", 0), ("t_max", "1024"), ("budget", -1),
    ("problems", 0), ("problems", 2.5), ("samples", 0), ("samples", True), ("batch_size", 0), ("sequence_length", 0),
    ("temperature", -1), ("temperature", "hot"), ("temperature", None), ("top_p", 0), ("top_p", 2), ("top_p", "x"),
    ("thirds", [0]), ("thirds", [4]), ("thirds", []), ("thirds", 1), ("thirds", ["1"]), ("scope", "("), ("scope", 3), ("seed", "x"),
    ("seed", 1.5), ("run", ""), ("run", "  "), ("run", 3), ("model", ""), ("model", 3), ("domain", 3), ("trace_source", None),
    ("test_problems", 3), ("calibration_problems", None), ("generic_text", 7), ("device", 0), ("dtype", "int8"), ("dtype", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value!r}" for name, value in BAD])
def test_bad_values_are_refused_before_any_work(name, value):
    with pytest.raises(ParameterError) as caught:
        study_from({name: value})
    assert re.match(rf"{name[:-1] if name.endswith('s') else name}", str(caught.value)), "the message begins with the parameter"
    with pytest.raises(ParameterError):
        Study(**{name: value})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(model="tiny-reasonr"), ParameterError, "Did you mean 'tiny-reasoner'"),
        (dict(domain="arithmetik"), ParameterError, "Did you mean 'arithmetic'"),
        (dict(trace_source="tiny-reasonr"), ParameterError, "Did you mean 'tiny-reasoner'"),
        (dict(device="gpu"), ParameterError, "device must be"),
        (dict(generic_text="absent.txt", sources=("generic",)), DataError, "absent.txt does not exist"),
        (dict(test_problems="absent.jsonl", calibration_problems="tracing"), DataError, "absent.jsonl does not exist"),
        (dict(problems=501), DataError, "500 test problems"),
        (dict(t_max=250), DataError, "exceeds the model's context of 256"),
        (dict(budget=250), DataError, "exceeds the model's context of 256"),
        (dict(scope="no_such_linear"), ParameterError, "selects no linear"),
    ],
)
def test_values_that_only_the_work_can_refuse(tiny_folder, tmp_path, change, error, message):
    study = study_in(tmp_path, tiny_folder, sources=("rac",))
    with pytest.raises(error, match=message):
        dataclasses.replace(study, **change).errors(0.5)


def test_parameters_are_plain_and_lists_are_as_good_as_tuples():
    study = Study(sparsities=[0.5, 0.6], sources=["rac"], thirds=[1, 3])
    assert study.sparsities == (0.5, 0.6) and study == Study(sparsities=(0.5, 0.6), sources=("rac",), thirds=(1, 3))
    plain = json.loads(json.dumps(as_parameters(study)))
    assert study_from(plain) == study and set(plain) == {f.name for f in dataclasses.fields(Study)} - {
        "store",
        "progress",
        "memory",
    }
    assert study_from({"model": Path("a/b"), "run": Path("c")}) == Study(model="a/b", run="c")
    assert Study(run="name").folder == Path("runs/name") and Study(run="some/where").folder == Path("some/where")


def test_moments_too_large_to_keep_are_made_anew_with_the_same_result(tiny_folder, tmp_path, monkeypatch):
    kept = study_in(tmp_path / "kept", tiny_folder).prune("rac", 0.5)
    monkeypatch.setattr("racviz.study.steps.REUSED_MOMENTS", 0)
    monkeypatch.setattr("racviz.study.steps.second_moments", None)  # not to be called
    anew = study_in(tmp_path / "anew", tiny_folder).prune("rac", 0.5)
    for name, value in kept.model.state_dict().items():
        assert (value - anew.model.state_dict()[name]).abs().max() < 1e-5, name


def test_a_source_with_fewer_tokens_is_labelled_with_what_it_has(tiny_folder, tmp_path):
    study = study_in(tmp_path, tiny_folder, sources=("rac", "prompt-same-problems"), calibration_tokens=3000)
    used = study.results().set_index("source")["calibration_tokens"]
    assert (
        used["rac"]
        == study.calibration_tokens
        > used["prompt-same-problems"]
        == study.calibration("prompt-same-problems").tokens
    )


def test_solvers_side_by_side(tiny_folder, tmp_path):
    from racviz.study.solvers import MEASURED, compare_solvers, with_method

    study = study_in(tmp_path, tiny_folder)
    results, evaluations = compare_solvers(study, ["magnitude", "sparsegpt", "magnitude"])
    assert results["method"].tolist() == ["dense", "magnitude", "magnitude", "sparsegpt", "sparsegpt"]
    assert list(results.columns) == [*RESULT_COLUMNS, *MEASURED, "variant"]
    alone = study_in(tmp_path, tiny_folder, method="sparsegpt", run=str(tmp_path / "alone"))
    row = results[(results["method"] == "sparsegpt") & (results["source"] == "rac")].iloc[0]
    frame = alone.errors(0.5).frame.query("phase == 'decode'")
    expected = (frame["e_rac"] / frame["norm_dense"]).groupby(frame["problem_id"]).median()
    assert (
        row["decode_error"] == pytest.approx(expected.median())
        and row["decode_low"] <= row["decode_error"] <= row["decode_high"]
    )
    assert row["solver_seconds"] > 0 and row["accuracy"] == alone.evaluation("rac", 0.5).summary()["accuracy"]
    assert set(evaluations["method"]) == {"dense", "magnitude", "sparsegpt"}
    assert pd.read_csv(study.folder / "results.csv").shape == results.shape
    other = with_method(study, "magnitude")
    assert other.traces() is study.traces() and other.dense is study.dense
    assert other.prune("rac", 0.5).fingerprint != study.prune("rac", 0.5).fingerprint
    with pytest.raises(ParameterError, match="methods must be a list"):
        compare_solvers(study, [])


def test_the_domain_of_given_problems_is_their_name():
    given = dict(calibration_problems="gsm8k", test_problems="some/MATH-500.jsonl?instruction=boxed")
    assert Study(**given).domain == "MATH-500" and Study(**given, domain="mine").domain == "mine"
    assert Study(test_problems="x.jsonl", sources=["generic"]).domain == "x"
    assert Study(test_problems="x.jsonl", trace_source="theirs.jsonl", sources=["generic", "rac"]).domain == "x"
    for sources in (["rac"], ["prompt", "generic"], ["prompt-same-problems"]):
        with pytest.raises(
            ParameterError,
            match=f"calibration_problems must be given where test_problems is, since the sources {'|'.join(sources)}",
        ):
            Study(test_problems="x.jsonl", sources=sources)
    assert study_from(as_parameters(Study(**given))) == Study(**given)


@pytest.mark.parametrize("change", [dict(sources=["rac", "rac"]), dict(sparsities=[0.5, 0.5]), dict(seed=-1)])
def test_nothing_is_counted_twice_and_seeds_are_counts(change):
    with pytest.raises(ParameterError, match="nothing stands twice|seed must be an integer >= 0"):
        Study(**change)


def test_a_timing_pass_of_fewer_than_no_problems(tiny_folder, tmp_path):
    for count in (-1, "abc", True):
        with pytest.raises(ParameterError, match="timing_problems must be an integer >= 0"):
            study_in(tmp_path, tiny_folder).results(count)
