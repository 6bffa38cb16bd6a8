"""What a solver knows about the inputs of a linear: the second moment, and what is computed from it once for all that share it."""

import time
from dataclasses import dataclass, field
from functools import cached_property

import torch

from racviz.errors import NumericalError

DAMPING, MOST_DAMPING = 0.01, 0.5


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

    @cached_property
    def damped(self) -> torch.Tensor:
        """H with dead columns mended and the first damping on its diagonal, as SparseGPT damps it."""
        h = self._mended()
        h.diagonal().add_(DAMPING * h.diagonal().mean())
        return h

    def _mended(self) -> torch.Tensor:
        """A copy of H with a 1 on the diagonal of each dead column."""
        h = self.moment.clone()
        h.diagonal()[self.dead] = 1
        return h

    @cached_property
    def inverse_factor(self) -> tuple[torch.Tensor, float, int]:
        """U upper with UᵀU = (H + λI)⁻¹, the damping λ / mean(diag H) that was needed, and the retries."""
        began = time.monotonic()
        h = self._mended()
        found = inverse_factor(h, self.name)
        if h.is_cuda:
            torch.cuda.synchronize()
        self.factor_seconds += time.monotonic() - began
        return found


def inverse_factor(h: torch.Tensor, name: str = "a linear") -> tuple[torch.Tensor, float, int]:
    """U, upper, with UᵀU = (H + λI)⁻¹: one Cholesky of the index-reversed H and one triangular inverse.

    With J the reversal, chol(J H J) = L gives H = R Rᵀ with R = J L J upper, so U = R⁻¹ = J L⁻¹ J. λ = damping · mean(diag H);
    where the Cholesky fails the damping is doubled, up to 0.5. Then NumericalError, with the name of the linear.
    """
    if not torch.isfinite(h).all():
        raise NumericalError(f"the second moment of {name} is not finite; check the activations before it")
    mean, damping, retries = h.diagonal().mean(), DAMPING, 0
    while True:
        reversed_ = h.flip(0, 1)
        reversed_.diagonal().add_(damping * mean)
        lower, info = torch.linalg.cholesky_ex(reversed_)
        if info == 0:
            return inverse_of_lower(lower).flip(0, 1), damping, retries
        if 2 * damping > MOST_DAMPING:
            raise NumericalError(
                f"the second moment of {name} has no Cholesky factor, even with damping {damping}; "
                "calibrate with more tokens, or leave the layer out by scope=…"
            )
        damping, retries = 2 * damping, retries + 1


def inverse_of_lower(lower: torch.Tensor, base: int = 256) -> torch.Tensor:
    """L⁻¹ of a lower triangular L, by halves: [A 0; B C]⁻¹ = [A⁻¹ 0; −C⁻¹BA⁻¹ C⁻¹], a third of the work of a solve."""
    inverse = torch.zeros_like(lower)

    def fill(start: int, end: int) -> None:
        if end - start <= base:
            eye = torch.eye(end - start, dtype=lower.dtype, device=lower.device)
            inverse[start:end, start:end] = torch.linalg.solve_triangular(lower[start:end, start:end], eye, upper=False)
            return
        middle = (start + end) // 2
        fill(start, middle)
        fill(middle, end)
        left, right = inverse[start:middle, start:middle], inverse[middle:end, middle:end]
        inverse[middle:end, start:middle] = -(right @ (lower[middle:end, start:middle] @ left))

    fill(0, len(lower))
    return inverse
