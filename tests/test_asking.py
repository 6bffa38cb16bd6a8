"""Columns beside a question: options, passages and pictures are asked too, or refused by name."""

import json

import pytest

from racviz.exceptions import DataError
from racviz.grading import grade_all
from racviz.problems import load_problems


@pytest.fixture
def asked(tmp_path):
    def ask(row, name="p.jsonl", query=""):
        (tmp_path / name).write_text(row if isinstance(row, str) else json.dumps(row) + "\n", encoding="utf-8")
        return load_problems(f"{tmp_path / name}{query}")[0]

    return ask


OPTIONS = "Which is prime?\nA. 4\nB. 6\nC. 7"


@pytest.mark.parametrize(
    "options",
    [{"options": ["4", "6", "7"]}, {"choices": {"text": ["4", "6", "7"], "label": ["A", "B", "C"]}},
     {"choices": {"A": "4", "B": "6", "C": "7"}}, {"A": "4", "B": "6", "C": "7"}, {"Options": [4, 6, 7]}],
)  # fmt: skip
def test_options_are_part_of_the_question(asked, options):
    problem = asked({"question": "Which is prime?", "answer": "C", **options})
    assert problem.prompt == OPTIONS and grade_all([r"\boxed{C}", r"\boxed{B}"], [problem, problem]) == [True, False]


def test_options_that_the_question_holds_are_not_written_twice(asked):
    assert asked({"question": OPTIONS, "options": ["4", "6", "7"], "answer": "C"}).prompt == OPTIONS
    assert asked("id,question,A,B,C,answer\n0,Which is prime?,4,6,7,C\n", "ceval.csv").prompt == OPTIONS
    alone = asked({"question": "Which is prime?", "options": ["4"], "answer": "4"}, query="?prompt=question")
    assert alone.prompt == "Which is prime?", "whoever names the prompt's column gets it as it is"


@pytest.mark.parametrize("name", ["Body", "context", "passage"])
def test_a_passage_stands_before_its_question(asked, name):
    problem = asked({name: "Each pack costs 76 dollars.", "Question": "How much are two?", "Answer": 152})
    assert problem.prompt == "Each pack costs 76 dollars.\n\nHow much are two?"
    assert asked({name: "A pen.", "question": "A pen. What is it?", "answer": "1"}).prompt == "A pen. What is it?"


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"question": "What is x?", "image_1": {"bytes": None, "path": "a.png"}, "answer": "2"}, "'image_1' holds a picture"),
        ({"question": "1+1?", "choices": ["1", "2"], "answer": "1"}, "beside 'choices'"),
        ({"question": "1+1?", "choices": [["1"], ["2"]], "answer": "A"}, "'choices' holds options of a form"),
        ({"prompt": "Answer the question.", "question": "1+1?", "answer": "2"}, "'prompt' and 'question' hold different texts"),
        ({"prompt": "def f(x):", "test": "def check(c): ...", "entry_point": "f"}, "'test' holds tests of another form"),
        ({"prompt": "Add.", "test_list": ["assert f(1) == 2"]}, "'test_list' holds tests of another form"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_named(asked, row, named):
    with pytest.raises(DataError, match=named):
        asked(row)


def test_no_picture_is_no_picture(asked):
    assert asked({"question": "1+1?", "image": None, "images": [], "image_2": {"bytes": None, "path": None}, "answer": "2"})


def test_inputs_and_outputs_are_tests(asked):
    plain = asked(
        {"question": "Add.", "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]})}, query="?tests=input_output"
    )
    called = {"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]}
    function = asked({"question": "Add.", "tests": called})
    programs = ["```python\nprint(sum(map(int, input().split())))\n```", "```python\ndef add(a, b): return a + b\n```"]
    assert grade_all(programs, [plain, function]) == [True, True]
    assert grade_all(programs[::-1], [plain, function]) == [False, False]
    with pytest.raises(DataError, match="1 inputs and 2 outputs"):
        asked({"question": "Add.", "tests": {"inputs": ["1"], "outputs": ["1", "2"]}})
