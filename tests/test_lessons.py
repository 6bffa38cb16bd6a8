"""The lessons' checks, quiz, leaderboard and students' edition, and the lessons 4 to 6 as committed."""

import re
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import torch

import racviz as rv
from racviz import lessons
from racviz.exceptions import DataError, ParameterError
from racviz.lessons import leaderboard
from racviz.lessons.leaderboard import BASELINE, Leaderboard, check_solver, standings
from racviz.lessons.quiz import quiz_widget
from racviz.lessons.student import main, student_edition
from racviz.pruning import solver_named
from racviz.reports import Kernels
from racviz.store import resource

SMALL = {
    "1_a_reasoning_model_up_close": {"problems": 6, "budget": 192},
    "2_pruning_one_layer_by_hand": {},
    "3_calibration_is_a_choice": {"problems": 6, "budget": 192, "calibration_tokens": 2048},
    "4_rac_end_to_end": {"problems": 6, "traced": 16, "calibration_tokens": 1024, "budget": 80},
    "5_what_it_costs_and_buys": {"problems": 6, "calibration_tokens": 1024, "budget": 80},
    "6_your_turn": {"problems": 6, "calibration_tokens": 1024, "budget": 64},
}


def test_importing_the_lessons_is_light():
    code = "import sys, racviz.lessons; print([n for n in ('torch', 'plotly', 'pandas', 'numpy', 'ipywidgets') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_lists_what_there_is():
    assert lessons.leaderboard is leaderboard and callable(lessons.quiz) and callable(lessons.student_edition)
    with pytest.raises(AttributeError, match="has no 'check_numbers'; it has .*check_number"):
        _ = lessons.check_numbers


class TestCheckNumber:
    @pytest.mark.parametrize("answer", [61.5, 60, 64.5, np.float32(61.5), np.array([61.5]), torch.tensor(61.5), np.int64(62)])
    def test_right(self, answer):
        found = lessons.check_number(answer, 61.5, within=0.05, unit="tokens", because="thoughts are long")
        assert found.right is True and "tokens" in repr(found) and "thoughts are long" in repr(found)

    @pytest.mark.parametrize(
        "answer, words",
        [(30, "too low"), (100, "too high"), (0.615, "factor of 100"), (6150, "factor of 100"), (-61.5, "sign")],
    )
    def test_says_which_way_and_not_the_truth(self, answer, words):
        found = lessons.check_number(answer, 61.5, because="thoughts are long")
        assert found.right is False and words in repr(found)
        assert "thoughts are long" not in repr(found) + found._repr_html_()
        assert "computed" not in repr(found)

    @pytest.mark.parametrize("answer", [..., None])
    def test_not_answered_yet(self, answer):
        found = lessons.check_number(answer, 1.0, because="why")
        assert found.right is None and "Not answered yet" in repr(found) and "why" not in found._repr_html_()

    @pytest.mark.parametrize(
        "answer, words",
        [
            ("61.5", "a text ('61.5')"),
            (True, "True or False"),
            ([1, 2], "a list"),
            (np.zeros(3), "ndarray"),
            (len, "call it with brackets"),
            (1j, "complex"),
            (float("nan"), "finite"),
            (10**400, "finite"),
            (pd.Series([1.0, 2.0]), "Series"),
        ],
    )
    def test_another_type_is_said_plainly(self, answer, words):
        found = lessons.check_number(answer, 61.5)
        assert found.right is False and words in repr(found)

    def test_a_truth_of_zero_and_a_negative_one(self):
        assert lessons.check_number(0.01, 0, within=0.05).right and not lessons.check_number(0.06, 0, within=0.05).right
        assert lessons.check_number(-2.05, -2).right and "too low" in repr(lessons.check_number(-3, -2))

    def test_what_it_shows_is_escaped_and_in_words(self):
        page = lessons.check_number("<b>", 1.0)._repr_html_()
        assert "<b>&#x27;" not in page and "&lt;b&gt;" in page and 'role="status"' in page and "Not yet" in page
        assert "&lt;i&gt;" in lessons.check_number(1, 1, because="<i>")._repr_html_()

    def test_mistakes_of_the_lesson_raise(self):
        with pytest.raises(ParameterError, match="truth must be a finite number"):
            lessons.check_number(1, float("nan"))
        with pytest.raises(ParameterError, match="within must be"):
            lessons.check_number(1, 1, within=-1)


