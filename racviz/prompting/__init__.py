"""Prompts as token ids, and responses split into thought and answer.

A prompt is rendered by the tokenizer's own chat template. A response is split at the end-of-thinking marker by token id
where the tokenizer has one token for it, by text otherwise.
"""

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from racviz.exceptions import ParameterError, check, unknown
from racviz.prompting.templates import TemplateFailure, render, undeclared

SWITCH = re.compile(r"[A-Za-z_]\w*=[^\s=<>]+")
NAMED = re.compile(r"think|thought|reason", re.IGNORECASE)
NEGATIVE = re.compile(r"(^|_)(no|non|not|skip|disable|without|suppress)(_|$)", re.IGNORECASE)


@dataclass(frozen=True)
class ThinkingFormat:
    """How a model marks its thought. `end` is None for a model without markers: the whole answer is its thought."""

    start: str | None = "<think>"
    end: str | None = "</think>"
    opened: bool = False
    """Whether the prompt already ends in `start`, so that the output begins inside the thought."""
    switch: tuple[tuple[str, bool | str], ...] = ()
    """Arguments for the chat template, such as Qwen3's enable_thinking."""


PLAIN = ThinkingFormat(None, None)
FORMATS = {
    "think": ThinkingFormat(),
    "deepseek-r1": ThinkingFormat(opened=True),
    "qwen3": ThinkingFormat(switch=(("enable_thinking", True),)),
    "qwen3-off": ThinkingFormat(None, None, switch=(("enable_thinking", False),)),
    "magistral": ThinkingFormat("[THINK]", "[/THINK]"),
    "plain": PLAIN,
}
"""What models do, by name: `think` writes <think> … </think> itself; the template of `deepseek-r1` has opened the thought; `qwen3` has
a switch, on or off; `plain` has no markers."""
WORDS = {"on": True, "off": False}
"""Names for both states of a template's own switch, whatever the template calls it."""
SWITCHES = ("enable_thinking", "thinking", "enable_reasoning", "reasoning")
"""Names of switches that templates use, the most common first."""


def thinking_format(tokenizer, name: str | ThinkingFormat = "auto", model: str = "this model") -> ThinkingFormat:
    """The format of a name, checked against the tokenizer and its chat template.

    name: one of FORMATS; `auto`, from the tokenizer's tokens and template; `on` or `off`, the template's own switch, whatever it is
    called; `switch=value`, e.g. `thinking=false` or `reasoning_effort=low`; two markers of one's own with a space between, e.g.
    `<thought> </thought>`; or a ThinkingFormat.

    Raises ParameterError for a name that is none, for markers that the tokenizer lacks, and where the rendered prompt is not what
    the format says (shows the prompt).
    """
    check(isinstance(name, str | ThinkingFormat), "thinking", name, "a format's name, two markers, or a ThinkingFormat")
    if name == "auto":
        return detect_format(tokenizer)
    if isinstance(name, str) and (name in WORDS or SWITCH.fullmatch(name)):
        return _switched(tokenizer, name, model)
    if isinstance(name, ThinkingFormat) or name in FORMATS:
        form = FORMATS.get(name, name)
    elif len(name.split()) == 2:
        form = ThinkingFormat(*name.split())
    else:
        raise unknown(
            "thinking",
            name,
            ("auto", *FORMATS, *WORDS),
            "Or set a switch of the chat template, 'name=false'; or give two markers of your own: '<thought> </thought>'.",
        )
    prompt = _prompt_text(tokenizer, PROBE, form)
    for marker in filter(None, (form.start, form.end)):
        ids = tokenizer(marker, add_special_tokens=False)["input_ids"]
        known = len(ids) == 1 if form in FORMATS.values() else bool(ids)
        if not known or tokenizer.unk_token_id in ids:
            raise ParameterError(
                f"thinking={name!r}: the tokenizer of {model!r} lacks the marker {marker!r}. Pass 'plain' for a model without "
                f"markers, 'auto', or its own two markers with a space between. Its prompt is {prompt!r}."
            )
    for argument, _ in form.switch:
        if argument not in _template(tokenizer):
            raise ParameterError(
                f"thinking={name!r}: the chat template of {model!r} has no switch {argument}. Pass 'auto', 'think' or 'plain'. Its "
                f"prompt is {prompt!r}."
            )
    tail = prompt.rpartition(PROBE)[2]
    for other in {known.start for known in FORMATS.values()} - {form.start, None}:
        if tail.rstrip().endswith(other):
            raise ParameterError(
                f"thinking={name!r}: the chat template of {model!r} opens the thought with {other!r}. Pass 'auto'. Its prompt is "
                f"{prompt!r}."
            )
    opened = form.start is not None and tail.rstrip().endswith(form.start)
    if form.opened and not opened:
        raise ParameterError(
            f"thinking={name!r}: the chat template of {model!r} does not open the thought with {form.start!r}. Pass 'think' if the "
            f"model writes it itself, or 'plain'. Its prompt is {prompt!r}."
        )
    if form.end is not None and form.end in tail:
        raise ParameterError(
            f"thinking={name!r}: the chat template of {model!r} closes the thought before it begins. Pass 'plain', or 'qwen3' for a "
            f"template with a switch. Its prompt is {prompt!r}."
        )
    return replace(form, opened=opened)


