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
    """Open a playground: the dense and the pruned models answer a problem side by side.

    In a notebook cell the result shows its controls; `ask(problem)` answers without them. No
    weights are read before the first question.

    Parameters
    ----------
    model : str, default "tiny-reasoner"
        An embedded name, `smollm2`, a local folder or a hub id.
    sources : sequence of str, default ("prompt", "rac")
        Calibration sources of the first pruned models. Others are pruned on request and cached.
    sparsity : float, default 0.5
        Their sparsity, in [0, 1).
    method : str, default "sparsegpt"
        Their solver.
    calibration_tokens : int, default 16384
        Tokens in each calibration set.
    budget : int, default 1024
        Cap on new tokens of an answer.
    temperature : float, default 0.0
        0 is greedy decoding.
    top_p : float, default 0.95
        Nucleus sampling.
    **parameters
        Others of `Study`, such as domain, test_problems, device, dtype, seed, t_max.

    Returns
    -------
    Playground
        With `ask` and `problems`.

    Raises
    ------
    ParameterError
        For a setting outside of its range.

    Examples
    --------
    >>> import racviz as rv
    >>> play = rv.playground("tiny-reasoner", sources=["prompt"], calibration_tokens=1024, budget=16)
    >>> answers = play.ask(play.problems[0])
    >>> len(answers.to_frame())
    2
    """
    from racviz.play.preparing import Playground

    return Playground(
        model, sources, sparsity, method, calibration_tokens=calibration_tokens, budget=budget, temperature=temperature,
        top_p=top_p, **parameters,
    )  # fmt: skip
