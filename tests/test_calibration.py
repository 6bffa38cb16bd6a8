"""Calibration sets: exact counts, phases, sources; tokens never repeated."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.calibration import CalibrationSet, calibration_set
from racviz.exceptions import DataError, NumericalError, ParameterError
from racviz.models import tokenizer_fingerprint
from racviz.problems import Problem, load_problems
from racviz.problems.texts import generic_texts, load_texts
from racviz.prompting import render_prompt
from racviz.sources import DECODE, PROMPT, SOURCES
from racviz.traces import Trace, Traces

TEXTS = ["A statement is executed. " * 30, "", "An expression is evaluated: 1 + 2. " * 20, "漢字 🙂", "x"]


def make_traces(loaded, sizes, samples: int = 1, seed: int = 0) -> Traces:
    """Traces with so many prompt and output tokens each, all of them random and so all distinct."""
    rng = np.random.default_rng(seed)
    rows = []
    for k, (prompt, output) in enumerate(sizes):
        ids = tuple(map(int, rng.integers(6, 1000, size=prompt)))
        for sample in range(samples):
            out = tuple(map(int, rng.integers(6, 1000, size=output)))
            rows.append(Trace(f"p{k}", sample, ids, out, "stop", f"hash{k}"))
    return Traces(tuple(rows), loaded.name, loaded.fingerprint, tokenizer_fingerprint(loaded.tokenizer), {"max_new_tokens": 99})


def problem_list(count: int) -> list[Problem]:
    return list(load_problems("arithmetic", split="calibration", limit=count))


def sources(loaded, traces, problems, window=None) -> dict[str, tuple[dict, list[tuple[list[int], int]]]]:
    """For each source what it is given, and all rows that it has: token ids, and how many of them are the prompt."""
    begin = loaded.tokenizer.bos_token_id
    generic = []
    for text in TEXTS:
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        pieces = [[begin, *ids[k : k + window - 1]] for k in range(0, len(ids), window - 1)]
        generic += [(piece, len(piece)) for piece in pieces]
    whole = [([*t.prompt_ids, *t.output_ids], len(t.prompt_ids)) for t in traces]
    prompts = [render_prompt(loaded.tokenizer, p.prompt) for p in problems]
    only = {t.problem_id: (list(t.prompt_ids), len(t.prompt_ids)) for t in traces}
    return {
        "generic": (dict(texts=TEXTS), generic),
        "prompt": (dict(problems=problems), [(ids, len(ids)) for ids in prompts]),
        "rac": (dict(traces=traces), whole),
        "prompt-same-problems": (dict(traces=traces), list(only.values())),
    }


def check_against(made: CalibrationSet, rows, tokens: int, window: int) -> None:
    """Exactly so many tokens, of distinct rows of the source, cut at the window, and only the last one cut further."""
    assert made.tokens == tokens == sum(len(s) for s in made.sequences)
    left = Counter((tuple(ids[:window]), min(prompt, window)) for ids, prompt in rows)
    got = []
    for ids, phases, weights in zip(made.sequences, made.phases, made.weights, strict=True):
        prompt = int((phases == PROMPT).sum())
        assert phases.tolist() == [PROMPT] * prompt + [DECODE] * (len(ids) - prompt)
        assert ids.dtype == np.int32 and len(weights) == len(ids) and (weights == 1).all()
        got.append((tuple(ids.tolist()), prompt))
    *whole, (ids, prompt) = got
    left.subtract(whole)
    assert min(left.values()) >= 0, "every row is taken once, and whole"
    rest = [(row[: len(ids)], min(prompt, len(ids))) for row, prompt in left.elements()]
    assert (ids, prompt) in rest, "the last is the beginning of another"


# --- counts ------------------------------------------------------------------------------------------------------------


class Unprinted(dict):
    """Hypothesis prints what a test is given; this would be long."""

    def __repr__(self) -> str:
        return "given_sources"


@pytest.fixture(scope="module")
def given_sources(tiny):
    traces = make_traces(tiny, [(12, 30), (5, 0), (40, 90), (7, 1), (9, 61), (30, 200)], samples=2)
    return Unprinted({window: sources(tiny, traces, problem_list(12), window) for window in (16, 50, 256)})


@pytest.mark.parametrize("source", SOURCES)
@given(data=st.data())
def test_exactly_so_many_tokens_of_distinct_rows(tiny, given_sources, source, data):
    window = data.draw(st.sampled_from([16, 50, 256]))
    options, rows = given_sources[window][source]
    available = sum(min(len(ids), window) for ids, _ in rows)
    tokens = data.draw(st.integers(1, available))
    made = calibration_set(source, tiny, **options, tokens=tokens, sequence_length=window, seed=data.draw(st.integers(0, 9)))
    check_against(made, rows, tokens, window)
    assert made.source == source and made.label["tokens"] == made.label["asked"] == tokens


@pytest.mark.parametrize("source", SOURCES)
def test_too_few_tokens_is_an_error_that_says_how_many_there_are(tiny, given_sources, source):
    options, rows = given_sources[50][source]
    available = sum(min(len(ids), 50) for ids, _ in rows)
    assert calibration_set(source, tiny, **options, tokens=available, sequence_length=50).tokens == available
    with pytest.raises(DataError, match=f"{source!r} has {available} calibration tokens; tokens={available + 1} asks for more"):
        calibration_set(source, tiny, **options, tokens=available + 1, sequence_length=50)
    made = calibration_set(source, tiny, **options, tokens=10 * available, sequence_length=50, allow_fewer=True)
    assert made.tokens == available == made.label["tokens"] and made.label["asked"] == 10 * available
    assert len(made.sequences) == len(rows), "each row once, never again"


def test_nothing_at_all_is_an_error_also_when_fewer_are_allowed(tiny):
    for texts in ([], ["", ""]):
        with pytest.raises(DataError, match="has 0 calibration tokens"):
            calibration_set("generic", tiny, texts=texts, tokens=5)
        with pytest.raises(DataError, match="'generic' is empty"):
            calibration_set("generic", tiny, texts=texts, tokens=5, allow_fewer=True)


def test_sequences_never_exceed_the_context(tiny):
    made = calibration_set("generic", tiny, tokens=2000, sequence_length=10_000)
    assert max(map(len, made.sequences)) == tiny.context == 256


def test_the_seed_draws_the_order_and_nothing_else(tiny, given_sources):
    options, rows = given_sources[256]["rac"]
    whole = sum(min(len(ids), 256) for ids, _ in rows)
    made = [calibration_set("rac", tiny, **options, tokens=whole, sequence_length=256, seed=seed) for seed in (0, 0, 1)]
    assert made[0].fingerprint == made[1].fingerprint != made[2].fingerprint
    assert sorted(map(tuple, made[0].sequences)) == sorted(map(tuple, made[2].sequences))


# --- sources -----------------------------------------------------------------------------------------------------------


def test_rac_holds_the_tokens_of_the_traces_with_their_phases(tiny):
    traces = make_traces(tiny, [(4, 6)])
    made = calibration_set("rac", tiny, traces=traces, tokens=10)
    assert made.sequences[0].tolist() == [*traces[0].prompt_ids, *traces[0].output_ids]
    assert made.phases[0].tolist() == [PROMPT] * 4 + [DECODE] * 6 and made.decode_tokens == 6
    for tokens, decode in ((3, 0), (4, 0), (5, 1)):
        cut = calibration_set("rac", tiny, traces=traces, tokens=tokens)
        assert cut.decode_tokens == decode and cut.phases[0].tolist() == made.phases[0].tolist()[:tokens]


def test_prompt_same_problems_holds_each_prompt_of_the_traces_once(tiny):
    traces = make_traces(tiny, [(10, 30), (20, 5), (7, 7)], samples=4)
    made = calibration_set("prompt-same-problems", tiny, traces=traces, tokens=37)
    assert sorted(map(len, made.sequences)) == [7, 10, 20] and made.decode_tokens == 0
    assert set(made.problems) == {"hash0", "hash1", "hash2"}
    with pytest.raises(DataError, match="has 37 calibration tokens.*larger t_max"):
        calibration_set("prompt-same-problems", tiny, traces=traces, tokens=38)


def test_only_the_problems_that_calibrate_are_remembered(tiny):
    traces = make_traces(tiny, [(10, 10)] * 20)
    made = calibration_set("rac", tiny, traces=traces, tokens=45)
    first = {tuple(t.prompt_ids): t.content_hash for t in traces}
    assert set(made.problems) == {first[tuple(s[:10].tolist())] for s in made.sequences if len(s) >= 10} | set(
        made.problems[-1:]
    )
    assert len(made.problems) == len(made.sequences) == 3
    problems = problem_list(30)
    prompt = calibration_set("prompt", tiny, problems=problems, tokens=100)
    by_ids = {tuple(render_prompt(tiny.tokenizer, p.prompt)): p.content_hash for p in problems}
    assert [by_ids[tuple(s.tolist())] for s in prompt.sequences[:-1]] == list(prompt.problems[:-1])
    assert calibration_set("generic", tiny, tokens=100).problems == ()


def test_windows_of_text_begin_as_prompts_do_and_lose_nothing(tiny):
    window = 20
    text = TEXTS[0]
    ids = tiny.tokenizer(text, add_special_tokens=False)["input_ids"]
    count = -(-len(ids) // (window - 1))
    made = calibration_set("generic", tiny, texts=[text], tokens=len(ids) + count, sequence_length=window)
    assert all(s[0] == tiny.tokenizer.bos_token_id and len(s) <= window for s in made.sequences)
    bodies = [s[1:].tolist() for s in made.sequences]
    assert sorted(bodies) == sorted(ids[k : k + window - 1] for k in range(0, len(ids), window - 1))
    assert made.label["text"] == "given texts" and made.decode_tokens == 0


def test_a_model_whose_prompts_begin_with_text_gets_windows_without_a_first_token(tiny, tiny_folder):
    from transformers import AutoTokenizer

    loaded = tiny.copy()
    loaded.tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    loaded.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    made = calibration_set("generic", loaded, texts=[TEXTS[0]], tokens=50, sequence_length=20)
    assert loaded.tokenizer.bos_token_id not in np.concatenate(made.sequences)


def test_the_packaged_text_is_enough_for_the_default(tiny):
    texts = generic_texts()
    assert len(texts) > 20 and all(isinstance(text, str) and text.strip() for text in texts)
    made = calibration_set("generic", tiny)
    assert made.tokens == 32_768 and made.label["text"] == "packaged documentation text"


def test_texts_may_come_from_a_generator(tiny):
    made = calibration_set("generic", tiny, texts=(text for text in TEXTS), tokens=60)
    assert made.fingerprint == calibration_set("generic", tiny, texts=TEXTS, tokens=60).fingerprint


def test_traces_are_labelled_by_whose_they_are(tiny):
    own = make_traces(tiny, [(10, 10)])
    other = dataclasses.replace(own, model="another", model_fingerprint="other")
    label = calibration_set("rac", tiny, traces=own, tokens=20).label
    assert (label["on_policy"], label["trace_source"], label["t_max"]) == (True, "random", 99)
    label = calibration_set("rac", tiny, traces=other, tokens=20).label
    assert (label["on_policy"], label["trace_source"]) == (False, "another")


# --- what is not allowed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["rac", "prompt-same-problems"])
def test_traces_of_another_tokenizer_are_refused(tiny, source):
    traces = dataclasses.replace(make_traces(tiny, [(10, 10)]), tokenizer="another", model="gpt")
    with pytest.raises(DataError, match="another tokenizer .by 'gpt'. than that of 'random'"):
        calibration_set(source, tiny, traces=traces, tokens=5)


def test_a_changed_tokenizer_is_another(tiny, tiny_folder):
    from transformers import AutoTokenizer

    loaded = tiny.copy()
    loaded.tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    loaded.tokenizer.add_tokens(["<new>"])
    with pytest.raises(DataError, match="another tokenizer"):
        calibration_set("rac", loaded, traces=make_traces(tiny, [(10, 10)]), tokens=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(source="rac_"), "Did you mean 'rac'"),
        (dict(source="c4"), "source must be one of 'generic', 'prompt', 'rac', 'prompt-same-problems'; not 'c4'"),
        (dict(source="rac"), "source='rac' needs traces="),
        (dict(source="prompt-same-problems"), "needs traces="),
        (dict(source="prompt"), "source='prompt' needs problems="),
        (dict(source="generic", tokens=0), "tokens must be an integer >= 1; not 0"),
        (dict(source="generic", tokens=1.5), "tokens must be an integer >= 1"),
        (dict(source="generic", sequence_length=0), "sequence_length must be an integer >= 1"),
        (dict(source="generic", sequence_length=1), "sequence_length must be at least 2"),
        (dict(source="generic", texts="a text, not a list of them"), "texts must be a list"),
    ],
)
def test_what_makes_no_sense_is_refused(tiny, options, message):
    with pytest.raises(ParameterError, match=message):
        calibration_set(options.pop("source"), tiny, **options)


def arrays(*lengths, dtype=np.int32):
    return [np.ones(n, dtype=dtype) for n in lengths]


def test_a_set_of_one_s_own_is_checked():
    made = CalibrationSet("mine", arrays(3, 2), arrays(3, 2, dtype=np.uint8), arrays(3, 2, dtype=np.float32))
    assert made.tokens == made.decode_tokens == 5
    with pytest.raises(ParameterError, match="same lengths"):
        CalibrationSet("mine", arrays(3, 2), arrays(3, 3), arrays(3, 2))
    with pytest.raises(ValueError):
        CalibrationSet("mine", arrays(3, 2), arrays(3), arrays(3, 2))
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(NumericalError, match="finite and not negative"):
            CalibrationSet("mine", arrays(3), arrays(3), [np.array([1, bad, 1], dtype=np.float32)])
    for empty in ([], arrays(0)):
        with pytest.raises(DataError, match="'mine' is empty"):
            CalibrationSet("mine", empty, empty, empty)


# --- files -------------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_what_is_loaded(tiny, tmp_path):
    made = calibration_set("rac", tiny, traces=make_traces(tiny, [(10, 30), (20, 5)]), tokens=50)
    made.save(tmp_path / "set.parquet")
    again = CalibrationSet.load(tmp_path / "set.parquet")
    assert (again.source, again.problems, again.label) == (made.source, made.problems, made.label)
    assert again.fingerprint == made.fingerprint and again.tokens == 50
    for name in ("sequences", "phases", "weights"):
        assert all(
            np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(getattr(again, name), getattr(made, name), strict=True)
        )
    make_traces(tiny, [(3, 3)]).save(tmp_path / "traces.parquet")
    with pytest.raises(DataError, match="traces.parquet is not a calibration file"):
        CalibrationSet.load(tmp_path / "traces.parquet")


@pytest.mark.parametrize("field", ["sequences", "phases", "weights"])
def test_every_token_phase_and_weight_counts_in_the_fingerprint(tiny, field):
    made = calibration_set("rac", tiny, traces=make_traces(tiny, [(10, 30)]), tokens=40)
    changed = [values.copy() for values in getattr(made, field)]
    changed[0][5] += 1
    assert dataclasses.replace(made, **{field: changed}).fingerprint != made.fingerprint
    split = {f: [a for x in getattr(made, f) for a in (x[:5], x[5:])] for f in ("sequences", "phases", "weights")}
    assert dataclasses.replace(made, **split).fingerprint != made.fingerprint, "where sequences begin matters"


# --- packed windows ----------------------------------------------------------------------------------------------------


def test_packed_windows_are_full_and_lose_nothing(tiny):
    tokenizer, texts = tiny.tokenizer, [f"{text} {k}" for k, text in enumerate(TEXTS * 3)]
    window = 16
    made = calibration_set("generic", tiny, texts=texts, tokens=160, sequence_length=window, packed=True)
    assert {len(s) for s in made.sequences} == {window} and made.label["packed"]
    order = np.random.default_rng(0).permutation(len(texts))
    stream = [i for k in order for i in [*tokenizer(texts[k], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]]
    bodies = {tuple(s[1:]) for s in made.sequences}
    assert all(s[0] == tokenizer.bos_token_id for s in made.sequences)
    assert bodies == {tuple(stream[k : k + window - 1]) for k in range(0, (window - 1) * 10, window - 1)}


def test_a_stream_is_read_only_as_far_as_it_takes(tiny):
    read = []

    def endless():
        while True:
            read.append(1)
            yield TEXTS[0]

    made = calibration_set("generic", tiny, texts=endless(), tokens=100, sequence_length=32, packed=True)
    assert made.tokens == 100 and len(read) <= 1 + 100 // 5


def test_too_few_packed_texts_are_an_error(tiny):
    with pytest.raises(DataError, match="has [0-9]+ calibration tokens; tokens=5000 asks for more"):
        calibration_set("generic", tiny, texts=TEXTS, tokens=5000, sequence_length=32, packed=True)
    assert calibration_set("generic", tiny, texts=TEXTS, tokens=5000, packed=True, allow_fewer=True).tokens < 5000


def test_a_pinned_seed_draws_the_same_texts(tiny):
    def made(seed):
        return calibration_set("generic", tiny, texts=TEXTS * 4, tokens=60, seed=seed, packed=True).fingerprint

    assert made(1) == made(1) != made(2)
    assert load_texts() == generic_texts()
