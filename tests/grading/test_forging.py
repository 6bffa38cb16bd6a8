"""A wrong program stays wrong, whatever it does to its own process, to the runner, and to what the runner writes."""

import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.grading import Limits, SandboxError
from racviz.grading.program_runner import BEGUN, encoded
from racviz.grading.programs import _same_value, run_tests
from racviz.grading.sandbox import run_program

try:
    run_program("")
    REFUSED = ""
except SandboxError as error:
    REFUSED = str(error)
needs_sandbox = pytest.mark.skipif(bool(REFUSED), reason=REFUSED)
LIES = (
    "    def lie(self, *args): return True\n    __eq__ = __ne__ = __bool__ = __contains__ = lie\n"
    "    def __hash__(self): return 0\n    def __len__(self): return 2\n    def __int__(self): return 42\n"
    "    def __index__(self): return 42\n    def __float__(self): return 42.0\n    def __str__(self): return '42'\n"
    "    def __repr__(self): return '42'\n    def __iter__(self): return iter([4, 2])\n    def __getitem__(self, key): return 42\n"
    "    def keys(self): return ['a']\n    def items(self): return [('a', 42)]\n    def encode(self, *args): return b'42'\n"
    "    def __class_getitem__(cls, key): return cls\n    @property\n    def __class__(self): return int\n"
)
TAMPER = "import atexit, builtins, gc, io, json, os, sys, threading, traceback\n"
EVERYWHERE = (
    "def everywhere(data, first=0):\n    for number in range(first, 64):\n        try: os.write(number, data)\n"
    "        except OSError: pass\n"
)
RUNNER = "frame = sys._getframe()\nwhile frame.f_back: frame = frame.f_back\nrunner = frame.f_globals\n"

# name: (program, wanted). Each returns 41, or another wrong value; the functional format.
FUNCTIONS = {
    "an object that equals all": ("class A:\n" + LIES + "def f(x): return A()", "42"),
    "a number that lies": ("class A(int):\n" + LIES + "def f(x): return A(41)", "42"),
    "a float that lies": ("class A(float):\n" + LIES + "def f(x): return A(41)", "42"),
    "a text that lies": ("class A(str):\n" + LIES + "def f(x): return A('41')", '"42"'),
    "a list that lies": ("class A(list):\n" + LIES + "def f(x): return A([4, 1])", "[4, 2]"),
    "a tuple that lies": ("class A(tuple):\n" + LIES + "def f(x): return A((4, 1))", "[4, 2]"),
    "a dictionary that lies": ("class A(dict):\n" + LIES + "def f(x): return A(a=41)", '{"a": 42}'),
    "a type that lies": ("class M(type):\n    __instancecheck__ = __subclasscheck__ = __eq__ = lambda *a: True\n"
                         "    __hash__ = type.__hash__\nclass A(metaclass=M):\n" + LIES + "def f(x): return A()", "42"),
    "lies within a list": ("class A(list):\n" + LIES + "def f(x): return [A([4, 1])]", "[[4, 2]]"),
    "json, patched": (TAMPER + "json.dumps = json.loads = json.JSONEncoder.encode = lambda *a, **k: '42'\n"
                      "json.encoder.encode_basestring_ascii = lambda x: '\"42\"'\ndef f(x): return 41", "42"),
    "builtins, patched": (TAMPER + "for name in ('issubclass', 'isinstance', 'type', 'print', 'str', 'repr', 'len', 'list', 'tuple'):\n"
                          "    setattr(builtins, name, lambda *a, **k: True)\ndef f(x): return 41", "42"),
    "the result on standard output": ("def f(x):\n    print('42')\n    return 41", "42"),
    "the result on every stream, and an exit": (
        TAMPER + EVERYWHERE + "def f(x):\n    for line in (b'true', b'{\"code\": 0}', b'\"right\": true', b'{\"started\": true}'):\n"
        "        everywhere(line + b'\\n')\n    os._exit(0)", "42"),
    "the result on every stream, after it": (
        TAMPER + EVERYWHERE + "def f(x):\n    everywhere(b'41\\n42')\n    return 41", "42"),
    "an exit": (TAMPER + "def f(x): os._exit(0)", "null"),
    "an exit at its beginning": ("exit(0)\ndef f(x): return 42", "42"),
    "an exit at its end": (TAMPER + "atexit.register(os._exit, 0)\ndef f(x): raise SystemExit(0)", "null"),
    "an error in disguise": (TAMPER + "sys.excepthook = lambda *a: os._exit(0)\ndef f(x): raise ValueError", "null"),
    "the runner, patched": (TAMPER + RUNNER + "runner['encoded'] = lambda value: 'true'\nos.write = lambda n, data: len(data)\n"
                            "def f(x): return 41", "42"),
    "the runner's frames": (TAMPER + "def f(x):\n    frame, found = sys._getframe(), []\n    while frame:\n"
                            "        found += [*frame.f_locals.values(), *frame.f_globals.values()]\n        frame = frame.f_back\n"
                            "    return next((each for each in found if each in (42, '42', [42])), 41)", "42"),
    "deep brackets": (TAMPER + EVERYWHERE + "def f(x):\n    everywhere(b'[' * 50_000, 3)\n    os._exit(0)", "[]"),
    "no text": (TAMPER + EVERYWHERE + "def f(x):\n    everywhere(b'\\xff\\xfe\\x00', 3)\n    os._exit(0)", '"\ufffd\ufffd\\u0000"'),
    "itself": ("def f(x):\n    a = []\n    a.append(a)\n    return a", "[[]]"),
}  # fmt: skip

