"""The calibration tokens on their way through the blocks: hidden states in memory or on disk, and what blocks are called with."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, NumericalError, check
from racviz.models import LoadedModel
from racviz.models.architecture import length_switch
from racviz.models.conformance import filled, once, refusal, same, trial_rows
from racviz.models.limits import check_length, check_tokens, pad_id
from racviz.pruning.blocks import all_finite, decoder_blocks
from racviz.store import atomic, explained, regular_file


def batch_tokens_on(device: torch.device | str) -> int:
    """Tokens that go through a block at once: on a CPU few, so that activations stay small and are not mapped anew each time
    (a tenth faster than 8,192 there, at half the memory); elsewhere enough to keep it busy."""
    return 2048 if torch.device(device).type == "cpu" else 8192


class HiddenStates:
    """The hidden states before one block, a tensor `[B, T, d]` a batch; with a folder, on disk, a file a batch.

    What is `put` are the states after that block, until `advance` makes them the current ones. Files stay until they are
    dropped, so that a run that is killed finds the states before the block that it was at.
    """

    def __init__(self, folder: Path | None = None, block: int = 0) -> None:
        self.folder, self.block = folder, block
        self._now: dict[int, torch.Tensor] = {}
        self._next: dict[int, torch.Tensor] = {}

    def get(self, batch: int, last: bool = False) -> torch.Tensor:
        """The states of one batch before the current block; `last`: they are not asked for again, and need not be held."""
        if self.folder is None:
            return self._now.pop(batch) if last else self._now[batch]
        path = self._path(self.block, batch)
        try:
            with safe_open(regular_file(path), "pt") as file:
                return file.get_tensor("hidden")
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} is missing or damaged ({error}); delete the workspace and prune anew.") from error

    def put(self, batch: int, hidden: torch.Tensor) -> None:
        """The states of one batch after the current block."""
        if self.folder is None:
            self._next[batch] = hidden
            return
        with explained("keep hidden states in", self.folder), atomic(self._path(self.block + 1, batch)) as path:
            save_file({"hidden": hidden.contiguous().cpu()}, path)

    def advance(self) -> None:
        """Make the stored hidden states current."""
        self._now, self._next, self.block = self._next, {}, self.block + 1

    def drop(self, until: int) -> None:
        """Delete the files of the states before block `until` and earlier."""
        if self.folder is not None:
            for path in self.folder.glob("hidden-*"):
                if int(path.name.split("-")[1]) <= until:
                    path.unlink()

    def _path(self, block: int, batch: int) -> Path:
        assert self.folder is not None  # without one they stay in memory
        return self.folder / f"hidden-{block}-{batch}.safetensors"


@dataclass
class Stream:
    """Right-padded batches of calibration tokens.

    Causal attention never looks right, so padding on the right changes nothing on its left, and `real` keeps it out of
    every moment.
    """

    hidden: HiddenStates
    ids: list[torch.Tensor]
    """`[B, T]` int32: the tokens of each batch, padded."""
    probe: Callable[[torch.Tensor], tuple[torch.Tensor, list[tuple[tuple, dict]]]]
    """Token ids of a batch -> the first block's input, and what each block is called with besides its input."""
    real: list[torch.Tensor]
    """`[B, T]` bool: not padding."""
    phases: list[torch.Tensor]
    weights: list[torch.Tensor]
    home: torch.device
    """Where the hidden states live between blocks: with the model."""
    known: dict[int, list[tuple[tuple, dict]]] = field(default_factory=dict)
    """Arguments of the blocks (rotary embeddings, masks), by batch; recomputed each time where hidden states are on disk."""

    def called_with(self, batch: int, block: int) -> tuple[tuple, dict]:
        """Positional and keyword arguments of a block besides the hidden states."""
        arguments = self.known.get(batch) or self.probe(self.ids[batch])[1]
        if self.hidden.folder is None:
            self.known[batch] = arguments
        return arguments[block]

    def __len__(self) -> int:
        return len(self.real)


