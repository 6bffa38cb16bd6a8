"""Every stack of decoder blocks: tiny models of each architecture, built from their configs."""

import dataclasses

import pytest
import torch
from pruning_helpers import ragged

import racviz as rv
from racviz.pruning import second_moments
from racviz.pruning.blocks import Scope, decoder_blocks, read_weight
from racviz.pruning.stream import open_stream, run_block

COMMON = dict(
    vocab_size=1024, hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    head_dim=12, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
GPT2 = dict(vocab_size=1024, n_embd=48, n_layer=3, n_head=4, n_positions=128, pad_token_id=0, bos_token_id=1, eos_token_id=2)
OPT = dict(
    vocab_size=1024, hidden_size=48, ffn_dim=96, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=128,
    word_embed_proj_dim=48, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
ARCHITECTURES = {
    "Qwen2": (COMMON, 7), "Qwen3": (COMMON, 7), "Llama": (COMMON | dict(attention_bias=True), 7), "Mistral": (COMMON, 7),
    "Gemma": (COMMON, 7), "Gemma2": (COMMON, 7), "Gemma3Text": (COMMON, 7), "Phi": (COMMON, 6), "Phi3": (COMMON, 4),
    "GPT2": (GPT2, 4), "OPT": (OPT, 6), "GPTNeoX": (COMMON, 4), "Olmo2": (COMMON, 7),
}  # fmt: skip
"""Settings of each, and how many linears a block of it has."""

every = pytest.mark.parametrize("architecture", ARCHITECTURES)


def build(tiny, architecture):
    import transformers

    settings, _ = ARCHITECTURES[architecture]
    config = getattr(transformers, f"{architecture}Config")(**settings)
    names = (f"{architecture}ForCausalLM", f"{architecture}LMHeadModel", f"{architecture.removesuffix('Text')}ForCausalLM")
    kind = next(getattr(transformers, name) for name in names if hasattr(transformers, name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(config).eval()
    return dataclasses.replace(tiny, model=model, name=architecture, fingerprint=architecture)


@every
def test_blocks_run_one_by_one_give_what_the_model_gives(tiny, architecture):
    loaded = build(tiny, architecture)
    stream, expected = open_stream(loaded, ragged(tiny)), {}
    _, blocks = decoder_blocks(loaded.model)

    def catch(module, args, out):
        expected["out"] = out[0] if isinstance(out, tuple) else out

    for index, block in enumerate(blocks):
        run_block(block, index, stream, keep=True)
    handle = blocks[-1].register_forward_hook(catch)
    ids = sorted((torch.tensor(s.astype("int64")) for s in ragged(tiny).sequences), key=len)
    with torch.no_grad():
        for row, sequence in enumerate(ids):
            loaded.model(input_ids=sequence[None], use_cache=False)
            assert torch.allclose(stream.hidden.get(0)[row, : len(sequence)], expected["out"][0], atol=1e-4), architecture
    handle.remove()


@every
@pytest.mark.parametrize("mode", ["one-pass", "sequential"])
def test_prunes(tiny, architecture, mode, tmp_path):
    loaded = build(tiny, architecture)
    before = {k: v.clone() for k, v in loaded.model.state_dict().items()}
    pruned = rv.prune(loaded, ragged(tiny), sparsity=0.5, mode=mode, progress=False)
    assert len(pruned.report) == 3 * ARCHITECTURES[architecture][1]
    assert pruned.provenance["sparsity"] == pytest.approx(0.5, abs=1e-3)
    changed = {k for k, v in pruned.model.state_dict().items() if not torch.equal(v, before[k])}
    assert len(changed) == len(pruned.report) and all(name.endswith("weight") for name in changed)
    assert pruned.report["calibration_error"].between(0, 1).all()
    again = type(loaded.model).from_pretrained(pruned.save(tmp_path / "m"), dtype=torch.float32)
    ids = torch.arange(10, 40)[None]
    with torch.no_grad():
        assert torch.equal(again(ids).logits, pruned.model(ids).logits)


def test_conv1d_is_read_as_outputs_by_inputs(tiny):
    loaded = build(tiny, "GPT2")
    conv = decoder_blocks(loaded.model)[1][0].mlp.c_fc
    assert read_weight(conv).shape == (192, 48) and conv.weight.shape == (48, 192)
    moments = second_moments(loaded, ragged(tiny))
    assert len(moments.by_linear["layers.0.mlp.c_fc"].mixed()) == 48
    assert len(Scope("mlp").linears(loaded.model)[0]) == 2
