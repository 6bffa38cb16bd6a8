"""Keys as data sets store them: lists, numbers, truth values, bytes, missing values, objects."""

import json
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.exceptions import DataError
from racviz.grading import grade_all, refuse_ungradable
from racviz.grading.showing import key_lines
from racviz.problems import Problem, load_problems
from racviz.problems.keys import key_text

PROMPTS = ("problem", "question", "prompt", "input", "question_content")
ANSWERS = ("answer", "final_answer", "expected_answer", "ground_truth", "solution")
WRITTEN = [  # as JSON has it, and the key
    ('"2"', "2"), ('["50\\\\%"]', "50\\%"), ('[["50\\\\%"]]', "50\\%"), ('["2", "3"]', "2, 3"), ("[2, 3]", "2, 3"),
    ('[["2"], ["3"]]', "2, 3"), ('[["2", "3"]]', "2, 3"), ('["1,000", "2"]', "1000, 2"), ('["(1,2)", "3"]', "(1,2), 3"),
    ('["x=1,y=2", "x=2,y=1"]', "(x=1,y=2), (x=2,y=1)"),
    ("1e22", "10000000000000000000000"), ("1e-7", "0.0000001"), ("1E+3", "1000"), ("-2.50", "-2.50"), ("3.0", "3"), ("0", "0"),
    ("0.12345678901234567890123", "0.12345678901234567890123"), ("123456789012345678901234567890", "123456789012345678901234567890"),
    ("true", "True"), ("false", "False"), ("Infinity", "\\infty"), ("-Infinity", "-\\infty"), ('"1e-7"', "1e-7"),
    ("null", ""), ("NaN", ""), ('""', ""), ("[]", ""), ("[null]", ""), ("[NaN]", ""), ("[[]]", ""),
    ('"so\\n#### 1,200 "', "1,200"),
]  # fmt: skip


def load(folder, text, name="mine.jsonl"):
    (folder / name).write_text(text, encoding="utf-8")
    return load_problems(folder / name)


@pytest.mark.parametrize(("written", "key"), WRITTEN)
def test_a_key_is_the_same_whatever_its_column_is_called(tmp_path, written, key):
    rows = [f'{{"{prompt}": "?", "{answer}": {written}}}' for prompt in PROMPTS for answer in ANSWERS]
    assert {problem.answer for problem in load(tmp_path, "\n".join(rows))} == {key}
    path = tmp_path / "asked.jsonl"
    path.write_text(f'{{"ask": "?", "gold": {written}}}')
    assert load_problems(f"{path}?prompt=ask&answer=gold")[0].answer == key


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('{"value": "2"}', "{'value': '2'}"),
        ('[{"value": "2"}]', "[{'value': '2'}]"),
        ('["2", null]', "['2', None]"),
        ('["2", ""]', "['2', '']"),
        ('[["1", "2"], ["3", "4"]]', r"[['1', '2'], ['3', '4']]"),
    ],
)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_key_that_could_mean_several_things_is_refused_and_shown(tmp_path, prompt, written, shown):
    with pytest.raises(DataError) as caught:
        load(tmp_path, f'{{"{prompt}": "?", "answer": {written}}}')
    assert str(caught.value).startswith(f"{tmp_path}/mine.jsonl, line 1: 'answer'")
    assert shown in str(caught.value) and "?answer=" in str(caught.value)


def test_a_key_inside_an_object_is_named_with_a_dot(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "?", "reward_model": {"ground_truth": "4", "a.b": 1}, "a.b": "5"}')
    assert load_problems(f"{path}?answer=reward_model.ground_truth")[0].answer == "4"
    assert load_problems(f"{path}?answer=a.b")[0].answer == "5", "a column of that very name comes first"
    with pytest.raises(DataError, match="no column 'reward_model.style'"):
        load_problems(f"{path}?answer=reward_model.style")


