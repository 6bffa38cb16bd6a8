"""The packaged notebooks: what they promise to their readers, and each of them run at small parameters."""

import contextlib
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from racviz import reports
from racviz.store import resource

STUDY = """model thinking trust_remote_code domain calibration_problems test_problems generic_text sequence_length sources trace_source
calibration_tokens t_max budget method sparsities pattern allocation scope thirds mode problems samples temperature top_p backend
device dtype batch_size seed run""".split()
OWN = {
    "figure2_error_heatmap": ["methods"], "runtime_vs_sparsity": ["timing_problems"], "solvers": ["methods"],
    "table1_math": ["models", "timing_problems"], "table2_code": ["timing_problems"],
    "table3_on_off_policy": ["trace_sources"],
    "table4_semi_structured": ["depths"], "table5_decode_budget": ["budgets", "timing_problems"],
    "calibration_budget": ["token_counts", "trace_caps"],
    "seeds": ["seeds", "claims", "methods"],
}  # fmt: skip
NOTEBOOKS = [report.path for report in reports.list_reports()]
INTERACTIVE = ("explore", "playground")
SMALL = {"problems": 6, "budget": 64, "t_max": 64, "calibration_tokens": 2048, "sparsities": [0.5], "batch_size": 16}
FIGURES = {"figure2_error_heatmap": 6, "generic_text": 1, "runtime_vs_sparsity": 1, "cot_lengths": 5, "solvers": 1, "pruning_report": 3,
           "figure1_pruning_hurts": 1, "table1_math": 1, "table2_code": 1, "table3_on_off_policy": 1, "table4_semi_structured": 1,
           "table5_decode_budget": 1, "calibration_budget": 2, "seeds": 1}  # fmt: skip
NETWORK = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']https?:[^>]*>", re.IGNORECASE)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


class TestAsCommitted:
    def test_all_are_here(self):
        assert {path.stem for path in NOTEBOOKS} == set(FIGURES)
        assert {path.stem for path in resource("notebooks").glob("*.ipynb")} == {*FIGURES, *INTERACTIVE}

    def test_has_no_outputs_and_is_short(self, notebook):
        content = nbformat.read(notebook, as_version=4)
        nbformat.validate(content)
        code = [cell for cell in content.cells if cell.cell_type == "code"]
        assert all(not cell.outputs and cell.execution_count is None for cell in code)
        assert len(content.cells) <= 25 and content.metadata.kernelspec.name == "python3"
        assert not [cell.source for cell in code if "def " in cell.source or "class " in cell.source]  # no logic

    def test_first_cell_tells_what_to_expect(self, notebook):
        first = nbformat.read(notebook, as_version=4).cells[0].source
        for promise in ("# ", "What you will learn", "How long", "What it needs"):
            assert promise in first

    def test_last_cells_are_the_provenance(self, notebook):
        assert "study.provenance()" in nbformat.read(notebook, as_version=4).cells[-1].source

    def test_every_figure_is_announced(self, notebook):
        cells = nbformat.read(notebook, as_version=4).cells
        for before, cell in zip(cells, cells[1:], strict=False):
            if re.match(r"(# .*\n)?rv\.figures\.(?!show_in)", cell.source):
                assert "**What to look for:**" in before.source

    def test_parameters(self, notebook):
        from racviz.study import Study

        found = reports.parameters_of(str(notebook))
        assert list(found) == STUDY + OWN.get(notebook.stem, [])
        assert set(STUDY) <= {field.name for field in fields(Study)}
        assert all(one["help"] and one["type"] != "None" for one in found.values()), found
        cell = next(
            cell for cell in nbformat.read(notebook, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])
        )
        lines = [line for line in cell.source.splitlines() if not line.startswith("#")]
        assert len(lines) == len(found)
        values: dict = {}
        exec(cell.source, values)  # plain literals
        for name in found:
            assert json.loads(json.dumps(values[name])) == values[name]
        Study(**{name: values[name] for name in STUDY})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All reports, run once at small parameters with one cache: a folder with pages, run folders and index."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("RACVIZ_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        kernels = stack.enter_context(reports.Kernels(len(NOTEBOOKS), progress=False))
        for path in NOTEBOOKS:
            own = {
                "runtime_vs_sparsity": {"timing_problems": 1, "sparsities": [0.5, 0.6]},
                "figure2_error_heatmap": {"sparsities": [0.5, 0.6]},
                "solvers": {"methods": ["sparsegpt", "sparsegpt+refit"], "mode": "one-pass"},
                "table1_math": {"models": ["tiny-reasoner", "tiny-reasoner-small"], "timing_problems": 1},
                "table2_code": {"samples": 2, "timing_problems": 0},
                "table3_on_off_policy": {"trace_sources": ["own", "teacher", "tiny-reasoner-small"]},
                "table4_semi_structured": {"depths": [[1], [1, 2, 3]]},
                "table5_decode_budget": {"budgets": [32, 64], "timing_problems": 1},
                "calibration_budget": {"token_counts": [1024, 2048], "trace_caps": [32, 64]},
                "seeds": {"seeds": [0, 1], "claims": [0.6], "methods": ["wanda"]},
            }.get(path.stem, {})
            reports.run_report(path.stem, SMALL | own, "reports", progress=False, kernels=kernels)
        reports.build_index("reports")
    return folder


def bundles(path: Path) -> list[dict]:
    cells = nbformat.read(path, as_version=4).cells
    return [output["data"] for cell in cells for output in cell.get("outputs", []) if "data" in output]


@pytest.mark.slow
class TestWhenRun:
    def test_figures_are_there_in_both_forms(self, made, notebook):
        plots = [data for data in bundles(made / "reports" / notebook.name) if "application/vnd.plotly.v1+json" in data]
        assert len(plots) == FIGURES[notebook.stem] and all("text/html" in data for data in plots)
        assert all(figure["data"] for figure in (data["application/vnd.plotly.v1+json"] for data in plots))

    def test_page_stands_alone(self, made, notebook):
        page = (made / "reports" / notebook.name).with_suffix(".html").read_text(encoding="utf-8")
        assert page.count("Plotly.newPlot(") >= FIGURES[notebook.stem] and not NETWORK.findall(page)
        assert "no evidence about R1-Distill" in page and "import racviz" not in page and "widget-view" not in page

    def test_nothing_complained(self, made, notebook):
        cells = nbformat.read(made / "reports" / notebook.name, as_version=4).cells
        said = [output for cell in cells for output in cell.get("outputs", []) if output.output_type in ("stream", "error")]
        assert not said

    def test_figure2_says_what_it_shows(self, made):
        data = bundles(made / "reports" / "figure2_error_heatmap.ipynb")
        kinds = [trace["type"] for one in data for trace in one.get("application/vnd.plotly.v1+json", {}).get("data", [])]
        assert "heatmap" in kinds
        text = " ".join(one.get("text/html", "") for one in data if "application/vnd.plotly.v1+json" not in one)
        for words in ("At 50 %, one-pass: the median of r_t", "At 50 %, sequential", "At 60 %, one-pass", "n = 6", "<bdi "):
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
