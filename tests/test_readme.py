"""README and docs/ say what is true: the table is the generated one, the example runs, commands, links and pictures exist."""

import re
from pathlib import Path

import pytest
import typer

from racviz.cli import app
from racviz.exceptions import DataError
from racviz.reports import parameter_table
from racviz.reports.catalogue import update_page

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_the_table_of_notebooks_and_parameters_is_the_generated_one(tmp_path):
    page = tmp_path / "reports.md"
    page.write_bytes((ROOT / "docs" / "reports.md").read_bytes())
    assert f"-->\n{parameter_table()}<!--" in page.read_text(encoding="utf-8"), "run: make docs"
    update_page(page)
    assert page.read_bytes() == (ROOT / "docs" / "reports.md").read_bytes()


def test_a_page_without_marks_is_not_written(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no marks\n")
    with pytest.raises(DataError, match="has no marks"):
        update_page(page)
    assert page.read_text() == "no marks\n"


@pytest.mark.slow
def test_the_example_runs_and_shows_the_paper(monkeypatch):
    import plotly.graph_objects as go

    shown = []
    monkeypatch.setattr(go.Figure, "show", lambda figure, *a, **k: shown.append(figure))
    names = {}
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1), names)
    assert len(shown) == 1
    medians = names["errors"].ratio("prompt", "rac").groupby("phase")["ratio"].median()
    assert medians["decode"] > 1.5 and medians["prompt"] < 1


def test_start_has_the_same_example():
    examples = [re.search(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)[1] for page in PAGES
                if page.name in ("README.md", "index.md")]  # fmt: skip
    assert len(examples) == 2 and examples[0] == examples[1]


def test_the_readme_fits_on_a_screen():
    assert len(README.splitlines()) <= 150


@each_page
def test_every_command_that_is_named_exists(page):
    text = page.read_text(encoding="utf-8")
    commands = {name for name in typer.main.get_command(app).commands}
    assert set(re.findall(r"`racviz (\w+)|^ +!?racviz (\w+)", text, re.MULTILINE)) <= {
        pair for name in commands for pair in ((name, ""), ("", name))
    }
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)`|^    make ([a-z0-9-]+)", text, re.MULTILINE)) <= {
        pair for name in targets for pair in ((name, ""), ("", name))
    }


@each_page
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))):
        assert target.startswith("http") or (page.parent / target).exists(), target