class TestCheckChoice:
    def test_right_whatever_the_case(self):
        assert lessons.check_choice("  RAC ", "rac", ["rac", "prompt"], because="why").right is True
        assert lessons.check_choice("b", ["a", "B"]).right is True

    def test_wrong_unknown_and_open(self):
        wrong = lessons.check_choice("prompt", "rac", ["rac", "prompt"], because="why")
        assert wrong.right is False and "why" not in repr(wrong)
        assert "none of the choices. Choose from: rac, prompt." in repr(lessons.check_choice("x<y", "rac", ["rac", "prompt"]))
        assert "x&lt;y" in lessons.check_choice("x<y", "rac", ["rac", "prompt"])._repr_html_()
        assert lessons.check_choice(..., "rac").right is None
        assert "text in quotes" in repr(lessons.check_choice(3, "rac")) and lessons.check_choice(3, "rac").right is False

    def test_mistakes_of_the_lesson_raise(self):
        with pytest.raises(ParameterError, match="'rac' is not among them"):
            lessons.check_choice("a", "rac", ["a", "b"])
        with pytest.raises(ParameterError, match="right must be"):
            lessons.check_choice("a", [])


class TestCheckArray:
    @pytest.mark.parametrize("answer", [[[1, 2], [3, 4]], np.array([[1, 2], [3, 4.0]]), torch.tensor([[1, 2], [3, 4.0]])])
    def test_right(self, answer):
        assert lessons.check_array(answer, [[1, 2], [3, 4]], because="why").right is True

    def test_the_tolerance_is_of_the_largest_entry(self):
        assert lessons.check_array([1.05, 100], [1, 100], within=1e-3).right is True
        assert lessons.check_array([1.2, 100], [1, 100], within=1e-3).right is False

    @pytest.mark.parametrize(
        "answer, words",
        [
            ([1, 2, 3], "shape is (3,), and should be (2, 2)"),
            ([[1, 2], [3]], "array of numbers"),
            ("no", "array of numbers"),
            ([[1, 2], [3, 5]], "1 of 4"),
            ([[1, 2], [3, np.nan]], "not finite"),
            (np.array([[object()] * 2] * 2), "array of numbers"),
        ],
    )
    def test_wrong(self, answer, words):
        found = lessons.check_array(answer, [[1, 2], [3, 4]], because="why")
        assert found.right is False and words in repr(found) and "why" not in repr(found)

    def test_masks_are_compared_exactly(self):
        assert lessons.check_array([1, 0, 1], np.array([True, False, True])).right is True
        assert lessons.check_array([True, True, True], np.array([True, False, True])).right is False
        assert "True and False only" in repr(lessons.check_array([0.5, 0, 1], np.array([True, False, True])))

    def test_open_and_mistaken(self):
        assert lessons.check_array(None, [1]).right is None
        with pytest.raises(ParameterError, match="truth must be"):
            lessons.check_array([1], [np.inf])


