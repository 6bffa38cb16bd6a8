"""Answers of the exercises, checked where they are given: right, not yet, or not answered yet, in words and in the notebook.

No check raises for what a learner wrote, and none says the truth before the answer is right.
"""

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from racviz.exceptions import ParameterError, check

_LOOKS = {True: ("#0072B2", "✓"), False: ("#D55E00", "✗"), None: ("#6b6b6b", "…")}
"""Border and mark; the words say the same without either."""
_LONGEST = 80


@dataclass(frozen=True)
class Checked:
    """What a check found. `right` is True, False, or None where nothing was answered yet."""

    right: bool | None
    words: str
    because: str = ""
    """Why the answer is what it is; empty unless it is right."""

    def __repr__(self) -> str:
        return f"{self.words} {self.because}".strip()

    def _repr_html_(self) -> str:
        colour, mark = _LOOKS[self.right]
        why = f'<div style="margin-top:4px">{html.escape(self.because)}</div>' if self.because else ""
        return (
            f'<div role="status" style="border-left:4px solid {colour};padding:6px 12px;margin:6px 0;max-width:60em">'
            f'<b><span aria-hidden="true">{mark} </span>{html.escape(self.words)}</b>{why}</div>'
        )


def unanswered(answer: object) -> bool:
    """Whether `answer` is the `...` of the exercise, or None."""
    return answer is ... or answer is None


def not_yet(words: str) -> Checked:
    """Answered, and not right; `words` say what is amiss."""
    return Checked(False, f"Not yet. {words}")


def check_number(answer: object, truth: float, within: float = 0.05, unit: str = "", because: str = "") -> Checked:
    """Whether `answer` is `truth`, give or take the share `within` of it (of a truth of 0: give or take `within` itself).

    Raises ParameterError for a truth that is no finite number or a `within` that is negative: mistakes of the lesson.
    """
    exact = _number(truth)
    check(exact is not None and math.isfinite(exact), "truth", truth, "a finite number")
    check(within >= 0, "within", within, "a number >= 0")
    if unanswered(answer):
        return Checked(None, "Not answered yet: put a number in place of the three dots.")
    given = _number(answer)
    if given is None:
        return not_yet(f"The answer must be one number; this is {_kind(answer)}.")
    if not math.isfinite(given):
        return not_yet(f"The answer must be a finite number; this is {given}.")
    room = within * (abs(exact) if exact else 1.0) + 1e-12 * abs(exact)
    if abs(given - exact) <= room:
        return Checked(True, f"Right: {_said(given, unit)} (computed: {_said(exact, unit)}).", because)
    if any(abs(given * factor - exact) <= room for factor in (100, 0.01) if exact):
        return not_yet(f"{_said(given, unit)} is off by a factor of 100: a share, or per cent?")
    if exact and abs(given + exact) <= room:
        return not_yet(f"{_said(given, unit)} has the wrong sign.")
    return not_yet(f"{_said(given, unit)} is too {'high' if given > exact else 'low'}.")


def check_choice(
    answer: object, right: str | Iterable[str], options: Iterable[str] | None = None, because: str = ""
) -> Checked:
    """Whether `answer` is `right` (or one of several that are), in capitals or not. `options` are named where it is none of them.

    Raises ParameterError where what is right is no text, or not among the options: mistakes of the lesson.
    """
    wanted = [right] if isinstance(right, str) else list(right)
    check(bool(wanted) and all(isinstance(each, str) for each in wanted), "right", right, "a text, or several")
    offered = None if options is None else list(options)
    if offered is not None:
        missing = {_folded(each) for each in wanted} - {_folded(each) for each in offered}
        if missing:
            raise ParameterError(f"options must hold what is right; {', '.join(map(repr, sorted(missing)))} is not among them.")
    choose = f" Choose from: {', '.join(offered)}." if offered else ""
    if unanswered(answer):
        return Checked(None, f"Not answered yet: put a text in quotes in place of the three dots.{choose}")
    if not isinstance(answer, str):
        return not_yet(f"The answer must be a text in quotes; this is {_kind(answer)}.{choose}")
    if _folded(answer) in {_folded(each) for each in wanted}:
        return Checked(True, f"Right: {_short(answer.strip())}.", because)
    if offered and _folded(answer) not in {_folded(each) for each in offered}:
        return not_yet(f"{_short(repr(answer))} is none of the choices.{choose}")
    return not_yet(f"{_short(repr(answer))} is not it.")


def check_array(answer: object, truth: Any, within: float = 1e-6, because: str = "") -> Checked:
    """Whether every entry of `answer` is that of `truth`, give or take `within` times the largest |entry| of the truth.

    Lists, numpy arrays and torch tensors alike; booleans (masks) must be equal. Raises ParameterError for a truth that is no
    array of finite numbers.
    """
    import numpy as np

    exact = _array(truth)
    check(exact is not None and bool(np.isfinite(exact).all()), "truth", type(truth).__name__, "an array of finite numbers")
    check(within >= 0, "within", within, "a number >= 0")
    if unanswered(answer):
        return Checked(None, "Not answered yet: put an array in place of the three dots.")
    given = _array(answer)
    if given is None:
        return not_yet(f"The answer must be an array of numbers; this is {_kind(answer)}.")
    if given.shape != exact.shape:
        return not_yet(f"The shape is {_shape(given)}, and should be {_shape(exact)}.")
    if exact.dtype == bool and given.dtype != bool and not np.isin(given, (0, 1)).all():
        return not_yet("The answer should hold True and False only.")
    if not np.isfinite(given).all():
        return not_yet(f"{int((~np.isfinite(given)).sum()):,} of {given.size:,} entries are not finite numbers.")
    one, other = given.astype(float), exact.astype(float)
    room = 0.0 if exact.dtype == bool else within * (float(np.abs(other).max(initial=0.0)) or 1.0)
    off = int((np.abs(one - other) > room).sum())
    if not off:
        return Checked(True, f"Right: all {exact.size:,} entries." if exact.size != 1 else "Right.", because)
    return not_yet(f"The shape is right, but {off:,} of {exact.size:,} entries are not.")


def _number(value: Any) -> float | None:
    """A number as float: of Python, numpy or torch, also an array of one; None for anything else."""
    if hasattr(value, "item") and not isinstance(value, str):
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError):
            return None
    if isinstance(value, bool | str | bytes | complex) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None


def _array(value: Any) -> Any:
    """A numpy array of numbers or booleans; None for anything else."""
    import numpy as np

    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.float() if getattr(value, "is_floating_point", bool)() else value
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return found if found.dtype.kind in "biuf" else None


def _said(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"
    return f"{text} {unit}".strip()


def _kind(value: object) -> str:
    """What a learner would call it: `a text ('12')`."""
    names = {str: "a text", bool: "True or False", list: "a list", tuple: "a tuple", dict: "a dictionary", set: "a set"}
    name = next((words for kind, words in names.items() if isinstance(value, kind)), None)
    if callable(value):
        return f"a function ({getattr(value, '__name__', 'without a name')}): call it with brackets"
    if name is None:
        return f"something of type {type(value).__name__}"
    return f"{name} ({_short(repr(value))})"


def _shape(array: Any) -> str:
    return str(array.shape) if array.shape else "that of a single number"


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
