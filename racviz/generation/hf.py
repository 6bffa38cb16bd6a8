"""Generation with transformers: batched, left-padded, rows leave the batch as they finish.

The decode loop is plain on purpose: one forward a token over the rows that still run, inverse-CDF sampling from one
random stream a request, and a key-value cache that grows by doubling instead of being copied at each step.
"""

import contextlib
import functools
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from racviz.exceptions import NumericalError
from racviz.generation import Completion, Request, Sampling
from racviz.models.architecture import end_ids
from racviz.models.conformance import pad_id, rows_may_be_padded
from racviz.processes.threads import threads_for, using_threads

HEAD = 256


class _GrowingLayer(DynamicLayer):
    """Keys and values `[B, heads, length, d]` as views of buffers that double when full."""

    def update(self, key_states, value_states, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers, self._used = [None, None], 0
        end = self._used + key_states.shape[-2]
        for k, new in enumerate((key_states, value_states)):
            old = self._buffers[k]
            if old is None or end > old.shape[-2]:
                self._buffers[k] = new.new_empty((*new.shape[:2], max(64, 2 * end), new.shape[-1]))
                if old is not None:
                    self._buffers[k][:, :, : self._used] = old[:, :, : self._used]
            self._buffers[k][:, :, self._used : end] = new
        self._used = end
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)
        return self.keys, self.values

    def keep(self, rows: torch.Tensor, first: int) -> None:
        """Keep these rows of the batch and the columns from `first` on."""
        for k in range(2):
            old = self._buffers[k][rows, :, first : self._used]
            self._buffers[k] = old.new_empty((*old.shape[:2], max(64, old.shape[-2] + 64), old.shape[-1]))
            self._buffers[k][:, :, : old.shape[-2]] = old
        self._used -= first
        self.keys, self.values = (buffer[:, :, : self._used] for buffer in self._buffers)


def new_cache(config) -> DynamicCache:
    cache = DynamicCache(config=config)
    if all(type(layer) is DynamicLayer for layer in cache.layers):  # sliding-window layers keep transformers' own
        cache.layers = [_GrowingLayer() for _ in cache.layers]
    return cache


