"""Answers compared as mathematics, in a process that may be given up."""

import json
import time
from pathlib import Path

import pytest

from racviz.exceptions import DataError
from racviz.grading import grade_all, grader_of
from racviz.grading.maths import MathsJudge
from racviz.problems import Problem, load_problems

DATA = Path(__file__).parents[3] / "shared" / "data"


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
        (r"\frac{1}{2}", r"$\boxed{0.51}$"), ("x^2+2x+1", r"\boxed{(x-1)^2}"), ("(1,2)", r"\boxed{(2,1)}"),
        ("4", r"\boxed{4}, \boxed{5}"),
        ("4", ""), ("4", "nothing at all"), ("4", "\x00\x1b[31m\udc80"), (r"\frac{1}{", r"\boxed{1}"), ("4", r"\boxed{" * 2000),
    ],
)  # fmt: skip
def test_different(judge, gold, answer):
    assert not judge.equal(gold, answer)


PROSE = [
    ("3", "It cannot be 3.", False), ("3", "It can't be 3", False), ("3", "It isn’t $3$.", False), ("3", "The answer is not 3", False),
    ("3", "So,\nthe answer cannot be 3.", False), ("3", "I don't think the answer is 3", False), ("3", "3 is not the answer.", False),
    ("7", "I could not solve it after 7 attempts", False), ("3", "The answer is 3. Wait, it is not 3.", False),
    ("3", "It is 3. It is not 3.", False), ("5", "It is 5. It is not 3.", True), ("5", "The answer is 5. It is not 3.", True),
    ("5", "The answer cannot be 3. It must be 5.", True), ("18", "He did not sell 18 cookies.\nSo he has 18 left.", True),
    ("5", "It can't be less, so the answer is 5", True), ("3", "Since x cannot be negative, $x = 3$.", True),
    ("4", "The answer is 4, not 5.", True), ("5", "The answer is 4, not 5.", False),
    ("cannot be determined", "It cannot be determined", False), ("no", "The answer is no.", True),
    ("4", "The answer is 4, since 2+2=4.", True), ("4", "The answer is 4 because 1+3=4", True),
    ("4", "The final answer is 4 (we used 2+2).", True), ("4", "Therefore, the answer is $4$, as required.", True),
    ("4", "The answer is 4 (mod 5)", False), ("(1,2)", "The answer is (1, 2), since x=1.", True),
    ("2, 3", "The answer is 2 and 3, since both fit.", True), ("18", "She makes **$18** every day.", True),
    ("18", "She makes **$18** every day\nin 2 shops", True), ("70000", "Her profit was $70,000.", True),
    ("18", "She had $5 and then earned $18.", True), ("42", "She has at least 42", False), ("5", "Square root of 5", False),
]  # fmt: skip


def test_sentences_without_a_box_state_an_answer_and_deny_others(judge):
    assert [(key, text) for key, text, verdict in PROSE if judge.equal(key, text) is not verdict] == []


FORMS = [
    ("A", r"\boxed{A. 5 or B. 6}", False), ("A", r"\boxed{(A) 5, (B) 6}", False), ("A", r"\boxed{\text{(A) } 5, \text{(B) } 6}", False),
    ("A", r"\boxed{A. 5}", True), ("5", r"\boxed{5\,\mathrm{m/s}}", True), (r"5 \text{ m/s}", r"\boxed{5~\mathrm{m/s}}", True),
    (r"5 \text{ m/s}", r"\boxed{5~\mathrm{km/h}}", False), (r"9.8\text{ m/s}^2", r"\boxed{9.8\,\mathrm{m/s^2}}", True),
    ("5", r"\boxed{5\,\mathrm{m}}", True), (r"5\text{ m/s}", r"\boxed{5 m/s}", True), ("2i", r"\boxed{2\,\mathrm{i}}", True),
    ("41", "The answer is 41.\nA common wrong answer is 42.", True), ("42", "The answer is 41.\nA common wrong answer is 42.", False),
    ("B", "The correct option is **B**.", True), ("B", "The correct choice is **(B)**.", True),
    ("C", "The correct option is **B**.", False),
    ("60", r"\boxed{60^o}", True), ("10", r"\boxed{10\$}", True), ("10", r"\boxed{10\,€}", True), ("9 (apples)", r"\boxed{9}", True),
    ("9 (apples)", r"\boxed{9\text{ pears}}", False), ("100000", r"\boxed{1,00,000}", True), ("1, 20, 300", r"\boxed{1,20,300}", True),
]  # fmt: skip


