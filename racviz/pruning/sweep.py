"""The inner loop of SparseGPT over one block of columns: plain torch to read, and compiled for speed.

All take the block transposed, `[columns, rows]`, so that one column of W is contiguous; the rows of W are independent of one
another once the mask is known, and the compiled loops run over them in parallel.

    for each column j:  e_j = w_j / U_jj where pruned, else 0;  w_i -= U_ji e_j for every column i > j;  w_j = 0 where pruned
"""

import threading
from collections.abc import Callable
from functools import cache

import torch

TILE = 64
"""Rows that one thread takes at a time: 128 columns of them stay in its cache."""


def sweep(block: torch.Tensor, factor: torch.Tensor, pruned: torch.Tensor, zeros: int = 0, of: int = 0) -> torch.Tensor:
    """Prune a block in place and return the errors, both `[columns, rows]`.

    factor: the block's square of U. pruned: the mask `[columns, rows]`; with a pattern (`of` > 0) it is chosen here, group by
    group on the weights as they have become, and written to. A numba loop on a CPU, torch.compile on CUDA.
    """
    if block.device.type == "cpu":
        return _numba_loop()(block, factor, pruned, zeros, of)
    return sweep_in_strips(_compiled_loop(), block, factor, pruned, zeros, of)


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


@cache
def _numba_loop() -> Callable[..., torch.Tensor]:
    import numba
    import numpy as np

    # threads of numba's own: with OpenMP it would set the number for torch too, whose products are then rounded otherwise
    numba.config.THREADING_LAYER = "workqueue"
    one_at_a_time = threading.Lock()  # which that layer asks for

    def plain(block, factor, pruned, errors, zeros, of):
        columns, rows = block.shape
        for tile in numba.prange((rows + TILE - 1) // TILE):
            first, last = tile * TILE, min(rows, (tile + 1) * TILE)
            w, e = np.empty((columns, TILE), block.dtype), np.empty(TILE, block.dtype)
            width = last - first
            for j in range(columns):
                w[j, :width] = block[j, first:last]
            for j in range(columns):
                if of > 0 and j % of == 0:
                    for r in range(width):
                        already = 0
                        for k in range(j, j + of):
                            already += pruned[k, first + r]
                        for _ in range(zeros - already):
                            best, lowest = -1, np.inf
                            for k in range(j, j + of):
                                if not pruned[k, first + r]:
                                    saliency = (w[k, r] / factor[k, k]) ** 2
                                    if saliency < lowest:
                                        best, lowest = k, saliency
                            pruned[best, first + r] = True
                for r in range(width):
                    e[r] = w[j, r] / factor[j, j] if pruned[j, first + r] else 0.0
                for i in range(j + 1, columns):
                    u = factor[j, i]
                    for r in range(width):
                        w[i, r] -= u * e[r]
                errors[j, first:last] = e[:width]
                for r in range(width):
                    block[j, first + r] = 0.0 if pruned[j, first + r] else w[j, r]

    compiled = {"parallel": True, "fastmath": {"contract"}}
    try:
        loop = numba.njit(**compiled, cache=True)(plain)
    except RuntimeError:  # no folder to keep it in: a read-only home
        loop = numba.njit(**compiled)(plain)

    def run(block, factor, pruned, zeros, of):
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        errors = torch.empty_like(block)
        with one_at_a_time:
            loop(block.numpy(), factor.contiguous().numpy(), pruned.numpy(), errors.numpy(), zeros, of)
        return errors

    return run
