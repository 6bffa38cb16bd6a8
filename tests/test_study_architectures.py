"""A whole study on models that are not of Llama's kind: GPT-2 (Conv1D layers) and OPT."""

import dataclasses

import pytest
import torch

from racviz.store import Store
from racviz.study import Study

SIZES = {
    "GPT2": dict(n_embd=48, n_layer=2, n_head=4, n_positions=256),
    "OPT": dict(
        hidden_size=48, word_embed_proj_dim=48, ffn_dim=96, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256,
    ),
}  # fmt: skip
MODELS = {"GPT2": "GPT2LMHeadModel", "OPT": "OPTForCausalLM"}
LINEARS = {"GPT2": 4, "OPT": 6}
"""Linears a block: GPT-2 has q, k and v in one."""


@pytest.mark.parametrize("architecture", SIZES)
def test_a_whole_study(tiny, architecture, tmp_path):
    import transformers

    special = {name: getattr(tiny.tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = getattr(transformers, f"{architecture}Config")(**SIZES[architecture], **special, vocab_size=len(tiny.tokenizer))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, MODELS[architecture])(config).eval()
    folder = dataclasses.replace(tiny, model=model, name=architecture).save(tmp_path / architecture)
    study = Study(
        model=str(folder), run=str(tmp_path / "run"), store=Store(tmp_path / "store"), sources=("prompt", "rac"),
        calibration_tokens=1500, t_max=24, budget=20, problems=5, batch_size=32, sequence_length=96, sparsities=(0.4, 0.5),
        progress=False,
    )  # fmt: skip
    frame = study.results()
    assert len(frame) == 5  # dense, and two sources at two sparsities
    pruned = frame[frame["source"] != "dense"]
    assert (pruned["sparsity_all"] > 0.1).all()
    errors = study.errors(0.5)
    assert set(errors.names) == {"prompt", "rac"} and (errors.frame["e_rac"] > 0).any()
    layers = study.layerwise(0.5)
    assert layers["layer"].nunique() == 2 * LINEARS[architecture] and layers["error"].between(0, 1).all()
