"""Limits of a loaded model: the tokens that it embeds, its context, and the token that fills rows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from racviz.exceptions import DataError

if TYPE_CHECKING:
    from racviz.models.loaded import LoadedModel


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
