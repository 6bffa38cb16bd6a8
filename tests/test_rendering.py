"""The page of a report: its order, its contents and its formulas."""

import nbformat
import pytest

from racviz.reports.formulas import set_formulas, take_formulas
from racviz.reports.rendering import arranged, render
from racviz.reports.saying import typeset

HTML = nbformat.v4.new_output


def code(text: str = "", *tags: str):
    cell = nbformat.v4.new_code_cell("1", metadata={"tags": list(tags)})
    cell.outputs = [HTML("display_data", {"text/html": text})] if text else []
    return cell


def markdown(text: str, *tags: str):
    return nbformat.v4.new_markdown_cell(text, metadata={"tags": list(tags)})


@pytest.fixture
def cells():
    return [
        markdown("# Is it so?\n\nThe error is $e_t$, in `$HOME`."), code("", "parameters"), code("<script>plotly.js v3</script>"),
        markdown("look here", "main-figure"), code("<b>figure</b>", "main-figure"), code("<b>verdict</b>", "verdict"),
        markdown("## Then"), code("<b>more</b>"), markdown("## Provenance"),
    ]  # fmt: skip


def test_the_verdict_and_its_figure_come_first(cells, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"racviz": {"subject": "Figure <9>"}})
    nbformat.write(notebook, tmp_path / "x.ipynb")
    page = render(tmp_path / "x.ipynb", tmp_path / "x.html", title="Is it so?").read_text(encoding="utf-8")
    body = page[page.index("<main>") :]
    parts = ["plotly.js v3", "Figure &lt;9&gt;", "Is it so?</h1>", "<b>verdict</b>", "look here", "<b>figure</b>", "<nav", "Method</h2>",
             "<math", "<code>$HOME</code>", "Then</h2>", "<b>more</b>", "Provenance</h2>"]  # fmt: skip
    places = [body.index(part) for part in parts]
    assert places == sorted(places)
    for section in ("Method", "Then", "Provenance"):
        assert f'<a href="#{section}">{section}</a>' in body and f'<h2 id="{section}">' in body
    assert "mathjax" not in page.lower() and "<title>Is it so?</title>" in page


def test_a_plain_notebook_keeps_its_order(cells):
    plain = [cell for cell in cells if not {"verdict", "main-figure"} & set(cell.metadata["tags"])]
    assert arranged(plain) == plain


@pytest.mark.parametrize("text", ["costs $5 and $6", r"a \$t$ b", "`$x$`", "```\n$x$\n```", "no formula", r"$\frac{$"])
def test_text_that_is_not_a_formula_stays(text):
    formulas: dict[str, str] = {}
    assert set_formulas(take_formulas(text, formulas), formulas) == text and not formulas


def test_formulas_are_mathml():
    formulas: dict[str, str] = {}
    text = set_formulas(take_formulas("$r_t$ and\n\n$$\\frac{a}{b}$$", formulas), formulas)
    assert text.count("<math") == 2 and "<msub><mi>r</mi><mi>t</mi></msub>" in text
    assert "<mfrac>" in text and 'display="block"' in text and "$" not in text


def test_sentences_are_escaped_and_typeset():
    assert typeset("e_t < r_t, her_t") == "<var>e<sub>t</sub></var> &lt; <var>r<sub>t</sub></var>, her_t"
