"""Compare two values by their kinds; an algebra decides about formulas and sets of real numbers."""

import re

from racviz.grading.atoms import Algebra, equal_atoms, number_of, tight
from racviz.grading.kinds import Value
from racviz.grading.units import canonical, compatible


def same(key: Value, given: Value, algebra: Algebra) -> bool:
    """True if a given value means the key; each rule of the table stands in one branch."""
    if given.kind == "boxes":
        return _boxes(key, given, algebra)
    if key.text and key.text == given.text and key.kind == given.kind:
        return True
    for special in (_labels, _chains, _options, _quantities, _bases):
        if (verdict := special(key, given, algebra)) is not None:
            return verdict
    kinds = {key.kind, given.kind}
    if kinds & {"words", "dots", "ratio"}:
        return _written(key, given, algebra)
    alone = [v.items[0] if v.kind == "set" and len(v.items) == 1 else v for v in (key, given)]
    if "set" in kinds and kinds & {"atom", "quantity"} and alone != [key, given]:
        return same(*alone, algebra)
    if (verdict := _collections(key, given, algebra)) is not None:
        return verdict
    if kinds <= {"equation", "relation"} and _equations(key, given, algebra):
        return True
    if kinds & REAL_SETS and kinds <= REAL_SETS | {"relation", "tuple", "set", "list", "atom"}:
        return algebra.same_set(key, given) or (
            key.kind == given.kind == "union" and _match([*key.items], [*given.items], algebra)
        )
    if kinds == {"atom"}:
        return equal_atoms(key.text, given.text, algebra)
    return False


REAL_SETS = {"interval", "union", "difference", "relation", "numbers"}


def _boxes(key: Value, given: Value, algebra: Algebra) -> bool:
    """Several boxes are a list, or one value in every box; the right value in one of them is not enough."""
    if all(same(key, box, algebra) for box in given.items):
        return True
    return (
        same(key, Value("list", given.text, given.items, ","), algebra)
        if key.kind in ("list", "set", "tuple", "words", "option")
        else False
    )


def _labels(key: Value, given: Value, algebra: Algebra) -> bool | None:
    """`x = 5` is 5 and is not `y = 5`."""
    if key.kind == given.kind == "label":
        names = tight(key.mark), tight(given.mark)
        if names[0] == names[1] or set(names) == {"y", "f(x)"}:
            return same(key.items[0], given.items[0], algebra)
        return _equations(key, given, algebra)
    for labelled, other in ((key, given), (given, key)):
        if labelled.kind == "label":
            if other.kind in ("equation", "relation"):
                return _equations(key, given, algebra) or (
                    other.kind == "relation" and algebra.same_set(labelled.items[0], other)
                )
            if other.kind == "list" and labelled.items[0].kind != "list" and any(item.kind == "label" for item in other.items):
                return (
                    _collections(*(Value("list", v.text, (v,), ",") if v is labelled else v for v in (key, given)), algebra)
                    or False
                )
            return same(labelled.items[0], given, algebra) if labelled is key else same(key, labelled.items[0], algebra)
    return None


def _chains(key: Value, given: Value, algebra: Algebra) -> bool | None:
    """`2 + 3 = 5` is 5 if every number in it is; after `\\approx` stands a rounded value of what is before."""
    for chain, other, swap in ((given, key, False), (key, given, True)):
        if chain.kind != "chain":
            continue
        if other.kind == "chain":
            return same(key.items[-1], given.items[-1], algebra) and same(key.items[0], given.items[0], algebra)
        signs = chain.mark.split()
        exact = [0] + [k + 1 for k, sign in enumerate(signs) if sign == "="]
        if signs and signs[0] != "=":
            exact = [0]
        elif any(sign != "=" for sign in signs):
            exact = list(range(next(k for k, sign in enumerate(signs) if sign != "=") + 1))
        last = chain.items[exact[-1]]
        numeric = [
            chain.items[k]
            for k in exact[:-1]
            if chain.items[k].kind == "atom" and not re.search(r"(?<!\\)\b[a-zA-Z]", chain.items[k].text)
        ]
        return all(same(other, part, algebra) if not swap else same(part, other, algebra) for part in (*numeric, last))
    return None


def _options(key: Value, given: Value, algebra: Algebra) -> bool | None:
    """An option's letter is enough; letter and value must not contradict the key."""
    if key.kind == given.kind == "option":
        both = key.items and given.items
        return key.mark == given.mark and (not both or same(key.items[0], given.items[0], algebra))
    for option, other in ((key, given), (given, key)):
        if option.kind != "option":
            continue
        if other.kind in ("list", "tuple", "set", "boxes"):
            return None if not option.items else False
        if other.kind == "words" and not option.items:
            return other.text == option.mark
        return bool(option.items) and same(
            option.items[0] if option is key else key, option.items[0] if option is given else given, algebra
        )
    return None


