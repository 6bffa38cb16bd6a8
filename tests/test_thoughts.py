"""Loops, repetition, where thoughts part and when they end."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.exceptions import DataError
from racviz.statistics import circle_sentence, circles, divergence, length_table, loop, repetition, survival, thought_lengths


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 5))
def test_repetition_is_the_share_of_ngrams_seen_before(ids, n):
    seen, again = set(), 0
    for k in range(len(ids) - n + 1):
        gram = tuple(ids[k : k + n])
        again += gram in seen
        seen.add(gram)
    assert repetition(ids, n) == pytest.approx(again / (len(ids) - n + 1) if len(ids) >= n else 0.0)


@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(12, 20))
def test_a_tail_that_repeats_is_a_loop_of_a_period_that_divides_it(head, body, rounds):
    period = loop([*head, *body * rounds])
    assert 0 < period <= len(body)
    tail = (body * rounds)[-period * 3 :]
    assert tail == tail[:period] * 3


@pytest.mark.parametrize("ids", [[], [1], [1, 1, 1], [1, 2] * 2, list(range(100)), [*([5] * 50), 1, 2, 3]])
def test_what_is_no_loop(ids):
    assert loop(ids) == 0


@given(st.lists(st.integers(0, 2), max_size=12), st.lists(st.integers(0, 2), max_size=12))
def test_thoughts_part_where_they_first_differ(a, b):
    k = divergence(a, b)
    assert a[:k] == b[:k] and (k == min(len(a), len(b)) or a[k] != b[k])


def frame(rows):
    names = ["source", "sparsity", "problem_id", "correct", "finish_reason", "think_tokens", "output_tokens", "output_ids"]
    return pd.DataFrame(rows, columns=names)


ROWS = frame([
    ("rac", 0.5, "a", True, "stop", 10, 12, list(range(12))), ("rac", 0.5, "b", True, "stop", 30, 31, list(range(31))),
    ("rac", 0.5, "c", False, "length", 40, 40, [1, 2] * 20), ("prompt", 0.5, "a", False, "length", 40, 40, list(range(40))),
])  # fmt: skip


def test_what_goes_in_circles_is_counted():
    table = circles(ROWS).set_index("source")
    assert table.loc["rac", "looping"] == pytest.approx(1 / 3) and table.loc["rac", "truncated"] == pytest.approx(1 / 3)
    assert table.loc["rac", "looping_of_truncated"] == 1 and table.loc["prompt", "looping_of_truncated"] == 0
    assert table.loc["rac", "repetition"] == pytest.approx((1 - 2 / 33) / 3)
    assert "rac at 50 %: 1 of 3 cut off, 100 % of them in a loop" in circle_sentence(circles(ROWS))
    assert "No answer was cut off" in circle_sentence(circles(ROWS[ROWS["finish_reason"] == "stop"]))
    with pytest.raises(DataError, match="output_ids"):
        circles(ROWS.drop(columns="output_ids"))


def test_survival_counts_those_that_go_on():
    table = survival(ROWS, points=41)
    right = table[(table["source"] == "rac") & table["correct"]].set_index("tokens")["thinking"]
    for tokens, expected in ((0, 1.0), (9, 1.0), (10, 0.5), (29, 0.5), (30, 0.0), (40, 0.0)):
        assert right[tokens] == expected
    wrong = table[(table["source"] == "rac") & ~table["correct"]]
    assert (wrong["thinking"] == 1).all(), "what was cut off never ended"
    assert np.isclose(table.groupby(["source", "correct"])["n"].first().sum(), 4) and survival(ROWS[:0]).empty


def test_lengths_of_right_and_wrong_answers_stand_apart():
    table = length_table(ROWS).set_index(["source", "answers"])
    everything = table.loc[("rac", "all")]
    assert everything["mean CoT"] == pytest.approx(80 / 3) and everything["median"] == 30 and everything["samples"] == 3
    assert everything["accuracy, %"] == pytest.approx(200 / 3) and everything["SE"] == pytest.approx(100 / 3)
    assert table.loc[("rac", "right"), "mean CoT"] == 20 and table.loc[("rac", "right"), "cut off, %"] == 0
    assert table.loc[("rac", "wrong"), "cut off, %"] == 100 and np.isnan(table.loc[("rac", "wrong"), "SE"])
    assert ("prompt", "right") not in table.index and table.loc[("rac", "all"), "90 %"] == pytest.approx(38)


def test_a_thought_that_ended_before_its_answer_was_cut_off_has_a_length():
    rows = frame([("rac", 0.5, "a", False, "length", 25, 40, [1] * 40), ("rac", 0.5, "b", False, "length", 40, 40, [1] * 40)])
    lengths = thought_lengths(rows)
    assert (
        lengths["length"].tolist() == [25, 40] and lengths["truncated"].all() and lengths["unended"].tolist() == [False, True]
    )
    table = survival(rows)
    assert table.loc[table["tokens"] > 26, "thinking"].eq(0.5).all(), "one of the two goes on"
    told = length_table(rows).iloc[0]
    assert told["no end, %"] == 50 and told["cut off, %"] == 100
