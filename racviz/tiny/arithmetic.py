"""Word problems of two to six steps, and two teachers who work them digit by digit and check every step.

Both begin with a plan that names every step and what it builds on, so that each step afterwards is looked up by its name.
`columns` (tiny-reasoner) works column by column, striking off the column done, and checks by casting out nines; `places`
(tiny-reasoner-small) splits numbers into place values and checks by working in another order. All numbers are positive, so a
digital root of 9 is never confused with 0.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from racviz.tiny.lesson import SLIP_RATE, Segment, Task

LARGEST = 999
NAMES = ("Sara", "Ben", "Mia", "Omar", "Lena", "Ivan", "Ada", "Tom", "Nora", "Raj")
ITEMS = ("pens", "books", "cups", "apples", "boxes", "cards", "lamps", "bags", "coins", "shells")
PLACES = ("depot", "shop", "library", "farm", "museum", "harbour")


@dataclass(frozen=True)
class Step:
    op: str
    left: int
    right: int
    reads: tuple[int | None, int | None] = (None, None)
    """The earlier steps that its two numbers come from; None for a number of the problem."""

    @property
    def result(self) -> int:
        return {"+": self.left + self.right, "-": self.left - self.right, "*": self.left * self.right}[self.op]


def _count(rng: random.Random) -> int:
    """Draw a count: one digit, at times two, which makes the multiplication three times as long."""
    return rng.randint(11, 19) if rng.random() < 0.1 else rng.randint(2, 9)


def make(rng: random.Random) -> Task:
    """Draw one word problem; families and numbers of steps are equally likely."""
    family = rng.choice(tuple(FAMILIES))
    while True:
        prompt, steps = FAMILIES[family](rng)
        long = sum(step.op == "*" and step.right > 9 for step in steps)
        if long < 2 and all(0 < step.result <= LARGEST for step in steps):
            content = "arithmetic " + family + " " + " ".join(f"{s.left}{s.op}{s.right}" for s in steps)
            return Task("arithmetic", family, len(steps), prompt, str(steps[-1].result), content, tuple(steps))


# --- families: each returns the wording and the steps ------------------------------------------------------------------


def _rates(rng):
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    rate, hours, days = rng.randint(12, 59), rng.randint(2, 7), _count(rng)
    steps = [Step("*", rate, hours)]
    steps.append(Step("*", steps[-1].result, days, (0, None)))
    text = rng.choice(
        (
            f"{name} packs {rate} {item} an hour for {hours} hours a day.",
            f"A machine makes {rate} {item} an hour and runs {hours} hours a day.",
        )
    )
    if rng.random() < 0.6:
        broken = rng.randint(12, 99)
        steps.append(Step("-", steps[-1].result, broken, (1, None)))
        return f"{text} Of all {item} of {days} days, {broken} are lost. How many are left?", steps
    return f"{text} How many {item} after {days} days?", steps


def _bill(rng, kinds):
    """`kinds` purchases: the wording, the steps, the total."""
    parts, steps, total = [], [], None
    for item in rng.sample(ITEMS, kinds):
        count, price = _count(rng), rng.randint(12, 59)
        parts.append(f"{count} {item} at {price} dollars each")
        cost = Step("*", price, count)
        steps.append(cost)
        if total is not None:
            steps.append(Step("+", total, cost.result, (len(steps) - 2, len(steps) - 1)))
        total = steps[-1].result
    return " and ".join(parts), steps, total


def _shop(rng):
    bill, steps, _ = _bill(rng, rng.choice((2, 2, 3)))
    name = rng.choice(NAMES)
    return rng.choice(
        (f"{name} buys {bill}. What is the cost in all?", f"{name} sells {bill}. How much does {name} get?")
    ), steps


def _change(rng):
    bill, steps, total = _bill(rng, rng.choice((1, 2, 3)))
    name, money = rng.choice(NAMES), total + rng.randint(11, 400)
    steps.append(Step("-", money, total, (None, len(steps) - 1)))
    return f"{name} has {money} dollars and buys {bill}. How many dollars are left?", steps


def _chain(rng):
    place, item = rng.choice(PLACES), rng.choice(ITEMS)
    value = rng.randint(20, 400)
    text, steps = [f"A {place} has {value} {item}."], []
    for _ in range(rng.choices((2, 3, 4, 5, 6), (12, 5, 1, 1, 1))[0]):
        kind = rng.choice("++--*") if value < 200 else rng.choice("+--")
        amount = {"+": rng.randint(12, 300), "-": rng.randint(11, max(12, value - 1)), "*": rng.randint(2, 4)}[kind]
        step = Step(kind, value, amount, (len(steps) - 1 if steps else None, None))
        text.append(
            {
                "+": rng.choice((f"It gets {amount} more.", f"Then {amount} arrive.")),
                "-": rng.choice((f"It sends away {amount}.", f"Then {amount} leave.")),
                "*": f"Then the number grows to {amount} times as many.",
            }[kind]
        )
        steps.append(step)
        value = step.result
    return " ".join(text) + f" How many {item} now?", steps


def _compare(rng):
    (one, two), item = rng.sample(NAMES, 2), rng.choice(ITEMS)
    work = sorted(((rng.randint(12, 99), _count(rng)) for _ in "ab"), key=lambda w: -w[0] * w[1])
    steps = [Step("*", *work[0]), Step("*", *work[1])]
    steps.append(Step("-", steps[0].result, steps[1].result, (0, 1)))
    text = (
        f"{one} makes {work[0][0]} {item} a day for {work[0][1]} days, "
        f"{two} makes {work[1][0]} a day for {work[1][1]} days. How many more does {one} make?"
    )
    return text, steps


def _savings(rng):
    name, pay, weeks, gift = rng.choice(NAMES), rng.randint(21, 99), _count(rng), rng.randint(15, 400)
    steps = [Step("*", pay, weeks)]
    steps.append(Step("+", steps[-1].result, gift, (0, None)))
    text = f"{name} saves {pay} dollars a week for {weeks} weeks and gets {gift} as a gift."
    for item in rng.sample(ITEMS, rng.choice((0, 1, 1, 2))):
        last, count, price = len(steps) - 1, rng.randint(2, 9), rng.randint(12, 59)
        steps += [Step("*", price, count), Step("-", steps[last].result, price * count, (last, last + 1))]
        text += f" Then {name} buys {count} {item} at {price} each."
    return text + f" How much does {name} have?", steps


FAMILIES = {"rates": _rates, "shop": _shop, "change": _change, "chain": _chain, "compare": _compare, "savings": _savings}


# --- teachers ----------------------------------------------------------------------------------------------------------


def teach(task: Task, style: str, rng: random.Random) -> list[Segment]:
    """The thought for a task, with one noticed slip in `SLIP_RATE` of the lessons. Ends before `</think>`."""
    plan, work = {"columns": (_columns_plan, _columns_step), "places": (_places_plan, _places_step)}[style]
    slip_at = rng.randrange(len(task.work)) if rng.random() < SLIP_RATE else None
    segments: list[Segment] = [(plan(task.work), True)]
    for k, step in enumerate(task.work):
        if k == slip_at:
            segments += work(k, step, rng)
        segments += work(k, step, None)
    return segments


def _operands(step: Step, name: Callable[[int], str]) -> list[str]:
    """Operands of the step: the names of earlier steps, or the problem's numbers."""
    pairs = zip(step.reads, (step.left, step.right), strict=True)
    return [str(number) if read is None else name(read) for read, number in pairs]


