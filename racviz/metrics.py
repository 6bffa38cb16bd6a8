"""The metrics of tokenwise errors: what of a forward pass is compared, and how far apart two of them are.

A metric of one's own is a `Metric` and one line: in METRICS, or an entry point of the group `racviz.metrics`.
Tensors come in and go out; torch itself is not imported here, so that figures can name metrics without it.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from racviz.registry import Registry


@dataclass(frozen=True)
class Metric:
    """A metric of tokenwise errors."""

    states: Callable[[Any, Any, str | int], Any]
    """(transformers model, ids [B, T], layer) -> [B, T, d]: what is compared."""
    distance: Callable[[Any, Any], Any]
    """(dense states [B, T, d], pruned states [B, T, d]) -> [B, T]: the error of each token, 0 or more."""
    label: str
    """Its name in captions and menus."""
    unit: str = ""
    layers: bool = False
    """True where `layer` has a meaning: the states are hidden states."""


def hidden_states(model: Any, ids: Any, layer: str | int) -> Any:
    """Hidden states after `layer`, [B, T, d]; `final` is after the final norm (arXiv 2509.12464, Figure 2)."""
    if layer == "final":
        return model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    from racviz.pruning.blocks import decoder_blocks

    caught: list[Any] = []

    def catch(module, args, out):
        caught.append(out[0] if isinstance(out, tuple) else out)
        raise _Caught  # the blocks above are not needed

    blocks = decoder_blocks(model)[1]
    handle = blocks[-1 if layer == "last" else int(layer)].register_forward_hook(catch)
    try:
        with contextlib.suppress(_Caught):
            model.base_model(input_ids=ids, use_cache=False)
    finally:
        handle.remove()
    return caught[0]


class _Caught(Exception):
    """Ends a forward pass at the block that was wanted."""


def euclidean(dense: Any, pruned: Any) -> Any:
    """‖x_dense − x_pruned‖₂, [B, T]: e_t of the paper."""
    return (dense.float() - pruned.float()).norm(dim=-1)


def log_probabilities(model: Any, ids: Any, layer: str | int) -> Any:
    """Log-probabilities of the next token, [B, T, V]."""
    return model(input_ids=ids, use_cache=False).logits.float().log_softmax(-1)


def divergence(dense: Any, pruned: Any) -> Any:
    """KL(dense ‖ pruned) of the next token in nats, [B, T]."""
    return (dense.exp() * (dense - pruned)).sum(-1).clamp(min=0)


def likeliest(model: Any, ids: Any, layer: str | int) -> Any:
    """The most likely next token, [B, T, 1]."""
    return model(input_ids=ids, use_cache=False).logits.argmax(-1, keepdim=True)


def disagreement(dense: Any, pruned: Any) -> Any:
    """1 where the most likely next token is different, else 0, [B, T]."""
    return (dense != pruned).squeeze(-1).float()


METRICS = Registry(
    "metric",
    "racviz.metrics",
    {
        "hidden": Metric(hidden_states, euclidean, "hidden state", layers=True),
        "kl": Metric(log_probabilities, divergence, "KL of the next token", "nats"),
        "top1": Metric(likeliest, disagreement, "top-1 disagreement"),
    },
)


def metric_of(label: Mapping[str, Any]) -> Metric | None:
    """The metric that the label of an errors file names; None for one that is not known here."""
    return METRICS.get(label.get("metric") or "hidden")


def metric_label(name: str, unit: bool = False) -> str:
    """A metric's name in captions, with its unit where asked for; a name that is not known here is shown as it is."""
    if name not in METRICS:
        return name
    metric = METRICS[name]
    return f"{metric.label}, {metric.unit}" if unit and metric.unit else metric.label
