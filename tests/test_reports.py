"""Running, rendering and indexing, with small notebooks of the tests' own; the packaged ones are run in tests/notebooks."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import nbformat
import pytest

from racviz import reports
from racviz.exceptions import ParameterError
from racviz.processes import host_token

HEADING = "# A *small* report\n\nWhat it is for."
PARAMETERS = "model: str = 'one'  # which model\nlevels: list[float] = [0.5]  # a list\nwait: int = 0  # seconds"
FIGURE = "from racviz import figures\nimport plotly.graph_objects as go\nfigures.show_in_notebooks()\ngo.Figure(go.Scatter(y=[1, 2]))"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


def network_links(page: str) -> list[str]:
    """What a browser would fetch by itself; links to click on are not among it."""
    tags = re.findall(
        r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*\b(?:src|href|data)=[\"']https?:[^>]*>", page, re.I
    )
    return tags + re.findall(r"@import\s+(?:url\()?[\"']?https?:[^;]*|url\([\"']?https?:[^)]*\)", page)


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of code cells below a heading and a parameters cell; returns its path."""

    def write(*sources: str, name: str = "small") -> str:
        content = nbformat.v4.new_notebook()
        content.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        content.cells = [nbformat.v4.new_markdown_cell(HEADING), parameters, *cells]
        path = tmp_path / "made" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(content, path)
        return str(path)

    return write


def outputs(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return " ".join(
        output.get("text", "") or str(output.get("data", "")) for cell in cells for output in cell.get("outputs", [])
    )


class TestCatalogue:
    def test_lists_what_there_is(self):
        found = reports.list_reports()
        names = """figure2_error_heatmap runtime_vs_sparsity cot_lengths solvers pruning_report figure1_pruning_hurts
        table1_math table2_code table3_on_off_policy generic_text table4_semi_structured table5_decode_budget calibration_budget
        seeds""".split()
        assert [report.name for report in found] == names
        assert all(report.title and not report.title.startswith("#") for report in found)

    def test_finds_by_prefix_and_helps_with_the_rest(self):
        assert reports.find_report("figure2").name == "figure2_error_heatmap"
        with pytest.raises(
            ParameterError, match="report must be one of .*; not 'runtime_vs_sparse'. Did you mean 'runtime_vs_sparsity'"
        ):
            reports.find_report("runtime_vs_sparse")
        with pytest.raises(ParameterError, match="report must be one of"):
            reports.find_report("")
        with pytest.raises(ValueError, match="no.ipynb does not exist"):
            reports.find_report("no.ipynb")

    def test_ambiguous_prefix(self, monkeypatch, tmp_path):
        for name in ("same_a", "same_b"):
            cell = nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]})
            (tmp_path / f"{name}.ipynb").write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
        monkeypatch.setattr("racviz.reports.catalogue.resource", lambda path: tmp_path)
        with pytest.raises(ParameterError, match="may be any of 'same_a', 'same_b'"):
            reports.find_report("same")

    def test_parameters_have_defaults_and_help(self, notebook):
        found = reports.parameters_of(notebook())
        assert found["model"] == {"default": "'one'", "type": "str", "help": "which model"}
        assert list(found) == ["model", "levels", "wait"]

    def test_table_names_every_report_and_parameter(self):
        table = reports.parameter_table()
        for report in reports.list_reports():
            assert f"| `{report.name}` | {report.title} |" in table
            assert all(f"| `{name}` |" in table for name in reports.parameters_of(report.name))

    def test_a_file_that_is_no_notebook(self, tmp_path):
        (tmp_path / "x.ipynb").write_text("{")
        with pytest.raises(ValueError, match="x.ipynb is not a notebook"):
            reports.find_report(str(tmp_path / "x.ipynb"))


