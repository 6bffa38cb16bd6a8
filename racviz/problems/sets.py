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
    """One task with a checkable answer."""

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
        """What the model is asked."""
        return f"{self.prompt}\n\n{self.instruction}" if self.instruction else self.prompt

    @property
    def content_hash(self) -> str:
        """A hash of the prompt, white space folded and without BOXED: what decides whether a problem calibrated a model."""
        text = " ".join(self.prompt.split()).removesuffix(BOXED).rstrip()
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ProblemSet(Sequence[Problem]):
    """Problems in a fixed order, with the name of where they came from."""

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
