"""Tables of cells, budgets, seeds, pass@k and McNemar's test, against counts and formulas written down here."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from racviz.evaluation import Evaluation
from racviz.exceptions import DataError, ParameterError
from racviz.statistics import (
    accuracy_table,
    best_of,
    bootstrap_ratio,
    nowhere_below_sentence,
    paired_difference,
    pass_at_k,
    pass_table,
    published_sentence,
    seed_differences,
    seed_interval,
    seed_sentence,
    seed_token_sentence,
    standard_error,
    within_budgets,
)


def cell(source, right, *, sparsity=0.5, samples=1, tokens=100, model="m", seed=0, budget=200, cut=()):
    """Rows of an evaluation: `right` has a value, or a list of samples, a problem."""
    rows = []
    for number, values in enumerate(right):
        for sample, value in enumerate(np.atleast_1d(values)):
            late = number in cut
            length = budget if late else tokens
            rows.append(dict(
                source=source, sparsity=sparsity, model=model, seed=seed, budget=budget, problem_id=f"p{number}", sample=sample,
                correct=bool(value) and not late, output_tokens=length if late else length + number, think_tokens=length,
                finish_reason="length" if late else "stop",
            ))  # fmt: skip
    return pd.DataFrame(rows)


RNG = np.random.default_rng(0)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_what_counting_says(case):
    n, c, k = case
    assert pass_at_k(n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k), abs=1e-12)


def test_the_standard_error_is_lighteval_s():
    """Its result for R1-Distill-Qwen-7B on MATH-500: 0.904 ± 0.01319."""
    assert standard_error(np.array([1.0] * 452 + [0.0] * 48)) == pytest.approx(0.01319, abs=5e-6)
    assert math.isnan(standard_error(np.ones(1)))


def test_pass_tables_and_evaluations_agree():
    right = [[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]
    table = pass_table(cell("rac", right), [1, 2, 4]).iloc[0]
    assert table["pass@1, %"] == pytest.approx(100 * (0.5 + 0 + 1) / 3) and table["pass@4, %"] == pytest.approx(100 * 2 / 3)
    assert table["pass@2, %"] == pytest.approx(100 * (5 / 6 + 0 + 1) / 3)
    one = Evaluation(cell("rac", right))
    assert one.pass_at(2)[0] == pytest.approx(table["pass@2, %"] / 100) and one.pass_at(1)[0] == one.summary()["accuracy"]
    assert one.pass_at(4)[1] == pytest.approx(np.std([1, 0, 1], ddof=1) / math.sqrt(3))
    for k in (0, 5):
        with pytest.raises(ParameterError, match="k must be from 1 to 4"):
            pass_table(cell("rac", right), [k])
        with pytest.raises(ParameterError, match="k must be from 1 to 4"):
            one.pass_at(k)


def test_differences_of_single_samples_are_tested_by_mcnemar():
    a, b = cell("rac", [1] * 12 + [0] * 3 + [1] * 5), cell("prompt", [0] * 12 + [1] * 3 + [1] * 5)
    found = paired_difference(a, b)
    assert found.test == "McNemar's exact test" and found.p_value == pytest.approx(stats.binomtest(12, 15).pvalue)
    assert paired_difference(b, a).p_value == found.p_value and paired_difference(a, a).p_value == 1.0
    assert (
        paired_difference(cell("rac", [[1, 0], [1, 1], [0, 0]]), cell("prompt", [[1, 1], [1, 0], [0, 0]])).test
        == "paired t-test"
    )


def test_the_best_is_marked_only_beyond_the_noise():
    strong, weak = [1] * 40 + [0] * 10, [1] * 10 + [0] * 40
    near = [1] * 39 + [0] * 11
    assert best_of([{"rac": cell("rac", strong), "prompt": cell("prompt", weak)}]) == ["rac"]
    assert best_of([{"rac": cell("rac", strong), "prompt": cell("prompt", near)}]) == [None]
    assert best_of([{"rac": cell("rac", strong), "prompt": cell("prompt", weak), "generic": cell("generic", near)}]) == [None]
    assert best_of([{"rac": cell("rac", strong)}]) == [None]
    assert best_of([{"rac": cell("rac", weak), "prompt": cell("prompt", strong)}]) == ["prompt"], "whichever it is"


def test_the_table_holds_what_the_cells_say():
    frame = pd.concat(
        [cell("dense", [1, 1, 1, 0], sparsity=0.0), cell("rac", [1, 1, 0, 0], cut=(0,)), cell("prompt", [0, 0, 0, 0])]
    )
    table = accuracy_table(frame).set_index("source")
    assert table.loc["dense", "accuracy, %"] == 75 and table.loc["rac", "accuracy, %"] == 25
    assert table.loc["dense", "SE"] == pytest.approx(100 * np.std([1, 1, 1, 0], ddof=1) / 2)
    assert table.loc["rac", "cut off, %"] == 25 and table.loc["rac", "tokens a sample"] == pytest.approx(
        (200 + 101 + 102 + 103) / 4
    )
    assert (table["best"] == "").all() and table["n"].tolist() == [4, 4, 4]
    with pytest.raises(DataError, match="must have the columns"):
        accuracy_table(frame.drop(columns="correct"))


def test_a_budget_cuts_what_came_later():
    frame = pd.concat([cell("rac", [1, 1, 1, 1], tokens=50, cut=(3,)), cell("dense", [1, 1, 1, 1], sparsity=0.0, tokens=10)])
    cut = within_budgets(frame, [200, 51, 20])
    assert sorted(cut["budget"].unique()) == [20, 51, 200]
    rac = cut[cut["source"] == "rac"].groupby("budget")
    assert rac["correct"].sum().to_dict() == {20: 0, 51: 2, 200: 3}
    assert (rac["finish_reason"].apply(lambda r: (r == "length").sum())).to_dict() == {20: 4, 51: 2, 200: 1}
    assert rac["output_tokens"].max().to_dict() == {20: 20, 51: 51, 200: 200}
    same = cut[cut["budget"] == 200].drop(columns="budget").reset_index(drop=True)
    pd.testing.assert_frame_equal(same, frame.drop(columns="budget").reset_index(drop=True), check_dtype=False)
    for budgets in ([201], [0]):
        with pytest.raises(ParameterError, match=r"budgets must be integers from 1 to the budget that was run \(200\)"):
            within_budgets(frame, budgets)


def test_a_budget_is_what_a_run_with_it_would_have_been(tiny):
    """The tokens of a sample do not depend on the cap."""
    import racviz as rv

    problems = rv.load_problems("arithmetic", limit=6)

    def run(budget):
        result = rv.evaluate(tiny, problems, rv.Sampling(budget, 0.8), progress=False)
        return result.frame.assign(source="dense", sparsity=0.0, budget=budget).drop(columns=["output_ids", "answer"])

    short, long = run(20), run(60)
    cut = within_budgets(long, [20]).reset_index(drop=True)
    for name in ("correct", "output_tokens", "finish_reason"):
        assert cut[name].tolist() == short[name].tolist()


def seeds(gap, count=3, problems=60):
    frames = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        frames += [
            cell("rac", rng.random(problems) < 0.5 + gap, seed=seed),
            cell("prompt", rng.random(problems) < 0.5 - gap, seed=seed),
        ]
    return pd.concat(frames, ignore_index=True)


def test_claims_over_seeds_turn_with_the_data():
    assert "RAC is the more accurate" in seed_sentence(seeds(0.3), 0.5)
    assert "prompt-only is the more accurate" in seed_sentence(seeds(-0.3), 0.5)
    assert "nothing can be told" in seed_sentence(seeds(0.0), 0.5)
    assert all(f"(seed {seed})" in seed_sentence(seeds(0.3), 0.5) for seed in range(3))
    alone = seed_sentence(seeds(0.3, count=1), 0.5)
    assert "nothing is known of others" in alone and "nothing can be told" in alone
    both = pd.concat([seeds(0.3), seeds(0.3).assign(sparsity=0.6)])
    assert "corrected for 2 sparsities" in seed_sentence(both, [0.5, 0.6])
    with pytest.raises(DataError, match="seed 0 has no evaluation of rac at a sparsity of 0.9"):
        seed_sentence(both, 0.9)


def test_seed_differences_are_paired():
    table = seed_differences(seeds(0.2), 0.5)
    assert table.shape == (3, 60)
    frame = seeds(0.2)
    mean = {s: p.groupby("source")["correct"].mean() for s, p in frame.groupby("seed")}
    assert table.mean(axis=1).to_dict() == pytest.approx({s: m["rac"] - m["prompt"] for s, m in mean.items()})
    interval = seed_interval(frame, 0.5)
    assert interval.low < interval.estimate < interval.high and interval.estimate == pytest.approx(table.to_numpy().mean())
    means = table.mean(axis=1)
    half = stats.t.ppf(0.975, 2) * means.std(ddof=1) / math.sqrt(3)
    assert interval.low <= means.mean() - half and interval.high >= means.mean() + half
    assert math.isnan(seed_interval(frame[frame["seed"] == 0], 0.5).low), "one seed says nothing of others"


def test_seeds_that_differ_are_not_taken_for_an_effect():
    """Three seeds whose effects are pure luck, with a spread of 10 points: 95 % intervals exclude 0 in about 5 % of the cases."""
    from racviz.statistics.estimates import bootstrap_interval
    from racviz.statistics.seeds import over_seeds

    rng, found = np.random.default_rng(0), {"bootstrap": 0, "both": 0}
    for k in range(200):
        table = rng.normal(0, 0.1, (3, 1)) + rng.normal(0, 0.1, (3, 60))
        alone = bootstrap_interval(table, resamples=200, seed=k)
        found["bootstrap"] += alone.side_of(0.0) != 0
        found["both"] += over_seeds(alone, table.mean(axis=1)).side_of(0.0) != 0
    assert found["both"] <= 18 < found["bootstrap"], found


def test_nowhere_below_is_said_only_where_it_holds():
    said = nowhere_below_sentence(seeds(0.3), [0.5])
    assert "RAC is nowhere below prompt-only by more than the noise; it could be by up to 0.0 points" in said
    assert "nowhere below" in nowhere_below_sentence(seeds(0.0), [0.5])
    worse = pd.concat([seeds(0.0), seeds(-0.3).assign(sparsity=0.4)])
    said = nowhere_below_sentence(worse, [0.4, 0.5])
    assert "RAC is below prompt-only beyond the noise at 40 %" in said and "nowhere" not in said
    nothing = pd.concat([cell(source, [0] * 50, seed=seed) for source in ("rac", "prompt") for seed in range(3)])
    assert "could be by up to 6.0 points" in nowhere_below_sentence(nothing, [0.5]), (
        "no difference in 50 problems: the rule of three"
    )
    assert "too few problems" in nowhere_below_sentence(seeds(-0.3, problems=3), [0.5])


def test_the_ratio_of_means_has_an_interval_that_holds_the_truth():
    rng = np.random.default_rng(1)
    inside = 0
    for k in range(60):
        base = rng.gamma(4.0, 25.0, (3, 40))
        found = bootstrap_ratio(base * rng.gamma(4.0, 0.5, base.shape), base, resamples=300, seed=k)
        inside += found.low <= 2.0 <= found.high
    assert inside >= 50, "95 % intervals of a ratio that is 2"
    a, b = np.array([[2.0, 4, np.nan]]), np.array([[1.0, 1, 7]])
    assert bootstrap_ratio(a, b).estimate == 3.0 and bootstrap_ratio(a, b).n == 2, "the third problem is no pair"
    assert bootstrap_ratio(a, 0 * a).n == 0
    with pytest.raises(ParameterError, match="of one shape"):
        bootstrap_ratio(np.ones((2, 3)), np.ones((3, 2)))


def test_tokens_over_seeds_turn_with_the_data_and_name_what_was_cut():
    def tokens(prompt, rac, cut=()):
        parts = [
            part
            for seed in range(3)
            for part in (
                cell("prompt", [1] * 20, seed=seed, tokens=prompt, budget=900, cut=cut),
                cell("rac", [1] * 20, seed=seed, tokens=rac, budget=900),
            )
        ]
        return pd.concat(parts, ignore_index=True)

    more = seed_token_sentence(tokens(300, 100), [0.5])
    assert "at 50 % 2.83 [" in more and "prompt-only needs more" in more and "at least" not in more
    assert "(310 against 110; cut off 0.0 against 0.0 %; all tokens over right answers: 310 against 110)" in more
    assert "RAC needs more" in seed_token_sentence(tokens(100, 300), [0.5])
    assert "nothing can be told" in seed_token_sentence(tokens(100, 100), [0.5])
    assert "at least" in seed_token_sentence(tokens(300, 100, cut=(1, 2)), [0.5])
    assert "together for 4 sparsities" in seed_token_sentence(tokens(300, 100), [0.5], claims=4)
    none = seed_token_sentence(tokens(300, 100, cut=range(20)), [0.5])
    assert "all tokens over right answers: no right answer against 110" in none


def test_the_paper_s_order_is_held_against_what_was_measured():
    def here(rac, prompt, generic):
        shares = {"rac": rac, "prompt": prompt, "generic": generic}
        return pd.concat([cell(source, [1] * right + [0] * (50 - right)) for source, right in shares.items()])

    def row(model, **accuracies):
        return [dict(model=model, source=source, sparsity=0.5, accuracy=value) for source, value in accuracies.items()]

    paper = pd.DataFrame([*row("A", rac=0.9, prompt=0.8, generic=0.7), *row("B", rac=0.9, prompt=0.5, generic=0.6)])
    said = published_sentence(here(40, 5, 20), paper)
    assert "at 50 % RAC − prompt-only is +70.0 points, as the paper has it for A, B" in said
    assert "prompt-only − generic text is -30.0 points, as the paper has it for B and against the paper for A" in said
    turned = published_sentence(here(5, 40, 5), paper)
    assert (
        "RAC − prompt-only is -70.0 points, against the paper for A, B" in turned
        and "for A and against the paper for B" in turned
    )
    near = pd.DataFrame([*row("A", rac=0.9, prompt=0.89, generic=0.7)])
    assert "which the paper's own noise leaves open for A" in published_sentence(here(40, 5, 20), near)
    assert "inside the noise, so that nothing can be told" in published_sentence(here(20, 20, 19), paper)
    assert "cannot be compared" in published_sentence(here(20, 5, 1).assign(sparsity=0.3), paper)
    assert "cannot be compared" in published_sentence(here(20, 5, 1), paper[paper["source"] == "rac"])
