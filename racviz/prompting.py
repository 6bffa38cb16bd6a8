"""Prompts as token ids, and responses split into thought and answer.

A prompt is rendered by the tokenizer's own chat template. A response is split at the end-of-thinking marker by token id
where the tokenizer has one token for it, by text otherwise.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from racviz.errors import ParameterError


@dataclass(frozen=True)
class ThinkingFormat:
    """How a model marks its thought. `end` is None for a model without markers: the whole answer is its thought."""

    start: str | None = "<think>"
    end: str | None = "</think>"


PLAIN = ThinkingFormat(None, None)


def detect_format(tokenizer) -> ThinkingFormat:
    """`<think> … </think>` where the tokenizer knows the marker, else no markers."""
    marker = tokenizer.convert_tokens_to_ids("</think>")
    return ThinkingFormat() if marker is not None and marker != tokenizer.unk_token_id else PLAIN


def render_prompt(tokenizer, text: str) -> list[int]:
    """The token ids z_P of a problem: the user's turn and the opening of the assistant's.

    Raises ParameterError for a tokenizer without a chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ParameterError("the tokenizer has no chat template; set tokenizer.chat_template before you use the model")
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def thought_length(tokenizer, output_ids: Sequence[int], form: ThinkingFormat) -> tuple[int, bool]:
    """CoT length in tokens, up to and including the end-of-thinking marker, and whether the thought ended.

    Without a marker in the output the whole output is the thought and it did not end; in the PLAIN format the whole
    output is the thought and the caller knows from the finish reason whether it ended.
    """
    if form.end is None:
        return len(output_ids), True
    ids, marker = list(output_ids), tokenizer(form.end, add_special_tokens=False)["input_ids"]
    if len(marker) == 1:
        return (ids.index(marker[0]) + 1, True) if marker[0] in ids else (len(ids), False)
    if form.end not in tokenizer.decode(ids):  # in text the marker's pieces may be merged with their neighbours
        return len(ids), False
    return bisect.bisect_left(range(len(ids)), True, key=lambda k: form.end in tokenizer.decode(ids[: k + 1])) + 1, True


def answer_text(tokenizer, output_ids: Sequence[int], form: ThinkingFormat) -> str | None:
    """What follows the thought, without special tokens; None where the thought never ended."""
    length, ended = thought_length(tokenizer, output_ids, form)
    if not ended:
        return None
    if form.end is None:
        return tokenizer.decode(list(output_ids), skip_special_tokens=True).strip()
    overlap = tokenizer.decode(list(output_ids)[:length]).partition(form.end)[
        2
    ]  # what the token that ends the marker goes on with
    return (overlap + tokenizer.decode(list(output_ids)[length:], skip_special_tokens=True)).strip()