@pytest.mark.parametrize("column", ANSWERS)
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Thus $x = \\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("First \\boxed{3}.\nThen \\fbox{ 4 }.", " 4 "),
        ("It is \\boxed{58,500}.", "58,500"),
        ("at \\boxed{-2,1}", "-2,1"),
        ("\\boxed{1}, that is \\boxed{1}", "1"),
        ("put it into \\boxed{}.", "put it into \\boxed{}."),
        ("\\boxed{never closed", "\\boxed{never closed"),
        ("50\\%", "50\\%"),
    ],
)
def test_the_box_of_a_worked_solution_is_the_key(tmp_path, column, text, key):
    assert load(tmp_path, json.dumps({"problem": "?", column: text}))[0].answer == key


def test_several_boxes(tmp_path):
    text = "$x=\\boxed{1}$ or $x=\\boxed{2}$"
    assert load(tmp_path, json.dumps({"problem": "?", "answer": text}))[0].answer == "1, 2", "all are wanted"
    assert load(tmp_path, json.dumps({"problem": "?", "solution": text}))[0].answer == "2", "the last, as MATH has it"


def test_a_worked_solution_is_a_key_only_by_its_box(tmp_path):
    proof = "By induction on n, the claim holds for every n; the details are those of the first lemma above."
    for solution in (proof, "It holds.\nAs was to be shown."):
        assert load(tmp_path, json.dumps({"problem": "?", "solution": solution}))[0].answer == ""
        assert load_problems(f"{tmp_path}/mine.jsonl?answer=solution")[0].answer == solution
    worked = {"problem": "?", "solution": "so \\boxed{2}"}
    assert load(tmp_path, json.dumps({**worked, "answer": 7}))[0].answer == "7"
    assert load(tmp_path, json.dumps({**worked, "answer": None}))[0].answer == "2"


def test_names_of_columns_in_any_case_and_labels_of_several_values(tmp_path):
    row = {"ID": 7, "Problem": "1+1?", "Answer": ["2"], "Subject": ["algebra", "sets"], "domain": ["a", "b"]}
    assert load(tmp_path, json.dumps(row))[0] == Problem("7", "1+1?", "2", "a, b", "algebra, sets")
    assert load(tmp_path, json.dumps({"Problem": "no", "problem": "yes", "ANSWER": 1, "answer": 2}))[0].prompt == "yes"


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        (pa.binary(), b"2", "2"),
        (pa.large_binary(), "né".encode(), "né"),
        (pa.list_(pa.binary()), [b"2", b"3"], "2, 3"),
        (pa.float32(), 0.1, "0.1"),
        (pa.list_(pa.float32()), [0.1, 2.0], "0.1, 2"),
        (pa.float64(), 1e22, "10000000000000000000000"),
        (pa.float64(), 2.0, "2"),
        (pa.float64(), math.nan, ""),
        (pa.float64(), None, ""),
        (pa.string(), None, ""),
        (pa.bool_(), True, "True"),
        (pa.int64(), 10**15, "1000000000000000"),
        (pa.decimal128(5, 2), Decimal("2.50"), "2.50"),
        (pa.list_(pa.string()), ["2", "3"], "2, 3"),
        (pa.dictionary(pa.int32(), pa.string()), "2", "2"),
    ],
)
def test_keys_in_parquet(tmp_path, kind, value, key):
    pq.write_table(pa.table({"problem": ["?"], "answer": pa.array([value], kind)}), tmp_path / "mine.parquet")
    assert load_problems(tmp_path / "mine.parquet")[0].answer == key


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.binary(), b"\xff\xfe2"),
        (pa.map_(pa.string(), pa.string()), [("value", "2")]),
        (pa.struct({"v": pa.int8()}), {"v": 2}),
    ],
)
def test_values_of_parquet_that_are_no_key(tmp_path, kind, value):
    pq.write_table(pa.table({"problem": ["?"], "answer": pa.array([value], kind)}), tmp_path / "mine.parquet")
    with pytest.raises(DataError, match=r"row 1: 'answer' holds .*\?answer="):
        load_problems(tmp_path / "mine.parquet")


