"""The packaged notebooks: what they promise to their readers, and each of them run at small parameters."""

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from racviz import reports
from racviz.store import resource
from racviz.study.parameters import described

REPORTS = reports.list_reports()
NOTEBOOKS = [report.path for report in REPORTS]
SMALL = {"problems": 6, "budget": 64, "t_max": 64, "calibration_tokens": 2048, "sparsities": [0.5], "batch_size": 16}
NETWORK = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']https?:[^>]*>", re.IGNORECASE)
FIGURE = re.compile(r"rv\.figures\.(?!show_in_notebooks)\w+\(")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def cells_of(path: Path, tag: str = "") -> list:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if not tag or tag in cell.metadata.get("tags", [])]


class TestAsCommitted:
    def test_has_no_outputs_and_is_short(self, notebook):
        content = nbformat.read(notebook, as_version=4)
        nbformat.validate(content)
        code = [cell for cell in content.cells if cell.cell_type == "code"]
        assert all(not cell.outputs and cell.execution_count is None for cell in code)
        assert len(content.cells) <= 25 and content.metadata.kernelspec.name == "python3"
        assert not [cell.source for cell in code if "def " in cell.source or "class " in cell.source]  # no logic

    def test_first_cell_tells_what_to_expect(self, notebook):
        first = cells_of(notebook)[0].source
        for promise in ("# ", "What you will learn", "How long", "What it needs"):
            assert promise in first
        assert first.splitlines()[0].endswith("?")

    def test_last_cells_are_the_provenance(self, notebook):
        assert "study.provenance()" in cells_of(notebook)[-1].source

    def test_every_figure_is_announced(self, notebook):
        cells = cells_of(notebook)
        for before, cell in zip(cells, cells[1:], strict=False):
            if re.match(r"(# .*\n)?rv\.figures\.(?!show_in)", cell.source):
                assert "**What to look for:**" in before.source

    def test_the_verdict_and_its_figure_are_tagged(self, notebook):
        verdicts, main = cells_of(notebook, "verdict"), cells_of(notebook, "main-figure")
        assert len(verdicts) == 1 and "rv.reports.finding(" in verdicts[0].source
        assert [cell.cell_type for cell in main] == ["markdown", "code"] and FIGURE.search(main[1].source)

    def test_the_wiring_is_one_line(self, notebook):
        code = "\n".join(cell.source for cell in cells_of(notebook) if cell.cell_type == "code")
        assert code.count("rv.Study") == 1 and "study = rv.Study.of(globals())" in code
        compares = reports.find_report(str(notebook)).contents.compares
        called = re.search(r"study\.compares\((.*)\)", code)
        assert compares == (json.loads(f"[{called[1]}]") if called else [])

    def test_parameters(self, notebook):
        from racviz.study import study_from

        found, (cell,) = reports.parameters_of(str(notebook)), cells_of(notebook, "parameters")
        lines = [line for line in cell.source.splitlines() if not line.startswith("#")]
        shown = [line.partition(":")[0] for line in lines]
        assert 6 <= len(lines) <= 10 and list(found)[: len(lines)] == shown
        assert set(found) >= set(described()) and all(one["help"] and one["type"] != "None" for one in found.values())
        values: dict = {}
        exec(cell.source, values)  # plain literals
        for name in shown:
            assert json.loads(json.dumps(values[name])) == values[name]
        for name in set(shown) & set(described()):
            assert found[name]["type"] == described()[name]["type"]
        study_from({name: values[name] for name in shown if name in described()})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All reports, run once at small parameters with one cache: a folder with pages, run folders and index."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("RACVIZ_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        kernels = stack.enter_context(reports.Kernels(len(NOTEBOOKS), progress=False))
        for report in REPORTS:
            reports.run_report(report.name, SMALL | report.contents.trial, "reports", progress=False, kernels=kernels)
        reports.build_index("reports")
    return folder


def bundles(path: Path) -> list[dict]:
    cells = nbformat.read(path, as_version=4).cells
    return [output["data"] for cell in cells for output in cell.get("outputs", []) if "data" in output]


