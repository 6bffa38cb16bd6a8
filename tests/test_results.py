"""Results of a run: as tables for papers, with minutes from a timing pass."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from racviz.cli import app
from racviz.exceptions import ParameterError
from racviz.results import latex_table, read_results
from racviz.store import Store
from racviz.study import RESULT_COLUMNS, Study
from racviz.study.sweep import run_sweep
from racviz.study.timing import time_cells
from racviz.study.variants import vary

SMALL = dict(
    sources=["prompt", "rac"], calibration_tokens=800, t_max=24, budget=12, problems=4, batch_size=32, sparsities=[0.5], method="wanda",
)  # fmt: skip


def test_latex_holds_the_numbers_and_escapes_the_rest():
    frame = pd.DataFrame({
        "model": ["a_b & 50% {x}\\~^#$", ""], "sparsity": [0.5, 0.525], "accuracy": [0.904, 0.0], "se": [0.01319, np.nan],
        "tokens": [1234567, 5], "median_cot": [310.5, np.nan],
    })  # fmt: skip
    lines = latex_table(frame).splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrr}" and lines[-1] == r"\end{tabular}"
    assert lines[2] == r"model & sparsity, \% & accuracy, \% $\pm$ SE & tokens & median CoT \\"
    assert lines[4] == (
        r"a\_b \& 50\% \{x\}\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$ & 50 & 90.4 $\pm$ 1.3 & 1,234,567 & 310.5 \\"
    )
    assert lines[5] == r"-- & 52.5 & 0.0 & 5 & -- \\"
    alone = latex_table(frame[["se"]])
    assert r"SE, \%" in alone and "1.3" in alone


@pytest.fixture
def run(tmp_path, tiny_folder):
    grid = {**SMALL, "model": str(tiny_folder), "run": str(tmp_path / "run")}
    return grid, lambda **how: run_sweep(grid, store=Store(tmp_path / "store"), progress=False, **how)


def test_the_command_prints_for_papers(run, tmp_path):
    frame = run[1]()
    folder = str(tmp_path / "run")
    shown = CliRunner().invoke(app, ["results", folder, "--csv", "--where", "source=rac"])
    whole = pd.read_csv(__import__("io").StringIO(shown.stdout))
    assert list(whole) == RESULT_COLUMNS and len(whole) == 1
    assert whole["accuracy"][0] == frame.loc[frame["source"] == "rac", "accuracy"].item()
    shown = CliRunner().invoke(app, ["results", folder, "--latex", "--columns", "source,accuracy,se"])
    assert shown.exit_code == 0 and len(re.findall(r" \\\\$", shown.stdout, re.MULTILINE)) == 1 + len(frame)
    assert CliRunner().invoke(app, ["results", folder, "--latex", "--csv"]).exit_code == 1


def test_a_timing_pass_after_a_sweep_fills_the_minutes_and_nothing_else(run, tmp_path):
    before = run[1]()
    assert before["minutes"].isna().all()
    after = run[1](timing_problems=2)
    assert (after["minutes"] > 0).all() and (after["timed_problems"] == 2).all()
    same = [name for name in RESULT_COLUMNS if name not in ("minutes", "timed_problems")]
    pd.testing.assert_frame_equal(before[same], after[same])
    pd.testing.assert_frame_equal(read_results(tmp_path / "run"), after, check_dtype=False)
    with pytest.raises(ParameterError, match="timing_problems must be"):
        run[1](timing_problems=-1)


def test_cells_of_several_studies_are_timed_in_one_pass_and_kept(tmp_path, tiny_folder):
    store = Store(tmp_path / "store")
    given = dict(SMALL, model=str(tiny_folder), store=store, progress=False, run=str(tmp_path / "run"))
    studies = [Study(**given), Study(**given | {"method": "magnitude"}), Study(**given | {"budget": 8})]
    cells = [(study, source, 0.0 if source == "dense" else 0.5) for study in studies for source in ("dense", "rac")]
    first = time_cells(cells, 2)
    assert (first.frame["minutes"] > 0).all() and (first.frame["timed_problems"] == 2).all()
    assert "2 problems, one worker, warmed up, the cells interleaved in 2 rounds that differ by" in first.said
    kept = [row for row in store.entries() if row["kind"] == "timing"]
    assert len(kept) == 2  # the smaller budget is a pass of its own
    pd.testing.assert_frame_equal(time_cells(cells, 2).frame, first.frame)
    assert (time_cells(cells[:1], 99).frame["timed_problems"] == 4).all(), "there are no more"


def test_each_round_takes_all_cells_in_another_order(tmp_path, tiny_folder, monkeypatch):
    from racviz import evaluation

    timed = []
    real = evaluation.generate_traces

    def spy(loaded, problems, *rest, **how):
        timed.append((loaded.name, len(problems)))
        return real(loaded, problems, *rest, **how)

    study = Study(**SMALL, model=str(tiny_folder), store=Store(tmp_path / "store"), progress=False, run=str(tmp_path / "run"))
    study.results()
    monkeypatch.setattr(evaluation, "generate_traces", spy)
    time_cells([(study, *cell) for cell in study.cells], 3)
    names = [name for name, count in timed if count == 3]
    assert len(names) == 6 and set(names[:3]) == set(names[3:]) and names[3:] == [*names[1:3], names[0]]
    assert [count for _, count in timed] == [2, 3] * 6, "each warmed up first"


def test_variants_are_timed(tmp_path, tiny_folder):
    study = Study(**SMALL, model=str(tiny_folder), run=str(tmp_path / "run"), store=Store(tmp_path / "store"), progress=False)
    table, _ = vary(study, "method", ["wanda", "magnitude"], timing_problems=2)
    assert (table["minutes"] > 0).all() and (table["timed_problems"] == 2).all() and len(table) == 5
    assert table.attrs["timing"].startswith("Minutes: 2 problems")
    untimed, _ = vary(study, "t_max", [20, 24])
    both = read_results(tmp_path / "run")
    assert len(untimed) == 6 and len(both) == len(table) + 3, "at 24 the cells are those of the first table"
    assert set(both["t_max"]) == {20, 24} and (both["minutes"] > 0).sum() == len(table)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["parameters"]["method"] == ["wanda", "magnitude"] and manifest["parameters"]["t_max"] == [20, 24]