def _grouped_attention(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """SDPA that does not copy keys and values once a query head: when decoding, the heads of a group are rows of one query.

    query `[B, heads, 1, d]`, key and value `[B, groups, T, d]`; returns `[B, 1, heads, d]`.
    """
    if query.shape[2] != 1 or query.shape[1] == key.shape[1]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    batch, heads, _, d = query.shape
    rows = query.reshape(batch, key.shape[1], heads // key.shape[1], d)  # [B, groups, heads a group, d]
    out = F.scaled_dot_product_attention(rows, key, value, attn_mask=attention_mask, scale=scaling)
    return out.reshape(batch, 1, heads, d), None


@contextlib.contextmanager
def decoding_attention(model) -> Iterator[None]:
    """Decode with `_grouped_attention` where the model uses SDPA."""
    if model.config._attn_implementation != "sdpa":
        yield
        return
    AttentionInterface.register("racviz_grouped", _grouped_attention)
    AttentionMaskInterface.register("racviz_grouped", sdpa_mask)
    model.set_attn_implementation("racviz_grouped")
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def stop_ids(loaded) -> set[int]:
    """The end-of-sequence ids of the model's generation config and of its tokenizer."""
    return end_ids(loaded.model, loaded.tokenizer)


@dataclass
class _Row:
    """A request on its way: what was sampled so far, and its random stream."""

    index: int
    prompt_ids: Sequence[int]
    outputs: list[int]
    draws: np.random.Generator


def generate(loaded, requests: Sequence[Request], sampling: Sampling, batch_size: int) -> Iterator[tuple[int, Completion]]:
    """Continue every request, `batch_size` rows at a time; the tokens of a row are those of the row alone, up to rounding."""
    padded = rows_may_be_padded(loaded)
    for first in range(0, len(requests), batch_size):
        rows = [
            _Row(first + k, request.prompt_ids, [], np.random.Generator(np.random.Philox(request.seed(sampling))))
            for k, request in enumerate(requests[first : first + batch_size])
        ]
        lengths = {0 if padded else len(row.prompt_ids): None for row in rows}
        for length in lengths:  # rows of one length, where the model takes no padding
            together = [row for row in rows if padded or len(row.prompt_ids) == length]
            with decoding_attention(loaded.model), using_threads(threads_for(loaded)):
                yield from _generate_batch(loaded, together, sampling)


class Here:
    """The loaded model itself, on its device, as a backend."""

    def __init__(self, loaded, settings: None = None) -> None:
        self.loaded = loaded

    def run(self, requests: Sequence[Request], sampling: Sampling, batch_size: int) -> Iterator[tuple[int, Completion]]:
        return generate(self.loaded, requests, sampling, batch_size)

    def close(self) -> None:
        """Nothing was started."""


def positions_of(mask: torch.Tensor) -> torch.Tensor:
    """Positions `[B, T]` of left-padded rows, each counted from its first token."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def forward(model, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    """The logits `[B, V]` after the last of these tokens, whose keys and values enter the cache."""
    last = {"logits_to_keep": 1} if _keeps_logits(type(model)) else {}
    out = model(
        input_ids=ids, attention_mask=None if bool(mask.all()) else mask, position_ids=positions, past_key_values=cache,
        use_cache=True, **last,
    )  # fmt: skip
    return out.logits[:, -1].float()


@functools.cache
def _keeps_logits(kind: type) -> bool:
    """True for a model that can leave out the logits of all but the last token."""
    names = inspect.signature(kind.forward).parameters
    return "logits_to_keep" in names or any(p.kind is p.VAR_KEYWORD for p in names.values())


@torch.inference_mode()
def _generate_batch(loaded, rows: list[_Row], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
    """Continue rows side by side; each leaves the batch when it is over."""
    model, device, stops, pad = loaded.model, loaded.device, stop_ids(loaded), pad_id(loaded)
    longest = max(len(row.prompt_ids) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for k, row in enumerate(rows):
        ids[k, longest - len(row.prompt_ids) :] = torch.tensor(row.prompt_ids)
        mask[k, longest - len(row.prompt_ids) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    positions, cache = positions_of(mask), new_cache(model.config)  # [B, T]
    running, alive = list(rows), torch.ones(len(rows), dtype=torch.bool)
    for _ in range(sampling.max_new_tokens):
        logits = forward(model, ids, mask, positions, cache)  # [B, V]
        uniform = None
        if sampling.temperature > 0:
            drawn = [row.draws.random() if going else 0.0 for row, going in zip(running, alive.tolist(), strict=True)]
            uniform = torch.tensor(drawn, device=device)
        token = choose(logits, sampling, uniform)  # [B]
        for k, (row, chosen) in enumerate(zip(running, token.tolist(), strict=True)):
            if not alive[k]:
                continue
            row.outputs.append(chosen)
            if chosen in stops or len(row.outputs) >= sampling.max_new_tokens:
                alive[k] = False
                yield row.index, Completion(tuple(row.outputs), "stop" if chosen in stops else "length")
        if not alive.any():
            return
        ids = token[:, None]
        positions = (
            positions[:, -1:] + alive.to(device)[:, None]
        )  # a row that is over grows no longer: rotations go by the longest
        mask = torch.cat([mask, mask.new_ones((len(running), 1))], dim=1)
        if int(alive.sum()) <= 0.8 * len(running) and isinstance(cache.layers[0], _GrowingLayer):
            left = alive.nonzero().squeeze(1).to(device)
            mask = mask[left]
            first = int(mask.argmax(1).min())  # columns that are padding in every row left
            for layer in cache.layers:
                layer.keep(left, first)
            ids, positions, mask = ids[left], positions[left], mask[:, first:]
            running = [row for row, going in zip(running, alive.tolist(), strict=True) if going]
            alive = torch.ones(len(running), dtype=torch.bool)


def choose(logits: torch.Tensor, sampling: Sampling, uniform: torch.Tensor | None) -> torch.Tensor:
    """The next token of each row: the largest logit, or the inverse CDF of the nucleus at `uniform`.

    logits `[B, V]` fp32, uniform `[B]` in [0, 1) or None for greedy; returns `[B]`.
    """
    if not torch.isfinite(logits.max()) or torch.isnan(logits).any():
        raise NumericalError("the logits are not finite while generating; check the weights, or load the model in float32")
    if sampling.temperature == 0 or uniform is None:
        return logits.argmax(-1)
    logits = logits - logits.max(-1, keepdim=True).values  # so that a tiny temperature divides nothing but negatives
    probability, order = _likeliest(torch.softmax(logits / sampling.temperature, -1), sampling.top_p)  # [B, K]
    cumulative = probability.cumsum(-1)
    inside = cumulative - probability < sampling.top_p  # the first token always is
    cumulative = probability.masked_fill(~inside, 0.0).cumsum(-1)
    target = uniform.to(cumulative)[:, None] * cumulative[:, -1:]
    rank = (cumulative <= target).sum(-1, keepdim=True).minimum(inside.sum(-1, keepdim=True) - 1)  # `uniform` may round to 1
    return order.gather(-1, rank).squeeze(-1)


def _likeliest(probability: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The probabilities that the nucleus is made of, and maybe more, in falling order, and their tokens; `[B, K]` from `[B, V]`.

    Sorting a large vocabulary takes as long as the model's own step; its likeliest HEAD tokens nearly always hold the nucleus.
    """
    if probability.shape[-1] >= 4 * HEAD:
        top, order = probability.topk(HEAD, -1)
        if bool((top.sum(-1) > top_p).all()):
            return top, order
    return probability.sort(-1, descending=True)
