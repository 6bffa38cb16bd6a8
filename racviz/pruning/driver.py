"""Prune a model block by block (the paper's Algorithm 1, and the sequential variant of the SparseGPT reference).

`one-pass`: the moments of every linear come from the dense model's activations. `sequential`: each block is calibrated
on what the pruned blocks before it put out.
"""

import logging
import numbers
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, ParameterError, check, unknown
from racviz.models import LoadedModel
from racviz.models.architecture import length_switch
from racviz.models.checkpoints import check_savable
from racviz.models.conformance import check_tokens
from racviz.processes.threads import sized_threads
from racviz.progress import progress_bar
from racviz.pruning.allocation import Allocation, allocate, needs_norms
from racviz.pruning.blocks import (
    Scope,
    decoder_blocks,
    full_precision,
    read_columns,
    sparsity_of,
    summary,
)
from racviz.pruning.inputs import LinearInputs
from racviz.pruning.interface import Solver
from racviz.pruning.linear import prune_linear
from racviz.pruning.moments import Moment, SecondMoments, block_moments, describe, input_norms, summed_in
from racviz.pruning.patterns import Pattern
from racviz.pruning.solvers import solver_named
from racviz.pruning.solvers.magnitude import unread
from racviz.pruning.stream import batch_tokens_on, open_stream, run_block, visiting
from racviz.pruning.workspace import Workspace
from racviz.store import key_of

MODES = ("one-pass", "sequential")


@sized_threads
def prune(
    dense: LoadedModel, calibration: CalibrationSet | None = None, *, method: str | Solver = "sparsegpt",
    sparsity: float | None = None, pattern: str = "unstructured", allocation: Allocation = "uniform", keep_zeros: bool = False,
    scope: str = "all", thirds: tuple[int, ...] = (1, 2, 3), mode: str = "one-pass", statistics: SecondMoments | None = None,
    prompt_weight: float = 1.0, decode_weight: float = 1.0, precision: str = "float32", workspace: str | Path | None = None,
    device: str | None = None, inplace: bool = False, progress: bool = True,
) -> LoadedModel:  # fmt: skip
    """Prune a model in one shot.

    dense: left untouched unless `inplace=True`. calibration: a calibration set; or, in one-pass mode, `statistics` from
    `second_moments`. method: a solver's name (`magnitude`, `wanda`, `sparsegpt`, `alps`, each also with `+refit`) or a callable
    as `racviz.pruning.interface` says. sparsity: the fraction of zeros in the pruned linears together, in [0, 1); 0.5, or what
    an `n:m` pattern fixes. allocation: how it is shared out over the linears (`uniform`, `owl`, a mapping from regular
    expressions, a callable). keep_zeros: weights that are zero stay so. prompt_weight, decode_weight: H = w_P H_P + w_D H_D.
    workspace: a folder in which hidden states are kept instead of in memory and finished blocks are durable: the same call goes
    on there after it was killed; one run at a time works in it. device: blocks visit it one at a time, for a model that
    does not fit there whole. A checkpoint loaded in its own dtype on a CPU is mapped, not read; with a workspace and
    inplace=True it is pruned in the memory of a block, whatever its size. The weights are solved in fp32 and rounded to the
    dtype that they were loaded in. Embeddings and the head are never touched. The result's `report` has a row a linear:
    sparsity, relative error on the calibration set, seconds, and what the solver says.

    Raises ParameterError for what is not allowed, DataError for tokens that the model does not have, NumericalError (with the
    layer) where the numbers are not finite, StorageError where another run works in the workspace.
    """
    check(isinstance(dense, LoadedModel), "dense", dense, "a model from load_model")
    check_savable(dense)
    solver, shape = solver_named(method), Pattern.parse(pattern, keep_zeros)
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    device = None if device is None else _device(device)
    check(
        sparsity is None or (_is_number(sparsity) and 0 <= sparsity < 1),
        "sparsity",
        sparsity,
        "in [0, 1), the fraction of zeros",
    )
    for name, value in (("prompt_weight", prompt_weight), ("decode_weight", decode_weight)):
        check(_is_number(value) and 0 <= value < float("inf"), name, value, "a number >= 0")
    sparsity = shape.resolve(sparsity)
    _check_calibration(dense, calibration, statistics, mode, precision)
    chosen = Scope(scope, thirds)
    flat = {name: linear for mine in chosen.linears(dense.model).values() for name, linear in mine.items()}
    for name, linear in flat.items():
        if linear.weight.is_meta:
            raise ParameterError(
                f"dense must have its weights in memory; {name} of {dense.name!r} is offloaded by its device map. Load it with "
                "device='cpu' and prune with device='cuda': blocks visit the GPU one at a time."
            )
        shape.check_columns(read_columns(linear), name)
    _warn_of_few_tokens(flat, calibration.tokens if calibration is not None else statistics.calibration["tokens"])
    norms = {}
    if needs_norms(allocation):
        norms = input_norms(dense, calibration, statistics, chosen, (prompt_weight, decode_weight), device)
    shares = allocate(flat, sparsity, allocation, shape, norms)
    parameters = dict(
        method=_named(method), sparsity=sparsity, pattern=str(shape),
        allocation=dict(allocation) if isinstance(allocation, Mapping) else _named(allocation), scope=scope,
        thirds=list(chosen.thirds), mode=mode, precision=precision,
    )  # fmt: skip
    if keep_zeros:
        parameters["keep_zeros"] = True
    if (prompt_weight, decode_weight) != (1.0, 1.0):
        parameters |= dict(prompt_weight=float(prompt_weight), decode_weight=float(decode_weight))
    label = describe(calibration) if calibration is not None else statistics.calibration
    code = "" if isinstance(method, str) else _code_of(method)
    identity = key_of(base=dense.fingerprint, parameters=parameters, code=code, shares=shares, calibration=label["fingerprint"])
    batch = batch_tokens_on(device or dense.device)
    batches = "-".join(str(part) for part in (identity, batch, length_switch(dense.model.config)) if part is not None)
    target = dense if inplace else dense.copy()
    run = _Run(
        target, chosen.linears(target.model), solver, shape, shares, mode, (prompt_weight, decode_weight), precision, device, batch,
    )  # fmt: skip
    try:
        with Workspace(workspace, batches) as kept:
            rows = run.blocks(calibration, statistics, kept, progress)
    except BaseException:
        if inplace and workspace is None:  # part of it is pruned, and it is not the model that it was
            dense.fingerprint = f"{identity}-unfinished"
        raise
    return _finish(dense, target, rows, label, parameters, identity)


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _device(device: object) -> torch.device:
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ParameterError(
            f"device={device!r} is not there ({str(error).splitlines()[0]}); allowed: 'cpu', 'cuda'"
        ) from error
    check(found.type != "meta", "device", device, "a device that holds numbers, such as 'cpu' or 'cuda'")
    return found


