"""One spelling for each formula: unicode, TeX layout, numbers and percent signs, before anything is compared."""

import re
import unicodedata
from fractions import Fraction

SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎", "0123456789+-=()", strict=True))
SYMBOLS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "﹣": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "∗": "*", "÷": r"\div ", "∕": "/", "⁄": "/", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ",
    "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "≃": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∈": r"\in ",
    "∉": r"\notin ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "⌀": r"\emptyset ", "∖": r"\setminus ",
    "ℝ": r"\mathbb{R}", "ℕ": r"\mathbb{N}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "°": r"\degree ",
    "º": r"\degree ", "˚": r"\degree ", "′": "'", "″": "''", "…": r"\ldots ", "⋯": r"\ldots ", "“": '"', "”": '"', "‘": "'",
    "’": "'", "∣": "|", "⟨": r"\langle ", "⟩": r"\rangle ", "√": r"\sqrt ", "∛": r"\sqrt[3]", "∠": r"\angle ", "，": ",",
    "、": ",", "。": ".", "；": ";", "：": ":", "٬": ",", "٫": ".", "٪": r"\%", "∶": ":", "ⅈ": "i", "ⅇ": "e", "→": r"\to ",
    "⇒": r"\Rightarrow ", "∧": r"\land ", "∨": r"\lor ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ",
    "⌉": r"\rceil ",
}  # fmt: skip
GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau upsilon phi chi psi omega"
).split()
SYMBOLS |= {chr(0x3B1 + k): f"\\{name} " for k, name in enumerate(GREEK)}
SYMBOLS |= {chr(0x391 + k): f"\\{GREEK[k].capitalize()} " for k in (2, 3, 7, 10, 13, 15, 18, 20, 21, 23, 24)}
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u2061\u2062\u2063\u2064"))
RUNS = re.compile(f"[{''.join(map(re.escape, SUPERSCRIPTS))}]+|[{''.join(map(re.escape, SUBSCRIPTS))}]+")
VULGAR = re.compile(r"(\d?)([¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])")
ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[A-Za-z])")
DAMAGE = [("\x0crac", r"\frac"), ("\x08egin", r"\begin"), ("\x08inom", r"\binom"), ("\times", r"\times"), ("\text", r"\text"),
          ("\tfrac", r"\tfrac"), ("\theta", r"\theta"), ("\x07pprox", r"\approx")]  # fmt: skip
"""Commands after a careless JSON decoder: tab and form feed for a backslash and its letter."""


def plain_unicode(text: str) -> str:
    """The text with TeX or ASCII in place of mathematical unicode, full-width forms and digits of other scripts."""
    for damaged, command in DAMAGE:
        text = text.replace(damaged, command)
    if text.isascii():
        return text
    text = ROOT.sub(r"\\sqrt{\1}", text.translate(INVISIBLE))
    text = RUNS.sub(_script, VULGAR.sub(_vulgar, text))
    return "".join(SYMBOLS[c] if c in SYMBOLS else c if c.isascii() else _compatible(c) for c in text)


def _script(run: re.Match) -> str:
    table, mark = (SUPERSCRIPTS, "^") if run[0][0] in SUPERSCRIPTS else (SUBSCRIPTS, "_")
    return f"{mark}{{{''.join(table.get(c, c) for c in run[0])}}}"


def _vulgar(found: re.Match) -> str:
    value = Fraction(unicodedata.numeric(found[2])).limit_denominator(10)
    return f"{found[1]}\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _compatible(char: str) -> str:
    if unicodedata.category(char) == "Nd":
        return str(unicodedata.digit(char))
    if unicodedata.category(char) == "Zs" or char in "\u2028\u2029":
        return " "
    return unicodedata.normalize("NFKC", char)


