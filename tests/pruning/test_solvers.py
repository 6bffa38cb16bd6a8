"""Solvers against float64 computations written down here and against llm-compressor."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_helpers import correlated, error_of, reference_sparsegpt, solve

from racviz.exceptions import NumericalError, ParameterError
from racviz.pruning import METHODS, LinearInputs, kernels, solver_named
from racviz.pruning.column_loop import sweep, sweep_in_strips, sweep_reference, transposed
from racviz.pruning.inputs import factor_in_place, inverse_factor
from racviz.pruning.linear import relative_error
from racviz.pruning.patterns import Pattern, lowest, quotas

needs_compiler = pytest.mark.skipif(
    not shutil.which("g++") or " " in torch.__file__,
    reason="torch.compile on a CPU needs g++, and torch in a path without spaces",
)
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.mark.parametrize("shape", [(64, 256), (96, 320), (1, 130)])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_agrees_with_float64(shape, sparsity):
    weight, moment = correlated(*shape, dead=(7,))
    pruned, mask, _ = solve("sparsegpt", weight, moment, sparsity)
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
    pruned, mask, _ = solve("sparsegpt", weight, moment, sparsity)
    other = other.detach().float()
    assert ((other == 0) == mask).float().mean() > 0.999
    theirs = error_of(weight, other, moment)
    assert abs(error_of(weight, pruned, moment) - theirs) < 1e-3 * theirs


def test_compensation_beats_the_mask_alone():
    weight, moment = correlated(32, 192)
    pruned, mask, _ = solve("sparsegpt", weight, moment, 0.5)
    assert error_of(weight, pruned, moment) < 0.7 * error_of(weight, weight.masked_fill(mask, 0), moment)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 200), st.floats(0, 0.99), st.integers(0, 1000))
def test_sparsity_is_exact_and_everything_finite(rows, columns, sparsity, seed):
    weight, moment = correlated(rows, columns, tokens=50, seed=seed)
    pruned, mask, _ = solve("sparsegpt", weight, moment, sparsity)
    assert int(mask.sum()) == round(sparsity * rows * columns)
    assert (pruned[mask] == 0).all() and torch.isfinite(pruned).all()


def test_zero_sparsity_changes_nothing():
    weight, moment = correlated(8, 40)
    assert torch.equal(solve("sparsegpt", weight, moment, 0.0)[0], weight)


@settings(max_examples=15, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_scaling_the_moment_changes_nothing(scale):
    weight, moment = correlated(16, 96)
    one, other = solve("sparsegpt", weight, moment, 0.5)[0], solve("sparsegpt", weight, moment * scale, 0.5)[0]
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


@pytest.mark.parametrize("first", METHODS)
def test_the_order_of_solvers_changes_no_weight(first):
    """On a singular moment whose factor needs more than the first damping, on inputs that all of them share."""
    weight, _ = correlated(12, 40)
    moment = torch.eye(40)
    moment[0, 0] = -0.02  # indefinite: 0.01 is not enough
    moment[5], moment[:, 5] = 0, 0
    alone = {name: solver_named(name)(weight, LinearInputs(moment), Pattern(), 0.5)[0] for name in METHODS}
    shared = LinearInputs(moment)
    for name in (first, *METHODS, *reversed(METHODS)):
        assert torch.equal(solver_named(name)(weight, shared, Pattern(), 0.5)[0], alone[name]), name
    assert shared.damping == shared.inverse_factor.damping == 0.04


def test_relative_error_is_the_norm_ratio():
    rng = np.random.default_rng(1)
    w, p, x = rng.normal(size=(5, 7)), rng.normal(size=(5, 7)), rng.normal(size=(7, 60))
    expected = np.linalg.norm((w - p) @ x) ** 2 / np.linalg.norm(w @ x) ** 2
    got = relative_error(*(torch.tensor(a) for a in (w, p, x @ x.T)))
    assert got == pytest.approx(expected, rel=1e-9)


# --- the column loop ----------------------------------------------------------------------------------------------------


def a_block(columns=32, rows=150, seed=0):
    rng = np.random.default_rng(seed)
    factor = np.triu(rng.normal(size=(columns, columns)) * 0.1) + np.eye(columns)
    pruned = rng.random((columns, rows)) < 0.5
    return [torch.tensor(a, dtype=torch.float32) for a in (rng.normal(size=(columns, rows)), factor)] + [torch.tensor(pruned)]


def compiled_sweep(*arguments):
    """What runs on CUDA, compiled for this CPU."""
    return sweep_in_strips(torch.compile(sweep_reference, dynamic=False), *arguments, width=8)


def plain_in_strips(*arguments):
    return sweep_in_strips(sweep_reference, *arguments, width=12)


@pytest.mark.parametrize("pattern", [(0, 0), (2, 4), (1, 8), (2, 3), (5, 10)])
@pytest.mark.parametrize(
    "loop", [sweep, plain_in_strips, pytest.param(compiled_sweep, marks=[pytest.mark.slow, needs_compiler])]
)
def test_the_compiled_loops_are_the_plain_one(loop, pattern):
    block, factor, pruned = a_block(30 if pattern[1] % 4 else 32)
    if pattern[1]:
        pruned = torch.zeros_like(pruned)
    one, other, mask, other_mask = block.clone(), block.clone(), pruned.clone(), pruned.clone()
    errors, expected = loop(one, factor, mask, *pattern), sweep_reference(other, factor, other_mask, *pattern)
    assert torch.equal(mask, other_mask)
    assert torch.allclose(errors, expected, atol=1e-5) and torch.allclose(one, other, atol=1e-5)
    assert (one[mask] == 0).all()


def test_compiled_loops_leave_torch_without_threads_within_threads():
    """numba's start of OpenMP allows them, and torch's attention then starts a team of threads for each small product."""
    code = """