class TestRunning:
    def test_page_opens_offline_with_its_figure(self, notebook, tmp_path):
        page = reports.run_report(
            notebook(FIGURE, "print('m =', model, levels)"), {"model": "two", "levels": [0.1]}, tmp_path / "out"
        )
        text = page.read_text(encoding="utf-8")
        assert page == tmp_path / "out" / "small.html" and "m = two [0.1]" in text
        assert "Plotly.newPlot" in text and "plotly.js v" in text and not network_links(text)
        assert "<title>A *small* report</title>" in text and "which model" not in text  # code is left out
        shown = [
            output.get("data", {})
            for cell in nbformat.read(page.with_suffix(".ipynb"), 4).cells
            for output in cell.get("outputs", [])
        ]
        data = next(one for one in shown if "application/vnd.plotly.v1+json" in one)
        assert "text/html" in data
        assert sorted(path.name for path in page.parent.iterdir()) == ["small.html", "small.ipynb"]

    def test_kernel_is_this_interpreter_whatever_is_installed(self, notebook, tmp_path, monkeypatch):
        foreign = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
        foreign.parent.mkdir(parents=True)
        foreign.write_text(json.dumps({"argv": ["false"], "display_name": "foreign", "language": "python"}))
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
        page = reports.run_report(
            notebook("import sys, os\nprint(sys.executable, os.environ['PLOTLY_RENDERER'])"), out=tmp_path
        )
        assert f"{sys.executable} plotly_mimetype+notebook" in outputs(page.with_suffix(".ipynb"))
        assert os.environ["JUPYTER_PATH"] == str(tmp_path / "jupyter")

    def test_from_an_environment_whose_path_has_a_space(self, notebook, tmp_path):
        venv.create(tmp_path / "my envs" / "one", with_pip=False)
        folder = next((tmp_path / "my envs" / "one" / "lib").glob("python*")) / "site-packages"
        here = [str(Path(reports.__file__).parents[2]), *(path for path in sys.path if path.endswith("site-packages"))]
        (folder / "all.pth").write_text("\n".join(here))
        (tmp_path / "my envs" / "one" / "share").symlink_to(Path(sys.prefix) / "share")  # nbconvert's templates
        python = tmp_path / "my envs" / "one" / "bin" / "python"
        code = (
            f"from racviz import reports; print(reports.run_report({notebook('import sys; print(sys.prefix)')!r}, out='a b'))"
        )
        done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert str(tmp_path / "my envs" / "one") in (tmp_path / "a b" / "small.html").read_text(encoding="utf-8")

    def test_paths_with_braces_and_a_page_of_ones_own(self, notebook, tmp_path):
        page = reports.run_report(notebook("1 + 1"), {}, tmp_path / "{odd}" / "page.html", progress=False)
        assert page.name == "page.html" and page.exists() and page.with_suffix(".ipynb").exists()

    def test_unknown_parameter(self, notebook, tmp_path):
        with pytest.raises(
            ParameterError, match="parameter must be one of 'model', 'levels', 'wait'; not 'modle'. Did you mean 'model'"
        ):
            reports.run_report(notebook(), {"modle": "x"}, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_failing_cell_is_named_and_the_good_report_kept(self, notebook, tmp_path):
        good = reports.run_report(notebook("print('good')"), out=tmp_path).read_text(encoding="utf-8")
        failing = notebook("print('before')", "# a comment\nx = 1 / 0", "print('never')")
        with pytest.raises(
            reports.ReportError, match=r"small: cell \[3\], 'x = 1 / 0', failed with ZeroDivisionError: division by zero"
        ) as told:
            reports.run_report(failing, out=tmp_path)
        assert "small.partial.ipynb" in str(told.value)
        assert "before" in outputs(tmp_path / "small.partial.ipynb") and "never" not in outputs(
            tmp_path / "small.partial.ipynb"
        )
        assert (tmp_path / "small.html").read_text(encoding="utf-8") == good
        assert "did not finish" in reports.build_index(tmp_path).read_text(encoding="utf-8")

    def test_a_dead_kernel_is_told(self, notebook, tmp_path):
        with pytest.raises(reports.ReportError, match="small: the kernel died; most often memory ran out"):
            reports.run_report(notebook("import os; os._exit(1)"), out=tmp_path)

    def test_out_that_cannot_be_a_folder(self, notebook, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match="file"):
            reports.run_report(notebook(), out=tmp_path / "file" / "out")

    @pytest.mark.slow
    def test_two_identical_reports_at_the_same_time(self, notebook, tmp_path):
        """Each waits in its last cell until both are there."""
        meeting = notebook(
            f"import pathlib, time, uuid\nhere = pathlib.Path({str(tmp_path)!r})\n(here / f'{{uuid.uuid4()}}.here').touch()\n"
            "for _ in range(600):\n    if len(list(here.glob('*.here'))) == 2: break\n    time.sleep(0.05)\n"
            "print(len(list(here.glob('*.here'))), 'met')"
        )
        code = f"from racviz import reports; reports.run_report({meeting!r}, out={str(tmp_path / 'out')!r}, progress=False)"
        runs = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
        said = [run.communicate(timeout=120)[1] for run in runs]
        assert [run.returncode for run in runs] == [0, 0], said
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["small.html", "small.ipynb"]
        assert "2 met" in outputs(tmp_path / "out" / "small.ipynb")

    def test_a_killed_run_leaves_its_notebook_to_the_next(self, notebook, tmp_path):
        dead = tmp_path / f".small.{host_token()}-{2**22 + 1}-00000000-01234567.tmp"
        dead.mkdir()
        (dead / "small.partial.ipynb").write_text("{}")
        (dead / "more").write_text("")
        with pytest.raises(reports.ReportError, match="boom"):
            reports.run_report(notebook("raise ValueError('boom')", name="other"), out=tmp_path)
        assert not dead.exists() and (tmp_path / "small.partial.ipynb").read_text() == "{}"
        assert (tmp_path / "other.partial.ipynb").exists()
        reports.run_report(notebook("1 + 1"), out=tmp_path)
        assert sorted(path.name for path in tmp_path.glob("small*")) == ["small.html", "small.ipynb"]

    def test_an_index_while_another_report_renames_its_notebook(self, tmp_path, monkeypatch):
        from racviz.reports import index

        executed(tmp_path / "one.ipynb")
        executed(tmp_path / "two.ipynb")
        real = index.read_notebook

        def vanishing(path):
            if path.name == "one.ipynb":
                path.unlink()
            return real(path)

        monkeypatch.setattr(index, "read_notebook", vanishing)
        page = reports.build_index(tmp_path).read_text(encoding="utf-8")
        assert "two.html" in page and "one.html" not in page

    def test_sigterm_ends_it_and_its_kernel(self, notebook, tmp_path):
        sleeping = notebook(
            f"import os, time, pathlib\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
        )
        run = subprocess.Popen(
            [sys.executable, "-m", "racviz", "report", sleeping, "--out", str(tmp_path / "out")],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        _, said = run.communicate(timeout=30)
        assert run.returncode == 143 and "Terminated" in said and "Traceback" not in said
        kernel, end = int((tmp_path / "pid").read_text()), time.monotonic() + 10
        while _alive(kernel) and time.monotonic() < end:
            time.sleep(0.1)
        assert not _alive(kernel) and not list((tmp_path / "out").glob(".*"))

    def test_ctrl_c_ends_it_and_its_kernel(self, notebook, tmp_path):
        sleeping = notebook(
            f"import os, time, pathlib\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
        )
        code = f"from racviz import reports; reports.run_report({sleeping!r}, out={str(tmp_path / 'out')!r}, progress=False)"
        run = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True)
        deadline = time.monotonic() + 60
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=30)
        assert run.returncode != 0 and "KeyboardInterrupt" in said
        kernel = int((tmp_path / "pid").read_text())
        for _ in range(100):
            if not Path(f"/proc/{kernel}").exists() and not _alive(kernel):
                break
            time.sleep(0.1)
        assert not _alive(kernel)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def executed(path: Path, said: dict | None = None, **papermill) -> None:
    """Write what a run would have left, without running."""
    cell = nbformat.v4.new_code_cell("rv.reports.finding(…)")
    if said is not None:
        cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": ""}, metadata={"racviz": said})]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title <b> of it"), cell])
    notebook.metadata["papermill"] = {"duration": 90.0, "end_time": "2026-01-02T03:04:05", **papermill}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    path.with_suffix(".html").write_text("page")