GROUP = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
"""A group in braces, nested up to three deep."""
LAYOUT = [
    (r"\\(?:left|right)\s*\.", ""),
    (r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|tiny|small|large|Large|LARGE|huge|Huge"
     r"|hfill|nobreak|notag|hline|bf|it)"
     r"(?![a-zA-Z])", ""),
    (r"\\(?:label|tag|hspace|vspace|hskip|phantom|vphantom|hphantom|color)\*?\{[^{}]*\}", ""),
    (r"(?<=\d),\s*\\!\s*(?=\d)", "{,}"), (r"\\!", ""),
    (r"\\frac\{\s*\\(?:text|mathrm)\{([^{}]*)\}\s*\}\{\s*\\(?:text|mathrm)\{([^{}]*)\}\s*\}", r"\\text{\1/\2}"),
    (r"\\[ \t\n,;:>]|~|\\(?:quad|qquad|enspace|thinspace|thickspace|medspace|nbsp)(?![a-zA-Z])|&nbsp;|&ensp;", " "),
    (r"\\[()\[\]]", " "),
    (r"\\(?:textcolor|colorbox)\{[^{}]*\}" + GROUP, r"{\1}"),
    (r"\\(?:bf|it|rm|sf|tt)(?![a-zA-Z])\s*", ""),
    (r"\\(?:mbox|hbox|textnormal|textrm|textbf|textit|textsf|texttt|textup|emph|textsc)\s*(?=\{)", r"\\text"),
    (r"(?<=[\d)}])\s*\\(?:mathrm|mathsf|rm)\s*\{\s*((?![iedj]\s*\})[A-Za-z][A-Za-z./ ]*(?:\^-?\d[A-Za-z./ ]*)*)\}", r" \\text{\1}"),
    (r"^(-?[\d.,/]+)\s+\((?!base|mod|in |or |and )([a-z][a-z ]{2,})\)\s*$", r"\1 \\text{\2}"),
    (r"\\(?:mathrm|mathsf|mathtt|rm)\s*\{\s*([A-Za-z. ]{2,})\s*\}", r"\\text{\1}"),
    (r"\\(?:mathrm|mathsf|mathtt|mathbf|mathit|boldsymbol|bm|mathnormal|pmb|underline|ensuremath|displaylines)\s*" + GROUP, r"\1"),
    (r"\\text\s+\{", r"\\text{"),
    (r"\\text\{\s*\\text\{([^{}]*)\}\s*\}", r"\\text{\1}"),
    (r"\\(?:d|t|c)frac(?![a-zA-Z])", r"\\frac"), (r"\\(?:d|t)binom(?![a-zA-Z])", r"\\binom"),
    (r"\\(?:leq|leqslant|lt\s*=)(?![a-zA-Z])|<=|=<(?!=)", r"\\le "), (r"\\(?:geq|geqslant)(?![a-zA-Z])|>=", r"\\ge "),
    (r"\\lt(?![a-zA-Z])", "<"), (r"\\gt(?![a-zA-Z])", ">"), (r"\\neq(?![a-zA-Z])|!=|\\not\s*=", r"\\ne "),
    (r"\\varnothing(?![a-zA-Z])", r"\\emptyset "), (r"\\lbrace(?![a-zA-Z])", r"\\{"), (r"\\rbrace(?![a-zA-Z])", r"\\}"),
    (r"\\lbrack(?![a-zA-Z])", "["), (r"\\rbrack(?![a-zA-Z])", "]"), (r"\\lparen(?![a-zA-Z])", "("), (r"\\rparen(?![a-zA-Z])", ")"),
    (r"\\[lr]?vert(?![a-zA-Z])", "|"), (r"\\mid(?![a-zA-Z])", "|"), (r"\\colon(?![a-zA-Z])", ":"),
    (r"\\backslash(?![a-zA-Z])", r"\\setminus"),
    (r"\\infin(?![a-zA-Z])|\\inf(?![a-zA-Z])", r"\\infty "), (r"\\(?:R|reals|Reals)(?![a-zA-Z])", r"\\mathbb{R}"),
    (r"\\(?:mathbb|Bbb|mathds)\s*([RNZQC])(?![a-zA-Z])", r"\\mathbb{\1}"), (r"\\(?:isin)(?![a-zA-Z])", r"\\in "),
    (r"(?<=\d)\^\s*\{?\s*o\s*\}?(?![a-zA-Z])", r"\\degree "),
    (r"\\(?:imath)(?![a-zA-Z])", "i"), (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\(?:degree|degrees|textdegree)(?![a-zA-Z])", r"\\degree "),
    (r"\\(?:ldots|dots|dotsc|dotso|dotsb|cdots|hdots|cdot\s*\\cdot\s*\\cdot)(?![a-zA-Z])|\.\s?\.\s?\.", r"\\ldots "),
    (r"\\(?:thicksim|sim|simeq|doteq)(?![a-zA-Z])|\\fallingdotseq|~=", r"\\approx "),
    (r"\\text\{\s*(?:percent|percents|per cent|pct|%)\s*\}|\s*\b(?:percent|per cent|pct)\b|(?<!\\)%", r"\\%"),
    (r"\\text\{\s*\}", " "), (r"\*\*(?=\s*[\d({-])", "^"), (r"\*", r"\\cdot "),
    (r"(?<![a-zA-Z\\])pi(?![a-zA-Z])", r"\\pi "), (r"(?<![a-zA-Z\\])(?:infinity|infty|oo)(?![a-zA-Z])", r"\\infty "),
    (r"(?<![a-zA-Z\\])sqrt\s*(?=[({])", r"\\sqrt"), (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![a-zA-Z\\])(sin|cos|tan|cot|sec|csc|ln|log|arcsin|arccos|arctan|exp)(?=\s*[({^])", r"\\\1"),
    (r"\\lg(?![a-zA-Z])", r"\\log_{10} "),
    (r"(?<![a-zA-Z}^_])\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}", r"{\\binom{\1}{\2}}"),
    (r"(\d+|[a-zA-Z]|" + GROUP + r")\s*\\choose(?![a-zA-Z])\s*(\d+|[a-zA-Z]|" + GROUP + ")", r"\\binom{\1}{\3}"),
    (r"\^\s*\(([^()]*)\)", r"^{\1}"), (r"\^\s*-\s*(\w)", r"^{-\1}"), (r"\\text\{\s*([A-Za-z])\s*\}(?=\s*[=<>+])", r"\1"),
]  # fmt: skip
COMPILED: list[tuple[re.Pattern, str]] = [(re.compile(pattern), into) for pattern, into in LAYOUT]
ROW = "¶"
"""Stands for the end of a matrix's row, whose backslashes would be taken for those of commands."""
ROW_END = re.compile(r"\\\\(?:\*|\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm|in|mu|baselineskip)\s*\])?|\\cr(?![a-zA-Z])")
DOUBLED = re.compile(r"\\\\(?=[a-zA-Z,;!(){}\[\]%$])")
DOLLARS = re.compile(r"(?<!\\)\$")
FIRST = r"(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|\d|[a-zA-Z]|\\(?!frac|sqrt)[a-zA-Z]+)"
FRACTION = re.compile(r"\\(frac|binom)\s*" + FIRST + r"\s*" + FIRST)
SQUARE_ROOT = re.compile(r"\\sqrt\s*(\[[^\]]*\])?\s*(\d|[a-zA-Z]|\\(?:pi|alpha|theta)(?![a-zA-Z]))")


def normal(text: str) -> str:
    """A formula in one spelling: without layout, with braces round arguments, plain signs and single spaces."""
    text = " ".join(plain_unicode(text).split())
    if "\\begin" in text:
        text = ROW_END.sub(f" {ROW} ", text)
    else:
        text = DOUBLED.sub(lambda _: "\\", text)
    text = DOLLARS.sub(_dollar(text), text)
    for _ in range(2):  # frames stand inside frames
        for pattern, into in COMPILED:
            text = pattern.sub(into, text)
    text = FRACTION.sub(_braced, CONJUGATE.sub(_conjugate, text))
    text = SQUARE_ROOT.sub(lambda m: f"\\sqrt{m[1] or ''}{{{m[2]}}}", text)
    return " ".join(numbers(text).split())


def _dollar(text: str) -> str:
    """A lone dollar sign before a digit is money, a pair frames a formula."""
    count = len(DOLLARS.findall(text))
    return r"\\$" if count % 2 and re.search(r"(?<!\\)\$\s*\d", text) else " "


CONJUGATE = re.compile(r"\\(?:overline|bar)\s*" + GROUP)
UNIT = re.compile(r"([\d})]?)(\s*)(?<![a-zA-Z\\])i(?![a-zA-Z])")


def _conjugate(found: re.Match) -> str:
    """A complex number under a bar with the sign of i changed; digits, letters and segments under a bar stay."""
    letters = re.findall(r"[a-zA-Z]", re.sub(r"\\(?:frac|sqrt|cdot|times|pi)(?![a-zA-Z])", "", found[1]))
    if set(letters) != {"i"}:
        return found[0]
    return "(" + UNIT.sub(lambda m: f"{m[1]}\\cdot (-i)" if m[1] else f"{m[2]}(-i)", found[1]) + ")"


def _braced(found: re.Match) -> str:
    over, under = (part if part.startswith("{") else f"{{{part}}}" for part in (found[2], found[3]))
    return f"\\{found[1]}{FRACTION.sub(_braced, over)}{FRACTION.sub(_braced, under)}"


NUMBERS = [
    (re.compile(r"(?<=\d)\s+[xX]\s+(?=10\s*\^)"), lambda m: r"\times "),
    (re.compile(r"(?<![\d.])([1-9]\d{0,2})((?:\{,\}\d{3})+)(?!\d)"), lambda m: m[1] + m[2].replace("{,}", "")),
    (re.compile(r"(?<=\d)\{[,.]\}(?=\d)"), lambda m: "."),  # 3{,}5 is a decimal comma
    (re.compile(r"(?<![\d.,])([1-9]\d{0,2})((?: \d{3})+)(?![\d ]|\.\d{4})"), lambda m: m[0].replace(" ", "")),
    (re.compile(r"(?<![\d.,])([1-9]\d{0,2})((?:'\d{3})+)(?!\d)"), lambda m: m[0].replace("'", "")),
    (re.compile(r"(\d)\s*\^?\s*\{?\s*\\text\{\s*(?:st|nd|rd|th)\s*\}\s*\}?"), lambda m: m[1]),
    (re.compile(r"(\d)\s*\^\s*\{\s*(?:st|nd|rd|th)\s*\}|(\d)(?:st|nd|rd|th)(?![a-zA-Z])"), lambda m: m[1] or m[2]),
    (re.compile(r"(?<![\d.])(\d*)\.(\d*?)(?:\\(?:overline|bar|dot)\s*\{?(\d+)\}?|\((\d+)\))(?![\d\\.])"),
     lambda m: _repeating(m[1], m[2], m[3] or m[4])),
    (re.compile(r"(?<![\d.])(\d*)\.(\d*?)(?:(\d)\3{2,}|(\d{2,6}?)\4{2,})\s*\\ldots"),
     lambda m: _repeating(m[1], m[2], m[3] or m[4])),
    (re.compile(r"(?<![\w.\\}])(\d+)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}(?!\s*[\^!])"), lambda m: _mixed(*m.groups())),
    (re.compile(r"(?<![\w.\\/}^])(\d+) (\d+)/(\d+)(?![\d/^!.])"), lambda m: _mixed(*m.groups())),
]  # fmt: skip


def numbers(text: str) -> str:
    """Thousands without marks, ordinals without endings, mixed numbers and repeating decimals as fractions."""
    for pattern, into in NUMBERS:
        text = pattern.sub(into, text)
    return text


def _repeating(whole: str, once: str, again: str) -> str:
    """0.1 followed by 6 again and again is 1/6."""
    shift, period = 10 ** len(once), 10 ** len(again) - 1
    value = int(whole or "0") + Fraction(int(once or "0"), shift) + Fraction(int(again), shift * period)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _mixed(whole: str, over: str, under: str) -> str:
    if int(over) >= int(under):
        return f"{whole}\\cdot \\frac{{{over}}}{{{under}}}"
    return f"\\frac{{{int(whole) * int(under) + int(over)}}}{{{under}}}"
