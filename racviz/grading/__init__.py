"""Verdicts on answers: exact, as mathematics, or by running the program that an answer holds.

The embedded domains are graded exactly (numbers by value), problems with tests by running the program in a sandbox, all others as
mathematics. Grading many answers at once starts one helper process, and one sandbox a test case.
"""

from collections.abc import Sequence

from racviz.exceptions import DataError
from racviz.grading.answers import grade
from racviz.grading.boxes import last_boxed
from racviz.grading.maths import MathsJudge
from racviz.grading.programs import cases_of, program_of, run_tests
from racviz.grading.sandbox import Limits, SandboxError
from racviz.problems import DOMAINS, Problem

__all__ = ["Limits", "SandboxError", "grade", "grade_all", "grader_of", "last_boxed", "program_of", "refuse_ungradable"]


def grader_of(problem: Problem) -> str:
    """Name of a problem's grader: `program` where it has tests, `exact` in the embedded domains, else `maths`."""
    return "program" if problem.tests else "exact" if problem.domain in DOMAINS else "maths"


def refuse_ungradable(problems: Sequence[Problem]) -> None:
    """Raise DataError for problems with neither an answer nor tests to grade by, and for tests that cannot be read."""
    without = [p.id for p in problems if not p.tests and (not p.answer.strip() or _is_nan(p))]
    for problem in problems:
        if problem.tests:
            cases_of(problem.tests, f"problem {problem.id!r}")
    if without:
        raise DataError(
            f"{len(without)} problems have no answer to grade by (first: {without[0]!r}); add the column 'answer', or 'tests' for programs."
        )


def _is_nan(problem: Problem) -> bool:
    """True for a missing value that became a text; no answer in mathematics is NaN."""
    return problem.answer.strip().lower() == "nan" and grader_of(problem) == "maths"


def grade_all(
    answers: Sequence[str | None], problems: Sequence[Problem], *, limits: Limits = Limits(), unsafe: bool = False
) -> list[bool]:
    """Verdicts on answers, each for its problem.

    Parameters
    ----------
    answers
        Texts after the thought; None where there is none.
    problems
        Problems, as many as answers.
    limits
        Limits of each run of a program.
    unsafe
        Run programs even where the system cannot keep them from the network and from files.

    Raises
    ------
    DataError
        For a problem without a key.
    SandboxError
        Where programs must be run and cannot be contained.
    """
    refuse_ungradable(problems)
    right = [False] * len(answers)
    with MathsJudge() as judge:
        for k, (answer, problem) in enumerate(zip(answers, problems, strict=True)):
            kind = grader_of(problem)
            if answer is None:
                continue
            if kind == "program":
                right[k] = run_tests(program_of(answer), problem.tests, limits, unsafe=unsafe)
            else:
                right[k] = grade(answer, problem.answer)
                if kind == "maths" and not right[k]:
                    right[k] = judge.equal(problem.answer, answer)
    return right
