"""Files that racviz reads, changed at random: each opens, or is refused with a RacvizError, and with no other."""

import copy
import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import racviz as rv
from racviz.calibration import CalibrationSet
from racviz.evaluation import Evaluation
from racviz.exceptions import DataError, RacvizError
from racviz.explorer.checksums import sealed
from racviz.explorer.columns import read_columns
from racviz.explorer.pyramid import open_pyramid
from racviz.generation.batches import Journal
from racviz.models import provenance_of
from racviz.pruning.moment import Moment
from racviz.pruning.moments import SecondMoments
from racviz.pruning.workspace import Workspace
from racviz.reconstruction import ReconstructionErrors
from racviz.results import read_results
from racviz.store import Store
from racviz.store.parquet import write_parquet
from racviz.store.schemas import SHOWN
from racviz.study import RESULT_COLUMNS
from racviz.study.sweep import Book, studies_of
from racviz.traces import Trace, Traces

EXAMPLES = int(os.environ.get("RACVIZ_FUZZ_EXAMPLES", "40"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES == 40, suppress_health_check=list(HealthCheck)
)


def nested(depth: int):
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


ODD = [
    None, True, -1, 1.5, 0, 2**31, 2**63, -(2**70), 10**400, float("nan"), float("inf"), "", "x", "\x1b[31m", "n" * 1_000_000,
    [], [1], {}, {"a": [None]}, [[1], ["x"]], nested(50),
]  # fmt: skip


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*path, key))


def mutated(value, data):
    """JSON with one value replaced, removed or wrapped."""
    value = copy.deepcopy(value)
    path = data.draw(st.sampled_from(list(places(value))))
    new = data.draw(st.sampled_from([*ODD, "remove", "wrap"]))
    if not path:
        return [value] if new == "wrap" else None if new == "remove" else new
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    if new == "remove":
        del parent[path[-1]]
    else:
        parent[path[-1]] = [parent[path[-1]]] if new == "wrap" else new
    return value


def damaged(raw: bytes, data) -> bytes:
    """Bytes cut off or flipped."""
    at = data.draw(st.integers(0, len(raw) - 1))
    return (
        raw[:at] if data.draw(st.booleans()) else raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    )


def odd_columns(n: int):
    return [
        pa.nulls(n), pa.array([None] * n, pa.int64()), pa.array([-1] * n), pa.array([2**40] * n), pa.array([2**64 - 1] * n, pa.uint64()),
        pa.array([float("nan")] * n), pa.array([1.5] * n), pa.array(["x"] * n), pa.array([b"\xff"] * n), pa.array([True] * n),
        pa.array([[1]] * n), pa.array([[None]] * n, pa.list_(pa.int64())), pa.array([[-5]] * n), pa.array([[2**40]] * n),
        pa.array([[float("nan")]] * n), pa.array([["x"]] * n), pa.array([[[1]]] * n), pa.array([{"a": 1}] * n),
        pa.array(["n" * 1_000_000] * n),
        pa.array([0] * n, pa.timestamp("s")), pa.array([None] * n, pa.string()), pa.array([[]] * n, pa.list_(pa.int64())),
    ]  # fmt: skip


def mutated_parquet(path: Path, data) -> None:
    kind = data.draw(st.sampled_from(["column", "drop", "twice", "label", "raw label", "pandas", "bytes"]))
    table = pq.read_table(path)
    meta = dict(table.schema.metadata)
    k = data.draw(st.integers(0, table.num_columns - 1))
    if kind == "bytes":
        path.write_bytes(damaged(path.read_bytes(), data))
        return
    if kind == "column":
        table = table.set_column(k, table.column_names[k], data.draw(st.sampled_from(odd_columns(len(table)))))
    elif kind == "drop":
        table = table.remove_column(k)
    elif kind == "twice":
        table = table.append_column(table.column_names[k], table.column(k))
    elif kind == "label":
        meta[b"racviz"] = json.dumps(mutated(json.loads(meta[b"racviz"]), data)).encode()
    else:
        key = b"racviz" if kind == "raw label" else b"pandas"
        meta[key] = data.draw(st.sampled_from([b"", b"{", b"\xff", b"[" * 100_000, b"null", b"1" * 5000, b'{"columns": 3}']))
    pq.write_table(table.replace_schema_metadata(meta), path)


def allowed(read, *args) -> None:
    try:
        read(*args)
    except RacvizError as error:
        assert len(str(error)) < 3000 and "\x1b" not in str(error)


