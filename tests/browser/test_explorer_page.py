"""The explorer as it is served and as a page of its own: painted, zoomed, stepped through; no text of a model becomes anything else."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from test_explorer import NASTY, frame_of

import racviz as rv
from racviz.explorer.server import Server
from racviz.reconstruction import ReconstructionErrors

from .conftest import PICTURES, colours_of

pytestmark = pytest.mark.browser
RVX = "document.querySelector('.rvx').rvx"


@pytest.fixture
def errors():
    return ReconstructionErrors(frame_of(rows=40, longest=600), {"model": "synthetic", "sparsity": 0.5, "seed": 0})


@pytest.fixture
def served(errors, open_page):
    with Server(rv.explore(errors, order="given").session) as server:
        page = open_page(server.address)
        page.wait_for_selector('[data-ready="1"]')
        yield page


def painted(page, work) -> None:
    """Do something and wait for the next picture."""
    before = page.evaluate(f"{RVX}.state.timings.length")
    work()
    page.wait_for_function(f"() => {RVX}.state.timings.length > {before}")


def test_is_painted_zoomed_panned_and_reset(served):
    canvas = served.locator("canvas")
    assert len(colours_of(canvas.screenshot())) > 20
    box = canvas.bounding_box()
    served.mouse.move(box["x"] + 400, box["y"] + 200)
    painted(served, lambda: served.mouse.wheel(0, -400))
    narrow = served.evaluate(f"{RVX}.state.x")
    assert narrow[1] - narrow[0] < 300 and served.evaluate(f"{RVX}.state.shown.width") == 1
    served.mouse.down()
    painted(served, lambda: served.mouse.move(box["x"] + 300, box["y"] + 200))
    served.mouse.up()
    assert served.evaluate(f"{RVX}.state.x[0]") > narrow[0]
    painted(served, lambda: served.mouse.dblclick(box["x"] + 400, box["y"] + 200))
    assert served.evaluate(f"{RVX}.state.x") == [0, served.evaluate(f"{RVX}.state.about.columns")]
    served.keyboard.down("Shift")
    painted(served, lambda: served.mouse.wheel(0, -400))
    served.keyboard.up("Shift")
    assert served.evaluate(f"{RVX}.state.y[1] - {RVX}.state.y[0]") < 40


def test_cells_keys_and_status(served, errors):
    canvas, frame = served.locator("canvas"), errors.frame
    box = canvas.bounding_box()
    served.mouse.click(box["x"] + 300, box["y"] + 150)
    served.wait_for_selector(".rvx-strip bdi.here")
    state = served.evaluate(f"({{place: {RVX}.state.chosen.place, position: {RVX}.state.chosen.position}})")
    served.keyboard.press("ArrowRight")
    served.wait_for_function(f"() => {RVX}.state.chosen.position === {state['position'] + 1}")
    served.keyboard.press("ArrowDown")
    served.wait_for_function(f"() => {RVX}.state.chosen.place === {state['place'] + 1}")
    served.keyboard.press("n")
    served.wait_for_function("() => document.querySelector('.rvx-status').textContent.startsWith('Large error 1 of')")
    worst = frame.loc[frame["e_prompt"].idxmax()]
    assert f"{worst['problem_id']}, position {worst['position']} " in served.locator(".rvx-status").inner_text()
    assert "model not loaded" in served.locator(".rvx-live").inner_text()
    before = served.evaluate(f"{RVX}.state.x[1] - {RVX}.state.x[0]")
    canvas.focus()
    painted(served, lambda: served.keyboard.press("+"))
    assert served.evaluate(f"{RVX}.state.x[1] - {RVX}.state.x[0]") < before


def test_choices_change_the_picture_and_wrong_ones_are_said(served):
    before = served.locator("canvas").screenshot()
    painted(served, lambda: served.get_by_label("tokens", exact=True).select_option("digits"))
    assert served.locator("canvas").screenshot() != before
    painted(served, lambda: served.get_by_label("align at").select_option("boundary"))
    painted(served, lambda: served.get_by_label("over error of").select_option("‖x dense‖"))
    assert "‖x dense‖" in served.locator("canvas").get_attribute("aria-label")
    served.evaluate(f"{RVX}.choose({{order: 'weight'}})")
    served.wait_for_selector(".rvx-status.wrong")
    assert "order must be one of" in served.locator(".rvx-status").inner_text()


def test_held_keys_are_not_lost_and_a_click_on_nothing_says_so(served):
    served.evaluate(f"{RVX}.pick(0, 20)")
    served.wait_for_selector(".rvx-strip bdi.here")
    served.locator("canvas").focus()
    for _ in range(25):
        served.keyboard.press("ArrowRight")
    served.wait_for_function(f"() => {RVX}.state.chosen.position === 45")
    served.evaluate(f"{RVX}.pick(0, 5000)")
    served.wait_for_function("() => document.querySelector('.rvx-status').textContent === 'There is no token here.'")


def test_two_faces_of_one_session_show_the_same(errors, open_page):
    with Server(rv.explore(errors, order="given").session) as server:
        one, other = open_page(server.address), open_page(server.address)
        for page in (one, other):
            page.wait_for_selector('[data-ready="1"]')
        other.evaluate(f"{RVX}.choose({{numerator: 'rac', denominator: 'prompt'}})")
        other.wait_for_function(f"() => {RVX}.state.about.view.numerator === 'rac'")
        one.evaluate(f"{RVX}.zoom(0.5)")
        one.wait_for_function(f"() => {RVX}.state.about.view.numerator === 'rac'")
        assert "e(rac) over e(prompt)" in one.locator("canvas").get_attribute("aria-label")


def test_a_server_that_is_gone_is_said(errors, open_page):
    server = Server(rv.explore(errors).session)
    with server:
        page = open_page(server.address, benign=("Failed to load resource",))
        page.wait_for_selector('[data-ready="1"]')
    page.locator("canvas").hover()
    page.mouse.wheel(0, -300)
    page.wait_for_selector(".rvx-status.wrong")
    assert "is it still running?" in page.locator(".rvx-status").inner_text()


def test_every_control_has_a_name_and_the_keyboard_reaches_it(served):
    for control in served.locator(".rvx select, .rvx input, .rvx button, .rvx canvas").all():
        assert control.get_attribute("aria-label")
    served.locator("body").press("Tab")
    reached = set()
    for _ in range(30):
        reached.add(served.evaluate("document.activeElement.tagName"))
        served.keyboard.press("Tab")
    assert {"SELECT", "BUTTON", "CANVAS"} <= reached
    assert served.locator("[role=status][aria-live=polite]").count() == 1


def test_text_of_models_is_text(open_page):
    frame = frame_of(rows=4, longest=60)
    texts = np.array(NASTY)
    frame["token_id"] = frame["position"] % len(texts)
    frame["token"] = texts[frame["token_id"]]
    frame["problem_id"] = "<img src=x onerror=alert(1)>" + frame["problem_id"]
    problems = [rv.Problem(name, "<b>bold</b> \u202e", "</div>") for name in frame["problem_id"].unique()]
    said = dict(source="dense", sample=0, correct=True, answer="<script>alert(2)</script>")
    answers = pd.DataFrame([said | dict(problem_id=problem.id) for problem in problems])
    explorer = rv.explore(ReconstructionErrors(frame, {"model": "<i>m</i>"}), problems=problems, evaluations=answers)
    with Server(explorer.session) as server:
        page = open_page(server.address)
        dialogs = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.wait_for_selector('[data-ready="1"]')
        tags = page.locator(".rvx *").evaluate_all("(all) => [...new Set(all.map((each) => each.tagName))]")
        page.evaluate(f"{RVX}.pick(0, 10)")
        page.wait_for_selector(".rvx-strip bdi.here")
        shown = page.locator(".rvx-strip").inner_text()
        for token in ("<script>alert(1)</script>", "</div>", "&amp;", "\\u202eabc", "\\u001b[31mred", "👩\\u200d🚀", "⏎"):
            assert token in shown, token
        after = page.locator(".rvx *").evaluate_all("(all) => [...new Set(all.map((each) => each.tagName))]")
        assert set(after) - set(tags) <= {"DIV", "BDI", "WBR", "BR", "SPAN", "PRE", "H4", "TABLE", "TR", "TD", "TH", "I"}
        assert not dialogs and page.locator(".rvx i:not(td i), .rvx b, .rvx img, .rvx script").count() == 0
        assert "<b>bold</b>" in page.locator(".rvx pre").inner_text()


def test_dark_pages_are_dark(errors, open_page):
    with Server(rv.explore(errors).session) as server:
        page = open_page(server.address, color_scheme="dark")
        page.wait_for_selector('[data-ready="1"]')
        corner = page.evaluate("[...document.querySelector('canvas').getContext('2d').getImageData(2, 2, 1, 1).data]")
        assert max(corner[:3]) < 60


def test_a_page_of_its_own_opens_without_a_network(errors, open_page, tmp_path):
    path = rv.explore(errors, align="boundary").save(tmp_path / "alone.html")
    page = open_page(path.as_uri(), offline=True)
    page.wait_for_selector('[data-ready="1"]')
    assert len(colours_of(page.locator("canvas").screenshot())) > 20
    with Server(rv.explore(errors, align="boundary").session) as server:
        live = open_page(server.address)
        live.wait_for_selector('[data-ready="1"]')
        for what in ("[0, 600]", "[513.5, 540]", "[100, 333]"):
            both = []
            for each in (page, live):
                each.evaluate(f"({RVX}.state.x = {what}, {RVX}.refresh())")
                each.wait_for_timeout(300)
                numbers = f"[...{RVX}.state.ratio].map((v) => (v === v ? v : -9))"
                both.append(each.evaluate(f"[{numbers}, {RVX}.state.shown.shape, {RVX}.state.shown.start]"))
            assert both[0][1:] == both[1][1:]
            np.testing.assert_allclose(both[0][0], both[1][0], rtol=1e-5)
    page.evaluate(f"{RVX}.pick(3, 550)")
    page.wait_for_selector(".rvx-strip bdi.here")
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 500, box["y"] + 100)
    assert re.search(r"position", page.locator(".rvx-tip").inner_text())


def test_pictures_by_the_browser(errors, tmp_path):
    explorer = rv.explore(errors)
    png = explorer.save(tmp_path / "x.png").read_bytes()
    assert png[:4] == b"\x89PNG" and len(colours_of(png)) > 20
    svg = explorer.save(tmp_path / "x.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>") and "data:image/png;base64," in svg
    assert ElementTree.fromstring(svg).findtext(".//{*}title") == "e(prompt) / e(rac)"
    assert ">token position</text>" in svg and "n = 40 problems</text>" in svg, "axes and caption are text"
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "saved.png").write_bytes(png)