def test_units_options_and_money_in_other_forms(judge):
    assert [(key, text) for key, text, verdict in FORMS if judge.equal(key, text) is not verdict] == []


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


def solutions(name):
    """Problems of a data set and the solutions of their authors."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return list(load_problems(path)), [row.get("solution", row["answer"]) for row in rows]


@pytest.mark.parametrize(("name", "count"), [("MATH-500.jsonl", 500), ("gsm8k-test.jsonl", 1319)])
def test_solutions_are_right_and_wrong_for_other_problems(name, count):
    problems, texts = solutions(name)
    assert len(problems) == count
    assert [p.id for p, right in zip(problems, grade_all(texts, problems), strict=True) if not right] == []
    shifted = problems[137:] + problems[:137]
    others = [(text, p) for text, own, p in zip(texts, problems, shifted, strict=True) if p.answer != own.answer]
    assert len(others) > 0.98 * count
    passed = zip(others, grade_all([text for text, _ in others], [p for _, p in others]), strict=True)
    assert [(text, p.answer) for (text, p), right in passed if right] == []


def test_every_key_of_math_500_is_right_for_itself_however_it_is_laid_out(judge):
    problems, _ = solutions("MATH-500.jsonl")
    wrong = []
    for key in sorted({p.answer for p in problems}):
        layouts = (
            key,
            f"$ {key} $",
            key.replace("\\frac", "\\dfrac"),
            key.replace("-", "−"),
            f"\\text{{The answer is }} {key}",
        )
        wrong += [(key, layout) for layout in layouts if not judge.equal(key, f"\\boxed{{{layout}}}")]
    assert wrong == []


def test_another_base_is_another_number():
    problem = [Problem("b", "x", "52_8")]
    given = [r"\boxed{52_8}", r"\boxed{52_{8}}", r"It is $52_8$.", r"\boxed{52}", r"\boxed{52_9}", r"\boxed{53_8}"]
    assert grade_all(given, problem * len(given)) == [True, True, True, True, False, False]


BORDERS = [
    ("3", r"\boxed{2} or \boxed{3}", False), ("42", r"\boxed{41} \boxed{43} \boxed{42}", False), ("52", r"\boxed{52_8}", False),
    ("528", r"\boxed{52_8}", False), ("DBAC", r"\boxed{ABCD}", False), ("on", r"\boxed{no}", False), ("15", r"\boxed{1\ 5}", False),
    (r"3\text{ hours}", r"\boxed{3\text{ minutes}}", False), ("2:1", r"\boxed{2}", False), (r"\frac{dy}{dx}", r"\boxed{0}", False),
    (r"\frac{1}{500!}", r"\boxed{\frac{1}{502!}}", False), (r"1, 2, \ldots, n", r"\boxed{1, 3, 5, \ldots, 2n-1}", False),
    (r"n = 3k, k \in \mathbb{N}", r"\boxed{3}", False), ("2+2i", r"\boxed{2(1+i)}", True),
    (r"0.\overline{3}", r"\boxed{\frac{1}{3}}", True),
    (r"(-\infty, 3)", r"\boxed{x<3}", True), (r"\emptyset", r"\boxed{\varnothing}", True), ("12", r"\boxed{12^{\text{th}}}", True),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix}1\\[2pt]2\end{pmatrix}}", True),
    ("6.02e23", r"\boxed{6.02\times 10^{23}}", True), ("1e+22", r"\boxed{10^{22}}", True), ("1e-07", r"\boxed{0.0000001}", True),
    (r"\text{(C)}", r"\boxed{\textbf{(C)}\ 5}", True), ("42", r"\boxed{\text{The answer is } 42}", True),
    ("5", r"\boxed{5}\boxed{}", True),
]  # fmt: skip


def test_all_graders_together():
    problems = [Problem(str(k), "x", key) for k, (key, _, _) in enumerate(BORDERS)]
    verdicts = grade_all([answer for _, answer, _ in BORDERS], problems)
    assert [
        (key, answer) for (key, answer, right), verdict in zip(BORDERS, verdicts, strict=True) if verdict is not right
    ] == []
