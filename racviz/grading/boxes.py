"""The final answer in a text: its last boxes, or else its last line, formula or number."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from racviz.grading.wording import CHANGING

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
WRONG = re.compile(r"(?i)\b(?:wrong|incorrect|mistaken|tempting|na[iï]ve|false)\s+\Z")
MARKED = re.compile(r"^####\s*(.+?)\s*$", re.MULTILINE)
FORMULA = re.compile(
    r"(?<!\\)\$\$(.+?)\$\$|(?<!\\)\$((?:[^$\\]|\\.)+)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]|\*\*\s*(-?\$?[\d.,/]*\d%?)[.,]?\s*\*\*",
    re.DOTALL,
)
"""A formula, or a number in bold."""
NUMBER = re.compile(r"(?<![\w.\\])-?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?\s?%?|(?<![\w\\])-?\.\d+")
SENTENCE = re.compile(r"(?<=[a-zA-Z0-9)}$*])[.!](?:\s|$)")
REASON = re.compile(
    r"(?i)[\s,;–—]+(?:since|because|given that|rather than|instead of)\b|\s*[,;–—]\s*(?:as|so|which|and not|but not|not)\s"
    r"|\s+as(?=\s+(?:\$|\d|\\|required|desired|needed|wanted|expected|claimed))|\s+\((?!(?:mod|in|base|or|and)\b)(?=[a-z]{2,}\s)"
)
"""Where a sentence leaves the answer for what it follows from, or for what it is not."""
EMPHASIS = re.compile(r"(?<![\w)*])\*\*(\(?[A-Z]\)?\.?)\*\*(?![\w*])")
"""An option's letter in bold."""
NEGATION = re.compile(r"(?i)\b(?:not|cannot|never|neither|nor|unable|impossible|failed)\b|n['’]t\b")
ASIDE = re.compile(r"(?i)\b(?:since|because|as|although|while|if)\b[^,.]*,")
STOP = re.compile(r"[.!?;](?=\s|\*|$)|\n|,\s*(?=(?:and\s+|but\s+)?(?:so|then|thus|hence|therefore|we)\b)", re.IGNORECASE)
CONTRAST = re.compile(r"(?i),\s*(?:and |but )?not\b.*", re.DOTALL)
LAST, LONGEST = 40, 1_000
"""Numbers from the end that are looked at, and characters of the sentence on each side."""
TELLING = re.compile(
    r"(?:(?i:he|she|it|they|we|i|you|his|her|its|their|our|my|there|this|that|so|thus|hence|therefore)"
    r"|[A-Z][a-z]+(?= (?:[a-z]+(?:s|ed)|has|had|was|were|made|paid|spent|sold|got|ate) ))\s"
)
"""The first words of a sentence that tells of a number among other words."""


def prose_candidates(text: str) -> Iterator[str]:
    """Candidates for the answer of a text without boxes, best first.

    The line after `####`; the text inside answer tags; the words after the last "answer is"; the whole of a single line;
    the last formula; the last number. What a sentence denies is none of them.
    """
    text = EMPHASIS.sub(r"\1", text.strip())
    if marked := MARKED.findall(text):
        yield marked[-1]
        return
    if tagged := re.findall(r"<answer>\s*(.*?)\s*</answer>", text, re.DOTALL):
        yield tagged[-1]
        return
    lines = [line for line in text.splitlines() if line.strip()]
    if stated := [
        found for found in ANSWER.finditer(text) if not WRONG.search(text, max(0, found.start() - 30), found.start())
    ]:
        rest = text[stated[-1].end() :].strip()
        first = REASON.split(SENTENCE.split(rest.splitlines()[0])[0])[0].strip(" *`") if rest else ""
        if not (
            _denied(text, stated[-1].start(), stated[-1].end())
            or (NEGATION.match(first) and re.search(r"[\d$\\]", first))
            or any(value == first.strip("$ ") for value in _numbers(text, NUMBER, stated[-1].end() + len(first), denied=True))
        ):
            yield first
    if len(lines) == 1 and len(parts := SENTENCE.split(lines[0].strip())) <= 2:
        whole = parts[0].strip("*` ")
        if not _tells(whole) and not any(NEGATION.search(part) and re.search(r"\d", part) for part in parts):
            yield whole
    for pattern in (FORMULA, NUMBER):
        if value := next(_numbers(text, pattern), None):
            yield value
            return


def _numbers(text: str, pattern: re.Pattern, begin: int = 0, denied: bool = False) -> Iterator[str]:
    """The last formulas or numbers that no sentence denies, there or later, the last first; or those that one denies."""
    refused: set[str] = set()
    for found in reversed(deque(pattern.finditer(text, begin), maxlen=LAST)):
        value = next((group for group in found.groups() if group is not None), found[0]).strip()
        if _denied(text, found.start(), found.end()):
            refused.add(value)
            if denied:
                yield value
        elif value not in refused and not denied:
            yield value


def _denied(text: str, start: int, end: int) -> bool:
    """True for a place in a sentence with a negation, but for one in a clause of its reasons or in a contrast after the place."""
    first, last = max(0, start - LONGEST), end + LONGEST
    begin = max((stop.end() for stop in STOP.finditer(text, first, start)), default=first)
    stop = STOP.search(text, end, last)
    after = CONTRAST.sub("", text[end : stop.start() if stop else last])
    return NEGATION.search(ASIDE.sub("", text[begin:start])) is not None or NEGATION.search(after) is not None


def _tells(line: str) -> bool:
    """True for a sentence that has a number in it and is no value: it is not read as a whole."""
    return bool(TELLING.match(line) and re.search(r"\d", line) and not re.search(r"\b(?:is|are|equals?|be|get|have)\b|=", line)
                and not (CHANGING | {"or", "to"}) & set(re.findall(r"[a-z]+", line.lower())))  # fmt: skip
