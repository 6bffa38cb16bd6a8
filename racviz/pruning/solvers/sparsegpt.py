"""SparseGPT (arXiv 2301.00774): prune column by column and let the columns to the right make up for it.

Faithful to the reference: damping 0.01 · mean(diag H) after dead columns are mended, one threshold over all rows of a
block of 128 columns, saliency w² / U_jj², U the upper factor of H⁻¹ = UᵀU; n:m patterns choose in each group on the weights
as they have become.
"""

import torch

from racviz.pruning.column_loop import sweep, transposed
from racviz.pruning.interface import LinearInputs, Pattern, Solved
from racviz.pruning.patterns import quotas

BLOCK = 128


def sparsegpt(weight: torch.Tensor, inputs: LinearInputs, pattern: Pattern, sparsity: float) -> Solved:
    """Prune one linear, weight `[rows, columns]`, to round(sparsity · size) zeros, shared out evenly over the blocks (zeros that
    are kept first).

    Details: the `damping` that the factorisation needed, its `retries`, `dead` columns.
    """
    rows, columns = weight.shape
    w = transposed(weight)  # [columns, rows]: a column of W is contiguous
    zero = pattern.zeros_of(w)  # [columns, rows]
    w[inputs.dead] = 0
    u, damping, retries = inputs.inverse_factor  # [columns, columns]
    block = BLOCK - BLOCK % pattern.of if 0 < pattern.of <= BLOCK else max(BLOCK, pattern.of)
    starts = range(0, columns, block)
    there = None if zero is None else [int(zero[s : s + block].count_nonzero()) for s in starts]
    counts = quotas(round(sparsity * weight.numel()), [min(block, columns - s) * rows for s in starts], there)
    mask = torch.zeros_like(w, dtype=torch.bool) if zero is None else zero.clone()
    for start, count in zip(starts, counts, strict=True):
        end = min(start + block, columns)
        mine, factor, chosen = w[start:end], u[start:end, start:end], mask[start:end]  # [b, rows], [b, b], [b, rows]
        if not pattern.of:
            saliency = (mine / factor.diagonal()[:, None]).square_()
            chosen.copy_(pattern.lowest(saliency, count, None if zero is None else zero[start:end]))
        errors = sweep(mine, factor, chosen, pattern.zeros, pattern.of)  # [b, rows]
        w[end:].addmm_(u[start:end, end:].T, errors, alpha=-1)
    new, mask = transposed(w), transposed(mask)
    return inputs.with_dead(new, weight, mask), mask, {"damping": damping, "retries": retries, "dead": int(inputs.dead.sum())}
