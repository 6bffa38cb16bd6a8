"""The site is built from docs/, notebooks and docstrings without a warning, and no page of it asks the network."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import racviz as rv

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
FROM_ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^>]*|<link\b(?![^>]*rel=[\"']?canonical)[^>]*href=[\"']?(?:https?:)?//[^>]*"
)


def test_the_page_of_the_api_names_the_whole_facade():
    listed = re.findall(r"^::: rv\.(\w+)$", PAGE, re.MULTILINE)
    assert len(set(listed)) == len(listed) and set(listed) == set(rv._MODULE_OF)
    assert all(f"`rv.{room}`" in PAGE for room in rv._MODULES)


@pytest.mark.parametrize(
    "tag", ['<script src="https://a/b.js">', "<img class=x src=//a/b.png>", '<link rel="stylesheet" href="http://a/b">']
)
def test_tags_that_ask_the_network_are_found(tag):
    assert FROM_ELSEWHERE.search(tag)


@pytest.mark.parametrize(
    "tag", ['<a href="https://a">', '<script src="assets/b.js">', '<link rel="canonical" href="https://a">']
)
def test_tags_that_ask_nobody_are_not(tag):
    assert not FROM_ELSEWHERE.search(tag)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("material") is None or importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("MkDocs is not installed (extra: docs)")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder], cwd=ROOT,
                           capture_output=True, text=True)  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.mark.slow
def test_no_page_asks_the_network(site):
    pages = [page for page in site.rglob("*.html") if "executed" not in page.parts]
    assert len(pages) > 30
    for page in pages:
        assert not FROM_ELSEWHERE.search(page.read_text(encoding="utf-8")), page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import\s+|url\()[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.mark.slow
def test_the_site_has_a_page_for_every_notebook_and_name(site):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert (site / "reports" / f"{path.stem}.html").is_file()
    for path in (ROOT / "notebooks" / "lessons").glob("*.ipynb"):
        assert (site / "lessons" / f"{path.stem}.html").is_file()
    api = (site / "api.html").read_text(encoding="utf-8")
    for name in rv._MODULE_OF:
        assert re.search(rf'id="racviz\.[\w.]*{name}"', api), name


def test_a_report_that_was_run_is_framed_and_one_that_was_not_says_so():
    pytest.importorskip("mkdocs", reason="MkDocs is not installed (extra: docs)")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    notebook = ROOT / "notebooks" / "seeds.ipynb"
    run, not_run = hooks.report_page(notebook, True), hooks.report_page(notebook, False)
    assert '<iframe class="report" src="../executed/seeds.html"' in run and "```python" not in run
    assert "Not executed" in not_run and "racviz report seeds" in not_run and "```python" in not_run
