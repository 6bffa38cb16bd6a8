"""LiveCodeBench's rules for programs, written anew and plainly: no sandbox, one fork a program, `exec` in this process.

Run as `python livecodebench_rules.py SECONDS < jobs > verdicts`. Jobs are JSON: a list of {"program", "function", "cases"}.
Written after the harness of its public repository (July 2025) as the other side of a differential test; for programs of our own only.
"""

import ast
import contextlib
import io
import json
import os
import signal
import sys
from decimal import Decimal
from types import ModuleType
from unittest import mock

STARRED = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json".split()
)
HEADER = "\n".join(
    [f"from {name} import *" for name in [*STARRED, "builtins", "typing"]] + [f"import {name}" for name in STARRED]
)


class OutOfTimeError(Exception):
    pass


def out_of_time(*_):
    raise OutOfTimeError


def as_module(code):
    module = ModuleType("tmp_sol")
    exec(HEADER + "\nsys.setrecursionlimit(50000)\n" + code, module.__dict__)
    return module


def in_a_function(code):
    """Imports first, the rest as the body of a function; a last `if __name__ == '__main__'` without its condition."""
    body = ast.parse(code).body
    if isinstance(body[-1], ast.If) and ast.unparse(body[-1].test) == "__name__ == '__main__'":
        body = body[:-1] + body[-1].body
    imports = [line for line in body if isinstance(line, ast.Import | ast.ImportFrom)]
    function = ast.parse("def wrapped(): pass").body[0]
    function.body = [line for line in body if line not in imports] or function.body
    return ast.unparse([*imports, function])


class Input:
    """A stand-in for sys.stdin: whole reads and lines, of text and of bytes; it cannot be iterated over."""

    def __init__(self, given):
        self.given, self.lines, self.buffer = given, io.StringIO(given), mock.Mock(spec=["read", "readline"])
        self.buffer.read = lambda *_: given.encode()
        self.buffer.readline = lambda *_: given.encode().split(b"\n")[0] + b"\n"

    def read(self, *_):
        return self.given

    def readlines(self, *_):
        return self.given.split("\n")

    def __getattr__(self, name):
        return getattr(self.lines, name)


def printed(wrapped, given):
    """The output of a call. Programs that took the true stdin while they were imported find other methods in it."""
    lines, stdout = iter(given.split("\n")), io.StringIO()
    early = {"read": lambda *_: given, "readlines": lambda *_: given.split("\n"), "readline": lambda *_: next(lines)}
    with (
        mock.patch.multiple(sys.stdin, **early),
        mock.patch("sys.stdin", Input(given)),
        mock.patch("sys.stdout", stdout),
        mock.patch("builtins.open", mock.mock_open(read_data=given)),
        contextlib.suppress(SystemExit),
    ):
        wrapped()
    return stdout.getvalue()


def numbers(line):
    return [Decimal(word) for word in line.split()]


def same_output(output, wanted):
    ours, theirs = ([line.strip() for line in text.strip().split("\n")] for text in (output, wanted))
    return len(ours) == len(theirs) and all(a == b or numbers(a) == numbers(b) for a, b in zip(ours, theirs, strict=True))


def right(program, function, cases, seconds):
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(seconds)
    module = as_module(program if function else in_a_function(program))
    owner = module.Solution() if function and "class Solution" in program else module
    called = getattr(owner, function or "wrapped")
    for given, wanted in cases:
        signal.alarm(seconds)
        if function:
            expected = json.loads(wanted)
            result = called(*[json.loads(line) for line in given.split("\n")])
            signal.alarm(0)
            same = (list(result) if isinstance(result, tuple) else result) == expected
        else:
            output = printed(called, given)
            signal.alarm(0)
            same = same_output(output, wanted)
        if not same:
            return False
    return True


def main():
    sys.set_int_max_str_digits(50_000)
    verdicts = []
    for job in json.load(sys.stdin):
        child = os.fork()
        if child == 0:
            code = 1
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            sys.stdin = open(os.devnull)
            try:
                code = 0 if right(job["program"], job["function"], job["cases"], int(sys.argv[1])) else 1
            finally:
                os._exit(code)
        verdicts.append(os.waitpid(child, 0)[1] == 0)
    print(json.dumps(verdicts))


if __name__ == "__main__":
    main()
