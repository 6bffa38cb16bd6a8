"""Programs against tests, in the two formats of LiveCodeBench."""

import json
import time

import pytest

from racviz.exceptions import DataError, GradingError
from racviz.grading import Limits, SandboxError, grade_all, program_of
from racviz.grading.programs import run_tests
from racviz.grading.sandbox import run_program
from racviz.problems import Problem

try:
    run_program("")
    REFUSED = ""
except SandboxError as error:
    REFUSED = str(error)
pytestmark = pytest.mark.skipif(bool(REFUSED), reason=REFUSED)


def cases_of(*cases, function=None, kind="stdin"):
    return json.dumps({"cases": [{"input": i, "output": o, "testtype": kind} for i, o in cases], "function": function})


ADD = cases_of(("1 2\n", "3\n"), ("10 -4\n", "6"), ("0 0", "0\n\n"))
GOOD = "a, b = map(int, input().split())\nprint(a + b)"


@pytest.mark.parametrize("program", [GOOD, f"if __name__ == '__main__':\n    {GOOD.replace(chr(10), chr(10) + '    ')}",
                                     "import sys\nprint(sum(map(float, sys.stdin.read().split())))"])  # fmt: skip
def test_programs_that_are_right(program):
    assert run_tests(program, ADD)


@pytest.mark.parametrize(
    "program",
    ["", "print(3)", GOOD.replace("+", "-"), "def broken(:", "raise SystemExit(1)", "print(input())", "import no_such_module",
     GOOD + "\nprint('and more')", "print(3)\nraise SystemExit(3)"],
)  # fmt: skip
def test_programs_that_are_wrong(program):
    assert not run_tests(program, ADD)


@pytest.mark.parametrize(
    "program",
    ["class Solution:\n    def pair(self, xs, k):\n        print('noise')\n        return [xs[0], k]", "def pair(xs, k): return (xs[0], k)",
     "from typing import List\nclass Solution:\n    def other(self): ...\ndef pair(xs: List[int], k: int): return [xs[0], k]"],
)  # fmt: skip
def test_functions_are_called(program):
    tests = cases_of(("[5, 6]\n7", "[5, 7]"), ("[1]\n2\n", "[1, 2]"), function="pair", kind="functional")
    assert run_tests(program, tests)
    assert not run_tests(program.replace("k]", "0]").replace("k)", "0)", 1) if "(xs[0], k)" not in program else "x = 1", tests)


@pytest.mark.parametrize(
    ("result", "wanted", "right"),
    [("np.int64(7)", 7, True), ("[np.float32(0.5), np.bool_(True)]", [0.5, True], True), ("{'a': np.uint8(3)}", {"a": 3}, True),
     ("np.int64(7)", 8, False), ("np.array([1, 2])", [1, 2], False)],
)  # fmt: skip
def test_numbers_of_numpy_equal_plain_ones_and_arrays_do_not(result, wanted, right):
    """LiveCodeBench compares by ==, whose answer for an array is no truth value."""
    cases = cases_of(("1", json.dumps(wanted)), function="f", kind="functional")
    assert run_tests(f"import numpy as np\ndef f(x): return {result}", cases) == right


def test_numpy_computes_on_one_thread():
    program = "import numpy as np, threading\nx = np.ones((300, 300))\nprint(int((x @ x).sum()), threading.active_count())"
    assert run_tests(program, cases_of(("", "27000000 1")))


def test_the_last_block_is_the_program():
    answer = "First try:\n```python\nprint(1)\n```\nBetter:\n```python\n" + GOOD + "\n```\nDone."
    assert (
        program_of(answer) == GOOD + "\n" and program_of("no block") == "" and program_of("```py\nunfinished") == "unfinished"
    )
    problem = Problem("add", "Add two numbers.", tests=ADD)
    assert grade_all([answer, "print(3)", None, f"```\n{GOOD}\n```"], [problem] * 4) == [True, False, False, True]


@pytest.mark.parametrize("tests", ["not json", "[]", '{"cases": [{"input": "1"}]}', '{"cases": []}'])
def test_tests_that_are_none(tests):
    with pytest.raises(DataError, match="test"):
        run_tests(GOOD, tests)