import ctypes, sys, torch
openmp = ctypes.CDLL(None)
if not hasattr(openmp, "omp_get_max_active_levels"):
    sys.exit("no OpenMP")
torch.set_num_threads(2)
from racviz.pruning.column_loop import transposed
assert torch.equal(transposed(torch.arange(6.0).reshape(2, 3)), torch.arange(6.0).reshape(2, 3).T)
print(openmp.omp_get_max_active_levels(), torch.get_num_threads())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "no OpenMP" in done.stderr:
        pytest.skip("torch has no OpenMP library here whose settings can be read")
    assert done.stdout.split() == ["1", "2"], done.stderr


@pytest.mark.parametrize("size", [1, 5, 64, 65, 300, 700])
@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
def test_the_factor_in_place_is_the_inverse_of_the_upper_cholesky_factor(size, precision):
    x = np.random.default_rng(0).normal(size=(size, 3 * size + 5))
    h = x @ x.T
    u = torch.tensor(np.triu(h), dtype=precision)  # the lower triangle is not read
    assert factor_in_place(u)
    upper = np.linalg.cholesky(h[::-1, ::-1])[::-1, ::-1]  # H = R Rᵀ
    exact = np.linalg.inv(upper)
    assert np.abs(u.triu().numpy() - exact).max() < {torch.float64: 1e-12, torch.float32: 1e-4}[precision] * np.abs(exact).max()


def test_the_factor_of_what_is_not_positive_definite_is_refused_wherever_that_shows():
    for column in (0, 100, 299):
        h = 2 * torch.eye(300)
        h[column, column] = -1
        assert not factor_in_place(h)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (130, 70), (64, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_transposed_also_a_part_of_a_larger_matrix(shape, dtype):
    matrix = (torch.randn(shape) * 3).to(dtype)
    assert torch.equal(transposed(matrix), matrix.T) and transposed(matrix).is_contiguous()
    assert torch.equal(transposed(matrix[:, ::2]), matrix[:, ::2].T)


# --- patterns -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=40), st.data())
def test_the_lowest_are_the_lowest_also_with_ties(values, data):
    count = data.draw(st.integers(0, len(values)))
    mask = lowest(torch.tensor(values)[None], count)[0]
    assert int(mask.sum()) == count
    assert sorted(np.array(values)[mask.numpy()]) == sorted(values)[:count]
    assert mask.numpy().nonzero()[0].tolist() == sorted(np.argsort(values, kind="stable")[:count].tolist())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60_000), st.integers(0, 2**31), st.sampled_from([0.0, 1.0, 1e-30, 1e30]), st.data())