# The same where the output is compared; 42 is wanted.
SCRIPTS = {
    "many guesses": "for k in range(100): print(k)",
    "many guesses on a line": "print(*range(100))",
    "a text that lies": "class A(str):\n" + LIES + "print(A('41'), end='')\nimport sys\nsys.stdout.write(A('41'))",
    "an output of its own": TAMPER + "sys.stdout = io.StringIO('42')\nsys.stdout.write('42')",
    "print, patched": TAMPER + "builtins.print = lambda *a: None\nbuiltins.print(42)",
    "no output": TAMPER + "os.close(1)",
    "an error after it": "print(42)\nraise ValueError",
    "an error after it, that claims to be none": TAMPER + EVERYWHERE
    + "print(42, flush=True)\neverywhere(b'\\n{\"code\": 0}\\n', 2)\n1 / 0",
    "a signal after it": TAMPER + "print(42, flush=True)\nos.abort()",
    "another beginning": TAMPER + "os.write(1, b'\\x02\\x02')\nprint(42)",
    "an output that is cut off": "print('\\n' * 3_000_000)\nprint(42)",
    "NaN": "print('NaN')",
    "verdicts": "print('True\\ntrue\\n{\"right\": true}')",
    "the wanted length": "print('4' * 2 or '**')",
}  # fmt: skip


def graded(program, given, wanted, function=None):
    tests = {
        "cases": [{"input": given, "output": wanted, "testtype": "functional" if function else "stdin"}],
        "function": function,
    }
    return run_tests(program, json.dumps(tests), Limits(seconds=4))


@needs_sandbox
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_that_is_wrong_stays_wrong(name):
    program, wanted = FUNCTIONS[name]
    assert not graded(program, "1", wanted, "f")


@needs_sandbox
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_is_wrong_stays_wrong(name):
    assert not graded(SCRIPTS[name], "1", "42")


@needs_sandbox
def test_a_right_program_that_tampers_is_right():
    """The attacks above are graded as such, and not for some other mistake in them."""
    assert graded("class A(int):\n" + LIES + "def f(x): return A(42)", "1", "42", "f")
    assert graded("class A(list):\n" + LIES + "def f(x): return A([4, 2])", "1", "[4, 2]", "f")
    assert graded("class A(dict):\n" + LIES + "def f(x): return A(a=42)", "1", '{"a": 42}', "f")
    assert graded(TAMPER + "json.dumps = None\nsys.stdout = None\natexit.register(print)\ndef f(x): return 42", "1", "42", "f")
    assert graded(
        TAMPER + RUNNER + "assert runner['RECURSION'] == 50_000 and 'encoded' in runner\ndef f(x): return 42", "1", "42", "f"
    )


