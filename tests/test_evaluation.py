"""Accuracy, standard error, lengths, truncation and timing, against computations by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz import evaluation as room
from racviz.evaluation import Evaluation, evaluate, time_generation
from racviz.exceptions import DataError, OverlapError, ParameterError
from racviz.generation import Sampling
from racviz.models import tokenizer_fingerprint
from racviz.problems import Problem, load_problems
from racviz.prompting import PLAIN
from racviz.traces import Trace, Traces, generate_traces

COLUMNS = [
    "problem_id", "sample", "answer", "correct", "prompt_tokens", "think_tokens", "output_tokens", "finish_reason", "output_ids",
]  # fmt: skip
PROBLEMS = [Problem("a", "1 + 1?", "2"), Problem("b", "40 + 2?", "42"), Problem("c", "500 + 500?", "1,000")]


def frame_of(correct, think=None, reason=None) -> pd.DataFrame:
    """Results of problems × samples, given as a list of lists of bools."""
    rows = [
        {"problem_id": f"p{p}", "sample": s, "answer": "", "correct": bool(right), "prompt_tokens": 3, "finish_reason": "stop"}
        for p, samples in enumerate(correct)
        for s, right in enumerate(samples)
    ]
    frame = pd.DataFrame(rows)
    frame["think_tokens"] = 5 if think is None else think
    frame["output_tokens"] = frame["think_tokens"] + 2
    frame["finish_reason"] = "stop" if reason is None else reason
    return frame.assign(output_ids=[[1]] * len(frame))[COLUMNS]


@pytest.fixture
def answers(tiny, monkeypatch):
    """Make the model say just this: texts in the order of problems and samples, each with its finish reason."""

    def say(*texts, reasons=None):
        def spoken(loaded, problems, sampling, *, samples=1, **options):
            pairs = [(p, k) for p in problems for k in range(samples)]
            rows = []
            for (p, k), text, reason in zip(pairs, texts, reasons or ["stop"] * len(texts), strict=True):
                ids = tuple(tiny.tokenizer(text, add_special_tokens=False)["input_ids"])
                rows.append(Trace(p.id, k, (1, 3, 9, 4), ids, reason, p.content_hash))
            return Traces(tuple(rows), loaded.name, loaded.fingerprint, tokenizer_fingerprint(loaded.tokenizer), {})

        monkeypatch.setattr(room, "generate_traces", spoken)

    return say


# --- the figures that sum it up ----------------------------------------------------------------------------------------


def test_the_standard_error_of_the_paper():
    """0.904 on 500 problems, one sample each: 0.01319, as the paper prints."""
    summary = Evaluation(frame_of([[k < 452] for k in range(500)])).summary()
    assert summary["accuracy"] == pytest.approx(0.904) and summary["se"] == pytest.approx(0.01319, abs=5e-6)
    assert (summary["problems"], summary["samples"]) == (500, 1)


@given(st.integers(1, 5).flatmap(lambda k: st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=2, max_size=12)))
def test_accuracy_and_its_error_are_of_the_means_per_problem(correct):
    result = Evaluation(frame_of(correct))
    means = np.array(correct, dtype=float).mean(axis=1)
    summary = result.summary()
    assert summary["accuracy"] == pytest.approx(means.mean())
    assert summary["se"] == pytest.approx(np.sqrt(((means - means.mean()) ** 2).sum() / (len(means) - 1)) / np.sqrt(len(means)))
    assert list(result.per_problem()) == pytest.approx(list(means)) and list(result.per_problem().index) == [
        f"p{k}" for k in range(len(correct))
    ]
    assert (summary["problems"], summary["samples"]) == (len(correct), len(correct[0]))


def test_one_problem_has_no_standard_error():
    assert np.isnan(Evaluation(frame_of([[True, False]])).summary()["se"])


def test_lengths_tokens_and_truncation():
    think = [10, 20, 30, 100]
    summary = Evaluation(frame_of([[True], [True], [True], [False]], think, ["stop", "stop", "stop", "length"])).summary()
    assert summary["mean_cot"] == 40 and summary["median_cot"] == 25 and summary["truncated"] == 0.25
    assert summary["tokens"] == sum(think) + 8


def test_it_introduces_itself():
    text = repr(Evaluation(frame_of([[True], [False]]), {"model": "tiny"}))
    assert "'tiny': accuracy 0.500 ± 0.500 (SE, n = 2)" in text and "0% truncated" in text


# --- answers -----------------------------------------------------------------------------------------------------------


def test_answers_are_graded_and_measured(tiny, answers):
    answers("<think>1 + 1 = 2</think>2<eos>", "<think>so</think> 41<eos>", "<think></think>1000<eos>")
    result = evaluate(tiny, PROBLEMS)
    frame = result.to_frame()
    assert list(frame.columns) == COLUMNS
    assert list(frame["answer"]) == ["2", "41", "1000"] and list(frame["correct"]) == [True, False, True]
    marker = tiny.tokenizer.convert_tokens_to_ids("</think>")
    assert list(frame["think_tokens"]) == [list(ids).index(marker) + 1 for ids in frame["output_ids"]]
    assert list(frame["output_tokens"]) == [len(ids) for ids in frame["output_ids"]] and set(frame["prompt_tokens"]) == {4}
    assert result.summary()["accuracy"] == pytest.approx(2 / 3)


def test_a_truncated_thought_is_wrong_also_where_it_holds_the_answer(tiny, answers):
    answers("<think>1 + 1 = 2", "<think>40 + 2 = 42</think>42", "1,000", reasons=["length"] * 3)
    frame = evaluate(tiny, PROBLEMS).frame
    assert not frame["correct"].any() and frame["answer"].isna().all()  # the second may have been about to write 421
    assert list(frame["think_tokens"])[0] == list(frame["output_tokens"])[0]
    assert evaluate(tiny, PROBLEMS).summary()["truncated"] == 1.0


def test_a_model_without_markers_is_wrong_where_it_does_not_end(tiny, answers):
    plain = dataclasses.replace(tiny, thinking=PLAIN)
    answers("2<eos>", "42", "1000", reasons=["stop", "length", "stop"])
    frame = evaluate(plain, PROBLEMS).frame
    assert list(frame["correct"]) == [True, False, True] and list(frame["answer"].isna()) == [False, True, False]
    assert list(frame["think_tokens"]) == list(frame["output_tokens"])


def test_several_samples_of_a_problem(tiny, answers):
    right, wrong = "<think></think>2<eos>", "<think></think>3<eos>"
    answers(right, wrong, wrong, wrong, right, right)
    two = [PROBLEMS[0], dataclasses.replace(PROBLEMS[0], id="d", prompt="again 1 + 1?")]
    result = evaluate(tiny, two, samples=3)
    assert list(result.per_problem()) == pytest.approx([1 / 3, 2 / 3]) and result.summary()["samples"] == 3


def test_what_is_generated_is_what_is_judged(tiny, store):
    problems = load_problems("arithmetic", limit=6)
    sampling = Sampling(16, seed=5)
    result = evaluate(tiny, problems, sampling, samples=2, store=store, progress=False)
    traces = generate_traces(tiny, problems, sampling, samples=2, progress=False)
    assert [tuple(ids) for ids in result.frame["output_ids"]] == [t.output_ids for t in traces]
    assert result.label == {"model": "random", "budget": 16, "temperature": 0.6, "top_p": 0.95, "seed": 5, "backend": "hf"}
    again = evaluate(tiny, problems, sampling, samples=2, store=store, progress=False)
    pd.testing.assert_frame_equal(again.frame, result.frame)


# --- what is not allowed -----------------------------------------------------------------------------------------------


def calibrated(loaded, problems):
    return dataclasses.replace(
        loaded,
        name="pruned",
        provenance={"calibration": {"problems": [p.content_hash for p in problems]}, "sparsity": 0.5, "sparsity_all": 0.3},
    )


def test_a_problem_that_calibrated_is_no_test_problem(tiny, answers):
    answers(*["<think></think>2<eos>"] * 3)
    disguised = dataclasses.replace(PROBLEMS[1], id="another", prompt=f"  {PROBLEMS[1].prompt}\n")
    pruned = calibrated(tiny, [disguised])
    with pytest.raises(OverlapError, match="1 of the test problems calibrated the model 'pruned' .first: 'b'"):
        evaluate(pruned, PROBLEMS)
    result = evaluate(pruned, PROBLEMS, allow_overlap=True)
    assert result.label["sparsity"] == 0.5 and result.label["sparsity_all"] == 0.3
    assert len(evaluate(calibrated(tiny, [Problem("x", "else")]), PROBLEMS).frame) == 3


def test_problems_without_an_answer_are_refused(tiny):
    problems = [PROBLEMS[0], Problem("open", "What is love?"), Problem("open2", "Why?")]
    with pytest.raises(DataError, match="2 problems have no answer to grade by .first: 'open'.; add the column 'answer'"):
        evaluate(tiny, problems)


def test_no_problems(tiny):
    with pytest.raises(DataError, match="is empty"):
        evaluate(tiny, [])


# --- files -------------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_what_is_loaded(tiny, answers, tmp_path):
    answers(
        "<think>1 + 1 = 2</think>2<eos>", "<think>never ends", "<think></think>1000<eos>", reasons=["stop", "length", "stop"]
    )
    result = evaluate(tiny, PROBLEMS)
    result.save(tmp_path / "evaluation.parquet")
    again = Evaluation.load(tmp_path / "evaluation.parquet")
    assert again.label == result.label and again.summary() == result.summary()
    assert [list(ids) for ids in again.frame["output_ids"]] == [list(ids) for ids in result.frame["output_ids"]]
    simple = COLUMNS[:-1]
    pd.testing.assert_frame_equal(again.frame[simple], result.frame[simple], check_dtype=False)
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="other.parquet is not an evaluation file"):
        Evaluation.load(tmp_path / "other.parquet")


# --- timing ------------------------------------------------------------------------------------------------------------


def test_cells_are_timed_in_turn_after_a_warm_up(tiny, monkeypatch):
    calls, generate = [], room.generate_traces

    def noted(loaded, problems, sampling, **options):
        calls.append((loaded.name, len(problems), sampling.max_new_tokens, options.get("store")))
        return generate(loaded, problems, sampling, **options)

    monkeypatch.setattr(room, "generate_traces", noted)
    models = {name: dataclasses.replace(tiny, name=name) for name in "abc"}
    problems = load_problems("arithmetic", limit=4)
    frame = time_generation(models, problems, Sampling(12), rounds=3, progress=False)
    warm, timed = calls[::2], calls[1::2]
    assert {c[1:] for c in warm} == {(2, 8, None)} and [c[0] for c in warm] == [c[0] for c in timed]
    assert "".join(c[0] for c in timed) == "abcbcacab" == "".join(frame["name"])
    assert {c[1:] for c in timed} == {(4, 12, None)}, "the cache has no part in a timing"
    lazy = time_generation(
        {name: lambda model=model: model for name, model in models.items()}, problems, Sampling(12), progress=False
    )
    assert list(lazy["name"]) == ["a", "b", "c"] and set(lazy["tokens"]) == set(frame["tokens"])
    assert list(frame["round"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2] and set(frame["problems"]) == {4}
    tokens = sum(len(t.output_ids) for t in generate(tiny, problems, Sampling(12), progress=False))
    assert set(frame["tokens"]) == {tokens} and (frame["minutes"] > 0).all()


def test_minutes_are_those_of_the_clock(tiny, monkeypatch):
    ticks = iter(range(0, 10_000, 90))
    monkeypatch.setattr(room.time, "perf_counter", lambda: next(ticks))
    frame = time_generation({"a": tiny, "b": tiny}, load_problems("arithmetic", limit=2), Sampling(4), progress=False)
    assert list(frame["minutes"]) == [1.5, 1.5]


def test_timing_what_makes_no_sense(tiny):
    problems = load_problems("arithmetic", limit=2)
    with pytest.raises(ParameterError, match="rounds"):
        time_generation({"a": tiny}, problems, Sampling(4), rounds=0)
    with pytest.raises(ParameterError, match="at least one model"):
        time_generation({}, problems, Sampling(4))