def parquet_files():
    traces = Traces(
        (Trace("a", 0, (1, 2), (3,), "stop", "h"), Trace("b", 0, (1,), (4, 5), "length", "i")), "m", "f", "t", {"seed": 0}
    )
    errors = pd.DataFrame({"problem_id": ["a", "a"], "position": [0, 1], "phase": ["prefill", "decode"], "token": ["x", "y"]})
    errors["norm_dense"], errors["e_rac"] = [1.0, 2.0], [0.5, 0.25]
    answers = pd.DataFrame({"problem_id": ["a"], "sample": [0], "correct": [True], "think_tokens": [3], "output_tokens": [5]})
    answers["finish_reason"] = "stop"
    calibration = pd.DataFrame(
        {"token_ids": [np.array([1, 2])], "phases": [np.array([0, 1], np.int8)], "weights": [np.ones(2, np.float32)]}
    )
    label = {"model": "m", "metric": "hidden", "layer": "final", "rollouts": 1, "calibration_tokens": {"rac": 3}}
    return {
        "traces": (Traces.load, lambda path: traces.save(path)),
        "errors": (ReconstructionErrors.load, lambda path: write_parquet(path, errors, label)),
        "explored": (read_columns, lambda path: write_parquet(path, errors, label)),
        "evaluation": (Evaluation.load, lambda path: write_parquet(path, answers, {"model": "m"})),
        "calibration": (
            CalibrationSet.load,
            lambda path: write_parquet(path, calibration, {"source": "rac", "problems": ["h"], "label": {"source": "rac"}}),
        ),
    }