def _named(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)


def _code_of(function: object) -> str:
    """What a callable does, as far as that can be seen: two that are written differently are two solvers."""
    inner = function if hasattr(function, "__code__") else type(function).__call__
    inner = inner if hasattr(inner, "__code__") else function
    code = getattr(inner, "__code__", None)
    parts = [getattr(inner, "__defaults__", None), [c.cell_contents for c in getattr(inner, "__closure__", None) or ()]]
    parts += [code.co_code, code.co_names, [repr(c).split(" at 0x")[0] for c in code.co_consts]] if code else []
    return repr([*parts, vars(function) if inner is not function else None, repr(function).split(" at 0x")[0]])


def _check_calibration(dense, calibration, statistics, mode, precision) -> None:
    if (calibration is None) == (statistics is None):
        raise ParameterError("pass either a calibration set or statistics=second_moments(…), not both and not neither")
    if statistics is not None:
        if mode == "sequential":
            raise ParameterError("statistics are of the dense model; mode='sequential' needs the calibration set itself")
        check(isinstance(statistics, SecondMoments), "statistics", type(statistics).__name__, "what second_moments() returns")
        kept = {m.dtype for m in statistics.by_linear.values()}
        if precision != "float32" and kept != {summed_in(precision)}:
            raise ParameterError(f"precision={precision!r}, but the statistics were summed in {kept}; say it to second_moments")
        if statistics.model_fingerprint != dense.fingerprint:
            raise ParameterError("these statistics are of another model; compute them with second_moments(dense, calibration)")
        return
    check(isinstance(calibration, CalibrationSet), "calibration", type(calibration).__name__, "a CalibrationSet")
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


def _warn_of_few_tokens(linears, tokens: int) -> None:
    columns, name = max((read_columns(linear), name) for name, linear in linears.items())
    if tokens < columns:
        warnings.warn(
            f"{tokens} calibration tokens are fewer than the {columns} columns of {name}: its second moment is singular, and only "
            "the damping makes it solvable. Take several times as many tokens as columns.",
            stacklevel=3,
        )


