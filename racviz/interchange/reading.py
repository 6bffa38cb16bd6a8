"""Traces from elsewhere: token ids or text, as the tools around write them.

Racviz's own JSONL; token ids with a boundary (`input_ids`, `num_prompt_tokens`: SGLang's RAC example, with its manifest); text as
prompt and completion (DeepSpeed's RAC example, the RAC authors' JSONL, whose prompt already holds the completion); chats (`messages`,
`conversations`, or a `prompt` that is a chat with the answer in it: the RAC authors' Arrow sets); problems with `generations`; whole
responses of servers. A thought beside its answer is joined to it (`thoughts`, `joining`).
"""

import bisect
import itertools
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError, check
from racviz.interchange.rollouts import Rollout, content_hash
from racviz.interchange.rows import Reader
from racviz.interchange.summary import Allowed, BadRows, ImportSummary, summary_of
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.models.limits import check_tokens
from racviz.printable import message
from racviz.problems import FIELDS
from racviz.problems.tables import Table, file_rows, folder_rows, hub_rows
from racviz.store import read_text
from racviz.store.schemas import checked, loaded_json
from racviz.traces import Trace, Traces

OPTIONS = ("model", "own", "prompt", "response", "thought", "config", "split", "max_bad")
"""Options after the question mark of a name."""


def import_traces(
    source: str | Path | Iterable[Mapping[str, Any]], loaded: LoadedModel, *, model: str | None = None, own: bool = False,
    columns: Mapping[str, str] | None = None, limit: int | None = None, tokens: int | None = None, max_bad: int | str | None = None,
) -> Traces:  # fmt: skip
    """Read traces that something else wrote, as token ids of `loaded`'s tokenizer.

    Text is tokenised anew, so that these need not be the tokens that were sampled; the label says so (`retokenised`). A prompt goes
    through the chat template unless it begins as the template begins. A thought in a field of its own is joined to its answer in the
    model's thinking format. A file's name may say more: `traces.jsonl?model=…&own=true`.

    Parameters
    ----------
    source : str, Path or iterable of mappings
        A JSONL, CSV or Parquet file, a folder that `datasets` saved, a hub id (streamed), or rows (a `datasets.Dataset`, a list). Of a
        folder with several splits one is named by `?split=…`.
    loaded : LoadedModel
        The model whose token ids are wanted.
    model : str, optional
        Only rows whose column `model` is this; also the label of the model that made the traces.
    own : bool
        True for `loaded`'s own traces (on-policy), which cannot be checked; otherwise they count as off-policy.
    columns : mapping, optional
        Names of the columns `prompt`, `response` and `thought`, if they are not the usual ones. An empty name for `thought` ignores
        all thoughts in fields of their own.
    limit : int, optional
        The first so many rollouts.
    tokens : int, optional
        Stop at so many tokens, so that of a large data set only a part is read.
    max_bad : int or str, optional
        Rows without a usable trace that are skipped: a number, or a share of the rows read; `"1%"` by default. A share is not rounded
        up, so that the default allows none in fewer than 100 rows.

    Returns
    -------
    Traces
        With a `summary` of the import.

    Raises
    ------
    DataError
        For more bad rows than allowed (shows the first), and for a source without a single trace.
    ParameterError
        For a limit, an option or a `max_bad` that is not allowed.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> rows = [{"prompt": "What is 2 + 2?", "response": "<think>2 + 2 is 4.</think>4"}]
    >>> traces = rv.import_traces(rows, dense)
    >>> len(traces), len(traces[0].output_ids) > 3
    (1, True)
    """
    for name, value in (("limit", limit), ("tokens", tokens)):
        check(value is None or (type(value) is int and value >= 1), name, value, "None or an integer >= 1")
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        source = source.to_dict("records")  # pandas goes over its columns
    table = Table.parse(source, OPTIONS) if isinstance(source, str | Path) else None
    options = table.options if table else {}
    allowed = Allowed.parse(options.get("max_bad", "1%") if max_bad is None else max_bad)
    model = model or options.get("model")
    own = own or options.get("own", "").lower() in ("1", "true", "yes")
    if table and is_own(path := Path(table.name)):
        return _own_file(path, loaded, model, own, limit, tokens)
    manifest = _manifest(Path(table.name).parent) if table else {}
    rows, name = _rows(table) if table else _given(source)
    reader = Reader(
        loaded, {key: options[key] for key in ("prompt", "response", "thought") if key in options} | dict(columns or {})
    )
    work = _Import(reader, name, model, limit or math.inf, tokens or math.inf, BadRows(allowed))
    work.read(rows)
    work.check()
    summary = work.summary()
    work.warn(summary)
    return work.traces(summary, own, manifest)


