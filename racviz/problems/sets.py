"""A problem, and a set of problems in a fixed order."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from racviz.exceptions import DataError, check
from racviz.store import atomic

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
"""The instruction that DeepSeek recommends after a mathematical problem."""


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
        from racviz.problems import load_problems

        return load_problems(path)
