"""Exact match after folding white space; numbers by value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.grading import grade


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
