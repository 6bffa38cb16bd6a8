"""Rules of style that a machine can hold: how docstrings open, how long a command's help is, a sentence a line in Markdown."""

import ast
import re
from pathlib import Path

import pytest
import typer

from racviz.cli import app

ROOT = Path(__file__).parents[1]
QUESTION = re.compile(r"(what|how|whether|which|who|whose|whom|of|as)\b", re.IGNORECASE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands


def docstrings(source: str):
    """Line and text of every docstring, those of attributes among them: a text that is a statement of its own."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.strip()


def prose(page: Path):
    """Number and text of every line that is prose: no code, table, heading or picture."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= line.startswith("```")
        if line.strip() and not fenced and not re.match(r"```|    |#|\||!\[|<!--|::: ", line):
            yield number, re.sub(r"`[^`]*`|\([^()]*\)", "x", line)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "racviz").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT / "racviz"))
)
def test_a_docstring_opens_with_a_noun_phrase_or_an_imperative(path):
    opened = [f"{path.name}:{line}: {text[:60]}" for line, text in docstrings(path.read_text(encoding="utf-8"))
              if QUESTION.match(text)]  # fmt: skip
    assert not opened


@pytest.mark.parametrize("text", ["What it is.", "how to", "Whether it is so.", "Of one of them."])
def test_questions_are_found(text):
    assert QUESTION.match(text)


@pytest.mark.parametrize("text", ["The model.", "Offset of a row.", "Whole rows.", "Assemble them."])
def test_nouns_and_imperatives_are_not(text):
    assert not QUESTION.match(text)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_first_line_of_a_command_s_help_fits(name):
    first = (COMMANDS[name].help or "").strip().splitlines()[0]
    assert len(first) <= 45, first
    assert COMMANDS[name].get_short_help_str(limit=45) == first, "cut off in the list of commands"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_line_of_markdown_holds_one_sentence(page):
    twice = [f"{page.name}:{number}: {line}" for number, line in prose(page) if re.search(r"[a-z0-9x)][.!?] +[A-Z]", line)]
    assert not twice


def test_a_sentence_of_the_readme_has_at_most_25_words():
    long = [line for _, line in prose(ROOT / "README.md") if len(re.findall(r"[\w'’-]+", line)) > 25]
    assert not long
