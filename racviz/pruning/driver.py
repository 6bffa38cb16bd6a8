"""Prune a model block by block (the paper's Algorithm 1, and the sequential variant of the SparseGPT reference).

`one-pass`: the moments of every linear come from the dense model's activations. `sequential`: each block is calibrated
on what the pruned blocks before it put out.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

from racviz.calibration import CalibrationSet
from racviz.exceptions import check, unknown
from racviz.models import LoadedModel
from racviz.models.architecture import length_switch
from racviz.models.checkpoints import check_savable
from racviz.processes.threads import sized_threads
from racviz.pruning.allocation import Allocation, allocate, needs_norms
from racviz.pruning.blocks import Scope, sparsity_of
from racviz.pruning.checks import (
    check_calibration,
    check_linears,
    code_of,
    device_named,
    is_number,
    name_of,
    warn_of_few_tokens,
)
from racviz.pruning.interface import Solver
from racviz.pruning.moments import SecondMoments, describe, input_norms, summed_in
from racviz.pruning.patterns import Pattern
from racviz.pruning.run import Run
from racviz.pruning.solvers import solver_named
from racviz.pruning.stream import batch_tokens_on
from racviz.pruning.workspace import Workspace
from racviz.store import key_of

MODES = ("one-pass", "sequential")


@sized_threads
def prune(
    dense: LoadedModel, calibration: CalibrationSet | None = None, *, method: str | Solver = "sparsegpt",
    sparsity: float | None = None, pattern: str = "unstructured", allocation: Allocation = "uniform", keep_zeros: bool = False,
    scope: str = "all", thirds: tuple[int, ...] = (1, 2, 3), mode: str = "one-pass", moments: SecondMoments | None = None,
    prompt_weight: float = 1.0, decode_weight: float = 1.0, precision: str = "float32", workspace: str | Path | None = None,
    device: str | None = None, inplace: bool = False, progress: bool = True,
    statistics: SecondMoments | None = None,
) -> LoadedModel:  # fmt: skip
    """Prune a model in one shot. Embeddings and the head are never touched.

    Weights are solved in fp32 and rounded to the dtype that they were loaded in. A checkpoint
    loaded in its own dtype on a CPU is mapped, not read; with a workspace and `inplace=True` it is
    pruned in the memory of a block, whatever its size.

    Parameters
    ----------
    dense : LoadedModel
        The model to prune; unchanged unless `inplace=True`.
    calibration : CalibrationSet, optional
        Calibration tokens; exactly one of `calibration` and `moments` is given.
    method : str or callable, default "sparsegpt"
        `magnitude`, `wanda`, `sparsegpt` or `alps`, each also with `+refit`, or a solver with the
        contract of `racviz.pruning.interface`.
    sparsity : float, optional
        Fraction of zeros in the pruned linears together, in [0, 1). By default 0.5, or that of an
        n:m pattern.
    pattern : str, default "unstructured"
        `unstructured`, or `n:m` for n zeros in every m neighbouring columns of a row.
    allocation : str, mapping or callable, default "uniform"
        Sparsity by linear: `uniform`, `owl`, a mapping from regular expressions, or a callable.
    keep_zeros : bool, default False
        Keep weights at zero that are zero already.
    scope : str, default "all"
        `all` linears of the decoder, `mlp`, or a regular expression on their names.
    thirds : tuple of int, default (1, 2, 3)
        Thirds of the depth to prune.
    mode : str, default "one-pass"
        `one-pass` (moments of the dense model) or `sequential` (block by block on the pruned one).
    moments : SecondMoments, optional
        In one-pass mode, in place of `calibration`.
    prompt_weight, decode_weight : float, default 1.0
        w_P and w_D in H = w_P H_P + w_D H_D.
    precision : str, default "float32"
        Precision of the sums of second moments: `float32` or `float64`.
    workspace : str or Path, optional
        Folder for hidden states and finished blocks. The same call resumes there; one run at a
        time works in it.
    device : str, optional
        Device that blocks visit one at a time, for a model that does not fit there whole.
    inplace : bool, default False
        Change `dense` itself.
    progress : bool, default True
        Show a bar.
    statistics : SecondMoments, optional
        Former name of `moments`, for one release.

    Returns
    -------
    LoadedModel
        The pruned model. Its `report` has a row a linear: sparsity, relative error on the
        calibration set, seconds, and the solver's details.

    Raises
    ------
    ParameterError
        For a setting outside of its range.
    DataError
        For tokens that the model does not embed.
    NumericalError
        For numbers that are not finite; names the layer.
    StorageError
        For a workspace in use by another run.

    References
    ----------
    SparseGPT (arXiv 2301.00774), Wanda (2306.11695), ALPS (2406.07831), OWL (2310.05175).

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> problems = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=problems, tokens=1024)
    >>> pruned = rv.prune(dense, prompt, sparsity=0.5, progress=False)
    >>> round(pruned.provenance["sparsity"], 3), len(pruned.report)
    (0.5, 28)
    """
    if statistics is not None:
        warnings.warn(
            "prune(statistics=…) is now prune(moments=…); the old name goes with the next release.",
            DeprecationWarning,
            stacklevel=3,
        )
        check(moments is None, "statistics", "a value", "left out where moments is given")
        moments = statistics
    check(isinstance(dense, LoadedModel), "dense", dense, "a model from load_model")
    check_savable(dense)
    solver, shape = solver_named(method), Pattern.parse(pattern, keep_zeros)
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    place = None if device is None else device_named(device)
    allowed = sparsity is None or (is_number(sparsity) and 0 <= sparsity < 1)
    check(allowed, "sparsity", sparsity, "in [0, 1), the fraction of zeros")
    weights = (prompt_weight, decode_weight)
    for name, value in zip(("prompt_weight", "decode_weight"), weights, strict=True):
        check(is_number(value) and 0 <= value < float("inf"), name, value, "a number >= 0")
    sparsity = shape.resolve(sparsity)
    check_calibration(dense, calibration, moments, mode, precision)
    chosen = Scope(scope, thirds)
    flat = {name: linear for mine in chosen.linears(dense.model).values() for name, linear in mine.items()}
    check_linears(flat, shape, dense.name)
    label = describe(calibration) if calibration is not None else moments.calibration  # type: ignore[union-attr]  # one is given
    warn_of_few_tokens(flat, label["tokens"])
    norms = input_norms(dense, calibration, moments, chosen, weights, place) if needs_norms(allocation) else {}
    shares = allocate(flat, sparsity, allocation, shape, norms)
    parameters = dict(
        method=name_of(method), sparsity=sparsity, pattern=str(shape),
        allocation=dict(allocation) if isinstance(allocation, Mapping) else name_of(allocation), scope=scope,
        thirds=list(chosen.thirds), mode=mode, precision=precision,
    )  # fmt: skip
    if keep_zeros:
        parameters["keep_zeros"] = True
    if weights != (1.0, 1.0):
        parameters |= dict(prompt_weight=float(prompt_weight), decode_weight=float(decode_weight))
    code = "" if isinstance(method, str) else code_of(method)
    identity = key_of(base=dense.fingerprint, parameters=parameters, code=code, shares=shares, calibration=label["fingerprint"])
    batch = batch_tokens_on(place or dense.device)
    batches = "-".join(str(part) for part in (identity, batch, length_switch(dense.model.config)) if part is not None)
    target = dense if inplace else dense.copy()
    run = Run(target, chosen.linears(target.model), solver, shape, shares, mode, weights, summed_in(precision), place, batch)
    try:
        with Workspace(workspace, batches) as kept:
            rows = run.blocks(calibration, moments, kept, progress)
    except BaseException:
        if inplace and workspace is None:  # part of it is pruned, and it is not the model that it was
            dense.fingerprint = f"{identity}-unfinished"
        raise
    return _finish(dense, target, rows, label, parameters, identity)


def _finish(dense, target, rows, label, parameters, identity) -> LoadedModel:
    import pandas as pd

    from racviz import __version__

    own, all_ = sparsity_of(target.model, [row["layer"] for row in rows])
    base, of = dense.provenance.get("base", dense.name), dense.fingerprint
    problems = sorted({*label["problems"], *dense.calibrated_on})
    target.provenance = {
        "racviz": __version__, "base": base, "base_fingerprint": of, "prune": parameters,
        "calibration": {**label, "problems": problems}, "sparsity": own, "sparsity_all": all_, "linears": len(rows),
    }  # fmt: skip
    target.fingerprint, target.folder = identity, None
    target.name = f"{base} · {label['source']} · {parameters['method']} {parameters['sparsity']:.0%}"
    target.report = pd.DataFrame(rows)
    return target
