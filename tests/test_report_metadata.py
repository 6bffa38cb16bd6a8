"""Reports from one file: metadata that says what a notebook makes, parameters from its variables, folders of the user."""

import nbformat
import pytest

import racviz as rv
from racviz import reports
from racviz.exceptions import DataError, ParameterError
from racviz.study import Study
from racviz.study.contents import parts_of, read_contents
from racviz.study.namespace import parameters_in
from racviz.study.parameters import described, parameter_names

CELL = 'model: str = "tiny-reasoner"  # the model\nseeds: list[int] = [3, 4]  # seeds to compare\nclaims: list[float] = [0.6]  # sparsities'
MINE = {"order": 20, "title": "Is it mine?", "makes": [{"make": ["answers"], "vary": {"seed": "seeds"}}]}


@pytest.fixture
def mine(tmp_path):
    """Write a report of the user's with some metadata; returns its path."""

    def write(metadata, name="mine"):
        cells = [
            nbformat.v4.new_markdown_cell("# Is it mine?"),
            nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]}),
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        made = nbformat.v4.new_notebook(cells=cells, metadata=kernel if metadata is None else kernel | {"racviz": metadata})
        path = tmp_path / "own" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(made, path)
        return path

    return write


class TestMetadata:
    def test_one_file_is_a_report(self, mine, monkeypatch):
        path = mine(MINE)
        assert reports.find_report(str(path)).title == "Is it mine?"
        monkeypatch.setenv("RACVIZ_NOTEBOOKS", str(path.parent))
        assert reports.list_reports()[-1].path == path and reports.find_report("mine").path == path
        assert list(reports.parameters_of("mine"))[:3] == ["model", "seeds", "claims"]
        assert set(reports.parameters_of("mine")) == {"seeds", "claims", *parameter_names()}
        plan = reports.plan_report("mine", {"problems": 5, "sources": ["prompt"], "generic_text": ""})
        assert plan.right and "answers of 4 models, 1 a problem" in [step.what for step in plan.steps]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"mkes": []}, "unknown field `mkes`"),
            ({"makes": []}, "makes must be a list that is not empty"),
            ({"makes": [{"make": ["answrs"]}]}, "not 'answrs'. Did you mean 'answers'"),
            ({"makes": [{"make": ["answers"], "vary": {"sed": "seeds"}}]}, "not 'sed'. Did you mean 'seed'"),
            ({"makes": [{"make": ["answers"], "vary": {"seed": "seds"}}]}, "not 'seds'. Did you mean 'seeds'"),
            ({"makes": [{"make": ["answers"], "sparsities": "claim"}]}, "not 'claim'. Did you mean 'claims'"),
            ({"makes": [{"make": ["timing"]}]}, "not 'timing_problems'"),
            ({"compares": ["promt"]}, "not 'promt'. Did you mean 'prompt'"),
            ({"trial": {"problms": 3}}, "not 'problms'. Did you mean 'problems'"),
            ({"title": "Another?"}, "is not the notebook's first heading"),
            ({"order": "first"}, "Expected `float`"),
        ],
    )
    def test_wrong_metadata_is_refused_by_name(self, mine, change, message):
        with pytest.raises(DataError, match="the report 'mine' is wrong") as told:
            reports.find_report(str(mine(MINE | change)))
        assert message in str(told.value)

    def test_a_notebook_without_metadata_runs_but_is_never_planned(self, mine, monkeypatch, tmp_path):
        path = mine(None)
        assert list(reports.parameters_of(str(path))) == ["model", "seeds", "claims"]
        assert reports.run_report(str(path), {}, tmp_path / "out", progress=False).exists()
        with pytest.raises(DataError, match="'mine' cannot be planned: .* has no metadata.racviz"):
            reports.plan_report(str(path))
        monkeypatch.setenv("RACVIZ_NOTEBOOKS", str(path.parent))
        with pytest.raises(DataError, match="has no metadata.racviz"):
            reports.list_reports()

    def test_folders_and_names(self, mine, monkeypatch, tmp_path):
        monkeypatch.setenv("RACVIZ_NOTEBOOKS", str(mine(MINE, "seeds").parent))
        with pytest.raises(DataError, match="two reports have the name 'seeds'"):
            reports.list_reports()
        monkeypatch.setenv("RACVIZ_NOTEBOOKS", str(tmp_path / "absent"))
        with pytest.raises(DataError, match="absent, which is not a folder"):
            reports.list_reports()


