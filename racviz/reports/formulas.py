"""Formulas of markdown cells (`$…$`, `$$…$$`) as MathML, which browsers set without a script."""

import re
from collections.abc import Mapping

CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\\\w$])\$(?=\S)(?P<inline>[^$\n]+?)(?<=\S)\$(?![\w$])", re.DOTALL)


def take_formulas(markdown: str, formulas: dict[str, str]) -> str:
    """The markdown with a placeholder for each formula; code is left alone.

    Parameters
    ----------
    markdown : str
        Source of a cell.
    formulas : dict
        Placeholder -> MathML; those of this cell are added. A formula that cannot be read stays in the text as it is.
    """

    def placeholder(match: re.Match) -> str:
        mathml = to_mathml(match["block"] or match["inline"], block=match["block"] is not None)
        if mathml is None:
            return match[0]
        name = f"racvizformula{len(formulas)}x"
        formulas[name] = mathml
        return name

    parts = CODE.split(markdown)
    return "".join(part if CODE.fullmatch(part) else FORMULA.sub(placeholder, part) for part in parts)


def set_formulas(page: str, formulas: Mapping[str, str]) -> str:
    """The page with formulas in place of their placeholders."""
    return re.sub(r"racvizformula\d+x", lambda match: formulas.get(match[0], match[0]), page)


def to_mathml(latex: str, block: bool = False) -> str | None:
    """MathML of a formula; None for one that cannot be read."""
    from latex2mathml.converter import convert

    try:
        return convert(latex.strip(), display="block" if block else "inline")
    except Exception:  # of any formula; the text is legible without
        return None
