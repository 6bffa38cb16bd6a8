"""Moments and the driver: what calibrates, what is pruned, what is refused."""

import copy

import numpy as np
import pytest
import torch
from pruning_helpers import ragged, solve

import racviz as rv
from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, NumericalError, ParameterError
from racviz.pruning import second_moments
from racviz.pruning.blocks import Scope, decoder_blocks
from racviz.pruning.moment import symmetric_update
from racviz.pruning.moments import block_moments
from racviz.pruning.stream import open_stream


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
    streams = [open_stream(tiny, calibration, size) for size in (64, 100_000)]
    assert len(streams[0]) > len(streams[1]) == 1
    linears, block = Scope().linears(tiny.model)[0], tiny.model.model.layers[0]
    one, other = (block_moments(block, 0, linears, stream, keep=False) for stream in streams)
    for name in linears:
        assert torch.allclose(one[name].mixed(), other[name].mixed(), rtol=1e-4, atol=1e-4)


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
    reused = rv.prune(tiny, moments=moments, sparsity=0.5, progress=False)
    for name, value in direct.model.state_dict().items():
        assert torch.allclose(value, reused.model.state_dict()[name], atol=1e-6), name
    assert direct.fingerprint == reused.fingerprint
    with pytest.warns(DeprecationWarning, match="moments"):
        former = rv.prune(tiny, statistics=moments, sparsity=0.5, progress=False)
    assert former.fingerprint == reused.fingerprint
    weight = decoder_blocks(tiny.model)[1][1].mlp.up_proj.weight.detach()
    alone, _, _ = solve("sparsegpt", weight, moments.by_linear["layers.1.mlp.up_proj"].mixed(), 0.5)
    assert torch.allclose(alone, decoder_blocks(reused.model)[1][1].mlp.up_proj.weight, atol=1e-6)


def test_sequential_calibrates_on_what_the_pruned_blocks_put_out(tiny):
    calibration = ragged(tiny)
    pruned = rv.prune(tiny, calibration, sparsity=0.6, mode="sequential", progress=False)
    half = tiny.copy()  # block 0 as pruned, block 1 dense: its moments are what block 1 was calibrated on
    decoder_blocks(half.model)[1][0].load_state_dict(decoder_blocks(pruned.model)[1][0].state_dict())
    moment = second_moments(half, calibration).by_linear["layers.1.mlp.down_proj"].mixed()
    weight = decoder_blocks(tiny.model)[1][1].mlp.down_proj.weight.detach()
    expected, _, _ = solve("sparsegpt", weight, moment, 0.6)
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
        rv.prune(tiny, moments=second_moments(tiny, calibration), mode="sequential")
    with pytest.raises(ParameterError, match="exactly one"):
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


# --- weights of phases and tokens, patterns, solvers of one's own ----------------------------------------------------------


def test_symmetric_updates_are_the_plain_sum():
    rng = np.random.default_rng(0)
    for columns in (1, 7, 130, 1100):
        total, x = torch.zeros(columns, columns), torch.tensor(rng.normal(size=(40, columns)), dtype=torch.float32)
        symmetric_update(total, x, width=200)
        assert torch.allclose(total.triu() + total.triu(1).T, x.T @ x, atol=1e-3)


def test_float64_moments(tiny):
    one, two = (second_moments(tiny, ragged(tiny), precision=p) for p in ("float32", "float64"))
    for name, moment in two.by_linear.items():
        assert moment.mixed().dtype == torch.float64
        assert torch.allclose(moment.mixed().float(), one.by_linear[name].mixed(), rtol=1e-3, atol=1e-3)
    with pytest.raises(ParameterError, match="precision"):
        second_moments(tiny, ragged(tiny), precision="float46")


@pytest.mark.parametrize("mode", ["one-pass", "sequential"])
def test_weights_of_phases_are_weights_of_their_tokens(tiny, mode):
    plain = ragged(tiny)
    weighted = CalibrationSet(
        "test", plain.sequences, plain.phases,
        [np.where(p == 0, 0.25, 3.0).astype(np.float32) for p in plain.phases],
    )  # fmt: skip
    one = rv.prune(tiny, plain, prompt_weight=0.25, decode_weight=3.0, mode=mode, progress=False)
    two = rv.prune(tiny, weighted, mode=mode, progress=False)
    for name in one.report["layer"]:
        a, b = (decoder_blocks(m.model)[1][int(name[7])].get_submodule(name[9:]).weight for m in (one, two))
        assert ((a == 0) == (b == 0)).float().mean() > 0.99
    assert one.fingerprint != rv.prune(tiny, plain, mode=mode, progress=False).fingerprint


def test_moments_are_mixed_anew_without_another_pass(tiny):
    calibration = ragged(tiny)
    moments = second_moments(tiny, calibration)
    direct = rv.prune(tiny, calibration, prompt_weight=0.0, progress=False)
    mixed = rv.prune(tiny, moments=moments, prompt_weight=0.0, progress=False)
    assert all(torch.allclose(v, mixed.model.state_dict()[k], atol=1e-6) for k, v in direct.model.state_dict().items())
    assert direct.fingerprint == mixed.fingerprint


