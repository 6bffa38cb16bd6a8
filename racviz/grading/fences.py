"""Find the program in an answer: its fenced blocks, read line by line as Markdown has them.

More is taken than Markdown allows. A fence that never closes runs to the end, since answers are cut off. A marked fence may follow words
on its line, and it ends the block before it, since a lone fence is often no block. Fences within a docstring belong to the program.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

OPENING = re.compile(
    r"(?P<indent>[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]*)*)(?P<fence>`{3,}(?=[^`]*$)|~{3,})[ \t]*(?P<info>.*)"
)
AFTER_WORDS = re.compile(r"(?P<indent>)[^`]*(?P<fence>`{3,})[ \t]*(?P<info>\w+)[ \t]*")
PYTHON = re.compile(r"[{.\s]*(?:python|py|pypy)[\d.]*(?![\w+#-])", re.IGNORECASE)
FENCED = re.compile(r"\s*`{3}")
"""A block that begins with another: the fence around it was none, or is Markdown's."""
MARKDOWN = re.compile(r"(?:markdown|md)\b", re.IGNORECASE)
LINE = re.compile(r"[^\n]*\n|[^\n]+")
QUOTE = re.compile("[\"'#]")
TEXTS = re.compile(
    r"""#[^\n]*|(?P<long>\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3})|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""",
    re.DOTALL,
)
"""Comments and texts of a Python program."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the text after its opening fence (info), and its content."""

    info: str
    content: str


def program_of(answer: str) -> str:
    """The program in an answer: its last block marked as Python, else its last unmarked one, else its last one; empty without a block."""
    block = _last(answer)
    while block and (MARKDOWN.match(block.info) or FENCED.match(block.content)) and (inner := _last(block.content)):
        block = inner
    return block.content if block else ""


def _last(answer: str) -> Block | None:
    blocks = [block for block in blocks_of(answer) if block.content.strip()]
    marked = [block for block in blocks if PYTHON.match(block.info)]
    unmarked = [block for block in blocks if not block.info]
    return (marked or unmarked or blocks or [None])[-1]


def blocks_of(answer: str) -> Iterator[Block]:
    """The fenced blocks of an answer, in order."""
    text = answer.replace("\r\n", "\n")
    lines = list(LINE.finditer(text))
    k = 0
    while k < len(lines):
        opening = _opening(lines[k][0])
        k += 1
        if opening is None:
            continue
        end, closed = _end(text, lines, k, opening["fence"])
        content = "".join(line[0][_blank(line[0], len(opening["indent"])) :] for line in lines[k:end])
        yield Block(opening["info"].strip(), _before_fence(content, opening["fence"]))
        k = end + closed


def _opening(line: str) -> re.Match | None:
    line = line.rstrip("\n")
    found = OPENING.fullmatch(line)
    if found is None:
        found = AFTER_WORDS.fullmatch(line)
        found = found if found and PYTHON.match(found["info"]) else None
    return found


def _end(text: str, lines: list[re.Match], first: int, fence: str) -> tuple[int, bool]:
    """The line that ends the block that begins at line `first`, and whether that is its closing fence."""
    closing = re.compile(rf"[ \t>]*{fence[0]}{{{len(fence)},}}[ \t]*")
    within = 0
    for k in range(first, len(lines)):
        line = lines[k][0].rstrip("\n")
        other = OPENING.fullmatch(line)
        marked = other and other["info"].strip() and other["fence"].startswith(fence)
        if lines[k].start() < within or not marked and not closing.fullmatch(line):
            continue
        within = _end_of_text(text, lines[first].start(), lines[k].start())
        if not within:
            return k, not marked
    return len(lines), False


def _end_of_text(text: str, start: int, place: int) -> int:
    """The end of the text in triple quotes that `place` lies in, of a program that begins at `start`; 0 where it lies in none.

    The fences within a text come in pairs. Where they do not, the program is broken, and quotes of a later block ended its text.
    """
    while quote := QUOTE.search(text, start, place):
        found = TEXTS.match(text, quote.start())
        start = found.end() if found else quote.end()
        if found and start > place:
            inner = (OPENING.fullmatch(line) for line in found[0].split("\n")[1:])
            infos = [fence["info"].strip() for fence in inner if fence]
            return start if found["long"] and len(infos) % 2 == 0 and not any(infos[1::2]) else 0
    return 0


def _before_fence(content: str, fence: str) -> str:
    """The content up to a fence at the end of a line of code, outside of comments and texts."""
    end = content.find(fence)
    for found in TEXTS.finditer(content) if end >= 0 else ():
        if end < found.start():
            break
        end = content.find(fence, found.end()) if end < found.end() else end
        if end < 0:
            break
    return content if end < 0 else content[:end]


def _blank(line: str, most: int) -> int:
    """The length of the indentation or quotation mark that a line shares with its block's fence."""
    return len(line[:most]) - len(line[:most].lstrip(" \t>"))
