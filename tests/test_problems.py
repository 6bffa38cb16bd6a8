"""Problem sets: the embedded ones, files, and files that are not what they should be."""

import dataclasses
import hashlib
import itertools
import json
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.exceptions import DataError, ParameterError
from racviz.problems import DOMAINS, Problem, ProblemSet, generated, load_problems, read_jsonl
from racviz.store import resource

every_domain = pytest.mark.parametrize("domain", DOMAINS)
GOOD = {"id": "p1", "prompt": "What is 1 + 1?", "answer": "2"}


@pytest.fixture
def write(tmp_path):
    """Write a problem file: rows as JSON, and text or bytes as they are."""

    def write(*lines, name="mine.jsonl"):
        raw = [x if isinstance(x, bytes) else (x if isinstance(x, str) else json.dumps(x) + "\n").encode() for x in lines]
        path = tmp_path / name
        path.write_bytes(b"".join(raw))
        return path

    return write


# --- embedded ----------------------------------------------------------------------------------------------------------


@every_domain
def test_embedded_sets(domain):
    test, calibration = load_problems(domain, split="test"), load_problems(domain, split="calibration")
    assert (len(test), len(calibration)) == (500, 2000)
    assert not {p.content_hash for p in test} & {p.content_hash for p in calibration}
    assert all(p.prompt and p.answer and p.domain == domain and p.family and p.difficulty for p in [*test, *calibration])
    assert load_problems(domain).split == "test"


@every_domain
@pytest.mark.parametrize("split", ["test", "calibration"])
def test_the_shipped_problems_begin_what_the_generator_makes(domain, split):
    shipped = load_problems(domain, split=split)
    assert list(shipped[:60]) == generated(domain, split, 60)
    assert generated(domain, split, 25) == list(shipped[:25]) and generated(domain, split, 100) == list(shipped[:100])


@pytest.mark.parametrize("domain", ["arithmetic", pytest.param("tracing", marks=pytest.mark.slow)])
def test_more_calibration_problems_than_are_shipped_are_generated(domain):
    shipped, more = load_problems(domain, split="calibration"), load_problems(domain, split="calibration", limit=2100)
    assert len(more) == 2100 and list(more[:2000]) == list(shipped)
    assert len({p.content_hash for p in more}) == 2100


def test_more_test_problems_than_there_are(domain="arithmetic"):
    with pytest.raises(DataError, match="500 test problems; limit=501"):
        load_problems(domain, split="test", limit=501)
    assert len(load_problems(domain, limit=500)) == 500 and len(load_problems(domain, limit=1)) == 1


def test_the_limit_takes_the_first():
    whole = list(read_jsonl(resource("data/problems/tracing-test.jsonl")))
    assert list(load_problems("tracing", limit=7)) == whole[:7]


# --- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"), [("arithmetics", "arithmetic"), ("Tracing", "tracing"), ("arithmetic-test", "arithmetic")]
)
def test_unknown_names_are_answered_with_the_nearest(name, near):
    with pytest.raises(ParameterError, match=f"not {name!r}. Did you mean {near!r}") as caught:
        load_problems(name)
    assert ".jsonl" in str(caught.value)


def test_a_folder_that_is_no_data_set_names_its_files(tmp_path):
    with pytest.raises(DataError, match="holds no JSON, CSV, Parquet or Arrow file"):
        load_problems(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="pass one of its files, such as .*train.parquet"):
        load_problems(tmp_path)


def test_a_name_that_is_near_to_nothing(tmp_path):
    for name in ("", "zzzzzzz", str(tmp_path / "absent")):
        with pytest.raises(ParameterError, match="problems must be one of 'arithmetic', 'tracing'") as caught:
            load_problems(name)
        assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "Test", "", None])
def test_unknown_splits(split):
    with pytest.raises(ParameterError, match="split must be 'calibration' or 'test'"):
        load_problems("arithmetic", split=split)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3"])
def test_limits_that_are_none(limit):
    with pytest.raises(ParameterError, match="limit must be"):
        load_problems("arithmetic", limit=limit)


# --- files -------------------------------------------------------------------------------------------------------------


