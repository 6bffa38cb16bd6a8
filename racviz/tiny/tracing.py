"""Short Python programs: what do they print? Two teachers track the state line by line.

The answer key comes from really running the program; the teachers walk its syntax tree, and a program on which the two
disagree is an error. `state` (tiny-reasoner) repeats the whole state after each line; `changes` (tiny-reasoner-small)
names only what changed.
"""

import ast
import contextlib
import io
import random

from racviz.tiny.lesson import SLIP_RATE, Segment, Task

LARGEST = 99
"""Values stay within 0..LARGEST, so that each operation is one that the student can do in its head."""
MOST_LINES = 20
VARIABLES = tuple("abcdkmnpqstwxyz")


def make(rng: random.Random) -> Task:
    """Draw one program; families are equally likely. Programs that leave the range of values are drawn again."""
    family = rng.choice(tuple(FAMILIES))
    while True:
        source = "\n".join(FAMILIES[family](rng))
        try:
            events = [(kind, numbers) for _, kind, numbers, _ in _walk(source)]
        except (OverflowError, IndexError):
            continue
        lines, printed = len(events), source.rsplit("(", 1)[1].rstrip(")")
        computed = sum(kind == "calc" and numbers[0] == printed for kind, numbers in events)
        if lines <= MOST_LINES and computed >= 2:  # an answer that can be read off the program needs no thought
            prompt = f"What does this print?\n{source}"
            return Task("tracing", family, lines, prompt, run(source), "tracing " + canonical(source), source)


def run(source: str) -> str:
    """What the program prints, by running it. Only for programs made here: there is no sandbox."""
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
    return names, [f"{name} = {rng.randint(2, 30)}" for name in names]


def _update(rng, names, target=None):
    """An assignment of one operation to one of the names."""
    target = target or rng.choice(names)
    left = rng.choice((target, target, rng.choice(names)))
    op = rng.choice("++--*")
    other = rng.choice([name for name in names if name != left] or names)
    right = str(rng.randint(2, 4)) if op == "*" else rng.choice((str(rng.randint(1, 20)), other))
    if left == target and rng.random() < 0.3:
        return f"{target} {op}= {right}"
    return f"{target} = {left} {op} {right}"


def _test(rng, names):
    left, right = rng.sample(names, 2)
    return f"{left} {rng.choice('<>')} {rng.choice((str(rng.randint(5, 60)), right))}"


def _branch_lines(rng, names, indent=""):
    target = rng.choice(names)
    return [
        f"{indent}if {_test(rng, names)}:", f"{indent}    {_update(rng, names, target)}",
        f"{indent}else:", f"{indent}    {_update(rng, names, target)}",
    ]  # fmt: skip


def _straight(rng):
    names, lines = _start(rng, rng.choice((2, 3)))
    lines += [_update(rng, names) for _ in range(rng.randint(2, 8))]
    return [*lines, f"print({rng.choice(names)})"]


def _branch(rng):
    names, lines = _start(rng, rng.choice((2, 3)))
    for _ in range(rng.choice((1, 2, 3))):
        lines += [_update(rng, names), *_branch_lines(rng, names)]
    lines += [_update(rng, names) for _ in range(rng.randint(0, 2))]
    return [*lines, f"print({rng.choice(names)})"]


def _loop(rng):
    names, lines = _start(rng, 2)
    lines += [f"for i in range({rng.randint(2, 7)}):"]
    lines += [f"    {_update(rng, names, names[0])}" if rng.random() < 0.6 else f"    {names[0]} += i"]
    if rng.random() < 0.5:
        lines.append(f"    {_update(rng, names, names[1])}")
    if rng.random() < 0.5:
        lines.append(_update(rng, names))
    return [*lines, f"print({names[0]})"]


def _list(rng):
    names, lines = _start(rng, 2)
    values = [rng.randint(1, 40) for _ in range(rng.randint(2, 5))]
    lines.append(f"v = [{', '.join(map(str, values))}]")
    if rng.random() < 0.5:
        lines += [_update(rng, names, names[0]), f"v.append({names[0]})"]
    if rng.random() < 0.5:
        lines.append(f"{names[1]} = v[{rng.randrange(len(values))}]")
    if rng.random() < 0.75:
        lines += [
            "for e in v:",
            f"    {names[0]} {rng.choice('+-')}= e" if rng.random() < 0.5 else f"    {_update(rng, [*names, 'e'], names[0])}",
        ]
    else:
        lines += [f"{names[0]} = len(v)", _update(rng, names, names[0]), _update(rng, names, names[1])]
    return [*lines, f"print({rng.choice((names[0], names[0], names[1]))})"]


def _mixed(rng):
    names, lines = _start(rng, 2)
    lines += [f"for i in range({rng.randint(2, 6)}):", *_branch_lines(rng, names, "    ")]
    if rng.random() < 0.5:
        lines.append(f"    {_update(rng, [*names, 'i'], names[1])}")
    return [*lines, f"print({rng.choice(names)})"]


FAMILIES = {"straight": _straight, "branch": _branch, "loop": _loop, "list": _list, "mixed": _mixed}


# --- the walk over the syntax tree ---------------------------------------------------------------------------------------

Event = tuple[str, str, tuple, dict]
"""The line, what it is (`set`, `calc`, `test`, `turn`, `end`, `append`, `item`, `print`), its numbers, the state after it."""


