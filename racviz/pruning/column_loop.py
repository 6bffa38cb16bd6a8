"""The inner loop of SparseGPT over one block of columns: plain torch to read, and compiled for speed.

All take the block transposed, `[columns, rows]`, so that one column of W is contiguous; the rows of W are independent of one
another once the mask is known, and the compiled loops run over them in parallel.

    for each column j:  e_j = w_j / U_jj where pruned, else 0;  w_i -= U_ji e_j for every column i > j;  w_j = 0 where pruned
"""

from collections.abc import Callable
from functools import cache

import torch


def sweep(block: torch.Tensor, factor: torch.Tensor, pruned: torch.Tensor, zeros: int = 0, of: int = 0) -> torch.Tensor:
    """Prune a block in place and return the errors, both `[columns, rows]`.

    factor: the block's square of U. pruned: the mask `[columns, rows]`; with a pattern (`of` > 0) it is chosen here, group by
    group on the weights as they have become, and written to. A numba loop on a CPU, torch.compile on CUDA.
    """
    if block.device.type == "cpu":
        from racviz.pruning import kernels

        errors = torch.empty_like(block)
        kernels.sweep(block.numpy(), factor.contiguous().numpy(), pruned.numpy(), errors.numpy(), zeros, of)
        return errors
    return sweep_in_strips(_compiled_loop(), block, factor, pruned, zeros, of)


def transposed(matrix: torch.Tensor) -> torch.Tensor:
    """matrixᵀ, contiguous: on a CPU by all threads, where torch takes one."""
    out = torch.empty(matrix.shape[::-1], dtype=matrix.dtype, device=matrix.device)
    if matrix.device.type != "cpu":
        return out.copy_(matrix.T)
    from racviz.pruning import kernels

    kernels.transpose(matrix.numpy(), out.numpy())
    return out


def sweep_in_strips(loop, block, factor, pruned, zeros: int = 0, of: int = 0, width: int = 32) -> torch.Tensor:
    """`loop` on strips of about `width` columns, and one product for the columns to their right: what is compiled is unrolled,
    and 32 steps compile in seconds where 128 take minutes."""
    width = width - width % of if 0 < of <= width else max(width, of)
    errors = torch.empty_like(block)
    for start in range(0, len(block), width):
        end = min(start + width, len(block))
        strip = slice(start, end)
        errors[strip] = loop(block[strip], factor[strip, strip], pruned[strip], zeros, of)
        block[end:].addmm_(factor[strip, end:].T, errors[strip], alpha=-1)
    return errors


def sweep_reference(
    block: torch.Tensor, factor: torch.Tensor, pruned: torch.Tensor, zeros: int = 0, of: int = 0
) -> torch.Tensor:
    """`sweep` in plain torch."""
    errors = torch.empty_like(block)
    diagonal = factor.diagonal()
    for j in range(len(block)):
        if of and j % of == 0:
            saliency = (block[j : j + of] / diagonal[j : j + of, None]).square()
            lowest = saliency.masked_fill(pruned[j : j + of], -1.0).argsort(dim=0, stable=True)[:zeros]
            pruned[j : j + of].scatter_(0, lowest, True)
        errors[j] = torch.where(pruned[j], block[j] / diagonal[j], 0)
        block[j + 1 :] -= factor[j, j + 1 :, None] * errors[j]
        block[j] = torch.where(pruned[j], 0, block[j])
    return errors


@cache
def _compiled_loop() -> Callable[..., torch.Tensor]:
    return torch.compile(sweep_reference, dynamic=False)
