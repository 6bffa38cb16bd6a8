"""One step of decoding with transformers: positions, keys and values that grow by doubling, attention over groups of heads."""

import contextlib
import functools
import inspect
from collections.abc import Iterator

import torch
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


class GrowingLayer(DynamicLayer):
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
        cache.layers = [GrowingLayer() for _ in cache.layers]
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