PROBE = "What is 2 + 2?"


def _template(tokenizer) -> str:
    template = getattr(tokenizer, "chat_template", None)
    return " ".join(map(str, template.values())) if isinstance(template, dict) else template or ""


def detect_format(tokenizer) -> ThinkingFormat:
    """The format that the tokenizer and its template tell: single tokens for markers that the template knows, a switch, a thought
    that the prompt opens or closes.

    A template that mentions no markers means PLAIN: Qwen3's Instruct-2507 has the tokens and never thinks. Where such a model does
    think, the format must be named.
    """
    return _marked(tokenizer, switches(tokenizer)[:1] if _mentions(_template(tokenizer)) else ())


def _marked(tokenizer, switch: tuple[tuple[str, bool | str], ...]) -> ThinkingFormat:
    """The markers that the template knows, with its switch set so; PLAIN where there are none, or the prompt closes the thought."""
    template = _template(tokenizer)
    for form in (FORMATS["think"], FORMATS["magistral"]):
        marker = tokenizer.convert_tokens_to_ids(form.end)
        if marker is None or marker == tokenizer.unk_token_id:
            continue
        if not template:
            return form
        if form.end not in template and form.start not in template:  # a tokenizer may have the tokens of a sibling that thinks
            continue
        form = replace(form, switch=switch)
        tail = _prompt_text(tokenizer, PROBE, form).rpartition(PROBE)[2]
        if form.end in tail:
            return PLAIN
        return replace(form, opened=tail.rstrip().endswith(form.start))
    return PLAIN


def switches(tokenizer) -> tuple[tuple[str, bool], ...]:
    """Switches of the chat template that turn thinking on and off, each with the value that turns it on.

    They are variables that the template reads and does not set, and that change the prompt when they are true instead of false:
    by what their name says, or by a marker of thoughts in the prompt. The usual names come first.
    """
    found = []
    for name in _undeclared(tokenizer):
        try:
            on, off = (
                _prompt_text(tokenizer, PROBE, ThinkingFormat(None, None, switch=((name, value),))) for value in (True, False)
            )
        except ParameterError as error:
            if getattr(error.__cause__, "late", False):
                raise
            continue  # it wants a text or a list
        if on == off or on.count("True") > off.count("True"):  # the value itself is written: no switch
            continue
        told = [_closes(text) for text in (on, off)]
        if NAMED.search(name) or told[0] != told[1] or _opens(on) != _opens(off):
            inverse = told[0] > told[1] or (NEGATIVE.search(name) is not None and told[0] == told[1])
            found.append((name, not inverse))
    usual = {name: rank for rank, name in enumerate(SWITCHES)}
    return tuple(sorted(found, key=lambda pair: (usual.get(pair[0], len(usual)), not NAMED.search(pair[0]), pair[0])))


