"""Keys, paths of this machine and text that a terminal obeys: in no table, label, manifest, notebook or checkpoint."""

import csv
import io
import json
import shutil

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some

import racviz as rv
from racviz.exceptions import ParameterError
from racviz.explorer.manifests import is_embedded
from racviz.models.formats import EMBEDDED, SMOLLM2
from racviz.printable import RESERVED, placeless, redacted
from racviz.results import latex_table, printable_table
from racviz.study.parameters import parameter_names, refuse_secret, tell_apart
from racviz.tiny.domains import DOMAINS
from racviz.traces import read_parquet, write_parquet

KEY = "very-secret-key"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", KEY)


FRAME = pd.DataFrame({
    "model": ["=1+1", "\x1b[31mred", "a\u202eb", f"x {KEY}", "m" * 10**5], "source": ["-rac", "+5", "-0.5", "@x", "\t=y"],
    "accuracy": [0.5, -0.5, 1e-9, float("nan"), 1.0], "seed": [1, 2, 3, 4, 5], "odd": [None, True, 3, "a\rb", "ok"],
})  # fmt: skip


def test_tables_hold_nothing_that_a_terminal_obeys():
    for text in (printable_table(FRAME).to_string(), latex_table(printable_table(FRAME))):
        assert not set(text) & {"\x1b", "\u202e", "\r", "\t"} and KEY not in text and len(text) < 20_000
    assert printable_table(FRAME)["accuracy"].equals(FRAME["accuracy"])


def test_csv_guards_what_spreadsheets_run_and_keeps_numbers():
    text = printable_table(FRAME.rename(columns={"odd": "=odd"}), csv=True).to_csv(index=False)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["source"] for row in rows] == ["'-rac", "+5", "-0.5", "'@x", "'\t=y"]
    assert (
        rows[0]["model"] == "'=1+1"
        and "'=odd" in rows[0]
        and rows[1]["accuracy"] == "-0.5"
        and float(rows[2]["accuracy"]) == 1e-9
    )
    assert KEY not in text and "\x1b" not in text and len(rows[4]["model"]) == 10**5, "values of a CSV are whole"


@pytest.mark.parametrize(
    "name", ["model", "domain", "trace_source", "test_problems", "calibration_problems", "generic_text", "backend", "run"]
)
@pytest.mark.parametrize("value", [KEY, "https://me:pass7word@host/x", "hf?token=abcdef", "x?api_key=abcdef"])
def test_no_parameter_of_a_study_holds_a_key(name, value):
    assert name in parameter_names()
    with pytest.raises(ParameterError) as caught:
        rv.Study(**{name: value})
    assert name in str(caught.value) and not any(each in str(caught.value) for each in (KEY, "pass7word", "abcdef"))


def test_no_report_is_begun_with_a_key(tmp_path):
    with pytest.raises(ParameterError, match="model"):
        rv.run_report("figure2", {"model": f"x?token={KEY}"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


ORDINARY = ["arithmetic", "owner/name@main", "math-500", "a.jsonl?answer=key", "http://host:8000?concurrency=5", 5, None]


@pytest.mark.parametrize("value", ORDINARY)
def test_ordinary_parameters_hold_none(value):
    refuse_secret("model", value)


WRITTEN = {"thinking": "/think /end", "scope": "/x"}
PLACES = [
    ("/home/alice/models/mine", "mine"), ("~/models/mine/", "mine"), ("C:\\Users\\alice\\mine", "mine"),
    ("file:///home/alice/mine", "mine"), ("/home/alice/mine · rac 50% one-pass", "mine · rac 50% one-pass"),
    ("/home/alice/p.jsonl?answer=/a/key&split=test", "p.jsonl?answer=key&split=test"),
    ("vllm?python=/home/alice/bin/python&workers=2", "vllm?python=python&workers=2"),
    ("models/mine", "models/mine"), ("../mine", "../mine"), ("owner/name@main", "owner/name@main"), ("tiny-reasoner", "tiny-reasoner"),
    ("http://host:8000/v1", "http://host:8000/v1"), ("", ""), ("/", "/"), (0.5, 0.5), (None, None), (True, True),
    ([["/a/b"], {"x": "/c/d"}], [["b"], {"x": "d"}]), (WRITTEN, WRITTEN),
]  # fmt: skip


@pytest.mark.parametrize("value, wanted", PLACES)
def test_absolute_paths_become_their_last_part(value, wanted):
    assert placeless(value) == wanted and placeless(wanted) == wanted


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("folder", ["/home/alice/", "~/", "C:\\models\\", "file:///m/"])
def test_a_folder_is_not_taken_for_what_is_embedded(name, folder):
    assert placeless(folder + name) == f"./{name}" == placeless(f"./{name}") and placeless(name) == name
    assert placeless(f"{folder}{name} · rac 50%") == f"./{name} · rac 50%"
    tell_apart([name, folder + name])


def test_the_reserved_names_are_those_that_are_embedded():
    assert set(RESERVED) == {*EMBEDDED, SMOLLM2, *DOMAINS, "own", "teacher"}


def test_a_checkpoint_in_a_folder_with_an_embedded_name_is_not_embedded(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny-reasoner")
    loaded = rv.load_model(folder)
    loaded.provenance = {"base": str(folder), "calibration": {"problems": [], "tokens": 1}}
    loaded.save(tmp_path / "saved")
    again = rv.load_model(tmp_path / "saved")
    assert not loaded.embedded and not again.embedded and again.provenance["base"] == "./tiny-reasoner"
    assert not is_embedded(placeless(str(folder)))


def test_a_tracer_is_not_taken_for_the_model_of_the_same_name():
    with pytest.raises(ParameterError, match="/b/x"):
        rv.Study(model="/a/x", trace_source="/b/x")
    assert rv.Study(model="/a/x", trace_source="/a/x").trace_source == "/a/x"


@given(some.text(max_size=40))
def test_a_name_once_shortened_stays(text):
    assert placeless(placeless(text)) == placeless(text) and redacted(redacted(text)) == redacted(text)


def test_labels_and_checkpoints_hold_no_path(tiny_folder, tmp_path):
    loaded = rv.load_model(tiny_folder)
    assert str(tiny_folder).startswith("/")
    loaded.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "racviz.json").read_text())["name"] == tiny_folder.name
    write_parquet(
        tmp_path / "x.parquet", pd.DataFrame({"a": [1]}), {"model": str(tiny_folder), "more": {"base": str(tiny_folder)}}
    )
    assert read_parquet(tmp_path / "x.parquet")[1] == {"model": tiny_folder.name, "more": {"base": tiny_folder.name}}


def test_models_of_one_name_are_told_apart():
    tell_apart(["/a/x", "/a/y", "x/y", "/a/x"])
    with pytest.raises(ParameterError, match="model"):
        tell_apart(["/a/x", "/b/x"])
