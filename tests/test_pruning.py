"""Moments, SparseGPT and the driver, against float64 computations written down here and against llm-compressor."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import racviz as rv
from racviz.calibration import CalibrationSet
from racviz.errors import NumericalError, ParameterError
from racviz.pruning import second_moments
from racviz.pruning.blocks import Scope, decoder_blocks
from racviz.pruning.driver import relative_error
from racviz.pruning.moments import open_stream
from racviz.pruning.sparsegpt import inverse_factor, sparsegpt


def correlated(rows, columns, tokens=400, seed=0, dead=()):
    """A weight and the second moment of correlated inputs, fp32."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(tokens, columns)) @ rng.normal(size=(columns, columns)) * np.geomspace(1, 0.05, columns)
    x[:, list(dead)] = 0
    return torch.tensor(rng.normal(size=(rows, columns)), dtype=torch.float32), torch.tensor(x.T @ x, dtype=torch.float32)


def reference_sparsegpt(weight, moment, sparsity, block=128, damping=0.01):
    """SparseGPT written anew in numpy float64: Cholesky of the inverse, one threshold a block, column loop."""
    w, h = weight.numpy().astype(np.float64), moment.numpy().astype(np.float64)
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h += damping * np.mean(np.diag(h)) * np.eye(len(h))
    u = np.linalg.cholesky(np.linalg.inv(h)).T  # upper, UᵀU = H⁻¹
    mask = np.zeros(w.shape, dtype=bool)
    for start in range(0, w.shape[1], block):
        end = min(start + block, w.shape[1])
        saliency = w[:, start:end] ** 2 / np.diag(u)[start:end] ** 2
        count = round(sparsity * saliency.size)
        chosen = np.argsort(saliency, axis=None, kind="stable")[:count]
        mask[:, start:end].reshape(-1)[:] = False
        part = np.zeros(saliency.size, dtype=bool)
        part[chosen] = True
        mask[:, start:end] = part.reshape(saliency.shape)
        for j in range(start, end):
            error = np.where(mask[:, j], w[:, j], 0.0) / u[j, j]
            w[:, j:] -= np.outer(error, u[j, j:])  # all columns to the right at once: no lazy batches here
            w[mask[:, j], j] = 0.0
    return w, mask


def error_of(weight, pruned, moment):
    w, p, h = (t.double().numpy() for t in (weight, pruned, moment))
    return np.trace((w - p) @ h @ (w - p).T) / np.trace(w @ h @ w.T)


@pytest.mark.parametrize("shape", [(64, 256), (96, 320), (1, 130)])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_agrees_with_float64(shape, sparsity):
    weight, moment = correlated(*shape, dead=(7,))
    pruned, mask, _ = sparsegpt(weight, moment, sparsity)
    expected, expected_mask = reference_sparsegpt(weight, moment, sparsity)
    assert (mask.numpy() == expected_mask).mean() > 0.999
    expected_error = error_of(weight, torch.tensor(expected), moment)
    assert abs(error_of(weight, pruned, moment) - expected_error) < 1e-3 * expected_error


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("tokens", [400, 4000])
def test_agrees_with_llm_compressor(sparsity, tokens):
    peer = pytest.importorskip("llmcompressor.modifiers.pruning.sparsegpt.sgpt_sparsify", reason="llmcompressor is a dev extra")
    weight, moment = correlated(96, 256, tokens=tokens, dead=(3,))
    linear = torch.nn.Linear(256, 96, bias=False)
    linear.weight.data = weight.clone()
    count, size = round(sparsity * 96 * 128), 96 * 128
    _, other = peer.sparsify_weight(
        module=linear, hessians_dict={linear: moment.clone()}, prune_n=0, prune_m=0, block_size=128, dampening_frac=0.01,
        sparsity=(count - 0.5) / size, preserve_sparsity_mask=False,  # the peer prunes int(sparsity · size) + 1 of a block
    )  # fmt: skip
    pruned, mask, _ = sparsegpt(weight, moment, sparsity)
    other = other.detach().float()
    assert ((other == 0) == mask).float().mean() > 0.999
    theirs = error_of(weight, other, moment)
    assert abs(error_of(weight, pruned, moment) - theirs) < 1e-3 * theirs


def test_compensation_beats_the_mask_alone():
    weight, moment = correlated(32, 192)
    pruned, mask, _ = sparsegpt(weight, moment, 0.5)
    assert error_of(weight, pruned, moment) < 0.7 * error_of(weight, weight.masked_fill(mask, 0), moment)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 200), st.floats(0, 0.99), st.integers(0, 1000))
