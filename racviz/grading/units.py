"""Units: one name for each spelling, so that quantities in different units are told apart."""

import re

NAMES = {
    "cm": "centimeter centimetre", "mm": "millimeter millimetre", "m": "meter metre", "km": "kilometer kilometre",
    "in": "inch inches", "ft": "foot feet", "yd": "yard", "mi": "mile", "g": "gram", "kg": "kilogram", "mg": "milligram",
    "lb": "pound lbs", "oz": "ounce", "s": "second sec secs", "min": "minute mins", "h": "hour hr hrs", "day": "",
    "week": "wk", "month": "", "year": "yr yrs", "L": "liter litre l", "mL": "milliliter millilitre ml", "gal": "gallon",
    "dollar": "usd", "cent": "¢", "euro": "eur", "sterling": "gbp", "rupee": "rs inr", "yen": "jpy", "degree": "deg",
    "radian": "rad", "unit": "", "N": "newton", "J": "joule", "W": "watt", "V": "volt", "Hz": "hertz", "mph": "",
    "C": "celsius", "F": "fahrenheit", "K": "kelvin", "people": "person persons", "child": "children", "man": "men",
    "woman": "women", "a.m.": "am", "p.m.": "pm", "time": "times", "coin": "", "half": "halves", "A": "ampere amp",
    "Pa": "pascal", "mol": "mole", "penny": "pennies pence",
}  # fmt: skip
CANONICAL = {spelling: name for name, others in NAMES.items() for spelling in (name, *others.split())}
SYMBOLS = {
    "cm",
    "mm",
    "km",
    "kg",
    "mg",
    "ft",
    "yd",
    "lb",
    "lbs",
    "oz",
    "mph",
    "mL",
    "ml",
    "kph",
    "min",
    "hrs",
    "hr",
    "sec",
    "rad",
    "Hz",
    "mol",
    "kJ",
}
"""Units that are one even outside a text frame, where letters else are variables."""
MONEY = {
    r"\$": "dollar", "$": "dollar", "€": "euro", "£": "sterling", "¥": "yen", "₹": "rupee", "Rs.": "rupee", "Rs": "rupee",
    "USD": "dollar", "US$": "dollar", "EUR": "euro", r"\pounds": "sterling", r"\euro": "euro",
}  # fmt: skip
SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def canonical(unit: str) -> str:
    """The one name of a unit: `square feet`, `sq. ft.` and `ft^2` are `ft^2`; unknown words stay, in the singular."""
    unit = (
        re.sub(r"\\(?:text|operatorname)\s*|[{}]|\\ ", " ", unit)
        .replace("\\degree", " degree ")
        .replace("\\cdot", " ")
        .strip(" .,")
    )
    unit = re.sub(r"\s*(?:\bper\b|/)\s*", " / ", re.sub(r"\^\s*(-?\d)", r"^\1 ", unit))
    unit = re.sub(r"\bpounds? sterling\b", "sterling", unit)
    words: list[str] = []
    power = ""
    for word in unit.split():
        lowered = word.lower().rstrip(".") if word.lower() not in ("a.m.", "p.m.") else word.lower()
        if lowered in ("square", "sq", "squared", "cubic", "cu", "cubed"):
            raised = "^2" if lowered.startswith("sq") else "^3"
            if lowered.endswith("ed") and words:
                words[-1] += raised
            else:
                power = raised
            continue
        if word in ("/",):
            words.append("/")
            continue
        if re.fullmatch(r"\^-?\d", word) and words:
            words[-1] += word
            continue
        base, _, exponent = word.partition("^")
        words.append(_name(base) + (f"^{exponent}" if exponent else power))
        power = ""
    if power:
        words.append(power.replace("^2", "square").replace("^3", "cubic"))
    if words[:1] == ["degree"] and len(words) > 1 and words[1] in ("C", "F", "K"):
        words = words[1:]
    return {"km / h": "km/h", "kmh": "km/h", "kph": "km/h", "kmph": "km/h", "mi / h": "mph"}.get(
        " ".join(words), " ".join(words)
    )


def _name(word: str) -> str:
    stripped = word.rstrip(".")
    for spelling in (word, stripped, stripped.lower(), word.lower()):
        if spelling in CANONICAL:
            return CANONICAL[spelling]
    lowered = stripped.lower()
    if lowered.endswith("s") and lowered[:-1] in CANONICAL:
        return CANONICAL[lowered[:-1]]
    if lowered.endswith("ies") and len(lowered) > 4:
        return lowered[:-3] + "y"
    if re.search(r"(?:sh|ch|x|ss)es$", lowered):
        return lowered[:-2]
    return lowered[:-1] if lowered.endswith("s") and not lowered.endswith("ss") and len(lowered) > 2 else lowered


def compatible(left: str | None, right: str | None) -> bool:
    """True for the same unit, and where one side has none."""
    return left is None or right is None or left == right
