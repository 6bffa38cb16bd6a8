"""Rows of files that others wrote, problems and texts out of them."""

import base64
import gzip
import io
import json
import os
import pickle
import zlib

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.exceptions import DataError, ParameterError
from racviz.problems import BOXED, Problem, load_problems
from racviz.problems.livecodebench import pickled_text, program_tests
from racviz.problems.tables import Table, file_rows
from racviz.problems.texts import load_texts

ROWS = [{"question": "2 + 2, or\n4?", "answer": "so\n#### 4"}, {"question": 'say "a"', "answer": "#### 1,200 "}]
EXPECTED = [("2 + 2, or\n4?", "4"), ('say "a"', "1,200")]


def write(folder, kind, rows):
    path = folder / f"mine.{kind}"
    frame = pd.DataFrame(rows)
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "csv", "parquet"])
def test_every_kind_of_file_holds_the_same_problems(tmp_path, kind):
    problems = load_problems(write(tmp_path, kind, ROWS))
    assert [(p.prompt, p.answer) for p in problems] == EXPECTED
    renamed = write(tmp_path, kind, [{"ask": row["question"], "gold": row["answer"], "nr": k} for k, row in enumerate(ROWS)])
    by_name = load_problems(f"{renamed}?prompt=ask&answer=gold&id=nr")
    by_columns = load_problems(renamed, columns={"prompt": "ask", "answer": "gold", "id": "nr"})
    assert by_name.problems == by_columns.problems and [p.id for p in by_name] == ["0", "1"]
    assert [p.answer for p in by_name] == ["4", "1,200"], "whatever the columns are called"
    with pytest.raises(DataError, match="needs the column 'prompt'.*it has ask, gold, nr"):
        load_problems(renamed)
    with pytest.raises(DataError, match="no column 'asked' to take 'prompt' from; it has ask, gold, nr"):
        load_problems(f"{renamed}?prompt=asked")
    with pytest.raises(ParameterError, match="not 'promt'. Did you mean 'prompt'"):
        load_problems(f"{renamed}?promt=ask")
    with pytest.raises(ParameterError, match="columns must be one of .*not 'promt'"):
        load_problems(renamed, columns={"promt": "ask"})


