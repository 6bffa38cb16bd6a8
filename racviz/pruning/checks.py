"""Checks of a pruning run's settings and calibration, before any work."""

import numbers
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, ParameterError, check
from racviz.models import LoadedModel
from racviz.models.limits import check_tokens
from racviz.pruning.blocks import read_columns
from racviz.pruning.moments import SecondMoments, summed_in
from racviz.pruning.patterns import Pattern


def is_number(value: object) -> bool:
    """True for a real number that is not True or False."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def device_named(device: Any) -> torch.device:
    """A device of torch. Raises ParameterError for one that is not there."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ParameterError(
            f"device={device!r} is not there ({str(error).splitlines()[0]}); allowed: 'cpu', 'cuda'"
        ) from error
    check(found.type != "meta", "device", device, "a device that holds numbers, such as 'cpu' or 'cuda'")
    return found


def name_of(value: object) -> str:
    """The name of a solver or an allocation."""
    return value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)


def code_of(function: object) -> str:
    """Fingerprint of a callable's code: two that are written differently are two solvers."""
    inner = function if hasattr(function, "__code__") else type(function).__call__
    inner = inner if hasattr(inner, "__code__") else function
    code = getattr(inner, "__code__", None)
    parts = [getattr(inner, "__defaults__", None), [c.cell_contents for c in getattr(inner, "__closure__", None) or ()]]
    parts += [code.co_code, code.co_names, [repr(c).split(" at 0x")[0] for c in code.co_consts]] if code else []
    return repr([*parts, vars(function) if inner is not function else None, repr(function).split(" at 0x")[0]])


def check_calibration(
    dense: LoadedModel, calibration: CalibrationSet | None, moments: SecondMoments | None, mode: str, precision: str
) -> None:
    """Raise an error unless exactly one of a calibration set and second moments is given, and fits the model."""
    if (calibration is None) == (moments is None):
        raise ParameterError("exactly one of calibration and moments must be given; moments are what second_moments(…) returns")
    if moments is not None:
        _check_moments(dense, moments, mode, precision)
        return
    check(isinstance(calibration, CalibrationSet), "calibration", type(calibration).__name__, "a CalibrationSet")
    assert calibration is not None  # for the type checker
    anew = "Make it anew with calibration_set(…, dense)."
    for ids in calibration.sequences:
        check_tokens(dense, ids, f"the calibration set {calibration.source!r}")
    if not any(weights.any() for weights in calibration.weights):
        raise ParameterError(f"every token of the calibration set {calibration.source!r} has weight 0; give some a weight > 0.")
    theirs = calibration.label.get("vocabulary")
    if theirs is not None and theirs != dense.vocabulary:
        raise DataError(
            f"the calibration set {calibration.source!r} was made with the tokenizer of {calibration.label.get('tokenizer')!r}, "
            f"whose vocabulary is not that of {dense.name!r}; its token ids mean something else here. {anew}"
        )
    longest = max(len(s) for s in calibration.sequences)
    if longest > dense.context:
        raise DataError(f"a calibration sequence has {longest} tokens; {dense.name!r} takes {dense.context}. {anew}")


def _check_moments(dense: LoadedModel, moments: SecondMoments, mode: str, precision: str) -> None:
    if mode == "sequential":
        raise ParameterError("moments are of the dense model; mode='sequential' needs the calibration set itself")
    check(isinstance(moments, SecondMoments), "moments", type(moments).__name__, "the result of second_moments()")
    kept = {m.dtype for m in moments.by_linear.values()}
    if precision != "float32" and kept != {summed_in(precision)}:
        raise ParameterError(f"precision={precision!r}, but the moments were summed in {kept}; say it to second_moments")
    if moments.model_fingerprint != dense.fingerprint:
        raise ParameterError("these moments are of a different model; compute them with second_moments(dense, calibration)")


def warn_of_few_tokens(linears: Mapping[str, nn.Module], tokens: int) -> None:
    columns, name = max((read_columns(linear), name) for name, linear in linears.items())
    if tokens < columns:
        warnings.warn(
            f"{tokens} calibration tokens are fewer than the {columns} columns of {name}: its second moment is singular, and only "
            "the damping makes it solvable. Take several times as many tokens as columns.",
            stacklevel=3,
        )


def check_linears(linears: Mapping[str, nn.Module], pattern: Pattern, name: str) -> None:
    """Raise ParameterError for weights that are not in memory, or columns that the pattern does not divide."""
    for layer, linear in linears.items():
        if linear.get_parameter("weight").is_meta:
            raise ParameterError(
                f"dense must have its weights in memory; {layer} of {name!r} is offloaded by its device map. Load it with "
                "device='cpu' and prune with device='cuda': blocks visit the GPU one at a time."
            )
        pattern.check_columns(read_columns(linear), layer)
