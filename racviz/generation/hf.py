"""Generation with transformers: batched, left-padded, rows leave the batch as they finish.

The decode loop is plain on purpose: one forward a token over the rows that still run, inverse-CDF sampling from one
random stream a request, and a key-value cache that grows by doubling instead of being copied at each step.
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from racviz.errors import NumericalError
from racviz.generation import Completion, Request, Sampling
from racviz.threads import threads_for, using_threads

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


def _cache(config) -> DynamicCache:
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
def _decoding_attention(model) -> Iterator[None]:
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
    ids = getattr(loaded.model.generation_config, "eos_token_id", None)
    ids = set(ids) if isinstance(ids, list | tuple) else {ids}
    return {int(i) for i in ids | {loaded.tokenizer.eos_token_id} if i is not None}


def generate(loaded, requests: Sequence[Request], sampling: Sampling, batch_size: int) -> Iterator[tuple[int, Completion]]:
    for first in range(0, len(requests), batch_size):
        batch = list(enumerate(requests))[first : first + batch_size]
        with _decoding_attention(loaded.model), using_threads(threads_for(loaded)):
            yield from _generate_batch(loaded, batch, sampling)


@torch.inference_mode()
def _generate_batch(loaded, batch: list[tuple[int, Request]], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
    model, device, stops = loaded.model, loaded.device, stop_ids(loaded)
    pad = loaded.tokenizer.pad_token_id or 0
    longest = max(len(request.prompt_ids) for _, request in batch)
    ids = torch.full((len(batch), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, (_, request) in enumerate(batch):
        ids[row, longest - len(request.prompt_ids) :] = torch.tensor(request.prompt_ids)
        mask[row, longest - len(request.prompt_ids) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    running = [index for index, _ in batch]
    outputs: dict[int, list[int]] = {index: [] for index in running}
    draws = {index: np.random.Generator(np.random.Philox(request.seed(sampling))) for index, request in batch}
    positions = (mask.cumsum(1) - 1).clamp(min=0)  # [B, T]
    cache = _cache(model.config)
    alive = torch.ones(len(batch), dtype=torch.bool)
    for step in range(sampling.max_new_tokens):
        out = model(
            input_ids=ids, attention_mask=None if bool(mask.all()) else mask, position_ids=positions,
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        uniform = None
        if sampling.temperature > 0:
            uniform = torch.tensor([draws[index].random() for index in running], device=device)
        token = choose(out.logits[:, -1].float(), sampling, uniform)  # [B]
        last = step == sampling.max_new_tokens - 1
        for row, (index, chosen) in enumerate(zip(running, token.tolist(), strict=True)):
            if not alive[row]:
                continue
            outputs[index].append(chosen)
            if chosen in stops or last:
                alive[row] = False
                yield index, Completion(tuple(outputs.pop(index)), "stop" if chosen in stops else "length")
        if not alive.any():
            return
        ids, positions = token[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones((len(running), 1))], dim=1)
        if int(alive.sum()) <= 0.8 * len(running) and isinstance(cache.layers[0], _GrowingLayer):
            rows = alive.nonzero().squeeze(1).to(device)
            mask = mask[rows]
            first = int(mask.argmax(1).min())  # columns that are padding in every row left
            for layer in cache.layers:
                layer.keep(rows, first)
            ids, positions, mask = ids[rows], positions[rows], mask[:, first:]
            running = [index for index, keep in zip(running, alive.tolist(), strict=True) if keep]
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
