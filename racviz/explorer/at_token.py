"""The next tokens that models expect after a text, and the distance of their blocks; computed for one token at a time."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from racviz.exceptions import DataError, NotInStore
from racviz.explorer.catalogue import Catalogue
from racviz.printable import message

BEST = 5
"""Next tokens shown for each model."""


class LiveModels:
    """A catalogue's models, each loaded once when a token first needs it."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._loaded: dict[str, Any] = {}

    def answer(self, labels: list[str], ids: np.ndarray) -> dict[str, Any]:
        """The result of `at_token`, or the `reason` why there is none; `loadable` if the user may load the models.

        Parameters
        ----------
        labels : list of str
            The models to ask, of which those without a loader are left out.
        ids : array, [position + 1]
            The text up to and with the token.
        """
        catalogue = self.catalogue
        labels = [label for label in dict.fromkeys(labels) if label in catalogue.models]
        if "dense" not in labels:
            why = "; ".join(catalogue.reasons) or "these errors came without their models (pass models={'dense': …, …})"
            return {"reason": f"model not loaded: {why}"}
        if not catalogue.autoload and any(label not in self._loaded for label in labels):
            return {"reason": "model not loaded", "loadable": True}
        try:
            return at_token({label: self._load(label) for label in labels}, ids)
        except NotInStore:
            reason = "model not loaded: it is not in the cache and has to be pruned anew, which takes minutes"
            return {"reason": reason, "loadable": True}
        except Exception as error:  # of any model's own code; the errors can be explored without it
            return {"reason": message(f"model not loaded: {type(error).__name__}: {error}")}

    def _load(self, label: str) -> Any:
        if label not in self._loaded:
            self._loaded[label] = self.catalogue.models[label]()
        return self._loaded[label]


def at_token(models: Mapping[str, Any], ids: np.ndarray) -> dict[str, Any]:
    """Ask models about the last token of a text.

    Parameters
    ----------
    models : mapping
        `LoadedModel`s by name, among them `dense`.
    ids : array, [position + 1]
        The text up to and with the token.

    Returns
    -------
    dict
        `next`: for each model its most likely next tokens with their probabilities. `layers`: for each model but `dense` the
        relative error ‖x_dense − x‖₂ / ‖x_dense‖₂ of every block's output at the last position.

    Raises
    ------
    DataError
        If a token is beyond a model's vocabulary.
    """
    import torch

    from racviz.pruning.blocks import decoder_blocks

    next_tokens: dict[str, list[dict[str, Any]]] = {}
    states: dict[str, list[torch.Tensor]] = {}
    for name, loaded in models.items():
        size = len(loaded.model.get_input_embeddings().weight)
        if not 0 <= int(ids.min(initial=0)) <= int(ids.max(initial=0)) < size:
            raise DataError(
                f"the errors hold the token {int(ids.max())}, beyond the vocabulary of {name} ({size:,}): another model's."
            )
        outputs: list[torch.Tensor] = []  # [width] of each block, at the last position

        def catch(module, args, out, outputs=outputs):
            outputs.append((out[0] if isinstance(out, tuple) else out)[0, -1].float().cpu())

        handles = [block.register_forward_hook(catch) for block in decoder_blocks(loaded.model)[1]]
        try:
            with torch.inference_mode():
                text = torch.tensor(ids.tolist())[None].to(loaded.device)  # [1, position + 1]
                logits = loaded.model(input_ids=text, use_cache=False, logits_to_keep=1).logits[0, -1].float()  # [vocabulary]
        finally:
            for handle in handles:
                handle.remove()
        best = torch.softmax(logits, -1).topk(min(BEST, len(logits)))
        next_tokens[name] = [
            {"text": loaded.tokenizer.decode([int(i)]), "probability": float(p)}
            for p, i in zip(best.values, best.indices, strict=True)
        ]
        states[name] = outputs
    layers = {
        name: [float((a - b).norm() / a.norm().clamp(min=1e-30)) for a, b in zip(states["dense"], pruned, strict=True)]
        for name, pruned in states.items()
        if name != "dense"
    }
    return {"next": next_tokens, "layers": layers}
