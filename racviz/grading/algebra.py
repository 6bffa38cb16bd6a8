"""Exact decisions about formulas by math-verify's parser and sympy; imported by the comparing process alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, wraps

import sympy
from latex2sympy2_extended import NormalizationConfig
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy, normalize_latex
from math_verify import verify
from sympy import Basic, Expr, Float, I, Interval, Rational, Reals, S, Symbol, oo

from racviz.grading.formulas import VARIABLE
from racviz.grading.kinds import Value
from racviz.grading.normalising import GROUP, ROW
from racviz.grading.splitting import variables

NORMALISING = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none", equations=False
)
CONVERTING = ConversionConfig(interpret_as_mixed_fractions=False, interpret_contains_as_eq=False, lowercase_symbols=False)
UNPARSED = re.compile(
    r"\d\.\d+\.\d|\\(?:text|ldots|foo)(?![a-zA-Z])|_\s*$|:|\d+_|\?|\"|[#&@]|\\(?:angle|measuredangle|triangle|widehat|parallel|perp|cong|approx|in|equiv|pmod|bmod)(?![a-zA-Z])|\d\s+\d"
)
"""Formulas that the parser takes for others: it reads 52_8 as 52, 2:1 as 2 and 2 3 as a product."""
ADJACENT = re.compile(
    r"((?<![\w^_\\.])\d+(?:\.\d+)?|\))\s*(?=\(|\\(?:frac|binom|lfloor|lceil|gcd|max|min|operatorname)(?![a-zA-Z]))"
)
"""A number before a bracket or a fraction: the parser reads 2(3) as a mixed number, 5."""
ODD_ROOT = re.compile(r"\\sqrt\s*\[\s*(\d*[13579])\s*\]\s*" + GROUP)
PRIMES = re.compile(r"([A-Za-z])('+)")
DIGITS, CLOSE = 60, Rational(1, 10**50)
POINTS = (
    Rational(7, 5),
    Rational(-13, 7),
    Rational(31, 11),
    Rational(3, 17),
    Rational(-41, 13),
    Rational(19, 3),
    Rational(-5, 23),
)


def cautious(decide: Callable[..., bool]) -> Callable[..., bool]:
    """Return False where sympy raises, as it does on matrices beside numbers and on sets without an order."""

    @wraps(decide)
    def decided(*arguments: object) -> bool:
        try:
            return decide(*arguments)
        except Exception:  # of every kind
            return False

    return decided


class SympyAlgebra:
    """Equality without tolerance: exact for rational numbers, else to 60 digits and confirmed to 250."""

    @cautious
    def equal(self, left: str, right: str) -> bool:
        """True for formulas that are equal exactly, wherever both have a value."""
        first, second = parsed(left), parsed(right)
        return first is not None and second is not None and equal(first, second)

    @cautious
    def same_equation(self, left: Sequence[str], right: Sequence[str], sign: str) -> bool:
        """True where the difference of the sides is the same but for a factor, a positive one for inequalities."""
        sides = [parsed(side) for side in (*left, *right)]
        if not all(isinstance(side, Expr) for side in sides):
            return False
        first, second = sides[0] - sides[1], sides[2] - sides[3]
        if first.free_symbols != second.free_symbols or not first.free_symbols:
            return False
        factors = [a / b for a, b in _values(first, second) if b != 0]
        if len(factors) >= 3 and all(_close(f, factors[0]) for f in factors) and factors[0] != 0:
            return sign in ("=", r"\ne") or bool(sympy.im(factors[0]) == 0 and factors[0] > 0)
        if sign != "=":
            return False
        equations = [sympy.Eq(a, b, evaluate=False) for a, b in (sides[:2], sides[2:])]
        return all(verify(a, b, timeout_seconds=None) for a, b in (equations, equations[::-1]))

    @cautious
    def same_set(self, left: Value, right: Value) -> bool:
        """True for the same set of real numbers, whether written by brackets or by inequalities."""
        if left.kind == right.kind == "interval":
            return left.mark == right.mark and all(
                self.equal(a.text, b.text) for a, b in zip(left.items, right.items, strict=True)
            )
        names = [_variables(value) for value in (left, right)]
        if all(names) and names[0] != names[1]:
            return False
        first, second = real_set(left), real_set(right)
        if first is None or second is None:
            return False
        if first == second:
            return True
        return _same_pieces(first, second)


@lru_cache(maxsize=4096)
def parsed(latex: str) -> Basic | None:
    """The formula as sympy has it, decimals as fractions, i as the imaginary unit; None where it cannot be read."""
    latex = ODD_ROOT.sub(_real_root, latex.replace(ROW, r"\\ "))
    latex = re.sub(r"(\d+(?:\.\d+)?)\s*\\degree(?![a-zA-Z])", r"(\1\\cdot\\frac{\\pi}{180})", latex)  # of an angle
    latex = re.sub(r"\\log_\s*\{?e\}?(?![a-z])", r"\\ln", ADJACENT.sub(r"\1\\cdot ", latex))
    latex = re.sub(r"_\s*(\w)(?!\w)|_\s*(\d)", r"_{\1\2}", latex)
    latex = PRIMES.sub(lambda m: f"{m[1]}_{{{'p' * len(m[2])}}}", latex)
    if UNPARSED.search(latex.replace("&", "|") if "matrix" in latex else latex):
        return None
    try:
        found = latex2sympy(normalize_latex(latex, NORMALISING), is_real=True, convert_degrees=False, conversion_config=CONVERTING,
                            normalization_config=None)  # fmt: skip
        if not isinstance(found, Basic | sympy.MatrixBase):
            return None
        found = found.xreplace({number: Rational(str(number)) for number in found.atoms(Float)})
        if any(rate.expr.free_symbols.isdisjoint(rate.variables) for rate in found.atoms(sympy.Derivative)):
            return None  # dy/dx of a y that is nowhere defined, which sympy would evaluate as 0
        found = found.subs({Symbol("i", real=True): I, Symbol("i"): I}).doit()
        return found.xreplace({symbol: Symbol(symbol.name, real=True) for symbol in found.free_symbols})
    except Exception:  # of every kind, for what is no mathematics
        return None


def _real_root(found: re.Match) -> str:
    """An odd root of what may be a negative number by its sign and its size: sympy takes a complex root."""
    index, under = found.groups()
    if "-" not in under or variables(under) or re.search(r"(?<![a-zA-Z\\])i(?![a-zA-Z])", under):
        return found[0]
    return f"(\\frac{{{under}}}{{|{under}|}}\\cdot \\sqrt[{index}]{{|{under}|}})"


def equal(first: Basic, second: Basic) -> bool:
    """True if two expressions are equal exactly; numbers by 250 digits where they are not rational."""
    if first == second:
        return True
    if isinstance(first, sympy.MatrixBase) and isinstance(second, sympy.MatrixBase):
        return first.shape == second.shape and all(equal(a, b) for a, b in zip(first, second, strict=True))
    if not (isinstance(first, Expr) and isinstance(second, Expr)):
        return False
    if first.is_Rational and second.is_Rational:
        return False
    difference = first - second
    if difference.is_Rational:
        return difference == 0
    if not difference.free_symbols:
        return all(_agree(first, second, digits) for digits in (DIGITS, 250))
    if first.free_symbols != second.free_symbols and not _cancels(first, second):
        return False
    seen = 0
    for a, b in _values(first, second):
        if not _close(a, b):
            return False
        seen += 1
    if seen >= 3:
        return True
    try:
        return sympy.simplify(difference) == 0
    except Exception:  # sympy raises many kinds on what it cannot simplify
        return False


def _cancels(first: Expr, second: Expr) -> bool:
    """True where a variable on one side alone may cancel, as in x/x."""
    return sympy.simplify(first).free_symbols == sympy.simplify(second).free_symbols


def _agree(first: Expr, second: Expr, digits: int) -> bool:
    a, b = first.evalf(digits, maxn=4 * digits), second.evalf(digits, maxn=4 * digits)
    if not (_numeric(a) and _numeric(b)):
        return False
    return bool(abs(a - b) <= max(abs(a), abs(b)) * Rational(1, 10 ** (digits - 10)))


def _numeric(value: Expr) -> bool:
    return bool(value.is_number) and not value.has(oo, -oo, S.ComplexInfinity, S.NaN) and not value.atoms(Symbol)


def _values(first: Expr, second: Expr) -> Iterator[tuple[Expr, Expr]]:
    """Values of both at points where both have one; the points are rational, of both signs, another for each variable."""
    names = sorted(first.free_symbols | second.free_symbols, key=str)
    for shift in range(len(POINTS)):
        point = {name: POINTS[(shift + 3 * k) % len(POINTS)] + Rational(k, 7) for k, name in enumerate(names)}
        try:
            a, b = (side.subs(point).evalf(DIGITS, maxn=4 * DIGITS) for side in (first, second))
        except Exception:  # outside the domain
            continue
        if _numeric(a) and _numeric(b):
            yield a, b


def _close(a: Expr, b: Expr) -> bool:
    return bool(abs(a - b) <= max(abs(a), abs(b)) * CLOSE)


def real_set(value: Value) -> sympy.Set | None:
    """The set of real numbers that intervals, unions, inequalities and finite sets mean; None where it cannot be told."""
    try:
        return _real_set(value)
    except Exception:  # of every kind: inequalities that sympy cannot solve, ends that are not ordered
        return None


def _real_set(value: Value) -> sympy.Set | None:
    if value.kind == "interval" or (value.kind == "tuple" and len(value.items) == 2 and value.mark == "()"):
        begin, end = (parsed(item.text.removeprefix("+").strip()) for item in value.items)
        if begin is None or end is None:
            return None
        return Interval(begin, end, value.mark[0] == "(", value.mark[1] == ")")
    if value.kind == "numbers":
        return {"R": Reals, "N": S.Naturals, "Z": S.Integers, "Q": S.Rationals, "C": S.Complexes}[value.mark]
    if value.kind == "label":
        return _real_set(value.items[0])
    if value.kind == "relation":
        return _solved(value)
    parts = [_real_set(item) if item.kind != "atom" else sympy.FiniteSet(parsed(item.text)) for item in value.items]
    if any(part is None for part in parts):
        return None
    if value.kind == "difference":
        return parts[0] - sympy.Union(*parts[1:])
    if value.kind == "list" and value.mark in ("and", ","):
        common = sympy.Intersection(*parts)
        if value.mark == "and" or common != S.EmptySet:
            return common
    return sympy.Union(*parts) if value.kind in ("union", "set", "list") else None


def _solved(relation: Value) -> sympy.Set | None:
    """The solutions of one inequality or a chain of them in one variable."""
    signs = {
        "<": sympy.StrictLessThan,
        ">": sympy.StrictGreaterThan,
        r"\le": sympy.LessThan,
        r"\ge": sympy.GreaterThan,
        r"\ne": sympy.Unequality,
    }
    sides = [parsed(item.text) for item in relation.items]
    marks = relation.mark.split()
    if any(side is None for side in sides) or len(set().union(*(side.free_symbols for side in sides))) != 1:
        return None
    solved = []
    for mark, left, right in zip(marks, sides, sides[1:], strict=False):
        if not left.free_symbols and right.is_Symbol:
            left, right, mark = right, left, {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}.get(mark, mark)
        if left.is_Symbol and not right.free_symbols:
            bounds = {
                "<": (-oo, right, True, True),
                ">": (right, oo, True, True),
                r"\le": (-oo, right, True, False),
                r"\ge": (right, oo, False, True),
            }
            solved.append(Reals - sympy.FiniteSet(right) if mark == r"\ne" else Interval(*bounds[mark]))
        else:
            solved.append(signs[mark](left, right).as_set())
    return sympy.Intersection(*solved)


def _same_pieces(first: sympy.Set, second: sympy.Set) -> bool:
    """True for intervals and unions whose pieces have the same ends."""
    if S.EmptySet in (first, second):
        return False
    pieces = [
        sorted(s.args if isinstance(s, sympy.Union) else (s,), key=lambda piece: float(piece.inf)) for s in (first, second)
    ]
    if len(pieces[0]) != len(pieces[1]):
        return False
    for a, b in zip(*pieces, strict=True):
        if isinstance(a, sympy.FiniteSet) and isinstance(b, sympy.FiniteSet):
            if len(a) != len(b) or not all(any(equal(x, y) for y in b) for x in a):
                return False
        elif not (isinstance(a, Interval) and isinstance(b, Interval)) or (a.left_open, a.right_open) != (
            b.left_open,
            b.right_open,
        ):
            return False
        elif not (equal(a.start, b.start) and equal(a.end, b.end)):
            return False
    return True


def _variables(value: Value) -> set[str]:
    """Names that an inequality or a set is about."""
    if value.kind == "relation":
        return {item.text for item in value.items if VARIABLE.fullmatch(item.text)}
    return set().union(*(_variables(item) for item in value.items)) if value.items else set()
