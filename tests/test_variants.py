"""One study at several values of a parameter, how far trace sources are apart, and what the paper prints."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import racviz as rv
from racviz.exceptions import ParameterError
from racviz.models import load_model
from racviz.store import Store
from racviz.study import RESULT_COLUMNS, Study
from racviz.study.policies import degrees_between, distances, kl_per_token, leading_subspaces, nats_per_token
from racviz.study.variants import MEASURED, variant, vary
from racviz.tiny.teacher import teacher_traces

SMALL = dict(
    sources=("prompt", "rac"),
    calibration_tokens=800,
    t_max=24,
    budget=12,
    problems=4,
    batch_size=32,
    method="wanda",
    progress=False,
)


@pytest.fixture
def study(tmp_path, tiny_folder):
    return Study(**SMALL, model=str(tiny_folder), run=str(tmp_path / "run"), store=Store(tmp_path / "store"))


def test_variants_are_studies_of_their_own_with_what_they_share_made_once(study, monkeypatch):
    loads = []
    real = load_model
    monkeypatch.setattr("racviz.study.steps.load_model", lambda name, **how: loads.append(str(name)) or real(name, **how))
    results, evaluations = vary(study, "seed", [0, 1], errors=True)
    assert list(results.columns) == [*RESULT_COLUMNS, *MEASURED, "variant"]
    assert results.groupby("variant").size().to_dict() == {"0": 3, "1": 3} and set(evaluations["variant"]) == {"0", "1"}
    assert loads.count(study.model) == 1, "the dense model is loaded once"
    alone = Study(
        **SMALL | dict(seed=1), model=study.model, run=study.run + "x", store=Store(study.store.root.parent / "other")
    )
    mine = results[(results["variant"] == "1") & (results["source"] == "rac")].iloc[0]
    assert mine["tokens"] == alone.row("rac", 0.5)["tokens"] and mine["decode_error"] > 0


def test_what_does_not_change_the_dense_model_s_answers_has_it_once(study):
    results, evaluations = vary(study, "thirds", [[1], [1, 3]])
    assert (results["source"] == "dense").sum() == 1 and set(results["variant"]) == {"1", "1, 3"}
    assert (evaluations["source"] == "dense").sum() == 4


def test_variants_that_are_files_are_named_without_their_folders(study, tiny, tmp_path):
    rows = [dict(prompt=f"What is {k} + 1?", response="<think> so </think> 2") for k in range(60)]
    paths = []
    for name in ("one.jsonl", "two.jsonl"):
        paths.append(str(tmp_path / name))
        Path(paths[-1]).write_text("\n".join(map(json.dumps, rows)))
    results, evaluations = vary(study, "trace_source", paths)
    for frame in (results, evaluations):
        assert set(frame["variant"]) == {"one.jsonl", "two.jsonl"}
        assert not frame.astype(str).apply(lambda column: column.str.contains(str(tmp_path), regex=False)).any().any()
    (tmp_path / "other").mkdir()
    with pytest.raises(ParameterError, match="both called 'one.jsonl'"):
        vary(study, "trace_source", [paths[0], str(tmp_path / "other" / "one.jsonl")])


@pytest.mark.parametrize(
    ("parameter", "values", "message"),
    [("sed", [0], "Did you mean 'seed'"), ("seed", [], "seeds must be a list"), ("method", ["wnda"], "Did you mean 'wanda'")],
)
def test_what_cannot_vary(study, parameter, values, message):
    with pytest.raises(ParameterError, match=message):
        vary(study, parameter, values)


def test_nats_and_kl_are_sums_of_the_definition(tiny, make_tiny):
    other = make_tiny(num_hidden_layers=1)
    traces = rv.generate_traces(tiny, rv.load_problems("arithmetic", limit=3), rv.Sampling(10, 1.0), progress=False)
    nats, kls = [], []
    for t in traces:
        ids = torch.tensor([[*t.prompt_ids, *t.output_ids]])
        with torch.no_grad():
            p, q = (torch.softmax(m.model(ids).logits[0].double(), -1).numpy() for m in (tiny, other))
        for k, token in enumerate(t.output_ids):
            at = len(t.prompt_ids) - 1 + k
            nats.append(-math.log(q[at, token]))
            kls.append(float((p[at] * (np.log(p[at]) - np.log(q[at]))).sum()))
    assert nats_per_token(other, traces) == pytest.approx(np.mean(nats), rel=1e-4)
    assert kl_per_token(tiny, other, traces) == pytest.approx(np.mean(kls), rel=1e-4)
    assert kl_per_token(tiny, tiny, traces) == pytest.approx(0, abs=1e-6)


def test_the_angle_between_subspaces(tiny):
    problems = rv.load_problems("arithmetic", split="calibration", limit=40)
    moments = rv.second_moments(tiny, rv.calibration_set("prompt", tiny, problems=problems, tokens=800))
    generic = rv.second_moments(tiny, rv.calibration_set("generic", tiny, tokens=800))
    own, other = leading_subspaces(moments), leading_subspaces(generic)
    assert degrees_between(own, own) == pytest.approx(0, abs=0.1)
    assert 1 < degrees_between(own, other) < 90
    assert degrees_between(own, other) == pytest.approx(degrees_between(other, own), abs=1e-6)


def test_a_teacher_s_text_calibrates_and_is_off_policy(tmp_path):
    model = load_model("tiny-reasoner-small")
    traces = teacher_traces(model, "arithmetic", 0, 3, 1000)
    text = model.tokenizer.decode(traces[0].output_ids)
    assert text.startswith("<think>Plan:") and text.endswith("<eos>") and "</think>" in text
    assert [t.problem_id for t in traces] == [p.id for p in rv.load_problems("arithmetic", split="calibration", limit=3)]
    assert traces[0].content_hash == rv.load_problems("arithmetic", split="calibration", limit=1)[0].content_hash
    cut = teacher_traces(model, "arithmetic", 0, 1, 10)[0]
    assert len(cut.output_ids) == 10 and cut.finish_reason == "length"
    small = SMALL | dict(sources=("rac",), model="tiny-reasoner-small", t_max=400, calibration_tokens=8000)
    study = Study(**small, run=str(tmp_path / "r"), store=Store(tmp_path / "s"))
    table = distances(study, ["own", "teacher"]).set_index("variant")
    assert table.loc["own", "nats a token"] < table.loc["teacher", "nats a token"]
    assert table.loc["own", "KL from the maker"] == pytest.approx(0, abs=1e-6) and math.isnan(
        table.loc["teacher", "KL from the maker"]
    )
    assert table.loc["own", "degrees from the first"] < 0.1 < table.loc["teacher", "degrees from the first"]
    with pytest.raises(ParameterError, match="trace_source='teacher' is for the embedded models"):
        teacher_traces(load_model("tiny-reasoner-small"), "cooking", 0, 1, 10)


def test_a_variant_s_errors_stand_beside_those_of_the_study(tmp_path, tiny_folder):
    given = SMALL | dict(model=str(tiny_folder), sources=("prompt", "rac"), run=str(tmp_path / "run"))
    study = Study(**given, store=Store(tmp_path / "store"))
    own = study.errors(0.5).frame
    other = variant(study, "method", "magnitude").errors(0.5).frame
    files = {path.name: pd.read_parquet(path) for path in (tmp_path / "run" / "errors").glob("*.parquet")}
    assert set(files) == {"hidden-final-0.5-one-pass.parquet", "hidden-final-0.5-one-pass-method=magnitude.parquet"}
    pd.testing.assert_frame_equal(files["hidden-final-0.5-one-pass.parquet"], own, check_dtype=False)
    assert not other["e_rac"].equals(own["e_rac"])


def test_traces_from_a_file_have_a_distance_and_no_maker_here(tmp_path, tiny_folder):
    given = SMALL | dict(model=str(tiny_folder), sources=("rac",), run=str(tmp_path / "run"))
    study = Study(**given, store=Store(tmp_path / "store"))
    study.traces().save(tmp_path / "own.parquet")
    table = distances(study, ["own", str(tmp_path / "own.parquet")])
    assert table["nats a token"][0] == pytest.approx(table["nats a token"][1]) and np.isnan(table["KL from the maker"][1])
    assert table["KL from the maker"][0] == pytest.approx(0, abs=1e-6) and table["degrees from the first"][1] == pytest.approx(
        0, abs=0.1
    )