def test_numbers_are_compared_by_value_and_lines_without_their_ends():
    assert run_tests("print('1.50  2')\nprint(' x ')", cases_of(("", "1.5 2.0\nx")))
    assert not run_tests("print('1.51 2')", cases_of(("", "1.5 2")))
    assert not run_tests("print('a b')", cases_of(("", "a  b")))


HOSTILE = {
    "fork bomb": "import os\nfor _ in range(200):\n    try: os.fork()\n    except OSError: pass\n",
    "infinite loop": "while True: pass",
    "memory bomb": "x = []\nwhile len(x) < 40: x.append(bytearray(2**27))",
    "writes outside": "open('OUTSIDE', 'w').write('x')\nprint(3)",
    "reads a secret": "print(open('OUTSIDE').read())",
    "reads passwords": "print(3 if open('/etc/passwd').read() else 3)",
    "reads its parent": "import os\nprint(open(f'/proc/{os.getppid()}/environ').read())\nprint(3)",
    "lists the folder of the user": "import os\nos.listdir(os.path.expanduser('~root'))\nprint(3)",
    "opens a socket": "import socket\ns = socket.create_connection(('127.0.0.1', PORT), timeout=2)\nprint(3)",
    "sends a datagram": "import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))\nprint(3)",
    "prints gigabytes": "for _ in range(20_000): print('x' * 100_000)",
    "catches the time-out": "import signal\nfor k in (15, 24, 14, 1, 2): signal.signal(k, signal.SIG_IGN)\nwhile True:\n    try:\n"
                            "        while True: pass\n    except BaseException: pass",
    "fills the disk": "for k in range(200): open(f'f{k}', 'wb').write(b'x' * 10**6)\nprint(3)",
    "kills everything": "import os, signal\nos.kill(-1, signal.SIGKILL)\nprint(3)",
    "kills its group": "import os, signal\nos.killpg(0, signal.SIGKILL)",
    "recurses": "f = lambda: f()\nimport sys; sys.setrecursionlimit(10**8)\nf()",
    "sleeps": "import time\ntime.sleep(100)",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_is_contained_graded_wrong_and_survived(name, tmp_path):
    """Each is bounded itself, so that a broken sandbox harms nothing."""
    import socket

    secret = tmp_path / "secret"
    secret.write_text("3")
    secret.chmod(0o644)
    with socket.socket() as listening, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        datagrams.bind(("127.0.0.1", listening.getsockname()[1]))
        datagrams.setblocking(False)
        program = HOSTILE[name].replace("OUTSIDE", str(secret)).replace("PORT", str(listening.getsockname()[1]))
        began = time.monotonic()
        assert not run_tests(program, cases_of(("", "3")), Limits(seconds=2.0))
        assert time.monotonic() - began < 12
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)
    assert secret.read_text() == "3"
    assert run_tests(GOOD, ADD), "and the next one is graded"


def test_a_program_leaves_nothing_behind():
    left = (
        "import os, threading, time\nthreading.Thread(target=time.sleep, args=(77,), daemon=True).start()\n"
        "try:\n    if os.fork() == 0: time.sleep(77)\nexcept OSError: print(1)"
    )
    assert run_program(left).output.strip() == "1", "one process alone"
    import psutil

    assert not [p for p in psutil.Process().children(recursive=True) if "program.py" in " ".join(p.cmdline())]


