"""Calibration sets of tokens in no order, and what they have seen."""

import numpy as np
import pandas as pd
import pytest

from racviz.results import read_results
from racviz.store import Store
from racviz.study import Study
from racviz.study.coverage import (
    PACKED,
    SHUFFLED,
    coverage,
    coverage_sentence,
    evaluate_sets,
    other_sets,
    random_of,
    vocabularies,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_folder):
    folder = tmp_path_factory.mktemp("coverage")
    return Study(
        model=str(tiny_folder), calibration_tokens=1500, t_max=40, budget=10, problems=4, batch_size=32, sparsities=[0.5], method="wanda",
        store=Store(folder / "store"), progress=False, run=str(folder / "run"),
    )  # fmt: skip


def test_each_set_holds_only_tokens_of_its_vocabulary_and_as_many_as_the_others(study):
    known, sets = vocabularies(study), other_sets(study)
    flat = {name: np.concatenate(each.sequences) for name, each in sets.items()}
    assert {name: len(ids) for name, ids in flat.items()} == dict.fromkeys(sets, 1500)
    assert set(flat[random_of("prompts")]) <= set(known["prompts"])
    assert set(flat[random_of("thoughts")]) <= set(known["thoughts"])
    assert not set(flat[random_of("neither")]) & (set(known["prompts"]) | set(known["thoughts"]))
    assert not set(flat[random_of("all")]) & set(study.dense.tokenizer.all_special_ids)
    prompt = np.concatenate(study.calibration("prompt").sequences)
    shuffled = flat[SHUFFLED]
    assert (flat[PACKED] == prompt).all() and max(map(len, sets[PACKED].sequences)) > max(
        map(len, study.calibration("prompt").sequences)
    )
    assert sorted(shuffled) == sorted(prompt) and not (shuffled == prompt).all()
    again = other_sets(study)
    assert all(again[name].fingerprint == sets[name].fingerprint for name in sets)
    assert len({each.fingerprint for each in sets.values()}) == len(sets)


def test_coverage_counts_what_the_thoughts_say(study):
    table = coverage(study, other_sets(study)).set_index("calibration")
    own = study.calibration("rac")
    said = [
        t for ids, phases in zip(own.sequences, own.phases, strict=True) for t, p in zip(ids, phases, strict=True) if p == 1
    ]
    prompts = {int(t) for ids in study.calibration("prompt").sequences for t in ids}
    share = 100 * sum(int(t) in prompts for t in said) / len(said)
    assert table.loc["prompt"].iloc[2] == pytest.approx(share) == table.loc[SHUFFLED].iloc[2]
    assert table.loc["rac"].iloc[2] == 100 and table.loc["prompt", "distinct"] == len(prompts)


def test_a_set_of_its_own_takes_no_other_model_s_answers(study):
    sets = other_sets(study)
    frame = evaluate_sets(study, sets, 0.5)
    assert set(frame["source"]) == {"dense", *study.sources, *sets}
    assert (frame.groupby("source").size() == 4).all()
    kept = [row for row in study.store.entries() if row["kind"] == "checkpoints"]
    assert len(kept) == len(study.sources) + len(sets), "a checkpoint a set"
    table = read_results(study.folder)
    assert set(table["source"]) == set(frame["source"]) and len(table) == len(set(frame["source"]))
    assert study.calibration("generic").label["source"] == "generic", "the study's own is as it was"


def test_the_conclusion_turns_with_the_answers():
    def answers(**right):
        names = dict(
            generic="generic",
            prompt="prompt",
            thoughts=random_of("thoughts"),
            neither=random_of("neither"),
            prompts=random_of("prompts"),
        )
        rows = [(names[k], 0.5, f"p{p}", float(p < count)) for k, count in right.items() for p in range(60)]
        return pd.DataFrame(rows, columns=["source", "sparsity", "problem_id", "correct"])

    said = coverage_sentence(answers(generic=20, prompt=1, thoughts=40, neither=5, prompts=4))
    assert "Generic text is above prompts alone" in said and said.endswith("beyond tokens that no thought holds.")
    wide = coverage_sentence(answers(generic=20, prompt=1, thoughts=40, neither=20, prompts=2))
    assert "and so does a vocabulary that is merely wider" in wide
    only = coverage_sentence(answers(generic=1, prompt=20, thoughts=20, neither=20, prompts=2))
    assert "is below prompts alone" in only and "that those of thoughts help more cannot be told" in only
    assert "cannot be told" in coverage_sentence(answers(generic=5, prompt=5, thoughts=5, neither=5, prompts=5))
