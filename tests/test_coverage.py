"""Calibration sets of tokens in no order, and what they have seen."""

import numpy as np
import pytest

from racviz.store import Store
from racviz.study import Study
from racviz.study.coverage import coverage, evaluate_sets, orderless_sets, vocabularies


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_folder):
    folder = tmp_path_factory.mktemp("coverage")
    return Study(
        model=str(tiny_folder), calibration_tokens=1500, t_max=40, budget=10, problems=4, batch_size=32, sparsities=[0.5], method="wanda",
        store=Store(folder / "store"), progress=False, run=str(folder / "run"),
    )  # fmt: skip


def test_each_set_holds_only_tokens_of_its_vocabulary_and_as_many_as_the_others(study):
    known, sets = vocabularies(study), orderless_sets(study)
    flat = {name: np.concatenate(each.sequences) for name, each in sets.items()}
    assert {name: len(ids) for name, ids in flat.items()} == dict.fromkeys(sets, 1500)
    assert set(flat["random: tokens of prompts"]) <= set(known["prompts"])
    assert set(flat["random: tokens of thoughts"]) <= set(known["thoughts"])
    assert not set(flat["random: tokens of neither"]) & (set(known["prompts"]) | set(known["thoughts"]))
    assert not set(flat["random: all tokens"]) & set(study.dense.tokenizer.all_special_ids)
    prompt = np.concatenate(study.calibration("prompt").sequences)
    shuffled = flat["the prompts' tokens, shuffled"]
    assert sorted(shuffled) == sorted(prompt) and not (shuffled == prompt).all()
    again = orderless_sets(study)
    assert all(again[name].fingerprint == sets[name].fingerprint for name in sets)
    assert len({each.fingerprint for each in sets.values()}) == len(sets)


def test_coverage_counts_what_the_thoughts_say(study):
    table = coverage(study, orderless_sets(study)).set_index("calibration")
    own = study.calibration("rac")
    said = [
        t for ids, phases in zip(own.sequences, own.phases, strict=True) for t, p in zip(ids, phases, strict=True) if p == 1
    ]
    prompts = {int(t) for ids in study.calibration("prompt").sequences for t in ids}
    share = 100 * sum(int(t) in prompts for t in said) / len(said)
    assert table.loc["prompt"].iloc[2] == pytest.approx(share) == table.loc["the prompts' tokens, shuffled"].iloc[2]
    assert table.loc["rac"].iloc[2] == 100 and table.loc["prompt", "distinct"] == len(prompts)


def test_a_set_of_its_own_takes_no_other_model_s_answers(study):
    sets = orderless_sets(study)
    frame = evaluate_sets(study, sets, 0.5)
    assert set(frame["source"]) == {"dense", *study.sources, *sets}
    assert (frame.groupby("source").size() == 4).all()
    kept = [row for row in study.store.entries() if row["kind"] == "checkpoints"]
    assert len(kept) == len(study.sources) + len(sets), "a checkpoint a set"
    assert study.calibration("generic").label["source"] == "generic", "the study's own is as it was"
