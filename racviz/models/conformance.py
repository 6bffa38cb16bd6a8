"""Small trials of a loaded model: does it work the way that racviz runs it?

racviz pads rows, keeps keys and values, and runs blocks one by one. Most decoders of transformers allow that; some do not, and say
nothing. Each trial compares such a run with the plain forward pass of a row alone, on a dozen tokens, once for each model.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from racviz.exceptions import ParameterError, RacvizError, reason_of
from racviz.models.architecture import length_switch
from racviz.models.limits import pad_id

if TYPE_CHECKING:
    from racviz.models import LoadedModel

TEXT = "What is 2 + 2? Add one to it, then say why it is so."
LONGER, SHORTER = 11, 6
"""Tokens of the two rows of a trial."""
TOLERANCE = {torch.float32: 2e-3, torch.float64: 2e-3}
HALF = 0.3
"""Relative norm of a difference that counts as another result; 16-bit models differ more by rounding alone."""


def check_right_padding(loaded: "LoadedModel") -> None:
    """Raise ParameterError where what follows a token changes its hidden state."""
    once(loaded, "right padding", lambda: _right_padding(loaded))


def once(loaded: "LoadedModel", what: str, trial: Callable[[], Any]) -> Any:
    """The result of a trial, made the first time that a model is asked. Raises ParameterError for a trial that fails."""
    if what not in loaded.trials:
        try:
            with torch.no_grad():
                loaded.trials[what] = trial()
        except (RacvizError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # remote code and odd architectures raise of every kind
            raise refusal(loaded, f"its trial of {what} fails: {reason_of(error)}") from error
    return loaded.trials[what]


def refusal(loaded: "LoadedModel", why: str) -> ParameterError:
    """The error for a model that fails a trial."""
    return ParameterError(f"{loaded.name!r} ({type(loaded.model).__name__}) is not supported: {why}.")


def trial_rows(loaded: "LoadedModel") -> tuple[torch.Tensor, torch.Tensor]:
    """A longer and a shorter row of ordinary tokens, `[1, T]` each; no special ones, which may stand for pictures."""
    size = loaded.model.get_input_embeddings().weight.shape[0]
    ids = [k for k in loaded.tokenizer(TEXT, add_special_tokens=False)["input_ids"] if k < size] or list(range(min(size, 40)))
    ids = torch.tensor((ids * (1 + (LONGER + SHORTER) // len(ids)))[: LONGER + SHORTER], device=loaded.device)
    switch = length_switch(loaded.model.config) or LONGER
    longer = max(2, min(LONGER, switch))
    return ids[None, :longer], ids[None, -max(2, min(SHORTER, longer - 1)) :]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal up to rounding; results that are not finite are left to those who use them."""
    limit = TOLERANCE.get(one.dtype, HALF)
    one, other = one.float(), other.float().to(one.device)
    if not torch.isfinite(one).all():
        return True
    return bool((one - other).norm() <= limit * one.norm() + 1e-6)


def _right_padding(loaded: "LoadedModel") -> None:
    longer, row = trial_rows(loaded)
    padded = torch.cat([longer, filled(loaded, row, longer.shape[1])])  # [2, T]
    alone = loaded.model(input_ids=row, use_cache=False).logits[0]  # [T, V]
    if not same(alone, loaded.model(input_ids=padded, use_cache=False).logits[1, : row.shape[1]]):
        raise refusal(loaded, "the tokens that follow change its hidden states, so that it is not causal")


def filled(loaded: "LoadedModel", row: torch.Tensor, width: int) -> torch.Tensor:
    """`[1, width]`: the row and padding on its right."""
    return torch.cat([row, row.new_full((1, width - row.shape[1]), pad_id(loaded))], 1)