class TestQuiz:
    def test_the_questions_can_be_read_and_do_not_give_themselves_away(self):
        questions = lessons.quiz_questions()
        assert 8 <= len(questions) <= 12 and [each.number for each in questions] == list(range(1, len(questions) + 1))
        for each in questions:
            assert each.lesson in (1, 3, 4) and each.right in each.options and set(each.remarks) == set(each.options)
            assert len(set(each.options.values())) == len(each.options) >= 3
            assert all(remark not in str(each) + each.to_html() for remark in each.remarks.values())
        assert len({each.right for each in questions}) >= 3  # not always the same letter
        longest = [
            max(each.options, key=lambda letter, each=each: len(each.options[letter])) == each.right for each in questions
        ]
        assert sum(longest) <= len(questions) / 2

    def test_there_is_no_measured_number(self):
        texts = " ".join(repr(each) + str(each.remarks) for each in lessons.quiz_questions())
        assert "%" not in texts and not any(mark.isdigit() for each in lessons.quiz_questions() for mark in each.text)

    def test_all_right_all_open_and_mixed(self):
        questions = lessons.quiz_questions()
        marked = lessons.mark([each.right for each in questions])
        assert marked.score == marked.of == len(questions) and all(check.because for check in marked.checked.values())
        assert lessons.mark({}).score == 0 and "10 not answered yet" in repr(lessons.mark({}))
        one = questions[0]
        wrong = next(letter for letter in one.options if letter != one.right)
        mixed = lessons.mark({1: wrong.upper(), 2: questions[1].right, 3: ...})
        assert mixed.score == 1 and mixed.checked[1].right is False and one.remarks[wrong] in repr(mixed)
        assert one.remarks[one.right] not in mixed._repr_html_() and "Lesson 1 has it" in repr(mixed)

    def test_what_is_no_answer(self):
        assert "none of the letters a, b, c, d" in repr(lessons.mark({1: "z"})) and lessons.mark([["a"]]).score == 0
        with pytest.raises(ParameterError, match="numbered from 1 to"):
            lessons.mark({0: "a"})
        with pytest.raises(ParameterError, match="there are 10 questions"):
            lessons.mark(["a"] * 11)
        with pytest.raises(ParameterError, match="answers must be"):
            lessons.mark("abc")

    def test_buttons_check_the_choice_and_count(self):
        questions = lessons.quiz_questions()
        box = quiz_widget(questions)
        _, choice, button, said = box.children[0].children
        assert choice.value is None and not said.value
        button.click()
        assert "Not answered yet" in said.value
        choice.value = questions[0].right
        assert "Right" not in said.value
        button.click()
        assert "Right" in said.value and "1 of 10 right" in box.children[-1].value

    def test_without_widgets_the_text_is_open(self, monkeypatch):
        shown = []
        monkeypatch.setattr("IPython.display.display", shown.append)
        lessons.quiz()
        assert len(shown) == 2 and "<details>" in shown[1].data
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
        shown.clear()
        lessons.quiz()
        assert len(shown) == 1 and "<details open>" in shown[0].data and "lessons.mark" in shown[0].data


def answers(right, reason="stop"):
    """An evaluations frame with one answer a problem."""
    return pd.DataFrame({"problem_id": [f"p{k}" for k in range(len(right))], "correct": right, "finish_reason": reason})


class TestStandings:
    def test_ranks_differences_and_verdicts(self):
        base = [True] * 10 + [False] * 30
        table = standings(
            {"dense": answers([True] * 40), BASELINE: answers(base), "good": answers([True] * 30 + [False] * 10),
             "same": answers([False] + [True] * 10 + [False] * 29), "bad": answers([False] * 40, "length")}
        ).set_index("entry")  # fmt: skip
        assert list(table.index) == ["dense", "good", BASELINE, "same", "bad"]
        assert table["rank"].tolist()[1:] == [1, 2, 2, 4] and np.isnan(table.loc["dense", "rank"])
        assert table.loc["good", "difference"] == pytest.approx(50.0) and table.loc["good", "against RAC"] == "better"
        gap = np.array([0] * 10 + [1] * 20 + [0] * 10)
        assert table.loc["good", "SE of it"] == pytest.approx(100 * gap.std(ddof=1) / np.sqrt(40))
        assert table.loc["same", "against RAC"] == "inside the noise" and table.loc["bad", "against RAC"] == "worse"
        assert table.loc["bad", "cut off, %"] == 100 and table.loc["dense", "against RAC"] == "not pruned"
        assert np.isnan(table.loc[BASELINE, "difference"])

    def test_many_entries_must_show_more(self):
        base, better = answers([True] * 10 + [False] * 30), answers([True] * 16 + [False] * 24)
        assert standings({BASELINE: base, "one": better}).set_index("entry").loc["one", "against RAC"] == "better"
        many = {BASELINE: base} | {f"entry {k}": better for k in range(5)}
        assert set(standings(many)["against RAC"]) == {"inside the noise", "the baseline"}

    def test_few_problems_and_no_baseline(self):
        few = standings({BASELINE: answers([False] * 4), "x": answers([True] * 4)}).set_index("entry")
        assert few.loc["x", "against RAC"] == "too few problems"
        with pytest.raises(ParameterError, match="baseline"):
            standings({"x": answers([True])})