def _lookups(step: Step, name: Callable[[int], str], join: str, after: str) -> str:
    """The earlier results that the step builds on, each stated."""
    pairs = zip(step.reads, (step.left, step.right), strict=True)
    return "".join(f"{name(read)}{join}{number}{after}" for read, number in pairs if read is not None)


def _root(n: int) -> int:
    """The digital root of a positive number."""
    return 1 + (n - 1) % 9


def _letter(k: int) -> str:
    return "ABCDEFGH"[k]


def _columns_entry(k: int, step: Step) -> str:
    return f" {_letter(k)}{step.op.join(_operands(step, lambda read: ';' + _letter(read)))}"


def _columns_plan(steps: tuple[Step, ...]) -> str:
    return "".join(_columns_entry(k, step) for k, step in enumerate(steps)) + "\n"


def _columns_step(k: int, step: Step, slip: random.Random | None) -> list[Segment]:
    """Column by column from the right, then the check by casting out nines; with `slip`, wrong and noticed."""
    while True:  # draw slips until casting out nines can see one
        lines, result = _columns(step, slip)
        if slip is None or (result > 0 and _root(result) != _root(step.result)):
            break
    a, b, r = (step.left, step.right, result) if step.op != "-" else (result, step.right, step.left)
    joined = _root(a) * _root(b) if step.op == "*" else _root(a) + _root(b)
    sign = "*" if step.op == "*" else "+"
    check = f"check {_cast(a)};{_cast(b)};{_root(a)}{sign}{_root(b)}={_rooted(joined)};{_cast(r)} "
    head = f"{_columns_entry(k, step)}{_lookups(step, lambda read: '=' + _letter(read), '', '')}\n"
    return [(head, True), *lines, (f"={_letter(k)}{result}\n{check}{'no' if slip else 'ok'}\n", True)]


def _rooted(n: int) -> str:
    """A number, and its digital root where that is another."""
    return f"{n}:{_root(n)}" if n > 9 else str(n)


def _cast(n: int) -> str:
    digits = str(n)
    return digits if len(digits) == 1 else f"{'+'.join(digits)}={_rooted(sum(map(int, digits)))}"


