"""Grading of generated values against their own arithmetic: exact, symmetric, and right for themselves."""

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from racviz.grading.judging import right


@pytest.fixture(scope="module")
def algebra():
    from racviz.grading.algebra import SympyAlgebra

    return SympyAlgebra()


numbers = st.fractions(min_value=-30, max_value=30, max_denominator=12)


@st.composite
def written(draw, value=numbers):
    """A number and one of the ways to write it."""
    number = draw(value)
    sign, over, under = "-" if number < 0 else "", abs(number.numerator), number.denominator
    ways = [f"{sign}\\frac{{{over}}}{{{under}}}", f"{sign}{over}/{under}", f"{sign}\\dfrac{{{2 * over}}}{{{2 * under}}}"]
    if under == 1:
        ways += [f"{sign}{over}", f"{sign}{over}.0", f"{sign}{over}.", f"{sign.replace('-', '−')}{over}"]
    elif over > under and sign == "":
        ways.append(f"{over // under}\\frac{{{over % under}}}{{{under}}}")
    decimal = Fraction(f"{float(number):.4f}")
    if decimal == number:
        ways.append(f"{float(number):.4f}")
    return number, draw(st.sampled_from(ways))


pairs = st.lists(written(), min_size=2, max_size=3)


@st.composite
def values(draw):
    """What a value means, as something that Python compares, and how it is written."""
    kind = draw(st.sampled_from(["number", "tuple", "set", "list", "interval", "complex"]))
    if kind == "number":
        number, text = draw(written())
        return (kind, number), text
    parts = draw(pairs)
    texts = [text for _, text in parts]
    if kind == "tuple":
        parts, texts = (parts * 2)[:3], (texts * 2)[:3]  # two in round brackets may be an interval
        return (kind, tuple(number for number, _ in parts)), f"({', '.join(texts)})"
    if kind == "set":
        return ("set", frozenset(number for number, _ in parts)), f"\\{{{', '.join(texts)}\\}}"
    if kind == "list":
        return ("list", tuple(sorted(number for number, _ in parts))), ", ".join(texts)
    if kind == "interval":
        low, high = sorted(parts[:2])
        marks = draw(st.sampled_from(["[]", "(]", "[)"]))
        return ((kind, marks, low[0], high[0]), f"{marks[0]}{low[1]}, {high[1]}{marks[1]}")
    real, imaginary = draw(written(st.integers(-9, 9).map(Fraction))), draw(st.integers(1, 9))
    return (kind, real[0], imaginary), draw(st.sampled_from([f"{real[1]} + {imaginary}i", f"{imaginary}i + {real[1]}"]))


def equal(left, right_):
    """Equality of meanings; a list of values is equal to the set of them, and to a tuple in the same order."""
    if {left[0], right_[0]} == {"set", "list"}:
        return set(left[1]) == set(right_[1])
    return left == right_


settled = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settled
@given(first=values(), second=values())
def test_generated_values_are_graded_by_their_meaning_both_ways(algebra, first, second):
    kinds = {first[0][0], second[0][0]}
    forward = right(first[1], f"\\boxed{{{second[1]}}}", algebra)
    assert forward is right(second[1], f"\\boxed{{{first[1]}}}", algebra)
    if kinds != {"list", "tuple"} and kinds != {"set", "number"}:
        assert forward is equal(first[0], second[0]), (first, second)


@settled
@given(value=values())
def test_every_value_is_right_for_itself(algebra, value):
    assert right(value[1], f"\\boxed{{{value[1]}}}", algebra)


@settled
@given(first=written(), second=written())
def test_numbers_are_right_exactly_if_they_are_equal_however_written(algebra, first, second):
    assert right(first[1], f"\\boxed{{{second[1]}}}", algebra) is (first[0] == second[0])
    assert right(first[1], f"\\boxed{{{first[1]}}} and \\boxed{{{second[1]}}}", algebra) is (first[0] == second[0])


@settled
@given(numbers=st.lists(st.integers(-99, 99), min_size=2, max_size=4, unique=True), seed=st.randoms())
def test_lists_and_sets_in_any_order_tuples_only_in_one(algebra, numbers, seed):
    shuffled = list(numbers)
    seed.shuffle(shuffled)
    plain, other = (", ".join(map(str, row)) for row in (numbers, shuffled))
    assert right(plain, f"\\boxed{{{other}}}", algebra)
    assert right(f"\\{{{plain}\\}}", f"\\boxed{{\\{{{other}\\}}}}", algebra)
    assert right(f"({plain})", f"\\boxed{{({other})}}", algebra) is (numbers == shuffled)
    assert not right(plain, f"\\boxed{{{', '.join(map(str, numbers[1:]))}}}", algebra)


@settled
@given(word=st.text("ABCDE", min_size=2, max_size=5), seed=st.randoms())
def test_letters_are_compared_in_order(algebra, word, seed):
    letters = list(word)
    seed.shuffle(letters)
    other = "".join(letters)
    assert right(word, f"\\boxed{{\\text{{{other}}}}}", algebra) is (word == other)
    assert not right(word, f"\\boxed{{{word.lower()}}}", algebra)


@settled
@given(
    count=st.integers(1, 500),
    units=st.lists(st.sampled_from(["cm", "m", "hours", "minutes", "dollars", "apples"]), min_size=2, max_size=2),
)
def test_units_that_differ_are_wrong(algebra, count, units):
    key, answer = (f"{count} \\text{{ {unit}}}" for unit in units)
    assert right(key, f"\\boxed{{{answer}}}", algebra) is (units[0] == units[1])
    assert right(key, f"\\boxed{{{count}}}", algebra) and right(str(count), f"\\boxed{{{answer}}}", algebra)
