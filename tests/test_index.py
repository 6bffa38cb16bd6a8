"""The index of reports over notebooks that are cut, foreign or oddly named: every card is there, and no text becomes a page's own."""

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from racviz.reports import build_index


def notebook(title: str = "A report", **said) -> dict:
    """An executed notebook as reports leave them."""
    said = {
        "finding": "It is so.",
        "numbers": [["n", "5"]],
        "caveat": "",
        "parameters": [["model", "m"]],
        "provenance": [],
    } | said
    figure = {"data": [{"type": "scatter", "x": [1, 2], "y": [3, 4], "mode": "lines"}], "layout": {}}
    outputs = [{"metadata": {"racviz": said}, "data": {"application/vnd.plotly.v1+json": figure}}]
    return {
        "cells": [{"source": f"# {title}"}, {"source": "1", "outputs": outputs}],
        "metadata": {"papermill": {"duration": 60}},
    }


def put(folder: Path, name: str, content: str | dict | bytes, page: bool = True) -> None:
    path = folder / f"{name}.ipynb"
    raw = (
        json.dumps(content).encode()
        if isinstance(content, dict)
        else content
        if isinstance(content, bytes)
        else content.encode()
    )
    path.write_bytes(raw)
    if page:
        path.with_suffix(".html").write_text("<p>page</p>")


class Page(HTMLParser):
    """The links, tags and text of a page, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value for name, value in attrs if name == "href" and tag == "a"]

    def handle_data(self, data):
        self.text += data


def index_of(folder: Path) -> Page:
    return Page(build_index(folder).read_text(encoding="utf-8"))


WHOLE = json.dumps(notebook())
BROKEN = {
    "cut": WHOLE[: len(WHOLE) // 2], "empty": "", "nul": "\0", "latin": b"\xff\xfe\xfa", "list": "[]", "null": "null", "number": "3",
    "deep": "[" * 100_000, "no cells": '{"nbformat": 4}', "cells null": '{"cells": null}', "cell text": '{"cells": ["a"]}',
    "outputs null": '{"cells": [{"source": "# t", "outputs": null}]}', "output list": '{"cells": [{"source": "# t", "outputs": [[]]}]}',
    "source number": '{"cells": [{"source": 3}]}', "metadata": '{"cells": [], "metadata": []}',
    "order": '{"cells": [{"source": "# t"}], "metadata": {"racviz": {"order": "first"}}}',
    "order nan": '{"cells": [{"source": "# t"}], "metadata": {"racviz": {"order": NaN}}}',
    "duration": '{"cells": [{"source": "# t"}], "metadata": {"papermill": {"duration": "long"}}}',
    "numbers": json.dumps(notebook(numbers=3)), "numbers list": json.dumps(notebook(numbers=[[1]])),
    "parameters": json.dumps(notebook(parameters="ab")), "finding": json.dumps(notebook(finding={"a": 1})),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_one_broken_notebook_takes_no_other_away(tmp_path, kind):
    put(tmp_path, "a", notebook("First of all"))
    put(tmp_path, "b", BROKEN[kind])
    put(tmp_path, "c", notebook("Last of all"))
    page = index_of(tmp_path)
    assert "First of all" in page.text and "Last of all" in page.text and page.tags.count("article") == 3
    assert {"a.html", "c.html"} <= set(page.links)


def test_a_cut_notebook_is_listed_as_damaged_by_its_name(tmp_path):
    put(tmp_path, "mine", BROKEN["cut"])
    page = index_of(tmp_path)
    assert "damaged" in page.text and "mine.ipynb" in page.text and page.links == []


def test_special_files_are_listed_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo.ipynb")
    (tmp_path / "zero.ipynb").symlink_to("/dev/zero")
    (tmp_path / "none.ipynb").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.ipynb").mkdir()
    put(tmp_path, "a", notebook("Still here"))
    page = index_of(tmp_path)
    assert page.text.count("damaged") == 4 and "Still here" in page.text


@pytest.mark.parametrize(
    "name",
    [
        "a#b",
        "javascript:alert(1)",
        "a?b=c",
        "a b",
        "a%20b",
        "<img src=x onerror=1>",
        "a\"b'c",
        "é",
        "a&amp;b",
        "data:text,1",
        "~",
        "a\\b",
    ],
)
def test_links_lead_to_the_page_beside_the_index(tmp_path, name):
    put(tmp_path, name, notebook())
    (link, again) = index_of(tmp_path).links
    parts = urlsplit(link)
    assert link == again and (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert unquote(link) == f"{name}.html"


MARKUP = "<img src=x onerror=alert(1)>\u202e\x1b[31m</script><script>"


def test_no_text_of_a_notebook_becomes_a_tag(tmp_path):
    figure = {"data": [{"x": [1, 2], "y": [1, 2], "mode": "lines", "line": {"color": f'"/>{MARKUP}'}}], "layout": {}}
    book = notebook(MARKUP, finding=MARKUP, numbers=[[MARKUP, MARKUP], [1, None]], caveat=MARKUP, parameters=[[MARKUP, [MARKUP]]],
                    provenance=[[MARKUP, MARKUP]])  # fmt: skip
    book["cells"][1]["outputs"][0]["data"]["application/vnd.plotly.v1+json"] = figure
    book["metadata"]["papermill"]["end_time"] = MARKUP
    put(tmp_path, "a", book)
    put(tmp_path, "b", book, page=False)
    page = index_of(tmp_path)
    assert not {"img", "script"} & set(page.tags) and "onerror" not in page.attributes
    assert "\u202e" not in page.text and "\x1b" not in page.text and page.text.count("onerror") >= 8


def test_a_card_tells_no_path_and_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", "very-secret")
    put(tmp_path, "a", notebook(parameters=[["model", "/home/alice/models/mine"], ["backend", "x very-secret"], ["run", "runs/a"],
                                            ["test_problems", "/home/alice/p.jsonl?answer=key"]]))  # fmt: skip
    text = index_of(tmp_path).text
    assert (
        "alice" not in text
        and "very-secret" not in text
        and "mine" in text
        and "runs/a" in text
        and "p.jsonl?answer=key" in text
    )


def test_a_title_of_a_megabyte_is_shortened(tmp_path):
    put(tmp_path, "a", notebook("x" * 10**6, finding="y" * 10**6))
    assert len(build_index(tmp_path).read_text(encoding="utf-8")) < 50_000


NAMES = ["cells", "source", "outputs", "metadata", "racviz", "data", "papermill", "order", "numbers", "parameters"]
LEAVES = some.none() | some.booleans() | some.floats() | some.text(max_size=5)
JSON = some.recursive(
    LEAVES, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from(NAMES), inner), max_leaves=12
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
def test_any_json_leaves_the_index(tmp_path, value):
    put(tmp_path, "a", notebook("Whole"))
    put(tmp_path, "b", json.dumps({"cells": value} if not isinstance(value, dict) else value))
    assert "Whole" in index_of(tmp_path).text
