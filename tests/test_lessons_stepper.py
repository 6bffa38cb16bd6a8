"""SparseGPT step by step: against racviz's own solver, against least squares, and what it refuses."""

import importlib

import numpy as np
import pytest
import torch

from racviz.exceptions import NumericalError, ParameterError
from racviz.lessons.matters import correlated_inputs, error_of
from racviz.lessons.stepper import slider_figure, sparsegpt_steps, step_figure, step_words, stepper
from racviz.pruning.inputs import LinearInputs
from racviz.pruning.patterns import Pattern
from racviz.pruning.solvers import SOLVERS

ROWS, COLUMNS = 6, 8


@pytest.fixture
def linear():
    """Weights `[6, 8]`, inputs `[8, 300]` and their second moment."""
    x = correlated_inputs(COLUMNS, 300, 0.7, seed=1)
    return np.random.default_rng(0).standard_normal((ROWS, COLUMNS)), x, x @ x.T


def solved(weight, h, sparsity):
    """What racviz's solver makes of it: weights and mask."""
    as_torch = (torch.tensor(each, dtype=torch.float32) for each in (weight, h))
    weight32, h32 = as_torch
    new, mask, _ = SOLVERS["sparsegpt"](weight32, LinearInputs(h32), Pattern(), sparsity)
    return new.numpy(), mask.numpy()


class TestSteps:
    @pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.6, 0.9])
    def test_ends_where_the_solver_does(self, linear, sparsity):
        weight, _, h = linear
        steps = sparsegpt_steps(weight, h, sparsity)
        new, mask = solved(weight, h, sparsity)
        assert (steps.mask == mask).all() and mask.sum() == round(sparsity * weight.size)
        assert np.abs(steps.pruned - new).max() < 1e-5

    @pytest.mark.parametrize("block", [1, 2, 3, 4, 8, 50])
    def test_ends_where_the_solver_does_in_blocks(self, linear, block, monkeypatch):
        monkeypatch.setattr(importlib.import_module("racviz.pruning.solvers.sparsegpt"), "BLOCK", block)
        weight, _, h = linear
        steps, (new, mask) = sparsegpt_steps(weight, h, 0.5, block=block), solved(weight, h, 0.5)
        assert (steps.mask == mask).all() and np.abs(steps.pruned - new).max() < 1e-5

    def test_larger_than_one_block(self):
        x = correlated_inputs(150, 400, 0.4, seed=3)
        weight = np.random.default_rng(3).standard_normal((5, 150))
        steps, (new, mask) = sparsegpt_steps(weight, x @ x.T, 0.5), solved(weight, x @ x.T, 0.5)
        assert (steps.mask == mask).all() and np.abs(steps.pruned - new).max() < 1e-4

    def test_dead_inputs_go_first_and_cost_nothing(self, linear):
        weight, x, _ = linear
        x = x.copy()
        x[[2, 5]] = 0
        steps, (new, mask) = sparsegpt_steps(weight, x @ x.T, 0.2), solved(weight, x @ x.T, 0.2)
        assert (steps.mask == mask).all() and steps.mask.sum() == 10 and not steps.mask[:, [0, 1, 3, 4, 6, 7]].any()
        assert np.abs(steps.pruned - new).max() < 1e-5 and steps.loss[-1] < 1e-12

    def test_factor_is_what_it_is_said_to_be(self, linear):
        weight, _, h = linear
        u = sparsegpt_steps(weight, h, 0.5).factor
        damped = h + 0.01 * h.diagonal().mean() * np.eye(COLUMNS)
        assert np.allclose(u, np.triu(u)) and np.allclose(u.T @ u @ damped, np.eye(COLUMNS), atol=1e-9)

    def test_prices_add_up_to_the_damped_error(self, linear):
        """Column j adds Σ e_j² to tr(Δ (H + λI) Δᵀ), whatever goes later."""
        weight, _, h = linear
        steps = sparsegpt_steps(weight, h, 0.5)
        damped = h + 0.01 * h.diagonal().mean() * np.eye(COLUMNS)
        paid = np.cumsum(np.r_[0, (steps.errors**2).sum(1)])
        for state, price in zip(steps.weights, paid, strict=True):
            change = weight - state
            assert np.trace(change @ damped @ change.T) == pytest.approx(price, abs=1e-9)

    def test_each_state_is_the_best_for_the_columns_that_are_left(self, linear):
        """After column j the columns to its right are those that reconstruct best, given what has become of the others."""
        weight, _, h = linear
        steps = sparsegpt_steps(weight, h, 0.5)
        damped = h + 0.01 * h.diagonal().mean() * np.eye(COLUMNS)
        for k in range(1, COLUMNS):
            fixed = weight[:, :k] - steps.weights[k][:, :k]  # [rows, k]
            best = weight[:, k:] + fixed @ damped[:k, k:] @ np.linalg.inv(damped[k:, k:])
            assert np.allclose(steps.weights[k][:, k:], best, atol=1e-9)

    def test_losses_are_those_of_the_inputs(self, linear):
        weight, x, h = linear
        steps = sparsegpt_steps(weight, h, 0.5)
        for k in range(COLUMNS + 1):
            alone = weight.copy()
            alone[:, :k][steps.mask[:, :k]] = 0
            for state, loss in ((steps.weights[k], steps.loss[k]), (alone, steps.loss_alone[k])):
                expected = np.linalg.norm((weight - state) @ x) ** 2 / np.linalg.norm(weight @ x) ** 2
                assert loss == pytest.approx(expected, abs=1e-12)
        assert steps.loss[-1] < steps.loss_alone[-1]

    def test_compensation_changes_nothing_where_inputs_do_not_correlate(self, linear):
        weight, _, h = linear
        steps = sparsegpt_steps(weight, np.diag(h.diagonal()), 0.5)
        assert np.allclose(steps.loss, steps.loss_alone, atol=1e-15)
        assert np.array_equal(steps.pruned, np.where(steps.mask, 0, weight))

    def test_what_it_is_given_is_left_alone(self, linear):
        weight, _, h = linear
        before = weight.copy(), h.copy()
        steps = sparsegpt_steps(weight, h, 0.5)
        assert (weight == before[0]).all() and (h == before[1]).all() and (steps.weights[0] == weight).all()

    @pytest.mark.parametrize("change, error, words", [
        (dict(weight=np.ones(8)), ParameterError, "weight must be a matrix"),
        (dict(h=np.eye(7)), ParameterError, r"h must be of the shape \(8, 8\)"),
        (dict(sparsity=1.0), ParameterError, "sparsity must be in"),
        (dict(sparsity=-0.1), ParameterError, "sparsity must be in"),
        (dict(block=0), ParameterError, "block must be an integer >= 1"),
        (dict(h=np.triu(np.ones((8, 8)))), ParameterError, "h must be symmetric"),
        (dict(h=np.full((8, 8), np.nan)), NumericalError, "must be finite"),
        (dict(weight=np.full((6, 8), np.inf)), NumericalError, "must be finite"),
        (dict(h=-np.eye(8)), NumericalError, "no second moment"),
    ])  # fmt: skip
    def test_refuses(self, linear, change, error, words):
        weight, _, h = linear
        with pytest.raises(error, match=words):
            sparsegpt_steps(**(dict(weight=weight, h=h, sparsity=0.5) | change))