def _quantities(key: Value, given: Value, algebra: Algebra) -> bool | None:
    """Units that differ are wrong; one side may have none. A percentage is also the fraction that it means."""
    if "quantity" not in (key.kind, given.kind):
        return None
    left, right_ = (v.mark if v.kind == "quantity" else None for v in (key, given))
    values = [v.items[0] if v.kind == "quantity" else v for v in (key, given)]
    if "%" in (left, right_) and left != right_:
        return _percent(values, left, right_, algebra)
    if compatible(left, right_):
        if {key.kind, given.kind} <= {"quantity", "atom", "tuple", "list", "ratio", "chain"} and same(*values, algebra):
            return True
        return _bare_letter(values, left or right_ or "", algebra) if None in (left, right_) else False
    return False


def _percent(values: list[Value], left: str | None, right_: str | None, algebra: Algebra) -> bool:
    percentage, other = values if left == "%" else values[::-1]
    if None not in (left, right_) or percentage.kind != "atom" or other.kind != "atom":
        return False
    if equal_atoms(f"\\frac{{{percentage.text}}}{{100}}", other.text, algebra):
        return True
    size = number_of(other.text)
    return (size is None or size >= 1 or size <= -1 or size == 0) and equal_atoms(percentage.text, other.text, algebra)


def _bare_letter(values: list[Value], unit: str, algebra: Algebra) -> bool:
    """`5m` is `5 \\text{ m}`."""
    for k, value in enumerate(values):
        found = re.fullmatch(r"(.*[\d})])\s*([a-zA-Z]+(?:\^\{?[23]\}?)?)", value.text) if value.kind == "atom" else None
        if found and canonical(found[2]) == unit and not re.search(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", found[1])):
            pair = [Value("atom", found[1]) if k == place else v for place, v in enumerate(values)]
            return same(*pair, algebra)
    return False


def _bases(key: Value, given: Value, algebra: Algebra) -> bool | None:
    """Digits and base as in the key; the answer may leave the base out, and may not bring one of its own."""
    if key.kind == given.kind == "based":
        return key.mark == given.mark
    if key.kind == "based":
        return given.kind in ("atom", "words") and given.text == key.mark.split("_")[0]
    return False if given.kind == "based" else None


def _written(key: Value, given: Value, algebra: Algebra) -> bool:
    """Words as written, ratios in order and up to a factor."""
    if key.kind == given.kind == "ratio":
        return _ratios(key, given, algebra)
    listed = next((v for v in (key, given) if v.kind in ("list", "tuple")), None)
    other = given if listed is key else key
    if listed and other.kind == "words" and all(v.kind == "option" and not v.items for v in listed.items):
        return "".join(v.mark for v in listed.items) == other.text
    if listed and other.kind == "words" and all(v.kind == "words" for v in listed.items):
        return re.findall(r"\w+", other.text.replace(" and ", " ")) == [
            w for v in listed.items for w in re.findall(r"\w+", v.text)
        ]
    if {key.kind, given.kind} <= {"words", "atom"}:
        if key.kind == given.kind:
            return _punctuated(key) == _punctuated(given)
        letters, formula = (key.text, given.text)[:: 1 if key.kind == "words" else -1]
        return tight(letters) == tight(formula) or (
            bool(re.fullmatch(r"[a-z]{2,4}", letters)) and algebra.equal(key.text, given.text)
        )
    return False


def _punctuated(value: Value) -> list[str]:
    return re.findall(r"[\w/]+", value.text)


def _ratios(key: Value, given: Value, algebra: Algebra) -> bool:
    """4:2 is 2:1; times of the day are equal only as written."""
    if len(key.items) != len(given.items):
        return False
    if all(re.fullmatch(r"\d{1,2}:[0-5]\d", v.text) for v in (key, given)):
        return key.text.lstrip("0") == given.text.lstrip("0")
    first, second = (v.items[0].text for v in (key, given))
    return all(
        equal_atoms(f"({a.text})\\cdot ({second})", f"({b.text})\\cdot ({first})", algebra)
        for a, b in zip(key.items, given.items, strict=True)
    )


def _collections(key: Value, given: Value, algebra: Algebra) -> bool | None:
    """Lists and sets in any order, tuples, words, labels and rows with dots in order."""
    kinds = {key.kind, given.kind}
    if not kinds <= {"list", "set", "tuple", "matrix"}:
        return False if kinds & {"matrix"} or (kinds & {"list", "set", "tuple"} and not _as_real_set(key, given)) else None
    if "list" in kinds and any(_relations(v) for v in (key, given)) and any(_pair(v) for v in (key, given)):
        return algebra.same_set(key, given)
    if kinds == {"set", "tuple"} or ("matrix" in kinds and len(kinds) > 1):
        return False
    left, right_ = list(key.items), list(given.items)
    if any(_assigned(a) and not any(v.kind == "quantity" for v in b) for a, b in ((left, right_), (right_, left))):
        return False
    if kinds & {"list"} and _relations(key) and _relations(given):
        return len(left) == len(right_) and _match(left, right_, algebra) or algebra.same_set(key, given)
    if _labelled(left) and _labelled(right_):
        return len(left) == len(right_) and _match(left, right_, algebra)
    left, right_ = _unlabelled(left), _unlabelled(right_)
    if "set" in kinds:
        return _covers(left, right_, algebra) and _covers(right_, left, algebra, swap=True)
    if len(left) != len(right_):
        return False
    distinct = _labelled(list(key.items)) or _labelled(list(given.items))
    ordered = kinds != {"list"} or distinct or any(v.kind in ("words", "option", "dots", "label") for v in (*left, *right_))
    if ordered:
        return all(same(a, b, algebra) for a, b in zip(left, right_, strict=True))
    return _match(left, right_, algebra)


def _as_real_set(key: Value, given: Value) -> bool:
    """True where a pair may be an interval, a set a part of a union, a list of inequalities a set."""
    listed, other = (key, given) if key.kind in ("list", "set", "tuple") else (given, key)
    if other.kind not in REAL_SETS:
        return False
    return listed.kind == "set" or _relations(listed) or _pair(listed)


def _pair(value: Value) -> bool:
    """True for two things in round brackets, which may be an open interval."""
    return value.kind == "tuple" and len(value.items) == 2 and value.mark == "()"


def _relations(value: Value) -> bool:
    inner = [item.items[0] if item.kind == "label" else item for item in value.items]
    return bool(inner) and all(item.kind in REAL_SETS for item in inner) and any(item.kind == "relation" for item in inner)


def _assigned(items: list[Value]) -> bool:
    """True for quantities in different units: which number goes with which unit is part of the answer."""
    return all(v.kind == "quantity" for v in items) and len({v.mark for v in items}) > 1


def _labelled(items: list[Value]) -> bool:
    """True for items with names that all differ."""
    names = [item.mark for item in items if item.kind == "label"]
    return len(names) == len(items) > 1 and len(set(names)) == len(names)


def _unlabelled(items: list[Value]) -> list[Value]:
    """Values without their name, if all that have one have the same, or each has its own: `x = 1, x = 2` and `x = 1, 2`."""
    names = {item.mark for item in items if item.kind == "label"}
    if (
        len(names) == 1
        and all(item.kind in ("label", "atom") for item in items)
        or _labelled(items)
        and len(names) == len(items)
    ):
        if any(item.kind == "label" and item.items[0].kind == "numbers" for item in items):
            return items
        return [part for item in items for part in (_spread(item.items[0]) if item.kind == "label" else (item,))]
    return items


def _spread(value: Value) -> tuple[Value, ...]:
    return value.items if value.kind == "list" and value.mark == "pm" else (value,)


def _match(left: list[Value], right_: list[Value], algebra: Algebra) -> bool:
    rest = list(right_)
    for wanted in left:
        place = next((k for k, given in enumerate(rest) if same(wanted, given, algebra)), None)
        if place is None:
            return False
        rest.pop(place)
    return not rest


def _covers(left: list[Value], right_: list[Value], algebra: Algebra, swap: bool = False) -> bool:
    return all(any(same(b, a, algebra) if swap else same(a, b, algebra) for b in right_) for a in left)


def _equations(key: Value, given: Value, algebra: Algebra) -> bool:
    sides = []
    for value in (key, given):
        if value.kind == "label":
            sides.append(("=", (value.mark, value.items[0].text)))
        else:
            sides.append((value.mark or "=", tuple(item.text for item in value.items)))
    flipped = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", "=": "=", r"\ne": r"\ne"}
    (sign, left), (other, right_) = sides
    if len(left) != 2 or len(right_) != 2:
        return False
    if sign == other and algebra.same_equation(left, right_, sign):
        return True
    return flipped.get(sign) == other and algebra.same_equation(left, right_[::-1], sign)
