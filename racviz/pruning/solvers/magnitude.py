"""Magnitude pruning: the smallest weights of a linear go; what enters it is not looked at."""

import torch

from racviz.pruning.interface import LinearInputs, Pattern, Solved


def magnitude(weight: torch.Tensor, inputs: LinearInputs, pattern: Pattern, sparsity: float) -> Solved:
    """Prune the round(sparsity · size) smallest |w| of a linear, weight `[rows, columns]`."""
    mask = pattern.lowest(weight.abs(), round(sparsity * weight.numel()), pattern.zeros_of(weight))
    return weight.masked_fill(mask, 0), mask, {}


def unread(weight: torch.Tensor, inputs: LinearInputs, pattern: Pattern, sparsity: float) -> Solved:
    """Magnitude pruning of a linear whose inputs were zero in every token, as after a layer of zeros.

    Any choice of weights leaves the outputs on the calibration set as they are. Details: `dead`, all columns.
    """
    new, mask, _ = magnitude(weight, inputs, pattern, sparsity)
    return new, mask, {"dead": inputs.columns}
