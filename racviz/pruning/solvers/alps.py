"""ALPS (arXiv 2406.07831): ADMM on W = D with D sparse and a growing penalty ρ, then conjugate gradients on D's support.

The inputs are rescaled so that H has a unit diagonal. The published code applies (H + ρI)⁻¹ through an eigendecomposition;
here it is inverted anew whenever ρ grows: one product an iteration instead of two, and no eigendecomposition.
"""

import torch

from racviz.pruning.interface import LinearInputs, Pattern, Solved
from racviz.pruning.solvers.refit import conjugate_gradient

RHO, ITERATIONS, EVERY, SETTLED_AFTER, CG_STEPS = 0.1, 300, 3, 30, 10
GROWTH = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))
"""ρ grows by the factor beside the first share of the support that more than has changed since the last look."""


def alps(weight: torch.Tensor, inputs: LinearInputs, pattern: Pattern, sparsity: float) -> Solved:
    """Prune one linear, weight `[rows, columns]`. Details: the `damping`, `iterations`, the last `rho`."""
    count = round(sparsity * weight.numel())
    kept = max(1, weight.numel() - count)
    scale = inputs.damped.diagonal().rsqrt()  # [columns]
    h = inputs.damped * scale[:, None] * scale  # unit diagonal
    w = weight.masked_fill(inputs.dead, 0) / scale
    g = w @ h
    zero = pattern.zeros_of(weight)
    mask = pattern.lowest(w.abs(), count, zero)
    d, v, rho = w.masked_fill(mask, 0), torch.zeros_like(w), RHO  # [rows, columns]
    inverse = _shifted_inverse(h, rho)
    looked = mask
    for iteration in range(1, ITERATIONS + 1):
        x = (g - v).add_(d, alpha=rho) @ inverse
        d = x.add(v, alpha=1 / rho)
        mask = pattern.lowest(d.abs(), count, zero)
        d.masked_fill_(mask, 0)
        v.add_(x.sub_(d), alpha=rho)
        if iteration % EVERY:
            continue
        changed = int((mask != looked).sum()) / kept
        if changed == 0 or (iteration >= SETTLED_AFTER and changed < 3e-4):
            break
        rho *= next(factor for share, factor in GROWTH if changed >= share)
        inverse, looked = _shifted_inverse(h, rho), mask
    solved = conjugate_gradient(w, h, mask, d, CG_STEPS, tolerance=1e-4)
    new = inputs.with_dead(solved * scale, weight, mask)
    return new, mask, {"damping": inputs.damping, "iterations": iteration, "rho": rho}


def _shifted_inverse(h: torch.Tensor, rho: float) -> torch.Tensor:
    shifted = h.clone()
    shifted.diagonal().add_(rho)
    return torch.cholesky_inverse(torch.linalg.cholesky(shifted))
