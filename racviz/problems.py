"""Problem sets: the embedded domains, and local JSONL files with the same columns."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from racviz.errors import DataError, check, unknown
from racviz.store import atomic, resource

DOMAINS = ("arithmetic", "tracing")
SPLITS = ("calibration", "test")


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

    @property
    def content_hash(self) -> str:
        """A hash of the prompt, white space folded: what decides whether a problem calibrated a model."""
        return hashlib.sha256(" ".join(self.prompt.split()).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ProblemSet(Sequence[Problem]):
    """Problems in a fixed order, with the name of where they came from."""

    problems: tuple[Problem, ...] = field(repr=False)
    name: str
    split: str

    def __post_init__(self) -> None:
        if not self.problems:
            raise DataError(f"the problem set {self.name!r} ({self.split}) is empty; pass at least one problem.")
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
        text = json.dumps([[p.id, p.prompt, p.answer] for p in self.problems])
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


def load_problems(name: str | Path, split: str = "test", limit: int | None = None) -> ProblemSet:
    """Problems by name.

    name: an embedded domain (`arithmetic`, `tracing`) or a JSONL file with the columns id, prompt, answer (and, optional,
    domain, family, difficulty, tests). split: `calibration` or `test`; the embedded domains have 500 test problems and
    as many calibration problems as are asked for (the first 2,000 are shipped, the rest is generated, the same each
    time). A file holds one split; the name given here only labels it. limit: the first so many.

    Raises ParameterError for unknown names (with the nearest match), DataError for a malformed file (file and line).
    """
    name = str(name)
    check(split in SPLITS, "split", split, "'calibration' or 'test'")
    check(limit is None or (isinstance(limit, int) and limit >= 1), "limit", limit, "None or an integer >= 1")
    if name in DOMAINS:
        return ProblemSet(tuple(_embedded(name, split, limit)), name, split)
    if name.endswith((".jsonl", ".json")) or Path(name).is_file():
        return ProblemSet(tuple(itertools.islice(read_jsonl(Path(name)), limit)), Path(name).name, split)
    raise unknown("problems", name, DOMAINS, "Or pass the path of a .jsonl file with the columns id, prompt, answer.")


def _embedded(domain: str, split: str, limit: int | None) -> list[Problem]:
    shipped = list(read_jsonl(resource(f"data/problems/{domain}-{split}.jsonl")))
    if limit is None or limit <= len(shipped):
        return shipped[:limit]
    if split == "test":
        raise DataError(f"{domain} has {len(shipped)} test problems; limit={limit} asks for more. Lower the limit.")
    return generated(domain, split, limit)


def generated(domain: str, split: str, count: int) -> list[Problem]:
    """The first `count` problems of an embedded domain's generator; the shipped files are its beginning."""
    from racviz.tiny import arithmetic, tracing
    from racviz.tiny.lesson import stream

    tasks = stream({"arithmetic": arithmetic, "tracing": tracing}[domain].make, split)
    return [Problem(t.id, t.prompt, t.answer, t.domain, t.family, t.difficulty) for t in itertools.islice(tasks, count)]


def read_jsonl(path: Path) -> Iterator[Problem]:
    """Problems of a JSONL file. Raises DataError that names the file and the line."""
    if not path.is_file():
        raise DataError(f"the problem file {path} does not exist.")
    known = {f.name for f in fields(Problem)}
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}, line {number}: not UTF-8 text: {error}.") from error
            if line.strip():
                yield _parse(path, number, line, known)


def _parse(path: Path, number: int, line: str, known: set[str]) -> Problem:
    try:
        row = json.loads(line)
    except RecursionError as error:
        raise DataError(f"{path}, line {number}: the JSON is nested too deeply.") from error
    except json.JSONDecodeError as error:
        cut = " The file seems to be cut off." if not line.endswith("\n") else ""
        raise DataError(f"{path}, line {number}: not valid JSON ({error.msg} at column {error.colno}).{cut}") from error
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
        raise DataError(f"{path}, line {number}: a problem needs the column 'prompt', a text that is not empty.")
    row = {key: value for key, value in row.items() if key in known and value is not None}
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path}, line {number}: half of a surrogate pair, which is no text ({error.reason}).") from error
    row["id"] = str(row.get("id", f"{path.stem}-{number}"))
    row["answer"] = str(row.get("answer", ""))
    try:
        row["difficulty"] = int(row.get("difficulty", 0))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}, line {number}: 'difficulty' must be an integer; not {row['difficulty']!r}.") from error
    return Problem(**row)
