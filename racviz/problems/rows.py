"""A row of a table as a problem: its columns found, its key and tests made plain."""

from collections.abc import Iterator, Mapping
from typing import Any

from racviz.exceptions import DataError
from racviz.printable import shown
from racviz.problems.asking import whole_question
from racviz.problems.keys import (
    difficulty_of,
    final_answer,
    is_missing,
    is_worked,
    key_text,
    named,
    plain,
    refuse_number_of_choice,
    refused,
    scalar_text,
)
from racviz.problems.livecodebench import program_tests, refuse_other_tests, tests_text
from racviz.problems.sets import Problem
from racviz.problems.tables import Row

DOMAINS = ("arithmetic", "tracing")
"""The embedded problem sets."""
FIELDS = {
    "id": ("id", "unique_id", "uuid", "problem_id", "question_id", "task_id"),
    "prompt": ("prompt", "problem", "question", "question_content", "input"),
    "answer": ("answer", "final_answer", "expected_answer", "ground_truth", "solution"),
    "domain": ("domain",),
    "family": ("family", "subject", "problem_type"),
    "difficulty": ("difficulty", "level"),
    "tests": ("tests",),
    "instruction": ("instruction",),
}
"""The fields of a problem, and the columns in which each is looked for."""


def problems_of(rows: Iterator[Row], columns: Mapping[str, str], instruction: str | None, name: str) -> Iterator[Problem]:
    stem = name.rpartition("/")[2].partition(".")[0]
    for where, row in rows:
        yield problem_of(row, where, columns, f"{stem}-{where.rpartition(' ')[2]}", instruction)


def problem_of(
    row: Any, where: str, columns: Mapping[str, str] | None = None, default_id: str = "", instruction: str | None = None
) -> Problem:
    """A problem from a row of a table. Raises DataError that begins with `where`."""
    if not isinstance(row, dict):
        raise DataError(f"{where}: a problem is an object with columns; not {type(row).__name__} {shown(repr(row), 60)}.")
    chosen = _chosen(row, where, columns or {})
    values = {key: value for key, (_, value) in chosen.items() if not is_missing(value)}
    names = {key: column for key, (column, _) in chosen.items()}
    if "prompt" in values:
        values["prompt"] = _asked(plain(values["prompt"]), where)
    if not isinstance(prompt := values.get("prompt"), str) or not prompt.strip():
        held = f"it has {named(row)}" if prompt is None else f"{names['prompt']!r} holds {shown(repr(prompt), 80)}"
        raise DataError(
            f"{where}: a problem needs the column {names.get('prompt', 'prompt')!r}, a text that is not empty; {held}. "
            "Another column is named by ?prompt=… after the file's name, or by columns={'prompt': …}."
        )
    if "prompt" not in (columns or {}):
        values["prompt"] = whole_question(prompt, names["prompt"], row, where)
    if "public_test_cases" in row:
        values["tests"] = program_tests(row, where)
        values["prompt"] = "\n\n".join(filter(None, (values["prompt"], str(row.get("starter_code") or ""))))
        values.pop("difficulty", None)  # a word there
    if "answer" in values:
        values["answer"] = _key(values["answer"], names["answer"], where, row, "answer" in (columns or {}))
    values["difficulty"] = difficulty_of(values.get("difficulty"), where, "difficulty" in (columns or {}))
    if instruction is not None:
        values["instruction"] = instruction
    if "tests" in values:
        values["tests"] = tests_text(values["tests"], where)
    elif "answer" not in values:
        refuse_other_tests(row, where)
    for label in ("family", "domain"):  # of which a data set may have several; nothing is graded by them
        if isinstance(several := plain(values.get(label)), list) and label not in (columns or {}):
            values[label] = ", ".join(map(str, several))
    texts = {key: _one(values[key], names.get(key, key), where) for key in values if key not in ("difficulty", "answer")}
    return Problem(**{"id": default_id} | texts, answer=values.get("answer", ""), difficulty=values["difficulty"])


def _chosen(row: dict[str, Any], where: str, columns: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Column and value of each field: the column that was asked for, else the first usual one, in any case, that holds something.

    Raises DataError for a column that was asked for and is not there. A dot leads into an object: `reward_model.ground_truth`.
    """
    chosen = {}
    spelled = {str(name).lower(): name for name in reversed(row)} | {name: name for name in row}
    for key, names in FIELDS.items():
        asked = columns.get(key)
        if asked is None:
            name = next((spelled[each] for each in names if not is_missing(row.get(spelled.get(each)))), None)
            if name is not None:
                chosen[key] = (name, row[name])
            continue
        value: Any = row
        for part in [asked] if asked in row else asked.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise DataError(f"{where}: there is no column {asked!r} to take {key!r} from; it has {named(row)}.")
            value = value[part]
        chosen[key] = (asked, value)
    return chosen


def _key(value: Any, column: str, where: str, row: Mapping[str, Any], asked: bool) -> str:
    """The key as grading compares it; none in a worked solution without a box that nobody named as the column of keys.

    Raises DataError for a key that means more than grading can know.
    """
    value = plain(value)
    if not asked:
        refuse_number_of_choice(value, column, where, row)
    several = isinstance(value, list) and len(value) > 1
    if several and row.get("domain") in DOMAINS and not row.get("tests"):
        raise DataError(
            f"{where}: {column!r} holds {len(value)} values, but the domain {row['domain']!r} is graded word for word. Write one text, "
            "or leave the column 'domain' out."
        )
    text = key_text(value, column, where)
    key = final_answer(text, worked=column == "solution")
    return "" if column == "solution" and not asked and key == text and is_worked(text) else key


def _asked(prompt: Any, where: str) -> Any:
    """The user's text of a prompt that is a chat of one turn, as training sets have it; anything else as it is."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if not (isinstance(prompt, list) and prompt and all(isinstance(turn, Mapping) for turn in prompt)):
        return prompt
    said = [turn.get("content") for turn in prompt if turn.get("role") == "user"]
    if len(prompt) != 1 or len(said) != 1:
        roles = ", ".join(str(turn.get("role")) for turn in prompt)
        raise DataError(f"{where}: its prompt is a chat of the turns {roles}; a problem is one turn of the user's.")
    return said[0]


def _one(value: Any, column: str, where: str) -> str:
    """The text of a value, or of the only one in a list."""
    value = plain(value)
    if isinstance(value, list) and len(value) == 1:
        value = plain(value[0])
    if isinstance(value, list | dict):
        raise DataError(f"{where}: {column!r} holds {len(value)} values; a text or a number is wanted.")
    if (text := value if isinstance(value, str) else scalar_text(value)) is None:
        raise refused(value, column, where)
    return text
