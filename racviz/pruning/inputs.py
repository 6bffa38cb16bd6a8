"""What a solver knows about the inputs of a linear: the second moment, and what is computed from it once for all that share it."""

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch

from racviz.exceptions import NumericalError
from racviz.pruning.blocks import all_finite

DAMPING, MOST_DAMPING = 0.01, 0.5
WIDTHS = (256, 64)
"""Of the block columns in which H is factorised."""


class Factor(NamedTuple):
    """The factor of a damped second moment, and the damping that it needed.

    u: `[columns, columns]`, upper, with UᵀU = (H + λI)⁻¹.
    damping: λ / mean(diag H).
    retries: how often the damping was doubled.
    """

    u: torch.Tensor
    damping: float
    retries: int


@dataclass
class LinearInputs:
    """The second moment H `[columns, columns]` of one distinct input, and its factor, made when first asked for.

    Linears that read the same input (q/k/v, gate/up) are given the same object, so it is factorised once.
    """

    moment: torch.Tensor = field(repr=False)
    name: str = "a linear"
    """The first linear that reads it, for messages."""
    factor_seconds: float = 0.0

    @property
    def columns(self) -> int:
        return len(self.moment)

    @cached_property
    def dead(self) -> torch.Tensor:
        """`[columns]` bool: inputs that were zero in every token, whose weights change nothing."""
        return self.moment.diagonal() == 0

    @cached_property
    def norms(self) -> torch.Tensor:
        """`[columns]`: ‖x_j‖₂ over the tokens."""
        return self.moment.diagonal().clamp(min=0).sqrt()

    @property
    def damping(self) -> float:
        """λ / mean(diag H): the damping that the factorisation of H needs, whichever solver asks first."""
        return self.inverse_factor.damping

    @cached_property
    def damped(self) -> torch.Tensor:
        """H with dead columns mended and `damping` on its diagonal, as SparseGPT damps it."""
        return damped(self.moment, self.damping)

    def with_dead(self, new: torch.Tensor, weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`new`, with the weights of dead columns that the mask keeps as they were: nothing can be said against them."""
        if self.dead.any():
            new[:, self.dead] = weight[:, self.dead].masked_fill(mask[:, self.dead], 0)
        return new

    @cached_property
    def inverse_factor(self) -> Factor:
        """U upper with UᵀU = (H + λI)⁻¹, the damping λ / mean(diag H) that was needed, and the retries."""
        began = time.monotonic()
        found = inverse_factor(self.moment, self.name)
        if self.moment.is_cuda:
            torch.cuda.synchronize()
        self.factor_seconds += time.monotonic() - began
        return found


def inverse_factor(h: torch.Tensor, name: str = "a linear") -> Factor:
    """U, upper, with UᵀU = (H + λI)⁻¹, from the upper triangle of H; λ = damping · mean(diag H), dead columns mended.

    Where H + λI is not positive definite the damping is doubled, up to 0.5. Then NumericalError, with the name of the linear.
    """
    if not all_finite(h):
        raise NumericalError(f"the second moment of {name} is not finite; check the activations before it")
    damping, retries = DAMPING, 0
    while True:
        u = damped(h, damping)
        if factor_in_place(u):
            return Factor(u.triu_(), damping, retries)
        if 2 * damping > MOST_DAMPING:
            raise NumericalError(
                f"the second moment of {name} has no Cholesky factor, even with damping {damping}; "
                "calibrate with more tokens, or leave the layer out by scope=…"
            )
        damping, retries = 2 * damping, retries + 1


def damped(h: torch.Tensor, damping: float) -> torch.Tensor:
    """A copy of H with a 1 on the diagonal of each dead column, and then damping · mean(diag H) added to the diagonal."""
    h = h.clone()
    diagonal = h.diagonal()
    diagonal[diagonal == 0] = 1
    diagonal.add_(damping * diagonal.mean())
    return h


def factor_in_place(h: torch.Tensor, widths: tuple[int, ...] = WIDTHS) -> bool:
    """Upper triangle of H -> that of U with UᵀU = H⁻¹; what is below the diagonal is left undefined. False: not positive definite.

    H = R Rᵀ with R upper is the Cholesky factor of the index-reversed H, and U = R⁻¹. Both at once, block columns S from the
    last to the first, nearly all of it in matrix products: U_SS = R_SS⁻¹ by the next smaller width; with a the columns before S,

        R_aS = H_aS U_SSᵀ;   H_aa -= R_aS R_aSᵀ;   U_S: = U_SS (what has been summed there);   U_a: -= R_aS U_S:
    """
    if not widths or len(h) <= widths[-1]:
        lower, info = torch.linalg.cholesky_ex(h.flip(0, 1))  # reads what is the upper triangle of h
        eye = torch.eye(len(h), dtype=h.dtype, device=h.device)
        h.copy_(torch.linalg.solve_triangular(lower, eye, upper=False).flip(0, 1))
        return int(info) == 0
    for end in range(len(h), 0, -widths[0]):
        start = max(0, end - widths[0])
        corner = h[start:end, start:end]
        if not factor_in_place(corner, widths[1:]):
            return False
        corner.triu_()
        h[start:end, end:] = corner @ h[start:end, end:]
        r = h[:start, start:end] @ corner.mT  # [start, end - start]
        for right in range(start, 0, -2 * widths[0]):
            left = max(0, right - 2 * widths[0])
            h[:right, left:right].addmm_(r[:right], r[left:right].mT, alpha=-1)
        h[:start, start:end] = 0
        h[:start, start:].addmm_(r, h[start:end, start:], alpha=-1)
    return True
