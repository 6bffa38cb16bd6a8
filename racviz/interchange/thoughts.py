"""Thoughts under the names that servers, SDKs and data sets give them: fields, content blocks, channels, columns.

A thought stands beside its answer as `reasoning_content` (vLLM, SGLang, DeepSeek), `reasoning` and `reasoning_details` (OpenRouter,
newer vLLM), `thinking` (Ollama, Anthropic's blocks), `thinking_blocks` (LiteLLM), `reasoning_text` (OpenAI's Responses),
`think_content`, `deepseek_thinking_trajectory`, `Complex_CoT` and the like (data sets). Names are read word by word, so that
neighbours of these are known too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from racviz.exceptions import DataError

THOUGHTS = frozenset(
    (
        "reasoning reasonings thinking thought thoughts think cot cots chainofthought rationale rationales scratchpad "
        "analysis monologue reasoningcontent reasoningtext thinkingcontent"
    ).split()
)
"""Words that name a thought."""
WEAK = frozenset("rationale rationales scratchpad analysis monologue".split())
"""Words that may also name something else, beside an answer that has a thought of its own."""
CARRIERS = frozenset(
    (
        "content contents text texts trace traces trajectory trajectories process chain chains of step steps detail "
        "details block blocks output outputs response raw full long short complex model assistant generated the my "
        "internal inner attempt hidden s a deepseek gemini claude qwen qwq gpt openai o anthropic r v llm ai teacher "
        "student json str string body part parts data sequence delta final path paths"
    ).split()
)
"""Words that may stand beside them in the name of a thought."""
LABELS = frozenset(
    (
        "token tokens count counts length len num number n time seconds ms duration effort budget level enabled enable "
        "enabling disable mode id ids signature score scores quality format type kind category class label domain task "
        "topic difficulty source dataset style lang language is has use uses used include exclude end start encrypted "
        "config configs settings options prompt instruction instructions system template parser complete completed "
        "correct correctness valid finish finished ended required supported cost price usage ratio rate tag tags hash "
        "parsed validity verified reward"
    ).split()
)
"""Words that make the name one of a count, a flag or a setting."""
NESTED = (
    "info",
    "additional_kwargs",
    "provider_specific_fields",
    "model_extra",
    "metadata",
    "extra",
    "extra_info",
    "generation_info",
)
"""Objects inside a message that hold more fields of it."""
EFFORTS = frozenset(
    "none minimal low medium high xhigh on off true false yes no enabled disabled auto default n/a na null nan - --".split()
)
"""Levels of effort, switches, and what stands for nothing: a field that says one of them alone holds no thought."""
DONE = frozenset("complete completed correct valid parsed verified".split())
"""Labels of flags which, before a text of several words, tell what was done to the thought."""
SUMMARIES = ("reasoning.summary", "reasoning.encrypted")
"""Types of the blocks of `reasoning_details` (OpenRouter) that are not the thought."""
ROLES = ("reasoning", "thinking", "thought", "thoughts", "analysis", "reasoning_content")
"""Roles and types of turns that are a thought."""
REMEDY = "name the column of the thought by ?thought=…, or none by ?thought="


@dataclass(frozen=True)
class Field:
    """A field that holds a thought, or seems to."""

    name: str
    value: Any
    sure: bool = True
    """False for a name that may mean something else."""


@lru_cache(maxsize=4096)
def named_thought(name: str) -> bool | None:
    """True for the name of a thought, None for one that may be, False for all others."""
    words: list[str] = []
    for part in re.split(r"[^A-Za-z0-9]+", name):
        whole = part.lower()
        words += [whole] if whole in THOUGHTS | LABELS else map(str.lower, re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part))
    said = set(words) & THOUGHTS
    others = set(words) - THOUGHTS
    if not said or others & LABELS:
        return False
    return True if others <= CARRIERS and not said <= WEAK else None


def is_blank(value: Any) -> bool:
    """True for null, NaN, false, white space, and lists and objects that hold nothing else."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Mapping):
        return all(map(is_blank, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_blank, value))
    return value is None or value is False or (isinstance(value, float) and value != value)


def is_effort(value: Any) -> bool:
    """True for a level of effort or a switch, as `"reasoning": "high"` and `"reasoning": "off"` are, and for what stands for nothing."""
    return isinstance(value, str) and value.strip().lower() in EFFORTS


