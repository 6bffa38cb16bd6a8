"""Rollouts out of rows: token ids as they are, texts through the chat template and the model's thinking format."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from racviz.exceptions import DataError
from racviz.interchange.answers import (
    Answer,
    Turn,
    answers_of,
    begin_of_answer,
    joined,
    last_answer,
    reason_of,
    speaks,
    turns_of,
    with_reason,
)  # fmt: skip
from racviz.interchange.chats import answers_of_text, chat_of, check_text, is_chat
from racviz.interchange.foreign import check_not_foreign, without_foreign_end
from racviz.interchange.ids import IdsReader
from racviz.interchange.joining import Joiner
from racviz.interchange.prompts import Prompts, system_of
from racviz.interchange.rollouts import Rollout
from racviz.interchange.thoughts import REMEDY, Field, fields_of, is_blank, shown
from racviz.models import LoadedModel
from racviz.problems import FIELDS, Problem
from racviz.problems.keys import named
from racviz.prompting import ThinkingFormat, render_response

RESPONSES = ("response", "completion", "output", "generation", "generations", "responses", "completions", "outputs", "choices", "message",
             "answer_content", "attempt", "deepseek_attempt", "generated_text", "output_text", "model_output", "candidates")  # fmt: skip
"""Columns of a response, the usual ones first."""
BESIDE_THOUGHTS = ("deepseek_solution", "model_answer", "answer", "final_answer", "content", "solution")
"""Columns that are the response where a thought stands beside them."""
OBJECTS = ("choices", "candidates", "message")
"""Columns that are a response only if they hold objects: choices may be those of a question."""
PASSAGES = ("context", "passage")
"""Columns of a text that the question is about."""
LEAST_RESPONSE = 40
"""Characters of a response that are not the last words of a question."""
CHATS = ("prompt", "messages", "conversations", "conversation", "input")


@dataclass(frozen=True)
class Reader:
    """Makes rollouts out of rows."""

    loaded: LoadedModel
    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of the columns of prompt, response and thought, where they are not the usual ones."""

    @cached_property
    def prompts(self) -> Prompts:
        return Prompts(self.loaded)

    @cached_property
    def joiner(self) -> Joiner:
        return Joiner(self.loaded)

    @cached_property
    def ids(self) -> IdsReader:
        return IdsReader(self.loaded, self.prompts, self.columns.get("thought"))

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """The texts of the control tokens that end a response."""
        from racviz.generation.hf import stop_ids

        tokenizer = self.loaded.tokenizer
        ids = sorted(token for token in stop_ids(self.loaded) if 0 <= token < len(tokenizer))
        control = set(self.prompts.controls)
        return tuple(text for text in map(tokenizer.decode, ids) if text.strip() and text in control)

    def rollouts(self, row: Mapping[str, Any]) -> tuple[list[Rollout], int]:
        """The rollouts of a row, and the number of its generations that are null or empty.

        Raises DataError, which names the field, for a row that holds no trace.
        """
        if (rollout := self.ids.rollout(row)) is not None:
            return [rollout], 0
        row = {name: chat_of(value) if name in CHATS else value for name, value in row.items()}
        row = {
            name: answers_of_text(name, value) if name in (*RESPONSES, *self.columns.values()) else value
            for name, value in row.items()
        }
        row |= {name: value for name in self.columns.values() if (value := _inside(row, name)) is not None}
        for key, name in self.columns.items():
            if name and name not in row and not (key == "thought" and any(map(is_chat, row.values()))):
                raise DataError(f"there is no column {name!r}; it has {named(row)}.")
        if not is_blank(row.get("history")):
            raise DataError("history holds earlier turns, which are not read; put them into messages.")
        if row.get("tools") != "[]" and not is_blank(row.get("tools")):
            raise DataError("tools holds descriptions of tools, which are not rendered into the prompt.")
        beside = fields_of(row, self.columns.get("thought"))
        asked, answered = self.columns.get("prompt"), self.columns.get("response")
        chat = next((name for name in ([asked] if asked else CHATS) if is_chat(row.get(name))), None)
        several = isinstance(row.get("generations"), list) and any(isinstance(row.get(key), str) for key in FIELDS["prompt"])
        if (
            chat is not None and answered is None and (asked is not None or not several)
        ):  # OpenR1's chat is one of its generations
            return self._of_chat(chat, row, beside)
        return self._of_columns(row, beside, asked, answered)

    # --- chats ---------------------------------------------------------------------------------------------------------

    def _of_chat(self, name: str, row: Mapping[str, Any], beside: list[Field]) -> tuple[list[Rollout], int]:
        """The last answer of a chat, or the answers in a column beside it, after all that was said before."""
        turns = turns_of(name, row[name], self.columns.get("thought"))
        begins, column = begin_of_answer(turns), ""
        if begins == len(turns):
            column = self._response_column(row, beside, skip=name) or ""
            answers = answers_of(column, row[column], self.columns.get("thought")) if column else []
        else:
            answers, column = self._last_answers(name, turns, row, beside)
        if not begins or not answers:
            raise DataError("its chat does not end in an answer of the assistant.")
        before = self._history(turns[:begins])
        ids = self.prompts.with_system(before, system_of(row))
        users = [turn["content"] for turn in before if turn["role"] == "user"]
        if not users:
            raise DataError("its chat has no turn of the user.")
        return self._rollouts(_Prompt(ids, users[-1], self.loaded.thinking), answers, row, beside, column)

    def _last_answers(
        self, name: str, turns: Sequence[Turn], row: Mapping[str, Any], beside: list[Field]
    ) -> tuple[list[Answer | None], str]:
        """The answer in which a chat ends, or those of a column that go on from it; and the column's name.

        Raises DataError where a column beside the chat holds another answer.
        """
        last = last_answer(turns)
        column = self._response_column(row, [], skip=name)
        others = answers_of(column, row[column], self.columns.get("thought")) if column else []
        if not column or last is None or not isinstance(row[column], str) or any(other is None for other in others):
            return [last], ""  # a list holds several answers, of which the chat's is one
        begun = last.text.strip()
        if not begun or (self.loaded.thinking.start and begun.endswith(self.loaded.thinking.start)):
            return [replace(other, text=last.text + other.text) for other in others], column
        if any(begun not in other.text and other.text.strip() not in begun for other in others):
            raise DataError(
                f"{name} ends in an answer, and {column} holds another; name the column of the response by ?response=…."
            )
        return [last], ""

    def _history(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """Turns for the chat template, which decides whether earlier thoughts are kept: they are inside the text, however they came."""
        made = []
        for spoken, run in itertools.groupby(turns, speaks):
            if not spoken:
                made += [{"role": turn.role, "content": turn.answer.text} for turn in run]
                continue
            answer = joined(list(run))
            fields = [*self.joiner.thoughts(answer.earlier), *answer.fields]
            made.append({"role": "assistant", "content": self.joiner.inline(answer.text, fields)})
        return made

    # --- columns -------------------------------------------------------------------------------------------------------

    def _response_column(self, row: Mapping[str, Any], beside: list[Field], skip: str | None = None) -> str | None:
        names = {str(name).lower(): name for name in reversed(row)} | {name: name for name in row}
        wanted = (*RESPONSES, *(BESIDE_THOUGHTS if beside or isinstance(row.get("content"), list) else ()))
        there = [names[each] for each in wanted if each in names and names[each] != skip]
        there = [name for name in there if name not in OBJECTS or is_chat(row[name]) or isinstance(row[name], Mapping)]
        column = next((name for name in there if not is_blank(row[name])), None)
        return column or next((name for name in there if beside or row[name] is not None), None)

    def _of_columns(
        self, row: Mapping[str, Any], beside: list[Field], asked: str | None, answered: str | None
    ) -> tuple[list[Rollout], int]:
        """The responses of a row, each after its prompt."""
        prompt = row.get(asked) if asked else self._prompt(row)
        column = answered or self._response_column(row, beside)
        asking = [asked] if asked else [name for name in row if str(name).lower() in (*FIELDS["prompt"], *CHATS)]
        lacking = column is None or not isinstance(prompt, str) or row[column] is None
        for name in asking:
            if lacking or row[name] is prompt:  # a column that is not read may hold anything
                check_text(name, row[name])
        if column is not None:
            check_text(column, row[column])
        if not isinstance(prompt, str) or not prompt.strip() or column is None:
            raise DataError(
                f"no trace in it; it has {named(row) if row else 'no columns'}. A trace is prompt_ids and output_ids, input_ids and "
                "num_prompt_tokens, messages, or prompt and response (name others by ?prompt=…&response=…)."
            )
        found = answers_of(column, row[column], self.columns.get("thought"))
        if not asked and not answered and column == "completion" and isinstance(row[column], str) and row[column]:
            if prompt.endswith(row[column]) and len(prompt) > len(row[column]) and self._is_response(prompt, row[column]):
                prompt = prompt[: -len(row[column])]  # the RAC authors' prompt already holds the completion
        found = [answer and self._without_prompt(answer, prompt, column) for answer in found]
        return self._rollouts(self._prompt_ids(prompt, system_of(row)), found, row, beside, column)

    def _is_response(self, prompt: str, end: str) -> bool:
        """True for the end of a prompt that is a response, and not the last words of a question."""
        thinking = self.loaded.thinking
        return self.prompts.is_rendered(prompt) or len(end) >= LEAST_RESPONSE or bool(thinking.end and thinking.end in end)

    def _without_prompt(self, answer: Answer, prompt: str, column: str) -> Answer:
        """The answer without the prompt that it repeats, as pipelines return it."""
        repeats = answer.text.startswith(prompt) and (column == "generated_text" or self.prompts.is_rendered(prompt))
        return replace(answer, text=answer.text.removeprefix(prompt).lstrip()) if repeats else answer

    def _prompt(self, row: Mapping[str, Any]) -> Any:
        names = {str(name).lower(): name for name in reversed(row)} | {name: name for name in row}
        name = next((names[each] for each in FIELDS["prompt"] if each in names and not is_blank(row[names[each]])), None)
        instruction = row.get("instruction")
        passage = next(
            (
                names[each]
                for each in PASSAGES
                if each in names and isinstance(row[names[each]], str) and row[names[each]].strip()
            ),
            None,
        )
        if not isinstance(instruction, str) or not instruction.strip():
            if passage and name and row[passage].strip() not in str(row[name]):
                raise DataError(f"{passage} holds a text that {name} does not; write it into the prompt, or remove the column.")
            return row[name] if name else None
        if passage and is_blank(row.get("input")):  # as Dolly's rows have them
            name = passage
        if name in (None, "input", passage):  # as Alpaca's rows have them
            return instruction if name is None else f"{instruction}\n{row[name]}"
        return Problem("", row[name], instruction=instruction).text if isinstance(row[name], str) else row[name]

    def _prompt_ids(self, prompt: str, system: tuple[str, str] | None) -> "_Prompt":
        """A prompt as token ids, through the chat template unless it is rendered already."""
        whole = self.prompts.completed(prompt)
        if not self.prompts.is_rendered(whole):
            check_not_foreign(whole, self.prompts.controls)
            ids = self.prompts.with_system([{"role": "user", "content": prompt}], system)
            return _Prompt(ids, prompt, self.loaded.thinking)
        if system is not None and system[1].strip() not in whole:
            raise DataError(f"{system[0]} holds a system prompt, but the prompt is rendered already and does not hold it.")
        ids = self.loaded.tokenizer(whole, add_special_tokens=False)["input_ids"]
        return _Prompt(list(ids), self.prompts.problem(whole), self.prompts.opened(whole))

    def _rollouts(
        self, prompt: "_Prompt", answers: Sequence[Answer | None], row: Mapping[str, Any], beside: Sequence[Field], column: str
    ) -> tuple[list[Rollout], int]:
        """A rollout for each answer, and the number of answers that are null or empty."""
        reasons = row.get("finish_reasons")
        reasons = reasons if isinstance(reasons, list) and len(reasons) == len(answers) else None
        whole = not column or (is_chat(row[column]) and any("role" in turn or "from" in turn for turn in row[column]))
        rollouts = []
        for k, answer in enumerate(answers):
            parts = [_part(each, k, len(answers)) for each in beside if each.name.partition(".")[0] != column]
            answer = answer or Answer("")
            if not (answer.text.strip() or answer.fields or answer.earlier or any(not is_blank(each.value) for each in parts)):
                continue
            if reasons is not None and not answer.said:
                answer = replace(answer, reason=reason_of(reasons[k]), said=True)
            rollouts.append(self._rollout(prompt, with_reason(answer, row), parts, column, whole))
        if not rollouts:
            raise DataError(f"{column or 'its answer'} holds no text: it is empty, or null.")
        return rollouts, len(answers) - len(rollouts)

    def _without_end(self, text: str) -> tuple[str, str]:
        """A text before its end token, and that token; empty where it has none. Raises DataError for text that goes on after it."""
        there = [(text.index(token), token) for token in self.ends if token in text]
        if not there:
            return text, ""
        place, end = min(there)
        rest = text[place:]
        for token in self.ends:
            rest = rest.replace(token, "")
        if rest.strip():
            raise DataError(f"its answer goes on after the end token {end}, with {shown(rest.strip())}.")
        return text[:place], end

    def _rollout(self, prompt: "_Prompt", answer: Answer, parts: Sequence[Field], column: str, whole: bool) -> Rollout:
        """A rollout of text. whole: an answer is a whole turn, so that it ended unless the row or its thought says otherwise."""
        fields = [*self.joiner.thoughts(answer.earlier), *answer.fields, *parts]
        response = self.joiner.response(answer.text, fields, column)
        finished = not prompt.form.opened if response.finished is None else response.finished
        reason = "stop" if whole and not answer.said else answer.reason
        if reason == "stop" and not finished:
            reason = None  # whatever the row says, a thought without its end gets no end token
        text, end = self._without_end(response.text)
        plain = without_foreign_end(text, self.prompts.controls)
        if plain != text and reason is None and not answer.said:
            reason = "stop"
        text = plain
        ended = finished and not end and reason == "stop"
        ids = render_response(self.loaded.tokenizer, text + end * finished, prompt.form, ended=ended)
        thought = response.thought or (prompt.form.opened and reason == "length")
        return Rollout(prompt.ids, ids, prompt.text, True, reason, thought)


@dataclass(frozen=True)
class _Prompt:
    """A prompt as token ids."""

    ids: list[int]
    text: str
    """The problem's text, where it is known."""
    form: ThinkingFormat
    """The thinking format after it."""


def _part(each: Field, index: int, count: int) -> Field:
    """The thought of one of several answers, out of a list of as many."""
    if count > 1 and isinstance(each.value, list) and len(each.value) == count:
        return Field(f"{each.name}[{index}]", each.value[index], each.sure)
    if count > 1:
        kind = f"a list of {len(each.value)}" if isinstance(each.value, list) else "one value"
        refusal = DataError(f"{each.name} is {kind} beside {count} answers; a thought for each is wanted. Else {REMEDY}.")
        return Field(each.name, refusal, each.sure)
    return each


def _inside(row: Mapping[str, Any], name: str) -> Any:
    """The value that a dotted name such as `doc.question` leads to; None where the row has a column of that name, or nothing there."""
    if not name or name in row or "." not in name:
        return None
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
