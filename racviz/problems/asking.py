"""The rest of what a row asks, beside its question: options, passages and pictures, which belong to the prompt or cannot be read."""

import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from racviz.exceptions import DataError
from racviz.printable import shown
from racviz.problems.keys import is_missing, plain, scalar_text

OPTIONS = ("options", "choices")
LETTERED = tuple(ascii_uppercase[:10])
PASSAGES = ("body", "context", "passage", "story", "paragraph")
"""Columns of a text that a question is about (SVAMP, SQuAD, DROP)."""
PICTURES = re.compile(r"(image|images|picture|figure|decoded_image)(_?\d{1,2})?", re.I)
QUESTIONS = ("prompt", "problem", "question", "question_content")
"""Columns of which two that differ ask two things."""


def whole_question(prompt: str, column: str, row: Mapping[str, Any], where: str) -> str:
    """The question with the passage before it and the options behind it, where the row holds them apart.

    Raises DataError, which begins with `where`, for a picture, for options of another shape, and for two different questions.
    """
    names = {str(name).lower(): name for name in reversed(row)} | {name: name for name in row}
    folded = " ".join(prompt.split())
    for name, value in row.items():
        if PICTURES.fullmatch(str(name)) and not isinstance(value, str) and not is_missing(value) and not _is_empty(value):
            raise DataError(f"{where}: {str(name)!r} holds a picture, which the model cannot see. Leave the problem out.")
    for name in (names[each] for each in QUESTIONS if each in names):
        other = row[name]
        if name != column and isinstance(other, str) and (said := " ".join(other.split())):
            if said not in folded and folded not in said:
                raise DataError(
                    f"{where}: {column!r} and {name!r} hold different texts; name the one that asks, by ?prompt=… after the file's name or "
                    "by columns={'prompt': …}."
                )
    for name in (names[each] for each in PASSAGES if each in names):
        text = row[name]
        if isinstance(text, str) and text.strip() and " ".join(text.split()) not in folded:
            prompt = f"{text.strip()}\n\n{prompt}"
    options = _options(row, names, where)
    if options and not all(" ".join(text.split()) in folded for text in options.values()):
        prompt = "\n".join([prompt, *(f"{letter}. {text}" for letter, text in options.items())])
    return prompt


def _is_empty(value: Any) -> bool:
    return isinstance(value, Mapping) and all(each is None for each in value.values())


def _options(row: Mapping[str, Any], names: Mapping[str, Any], where: str) -> dict[str, str]:
    """The options of a multiple-choice question by letter; empty where the row has none."""
    name = next((names[each] for each in OPTIONS if each in names and not is_missing(row[names[each]])), None)
    if name is None:
        texts = {letter: scalar_text(plain(row[letter])) for letter in LETTERED if letter in row}
        given = {letter: text for letter, text in texts.items() if text}
        return given if len(given) > 1 and list(given) == list(ascii_uppercase[: len(given)]) else {}
    value = plain(row[name])
    if (
        isinstance(value, Mapping)
        and isinstance(value.get("text"), list | tuple)
        and isinstance(value.get("label"), list | tuple)
    ):
        letters, texts = [str(label) for label in value["label"]], [scalar_text(plain(text)) for text in value["text"]]
    elif isinstance(value, Mapping):
        letters, texts = [str(label) for label in value], [scalar_text(plain(text)) for text in value.values()]
    elif isinstance(value, list) and len(value) <= len(ascii_uppercase):
        letters, texts = list(ascii_uppercase[: len(value)]), [scalar_text(plain(text)) for text in value]
    else:
        letters, texts = [], [None]
    if len(letters) != len(texts) or not all(texts):
        raise DataError(
            f"{where}: {str(name)!r} holds options of a form that is not read, {shown(repr(value), 80)}. Write them into the question."
        )
    return dict(zip(letters, texts, strict=True))
