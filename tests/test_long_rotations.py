"""Rotary rules that depend on the length: a row is what it is alone, whatever stands beside it."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

import racviz as rv
from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError
from racviz.generation import Request, Sampling, generate
from racviz.models.architecture import length_switch
from racviz.problems import Problem
from racviz.pruning import second_moments
from racviz.pruning.blocks import decoder_blocks
from racviz.traces import Trace, Traces, generate_traces

SWITCH = 64
LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 6, "long_factor": [1, 1.5, 2.5, 4, 8, 16], "rope_theta": 1e4}
SIZES = dict(
    vocab_size=1024, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def phi(tiny):
    config = Phi3Config(
        **SIZES, max_position_embeddings=256, original_max_position_embeddings=SWITCH,
        rope_parameters=LONGROPE | {"original_max_position_embeddings": SWITCH},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Phi3ForCausalLM(config).eval()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.mul_(6)
    model.generation_config.eos_token_id = None
    tokenizer = tiny.tokenizer
    return dataclasses.replace(tiny, model=model, tokenizer=tokenizer, name="phi", fingerprint="phi")


def prompts(*sizes):
    rng = np.random.default_rng(3)
    return [tuple(int(k) for k in rng.integers(10, 1000, size=size)) for size in sizes]


@torch.no_grad()
def alone(loaded, prompt, new):
    made = loaded.model.generate(
        torch.tensor([prompt]), max_new_tokens=new, do_sample=False, eos_token_id=loaded.tokenizer.eos_token_id
    )
    return tuple(made[0, len(prompt) :].tolist())


def test_rows_are_generated_up_to_the_original_length(phi):
    assert length_switch(phi.model.config) == phi.reach == SWITCH and phi.context == 256
    rows = prompts(24, 10, 3)
    made = dict(generate(phi, [Request(p, str(k)) for k, p in enumerate(rows)], Sampling(40, temperature=0.0), 8))
    assert [made[k].output_ids for k in range(3)] == [alone(phi, p, 40) for p in rows]


@pytest.mark.parametrize("backend", ["hf", "vllm", "http://localhost:1"])
def test_longer_rows_are_refused(phi, backend):
    """Transformers 5.17 itself forgets the row there: it computes the step anew from the last token alone."""
    with pytest.raises(DataError, match="'long'.* 90.* 64 tokens .* longrope"):
        generate(phi, [Request(prompts(10)[0], "short"), Request(prompts(50)[0], "long")], Sampling(40), 8, backend)
    with pytest.raises(DataError, match="longrope"):
        generate_traces(phi, [Problem("a", "What is 2 + 2?")], Sampling(64), progress=False)


@torch.no_grad()
def test_moments_are_those_of_rows_alone(phi):
    ids = [np.array(p, np.int32) for p in prompts(63, 64, 65, 66, 10)]
    given = CalibrationSet("t", ids, [np.zeros(len(s), np.uint8) for s in ids], [np.ones(len(s), np.float32) for s in ids])
    made, expected = second_moments(phi, given, precision="float64"), 0.0

    def add(module, args):
        nonlocal expected
        x = args[0].reshape(-1, args[0].shape[-1]).double()  # [T, columns]
        expected = expected + x.T @ x

    name = "layers.1.mlp.down_proj"
    handle = decoder_blocks(phi.model)[1][1].mlp.down_proj.register_forward_pre_hook(add)
    for sequence in ids:
        phi.model(input_ids=torch.tensor(sequence.astype("int64"))[None], use_cache=False)
    handle.remove()
    assert torch.allclose(made.of(name).mixed(), expected, rtol=1e-4, atol=1e-5 * float(expected.diagonal().max()))


@torch.no_grad()
def test_errors_are_those_of_rows_alone(phi):
    from racviz.models import tokenizer_fingerprint

    rows = tuple(Trace(str(k), 0, p[:5], p[5:], "length", str(k)) for k, p in enumerate(prompts(60, 64, 65, 70)))
    rollouts = Traces(rows, "phi", "phi", tokenizer_fingerprint(phi.tokenizer))
    other = phi.copy()
    other.model.model.layers[0].mlp.down_proj.weight.data.mul_(0.5)
    frame = rv.reconstruction_errors(phi, {"other": other}, rollouts, progress=False).frame
    for row in rows:
        ids = torch.tensor([[*row.prompt_ids, *row.output_ids]])
        expected = (phi.model.model(ids).last_hidden_state - other.model.model(ids).last_hidden_state).norm(dim=-1)[0]
        assert np.allclose(frame.loc[frame["problem_id"] == row.problem_id, "e_other"], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rule", ["default", "linear", "yarn", "llama3", "dynamic"])
def test_other_rules_hold_up_to_the_context_and_are_refused_past_it(tiny, rule):
    """Dynamic NTK scaling changes past max_position_embeddings alone, which is the context."""
    more = {
        "linear": {"factor": 2.0}, "dynamic": {"factor": 2.0},
        "yarn": {"factor": 2.0, "original_max_position_embeddings": 32},
        "llama3": {"factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    }.get(rule, {})  # fmt: skip
    config = LlamaConfig(**SIZES, max_position_embeddings=64, rope_parameters={"rope_type": rule, "rope_theta": 1e4} | more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.mul_(6)
    model.generation_config.eos_token_id = None
    loaded = dataclasses.replace(tiny, model=model, name=rule)
    rows = prompts(24, 5, 14)
    made = dict(generate(loaded, [Request(p, str(k)) for k, p in enumerate(rows)], Sampling(40, temperature=0.0), 8))
    assert [made[k].output_ids for k in range(3)] == [alone(loaded, p, 40) for p in rows]
    with pytest.raises(DataError, match="65, which exceeds the model's context of 64"):
        list(generate(loaded, [Request(prompts(25)[0], "x")], Sampling(40)))
