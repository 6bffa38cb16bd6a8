"""Prune a model block by block (the paper's Algorithm 1, and the sequential variant of the SparseGPT reference).

`one-pass`: the moments of every linear come from the dense model's activations. `sequential`: each block is calibrated
on what the pruned blocks before it put out.
"""

import time
from typing import Any

import torch

from racviz.calibration import CalibrationSet
from racviz.errors import NumericalError, ParameterError, check, unknown
from racviz.models import LoadedModel
from racviz.pruning.blocks import Scope, decoder_blocks, sparsity_of
from racviz.pruning.moments import Moment, SecondMoments, block_moments, describe, open_stream, run_block
from racviz.pruning.sparsegpt import sparsegpt
from racviz.store import key_of

METHODS = ("sparsegpt",)
PATTERNS = ("unstructured",)
MODES = ("one-pass", "sequential")


def prune(
    dense: LoadedModel, calibration: CalibrationSet | None = None, *, method: str = "sparsegpt", sparsity: float = 0.5,
    pattern: str = "unstructured", scope: str = "all", thirds: tuple[int, ...] = (1, 2, 3), mode: str = "one-pass",
    statistics: SecondMoments | None = None, inplace: bool = False, progress: bool = True,
) -> LoadedModel:  # fmt: skip
    """Prune a model in one shot.

    dense: left untouched unless `inplace=True`. calibration: a calibration set; or, in one-pass mode, `statistics` from
    `second_moments`. sparsity: the fraction of zeros in each pruned linear, in [0, 1). The weights are solved in fp32 and
    rounded to the dtype that they were loaded in. Embeddings and the head are never touched. The result's `report` has a
    row a linear: sparsity, relative error on the calibration set, damping, seconds.

    Raises ParameterError for what is not allowed, NumericalError (with the layer) where the numbers are not finite.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if pattern not in PATTERNS:
        raise unknown("pattern", pattern, PATTERNS)
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    check(isinstance(sparsity, int | float) and 0 <= sparsity < 1, "sparsity", sparsity, "in [0, 1), the fraction of zeros")
    if (calibration is None) == (statistics is None):
        raise ParameterError("pass either a calibration set or statistics=second_moments(…), not both and not neither")
    if statistics is not None and mode == "sequential":
        raise ParameterError("statistics are of the dense model; mode='sequential' needs the calibration set itself")
    if statistics is not None and statistics.model_fingerprint != dense.fingerprint:
        raise ParameterError("these statistics are of another model; compute them with second_moments(dense, calibration)")
    chosen = Scope(scope, thirds)
    chosen.linears(dense.model)  # refuse a scope that selects nothing before the model is copied
    target = dense if inplace else dense.copy()
    linears = chosen.linears(target.model)
    rows = _prune_blocks(target, linears, calibration, statistics, sparsity, mode, progress)
    return _finish(dense, target, rows, calibration, statistics, dict(
        method=method, sparsity=float(sparsity), pattern=pattern, scope=scope, thirds=list(chosen.thirds), mode=mode,
    ))  # fmt: skip


def _prune_blocks(target, linears, calibration, statistics, sparsity, mode, progress) -> list[dict[str, Any]]:
    from tqdm.auto import tqdm

    _, blocks = decoder_blocks(target.model)
    stream = open_stream(target, calibration) if calibration is not None else None
    rows: list[dict[str, Any]] = []
    total = sum(map(len, linears.values()))
    with tqdm(total=total, desc=f"prune {sparsity:.0%}", unit="linear", disable=not progress, leave=False) as bar:
        for index in range(max(linears) + 1):
            mine = linears.get(index, {})
            if stream is not None:
                moments = block_moments(blocks[index], index, mine, stream, keep=mode == "one-pass")
            else:
                moments = {name: _held(statistics, name) for name in mine}
            for name, linear in mine.items():
                rows.append(prune_linear(name, linear, moments[name].mixed(), sparsity))
                bar.update()
            if mode == "sequential":
                run_block(blocks[index], index, stream, keep=True)
    return rows


def _held(statistics: SecondMoments, name: str) -> Moment:
    if name not in statistics.by_linear:
        raise ParameterError(f"the statistics hold nothing for {name}; compute them with the same scope and thirds")
    return statistics.by_linear[name]


@torch.inference_mode()
def prune_linear(name: str, linear: torch.nn.Linear, moment: torch.Tensor, sparsity: float) -> dict[str, Any]:
    """Prune one linear in place; returns its row of the report."""
    began = time.monotonic()
    weight = linear.weight.detach().float()  # [rows, columns]
    if not torch.isfinite(weight).all():
        raise NumericalError(f"the weights of {name} are not finite")
    moment = moment.to(weight)
    pruned, _, details = sparsegpt(weight, moment, sparsity, name)
    rounded = pruned.to(linear.weight.dtype)
    if not torch.isfinite(rounded).all():
        raise NumericalError(f"the pruned weights of {name} are not finite in {linear.weight.dtype}; load the model in float32")
    linear.weight.data.copy_(rounded)
    return {
        "layer": name, "rows": weight.shape[0], "columns": weight.shape[1], "sparsity": float((rounded == 0).float().mean()),
        "calibration_error": relative_error(weight, rounded.float(), moment), "seconds": time.monotonic() - began, **details,
    }  # fmt: skip


def relative_error(weight: torch.Tensor, pruned: torch.Tensor, moment: torch.Tensor) -> float:
    """‖(W − Ŵ)X‖²_F / ‖WX‖²_F from H = XXᵀ: tr(Δ H Δᵀ) / tr(W H Wᵀ)."""
    delta = weight - pruned
    whole = ((weight @ moment) * weight).sum()
    return float(((delta @ moment) * delta).sum() / whole) if whole > 0 else 0.0


def _finish(dense, target, rows, calibration, statistics, parameters) -> LoadedModel:
    import pandas as pd

    from racviz import __version__

    label = describe(calibration) if calibration is not None else statistics.calibration
    own, all_ = sparsity_of(target.model, [row["layer"] for row in rows])
    base = dense.provenance.get("base", dense.name)
    problems = sorted({*label["problems"], *dense.calibrated_on})
    target.provenance = {
        "racviz": __version__, "base": base, "base_fingerprint": dense.fingerprint, "prune": parameters,
        "calibration": {**label, "problems": problems}, "sparsity": own, "sparsity_all": all_, "linears": len(rows),
    }  # fmt: skip
    target.fingerprint = key_of(base=dense.fingerprint, parameters=parameters, calibration=label["fingerprint"])
    target.name = f"{base} · {label['source']} · {parameters['method']} {parameters['sparsity']:.0%}"
    target.report = pd.DataFrame(rows)
    return target