def fields_of(row: Mapping[str, Any], chosen: str | None = None) -> list[Field]:
    """The fields of a row or a message that hold a thought, those of objects inside it included.

    Parameters
    ----------
    row : mapping
        The row or message.
    chosen : str, optional
        Name of the only field to take; empty for none.
    """
    if chosen is not None:
        return [Field(chosen, row[chosen])] if not is_blank(row.get(chosen)) else []
    fields = []
    for name, value in row.items():
        kind = named_thought(str(name)) if not _done_to(name, value) else None
        if kind is not False and not is_blank(value) and not is_effort(value):
            fields.append(Field(str(name), value, bool(kind)))
        elif name in NESTED and isinstance(value, Mapping):
            fields += [Field(f"{name}.{field.name}", field.value, field.sure) for field in fields_of(value)]
    details = row.get("reasoning_details")
    if isinstance(details, list) and details and all(isinstance(b, Mapping) and b.get("type") in SUMMARIES for b in details):
        refusal = "holds only a summary of the thought, which is not the thought"
        fields = [Field(each.name, DataError(f"{each.name} {refusal}; {REMEDY}."), each.sure) for each in fields]
    return fields


def _done_to(name: Any, value: Any) -> bool:
    """True for a text of several words under a name such as `verified_reasoning`, which may be the thought."""
    words = set(re.split(r"[^a-z]+", str(name).lower()))
    return (
        isinstance(value, str)
        and len(value.split()) > 2
        and bool(words & DONE)
        and named_thought("_".join(words - DONE)) is True
    )


def thought_text(name: str, value: Any) -> str:
    """The text of a thought. Raises DataError that names the field where its shape is not one that is known."""
    if isinstance(value, DataError):  # of a thought that belongs to none of several answers
        raise value
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return _of_block(name, value)
    if isinstance(value, list | tuple):
        parts = [each for each in value if not is_blank(each)]
        if len(parts) > 1 and any(isinstance(each, str) for each in parts):
            raise DataError(f"{name} is a list of {len(parts)} thoughts beside one answer; {REMEDY}.")
        return "".join(thought_text(name, each) for each in parts)
    raise DataError(
        f"{name} looks like a thought, but is {shown(value)}; a thought is a text or a list of blocks. Else {REMEDY}."
    )


def _of_block(name: str, block: Mapping[str, Any]) -> str:
    kind = str(block.get("type", ""))
    for key in (
        "text",
        "thinking",
        "reasoning",
        "content",
        "reasoning_text",
        "reasoning_content",
        "reasoningText",
        "thought",
        "parts",
    ):
        if not is_blank(block.get(key)) and not isinstance(block[key], bool):
            return thought_text(name, block[key])
    if not is_blank(block.get("summary")):
        raise DataError(f"{name} holds only a summary of the thought, which is not the thought; {REMEDY}.")
    if any(key in block for key in ("data", "encrypted_content", "encrypted")) or "redacted" in kind or "encrypted" in kind:
        raise DataError(f"{name} holds an encrypted thought, which cannot be read; {REMEDY}.")
    raise DataError(f"{name} looks like a thought, but is an object with {', '.join(map(shown, list(block)[:8]))}; {REMEDY}.")


def blocks_of(name: str, content: Any) -> tuple[str, list[Field]]:
    """The text of a message's content, and the thought among its blocks.

    Raises DataError for blocks that are neither (images, calls of tools), and for a thought that goes on after the answer began.
    """
    if content is None or isinstance(content, str):
        return content or "", []
    blocks = content if isinstance(content, list | tuple) else [content]
    answer, thought = "", ""
    for block in blocks:
        if isinstance(block, str):
            answer += block
            continue
        if not isinstance(block, Mapping):
            raise DataError(f"{name} must be text or a list of blocks; not {shown(content)}.")
        kind = str(block.get("type") or "")
        if (
            block.get("thought") is True
            or "reasoningContent" in block
            or named_thought(kind) is not False
            or "thinking" in kind
        ):
            if answer.strip():
                raise DataError(
                    f"{name} thinks again after its answer began; only one thought before one answer can be joined."
                )
            inner = block.get("reasoningContent", block)
            thought += thought_text(f"{name}.{kind or 'thought'}", inner)
        elif kind in ("", "text", "output_text", "input_text") and isinstance(block.get("text", block.get("content")), str):
            answer += block.get("text", block.get("content"))
        else:
            raise DataError(f"{name} has a block of type {shown(kind)}, which is not text.")
    return answer, [Field(f"the thinking blocks of {name}", thought)] if thought.strip() else []


def shown(value: Any, longest: int = 60) -> str:
    """A value for messages, cut where it is long, without control characters."""
    text = repr(value[: longest + 1] if isinstance(value, str | list | tuple) else value)
    return text if len(text) <= longest else text[:longest] + "…"
