"""Problem sets: the embedded domains, files of one's own, and data sets of the hub."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from racviz import hub
from racviz.asking import whole_question
from racviz.errors import DataError, ParameterError, check, unknown
from racviz.keys import (
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
from racviz.livecodebench import program_tests, refuse_other_tests, tests_text
from racviz.printable import shown
from racviz.store import atomic, resource
from racviz.tables import Row, Table, file_rows, folder_rows, hub_rows

DOMAINS = ("arithmetic", "tracing")
SPLITS = ("calibration", "test")
BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
"""DeepSeek's recommended instruction after a mathematical problem."""
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
"""Fields of a problem, and the default columns of each."""
OPTIONS = (*FIELDS, "config", "split")
"""Settings allowed after the question mark of a name."""


@dataclass(frozen=True)
class Known:
    """A data set of the hub: where its splits are, and which columns hold what."""

    id: str
    config: str | None
    splits: dict[str, str]
    columns: dict[str, str]
    instruction: str = ""
    parquet: bool = False


HUB = {
    "math-500": Known("HuggingFaceH4/MATH-500", None, {"test": "test"},
                      dict(id="unique_id", prompt="problem", answer="answer", family="subject", difficulty="level"), BOXED),
    "openr1-math": Known("open-r1/OpenR1-Math-220k", "default", {"calibration": "train"},
                         dict(id="uuid", prompt="problem", answer="answer", family="problem_type"), BOXED, parquet=True),
    "codeforces": Known("open-r1/codeforces", "verifiable-prompts", {"calibration": "train", "test": "test"},
                        dict(id="id", prompt="prompt"), parquet=True),
    "gsm8k": Known("openai/gsm8k", "main", {"calibration": "train", "test": "test"},
                   dict(prompt="question", answer="answer"), BOXED),
    "livecodebench": Known("lighteval/code_generation_lite", "release_v6", {"test": "test"},
                           dict(id="question_id", prompt="question_content", family="platform")),
}  # fmt: skip
"""Data sets by a short name; their hub ids mean the same."""
BY_ID = {known.id: known for known in HUB.values()}


