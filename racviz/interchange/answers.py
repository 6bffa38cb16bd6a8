"""Answers as servers and data sets write them: texts, messages, content blocks, whole responses of an API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from racviz.exceptions import DataError
from racviz.interchange.thoughts import NESTED, ROLES, Field, blocks_of, fields_of, is_blank, shown, thought_text

SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "ai": "assistant",
}
"""Other names of roles."""
STANDARD = ("system", "developer", "user", "assistant", "tool")
FINISHED = ("stop", "eos", "end_turn", "stop_sequence", "completed", "eos_token", "end_of_text")
CUT = ("length", "max_tokens", "max_length", "max_output_tokens", "incomplete", "max_new_tokens", "model_length", "truncated")
REASONS = ("finish_reason", "stop_reason", "done_reason", "finishReason", "stopReason")
DETAILS = ("response_metadata", "meta_info", "generation_metadata", "response_info")
"""Objects beside an answer that say how it was made (LangChain, SGLang)."""
TRUNCATED = ("truncated", "is_truncated", "was_truncated", "cut_off")
CONTENTS = ("content", "value", "text", "parts", "generated_text", "output_text", "response", "answer", "answer_content")
"""Fields of a message that hold its text."""
CALLS = ("tool_calls", "function_call")
"""Fields of a message that call tools."""
ENVELOPES = ("message", "body", "response")
"""Objects around a message, in the responses of APIs."""


@dataclass(frozen=True)
class Answer:
    """One answer: its text, the fields that hold its thought, and the reason why it ended, if the row says."""

    text: str
    fields: tuple[Field, ...] = ()
    reason: Any = None
    said: bool = False
    """True where the row has a reason, be it null."""
    earlier: tuple[tuple[str, "Answer"], ...] = ()
    """Turns of the assistant right before it, with their names; only thoughts can be joined to it."""


@dataclass(frozen=True)
class Turn:
    """A turn of a chat."""

    role: str
    answer: Answer
    thinks: bool = False
    """True for a turn that is a thought itself."""
    channel: str = ""
    name: str = ""
    """Its place, for messages."""


def reason_of(value: Any) -> str | None:
    """`stop` or `length` for the names that servers have for them, also as the `type` of an object (SGLang); None for all others."""
    if isinstance(value, Mapping):
        value = value.get("type", value.get("reason"))
    name = value.lower() if isinstance(value, str) else ""
    return "stop" if name in FINISHED else "length" if name in CUT else None


def with_reason(answer: Answer, row: Mapping[str, Any]) -> Answer:
    """The answer with the reason of its row, unless it has its own."""
    if answer.said:
        return answer
    places = [row, *(row[name] for name in (*NESTED, *DETAILS) if isinstance(row.get(name), Mapping))]
    for place in places:
        if any(place.get(name) is True for name in TRUNCATED):
            return replace(answer, reason="length", said=True)
    for place in places:
        for name in REASONS:
            if isinstance(place.get(name), str | Mapping) and place[name]:
                return replace(answer, reason=reason_of(place[name]), said=True)
    return replace(answer, said=any(name in place for place in places for name in REASONS))


def answers_of(name: str, value: Any, chosen: str | None = None) -> list[Answer | None]:
    """The answers in a column; None for a null. Raises DataError for a value that is none, with the column's name."""
    if value is None:
        return [None]
    if isinstance(value, str):
        return [Answer(value)]
    if isinstance(value, Mapping):
        return _of_object(name, value, chosen)
    if not isinstance(value, list | tuple):
        if isinstance(value, float) and value != value:
            raise DataError(f"{name} is NaN, as an empty cell is read, in place of a text.")
        raise DataError(f"no trace in it: {name} must be text, a message or a list of them; not {shown(value)}.")
    objects = [each for each in value if isinstance(each, Mapping)]
    if objects and len(objects) == len(value):
        if any(turn.get("role") or turn.get("from") or turn.get("type") in ("message", "reasoning") for turn in objects):
            return [last_answer(turns_of(name, value, chosen))]
        if all("type" in block for block in objects):
            return [Answer(*_content(name, value))]
    return [answer for k, each in enumerate(value) for answer in answers_of(f"{name}[{k}]", each, chosen)]


def _of_object(name: str, value: Any, chosen: str | None) -> list[Answer | None]:
    if not isinstance(value, Mapping):
        raise DataError(f"{name} must hold objects with a message or text; not {shown(value)}.")
    several = next((key for key in ("choices", "candidates") if isinstance(value.get(key), list) and value[key]), None)
    if several:
        return [answer for each in value[several] for answer in _of_object(f"{name}.{several}", each, chosen)]
    if isinstance(value.get("output"), list) and "content" not in value:  # OpenAI's Responses
        found = answers_of(f"{name}.output", value["output"], chosen)
        if len(found) != 1:
            raise DataError(f"{name}.output must be one answer, as a list of items; it holds {len(found)}.")
        answer = found[0]
        status = {"status": value.get("status")} if reason_of(value.get("status")) else {}
        return [with_reason(answer, {"finish_reason": status["status"]} if status else value)] if answer else [None]
    inner = next((key for key in ENVELOPES if isinstance(value.get(key), Mapping)), None)
    if inner is None and isinstance(value.get("content"), Mapping):
        inner = "content"  # Gemini's candidates
    if inner:
        outer = tuple(fields_of({k: v for k, v in value.items() if k != inner}, chosen))
        found = _of_object(f"{name}.{inner}", value[inner], chosen)
        return [a and with_reason(replace(a, fields=(*a.fields, *outer)), value) for a in found]
    return [message_of(name, value, chosen)]