@pytest.mark.parametrize("text", ["nan", "NaN", "<NA>", ""])
def test_a_missing_value_in_csv_is_no_key(tmp_path, text):
    problems = load(tmp_path, f"problem,answer\n1+1?,{text}\n", "mine.csv")
    assert problems[0].answer == ""
    with pytest.raises(DataError, match="mine-2"):
        refuse_ungradable(problems)


def test_a_table_without_types_has_numbers_too(tmp_path):
    problems = load(tmp_path, "id,problem,answer\n5e3,1e2,1e+22\n6e3,a,1E-7\n", "mine.csv")
    assert [(p.id, p.prompt, p.answer) for p in problems] == [("5e3", "1e2", f"1{'0' * 22}"), ("6e3", "a", "0.0000001")]


def test_only_the_last_line_ends_a_derivation(tmp_path):
    assert load(tmp_path, '{"problem": "?", "answer": "#### Step 1\\n4"}')[0].answer == "#### Step 1\n4"


@pytest.mark.parametrize("written", ["NaN", "null", '""', "[]", '"nan"', '"  "'])
def test_problems_without_a_key_are_refused_before_anything_runs(tmp_path, written):
    problems = load(tmp_path, f'{{"problem": "?", "answer": {written}}}')
    with pytest.raises(DataError, match="no answer to grade by.*mine-1"):
        refuse_ungradable(problems)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (np.float32(0.1), "0.1"), (np.float16(0.1), "0.1"), (np.float64(1e-7), "0.0000001"), (np.int64(3), "3"), (np.True_, "True"),
        (np.array(["2", "3"]), "2, 3"), (np.array([]), ""), (np.str_("x"), "x"), (np.nan, ""), (pd.NA, ""), (pd.NaT, ""),
        (("2", "3"), "2, 3"), (Decimal("1E+2"), "100"), (b"2", "2"),
    ],
)  # fmt: skip
def test_values_of_numpy_and_pandas(value, key):
    assert key_text(value, "answer", "row 1") == key


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_its_value_and_has_no_exponent(number):
    text = key_text(number, "answer", "row 1")
    assert Decimal(text) == Decimal(repr(number)) and "e" not in text.lower()


@given(st.lists(st.integers(-99, 99), min_size=2, max_size=5))
def test_a_list_names_all_of_its_values(values):
    assert [int(part) for part in key_text(values, "answer", "row 1").split(", ")] == values


@given(st.text(), st.sampled_from(["answer", "solution"]))
def test_a_text_is_left_as_it_is(text, column):
    assert key_text(text, column, "row 1") == text


def test_a_list_of_one_is_graded_as_its_value(tmp_path):
    problems = load(tmp_path, '{"question": "?", "answer": ["50\\\\%"]}')
    assert grade_all(["\\boxed{50\\%}"], problems) == [True]


def test_several_values_are_refused_where_grading_goes_word_for_word(tmp_path):
    with pytest.raises(DataError, match="'answer' holds 2 values, but the domain 'arithmetic'"):
        load(tmp_path, '{"prompt": "?", "answer": ["2", "3"], "domain": "arithmetic"}')
    assert load(tmp_path, '{"prompt": "?", "answer": ["2"], "domain": "arithmetic"}')[0].answer == "2"


