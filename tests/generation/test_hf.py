"""Generation against plain transformers, and sampling against numpy and against itself in other batches."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import GenerationConfig

from racviz.exceptions import DataError, ParameterError
from racviz.generation import BACKENDS, Completion, Request, Sampling, generate, hf
from racviz.generation.hf import choose, stop_ids

GREEDY = Sampling(max_new_tokens=40, temperature=0.0)
SAMPLED = Sampling(max_new_tokens=40, temperature=0.8, top_p=0.9, seed=3)


def ragged_requests(count: int, seed: int = 0, longest: int = 60) -> list[Request]:
    """Prompts of quite different lengths, the longest first, so that it is padding that the others have."""
    rng = np.random.default_rng(seed)
    sizes = [longest, *rng.integers(1, longest // 2, size=count - 1)]
    return [Request(tuple(map(int, rng.integers(5, 1000, size=size))), f"p{k}", 0) for k, size in enumerate(sizes)]


def run(loaded, requests, sampling, batch_size=64) -> list[Completion]:
    """Completions in the order of the requests; each exactly once."""
    found = list(generate(loaded, requests, sampling, batch_size))
    assert sorted(index for index, _ in found) == list(range(len(requests)))
    return [completion for _, completion in sorted(found, key=lambda pair: pair[0])]


def plain(loaded, request: Request, new: int) -> tuple[int, ...]:
    """The greedy continuation of one prompt by `model.generate`."""
    ids = torch.tensor([request.prompt_ids])
    config = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=sorted(stop_ids(loaded)), pad_token_id=0)
    out = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    return tuple(out[0, ids.shape[1] :].tolist())


@pytest.fixture(scope="module")
def ending(tiny):
    """The random model in float64 (so that no order of additions decides a token), an eighth of its tokens ending the text."""
    loaded = tiny.copy()
    loaded.model.double()
    loaded.model.generation_config.eos_token_id = list(range(7, 1024, 8))
    return loaded


@pytest.fixture
def kept(monkeypatch):
    """What is cut from the cache when rows leave the batch: (rows kept, columns dropped)."""
    seen = []
    keep = hf.GrowingLayer.keep

    def note(layer, rows, first):
        seen.append((len(rows), first))
        keep(layer, rows, first)

    monkeypatch.setattr(hf.GrowingLayer, "keep", note)
    return seen


# --- greedy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_ragged_batch_decodes_as_plain_transformers_does_row_by_row(ending, kept, seed):
    requests = ragged_requests(12, seed)
    batch = run(ending, requests, GREEDY)
    assert [c.output_ids for c in batch] == [plain(ending, r, 40) for r in requests]
    assert len({len(c.output_ids) for c in batch}) > 3 and kept, "rows must leave the batch at different steps"
    assert batch == [run(ending, [r], GREEDY)[0] for r in requests]


def test_columns_that_are_padding_for_all_rows_left_are_dropped(ending, kept):
    """The longest prompt ends first; the others go on as if it had never been there."""
    long = ragged_requests(1, longest=60)[0]
    first = run(ending, [long], dataclasses.replace(GREEDY, max_new_tokens=1))[0].output_ids[0]
    others = ragged_requests(6, seed=5)[1:]
    loaded = ending.copy()
    loaded.model.generation_config.eos_token_id = first
    batch = run(loaded, [long, *others], GREEDY)
    assert batch[0] == Completion((first,), "stop")
    assert [c.output_ids for c in batch[1:]] == [plain(loaded, r, 40) for r in others]
    rows, dropped = kept[0]
    assert rows <= 5 and dropped >= 60 - max(len(r.prompt_ids) for r in others) > 0


def test_decoding_past_every_growth_of_the_cache(tiny):
    """Prompt and output pass 64, 128 and 192 positions, where the buffers double or are made anew."""
    request = Request(tuple(range(5, 45)), "p")
    (completion,) = run(tiny, [request], Sampling(200, temperature=0))
    assert completion.output_ids == plain(tiny, request, 200)


def test_layers_with_a_sliding_window_keep_their_own_cache(make_tiny):
    loaded = make_tiny(use_sliding_window=True, sliding_window=16, max_window_layers=0, layer_types=["sliding_attention"] * 2)
    loaded.model.double()
    loaded.model.generation_config.eos_token_id = list(range(7, 1024, 8))
    requests = ragged_requests(6, seed=1)
    batch = run(loaded, requests, GREEDY)
    assert [c.output_ids for c in batch] == [plain(loaded, r, 40) for r in requests]
    assert len({len(c.output_ids) for c in batch}) > 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_in_half_precision_generate(tiny, dtype):
    loaded = tiny.copy()
    loaded.model.to(dtype)
    request = ragged_requests(1, longest=20)[0]
    assert run(loaded, [request], GREEDY)[0].output_ids == plain(loaded, request, 40)


def test_greedy_decoding_asks_no_random_numbers(tiny):
    requests = ragged_requests(3)
    short = dataclasses.replace(GREEDY, max_new_tokens=12)
    assert run(tiny, requests, short) == run(tiny, requests, dataclasses.replace(short, seed=9, top_p=0.5))
    nearly = dataclasses.replace(short, temperature=1e-4)  # the same limit, reached by sampling
    assert run(tiny, requests, nearly) == run(tiny, requests, short)


# --- sampling does not depend on company -------------------------------------------------------------------------------


def test_samples_do_not_depend_on_the_size_of_the_batch(ending, kept):
    requests = ragged_requests(12)
    alone = [run(ending, [r], SAMPLED)[0] for r in requests]
    assert len({c.output_ids for c in alone}) == len(alone)
    for batch_size in (5, 12, 64):
        assert run(ending, requests, SAMPLED, batch_size) == alone
    assert any(rows > 0 for rows, _ in kept)


def test_samples_do_not_depend_on_the_order_of_the_rows(ending):
    requests = ragged_requests(10, seed=1)
    order = np.random.default_rng(0).permutation(10)
    straight, shuffled = run(ending, requests, SAMPLED), run(ending, [requests[k] for k in order], SAMPLED)
    assert [straight[k] for k in order] == shuffled


def test_a_cap_cuts_the_same_text(ending):
    requests = ragged_requests(6, seed=2)
    long = run(ending, requests, SAMPLED)
    short = run(ending, requests, dataclasses.replace(SAMPLED, max_new_tokens=5))
    assert [c.output_ids for c in short] == [c.output_ids[:5] for c in long]


def test_seed_problem_and_sample_each_make_another_text(tiny):
    request = Request(tuple(range(10, 20)), "p", 0)
    others = [dataclasses.replace(request, sample=1), dataclasses.replace(request, name="q")]
    texts = [c.output_ids for c in run(tiny, [request, *others], SAMPLED)]
    texts.append(run(tiny, [request], dataclasses.replace(SAMPLED, seed=4))[0].output_ids)
    assert len(set(texts)) == 4
    assert run(tiny, [request], SAMPLED)[0].output_ids == texts[0]


@given(st.lists(st.tuples(st.integers(0, 99), st.text(max_size=8), st.integers(0, 99)), min_size=2, max_size=20, unique=True))
def test_random_streams_are_distinct(triples):
    seeds = [Request((1,), name, sample).seed(Sampling(seed=seed)) for seed, name, sample in triples]
    texts = {f"{seed} {name} {sample}" for seed, name, sample in triples}
    assert len(set(seeds)) == len(texts) and all(0 <= seed < 2**64 for seed in seeds)


# --- the choice of a token ---------------------------------------------------------------------------------------------


def nucleus(logits: np.ndarray, temperature: float, top_p: float) -> tuple[np.ndarray, np.ndarray]:
    """The smallest set of most probable tokens that holds top_p, most probable first, and its probabilities; float64."""
    scaled = logits.astype(np.float64) / temperature
    probability = np.exp(scaled - scaled.max())
    probability /= probability.sum()
    order = np.argsort(-probability, kind="stable")
    size = int(np.searchsorted(np.cumsum(probability[order]), top_p - 1e-9) + 1)
    chosen = order[:size]
    return chosen, probability[chosen] / probability[chosen].sum()


LOGITS = st.lists(st.integers(-400, 400), min_size=2, max_size=40, unique=True).map(lambda x: np.array(x) / 32)


@given(LOGITS, st.floats(0.2, 3), st.floats(0.01, 1), st.floats(0, 1, exclude_max=True))
def test_a_token_is_the_inverse_cdf_of_the_nucleus(logits, temperature, top_p, uniform):
    whole = np.cumsum(nucleus(logits, temperature, 1.0)[1])
    assume(top_p == 1 or np.abs(whole - top_p).min() > 1e-5)  # in float32 the nucleus is what it is in float64
    chosen, probability = nucleus(logits, temperature, top_p)
    edges = np.cumsum(probability)
    assume(np.abs(edges - uniform).min() > 1e-5)
    token = choose(torch.tensor(logits, dtype=torch.float32)[None], Sampling(1, temperature, top_p), torch.tensor([uniform]))
    assert int(token) == chosen[np.searchsorted(edges, uniform)]


@pytest.mark.parametrize("top_p", [0.3, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_their_probability_says(temperature, top_p):
    logits = np.random.default_rng(0).normal(size=50) * 2
    draws = 20_000
    uniform = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws  # evenly: the counts are right to one draw
    tokens = choose(torch.tensor(logits, dtype=torch.float32).repeat(draws, 1), Sampling(1, temperature, top_p), uniform)
    chosen, probability = nucleus(logits, temperature, top_p)
    expected = np.zeros(50)
    expected[chosen] = probability * draws
    assert np.abs(np.bincount(tokens.numpy(), minlength=50) - expected).max() <= 1.5


def test_random_draws_come_as_often_as_their_probability_says(tiny):
    """Through the generators of the requests: 4,000 first tokens of one prompt, a chi-squared test."""
    sampling = Sampling(1, temperature=1.5, top_p=0.7)
    prompt = (5, 6, 7)
    requests = [Request(prompt, f"p{k}") for k in range(4000)]
    tokens = [c.output_ids[0] for c in run(tiny, requests, sampling, batch_size=2000)]
    with torch.no_grad():
        logits = tiny.model(torch.tensor([prompt])).logits[0, -1].numpy()
    chosen, probability = nucleus(logits, 1.5, 0.7)
    chosen, probability = chosen[probability * 4000 > 5], probability[probability * 4000 > 5]
    counts = np.array([tokens.count(int(token)) for token in chosen])
    expected = probability * 4000
    assert len(chosen) > 20 and set(tokens) <= set(nucleus(logits, 1.5, 0.7 + 1e-5)[0])
    statistic, freedom = ((counts - expected) ** 2 / expected).sum(), len(chosen)
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_the_nucleus_is_the_smallest_set_that_holds_top_p():
    even = torch.zeros(1, 4)  # a quarter each, exactly
    for top_p, size in [(0.2, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.75, 3), (1.0, 4)]:
        uniform = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
        tokens = choose(even.repeat(400, 1), Sampling(1, 1.0, top_p), uniform)
        assert len(tokens.unique()) == size, top_p


@pytest.mark.parametrize("uniform", [1 - 2**-25, 1 - 2**-30, 1 - 2**-53])
def test_a_draw_that_rounds_to_one_stays_in_the_nucleus(uniform):
    logits = torch.tensor([[0.0, 5.0, 4.0, -3.0, -9.0]])
    token = choose(logits, Sampling(1, 1.0, 0.9), torch.tensor([uniform], dtype=torch.float64))
    assert int(token) == 2, "the last of the nucleus {1, 2}"


def test_the_ends_of_the_range(tiny):
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    zero = torch.tensor([0.0])
    assert int(choose(logits, Sampling(1, 1.0, 1.0), zero)) == 1
    assert int(choose(logits, Sampling(1, 0.0), torch.tensor([0.99]))) == 1
    assert int(choose(logits, Sampling(1, 1.0, 1e-9), torch.tensor([0.99]))) == 1


# --- the end -----------------------------------------------------------------------------------------------------------


def test_the_end_is_a_stop_id_and_only_the_last_token_is_one(ending):
    stops = stop_ids(ending)
    assert stops == {*range(7, 1024, 8), ending.tokenizer.eos_token_id}
    completions = run(ending, ragged_requests(12), SAMPLED)
    assert {c.finish_reason for c in completions} == {"stop", "length"} or all(c.finish_reason == "stop" for c in completions)
    for c in completions:
        assert not stops & set(c.output_ids[:-1])
        assert (c.output_ids[-1] in stops) == (c.finish_reason == "stop")
        assert len(c.output_ids) == 40 or c.finish_reason == "stop"


@pytest.mark.parametrize("cap", [1, 2, 17])
def test_the_cap_is_exact(tiny, cap):
    loaded = tiny.copy()
    loaded.model.generation_config.eos_token_id = None
    loaded.tokenizer = type("NoEnd", (), {"eos_token_id": None, "pad_token_id": None})()
    assert stop_ids(loaded) == set()
    for temperature in (0.0, 1.0):
        for completion in run(loaded, ragged_requests(5), Sampling(cap, temperature)):
            assert len(completion.output_ids) == cap and completion.finish_reason == "length"


def test_a_stop_at_the_cap_is_a_stop(ending):
    request = ragged_requests(1)[0]
    whole = run(ending, [request], SAMPLED)[0]
    assert whole.finish_reason == "stop"
    for cap, reason in ((len(whole.output_ids), "stop"), (len(whole.output_ids) - 1, "length")):
        completion = run(ending, [request], dataclasses.replace(SAMPLED, max_new_tokens=cap))[0]
        assert completion == Completion(whole.output_ids[:cap], reason)


def test_one_stop_id_and_the_tokenizer_s_own(tiny):
    loaded = tiny.copy()
    loaded.model.generation_config.eos_token_id = 77
    assert stop_ids(loaded) == {77, loaded.tokenizer.eos_token_id}


def test_rows_are_handed_out_as_they_finish(ending):
    """The first row to end arrives before the others are done, so that an interruption finds it counted."""
    requests = ragged_requests(8)
    lengths = [len(c.output_ids) for c in run(ending, requests, SAMPLED)]
    arrived = [index for index, _ in generate(ending, requests, SAMPLED)]
    assert [lengths[k] for k in arrived] == sorted(lengths)


def test_the_model_is_left_as_it_was(tiny):
    before = {name: p.clone() for name, p in tiny.model.named_parameters()}
    config = tiny.model.generation_config.to_dict()
    run(tiny, ragged_requests(3), Sampling(3))
    assert all(torch.equal(before[name], p) for name, p in tiny.model.named_parameters())
    assert tiny.model.generation_config.to_dict() == config
    next(iter(generate(tiny, ragged_requests(3), Sampling(3))))
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled(), "also between two rows"


# --- what is not allowed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0), ("max_new_tokens", -1), ("max_new_tokens", 1.5), ("max_new_tokens", "8"), ("max_new_tokens", None),
        ("temperature", -0.1), ("temperature", float("nan")), ("temperature", float("inf")), ("temperature", "hot"),
        ("top_p", 0), ("top_p", 1.01), ("top_p", float("nan")), ("top_p", "0.9"), ("seed", "lucky"), ("seed", 1.5), ("seed", None),
    ],
)  # fmt: skip
def test_sampling_refuses_what_makes_no_sense(field, value):
    with pytest.raises(ParameterError, match=f"^{field} must be .*; not {value!r}"):
        Sampling(**{field: value})


def test_unknown_backends_and_batch_sizes(tiny):
    request = ragged_requests(1)
    with pytest.raises(ParameterError, match="backend must be one of 'hf', 'vllm'"):
        generate(tiny, request, GREEDY, backend="hff")
    assert "hf" in BACKENDS
    with pytest.raises(ParameterError, match="batch_size"):
        generate(tiny, request, GREEDY, batch_size=0)
    assert list(generate(tiny, [], GREEDY)) == []


@pytest.mark.parametrize("top_p", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("sharpness", [0.1, 4.0])
def test_a_large_vocabulary_is_not_sorted_whole_and_draws_the_same(top_p, sharpness, monkeypatch):
    """Rows whose nucleus lies within the likeliest tokens (sharp), and rows where it does not (flat)."""
    import racviz.generation.hf as room

    logits = sharpness * torch.randn(40, 8_000, generator=torch.Generator().manual_seed(1))
    uniform = torch.rand(40, generator=torch.Generator().manual_seed(2))
    fast = room.choose(logits, Sampling(top_p=top_p), uniform)
    monkeypatch.setattr(room, "HEAD", 10_000)
    assert torch.equal(fast, room.choose(logits, Sampling(top_p=top_p), uniform))


def test_a_prompt_of_no_token_is_refused(tiny):
    with pytest.raises(DataError, match="'mine' is empty"):
        list(generate(tiny, [Request((), "mine")], Sampling(4)))


def test_a_temperature_that_is_zero_in_32_bits_is_refused():
    with pytest.raises(ParameterError, match="temperature"):
        Sampling(4, temperature=1e-320)