def _walk(source: str):
    """Yield an event a line executed. OverflowError where a value leaves 0..LARGEST."""
    state: dict[str, int | list[int]] = {}
    yield from _block(ast.parse(source).body, state)


def _block(body, state):
    for node in body:
        yield from _statement(node, state)


def _value(node, state):
    return node.value if isinstance(node, ast.Constant) else state[node.id]


_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Lt: "<", ast.Gt: ">"}


def _calculate(left, op, right):
    result = {"+": left + right, "-": left - right, "*": left * right}[op]
    if not 0 <= result <= LARGEST:
        raise OverflowError(f"{left}{op}{right}")
    return result


def _statement(node, state):
    line = ast.unparse(node).split("\n")[0]
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
            state[name] = value
            yield line, "set", (name, value), state
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.List(elts=items)):
            state[name] = [item.value for item in items]
            yield line, "set", (name, state[name]), state
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp(left=left, op=op, right=right)):
            a, sign, b = _value(left, state), _SIGNS[type(op)], _value(right, state)
            state[name] = _calculate(a, sign, b)
            yield line, "calc", (name, a, sign, b, state[name]), state
        case ast.AugAssign(target=ast.Name(id=name), op=op, value=right):
            a, sign, b = state[name], _SIGNS[type(op)], _value(right, state)
            state[name] = _calculate(a, sign, b)
            yield line, "calc", (name, a, sign, b, state[name]), state
        case ast.Assign(
            targets=[ast.Name(id=name)], value=ast.Subscript(value=ast.Name(id=items), slice=ast.Constant(value=k))
        ):
            state[name] = state[items][k]
            yield line, "item", (name, f"{items}[{k}]", state[name]), state
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="len"), args=[ast.Name(id=items)])):
            state[name] = len(state[items])
            yield line, "item", (name, f"len({items})", state[name]), state
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=items), attr="append"), args=[item])):
            state[items] = [*state[items], _value(item, state)]
            yield line, "append", (items, state[items]), state
        case ast.If(test=ast.Compare(left=left, ops=[op], comparators=[right]), body=body, orelse=orelse):
            a, sign, b = _value(left, state), _SIGNS[type(op)], _value(right, state)
            truth = a < b if sign == "<" else a > b
            yield line, "test", (a, sign, b, truth), state
            yield from _block(body if truth else orelse, state)
        case ast.For(target=ast.Name(id=name), iter=it, body=body):
            turns = range(it.args[0].value) if isinstance(it, ast.Call) else list(state[it.id])
            for value in turns:
                state[name] = value
                yield line, "turn", (name, value), state
                yield from _block(body, state)
            yield line, "end", (), state
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[ast.Name(id=name)])):
            yield line, "print", (state[name],), state
        case _:
            raise ValueError(f"no rule for the statement {line!r}")


# --- teachers ----------------------------------------------------------------------------------------------------------


def teach(task: Task, style: str, rng: random.Random) -> list[Segment]:
    """The thought for a program, with one noticed slip in `SLIP_RATE` of the lessons. Ends before `</think>`."""
    say = {"state": _state_line, "changes": _changes_line}[style]
    sums = sum(kind == "calc" for _, kind, _, _ in _walk(task.work))
    slip_at = rng.randrange(sums) if sums and rng.random() < SLIP_RATE else None
    segments: list[Segment] = []
    for line, kind, numbers, state in _walk(task.work):
        slip = None
        if kind == "calc":
            slip, slip_at = (rng if slip_at == 0 else None), (None if slip_at is None else slip_at - 1)
        segments += say(line, kind, numbers, state, slip)
    if kind != "print" or str(numbers[0]) != task.answer:
        raise AssertionError(f"the walk printed {numbers}, the program {task.answer!r}:\n{task.work}")
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


def _state_line(line, kind, numbers, state, slip) -> list[Segment]:
    segments: list[Segment] = [(f"{line.rstrip(':')}: ", True)]
    match kind:
        case "calc":
            segments += [*_sum(*numbers[1:], slip, ("=", "ok", "no")), ("; ", True)]
        case "test":
            a, sign, b, truth = numbers
            return [*segments, (f"{a}{sign}{b} {'yes' if truth else 'no'}\n", True)]
        case "item":
            segments.append((f"{numbers[1]}={numbers[2]}; ", True))
        case "end":
            return [*segments, ("done\n", True)]
        case "print":
            return [*segments, (f"{numbers[0]}\n", True)]
    return [*segments, (" ".join(f"{k}={_text(v)}" for k, v in state.items()) + "\n", True)]


def _changes_line(line, kind, numbers, state, slip) -> list[Segment]:
    segments: list[Segment] = [(f"Next {line.rstrip(':')} -> ", True)]
    match kind:
        case "set":
            return [(f"{numbers[0]} starts as {_text(numbers[1])}.\n", True)]
        case "calc":
            segments += [
                *_sum(*numbers[1:], slip, (" is ", "right", "wrong")),
                (f", {numbers[0]} holds {numbers[-1]}.\n", True),
            ]
        case "test":
            a, sign, b, truth = numbers
            segments.append((f"{a} {sign} {b} {'holds' if truth else 'fails'}.\n", True))
        case "item":
            segments.append((f"{numbers[0]} holds {numbers[2]}.\n", True))
        case "end":
            segments.append(("over.\n", True))
        case "print":
            segments.append((f"shows {numbers[0]}.\n", True))
        case _:
            segments.append((f"{numbers[0]} holds {_text(numbers[1])}.\n", True))
    return segments
