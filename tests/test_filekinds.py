"""Files as they come: other delimiters, encodings and compressions, rows under a key, and files that are something else."""

import bz2
import csv
import gzip
import io
import json
import lzma

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racviz.exceptions import DataError
from racviz.problems import load_problems
from racviz.problems.tables import file_rows
from racviz.problems.texts import load_texts

ROWS = [{"problem": "1 + 1?", "answer": "2"}, {"problem": 'say "a",\nthen; é 漢\u2028', "answer": "a | b\tc"}]
PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
           ".zst": lambda raw: pa.compress(raw, "zstd", asbytes=True)}  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
every_packer = pytest.mark.parametrize("packed", PACKERS)


def as_csv(rows, delimiter=",", newline="\n"):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator=newline)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read(path, **named):
    return [row for _, row in file_rows(path, **named)]


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@every_packer
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", as_csv(ROWS, ";")), ("a.tsv", as_csv(ROWS, "\t")), ("a.jsonl", as_lines(ROWS))]
)
def test_every_encoding_and_compression_holds_the_same_rows(tmp_path, packed, encoding, name, text):
    assert read(put(tmp_path, name + packed, PACKERS[packed](text.encode(encoding)))) == ROWS


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12).filter(
    lambda text: text not in ("nan", "NaN", "<NA>")
)


@settings(max_examples=60)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_texts_survive_any_delimiter(tmp_path_factory, cells, delimiter, newline):
    rows = [{"problem": a, "answer": b} for a, b in cells]
    folder = tmp_path_factory.mktemp("csv")
    quoted = io.StringIO()
    writer = csv.writer(quoted, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerows([["problem", "answer"], *cells])
    assert read(put(folder, "all.csv", quoted.getvalue().encode())) == rows
    assert read(put(folder, "sep.csv", f"sep={delimiter}{newline}{quoted.getvalue()}".encode())) == rows
    assert read(put(folder, "a.jsonl", as_lines(rows).encode())) == rows
    assert read(put(folder, "a.json", json.dumps({"data": rows}, indent=1).encode())) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("problem;answer\n2,5 + 1?;3,5\n", [{"problem": "2,5 + 1?", "answer": "3,5"}]),
        ("problem;answer, final\na;1\n", [{"problem": "a", "answer, final": "1"}]),
        ("problem|answer\na, b|1\nc|2\n", [{"problem": "a, b", "answer": "1"}, {"problem": "c", "answer": "2"}]),
        ("problem\nwhat?\n", [{"problem": "what?"}]),
        ('problem, answer\n1, "2"\n', [{"problem": "1", "answer": "2"}]),
        ("sep=;\r\nproblem;answer\r\n1;2\r\n", [{"problem": "1", "answer": "2"}]),
        ('"sep=|"\nproblem|answer\n1|2\n', [{"problem": "1", "answer": "2"}]),
        (",problem,answer\n0,a,1\n", [{"problem": "a", "answer": "1"}]),
        ("problem,answer\n\na,1\n\n", [{"problem": "a", "answer": "1"}]),
    ],
)
def test_delimiters(tmp_path, text, rows):
    assert read(put(tmp_path, "a.csv", text)) == rows


ROW = {"problem": "1 + 1?", "answer": "2"}
OTHER = {"problem": "3?", "answer": "3"}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.txt", "a.csv", "a.parquet"])
@pytest.mark.parametrize(
    "text",
    [
        as_lines([ROW, OTHER]),
        json.dumps([ROW, OTHER]),
        json.dumps([ROW, OTHER], indent=2),
        json.dumps({"data": [ROW, OTHER]}),
        json.dumps({"version": "1.1", "info": {"by": "x"}, "problems": [ROW, OTHER]}, indent=1),
        json.dumps({"dataset": {"rows": [ROW, OTHER]}}),
        json.dumps(ROW, indent=2) + "\n" + json.dumps(OTHER, indent=2),
        json.dumps(ROW) + json.dumps(OTHER),
        json.dumps({"problem": ["1 + 1?", "3?"], "answer": ["2", "3"]}),
        pd.DataFrame([ROW, OTHER]).to_json(),
        pd.DataFrame([ROW, OTHER]).to_json(orient="split"),
        json.dumps({"features": [{"name": "problem"}], "rows": [{"row_idx": k, "row": r} for k, r in enumerate((ROW, OTHER))]}),
    ],
)  # fmt: skip
def test_json_is_read_in_every_form_under_every_name(tmp_path, name, text):
    assert read(put(tmp_path, name, text)) == [ROW, OTHER]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [{"role": "user", "content": "1 + 1?"}], "answer": ["2"]},
        {"messages": [{"role": "user", "content": "1 + 1?"}]},
        {"problem": "1 + 1?", "tests": [{"input": "", "output": "2"}]},
        {"prompt_ids": [1, 2], "output_ids": [3, 4]},
        {"question": "1 + 1?", "meta": {"a": 1}},
    ],
)
def test_a_file_of_one_row_is_that_row(tmp_path, row):
    assert read(put(tmp_path, "a.jsonl", json.dumps(row))) == [row]