def message_of(name: str, message: Mapping[str, Any], chosen: str | None = None) -> Answer:
    """The answer in one message. Raises DataError for one without text and thought, for calls of tools and for refusals."""
    check_message(name, message)
    fields = tuple(fields_of(message, chosen))
    key = next((key for key in CONTENTS if not is_blank(message.get(key))), None)
    if key is None:
        if not fields and not any(isinstance(message.get(key), str) for key in CONTENTS):
            raise DataError(
                f"{name} needs role and content (or from and value), both texts; it has {', '.join(map(shown, message))}."
            )
    text, blocks = _content(f"{name}.{key}", message[key]) if key else ("", ())
    if chosen is not None:
        blocks = blocks if chosen else ()
    return with_reason(Answer(text, (*fields, *blocks)), message)


def check_message(name: str, message: Mapping[str, Any]) -> None:
    """Raise DataError for a message that holds more than text and thought: a call of a tool, a refusal."""
    for key in CALLS:
        if not is_blank(message.get(key)):
            raise DataError(f"{name} calls a tool ({key}), which is not read.")
    if not is_blank(message.get("refusal")):
        raise DataError(f"{name} holds a refusal beside its content or in place of it, which is not read.")
    for key in NESTED:
        if isinstance(message.get(key), Mapping):
            check_message(f"{name}.{key}", message[key])


def _content(name: str, content: Any) -> tuple[str, tuple[Field, ...]]:
    text, blocks = blocks_of(name, content)
    return text, tuple(blocks)


def turns_of(name: str, turns: Sequence[Any], chosen: str | None = None) -> list[Turn]:
    """The turns of a chat. Raises DataError for one that has neither a role nor text."""
    made = []
    for k, turn in enumerate(turns):
        where = f"{name}[{k}]"
        role = turn.get("role", turn.get("from")) if isinstance(turn, Mapping) else None
        kind = turn.get("type") if isinstance(turn, Mapping) else None
        if role is None and kind in ("reasoning", "message"):
            role = kind if kind == "reasoning" else "assistant"
        if not isinstance(role, str):
            raise DataError(
                f"{where}: a turn of a chat needs role and content (or from and value), both texts; not {shown(turn)}."
            )
        role = role.lower() if role.lower() in STANDARD else SPEAKERS.get(role.lower(), role)
        channel = str(turn.get("channel") or "")
        thinks = role in ROLES or kind == "reasoning" or channel == "analysis"
        if thinks:
            check_message(where, turn)
            label = f"{where} (a turn of {channel or role})"
            plain = {key: value for key, value in turn.items() if key not in ("role", "from", "channel", "id", "status")}
            thought = "" if is_blank({k: v for k, v in plain.items() if k != "type"}) else thought_text(label, _inner(plain))
            answer = Answer("", (Field(label, thought),) if thought.strip() else ())
        elif channel not in ("", "final"):
            raise DataError(f"{where} is of the channel {shown(channel)}, which is neither a thought nor an answer.")
        else:
            answer = message_of(where, turn, chosen)
        made.append(Turn(role, answer, thinks, channel, where))
    return made


def _inner(turn: Mapping[str, Any]) -> Any:
    key = next((key for key in ("content", "value") if not is_blank(turn.get(key))), None)
    return turn[key] if key else turn


def last_answer(turns: Sequence[Turn]) -> Answer | None:
    """The answer in which a chat ends, with the turns of the assistant right before it; None where it ends otherwise."""
    begins = begin_of_answer(turns)
    return joined(turns[begins:]) if begins < len(turns) else None


def joined(turns: Sequence[Turn]) -> Answer:
    """The answer that turns of the assistant in a row make, all of them or all but the last of which are thoughts."""
    thoughts = tuple(field for turn in turns if turn.thinks for field in turn.answer.fields)
    if len(thoughts) > 1:  # several turns of thought in a row are one
        thoughts = (Field(thoughts[0].name, "".join(str(field.value) for field in thoughts)),)
    said = [(turn.name, turn.answer) for turn in turns if not turn.thinks]
    if turns[-1].thinks:
        return Answer("", thoughts, earlier=tuple(said))
    answer = said.pop()[1]
    return replace(answer, fields=(*thoughts, *answer.fields), earlier=tuple(said))


def begin_of_answer(turns: Sequence[Turn]) -> int:
    """The index at which the last answer of a chat begins, thoughts included; the number of turns where it does not end in one."""
    k = len(turns)
    while k and speaks(turns[k - 1]):
        k -= 1
    return k


def speaks(turn: Turn) -> bool:
    """True for a turn of the assistant, be it a thought."""
    return turn.thinks or turn.role == "assistant"
