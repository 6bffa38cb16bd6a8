"""Least squares on a fixed support: any solver's mask, with the weights that reconstruct best on what it keeps.

Minimises tr((W − Ŵ) H (W − Ŵ)ᵀ) over Ŵ that is zero where the mask is True; the rows of W are independent problems.
"""

from collections.abc import Callable

import torch

from racviz.pruning.interface import LinearInputs, Pattern, Solved, Solver

STEPS = 20


def conjugate_gradient(
    weight: torch.Tensor, h: torch.Tensor, mask: torch.Tensor, start: torch.Tensor, steps: int = STEPS, tolerance: float = 1e-6
) -> torch.Tensor:
    """Ŵ `[rows, columns]` after at most `steps` of conjugate gradients, preconditioned by diag(H), from `start`.

    One product with H a step for all rows at once; a row stops when its residual has fallen to `tolerance` of its first.
    """
    keep = ~mask
    x = start * keep
    r = ((weight - x) @ h) * keep  # [rows, columns]: the residual on the support
    scale = 1 / h.diagonal()
    z = r * scale
    p, rho = z.clone(), (r * z).sum(1)  # [rows]
    goal = tolerance**2 * rho
    for _ in range(steps):
        active = rho > goal
        if not active.any():
            break
        q = (p @ h) * keep
        alpha = torch.where(active, rho / (p * q).sum(1).clamp(min=torch.finfo(p.dtype).tiny), 0)
        x += alpha[:, None] * p
        r -= alpha[:, None] * q
        z = r * scale
        rho, before = (r * z).sum(1), rho
        p = z + torch.where(active, rho / before, 0)[:, None] * p
    return x


def exact(weight: torch.Tensor, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The minimiser itself, a Cholesky a row: rows · kept³ / 3 of work, for small linears."""
    solved = torch.zeros_like(weight)
    g = weight @ h  # [rows, columns]
    for row, keep in enumerate(~mask):
        index = keep.nonzero()[:, 0]
        factor = torch.linalg.cholesky(h[index][:, index])
        solved[row, index] = torch.cholesky_solve(g[row, index, None], factor)[:, 0]
    return solved


def refitted(solver: Solver, how: str) -> Solver:
    """`solver`, then least squares on its support: `how` is `refit` (20 steps of conjugate gradients) or `exact`.

    H is damped as its factorisation needs, whatever ran before. Details: those of the solver.
    """
    solve: Callable[..., torch.Tensor] = {"refit": conjugate_gradient, "exact": lambda w, h, mask, _: exact(w, h, mask)}[how]

    def refit(weight: torch.Tensor, inputs: LinearInputs, pattern: Pattern, sparsity: float) -> Solved:
        start, mask, details = solver(weight, inputs, pattern, sparsity)
        alive = weight.masked_fill(inputs.dead, 0)
        return inputs.with_dead(solve(alive, inputs.damped, mask, start), weight, mask), mask, details

    return refit