def test_sparsity_is_exact_and_everything_finite(rows, columns, sparsity, seed):
    weight, moment = correlated(rows, columns, tokens=50, seed=seed)
    pruned, mask, _ = sparsegpt(weight, moment, sparsity)
    expected = sum(round(sparsity * rows * (min(s + 128, columns) - s)) for s in range(0, columns, 128))
    assert int(mask.sum()) == expected
    assert (pruned[mask] == 0).all() and torch.isfinite(pruned).all()


def test_zero_sparsity_changes_nothing():
    weight, moment = correlated(8, 40)
    assert torch.equal(sparsegpt(weight, moment, 0.0)[0], weight)


@settings(max_examples=15, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_scaling_the_moment_changes_nothing(scale):
    weight, moment = correlated(16, 96)
    one, other = sparsegpt(weight, moment, 0.5)[0], sparsegpt(weight, moment * scale, 0.5)[0]
    assert ((one == 0) == (other == 0)).float().mean() > 0.999


def test_inverse_factor_inverts():
    _, moment = correlated(1, 90)
    u, damping, retries = inverse_factor(moment.double())
    damped = moment.double() + damping * moment.double().diagonal().mean() * torch.eye(90)
    assert retries == 0 and torch.equal(u, u.triu())
    assert torch.allclose(u.T @ u @ damped, torch.eye(90, dtype=torch.float64), atol=1e-8)


def test_damping_doubles_and_is_reported_then_gives_up_with_the_name():
    bad = torch.eye(30)
    bad[0, 0] = -0.02  # indefinite: the first damping is not enough
    assert inverse_factor(bad)[1:] == (0.04, 2)
    bad[0, 0] = -5.0
    with pytest.raises(NumericalError, match=r"layers\.3\.mlp\.up_proj.*scope"):
        inverse_factor(bad, "layers.3.mlp.up_proj")


def test_relative_error_is_the_norm_ratio():
    rng = np.random.default_rng(1)
    w, p, x = rng.normal(size=(5, 7)), rng.normal(size=(5, 7)), rng.normal(size=(7, 60))
    expected = np.linalg.norm((w - p) @ x) ** 2 / np.linalg.norm(w @ x) ** 2
    got = relative_error(*(torch.tensor(a) for a in (w, p, x @ x.T)))
    assert got == pytest.approx(expected, rel=1e-9)


# --- moments ------------------------------------------------------------------------------------------------------------


def ragged(tiny, count=9, seed=0):
    """Random token sequences of different lengths with prompt and decode phases."""
    rng = np.random.default_rng(seed)
    sequences = [rng.integers(10, 1000, size=rng.integers(5, 60)).astype(np.int32) for _ in range(count)]
    phases = [(np.arange(len(s)) >= len(s) // 3).astype(np.uint8) for s in sequences]
    return CalibrationSet("test", sequences, phases, [np.ones(len(s), dtype=np.float32) for s in sequences])


def plain_moments(tiny, calibration):
    """Σ x xᵀ per linear and phase, one unpadded sequence at a time, in float64, by hooks on a whole forward."""
    sums, at = {}, {}

    def hook(name):
        def add(module, args):
            x = args[0][0].double()
            for phase in (0, 1):
                rows = x[torch.tensor(at["phases"] == phase)]
                sums[name, phase] = sums.get((name, phase), 0) + rows.T @ rows

        return add

    _, blocks = decoder_blocks(tiny.model)
    handles = [
        module.register_forward_pre_hook(hook(f"layers.{i}.{name}"))
        for i, block in enumerate(blocks) for name, module in block.named_modules() if isinstance(module, torch.nn.Linear)
    ]  # fmt: skip
    with torch.no_grad():
        for ids, phases in zip(calibration.sequences, calibration.phases, strict=True):
            at["phases"] = phases
            tiny.model(input_ids=torch.tensor(ids[None].astype(np.int64)))
    for handle in handles:
        handle.remove()
    return sums


def test_padded_batches_give_the_moments_of_single_sequences(tiny):
    calibration = ragged(tiny)
    moments, expected = second_moments(tiny, calibration), plain_moments(tiny, calibration)
    assert len(moments.by_linear) == 14
    for name, moment in moments.by_linear.items():
        for phase, got in enumerate((moment.prompt, moment.decode)):
            assert torch.allclose(
                got.double(), expected[name, phase], rtol=1e-4, atol=1e-4 * expected[name, phase].abs().max()
            ), name
        assert sum(moment.tokens) == calibration.tokens


def test_linears_with_the_same_input_share_one_moment(tiny):
    by = second_moments(tiny, ragged(tiny)).by_linear
    assert by["layers.0.self_attn.q_proj"] is by["layers.0.self_attn.v_proj"]
    assert by["layers.1.mlp.gate_proj"] is by["layers.1.mlp.up_proj"]
    assert len({id(moment) for moment in by.values()}) == 8


def test_batch_size_does_not_matter(tiny):
    calibration = ragged(tiny)
    hidden = [open_stream(tiny, calibration, size) for size in (64, 100_000)]
    assert len(hidden[0].hidden) > len(hidden[1].hidden) == 1


def test_token_weights_weigh(tiny):
    calibration = ragged(tiny)
    doubled = CalibrationSet("test", calibration.sequences, calibration.phases, [w * 2 for w in calibration.weights])
    one, two = second_moments(tiny, calibration), second_moments(tiny, doubled)
    name = "layers.0.mlp.down_proj"
    assert torch.allclose(two.by_linear[name].mixed(), 2 * one.by_linear[name].mixed(), rtol=1e-4, atol=1e-3)


def test_moments_save_and_load(tiny, tmp_path):
    moments = second_moments(tiny, ragged(tiny))
    moments.save(tmp_path / "m.safetensors")
    again = type(moments).load(tmp_path / "m.safetensors")
    assert again.by_linear["layers.0.self_attn.q_proj"] is again.by_linear["layers.0.self_attn.k_proj"]
    for name, moment in moments.by_linear.items():
        assert torch.equal(moment.decode, again.by_linear[name].decode) and moment.tokens == again.by_linear[name].tokens


# --- the driver ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["one-pass", "sequential"])
def test_prune_leaves_the_dense_model_and_everything_outside_the_blocks_alone(tiny, mode):
    before = {k: v.clone() for k, v in tiny.model.state_dict().items()}
    pruned = rv.prune(tiny, ragged(tiny), sparsity=0.5, mode=mode, progress=False)
    assert all(torch.equal(v, before[k]) for k, v in tiny.model.state_dict().items())
    changed = {k for k, v in pruned.model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {f"model.{row}.weight" for row in pruned.report["layer"]} and len(changed) == 14
    assert pruned.provenance["sparsity"] == pytest.approx(0.5, abs=1e-3)
    zeros = sum(int((p == 0).sum()) for p in pruned.model.parameters())
    assert pruned.provenance["sparsity_all"] == pytest.approx(zeros / sum(p.numel() for p in pruned.model.parameters()))


def test_a_tied_head_is_never_touched(tiny):
    tied = tiny.copy()
    tied.model.config.tie_word_embeddings = True
    tied.model.lm_head.weight = tied.model.model.embed_tokens.weight
    before = tied.model.lm_head.weight.detach().clone()
    pruned = rv.prune(tied, ragged(tiny), sparsity=0.6, progress=False)
    assert torch.equal(pruned.model.lm_head.weight, before)
    assert pruned.model.lm_head.weight is pruned.model.model.embed_tokens.weight


def test_one_pass_equals_statistics_and_each_linear_alone(tiny):
    calibration = ragged(tiny)
    moments = second_moments(tiny, calibration)
    direct = rv.prune(tiny, calibration, sparsity=0.5, progress=False)
    reused = rv.prune(tiny, statistics=moments, sparsity=0.5, progress=False)
    for name, value in direct.model.state_dict().items():
        assert torch.allclose(value, reused.model.state_dict()[name], atol=1e-6), name
    assert direct.fingerprint == reused.fingerprint
    weight = decoder_blocks(tiny.model)[1][1].mlp.up_proj.weight.detach()
    alone, _, _ = sparsegpt(weight.clone(), moments.by_linear["layers.1.mlp.up_proj"].mixed(), 0.5)
    assert torch.allclose(alone, decoder_blocks(reused.model)[1][1].mlp.up_proj.weight, atol=1e-6)


def test_sequential_calibrates_on_what_the_pruned_blocks_put_out(tiny):
    calibration = ragged(tiny)
    pruned = rv.prune(tiny, calibration, sparsity=0.6, mode="sequential", progress=False)
    half = tiny.copy()  # block 0 as pruned, block 1 dense: its moments are what block 1 was calibrated on
    decoder_blocks(half.model)[1][0].load_state_dict(decoder_blocks(pruned.model)[1][0].state_dict())
    moment = second_moments(half, calibration).by_linear["layers.1.mlp.down_proj"].mixed()
    weight = decoder_blocks(tiny.model)[1][1].mlp.down_proj.weight.detach()
    expected, _, _ = sparsegpt(weight.clone(), moment, 0.6)
    got = decoder_blocks(pruned.model)[1][1].mlp.down_proj.weight
    assert ((got == 0) == (expected == 0)).float().mean() > 0.999
    assert torch.allclose(got, expected, atol=1e-3 * expected.abs().max())
    one_pass = rv.prune(tiny, calibration, sparsity=0.6, progress=False)
    first = [decoder_blocks(m.model)[1][0].mlp.up_proj.weight for m in (pruned, one_pass)]
    assert torch.allclose(*first, atol=1e-5)  # block 0 sees the same inputs in both modes
    assert not torch.allclose(got, decoder_blocks(one_pass.model)[1][1].mlp.down_proj.weight, atol=1e-5)


def test_bf16_is_solved_in_fp32_and_reloads_identical(tiny, tmp_path):
    half = tiny.copy()
    half.model = half.model.to(torch.bfloat16)
    pruned = rv.prune(half, ragged(tiny), sparsity=0.5, progress=False)
    assert pruned.dtype == torch.bfloat16
    again = rv.load_model(pruned.save(tmp_path / "m"), dtype="bfloat16")
    assert all(torch.equal(v, again.model.state_dict()[k]) for k, v in pruned.model.state_dict().items())


@pytest.mark.parametrize(
    ("scope", "thirds", "layers"),
    [
        ("all", (1, 2, 3), {0, 1, 2, 3, 4, 5}),
        ("all", (1,), {0, 1}),
        ("mlp", (1, 3), {0, 1, 4, 5}),
        (r"q_proj$", (2,), {2, 3}),
    ],
)
def test_scope_and_thirds(tiny, scope, thirds, layers):
    from transformers import Qwen2ForCausalLM

    config = copy.deepcopy(tiny.model.config)
    config.num_hidden_layers, config.layer_types = 6, ["full_attention"] * 6
    chosen = Scope(scope, thirds).linears(Qwen2ForCausalLM(config))
    assert set(chosen) == layers
    names = {name.split(".", 2)[2] for mine in chosen.values() for name in mine}
    expected = {"all": 7, "mlp": 3}.get(scope, 1)
    assert len(names) == expected and all("mlp" in n for n in names) is (scope == "mlp")


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, "half", float("nan")])
def test_sparsity_outside_its_range(tiny, sparsity):
    with pytest.raises(ParameterError, match=r"sparsity must be in \[0, 1\)"):
        rv.prune(tiny, ragged(tiny), sparsity=sparsity)


def test_bad_parameters_say_what_is_allowed(tiny):
    calibration = ragged(tiny)
    with pytest.raises(ParameterError, match="Did you mean 'sparsegpt'"):
        rv.prune(tiny, calibration, method="sparsgpt")
    with pytest.raises(ParameterError, match="Did you mean 'sequential'"):
        rv.prune(tiny, calibration, mode="sequentail")
    with pytest.raises(ParameterError, match="selects no linear"):
        rv.prune(tiny, calibration, scope="experts")
    with pytest.raises(ParameterError, match="regular expression"):
        rv.prune(tiny, calibration, scope="(")
    with pytest.raises(ParameterError, match="thirds"):
        rv.prune(tiny, calibration, thirds=(0, 4))
    with pytest.raises(ParameterError, match="sequential"):
        rv.prune(tiny, statistics=second_moments(tiny, calibration), mode="sequential")
    with pytest.raises(ParameterError, match="not both"):
        rv.prune(tiny)


def test_nan_in_weights_names_the_layer(tiny):
    broken = tiny.copy()
    decoder_blocks(broken.model)[1][1].mlp.up_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(NumericalError, match=r"layers\.1"):
        rv.prune(broken, ragged(tiny), progress=False)
    decoder_blocks(broken.model)[1][0].input_layernorm.weight.data[:] = float("inf")
    with pytest.raises(NumericalError, match=r"layers\.0"):
        rv.prune(broken, ragged(tiny), progress=False)


def test_experts_that_would_be_left_alone_are_an_error(tiny):
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, moe_intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, num_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    model = Qwen3MoeForCausalLM(config)
    with pytest.raises(ParameterError, match=r"3-D parameters.*self_attn"):
        Scope().linears(model)
    assert {n for mine in Scope("self_attn").linears(model).values() for n in mine if "self_attn" not in n} == set()
