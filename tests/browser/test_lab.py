"""JupyterLab: the explorer's notebook runs in it, its widget is clicked, zoomed and stepped; light and dark."""

import pytest

from .conftest import PICTURES, colours_of, run_all

pytestmark = pytest.mark.browser
RVX = "document.querySelector('.rvx').rvx"


def test_the_explorer_in_a_notebook(open_page, lab):
    page = open_page(lab("explore.ipynb"))
    assert run_all(page, 280) == []
    page.wait_for_selector('.rvx[data-ready="1"]')
    canvas = page.locator(".rvx canvas")
    canvas.scroll_into_view_if_needed()
    assert len(colours_of(canvas.screenshot())) > 20
    box = canvas.bounding_box()
    x, y = box["x"] + 250, box["y"] + 150
    page.mouse.move(x, y)
    for _ in range(8):
        page.mouse.wheel(0, -160)
        page.wait_for_timeout(150)
    assert page.evaluate(f"{RVX}.state.shown.width") == 1
    page.mouse.click(x, y)
    page.wait_for_selector(".rvx-strip bdi.here", timeout=90_000)
    page.wait_for_selector(".rvx-live table.rvx-bars")
    assert page.locator(".rvx-live h4").count() == 4, "dense, both pruned, and the layers"
    position = page.evaluate(f"{RVX}.state.chosen.position")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => {RVX}.state.chosen.position === {position + 1}")
    page.keyboard.press("n")
    page.wait_for_function("() => document.querySelector('.rvx-status').textContent.startsWith('Large error 1')")
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == 5, "no key of the explorer made a cell or removed one"
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "lab-light.png")
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).first.hover()
    page.get_by_text("JupyterLab Dark", exact=True).click()
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    page.wait_for_timeout(1500)
    assert (
        page.evaluate(
            "(() => { const c = document.querySelector('.rvx canvas'); return c.width / devicePixelRatio - c.clientWidth; })()"
        )
        == 0
    )
    corner = page.evaluate("[...document.querySelector('.rvx canvas').getContext('2d').getImageData(2, 2, 1, 1).data]")
    assert max(corner[:3]) < 90
    page.screenshot(path=PICTURES / "lab-dark.png")
    assert (lab.folder / "notebooks" / "runs" / "explore" / "explorer.html").exists()
