"""JupyterLab: a lesson's widget steps through columns, the quiz is answered, the playground answers."""

import json

import pytest

from .conftest import colours_of, run_all

pytestmark = pytest.mark.browser


def test_sparsegpt_column_by_column(open_page, lab):
    page = open_page(lab("lessons/2_pruning_one_layer_by_hand.ipynb"))
    assert run_all(page, 180) == []
    said = page.locator(".jp-OutputArea-output .widget-html").first
    said.scroll_into_view_if_needed()
    before = said.inner_text()
    forward = page.get_by_role("button", name="next ▶")
    for column in (1, 2, 3):
        forward.click()
        page.wait_for_function("(k) => document.querySelector('.widget-readout').innerText.trim() === String(k)", arg=column)
    page.wait_for_function(
        "(was) => document.querySelector('.jp-OutputArea-output .widget-html').innerText !== was", arg=before
    )
    figure = page.locator(".jp-OutputArea-output .js-plotly-plot").last
    for one in page.locator(".js-plotly-plot").all():
        one.scroll_into_view_if_needed()
        page.wait_for_timeout(200)
        assert len(colours_of(one.screenshot())) > 5
    assert figure.count() == 1


def test_the_quiz_is_answered(open_page, lab):
    cell = {"cell_type": "code", "execution_count": None, "id": "0", "metadata": {}, "outputs": [],
            "source": "from racviz import lessons\n\nlessons.quiz()"}  # fmt: skip
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (lab.folder / "notebooks" / "quiz.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    page = open_page(lab("quiz.ipynb"))
    assert run_all(page, 60) == []
    page.wait_for_selector(".widget-radio-box")
    assert page.locator(".widget-radio-box").count() >= 8
    options = page.locator(".widget-radio-box").first.locator("input")
    told = set()
    for k in range(options.count()):
        options.nth(k).check()
        page.get_by_role("button", name="Check").first.click()
        page.wait_for_timeout(400)
        told.add("Right" in page.locator(".jp-OutputArea-output").first.inner_text())
    assert told == {True, False}, "one of the choices is right, and another is not"


def test_the_playground_answers_side_by_side(open_page, lab):
    page = open_page(lab("playground.ipynb"))
    assert run_all(page, 240) == []
    ask = page.locator("button.widget-button", has_text="Ask").first
    ask.scroll_into_view_if_needed()
    page.locator(".widget-textarea textarea").first.fill(
        "A shop has 12 pens. It sells 5 pens. How many pens are left? <script>alert(1)</script>"
    )
    ask.click()
    page.wait_for_function("() => document.querySelectorAll('section[aria-label^=\"answer of\"]').length >= 3", timeout=120_000)
    page.wait_for_function(
        "() => [...document.querySelectorAll('button')].some((b) => b.innerText.trim() === 'Ask' && !b.disabled)",
        timeout=120_000,
    )
    shown = page.locator(".jp-OutputArea-output").all_inner_texts()
    assert any("tokens" in text and "RAC" in text for text in shown)
    assert page.locator("section script").count() == 0
