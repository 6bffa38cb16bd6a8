"""Run folders from strangers: nothing that they hold runs code, opens an address or loads a model that the user did not name."""

import http.server
import json
import threading
import time

import pytest
from test_explorer import frame_of

import racviz as rv
from racviz.exceptions import RacvizError
from racviz.explorer.manifests import is_embedded, read_manifest, refusals
from racviz.explorer.opening import open_catalogue
from racviz.explorer.session import Session
from racviz.reconstruction import ReconstructionErrors
from racviz.store import Store
from racviz.study import Study, as_parameters


@pytest.fixture
def run(tmp_path):
    """A function that makes a run's folder as a stranger might: errors, a table of results, and a manifest."""

    def make(**changes):
        folder = tmp_path / "theirs"
        label = dict(sparsity=0.5, method="sparsegpt", mode="one-pass")
        ReconstructionErrors(frame_of(rows=4, longest=12), label).save(folder / "errors" / "hidden-final-0.5-one-pass.parquet")
        (folder / "results.csv").write_text("source,sparsity,accuracy\ndense,0,0.9\n")
        honest = as_parameters(Study(model="tiny-reasoner-small", problems=4, store=Store(tmp_path / "none")))
        manifest = changes.pop("manifest", None) or {"parameters": honest | changes}
        (folder / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
        return folder

    return make


@pytest.fixture
def listener():
    """An address whose requests are counted."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(f"{self.path} {dict(self.headers)}")
            self.send_response(404)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", heard
        server.shutdown()


def use(folder) -> Session:
    """Open a folder and try all that a click may ask for; errors in words are fine."""
    session = rv.explore(folder).session
    for ask in (
        dict(ask="about"),
        dict(ask="token", place=0, column=4),
        dict(ask="load"),
        dict(ask="token", place=0, column=4),
    ):
        session.handle(ask)
    for group in list(session.catalogue.pending):
        session.handle(dict(ask="choose", errors_of=group))
    return session


@pytest.fixture
def hostile_model(tiny_folder, tmp_path):
    """A checkpoint whose own Python would leave a mark."""
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').write('ran')\n")
    return folder


def test_a_model_at_a_path_is_not_loaded(run, hostile_model, tmp_path, monkeypatch):
    loads: list = []
    monkeypatch.setattr("racviz.study.steps.load_model", lambda *a, **k: loads.append(a))
    session = use(run(model=str(hostile_model), trust_remote_code=True))
    assert not loads and not (tmp_path / "mark").exists()
    assert "dense" not in session.catalogue.models and not session.catalogue.pending
    live = session.handle(dict(ask="token", place=0, column=4))[0]["live"]
    assert "model not loaded" in live["reason"] and "--model" in live["reason"] and not live.get("loadable")
    assert any("Model not loaded" in note for note in session.about()[0]["notes"])


def test_remote_code_is_not_trusted_with_the_user_s_model_either(run, hostile_model, tmp_path):
    catalogue = open_catalogue(run(model=str(hostile_model), trust_remote_code=True), model=str(hostile_model))
    try:
        catalogue.models["dense"]()
    except RacvizError:
        pass
    assert not (tmp_path / "mark").exists()


def test_no_backend_runs_an_interpreter_or_sends_a_key(run, listener, tmp_path, monkeypatch):
    url, heard = listener
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", "s3cret")
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path / 'mark'}\n")
    script.chmod(0o755)
    for backend in (f"vllm?python={script}", url):
        use(run(backend=backend, problems=2, calibration_tokens=64, t_max=4, budget=4, sources=["prompt"]))
    assert not (tmp_path / "mark").exists() and not heard


@pytest.mark.parametrize("name", ["test_problems", "calibration_problems", "generic_text", "trace_source"])
def test_no_other_file_or_hub_is_read(run, name, tmp_path, monkeypatch):
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"id": "a", "prompt": "private", "answer": "1"}\n')
    for value in (str(secret), "owner/name"):
        session = use(run(**{name: value}))
        assert session.catalogue.reasons and not session.catalogue.models and "private" not in json.dumps(session.about()[0])


def test_huge_work_is_not_begun(run):
    assert use(run(calibration_tokens=10**12)).catalogue.reasons
    assert use(run(problems="all")).catalogue.reasons


def test_a_copied_folder_opens_at_once_and_shows_its_errors(run, monkeypatch):
    """Nothing is traced, pruned or answered, although there are results."""
    for step in ("generate_traces", "prune", "evaluate"):
        monkeypatch.setattr(f"racviz.study.steps.{step}", lambda *_, step=step, **__: pytest.fail(f"{step} ran"))
    began = time.monotonic()
    session = rv.explore(run()).session
    assert session.catalogue.evaluations is None and session.about()[0]["rows"] == 4
    assert time.monotonic() - began < 30
    assert {"dense"} <= set(session.catalogue.models), "the embedded model may be loaded"
    live = session.handle(dict(ask="token", place=0, column=4))[0]["live"]
    assert "model not loaded" in live["reason"] and live.get("loadable") or "next" in live


MANIFESTS = [
    " ", "[]", "{}", '{"parameters": []}', '{"parameters": {"sources": 3}}', "[" * 100_000, "\x00", '{"parameters": null}',
    json.dumps({"parameters": {"sources": 1, "method": [], "domain": {}, "model": ["x"]}}),
    json.dumps({"parameters": {"sources": [[]], "method": "sparsegpt", "domain": "arithmetic", "model": "tiny-reasoner-small"}}),
    json.dumps({"parameters": {"sources": ["rac"], "method": "sparsegpt", "domain": "arithmetic", "model": "../../etc"}}),
    json.dumps({"parameters": {"sources": ["rac"], "method": "x" * 10**6, "domain": "arithmetic", "model": "tiny-reasoner-small"}}),
    json.dumps({"parameters": {"sources": ["rac"], "method": "sparsegpt", "domain": "arithmetic", "model": "tiny-reasoner-small",
                               "scope": "(a+)+$", "thirds": [9], "problems": -1}}),
]  # fmt: skip


@pytest.mark.parametrize("manifest", MANIFESTS, ids=range(len(MANIFESTS)))
def test_any_manifest_leaves_the_errors_to_be_seen(run, manifest):
    assert use(run(manifest=manifest)).about()[0]["rows"] == 4


def test_embedded_models_are_names_not_paths(tmp_path):
    assert is_embedded("tiny-reasoner") and not is_embedded("/tiny-reasoner") and not is_embedded("../models/tiny-reasoner")
    assert (
        not is_embedded(str(tmp_path)) and not is_embedded("") and not is_embedded(["tiny-reasoner"]) and not is_embedded(".")
    )


def test_a_manifest_that_is_no_file(tmp_path):
    (tmp_path / "manifest.json").mkdir()
    assert read_manifest(tmp_path) is None
    import os

    (tmp_path / "manifest.json").rmdir()
    os.mkfifo(tmp_path / "manifest.json")
    assert read_manifest(tmp_path) is None


def test_the_user_s_model_takes_the_place_of_the_manifest_s():
    honest = as_parameters(Study())
    assert (
        not refusals(honest, None)
        and refusals(honest | {"model": "x/y"}, None)
        and not refusals(honest | {"model": "x/y"}, "z")
    )


@pytest.mark.parametrize("label", [{"mode": "../../../away"}, {"mode": "/away"}, {"sparsity": "half"}, {"method": "other"}])
def test_labels_of_a_file_name_no_other_file(run, tmp_path, label):
    """Errors of another metric are written into the run's folder, under a name that their label makes."""
    folder = run()
    (path,) = (folder / "errors").iterdir()
    ReconstructionErrors(frame_of(rows=4, longest=12), dict(sparsity=0.5, method="sparsegpt", mode="one-pass") | label).save(
        path
    )
    session = use(folder)
    assert set(session.catalogue.models) <= {"dense"} and not session.catalogue.pending
    assert not list(tmp_path.rglob("*away*"))


def test_names_from_files_reach_the_terminal_as_text(run, capsys, monkeypatch):
    from typer.testing import CliRunner

    from racviz.cli import app

    folder = run(model="/x\x1b]0;owned\x07")
    (path,) = (folder / "errors").iterdir()
    frame = frame_of(rows=4, longest=12).rename(columns={"e_rac": "e_\x1b[31mred", "e_prompt": "e_" + "x" * 5000})
    ReconstructionErrors(frame, {}).save(path)
    (folder / "errors" / "bad\x1b[2J.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr("racviz.explorer.server.Server.serve", lambda self: None)
    told = CliRunner().invoke(app, ["explore", str(folder), "--no-browser"])
    assert told.exit_code == 0, told.output
    assert "\x1b" not in told.output and "\x07" not in told.output and r"\x1b[31mred" in told.output and len(told.output) < 5000
    assert "bad" in told.output and "--model" in told.output