class _Run:
    """One pruning run: what all blocks have in common."""

    def __init__(self, target, linears, solver, pattern, shares, mode, weights, precision, device, batch) -> None:
        self.target, self.linears, self.solver, self.pattern = target, linears, solver, pattern
        self.shares, self.mode, self.weights, self.dtype = shares, mode, weights, summed_in(precision)
        self.device, self.batch_tokens = device, batch

    def blocks(self, calibration, statistics, workspace: Workspace, progress: bool) -> list[dict[str, Any]]:
        """Prune block after block; returns the rows of the report."""
        _, blocks = decoder_blocks(self.target.model)
        last = max(self.linears)
        bar = progress_bar(total=len(self.shares), desc="prune", unit="linear", shown=progress)
        logging.getLogger("racviz").info("to prune: %s", summary(self.shares))
        if progress and sys.stderr.isatty():  # not into the pages of reports
            bar.write(f"to prune: {summary(self.shares)}", file=sys.stderr)
        with bar, full_precision():
            done = workspace.restore(blocks)
            bar.update(len(workspace.rows))
            stream = None
            if calibration is not None and done <= last:
                stream = open_stream(self.target, calibration, self.batch_tokens, folder=workspace.folder, block=done)
            for index in range(done, last + 1):
                with visiting(blocks[index], self.device):
                    new = self._block(index, blocks[index], stream, statistics, bar)
                workspace.keep(index, blocks[index], new)
                if stream is not None:
                    stream.hidden.drop(until=index)
        workspace.finished()
        return workspace.rows

    def _block(self, index, block, stream, statistics, bar) -> list[dict[str, Any]]:
        """Prune one block and, in sequential mode, run it anew."""
        mine = self.linears.get(index, {})
        was = {linear: linear.weight.data for linear in mine.values()}
        try:
            return self._pruned_block(index, block, mine, stream, statistics, bar)
        except BaseException:  # a block is pruned whole or not at all: the same call may go on from here
            for linear, weight in was.items():
                linear.weight.data = weight
            raise

    def _pruned_block(self, index, block, mine, stream, statistics, bar) -> list[dict[str, Any]]:
        on = index < max(self.linears)  # what the last block puts out nobody reads
        if stream is None:
            moments = {name: statistics.of(name) for name in mine}
        elif mine:
            moments = block_moments(block, index, mine, stream, keep=on and self.mode == "one-pass", dtype=self.dtype)
        kept = None if stream is not None else statistics
        rows = list(self._solve(mine, moments, kept, bar)) if mine else []
        if stream is not None and on and (self.mode == "sequential" or not mine):
            run_block(block, index, stream, keep=True)
        return rows

    def _solve(self, linears, moments, statistics, bar) -> Iterator[dict[str, Any]]:
        """Prune the linears of one block, those with the same input one after the other, so that one factor is held at a time."""
        groups: dict[int, list[str]] = {}
        for name in linears:
            if name not in moments:
                kind = type(self.target.model).__name__
                raise ParameterError(f"no token reaches {name} of {kind} on this calibration set; leave it out by scope=…")
            groups.setdefault(id(moments[name]), []).append(name)
        for names in groups.values():
            moment = moments[names[0]]
            if statistics is not None:
                inputs = statistics.inputs_of(names[0], self.weights)
            else:
                inputs = LinearInputs(moment.mixed(*self.weights).float(), names[0])
            solver = self.solver
            if inputs.dead.all():
                _check_tokens_counted(names[0], moment, self.weights)
                solver = unread  # every input was zero: the moment ranks no weight above another
            for name in names:
                yield prune_linear(name, linears[name], inputs, solver, self.pattern, self.shares[name])
                bar.update()


def _check_tokens_counted(name: str, moment: Moment, weights: tuple[float, float]) -> None:
    """Raise ParameterError where a moment is zero because no token counts, not because the inputs were zero."""
    if not any(tokens and weight for tokens, weight in zip(moment.tokens, weights, strict=True)):
        raise ParameterError(
            f"the second moment of {name} is zero: it saw {moment.tokens[0]} prompt and {moment.tokens[1]} decode tokens, "
            f"weighted {weights[0]:g} and {weights[1]:g}; choose weights or a calibration set that leave some"
        )


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
