"""Small trials of a loaded model: does it work the way that racviz runs it?

racviz pads rows, keeps keys and values, and runs blocks one by one. Most decoders of transformers allow that; some do not, and say
nothing. Each trial compares such a run with the plain forward pass of a row alone, on a dozen tokens, once for each model.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from racviz.exceptions import DataError, ParameterError, RacvizError, reason_of
from racviz.models.architecture import length_switch

if TYPE_CHECKING:
    from racviz.models import LoadedModel

TEXT = "What is 2 + 2? Add one to it, then say why it is so."
LONGER, SHORTER = 11, 6
"""Tokens of the two rows of a trial."""
TOLERANCE = {torch.float32: 2e-3, torch.float64: 2e-3}
HALF = 0.3
"""Relative norm of a difference that counts as another result; 16-bit models differ more by rounding alone."""


def rows_may_be_padded(loaded: "LoadedModel") -> bool:
    """True if a row on the left of which there is padding generates as it does alone; else rows of one length go together.

    Raises ParameterError for a model that cannot continue from its keys and values, or is not causal.
    """
    return _once(loaded, "generation", lambda: _padded_generation(loaded))


def check_right_padding(loaded: "LoadedModel") -> None:
    """Raise ParameterError where what follows a token changes its hidden state."""
    _once(loaded, "right padding", lambda: _right_padding(loaded))


def check_blocks(loaded: "LoadedModel") -> None:
    """Raise ParameterError where the blocks, run one by one on padded rows, differ from the whole model."""
    _once(loaded, "blocks", lambda: _blocks(loaded))


def _once(loaded: "LoadedModel", what: str, trial: Callable[[], Any]) -> Any:
    if what not in loaded.trials:
        try:
            with torch.no_grad():
                loaded.trials[what] = trial()
        except (RacvizError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # remote code and odd architectures raise of every kind
            raise _refusal(loaded, f"its trial of {what} fails: {reason_of(error)}") from error
    return loaded.trials[what]


def _refusal(loaded: "LoadedModel", why: str) -> ParameterError:
    return ParameterError(f"{loaded.name!r} ({type(loaded.model).__name__}) is not supported: {why}.")


def _rows(loaded: "LoadedModel") -> tuple[torch.Tensor, torch.Tensor]:
    """A longer and a shorter row of ordinary tokens, `[1, T]` each; no special ones, which may stand for pictures."""
    size = loaded.model.get_input_embeddings().weight.shape[0]
    ids = [k for k in loaded.tokenizer(TEXT, add_special_tokens=False)["input_ids"] if k < size] or list(range(min(size, 40)))
    ids = torch.tensor((ids * (1 + (LONGER + SHORTER) // len(ids)))[: LONGER + SHORTER], device=loaded.device)
    switch = length_switch(loaded.model.config) or LONGER
    longer = max(2, min(LONGER, switch))
    return ids[None, :longer], ids[None, -max(2, min(SHORTER, longer - 1)) :]


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal up to rounding; results that are not finite are left to those who use them."""
    limit = TOLERANCE.get(one.dtype, HALF)
    one, other = one.float(), other.float().to(one.device)
    if not torch.isfinite(one).all():
        return True
    return bool((one - other).norm() <= limit * one.norm() + 1e-6)


def _padded_generation(loaded: "LoadedModel") -> bool:
    from racviz.generation import hf

    model = loaded.model
    longer, row = _rows(loaded)
    whole = model(input_ids=row, use_cache=False).logits[0]  # [T, V]
    length, width = row.shape[1], longer.shape[1]
    ids = torch.cat([longer, torch.cat([longer.new_full((1, width - length), pad_id(loaded)), row], 1)])  # [2, width]
    mask = torch.ones_like(ids)
    mask[1, : width - length] = 0
    with hf.decoding_attention(model):
        try:
            if all(_same(a, b) for a, b in zip(whole[-2:], _two_steps(loaded, ids, mask), strict=True)):
                return True
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # what is wrong is found out below, where the same is tried without padding
            pass
        alone = _two_steps(loaded, row, torch.ones_like(row))
    prefix = model(input_ids=row[:, :-1], use_cache=False).logits[0, -1]  # [V]
    if not _same(whole[-2], prefix):
        raise _refusal(loaded, "the tokens that follow change its logits, so that it is not causal")
    if not all(_same(a, b) for a, b in zip(whole[-2:], alone, strict=True)):
        raise _refusal(loaded, "continued from its keys and values it gives other logits than on the whole sequence")
    return False


