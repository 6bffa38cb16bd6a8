"""Reconstruction errors, token by token along the dense model's greedy rollouts.

The tokenwise error is the paper's, of Figure 2: e_t = ‖x_dense,t − x_pruned,t‖₂ of the last hidden state on a shared,
teacher-forced sequence (prompt + the dense model's greedy output); the ratio is r_t = e_t(numerator) / e_t(denominator).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from racviz.exceptions import DataError, NumericalError, OverlapError, ParameterError, check, unknown
from racviz.metrics import METRICS, Metric
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.models.architecture import length_switch
from racviz.models.conformance import check_right_padding
from racviz.models.limits import check_length, check_tokens, pad_id
from racviz.processes.threads import sized_threads
from racviz.progress import progress_bar
from racviz.pruning.blocks import decoder_blocks
from racviz.pruning.stream import batch_tokens_on, batches_by_length
from racviz.store.kinds import ERRORS, ErrorsLabel
from racviz.store.parquet import read_parquet, write_parquet
from racviz.traces import Trace, Traces


@dataclass(frozen=True)
class ReconstructionErrors:
    """Tokenwise errors of several pruned models on the same rollouts.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row a token: problem_id, position (from 0), token_id, token, phase (`prompt` or
        `decode`), norm_dense, and e_<name> for each pruned model. The unit of e is that of the
        metric: a Euclidean norm (`hidden`), nats (`kl`), or 0 and 1 (`top1`).
    label : dict
        Provenance: model, metric, layer and the settings that all pruned models share.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> train = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=train, tokens=1024)
    >>> sparsities = {"0.3": 0.3, "0.6": 0.6}
    >>> pruned = {k: rv.prune(dense, prompt, sparsity=s, progress=False) for k, s in sparsities.items()}
    >>> test = rv.load_problems("arithmetic", split="test", limit=2)
    >>> greedy = rv.Sampling(max_new_tokens=16, temperature=0.0)
    >>> rollouts = rv.generate_traces(dense, test, greedy, progress=False)
    >>> errors = rv.reconstruction_errors(dense, pruned, rollouts, progress=False)
    >>> errors.names
    ['0.3', '0.6']
    >>> bool(errors.ratio("0.6", "0.3")["ratio"].median() > 1)
    True
    """

    frame: Any = field(repr=False)
    label: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [column[2:] for column in self.frame if column.startswith("e_")]

    def to_frame(self):
        return self.frame

    def ratio(self, numerator: str, denominator: str):
        """Tidy frame: problem_id, position, token_id, token, phase, ratio = e_numerator / e_denominator (NaN for 0/0)."""
        for parameter, name in (("numerator", numerator), ("denominator", denominator)):
            if name not in self.names:
                raise unknown(parameter, name, self.names)
        out = self.frame[["problem_id", "position", "token_id", "token", "phase"]].copy()
        top, bottom = self.frame[f"e_{numerator}"], self.frame[f"e_{denominator}"]
        out["ratio"] = (top / bottom.where(bottom > 0)).astype("float64")
        return out

    def save(self, path: str | Path) -> None:
        write_parquet(Path(path), self.frame, self.label)

    @classmethod
    def load(cls, path: str | Path) -> "ReconstructionErrors":
        frame, label = read_parquet(Path(path), ERRORS, ErrorsLabel)
        return cls(frame, label)


def refuse_overlap(models: dict[str, LoadedModel], hashes: Sequence[str], ids: Sequence[str], allow: bool) -> None:
    """Raise OverlapError where one of the problems calibrated one of the models."""
    for name, loaded in models.items():
        shared = [i for i, content in zip(ids, hashes, strict=True) if content in loaded.calibrated_on]
        if shared and not allow:
            raise OverlapError(
                f"{len(shared)} of the test problems calibrated the model {name!r} (first: {shared[0]!r}); a model is not judged "
                "on what calibrated it. Take other problems (in Python, allow_overlap=True measures it all the same; say so)."
            )


Pruned = LoadedModel | Callable[[], LoadedModel]
"""A pruned model, or a function that loads it when its turn comes, so that no two need to be in memory at once."""


@sized_threads
def reconstruction_errors(
    dense: LoadedModel, pruned: Mapping[str, Pruned], rollouts: Traces, *, metric: str = "hidden", layer: str | int = "final",
    batch_tokens: int | None = None, allow_overlap: bool = False, progress: bool = True,
) -> ReconstructionErrors:  # fmt: skip
    """Measure e_t = ‖x_dense,t − x_pruned,t‖₂ of each pruned model along the rollouts.

    The dense model reads the rollouts once for all models in memory, and once more for each model
    that is loaded by a function.

    Parameters
    ----------
    dense : LoadedModel
        The dense model.
    pruned : mapping of str to LoadedModel or callable
        Models by name, or functions that load them, so that no two need to be in memory at once.
    rollouts : Traces
        Greedy traces of the dense model on test problems.
    metric : str, default "hidden"
        `hidden` (the paper's), `kl` (KL(dense ‖ pruned) of the next-token distributions, in nats)
        or `top1` (1 where the most likely next token differs).
    layer : str or int, default "final"
        For `hidden`: `final` (after the final norm, the paper's x_t), `last` (before it), or the
        index of a block.
    batch_tokens : int, optional
        Tokens at a time, which bound the memory; 2,048 on a CPU and 8,192 elsewhere by default.
    allow_overlap : bool, default False
        Accept rollouts on problems that calibrated a model.
    progress : bool, default True
        Show a bar.

    Returns
    -------
    ReconstructionErrors
        A row a token.

    Raises
    ------
    OverlapError
        For a rollout on a problem that calibrated a model.
    DataError
        For rollouts of another tokenizer, or longer than the context.
    NumericalError
        For hidden states that are not finite.
    ParameterError
        For an unknown metric or layer, or no models.

    References
    ----------
    Figure 2 of arXiv 2509.12464.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> train = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=train, tokens=1024)
    >>> sparsities = {"0.3": 0.3, "0.6": 0.6}
    >>> pruned = {k: rv.prune(dense, prompt, sparsity=s, progress=False) for k, s in sparsities.items()}
    >>> test = rv.load_problems("arithmetic", split="test", limit=2)
    >>> greedy = rv.Sampling(max_new_tokens=16, temperature=0.0)
    >>> rollouts = rv.generate_traces(dense, test, greedy, progress=False)
    >>> errors = rv.reconstruction_errors(dense, pruned, rollouts, progress=False)
    >>> medians = errors.frame[["e_0.3", "e_0.6"]].median()
    >>> bool(medians["e_0.3"] < medians["e_0.6"])
    True
    """
    kind = METRICS.named(metric)
    if not pruned:
        raise ParameterError("pruned must hold at least one model: {'rac': model, …}")
    depth = len(decoder_blocks(dense.model)[1])
    ok = layer in ("final", "last") or (isinstance(layer, int) and 0 <= layer < depth)
    check(ok, "layer", layer, f"'final', 'last' or the index of a block, 0 to {depth - 1}")
    if rollouts.tokenizer != tokenizer_fingerprint(dense.tokenizer):
        raise DataError(f"the rollouts were made with another tokenizer (by {rollouts.model!r}) than that of {dense.name!r}.")
    here = {name: model for name, model in pruned.items() if isinstance(model, LoadedModel)}
    turns: list[Mapping[str, Pruned]] = [here] * bool(here) + [
        {name: model} for name, model in pruned.items() if name not in here
    ]
    _check_pruned(dense, here, rollouts, allow_overlap)
    check_rollouts(dense, rollouts)
    check_right_padding(dense)
    batch_tokens = batch_tokens or batch_tokens_on(dense.device)
    lengths = list(map(len, rollouts))
    batches = list(batches_by_length(lengths, batch_tokens, length_switch(dense.model.config)))
    pieces: dict[int, dict[str, np.ndarray]] = {k: {} for k in range(len(rollouts))}
    labels: dict[str, dict[str, Any]] = {}
    with progress_bar(total=len(rollouts) * len(turns), desc="errors", unit="rollout", shown=progress) as bar:
        for turn in turns:
            models = {name: model if isinstance(model, LoadedModel) else model() for name, model in turn.items()}
            _check_pruned(dense, models, rollouts, allow_overlap)
            labels |= {name: models[name].provenance for name in models}
            for rows in batches:
                ids, mask = _padded([rollouts[k] for k in rows], dense)
                reference = _states(kind, dense, ids, layer)
                columns = {"norm_dense": reference.float().norm(dim=-1)}  # [B, T]
                for name in models:
                    states = _states(kind, models[name], ids.to(models[name].device), layer)
                    columns[f"e_{name}"] = kind.distance(reference, states.to(reference.device))
                for row, k in enumerate(rows):
                    pieces[k] |= {name: values[row, mask[row]].double().cpu().numpy() for name, values in columns.items()}
                    _finite(pieces[k], rollouts[k])
                bar.update(len(rows))
            del models
    label = {"model": dense.name, "metric": metric, "layer": layer, "rollouts": len(rollouts), "rollouts_by": rollouts.model}
    label |= _shared_label({name: labels[name] for name in pruned})
    ordered = {
        k: {column: piece[column] for column in ["norm_dense", *(f"e_{name}" for name in pruned)]}
        for k, piece in pieces.items()
    }
    return ReconstructionErrors(_frame(dense, rollouts, ordered), label)


def _check_pruned(dense: LoadedModel, pruned: dict[str, LoadedModel], rollouts: Traces, allow_overlap: bool) -> None:
    for name, model in pruned.items():
        sizes = [
            (m.model.config.get_text_config().hidden_size, m.model.config.get_text_config().vocab_size) for m in (dense, model)
        ]
        if sizes[0] != sizes[1]:
            raise ParameterError(
                f"pruned[{name!r}] has hidden size and vocabulary {sizes[1]}, the dense model {sizes[0]}; "
                "errors are between a model and a pruned version of the same model."
            )
    refuse_overlap(pruned, [t.content_hash for t in rollouts], [t.problem_id for t in rollouts], allow_overlap)


def check_rollouts(dense: LoadedModel, rollouts: Traces) -> None:
    """Raise DataError for a rollout that the dense model cannot read: a token that it does not embed, or more than its context."""
    for trace in rollouts:
        where = f"the rollout of problem {trace.problem_id!r}"
        check_tokens(dense, trace.ids, where)
        check_length(dense, len(trace), where)


def _shared_label(made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Provenance shared by all pruned models: method, sparsity, mode, calibration tokens."""
    label: dict[str, Any] = {}
    for key in ("method", "sparsity", "pattern", "mode", "scope"):
        values = {str(each.get("prune", {}).get(key)): each.get("prune", {}).get(key) for each in made.values()}
        if len(values) == 1:
            label[key] = next(iter(values.values()))
    label["calibration_tokens"] = {name: each.get("calibration", {}).get("tokens") for name, each in made.items()}
    return label


def _padded(traces: list[Trace], loaded: LoadedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids `[B, T]` and the mask of real tokens; causal attention never sees the padding."""
    longest = max(map(len, traces))
    ids = torch.full((len(traces), longest), pad_id(loaded), dtype=torch.long)
    mask = torch.zeros((len(traces), longest), dtype=torch.bool)
    for row, trace in enumerate(traces):
        whole = torch.tensor(trace.ids)
        ids[row, : len(whole)], mask[row, : len(whole)] = whole, True
    return ids.to(loaded.device), mask.to(loaded.device)


@torch.inference_mode()
def _states(metric: Metric, loaded: LoadedModel, ids: torch.Tensor, layer: str | int) -> torch.Tensor:
    return metric.states(loaded.model, ids, layer)


def _finite(columns: dict[str, np.ndarray], trace: Trace) -> None:
    for name, values in columns.items():
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise NumericalError(
                f"{name} is not finite at position {at} of problem {trace.problem_id!r}; check that model's weights"
            )


def _frame(dense: LoadedModel, rollouts: Traces, pieces: dict[int, dict[str, np.ndarray]]):
    import pandas as pd

    frames = []
    for k, trace in enumerate(rollouts):
        whole = np.array(trace.ids, dtype=np.int32)
        phase = np.where(np.arange(len(whole)) < trace.boundary, "prompt", "decode")
        values = {name: column.astype(np.float32) for name, column in pieces[k].items()}
        problem = trace.problem_id if trace.sample == 0 else f"{trace.problem_id} #{trace.sample}"
        frames.append(
            pd.DataFrame(
                {"problem_id": problem, "position": np.arange(len(whole)), "token_id": whole, "phase": phase, **values}
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    texts = {int(i): dense.tokenizer.decode([int(i)]) for i in frame["token_id"].unique()}
    frame.insert(3, "token", frame["token_id"].map(texts))
    return frame
