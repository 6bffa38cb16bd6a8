"""Magnitude pruning: the smallest weights of a linear go; what enters it is not looked at."""

import torch

from racviz.pruning.interface import LinearInputs, Pattern, Solved


def magnitude(weight: torch.Tensor, inputs: LinearInputs, pattern: Pattern, sparsity: float) -> Solved:
    """Prune the round(sparsity · size) smallest |w| of a linear, weight `[rows, columns]`."""
    mask = pattern.lowest(weight.abs(), round(sparsity * weight.numel()), pattern.zeros_of(weight))
    return weight.masked_fill(mask, 0), mask, {}