class TestParts:
    def parts(self, *entries, **values):
        names = [*parameter_names(), "seeds", "claims", "methods"]
        contents = read_contents({"order": 1, "title": "?", "makes": list(entries)}, "mine", names)
        return parts_of(contents, Study(sources=["rac"], sparsities=[0.5, 0.6]), values)

    def test_variants_are_all_combinations(self):
        made = self.parts(
            {"make": ["errors"], "vary": {"mode": ["one-pass", "sequential"], "method": "methods"}}, methods=["wanda", "alps"]
        )
        assert [(p.study.mode, p.study.method) for p in made] == [
            ("one-pass", "wanda"), ("one-pass", "alps"), ("sequential", "wanda"), ("sequential", "alps"),
        ]  # fmt: skip
        assert all(p.errors and not p.answers and p.study.sparsities == (0.5, 0.6) for p in made)

    def test_sparsities_and_fixed_values(self):
        (first,) = self.parts({"make": ["layer errors", "depth errors"], "sparsities": "first"})
        assert first.study.sparsities == (0.5,) and first.layers and first.depths
        entry = {"make": ["answers"], "sparsities": "claims", "fix": {"seed": "seeds"}}
        (claimed,) = self.parts(entry, claims=[0.6, 0.9], seeds=[7, 8])
        assert (claimed.study.sparsities, claimed.study.seed) == ((0.6,), 7)
        assert self.parts(entry, claims=[0.9], seeds=[7])[0].study.sparsities == (0.5, 0.6)

    def test_empty_lists(self):
        entry = {"make": ["answers"], "vary": {"method": "methods"}}
        with pytest.raises(ParameterError, match="methods must be a list that is not empty"):
            self.parts(entry, methods=[])
        with pytest.raises(ParameterError, match="makes nothing"):
            self.parts(entry | {"optional": True}, methods=[])
        with pytest.raises(ParameterError, match="methods must be a list; not 'alps'"):
            self.parts(entry, methods="alps")
        assert len(self.parts({"make": ["errors"]}, entry | {"optional": True}, methods=[])) == 1


class TestNamespace:
    def test_a_study_takes_its_names_and_ignores_others(self):
        study = Study.of({"model": "tiny-reasoner", "sparsities": [0.4], "methods": ["alps"], "pairs": 3, "rv": rv})
        assert study == Study(model="tiny-reasoner", sparsities=[0.4])

    def test_injected_names_are_checked(self):
        cells = ["", 'seeds: list[int] = [0]\nmodel = "x"', "# Parameters\nseeds = [1]\nproblms = 3\n", "import racviz as rv"]
        with pytest.raises(ParameterError, match="not 'problms'. Did you mean 'problems'"):
            parameters_in({"In": cells, "problms": 3})
        cells[2] = "# Parameters\nseeds = [1]\nproblems = 3\n"
        assert parameters_in({"In": cells, "problems": 3, "seeds": [1]}) == {"problems": 3}
        assert parameters_in({"In": [*cells, "pairs = [1]", "%time x"], "problems": 3, "pairs": [1]}) == {"problems": 3}

    def test_a_cell_of_ones_own_may_begin_like_papermill_s(self):
        own = "# Parameters\nmine = 1\nproblems = 3"
        assert parameters_in({"In": ["", own], "mine": 1, "problems": 3}) == {"problems": 3}
        with pytest.raises(ParameterError, match="not 'mien'. Did you mean 'mine'"):
            parameters_in({"In": ["", own, "# Parameters\nmien = 2"], "mine": 1, "mien": 2, "problems": 3})

    def test_wrong_values_are_refused(self):
        with pytest.raises(ParameterError, match="Did you mean 'sparsegpt'"):
            Study.of({"method": "sparsgpt"})

    def test_every_parameter_is_described(self):
        assert list(described()) == parameter_names()
        assert described()["sources"] == {
            "default": '["generic", "prompt", "rac"]', "type": "list[str]", "help": described()["sources"]["help"],
        }  # fmt: skip
        assert all(one["help"] for one in described().values())