@pytest.mark.parametrize("method", rv.pruning.METHODS)
@pytest.mark.parametrize("mode", ["one-pass", "sequential"])
def test_every_method_in_both_modes(tiny, method, mode):
    pruned = rv.prune(tiny, ragged(tiny), method=method, sparsity=0.6, mode=mode, progress=False)
    assert pruned.provenance["sparsity"] == pytest.approx(0.6, abs=1e-3) and len(pruned.report) == 14
    assert pruned.provenance["prune"]["method"] == method


def test_patterns_set_the_sparsity(tiny):
    pruned = rv.prune(tiny, ragged(tiny), pattern="1:4", progress=False)
    assert pruned.provenance["sparsity"] == pytest.approx(0.25) and pruned.provenance["prune"]["pattern"] == "1:4"
    with pytest.raises(ParameterError, match="contradicts"):
        rv.prune(tiny, ragged(tiny), pattern="2:4", sparsity=0.6)
    with pytest.raises(ParameterError, match="does not divide the 160 columns of layers.0.mlp.down_proj"):
        rv.prune(tiny, ragged(tiny), pattern="3:64")
    for bad in ("4:2", "2:2", "0:4", "structured", "2:4:8"):
        with pytest.raises(ParameterError, match="n zeros in every m"):
            rv.prune(tiny, ragged(tiny), pattern=bad)


def test_pruning_further_keeps_the_zeros(tiny):
    once = rv.prune(tiny, ragged(tiny), sparsity=0.4, progress=False)
    twice = rv.prune(once, ragged(tiny, seed=1), sparsity=0.7, keep_zeros=True, progress=False)
    for name, value in once.model.state_dict().items():
        if name.removeprefix("model.").removesuffix(".weight") in set(once.report["layer"]):
            assert (twice.model.state_dict()[name][value == 0] == 0).all()
    assert twice.provenance["sparsity"] == pytest.approx(0.7, abs=1e-3)


def test_a_shared_input_is_factorised_once(tiny, monkeypatch):
    from racviz.pruning import inputs

    names, real = [], inputs.inverse_factor
    monkeypatch.setattr(inputs, "inverse_factor", lambda h, name: names.append(name) or real(h, name))
    pruned = rv.prune(tiny, ragged(tiny), progress=False)
    assert len(names) == 8 and len(pruned.report) == 14
    assert (pruned.report["factor_seconds"] > 0).sum() == 8


def test_a_solver_of_ones_own(tiny):
    def first_columns(weight, inputs, pattern, sparsity):
        mask = torch.zeros_like(weight, dtype=torch.bool)
        mask.view(-1)[: round(sparsity * weight.numel())] = True
        return weight.masked_fill(mask, 0), mask, {"tokens_norm": float(inputs.norms.sum())}

    pruned = rv.prune(tiny, ragged(tiny), method=first_columns, sparsity=0.5, progress=False)
    assert pruned.provenance["prune"]["method"] == "first_columns" and "tokens_norm" in pruned.report

    for bad, match in (
        (lambda w, i, p, s: (w[:1], w[:1] == 0, {}), "returned weights"),
        (lambda w, i, p, s: (w, w == 1e9, {}), "asked for was 50.00%"),
        (lambda w, i, p, s: (w, w < w.median(), {}), "not zero where its mask"),
        (lambda w, i, p, s: (w * float("nan"), w == 1e9, {}), "layers.0.self_attn.q_proj"),
    ):
        with pytest.raises((ParameterError, NumericalError), match=match):
            rv.prune(tiny, ragged(tiny), method=bad, sparsity=0.5, progress=False)


def test_tokens_beyond_the_vocabulary_and_few_tokens(tiny):
    calibration = ragged(tiny)
    calibration.sequences[3][2] = 50_000
    with pytest.raises(DataError, match="token 50000, beyond the 1024"):
        rv.prune(tiny, calibration)
    few = ragged(tiny, count=1)
    assert few.tokens < 160
    with pytest.warns(
        UserWarning, match=rf"{few.tokens} calibration tokens are fewer than the 160 columns of layers.1.mlp.down"
    ):
        rv.prune(tiny, few, progress=False)


def test_a_name_that_nearly_fits_is_offered(tiny):
    with pytest.raises(ParameterError, match=r"mlp\.down_proj"):
        rv.prune(tiny, ragged(tiny), scope="mlp.downproj$")


def test_nan_in_activations_names_layer_and_token(tiny):
    broken = tiny.copy()
    broken.model.get_input_embeddings().weight.data[77] = float("inf")
    calibration = ragged(tiny, count=1)
    calibration.sequences[0][:] = 20
    calibration.sequences[0][4] = 77
    with pytest.raises(NumericalError, match=r"enter layers\.0\.self_attn\.q_proj are not finite, first at token 4 of row 0"):
        rv.prune(broken, calibration, progress=False)
