"""Tokenwise and layer-wise errors against plain transformers, one sequence at a time, in float64."""

import numpy as np
import pytest
import torch

import racviz as rv
from racviz.exceptions import DataError, NumericalError, OverlapError, ParameterError
from racviz.layerwise import rollouts_as_calibration
from racviz.models import tokenizer_fingerprint
from racviz.pruning.blocks import decoder_blocks
from racviz.traces import Trace, Traces


@pytest.fixture(scope="module")
def rollouts(tiny):
    rng = np.random.default_rng(3)
    rows = []
    for k in range(7):
        prompt, output = (tuple(map(int, rng.integers(10, 1000, size=n))) for n in (rng.integers(3, 12), rng.integers(4, 50)))
        rows.append(Trace(f"p{k}", 0, prompt, output, "stop", f"hash{k}"))
    return Traces(tuple(rows), tiny.name, tiny.fingerprint, tokenizer_fingerprint(tiny.tokenizer))


@pytest.fixture(scope="module")
def pruned(tiny, rollouts):
    calibration = rollouts_as_calibration(rollouts)
    return {f"s{int(100 * s)}": rv.prune(tiny, calibration, sparsity=s, progress=False) for s in (0.2, 0.7)}


def states(loaded, trace, which="final"):
    """Hidden states of one unpadded sequence by transformers' own output_hidden_states, float64 numpy `[T, d]`."""
    ids = torch.tensor([[*trace.prompt_ids, *trace.output_ids]])
    with torch.no_grad():
        out = loaded.model(input_ids=ids, output_hidden_states=True)
    if which == "logits":
        return out.logits[0].double().numpy()
    return out.hidden_states[-1 if which == "final" else which + 1][0].double().numpy()


@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_errors_are_the_norms_of_unpadded_sequences(tiny, pruned, rollouts, batch_tokens):
    errors = rv.reconstruction_errors(tiny, pruned, rollouts, batch_tokens=batch_tokens, progress=False)
    for trace in rollouts:
        rows = errors.frame[errors.frame.problem_id == trace.problem_id]
        assert rows.position.tolist() == list(range(len(rows)))
        assert rows.token_id.tolist() == [*trace.prompt_ids, *trace.output_ids]
        assert (rows.phase == "prompt").sum() == len(trace.prompt_ids)
        dense = states(tiny, trace)
        assert np.allclose(rows.norm_dense, np.linalg.norm(dense, axis=1), rtol=1e-4)
        for name, model in pruned.items():
            expected = np.linalg.norm(dense - states(model, trace), axis=1)
            assert np.allclose(rows[f"e_{name}"], expected, rtol=1e-3, atol=1e-5)


def test_a_middle_layer_and_the_last_before_the_norm(tiny, pruned, rollouts):
    def errors(layer):
        return rv.reconstruction_errors(tiny, pruned, rollouts, layer=layer, progress=False).frame

    trace, first = rollouts[0], errors(0)
    got = first[first.problem_id == trace.problem_id]["e_s70"]
    expected = np.linalg.norm(states(tiny, trace, 0) - states(pruned["s70"], trace, 0), axis=1)
    assert np.allclose(got, expected, rtol=1e-3)
    last = errors("last")["e_s70"]
    assert np.array_equal(last, errors(1)["e_s70"])  # the model has two blocks
    assert not np.allclose(last, errors("final")["e_s70"])


def test_kl_is_that_of_scipy(tiny, pruned, rollouts):
    from scipy.special import log_softmax, rel_entr, softmax

    errors = rv.reconstruction_errors(tiny, pruned, rollouts, metric="kl", progress=False)
    trace = rollouts[2]
    p, q = (softmax(states(m, trace, "logits"), axis=1) for m in (tiny, pruned["s70"]))
    assert np.isfinite(log_softmax(p)).all()
    got = errors.frame[errors.frame.problem_id == trace.problem_id]["e_s70"]
    assert np.allclose(got, rel_entr(p, q).sum(axis=1), rtol=1e-2, atol=1e-6)


