"""The explorer's JavaScript: every file reaches a page, and what is joined of them is a module that needs no other."""

import re
import shutil
import subprocess

import pytest

from racviz.explorer.scripts import OFFLINE, SERVED, STATIC, WIDGET, joined, style

PAGES = {"widget": WIDGET, "served": SERVED, "offline": OFFLINE}
DEFINED = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
IMPORTED = re.compile(r'^import [^;]* from "\./(\w+)\.js";$', re.MULTILINE)


def text_of(name: str) -> str:
    return (STATIC / f"{name}.js").read_text(encoding="utf-8")


def test_no_file_is_left_out():
    assert {path.name for path in STATIC.iterdir()} == {f"{name}.js" for names in PAGES.values() for name in names} | {
        "explorer.css"
    }
    assert ".rvx" in style()


@pytest.mark.parametrize("page", PAGES)
def test_files_come_after_those_that_they_import_from(page):
    for place, name in enumerate(PAGES[page]):
        imported = IMPORTED.findall(text_of(name))
        assert set(imported) <= set(PAGES[page][:place]), name
        assert len(imported) == text_of(name).count("\nimport ") + text_of(name).startswith("import "), "no other packages"


@pytest.mark.parametrize("page", PAGES)
def test_names_are_defined_once_and_nothing_is_imported(page):
    text = joined(PAGES[page])
    names = DEFINED.findall(text)
    assert sorted(names) == sorted(set(names)) and len(names) > 80
    assert not re.search(r"^\s*import\b", text, re.MULTILINE)
    exported = re.findall(r"^export .*", text, re.MULTILINE)
    assert exported == (["export default { render };"] if page == "widget" else [])


@pytest.mark.parametrize("page", PAGES)
def test_it_is_a_module(page, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the syntax of the JavaScript is not checked")
    path = tmp_path / f"{page}.mjs"
    path.write_text(joined(PAGES[page]), encoding="utf-8")
    done = subprocess.run([node, "--check", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_of_the_page_s_last_line_are_defined():
    assert "async function askServer(" in joined(SERVED) and "async function openPage(" in joined(SERVED)
    assert "function answerFrom(" in joined(OFFLINE) and "async function openPage(" in joined(OFFLINE)
