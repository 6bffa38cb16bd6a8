"""Chat templates, rendered in a process of their own: one that never ends is given up, wherever the caller runs.

A template comes with a model, and jinja's sandbox bounds neither time nor memory: `{{ 9**9**9 }}` is one product of integers, which
no signal and no thread interrupts.
"""

import atexit
import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from racviz.processes.answering import Answering

SECONDS = 10.0
"""After which a template is given up."""


class TemplateFailure(Exception):
    """A template that fails, or does not end in time; the message says why."""


def render(tokenizer: Any, turns: Sequence[Mapping[str, Any]], opened: bool = True, **switches: Any) -> str:
    """The text of a chat, as `tokenizer.apply_chat_template` gives it.

    Parameters
    ----------
    tokenizer : tokenizer of transformers
        One with a chat template.
    turns : sequence of mappings
        The turns, each with role and content.
    opened : bool
        The assistant's turn is opened at the end.
    **switches
        Further variables of the template.

    Raises
    ------
    TemplateFailure
        For a template that fails on these turns, or that does not end.
    """
    template = _template_of(tokenizer)
    if template is None or _trusted(template):
        try:
            return tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=opened, **switches)
        except Exception as error:  # jinja's, and whatever a tokenizer's own code raises
            raise TemplateFailure(str(error) or type(error).__name__) from error
    always = {"messages": list(turns), "tools": None, "documents": None, "add_generation_prompt": opened}
    variables = always | dict(tokenizer.special_tokens_map) | switches
    return _ask(template, variables)["text"]


def undeclared(tokenizer: Any) -> list[str]:
    """Variables that the tokenizer's chat template reads and that nobody gives it by default."""
    template = _template_of(tokenizer)
    if template is None or _trusted(template):
        return []
    given = {"messages", "tools", "documents", "add_generation_prompt", *tokenizer.special_tokens_map}
    return [name for name in _ask(template, None)["names"] if name not in given]


def _template_of(tokenizer: Any) -> str | None:
    """The template of a plain chat; None for a tokenizer that renders in its own way."""
    from transformers import PreTrainedTokenizerBase

    if getattr(type(tokenizer), "apply_chat_template", None) is not PreTrainedTokenizerBase.apply_chat_template:
        return None
    template = tokenizer.get_chat_template()
    return template if isinstance(template, str) else None


def _trusted(template: str) -> bool:
    """True for the template of the embedded models, which is known to end."""
    from racviz.tiny.tokenizer import CHAT_TEMPLATE

    return template == CHAT_TEMPLATE


def _ask(template: str, variables: dict[str, Any] | None) -> dict[str, Any]:
    question = {"template": template, "variables": variables, "seconds": math.ceil(SECONDS) + 1}
    try:
        said = _renderer(os.getpid()).ask(question, SECONDS)
    except ChildProcessError as error:
        raise TemplateFailure("the process that renders chat templates did not start; is jinja2 installed?") from error
    if said is None:
        raise TemplateFailure(f"it was given up after {SECONDS:g} seconds")
    if "error" in said:
        raise TemplateFailure(said["error"])
    return said


@functools.lru_cache(1)
def _renderer(pid: int) -> Answering:
    """The process that renders for this one; a fork has its own."""
    made = Answering(["-P", str(Path(__file__).with_name("template_worker.py"))])
    atexit.register(made.close)
    return made
