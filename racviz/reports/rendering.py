"""An executed notebook as one HTML file: no code cells, no prompts, nothing fetched from a network."""

from pathlib import Path

from racviz.figures.notebook import offline
from racviz.store import write_text

# nbconvert's lab page without RequireJS, MathJax, Mermaid and the widget manager, which it would link from a CDN.
TEMPLATE = """\
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}<style>
body.jp-Notebook { background: #fff; padding: 0; overflow-x: hidden; }
body.jp-Notebook main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
.jp-Cell { padding: 0 !important; }
.jp-RenderedHTMLCommon { font: 16px/1.6 Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; color: #222; }
.jp-RenderedHTMLCommon h1 { font-size: 1.9em; letter-spacing: -0.01em; }
.jp-RenderedHTMLCommon h2 { font-size: 1.3em; margin-top: 1.6em; }
.jp-MarkdownOutput { max-width: 62em; padding: 0 !important; }
.jp-OutputArea-output p { max-width: 62em; }
.jp-RenderedHTMLCommon table { font-size: 13px; }
.jp-RenderedHTMLCommon table td, .jp-RenderedHTMLCommon table th { text-align: left !important; overflow-wrap: anywhere; }
.jp-RenderedHTMLCommon .racviz-finding { border-left: 4px solid #0072B2; background: #f2f7fb; padding: 10px 16px; }
.jp-OutputArea-output { overflow-x: auto; }
.jp-OutputPrompt, .jp-InputPrompt { display: none; }
</style>{%- endblock -%}
"""


def render(notebook: Path, page: Path, *, title: str | None = None) -> Path:
    """Write the page of an executed notebook, atomically."""
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    content = nbformat.read(notebook, as_version=4)
    content.metadata.pop("widgets", None)  # progress bars of the run; their manager would come from a CDN
    content.cells = [cell for cell in content.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_widget(output)]
    exporter = HTMLExporter(
        template_file="racviz.html.j2",
        extra_loaders=[DictLoader({"racviz.html.j2": TEMPLATE})],
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        mathjax_url="",
        require_js_url="",
    )
    body, _ = exporter.from_notebook_node(content, {"metadata": {"name": title or notebook.stem}})
    write_text(page, offline(body))
    return page


def _is_widget(output: dict) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})
