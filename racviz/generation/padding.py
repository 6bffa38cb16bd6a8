"""The trial of padded generation: rows that are padded on the left must generate as they do alone."""

from typing import TYPE_CHECKING

import torch

from racviz.generation.decoding import decoding_attention, forward, new_cache, positions_of
from racviz.models.conformance import once, refusal, same, trial_rows
from racviz.models.limits import pad_id

if TYPE_CHECKING:
    from racviz.models.loaded import LoadedModel


def rows_may_be_padded(loaded: "LoadedModel") -> bool:
    """True if a row on the left of which there is padding generates as it does alone; else rows of one length go together.

    Raises ParameterError for a model that cannot continue from its keys and values, or is not causal.
    """
    return once(loaded, "generation", lambda: _padded_generation(loaded))


def _padded_generation(loaded: "LoadedModel") -> bool:
    model = loaded.model
    longer, row = trial_rows(loaded)
    whole = model(input_ids=row, use_cache=False).logits[0]  # [T, V]
    length, width = row.shape[1], longer.shape[1]
    ids = torch.cat([longer, torch.cat([longer.new_full((1, width - length), pad_id(loaded)), row], 1)])  # [2, width]
    mask = torch.ones_like(ids)
    mask[1, : width - length] = 0
    with decoding_attention(model):
        try:
            if all(same(a, b) for a, b in zip(whole[-2:], _two_steps(loaded, ids, mask), strict=True)):
                return True
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # what is wrong is found out below, where the same is tried without padding
            pass
        alone = _two_steps(loaded, row, torch.ones_like(row))
    prefix = model(input_ids=row[:, :-1], use_cache=False).logits[0, -1]  # [V]
    if not same(whole[-2], prefix):
        raise refusal(loaded, "the tokens that follow change its logits, so that it is not causal")
    if not all(same(a, b) for a, b in zip(whole[-2:], alone, strict=True)):
        raise refusal(loaded, "continued from its keys and values it gives other logits than on the whole sequence")
    return False


def _two_steps(loaded: "LoadedModel", ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The last row's logits `[V]` before and after its last token, which is fed as generation feeds it."""
    positions, cache = positions_of(mask), new_cache(loaded.model.config)
    first = forward(loaded.model, ids[:, :-1], mask[:, :-1], positions[:, :-1], cache)[-1]
    return first, forward(loaded.model, ids[:, -1:], mask, positions[:, -1:], cache)[-1]