def test_a_file_with_little_and_with_all(write):
    path = write(
        {"prompt": "only a prompt"}, "\n", "   \n", {"id": 7, "prompt": "numbers", "answer": 42, "difficulty": "3", "more": [1]},
        {"id": None, "prompt": "nulls", "answer": None, "difficulty": None, "family": None},
        {**GOOD, "domain": "d", "family": "f", "difficulty": 2, "tests": "assert f(1) == 2"},
    )  # fmt: skip
    assert list(load_problems(path)) == [
        Problem("mine-1", "only a prompt"),
        Problem("7", "numbers", "42", difficulty=3),
        Problem("mine-5", "nulls"),
        Problem("p1", "What is 1 + 1?", "2", "d", "f", 2, "assert f(1) == 2"),
    ]
    assert load_problems(path, split="calibration").split == "calibration"
    assert load_problems(path, limit=2)[1].id == "7" and load_problems(str(path)).name == "mine.jsonl"


def test_a_file_may_have_any_name_and_a_byte_order_mark(write):
    path = write(b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), name="problems of mine")
    assert load_problems(path)[0].prompt == GOOD["prompt"]


def test_text_of_any_kind_survives(write, tmp_path):
    odd = '漢字 🙂 e\u0301 \u2028 \u0085 <think>&amp;\x00\\ " \r\n\tx'
    path = write(json.dumps({**GOOD, "prompt": odd, "answer": odd}, ensure_ascii=False))
    problems = load_problems(path)
    assert problems[0].prompt == odd == problems[0].answer
    problems.save(tmp_path / "copy.jsonl")
    assert list(ProblemSet.load(tmp_path / "copy.jsonl")) == list(problems)


PROBLEMS = st.lists(
    st.builds(
        Problem,
        id=st.text(min_size=1),
        prompt=st.text(min_size=1).filter(str.strip),
        answer=st.text(),
        domain=st.text(),
        family=st.text(),
        difficulty=st.integers(-9, 9),
        tests=st.text(),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda p: p.id,
)


@given(PROBLEMS)
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, problems):
    made = ProblemSet(tuple(problems), "made", "test")
    path = tmp_path_factory.mktemp("problems") / "made.jsonl"
    made.save(path)
    again = load_problems(path)
    assert again.problems == made.problems and again.fingerprint == made.fingerprint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'id': 1}\n", "not valid JSON"),
        ('{"prompt": "x"} trailing\n', "not valid JSON.*column 17"),
        ("null\n", "is an object with columns"),
        ("[1, 2]\n", "is an object with columns"),
        ('"text"\n', "is an object with columns"),
        ({"id": "x", "answer": "2"}, "needs the column 'prompt'"),
        ({"prompt": "  \n"}, "needs the column 'prompt'"),
        ({"prompt": 42}, "needs the column 'prompt'"),
        ({"prompt": None}, "needs the column 'prompt'"),
        (b'{"prompt": "caf\xe9"}\n', "not UTF-8"),
        (b"\xff\xfe{\x00\n", "not UTF-8"),
        ('{"prompt": "\\ud800"}\n', "surrogate"),
    ],
)
def test_a_bad_line_is_named_with_its_file(write, line, message):
    path = write(GOOD, "\n", line, {**GOOD, "id": "p2"})
    with pytest.raises(DataError, match=message) as caught:
        load_problems(path)
    assert str(caught.value).startswith(f"{path}, line 3: ") and "\n" not in str(caught.value)
    assert len(load_problems(path, limit=1)) == 1


