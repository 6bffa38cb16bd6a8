"""Verdicts on programs of many shapes: known, and as LiveCodeBench's rules give them without a sandbox."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from racviz.exceptions import DataError
from racviz.grading import Limits, SandboxError
from racviz.grading.programs import cases_of, run_tests
from racviz.grading.sandbox import run_program

try:
    run_program("")
    REFUSED = ""
except SandboxError as error:
    REFUSED = str(error)
needs_sandbox = pytest.mark.skipif(bool(REFUSED), reason=REFUSED)

SECONDS = 2
DEPTH = "0 if n == 0 else 1 + f(n - 1)"
BIG = "1" + "0" * 4300
NINES = "9" * 9000
LINES = "\n".join(map(str, range(10**9, 10**9 + 200_000)))
NUMBERS = "[" + ",".join(map(str, range(150_000))) + "]"
PAIR = "class Solution:\n    def f(self, x, k):\n        return "

# name: (program, function, [(input, output), …], verdict)
PROGRAMS = {
    # Input and output
    "adds": ("a, b = map(int, input().split())\nprint(a + b)", None, [("1 2", "3"), ("5 -7\n", "-2\n")], True),
    "adds wrongly": ("a, b = map(int, input().split())\nprint(a - b)", None, [("1 0", "1"), ("5 7", "12")], False),
    "reads all": ("import sys\nprint(sum(map(int, sys.stdin.read().split())))", None, [("1\n2\n3", "6")], True),
    "reads lines": ("import sys\nprint(len(sys.stdin.readlines()))", None, [("a\nb", "2")], True),
    "reads a line without an import": ("print(sys.stdin.readline().strip()[::-1])", None, [("abc", "cba")], True),
    "the buffer of the input": ("import sys\nprint(sys.stdin.buffer.read().decode())", None, [("1", "1")], True),
    "the input by name": ("from sys import stdin\nprint(stdin.readline())", None, [("1", "1")], True),
    "a blank line in the input": ("input()\nprint(input())", None, [("\n1", "1")], True),
    "reads past the end": ("input()\nprint(3)\ninput()", None, [("1", "3")], False),
    "main, guarded": ("def main():\n    print(input())\nif __name__ == '__main__':\n    main()", None, [("x", "x")], True),
    "carriage returns in the input": ("print(sum(int(input()) for _ in range(2)))", None, [("1\r\n2\r\n", "3")], True),
    "carriage returns wanted": ("print(1)\nprint(2)", None, [("", "1\r\n2\r\n")], True),
    "carriage returns printed": ("print('1\\r\\n2\\r')", None, [("", "1\n2\n")], True),
    "white space at the ends": ("print('\\n\\n  1 2  \\n3\\t\\n\\n')", None, [("", "1 2\n3")], True),
    "white space within": ("print('a  b')", None, [("", "a b")], False),
    "white space between numbers": ("print('1  2')", None, [("", "1 2")], True),
    "a blank line too many": ("print('1\\n\\n2')", None, [("", "1\n2")], False),
    "a line too few": ("print(1)", None, [("", "1\n2")], False),
    "numbers by value": ("print(0.50, '1e2')", None, [("", "0.5 100")], True),
    "numbers that are near": ("print(0.1 + 0.2)", None, [("", "0.3")], False),
    "large numbers that differ": ("print(50000000000000001)", None, [("", "50000000000000000")], False),
    "numbers beside words": ("print('x 1.0')", None, [("", "x 1")], False),
    "NaN": ("print('NaN 1')", None, [("", "nan 1")], False),
    "case matters": ("print('Yes')", None, [("", "YES")], False),
    "prints megabytes": ("print('\\n'.join(map(str, range(10**9, 10**9 + 200_000))))", None, [("", LINES)], True),
    "errors by the megabyte": ("import sys\nsys.stderr.write('x' * 3_000_000)\nprint(1)", None, [("", "1")], True),
    "prints nothing": ("x = input()", None, [("1", "1")], False),
    "nothing is wanted": ("x = input()", None, [("1", "")], True),
    # Ends
    "exit": ("print(1)\nexit()", None, [("", "1")], True),
    "exit with a number": ("import sys\nprint(1)\nsys.exit(3)", None, [("", "1")], True),
    "exit with a text": ("import sys\nprint(1)\nsys.exit('bye')", None, [("", "1")], True),
    "exit too early": ("import sys\nsys.exit()\nprint(1)", None, [("", "1")], False),
    "an error after the output": ("print(1)\n1 / 0", None, [("", "1")], False),
    "no Python": ("print(1", None, [("", "1")], False),
    "no module": ("import no_such_module\nprint(1)", None, [("", "1")], False),
    "an endless loop": ("print(1)\nwhile True: pass", None, [("", "1")], False),
    "sleeps too long": ("import time\nprint(1, flush=True)\ntime.sleep(30)", None, [("", "1")], False),
    "a thread": ("import threading\nt = threading.Thread(target=lambda: print(1))\nt.start()\nt.join()", None, [("", "1")], True),
    # Names and limits
    "modules": ("print(math.gcd(4, 6), datetime.date(2020, 1, 1).year, statistics.mean([1, 3]), io.StringIO('a').read(), "
                "collections.Counter('a')['a'], json.loads('[1]')[0], re.sub('a', 'b', 'a'), string.digits[:2], copy.copy(1))", None,
                [("", "2 2020 2 a 1 1 b 01 1")], True),
    "starred names": ("d = deque([3]); h = [5, 4]; heapify(h)\nprint(gcd(4, 6), mean([1, 3]), d[0], heappop(h), reduce(add, [1, 2]), "
                      "bisect_left([1, 2], 2), ascii_lowercase[:2], next(count(7)), deepcopy([1]), maxsize > 0, loads('1'), pow(2, 5, 7))",
                      None, [("", "2 2 3 4 3 1 ab 7 [1] True 1 4")], True),
    "a name that is none": ("print(time.time() > 0)", None, [("", "True")], False),
    "deep recursion": (f"def f(n): return {DEPTH}\nprint(f(int(input())))", None, [("49000", "49000")], True),
    "too deep recursion": (f"def f(n): return {DEPTH}\nprint(f(int(input())))", None, [("51000", "51000")], False),
    "a limit of its own": (f"import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return {DEPTH}\nprint(f(60000))", None,
                           [("", "60000")], True),
    "long integers": ("print(10**4300)", None, [("", BIG)], True),
    "long integers read": ("print(int(input()) + 1)", None, [(NINES, "1" + "0" * 9000)], True),
    "long integers that differ": ("print(10**4300 + 1)", None, [("", BIG)], False),
    # Functions
    "a function": ("def f(x, k): return x[k]", "f", [("[5, 6]\n1", "6"), ("[5]\n0", "5")], True),
    "a method": (PAIR + "x[k]", "f", [("[5, 6]\n1", "6")], True),
    "a method with types": ("class Solution:\n    def f(self, x: List[int], k: Optional[int]) -> int:\n        return sum(x) + k", "f",
                            [("[5, 6]\n1", "12")], True),
    "a method that is wrong": (PAIR + "k", "f", [("[5, 6]\n1", "1"), ("[5]\n0", "5")], False),
    "no such function": ("def g(x): return x", "f", [("1", "1")], False),
    "a wrong number of arguments": ("def f(x): return x", "f", [("1\n2", "1")], False),
    "a tuple": (PAIR + "(x[0], k)", "f", [("[5]\n1", "[5, 1]")], True),
    "a named tuple": ("P = namedtuple('P', 'a b')\ndef f(x): return P(x, x)", "f", [("1", "[1, 1]")], True),
    "a tuple in a list": (PAIR + "[(x[0], k)]", "f", [("[5]\n1", "[[5, 1]]")], False),
    "an iterator": ("def f(x): return reversed(x)", "f", [("[1]", "[1]")], False),
    "a set": ("def f(x): return set(x)", "f", [("[1]", "[1]")], False),
    "a deque": ("def f(x): return deque(x)", "f", [("[1]", "[1]")], False),
    "a default dictionary": ("def f(x):\n    d = defaultdict(int)\n    d[x] += 1\n    return d", "f", [('"a"', '{"a": 1}')], True),
    "numbers as keys": ("def f(x): return {x: 1}", "f", [("1", '{"1": 1}')], False),
    "true is one": ("def f(x): return x == 1", "f", [("1", "1"), ("2", "0"), ("2", "false")], True),
    "one is true": ("def f(x): return x", "f", [("1", "true")], True),
    "a float that is whole": ("def f(x): return x / 2", "f", [("4", "2")], True),
    "floats that are near": ("def f(x): return x + 0.2", "f", [("0.1", "0.3")], False),
    "a fraction": ("from fractions import Fraction\ndef f(x): return Fraction(x, 4)", "f", [("2", "0.5")], True),
    "a decimal": ("from decimal import Decimal\ndef f(x): return Decimal(x)", "f", [('"0.1"', "0.1")], False),
    "an enumeration": ("from enum import IntEnum\nclass E(IntEnum):\n    A = 3\ndef f(x): return E.A", "f", [("1", "3")], True),
    "nothing": ("def f(x): x.sort()", "f", [("[2, 1]", "null"), ("[1]", "null")], True),
    "sorts in place": ("def f(x): x.sort()", "f", [("[2, 1]", "[1, 2]")], False),
    "a text for a number": ("def f(x): return str(x)", "f", [("1", "1")], False),
    "a number for a text": ("def f(x): return x", "f", [("1", '"1"')], False),
    "a text": ("def f(x): return x + 'é\\n\"'", "f", [('"a"', json.dumps('aé\n"'))], True),
    "NaN as a result": ("def f(x): return math.nan", "f", [("1", "NaN")], False),
    "NaN in a list": ("def f(x): return [math.nan]", "f", [("1", "[NaN]")], False),
    "infinity": ("def f(x): return -inf", "f", [("1", "-Infinity")], True),
    "a long list": ("def f(n): return list(range(n))", "f", [("150000", NUMBERS)], True),
    "carriage returns between arguments": ("def f(x, y): return x + y", "f", [("1\r\n2\r", "3\r\n")], True),
    "long integers as results": ("def f(n): return n + 1", "f", [(NINES, "1" + "0" * 9000)], True),
    "deep recursion of a function": (f"def f(n): return {DEPTH}", "f", [("49000", "49000")], True),
    "prints beside its result": ("def f(x):\n    print(7)\n    return x", "f", [("1", "1")], True),
    "prints its result": ("def f(x): print(x)", "f", [("1", "1")], False),
    "an error in a function": ("def f(x): raise ValueError(x)", "f", [("1", "1")], False),
    "exit in a function": ("def f(x): exit()", "f", [("1", "1")], False),
    "an endless function": ("def f(x):\n    while True: pass", "f", [("1", "1")], False),
    "asks where nothing is": ("x = input()\ndef f(x): return x", "f", [("1", "1")], False),
}  # fmt: skip

EQUALS_ALL = "class A:\n    def __eq__(self, other): return True\n"
# Verdicts that differ: (program, function, cases); why is written down in docs/decisions.md.
LAXER = {
    "iterates over its input": ("import sys\nfor line in sys.stdin: print(line.strip())", None, [("a\nb", "a\nb")]),
    "lines of the buffer": ("import sys\nfor line in sys.stdin.buffer: print(int(line))", None, [("1\n2", "1\n2")]),
    "the input by its path": ("print(open('/dev/stdin').read())", None, [("1", "1")]),
    "the input's path as bytes": (
        "import os\nprint(os.read(os.open(b'/dev/fd/0', os.O_RDONLY), 9).decode())",
        None,
        [("1", "1")],
    ),
    "the input as a Path": ("from pathlib import Path\nprint(Path('/dev/stdin').read_text())", None, [("1", "1")]),
    "the input by its number": ("print(open(0).read())", None, [("1", "1")]),
    "carriage returns in a text": ("s = input()\nprint(s == s[::-1])", None, [("aba\r\n", "True")]),
    "the buffer of the output": ("import sys\nsys.stdout.buffer.write(b'1')", None, [("", "1")]),
    "the output by its number": ("import os\nos.write(1, b'1')", None, [("", "1")]),
    "the output by its path": ("with open('/dev/stdout', 'w') as out: out.write('1')", None, [("", "1")]),
    "global names": ("n = 0\ndef f():\n    global n\n    n += 1\nf()\nprint(n)", None, [("", "1")]),
    "a guard that is not last": ("if __name__ == '__main__':\n    print(1)\nx = 1", None, [("", "1")]),
    "a future import": ("from __future__ import annotations\ndef f(x: Nothing): return x", "f", [("1", "1")]),
    "a function beside a class": ("class Solution: pass\ndef f(x): return x", "f", [("1", "1")]),
    "a blank line between arguments": ("def f(x, y): return x + y", "f", [("1\n\n2\n", "3")]),
    "state from case to case": (
        "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)",
        "f",
        [("1", "1"), ("1", "1")],
    ),
}
STRICTER = {
    "a result that equals all": (EQUALS_ALL + "def f(x): return A()", "f", [("1", "2")]),
    "a number that equals all": (EQUALS_ALL.replace("A:", "A(int):") + "def f(x): return A(0)", "f", [("1", "2")]),
    "the wanted output in a frame": (
        "def f(x): return next(v for k, v in sys._getframe(1).f_locals.items() if k in ('expected', 'gt_out'))",
        "f",
        [("1", "2")],
    ),
    "a complex number": ("def f(x): return complex(x)", "f", [("1", "1")]),
    "too much memory": ("x = bytes(2**30)\nprint(1)", None, [("", "1")]),
}
JOBS = [(program, function, cases) for program, function, cases, _ in PROGRAMS.values()] + [*LAXER.values(), *STRICTER.values()]
RIGHT = {name: (verdict, verdict) for name, (*_, verdict) in PROGRAMS.items()}
RIGHT |= dict.fromkeys(LAXER, (True, False)) | dict.fromkeys(STRICTER, (False, True))


def as_tests(cases, function=None):
    kind = "functional" if function else "stdin"
    return json.dumps({"cases": [{"input": i, "output": o, "testtype": kind} for i, o in cases], "function": function})


@pytest.fixture(scope="module")
def verdicts():
    """For each program, racviz's verdict and that of the rules without a sandbox."""
    script = Path(__file__).with_name("livecodebench_rules.py")
    jobs = json.dumps([dict(zip(("program", "function", "cases"), job, strict=True)) for job in JOBS])

    def ours(job):
        program, function, cases = job
        return run_tests(program, as_tests(cases, function), Limits(seconds=SECONDS))

    with (
        subprocess.Popen(
            [sys.executable, "-I", str(script), str(SECONDS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as plain,
        ThreadPoolExecutor(2) as pool,
    ):
        theirs = pool.submit(plain.communicate, jobs)
        mine = list(pool.map(ours, JOBS))
        pairs = zip(mine, json.loads(theirs.result()[0]), strict=True)
        return dict(zip([*PROGRAMS, *LAXER, *STRICTER], pairs, strict=True))


@needs_sandbox
@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_the_verdict_is_the_known_one_and_that_of_the_rules(name, verdicts):
    assert verdicts[name] == RIGHT[name]


def test_there_are_many_programs_of_each_kind():
    counts = [sum(1 for _, function, _, verdict in PROGRAMS.values() if bool(function) == called and verdict is right)
              for called in (False, True) for right in (False, True)]  # fmt: skip
    assert min(counts) >= 15 and len(RIGHT) == len(JOBS) >= 100


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ({"cases": [{"input": "1", "output": "1", "testtype": "functional"}]}, "name no function"),
        ({"cases": [{"input": "1", "output": "1"}], "function": "f()"}, r"'f\(\)'"),
        ({"cases": [{"input": "1", "output": "1"}], "function": ""}, "not a name"),
        ({"cases": [{"input": "1", "output": "1"}, {"input": "1\nx", "output": "1"}], "function": "f"}, "case 2.*input 'x'"),
        ({"cases": [{"input": "1", "output": "yes"}], "function": "f"}, "case 1.*output 'yes'"),
        ({"cases": [{"input": "1", "output": ""}], "function": "f"}, "case 1.*output ''"),
        ({"cases": [{"input": "1", "output": "[" * 200_000}], "function": "f"}, "case 1.*output"),
    ],
)  # fmt: skip
def test_tests_that_no_program_could_pass_are_refused(tests, message):
    with pytest.raises(DataError, match=f"p7: .*{message}"):
        cases_of(json.dumps(tests), "p7")
