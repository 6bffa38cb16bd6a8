"""What is exported opens from a file with the network off, and shows its figures: pixels, not only elements."""

import nbformat
import pytest

from racviz import reports

from .conftest import colours_of

pytestmark = pytest.mark.browser
SMALL = {
    "problems": 4,
    "budget": 64,
    "t_max": 64,
    "calibration_tokens": 2048,
    "sparsities": [0.5],
    "batch_size": 16,
    "methods": ["wanda"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RACVIZ_CACHE", str(made / "cache"))
        patch.chdir(made)
        reports.run_report("figure2_error_heatmap", SMALL, "reports", progress=False)
        reports.build_index("reports")
    return made / "reports"


def test_a_report_and_the_index(folder, open_page):
    page = open_page((folder / "figure2_error_heatmap.html").as_uri(), offline=True)
    page.wait_for_selector(".js-plotly-plot .heatmaplayer image", state="attached")
    figures = page.locator(".js-plotly-plot")
    assert figures.count() == 6
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        page.wait_for_timeout(300)
        assert len(colours_of(figure.screenshot())) >= (20 if figure.locator(".heatmaplayer image").count() else 5)
    index = open_page((folder / "index.html").as_uri(), offline=True)
    assert len(colours_of(index.locator("article .picture").first.screenshot())) > 8
    index.locator("article h2 a").first.click()
    index.wait_for_selector(".js-plotly-plot")


def test_a_notebook_with_the_explorer_exported_by_hand(open_page, tmp_path):
    """nbconvert keeps a page within the page where the widget's kernel is gone."""
    from nbconvert import HTMLExporter
    from test_explorer import frame_of

    import racviz as rv
    from racviz.reconstruction import ReconstructionErrors

    bundle = rv.explore(ReconstructionErrors(frame_of(), {}))._repr_mimebundle_()
    cell = nbformat.v4.new_code_cell("explorer", outputs=[nbformat.v4.new_output("display_data", data=bundle)])
    html, _ = HTMLExporter(template_name="lab").from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    (tmp_path / "x.html").write_text(html, encoding="utf-8")
    network = ("Failed to load resource", "require is not defined", "Failed to fetch dynamically")
    page = open_page(
        (tmp_path / "x.html").as_uri(), offline=True, benign=network
    )  # nbconvert's page asks for MathJax, ours for nothing
    frame = page.frame_locator("iframe[title=explorer]")
    frame.locator('.rvx[data-ready="1"]').wait_for()
    assert len(colours_of(frame.locator("canvas").screenshot())) > 20