@pytest.mark.parametrize("size", [2, 20, 30, 44])
def test_a_file_that_was_cut_off(write, size):
    path = write(GOOD, json.dumps({**GOOD, "id": "p2"})[:size])
    with pytest.raises(DataError, match="line 2: not valid JSON.*seems to be cut off"):
        load_problems(path)


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file(write, content):
    with pytest.raises(DataError, match="'mine.jsonl' .test. is empty"):
        load_problems(write(content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="absent.jsonl does not exist"):
        load_problems(tmp_path / "absent.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="folder.jsonl is a folder"):
        load_problems(tmp_path / "folder.jsonl")


def test_objects_on_one_line_are_rows(write):
    path = write('{"problem": "a", "answer": "1"} {"problem": "b", "answer": "2"}\n{"problem":\n"c", "answer": "3"}')
    found = load_problems(path)
    assert [problem.prompt for problem in found] == ["a", "b", "c"] and len({problem.id for problem in found}) == 3


@pytest.mark.parametrize("value", [7, True, ["a", "b"], {"text": "a"}, 0.5])
def test_a_question_that_is_no_text_is_shown(write, value):
    with pytest.raises(DataError, match=re.escape(f"'question' holds {value!r}")):
        load_problems(write(json.dumps({"question": value, "answer": "1"})))


def test_ids_must_differ(write):
    with pytest.raises(DataError, match="the id 'p1' more than once"):
        load_problems(write(GOOD, {**GOOD, "id": "p2"}, GOOD))


# --- sets --------------------------------------------------------------------------------------------------------------


def test_a_set_is_a_sequence():
    problems = load_problems("arithmetic", limit=5)
    assert [p.id for p in problems] == [problems[k].id for k in range(5)] and problems[-1] in problems
    part = problems[1:3]
    assert isinstance(part, ProblemSet) and len(part) == 2 and part.split == "test"
    with pytest.raises(DataError, match="is empty"):
        problems[5:]


def test_a_frame_has_a_row_a_problem():
    problems = load_problems("arithmetic", limit=3)
    frame = problems.to_frame()
    assert list(frame.columns) == ["id", "prompt", "answer", "domain", "family", "difficulty", "tests", "instruction"]
    expected = pd.DataFrame([dataclasses.asdict(p) for p in itertools.islice(problems, 3)])
    pd.testing.assert_frame_equal(frame, expected)


def test_the_content_hash_is_of_the_prompt_with_white_space_folded():
    a = Problem("1", "What  is\n 1 + 1?", "2", family="x")
    assert a.content_hash == hashlib.sha256(b"What is 1 + 1?").hexdigest()[:16]
    assert a.content_hash == Problem("2", " What is 1 + 1? ", "3").content_hash
    assert a.content_hash != Problem("1", "What is 1 + 2?", "2").content_hash


@pytest.mark.parametrize("change", [{"id": "q"}, {"prompt": "other"}, {"answer": "3"}])
def test_the_fingerprint_is_of_what_decides_results(change):
    problem = Problem(**GOOD)
    before = ProblemSet((problem,), "a", "test").fingerprint
    assert ProblemSet((problem,), "b", "test").fingerprint == before
    assert ProblemSet((dataclasses.replace(problem, **change),), "a", "test").fingerprint != before
    other = dataclasses.replace(problem, id="2")
    assert ProblemSet((problem, other), "a", "test").fingerprint != ProblemSet((other, problem), "a", "test").fingerprint


def test_rows_as_others_write_them(write):
    path = write(
        '{"prompt": [{"role": "user", "content": "1 + 1?"}], "answer": ["2"], "difficulty": "hard"}\n'
        '{"id": "", "question": "2 + 2?", "answer": 4}\n',
    )
    assert [(p.id, p.prompt, p.answer, p.difficulty) for p in load_problems(path)] == [
        ("mine-1", "1 + 1?", "2", 0),
        ("mine-2", "2 + 2?", "4", 0),
    ]
    table = write("question\tanswer\n1, 2 or 3?\t2\n", name="theirs.tsv")
    assert load_problems(table)[0].prompt == "1, 2 or 3?"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"id": ["1", "2"], "prompt": "x"}', "line 1: 'id' holds 2 values; a text or a number is wanted"),
        ('{"prompt": "x", "answer": {"value": 1}}', r"line 1: 'answer' holds an object, {'value': 1}.*\?answer="),
        (
            '{"prompt": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}',
            "a chat of the turns user, assistant",
        ),
    ],
)
def test_rows_that_are_no_problem(write, row, message):
    with pytest.raises(DataError, match=message):
        load_problems(write(row + "\n"))


def test_a_difficulty_that_was_asked_for_is_a_number(write):
    path = write('{"prompt": "x", "hardness": "hard"}\n')
    with pytest.raises(DataError, match="'difficulty' must be an integer; not 'hard'"):
        load_problems(path, columns={"difficulty": "hardness"})


def test_texts_are_no_problems(tiny):
    from racviz.traces import generate_traces

    with pytest.raises(ParameterError, match="problems must be a ProblemSet or Problems, such as.*not 'hi'"):
        generate_traces(tiny, ["hi"])


def test_what_grades_is_part_of_the_fingerprint():
    one = Problem("a", "x", "1")
    prints = {
        ProblemSet((p,), "n", "test").fingerprint
        for p in (one, dataclasses.replace(one, tests="{}"), dataclasses.replace(one, domain="d"))
    }
    assert len(prints) == 3


def test_tests_may_be_an_object(write):
    assert json.loads(load_problems(write('{"prompt": "x", "tests": {"cases": []}}\n'))[0].tests) == {"cases": []}
