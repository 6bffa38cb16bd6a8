"""The embedded models' tasks, teachers, tokenizer and training."""

import csv
import itertools
import random
import re
import shutil
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racviz.store import resource
from racviz.tiny import arithmetic, english, tracing
from racviz.tiny.lesson import SLIP_RATE, SPLITS, Task, split_of, stream

DOMAINS = {"arithmetic": arithmetic, "tracing": tracing}
STYLES = {"columns": arithmetic, "places": arithmetic, "state": tracing, "changes": tracing}
VERDICTS = {
    "columns": (" no\n", " ok\n"), "places": (", wrong, redo.\n", ", good.\n"),
    "state": (" no; ", " ok;"), "changes": (" wrong; ", " right, "),
}  # fmt: skip
"""What a failed and a passed check end with, by style."""
SEEDS = st.integers(0, 10**9)
BUDGET = 1024

every_style = pytest.mark.parametrize("style", STYLES)
every_domain = pytest.mark.parametrize("domain", DOMAINS)


def tasks(domain: str, split: str, count: int, seed: int = 0) -> list[Task]:
    return list(itertools.islice(stream(DOMAINS[domain].make, split, seed), count))


def teach(style: str, seed: int) -> tuple[Task, str, list[tuple[int, int]]]:
    """A task, its thought, and the spans of the thought that are not taught."""
    rng = random.Random(seed)
    task = STYLES[style].make(rng)
    text, spans = "", []
    for piece, taught in STYLES[style].teach(task, style, rng):
        if not taught:
            spans.append((len(text), len(text) + len(piece)))
        text += piece
    return task, text, spans


def false_equations(style: str, text: str) -> list[int]:
    """Where the right-hand sides of the equations stand that do not hold; `text` keeps its length while it is normalised."""
    if style == "places":
        text = text.replace(" times ", "   *   ")
    text = text.replace(" is ", " =  ")
    number, op = r"-?\d+", r"\s*[-+*/]\s*" if style == "places" else "[-+*/]"
    found = re.finditer(rf"(?<!\d)({number}(?:{op}{number})+) ?=\s*({number})", text)
    return [m.start(2) for m in found if eval(m[1]) != int(m[2])]  # noqa: S307, only digits and operators


# --- splits ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_domain
def test_train_calibration_and_test_share_no_content(domain):
    counts = {"train": 4000, "calibration": 1000, "test": 500}
    contents = {split: [task.content for task in tasks(domain, split, count)] for split, count in counts.items()}
    for split, found in contents.items():
        assert {split_of(content) for content in found} == {split}
        assert len(set(found)) == len(found), "a stream repeats a content"
    for one, other in itertools.combinations(SPLITS, 2):
        assert not set(contents[one]) & set(contents[other])


@every_domain
def test_shipped_problems_are_of_their_split_and_not_repeated(domain):
    from racviz.problems import load_problems

    shipped = {split: [p.id for p in load_problems(domain, split=split)] for split in ("calibration", "test")}
    assert len(shipped["test"]) == 500 and len(shipped["calibration"]) >= 2000
    assert len(set(itertools.chain(*shipped.values()))) == sum(map(len, shipped.values()))
    trained_on = {task.id for task in tasks(domain, "train", 1000)}
    assert not trained_on & set(itertools.chain(*shipped.values()))