def test_the_kth_lowest_of_many_is_that_of_a_sort(size, seed, rounding, data):
    values = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    values = np.round(values, 1) if rounding == 0 else values * np.float32(rounding)
    k = data.draw(st.integers(1, size))
    bound, reached = kernels.kth_lowest(values, k)
    assert bound == np.sort(values)[k - 1] and reached == (values <= bound).sum()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 500), st.lists(st.integers(1, 60), min_size=1, max_size=9))
def test_quotas_are_exact_and_even(count, parts):
    count = min(count, sum(parts))
    shared = quotas(count, parts)
    assert sum(shared) == count
    assert all(abs(mine - count * part / sum(parts)) <= 1 for mine, part in zip(shared, parts, strict=True))


@every_method
@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4", "3:5"])
def test_every_group_has_its_zeros(method, pattern):
    zeros, of = map(int, pattern.split(":"))
    weight, moment = correlated(12, 40 if of == 5 else 64)
    pruned, mask, _ = solve(method, weight, moment, zeros / of, pattern)
    assert (mask.view(12, -1, of).sum(-1) == zeros).all()
    assert (pruned[mask] == 0).all() and torch.isfinite(pruned).all()


@pytest.mark.parametrize(("pattern", "sparsity"), [((2, 4), 0.5), ((4, 8), 0.5)])
def test_n_of_m_agrees_with_llm_compressor(pattern, sparsity):
    peer = pytest.importorskip("llmcompressor.modifiers.pruning.sparsegpt.sgpt_sparsify", reason="llmcompressor is a dev extra")
    weight, moment = correlated(96, 256)
    linear = torch.nn.Linear(256, 96, bias=False)
    linear.weight.data = weight.clone()
    _, other = peer.sparsify_weight(
        module=linear, hessians_dict={linear: moment.clone()}, prune_n=pattern[0], prune_m=pattern[1], block_size=128,
        dampening_frac=0.01, sparsity=sparsity, preserve_sparsity_mask=False,
    )  # fmt: skip
    pruned, mask, _ = solve("sparsegpt", weight, moment, sparsity, "{}:{}".format(*pattern))
    other = other.detach().float()
    assert ((other == 0) == mask).float().mean() > 0.999
    assert error_of(weight, pruned, moment) == pytest.approx(error_of(weight, other, moment), rel=1e-3)


def test_wanda_agrees_with_llm_compressor():
    peer = pytest.importorskip("llmcompressor.modifiers.pruning.wanda.wanda_sparsify", reason="llmcompressor is a dev extra")
    weight, moment = correlated(40, 160)
    linear = torch.nn.Linear(160, 40, bias=False)
    linear.weight.data = weight.clone()
    scalars = {
        linear: moment.diagonal().clone()[None] if peer.make_empty_row_scalars(linear).ndim == 2 else moment.diagonal().clone()
    }
    other = peer.sparsify_weight(module=linear, row_scalars_dict=scalars, sparsity=0.6, prune_n=0, prune_m=0)
    _, mask, _ = solve("wanda", weight, moment, 0.6)
    assert torch.equal(other.detach() == 0, mask)


# --- every solver -------------------------------------------------------------------------------------------------------


@every_method
@settings(max_examples=12, deadline=None)
@given(rows=st.integers(1, 20), columns=st.integers(2, 150), sparsity=st.floats(0, 0.95), seed=st.integers(0, 1000))
def test_every_solver_prunes_exactly_what_is_asked(method, rows, columns, sparsity, seed):
    weight, moment = correlated(rows, columns, tokens=60, seed=seed, dead=(0,))
    before = weight.clone()
    pruned, mask, _ = solve(method, weight, moment, sparsity)
    assert torch.equal(weight, before), "the weight that a solver is given stays as it is"
    assert int(mask.sum()) == round(sparsity * rows * columns)
    assert (pruned[mask] == 0).all() and torch.isfinite(pruned).all()


