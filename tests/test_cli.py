"""The command line: each command alone on files, and what it says when something is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import racviz as rv
from racviz import cli
from racviz.exceptions import ParameterError
from racviz.processes import this_process
from racviz.reports import parse_parameters
from racviz.store import Store

COMMANDS = ["traces", "export", "prune", "errors", "evaluate", "sweep", "results", "report", "explore", "demo", "cache"]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def racviz(monkeypatch, capsys, tmp_path):
    """Run a command as the shell does, in an empty folder; returns exit code, standard output and standard error."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["racviz", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


def refused(result, message: str) -> None:
    """One line on standard error, exit code 1."""
    code, out, err = result
    err = err.rpartition("\r")[2]  # after the progress bars
    assert code == 1 and err.startswith("racviz: ") and message in err, err
    assert "Traceback" not in err and err.count("\n") == 1 and out == ""


# --- help --------------------------------------------------------------------------------------------------------------


def test_help_names_every_command(racviz):
    code, out, _ = racviz("--help")
    assert code == 0 and all(f"\n  {command} " in out for command in COMMANDS)
    code, out, err = racviz()
    assert "Usage: racviz" in out + err and code in (0, 2)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_and_each_option(racviz, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = racviz(command, "--help")
    assert code == 0 and f"Usage: racviz {command}" in out
    described = [line for line in out.splitlines() if line.strip().startswith("-") and "--help" not in line]
    assert len(described) >= 3
    for line in described:
        words = line.split("  ")
        assert len(words[-1].strip()) > 8 or line.endswith("]"), f"{line!r} says too little"


def test_module_and_script_are_one_command(tmp_path):
    """`python -m racviz` in a process of its own: an error is one line, without a traceback."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "racviz", "traces", "tiny-resoner"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == "" and "Did you mean 'tiny-reasoner'" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


# --- the chain on files ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tiny_folder, tmp_path_factory):
    """traces -> prune -> errors -> evaluate by commands alone; the folder and what each printed."""
    folder = tmp_path_factory.mktemp("chain")
    commands = {
        "own": "traces MODEL --out own.parquet --limit 40 --t-max 24 --batch-size 32",
        "rollouts": "traces MODEL --out deep/rollouts.parquet --split test --limit 3 --temperature 0 --t-max 24",
        "rac": "prune MODEL --out rac --traces own.parquet --tokens 1000",
        "prompt": "prune MODEL --out prompt --source prompt --tokens 1000 --sparsity 0.6 --thirds 1,3",
        "generic": "prune MODEL --out generic --source generic --tokens 1000 --mode sequential --scope mlp",
        "errors": "errors MODEL --pruned rac=rac --pruned prompt=prompt --rollouts deep/rollouts.parquet",
        "kl": "errors MODEL --pruned rac=rac --rollouts deep/rollouts.parquet --metric kl --out kl.parquet",
        "block": "errors MODEL --pruned rac=rac --rollouts deep/rollouts.parquet --layer 0 --out block.parquet",
        "evaluate": "evaluate rac --limit 4 --samples 2 --budget 20 --out answers.parquet",
    }
    printed = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RACVIZ_CACHE", str(folder / "cache"))
        for name, command in commands.items():
            arguments = [str(tiny_folder) if word == "MODEL" else word for word in command.split()]
            patch.setattr(sys, "argv", ["racviz", *arguments])
            patch.setattr(sys, "stdout", (folder / f"{name}.out").open("w", encoding="utf-8"))
            with pytest.raises(SystemExit) as stopped:
                cli.main()
            sys.stdout.close()
            assert stopped.value.code == 0, name
            printed[name] = (folder / f"{name}.out").read_text(encoding="utf-8")
    return folder, printed


def test_traces_by_command_are_traces_by_the_facade(chain, tiny_folder):
    folder, printed = chain
    loaded = rv.load_model(tiny_folder)
    made = rv.Traces.load(folder / "own.parquet")
    problems = rv.load_problems("arithmetic", split="calibration", limit=40)
    assert made.rows == rv.generate_traces(loaded, problems, rv.Sampling(24), batch_size=32, progress=False).rows
    tokens, ended = sum(len(t.output_ids) for t in made), sum(t.finish_reason == "stop" for t in made)
    assert printed["own"] == f"40 traces, {tokens:,} tokens, {ended} ended by themselves: own.parquet\n"
    rollouts = rv.Traces.load(folder / "deep" / "rollouts.parquet")
    assert [t.problem_id for t in rollouts] == [p.id for p in rv.load_problems("arithmetic", limit=3)]
    assert rollouts.sampling["temperature"] == 0


def test_pruned_checkpoints_are_what_was_asked_for(chain, tiny_folder):
    folder, printed = chain
    rac, prompt, generic = (rv.load_model(folder / name) for name in ("rac", "prompt", "generic"))
    assert rac.provenance["prune"]["sparsity"] == 0.5 and rac.provenance["calibration"]["source"] == "rac"
    assert rac.provenance["calibration"]["tokens"] == prompt.provenance["calibration"]["tokens"] == 1000
    assert prompt.provenance["prune"]["thirds"] == [1, 3] and prompt.provenance["sparsity"] == pytest.approx(0.6, abs=0.01)
    assert generic.provenance["prune"]["mode"] == "sequential" and generic.provenance["linears"] == 6
    assert printed["rac"].startswith("50.0% of 14 linears are zero (") and printed["rac"].endswith(": rac\n")
    zeros = sum(int((p == 0).sum()) for p in rac.model.parameters()) / sum(p.numel() for p in rac.model.parameters())
    assert f"({zeros:.1%} of all parameters)" in printed["rac"]
    calibration = rv.calibration_set(
        "rac", rv.load_model(tiny_folder), traces=rv.Traces.load(folder / "own.parquet"), tokens=1000
    )
    assert rac.calibrated_on == set(calibration.problems)


def test_errors_by_command(chain):
    folder, printed = chain
    errors = rv.ReconstructionErrors.load(folder / "errors.parquet")
    assert errors.names == ["rac", "prompt"]
    for name, line in zip(errors.names, printed["errors"].splitlines(), strict=False):
        medians = [errors.frame.loc[errors.frame["phase"] == phase, f"e_{name}"].median() for phase in ("prompt", "decode")]
        assert line == f"{name}: median error on prompt tokens {medians[0]:.3f}, on decode tokens {medians[1]:.3f}"
    assert rv.ReconstructionErrors.load(folder / "kl.parquet").label["metric"] == "kl"
    assert rv.ReconstructionErrors.load(folder / "block.parquet").label["layer"] == 0


def test_evaluation_by_command(chain):
    folder, printed = chain
    result = rv.Evaluation.load(folder / "answers.parquet")
    lines = dict(line.split() for line in printed["evaluate"].splitlines())
    assert len(result.frame) == 8 and set(lines) == set(result.summary())
    assert (
        float(lines["accuracy"]) == result.summary()["accuracy"]
        and int(lines["tokens"].replace(",", "")) == result.summary()["tokens"]
    )


def test_the_same_command_again_generates_nothing(chain, racviz, tiny_folder, monkeypatch):
    folder, printed = chain
    monkeypatch.setenv("RACVIZ_CACHE", str(folder / "cache"))
    monkeypatch.setattr("racviz.generation.hf.choose", lambda *args: pytest.fail("generated again"))
    code, out, _ = racviz("traces", tiny_folder, "--limit", 40, "--t-max", 24, "--batch-size", 32)
    assert code == 0 and out == printed["own"].replace("own.parquet", "traces.parquet")
    assert rv.Traces.load("traces.parquet") == rv.Traces.load(folder / "own.parquet")


# --- what is wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["traces", "tiny-resoner"], "Did you mean 'tiny-reasoner'"),
        (["traces", "MODEL", "--problems", "arithmetik"], "Did you mean 'arithmetic'"),
        (["traces", "MODEL", "--problems", "absent.jsonl"], "absent.jsonl does not exist"),
        (["traces", "MODEL", "--split", "train"], "split must be"),
        (["traces", "MODEL", "--temperature", "-1"], "temperature must be"),
        (["traces", "MODEL", "--t-max", "300"], "exceeds the model's context of 256"),
        (["traces", "MODEL", "--device", "gpu"], "device must be"),
        (["traces", "MODEL", "--dtype", "int3"], "dtype must be"),
        (["prune", "MODEL", "--out", "x"], "--source rac needs --traces"),
        (["prune", "MODEL", "--out", "x", "--traces", "absent.parquet"], "absent.parquet does not exist"),
        (["prune", "MODEL", "--out", "x", "--source", "c4"], "source must be one of"),
        (["prune", "MODEL", "--out", "x", "--source", "generic", "--thirds", "1;3"], "thirds must be"),
        (["prune", "MODEL", "--out", "x", "--source", "generic", "--sparsity", "1", "--tokens", "90"], "sparsity must be in [0, 1)"),
        (["prune", "MODEL", "--out", "x", "--source", "generic", "--method", "sparsgpt", "--tokens", "90"], "Did you mean 'sparsegpt'"),
        (["prune", "MODEL", "--out", "x", "--source", "generic", "--texts", "absent.txt"], "absent.txt does not exist"),
        (["prune", "MODEL", "--out", "x", "--source", "generic", "--tokens", "99000000"], "--tokens 99000000 asks for more"),
        (["errors", "MODEL", "--pruned", "rac", "--rollouts", "r.parquet"], "--pruned must be name=folder"),
        (["errors", "MODEL", "--pruned", "=x", "--rollouts", "r.parquet"], "--pruned must be name=folder"),
        (["errors", "MODEL", "--pruned", "a=x", "--pruned", "a=y", "--rollouts", "r.parquet"], "each name once"),
        (["errors", "MODEL", "--pruned", "rac=MODEL", "--rollouts", "r.parquet"], "r.parquet does not exist"),
        (["evaluate", "MODEL", "--limit", "501"], "500 test problems"),
        (["report"], "name a report"),
        (["cache", "--prune", "--older-than", "-1"], "older_than_days must be"),
    ],
)  # fmt: skip
def test_what_the_user_can_mend_is_said_in_one_line(racviz, tiny_folder, arguments, message):
    refused(racviz(*[str(a).replace("MODEL", str(tiny_folder)) for a in arguments]), message)
    assert os.listdir(".") == [], "nothing is written"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trace", "x"], "No such command 'trace'"),
        (["traces"], "Missing argument 'MODEL'"),
        (["traces", "x", "--limt", "3"], "No such option"),
        (["traces", "x", "--limit", "three"], "Invalid value for '--limit'"),
        (["prune", "x"], "Missing option '--out'"),
    ],
)
def test_a_command_that_is_none_is_answered_with_its_usage(racviz, arguments, message):
    code, out, err = racviz(*arguments)
    assert code == 2 and message.lower() in err.lower() and "Usage: racviz" in err and "Traceback" not in err and out == ""


def test_a_broken_problem_file_is_named_with_its_line(racviz, tiny_folder):
    Path("mine.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2"}\n{"prompt": "2 +')
    refused(racviz("evaluate", tiny_folder, "--problems", "mine.jsonl"), "mine.jsonl, line 2: not valid JSON")
    Path("open.jsonl").write_text('{"prompt": "1 + 1?"}\n')
    refused(racviz("evaluate", tiny_folder, "--problems", "open.jsonl"), "no answer to grade by")


def test_a_problem_that_calibrated_does_not_judge(racviz, chain):
    folder, _ = chain
    rv.load_problems("arithmetic", split="calibration", limit=40).save("mine.jsonl")
    refused(racviz("evaluate", folder / "rac", "--problems", "mine.jsonl"), "of the test problems calibrated the model")


def test_what_cannot_be_written_is_said_before_the_work(racviz, chain, tiny_folder, monkeypatch):
    folder, _ = chain
    monkeypatch.setenv("RACVIZ_CACHE", str(folder / "cache"))
    Path("file").write_text("")
    arguments = ["traces", tiny_folder, "--limit", 40, "--t-max", 24, "--batch-size", 32]
    refused(racviz(*arguments, "--out", "file/traces.parquet"), "cannot write file/traces.parquet: ")
    refused(racviz(*arguments, "--out", "."), "cannot write .: it is a folder")


def test_an_interruption_is_said_and_has_its_own_exit_code(racviz, tiny_folder, monkeypatch):
    from racviz.generation import hf

    choose, calls = hf.choose, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 8:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C, in the second batch
        return choose(*args)

    arguments = ["traces", tiny_folder, "--limit", 12, "--t-max", 6, "--batch-size", 4]
    with monkeypatch.context() as patch:
        patch.setattr(hf, "choose", interrupted)
        code, out, err = racviz(*arguments)
    assert code == 130 and out == "" and "Interrupted. What was finished is kept" in err and "Traceback" not in err
    assert len(Store.default().entries()) == 1 and os.listdir(".") == []
    calls.clear()
    monkeypatch.setattr(hf, "choose", lambda *args: calls.append(1) or choose(*args))
    assert racviz(*arguments)[0] == 0 and 0 < len(calls) <= 12, "the first batch is not generated again"


# --- parameters and the cache ------------------------------------------------------------------------------------------


def test_parameters_are_read_as_yaml():
    given = [
        "sparsities=[0.5, 0.6]",
        "problems=8",
        "mode=one-pass",
        "model=owner/name",
        "temperature=0.6",
        "progress=true",
        "run=a=b",
        " seed = 3 ",
    ]
    assert parse_parameters(given) == {
        "sparsities": [0.5, 0.6], "problems": 8, "mode": "one-pass", "model": "owner/name", "temperature": 0.6, "progress": True,
        "run": "a=b", "seed": 3,
    }  # fmt: skip
    assert parse_parameters(["sources=[rac, prompt]", "generic_text="]) == {"sources": ["rac", "prompt"], "generic_text": None}
    assert parse_parameters([]) == {}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("problems", "key=value"),
        ("=3", "key=value"),
        ("sparsities=[0.5", "sparsities cannot be read"),
        ("x=a: b: c", "x cannot be read"),
    ],
)
def test_parameters_that_cannot_be_read(pair, message):
    with pytest.raises(ParameterError, match=message):
        parse_parameters(["seed=1", pair])


def test_the_cache_is_listed_and_pruned(racviz):
    store = Store.default()
    assert racviz("cache")[1].startswith("0 artefacts, 0.0 MiB in ")
    for kind, k in (("traces", 1), ("traces", 2), ("checkpoints", 1)):
        store.cached(kind, {"k": k}, lambda folder: (folder / "data").write_bytes(bytes(2**20)), lambda folder: None)
    _, out, _ = racviz("cache", "--list")
    lines = out.splitlines()
    assert len(lines) == 4 and lines[-1] == f"3 artefacts, 3.0 MiB in {store.root}"
    assert sorted(line.split()[0] for line in lines[:3]) == ["checkpoints", "traces", "traces"] and all(
        "1.00 MiB" in line for line in lines[:3]
    )
    assert "0.0 MiB freed" in racviz("cache", "--prune", "--older-than", "1")[1] and len(store.entries()) == 3
    refused(racviz("cache", "--prune", "--kind", "trace"), "Did you mean 'traces'")
    assert racviz("cache", "--prune", "--kind", "traces")[1] == f"2.0 MiB freed in {store.root}\n"
    assert [row["kind"] for row in store.entries()] == ["checkpoints"]
    assert racviz("cache", "--prune")[0] == 0 and store.entries() == []


def test_the_cache_shows_what_killed_runs_left_and_removes_it(racviz):
    store, me = Store.default(), this_process()
    store.cached("traces", {"k": 1}, lambda folder: (folder / "data").write_bytes(b"1"), lambda folder: None)
    living, dead = (
        store.root / "traces" / f".{'a' * 24}.{me.host}-{pid}-{me.start}-01234567.tmp" for pid in (me.pid, 2**22 + 1)
    )
    for path in (living, dead):
        path.mkdir()
        (path / "data").write_bytes(bytes(2**20))
    _, out, _ = racviz("cache", "--list")
    assert "being written" in next(line for line in out.splitlines() if living.name in line)
    assert "killed" in next(line for line in out.splitlines() if dead.name in line)
    assert "1 drafts of killed runs, 1.0 MiB" in racviz("cache")[1]
    assert racviz("cache", "--prune", "--kind", "drafts")[1] == f"1.0 MiB freed in {store.root}\n"
    assert living.exists() and not dead.exists() and len(store.entries()) == 1
    assert "drafts" not in racviz("cache")[1]


def test_answers_can_be_read_by_pandas(chain):
    folder, _ = chain
    assert {"problem_id", "answer", "correct"} <= set(pd.read_parquet(folder / "answers.parquet").columns)


def test_a_text_parameter_is_taken_as_it_is_written():
    assert parse_parameters(["pattern=2:4", "problems=3"], {"pattern": "str", "problems": "int"}) == {
        "pattern": "2:4",
        "problems": 3,
    }


def test_a_model_is_not_pruned_over_its_own_dense_weights(racviz, tiny_folder):
    before = {path.name: path.stat().st_mtime_ns for path in Path(tiny_folder).iterdir()}
    refused(racviz("prune", str(tiny_folder), "--out", str(tiny_folder), "--source", "generic"), "name another")
    assert before == {path.name: path.stat().st_mtime_ns for path in Path(tiny_folder).iterdir()}


def test_traces_go_out_for_other_tools_and_come_back(racviz, chain, tiny_folder, tmp_path):
    folder, _ = chain
    assert racviz("export", str(folder / "own.parquet"), "--out", str(tmp_path / "ids.jsonl"))[0] == 0
    code, _, err = racviz("export", str(folder / "own.parquet"), "--out", str(tmp_path / "text.jsonl"), "--form", "text")
    assert code == 1 and "--model must be the model" in err
    code, out, _ = racviz("export", str(folder / "own.parquet"), "--out", str(tmp_path / "text.jsonl"), "--form", "text",
                          "--model", str(tiny_folder))  # fmt: skip
    assert code == 0 and out == f"40 traces: {tmp_path / 'text.jsonl'}\n"
    code, out, _ = racviz(
        "traces", str(tiny_folder), "--from", str(tmp_path / "ids.jsonl"), "--out", str(tmp_path / "in.parquet")
    )
    assert code == 0 and out.startswith("40 traces")
    before, after = rv.Traces.load(folder / "own.parquet"), rv.Traces.load(tmp_path / "in.parquet")
    assert [(t.prompt_ids, t.output_ids) for t in before] == [(t.prompt_ids, t.output_ids) for t in after]
    assert (
        racviz(
            "prune", str(tiny_folder), "--traces", str(tmp_path / "ids.jsonl"), "--tokens", "500", "--out", str(tmp_path / "p")
        )[0]
        == 0
    )


def test_others_traces_are_taken_whole_and_other_options_refused(racviz, tiny_folder, tiny):
    row = dict(prompt_ids=[1, 2, 3], output_ids=[4, 5])
    Path("many.jsonl").write_text("".join(json.dumps(row | dict(id=str(k), problem=f"q{k}")) + "\n" for k in range(150)))
    assert "150 traces" in racviz("traces", tiny_folder, "--from", "many.jsonl")[1]
    assert "7 traces" in racviz("traces", tiny_folder, "--from", "many.jsonl", "--limit", "7")[1]
    idle = racviz("traces", tiny_folder, "--from", "many.jsonl", "--t-max", "7", "--backend", "vllm")
    refused(idle, "--t-max, --backend cannot be given with --from")


def test_bad_rows_of_others_are_skipped_up_to_a_limit(racviz, tiny_folder):
    good = json.dumps(dict(problem="1 + 1?", response="<think>2</think>2"))
    Path("some.jsonl").write_text("\n".join([good, '{"a": 1}', good, '{"a": ']) + "\n")
    refused(racviz("traces", tiny_folder, "--from", "some.jsonl"), "--max-bad '1%'")
    code, out, _ = racviz("traces", tiny_folder, "--from", "some.jsonl", "--max-bad", "50%")
    assert code == 0 and "4 rows, 2 traces: 2 with a thought, 0 without" in out and "line 2" in out and "line 4" in out
    refused(racviz("traces", tiny_folder, "--from", "some.jsonl", "--max-bad", "1"), "2 of 4 rows")
    refused(racviz("traces", tiny_folder, "--from", "some.jsonl", "--max-bad", "x"), "--max-bad must be")
    refused(racviz("traces", tiny_folder, "--max-bad", "1"), "--max-bad needs --from")


def test_messages_speak_of_options(racviz, tiny_folder):
    few = racviz("prune", tiny_folder, "--out", "x", "--source", "generic", "--tokens", "100000000")
    refused(few, "--tokens 100000000 asks for more")
    refused(few, "or pass --allow-fewer to go on")
    refused(racviz("prune", tiny_folder, "--out", "x"), "--source rac needs --traces")
    refused(
        racviz("prune", "no-such-model", "--out", "x", "--source", "generic", "--method", "sparsgpt"),
        "Did you mean 'sparsegpt'",
    )
    refused(racviz("evaluate", "no-such-model", "--backend", "vllm?python=/nowhere"), "is no program here")
    refused(racviz("evaluate", "no-such-model", "--problems", "absent.jsonl"), "absent.jsonl does not exist")


def test_an_interruption_of_prune_says_what_is_kept(racviz, tiny_folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(rv, "prune", interrupted)
    command = ("prune", tiny_folder, "--out", "x", "--source", "generic", "--tokens", "64")
    assert "Nothing was written. With --workspace" in racviz(*command)[2]
    assert "goes on from there" in racviz(*command, "--workspace", "w")[2]


def test_what_cannot_be_written_in_the_end_is_said_at_once(racviz, tiny_folder):
    Path("file").write_text("x")
    Path("folder").mkdir()
    prune = ("prune", "no-such-model", "--source", "generic")
    refused(racviz(*prune, "--out", "file"), "cannot write file: ")
    refused(racviz(*prune, "--out", "file/below"), "is a file. Name another place by --out")
    refused(racviz("evaluate", "no-such-model", "--out", "folder"), "cannot write folder: it is a folder")
    refused(racviz("evaluate", "no-such-model", "--out", "file/y.parquet"), "is a file")
    assert Path("file").read_text() == "x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["traces", "MODEL", "--t-max", "0"], "--t-max must be an integer >= 1"),
        (["traces", "MODEL", "--t-max", "5000"], "with --t-max 5000"),
        (["evaluate", "MODEL", "--budget", "5000"], "with --budget 5000"),
        (["evaluate", "MODEL", "--budget", "20", "--batch-size", "0"], "--batch-size must be an integer >= 1"),
        (["evaluate", "MODEL", "--samples", "0"], "--samples must be"),
        (["evaluate", "MODEL", "--limit", "0"], "--limit must be"),
        (["evaluate", "MODEL", "--seed", "-1"], "--seed must be an integer >= 0"),
        (["prune", "MODEL", "--out", "x", "--source", "generic", "--sequence-length", "0"], "--sequence-length must be"),
        (["prune", "MODEL", "--out", "x", "--source", "generic", "--seed", "-1"], "--seed must be an integer >= 0"),
    ],
)
def test_parameters_are_called_by_their_options(racviz, tiny_folder, arguments, message):
    refused(racviz(*[str(tiny_folder) if each == "MODEL" else each for each in arguments]), message)


def test_full_takes_all_problems_there_are(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from racviz import reports
    from racviz.cli import app

    asked = {}
    monkeypatch.setattr(
        reports, "run_report", lambda name, given, out, kernels: asked.setdefault(name, given) and out / "x.html"
    )
    monkeypatch.setattr(reports, "build_index", lambda out: out)
    (tmp_path / "mine.jsonl").write_text("".join(f'{{"prompt": "what is {k}?", "answer": "{k}"}}\n' for k in range(7)))
    runner = CliRunner()
    own = ["-p", f"test_problems={tmp_path / 'mine.jsonl'}"]
    for name, more, count in (("seeds", [], 500), ("table2_code", [], 500), ("cot_lengths", own, 7)):
        assert runner.invoke(app, ["report", name, "--full", "--out", str(tmp_path), *more]).exit_code == 0
        assert asked[name]["problems"] == count
