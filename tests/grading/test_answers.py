"""Exact match after folding white space; numbers by value."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.grading import grade
from racviz.problems import load_problems


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        ("42", "42"), (" 42\n", "42"), ("042", "42"), ("42.0", "42"), ("+42", "42"), ("-0", "0"), ("4.2e1", "42"),
        ("1,234", "1234"), ("1234", "1,234"), ("12,345,678.5", "12345678.50"), ("-1,000", "-1000"),
        ("[1, 2]", "[1,  2]"), ("a\tb", "a b"), ("10000000000000000000001", "10000000000000000000001.0"), ("1,2", "1,2"),
        ("nan", "nan"), ("ünï", "ünï"),
    ],
)  # fmt: skip
def test_right(answer, key):
    assert grade(answer, key) is True


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        (None, "42"), ("", "42"), ("43", "42"), ("4 2", "42"), ("42 apples", "42"), ("the answer is 42", "42"),
        ("1,2", "12"), ("12", "1,2"), ("1,23", "123"), ("1,2345", "12345"), (",123", "123"), ("1,234,", "1234"),
        ("[1, 2]", "[1, 3]"), ("A", "a"), ("ab", "a b"), ("NaN", "sNaN"), ("sNaN", "1"), ("nan", "1"), ("Infinity", "1"),
        ("10000000000000000000001", "10000000000000000000002"), ("None", "0"),
    ],
)  # fmt: skip
def test_wrong(answer, key):
    assert grade(answer, key) is False


@given(st.integers(), st.integers())
def test_integers_are_right_only_if_equal_however_written(a, b):
    for written in (str(a), f"{a:,}", f" {a}.0 ", f"{a}.000"):
        assert grade(written, str(b)) is (a == b)


@given(st.text())
def test_any_text_is_right_against_itself_and_no_text_raises(text):
    assert grade(text, text) is True
    assert grade(text, text + " x") is False
    assert grade(None, text) is False


def test_the_last_box_is_the_answer():
    assert grade(r"First \boxed{7}, then the total is \boxed{42}.", "42") and not grade(r"The total is \boxed{41}.", "42")
    assert grade(r"\boxed{1,042}", "1042")


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"), (r"\boxed{\sqrt{x^{2}+1}}", r"\sqrt{x^{2}+1}"),
        (r"\boxed{3}, no: \boxed{\dfrac{14}{3}}", r"\frac{14}{3}"), (r"$\boxed{\left\{1, 2\right\}}$", r"\left\{1, 2\right\}"),
        (r"\boxed{\$1{,}250}", "1250"), (r"\boxed{1,\!000}", "1000"), (r"\boxed{\text{Evelyn}}", r"\text{Evelyn}"),
        ("Evelyn", r"\text{Evelyn}"),
        (r"\fbox{7}", "7"),
    ],
)  # fmt: skip
def test_a_box_may_hold_braces(answer, key):
    assert grade(answer, key)


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        (r"\boxed{3}, no: \boxed{\frac{14}{3}}", "3"),
        (r"\boxed{3} or rather \boxed{\frac{1}{2", "3"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{3}"),
    ],
)
def test_an_earlier_box_is_not_the_answer(answer, key):
    assert not grade(answer, key)


def test_every_key_of_math_500_is_right_in_a_box():
    path = Path(__file__).parents[3] / "shared" / "data" / "MATH-500.jsonl"
    if not path.exists():
        pytest.skip("the slice of MATH-500 is not here")
    keys = [p.answer for p in load_problems(path)]
    assert len(keys) > 50
    assert [key for key in keys if not grade(f"Thus \\(\\boxed{{{key}}}\\).", key)] == []