def test_three_keys_are_shown_with_the_manner_of_grading():
    tests = json.dumps({"cases": [{"input": "1", "output": "2"}] * 2})
    problems = [
        Problem("a", "?", "1"), Problem("b", "?", "2", domain="arithmetic"), Problem("c", "?", "3"), Problem("d", "?", "x" * 30),
        Problem("e", "?", "4"),
    ]  # fmt: skip
    first, second, longest = key_lines(problems)
    assert first.startswith("a: '1'") and "mathematics" in first and "word for word" in second
    assert longest.startswith("d: ") and len(key_lines(problems[:2])) == 2
    (program,) = key_lines([Problem("p\x1b[31m", "?", tests=tests)])
    assert "2 test cases" in program and "\x1b" not in program
    assert len(key_lines([Problem("q", "?", "y" * 5000)])[0]) < 200


def test_a_study_shows_three_keys_once_before_it_loads_a_model(tmp_path, capsys, monkeypatch):
    from racviz.store import Store
    from racviz.study import Study, steps
    from racviz.study.memory import show_keys
    from racviz.study.variants import variant

    monkeypatch.setattr(steps, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    given = dict(test_problems=str(tmp_path / "mine.jsonl"), calibration_problems="arithmetic", store=Store(tmp_path / "s"))
    load(tmp_path, "".join(f'{{"problem": "{k}?", "answer": ["{k}", "7"]}}\n' for k in range(5)))
    study = Study(**given)
    study.show_keys()
    variant(study, "method", "magnitude").show_keys()
    shown = capsys.readouterr().err
    assert [shown.count(key) for key in ("'0, 7'", "'1, 7'", "'3, 7'")] == [1, 1, 0] and shown.count("as mathematics") == 3
    Study(**given, progress=False).show_keys()
    assert capsys.readouterr().err == ""
    show_keys([Study(**given), Study(**given, seed=1)])
    assert capsys.readouterr().err.count("'0, 7'") == 1
    load(tmp_path, '{"problem": "?", "answer": NaN}')
    with pytest.raises(DataError, match="no answer to grade by"):
        Study(**given).evaluation("rac", 0.5)


def test_a_plan_shows_them_too(tmp_path):
    from racviz.reports import plan_report

    load(tmp_path, "".join(f'{{"problem": "{k}?", "answer": [{k}, 1e22]}}\n' for k in range(4)))
    given = dict(test_problems=str(tmp_path / "mine.jsonl"), calibration_problems="arithmetic", problems=3)
    plan = plan_report("table5", given, on="a100")
    assert len(plan.keys) == 3 and "'0, 10000000000000000000000'" in plan.keys[0] and "mathematics" in plan.keys[0]
    assert all(any(key in line for line in plan.lines()) for key in plan.keys)
    load(tmp_path, '{"problem": "?", "answer": null}')
    without = plan_report("table5", given, on="a100")
    assert not without.keys and not without.right


@pytest.mark.parametrize(
    "cell, wanted",
    [("['1', '2']", "1, 2"), ('["50"]', "50"), ("[1, 2]", "[1, 2]"), ("['a', 'b'", "['a', 'b'"), ("['1', 2]", "['1', 2]"), ("[]", "[]")],
)  # fmt: skip
def test_lists_that_a_table_holds_as_text(cell, wanted):
    assert key_text(cell, "answer", "row 1") == wanted


def test_the_number_of_a_choice_is_no_key(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "p", "choices": ["a", "b"], "answer": 1}\n')
    with pytest.raises(DataError, match="choices"):
        load_problems(path)
    assert load_problems(f"{path}?answer=answer")[0].answer == "1", "said to be the answer itself"
    path.write_text('{"question": "p", "choices": ["a", "b"], "answer": "B"}\n')
    assert load_problems(path)[0].answer == "B"


@pytest.mark.parametrize(
    ("solution", "key"), [(r"Hence $x = \boxed 2$.", "2"), (r"So \boxed{3} and \boxed A", "A"), (r"\boxed{-1}", "-1")]
)
def test_a_box_without_braces_is_a_key(tmp_path, solution, key):
    (tmp_path / "p.jsonl").write_text(json.dumps({"problem": "?", "solution": solution}) + "\n")
    assert load_problems(tmp_path / "p.jsonl")[0].answer == key
