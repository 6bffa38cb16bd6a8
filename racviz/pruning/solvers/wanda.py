"""Wanda (arXiv 2306.11695): in every row the smallest |w_ij| · ‖x_j‖ go; the weights that stay are not changed."""

import torch

from racviz.pruning.interface import LinearInputs, Pattern, Solved
from racviz.pruning.patterns import quotas


def wanda(weight: torch.Tensor, inputs: LinearInputs, pattern: Pattern, sparsity: float) -> Solved:
    """Prune the same share of every row (as near as whole numbers allow), round(sparsity · size) in all."""
    saliency, zero = weight.abs() * inputs.norms, pattern.zeros_of(weight)  # [rows, columns]
    if pattern.of:
        mask = pattern.lowest(saliency, 0, zero)
    else:
        there = None if zero is None else zero.sum(1).tolist()
        counts = torch.tensor(
            quotas(round(sparsity * weight.numel()), [weight.shape[1]] * len(weight), there), device=weight.device
        )
        order = (saliency if zero is None else saliency.masked_fill(zero, -1.0)).argsort(dim=1, stable=True)  # [rows, columns]
        chosen = torch.arange(weight.shape[1], device=weight.device) < counts[:, None]
        mask = torch.zeros_like(weight, dtype=torch.bool).scatter_(1, order, chosen)
        mask = mask if zero is None else mask | zero
    return weight.masked_fill(mask, 0), mask, {}
