"""Ask a problem; the dense model and pruned ones answer side by side, token by token.

    play = rv.playground("tiny-reasoner")
    play                                     # in a notebook: a panel of controls
    play.ask("A shop has 12 pens …")         # without widgets

`preparing` makes the models on demand, `asking` lets them answer, `answers` compares, `showing` is the HTML, `widget` the panel.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from racviz.play.preparing import Playground

__all__ = ["playground"]


def playground(
    model: str = "tiny-reasoner", sources: Sequence[str] = ("prompt", "rac"), sparsity: float = 0.5, method: str = "sparsegpt", *,
    calibration_tokens: int = 16_384, budget: int = 1024, temperature: float = 0.0, top_p: float = 0.95, **parameters: Any,
) -> "Playground":  # fmt: skip
    """A playground: `play` in a cell of its own shows the controls, `play.ask(problem)` answers without them.

    model: an embedded name, `smollm2`, a local folder or a hub id. sources, sparsity, method: what the first pruned models are;
    others are made when they are asked for, and kept in the cache. calibration_tokens: in each calibration set. budget: cap on new
    tokens; temperature (0 is greedy) and top_p: of the answers. parameters: others of `Study`, such as domain, test_problems,
    device, dtype, seed, t_max.

    Raises ParameterError for what is not allowed. No weights are read before the first question.
    """
    from racviz.play.preparing import Playground

    return Playground(
        model, sources, sparsity, method, calibration_tokens=calibration_tokens, budget=budget, temperature=temperature,
        top_p=top_p, **parameters,
    )  # fmt: skip
