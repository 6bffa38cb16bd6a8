"""Estimates against independent expressions; sentences against reversed, null and missing data."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from racviz import statistics as st
from racviz.exceptions import DataError


def errors_frame(prompt: float = 0.7, decode: float = 2.0, problems: int = 30, seed: int = 0) -> pd.DataFrame:
    """Errors whose r_t = e(prompt)/e(rac) is about `prompt` on prompt tokens and `decode` on decode tokens."""
    draw = np.random.default_rng(seed)
    rows = []
    for problem in range(problems):
        t_in, length = draw.integers(5, 12), draw.integers(20, 60)
        for position in range(length):
            phase = "prompt" if position < t_in else "decode"
            base = draw.lognormal(0, 0.3)
            top = base * (prompt if phase == "prompt" else decode) * draw.lognormal(0, 0.2)
            rows.append((f"p{problem:03d}", position, phase, 10.0, top, base))
    return pd.DataFrame(rows, columns=["problem_id", "position", "phase", "norm_dense", "e_prompt", "e_rac"])


def evaluations_frame(
    rac: float = 0.9, prompt: float = 0.4, problems: int = 100, seed: int = 0, budget: int = 500
) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    rows = []
    for source, accuracy, sparsities in (("dense", 0.95, [0.0]), ("prompt", prompt, [0.5, 0.6]), ("rac", rac, [0.5, 0.6])):
        for sparsity in sparsities:
            for problem in range(problems):
                for sample in range(2):
                    wanted = draw.lognormal(5, 0.3) * (1 + 3 * (1 - accuracy))
                    tokens = int(min(wanted, budget))
                    end = "length" if wanted > budget else "stop"
                    rows.append(
                        (source, sparsity, f"p{problem}", sample, draw.random() < accuracy, tokens, tokens, end, budget)
                    )
    names = [
        "source",
        "sparsity",
        "problem_id",
        "sample",
        "correct",
        "think_tokens",
        "output_tokens",
        "finish_reason",
        "budget",
    ]
    return pd.DataFrame(rows, columns=names)


def results_frame(evaluations: pd.DataFrame, minutes: bool = False) -> pd.DataFrame:
    cut = evaluations["finish_reason"] == "length"
    cells = (
        evaluations.assign(cut=cut)
        .groupby(["source", "sparsity"], as_index=False)
        .agg(
            tokens=("output_tokens", "sum"),
            problems=("problem_id", "nunique"),
            accuracy=("correct", "mean"),
            mean_cot=("think_tokens", "mean"),
            median_cot=("think_tokens", "median"),
            truncated=("cut", "mean"),  # fmt: skip
        )
    )
    return cells.assign(samples=2, se=0.02, minutes=cells["tokens"] / 1e5 if minutes else np.nan, timed_problems=16)


class Wrapped:
    def __init__(self, frame, **label):
        self.frame, self.label = frame, label

    def to_frame(self):
        return self.frame


class TestRatio:
    def test_is_the_quotient_and_nan_where_it_has_none(self):
        frame = errors_frame(problems=3)
        frame.loc[0, "e_rac"] = 0.0
        frame.loc[1, "e_prompt"] = np.nan
        values = st.ratio(frame, "prompt", "rac")
        assert values.iloc[:2].isna().all()
        np.testing.assert_allclose(values[2:], frame["e_prompt"][2:] / frame["e_rac"][2:])

    def test_summary_is_within_problems_then_over_them(self):
        frame = errors_frame()
        decode = frame[frame.phase == "decode"]
        by_hand = (decode.e_prompt / decode.e_rac).groupby(decode.problem_id).median().median()
        assert st.summary_ratio(frame, "prompt", "rac", "decode") == pytest.approx(by_hand)
        by_hand = stats.gmean([stats.gmean(one.e_prompt / one.e_rac) for _, one in decode.groupby("problem_id")])
        assert st.summary_ratio(Wrapped(frame), "prompt", "rac", "decode", "geometric_mean") == pytest.approx(by_hand)

    def test_a_long_thought_counts_as_one_problem(self):
        short = pd.DataFrame({"problem_id": "a", "position": range(2), "phase": "decode", "e_x": 1.0, "e_y": 1.0})
        long = pd.DataFrame({"problem_id": "b", "position": range(98), "phase": "decode", "e_x": 3.0, "e_y": 1.0})
        assert st.summary_ratio(pd.concat([short, long], ignore_index=True), "x", "y", "decode") == 2.0

    def test_unknown_names_are_errors_that_help(self):
        with pytest.raises(ValueError, match="numerator must be one of 'prompt', 'rac'; not 'promt'. Did you mean 'prompt'"):
            st.ratio(errors_frame(problems=1), "promt", "rac")
        with pytest.raises(ValueError, match="phase must be one of"):
            st.summary_ratio(errors_frame(problems=1), "prompt", "rac", "prefill")
        with pytest.raises(ValueError, match="how must be one of"):
            st.summary_ratio(errors_frame(problems=1), "prompt", "rac", "decode", "mean")
        with pytest.raises(TypeError, match="data frame; not list"):
            st.ratio([1], "prompt", "rac")
        with pytest.raises(ValueError, match="there is no phase"):
            st.ratio(errors_frame(problems=1).drop(columns="phase"), "prompt", "rac")

    def test_nothing_to_summarise_is_nan(self):
        assert np.isnan(st.summary_ratio(errors_frame(problems=2).query("phase == 'prompt'"), "prompt", "rac", "decode"))

    def test_table_has_a_row_for_each_phase(self):
        table = st.ratio_table([Wrapped(errors_frame(), sparsity=0.5, mode="one-pass"), errors_frame(1.0, 1.0)])
        assert list(table.phase) == ["prompt", "decode"] * 2
        assert table.loc[0, "mode"] == "one-pass" and table.loc[1, "low"] > 1 > table.loc[0, "high"]


class TestBootstrap:
    def test_covers_the_mean_about_as_often_as_it_says(self):
        draw = np.random.default_rng(3)
        hits = 0
        for trial in range(200):
            found = st.bootstrap_interval(draw.normal(1.0, 1.0, 40), resamples=300, seed=trial)
            hits += found.low <= 1.0 <= found.high
        assert 0.88 <= hits / 200 <= 0.99

    def test_agrees_with_scipy(self):
        values = np.random.default_rng(0).lognormal(0, 1, 50)
        ours = st.bootstrap_interval(values, np.median)
        theirs = stats.bootstrap(
            (values,), np.median, n_resamples=2000, method="percentile", random_state=1
        ).confidence_interval
        assert (ours.low, ours.high) == (pytest.approx(theirs.low, rel=0.08), pytest.approx(theirs.high, rel=0.08))

    def test_is_reproducible_and_counts_only_what_is_known(self):
        values = [1.0, 2.0, np.nan, 4.0]
        assert st.bootstrap_interval(values) == st.bootstrap_interval(values)
        assert st.bootstrap_interval(values).n == 3

    def test_seeds_widen_it(self):
        table = np.random.default_rng(0).normal(0, 0.1, (4, 50)) + np.array([[-1.0], [0.0], [0.5], [1.0]])
        both, pooled = st.bootstrap_interval(table), st.bootstrap_interval(table.mean(axis=0))
        assert both.estimate == pytest.approx(pooled.estimate) and both.n == 50
        assert both.high - both.low > 5 * (pooled.high - pooled.low)

    @pytest.mark.parametrize(("values", "n"), [([], 0), ([3.0], 1)])
    def test_too_few_have_no_interval(self, values, n):
        found = st.bootstrap_interval(values)
        assert found.n == n and np.isnan(found.low) and found.side_of(0) == 0

    def test_bad_parameters(self):
        for wrong in ({"level": 95}, {"resamples": 0}):
            with pytest.raises(ValueError, match="must be"):
                st.bootstrap_interval([1, 2], **wrong)


class TestPairedDifference:
    def test_is_the_paired_t_test(self):
        a, b = (evaluations_frame().query(f"source == '{source}' and sparsity == 0.6") for source in ("rac", "prompt"))
        found = st.paired_difference(a, b)
        x, y = (frame.groupby("problem_id").correct.mean() for frame in (a, b))
        assert found.difference == pytest.approx((x - y).mean())
        assert found.se == pytest.approx((x - y).std() / np.sqrt(100))
        assert found.p_value == pytest.approx(stats.ttest_rel(x, y).pvalue)
        assert found.verdict == "above" and st.paired_difference(b, a).verdict == "below"
        assert found.interval.low < found.difference < found.interval.high

    def test_aligns_on_problems(self):
        a = pd.DataFrame({"problem_id": list("abcdef"), "correct": [1, 0, 1, 1, 0, 1]})
        assert st.paired_difference(a, a.iloc[::-1]).difference == 0
        found = st.paired_difference(a, a.iloc[1:])
        assert (found.n, found.unpaired) == (5, 1)
        with pytest.raises(ValueError, match="share no problem"):
            st.paired_difference(a.iloc[:3], a.iloc[3:])

    def test_refuses_a_mixture(self):
        with pytest.raises(ValueError, match="mixes 2 values of 'sparsity'"):
            st.paired_difference(evaluations_frame().query("source == 'rac'"), evaluations_frame().query("source == 'dense'"))
        with pytest.raises(ValueError, match="no column 'correct'"):
            st.paired_difference(pd.DataFrame({"problem_id": []}), pd.DataFrame({"problem_id": []}))

    def test_few_or_equal_problems(self):
        ones = pd.DataFrame({"problem_id": range(4), "correct": 1.0})
        assert st.paired_difference(ones, ones.assign(correct=0.0)).verdict == "too few problems"
        six = pd.DataFrame({"problem_id": range(6), "correct": 1.0})
        found = st.paired_difference(six, six.assign(correct=0.0))
        assert found.verdict == "above" and found.p_value == pytest.approx(2 / 2**6)
        assert st.paired_difference(six, six).verdict == "inside the noise"


def test_holm_by_hand():
    np.testing.assert_allclose(st.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert st.holm([]).size == 0
    with pytest.raises(ValueError, match=r"numbers in \[0, 1\]"):
        st.holm([0.1, 2.0])


class TestRatioSentence:
    def test_says_which_calibration_preserves_which_phase(self):
        text = st.ratio_sentence(Wrapped(errors_frame(), sparsity=0.5, mode="one-pass"))
        assert "Prompt-only calibration preserves the prompt better, RAC calibration preserves the thought better" in text
        assert "At 50 %, one-pass" in text and text.count("n = 30") == 2
        medians = [st.summary_ratio(errors_frame(), "prompt", "rac", phase) for phase in ("prompt", "decode")]
        assert [float(x) for x in re.findall(r"(\d\.\d\d) \[", text)] == pytest.approx(medians, abs=0.006)

    def test_turns_round_on_reversed_data(self):
        frame = errors_frame().rename(columns={"e_prompt": "e_rac", "e_rac": "e_prompt"})
        assert (
            "RAC calibration preserves the prompt better, prompt-only calibration preserves the thought"
            in st.ratio_sentence(frame)
        )
        assert "Prompt-only calibration preserves both" in st.ratio_sentence(errors_frame(0.6, 0.5))
        assert "RAC calibration preserves both" in st.ratio_sentence(errors_frame(1.6, 1.5))

    def test_falls_silent_on_null_data(self):
        frame = errors_frame(1.0, 1.0)
        text = st.ratio_sentence(frame)
        assert "Of the prompt and of the thought nothing can be told" in text and "preserves" not in text
        assert "of the prompt nothing can be told" in st.ratio_sentence(errors_frame(1.0, 2.0))

    def test_says_what_is_missing(self):
        assert "errors of RAC are missing" in st.ratio_sentence(errors_frame().drop(columns="e_rac"))
        assert "missing on decode tokens (n = 0)" in st.ratio_sentence(errors_frame().query("phase == 'prompt'"))
        assert "n = 0" in st.ratio_sentence(errors_frame().assign(e_rac=np.nan))
        text = st.ratio_sentence(errors_frame(problems=3))
        assert "fewer than 5 problems" in text and "preserves" not in text


class TestEvaluationSentences:
    def test_accuracy_and_its_reversal(self):
        text = st.accuracy_sentence(evaluations_frame(), 0.6)
        assert "RAC is the more accurate" in text and "n = 100 problems" in text and "Holm" not in text
        assert "prompt-only is the more accurate" in st.accuracy_sentence(evaluations_frame(0.4, 0.9), 0.6)
        assert "prompt-only is the more accurate" not in st.accuracy_sentence(evaluations_frame(), 0.6, "prompt", "rac")

    def test_silent_on_null(self):
        for seed in range(5):
            text = st.accuracy_sentence(evaluations_frame(0.5, 0.5, seed=seed), [0.5, 0.6])
            assert "more accurate" not in text and text.count("nothing can be told") == 2

    def test_several_claims_are_corrected_for(self):
        text = st.accuracy_sentence(evaluations_frame(), [0.5, 0.6])
        assert "Holm's correction for 2 comparisons" in text and text.count("RAC is the more accurate") == 2

    def test_what_correction_takes_away_is_not_claimed(self):
        draw = np.random.default_rng(0)
        rows = [("rac", s, p, float(draw.random() < 0.5)) for s in np.arange(10) / 20 for p in range(60)]
        rows += [("prompt", s, p, float(draw.random() < 0.5)) for s in np.arange(10) / 20 for p in range(60)]
        frame = pd.DataFrame(rows, columns=["source", "sparsity", "problem_id", "correct"])
        frame.loc[(frame.sparsity == 0.0), "correct"] = 0.0
        frame.loc[(frame.sparsity == 0.0) & (frame.source == "rac") & (frame.problem_id < 6), "correct"] = (
            1.0  # McNemar: p = 0.031
        )
        assert "RAC is the more accurate" in st.accuracy_sentence(frame, 0.0)
        text = st.accuracy_sentence(frame, list(np.arange(10) / 20))
        assert "not after Holm's correction (p = 0.3" in text and "the more accurate" not in text

    def test_missing(self):
        text = st.accuracy_sentence(evaluations_frame().query("source != 'rac'"), [0.5, 0.7])
        assert "at 50 % no evaluation of RAC (n = 0), so nothing can be told" in text
        assert "no evaluation of RAC and of prompt-only" in text
        few = st.accuracy_sentence(evaluations_frame(problems=3), 0.6)
        assert "too few to tell" in few and "more accurate" not in few

    def test_length_names_the_shorter_and_the_truncated(self):
        text = st.length_sentence(evaluations_frame(), 0.6)
        assert (
            "RAC thinks shorter" in text
            and "Thoughts cut off by the budget" in text
            and "% at 60 %; such means are lower bounds" in text
        )
        assert "prompt-only thinks shorter" in st.length_sentence(evaluations_frame(0.4, 0.9), 0.6)
        assert "thinks shorter" not in st.length_sentence(evaluations_frame(0.5, 0.5), 0.6)
        assert "No thought was cut off" in st.length_sentence(evaluations_frame(budget=10**6), 0.6)

    def test_shorter_but_cut_off_more_often_is_no_claim(self):
        frame = evaluations_frame(budget=10**6)
        short = (frame.source == "rac") & (frame["sample"] == 0)
        frame.loc[short, "finish_reason"] = "length"
        text = st.length_sentence(frame, 0.6)
        assert "RAC was cut off more often, so which thinks shorter cannot be told" in text and "RAC thinks shorter" not in text

    def test_thought_lengths_fall_back_on_what_was_generated(self):
        frame = evaluations_frame(problems=2).assign(think_tokens=np.nan)
        assert (st.thought_lengths(frame)["length"] == frame["output_tokens"]).all()
        with pytest.raises(ValueError, match="no finish_reason"):
            st.thought_lengths(frame.drop(columns="finish_reason"))


class TestRuntimeSentence:
    def test_says_who_generates_less_only_with_a_spread(self):
        evaluations = evaluations_frame()
        text = st.runtime_sentence(results_frame(evaluations), evaluations)
        assert text.count("RAC generates less") == 2 and "No timing pass" in text and "n = 100" in text
        assert "generates less" not in st.runtime_sentence(results_frame(evaluations))
        assert "nothing can be told" in st.runtime_sentence(results_frame(evaluations))

    def test_reversed_and_null(self):
        reversed_ = evaluations_frame(0.4, 0.9)
        assert "prompt-only generates less" in st.runtime_sentence(results_frame(reversed_), reversed_)
        null = evaluations_frame(0.5, 0.5)
        assert "generates less" not in st.runtime_sentence(results_frame(null), null)

    def test_minutes_come_from_a_timing_pass(self):
        frame = results_frame(evaluations_frame(), minutes=True)
        assert "Timed pass of 16 problems at 60 %" in st.runtime_sentence(frame)
        assert "prompt-only not timed" in st.runtime_sentence(frame[frame.source != "prompt"])
        assert "neither RAC nor prompt-only" in st.runtime_sentence(frame[frame.source == "dense"])


class TestNumbers:
    def test_are_those_of_the_sentences(self):
        numbers = st.ratio_numbers(errors_frame())
        assert numbers["problems"] == "30" and numbers["median e(prompt) / e(rac), decode"] in st.ratio_sentence(errors_frame())
        frame = evaluations_frame()
        rac = frame.query("source == 'rac' and sparsity == 0.6").groupby("problem_id").correct.mean()
        found = st.accuracy_numbers(frame, 0.6)
        assert found["accuracy, RAC at 60 %"] == f"{100 * rac.mean():.1f} ± {100 * rac.std() / 10:.1f} %"
        assert list(found)[0] == "accuracy, the dense model" and found["problems"] == "100"
        assert "% cut off" in st.length_numbers(frame, 0.6)["mean CoT, prompt-only at 60 %"]


def layers_frame(prompt_over_rac: float, linears: int = 12) -> pd.DataFrame:
    rows = [
        dict(layer=f"layers.{k}.mlp.up_proj", depth=k, phase=phase, source=source, error=error)
        for k in range(linears) for phase in ("prompt", "decode")
        for source, error in (("rac", 0.01), ("prompt", 0.01 * prompt_over_rac))
    ]  # fmt: skip
    return pd.DataFrame(rows)


class TestLayers:
    def test_counts_linears_and_turns_round(self):
        told = st.layer_sentence(layers_frame(2.0))
        assert (
            "On prompt tokens RAC leaves the smaller error in 12 of 12 linears (prompt-only's is 2.00 times that of RAC" in told
        )
        assert "in 0 of 12 linears (prompt-only's is 0.50 times" in st.layer_sentence(layers_frame(0.5))
        assert "in 0 of 12 linears (prompt-only's is 1.00 times" in st.layer_sentence(layers_frame(1.0))
        assert "errors of prompt-only are missing" in st.layer_sentence(layers_frame(2.0).query("source == 'rac'"))

    def test_bytes(self):
        report = pd.DataFrame({"layer": ["a", "b"], "rows": [8, 16], "columns": [16, 16], "sparsity": [0.5, 0.25]})
        table = st.stored_bytes(report)
        assert table["dense"].tolist() == [256, 512] and table["sparse"].tolist() == [16 + 128, 32 + 384]
        told = st.size_sentence(report)
        assert "768 bytes dense" in told and "560 bytes, 73 % of that" in told and "stays dense" in told
        assert "more, not less" in st.size_sentence(report.assign(sparsity=0.0))


def solver_frame(alps: float, sparsegpt: float, n: int = 60) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    rows = []
    for method, rate in (("alps", alps), ("sparsegpt", sparsegpt)):
        for k in range(n):
            rows.append(
                dict(source="rac", method=method, sparsity=0.8, problem_id=f"p{k}", sample=0, correct=draw.random() < rate)
            )
    return pd.DataFrame(rows)


def test_solvers_are_compared_within_a_source():
    def told(alps, sparsegpt, methods=("alps",)):
        return st.solver_sentences(solver_frame(alps, sparsegpt), 0.8, methods)

    assert any(
        "Calibrated on RAC: accuracy, alps against sparsegpt" in one and "alps answers better" in one for one in told(0.9, 0.3)
    )
    assert any("sparsegpt answers better" in one for one in told(0.2, 0.8))
    assert all("answers better" not in one for one in told(0.5, 0.5))
    assert all("no evaluation of wanda" in one for one in told(0.5, 0.5, ["wanda"]))


def test_sentences_of_one_family_are_corrected_together():
    rows = [("rac", 0.5, p, float(p < 6)) for p in range(60)] + [("prompt", 0.5, p, 0.0) for p in range(60)]
    rows += [("generic", 0.5, p, 0.0) for p in range(60)]
    frame = pd.DataFrame(rows, columns=["source", "sparsity", "problem_id", "correct"])
    assert "RAC is the more accurate" in st.accuracy_sentence(frame, 0.5)  # p = 0.031
    both = st.accuracy_sentences(frame, 0.5, [("rac", "prompt"), ("rac", "generic")])
    assert len(both) == 2 and all("not after Holm's correction (p = 0.06)" in one and "2 comparisons" in one for one in both)
    models = st.accuracy_sentences(pd.concat([frame.assign(model="x"), frame.assign(model="y")]), 0.5, by="model")
    assert [one[:3] for one in models] == ["x: ", "y: "] and all("2 comparisons" in one for one in models)


def test_one_sample_a_problem_is_tested_by_mcnemar_several_by_t():
    def cell(right):
        return pd.DataFrame({"problem_id": range(len(right)), "correct": right})

    one = st.paired_difference(cell([1.0] * 9 + [0.0] * 11), cell([0.0] * 7 + [1.0] * 5 + [0.0] * 8))
    assert one.test == "McNemar's exact test" and one.p_value == pytest.approx(stats.binomtest(7, 10).pvalue)
    x, y = [0.5, 1.0, 0.25, 0.0, 0.75, 1.0], [0.0, 0.5, 0.25, 0.25, 0.5, 0.25]
    several = st.paired_difference(cell(x), cell(y))
    assert several.test == "paired t-test" and several.p_value == pytest.approx(stats.ttest_rel(x, y).pvalue)


def test_five_more_right_of_sixty_is_told_by_neither_rule_alone():
    rows = [("rac", 0.5, p, float(p < 5)) for p in range(60)] + [("prompt", 0.5, p, 0.0) for p in range(60)]
    text = st.accuracy_sentence(pd.DataFrame(rows, columns=["source", "sparsity", "problem_id", "correct"]), 0.5)
    assert "not after McNemar's exact test (p = 0.06), so nothing can be told" in text


class TestFindings:
    def test_say_the_verdict_first_by_sparsity_and_turn_round(self):
        frame = pd.concat(
            [evaluations_frame(0.9, 0.4).query("sparsity != 0.6"), evaluations_frame(0.5, 0.5, seed=3).query("sparsity == 0.6")]
        )
        told = st.accuracy_finding(frame, [0.5, 0.6])
        assert told.startswith("RAC is more accurate than prompt-only at 50 % (") and "; at 60 % (" in told
        assert told.endswith("nothing can be told (n = 100 problems, paired, corrected for 2 comparisons).")
        turned = st.accuracy_finding(frame, 0.5, "prompt", "rac")
        assert turned.startswith("RAC is more accurate than prompt-only at 50 %") and "corrected" not in turned
        assert st.accuracy_finding(evaluations_frame(0.4, 0.9), [0.5, 0.6]).startswith(
            "Prompt-only is more accurate than RAC at 50 % ("
        )

    def test_agree_with_the_sentence_whatever_the_data(self):
        for seed in range(8):
            frame = evaluations_frame(0.5 + 0.05 * seed, 0.5, problems=40, seed=seed)
            sentence, finding = (each(frame, [0.5, 0.6]) for each in (st.accuracy_sentence, st.accuracy_finding))
            assert ("RAC is the more accurate" in sentence) == ("RAC is more accurate than" in finding)
            assert ("nothing can be told" in sentence) == ("nothing can be told" in finding)

    def test_claim_nothing_of_what_is_missing(self):
        told = st.accuracy_finding(evaluations_frame().query("source != 'prompt'"), 0.5)
        assert told == "At 50 % nothing can be told of RAC against prompt-only (n = 0 problems, paired)."

    def test_a_length_that_the_budget_cut_is_no_verdict(self):
        frame = evaluations_frame(0.9, 0.1, budget=500)
        told = st.length_finding(frame, 0.5)
        assert told.startswith("RAC thinks shorter than prompt-only at 50 % (") and "tokens, cut off" in told
        cut = frame.assign(finish_reason=np.where(frame["source"] == "rac", "length", "stop"))
        assert "nothing can be told" in st.length_finding(cut.assign(unended=cut["source"] == "rac"), 0.5)

    def test_solvers(self):
        told = st.solver_finding(solver_frame(0.9, 0.3), 0.8, ["alps"])
        assert told.startswith("Calibrated on RAC: alps is more accurate than sparsegpt at 80 % (")
        assert "sparsegpt is more accurate than alps" in st.solver_finding(solver_frame(0.2, 0.8), 0.8, ["alps"])


def test_pass_at_all_samples_counts_a_problem_that_one_sample_solves():
    rows = [("rac", 0.5, p, s, p < 50 and s == p % 4) for p in range(60) for s in range(4)]
    rows += [("prompt", 0.5, p, s, p < 13) for p in range(60) for s in range(4)]
    frame = pd.DataFrame(rows, columns=["source", "sparsity", "problem_id", "sample", "correct"])
    (told,) = st.pass_sentences(frame, 0.5, [("rac", "prompt")])
    assert told.startswith("pass@4, RAC against prompt-only: at 50 % 83.3 against 21.7 %") and "RAC solves more" in told
    assert "inside the noise" in st.accuracy_sentence(frame, 0.5), "the mean over samples is another number"


def test_what_a_larger_budget_buys():
    frame = evaluations_frame(0.9, 0.3, budget=2000)
    tight = int(frame.query("source == 'rac'")["output_tokens"].median())
    told = st.budget_sentences(st.within_budgets(frame, [tight, 2000]), 0.5, tight)
    assert [one.split(":")[0] for one in told] == ["Prompt-only", "RAC"]
    assert f"accuracy, 2000 tokens against {tight} tokens" in told[1] and "2000 tokens buys accuracy" in told[1]


def test_where_accuracy_saturates():
    def at(tokens, right, n=60):
        said = dict(source="rac", sparsity=0.5, calibration_tokens=tokens)
        return pd.DataFrame(said | dict(problem_id=range(n), correct=[k < right for k in range(n)]))

    frame = pd.concat([at(1000, 5), at(4000, 48), at(16000, 50), at(64000, 51)])
    told = st.saturation_sentence(frame, "calibration_tokens", "calibration tokens")
    assert "of RAC at 50 % from 4,000 on (largest: 64,000)" in told and "for 3 comparisons" in told
    up = st.saturation_sentence(pd.concat([at(1000, 5), at(4000, 10), at(16000, 50)]), "calibration_tokens", "tokens")
    assert "only at the largest (largest: 16,000)" in up
    worse = st.saturation_sentence(pd.concat([at(1000, 5), at(4000, 55), at(16000, 30)]), "calibration_tokens", "tokens")
    assert "only at the largest (above it with 4,000)" in worse
    assert "cannot be told" in st.saturation_sentence(at(1000, 5), "calibration_tokens", "tokens")


def test_results_for_people():
    evaluations = evaluations_frame()
    table = st.results_table(results_frame(evaluations, minutes=True))
    rac = table[(table["source"] == "rac") & (table["sparsity"] == 0.5)].iloc[0]
    rows = evaluations.query("source == 'rac' and sparsity == 0.5")
    assert rac["n"] == 100 and rac["accuracy, %"] == pytest.approx(100 * rows["correct"].mean())
    assert rac["tokens a sample"] == pytest.approx(rows["output_tokens"].mean()) and "minutes (16 problems)" in table
    with pytest.raises(DataError, match="results must have the columns decode_error"):
        st.results_table(results_frame(evaluations), ["decode_error"])


def test_the_best_mark_is_corrected_for_the_whole_table():
    def cells(right):
        return {
            name: pd.DataFrame({"problem_id": range(60), "correct": [k < c for k in range(60)]}) for name, c in right.items()
        }

    one = cells({"rac": 6, "prompt": 0})  # p = 0.031
    assert st.best_of([one]) == ["rac"] and st.best_of([one, one]) == [None, None]
    assert st.best_of([one, cells({"rac": 50, "prompt": 0})]) == ["rac", "rac"], (
        "Holm's: the sure one does not hold the other back"
    )
