"""Generation with transformers: batched, left-padded, rows leave the batch as they finish.

The decode loop is plain on purpose: one forward a token over the rows that still run, inverse-CDF sampling from one
random stream a request, and a key-value cache that grows by doubling instead of being copied at each step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from racviz.exceptions import NumericalError
from racviz.generation import Completion, Request, Sampling
from racviz.generation.decoding import GrowingLayer, decoding_attention, forward, new_cache, positions_of
from racviz.generation.padding import rows_may_be_padded
from racviz.models.architecture import end_ids
from racviz.models.limits import pad_id
from racviz.processes.threads import threads_for, using_threads

HEAD = 256
"""Tokens that nearly always hold the nucleus."""


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
        if int(alive.sum()) <= 0.8 * len(running) and isinstance(cache.layers[0], GrowingLayer):
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
