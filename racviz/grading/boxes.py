"""The final answer in a text: its last boxes, or else its last line, formula or number."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A backspace or form feed before the name is the command after a careless JSON decoder.
OPENING = re.compile(r"(?:\\(?:boxed|fbox|framebox)|\x08oxed|\x0cbox)(?![a-zA-Z])[ \t]*(\{)?")
TOKENS = re.compile(OPENING.pattern + r"|\\.|[{}]", re.DOTALL)
BARE = re.compile(r"-?[\d.,/]*\d|[A-Za-z](?![A-Za-z])")
"""A boxed number or letter without braces, as in `\\boxed 5`."""
BLANK = re.compile(r"(?:\\(?:text|mathrm|phantom|quad|qquad|ldots|dots|cdots|[,;:! ])|[\s{}$~_?.…]|\\[()\[\]])*")
LABEL = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?(?:\([A-Za-z]\))?\s*=")
FRAMES = re.compile(r"\\(?:text|mathrm|mbox|quad|qquad|Rightarrow|\\|[,;:! ()\[\]])|[\s{}$&*.,;:/|~•=-]|\\approx")
JOINING = {"and", "or", "either", "both", "as", "well", "also", "else", "maybe", "possibly", "perhaps", "alternatively",
           "plus", "respectively", "und", "oder", "et", "ou", "y"}  # fmt: skip
"""Words that leave two boxes one answer, or one answer and another."""


@dataclass(frozen=True)
class Box:
    """A box in a text: its content, and the places where its command begins and its braces end."""

    content: str
    start: int
    end: int


def boxes(text: str) -> tuple[list[Box], bool]:
    """Every innermost box of a text that is neither empty nor cut off; True with them if the last box is cut off."""
    closed: list[Box] = []
    opened: list[tuple[int, int] | None] = []  # the start and content's start of boxes, None for other braces
    nesting: list[tuple[int, int]] = []
    for token in TOKENS.finditer(text):
        if token[0] == "}":
            place = opened.pop() if opened else None
            if place is None:
                continue
            content = text[place[1] : token.start()]
            if not any(begin > place[0] for begin, _ in nesting[-1:]):
                closed.append(Box(content, place[0], token.end()))
            nesting.append((place[0], token.end()))
        elif token[0] == "{":
            opened.append(None)
        elif token[1]:
            opened.append((token.start(), token.end()))
        elif OPENING.match(token[0]) and (bare := BARE.match(text, token.end())):
            closed.append(Box(bare[0], token.start(), bare.end()))
    cut = max((place[0] for place in opened if place), default=-1)
    closed.sort(key=lambda box: box.start)
    return [box for box in closed if not blank(box.content)], cut > max((box.start for box in closed), default=-1)


def blank(content: str) -> bool:
    """True for a box without a value: white space, dots or an empty frame."""
    return BLANK.fullmatch(content) is not None


def final_boxes(text: str) -> list[str] | None:
    """Contents of the boxes that are the answer, in order; None without a box, or if the last one is cut off.

    These are the last box and the boxes before it from which only separators, joining words and labels part it.
    """
    found, cut = boxes(text)
    if cut or not found:
        return None
    first = len(found) - 1
    while first and _joined(text[found[first - 1].end : found[first].start]):
        first -= 1
    return [box.content.strip() for box in found[first:]]


def has_cut_box(text: str) -> bool:
    """True for a text whose last box was opened and never closed."""
    return boxes(text)[1]


def _joined(between: str) -> bool:
    if len(between) > 120:
        return False
    words = FRAMES.sub(" ", LABEL.sub(" ", between)).split()
    return all(word.lower() in JOINING for word in words)


def last_boxed(text: str) -> str | None:
    """Content of the last box, without the boxes joined to it; None as for `final_boxes`."""
    found = final_boxes(text)
    return found[-1] if found else None


ANSWER = re.compile(r"(?i)\b(?:final\s+)?answer\s*(?:\*\*)?\s*(?:is|:|=|would be|must be)\s*:?\s*(?:\*\*)?\s*")
MARKED = re.compile(r"^####\s*(.+?)\s*$", re.MULTILINE)
FORMULA = re.compile(r"(?<!\\)\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.\\])-?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?\s?%?|(?<![\w\\])-?\.\d+")
SENTENCE = re.compile(r"(?<=[a-zA-Z0-9)}$*])[.!](?:\s|$)")


def prose_candidates(text: str) -> Iterator[str]:
    """Candidates for the answer of a text without boxes, best first.

    The line after `####`; the text inside answer tags; the words after the last "answer is"; the whole of a single line;
    the last formula; the last number.
    """
    text = text.strip()
    if marked := MARKED.findall(text):
        yield marked[-1]
        return
    if tagged := re.findall(r"<answer>\s*(.*?)\s*</answer>", text, re.DOTALL):
        yield tagged[-1]
        return
    lines = [line for line in text.splitlines() if line.strip()]
    if stated := list(ANSWER.finditer(text)):
        rest = text[stated[-1].end() :].strip()
        first = rest.splitlines()[0] if rest else ""
        yield SENTENCE.split(first)[0].strip(" *`")
    if len(lines) == 1:
        yield SENTENCE.split(lines[0].strip())[0].strip("*` ") if len(SENTENCE.split(lines[0].strip())) <= 2 else ""
    if formulas := list(FORMULA.finditer(text)):
        yield next(group for group in formulas[-1].groups() if group is not None)
        return
    if numbers := NUMBER.findall(text):
        yield numbers[-1].strip()
