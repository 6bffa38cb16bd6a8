"""How zeros are shared out over the linears."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_helpers import ragged

import racviz as rv
from racviz.exceptions import ParameterError
from racviz.pruning import Pattern, second_moments
from racviz.pruning.allocation import MOST, OUTLIER, SPREAD, allocate
from racviz.pruning.blocks import Scope
from racviz.pruning.moments import input_norms

FREE = Pattern()


def linears(shapes):
    return {f"layers.{k}.mlp.up_proj": torch.nn.Linear(c, r, bias=False) for k, (r, c) in enumerate(shapes)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30), st.floats(0, 0.99)), min_size=1, max_size=8), st.floats(0, 0.99)
)
def test_the_whole_is_met_to_the_weight(layers, sparsity):
    given_ = linears([(r, c) for r, c, _ in layers])
    wishes = dict(zip(given_, (w for _, _, w in layers), strict=True))
    for allocation in ("uniform", wishes, lambda name, _: wishes[name]):
        shares = allocate(given_, sparsity, allocation, FREE, {})
        counts = {name: shares[name] * given_[name].weight.numel() for name in given_}
        assert all(count == pytest.approx(round(count), abs=1e-6) for count in counts.values())
        total = sum(linear.weight.numel() for linear in given_.values())
        assert round(sum(counts.values())) == round(sparsity * total)
        assert all(0 <= share <= 1 for share in shares.values())


def test_wishes_are_moved_by_one_constant():
    given_ = linears([(100, 100)] * 3)
    shares = list(allocate(given_, 0.5, {r"layers\.0": 0.2, r"layers\.1": 0.4, r"layers\.2": 0.6}, FREE, {}).values())
    assert shares == pytest.approx([0.3, 0.5, 0.7], abs=1e-4)
    exact = allocate(given_, 0.4, {r"layers\.0": 0.2, r"layers\.2": 0.6}, FREE, {})
    assert list(exact.values()) == pytest.approx([0.2, 0.4, 0.6], abs=1e-4)


def test_owl_keeps_more_where_outliers_are(tiny):
    moments = second_moments(tiny, ragged(tiny))
    mine = {name: linear for block in Scope().linears(tiny.model).values() for name, linear in block.items()}
    norms = {name: moment.mixed().diagonal().sqrt() for name, moment in moments.by_linear.items()}
    norms |= {name: norms[name].clone() for name in mine if name.startswith("layers.1.")}
    for name in mine:
        if name.startswith("layers.1."):
            norms[name][0] *= 100  # one input that outweighs the others
    shares = allocate(mine, 0.6, "owl", FREE, norms)
    by_block = {b: {s for name, s in shares.items() if name.startswith(f"layers.{b}.")} for b in (0, 1)}
    outliers = []
    for block in (0, 1):
        saliency = np.concatenate([
            (linear.weight.abs() * norms[name]).detach().numpy().ravel()
            for name, linear in mine.items() if name.startswith(f"layers.{block}.")
        ])  # fmt: skip
        outliers.append((saliency > OUTLIER * saliency.mean()).mean())
    assert outliers[1] > outliers[0] and max(by_block[1]) < min(by_block[0])
    assert min(by_block[0]) - max(by_block[1]) == pytest.approx(2 * SPREAD, abs=1e-3)


def test_norms_from_diagonals_are_those_of_whole_moments(tiny):
    calibration = ragged(tiny)
    alone = input_norms(tiny, calibration, None, Scope())
    whole = input_norms(tiny, None, second_moments(tiny, calibration), Scope())
    assert alone.keys() == whole.keys()
    assert all(torch.allclose(alone[name], whole[name], rtol=1e-4) for name in alone)


@pytest.mark.parametrize("allocation", ["owl", {"mlp": 0.7}, lambda name, linear: 0.3 if "attn" in name else 0.6])
@pytest.mark.parametrize("statistics", [False, True])
def test_prune_meets_the_sparsity_asked_for(tiny, allocation, statistics):
    calibration = ragged(tiny)
    given_ = dict(moments=second_moments(tiny, calibration)) if statistics else dict(calibration=calibration)
    pruned = rv.prune(tiny, **given_, sparsity=0.5, allocation=allocation, progress=False)
    size = pruned.report["rows"] * pruned.report["columns"]
    assert round((pruned.report["sparsity"] * size).sum()) == round(0.5 * size.sum())
    assert pruned.report["sparsity"].nunique() > 1
    assert pruned.provenance["sparsity"] == pytest.approx(0.5, abs=1e-6)


def test_bad_allocations_say_what_is_allowed(tiny):
    calibration = ragged(tiny)
    for bad, match in (
        ("owls", "Did you mean 'owl'"),
        ({"experts": 0.5}, "fits no linear"),
        ({"mlp": 1.2}, r"in \[0, 1\)"),
        (lambda name, linear: -0.1, r"in \[0, 1\)"),
    ):
        with pytest.raises(ParameterError, match=match):
            rv.prune(tiny, calibration, allocation=bad, progress=False)
    with pytest.raises(ParameterError, match="allocation='uniform'"):
        rv.prune(tiny, calibration, pattern="2:4", allocation="owl", progress=False)


def test_no_layer_is_pruned_whole():
    shares = allocate(linears([(50, 50)] * 2), 0.95, {r"layers\.0": 0.99, r"layers\.1": 0.2}, FREE, {})
    assert 0.99 < max(shares.values()) <= MOST + 1 / 2500 < 1 and sum(shares.values()) == pytest.approx(1.9)