SEARCH = """
import gc, os, re, sys
found, mark = [], re.compile(rb"WANT" + rb"ED-\\w+")
def look(data):
    found.extend(mark.findall(data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")))
frame = sys._getframe()
while frame:
    look(repr(frame.f_locals)[:10**6]); look(repr(frame.f_globals)[:10**6]); frame = frame.f_back
for thing in gc.get_objects():
    if isinstance(thing, (dict, list, tuple)) and len(thing) < 1000:
        for each in list(thing.values() if isinstance(thing, dict) else thing):
            if isinstance(each, (str, bytes)): look(each)
for root in (".", "..", "/tmp", "/run", "/dev/shm", "/proc"):
    for folder, names, files in os.walk(root):
        names[:] = names[:50] if folder.count("/") < 4 else []
        for file in files:
            if root != "/proc" or file in ("environ", "cmdline", "comm", "mountinfo"):
                try:
                    with open(os.path.join(folder, file), "rb") as opened: look(opened.read(10**6))
                except OSError: pass
for number in range(64):
    try:
        os.set_blocking(number, False)
        look(os.read(number, 10**6))
    except OSError: pass
"""


@needs_sandbox
@pytest.mark.parametrize("function", [None, "f"])
def test_the_wanted_output_is_nowhere_within_reach(function):
    """A search of frames, objects, files, processes and streams finds the input, and not the output."""
    given, wanted = (f"WANTED-{kind}{secrets.token_hex(8)}" for kind in ("given", "output"))
    end = "def f(x):\n    look(x)\n    return " if function else "look(__import__('sys').argv)\nfor each in found: print("
    value = "max((each.decode() for each in found), default='')" if function else "each.decode())"
    program = SEARCH + end + value
    arguments = {True: (json.dumps(given), json.dumps(wanted)), False: (given, wanted)}[bool(function)]
    assert not graded(program, *arguments, function)
    assert graded(program, arguments[0], arguments[0], function), "the search finds what is there"


@needs_sandbox
def test_neither_the_wanted_output_nor_its_length_is_written_down(monkeypatch):
    from racviz.grading import sandbox

    seen, watched = [], sandbox._watched
    monkeypatch.setattr(sandbox, "_watched", lambda spec, *rest: (seen.append(spec.read_text()), watched(spec, *rest))[1])
    for wanted in ("WANTED", "WANTED" * 1000):
        assert not graded("print(1)", "2", wanted)
    first, second = (json.loads(text) for text in seen)
    assert "WANTED" not in "".join(seen) and "output" not in first
    same = {name for name in first if name not in ("folder", "root", "input")}
    assert {name: first[name] for name in same} == {name: second[name] for name in same}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "1"), (10**20, "1" + "0" * 20), (0.1, "0.1"), (float("-inf"), "-Infinity"), ([1, [2.0]], "[1,[2.0]]"),
     ('é"\n', '"\\u00e9\\"\\n"'), ({"a": None}, '{"a":null}')],
)  # fmt: skip
def test_results_are_written_as_json(value, text):
    assert encoded(value) == text and json.loads(text) == value


@pytest.mark.parametrize("value", [(1,), [(1,)], {1: 2}, {"a": {1}}, b"x", 1j, object(), range(2), {(1,): 2}])
def test_values_that_json_lacks_are_refused(value):
    with pytest.raises(TypeError, match=r"equals no value of JSON"):
        encoded(value)


@needs_sandbox
def test_an_interpreter_that_does_not_start_is_no_wrong_program(monkeypatch):
    """Without the first byte of the runner, nothing of the program ran."""
    from racviz.grading import sandbox

    class Broken:
        def read_text(self, **_):
            return "raise ImportError('no library')"

    monkeypatch.setattr(sandbox, "RUNNER", Broken())
    with pytest.raises(SandboxError, match="no library"):
        run_program("print(1)")
    assert len(BEGUN) == 1


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([0.0, 1.0, 10**700, 10**4000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2) | st.tuples(inner),
    max_leaves=6,
)


@given(VALUES, st.none() | VALUES)
def test_results_are_compared_as_python_compares_them(value, key):
    """A result against a key, which is the result itself half of the time. A value that cannot be written equals no key."""
    wanted = json.dumps(value if key is None else key)
    equal = value == json.loads(wanted)
    try:
        result = encoded(value)
    except TypeError:
        assert not equal
    else:
        assert _same_value(result, wanted) == equal
