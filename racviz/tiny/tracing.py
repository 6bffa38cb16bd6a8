"""Short Python programs: what do they print? Two teachers track the state line by line.

The answer key comes from really running the program; the teachers walk its syntax tree, and a program on which the two
disagree is an error. Lines are lettered, and a thought copies letter and line before it looks up what the line reads. Each of
these is one lookup by one token (a letter; a variable as it is written in the thought and nowhere else), which is what a few
layers learn soon. `state` (tiny-reasoner) writes values in short, `;y12`; `changes` (tiny-reasoner-small) in words.
"""

import ast
import contextlib
import io
import random
from collections.abc import Iterator
from typing import NamedTuple

from racviz.tiny.lesson import SLIP_RATE, Segment, Task

LARGEST = 99
"""Values stay within 0..LARGEST, so that each operation is one that the student can do in its head."""
MOST_LINES = 28
VARIABLES = tuple("abcdnxyz")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def make(rng: random.Random) -> Task:
    """Draw one program; families are equally likely. Programs that leave the range of values are drawn again."""
    family = rng.choice(tuple(FAMILIES))
    while True:
        source = "\n".join(FAMILIES[family](rng))
        try:
            events = list(_walk(source))
        except OverflowError:
            continue
        printed = source.rsplit("(", 1)[1].rstrip(")")
        computed = sum(event.kind == "calc" and event.name == printed for event in events)
        if len(events) <= MOST_LINES and computed >= 2:  # an answer that can be read off the program needs no thought
            prompt = f"What does this print?\n{lettered(source)}"
            return Task("tracing", family, len(events), prompt, run(source), "tracing " + canonical(source), source)


def lettered(source: str) -> str:
    """The program as a listing with a letter a line."""
    return "\n".join(f"{letter} {line}" for letter, line in zip(LETTERS, source.split("\n"), strict=False))


