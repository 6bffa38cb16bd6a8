"""Problem sets: the embedded domains, local files, and data sets of the hub."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from racviz import hub
from racviz.exceptions import DataError, ParameterError, check, unknown
from racviz.problems.known import BY_ID, HUB, Known
from racviz.problems.rows import DOMAINS, FIELDS, problem_of, problems_of
from racviz.problems.sets import BOXED, Problem, ProblemSet
from racviz.problems.tables import Row, Table, file_rows, folder_rows, hub_rows
from racviz.store import resource

__all__ = [
    "BOXED",
    "DOMAINS",
    "FIELDS",
    "HUB",
    "Problem",
    "ProblemSet",
    "generated",
    "is_hub",
    "load_problems",
    "problem_of",
    "read_jsonl",
]
SPLITS = ("calibration", "test")
OPTIONS = (*FIELDS, "config", "split")
"""The options that may stand after the question mark of a name."""


def load_problems(
    name: str | Path, split: str = "test", limit: int | None = None, *, columns: Mapping[str, str] | None = None,
    instruction: str | None = None,
) -> ProblemSet:  # fmt: skip
    """Problems by name.

    name: an embedded domain (`arithmetic`, `tracing`); a JSON, CSV or Parquet file, compressed or not; a folder that `datasets`
    saved; a data set of the hub by its short name
    (`math-500`, `openr1-math`, `codeforces`, `gsm8k`, `livecodebench`) or as owner/name, streamed. A file or an id may say more:
    `file.csv?prompt=question&answer=solution`, `owner/name@revision?config=main&split=train`.
    split: `calibration` or `test`; the embedded domains have 500 test problems and as many calibration problems as are asked for
    (the first 2,000 are shipped, the rest is generated, the same each time). A file holds one split; the name given here only
    labels it. limit: the first so many. columns: which column holds what, for example {"prompt": "question"}; else they are
    found by their usual names (FIELDS). instruction: said after each prompt; `boxed` is BOXED, None what the data set asks for (the
    hub's sets of maths: BOXED; files: nothing, or their column instruction).

    Raises ParameterError for unknown names (with the nearest match), DataError for a malformed file (file and line), for missing
    columns (lists those that are there) and for a hub that cannot be reached.
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
    made = problems_of(
        rows, asked or (known.columns if known else {}), known.instruction if known and said is None else said, str(table)
    )
    return ProblemSet(tuple(itertools.islice(made, limit)), str(table), split)


def is_hub(name: str) -> bool:
    """Whether a name means a data set of the hub."""
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
    return problems_of(file_rows(path), {}, None, path.name)
