"""Answers compared as mathematics, in a process that may be given up."""

import json
import time
from pathlib import Path

import pytest

from racviz.errors import DataError
from racviz.grading import grade_all, grader_of
from racviz.grading.maths import MathsJudge
from racviz.problems import Problem, load_problems

MATH = Path(__file__).parents[3] / "shared" / "data" / "MATH-500.jsonl"


@pytest.fixture(scope="module")
def judge():
    with MathsJudge() as made:
        yield made


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{1}{2}", r"so it is $\boxed{0.5}$"), (r"\frac{14}{3}", r"\boxed{\dfrac{14}{3}}"), ("x^2+2x+1", r"\boxed{(x+1)^2}"),
        (r"\left( 3, \frac{\pi}{2} \right)", r"\boxed{(3,\frac{\pi}{2})}"), (r"[2,5)", r"$[2, 5)$"), ("10", "the total is 10"),
        (r"p - q", r"\boxed{-q+p}"), ("1,2,3", r"\boxed{3, 2, 1}"), (r"11\sqrt2", r"\boxed{11\sqrt{2}}"), (r"50\%", r"\boxed{50}"),
    ],
)  # fmt: skip
def test_equal(judge, gold, answer):
    assert judge.equal(gold, answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{1}{2}", r"$\boxed{0.51}$"), ("x^2+2x+1", r"\boxed{(x-1)^2}"), ("(1,2)", r"\boxed{(2,1)}"), ("4", r"\boxed{4}, \boxed{5}"),
        ("4", ""), ("4", "nothing at all"), ("4", "\x00\x1b[31m\udc80"), (r"\frac{1}{", r"\boxed{1}"), ("4", r"\boxed{" * 2000),
    ],
)  # fmt: skip
def test_different(judge, gold, answer):
    assert not judge.equal(gold, answer)


def test_what_takes_for_ever_is_given_up_and_the_next_is_compared():
    with MathsJudge(seconds=3.0) as judge:
        assert judge.equal("4", r"\boxed{4.0}")
        began = time.monotonic()
        assert not judge.equal("4", r"\boxed{9^{9^{9^{9}}}+\frac{1}{9^{9^{9}}}}")
        assert time.monotonic() - began < 10
        assert judge.equal("4", r"\boxed{2+2}")


def test_the_grader_is_that_of_the_problem():
    sets = [Problem("a", "x", "4", domain="arithmetic"), Problem("m", "x", "4"), Problem("c", "x", tests='{"cases": []}')]
    assert [grader_of(p) for p in sets] == ["exact", "maths", "program"]
    assert grade_all([r"2+2", r"\boxed{2+2}"], sets[:2]) == [False, True], "an embedded domain wants the number"
    assert grade_all([None], sets[1:2]) == [False]
    with pytest.raises(DataError, match="1 problems have no answer to grade by .first: 'n'."):
        grade_all(["4"], [Problem("n", "x")])


@pytest.mark.skipif(not MATH.exists(), reason="the slice of MATH-500 is not on this machine")
def test_math_500_s_solutions_are_right_and_wrong_for_other_problems():
    problems = list(load_problems(MATH))
    solutions = [json.loads(line)["solution"] for line in MATH.read_text(encoding="utf-8").splitlines()]
    assert len(problems) == 500
    wrong = [p.id for p, right in zip(problems, grade_all(solutions, problems), strict=True) if not right]
    assert wrong == []
    others = [(solutions[k], problems[(k + 137) % 500]) for k in range(500)]
    others = [(text, p) for k, (text, p) in enumerate(others) if p.answer != problems[k].answer]
    assert sum(grade_all([text for text, _ in others], [p for _, p in others])) == 0 and len(others) > 490


def test_another_base_is_another_number():
    problem = [Problem("b", "x", "52_8")]
    given = [r"\boxed{52_8}", r"\boxed{52_{8}}", r"It is $52_8$.", r"\boxed{52}", r"\boxed{52_9}", r"\boxed{53_8}"]
    assert grade_all(given, problem * len(given)) == [True, True, True, True, False, False]