class TestIndex:
    def test_shows_what_each_report_found(self, tmp_path):
        said = {
            "finding": "RAC < prompt & more",
            "numbers": [["median", "2.0 [1.9, 2.1]"]],
            "caveat": "no evidence about R1-Distill",
            "parameters": [
                ["model", "tiny-<script>"],
                ["domain", "arithmetic"],
                ["generic_text", ""],
                ["method", ["alps", "wanda"]],
            ],
            "provenance": [["torch", "2.<b>"], ["cores", "2"]],
        }
        executed(tmp_path / "one.ipynb", said)
        executed(tmp_path / "two.ipynb")
        page = reports.build_index(tmp_path).read_text(encoding="utf-8")
        for text in (
            '<a href="one.html">Title &lt;b&gt; of it</a>',
            "RAC &lt; prompt &amp; more",
            "<dd>2.0 [1.9, 2.1]</dd>",
            "<summary>provenance</summary><table><tr><td>torch</td><td>2.&lt;b&gt;</td></tr>",
            "2026-01-02 03:04",
            "arithmetic · alps, wanda · ",
        ):
            assert text in page
        assert (
            "tiny-&lt;script&gt;" in page
            and "<script" not in page
            and "no evidence about R1-Distill" in page
            and "1.5 minutes" in page
        )
        assert not network_links(page) and "prefers-color-scheme: dark" in page and page.count("<article>") == 2

    def test_empty_folder_says_how_to_begin(self, tmp_path):
        page = reports.build_index(tmp_path / "new").read_text(encoding="utf-8")
        assert "racviz report NAME" in page and [path.name for path in (tmp_path / "new").iterdir()] == ["index.html"]

    def test_a_notebook_without_a_page_did_not_finish(self, tmp_path):
        executed(tmp_path / "one.ipynb")
        (tmp_path / "one.html").unlink()
        assert "did not finish" in reports.build_index(tmp_path).read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_draws_the_figure(notebook, tmp_path):
    page = reports.run_report(notebook(FIGURE), out=tmp_path / "out")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=8000",
    ]
    shown = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert 'class="main-svg"' in shown and "scatterlayer" in shown


def test_a_report_does_not_overwrite_the_notebook_that_it_runs(notebook):
    path = Path(notebook("1 + 1"))
    before = path.read_bytes()
    with pytest.raises(ParameterError, match="choose another folder"):
        reports.run_report(str(path), {}, path.parent)
    assert path.read_bytes() == before
