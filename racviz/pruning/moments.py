"""Second moments of the inputs of linears, per distinct input and per phase, block by block.

H = sum over calibration tokens of w x xᵀ, `[columns, columns]`. Linears that read the same tensor (q/k/v, gate/up) share one.
Blocks run one after the other on the hidden states of all calibration tokens, which are all that is kept.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from racviz.calibration import DECODE, PROMPT, CalibrationSet
from racviz.errors import NumericalError, check
from racviz.models import LoadedModel
from racviz.pruning.blocks import Scope, decoder_blocks

BATCH_TOKENS = 8192


@dataclass
class Moment:
    """The second moment of one distinct input, prompt and decode tokens apart."""

    columns: int
    prompt: torch.Tensor = field(repr=False)
    decode: torch.Tensor = field(repr=False)
    tokens: tuple[int, int] = (0, 0)

    def mixed(self, prompt_weight: float = 1.0, decode_weight: float = 1.0) -> torch.Tensor:
        """H = w_P H_P + w_D H_D, `[columns, columns]`."""
        return prompt_weight * self.prompt + decode_weight * self.decode


@dataclass
class SecondMoments:
    """The moments of a dense model's linears on one calibration set; good for any sparsity in one-pass mode."""

    by_linear: dict[str, Moment] = field(repr=False)
    """Linears with the same input hold the same `Moment` object."""
    model_fingerprint: str
    calibration: dict[str, Any]
    """Label, fingerprint and problems of the calibration set."""

    def save(self, path: str | Path) -> None:
        """Write safetensors; shared moments once."""
        import json

        from safetensors.torch import save_file

        from racviz.store import atomic

        owners: dict[int, str] = {}
        groups = {name: owners.setdefault(id(moment), name) for name, moment in self.by_linear.items()}
        tensors, tokens = {}, {}
        for name in set(groups.values()):
            moment = self.by_linear[name]
            tensors[f"{name}|prompt"], tensors[f"{name}|decode"] = moment.prompt, moment.decode
            tokens[name] = moment.tokens
        meta = {"groups": groups, "tokens": tokens, "model": self.model_fingerprint, "calibration": self.calibration}
        with atomic(Path(path)) as temporary:
            save_file(tensors, temporary, {"racviz": json.dumps(meta)})

    @classmethod
    def load(cls, path: str | Path) -> "SecondMoments":
        import json

        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            meta = json.loads(file.metadata()["racviz"])
            moments = {}
            for name in set(meta["groups"].values()):
                prompt, decode = file.get_tensor(f"{name}|prompt"), file.get_tensor(f"{name}|decode")
                moments[name] = Moment(len(prompt), prompt, decode, tuple(meta["tokens"][name]))
        return cls({name: moments[owner] for name, owner in meta["groups"].items()}, meta["model"], meta["calibration"])


class _Stop(Exception):
    """Ends a forward once the blocks' arguments are known."""


@dataclass
class Stream:
    """The calibration tokens on their way through the blocks: right-padded batches of hidden states.

    Causal attention never looks right, so padding on the right changes nothing on its left, and `real` keeps it out of
    every moment.
    """

    hidden: list[torch.Tensor]
    """`[B, T, d]` each, on `home`."""
    arguments: list[list[tuple[tuple, dict]]]
    """For each batch and block, what the block is called with besides the hidden states."""
    real: list[torch.Tensor]
    """`[B, T]` bool: not padding."""
    phases: list[torch.Tensor]
    weights: list[torch.Tensor]
    device: torch.device


def open_stream(loaded: LoadedModel, calibration: CalibrationSet, batch_tokens: int = BATCH_TOKENS) -> Stream:
    """Embed the calibration tokens and learn how the model calls its blocks."""
    model, pad = loaded.model, loaded.tokenizer.pad_token_id or 0
    _, blocks = decoder_blocks(model)
    stream = Stream([], [], [], [], [], loaded.device)
    for rows in batches_by_length([len(ids) for ids in calibration.sequences], batch_tokens):
        longest = max(len(calibration.sequences[k]) for k in rows)

        def padded(arrays, fill, dtype, rows=rows, longest=longest) -> torch.Tensor:
            out = torch.full((len(rows), longest), fill, dtype=dtype)
            for row, k in enumerate(rows):
                out[row, : len(arrays[k])] = torch.from_numpy(np.asarray(arrays[k])).to(dtype)
            return out

        ids = padded(calibration.sequences, pad, torch.long)
        stream.real.append(padded([np.ones(len(s)) for s in calibration.sequences], 0, torch.bool))
        stream.phases.append(padded(calibration.phases, 0, torch.uint8))
        stream.weights.append(padded(calibration.weights, 0, torch.float32))
        hidden, arguments = _probe(model, blocks, ids.to(loaded.device))
        stream.hidden.append(hidden)
        stream.arguments.append(arguments)
    return stream


