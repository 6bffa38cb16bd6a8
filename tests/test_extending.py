"""Parts from outside the package: each example of docs/extending.md, through Python, the command line and a report."""

import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import racviz as rv
from racviz import registry
from racviz.exceptions import DataError, ParameterError
from racviz.metrics import METRICS
from racviz.registry import Registry
from racviz.sources import SOURCES

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'```python title="(\w+\.py)"\n(.*?)```', PAGE, re.DOTALL))
(POINTS,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def install(folder: Path, files: dict[str, str], points: str) -> None:
    """Lay a package out as pip does, so far as its entry points need it."""
    information = folder / "more_parts-1.0.dist-info"
    information.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: more-parts\nVersion: 1.0\n")
    groups = tomllib.loads(points)["project"]["entry-points"]
    lines = [line for group, parts in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in parts.items()))]
    (information / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs a package into the path of this process and of those that it starts."""

    def add(files: dict[str, str] = FILES, points: str = POINTS) -> None:
        install(tmp_path / "site", files, points)
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
        registry._entry_points.cache_clear()

    yield add
    registry._entry_points.cache_clear()


@pytest.fixture
def archive(tiny_folder, tmp_path) -> str:
    return shutil.make_archive(str(tmp_path / "model"), "zip", tiny_folder)


def test_examples_are_short():
    assert len(FILES) == 6 and all(len(text.splitlines()) < 40 for text in FILES.values())


def test_in_python(installed, archive):
    installed()
    dense = rv.load_model(archive)
    problems = rv.load_problems("arithmetic", split="calibration", limit=6)
    own = rv.generate_traces(dense, problems, rv.Sampling(16), backend="plain", progress=False)
    ids = [k for t in own for k in (*t.prompt_ids, *t.output_ids)]
    shuffled = rv.calibration_set("shuffled", dense, traces=own, tokens=len(ids))
    assert sorted(np.concatenate(shuffled.sequences)) == sorted(ids)
    pruned = rv.prune(dense, shuffled, method="random", progress=False)
    assert pruned.provenance["sparsity"] == pytest.approx(0.5, abs=0.01)
    rollouts = rv.generate_traces(
        dense, rv.load_problems("arithmetic", limit=2), rv.Sampling(8, temperature=0.0), progress=False
    )
    found = rv.reconstruction_errors(dense, {"x": pruned}, rollouts, metric="cosine", progress=False).frame
    trace = rollouts[0]
    ids = torch.tensor([[*trace.prompt_ids, *trace.output_ids]])
    with torch.inference_mode():
        a, b = (m.model.base_model(input_ids=ids).last_hidden_state[0].double() for m in (dense, pruned))
    expected = 1 - torch.nn.functional.cosine_similarity(a, b)
    rows = found[found["problem_id"] == trace.problem_id]
    assert np.allclose(rows["e_x"], expected, atol=1e-5)


def test_greedy_tokens_of_the_backend_are_those_of_hf(installed, archive):
    installed()
    dense = rv.load_model(archive)
    problems = rv.load_problems("arithmetic", limit=3)
    one, two = (
        rv.generate_traces(dense, problems, rv.Sampling(8, temperature=0.0), backend=backend, progress=False)
        for backend in ("hf", "plain")
    )
    assert [t.output_ids for t in one] == [t.output_ids for t in two]


def test_on_the_command_line(installed, archive, tmp_path, monkeypatch):
    from racviz.cli import app

    installed()
    monkeypatch.chdir(tmp_path)

    def racviz(*arguments: str) -> None:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.output

    few = ("--limit", "4", "--t-max", "16")
    racviz("traces", archive, "--problems", "arithmetic", *few, "--backend", "plain", "--out", "own.parquet")
    how = ("--source", "shuffled", "--traces", "own.parquet", "--method", "random", "--tokens", "64")
    racviz("prune", archive, *how, "--out", "pruned")
    racviz(
        "traces",
        archive,
        "--problems",
        "arithmetic",
        "--split",
        "test",
        *few,
        "--temperature",
        "0",
        "--out",
        "rollouts.parquet",
    )
    racviz(
        "errors",
        archive,
        "--pruned",
        "x=pruned",
        "--rollouts",
        "rollouts.parquet",
        "--metric",
        "cosine",
        "--out",
        "errors.parquet",
    )
    assert rv.ReconstructionErrors.load("errors.parquet").label["metric"] == "cosine"


@pytest.mark.slow
def test_in_a_report(installed, archive, tmp_path, monkeypatch):
    from racviz.reports import run_report

    installed()
    monkeypatch.chdir(tmp_path)
    exec(FILES["make_report.py"], {})
    small = {"problems": 3, "budget": 16, "t_max": 16, "calibration_tokens": 256, "batch_size": 16}
    parts = {"sources": ["prompt", "rac", "shuffled"], "method": "random", "backend": "plain", "model": archive}
    assert rv.plan_report("my_report.ipynb", small | parts).steps
    page = run_report("my_report.ipynb", small | parts, "reports", progress=False).read_text(encoding="utf-8")
    assert "shuffled traces" in page and "Which calibration answers more?" in page


class TestRegistry:
    def test_unknown_names_are_told_with_the_nearest(self):
        with pytest.raises(ParameterError, match="'rack'.*'rac'"):
            SOURCES.named("rack")
        assert METRICS.get("none") is None and "hidden" in METRICS and len(METRICS) == len(list(METRICS)) >= 3

    def test_own_parts_are_not_replaced(self, installed):
        installed({"evil.py": "RAC = None"}, '[project.entry-points."racviz.sources"]\nrac = "evil:RAC"\n')
        with pytest.warns(UserWarning, match="'rac'"):
            assert list(SOURCES).count("rac") == 1
        assert SOURCES["rac"].label == "RAC"

    def test_a_part_that_cannot_be_imported_is_told_with_its_package(self, installed):
        installed({"broken.py": "1 / 0"}, '[project.entry-points."racviz.sources"]\nmine = "broken:X"\n')
        with pytest.raises(DataError, match="'mine'.*'more-parts'"):
            SOURCES.named("mine")

    def test_texts_are_imported_when_first_asked_for(self):
        parts = Registry("part", "racviz.none", {"counter": "collections:Counter"})
        import collections

        assert parts["counter"] is collections.Counter
