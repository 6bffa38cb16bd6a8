"""Programs that a model wrote, against the tests of a problem: LiveCodeBench's two formats.

tests: JSON, {"cases": [{"input", "output", "testtype"}, …], "function": name or null}. Without a function a program reads its input and
prints; else the function, or a method of a class Solution, is called with the lines of the input as JSON arguments. Outputs and results
are compared here, as LiveCodeBench compares them; a program never has the wanted ones in its reach.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation
from typing import Any

from racviz.exceptions import DataError
from racviz.grading.fences import program_of
from racviz.grading.sandbox import Limits, run_program

__all__ = ["cases_of", "program_of", "run_tests"]

AT_ONCE = 2
ROOM = 4
"""Bytes of output allowed for each byte that is wanted: a number may be printed with more digits than are wanted."""


def cases_of(tests: str, where: str = "a problem") -> tuple[list[tuple[str, str, str]], str | None]:
    """(input, output, kind) of each case, and the function to call.

    Raises DataError for tests that are not of the form above, or that no program could pass.
    """
    try:
        read = json.loads(tests)
        cases, name = [(c["input"], c["output"], c.get("testtype", "stdin")) for c in read["cases"]], read.get("function")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{where}: its tests cannot be read ({error!r}); they are {{'cases': [{{'input', 'output'}}, …]}}."
        ) from error
    if not cases or not all(isinstance(each, str) for case in cases for each in case) or not isinstance(name, str | None):
        raise DataError(f"{where}: its tests must be at least one case, with input, output and testtype all texts.")
    if name is None and any(kind == "functional" for _, _, kind in cases):
        raise DataError(f"{where}: its tests are functional and name no function to call; add 'function'.")
    if name is not None:
        _check_functional(cases, name, where)
    return cases, name


def _check_functional(cases: list[tuple[str, str, str]], name: str, where: str) -> None:
    """Raise DataError for a name that no function can have, and for inputs and outputs that are not JSON."""
    if not name.isidentifier():
        raise DataError(f"{where}: its tests call the function {name[:60]!r}, which is not a name.")
    for number, (given, wanted, _) in enumerate(cases, start=1):
        for part, texts in (("input", _arguments(given)), ("output", [wanted])):
            for text in texts:
                try:
                    _value(text)
                except (ValueError, RecursionError) as error:
                    raise DataError(
                        f"{where}: case {number} of its tests: the {part} {text[:60]!r} is not JSON ({error}); "
                        f"with a function, each line of an input is an argument and the output its result, as JSON."
                    ) from error


def run_tests(program: str, tests: str, limits: Limits = Limits(), *, unsafe: bool = False) -> bool:
    """True if a program passes all cases; stops at the first that it fails.

    Raises DataError for tests that are not of the form above, SandboxError where the program cannot be contained.
    """
    cases, name = cases_of(tests)
    if not program.strip():
        return False

    def passes(case: tuple[str, str, str]) -> bool:
        given, wanted, _ = case
        room = ROOM * len(wanted.encode("utf-8", "replace"))
        ran = run_program(program, given.replace("\r\n", "\n"), limits, unsafe=unsafe, function=name or "", room=room)
        return ran.ended and (_same_lines(ran.output, wanted) if name is None else _same_value(ran.output, wanted))

    if not passes(cases[0]):
        return False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(1, len(cases), 4 * AT_ONCE):
            if not all(pool.map(passes, cases[first : first + 4 * AT_ONCE])):
                return False
    return True


def _arguments(given: str) -> list[str]:
    return [line for line in given.split("\n") if line.strip()]


def _value(text: str) -> Any:
    """A value of JSON. Long integers are Decimals, which compare exactly at any length; each NaN is an object of its own, equal to none."""
    return json.loads(
        text, parse_int=lambda digits: int(digits) if len(digits) < 600 else Decimal(digits), parse_constant=float
    )


def _same_value(result: str, wanted: str) -> bool:
    """Compare two values of JSON as Python does: 1, 1.0 and true are equal; floats are compared exactly."""
    try:
        return _value(result) == _value(wanted)
    except (ValueError, RecursionError):
        return False


def _same_lines(output: str, wanted: str) -> bool:
    """Line by line without white space at either end; lines that differ may hold the same numbers."""
    ours, theirs = ([line.strip() for line in text.strip().split("\n")] for text in (output, wanted))
    return len(ours) == len(theirs) and all(a == b or _same_numbers(a, b) for a, b in zip(ours, theirs, strict=True))


def _same_numbers(ours: str, theirs: str) -> bool:
    try:
        return [Decimal(word) for word in ours.split()] == [Decimal(word) for word in theirs.split()]
    except InvalidOperation:
        return False