def run(source: str) -> str:
    """Output of the program, by running it. Only for programs made here: there is no sandbox."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, "<program>", "exec"), {"__builtins__": {"print": print, "range": range, "len": len}})
    return out.getvalue().strip()


def canonical(source: str) -> str:
    """The program with its variables renamed in order of appearance."""
    tree, names = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in ("print", "range", "len"):
            node.id = names.setdefault(node.id, f"v{len(names)}")
    return ast.unparse(tree)


# --- families ----------------------------------------------------------------------------------------------------------


def _start(rng, count):
    names = rng.sample(VARIABLES, count)
    return names, [f"{name} = {rng.randint(2, 20)}" for name in names]


def _update(rng, names, target=None):
    """One operation on one of the names, by a number or by another name."""
    target = target or rng.choice(names)
    op = rng.choice("++--*")
    other = rng.choice([name for name in names if name != target])
    right = str(rng.randint(2, 3)) if op == "*" else rng.choice((str(rng.randint(1, 9)), other))
    return f"{target} {op}= {right}"


def _test(rng, names):
    left, right = rng.sample(names, 2)
    return f"{left} {rng.choice('<>')} {rng.choice((str(rng.randint(5, 40)), right))}"


def _branch_lines(rng, names, indent=""):
    target = rng.choice(names)
    return [
        f"{indent}if {_test(rng, names)}:", f"{indent}    {_update(rng, names, target)}",
        f"{indent}else:", f"{indent}    {_update(rng, names, target)}",
    ]  # fmt: skip


def _straight(rng):
    names, lines = _start(rng, rng.choice((2, 3)))
    lines += [_update(rng, names) for _ in range(rng.choice((2, 2, 3, 4, 5, 6, 7, 8, 9)))]
    return [*lines, f"print({rng.choice(names)})"]


def _branch(rng):
    names, lines = _start(rng, rng.choice((2, 3)))
    for _ in range(rng.choice((1, 1, 2, 3))):
        lines += [_update(rng, names), *_branch_lines(rng, names)]
    lines += [_update(rng, names) for _ in range(rng.randint(0, 2))]
    return [*lines, f"print({rng.choice(names)})"]


def _loop(rng):
    names, lines = _start(rng, 2)
    lines += [f"for i in range({rng.randint(3, 9)}):"]
    lines += [f"    {_update(rng, names, names[0])}" if rng.random() < 0.6 else f"    {names[0]} += i"]
    if rng.random() < 0.5:
        lines.append(f"    {_update(rng, names, names[1])}")
    if rng.random() < 0.5:
        lines.append(_update(rng, names))
    return [*lines, f"print({names[0]})"]


def _list(rng):
    names, lines = _start(rng, 2)
    values = rng.sample(range(1, 30), rng.randint(3, 6))
    lines.append(f"v = [{', '.join(map(str, values))}]")
    if rng.random() < 0.5:
        lines.append(_update(rng, names))
    if rng.random() < 0.5:
        lines.append(f"{names[1]} = v[{rng.randrange(len(values))}]")
    if rng.random() < 0.75:
        lines += [
            "for e in v:",
            f"    {names[0]} {rng.choice('+-')}= e" if rng.random() < 0.7 else f"    {_update(rng, names, names[0])}",
        ]
    else:
        lines += [f"{names[0]} = len(v)", _update(rng, names, names[0]), _update(rng, names, names[1])]
    return [*lines, f"print({rng.choice((names[0], names[0], names[1]))})"]


def _mixed(rng):
    names, lines = _start(rng, 2)
    lines += [f"for i in range({rng.randint(2, 7)}):", *_branch_lines(rng, names, "    ")]
    if rng.random() < 0.5:
        lines.append(f"    {_update(rng, [*names, 'i'], names[1])}")
    return [*lines, f"print({rng.choice(names)})"]


FAMILIES = {"straight": _straight, "branch": _branch, "loop": _loop, "list": _list, "mixed": _mixed}


# --- the walk over the syntax tree ---------------------------------------------------------------------------------------


class Event(NamedTuple):
    """One line executed."""

    line: str
    """Its number and text."""
    kind: str
    """`set`, `calc`, `test`, `turn`, `end`, `item` or `print`."""
    name: str
    """The variable that it assigns, or prints."""
    reads: dict[str, int]
    """The variables that it looks up, with their values before the line."""
    numbers: tuple
    """Operands of the event: the value set or printed; `a, sign, b, result`; `a, sign, b, truth`."""


def _walk(source: str) -> Iterator[Event]:
    """An event a line executed. OverflowError where a value leaves 0..LARGEST."""
    return _block(ast.parse(source).body, {}, [line.strip().rstrip(":") for line in source.split("\n")])


def _block(body, state, lines):
    for node in body:
        yield from _statement(node, state, lines)


def _value(node, state):
    return node.value if isinstance(node, ast.Constant) else state[node.id]


_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Lt: "<", ast.Gt: ">"}


def _calculate(left, op, right):
    result = {"+": left + right, "-": left - right, "*": left * right}[op]
    if not 0 <= result <= LARGEST:
        raise OverflowError(f"{left}{op}{right}")
    return result


def _statement(node, state, lines):
    line = f"{LETTERS[node.lineno - 1]} {lines[node.lineno - 1]}"

    def event(kind, name, *numbers, reads=()):
        return Event(line, kind, name, {r.id: before[r.id] for r in reads if isinstance(r, ast.Name)}, numbers)

    before = dict(state)
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
            state[name] = value
            yield event("set", name, value)
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.List(elts=items)):
            state[name] = [item.value for item in items]
            yield event("set", name, state[name])
        case ast.AugAssign(target=ast.Name(id=name) as left, op=op, value=right):
            a, sign, b = _value(left, state), _SIGNS[type(op)], _value(right, state)
            state[name] = _calculate(a, sign, b)
            yield event("calc", name, a, sign, b, state[name], reads=(left, right))
        case ast.Assign(
            targets=[ast.Name(id=name)], value=ast.Subscript(value=ast.Name(id=items), slice=ast.Constant(value=k))
        ):
            state[name] = state[items][k]
            yield event("item", name, state[name])
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=items)])):
            state[name] = len(state[items])
            yield event("item", name, state[name])
        case ast.If(test=ast.Compare(left=left, ops=[op], comparators=[right]), body=body, orelse=orelse):
            a, sign, b = _value(left, state), _SIGNS[type(op)], _value(right, state)
            truth = a < b if sign == "<" else a > b
            yield event("test", "", a, sign, b, truth, reads=(left, right))
            yield from _block(body if truth else orelse, state, lines)
        case ast.For(target=ast.Name(id=name), iter=it, body=body):
            turns = range(it.args[0].value) if isinstance(it, ast.Call) else list(state[it.id])
            for value in turns:
                state[name] = value
                yield event("turn", name, value)
                yield from _block(body, state, lines)
            yield event("end", name)
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[ast.Name(id=name)])):
            yield event("print", name, state[name])
        case _:
            raise ValueError(f"no rule for the statement {line!r}")


# --- teachers ----------------------------------------------------------------------------------------------------------


def teach(task: Task, style: str, rng: random.Random) -> list[Segment]:
    """The thought for a program, with one noticed slip in `SLIP_RATE` of the lessons. Ends before `</think>`."""
    say = {"state": _state_line, "changes": _changes_line}[style]
    sums = sum(event.kind == "calc" for event in _walk(task.work))
    slip_at = rng.randrange(sums) if sums and rng.random() < SLIP_RATE else None
    segments: list[Segment] = []
    for event in _walk(task.work):
        slip = None
        if event.kind == "calc":
            slip, slip_at = (rng if slip_at == 0 else None), (None if slip_at is None else slip_at - 1)
        segments += say(event, slip)
    if event.kind != "print" or str(event.numbers[0]) != task.answer:
        raise AssertionError(f"the walk printed {event.numbers}, the program {task.answer!r}:\n{task.work}")
    return segments


def _text(value) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _wrong(a, sign, b, result, rng) -> int:
    if sign == "*":
        return max(a + rng.choice((-1, 1)), 0) * b
    return result + rng.choice([d for d in (-10, -1, 1, 10) if result + d >= 0])


def _sum(a, sign, b, result, slip, words) -> list[Segment]:
    """The operation and its inverse as the check; with `slip`, first wrong and noticed. `words`: equals, ok, no."""
    equals, ok, no = words
    inverse = {"+": "-", "-": "+", "*": "/"}[sign]
    undo = {"+": lambda r: r - b, "-": lambda r: r + b, "*": lambda r: r // b}[sign]
    segments: list[Segment] = []
    if slip:
        wrong = _wrong(a, sign, b, result, slip)
        if undo(wrong) != a and undo(wrong) >= 0:
            segments = [
                (f"{a}{sign}{b}{equals}", True),
                (str(wrong), False),
                (f",{wrong}{inverse}{b}{equals}{undo(wrong)} {no}; ", True),
            ]
    return [*segments, (f"{a}{sign}{b}{equals}{result},{result}{inverse}{b}{equals}{undo(result)} {ok}", True)]


def _state_line(event: Event, slip) -> list[Segment]:
    reads = "".join(f";{name}{value}" for name, value in event.reads.items())
    segments: list[Segment] = [(f"{event.line}{reads}", True)]
    match event.kind, event.numbers:
        case "calc", numbers:
            segments += [(" ", True), *_sum(*numbers, slip, ("=", "ok", "no")), (f";{event.name}{numbers[-1]}", True)]
        case "test", (a, sign, b, truth):
            segments.append((f" {a}{sign}{b} {'yes' if truth else 'no'}", True))
        case "end", _:
            segments.append((";done", True))
        case _, (int(value),):
            segments.append((f";{event.name}{value}", True))
    return [*segments, ("\n", True)]


def _changes_line(event: Event, slip) -> list[Segment]:
    reads = "".join(f"{name} holds {value}, " for name, value in event.reads.items())
    segments: list[Segment] = [(f"Next {event.line} -> {reads}", True)]
    match event.kind, event.numbers:
        case "calc", numbers:
            segments += [*_sum(*numbers, slip, (" is ", "right", "wrong")), (f", {event.name} holds {numbers[-1]}.\n", True)]
        case "test", (a, sign, b, truth):
            segments.append((f"{a} {sign} {b} {'is true' if truth else 'is false'}.\n", True))
        case "end", _:
            segments.append(("over.\n", True))
        case _, (value,):
            segments.append((f"{event.name} holds {_text(value)}.\n", True))
    return segments
