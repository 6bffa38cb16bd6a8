"""Second moments of the inputs of linears, per distinct input and per phase, block by block.

H = sum over calibration tokens of w x xᵀ, `[columns, columns]`. Linears that read the same tensor (q/k/v, gate/up) share one.
Blocks run one after the other on the hidden states of all calibration tokens, which are all that is kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, NumericalError, ParameterError, unknown
from racviz.models import LoadedModel
from racviz.processes.threads import sized_threads
from racviz.pruning.blocks import Scope, decoder_blocks, full_precision
from racviz.pruning.inputs import LinearInputs
from racviz.pruning.moment import Moment
from racviz.pruning.stream import EnoughSeen, Stream, open_stream, run_block, visiting
from racviz.sources import DECODE, PROMPT
from racviz.store.files import regular_file
from racviz.store.kinds import MomentsLabel
from racviz.store.schemas import checked, loaded_json

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


@dataclass
class SecondMoments:
    """Second moments of a dense model's linears on one calibration set, for any sparsity in one-pass mode.

    Made by `second_moments`; `save` and `load` write and read safetensors.

    Attributes
    ----------
    by_linear : dict of str to Moment
        By the linear's name. Linears with the same input share one `Moment`.
    model_fingerprint : str
        Fingerprint of the dense model.
    calibration : dict
        Label, fingerprint and problems of the calibration set.
    keep_factors : bool, default False
        Keep the factors of each moment for the next sparsity; they take twice its memory.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> problems = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=problems, tokens=1024)
    >>> moments = rv.second_moments(dense, prompt)
    >>> pruned = [rv.prune(dense, moments=moments, sparsity=s, progress=False) for s in (0.4, 0.6)]
    >>> [round(model.provenance["sparsity"], 3) for model in pruned]
    [0.4, 0.6]
    """

    by_linear: dict[str, Moment] = field(repr=False)
    """Linears with the same input hold the same `Moment` object."""
    model_fingerprint: str
    calibration: dict[str, Any]
    """Label, fingerprint and problems of the calibration set."""
    keep_factors: bool = False
    """Hold what solvers compute from each moment (as large as the moments, twice) for the next sparsity, pattern or method."""
    _inputs: dict[Any, LinearInputs] = field(default_factory=dict, init=False, repr=False)

    def inputs_of(self, name: str, weights: tuple[float, float]) -> LinearInputs:
        """Solver inputs of a linear, with prompt and decode tokens weighted as given."""
        key = (id(self.of(name)), weights)
        made = self._inputs.get(key) or LinearInputs(self.of(name).mixed(*weights).float(), name)
        if self.keep_factors:
            self._inputs[key] = made
        return made

    def of(self, name: str) -> Moment:
        """The moment of a linear. Raises ParameterError where there is none."""
        if name not in self.by_linear:
            raise ParameterError(f"the moments hold nothing for {name}; compute them with the same scope and thirds")
        return self.by_linear[name]

    def save(self, path: str | Path) -> None:
        """Write safetensors; shared moments once."""
        import json

        from safetensors.torch import save_file

        from racviz.store import atomic

        owners: dict[int, str] = {}
        groups = {name: owners.setdefault(id(moment), name) for name, moment in self.by_linear.items()}
        tensors: dict[str, torch.Tensor] = {}
        tokens: dict[str, list[int]] = {}
        for name in set(groups.values()):
            moment = self.by_linear[name]
            tensors |= {f"{name}|{phase}": total for phase, total in moment.sums.items()}
            tokens[name] = moment.tokens
        meta = {"groups": groups, "tokens": tokens, "model": self.model_fingerprint, "calibration": self.calibration}
        with atomic(Path(path)) as temporary:
            save_file(tensors, temporary, {"racviz": json.dumps(meta)})

    @classmethod
    def load(cls, path: str | Path) -> "SecondMoments":
        """Read what `save` wrote. Raises DataError for a file that is damaged or something else."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(regular_file(path), "pt") as file:
                meta = loaded_json((file.metadata() or {}).get("racviz", "{}"), path)
                checked(meta, MomentsLabel, path, field="the label")
                moments = {name: _read(file, name, meta["tokens"].get(name), path) for name in set(meta["groups"].values())}
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} is no file of second moments, or was cut off: {error}") from error
        return cls({name: moments[owner] for name, owner in meta["groups"].items()}, meta["model"], meta["calibration"])


def _read(file: Any, name: str, tokens: list[int] | None, path: str | Path) -> Moment:
    """The moment of a linear in an open file. Raises DataError for sums that are missing or of no square shape."""
    held = set(file.keys())
    sums = {phase: file.get_tensor(key) for phase in (PROMPT, DECODE) if (key := f"{name}|{phase}") in held}
    first = next(iter(sums.values()), torch.empty(0, 0, 0))
    square = first.dim() in (1, 2) and len(set(first.shape)) == 1
    if tokens is None or not square or any(total.shape != first.shape for total in sums.values()):
        raise DataError(f"{path} lacks the sums of {name}, or holds some of another shape; compute them anew.")
    moment = Moment(len(first), first.dtype, diagonal=first.dim() == 1)
    moment.sums, moment.tokens = sums, list(tokens)
    return moment