@dataclass(frozen=True)
class Problem:
    """One task with a checkable answer.

    Attributes
    ----------
    id : str
        Unique within its set.
    prompt : str
        The question.
    answer : str, default ""
        The key; empty where none is known.
    domain, family : str, default ""
        Labels.
    difficulty : int, default 0
        A label, larger is harder.
    tests : str, default ""
        For programs: JSON of the test cases and the function.
    instruction : str, default ""
        Added after the prompt; not part of the content hash.

    Examples
    --------
    >>> import racviz as rv
    >>> problem = rv.Problem("mine-1", "What is 2 + 2?", answer="4")
    >>> problem.text
    'What is 2 + 2?'
    >>> again = rv.Problem("mine-2", "What is  2 + 2?")
    >>> problem.content_hash == again.content_hash
    True
    """

    id: str
    prompt: str
    answer: str = ""
    domain: str = ""
    family: str = ""
    difficulty: int = 0
    tests: str = ""
    instruction: str = ""
    """Said after the prompt; not part of what tells problems apart."""

    @property
    def text(self) -> str:
        """The question as the model receives it."""
        return f"{self.prompt}\n\n{self.instruction}" if self.instruction else self.prompt

    @property
    def content_hash(self) -> str:
        """A hash of the prompt, white space folded and without BOXED: what decides whether a problem calibrated a model."""
        text = " ".join(self.prompt.split()).removesuffix(BOXED).rstrip()
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ProblemSet(Sequence[Problem]):
    """Problems in a fixed order, with the name of their origin. A sequence; slices are sets too.

    Attributes
    ----------
    problems : tuple of Problem
        At least one, with distinct ids.
    name : str
        The name that they were loaded by.
    split : str
        `calibration` or `test`.

    Raises
    ------
    DataError
        For an empty set or an id that stands twice.

    Examples
    --------
    >>> import racviz as rv
    >>> two = (rv.Problem("a", "1 + 1?"), rv.Problem("b", "1 + 2?"))
    >>> problems = rv.ProblemSet(two, "mine", "test")
    >>> len(problems), problems[:1][0].id
    (2, 'a')
    """

    problems: tuple[Problem, ...] = field(repr=False)
    name: str
    split: str

    def __post_init__(self) -> None:
        if not self.problems:
            raise DataError(f"the problem set {self.name!r} ({self.split}) is empty; pass at least one problem.")
        for each in self.problems:
            allowed = "a ProblemSet or Problems, such as Problem('mine-1', 'What is 2 + 2?')"
            check(isinstance(each, Problem), "problems", each, allowed)
        ids = [problem.id for problem in self.problems]
        if len(set(ids)) < len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise DataError(f"the problem set {self.name!r} has the id {twice!r} more than once; ids must differ.")

    def __len__(self) -> int:
        return len(self.problems)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ProblemSet(self.problems[index], self.name, self.split)
        return self.problems[index]

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    @property
    def fingerprint(self) -> str:
        text = json.dumps([[p.id, p.text, p.answer, p.content_hash, p.tests, p.domain] for p in self.problems])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def to_frame(self):
        import pandas as pd

        return pd.DataFrame([asdict(problem) for problem in self.problems])

    def save(self, path: str | Path) -> None:
        """Write JSONL, a problem a line."""
        with atomic(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
            for problem in self.problems:
                file.write(json.dumps({k: v for k, v in asdict(problem).items() if v != ""}, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "ProblemSet":
        return load_problems(path)


def load_problems(
    name: str | Path, split: str = "test", limit: int | None = None, *, columns: Mapping[str, str] | None = None,
    instruction: str | None = None,
) -> ProblemSet:  # fmt: skip
    """Load problems by name.

    Parameters
    ----------
    name : str or Path
        An embedded domain (`arithmetic`, `tracing`), a JSON, CSV or Parquet file (compressed or
        not), a folder that `datasets` saved, or a data set of the hub, streamed: `math-500`,
        `openr1-math`, `codeforces`, `gsm8k`, `livecodebench`, or owner/name. Settings follow a
        question mark: `file.csv?prompt=question&answer=solution`,
        `owner/name@revision?config=main&split=train`.
    split : str, default "test"
        `calibration` or `test`. The embedded domains have 500 test problems and as many
        calibration problems as are asked for: 2,000 are shipped, the rest is generated, the same
        each time. A file holds one split; the name given here only labels it.
    limit : int, optional
        The first so many problems.
    columns : mapping of str to str, optional
        Columns by field, for example {"prompt": "question"}; else their usual names (`FIELDS`).
    instruction : str, optional
        Text after each prompt; `boxed` is `BOXED`. None takes the data set's own: `BOXED` for the
        hub's sets of mathematics, nothing or the column `instruction` for files.

    Returns
    -------
    ProblemSet
        In the order of the source.

    Raises
    ------
    ParameterError
        For an unknown name, with the nearest match.
    DataError
        For a malformed file (file and line), missing columns (lists the existing ones), or an
        unreachable hub.

    Examples
    --------
    >>> import racviz as rv
    >>> problems = rv.load_problems("arithmetic", split="test", limit=3)
    >>> len(problems), problems[0].domain
    (3, 'arithmetic')
    """
    check(split in SPLITS, "split", split, "'calibration' or 'test'")
    check(limit is None or (isinstance(limit, int) and limit >= 1), "limit", limit, "None or an integer >= 1")
    if str(name) in DOMAINS:
        if columns or instruction:
            raise ParameterError(f"columns and instruction are for files and hub data sets, not for the domain {str(name)!r}")
        return ProblemSet(tuple(_embedded(str(name), split, limit)), str(name), split)
    table = Table.parse(name, OPTIONS)
    asked = {key: value for key, value in table.options.items() if key in FIELDS and key != "instruction"} | dict(columns or {})
    for key in asked:
        if key not in FIELDS:
            raise unknown("columns", key, FIELDS)
    said = table.options.get("instruction") if instruction is None else instruction
    said = BOXED if said == "boxed" else said
    named, likely = table.options.get("split"), {"calibration": "train"}.get(split, split)
    if table.is_file or table.is_saved:
        rows, known = (file_rows if table.is_file else folder_rows)(Path(table.name), named, likely), None
    elif table.is_folder:
        raise table.no_data_set()
    elif table.name in HUB or hub.is_id(table.name):
        known = HUB.get(table.name) or BY_ID.get(table.name)
        rows = _hub_rows(table, known, split, asked)
    else:
        raise unknown(
            "problems", str(name), (*DOMAINS, *HUB), "Or pass a .jsonl, .csv or .parquet file, or a hub id owner/name."
        )
    made = _problems(
        rows, asked or (known.columns if known else {}), known.instruction if known and said is None else said, str(table)
    )
    return ProblemSet(tuple(itertools.islice(made, limit)), str(table), split)


def is_hub(name: str) -> bool:
    """True if a name means a data set of the hub."""
    table = Table.parse(name, OPTIONS)
    return not table.is_file and not table.is_folder and (table.name in HUB or hub.is_id(table.name))


def _hub_rows(table: Table, known: Known | None, split: str, asked: dict[str, str]) -> Iterator[Row]:
    if known is None:
        return hub_rows(table, {"calibration": "train"}.get(split, split), known=tuple(BY_ID))
    if split not in known.splits and "split" not in table.options:
        only = ", ".join(map(repr, known.splits))
        raise ParameterError(
            f"{known.id!r} has {only} problems only; for {split!r} choose another data set, or name one with ?split=…"
        )
    options = {key: value for key, value in table.options.items() if key in ("config", "split")}
    wanted = list({**known.columns, **asked}.values()) if known.parquet else None
    return hub_rows(Table(known.id, table.revision, options), known.splits.get(split, split), config=known.config, only=wanted)


def _problems(rows: Iterator[Row], columns: Mapping[str, str], instruction: str | None, name: str) -> Iterator[Problem]:
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


def _embedded(domain: str, split: str, limit: int | None) -> list[Problem]:
    shipped = list(itertools.islice(read_jsonl(resource(f"data/problems/{domain}-{split}.jsonl")), limit))
    if limit is None or limit <= len(shipped):
        return shipped[:limit]
    if split == "test":
        raise DataError(f"{domain} has {len(shipped)} test problems; limit={limit} asks for more. Lower the limit.")
    return generated(domain, split, limit)


def generated(domain: str, split: str, count: int) -> list[Problem]:
    """The first `count` problems of an embedded domain's generator; the shipped files are its beginning."""
    from racviz.tiny.domains import DOMAINS as MAKERS
    from racviz.tiny.lesson import stream

    tasks = stream(MAKERS[domain].make, split)
    return [Problem(t.id, t.prompt, t.answer, t.domain, t.family, t.difficulty) for t in itertools.islice(tasks, count)]


def read_jsonl(path: Path) -> Iterator[Problem]:
    """Problems of a JSONL file. Raises DataError that names the file and the line."""
    return _problems(file_rows(path), {}, None, path.name)