def _columns(step: Step, slip: random.Random | None) -> tuple[list[Segment], int]:
    if step.op == "*" and step.right > 9:
        tens, ones = divmod(step.right, 10)
        if ones == 0:
            lines, part = _column_lines(Step("*", step.left, tens), slip)
            return lines, part * 10
        low, part = _column_lines(Step("*", step.left, ones), slip)
        high, big = _column_lines(Step("*", step.left, tens), None)
        total, result = _column_lines(Step("+", part, big * 10), None)
        return [*low, (f"low{part}\n", True), *high, (f"high{big * 10}\n", True), *total], result
    return _column_lines(step, slip)


def _column_lines(step: Step, slip: random.Random | None) -> tuple[list[Segment], int]:
    """A line a column, from the right: the columns left, the sum of the last of them, the result so far, what is carried."""
    left = str(step.left)
    right = str(step.right) if step.op == "*" else str(step.right).rjust(len(left), "0")
    left = left.rjust(len(right), "0") if step.op != "*" else left
    wrong = slip.randrange(len(left)) if slip else None
    lines, carry, put = [], 0, ""
    for k in range(len(left)):
        rest = len(left) - k
        a, b = int(left[rest - 1]), int(right if step.op == "*" else right[rest - 1])
        if step.op == "-":
            borrow = int(a - b - carry < 0)
            sum_, value = f"{a + 10 * borrow}-{b}-{carry}", a + 10 * borrow - b - carry
            if k == wrong:
                value = (value + slip.choice((1, 2, 8, 9))) % 10
            digit, kept, word = value, borrow, "borrow"
        else:
            value = (a * b if step.op == "*" else a + b) + carry
            sum_ = f"{a}{step.op}{b}+{carry}"
            if k == wrong:
                value = abs(value + slip.choice((-10, -2, -1, 1, 2, 10)))
            digit, kept, word = (value, 0, "carry") if rest == 1 else (value % 10, value // 10, "carry")
        put, carry = f"{digit}{put}", kept
        columns = f"{left[:rest]}{step.op}{right if step.op == '*' else right[:rest]}"
        lines.append((f"{columns}:{sum_}=", True))
        lines.append((f"{value} put{put} {word}{kept}\n", k != wrong))
    return lines, int(put)


def _number(k: int) -> str:
    return f"#{k + 1}"


def _places_plan(steps: tuple[Step, ...]) -> str:
    parts = (f"{_number(k)} is {f' {step.op} '.join(_operands(step, _number))}" for k, step in enumerate(steps))
    return f"Plan: {', '.join(parts)}.\n"


def _places_step(k: int, step: Step, slip: random.Random | None) -> list[Segment]:
    """By place values from the left, then back again from the right; with `slip`, wrong and noticed."""
    split = step.left if step.op == "*" else step.right
    parts = [int(digit) * 10**place for place, digit in enumerate(reversed(str(split))) if digit != "0"]
    wrong = slip.randrange(len(parts)) if slip else None
    off = slip.choice((-10, -1, 1, 10)) if slip else 0
    found = _lookups(step, _number, " is ", ", ")
    head = f"Now {_number(k)} is {f' {step.op} '.join(_operands(step, _number))}"
    head += f", {found}so {step.left} {step.op} {step.right}. " if found else ". "
    if len(parts) > 1:
        head += f"{split} is {' + '.join(map(str, reversed(parts)))}. "
    text: list[Segment] = [(head, True)]
    total = 0 if step.op == "*" else step.left
    for n, part in enumerate(reversed(parts)):
        before = total
        change = part * step.right if step.op == "*" else part
        error = 0 if n != wrong else off if total + change + off > 0 else abs(off)
        if step.op == "*":
            total += change + error
            text += [(f"{part} times {step.right} is ", True), (f"{change + error}", n != wrong)]
            text.append((f", sum {before} + {change + error} is {total}. " if n else ". ", True))
        else:
            total += (change if step.op == "+" else -change) + error
            text += [(f"{before} {step.op} {part} is ", True), (f"{total}", n != wrong), (". ", True)]
    back = _product_back(step, parts) if step.op == "*" else _sum_back(step, parts, total)
    good = total == step.result
    assert good == (slip is None), step
    return [*text, (f"{_number(k)} is {total}. Test: {back}, {'good' if good else 'wrong, redo'}.\n", True)]


def _product_back(step: Step, parts: list[int]) -> str:
    """The same product from its ones upwards."""
    words, total = [], 0
    for part in parts:
        words.append(f"{part} times {step.right} is {part * step.right}")
        if total:
            words.append(f"sum {total + part * step.right}")
        total += part * step.right
    return ", ".join(words)


def _sum_back(step: Step, parts: list[int], total: int) -> str:
    """From the result back to where it came from."""
    sign = "-" if step.op == "+" else "+"
    words = []
    for part in parts:
        before, total = total, total - part if step.op == "+" else total + part
        words.append(f"{before} {sign} {part} is {total}")
    return ", ".join(words)