def batches_by_length(lengths: list[int], batch_tokens: int) -> Iterator[list[int]]:
    """Rows of like length together, so that padding is rare; each batch within `batch_tokens` when padded."""
    check(batch_tokens >= 1, "batch_tokens", batch_tokens, "an integer >= 1")
    batch: list[int] = []
    for k in sorted(range(len(lengths)), key=lambda k: (lengths[k], k)):
        if batch and (len(batch) + 1) * lengths[k] > batch_tokens:
            yield batch
            batch = []
        batch.append(k)
    if batch:
        yield batch


def _probe(model, blocks: nn.ModuleList, ids: torch.Tensor):
    """The first block's input, and the other arguments of each block, from one forward of the model."""
    first: list[torch.Tensor] = []
    arguments: list[tuple[tuple, dict]] = []

    def note(block, args, kwargs):
        hidden = args[0] if args else kwargs["hidden_states"]
        if not first:
            first.append(hidden.detach())
        arguments.append((args[1:], {k: v for k, v in kwargs.items() if k != "hidden_states"}))
        if len(arguments) == len(blocks):
            raise _Stop

    handles = [block.register_forward_pre_hook(note, with_kwargs=True) for block in blocks]
    try:
        with torch.inference_mode(), contextlib.suppress(_Stop):
            model(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return first[0], arguments


@torch.inference_mode()
def run_block(block: nn.Module, index: int, stream: Stream, keep: bool, note: Callable[[int], None] | None = None) -> None:
    """Run one block over the stream; with `keep`, its outputs become the stream. `note(batch)` is called before each batch."""
    for batch, hidden in enumerate(stream.hidden):
        if note:
            note(batch)
        args, kwargs = stream.arguments[batch][index]
        out = block(hidden, *args, **kwargs)
        out = out[0] if isinstance(out, tuple) else out  # [B, T, d]; a tensor in transformers 5
        if keep:
            if not torch.isfinite(out).all():
                raise NumericalError(f"the activations after layers.{index} are not finite; check the weights up to that layer")
            stream.hidden[batch] = out


def block_moments(block: nn.Module, index: int, linears: dict[str, nn.Linear], stream: Stream, keep: bool) -> dict[str, Moment]:
    """The moments of a block's linears on the stream, one per distinct input; with `keep` the stream moves on."""
    moments: dict[str, Moment] = {}
    seen: dict[int, tuple[torch.Tensor, Moment]] = {}  # the tensor is held, so that its id stays its own
    at = 0

    def note(batch: int) -> None:
        nonlocal at
        at = batch
        seen.clear()

    def hook(name: str):
        def add(module, args):
            x = args[0]
            if id(x) in seen:  # another linear has read this very tensor
                moments.setdefault(name, seen[id(x)][1])
                return
            if name not in moments:
                zeros = [torch.zeros(x.shape[-1], x.shape[-1], device=x.device) for _ in range(2)]
                moments[name] = Moment(x.shape[-1], *zeros)
            seen[id(x)] = (x, moments[name])
            _accumulate(moments[name], x, stream, at, name)

        return add

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in linears.items()]
    try:
        run_block(block, index, stream, keep, note)
    finally:
        for handle in handles:
            handle.remove()
    return moments


def _accumulate(moment: Moment, x: torch.Tensor, stream: Stream, batch: int, name: str) -> None:
    """H_phase += (√w x)(√w x)ᵀ over the real tokens of one batch; x `[B, T, columns]`."""
    counts = []
    for phase, total in ((PROMPT, moment.prompt), (DECODE, moment.decode)):
        chosen = (stream.real[batch] & (stream.phases[batch] == phase)).to(x.device)
        rows = x[chosen].float()  # [tokens, columns]
        counts.append(len(rows))
        if len(rows):
            if not torch.isfinite(rows).all():
                raise NumericalError(f"the activations that enter {name} are not finite; check the weights up to that layer")
            rows = rows * stream.weights[batch].to(x.device)[chosen].sqrt()[:, None]
            total.addmm_(rows.T, rows)
    moment.tokens = (moment.tokens[0] + counts[0], moment.tokens[1] + counts[1])


def second_moments(
    dense: LoadedModel, calibration: CalibrationSet, *, scope: str = "all", thirds: tuple[int, ...] = (1, 2, 3)
) -> SecondMoments:
    """The second moments of the dense model's activations on a calibration set (Phase I of the paper's Algorithm 1).

    Reusable: `prune(dense, statistics=moments, …)` in one-pass mode, at any sparsity.
    """
    linears = Scope(scope, thirds).linears(dense.model)
    stream = open_stream(dense, calibration)
    found: dict[str, Moment] = {}
    _, blocks = decoder_blocks(dense.model)
    for index, block in enumerate(blocks):
        if index > max(linears):
            break
        found |= block_moments(block, index, linears.get(index, {}), stream, keep=True)
    return SecondMoments(found, dense.fingerprint, describe(calibration))


def describe(calibration: CalibrationSet) -> dict[str, Any]:
    own = {"source": calibration.source, "tokens": calibration.tokens}
    return {**calibration.label, **own, "fingerprint": calibration.fingerprint, "problems": list(calibration.problems)}