@dataclass
class _Import:
    """An import at work: the traces so far, and the counts."""

    reader: Reader
    name: str
    model: str | None
    limit: float
    tokens: float
    bad: BadRows
    kept: list[Trace] = field(default_factory=list)
    thoughts: list[bool] = field(default_factory=list)
    makers: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    counted: int = 0
    empty: int = 0
    retokenised: bool = False

    @property
    def enough(self) -> bool:
        return len(self.kept) >= self.limit or self.counted >= self.tokens

    def read(self, rows: Iterable[tuple[str, Any]]) -> None:
        """Take rollouts until there are enough. Bad rows over a share make it read on, until they are within the share or clearly not."""
        for where, row in rows:
            self.bad.rows += 1
            try:
                self._take(where, row, keep=not self.enough)
            except DataError as error:
                self.bad.add(where, error)
            except UnicodeEncodeError:
                self.bad.add(where, DataError("it holds half of a surrogate pair, which is no text."))
            except RecursionError:
                self.bad.add(where, DataError("its objects are nested too deeply."))
            if self.enough and self.bad.tolerable:
                return

    def _take(self, where: str, row: Any, keep: bool) -> None:
        if isinstance(row, DataError):
            raise row
        if not isinstance(row, Mapping):
            raise DataError("not a row with columns.")
        row = {key: _plain(value) for key, value in row.items()}
        made_by = row["model"] if isinstance(row.get("model"), str) else ""
        if self.model is not None and made_by and made_by != self.model:
            self.makers[made_by] += 0
            return
        rollouts, empty = self.reader.rollouts(row)
        if not keep:
            return
        self.empty += empty
        for rollout in rollouts:
            if self.enough:
                break
            self._keep(where, row, rollout)
            self.makers[made_by] += 1

    def _keep(self, where: str, row: Mapping[str, Any], rollout: Rollout) -> None:
        digest = content_hash(row, rollout)
        named = next(
            (str(row[key]) for key in FIELDS["id"] if row.get(key) is not None), f"{self.name}-{where.rpartition(' ')[2]}"
        )
        key, prompt, output = digest or named, tuple(rollout.prompt_ids), tuple(rollout.output_ids)
        check_tokens(self.reader.loaded, [*prompt, *output], where)
        finish = _finish(rollout, self.reader.loaded)
        self.kept.append(Trace(named, self.seen[key], prompt, output, finish, digest))
        self.thoughts.append(rollout.thought)
        self.seen[key] += 1
        self.counted += len(prompt) + len(output)
        self.retokenised |= rollout.retokenised

    def check(self) -> None:
        """Raise DataError for too many bad rows, and for no traces."""
        if not self.bad.tolerable:
            self.bad.refuse()
        if self.kept:
            return
        there = ", ".join(sorted(filter(None, self.makers)))
        skipped = f" Skipped: {' '.join(self.bad.examples)}" if self.bad.examples else ""
        by = f" by {self.model!r}; it has some by {there}." if self.model and there else "."
        raise DataError(f"{self.name} holds no traces{by}{skipped}")

    def summary(self) -> ImportSummary:
        return summary_of(self.kept, self.thoughts, self.bad, self.empty)

    def traces(self, summary: ImportSummary, own: bool, manifest: Mapping[str, Any]) -> Traces:
        """The traces with the label of their maker."""
        loaded = self.reader.loaded
        makers = sorted(maker for maker, count in self.makers.items() if maker and count)
        label = self.model or " + ".join(makers) or str(manifest.get("model_path") or (loaded.name if own else self.name))
        sampling = {key: manifest[key] for key in ("temperature", "top_p", "seed", "max_new_tokens") if key in manifest}
        sampling = {"imported": self.name, "retokenised": self.retokenised, "skipped": self.bad.count} | sampling
        fingerprint = loaded.fingerprint if own else ""
        return Traces(tuple(self.kept), label, fingerprint, tokenizer_fingerprint(loaded.tokenizer), sampling, summary)

    def warn(self, summary: ImportSummary) -> None:
        """Warn of skipped rows, empty generations, missing thoughts and unknown problems."""
        loaded, level = self.reader.loaded, 3
        if summary.skipped:
            first = message("\n".join(summary.examples))  # they quote the file
            warnings.warn(
                f"{self.name}: {summary.skipped:,} of {summary.rows:,} rows were skipped, since they are no traces:\n{first}",
                stacklevel=level,
            )
        if summary.empty:
            warnings.warn(f"{self.name}: {summary.empty:,} generations were null or empty and left out.", stacklevel=level)
        if loaded.thinking.end is not None and not summary.with_thought:
            warnings.warn(
                f"{self.name}: none of its {summary.traces:,} traces holds a thought, so that calibration on them is not RAC. A column "
                "with the thought is named by ?thought=…; a model's own markers by thinking=….", stacklevel=level,
            )  # fmt: skip
        if unknown := sum(not trace.content_hash for trace in self.kept):
            warnings.warn(
                f"{self.name}: which problems {unknown} of {len(self.kept)} traces are on is not known, so nothing can tell whether a "
                "test problem calibrated; a column problem or content_hash would.", stacklevel=level,
            )  # fmt: skip