class TestCheckSolver:
    @pytest.mark.parametrize("name", ["magnitude", "wanda", "sparsegpt", "sparsegpt+refit"])
    def test_racviz_own_solvers_pass(self, name):
        found = check_solver(solver_named(name), because="why")
        assert found.right is True and found.because == "why" and "relative error" in found.words

    def test_refitting_is_seen_in_its_error(self):
        error = {name: float(check_solver(solver_named(name)).words.split()[-1][:-1]) for name in ("wanda", "wanda+refit")}
        assert error["wanda+refit"] < error["wanda"]

    def test_what_breaks_the_contract_is_said(self):
        def nothing(weight, inputs, pattern, sparsity):
            return weight

        def too_few(weight, inputs, pattern, sparsity):
            return solver_named("magnitude")(weight, inputs, pattern, 0.1)

        def not_masked(weight, inputs, pattern, sparsity):
            return weight.clone(), solver_named("magnitude")(weight, inputs, pattern, sparsity)[1], {}

        def broken(weight, inputs, pattern, sparsity):
            return inputs.nonsense

        def in_place(weight, inputs, pattern, sparsity):
            weight.mul_(0)
            return weight, weight == 0, {}

        said = {each.__name__: check_solver(each, "why") for each in (nothing, too_few, not_masked, broken, in_place)}
        assert all(each.right is False and not each.because for each in said.values())
        assert "it must return" in said["nothing"].words and "asked for was" in said["too_few"].words
        assert "not zero where its mask says" in said["not_masked"].words and "work on a copy" in said["in_place"].words
        assert "return inputs.nonsense" in said["broken"].words and "AttributeError" in said["broken"].words

    def test_open_and_no_function(self):
        assert check_solver(...).right is None and "must be a function" in check_solver(3).words


@pytest.fixture(scope="module")
def dense():
    return rv.load_model("tiny-reasoner-small")


@pytest.fixture(scope="module")
def rac(dense):
    train = rv.load_problems("arithmetic", split="calibration", limit=16)
    own = rv.generate_traces(dense, train, rv.Sampling(max_new_tokens=96), progress=False)
    return rv.calibration_set("rac", dense, traces=own, tokens=1500)


@pytest.fixture(scope="module")
def board(dense, rac):
    return Leaderboard(dense, rac, sparsity=0.5, problems=5, budget=24)


class TestLeaderboard:
    def test_begins_with_the_dense_model_and_the_baseline(self, board):
        assert {"dense", BASELINE} <= set(board.evaluations) and all(len(each) == 5 for each in board.evaluations.values())
        assert "1,500 calibration tokens at most" in board._repr_html_() and BASELINE in repr(board)

    def test_an_exercise_that_is_not_done_enters_nothing(self, board):
        for found in (board.enter("mine", method=...), board.enter("mine", calibration=...)):
            assert found.right is None and "not answered yet" in repr(found)
        assert "mine" not in board.evaluations

    def test_an_entry_is_pruned_and_ranked(self, board):
        assert board.enter("<i>mine</i>", method="magnitude").right is True
        assert "<i>mine" not in board._repr_html_() and "&lt;i&gt;mine" in board._repr_html_()
        assert board._models["<i>mine</i>"].report["sparsity"].mean() == pytest.approx(0.5, abs=0.01)
        assert len(board.figure().data) == 1 and "<i>mine" not in board.figure().to_json()
        final = board.final()
        assert (
            "5 problems that the board has not shown" in final.words and final.right is None
        )  # nobody answers: nothing can be told

    def test_what_is_not_fair_is_refused_in_words(self, board, dense, rac):
        train = rv.load_problems("arithmetic", split="calibration", limit=100)
        more = rv.calibration_set("prompt", dense, problems=train, tokens=1501)
        assert "of 1,500 tokens at most" in repr(board.enter("more", calibration=more))
        test = rv.load_problems("arithmetic", split="test", limit=60)
        peeked = rv.calibration_set("prompt", dense, problems=test, tokens=1500)
        assert "calibrated the model" in repr(board.enter("peeked", calibration=peeked))
        assert "a calibration set" in repr(board.enter("text", calibration="c4"))
        assert "Did you mean 'sparsegpt'" in repr(board.enter("typo", method="sparsgpt"))
        assert "choose another name" in repr(board.enter("dense")) and "choose another name" in repr(board.enter(BASELINE))
        assert not {"more", "peeked", "text", "typo"} & set(board.evaluations)

    def test_without_an_entry_there_is_no_final(self, board, monkeypatch):
        monkeypatch.setattr(board, "evaluations", {name: board.evaluations[name] for name in ("dense", BASELINE)})
        assert board.final().right is None

    def test_parameters_are_checked(self, dense, rac):
        for bad in ({"sparsity": 1.0}, {"problems": 0}):
            with pytest.raises(ParameterError, match=next(iter(bad))):
                Leaderboard(dense, rac, **bad)


