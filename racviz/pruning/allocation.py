"""Allocation of zeros over the linears, so that the sparsity of all of them together is met to the weight.

`uniform` gives every linear the same; `owl` (arXiv 2310.05175) leaves more in blocks with many outliers; a mapping or a
callable says what it wishes. Wishes are moved by one constant for all until the whole comes to the sparsity asked for.
"""

import numbers
from collections.abc import Callable, Mapping
from itertools import groupby

import torch
from torch import nn

from racviz.exceptions import ParameterError, check, unknown
from racviz.pruning.blocks import check_expression, read_weight, searches
from racviz.pruning.patterns import Pattern

ALLOCATIONS = ("uniform", "owl")
OUTLIER, SPREAD = 5.0, 0.08
"""OWL: an outlier is `OUTLIER` times the mean; sparsities of blocks stay within about ±`SPREAD`. The paper's values."""
MOST = 0.999

Allocation = str | Mapping[str, float] | Callable[[str, nn.Module], float]
"""A name; a mapping from regular expressions (searched in names such as `layers.3.mlp.up_proj`, the first that fits counts)
to sparsities; or a function of name and module."""


def allocate(
    linears: Mapping[str, nn.Module],
    sparsity: float,
    allocation: Allocation,
    pattern: Pattern,
    norms: Mapping[str, torch.Tensor],
) -> dict[str, float]:
    """The sparsity of each linear, a whole number of zeros each, round(sparsity · all weights) together.

    norms: ‖x_j‖ by linear, for `owl`. Raises ParameterError for an unknown allocation, an expression that fits no linear, a
    wish outside [0, 1), or a pattern `n:m` with anything but `uniform`.
    """
    sizes = {name: linear.get_parameter("weight").numel() for name, linear in linears.items()}
    if pattern.of:
        if allocation != "uniform":
            raise ParameterError(f"pattern='{pattern}' fixes the sparsity of every linear; use allocation='uniform'.")
        return dict.fromkeys(sizes, pattern.resolve(None))
    wishes = _wishes(linears, sparsity, allocation, norms)
    for name, wish in wishes.items():
        check(isinstance(wish, numbers.Real) and 0 <= wish < 1, f"the sparsity of {name} in allocation", wish, "in [0, 1)")
    return _exact(_meet(wishes, sizes, sparsity), sizes, sparsity)


def needs_norms(allocation: Allocation) -> bool:
    return allocation == "owl"


def _wishes(linears, sparsity, allocation, norms) -> dict[str, float]:
    if callable(allocation):
        return {name: allocation(name, linear) for name, linear in linears.items()}
    if isinstance(allocation, Mapping):
        for expression in allocation:
            check_expression(expression, "allocation must map regular expressions to sparsities")
            if not any(searches(expression, name, "allocation") for name in linears):
                raise ParameterError(
                    f"allocation: {expression!r} fits no linear that is pruned, such as {next(iter(linears))!r}."
                )
        return {name: next((s for e, s in allocation.items() if searches(e, name, "allocation")), sparsity) for name in linears}
    if allocation not in ALLOCATIONS:
        raise unknown("allocation", allocation, ALLOCATIONS, "Or pass a mapping from regular expressions to sparsities.")
    if allocation == "uniform":
        return dict.fromkeys(linears, sparsity)
    return _owl(linears, sparsity, norms)


def _owl(linears, sparsity, norms) -> dict[str, float]:
    """Blocks with a larger share of outliers in |w_ij| · ‖x_j‖ keep more, linearly, within 2 · SPREAD of one another."""
    share = {}
    for block, mine in groupby(linears.items(), lambda item: item[0].split(".")[1]):
        parts = [
            read_weight(m).abs_().mul_(norms[name].to(m.weight.device)) for name, m in mine
        ]  # [rows, columns], one block's
        size = sum(part.numel() for part in parts)
        mean = sum(float(part.sum()) for part in parts) / size
        share[block] = sum(int((part > OUTLIER * mean).count_nonzero()) for part in parts) / size
    low, high = min(share.values()), max(share.values())
    keep = {block: 2 * SPREAD * (s - low) / (high - low) if high > low else 0.0 for block, s in share.items()}
    return {name: min(max(sparsity - keep[name.split(".")[1]] + SPREAD, 0.0), MOST) for name in linears}


def _meet(wishes: dict[str, float], sizes: dict[str, int], sparsity: float) -> dict[str, float]:
    """The wishes moved by one constant, within [0, MOST], so that their mean over weights is the sparsity."""
    total = sum(sizes.values())

    def moved(by: float) -> dict[str, float]:
        return {name: min(max(wish + by, 0.0), max(MOST, wish, sparsity)) for name, wish in wishes.items()}

    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if sum(s * sizes[name] for name, s in moved(middle).items()) < sparsity * total:
            low = middle
        else:
            high = middle
    return moved(high)


def _exact(shares: dict[str, float], sizes: dict[str, int], sparsity: float) -> dict[str, float]:
    """Whole numbers of zeros, round(sparsity · total) together: rounded down, the rest to the largest remainders."""
    counts = {name: int(share * sizes[name] + 1e-9) for name, share in shares.items()}
    missing = round(sparsity * sum(sizes.values())) - sum(counts.values())
    by_remainder = sorted(shares, key=lambda name: counts[name] - shares[name] * sizes[name])
    while missing > 0:
        for name in by_remainder:
            if missing > 0 and counts[name] < sizes[name]:
                counts[name], missing = counts[name] + 1, missing - 1
    return {name: counts[name] / sizes[name] for name in sizes}