def _two_steps(loaded: "LoadedModel", ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The last row's logits `[V]` before and after its last token, which is fed as generation feeds it."""
    from racviz.generation import hf

    positions, cache = hf.positions_of(mask), hf.new_cache(loaded.model.config)
    first = hf.forward(loaded.model, ids[:, :-1], mask[:, :-1], positions[:, :-1], cache)[-1]
    return first, hf.forward(loaded.model, ids[:, -1:], mask, positions[:, -1:], cache)[-1]


def _right_padding(loaded: "LoadedModel") -> None:
    longer, row = _rows(loaded)
    padded = torch.cat([longer, _filled(loaded, row, longer.shape[1])])  # [2, T]
    alone = loaded.model(input_ids=row, use_cache=False).logits[0]  # [T, V]
    if not _same(alone, loaded.model(input_ids=padded, use_cache=False).logits[1, : row.shape[1]]):
        raise _refusal(loaded, "the tokens that follow change its hidden states, so that it is not causal")


def _blocks(loaded: "LoadedModel") -> None:
    from racviz.pruning.blocks import decoder_blocks
    from racviz.pruning.stream import through_blocks

    longer, row = _rows(loaded)
    caught: list[torch.Tensor] = []
    _, blocks = decoder_blocks(loaded.model)
    handle = blocks[-1].register_forward_hook(
        lambda module, args, out: caught.append(out[0] if isinstance(out, tuple | list) else out)
    )
    try:
        loaded.model(input_ids=row, use_cache=False)
    finally:
        handle.remove()
    states = through_blocks(loaded, torch.cat([longer, _filled(loaded, row, longer.shape[1])]))[1, : row.shape[1]]  # [T, d]
    if len(caught) != 1 or caught[0].shape[1:] != states.shape or not _same(caught[0][0], states):
        raise _refusal(
            loaded,
            "its blocks, run one by one on rows that are padded on the right, give other hidden states than the whole model",
        )


def _filled(loaded: "LoadedModel", row: torch.Tensor, width: int) -> torch.Tensor:
    """`[1, width]`: the row and padding on its right."""
    return torch.cat([row, row.new_full((1, width - row.shape[1]), pad_id(loaded))], 1)


def pad_id(loaded: "LoadedModel") -> int:
    """The token that fills rows: any that the model embeds will do, since nothing reads it."""
    pad = loaded.tokenizer.pad_token_id or 0
    return pad if pad < loaded.model.get_input_embeddings().weight.shape[0] else 0


def check_tokens(loaded: "LoadedModel", ids: Any, where: str) -> None:
    """Raise DataError for a token that the model does not embed.

    A tokenizer may have more tokens than the model, where some were added and the embeddings were not resized.

    ids: token ids, a sequence or an array.
    where: the thing that holds them, for the message.
    """
    ids, size = np.asarray(ids), int(loaded.model.get_input_embeddings().weight.shape[0])
    if not ids.size or (ids.min() >= 0 and ids.max() < size):
        return
    wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
    text = loaded.tokenizer.convert_ids_to_tokens(wrong) if 0 <= wrong < len(loaded.tokenizer) else None
    raise DataError(
        f"{where} holds token {wrong}{'' if text is None else f' ({text!r})'}, beyond the {size} tokens that {loaded.name!r} embeds; "
        f"its tokenizer has {len(loaded.tokenizer)}. Take a text or tokenizer without it, or resize the model's embeddings and train "
        "them."
    )


def check_length(loaded: "LoadedModel", tokens: int, where: str) -> None:
    """Raise DataError for a sequence of more tokens than the model's context."""
    if tokens > loaded.context:
        raise DataError(
            f"{where} has {tokens} tokens; the context of {loaded.name!r} is {loaded.context}. Shorten it or leave it out."
        )
