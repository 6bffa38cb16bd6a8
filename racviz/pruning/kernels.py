"""The loops that torch has no operation for, compiled by numba for a CPU.

Import it where it is used: numba takes half a second. Arrays in, arrays out; all of them C-contiguous where nothing else is said.
"""

import contextlib
import ctypes
import threading
from collections.abc import Callable
from functools import cache, wraps

import numba
import numpy as np
import torch

# torch's own threads, where they can be had: two pools would wait for one another's cores, at twice the time
numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

TILE = 64
"""Rows that one thread takes at a time: 128 columns of them stay in its cache."""
BITS = 18
BINS = 1 << (32 - BITS)
MINUS_ZERO = -(1 << 31)

_one_at_a_time = threading.Lock()  # "workqueue" is not safe to enter from two threads


def _compiled(loop: Callable) -> Callable:
    """`loop` compiled, and run with as many threads as torch has."""
    options = {"parallel": True, "fastmath": {"contract"}}
    try:
        fast = numba.njit(**options, cache=True)(loop)
    except RuntimeError:  # no folder to keep it in: a read-only home
        fast = numba.njit(**options)(loop)

    @wraps(loop)
    def run(*arguments):
        threads = torch.get_num_threads()
        with _one_at_a_time:
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            result = fast(*arguments)
        if torch.get_num_threads() != threads:  # numba's start of OpenMP sets it to all cores
            torch.set_num_threads(threads)
        _forbid_nesting()
        return result

    return run


def _forbid_nesting() -> None:
    """Undo numba's permission for threads within threads: with it torch's attention takes 60 times as long.

    Each small product within its parallel loop then starts threads of its own. OpenMP keeps the permission per thread, and
    numba gives it to the one that calls first.
    """
    if (set_levels := _openmp_levels()) is not None:
        set_levels(1)


@cache
def _openmp_levels() -> Callable | None:
    """OpenMP's function that limits threads within threads; looked up once, since loops are run by the thousand."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no OpenMP in this torch, or not by that name
        return ctypes.CDLL(None).omp_set_max_active_levels
    return None


@_compiled
def sweep(block, factor, pruned, errors, zeros, of):
    """`racviz.pruning.column_loop.sweep_reference` on tiles of rows; four columns at a time change those to their right."""
    columns, rows = block.shape
    for tile in numba.prange((rows + TILE - 1) // TILE):
        first = tile * TILE
        last = min(rows, first + TILE)
        width = last - first
        w, e = np.zeros((columns, TILE), block.dtype), np.zeros((columns, TILE), block.dtype)
        for j in range(columns):
            w[j, :width] = block[j, first:last]
        start = 0
        while start < columns:
            stop = min(start + 4, columns)
            if of > 0:
                stop = min(stop, (start // of + 1) * of)  # the next group is chosen on weights that are up to date
            if of > 0 and start % of == 0:
                for r in range(width):
                    already = 0
                    for k in range(start, start + of):
                        already += pruned[k, first + r]
                    for _ in range(zeros - already):
                        best, lowest = -1, np.inf  # the first that is left, where no saliency is finite
                        for k in range(start, start + of):
                            if not pruned[k, first + r]:
                                saliency = (w[k, r] / factor[k, k]) ** 2
                                if best < 0 or saliency < lowest:
                                    best, lowest = k, saliency
                        pruned[best, first + r] = True
            for j in range(start, stop):
                for r in range(width):
                    e[j, r] = w[j, r] / factor[j, j] if pruned[j, first + r] else 0.0
                for i in range(j + 1, stop):
                    u = factor[j, i]
                    for r in range(TILE):
                        w[i, r] -= u * e[j, r]
            if stop - start == 4:
                for i in range(stop, columns):
                    a, b, c, d = factor[start, i], factor[start + 1, i], factor[start + 2, i], factor[start + 3, i]
                    for r in range(TILE):
                        w[i, r] -= a * e[start, r] + b * e[start + 1, r] + c * e[start + 2, r] + d * e[start + 3, r]
            else:
                for j in range(start, stop):
                    for i in range(stop, columns):
                        u = factor[j, i]
                        for r in range(TILE):
                            w[i, r] -= u * e[j, r]
            start = stop
        for j in range(columns):
            errors[j, first:last] = e[j, :width]
            for r in range(width):
                block[j, first + r] = 0.0 if pruned[j, first + r] else w[j, r]


@_compiled
def transpose(matrix, out):
    """out = matrixᵀ, in tiles that stay in the cache; either may be a part of a larger array."""
    rows, columns = matrix.shape
    for tile in numba.prange((rows + TILE - 1) // TILE):
        first, last = tile * TILE, min(rows, (tile + 1) * TILE)
        for j in range(columns):
            for r in range(first, last):
                out[j, r] = matrix[r, j]


@numba.njit
def _bin(bits):
    """Bin of a float's bits; the order of the bins is that of the floats."""
    if bits == MINUS_ZERO:
        bits = 0
    return ((bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> BITS) + (BINS >> 1)


@_compiled
def _histogram(bits, parts):
    counts = np.zeros((parts, BINS), np.int32)
    for part in numba.prange(parts):
        mine = counts[part]
        for i in range(part * len(bits) // parts, (part + 1) * len(bits) // parts):
            mine[_bin(bits[i])] += 1
    return counts


@_compiled
def _members(bits, counts, bin):
    """The values in one bin."""
    parts = len(counts)
    ends = counts[:, bin].cumsum()
    found = np.empty(ends[-1], np.int32)
    for part in numba.prange(parts):
        at = ends[part] - counts[part, bin]
        for i in range(part * len(bits) // parts, (part + 1) * len(bits) // parts):
            if _bin(bits[i]) == bin:
                found[at] = bits[i]
                at += 1
    return found


def kth_lowest(values: np.ndarray, k: int) -> tuple[float, int]:
    """The k-th lowest (from 1) of float32 values `[n]`, and how many values are no higher than it.

    A histogram over the leading bits of the floats and a partition of the one bin that holds it: two passes by all threads.
    """
    bits = values.view(np.int32)
    counts = _histogram(bits, max(1, min(torch.get_num_threads(), len(bits) >> 14)))
    ends = counts.sum(0).cumsum()
    bin = int(np.searchsorted(ends, k))
    below = int(ends[bin - 1]) if bin else 0
    members = _members(bits, counts, bin).view(np.float32)
    bound = np.partition(members, k - below - 1)[k - below - 1]
    return float(bound), below + int(np.count_nonzero(members <= bound))