def test_records_under_their_ids(tmp_path):
    path = put(tmp_path, "a.json", json.dumps({"p1": ROW, "p2": OTHER}))
    assert [(p.id, p.answer) for p in load_problems(path)] == [("p1", "2"), ("p2", "3")]


def test_several_tables_in_one_file_are_told_apart_by_name(tmp_path):
    path = put(tmp_path, "a.json", json.dumps({"train": [ROW], "test": [OTHER], "odd": [{"problem": "5?"}]}))
    assert [load_problems(path, split=split)[0].prompt for split in ("calibration", "test")] == ["1 + 1?", "3?"]
    assert load_problems(f"{path}?split=odd")[0].prompt == "5?"
    for name in (f"{path}?split=dev", put(tmp_path, "b.json", json.dumps({"a": [ROW], "b": [OTHER]}))):
        with pytest.raises(DataError, match=r"holds several tables: .*\?split="):
            load_problems(name)


def test_splits_of_a_saved_data_set(tmp_path):
    datasets = pytest.importorskip("datasets")
    one = datasets.Dataset.from_list([ROW])
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=one, test=datasets.Dataset.from_list([OTHER])).save_to_disk(tmp_path / "two")
    assert load_problems(tmp_path / "one")[0].prompt == "1 + 1?"
    assert [load_problems(tmp_path / "two", split=split)[0].prompt for split in ("calibration", "test")] == ["1 + 1?", "3?"]
    assert load_problems(f"{tmp_path / 'two'}?split=train")[0].prompt == "1 + 1?"
    with pytest.raises(DataError, match="has the splits train, test.*'dev'"):
        load_problems(f"{tmp_path / 'two'}?split=dev")


@every_packer
@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a"])
def test_parquet_is_parquet_under_any_name(tmp_path, packed, name):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([ROW, OTHER]), out)
    assert read(put(tmp_path, name + packed, PACKERS[packed](out.getvalue()))) == [ROW, OTHER]


def test_an_arrow_file(tmp_path):
    table = pa.Table.from_pylist([ROW, OTHER])
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as out:
        out.write_table(table)
    assert read(tmp_path / "a.arrow") == [ROW, OTHER]
    with pa.ipc.new_stream(tmp_path / "b.arrow", table.schema) as out:
        out.write_table(table)
    assert read(tmp_path / "b.arrow") == [ROW, OTHER]
    cut = put(tmp_path, "c.arrow", (tmp_path / "b.arrow").read_bytes()[:-200])
    with pytest.raises(DataError, match="c.arrow is not a readable arrow stream file, or was cut off"):
        read(cut)


