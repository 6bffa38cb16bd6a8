"""Which weights may go together: unstructured, or n zeros in every m; and the choice of the lowest by a saliency."""

import re
from dataclasses import dataclass

import numpy as np
import torch

from racviz.exceptions import ParameterError


@dataclass(frozen=True)
class Pattern:
    """`unstructured` (zeros = of = 0) or `n:m`: `zeros` zeros in every `of` neighbouring columns of a row."""

    zeros: int = 0
    of: int = 0
    keep_zeros: bool = False
    """Weights that are zero already stay so, and count; where they are more than asked for, there are more."""

    @classmethod
    def parse(cls, text: str, keep_zeros: bool = False) -> "Pattern":
        """From `unstructured` or `n:m`, for example `2:4`. Raises ParameterError for anything else."""
        if text == "unstructured":
            return cls(keep_zeros=keep_zeros)
        found = re.fullmatch(r"(\d+):(\d+)", str(text))
        if not found or not 0 < int(found[1]) < int(found[2]):
            raise ParameterError(
                f"pattern={text!r} is not known. Allowed: 'unstructured', or 'n:m' with 0 < n < m (n zeros in every m weights of "
                "a row), for example '2:4'."
            )
        return cls(int(found[1]), int(found[2]), keep_zeros)

    def __str__(self) -> str:
        return f"{self.zeros}:{self.of}" if self.of else "unstructured"

    @property
    def sparsity(self) -> float | None:
        """The fraction of zeros that the pattern fixes; None where it leaves that open."""
        return self.zeros / self.of if self.of else None

    def resolve(self, sparsity: float | None) -> float:
        """The sparsity to prune to. None: 0.5, or what the pattern fixes. Raises ParameterError where the two disagree."""
        if sparsity is None:
            return 0.5 if self.sparsity is None else self.sparsity
        if self.sparsity is not None and abs(sparsity - self.sparsity) > 1e-9:
            raise ParameterError(
                f"sparsity={sparsity} contradicts pattern='{self}', which has {self.sparsity:.4g} zeros; leave sparsity out, "
                "or choose pattern='unstructured'."
            )
        return float(sparsity)

    def check_columns(self, columns: int, name: str) -> None:
        """Raises ParameterError where the pattern does not divide the columns of a linear."""
        if self.of and columns % self.of:
            raise ParameterError(
                f"pattern='{self}' does not divide the {columns} columns of {name}; choose another m, or leave the layer out by "
                "scope=…"
            )

    def zeros_of(self, weight: torch.Tensor) -> torch.Tensor | None:
        """Where the weights are zero that stay so; None where none has to."""
        return weight == 0 if self.keep_zeros else None

    def lowest(self, saliency: torch.Tensor, count: int, zero: torch.Tensor | None = None) -> torch.Tensor:
        """Mask `[rows, columns]`, True at the `count` lowest saliencies of all, or at the lowest of every group of `of`.

        zero: weights that go in any case, and first.
        """
        if zero is not None:
            saliency = saliency.masked_fill(zero, -1.0)
        mask = lowest_of_every(saliency, self.zeros, self.of) if self.of else lowest(saliency, count)
        return mask if zero is None else mask | zero


def lowest(saliency: torch.Tensor, count: int) -> torch.Tensor:
    """Mask of the shape of `saliency`, True at exactly `count` lowest values; of equal ones, the first. A selection, not a sort."""
    flat = saliency.reshape(-1)
    if not 0 < count < flat.numel():
        return torch.full_like(saliency, count > 0, dtype=torch.bool)
    bound, reached = _kth_lowest(flat, count)
    chosen = flat <= bound
    if reached > count:
        chosen[(flat == bound).nonzero()[count - reached :, 0]] = False
    return chosen.view_as(saliency)


def _kth_lowest(flat: torch.Tensor, k: int) -> tuple[float | torch.Tensor, int]:
    """The k-th lowest value, and how many are no higher."""
    if flat.device.type == "cpu" and flat.dtype == torch.float32:
        from racviz.pruning import kernels

        return kernels.kth_lowest(flat.numpy(), k)
    bound = flat.kthvalue(k).values
    return bound, int((flat <= bound).sum())


def lowest_of_every(saliency: torch.Tensor, zeros: int, of: int) -> torch.Tensor:
    """Mask `[rows, columns]`, True at the `zeros` lowest of every `of` neighbouring columns."""
    groups = saliency.reshape(len(saliency), -1, of)
    order = groups.argsort(dim=-1, stable=True)[..., :zeros]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order, True).view_as(saliency)


def quotas(count: int, parts: list[int], there: list[int] | None = None) -> list[int]:
    """`count` split in proportion to `parts`, so that any first few of them are off by less than one, and all are exact.

    there: how many each part has in any case; what is left of `count` is split in proportion to what is left of the parts.
    """
    there = there or [0] * len(parts)
    left, free = max(count - sum(there), 0), [part - mine for part, mine in zip(parts, there, strict=True)]
    ends = [round(left * end / max(sum(free), 1)) for end in np.cumsum([0, *free]).tolist()]
    return [mine + b - a for mine, a, b in zip(there, ends, ends[1:], strict=False)]
