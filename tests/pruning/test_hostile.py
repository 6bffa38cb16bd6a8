"""Input that is wrong, runs that break off, solvers that misbehave: clear errors, and nothing half done."""

import dataclasses
import json
import threading
import time

import numpy as np
import pytest
import torch
from pruning_helpers import correlated, ragged, solve

import racviz as rv
from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, NumericalError, ParameterError
from racviz.pruning import LinearInputs, blocks, second_moments, solver_named
from racviz.pruning import run as pruning_run
from racviz.pruning.allocation import allocate
from racviz.pruning.blocks import full_precision
from racviz.pruning.column_loop import sweep, sweep_reference
from racviz.pruning.patterns import Pattern, lowest, quotas


def weights(loaded):
    return {name: parameter.detach().clone() for name, parameter in loaded.model.named_parameters()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def breaking(monkeypatch, after):
    """prune_linear raises at its call number `after`."""
    real, calls = pruning_run.prune_linear, []

    def run(*args, **kwargs):
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(pruning_run, "prune_linear", run)


# --- runs that break off -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["one-pass", "sequential"])
def test_an_interrupted_run_in_place_goes_on_with_the_same_model(tiny, tmp_path, monkeypatch, mode):
    calibration, run = ragged(tiny, count=20), dict(sparsity=0.6, mode=mode, progress=False)
    whole = weights(rv.prune(tiny, calibration, **run))
    mine = tiny.copy()
    with monkeypatch.context() as patched:
        breaking(patched, 11)
        with pytest.raises(KeyboardInterrupt):
            rv.prune(mine, calibration, workspace=tmp_path / "w", inplace=True, **run)
    again = rv.prune(mine, calibration, workspace=tmp_path / "w", inplace=True, **run)
    assert equal(whole, weights(again))


def test_a_model_that_is_half_pruned_is_not_taken_for_the_dense_one(tiny, monkeypatch):
    mine = tiny.copy()
    breaking(monkeypatch, 11)
    with pytest.raises(KeyboardInterrupt):
        rv.prune(mine, ragged(tiny), inplace=True, progress=False)
    assert mine.fingerprint != tiny.fingerprint and mine.fingerprint.endswith("unfinished")


def kept(tiny, folder, **more):
    return rv.prune(tiny, ragged(tiny), workspace=folder, progress=False, **more)


@pytest.mark.parametrize("text", ["null", "[]", '"x"', "{", '{"identity": 1}'])
def test_a_damaged_progress_file_is_named(tiny, tmp_path, text):
    kept(tiny, tmp_path)
    (tmp_path / "progress.json").write_text(text)
    with pytest.raises(DataError, match="damaged"):
        kept(tiny, tmp_path)


@pytest.mark.parametrize("damage", ["delete", "cut", "swap"])
def test_block_files_must_be_those_that_were_kept(tiny, tmp_path, damage):
    kept(tiny, tmp_path)
    path = tmp_path / "block-0.safetensors"
    if damage == "delete":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.write_bytes((tmp_path / "block-1.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"block-0\.safetensors"):
        kept(tiny, tmp_path)


def test_block_files_without_progress_belong_to_nobody(tiny, tmp_path):
    kept(tiny, tmp_path, sparsity=0.9)
    (tmp_path / "progress.json").unlink()
    run = dict(thirds=(2,), scope="mlp")
    first, again = kept(tiny, tmp_path, **run), kept(tiny, tmp_path, **run)
    assert equal(weights(first), weights(again))
    assert not list(tmp_path.glob("hidden-*")) and not list(tmp_path.glob(".*.tmp"))


def test_two_callables_of_one_name_are_two_solvers(tiny, tmp_path):
    def made(largest):
        def mine(weight, inputs, pattern, sparsity):
            mask = lowest(-weight.abs() if largest else weight.abs(), round(sparsity * weight.numel()))
            return weight.masked_fill(mask, 0), mask, {}

        return mine

    small, large = (rv.prune(tiny, ragged(tiny), method=made(largest), progress=False) for largest in (False, True))
    assert small.fingerprint != large.fingerprint
    kept(tiny, tmp_path, method=made(False))
    with pytest.raises(DataError, match="another run"):
        kept(tiny, tmp_path, method=made(True))


# --- statistics that say nothing ----------------------------------------------------------------------------------------


def test_a_second_moment_that_is_zero_is_refused(tiny):
    with pytest.raises(ParameterError, match=r"second moment of layers\.0.* is zero: it saw \d+ prompt and \d+ decode"):
        rv.prune(tiny, ragged(tiny), prompt_weight=0, decode_weight=0, progress=False)
    whole = ragged(tiny)
    prompts = CalibrationSet("p", whole.sequences, [np.zeros(len(s), np.uint8) for s in whole.sequences], whole.weights)
    with pytest.raises(ParameterError, match=r"0 decode tokens, weighted 0 and 1"):
        rv.prune(tiny, prompts, prompt_weight=0, progress=False)


def test_a_calibration_set_without_weight_is_refused(tiny):
    whole = ragged(tiny)
    nothing = CalibrationSet("n", whole.sequences, whole.phases, [np.zeros(len(s), np.float32) for s in whole.sequences])
    with pytest.raises(ParameterError, match="weight 0"):
        rv.prune(tiny, nothing, progress=False)


@pytest.mark.parametrize("mode", ["one-pass", "sequential"])
@pytest.mark.parametrize("method", ["sparsegpt", "alps", "wanda", "magnitude", "sparsegpt+refit", "wanda+exact"])
def test_a_layer_of_zeros_is_no_obstacle(tiny, method, mode):
    """v_proj of zeros: what o_proj reads is zero in every token, so magnitude decides there; all else is as ever."""
    dense = tiny.copy()
    attention = dense.model.model.layers[0].self_attn
    for linear in (attention.v_proj, dense.model.model.layers[1].mlp.up_proj):
        linear.weight.data.zero_()
    attention.v_proj.bias.data.zero_()
    pruned = rv.prune(dense, ragged(tiny), method=method, mode=mode, progress=False)
    assert pruned.provenance["sparsity"] == pytest.approx(0.5 + 0.5 * (64 * 32 + 160 * 64) / weights_of(pruned), abs=1e-3)
    report = pruned.report.set_index("layer")
    for name in ("layers.0.self_attn.o_proj", "layers.1.mlp.down_proj"):
        assert report.loc[name, "sparsity"] == 0.5 and report.loc[name, "calibration_error"] == 0
        assert report.loc[name, "dead"] == report.loc[name, "columns"]
    old, new = attention.o_proj.weight, pruned.model.model.layers[0].self_attn.o_proj.weight
    assert old[new == 0].abs().max() <= old[new != 0].abs().min() and torch.equal(new[new != 0], old[new != 0])


def weights_of(pruned):
    return int((pruned.report["rows"] * pruned.report["columns"]).sum())


@pytest.mark.parametrize("method", ["sparsegpt", "alps", "wanda", "magnitude", "sparsegpt+refit"])
@pytest.mark.parametrize("sparsity", [0.0, 0.2])
def test_dead_columns_count_towards_the_sparsity_and_no_more(method, sparsity):
    weight, moment = correlated(24, 64, dead=range(10, 50))
    new, mask, _ = solve(method, weight, moment, sparsity)
    assert int((new == 0).sum()) == int(mask.sum()) == round(sparsity * weight.numel())
    assert torch.equal(new[:, 10:50][~mask[:, 10:50]], weight[:, 10:50][~mask[:, 10:50]])


@pytest.mark.parametrize("method", ["sparsegpt", "alps", "wanda", "magnitude"])
def test_zeros_that_are_kept_count_wherever_they_are(method):
    weight, moment = correlated(24, 192)
    weight[:, :128] = 0  # two thirds, all in one block of columns
    new, mask, _ = solve(method, weight, moment, 0.7, keep_zeros=True)
    assert int((new == 0).sum()) == int(mask.sum()) == round(0.7 * weight.numel())


def test_quotas_begin_with_what_is_there():
    assert quotas(14, [10, 10], [8, 0]) == [9, 5] and quotas(8, [10, 10]) == [4, 4]
    assert sum(quotas(15, [10, 10], [8, 1])) == 15 and quotas(3, [10, 10], [8, 1]) == [8, 1]


@pytest.mark.parametrize("method", ["alps", "magnitude+exact", "sparsegpt"])
def test_an_indefinite_moment_is_damped_or_named(method):
    weight, _ = correlated(8, 20)
    h = torch.eye(20)
    h[0, 0] = -0.02
    _, _, details = solver_named(method)(weight, LinearInputs(h, "layers.3.mlp.up_proj"), Pattern(), 0.5)
    assert method == "magnitude+exact" or details["damping"] > 0.01
    h[0, 0] = -5.0
    with pytest.raises(NumericalError, match=r"layers\.3\.mlp\.up_proj"):
        solver_named(method)(weight, LinearInputs(h, "layers.3.mlp.up_proj"), Pattern(), 0.5)


# --- kernels ------------------------------------------------------------------------------------------------------------


def test_minus_zero_is_zero_for_the_lowest():
    assert lowest(torch.tensor([[0.0, -0.0, 1.0]]), 1).tolist() == [[True, False, False]]
    assert int(lowest(torch.tensor([-0.0, 0.0] * 50), 37).sum()) == 37


@pytest.mark.parametrize("value", [1e30, float("nan")])
def test_a_group_without_a_finite_saliency_stays_in_its_group(value):
    block, mask = torch.full((8, 5), value), torch.zeros(8, 5, dtype=torch.bool)
    sweep(block, 1e-10 * torch.eye(8), mask, 2, 4)
    assert (mask.view(2, 4, 5).sum(1) == 2).all()


def test_tf32_is_off_inside_and_as_it_was_outside():
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with full_precision():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def test_the_reference_sweep_is_the_definition():
    """One column by hand."""
    block, factor = torch.tensor([[2.0], [3.0]]), torch.tensor([[4.0, 1.0], [0.0, 5.0]])
    errors = sweep_reference(block, factor, torch.tensor([[True], [False]]))
    assert errors.tolist() == [[0.5], [0.0]] and block.tolist() == [[0.0], [2.5]]


# --- solvers that misbehave ---------------------------------------------------------------------------------------------


def magnitude(weight, inputs, pattern, sparsity):
    mask = lowest(weight.abs(), round(sparsity * weight.numel()))
    return weight.masked_fill(mask, 0), mask, {}


WRONG = {
    "a list": (lambda w, i, p, s: [1, 2, 3], "returned list"),
    "nothing": (lambda w, i, p, s: None, "returned NoneType"),
    "two": (lambda w, i, p, s: magnitude(w, i, p, s)[:2], "it must return"),
    "numpy": (lambda w, i, p, s: (*[t.numpy() for t in magnitude(w, i, p, s)[:2]], {}), "ndarray"),
    "no details": (lambda w, i, p, s: (*magnitude(w, i, p, s)[:2], None), "NoneType"),
    "a tensor in details": (lambda w, i, p, s: (*magnitude(w, i, p, s)[:2], {"x": [1]}), "detail 'x'"),
    "NaN": (lambda w, i, p, s: (torch.where(magnitude(w, i, p, s)[1], 0, torch.nan), *magnitude(w, i, p, s)[1:]), "the solver made"),
    "too much": (lambda w, i, p, s: magnitude(w, i, p, s + 0.003), "asked for was"),
    "all zero": (lambda w, i, p, s: (w * 0, *magnitude(w, i, p, s)[1:]), "that its mask keeps"),
    "in place": (lambda w, i, p, s: (w.masked_fill_(magnitude(w, i, p, s)[1], 0), *magnitude(w.abs() + 0, i, p, s)[1:]), "changed the"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_a_solver_returns_is_checked(tiny, name):
    solver, said = WRONG[name]
    with pytest.raises((ParameterError, NumericalError), match=said) as raised:
        rv.prune(tiny, ragged(tiny), method=solver, progress=False)
    assert "layers.0." in str(raised.value)


def test_a_solver_cannot_overwrite_the_report(tiny):
    def mine(weight, inputs, pattern, sparsity):
        return *magnitude(weight, inputs, pattern, sparsity)[:2], {"layer": "x", "sparsity": 0.9, "tries": np.int64(3)}

    report = rv.prune(tiny, ragged(tiny), method=mine, progress=False).report
    assert (
        report["layer"].str.startswith("layers.").all() and (report["sparsity"] < 0.51).all() and (report["tries"] == 3).all()
    )


# --- arguments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (dict(device="banana"), "device"), (dict(device="meta"), "device"), (dict(thirds=1), "thirds"), (dict(scope=""), "scope"),
        (dict(scope=None), "scope"), (dict(allocation={"(": 0.9}), "allocation"), (dict(allocation={"mlp": "0.9"}), "allocation"),
        (dict(allocation=lambda name, linear: None), "allocation"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(tiny, bad, said):
    with pytest.raises(ParameterError, match=said):
        rv.prune(tiny, ragged(tiny), progress=False, **bad)


def test_other_kinds_of_calibration_are_named(tiny):
    with pytest.raises(ParameterError, match="calibration"):
        rv.prune(tiny, [1, 2], progress=False)
    with pytest.raises(ParameterError, match="moments"):
        rv.prune(tiny, moments="x", progress=False)
    with pytest.raises(ParameterError, match=r"moments hold nothing for layers\.0\.self_attn"):
        rv.prune(tiny, moments=second_moments(tiny, ragged(tiny), scope="mlp"), allocation="owl", progress=False)


def test_a_calibration_set_of_another_tokenizer_is_refused(tiny):
    ids = ragged(tiny)
    other = dataclasses.replace(ids, label={"tokenizer": "some/other", "vocabulary": "0123"})
    with pytest.raises(DataError, match="tokenizer of 'some/other'"):
        rv.prune(tiny, other, progress=False)
    negative = CalibrationSet("n", [np.array([3, -1], np.int32)], [np.zeros(2, np.uint8)], [np.ones(2, np.float32)])
    with pytest.raises(DataError, match="token -1"):
        rv.prune(tiny, negative, progress=False)


@pytest.mark.parametrize("sparsity", [0.9991, 0.9999])
def test_no_linear_is_asked_for_more_than_it_has(sparsity):
    linears = {f"layers.{k}.mlp.up_proj": torch.nn.Linear(5 + k, 7, bias=False) for k in range(6)}
    shares = allocate(linears, sparsity, "uniform", Pattern(), {})
    assert max(shares.values()) <= 1


MIXTURES = {
    "Qwen2Moe": dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, shared_expert_intermediate_size=32),
    "Mixtral": dict(num_local_experts=4, num_experts_per_tok=2),
    "Qwen3Moe": dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, mlp_only_layers=[0, 3], head_dim=12),
}


@pytest.mark.parametrize("kind", MIXTURES)
def test_a_mixture_of_experts_is_refused_unless_its_attention_is_named(tiny, kind):
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=1024, hidden_size=48, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        **MIXTURES[kind],
    )  # fmt: skip
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    loaded = dataclasses.replace(tiny, model=model, name=kind, fingerprint=kind)
    for scope in ("all", "mlp", ".", "self_attn|experts"):
        with pytest.raises(ParameterError, match="mixture of experts"):
            rv.prune(loaded, ragged(tiny), scope=scope, progress=False)
    pruned = rv.prune(loaded, ragged(tiny), scope="self_attn", progress=False)
    assert pruned.report["layer"].str.contains("self_attn").all()


def test_provenance_says_how_to_do_it_again(tiny):
    given = {"self_attn": 0.3, "mlp": 0.6}
    pruned = rv.prune(tiny, ragged(tiny), allocation=given, keep_zeros=True, precision="float64", progress=False)
    said = json.loads(json.dumps(pruned.provenance["prune"]))
    assert said["allocation"] == given and said["keep_zeros"] is True and said["precision"] == "float64"


# --- regular expressions that take for ever -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("expression", [r"^(a|.|\w)*\d\d$", r"^(?:[a-z_]|.|\w)*[0-9]{2}$"])
def test_a_scope_that_takes_for_ever_is_given_up(tiny, expression, where, monkeypatch):
    monkeypatch.setattr(blocks, "SECONDS", 0.3)
    caught, began = [], time.monotonic()

    def run():
        for given in ({"scope": expression}, {"allocation": {expression: 0.5}}):
            try:
                rv.prune(tiny, ragged(tiny), progress=False, **given)
            except ParameterError as error:
                caught.append(str(error))

    if where == "main":
        run()
    else:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert len(caught) == 2 and all("given up" in text for text in caught) and time.monotonic() - began < 20


@pytest.mark.parametrize("expression", ["(", "[a", "*", "(?P<x", "a{2,1}"])
def test_a_scope_that_is_no_expression_is_refused(tiny, expression):
    with pytest.raises(ParameterError, match="scope"):
        rv.prune(tiny, ragged(tiny), scope=expression, progress=False)
    with pytest.raises(ParameterError, match="allocation"):
        rv.prune(tiny, ragged(tiny), allocation={expression: 0.5}, progress=False)
