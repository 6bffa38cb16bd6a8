"""Thought and answer as one response, in the model's own thinking format."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from racviz.exceptions import DataError
from racviz.interchange.thoughts import REMEDY, Field, thought_text
from racviz.models import LoadedModel
from racviz.prompting import PROBE, ThinkingFormat
from racviz.prompting.templates import TemplateFailure, render

MARKERS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
)
"""Markers of thoughts that texts of other models have."""
FRAMES = (
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
    ("<|start|>assistant<|channel|>final<|message|>", "<|return|>"),
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
)
"""Markers around the answer that come with some of them."""


@dataclass(frozen=True)
class Response:
    """A response as one text."""

    text: str
    thought: bool
    """True if it holds a thought."""
    finished: bool | None
    """False for a thought without its end; None where that depends on whether the prompt opened one."""


@dataclass(frozen=True)
class _Own:
    """A thought inside a text."""

    thought: str
    answer: str
    ended: bool
    start: str | None
    """The marker with which it begins, if it has one."""


@dataclass(frozen=True)
class Joiner:
    """Joins thoughts to answers as a model writes them."""

    loaded: LoadedModel

    @property
    def form(self) -> ThinkingFormat:
        return self.loaded.thinking

    @cached_property
    def gaps(self) -> tuple[str, str, str]:
        """White space after the start marker, before the end marker and after it, where the chat template writes a thought itself."""
        thought, answer = "racviz-thought", "racviz-answer"
        names = ("reasoning_content", "reasoning", "thinking")
        turns = [
            {"role": "user", "content": PROBE},
            {"role": "assistant", "content": answer} | dict.fromkeys(names, thought),
        ]
        try:
            rendered = render(self.loaded.tokenizer, turns, opened=False, **dict(self.form.switch))
        except TemplateFailure:  # it takes no such turn
            return "", "", ""
        start, end = re.escape(self.form.start or ""), re.escape(self.form.end or "")
        found = re.search(rf"{start}(\s*){thought}(\s*){end}(\s*){answer}", rendered)
        return found.groups() if found else ("", "", "")

    def response(self, text: str, fields: Sequence[Field], column: str = "") -> Response:
        """A response out of the answer's text and the fields that hold its thought.

        Parameters
        ----------
        text : str
            The answer; it may hold the thought as well.
        fields : sequence of Field
            Fields beside it.
        column : str, optional
            Name of the answer's column, to choose among several thoughts: `deepseek_attempt` goes with `deepseek_…`.

        Raises
        ------
        DataError
            For fields that cannot be joined; names the field.
        """
        own = self._own(text)
        if own is not None and own.thought.strip():
            if self._same(own, fields) and own.start is None and self.form.start and not self.form.opened:
                text = self.form.start + text  # a field says where it begins
            return self._converted(own, text)
        field = self._chosen(fields, column)
        if field is None:
            return self._converted(own, text) if own is not None else Response(text, False, None)
        name, thought = field.name, str(field.value)
        return self._joined(name, thought, own.answer if own is not None and own.ended else "" if own is not None else text)

    def thoughts(self, earlier: Sequence[tuple[str, Any]]) -> list[Field]:
        """The thoughts in turns of the assistant right before an answer. Raises DataError for such a turn that is more than a thought."""
        found = []
        for name, answer in earlier:
            own = self._own(answer.text)
            field = None
            if own is not None and own.ended and own.thought.strip() and not own.answer.strip():
                self._same(own, answer.fields)
                field = Field("its own text", own.thought)
            elif not answer.text.strip() and not answer.earlier:
                field = self._chosen(answer.fields, "")
            if field is None:
                raise DataError(
                    f"{name} and the turn after it are both of the assistant, but {name} is not a thought alone; join them into one turn."
                )
            found.append(Field(f"{name} ({field.name})", field.value))
        return found

    def inline(self, text: str, fields: Sequence[Field]) -> str:
        """The text of an earlier turn with its thought inside, so that the chat template treats all spellings alike.

        Raises DataError, which names the field, for a thought that cannot be joined.
        """
        own = self._own(text)
        if own is not None and own.thought.strip():
            self._same(own, fields)
            return text
        field = self._chosen(fields, "")
        if field is None:
            return text
        thought, answer = str(field.value), own.answer if own is not None else text
        self._check(field.name, thought)
        return f"{self.form.start}{thought}{self.form.end}{answer}"

    def _joined(self, name: str, thought: str, answer: str) -> Response:
        self._check(name, thought)
        before, after, between = self.gaps
        joined = self.form.start + ("" if thought[:1].isspace() else before) + thought
        if not answer.strip():
            return Response(joined, True, False)
        joined += ("" if thought[-1:].isspace() else after) + self.form.end
        return Response(joined + ("" if answer[:1].isspace() else between) + answer, True, True)

    def _check(self, name: str, thought: str) -> None:
        """Raise DataError for a thought that the model's markers cannot hold."""
        if self.form.end is None or self.form.start is None:
            raise DataError(
                f"{name} holds a thought, but {self.loaded.name!r} has no markers to join it to the answer; load the model with "
                f"thinking=…, or {REMEDY}."
            )
        if self.form.end in thought or self.form.start in thought:
            raise DataError(f"{name} holds {self.form.start} or {self.form.end} inside the thought, which would end it early.")

    def _own(self, text: str) -> _Own | None:
        """The thought inside a text, or None."""
        begins = text.lstrip()
        pairs = [(self.form.start, self.form.end)] if self.form.start and self.form.end else []
        for start, end in (*pairs, *MARKERS):
            if begins.startswith(start):
                thought, ended, answer = begins.removeprefix(start).partition(end)
                return _Own(thought, answer, bool(ended), start)
        if self.form.end and self.form.end in text:
            thought, _, answer = text.partition(self.form.end)
            return _Own(thought, answer, True, None)
        return None

    def _converted(self, own: _Own, text: str) -> Response:
        """The text with the model's own markers; as it is where it has them, or where the model has none."""
        holds = bool(own.thought.strip())
        if self.form.end is None or own.start in (None, self.form.start):
            return Response(text, holds, own.ended)
        answer = own.answer
        for start, end in FRAMES:
            if answer.lstrip().startswith(start):
                answer = answer.lstrip().removeprefix(start).rpartition(end)[0] or answer.lstrip().removeprefix(start)
        ended = self.form.end + answer if own.ended else ""
        return Response(f"{self.form.start}{own.thought}{ended}", holds, own.ended)

    def _same(self, own: _Own, fields: Sequence[Field]) -> bool:
        """True if a field holds the same thought. Raises DataError for a field with another thought than the one in the text."""
        same = False
        for field in fields:
            if not field.sure:
                continue
            try:
                other = _bare(thought_text(field.name, field.value))
            except DataError:
                continue  # the text has its thought, so that none is lost
            if _folded(other) != _folded(own.thought):
                raise DataError(f"{field.name} and the answer's own text hold different thoughts; {REMEDY}.")
            same = True
        return same

    def _chosen(self, fields: Sequence[Field], column: str) -> Field | None:
        """The one thought among fields, or None. Raises DataError for unknown shapes and thoughts that differ."""
        read: list[Field] = []
        refusal: DataError | None = None
        for field in fields:
            try:
                text = _bare(thought_text(field.name, field.value))
            except DataError as error:
                refusal = refusal or error
                continue
            if text.strip():
                read.append(Field(field.name, text, field.sure))
        if not read:
            if refusal is not None:
                raise refusal
            return None
        prefix = column.partition("_")[0] + "_"
        for some in (read, [f for f in read if f.name.startswith(prefix)], [f for f in read if f.sure]):
            if some and len({_folded(field.value) for field in some}) == 1:
                return self._sure(some)
        names = " and ".join(field.name for field in read)
        raise DataError(f"{names} hold different thoughts; {REMEDY}.")

    @staticmethod
    def _sure(fields: Sequence[Field]) -> Field:
        field = max(fields, key=lambda each: each.sure)
        if field.sure:
            return field
        raise DataError(f"{field.name} may be the thought of the answer or something else; {REMEDY}.")


def _folded(text: str) -> str:
    return " ".join(text.split())


def _bare(thought: str) -> str:
    """A thought without the markers that some servers leave around it."""
    for start, end in MARKERS:
        begins, ends = thought.lstrip(), thought.rstrip()
        if begins.startswith(start):
            thought = begins.removeprefix(start)
            ends = thought.rstrip()
        if ends.endswith(end):
            thought = ends.removesuffix(end)
    return thought