@pytest.mark.parametrize("kind", ["traces", "errors", "explored", "evaluation", "calibration"])
@fuzz
@given(data=st.data())
def test_a_changed_parquet_file_opens_or_is_refused(kind, data):
    read, write = parquet_files()[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.parquet"
        write(path)
        read(path)
        mutated_parquet(path, data)
        allowed(read, path)


@fuzz
@given(data=st.data())
def test_changed_cells_open_or_are_refused(data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        book = Book(folder)
        row = dict.fromkeys(RESULT_COLUMNS, 0.5) | {"model": "m", "source": "rac"}
        book.add("k", {"cell": "rac 0.5", "row": row})
        book.add("l", {"cell": "rac 0.7", "error": "no memory"})
        lines = book.path.read_text().splitlines()
        if data.draw(st.booleans()):
            lines[data.draw(st.integers(0, 1))] = json.dumps(mutated(json.loads(lines[0]), data))
            book.path.write_text("\n".join(lines))
        else:
            path = data.draw(st.sampled_from([book.path, book.table]))
            path.write_bytes(damaged(path.read_bytes(), data))
        allowed(read_results, folder)


@fuzz
@given(data=st.data())
def test_a_changed_grid_opens_or_is_refused(data):
    grid = {"model": "tiny-reasoner", "sources": ["rac"], "sparsities": [0.3, 0.5], "seed": [0, 1], "calibration_tokens": 1000}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.yaml"
        text = json.dumps(mutated(grid, data)) if data.draw(st.booleans()) else damaged(yaml.safe_dump(grid).encode(), data)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        allowed(studies_of, path)


@fuzz
@given(data=st.data())
def test_changed_problems_and_texts_open_or_are_refused(data):
    rows = [{"id": "a", "problem": "1+1", "answer": "2"}, {"id": "b", "problem": "2+2", "answer": "4"}]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        text = "\n".join(json.dumps(mutated(row, data)) for row in rows).encode()
        path.write_bytes(text if data.draw(st.booleans()) else damaged(text, data))
        allowed(rv.load_problems, str(path))
        allowed(rv.load_texts, str(path))


@fuzz
@given(data=st.data())
def test_a_changed_provenance_opens_or_is_refused(data):
    kept = {
        "name": "m", "fingerprint": "f", "base": "tiny-reasoner", "prune": {"method": "wanda"}, "sparsity": 0.5, "sparsity_all": 0.4,
        "calibration": {"source": "rac", "tokens": 12, "problems": ["aa", "bb"]},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "racviz.json"
        text = json.dumps(mutated(kept, data)).encode()
        path.write_bytes(text if data.draw(st.booleans()) else damaged(json.dumps(kept).encode(), data))

        def read():
            problems = provenance_of(path.parent).get("calibration", {}).get("problems", ())
            assert all(isinstance(problem, str) for problem in problems)

        allowed(read)


@fuzz
@given(data=st.data())
def test_changed_progress_of_a_workspace_opens_or_is_refused(data):
    kept = {"identity": "i", "done": 1, "rows": [{"linear": "q", "sparsity": 0.5}], "hashes": {}}
    blocks = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "progress.json"
        text = json.dumps(mutated(kept, data)).encode()
        path.write_bytes(text if data.draw(st.booleans()) else damaged(json.dumps(kept).encode(), data))
        allowed(Workspace(folder, "i").restore, blocks)


@fuzz
@given(data=st.data())
def test_changed_second_moments_open_or_are_refused(data):
    moment = Moment(2)
    moment.add(0, torch.ones(3, 2))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "moments.safetensors"
        SecondMoments(
            {"q": moment.finish(), "k": moment}, "f", {"source": "rac", "tokens": 3, "fingerprint": "c", "problems": ["a"]}
        ).save(path)
        if data.draw(st.booleans()):
            path.write_bytes(damaged(path.read_bytes(), data))
        else:
            with safe_open(path, "pt") as file:
                label = mutated(json.loads(file.metadata()["racviz"]), data)
                sums = {key: file.get_tensor(key) for key in file.keys()}
            shape = data.draw(st.sampled_from([(2, 2), (2,), (3, 2), (), (0,), (1, 1, 1)]))
            sums["q|1"] = torch.zeros(shape)
            save_file(sums, path, {"racviz": json.dumps(label)})
        allowed(SecondMoments.load, path)


@settings(fuzz, max_examples=max(10, EXAMPLES // 2))
@given(data=st.data())
def test_a_changed_journal_gives_rows_of_the_vocabulary(tiny, data):
    """Damaged rows are generated anew, so no journal stops a run; whatever is taken out of one can be told as text."""
    rows = [{"row": k, "output_ids": [5, 6, 7], "finish_reason": "stop"} for k in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        journal = Journal(store, {"a": 1}, tiny)
        journal.path.parent.mkdir(parents=True)
        lines = "\n".join(json.dumps(mutated(row, data)) for row in rows).encode()
        journal.path.write_bytes(lines if data.draw(st.booleans()) else damaged(lines, data))
        with journal:
            for row, completion in journal.rows.items():
                assert row >= 0 and isinstance(completion.finish_reason, str)
                assert all(0 <= token < len(tiny.tokenizer) for token in completion.output_ids)


@settings(fuzz, max_examples=max(10, EXAMPLES // 2))
@given(data=st.data())
def test_changed_sums_of_the_explorer_are_made_again(data):
    frame = pd.DataFrame({"problem_id": ["a"] * 4, "position": range(4), "phase": ["prompt"] * 2 + ["decode"] * 2})
    frame["norm_dense"], frame["e_rac"] = 1.0, [0.5, 0.25, 0.125, 0.0625]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "errors.parquet"
        write_parquet(path, frame, {"model": "m"})
        made = open_pyramid(path)
        file = made.folder / data.draw(st.sampled_from(["meta.json", "start/sums.json"]))
        content = mutated(json.loads(file.read_text())["content"], data)
        file.write_text(sealed(content) if isinstance(content, dict) else json.dumps(content))
        again = open_pyramid(path)
        assert again.names == made.names and again.columns == 4
        np.testing.assert_array_equal(again.level("rac", 0)[:, :], made.level("rac", 0)[:, :])


@settings(fuzz, max_examples=max(10, EXAMPLES // 2))
@given(data=st.data())
def test_changed_traces_of_others_are_imported_or_refused(tiny, data):
    row = data.draw(
        st.sampled_from([
            {"prompt": "What is 1 + 1?", "response": "<think> one more </think> 2", "finish_reason": "stop"},
            {"messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "reasoning_content": "so", "content": "2"}]},
            {"prompt_ids": [1, 2], "output_ids": [3, 4], "model": "m", "content_hash": "aa"},
            {"question": "1 + 1?", "generations": ["2", None], "finish_reasons": ["stop", "length"]},
        ])
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "traces.jsonl"
        lines = "\n".join(json.dumps(each) for each in (row, mutated(row, data))).encode()
        path.write_bytes(lines if data.draw(st.booleans()) else damaged(lines, data))
        allowed(lambda: rv.import_traces(str(path), tiny, max_bad="100%"))


@pytest.mark.parametrize(
    ("column", "values", "named"),
    [
        ("sample", pa.array([0, -1]), "row 2: sample"),
        ("sample", pa.array([0, 2**31]), "row 2: sample"),
        ("sample", pa.array([float("nan"), 0.0]), "sample"),
        ("problem_id", pa.array(["a", None]), "row 2: problem_id"),
        ("prompt_ids", pa.array([[1], [2, -3]]), "row 2: prompt_ids"),
        ("prompt_ids", pa.array([[1, None], [2]]), "row 1: prompt_ids"),
        ("prompt_ids", pa.array([["1"], ["2"]]), "prompt_ids"),
    ],
)
def test_a_wrong_value_is_named_by_row_and_column(tmp_path, column, values, named):
    read, write = parquet_files()["traces"]
    path = tmp_path / "t.parquet"
    write(path)
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(column), column, values), path)
    with pytest.raises(DataError, match=named) as caught:
        read(path)
    assert "t.parquet" in str(caught.value)


def test_a_label_of_a_megabyte_is_shortened(tmp_path):
    path = tmp_path / "t.parquet"
    write_parquet(path, pd.DataFrame({"problem_id": ["a"], "position": [0], "phase": ["x"]}), {"model": ["n" * 1_000_000]})
    with pytest.raises(DataError, match="model") as caught:
        read_columns(path)
    assert len(str(caught.value)) < len(str(path)) + 3 * SHOWN


def test_a_line_of_cells_from_elsewhere_is_named(tmp_path):
    (tmp_path / "cells.jsonl").write_text('{"key": "k", "cell": "c", "error": "e"}\n{"key": 3}\n')
    with pytest.raises(DataError, match="row 2: key"):
        Book(tmp_path)


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    (tmp_path / "cells.jsonl").write_text('{"key": "k", "cell": "c", "error": "e"}\n{"key": "l", "ce')
    assert list(Book(tmp_path).done) == ["k"]