def test_the_dense_model_has_no_error_and_the_ratio_of_nothing_is_missing(tiny, pruned, rollouts):
    errors = rv.reconstruction_errors(tiny, {"same": tiny, **pruned}, rollouts, progress=False)
    assert (errors.frame["e_same"] == 0).all()
    assert errors.ratio("s70", "same").ratio.isna().all()
    ratio = errors.ratio("s70", "s20")
    assert np.allclose(ratio.ratio, errors.frame["e_s70"] / errors.frame["e_s20"])
    inverse = errors.ratio("s20", "s70").ratio
    assert np.allclose(ratio.ratio * inverse, 1)
    assert ratio.ratio.median() > 1


def test_save_and_load(tiny, pruned, rollouts, tmp_path):
    errors = rv.reconstruction_errors(tiny, pruned, rollouts, progress=False)
    errors.save(tmp_path / "e.parquet")
    again = rv.ReconstructionErrors.load(tmp_path / "e.parquet")
    assert again.frame.equals(errors.frame) and again.names == ["s20", "s70"]
    assert again.label["calibration_tokens"] == errors.label["calibration_tokens"]
    with pytest.raises(DataError, match="not a readable parquet"):
        (tmp_path / "cut.parquet").write_bytes((tmp_path / "e.parquet").read_bytes()[:300])
        rv.ReconstructionErrors.load(tmp_path / "cut.parquet")


def test_refusals(tiny, pruned, rollouts):
    own = tiny.copy()
    own.provenance = {"calibration": {"problems": ["hash3"]}}
    with pytest.raises(OverlapError, match="'p3'"):
        rv.reconstruction_errors(tiny, {"own": own}, rollouts, progress=False)
    rv.reconstruction_errors(tiny, {"own": own}, rollouts, allow_overlap=True, progress=False)
    other = Traces(rollouts.rows, "other", "x", "another tokenizer")
    with pytest.raises(DataError, match="another tokenizer"):
        rv.reconstruction_errors(tiny, pruned, other, progress=False)
    with pytest.raises(ParameterError, match="metric"):
        rv.reconstruction_errors(tiny, pruned, rollouts, metric="cosine")
    with pytest.raises(ParameterError, match="layer"):
        rv.reconstruction_errors(tiny, pruned, rollouts, layer=2)
    with pytest.raises(ParameterError, match="at least one model"):
        rv.reconstruction_errors(tiny, {}, rollouts)
    with pytest.raises(ParameterError, match="Did you mean 's20'"):
        rv.reconstruction_errors(tiny, pruned, rollouts, progress=False).ratio("s2", "s70")


def test_activations_that_are_not_finite_name_the_model_and_the_problem(tiny, rollouts):
    broken = tiny.copy()
    broken.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(NumericalError, match=r"e_broken.*'p\d'"):
        rv.reconstruction_errors(tiny, {"broken": broken}, rollouts, progress=False)


def test_layerwise_errors_on_the_dense_models_inputs(tiny, pruned, rollouts):
    frame = rv.layerwise_errors(tiny, pruned, rollouts)
    assert len(frame) == 14 * 2 * 2
    layer, inputs = decoder_blocks(tiny.model)[1][1].mlp.down_proj, {0: [], 1: []}
    handle = layer.register_forward_pre_hook(lambda module, args: inputs["now"].append(args[0][0].double()))
    for trace in rollouts:
        inputs["now"] = []
        states(tiny, trace)
        x, t_in = inputs["now"][0], len(trace.prompt_ids)
        inputs[0].append(x[:t_in])
        inputs[1].append(x[t_in:])
    handle.remove()
    w = layer.weight.detach().double()
    for name, model in pruned.items():
        other = decoder_blocks(model.model)[1][1].mlp.down_proj.weight.detach().double()
        for phase, key in (("prompt", 0), ("decode", 1)):
            x = torch.cat(inputs[key]).T
            expected = float(((w - other) @ x).norm() ** 2 / (w @ x).norm() ** 2)
            row = frame[(frame.layer == "layers.1.mlp.down_proj") & (frame.source == name) & (frame.phase == phase)]
            assert row.error.item() == pytest.approx(expected, rel=1e-3)
            assert row.depth.item() == 1
