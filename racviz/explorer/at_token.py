"""Next-token predictions of the models at one token, and the distance of their layers there; computed on request."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from racviz.exceptions import DataError

BEST = 5


def at_token(models: Mapping[str, Any], ids: np.ndarray) -> dict[str, Any]:
    """`next`: of each model the most likely next tokens with their probabilities. `layers`: of each but `dense` the relative error
    ‖x_dense − x‖₂ / ‖x_dense‖₂ of every block's output at the last position.

    ids: `[position + 1]`, the text up to and with the token. models: `LoadedModel`s by name, `dense` first among equals.
    """
    import torch

    from racviz.pruning.blocks import decoder_blocks

    said: dict[str, list[dict[str, Any]]] = {}
    states: dict[str, list[torch.Tensor]] = {}
    for name, loaded in models.items():
        room = len(loaded.model.get_input_embeddings().weight)
        if not 0 <= int(ids.min(initial=0)) <= int(ids.max(initial=0)) < room:
            raise DataError(
                f"the errors hold the token {int(ids.max())}, beyond the vocabulary of {name} ({room:,}): another model's."
            )
        caught: list[torch.Tensor] = []

        def catch(module, args, out, caught=caught):
            caught.append((out[0] if isinstance(out, tuple) else out)[0, -1].float().cpu())

        handles = [block.register_forward_hook(catch) for block in decoder_blocks(loaded.model)[1]]
        try:
            with torch.inference_mode():
                whole = torch.tensor(ids.tolist())[None].to(loaded.device)
                logits = loaded.model(input_ids=whole, use_cache=False, logits_to_keep=1).logits[0, -1].float()
        finally:
            for handle in handles:
                handle.remove()
        best = torch.softmax(logits, -1).topk(min(BEST, len(logits)))
        said[name] = [
            {"text": loaded.tokenizer.decode([int(i)]), "probability": float(p)}
            for p, i in zip(best.values, best.indices, strict=True)
        ]
        states[name] = caught
    layers = {
        name: [float((a - b).norm() / a.norm().clamp(min=1e-30)) for a, b in zip(states["dense"], mine, strict=True)]
        for name, mine in states.items()
        if name != "dense"
    }
    return {"next": said, "layers": layers}
