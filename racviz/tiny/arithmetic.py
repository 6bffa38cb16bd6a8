"""Word problems of two to six steps, and two teachers who work them digit by digit and check every step.

`columns` (tiny-reasoner) works column by column and checks by casting out nines; `places` (tiny-reasoner-small) splits
numbers into place values and checks by working in another order. All numbers are positive, so a digital root of 9 is never
confused with 0.
"""

import random
from dataclasses import dataclass

from racviz.tiny.lesson import SLIP_RATE, Segment, Task

NAMES = ("Sara", "Ben", "Mia", "Omar", "Lena", "Ivan", "Ada", "Tom", "Nora", "Raj")
ITEMS = ("pens", "books", "cups", "apples", "boxes", "cards", "lamps", "bags", "coins", "shells")
PLACES = ("depot", "shop", "library", "farm", "museum", "harbour")


@dataclass(frozen=True)
class Step:
    op: str
    left: int
    right: int

    @property
    def result(self) -> int:
        return {"+": self.left + self.right, "-": self.left - self.right, "*": self.left * self.right}[self.op]


def _count(rng: random.Random) -> int:
    """How many of something: one digit, at times two, which makes the multiplication three times as long."""
    return rng.randint(11, 19) if rng.random() < 0.2 else rng.randint(2, 9)


def make(rng: random.Random) -> Task:
    """Draw one word problem; families and numbers of steps are equally likely."""
    family = rng.choice(tuple(FAMILIES))
    while True:
        prompt, steps = FAMILIES[family](rng)
        if all(0 < step.result < 10_000 for step in steps):
            content = "arithmetic " + family + " " + " ".join(f"{s.left}{s.op}{s.right}" for s in steps)
            return Task("arithmetic", family, len(steps), prompt, str(steps[-1].result), content, tuple(steps))


# --- families: each returns the wording and the steps ------------------------------------------------------------------


def _rates(rng):
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    rate, hours, days = rng.randint(12, 99), rng.randint(3, 9), _count(rng)
    steps = [Step("*", rate, hours)]
    steps.append(Step("*", steps[-1].result, days))
    text = rng.choice(
        (
            f"{name} packs {rate} {item} an hour for {hours} hours a day.",
            f"A machine makes {rate} {item} an hour and runs {hours} hours a day.",
        )
    )
    if rng.random() < 0.6:
        broken = rng.randint(12, 199)
        steps.append(Step("-", steps[-1].result, broken))
        return f"{text} Of all {item} of {days} days, {broken} are lost. How many are left?", steps
    return f"{text} How many {item} after {days} days?", steps


def _bill(rng, kinds):
    """`kinds` purchases: the wording, the steps, the total."""
    parts, steps, total = [], [], None
    for item in rng.sample(ITEMS, kinds):
        count, price = _count(rng), rng.randint(12, 79)
        parts.append(f"{count} {item} at {price} dollars each")
        cost = Step("*", price, count)
        steps.append(cost)
        if total is not None:
            steps.append(Step("+", total, cost.result))
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
    name, money = rng.choice(NAMES), total + rng.randint(11, 900)
    steps.append(Step("-", money, total))
    return f"{name} has {money} dollars and buys {bill}. How many dollars are left?", steps


def _chain(rng):
    place, item = rng.choice(PLACES), rng.choice(ITEMS)
    value = rng.randint(20, 600)
    text, steps = [f"A {place} has {value} {item}."], []
    for _ in range(rng.randint(2, 6)):
        kind = rng.choice("++--*") if value < 900 else rng.choice("+--")
        amount = {"+": rng.randint(12, 500), "-": rng.randint(11, max(12, value - 1)), "*": rng.randint(2, 6)}[kind]
        step = Step(kind, value, amount)
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
    steps.append(Step("-", steps[0].result, steps[1].result))
    text = (
        f"{one} makes {work[0][0]} {item} a day for {work[0][1]} days, "
        f"{two} makes {work[1][0]} a day for {work[1][1]} days. How many more does {one} make?"
    )
    return text, steps


def _savings(rng):
    name, pay, weeks, gift = rng.choice(NAMES), rng.randint(21, 99), _count(rng), rng.randint(15, 400)
    steps = [Step("*", pay, weeks)]
    steps.append(Step("+", steps[-1].result, gift))
    text = f"{name} saves {pay} dollars a week for {weeks} weeks and gets {gift} as a gift."
    for item in rng.sample(ITEMS, rng.choice((0, 1, 1, 2))):
        before, count, price = steps[-1].result, rng.randint(2, 9), rng.randint(12, 59)
        steps += [Step("*", price, count), Step("-", before, price * count)]
        text += f" Then {name} buys {count} {item} at {price} each."
    return text + f" How much does {name} have?", steps


FAMILIES = {"rates": _rates, "shop": _shop, "change": _change, "chain": _chain, "compare": _compare, "savings": _savings}


# --- teachers ----------------------------------------------------------------------------------------------------------


def teach(task: Task, style: str, rng: random.Random) -> list[Segment]:
    """The thought for a task, with one noticed slip in `SLIP_RATE` of the lessons. Ends before `</think>`."""
    work = {"columns": _columns_step, "places": _places_step}[style]
    slip_at = rng.randrange(len(task.work)) if rng.random() < SLIP_RATE else None
    segments: list[Segment] = []
    for k, step in enumerate(task.work):
        if k == slip_at:
            segments += work(step, rng)
        segments += work(step, None)
    return segments


