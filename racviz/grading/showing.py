"""A few keys as grading reads them, for a look before hours are spent."""

from collections.abc import Sequence

from racviz.grading import grader_of
from racviz.grading.programs import cases_of
from racviz.problems import Problem

SHOWN = 60
"""Characters of a key."""
MANNERS = {"exact": "graded word for word, numbers by value", "maths": "graded as mathematics"}


def key_lines(problems: Sequence[Problem], count: int = 3) -> list[str]:
    """Lines of the first keys and, as the last, the longest: id, key, and the manner of grading.

    Parameters
    ----------
    problems : sequence of Problem
        Problems that all have a key or tests.
    count : int
        Number of lines, as far as there are problems.
    """
    shown = list(problems[:count])
    if len(problems) > count:
        shown[-1] = max(problems[count - 1 :], key=lambda problem: len(problem.answer))
    return [_line(problem) for problem in shown]


def _line(problem: Problem) -> str:
    kind = grader_of(problem)
    if kind == "program":
        cases, name = cases_of(problem.tests, f"problem {problem.id!r}")
        called = f"calling {name!r}" if name else "its output"
        return f"{_short(problem.id)}: {len(cases)} test cases, graded by running the program, {called}"
    return f"{_short(problem.id)}: {_short(repr(problem.answer))}, {MANNERS[kind]}"


def _short(text: str) -> str:
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