def cell(kind, source, *tags, **more):
    made = getattr(nbformat.v4, f"new_{kind}_cell")(source)
    made.metadata |= {"tags": list(tags)} | more
    return made


@pytest.fixture
def lesson_folder(tmp_path):
    """A folder of lessons with all that a students' edition has to deal with."""
    folder = tmp_path / "lessons"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / "pictures").mkdir()
    cells = [
        cell("markdown", "# A lesson"), cell("code", "answer_1 = ...", "exercise"),
        cell("code", "answer_1 = 41 + 1  # the secret", "solution", jupyter={"source_hidden": True}),
        cell("markdown", "The secret is 42.", "solution"), cell("code", "print(answer_1)", "check"),
    ]  # fmt: skip
    cells[-1].outputs = [nbformat.v4.new_output("stream", text="42\n")]
    cells[-1].execution_count = 7
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "1_one.ipynb")
    nbformat.write(nbformat.v4.new_notebook(cells=cells[:1]), folder / ".ipynb_checkpoints" / "1_one-checkpoint.ipynb")
    (folder / "instructor.md").write_text("The secret is 42.")
    (folder / "pictures" / "a.svg").write_text("<svg/>")
    return folder


class TestStudentEdition:
    def test_solutions_go_and_the_rest_stays(self, lesson_folder, tmp_path):
        (made,) = student_edition(lesson_folder, tmp_path / "student")
        found = nbformat.read(made, as_version=4)
        nbformat.validate(found)
        assert [each.source for each in found.cells] == ["# A lesson", "answer_1 = ...", "# your turn", "print(answer_1)"]
        assert "secret" not in made.read_text() and "solution" not in made.read_text()
        assert found.cells[-1].outputs == [] and found.cells[-1].execution_count is None
        assert found.cells[1].metadata["tags"] == ["exercise"] and not found.cells[2].metadata
        written = {
            path.relative_to(tmp_path / "student").as_posix() for path in (tmp_path / "student").rglob("*") if path.is_file()
        }
        assert written == {"1_one.ipynb", "pictures/a.svg"}
        assert "secret" in (lesson_folder / "1_one.ipynb").read_text()

    def test_twice_is_fine_but_answers_are_not_written_over(self, lesson_folder, tmp_path):
        (made,) = student_edition(lesson_folder, tmp_path / "student")
        assert student_edition(lesson_folder, tmp_path / "student") == [made]
        answered = nbformat.read(made, as_version=4)
        answered.cells[1].source = "answer_1 = 40"
        nbformat.write(answered, made)
        with pytest.raises(DataError, match="1 of the notebooks .*'1_one.ipynb'.*overwrite"):
            student_edition(lesson_folder, tmp_path / "student")
        assert "answer_1 = 40" in made.read_text()
        student_edition(lesson_folder, tmp_path / "student", overwrite=True)
        assert "answer_1 = 40" not in made.read_text()

    def test_errors_name_what_is_wrong(self, lesson_folder, tmp_path):
        with pytest.raises(DataError, match="'.*nowhere' does not exist"):
            student_edition(tmp_path / "nowhere", tmp_path / "student")
        for target in (lesson_folder, lesson_folder / "student", lesson_folder.parent):
            with pytest.raises(ParameterError, match="must lie outside the lessons"):
                student_edition(lesson_folder, target)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="holds no notebook"):
            student_edition(tmp_path / "empty", tmp_path / "student")
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="is a file"):
            student_edition(lesson_folder, tmp_path / "file")
        (lesson_folder / "2_two.ipynb").write_text("{")
        with pytest.raises(DataError, match="2_two.ipynb is not a notebook"):
            student_edition(lesson_folder, tmp_path / "student")
        assert not (tmp_path / "student").exists()

    def test_the_command(self, lesson_folder, tmp_path, capsys):
        assert main([str(lesson_folder), str(tmp_path / "student")]) == 0
        assert "1 lesson in" in capsys.readouterr().out
        assert main([str(tmp_path / "nowhere"), str(tmp_path / "student")]) == 1
        assert "error: the folder" in capsys.readouterr().err

    def test_it_runs_as_a_module(self, lesson_folder, tmp_path):
        command = [sys.executable, "-m", "racviz.lessons.student", str(lesson_folder), str(tmp_path / "student")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and "1 lesson" in done.stdout and not done.stderr


class TestAsCommitted:
    @pytest.fixture(params=sorted(SMALL))
    def notebook(self, request):
        found = nbformat.read(resource(f"notebooks/lessons/{request.param}.ipynb"), as_version=4)
        nbformat.validate(found)
        return found

    def test_promises_and_no_outputs(self, notebook):
        for promise in ("# ", "**What you will learn:**", "**How long:**", "**What it needs:**"):
            assert promise in notebook.cells[0].source
        code = [each for each in notebook.cells if each.cell_type == "code"]
        assert all(not each.outputs and each.execution_count is None for each in code)
        assert notebook.metadata.kernelspec.name == "python3"
        assert [each.id for each in notebook.cells] == [str(k) for k in range(len(notebook.cells))]

    def test_each_exercise_has_its_solution_and_its_check(self, notebook):
        tags = [next(iter(each.metadata.get("tags", [])), "") for each in notebook.cells]
        places = [k for k, tag in enumerate(tags) if tag == "exercise"]
        assert len(places) >= 3 and tags.count("solution") == tags.count("check") == len(places)
        for number, k in enumerate(places, 1):
            assert tags[k : k + 3] == ["exercise", "solution", "check"]
            given = notebook.cells[k].source
            assert re.search(rf"^answer_{number} = \.\.\.", given, re.MULTILINE) and "# " in given, "a comment says what to do"
            assert re.search(rf"(\*\*|## )Exercise {number}[.:]", "".join(each.source for each in notebook.cells[:k]))
            assert f"answer_{number} = " in notebook.cells[k + 1].source
            assert notebook.cells[k + 1].metadata["jupyter"] == {"source_hidden": True}
            assert f"answer_{number}" in notebook.cells[k + 2].source

    def test_every_figure_is_announced(self, notebook):
        for before, each in zip(notebook.cells, notebook.cells[1:], strict=False):
            if each.cell_type == "code" and each.source.startswith(("rv.figures.", "board.figure")):
                assert "**What to look for:**" in before.source

    def test_only_exercises_define_functions(self, notebook):
        logic = [
            each for each in notebook.cells if each.cell_type == "code" and ("def " in each.source or "class " in each.source)
        ]
        assert all(each.metadata.get("tags") == ["solution"] for each in logic)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", sorted(SMALL))
def test_both_editions_run_from_top_to_bottom(lesson, tmp_path, monkeypatch):
    """With few tokens and short budgets, so that nothing is asked of the figures; one kernel, the students' edition first.

    The second edition finds the first one's cache, and sets every name anew.
    """
    monkeypatch.setenv("RACVIZ_CACHE", str(tmp_path / "cache"))
    whole = resource("notebooks/lessons")
    student_edition(whole, tmp_path / "student")
    with Kernels(1, progress=False) as kernels, kernels.one() as kernel:
        open_, solved = (verdicts_of(folder / f"{lesson}.ipynb", tmp_path, kernel) for folder in (tmp_path / "student", whole))
    assert len(solved) == len(open_) >= 3
    assert all("ot answered yet" in words for words in open_)
    assert all(words and "ot answered yet" not in words for words in solved)


def verdicts_of(notebook, folder, kernel) -> list[str]:
    """Run a lesson; returns the outputs of its checks."""
    how = dict(cwd=folder, progress_bar=False, kernel_name="python3", km=kernel)
    done = papermill.execute_notebook(notebook, folder / "done.ipynb", parameters=SMALL[notebook.stem], **how)
    checks = [each for each in done.cells if "check" in each.metadata.get("tags", [])]
    return ["".join(output.data.get("text/plain", "") for output in each.outputs if "data" in output) for each in checks]