def block_moments(
    block: nn.Module, index: int, linears: Mapping[str, nn.Module], stream: Stream, keep: bool, dtype: torch.dtype = torch.float32,
    diagonal: bool = False,
) -> dict[str, Moment]:  # fmt: skip
    """The moments of a block's linears on the stream, one per distinct input; with `keep` the stream moves on."""
    moments: dict[str, Moment] = {}
    seen: dict[int, tuple[torch.Tensor, Moment]] = {}  # the tensor is held, so that its id stays its own
    at, waiting = 0, set(linears)

    def note(batch: int) -> None:
        nonlocal at, waiting
        at, waiting = batch, set(linears)
        seen.clear()

    def hook(name: str):
        def add(module, args):
            x = args[0]
            if id(x) in seen:  # another linear has read this very tensor
                moments.setdefault(name, seen[id(x)][1])
            else:
                if name not in moments:
                    moments[name] = Moment(x.shape[-1], dtype, x.device, diagonal)
                seen[id(x)] = (x, moments[name])
                _accumulate(moments[name], x, stream, at, name)
            waiting.discard(name)
            if not (waiting or keep):
                raise EnoughSeen

        return add

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in linears.items()]
    try:
        with full_precision():
            run_block(block, index, stream, keep, note)
    finally:
        for handle in handles:
            handle.remove()
    for moment in {id(m): m for m in moments.values()}.values():
        moment.finish()
    return moments


def _accumulate(moment: Moment, x: torch.Tensor, stream: Stream, batch: int, name: str) -> None:
    """H_phase += (√w x)(√w x)ᵀ over the real tokens of one batch; x `[B, T, columns]`, or `[B·T, columns]` as OPT has it."""
    weights = stream.weights[batch]
    if x.shape[:-1].numel() != weights.numel():
        raise ParameterError(
            f"{name} sees {x.shape[:-1].numel()} of {weights.numel()} tokens, as a routed expert does; leave it out by scope=…"
        )
    x = x.reshape(*weights.shape, -1)
    for phase in (PROMPT, DECODE):
        chosen = stream.real[batch] & (stream.phases[batch] == phase)  # [B, T]
        rows = x.flatten(0, 1) if chosen.all() else x[chosen.to(x.device)]  # [tokens, columns]
        if not (weights[chosen] == 1).all():
            rows = rows.float() * weights[chosen].sqrt()[:, None].to(x.device)
        moment.add(phase, rows)
        if len(rows) and not torch.isfinite(moment.squares(phase)).all():
            bad = (~torch.isfinite(rows.float().square()).all(1)).nonzero()
            where = chosen.nonzero()[int(bad[0])].tolist() if len(bad) else ["(all together)"] * 2
            raise NumericalError(
                f"the activations that enter {name} are not finite, first at token {where[1]} of row {where[0]} of batch {batch}; "
                "check the weights up to that layer"
            )


def moments_by_block(
    dense: LoadedModel, calibration: CalibrationSet, scope: Scope, dtype: torch.dtype = torch.float32, diagonal: bool = False,
    device: torch.device | str | None = None,
) -> Iterator[tuple[int, dict[str, Moment]]]:  # fmt: skip
    """The moments of the dense model's linears, one block of them at a time, with the index of the block."""
    linears, stream = scope.linears(dense.model), open_stream(dense, calibration)
    for index, block in enumerate(decoder_blocks(dense.model)[1][: max(linears) + 1]):
        with visiting(block, device):
            moments = block_moments(
                block, index, linears.get(index, {}), stream, keep=index < max(linears), dtype=dtype, diagonal=diagonal
            )
        yield index, moments


@sized_threads
def second_moments(
    dense: LoadedModel, calibration: CalibrationSet, *, scope: str = "all", thirds: tuple[int, ...] = (1, 2, 3),
    precision: str = "float32",
) -> SecondMoments:  # fmt: skip
    """Sum the second moments H = Σ x xᵀ of the dense model's inputs on a calibration set.

    Reusable: `prune(dense, moments=moments, …)` in one-pass mode, at any sparsity and any
    weights of the two phases.

    Parameters
    ----------
    dense : LoadedModel
        The dense model.
    calibration : CalibrationSet
        Its tokens.
    scope : str, default "all"
        `all` linears of the decoder, `mlp`, or a regular expression on their names.
    thirds : tuple of int, default (1, 2, 3)
        Thirds of the depth.
    precision : str, default "float32"
        Precision of the sums: `float32` or `float64`.

    Returns
    -------
    SecondMoments
        A matrix `[columns, columns]` for each distinct input and phase.

    Raises
    ------
    ParameterError
        For an unknown scope or precision.

    References
    ----------
    Phase I of Algorithm 1, arXiv 2509.12464.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> problems = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=problems, tokens=1024)
    >>> moments = rv.second_moments(dense, prompt)
    >>> moment = moments.of("layers.0.self_attn.q_proj")
    >>> moment.prompt.shape[0] == moment.prompt.shape[1]
    True
    """
    dtype = summed_in(precision)
    found: dict[str, Moment] = {}
    for _, moments in moments_by_block(dense, calibration, Scope(scope, thirds), dtype):
        found |= moments
    return SecondMoments(found, dense.fingerprint, describe(calibration))


def input_norms(
    dense: LoadedModel, calibration: CalibrationSet | None, moments: SecondMoments | None, scope: Scope,
    weights: tuple[float, float] = (1.0, 1.0), device: torch.device | str | None = None,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """‖x_j‖ `[columns]` of the dense model's inputs, by linear: from second moments, or from a pass over the calibration set."""
    if moments is not None:
        return {name: moments.of(name).norms(weights) for mine in scope.linears(dense.model).values() for name in mine}
    assert calibration is not None  # one of the two is given
    norms: dict[str, torch.Tensor] = {}
    for _, by_linear in moments_by_block(dense, calibration, scope, diagonal=True, device=device):
        norms |= {name: moment.norms(weights) for name, moment in by_linear.items()}
    return norms


def summed_in(precision: str) -> torch.dtype:
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    return PRECISIONS[precision]


def describe(calibration: CalibrationSet) -> dict[str, Any]:
    own = {"source": calibration.source, "tokens": calibration.tokens}
    return {**calibration.label, **own, "fingerprint": calibration.fingerprint, "problems": list(calibration.problems)}