@every_method
@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_zeros_are_kept_where_asked(method, pattern):
    weight, moment = correlated(24, 192)
    weight[torch.tensor(np.random.default_rng(3).random((24, 192)) < 0.3)] = 0
    weight[:, :40] = 0  # more zeros in the first block than its share
    zero = weight == 0
    pruned, mask, _ = solve(method, weight, moment, 0.5, pattern, keep_zeros=True)
    assert mask[zero].all() and (pruned[zero] == 0).all()
    if pattern == "unstructured" and method.split("+")[0] in ("magnitude", "alps"):
        assert int(mask.sum()) == round(0.5 * weight.numel())


@pytest.mark.parametrize("sparsity", [0.5, 0.7, 0.8])
def test_the_better_solvers_are_better(sparsity):
    weight, moment = correlated(48, 160, tokens=600)
    errors = {m: error_of(weight, solve(m, weight, moment, sparsity)[0], moment) for m in ("magnitude", *METHODS)}
    assert errors["sparsegpt"] < errors["magnitude"]
    assert errors["alps"] < errors["sparsegpt+refit"] < errors["sparsegpt"]
    assert errors["wanda+refit"] < errors["wanda"] and errors["magnitude+refit"] < errors["magnitude"]


def least_squares(weight, moment, mask):
    """min over the support of tr((W − Ŵ) H (W − Ŵ)ᵀ), row by row in float64."""
    w, h = weight.double().numpy(), LinearInputs(moment).damped.double().numpy()
    solved = np.zeros_like(w)
    for row, keep in enumerate(~mask.numpy()):
        solved[row, keep] = np.linalg.solve(h[np.ix_(keep, keep)], (h @ w[row])[keep])
    return solved, h


def test_exact_refit_is_the_least_squares_solution_and_gradients_come_near_it():
    weight, moment = correlated(20, 96, tokens=500)
    exact, mask, _ = solve("sparsegpt+exact", weight, moment, 0.6)
    expected, h = least_squares(weight, moment, mask)
    assert np.allclose(exact.numpy(), expected, atol=1e-3 * np.abs(expected).max())

    def loss(new):
        delta = weight.double().numpy() - np.asarray(new, dtype=np.float64)
        return np.trace(delta @ h @ delta.T)

    start, refit = solve("sparsegpt", weight, moment, 0.6)[0], solve("sparsegpt+refit", weight, moment, 0.6)[0]
    assert loss(expected) <= loss(refit) < loss(expected) + 0.05 * (loss(start) - loss(expected))


def reference_alps(weight, moment, sparsity, rho=0.1):
    """The published ADMM in float64: (H + ρI)⁻¹ through an eigendecomposition; returns the support."""
    h = moment.double().clone()
    h.diagonal().add_(0.01 * h.diagonal().mean())
    scale = h.diagonal().rsqrt()
    h, w = h * scale[:, None] * scale, weight.double() / scale
    values, vectors = torch.linalg.eigh(h)
    g, count = w @ h, round(sparsity * w.numel())

    def project(x):
        bound = x.abs().flatten().kthvalue(count).values
        return x.masked_fill(x.abs() <= bound, 0)

    d, v, kept = project(w), torch.zeros_like(w), w.numel() - count
    looked = d != 0
    for iteration in range(1, 301):
        x = (g - v + rho * d) @ vectors / (values + rho) @ vectors.T
        d = project(x + v / rho)
        v += rho * (x - d)
        if iteration % 3 == 0:
            changed = int(((d != 0) != looked).sum()) / kept
            if changed == 0 or (iteration >= 30 and changed < 3e-4):
                break
            rho *= 1.3 if changed >= 0.1 else 1.2 if changed >= 0.005 else 1.1
            looked = d != 0
    return d != 0


@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_alps_finds_the_support_of_the_published_iteration(sparsity):
    weight, moment = correlated(64, 128, tokens=800)
    _, mask, details = solve("alps", weight, moment, sparsity)
    assert (reference_alps(weight, moment, sparsity) == ~mask).double().mean() > 0.99
    assert details["rho"] > 0.1


def test_names_and_callables():
    assert solver_named(len) is len
    for name in ("sparsegp", "sparsegpt+", "sparsegpt+refitt", "+refit", ""):
        with pytest.raises(ParameterError, match="method must be one of"):
            solver_named(name)
    with pytest.raises(ParameterError, match="a name or a callable"):
        solver_named(3)
