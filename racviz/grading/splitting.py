"""Split a formula at its top level, outside brackets, braces and environments."""

import re

TOKEN = re.compile(r"\\begin\{[^}]*\}|\\end\{[^}]*\}|\\left(?![a-z])|\\right(?![a-z])|\\[a-zA-Z]+|\\.|.", re.DOTALL)
OPEN = {"(", "[", "{", r"\{", r"\langle", r"\lfloor", r"\lceil"}
CLOSE = {")", "]", "}", r"\}", r"\rangle", r"\rfloor", r"\rceil"}


def depths(text: str) -> list[int]:
    """Depth of each character of a formula: 0 at the top level, brackets of either end at the inner depth."""
    depth, result = 0, []
    for token in TOKEN.finditer(text):
        opens = token[0] in OPEN or token[0].startswith(r"\begin{")
        closes = token[0] in CLOSE or token[0].startswith(r"\end{")
        depth += opens
        result += [max(depth, 0)] * len(token[0])
        depth -= closes
    return result


def split(text: str, separator: re.Pattern) -> tuple[list[str], list[str]]:
    """The parts of a formula between top-level separators, and the separators."""
    levels = depths(text)
    parts, marks, begin = [], [], 0
    for found in separator.finditer(text):
        if levels[found.start()] == 0:
            parts.append(text[begin : found.start()].strip())
            marks.append(found[0].strip())
            begin = found.end()
    return [*parts, text[begin:].strip()], marks


def enclosed(text: str, opening: str, closing: str) -> str | None:
    """The text between the brackets that enclose the whole formula; None where they do not."""
    if not (text.startswith(opening) and text.endswith(closing)) or len(text) < len(opening) + len(closing):
        return None
    depth = 0
    for token in TOKEN.finditer(text, text.index(opening[-1]) if opening.endswith("{") else 0):
        depth += (token[0] in OPEN or token[0].startswith(r"\begin{")) - (token[0] in CLOSE or token[0].startswith(r"\end{"))
        if depth <= 0 and token.end() < len(text):
            return None
    return text[len(opening) : len(text) - len(closing)].strip()


def variables(text: str) -> set[str]:
    """Letters outside commands, but for e and i."""
    return set(re.findall(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", text))) - {"e", "i"}