@given(st.lists(st.tuples(st.text(min_size=1).filter(str.strip), st.text()), min_size=1, max_size=6))
def test_texts_survive_parquet_and_jsonl(tmp_path_factory, pairs):
    rows = [{"id": str(k), "prompt": prompt, "answer": answer} for k, (prompt, answer) in enumerate(pairs)]
    folder = tmp_path_factory.mktemp("tables")
    try:
        json.dumps(rows, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return  # half of a surrogate pair, which no file holds
    for kind in ("jsonl", "parquet"):
        assert [(p.prompt, p.answer) for p in load_problems(write(folder, kind, rows))] == pairs


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"prompt,answer\n1,2\nthree\n", "line 3: it has fewer fields"),
        ("a.csv", b"prompt,answer\n1,2,3\n", "line 2: it has more fields"),
        ("a.csv", b"prompt,answer\ncaf\xe9,2\n", "not CSV in UTF-8"),
        ("a.parquet", b"PAR1 not really", "not a readable parquet file"),
        ("a.json", b'[{"prompt": "x"}', "not valid JSON"),
        ("a.json", b'["x"]', "row 1: a problem is an object with columns; not str"),
    ],
)
def test_bad_files_are_named_with_the_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_problems(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_a_name_with_a_question_mark_in_it_is_a_file_where_there_is_one(tmp_path):
    path = write(tmp_path, "jsonl", [{"prompt": "x"}]).rename(tmp_path / "what?prompt=y.jsonl")
    assert load_problems(path)[0].prompt == "x" and Table.parse(path).options == {}
    assert Table.parse("open-r1/codeforces@v1?config=c", ("config",)) == Table("open-r1/codeforces", "v1", {"config": "c"})
    with pytest.raises(ParameterError, match="must be one of .*not 'nothing'"):
        load_problems(f"{tmp_path}/a.jsonl?nothing")


def test_an_instruction_is_said_but_does_not_tell_problems_apart(tmp_path):
    path = write(tmp_path, "jsonl", [{"problem": "1 + 1", "answer": "2"}])
    plain, boxed, own = (
        load_problems(path),
        load_problems(f"{path}?instruction=boxed"),
        load_problems(path, instruction="Be brief."),
    )
    assert plain[0].text == "1 + 1" and boxed[0].text == f"1 + 1\n\n{BOXED}" and own[0].text == "1 + 1\n\nBe brief."
    assert plain[0].content_hash == boxed[0].content_hash and plain.fingerprint != boxed.fingerprint != own.fingerprint
    boxed.save(tmp_path / "saved.jsonl")
    assert load_problems(tmp_path / "saved.jsonl").problems == boxed.problems
    with pytest.raises(ParameterError, match="not for the domain 'arithmetic'"):
        load_problems("arithmetic", instruction="boxed")


def test_texts_from_files(tmp_path):
    odd = "line one\u2028line\x85 two\nline three \x0c"
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"text": odd}, ensure_ascii=False) + "\n\n" + json.dumps({"text": "b"}), encoding="utf-8"
    )
    assert load_texts(tmp_path / "a.jsonl") == [odd, "b"]
    (tmp_path / "a.txt").write_text("one\n\n\n\ntwo\nstill two\n\n  \n\n")
    assert [text.strip() for text in load_texts(tmp_path / "a.txt")] == ["one", "two\nstill two"]
    for kind in ("csv", "parquet"):
        assert load_texts(f"{write(tmp_path, kind, [{'body': 'x'}, {'body': 'y'}])}?text=body") == ["x", "y"]
    for bad in ('{"txt": "x"}', "[1]", '{"text": 3}', '{"text": null}'):
        (tmp_path / "b.jsonl").write_text('{"text": "fine"}\n' + bad + "\n")
        with pytest.raises(DataError, match="b.jsonl, line 2: not a row with the column 'text'"):
            load_texts(tmp_path / "b.jsonl")
    (tmp_path / "c.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="c.txt is not UTF-8"):
        load_texts(tmp_path / "c.txt")
    for absent in ("absent.txt", "absent.jsonl", "absent/folder.md"):
        with pytest.raises(DataError, match="does not exist"):
            load_texts(tmp_path / absent)
    with pytest.raises(ParameterError, match="generic_text must be one of 'c4'.*not 'c5'. Did you mean 'c4'"):
        load_texts("c5")


# --- LiveCodeBench -----------------------------------------------------------------------------------------------------


def packed(value) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


class Attack:
    def __reduce__(self):
        return os.system, ("echo attacked > attacked.txt",)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_in_a_pickle_is_read_without_running_it(text):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = base64.b64encode(zlib.compress(pickle.dumps(text, protocol))).decode()
        assert pickled_text(data) == text


@pytest.mark.parametrize(
    "value", [Attack(), [1], {"a": "b"}, ("a", "b"), 3, io.StringIO], ids=lambda value: type(value).__name__
)
def test_a_pickle_of_anything_else_is_refused(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {"question_content": "Q", "public_test_cases": "[]", "private_test_cases": packed(value), "metadata": "{}"}
    with pytest.raises(DataError, match="row 3: its test cases cannot be read"):
        program_tests(row, "row 3")
    assert not (tmp_path / "attacked.txt").exists()


def test_a_pickle_that_would_fill_the_memory_is_refused():
    bomb = base64.b64encode(zlib.compress(b"\x00" * (2**28 + 1), 9)).decode()
    with pytest.raises(ValueError, match="larger than"):
        pickled_text(bomb)


def test_a_problem_of_livecodebench(tmp_path):
    public, private = ([{"input": k, "output": k, "testtype": "stdin"}] for k in "12")
    rows = [
        {"question_id": "q1", "question_content": "Add.", "starter_code": "def f():", "platform": "leetcode", "difficulty": "hard",
         "public_test_cases": json.dumps(public), "private_test_cases": packed(json.dumps(private)), "metadata": '{"func_name": "f"}'},
        {"question_id": "q2", "question_content": "Print.", "starter_code": "", "platform": "atcoder", "difficulty": "easy",
         "public_test_cases": json.dumps(public), "private_test_cases": json.dumps(private), "metadata": "{}"},
    ]  # fmt: skip
    one, two = load_problems(write(tmp_path, "parquet", rows))
    assert one.id == "q1" and one.prompt == "Add.\n\ndef f():" and two.prompt == "Print."
    assert json.loads(one.tests) == {"cases": public + private, "function": "f"}
    assert json.loads(two.tests) == {"cases": public + private, "function": None}


def test_tests_that_a_table_holds_as_lists():
    cases = [{"input": "1", "output": "1", "testtype": "functional"}]
    row = {"public_test_cases": cases, "private_test_cases": "", "metadata": {"func_name": "f"}}
    assert json.loads(program_tests(row, "row 3")) == {"cases": cases, "function": "f"}
    for column, value in (("private_test_cases", 3), ("metadata", [1]), ("metadata", "f"), ("public_test_cases", [b"1"])):
        with pytest.raises(DataError, match="row 3: its test cases cannot be read"):
            program_tests(row | {column: value}, "row 3")


def test_rows_say_where_they_stand(tmp_path):
    assert [where for where, _ in file_rows(write(tmp_path, "parquet", ROWS))] == [
        f"{tmp_path}/mine.parquet, row {k}" for k in (1, 2)
    ]
    assert [p.id for p in load_problems(write(tmp_path, "csv", [{"prompt": "a"}, {"prompt": "b"}]))] == ["mine-2", "mine-3"]
    assert Problem("x", "y").text == "y"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", gzip.compress(b'{"prompt": "x"}\n' * 500, mtime=0)[:40], "cannot be read, or was cut off"),
        ("a.jsonl.gz", b"not gzip", "cannot be read, or was cut off"),
        ("a.json", '[{"prompt": "café"}]'.encode("latin-1"), "not UTF-8"),
        ("a.jsonl", b'{"difficulty": ' + b"9" * 5000 + b"}", "not usable JSON"),
        ("a.jsonl", b'{"prompt": "x", "answer": "\\ud800"}', "'answer' holds half of a surrogate pair"),
    ],
)
def test_odd_files_are_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_problems(tmp_path / name)


def test_ordinary_tables_are_taken(tmp_path):
    assert load_problems(write(tmp_path, "jsonl", [{"prompt": "x", "level": "Level 5"}]))[0].difficulty == 0
    assert load_problems(write(tmp_path, "csv", [{"prompt": "x", "difficulty": ""}]))[0].difficulty == 0
    assert len(load_problems(write(tmp_path, "csv", [{"prompt": "x", "answer": "y" * 200_000}]))[0].answer) == 200_000
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b'[{"prompt": "x"},\n {"prompt": "y"}]'))
    assert [p.prompt for p in load_problems(tmp_path / "a.json.gz")] == ["x", "y"]
    with pytest.raises(DataError, match="too long"):
        load_problems("n" * 300 + ".jsonl")