def test_a_program_has_no_environment_and_an_empty_folder(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    ran = run_program("import os\nprint(dict(os.environ), os.listdir('.'), os.getuid() == 0)")
    assert ran.ended and ran.output == "{} ['program.py'] False\n"


def test_output_errors_and_input_of_any_size():
    ran = run_program("import os, sys\nsys.stderr.write('because')\nsys.stderr.flush()\nos._exit(4)")
    assert (ran.status, ran.output, ran.error) == ("failed", "", "because")
    big = "7" * 3_000_000
    assert run_program("print(len(input()))", big).output == "3000000\n"
    assert run_program("print(1)", big).output == "1\n", "one that does not read its input"
    assert run_program("print('é\\x00')", "").output == "é\x00\n"
    assert run_program("print('" + "\udc80" + "')").ended


def test_of_many_errors_the_last_are_kept_and_none_counts_as_output():
    ran = run_program("import sys\nsys.stderr.write('x' * 3_000_000 + 'the end')\nprint(1)", limits=Limits(output=100))
    assert ran.ended and ran.output == "1\n" and ran.error.endswith("xthe end") and len(ran.error) < 100_000


def test_room_is_allowed_beyond_the_limit_of_output():
    program, limits = "print('x' * 5000)", Limits(output=1000)
    assert run_program(program, limits=limits).status == "output"
    assert run_program(program, limits=limits, room=4001).output == "x" * 5000 + "\n"
    assert run_tests("print('0.5' + '0' * 2000)\n" * 9, cases_of(("", "0.5\n" * 9)), Limits(output=20_000))
    assert not run_tests("print('0.5' + '0' * 9000)\n" * 9, cases_of(("", "0.5\n" * 9)), Limits(output=20_000))


@pytest.mark.parametrize("where", ["program", "thread"])
def test_functions_in_c_may_call_each_other_fifty_thousand_deep(where):
    """Each call goes through `max` and `map`, which need a stack of the system's own."""
    program = (
        "import sys, threading\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + max(map(f, [n - 1]))\n"
    )
    start = (
        "threading.stack_size(2**30)\nt = threading.Thread(target=main)\nt.start()\nt.join()" if where == "thread" else "main()"
    )
    assert run_tests(program + "def main(): print(f(50_000))\n" + start, cases_of(("", "50000")))


def test_threads_have_stacks_of_the_usual_size():
    """Six of them fit into the memory beside each other, and so does one that asks for a gibibyte."""
    program = "import threading\nwait = threading.Barrier(7)\nts = [threading.Thread(target=wait.wait) for _ in range(6)]\n"
    ran = run_program(
        program + "for t in ts: t.start()\nwait.wait()\nprint(threading.stack_size(2**30), threading.stack_size())"
    )
    assert ran.ended and ran.output == f"{2**23} {2**28}\n"


def test_the_time_to_start_an_interpreter_is_not_the_programs(monkeypatch):
    from racviz.grading import sandbox

    class Late:
        def read_text(self, **_):
            return "import time\ntime.sleep(1.2)\n" + sandbox_runner

    sandbox_runner = sandbox.RUNNER.read_text(encoding="utf-8")
    monkeypatch.setattr(sandbox, "RUNNER", Late())
    assert run_tests(GOOD, cases_of(("1 2", "3")), Limits(seconds=1.0))


def test_where_nothing_contains_it_a_program_is_refused_unless_somebody_insists(monkeypatch, tmp_path):
    from racviz.grading import sandbox

    crippled = tmp_path / "launcher.py"
    crippled.write_text(sandbox.LAUNCHER.read_text().replace('call("unshare", kinds', 'call("unshare", -1 if kinds else kinds'))
    monkeypatch.setattr(sandbox, "LAUNCHER", crippled)
    with pytest.raises(SandboxError, match="does not let a program be shut in.*unsafe=True") as caught:
        run_program("print(1)")
    assert isinstance(caught.value, GradingError)


@pytest.mark.parametrize(("name", "value"), [("seconds", 0), ("memory", 5), ("output", 0), ("files", 1.5), ("processes", 0)])
def test_limits_are_checked(name, value):
    from racviz.exceptions import ParameterError

    with pytest.raises(ParameterError, match=name):
        Limits(**{name: value})


def test_starter_code_takes_names_for_granted():
    tests = cases_of(("[1, 2]", "3"), function="f", kind="functional")
    assert run_tests("class Solution:\n    def f(self, x: List[int]) -> int: return sum(x)", tests)
    assert run_tests("def f(x): return reduce(add, x)\nif __name__ == '__main__': print(f(input()))", tests)
    assert run_tests("from __future__ import annotations\ndef f(x): return int(math.fsum(x))", tests)
    assert run_tests("print(pow(2, 5, 7), list(Counter('aa').items()))", cases_of(("", "4 [('a', 2)]")))


@pytest.mark.parametrize("case", [dict(input=1, output="1"), dict(input="1", output=None), dict(input=["1"], output="1"), "x"])
def test_cases_that_are_no_texts(case):
    with pytest.raises(DataError, match="problem 'p': its tests"):
        grade_all(["```\nprint(1)\n```"], [Problem("p", "x", tests=json.dumps({"cases": [case]}))])
