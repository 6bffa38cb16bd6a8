"""Programs that a model wrote, against the tests of a problem: LiveCodeBench's two formats.

tests: JSON, {"cases": [{"input", "output", "testtype"}, …], "function": name or null}. With `stdin` a program reads its input and
prints; with `functional` a function, or a method of a class Solution, is called with the lines of the input as JSON arguments.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation

from racviz.errors import DataError
from racviz.grading.sandbox import Limits, Ran, run_program

FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
AT_ONCE = 2
CALL = """

import json as _json, sys as _sys
def _called(name=%s):
    arguments = [_json.loads(line) for line in _sys.stdin.read().split("\\n") if line.strip()]
    owner = globals().get("Solution")
    function = getattr(owner(), name) if owner is not None and hasattr(owner, name) else globals()[name]
    given = function(*arguments)
    _sys.stdout.write("\\n" + _json.dumps(given) + "\\n")
_called()
"""
"""What is added to a program whose function is to be called; the last line that is printed is the result."""


def program_of(answer: str) -> str:
    """The last fenced block of an answer; empty where there is none."""
    found = FENCED.findall(answer)
    return found[-1] if found else ""


def cases_of(tests: str, where: str = "a problem") -> tuple[list[tuple[str, str, str]], str | None]:
    """(input, output, kind) of each case, and the function to call. Raises DataError for tests that are not of the form above."""
    try:
        read = json.loads(tests)
        cases, name = [(c["input"], c["output"], c.get("testtype", "stdin")) for c in read["cases"]], read.get("function")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{where}: its tests cannot be read ({error!r}); they are {{'cases': [{{'input', 'output'}}, …]}}."
        ) from error
    if not cases or not all(isinstance(each, str) for case in cases for each in case) or not isinstance(name, str | None):
        raise DataError(f"{where}: its tests must be at least one case, with input, output and testtype all texts.")
    return cases, name


def run_tests(program: str, tests: str, limits: Limits = Limits(), *, unsafe: bool = False) -> bool:
    """Whether a program passes all cases; stops at the first that it fails.

    Raises DataError for tests that are not of the form above, SandboxError where the program cannot be contained.
    """
    cases, name = cases_of(tests)
    if not program.strip():
        return False

    def passes(case: tuple[str, str, str]) -> bool:
        given, wanted, kind = case
        if kind == "functional" or name:
            ran = run_program(program + CALL % json.dumps(name), given, limits, unsafe=unsafe, name="solution")
            return ran.ended and _same_value(ran, wanted)
        ran = run_program(program, given, limits, unsafe=unsafe)
        return ran.ended and _same_lines(ran.output, wanted)

    if not passes(cases[0]):
        return False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(1, len(cases), 4 * AT_ONCE):
            if not all(pool.map(passes, cases[first : first + 4 * AT_ONCE])):
                return False
    return True


def _same_value(ran: Ran, wanted: str) -> bool:
    last = ran.output.rstrip("\n").rpartition("\n")[2]
    try:
        return json.loads(last) == json.loads(wanted)
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
