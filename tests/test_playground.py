"""The playground: what it streams is what the house generates, what it says is what others compute, and text stays text."""

import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import racviz as rv
from racviz.exceptions import DataError, GradingError, ParameterError
from racviz.play import answers as answers_module
from racviz.play import playground, showing
from racviz.play.answers import Answer, Answers, answers_of, pair_of
from racviz.play.asking import Asking, Decoding, Pieces, prompt_ids, unreadable
from racviz.store import resource

SMALL = dict(calibration_tokens=600, t_max=24, budget=32)
NASTY = "</div><script>alert(1)</script>&amp;\x1b[31mred\u202eevil\u2066\x00<!-- 😀 שלום"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("playground")


@pytest.fixture
def play(tiny_folder, cache, monkeypatch):
    """On the random model, whose text is as wild as a pruned model's can be; the cache is shared by the tests here."""
    monkeypatch.setenv("RACVIZ_CACHE", str(cache))
    return playground(str(tiny_folder), **SMALL)


@pytest.fixture(scope="module")
def reasoner():
    return rv.load_model("tiny-reasoner")


class Reader(HTMLParser):
    """Tags, and the text between them."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.text, self.open = set(), "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


class TestStreaming:
    @pytest.mark.parametrize("temperature", [0.0, 0.8])
    def test_is_what_generate_traces_makes(self, play, temperature):
        play.sampling = replace(play.sampling, temperature=temperature)
        asking = play.start(play.problems[3].id)
        steps = list(asking)
        for name, loaded in asking.models.items():
            made = rv.generate_traces(loaded, [play.problems[3]], play.sampling, progress=False)[0]
            mine = [step for step in steps if step.name == name]
            assert tuple(step.token_id for step in mine) == made.output_ids and len(mine) > 5
            assert asking.prompt_ids == made.prompt_ids and asking.decodings[name].finish == made.finish_reason
            assert "".join(step.text for step in mine) == loaded.tokenizer.decode(list(made.output_ids))

    def test_is_what_the_reasoner_says(self, reasoner):
        problem = rv.load_problems("arithmetic", limit=2)[1]
        sampling = rv.Sampling(24, temperature=0.0)
        asking = Asking(problem, {"dense": reasoner}, sampling)
        made = rv.generate_traces(reasoner, [problem], sampling, progress=False)[0]
        assert tuple(step.token_id for step in asking) == made.output_ids

    def test_takes_turns(self, play):
        names = [step.name for step in play.start("12 + 3", sources=["prompt", "rac"])]
        assert names[:6] == ["dense", "prompt", "rac"] * 2

    def test_stops_and_keeps_what_there_is(self, play):
        asking = play.start("12 + 3")
        for count, _ in enumerate(asking, 1):
            if count == 4:
                asking.stop()
        given = answers_of(asking)
        assert count == 4 and [len(row.output_ids) for row in given.rows] == [2, 1, 1]
        assert {row.finish for row in given.rows} == {"stopped"} and all(row.correct is None for row in given.rows)
        assert list(asking) == [] and "stopped" in given._repr_html_() and "to the end" not in given._repr_html_()

    def test_leaving_the_loop_is_a_stop_too(self, play):
        asking, threads = play.start("12 + 3"), torch.get_num_threads()
        for _ in asking:
            break
        assert torch.get_num_threads() == threads
        assert {one.finish for one in asking.decodings.values()} == {"stopped"}

    def test_pieces_wait_for_whole_characters(self, tiny):
        ids = tiny.tokenizer("a é 日本 😀 b", add_special_tokens=False)["input_ids"]
        pieces = Pieces(tiny.tokenizer)
        told = [pieces.add(k) for k in ids]
        assert "".join(told) == "a é 日本 😀 b" and "\ufffd" not in "".join(told) and "" in told
        broken = [ids[2]] * 9  # first bytes that no second follows
        pieces = Pieces(tiny.tokenizer)
        assert "".join([*map(pieces.add, broken), pieces.rest()]) == tiny.tokenizer.decode(broken)

    def test_ends_where_the_context_does(self, make_tiny):
        short = make_tiny(max_position_embeddings=40)
        asking = Asking(rv.Problem("p", "1 + 2"), {"dense": short}, rv.Sampling(1000, temperature=0.0))
        list(asking)
        assert len(asking.prompt_ids) + len(asking.decodings["dense"].output_ids) == 40
        assert answers_of(asking)["dense"].note == "no answer key; the context is full"


class TestComparing:
    def test_where_they_part_and_r_t(self, play):
        given = play.ask(play.problems[5].id, sparsity=0.7)
        dense = given["dense"].output_ids
        parted = {}
        for name in ("prompt", "rac"):
            other = given[name].output_ids
            parted[name] = next((k for k in range(min(len(dense), len(other))) if dense[k] != other[k]), None)
            assert given[name].parted == parted[name]
        assert any(place is not None for place in parted.values()) and given["dense"].parted is None
        models = play.models()
        ids = torch.tensor([[*prompt_ids(models["dense"], given.problem), *dense]])
        with torch.no_grad():
            states = {name: loaded.model.model(ids).last_hidden_state[0] for name, loaded in models.items()}
        gap = {name: (states["dense"] - states[name]).norm(dim=-1).numpy() for name in ("prompt", "rac")}
        np.testing.assert_allclose(given.errors.frame["e_prompt"], gap["prompt"], rtol=1e-4, atol=1e-6)
        values = gap["prompt"] / gap["rac"]
        t_in = ids.shape[1] - len(dense)
        assert f"{np.median(values[:t_in]):.2f} on its {t_in} prompt tokens" in given.sentence()
        assert f"{np.median(values[t_in:]):.2f} on its {len(dense)} decode tokens" in given.sentence()
        assert given.strip().count("<bdi") == ids.shape[1] and models["rac"].provenance["sparsity"] == pytest.approx(
            0.7, abs=0.01
        )

    def test_nothing_pruned_is_nothing_to_see(self, play):
        given = play.ask("12 + 3", sparsity=0.0)
        assert given["rac"].output_ids == given["dense"].output_ids and given["rac"].parted is None
        assert "no errors to compare" in given.sentence() and "the same to the end" in given._repr_html_()

    def test_one_source_is_not_compared(self, play):
        given = play.ask("12 + 3", sources=["rac"])
        assert given.pair is None and given.strip() is None and "second source" in given._repr_html_()

    def test_pairs(self):
        assert pair_of(["generic", "rac", "prompt"]) == ("prompt", "rac") and pair_of(["generic", "rac"]) == ("generic", "rac")
        assert pair_of(["rac"]) is pair_of([]) is None

    def test_models_are_kept(self, play):
        first = play.models(sparsity=0.35)
        again = play.models(sparsity=0.35)
        assert first["rac"] is again["rac"] and set(play.prepared.values()) == {0.0}
        assert play.models(method="wanda")["rac"].provenance["prune"]["method"] == "wanda"
        assert play.study.sparsities == (0.35,)  # what was not said is as it was

    def test_grading(self, reasoner, monkeypatch):
        problem = rv.load_problems("arithmetic", limit=1)[0]
        asking = Asking(problem, {"dense": reasoner}, rv.Sampling(600, temperature=0.0))
        list(asking)
        assert (answers_of(asking)["dense"].correct, answers_of(asking)["dense"].answer) == (True, problem.answer)
        asking.problem = replace(problem, answer="1" + problem.answer)
        assert answers_of(asking)["dense"].correct is False
        asking.problem = replace(problem, answer="")
        unkeyed = answers_of(asking)
        assert unkeyed["dense"].correct is None and "no answer key" in unkeyed._repr_html_()
        asking.problem = problem
        asking.decodings["dense"].finish = "length"  # then nothing that was said counts
        assert answers_of(asking)["dense"].correct is False and "cut off by the budget" in answers_of(asking)._repr_html_()

        def refuses(*_):
            raise GradingError("cannot be contained")

        monkeypatch.setattr(answers_module, "grade_all", refuses)
        assert answers_of(asking)["dense"].correct is None and "cannot be contained" in answers_of(asking)._repr_html_()

    def test_a_problem_that_calibrated_is_named(self, play):
        hashes = play.models()["rac"].calibrated_on
        pool = rv.load_problems("arithmetic", split="calibration", limit=64)
        given = play.ask(next(each for each in pool if each.content_hash in hashes), budget=2)
        assert "calibrated on this very problem" in given["rac"].note and "calibrated" not in given["dense"].note

    def test_problems_are_found_by_id_and_text(self, play):
        known = play.problems[7]
        assert play.problem(known.id) == play.problem(f"  {known.prompt}\n") == known
        assert (play.problem("7 * 8").answer, play.problem("7 * 8", "56").answer) == ("", "56")
        assert play.problem(known.id, "0").answer == "0"

    def test_frame(self, play):
        frame = play.ask("12 + 3", budget=3).to_frame()
        assert list(frame["name"]) == ["dense", "prompt", "rac"] and (frame["tokens"] <= 3).all()
        assert (frame["tokens_per_second"] > 0).all() and frame["correct"].isna().all()


class TestText:
    def test_is_shown_as_text(self):
        shown = showing.plain(NASTY)
        assert "<script" not in shown and "\x1b" not in shown and "\u202e" not in shown and "\x00" not in shown
        assert r"\x1b[31mred\u202eevil\u2066\x00" in Reader(shown).text and "😀 שלום" in shown

    def test_everywhere_on_the_page(self, play):
        given = play.ask("12 + 3", budget=2)
        texts = ("a", NASTY, NASTY, "\n")
        rows = [
            Answer(name, NASTY, (1, 2, 3, 4), texts, "stop", 1.0, NASTY, True, 2 if name == "rac" else None, NASTY)
            for name in ("dense", "prompt", "rac")
        ]
        problem = rv.Problem("typed", NASTY, NASTY)
        page = Answers(problem, tuple(rows), given.errors, ("prompt", "rac"))._repr_html_()
        reader = Reader(page.replace("<br>", "").replace("<wbr>", ""))
        assert not reader.open and reader.tags <= {"div", "p", "b", "bdi", "span", "section"}
        assert not re.search("[\x00\x1b\u202e\u2066]", page) and "<script>alert(1)</script>" in reader.text
        assert page.count("parts here") == 1 and 'aria-label="here RAC parts from it"' in page

    def test_colours_follow_the_theme(self, play):
        page = play.ask("12 + 3", budget=2)._repr_html_()
        assert "var(--jp-content-font-color1, #222)" in page and "var(--jp-layout-color0, #fff)" in page


class TestRefusing:
    @pytest.mark.parametrize(
        ("problem", "choices", "error", "match"),
        [
            ("  \n", {}, ParameterError, "problem must be a text that is not empty"),
            (7, {}, ParameterError, "problem must be a text, a test problem's id"),
            ("9" * 100_000, {}, ParameterError, "problem must be .* at most 20,000 characters; not one of 100,000"),
            ("12 " * 300, {}, DataError, "has [0-9,]+ prompt tokens, but .* has room for 256"),
            ("12 <eos> <assistant>", {}, DataError, "'<assistant>', '<eos>', which .* reads as a mark"),
            ("half \ud83d", {}, DataError, r"cannot read: '\\ud83d' \(U\+D83D\)"),
            ("2 + 2", {"sources": ["racc"]}, ParameterError, "sources must be one of .*Did you mean 'rac'"),
            ("2 + 2", {"sources": []}, ParameterError, "sources must be a list that is not empty"),
            ("2 + 2", {"method": "sparsgpt"}, ParameterError, "method must be one of .*Did you mean 'sparsegpt'"),
            ("2 + 2", {"sparsity": 1.0}, ParameterError, r"sparsity must be a number in \[0, 1\).*not 1.0"),
            ("2 + 2", {"sparsity": "half"}, ParameterError, "sparsity must be a number"),
            ("2 + 2", {"budget": 0}, ParameterError, "budget must be None or an integer >= 1; not 0"),
            ("2 + 2", {"sparsities": [0.5]}, ParameterError, "Did you mean 'sparsity'"),
        ],
    )
    def test_says_what_is_wrong(self, play, problem, choices, error, match):
        with pytest.raises(error, match=match):
            play.ask(problem, **choices)

    def test_before_anything_is_made(self):
        for wrong in (
            dict(sparsity=-0.1),
            dict(method="none"),
            dict(sources=("dense",)),
            dict(budget=0),
            dict(seeds=1),
            dict(top_p=0),
        ):
            with pytest.raises(ParameterError):
                playground(**wrong)

    def test_an_embedded_model_reads_ascii(self, reasoner, tiny):
        assert unreadable(reasoner, "~ All of 'this'?\n\t12%") == [] and unreadable(tiny, "é日") == []
        with pytest.raises(DataError, match=r"'é' \(U\+00E9\), '日' \(U\+65E5\). It has tokens for plain ASCII"):
            prompt_ids(reasoner, rv.Problem("p", "日 é"))


class TestPanel:
    @pytest.fixture
    def panel(self, play):
        return play.panel()

    def test_shows_instead_of_the_playground(self, play, panel):
        shown = play._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in shown and "play.ask(" in shown["text/plain"]
        assert play.panel() is panel
        controls = [panel.pick, panel.text, panel.key, *panel.sources, panel.method, panel.sparsity, panel.budget]
        assert all(each.description and each.tooltip for each in [*controls, panel.ask, panel.stop])
        assert panel.text.value == play.problems[0].prompt and panel.stop.disabled and not panel.ask.disabled

    def test_answers(self, play, panel):
        panel.pick.value = play.problems[4].id
        assert panel.text.value == play.problems[4].prompt
        panel.text.value = "7 + 8"
        assert panel.pick.value == ""  # a problem of one's own from now on
        panel.pick.value = play.problems[4].id
        panel.sources[0].value, panel.sources[1].value, panel.sources[2].value = "prompt", "rac", ""
        panel.sparsity.value, panel.budget.value, panel.method.value = 0.6, 64, "wanda"
        panel.ask.click()
        assert panel.wait(60) and not panel.ask.disabled and panel.stop.disabled, panel.status.value
        assert [row.name for row in panel.answers.rows] == ["dense", "prompt", "rac"] and len(panel.columns.children) == 3
        for row, shown in zip(panel.answers.rows, panel.columns.children, strict=True):
            read = Reader(shown.value)
            assert row.title in read.text and f"{len(row.output_ids)} tokens" in read.text and not read.open
            assert showing.plain("".join(row.texts[:3])) in shown.value
        assert "wanda, 60 %" in panel.columns.children[1].value and "The median of r_t" in panel.measured.value
        assert "Done." in panel.status.value and play.study.sparsities == (0.6,)

    def test_stop_works(self, panel, monkeypatch):
        step = Decoding.step
        monkeypatch.setattr(Decoding, "step", lambda self: (time.sleep(0.02), step(self))[1])
        panel.text.value, panel.budget.value = "12 + 3", 128
        panel.ask.click()
        until(lambda: panel.columns.children and "answering" in panel.columns.children[0].value)
        assert panel.ask.disabled and not panel.stop.disabled
        panel.ask.click()  # does nothing while it answers
        panel.stop.click()
        assert panel.wait(20) and "Stopped." in panel.status.value, panel.status.value
        assert {row.finish for row in panel.answers.rows} == {"stopped"}
        assert all(len(row.output_ids) < 128 for row in panel.answers.rows) and "stopped" in panel.columns.children[0].value

    def test_stop_while_a_model_is_made(self, play, panel, monkeypatch):
        import threading

        made, models = threading.Event(), play.models
        monkeypatch.setattr(play, "models", lambda *given: (made.wait(20), models(*given))[1])
        panel.text.value = "12 + 3"
        panel.ask.click()
        panel.stop.click()
        made.set()
        assert panel.wait(30) and all(not row.output_ids for row in panel.answers.rows), panel.status.value

    def test_errors_are_shown(self, play, panel, monkeypatch):
        panel.text.value = ""
        panel.ask.click()
        assert panel.wait(20) and "Error:" in panel.status.value and "not empty" in panel.status.value
        assert not panel.ask.disabled

        def breaks(*_, **__):
            raise RuntimeError("<b>broken</b>")

        monkeypatch.setattr(play, "start", breaks)
        panel.ask.click()
        assert (
            panel.wait(20) and "RuntimeError: &lt;b&gt;broken" in panel.status.value and "<b>broken" not in panel.status.value
        )


def until(true, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_is_on_the_facade():
    assert rv.playground is playground
    assert repr(rv.playground("tiny-reasoner")).startswith("Playground('tiny-reasoner', dense, prompt-only")


def test_the_notebook_is_no_report():
    from racviz.reports import list_reports

    notebook = json.loads((resource("notebooks") / "playground.ipynb").read_text(encoding="utf-8"))
    cells = notebook["cells"]
    assert all(not cell["metadata"].get("tags") for cell in cells) and [cell["id"] for cell in cells] == [
        str(k) for k in range(len(cells))
    ]
    assert "playground" not in [report.name for report in list_reports()]
    for promise in ("# ", "**What you will learn:**", "**How long:**", "**What it needs:**"):
        assert promise in "".join(cells[0]["source"])
    for cell in cells:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), "cell", "exec")