@pytest.mark.slow
class TestWhenRun:
    def test_figures_are_there_in_both_forms(self, made, notebook):
        """Every cell that draws has an output for each figure; plotly's have a form for JupyterLab and one for nbconvert."""
        for cell in cells_of(made / "reports" / notebook.name):
            calls = len(FIGURE.findall(cell.source)) if cell.cell_type == "code" else 0
            shown = [output["data"] for output in cell.get("outputs", []) if "data" in output]
            assert sum("text/html" in data for data in shown) >= calls, cell.source
            plots = [data for data in shown if "application/vnd.plotly.v1+json" in data]
            assert all("text/html" in data and data["application/vnd.plotly.v1+json"]["data"] for data in plots)
        assert any("application/vnd.plotly.v1+json" in data for data in bundles(made / "reports" / notebook.name))

    def test_page_stands_alone(self, made, notebook):
        page = (made / "reports" / notebook.name).with_suffix(".html").read_text(encoding="utf-8")
        figures = sum("application/vnd.plotly.v1+json" in data for data in bundles(made / "reports" / notebook.name))
        assert page.count("Plotly.newPlot(") >= figures and not NETWORK.findall(page)
        assert "no evidence about R1-Distill" in page and "import racviz" not in page and "widget-view" not in page

    def test_page_opens_with_the_verdict_and_its_figure(self, made, notebook):
        page = (made / "reports" / notebook.name).with_suffix(".html").read_text(encoding="utf-8")
        body = page[page.index("<main>") :]
        places = [
            body.index(part) for part in ("<h1", "racviz-finding", "Plotly.newPlot(", "<nav", "Method</h2>", "Provenance</h2>")
        ]
        assert places == sorted(places)

    def test_nothing_complained(self, made, notebook):
        cells = nbformat.read(made / "reports" / notebook.name, as_version=4).cells
        said = [output for cell in cells for output in cell.get("outputs", []) if output.output_type in ("stream", "error")]
        assert not said

    def test_figure2_says_what_it_shows(self, made):
        data = bundles(made / "reports" / "figure2_error_heatmap.ipynb")
        kinds = [trace["type"] for one in data for trace in one.get("application/vnd.plotly.v1+json", {}).get("data", [])]
        assert "heatmap" in kinds
        text = " ".join(one.get("text/html", "") for one in data if "application/vnd.plotly.v1+json" not in one)
        for words in (
            "At 50 %, one-pass: the median of <var>r<sub>t</sub></var>",
            "At 50 %, sequential",
            "At 60 %, one-pass",
            "n = 6",
            "<bdi ",
        ):
            assert words in text
        assert list((made / "runs" / "figure2" / "errors").glob("*.parquet"))

    def test_runtime_writes_results(self, made):
        results = pd.read_csv(made / "runs" / "runtime" / "results.csv")
        assert len(results) == 7 and results["minutes"].notna().all() and (results["timed_problems"] == 1).all()
        assert (made / "runs" / "runtime" / "manifest.json").exists() and (made / "runs" / "lengths" / "results.csv").exists()
        assert pd.read_csv(made / "runs" / "lengths" / "results.csv")["minutes"].isna().all()

    def test_index_has_every_report(self, made):
        page = (made / "reports" / "index.html").read_text(encoding="utf-8")
        assert page.count("<article>") == len(NOTEBOOKS) and "did not finish" not in page and not NETWORK.findall(page)
        assert "on decode tokens" in page and page.count("of RAC against prompt-only (n = 6 problems, paired") >= 3
        assert (
            page.index("figure2_error_heatmap.html") < page.index("runtime_vs_sparsity.html") < page.index("cot_lengths.html")
        )

    def test_plain_papermill_and_nbconvert(self, made, tmp_path, monkeypatch):
        """The two tools as separate commands, without racviz around them: the figure is in the page."""
        monkeypatch.setenv("RACVIZ_CACHE", str(made / "cache"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
        (tmp_path / "small.yaml").write_text(json.dumps(SMALL))
        source = resource("notebooks/cot_lengths.ipynb")
        kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"  # this interpreter, and nothing else set
        kernel.parent.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
        monkeypatch.setenv("PYTHONPATH", str(Path(reports.__file__).parents[2]))
        commands = (
            ["papermill", str(source), "done.ipynb", "-f", "small.yaml", "-p", "seed", "0", "-k", "python3"],
            ["nbconvert", "--to", "html", "--no-input", "done.ipynb"],
        )
        for command in commands:
            done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        page = (tmp_path / "done.html").read_text(encoding="utf-8")
        assert "Plotly.newPlot(" in page and "plotly.js v" in page
        used = json.loads((tmp_path / "runs" / "lengths" / "manifest.json").read_text(encoding="utf-8"))["parameters"]
        assert {name: used[name] for name in SMALL} == SMALL  # those without a line in the notebook's cell too
