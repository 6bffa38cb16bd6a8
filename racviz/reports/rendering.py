"""An executed notebook as one HTML file: the verdict and its figure first, no code, nothing fetched from a network."""

import html
import re
from pathlib import Path
from typing import Any

from racviz.figures.notebook import offline
from racviz.reports.catalogue import subject_of
from racviz.reports.formulas import set_formulas, take_formulas
from racviz.store import write_text

CONTENTS = "racvizcontents"
"""Placeholder of the table of contents."""

# nbconvert's lab page without RequireJS, MathJax, Mermaid and the widget manager, which it would link from a CDN.
TEMPLATE = """\
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}<style>{{ resources.racviz_style }}</style>{%- endblock -%}
"""

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def render(notebook: Path, page: Path, *, title: str | None = None) -> Path:
    """Write the page of an executed notebook, atomically.

    Parameters
    ----------
    notebook : Path
        Executed notebook. Cells tagged `verdict` and `main-figure` move to the top.
    page : Path
        HTML file to write.
    title : str, optional
        Title of the browser's tab; default: the file's stem.
    """
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    content = nbformat.read(notebook, as_version=4)
    content.metadata.pop("widgets", None)  # progress bars of the run; their manager would come from a CDN
    content.cells = arranged([cell for cell in content.cells if not _tagged(cell, "injected-parameters")], subject_of(content))
    formulas: dict[str, str] = {}
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_widget(output)]
        elif cell.cell_type == "markdown":
            cell.source = take_formulas(cell.source, formulas)
    exporter = HTMLExporter(
        template_file="racviz.html.j2",
        extra_loaders=[DictLoader({"racviz.html.j2": TEMPLATE})],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        mathjax_url="",
        require_js_url="",
    )
    resources = {"metadata": {"name": title or notebook.stem}, "racviz_style": STYLE}
    body, _ = exporter.from_notebook_node(content, resources)
    body = set_formulas(_with_contents(body), formulas)
    write_text(page, offline(body))
    return page


def arranged(cells: list[Any], subject: str = "") -> list[Any]:
    """Cells in the order of the page.

    The title comes first, then the cells tagged `verdict`, those tagged `main-figure`, the contents, and under the heading
    Method the text of the first cell. All others follow in their order. Cells without these tags keep their order.
    """
    from nbformat.v4 import new_markdown_cell

    top = [cell for tag in ("verdict", "main-figure") for cell in cells if _tagged(cell, tag)]
    if not top or cells[0].cell_type != "markdown":
        return cells
    heading, _, text = cells[0].source.partition("\n")
    above = f'<p class="racviz-subject">{html.escape(subject)}</p>\n\n' if subject else ""
    rest = [cell for cell in cells[1:] if not any(cell is moved for moved in top)]
    scripts = [cell for cell in rest if _loads_plotly(cell)]  # which every figure needs before it
    return [
        *scripts,
        new_markdown_cell(above + heading),
        *top,
        new_markdown_cell(CONTENTS),
        new_markdown_cell(f"## Method\n\n{text.strip()}"),
        *(cell for cell in rest if not any(cell is script for script in scripts)),
    ]


def _with_contents(body: str) -> str:
    """The page with a table of its second headings in place of the placeholder, and without nbconvert's marks for links."""
    body = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", body)
    sections = re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', body, re.DOTALL)
    items = "".join(f'<li><a href="#{anchor}">{re.sub("<[^>]*>", "", text)}</a></li>' for anchor, text in sections)
    table = f'<nav class="racviz-contents" aria-label="Contents"><b>Contents</b><ol>{items}</ol></nav>'
    return re.sub(rf"<p>{CONTENTS}</p>", lambda _: table, body)


def _tagged(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _loads_plotly(cell: Any) -> bool:
    outputs = cell.get("outputs", [])
    return any("plotly.js v" in str(output.get("data", {}).get("text/html", "")) for output in outputs)


def _is_widget(output: dict) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