class EnoughSeen(Exception):
    """Ends a forward from within, once what it was run for is known."""


def open_stream(
    loaded: LoadedModel, calibration: CalibrationSet, batch_tokens: int | None = None, *,
    folder: Path | None = None, block: int = 0,
) -> Stream:  # fmt: skip
    """Embed the calibration tokens and learn how the model calls its blocks.

    folder: keep the hidden states there. block: the states before this block are there already, in batches of the same size.
    """
    batch_tokens = batch_tokens or batch_tokens_on(loaded.device)
    for ids in calibration.sequences:
        check_tokens(loaded, ids, f"the calibration set {calibration.source!r}")
        check_length(loaded, len(ids), f"a sequence of the calibration set {calibration.source!r}")
    check_blocks(loaded)
    pad, switch = pad_id(loaded), length_switch(loaded.model.config)
    probe = partial(_probe, loaded.model, decoder_blocks(loaded.model)[1], loaded.device, [])
    stream = Stream(
        HiddenStates(folder, block or -1), [], probe, [], [], [], loaded.device
    )  # what is put at -1 comes before block 0
    lengths = [len(ids) for ids in calibration.sequences]
    for batch, rows in enumerate(batches_by_length(lengths, batch_tokens, switch)):
        longest = max(len(calibration.sequences[k]) for k in rows)

        def padded(arrays, fill, dtype, rows=rows, longest=longest) -> torch.Tensor:
            out = torch.full((len(rows), longest), fill, dtype=dtype)
            for row, k in enumerate(rows):
                out[row, : len(arrays[k])] = torch.from_numpy(np.asarray(arrays[k])).to(dtype)
            return out

        stream.ids.append(padded(calibration.sequences, pad, torch.int32))
        stream.real.append(padded([np.ones(len(s)) for s in calibration.sequences], 0, torch.bool))
        stream.phases.append(padded(calibration.phases, 0, torch.uint8))
        stream.weights.append(padded(calibration.weights, 0, torch.float32))
        if block == 0:
            hidden, arguments = probe(stream.ids[batch])
            stream.hidden.put(batch, hidden)
            if folder is None:
                stream.known[batch] = arguments
    if block == 0:
        stream.hidden.advance()
    return stream


def check_blocks(loaded: LoadedModel) -> None:
    """Raise ParameterError where the blocks, run one by one on padded rows, differ from the whole model."""
    once(loaded, "blocks", lambda: _blocks(loaded))


def _blocks(loaded: LoadedModel) -> None:
    longer, row = trial_rows(loaded)
    caught: list[torch.Tensor] = []
    _, blocks = decoder_blocks(loaded.model)
    handle = blocks[-1].register_forward_hook(
        lambda module, args, out: caught.append(out[0] if isinstance(out, tuple | list) else out)
    )
    try:
        loaded.model(input_ids=row, use_cache=False)
    finally:
        handle.remove()
    states = through_blocks(loaded, torch.cat([longer, filled(loaded, row, longer.shape[1])]))[1, : row.shape[1]]  # [T, d]
    if len(caught) != 1 or caught[0].shape[1:] != states.shape or not same(caught[0][0], states):
        raise refusal(
            loaded,
            "its blocks, run one by one on rows that are padded on the right, give other hidden states than the whole model",
        )


def through_blocks(loaded: LoadedModel, ids: torch.Tensor) -> torch.Tensor:
    """The hidden states `[B, T, d]` after the last block, each block called on its own, for ids `[B, T]`."""
    blocks = decoder_blocks(loaded.model)[1]
    hidden, arguments = _probe(loaded.model, blocks, loaded.device, [], ids)
    for block, (args, kwargs) in zip(blocks, arguments, strict=True):
        device = device_of(block)
        out = block(hidden.to(device), *_moved(args, device), **_moved(kwargs, device))
        hidden = out[0] if isinstance(out, tuple | list) else out  # [B, T, d]
    return hidden


