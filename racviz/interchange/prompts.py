"""Prompts of imported traces: rendered by the chat template, or known as rendered by their beginning."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from racviz.exceptions import DataError
from racviz.interchange.thoughts import is_blank, shown
from racviz.models import LoadedModel
from racviz.prompting import PROBE, ThinkingFormat
from racviz.prompting.templates import TemplateFailure, render

SYSTEMS = (
    "system", "system_prompt", "system_message", "systemprompt", "system_instruction", "sys_prompt", "developer", "instructions",
)  # fmt: skip
"""Columns of a system prompt beside a chat or a problem."""

ROLES = ("system", "user", "developer")
"""Words after a control token that open the first turn."""


@dataclass(frozen=True)
class Prompts:
    """Makes token ids out of prompts, with the chat template of a model."""

    loaded: LoadedModel

    def with_system(self, turns: list[dict[str, Any]], system: tuple[str, str] | None) -> list[int]:
        """Token ids of a chat after the system prompt of its row. Raises DataError that names the column where that cannot be."""
        try:
            return self.rendered(with_system(turns, system))
        except DataError as error:
            if system is None:
                raise
            raise DataError(f"{system[0]} holds a system prompt, which cannot be rendered: {error}") from error

    def rendered(self, turns: Sequence[Mapping[str, Any]]) -> list[int]:
        """Token ids of a chat, up to the opening of the assistant's turn.

        Raises DataError where the template does not take the turns, or leaves the text of one out.
        """
        if len(turns) == 1 and turns[0]["role"] == "user":
            return list(self.loaded.render(turns[0]["content"]))
        text = self._text(turns)
        for turn in turns:
            content = turn["content"].strip()
            if turn["role"] == "assistant" or (content and content in text):
                continue
            if content:
                raise DataError(f"the chat template of {self.loaded.name!r} leaves out the text of the turn {turn['role']!r}.")
        systems = [turn for turn in turns if turn["role"] in ("system", "developer")]
        without = [turn for turn in turns if turn not in systems]
        if systems and without and self._text(without) == text:
            raise DataError(f"the chat template of {self.loaded.name!r} leaves the system prompt out.")
        return list(self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _text(self, turns: Sequence[Mapping[str, Any]]) -> str:
        try:
            return render(self.loaded.tokenizer, turns, **dict(self.loaded.thinking.switch))
        except TemplateFailure as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise DataError(f"the chat template of {self.loaded.name!r} does not take the turns {roles}: {error}.") from error

    @cached_property
    def _frame(self) -> tuple[str, str]:
        """The text that the chat template puts before a problem, and after it."""
        if not self.loaded.tokenizer.chat_template:
            return "", ""
        before, _, after = self.loaded.tokenizer.decode(self.loaded.render(PROBE)).partition(PROBE)
        return before, after

    @cached_property
    def _openings(self) -> tuple[str, ...]:
        """The texts with which rendered chats begin: control tokens and the word after them, with a system prompt or without.

        What follows may differ from day to day, as the date in Llama's templates does. Empty for a template without control tokens there.
        """
        befores = [self._frame[0]]
        try:
            text = self._text([{"role": "system", "content": PROBE}, {"role": "user", "content": PROBE}])
        except DataError:
            pass
        else:
            befores.append(text.partition(PROBE)[0])
        openings = []
        for rest in befores:
            run = ""
            while token := max(
                (token for token in self.controls if token.strip() and rest.startswith(token)), key=len, default=""
            ):
                run, rest = run + token, rest.removeprefix(token)
            word = re.match(r"\S*", rest)[0]
            word = word[: min((word.index(token) for token in self.controls if token and token in word), default=len(word))]
            openings += [run + each for each in (ROLES if word in ROLES else (word,)) if run]
        return tuple(openings)

    def is_rendered(self, prompt: str) -> bool:
        """True if a prompt begins as the template begins, control tokens included.

        A template without a control token at its beginning must also be recognised at its end. A control token elsewhere says nothing:
        it may be the user's text.
        """
        before, after = self._frame
        if prompt.startswith(self._openings):
            return True
        return bool(before or after) and len(prompt) > len(before) + len(after) and self._framed(prompt)

    @cached_property
    def controls(self) -> list[str]:
        """Control tokens of the tokenizer."""
        tokenizer = self.loaded.tokenizer
        return [*tokenizer.all_special_tokens, *getattr(tokenizer, "get_added_vocab", dict)()]

    def _framed(self, prompt: str) -> bool:
        before, after = self._frame
        return prompt.startswith(before) and prompt.endswith(after)

    def completed(self, prompt: str) -> str:
        """A prompt with the beginning-of-sequence token where only that is missing, as servers print it."""
        bos = self.loaded.tokenizer.bos_token
        before, after = self._frame
        rest = before.removeprefix(bos) if bos else before
        if bos and rest != before and rest.strip() and after.strip() and prompt.startswith(rest) and prompt.endswith(after):
            return bos + prompt
        return prompt

    def problem(self, prompt: str) -> str:
        """The problem's text inside a rendered prompt; empty where the prompt is not one that this model's template makes."""
        before, after = self._frame
        if (before or after) and len(prompt) > len(before) + len(after) and self._framed(prompt):
            return prompt[len(before) : len(prompt) - len(after)]
        return ""

    def opened(self, prompt: str) -> ThinkingFormat:
        """The thinking format for a rendered prompt, which may open the thought or leave that to the model."""
        form = self.loaded.thinking
        return replace(form, opened=form.start is not None and prompt.rstrip().endswith(form.start))


def system_of(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """The system prompt in a column of its own, and the column's name. Raises DataError for one that is not text, and for two."""
    there = {name: value for name, value in row.items() if str(name).lower() in SYSTEMS and not is_blank(value)}
    for name, value in there.items():
        if not isinstance(value, str):
            raise DataError(f"{name} must be the text of a system prompt; not {shown(value)}.")
    if len({value.strip() for value in there.values()}) > 1:
        raise DataError(f"{' and '.join(there)} hold different system prompts; remove one column.")
    return next(((name, value) for name, value in there.items()), None)


def with_system(turns: list[dict[str, Any]], system: tuple[str, str] | None) -> list[dict[str, Any]]:
    """A chat with the system prompt of its row in front. Raises DataError where the chat has another one."""
    if system is None:
        return turns
    name, text = system
    own = [turn["content"] for turn in turns if turn["role"] in ("system", "developer")]
    if own:
        if " ".join(own).split() != text.split():
            raise DataError(f"{name} and the chat hold different system prompts; remove one.")
        return turns
    return [{"role": "system", "content": text}, *turns]
