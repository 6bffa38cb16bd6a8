"""A lesson: a task with a checkable answer and the thought that a teacher wrote for it.

Train, calibration and test tasks are split by a hash of their *content* (the operations and their operands, or the
program with its variables renamed), never by their wording, so that no rewording carries a test task into training.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SPLITS = ("train", "calibration", "test")
SLIP_RATE = 0.15
"""Share of lessons in which the teacher slips once, notices it in the check, and does the step again."""

Segment = tuple[str, bool]
"""A piece of text and whether it is taught; a slip is shown to the student but never taught (its loss is masked)."""


@dataclass(frozen=True)
class Task:
    """One task of an embedded domain, with what its teacher needs to explain it."""

    domain: str
    family: str
    difficulty: int
    prompt: str
    answer: str
    content: str
    """Content that decides the split: equal for two tasks that differ only in wording."""
    work: object = field(repr=False, default=None)
    """The steps (arithmetic) or the program (tracing)."""

    @property
    def id(self) -> str:
        return f"{self.domain}-{hashlib.sha256(self.content.encode()).hexdigest()[:12]}"


def split_of(content: str) -> str:
    """The split that a content belongs to: 10 % test, 20 % calibration, the rest train."""
    bucket = int(hashlib.sha256(f"racviz {content}".encode()).hexdigest()[:8], 16) % 100
    return "test" if bucket < 10 else "calibration" if bucket < 30 else "train"


def draw(make: Callable[[random.Random], Task], split: str, rng: random.Random) -> Task:
    """One task of `split`, by drawing until the content falls into it."""
    while True:
        task = make(rng)
        if split_of(task.content) == split:
            return task


def stream(make: Callable[[random.Random], Task], split: str, seed: int = 0) -> Iterator[Task]:
    """Endless tasks of one split in a fixed order, no content twice."""
    rng = random.Random(f"{split} {seed}")
    seen: set[str] = set()
    while True:
        task = draw(make, split, rng)
        if task.content not in seen:
            seen.add(task.content)
            yield task