def is_own(path: Path) -> bool:
    """True for a file that `Traces.save` wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix != ".parquet" or not os.path.isfile(path):
        return False
    try:
        return b'"tokenizer"' in (pq.read_schema(path).metadata or {}).get(b"racviz", b"")
    except (pa.ArrowInvalid, OSError):
        return False  # which whoever reads it says


def _own_file(path: Path, loaded: LoadedModel, model: str | None, own: bool, limit: int | None, tokens: int | None) -> Traces:
    made = Traces.load(path)
    if made.tokenizer != tokenizer_fingerprint(loaded.tokenizer):
        raise DataError(
            f"the traces in {path} were made with another tokenizer (by {made.model!r}) than that of {loaded.name!r}."
        )
    if model is not None and model != made.model:
        raise DataError(f"{path} holds no traces by {model!r}; it has some by {made.model}.")
    for number, trace in enumerate(made, 1):
        check_tokens(loaded, trace.ids, f"{path}, row {number},")
    by = {"model_fingerprint": loaded.fingerprint} if own else {}
    before = [0, *itertools.accumulate(map(len, made))]
    enough = bisect.bisect_left(before, tokens or math.inf)
    rows, reader = made.rows[: min(limit or enough, enough)], Reader(loaded)
    thoughts = [reader.ids.holds_thought(trace.output_ids, trace.finish_reason) for trace in rows]
    return replace(made, rows=rows, summary=summary_of(rows, thoughts, BadRows(Allowed.parse(0), rows=len(rows))), **by)


def is_traces(name: str) -> bool:
    """True if a name means a file of traces rather than a model."""
    table = Table.parse(name, OPTIONS)
    return table.is_file or table.is_saved


def _rows(table: Table) -> tuple[Iterator[tuple[str, Any]], str]:
    """The rows of a file, a folder or a data set of the hub, with their places. A row that cannot be read is a DataError in its place."""
    path, split = Path(table.name), table.options.get("split")
    if os.path.isdir(path):
        if not table.is_saved:
            raise table.no_data_set()
        return folder_rows(path, split), path.name
    if table.is_file:
        return file_rows(path, split, keep_going=True), path.name
    return hub_rows(table, "train"), table.name


def _given(source: Iterable[Any]) -> tuple[Iterator[tuple[str, Any]], str]:
    """Rows that are given as such, with their numbers. Raises DataError for several splits."""
    if isinstance(source, Mapping):
        splits = [each for each in source.values() if hasattr(each, "column_names")]
        if len(splits) != 1 or len(source) != 1:
            there = ", ".join(map(str, list(source)[:20]))
            raise DataError(
                f"the traces must be rows, or one split of a data set; not a mapping with {there}. Pass one of its splits."
            )
        source = splits[0]
    return ((f"row {number}", row) for number, row in enumerate(source, 1)), "given rows"


def _plain(value: Any) -> Any:
    """Arrays as lists and bytes as text, at any depth, as pandas and Parquet have them.

    Raises UnicodeEncodeError for text that no tokenizer takes.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value  # of a picture, say; of a text it is refused where it is read
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list | tuple) and not all(type(each) is int for each in value):
        return [_plain(each) for each in value]
    elif isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest that SGLang's collector writes beside its traces, or nothing."""
    path = folder / "rac_manifest.json"
    if not os.path.isfile(path):
        return {}
    try:
        return checked(loaded_json(read_text(path), "it", field="the content"), dict[str, Any], "it")
    except (OSError, ValueError, DataError) as error:
        raise DataError(f"{path} is damaged ({error}) Remove it, or fetch it again with the traces.") from error


def _finish(rollout: Rollout, loaded: LoadedModel) -> str:
    if rollout.finish_reason in ("stop", "length"):
        return rollout.finish_reason
    from racviz.generation.hf import stop_ids

    return "stop" if rollout.output_ids and rollout.output_ids[-1] in stop_ids(loaded) else "unknown"
