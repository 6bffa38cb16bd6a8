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
MARKDOWN = re.compile(r"(?:markdown|md)\b", re.IGNORECASE)
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
    blocks = [block for block in blocks_of(answer) if block.content.strip()]
    for wanted in (lambda block: PYTHON.match(block.info), lambda block: not block.info, lambda block: True):
        for block in reversed(blocks):
            if wanted(block):
                inner = program_of(block.content) if MARKDOWN.match(block.info) else ""
                return inner or block.content
    return ""


def blocks_of(answer: str) -> Iterator[Block]:
    """The fenced blocks of an answer, in order."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", answer.replace("\r\n", "\n"))
    k = 0
    while k < len(lines):
        opening = _opening(lines[k])
        k += 1
        if opening is None:
            continue
        end, closed = _end(lines, k, opening["fence"])
        content = "".join(line[_blank(line, len(opening["indent"])) :] for line in lines[k:end])
        yield Block(opening["info"].strip(), _before_fence(content, opening["fence"]))
        k = end + closed


def _opening(line: str) -> re.Match | None:
    line = line.rstrip("\n")
    found = OPENING.fullmatch(line)
    if found is None:
        found = AFTER_WORDS.fullmatch(line)
        found = found if found and PYTHON.match(found["info"]) else None
    return found


def _end(lines: list[str], start: int, fence: str) -> tuple[int, bool]:
    """The line that ends the block that begins at `start`, and whether that is its closing fence."""
    closing = re.compile(rf"[ \t>]*{fence[0]}{{{len(fence)},}}[ \t]*")
    within, looked = range(0), False
    for k in range(start, len(lines)):
        line = lines[k].rstrip("\n")
        other = OPENING.fullmatch(line)
        marked = other and other["info"].strip() and other["fence"].startswith(fence)
        if not marked and not closing.fullmatch(line):
            continue
        if not looked or k >= within.stop:
            within, looked = _text_around(lines, start, k), True
        if k not in within:
            return k, not marked
    return len(lines), False


def _text_around(lines: list[str], start: int, place: int) -> range:
    """The lines of the text in triple quotes that `place` lies in, of a program that begins at `start`; empty where it lies in none.

    The fences within a text come in pairs. Where they do not, the program is broken, and quotes of a later block ended its text.
    """
    before = sum(map(len, lines[start:place]))
    for found in TEXTS.finditer("".join(lines[start:])):
        if found.start() >= before:
            break
        if found.end() > before and found["long"]:
            first = start + found.string.count("\n", 0, found.start()) + 1
            inner = range(first, first + found["long"].count("\n"))
            infos = [match["info"].strip() for k in inner if (match := OPENING.fullmatch(lines[k].rstrip("\n")))]
            return inner if len(infos) % 2 == 0 and not any(infos[1::2]) else range(0)
    return range(0)


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
