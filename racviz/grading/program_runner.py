"""Run program.py of the working folder as a script, or call one of its functions. Runs inside the sandbox; imports nothing of racviz.

Started as `python -I -B -c SOURCE FUNCTION PACKAGES`, with an empty FUNCTION for a script; PACKAGES is the folder of NumPy. The first
byte on standard output says that the program begins; it is written before any line of the program runs. After it comes the output of
a script, or the result of the function as JSON.

Nothing here is kept from the program: it may read this text and these frames, and replace any module. No wanted output is in this process,
so that only the right output is graded right, whoever writes it.
"""

import builtins
import functools
import io
import json
import os
import sys
import threading
import traceback
import types
from decimal import Decimal
from fractions import Fraction
from json.encoder import encode_basestring_ascii

BEGUN = b"\x02"
STARRED = "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json builtins typing"
"""The modules whose names LiveCodeBench gives every program; those before `builtins` are there as modules too."""
RECURSION = 50_000
STACK = 2**23
"""Bytes of a thread's stack, where the program asks for no other size: the system's usual size."""
LARGEST_STACK = 2**28
STREAMS = {f"{folder}/{number}": number for folder in ("/dev/fd", "/proc/self/fd") for number in (1, 2)} | {
    "/dev/stdout": 1, "/dev/stderr": 2,
}  # fmt: skip
"""Streams that the sandbox's own root lacks; the input is a file there, by all its names."""


def taken_for_granted() -> dict:
    """The names that a program finds without an import."""
    names: dict = {}
    for name in STARRED.split():
        exec(f"from {name} import *", names)
    for name in STARRED.split()[:-2]:
        exec(f"import {name}", names)
    return {name: value for name, value in names.items() if not name.startswith("__")}


def open_streams() -> None:
    """Let the standard streams be opened by their paths, which the sandbox does not show; cap the stacks of threads."""
    open_file, open_number, stack_size = io.open, os.open, threading.stack_size

    def number_of(file: object) -> int | None:
        return STREAMS.get(os.fsdecode(file)) if isinstance(file, str | bytes | os.PathLike) else None

    @functools.wraps(open_file)
    def opened(file, *args, **kwargs):  # noqa: ANN001
        number = number_of(file)
        return open_file(file if number is None else os.dup(number), *args, **kwargs)

    @functools.wraps(open_number)
    def opened_number(path, *args, **kwargs):  # noqa: ANN001
        number = number_of(path)
        return open_number(path, *args, **kwargs) if number is None else os.dup(number)

    def sized(size: int = 0) -> int:
        return stack_size(min(size, LARGEST_STACK) or STACK)

    builtins.open = io.open = opened
    os.open = opened_number
    threading.stack_size = sized
    stack_size(STACK)


def encoded(value: object) -> str:
    """A result as JSON, by its type's own content: no method of a subclass is called.

    Raises TypeError for a value that equals no value of JSON: a tuple within a list, a key that is no text, a set, an object.
    """
    kind = type(value)
    if value is None:
        return "null"
    if issubclass(kind, int):
        return int.__repr__(value)  # True equals 1
    if issubclass(kind, float):
        text = float.__repr__(value)
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)
    if issubclass(kind, str):
        return encode_basestring_ascii(str.__str__(value))
    if issubclass(kind, list):
        return "[" + ",".join([encoded(item) for item in list.__iter__(value)]) + "]"
    if issubclass(kind, dict) and all(issubclass(type(key), str) for key in dict.keys(value)):
        return "{" + ",".join([f"{encoded(key)}:{encoded(item)}" for key, item in dict.items(value)]) + "}"
    if kind is Decimal or kind is Fraction:
        for plain in (int, float):
            if plain(value) == value:
                return encoded(plain(value))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):  # a number of NumPy equals one of JSON
        return encoded(value.item())
    raise TypeError(f"the result holds a {kind.__name__}, which equals no value of JSON")


def run(source: str, name: str, output: int) -> dict:
    """Run the program as a module of this name, with its output on the stream `output`; its globals."""
    module = types.ModuleType(name)
    module.__dict__.update(taken_for_granted(), __file__="program.py", __builtins__=builtins)
    sys.modules[name] = module
    os.write(1, BEGUN)
    os.dup2(output, 1)
    exec(compile(source, "program.py", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def call(source: str, function: str) -> None:
    """Write the result of the function, or of the method of a class Solution. The lines of the input are its arguments, as JSON."""
    result, write, leave, complain = os.dup(1), os.write, os._exit, traceback.print_exc
    lines = sys.stdin.buffer.read().decode("utf-8", "replace").split("\n")
    arguments = [json.loads(line) for line in lines if line.strip()]
    try:
        names = run(source, "solution", output=2)  # what it prints is not its result
        owner = names.get("Solution")
        called = getattr(owner(), function) if owner is not None and hasattr(owner, function) else names[function]
        value = called(*arguments)
        kind = type(value)
        rest = encoded(list(tuple.__iter__(value)) if issubclass(kind, tuple) else value).encode("ascii")
        while rest:
            rest = rest[write(result, rest) :]
    except BaseException:
        complain(limit=-20)
        leave(1)
    leave(0)


def main() -> None:
    function, packages = sys.argv[1:]
    sys.path.append(packages)
    sys.argv[:] = ["program.py"]
    with open("program.py", encoding="utf-8-sig") as file:
        source = file.read()
    os.environ.clear()
    os.putenv("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads would count against the program's; os.environ stays empty
    sys.set_int_max_str_digits(0)
    sys.setrecursionlimit(RECURSION)
    open_streams()
    if function:
        call(source, function)
    try:
        run(source, "__main__", output=1)
    except SystemExit:
        pass  # LiveCodeBench grades what was printed, whatever code a program ends with


if __name__ == "__main__":
    main()
