"""Prune one linear: run the solver, check what it returned, round it, and say what it did."""

import numbers
import time
from collections.abc import Mapping
from typing import Any

import torch

from racviz.exceptions import NumericalError, ParameterError
from racviz.pruning.blocks import all_finite, read_weight, write_weight
from racviz.pruning.inputs import LinearInputs
from racviz.pruning.interface import Solver
from racviz.pruning.patterns import Pattern


@torch.no_grad()
def prune_linear(
    name: str, linear: torch.nn.Module, inputs: LinearInputs, solver: Solver, pattern: Pattern, sparsity: float
) -> dict[str, Any]:
    """Prune one linear in place; returns its row of the report."""
    began, factored = time.monotonic(), inputs.factor_seconds
    weight = read_weight(linear)  # [rows, columns]
    if not all_finite(weight):
        raise NumericalError(f"the weights of {name} are not finite")
    inputs.moment = inputs.moment.to(weight.device)
    versions = weight._version, inputs.moment._version
    pruned, mask, details = _unpacked(name, solver(weight, inputs, pattern, sparsity))
    if versions != (weight._version, inputs.moment._version):
        raise ParameterError(f"the solver changed the weight or the moment of {name} that it was given; let it work on a copy")
    _check_solved(name, weight, pruned, mask, sparsity, pattern)
    if pruned.is_cuda:
        torch.cuda.synchronize()
    seconds = time.monotonic() - began
    rounded = pruned.to(linear.get_parameter("weight").dtype).float()
    if not all_finite(rounded):
        what = "load the model in float32" if all_finite(pruned) else "the solver made them so"
        raise NumericalError(f"the pruned weights of {name} are not finite in {linear.weight.dtype}; {what}")
    write_weight(linear, rounded)
    factor = inputs.factor_seconds - factored
    own = {
        "layer": name, "rows": weight.shape[0], "columns": weight.shape[1], "sparsity": 1 - int(rounded.count_nonzero()) / rounded.numel(),
        "calibration_error": relative_error(weight, rounded, inputs.moment), "seconds": seconds, "factor_seconds": factor,
    }  # fmt: skip
    return own | {key: value for key, value in details.items() if key not in own}


def _unpacked(name: str, result: object) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    """A solver's result, checked for the right number and kinds of values."""
    kinds = (torch.Tensor, torch.Tensor, Mapping)
    if not (
        isinstance(result, tuple) and len(result) == 3 and all(isinstance(r, k) for r, k in zip(result, kinds, strict=True))
    ):
        got = [type(r).__name__ for r in result] if isinstance(result, tuple) else type(result).__name__
        raise ParameterError(f"the solver returned {got} for {name}; it must return (tensor, mask tensor, dict of details)")
    details = {str(key): value.item() if hasattr(value, "item") else value for key, value in result[2].items()}
    for key, value in details.items():
        if not isinstance(value, numbers.Real | str | None):
            raise ParameterError(
                f"the solver's detail {key!r} of {name} is a {type(value).__name__}; allowed are numbers and text"
            )
    return result[0], result[1], details


def _check_solved(name, weight, pruned, mask, sparsity, pattern) -> None:
    """A solver of one's own may return anything."""
    if pruned.shape != weight.shape or mask.shape != weight.shape or mask.dtype != torch.bool:
        raise ParameterError(
            f"the solver returned weights {tuple(pruned.shape)} and a mask {tuple(mask.shape)} of {mask.dtype} for {name}; both "
            f"must be {tuple(weight.shape)}, the mask bool"
        )
    if ((pruned != 0) & mask).any():
        raise ParameterError(f"the solver left weights of {name} that are not zero where its mask says pruned")
    size, asked = mask.numel(), round(sparsity * mask.numel())
    there = size - int(weight.count_nonzero()) if pattern.keep_zeros else 0
    if not pattern.of and not max(asked, there) - 1 <= (got := int(mask.count_nonzero())) <= max(asked, there) + 1:
        raise ParameterError(
            f"the solver pruned {got / size:.2%} of {name} ({got} weights), asked for was {asked / size:.2%} ({asked})"
        )
    more = int(((pruned == 0) & (weight != 0) & ~mask).count_nonzero())
    if more > 1 + 0.001 * size:
        raise ParameterError(f"the solver set {more} weights of {name} to zero that its mask keeps")
    if pattern.of and (mask.view(len(mask), -1, pattern.of).sum(-1) < pattern.zeros).any():
        raise ParameterError(f"the solver's mask of {name} does not have {pattern.zeros} zeros in every {pattern.of} columns")


def relative_error(weight: torch.Tensor, pruned: torch.Tensor, moment: torch.Tensor) -> float:
    """‖(W − Ŵ)X‖²_F / ‖WX‖²_F from H = XXᵀ: tr(Δ H Δᵀ) / tr(W H Wᵀ)."""
    whole = energy(weight, moment)
    return energy(weight - pruned, moment) / whole if whole > 0 else 0.0


def energy(weight: torch.Tensor, moment: torch.Tensor, width: int = 512) -> float:
    """tr(W H Wᵀ), by block columns of which each meets those on its left once for both: half the work of the whole product."""
    total = 0.0
    for start in range(0, len(moment), width):
        mine, rows = weight[:, start : start + width], moment[: start + width, start : start + width]
        met = weight[:, : start + width] @ torch.cat([2 * rows[:start], rows[start:]])  # [rows, width]
        total += float(met.mul_(mine).sum())
    return total