def batches_by_length(lengths: list[int], batch_tokens: int, switch: int | None = None) -> Iterator[list[int]]:
    """Rows of like length together, so that padding is rare; each batch within `batch_tokens` when padded.

    switch: no batch holds both a row of up to so many tokens and a longer one, which the model would rotate by other frequencies.
    """
    check(batch_tokens >= 1, "batch_tokens", batch_tokens, "an integer >= 1")
    batch: list[int] = []
    for k in sorted(range(len(lengths)), key=lambda k: (lengths[k], k)):
        across = switch is not None and bool(batch) and lengths[batch[-1]] <= switch < lengths[k]
        if batch and (across or (len(batch) + 1) * lengths[k] > batch_tokens):
            yield batch
            batch = []
        batch.append(k)
    if batch:
        yield batch


def _probe(
    model, blocks: nn.ModuleList, device: torch.device, returns_tuple: list[bool], ids: torch.Tensor
) -> tuple[torch.Tensor, list[tuple[tuple, dict]]]:
    """The first block's input, and the other arguments of each block, from a forward of the model whose blocks hand on their
    input. While `returns_tuple` is empty the first block really runs, to learn whether blocks return a tensor or a tuple."""
    first: list[torch.Tensor] = []
    arguments: list[tuple[tuple, dict]] = []

    def passing(real):
        def forward(*args, **kwargs):
            hidden = args[0] if args else kwargs["hidden_states"]
            if not first:
                first.append(hidden.detach())
            if not returns_tuple:
                returns_tuple.append(isinstance(real(*args, **kwargs), tuple | list))
            arguments.append((args[1:], {k: v for k, v in kwargs.items() if k != "hidden_states"}))
            if len(arguments) == len(blocks):
                raise EnoughSeen
            return (hidden,) if returns_tuple[0] else hidden

        return forward

    own = [vars(block).get("forward") for block in blocks]  # accelerate sets one on the instance
    for block in blocks:
        block.forward = passing(block.forward)
    try:
        with torch.no_grad(), contextlib.suppress(EnoughSeen):
            model(input_ids=ids.to(device, torch.long), use_cache=False)
    finally:
        for block, forward in zip(blocks, own, strict=True):
            if forward is None:
                del block.forward  # the class's own again
            else:
                block.forward = forward
    return first[0], arguments


@torch.no_grad()
def run_block(block: nn.Module, index: int, stream: Stream, keep: bool, note: Callable[[int], None] | None = None) -> None:
    """Run one block over the stream; with `keep`, its outputs become the stream. `note(batch)` is called before each batch.

    Without `keep` a hook may raise EnoughSeen, and the rest of the block is not computed for that batch.
    """
    device = device_of(block)
    for batch in range(len(stream)):
        if note:
            note(batch)
        args, kwargs = _moved(stream.called_with(batch, index), device)
        try:
            out = block(stream.hidden.get(batch, last=keep).to(device), *args, **kwargs)
        except EnoughSeen:
            continue
        out = out[0] if isinstance(out, tuple | list) else out  # [B, T, d]; a tensor in transformers 5
        if keep:
            if not all_finite(out):
                raise NumericalError(f"the activations after layers.{index} are not finite; check the weights up to that layer")
            stream.hidden.put(batch, out.to(stream.home))
    if keep:
        stream.hidden.advance()


@contextlib.contextmanager
def visiting(block: nn.Module, device: torch.device | str | None) -> Iterator[None]:
    """The block on another device for a while; None leaves it where it is."""
    home = device_of(block)
    if device is not None:
        block.to(device)
    try:
        yield
    finally:
        if device is not None:
            block.to(home)


def _moved(arguments, device: torch.device):
    """Positional and keyword arguments with their tensors, also those inside tuples, on a device."""
    if isinstance(arguments, torch.Tensor):
        return arguments.to(device)
    if isinstance(arguments, tuple | list):
        return type(arguments)(_moved(item, device) for item in arguments)
    if isinstance(arguments, dict):
        return {name: _moved(item, device) for name, item in arguments.items()}
    return arguments


def device_of(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
