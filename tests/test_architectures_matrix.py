"""Every causal architecture of transformers: generation, second moments and pruning against the plain forward pass, or refused by name."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from architectures import ALL, REFUSED, SKIPPED, config_of
from transformers import AutoModelForCausalLM, __version__
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KINDS

import racviz as rv
from racviz.calibration import CalibrationSet
from racviz.exceptions import RacvizError
from racviz.generation import Request, Sampling, generate
from racviz.pruning import second_moments
from racviz.pruning.blocks import decoder_blocks, is_linear

NEW = 12
"""Tokens that are generated: from prompts of 3, 20 and 9, so that a window of 16 is passed."""


def build(tiny, kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config_of(kind)).eval().float()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.mul_(4)  # outputs that depend on all of the context
    model.generation_config.eos_token_id = None
    return dataclasses.replace(tiny, model=model, name=kind, fingerprint=kind)


def calibration() -> CalibrationSet:
    rng = np.random.default_rng(0)
    sequences = [rng.integers(10, 1000, size=rng.integers(5, 40)).astype(np.int32) for _ in range(6)]
    phases = [(np.arange(len(s)) >= len(s) // 3).astype(np.uint8) for s in sequences]
    return CalibrationSet("test", sequences, phases, [np.ones(len(s), dtype=np.float32) for s in sequences])


@torch.no_grad()
def generation(loaded) -> None:
    """A batch of rows of several lengths gives each row's own greedy tokens, from forward passes over the whole of it."""
    rng = np.random.default_rng(1)
    prompts = [tuple(int(k) for k in rng.integers(10, 1000, size=size)) for size in (3, 20, 9)]
    requests = [Request(prompt, str(k)) for k, prompt in enumerate(prompts)]
    made = dict(generate(loaded, requests, Sampling(NEW, temperature=0.0), 8))
    for k, prompt in enumerate(prompts):
        ids = list(prompt)
        for chosen in made[k].output_ids:
            logits = loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].float()
            assert logits[chosen] >= logits.max() - 1e-3 * logits.std(), (k, len(ids))
            ids.append(chosen)
        assert len(made[k].output_ids) == NEW or ids[-1] == loaded.tokenizer.eos_token_id


@torch.no_grad()
def moments(loaded) -> None:
    """The second moments are those of the inputs that hooks see, a row after the other."""
    given = calibration()
    made = second_moments(loaded, given, precision="float64")
    expected = {name: 0.0 for name in made.by_linear}
    handles = []
    for name in expected:

        def add(module, args, name=name):
            x = args[0].reshape(-1, args[0].shape[-1]).double()  # [T, columns]
            expected[name] = expected[name] + x.T @ x

        _, index, inner = name.split(".", 2)
        handles.append(decoder_blocks(loaded.model)[1][int(index)].get_submodule(inner).register_forward_pre_hook(add))
    for ids in given.sequences:
        loaded.model(input_ids=torch.tensor(ids.astype("int64"))[None], use_cache=False)
    for handle in handles:
        handle.remove()
    for name, h in expected.items():
        if isinstance(h, float):  # cross attention, which reads nothing
            assert not made.of(name).mixed().any(), name
        else:
            assert torch.allclose(made.of(name).mixed(), h, rtol=1e-3, atol=1e-3 * float(h.diagonal().max())), name


@torch.no_grad()
def pruning(loaded) -> None:
    """Half of the weights of every linear in the blocks is zero, nothing else has changed, and the dense model is as it was."""
    before = copy.deepcopy(loaded.model)
    pruned = rv.prune(loaded, calibration(), method="wanda", sparsity=0.5, progress=False)
    linears = [m for block in decoder_blocks(loaded.model)[1] for m in block.modules() if is_linear(m)]
    assert len(pruned.report) == len(linears)
    assert pruned.provenance["sparsity"] == pytest.approx(0.5, abs=2e-3)
    ids = torch.arange(10, 40)[None]
    assert torch.equal(before(input_ids=ids, use_cache=False).logits, loaded.model(input_ids=ids, use_cache=False).logits)
    for name in pruned.report["layer"]:  # the plain model, masked where the pruned one is zero
        _, index, inner = name.split(".", 2)
        old, new = (decoder_blocks(m)[1][int(index)].get_submodule(inner).weight for m in (before, pruned.model))
        old.data.mul_(new != 0)
    assert torch.equal(before(input_ids=ids, use_cache=False).logits, pruned.model(input_ids=ids, use_cache=False).logits)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(SKIPPED)))
@pytest.mark.filterwarnings("ignore")
def test_as_the_plain_forward_pass_or_refused(tiny, kind):
    loaded = build(tiny, kind)
    for name, trial in (("generation", generation), ("moments", moments), ("pruning", pruning)):
        if name not in REFUSED.get(kind, ()):
            trial(loaded)
            continue
        with pytest.raises(RacvizError, match=type(loaded.model).__name__):
            trial(loaded)


def test_every_architecture_is_in_the_table():
    if not __version__.startswith("5.17."):
        pytest.skip("the table is that of transformers 5.17")
    assert set(SKIPPED) <= set(KINDS) and set(REFUSED) <= set(KINDS) - set(SKIPPED)
    whole = set(KINDS) - set(SKIPPED) - set(REFUSED)
    assert {"llama", "qwen2", "qwen3", "gpt2", "opt", "phi3", "gemma3_text", "mistral", "bloom", "mpt", "falcon"} <= whole
    assert all(set(steps) <= set(ALL) for steps in REFUSED.values())