@every_domain
def test_streams_are_reproducible_and_seeds_differ(domain):
    first, again, other = (tasks(domain, "train", 20, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_wording_does_not_decide_the_split():
    """Programs that differ only in the names of variables are one content; so are problems that differ in names and items."""
    source = "a = 3\nb = a + 2\nprint(b)"
    assert (
        tracing.canonical(source)
        == tracing.canonical("x = 3\nn = x + 2\nprint(n)")
        != tracing.canonical(source.replace("2", "4"))
    )
    for task in tasks("arithmetic", "train", 50):
        assert not re.search("|".join(arithmetic.NAMES + arithmetic.ITEMS), task.content)


def test_generic_english_is_split_by_topic():
    train, calibration = (dict(english.topics(split)) for split in ("train", "calibration"))
    assert train and calibration and not set(train) & set(calibration)
    with pytest.raises(ValueError, match="test"):
        english.topics("test")


# --- teachers ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(SEEDS)
def test_an_arithmetic_answer_is_what_its_steps_come_to(seed):
    task = arithmetic.make(random.Random(seed))
    known = {int(n) for n in re.findall(r"\d+", task.prompt)}
    given_numbers, used = set(known), set()
    for step in task.work:
        assert {step.left, step.right} <= known, "a step uses a number that is neither given nor found"
        used |= {step.left, step.right}
        known.add(eval(f"{step.left}{step.op}{step.right}"))
    assert int(task.answer) == eval(f"{step.left}{step.op}{step.right}") > 0
    # how many days is said twice in one wording, and what is asked last needs every number that is given
    assert given_numbers <= used


@settings(deadline=None, max_examples=50)
@given(SEEDS)
def test_a_tracing_answer_is_what_the_program_prints(seed):
    task = tracing.make(random.Random(seed))
    listing, printed = task.prompt.split("\n")[1:], []
    assert "".join(line.split(" ", 1)[0] for line in listing) == tracing.LETTERS[: len(listing)]
    exec("\n".join(line.split(" ", 1)[1] for line in listing), {"print": printed.append})
    assert [task.answer] == [str(value) for value in printed]


@every_style
@settings(deadline=None, max_examples=40)
@given(seed=SEEDS)
def test_the_thought_ends_in_the_answer(style, seed):
    task, text, _ = teach(style, seed)
    last = {
        "columns": r"=[A-H](\d+)\ncheck [^\n]* ok\n$", "places": r" is (\d+)\. Test: [^\n]*good\.\n$",
        "state": r"print\(\w+\);\w(\d+)\n$", "changes": r"print\(\w+\) -> \w holds (\d+)\.\n$",
    }[style]  # fmt: skip
    assert re.search(last, text)[1] == task.answer


@every_style
@settings(deadline=None, max_examples=60)
@given(seed=SEEDS)
def test_a_slip_is_not_taught_and_is_noticed_and_redone(style, seed):
    _, text, untaught = teach(style, seed)
    no, ok = VERDICTS[style]
    wrong = false_equations(style, text)
    if not untaught:
        assert not wrong and no not in text
        return
    ((start, end),) = untaught
    assert start <= wrong[0] < end, "what is false first is what is not taught"
    assert text.count(no) == 1 and text.index(no) > end, "the check that follows fails, and no other"
    noticed = text.index(no) + len(no)
    assert ok in text[noticed:] and all(at < noticed for at in wrong), "then the step is done again, and all is right"
    assert ok not in text[end:noticed]


@every_style
def test_slips_are_as_frequent_as_said(style):
    slips = [bool(teach(style, seed)[2]) for seed in range(600)]
    assert 0.10 <= np.mean(slips) <= 0.20 and abs(np.mean(slips) - SLIP_RATE) < 0.05


@pytest.mark.parametrize("styles", [("columns", "places"), ("state", "changes")])
def test_the_two_styles_share_no_line(styles):
    for seed in range(20):
        one, other = (set(teach(style, seed)[1].splitlines()) for style in styles)
        assert not one & other


# --- tokenizer ---------------------------------------------------------------------------------------------------------


def shipped_model(name: str = "tiny-reasoner"):
    try:
        return resource(f"data/models/{name}")
    except FileNotFoundError:
        pytest.skip(f"data/models/{name} is not there")


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(shipped_model())


def count(tokenizer, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


@every_style
def test_lessons_survive_the_tokenizer(tokenizer, style):
    for seed in range(50):
        task, text, _ = teach(style, seed)
        whole = f"<bos><user>{task.prompt}<assistant><think>{text}</think>\n{task.answer}<eos>"
        assert tokenizer.decode(tokenizer(whole, add_special_tokens=False)["input_ids"]) == whole


def test_any_text_survives_the_tokenizer(tokenizer):
    @settings(deadline=None, max_examples=100)
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def survives(text):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)

    survives()


def test_digits_stand_alone_and_markers_are_one_token(tokenizer):
    from racviz.tiny.tokenizer import SPECIAL, VOCABULARY

    assert len(tokenizer) == VOCABULARY
    assert tokenizer.convert_ids_to_tokens(list(range(len(SPECIAL)))) == list(SPECIAL)
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == ("<pad>", "<bos>", "<eos>")
    for text in ("90210", "7+15=22", "range(12)"):
        assert [t for t in tokenizer.tokenize(text) if re.search(r"\d", t)] == re.findall(r"\d", text)


def test_the_chat_template_renders_what_was_trained_on(tokenizer):
    turns = [{"role": "user", "content": "What is 2+2?"}, {"role": "assistant", "content": "<think>2+2=4</think>\n4"}]
    render = dict(tokenize=False)
    assert (
        tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, **render) == "<bos><user>What is 2+2?<assistant>"
    )
    assert tokenizer.apply_chat_template(turns, **render) == "<bos><user>What is 2+2?<assistant><think>2+2=4</think>\n4<eos>"


def test_both_models_share_the_tokenizer(tokenizer):
    one, other = (shipped_model(name) / "tokenizer.json" for name in ("tiny-reasoner", "tiny-reasoner-small"))
    assert one.read_bytes() == other.read_bytes()


@every_style
def test_thoughts_are_long_vary_in_length_and_fit_the_budget(tokenizer, style):
    lessons = [(task, text) for task, text, _ in (teach(style, seed) for seed in range(1000))]
    prompts = [count(tokenizer, f"<bos><user>{task.prompt}<assistant>") for task, _ in lessons]
    thoughts = [count(tokenizer, f"<think>{text}</think>") for _, text in lessons]
    decoded = [count(tokenizer, f"<think>{text}</think>\n{task.answer}<eos>") for task, text in lessons]
    low, high = np.percentile(thoughts, (10, 90))
    assert high / low >= 2.5
    assert np.median(decoded) >= 150 and np.median(decoded) >= 4 * np.median(prompts)
    assert max(thoughts) < BUDGET - 8  # the answer comes after


# --- training ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(tokenizer, optimizer, tmp_path, monkeypatch):
    import torch
    from safetensors.torch import load_file

    from racviz.tiny import train

    recipe = train.Recipe("tiny-reasoner-small", tokens=5_000, batch_tokens=1024, optimizer=optimizer)
    draw, stop_at = train.pool, None

    def pool(recipe, number, *rest):
        if number == stop_at:
            raise KeyboardInterrupt
        return draw(recipe, number, *rest)

    monkeypatch.setattr(train, "POOL", 2)
    monkeypatch.setattr(train, "pool", pool)
    monkeypatch.setattr(
        train, "accuracy", lambda *_: 0.5
    )  # what a model answers that has seen 5,000 tokens takes long to write
    for run in ("whole", "stopped"):
        (tmp_path / run / "tokenizer").mkdir(parents=True)
        for file in shipped_model().iterdir():
            if file.suffix in (".json", ".jinja"):
                shutil.copy(file, tmp_path / run / "tokenizer")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train.train(recipe, tmp_path / "whole", every=0.0)
        stop_at = 2
        with pytest.raises(KeyboardInterrupt):
            train.train(recipe, tmp_path / "stopped", every=0.0)
        assert not (tmp_path / "stopped" / "model").exists()
        stop_at = None
        train.train(recipe, tmp_path / "stopped", every=0.0)
    finally:
        torch.set_num_threads(threads)

    whole, stopped = (list(csv.DictReader((tmp_path / run / "log.csv").open())) for run in ("whole", "stopped"))
    for row in [*whole, *stopped]:
        del row["minutes"]
    assert whole == stopped and len(whole) >= 3
    one, other = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "stopped"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_weights_follow_their_tokens_to_another_tokenizer(tokenizer, tmp_path):
    from types import SimpleNamespace

    import torch

    from racviz.tiny import train

    torch.manual_seed(0)
    before = train.build("tiny-reasoner")
    train.export(before, tokenizer, tmp_path / "start")
    vocabulary = tokenizer.get_vocab()
    names = sorted(vocabulary, key=vocabulary.get)
    turned = names[:300] + names[:299:-1]  # bytes and special tokens keep their place
    turned[-1] = "nowhere"
    other = SimpleNamespace(get_vocab=lambda: {name: k for k, name in enumerate(turned)})
    after = train.build("tiny-reasoner")
    fresh = after.lm_head.weight.detach().clone()
    train.begin(after, other, tmp_path / "start")
    for name, row in (("Ġthe", after.model.embed_tokens.weight), ("9", after.lm_head.weight)):
        was = before.model.embed_tokens.weight if name == "Ġthe" else before.lm_head.weight
        torch.testing.assert_close(row[other.get_vocab()[name]], was[vocabulary[name]].bfloat16().float())
    torch.testing.assert_close(after.lm_head.weight[other.get_vocab()["nowhere"]], fresh[other.get_vocab()["nowhere"]])
    torch.testing.assert_close(after.model.norm.weight, before.model.norm.weight)