class TestFigures:
    def test_shows_the_state_after_k_columns(self, linear):
        weight, _, h = linear
        steps = sparsegpt_steps(weight, h, 0.5)
        for k in (0, 3, COLUMNS):
            now, numbers, _, added, _, _, loss, alone = step_figure(steps, k).data
            gone = steps.mask & (np.arange(COLUMNS) < k)
            assert (
                np.array_equal(np.isnan(np.array(now.z, float)), gone) and (np.array(numbers.text) == "×").sum() == gone.sum()
            )
            assert np.allclose(np.array(now.z, float)[~gone], steps.weights[k][~gone])
            assert all(numbers.text) and all(
                step_figure(steps, k).data[4].text
            )  # an empty text stays away when it is filled later
            assert np.allclose(np.array(added.z, float)[~gone], (steps.weights[k] - weight)[~gone])
            assert np.allclose(loss.y, steps.loss[: k + 1]) and np.allclose(alone.y, steps.loss_alone[: k + 1])

    def test_slider_has_a_stop_for_every_column(self, linear):
        weight, _, h = linear
        steps = sparsegpt_steps(weight, h, 0.5)
        figure = slider_figure(steps, "<b>6 × 8</b>")
        assert len(figure.frames) == len(figure.layout.sliders[0].steps) == COLUMNS + 1
        assert all(len(frame.data) == len(figure.data) for frame in figure.frames)
        assert "<b>" not in next(each.text for each in figure.layout.annotations if each.name == "caption")  # escaped

    def test_large_linears_print_no_numbers(self):
        steps = sparsegpt_steps(np.random.default_rng(0).standard_normal((20, 30)), np.eye(30), 0.5)
        assert not any(step_figure(steps, 10).data[1].text)

    def test_words(self, linear):
        weight, _, h = linear
        steps = sparsegpt_steps(weight, h, 0.5)
        assert "24 of 48 weights will go" in step_words(steps, 0)
        gone = int(steps.mask[:, 2].sum())
        assert f"Column 2: {gone} of 6 weights go" in step_words(steps, 3) and f"{steps.loss[3]:.4f}" in step_words(steps, 3)

    @pytest.mark.parametrize("k", [-1, COLUMNS + 1])
    def test_refuses_a_step_that_is_none(self, linear, k):
        weight, _, h = linear
        for show in (step_figure, step_words):
            with pytest.raises(ParameterError, match="from 0 to 8"):
                show(sparsegpt_steps(weight, h, 0.5), k)


class TestWidget:
    def test_follows_its_controls(self, linear):
        weight, _, h = linear
        (buttons, choices, said, figure) = stepper(weight, h).children
        back, on, done = buttons.children
        share, block = choices.children
        steps = sparsegpt_steps(weight, h, 0.5)
        assert said.value == step_words(steps, 0)
        on.click()
        on.click()
        back.click()
        assert done.value == 1 and said.value == step_words(steps, 1)
        done.value = COLUMNS
        on.click()  # at its end it stays there
        assert done.value == COLUMNS and np.allclose(figure.data[6].y, steps.loss)
        share.value, block.value = 0.75, 2
        again = sparsegpt_steps(weight, h, 0.75, block=2)
        assert said.value == step_words(again, COLUMNS) and np.allclose(figure.data[6].y, again.loss)
        assert figure.layout.yaxis3.range[1] >= again.loss_alone.max()
        done.value = 0
        back.click()
        assert done.value == 0
        assert error_of(weight, again.pruned, h) == pytest.approx(again.loss[-1])