def test_names_in_messages_are_printable_and_few(tmp_path):
    row = {"\x1b[31mred\n": 1} | {f"column {k}": k for k in range(500)}
    with pytest.raises(DataError) as caught:
        load_problems(put(tmp_path, "a.jsonl", json.dumps(row)))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.csv", b"<!DOCTYPE html>\n<html>", "web page"),
        ("a.jsonl", b"\n <html lang='en'>", "web page"),
        ("a.json", b"<?xml version='1.0'?><Error>", "web page"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.csv", b"404: Not Found", "refusal"),
        ("a.csv", b"PK\x03\x04" + b"\0" * 20, "ZIP"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1", "Excel"),
        ("a.jsonl", b"SQLite format 3\0", "SQLite"),
        ("a.json", b"%PDF-1.7", "PDF"),
        ("a.json", b"\x80\x04\x95\x00", "pickle"),
        ("a.tar.gz", gzip.compress(b"a.json" + b"\0" * 251 + b"ustar\0" + b"\0" * 300, mtime=0), "TAR"),
        ("a.csv", "problem,answer\n1,2\n".encode("utf-16-le"), "UTF-16"),
        ("a.csv", b"\0\1\2\3", "binary"),
        ("a.parquet", b"problem,answer\n1,2\n", "not a readable parquet"),
        ("a.jsonl", b"problem,answer\n1,2\n", "looks like CSV"),
        ("a.csv", "problem,answer\ncafé,2\n".encode("latin-1"), "line 2: not CSV in UTF-8"),
        ("a.csv", b"problem,answer,answer\n1,2,3\n", "'answer'.*more than once"),
        ("a.jsonl", b'{"problem": "a", "answer": 1, "answer": 2}', "'answer' more than once"),
        ("a.csv", b'problem,answer\n"a,1\nb,2\n', "line 3: not CSV"),
        ("a.csv", b'problem,answer\n"say \\"a\\"",1\n', "line 2: not CSV"),
        ("a.csv", b"problem,answer\na\0,1\n", "line 2: .*NUL"),
        ("a.csv", b"problem,answer\na,1\nb\n", "line 3: .*fewer fields"),
        ("a.csv.gz", gzip.compress(b"problem,answer\n" * 99, mtime=0)[:30], "cut off"),
        ("a.jsonl.xz", lzma.compress(b'{"problem": "x"}\n' * 999)[:60], "cut off"),
        ("a.jsonl.bz2", bz2.compress(b'{"problem": "x"}\n' * 999)[:40], "cut off"),
        ("a.jsonl.zst", pa.compress(b'{"problem": "x"}\n' * 999, "zstd", asbytes=True)[:20], "cut off"),
        ("a.json", b'{\n "data": [\n  {"problem": "x"', "line 3: not valid JSON.*cut off"),
        ("a.json", json.dumps({"rows": [{"row_idx": 0, "row": ROW, "truncated_cells": ["answer"]}]}).encode(), "cut the cells answer"),
    ],
)  # fmt: skip
def test_other_files_are_named_for_what_they_are(tmp_path, name, content, kind):
    with pytest.raises(DataError, match=kind) as caught:
        load_problems(put(tmp_path, name, content))
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)


def test_a_column_that_stands_twice_in_parquet(tmp_path):
    table = pa.table([pa.array(["a"]), pa.array(["1"]), pa.array(["2"])], names=["problem", "answer", "answer"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'answer'.*more than once"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b""), ("a.csv", b"\xef\xbb\xbf"), ("a.csv", b"problem,answer\n"), ("a.json", b"[]"), ("a.json", b'{"data": []}'),
     ("a.jsonl.gz", gzip.compress(b"", mtime=0)), ("a.jsonl", b"\n \n")],
)  # fmt: skip
def test_files_without_rows(tmp_path, name, content):
    path = put(tmp_path, name, content)
    assert read(path) == []
    with pytest.raises(DataError, match="is empty"):
        load_problems(path)


def test_the_first_rows_do_not_wait_for_a_bad_one(tmp_path):
    lines = put(tmp_path, "a.jsonl", b'{"problem": "x"}\n{"problem": "caf\xe9"}\n')
    table = put(tmp_path, "a.csv", b"problem,answer\na,1\ncaf\xe9,2\n")
    for path, line in ((lines, 2), (table, 3)):
        assert len(load_problems(path, limit=1)) == 1
        with pytest.raises(DataError, match=f"line {line}: not "):
            load_problems(path)


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.jsonl", "a.json", "a.parquet", "a.csv.gz", "a.txt"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, name):
    path = put(tmp_path_factory.mktemp("any"), name, content)
    try:
        load_problems(path)
    except DataError as error:
        assert "\n" not in str(error)


LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(["problem", "answer", "data", "x"])


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner)))
def test_any_json_is_read_or_refused(tmp_path_factory, value):
    path = put(tmp_path_factory.mktemp("any"), "a.json", json.dumps(value))
    try:
        load_problems(path)
    except DataError as error:
        assert str(error)


def test_text_files_in_other_encodings(tmp_path):
    text = "one é\r\n\r\ntwo"
    for name, raw in (
        ("a.txt", text.encode("utf-16")),
        ("b.txt.gz", gzip.compress(text.encode())),
        ("c.txt", text.encode("utf-8-sig")),
    ):
        assert load_texts(put(tmp_path, name, raw)) == ["one é", "two"]
    pq.write_table(pa.table({"text": [b"one", b"two"]}), tmp_path / "d.txt")
    assert load_texts(tmp_path / "d.txt") == ["one", "two"]
    assert load_texts(put(tmp_path, "e.csv.gz", gzip.compress(b"text;n\none;1\n"))) == ["one"]
    with pytest.raises(DataError, match="git lfs pull"):
        load_texts(put(tmp_path, "f.txt", b"version https://git-lfs.github.com/spec/v1\n"))