def _switched(tokenizer, name: str, model: str) -> ThinkingFormat:
    """The format with the template's switch set as `name` says: `on`, `off` or `switch=value`."""
    known = dict(switches(tokenizer)) if _template(tokenizer) else {}
    if name in WORDS:
        if not known:
            raise ParameterError(
                f"thinking={name!r}: the chat template of {model!r} has no switch for thinking. Pass 'auto', 'think' or 'plain'."
            )
        switch, on = next(iter(known.items()))
        value: bool | str = on if WORDS[name] else not on
    else:
        switch, text = name.split("=", 1)
        value = {"true": True, "false": False}.get(text.lower(), text)
        if switch not in _undeclared(tokenizer):
            raise unknown(
                "the switch in thinking",
                switch,
                _undeclared(tokenizer),
                f"The chat template of {model!r} reads no other variable.",
            )
    setting = ((switch, value),)
    if switch in known and isinstance(value, bool) and value != known[switch]:
        return replace(PLAIN, switch=setting)
    form = _marked(tokenizer, setting)
    return replace(form, switch=setting)


def _undeclared(tokenizer) -> list[str]:
    try:
        return undeclared(tokenizer) if _template(tokenizer) else []
    except TemplateFailure as error:
        raise _failed(tokenizer, error) from error


def _closes(prompt: str) -> bool:
    """True for a prompt that ends a thought before the model says anything."""
    tail = prompt.rpartition(PROBE)[2]
    return any(form.end in tail for form in FORMATS.values() if form.end)


def _opens(prompt: str) -> bool:
    tail = prompt.rpartition(PROBE)[2]
    return any(tail.rstrip().endswith(form.start) for form in FORMATS.values() if form.start)


def _mentions(template: str) -> bool:
    return any(marker in template for form in FORMATS.values() for marker in (form.start, form.end) if marker)


def render_prompt(tokenizer, text: str, form: ThinkingFormat = PLAIN) -> list[int]:
    """The token ids z_P of a problem: the user's turn and the opening of the assistant's. Their number is T_in.

    Raises ParameterError for a tokenizer without a chat template, and for a template that fails or leaves the text out (shows
    what it renders).
    """
    return list(tokenizer(_prompt_text(tokenizer, text, form), add_special_tokens=False)["input_ids"])


def _prompt_text(tokenizer, text: str, form: ThinkingFormat) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ParameterError(
            "the tokenizer has no chat template; put one beside it as chat_template.jinja, or set tokenizer.chat_template"
        )
    turn = [{"role": "user", "content": text}]
    try:
        rendered = render(tokenizer, turn, **dict(form.switch))
    except TemplateFailure as error:
        raise _failed(tokenizer, error) from error
    if text.strip() not in rendered:
        raise ParameterError(f"the tokenizer's chat template leaves the user's text out; it renders {rendered!r}.")
    return rendered


def _failed(tokenizer, error: TemplateFailure) -> ParameterError:
    begins = str(tokenizer.chat_template)[:200]
    return ParameterError(
        f"the tokenizer's chat template fails for one user's turn: {error}. It begins {begins!r}. Put a chat_template.jinja that "
        "takes one beside the tokenizer."
    )


def render_response(tokenizer, response: str, form: ThinkingFormat, ended: bool) -> list[int]:
    """The token ids of a response that is known as text only, its thought kept; what the prompt has opened is not opened again.

    ended: the response is whole, so the end-of-sequence token follows. The chat template has no part in it: those of reasoning
    models leave out the thought of a turn that is over.
    """
    if form.opened and response.lstrip().startswith(form.start):
        response = response.lstrip().removeprefix(form.start).removeprefix("\n")
    ids = list(tokenizer(response, add_special_tokens=False)["input_ids"])
    eos = tokenizer.eos_token_id
    return ids + [eos] if ended and eos is not None and ids[-1:] != [eos] else ids


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