def _root(n: int) -> int:
    """The digital root of a positive number."""
    return 1 + (n - 1) % 9


def _columns_step(step: Step, slip: random.Random | None) -> list[Segment]:
    """Column by column from the right, then the check by casting out nines; with `slip`, wrong and noticed."""
    while True:  # draw slips until casting out nines can see one
        lines, result = _columns(step, slip)
        if slip is None or (result > 0 and _root(result) != _root(step.result)):
            break
    a, b, r = (step.left, step.right, result) if step.op != "-" else (result, step.right, step.left)
    joined = _root(a) * _root(b) if step.op == "*" else _root(a) + _root(b)
    sign = "*" if step.op == "*" else "+"
    check = f"check {_cast(a)};{_cast(b)};{_root(a)}{sign}{_root(b)}={_rooted(joined)};{_cast(r)} "
    return [
        (f"{step.left}{step.op}{step.right}\n", True), *lines,
        (f"{step.left}{step.op}{step.right}={result}\n{check}{'no' if slip else 'ok'}\n", True),
    ]  # fmt: skip


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
        heads = (f"{step.left}*{ones}\n", f"{step.left}*{tens}0\n", f"{part}+{big * 10}\n")
        tails = (f"{step.left}*{ones}={part}\n", f"{step.left}*{tens}0={big * 10}\n", "")
        segments = []
        for head, body, tail in zip(heads, (low, high, total), tails, strict=True):
            segments += [(head, True), *body, (tail, True)]
        return segments, result
    return _column_lines(step, slip)


def _column_lines(step: Step, slip: random.Random | None) -> tuple[list[Segment], int]:
    left = [int(c) for c in reversed(str(step.left))]
    right = [int(c) for c in reversed(str(step.right))]
    width = len(left) if step.op == "*" else max(len(left), len(right))
    left += [0] * (width - len(left))
    right += [0] * (width - len(right))
    wrong = slip.randrange(width) if slip else None
    lines, carry, put = [], 0, []
    for k in range(width):
        a, b = left[k], (right[0] if step.op == "*" else right[k])
        if step.op == "-":
            borrow = int(a - b - carry < 0)
            sum_, value, kept = f"{a + 10 * borrow}-{b}-{carry}", a + 10 * borrow - b - carry, borrow
            if k == wrong:
                value = (value + slip.choice((1, 2, 8, 9))) % 10
            digit, word = value, "borrow"
        else:
            value = (a * b if step.op == "*" else a + b) + carry
            sum_ = f"{a}{step.op}{b}+{carry}"
            if k == wrong:
                value = abs(value + slip.choice((-10, -2, -1, 1, 2, 10)))
            digit, kept, word = (value, 0, "carry") if k == width - 1 else (value % 10, value // 10, "carry")
        lines.append((f"{sum_}={value} put{digit} {word}{kept}\n", k != wrong))
        put.append(str(digit))
        carry = kept
    return lines, int("".join(reversed(put)))


def _places_step(step: Step, slip: random.Random | None) -> list[Segment]:
    """By place values, then again in another order; with `slip`, wrong and noticed."""
    parts = [int(d) * 10**k for k, d in enumerate(reversed(str(step.right if step.op != "*" else step.left))) if d != "0"]
    wrong = slip.randrange(len(parts)) if slip else None
    off = slip.choice((-10, -1, 1, 10)) if slip else 0
    text: list[Segment] = [(f"Now {step.left} {step.op} {step.right}. ", True)]
    if step.op == "*":
        total = 0
        for k, part in enumerate(reversed(parts)):
            product = part * step.right
            if k == wrong:
                product += off if product + off > 0 else abs(off)
            before, total = total, total + product
            text += [(f"{part} times {step.right} is ", True), (f"{product}", k != wrong)]
            text.append((f", sum {before} + {product} is {total}. " if k else ". ", True))
    else:
        total = step.left
        for k, part in enumerate(reversed(parts)):
            before, total = total, total + part if step.op == "+" else total - part
            if k == wrong:
                total += off if total + off > 0 else abs(off)
            text += [(f"{before} {step.op} {part} is ", True), (f"{total}", k != wrong), (". ", True)]
    again, verdict = _again(step, total)
    assert verdict == (slip is None), step
    return [*text, (f"So {total}. Test: {again}{'good' if verdict else 'wrong, redo'}.\n", True)]


def _again(step: Step, total: int) -> tuple[str, bool]:
    """The check of `places`: the last digit and the rest by another way, and whether it agrees."""
    if step.op == "*":
        ones, rest = step.left % 10, step.left - step.left % 10
        back = ones * step.right + rest * step.right
        return (
            f"{ones} times {step.right} is {ones * step.right}, {rest} times {step.right} is {rest * step.right}, sum {back}, ",
            back == total,
        )
    back = total - step.right if step.op == "+" else total + step.right
    sign = "-" if step.op == "+" else "+"
    return f"{total} {sign} {step.right} is {back}, ", back == step.left
