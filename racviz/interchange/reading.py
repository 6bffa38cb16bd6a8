"""Traces from elsewhere: token ids or text, as the tools around write them.

Racviz's own JSONL; token ids with a boundary (`input_ids`, `num_prompt_tokens`: SGLang's RAC example, with its manifest); text as
prompt and completion (DeepSpeed's RAC example, the RAC authors' JSONL, whose prompt already holds the completion); chats (`messages`,
`conversations`, or a `prompt` that is a chat with the answer in it: the RAC authors' Arrow sets); problems with `generations`.
"""

import json
import math
import operator
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from racviz.conformance import check_tokens
from racviz.errors import DataError, check
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.problems import FIELDS, Problem
from racviz.prompting import PROBE, render_response
from racviz.tables import Row, Table, file_rows, hub_rows
from racviz.traces import Trace, Traces

RESPONSES = ("response", "completion", "output", "generation", "generations")
ROLES = {"human": "user", "gpt": "assistant"}
OPTIONS = ("model", "own", "prompt", "response", "config", "split")
"""What may stand after the question mark of a name."""


@dataclass(frozen=True)
class _Found:
    """One rollout as a row tells it: ids, or text that must be made into ids."""

    prompt_ids: list[int]
    output_ids: list[int]
    text: str
    """The problem's text, where it is known; for the content hash."""
    retokenised: bool
    finish_reason: Any
    """As the row says; None where it does not."""


def import_traces(
    source: str | Path | Iterable[Mapping[str, Any]], loaded: LoadedModel, *, model: str | None = None, own: bool = False,
    columns: Mapping[str, str] | None = None, limit: int | None = None, tokens: int | None = None,
) -> Traces:  # fmt: skip
    """Traces that something else wrote, as token ids of `loaded`'s tokenizer.

    source: a JSONL, CSV or Parquet file, a folder that `datasets` saved, a hub id (streamed), or rows (a `datasets.Dataset`, a list).
    model: only rows whose column `model` is this; also the label of what made the traces. own: the traces are `loaded`'s own
    (on-policy), which nothing here can check; otherwise they count as off-policy. columns: where prompt and response are, if not
    in the usual places. limit: the first so many rollouts. tokens: stop at so many tokens,
    so that of a large data set only what is needed is read.

    Text is tokenised anew, the prompt through the chat template unless it holds special tokens already; the label says so
    (`retokenised`), since these need not be the tokens that were sampled. A file may say more: `traces.jsonl?model=…&own=true`.

    Raises DataError for rows that hold no trace (lists their columns), token ids that the model does not have or that do not
    spell the row's own text, and files without a single trace.
    """
    check(limit is None or (isinstance(limit, int) and limit >= 1), "limit", limit, "None or an integer >= 1")
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        source = source.to_dict("records")  # pandas goes over its columns
    table = Table.parse(source, OPTIONS) if isinstance(source, str | Path) else None
    options = table.options if table else {}
    model = model or options.get("model")
    own = own or options.get("own", "").lower() in ("1", "true", "yes")
    if table and is_own(path := Path(table.name)):
        return _own_file(path, loaded, model, own, limit)
    rows, name = _rows(table) if table else (((f"row {number}", row) for number, row in enumerate(source, 1)), "given rows")
    reader = _Reader(loaded, {key: options[key] for key in ("prompt", "response") if key in options} | dict(columns or {}))
    manifest = _manifest(Path(table.name).parent) if table else {}
    kept: list[Trace] = []
    counted = 0
    makers: Counter[str] = Counter()
    retokenised, unknown_hashes, seen = False, 0, Counter()
    for where, row in rows:
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: not a row with columns.")
        row = {key: value.tolist() if hasattr(value, "tolist") else value for key, value in row.items()}  # as pandas has them
        made_by = str(row.get("model") or "")
        if model is not None and made_by and made_by != model:
            makers[made_by] += 0
            continue
        for found in reader.found(row, where):
            check_tokens(loaded, [*found.prompt_ids, *found.output_ids], where)
            reader.check_spelling(found, row, where)
            digest = _content_hash(row, found)
            unknown_hashes += not digest
            named = next(
                (str(row[key]) for key in FIELDS["id"] if row.get(key) is not None), f"{name}-{where.rpartition(' ')[2]}"
            )
            key = digest or named
            kept.append(
                Trace(named, seen[key], tuple(found.prompt_ids), tuple(found.output_ids), _finish(found, loaded), digest)
            )
            seen[key] += 1
            counted += len(found.prompt_ids) + len(found.output_ids)
            makers[made_by] += 1
            retokenised |= found.retokenised
        if len(kept) >= (limit or math.inf) or counted >= (tokens or math.inf):
            break
    if not kept:
        there = ", ".join(sorted(filter(None, makers)))
        raise DataError(f"{name} holds no traces" + (f" by {model!r}; it has some by {there}." if model and there else "."))
    if unknown_hashes:
        warnings.warn(
            f"{name}: which problems {unknown_hashes} of {len(kept)} traces are on is not known, so nothing can tell whether a test "
            "problem calibrated; a column problem or content_hash would.", stacklevel=2,
        )  # fmt: skip
    makers_named = sorted(maker for maker, count in makers.items() if maker and count)
    label = model or " + ".join(makers_named) or str(manifest.get("model_path") or (loaded.name if own else name))
    sampling = {key: manifest[key] for key in ("temperature", "top_p", "seed", "max_new_tokens") if key in manifest}
    return Traces(
        tuple(kept[:limit]), label, loaded.fingerprint if own else "", tokenizer_fingerprint(loaded.tokenizer),
        {"imported": name, "retokenised": retokenised, **sampling},
    )  # fmt: skip


def is_own(path: Path) -> bool:
    """Whether a file is one that `Traces.save` wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix != ".parquet" or not path.is_file():
        return False
    try:
        return b'"tokenizer"' in (pq.read_schema(path).metadata or {}).get(b"racviz", b"")
    except (pa.ArrowInvalid, OSError):
        return False  # which whoever reads it says


def _own_file(path: Path, loaded: LoadedModel, model: str | None, own: bool, limit: int | None) -> Traces:
    made = Traces.load(path)
    if made.tokenizer != tokenizer_fingerprint(loaded.tokenizer):
        raise DataError(
            f"the traces in {path} were made with another tokenizer (by {made.model!r}) than that of {loaded.name!r}."
        )
    if model is not None and model != made.model:
        raise DataError(f"{path} holds no traces by {model!r}; it has some by {made.model}.")
    by = {"model_fingerprint": loaded.fingerprint} if own else {}
    return replace(made, rows=made.rows[:limit], **by)


def is_traces(name: str) -> bool:
    """Whether a name means a file of traces rather than a model."""
    table = Table.parse(name, OPTIONS)
    folder = Path(table.name)
    return table.is_file or (folder / "dataset_info.json").exists() or (folder / "dataset_dict.json").exists()


def _rows(table: Table) -> tuple[Iterator[Row], str]:
    path = Path(table.name)
    if path.is_dir():
        return ((f"{path}, row {number}", row) for number, row in enumerate(_saved(path), 1)), path.name
    if table.is_file:
        return file_rows(path), path.name
    return hub_rows(table, "train"), table.name


def _saved(folder: Path) -> Iterable[dict[str, Any]]:
    try:
        from datasets import load_from_disk
    except ModuleNotFoundError as error:
        raise DataError(f"the folder {folder} needs the package datasets: pip install 'racviz[hub]'.") from error
    try:
        found = load_from_disk(str(folder))
    except Exception as error:  # of every kind, for folders that are something else
        raise DataError(f"the folder {folder} is not a data set that datasets saved: {error}") from error
    return found["train"] if isinstance(found, dict) else found


def _manifest(folder: Path) -> dict[str, Any]:
    """What SGLang's collector writes beside its traces."""
    path = folder / "rac_manifest.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); remove it, or fetch it again with the traces.") from error


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) for turn in value)


@dataclass(frozen=True)
class _Reader:
    """Makes rollouts out of rows, with what all rows share."""

    loaded: LoadedModel
    columns: Mapping[str, str]

    @cached_property
    def _frame(self) -> tuple[str, str]:
        """What the chat template puts before a problem's text, and after it."""
        if not self.loaded.tokenizer.chat_template:
            return "", ""
        before, _, after = self.loaded.tokenizer.decode(self.loaded.render(PROBE)).partition(PROBE)
        return before, after

    def found(self, row: Mapping[str, Any], where: str) -> Iterator[_Found]:
        """The rollouts of a row."""
        said = row.get("finish_reason")
        for name in ("prompt_ids", "output_ids", "input_ids"):
            if name in row and not isinstance(row[name], list | tuple):
                raise DataError(f"{where}: {name} must be a list of token ids; not {row[name]!r}.")
        if "prompt_ids" in row and "output_ids" in row:
            yield self._of_ids(row["prompt_ids"], row["output_ids"], where, said)
            return
        if "input_ids" in row and "num_prompt_tokens" in row:
            ids, boundary = list(row["input_ids"]), row["num_prompt_tokens"]
            if not hasattr(boundary, "__index__") or not 0 < boundary <= len(ids):
                raise DataError(f"{where}: num_prompt_tokens is {boundary!r}, but there are {len(ids)} input_ids.")
            if row.get("num_decode_tokens") not in (None, len(ids) - boundary):
                raise DataError(f"{where}: num_prompt_tokens and num_decode_tokens do not add up to its {len(ids)} input_ids.")
            yield self._of_ids(ids[:boundary], ids[boundary:], where, said)
            return
        chat = next((row[key] for key in ("prompt", "messages", "conversations") if _is_chat(row.get(key))), None)
        asked, answered = self.columns.get("prompt"), self.columns.get("response")
        for name in filter(None, (asked, answered)):
            if name not in row:
                raise DataError(f"{where}: there is no column {name!r}; it has {', '.join(map(str, row))}.")
        column = answered or next((key for key in RESPONSES if row.get(key) is not None), None)
        several = isinstance(row.get("generations"), list) and any(isinstance(row.get(key), str) for key in FIELDS["prompt"])
        if chat is not None and asked is None and answered is None and not several:  # OpenR1's chat is one of its generations
            yield self._of_chat(chat, row, where)
            return
        prompt = row.get(asked) if asked else next((row[key] for key in FIELDS["prompt"] if row.get(key) is not None), None)
        responses = row.get(column) if column else None
        responses = [responses] if isinstance(responses, str) else responses
        if (
            not isinstance(prompt, str)
            or not isinstance(responses, list)
            or not all(isinstance(each, str) for each in responses)
        ):
            raise DataError(
                f"{where}: no trace in it; it has {', '.join(map(str, row)) or 'no columns'}. A trace is prompt_ids and output_ids, "
                "input_ids and num_prompt_tokens, messages, or prompt and response (name others by ?prompt=…&response=…)."
            )
        reasons = row.get("finish_reasons")
        if not isinstance(reasons, list) or len(reasons) != len(responses):
            reasons = [said] * len(responses)
        for response, reason in zip(responses, reasons, strict=True):
            text = prompt
            if column == "completion" and response and prompt.endswith(response) and len(prompt) > len(response):
                text = prompt[: -len(response)]  # the RAC authors' prompt already holds the completion
            yield self._of_text(text, response, reason)

    def _of_ids(self, prompt, output, where: str, said: Any) -> _Found:
        if any(isinstance(k, bool) or not hasattr(k, "__index__") for k in (*prompt, *output)) or not prompt:
            raise DataError(f"{where}: token ids must be integers, at least one of them the prompt's.")
        prompt, output = [operator.index(k) for k in prompt], [operator.index(k) for k in output]
        size, ids = self.loaded.model.get_input_embeddings().weight.shape[0], (*prompt, *output)
        if min(ids) < 0 or max(ids) >= size:
            worst = max(ids) if max(ids) >= size else min(ids)
            raise DataError(
                f"{where}: token id {worst}, but {self.loaded.name!r} has {size:,} tokens; another tokenizer made this trace."
            )
        return _Found(prompt, output, self._unrendered(self.loaded.tokenizer.decode(prompt)), False, said)

    def _of_text(self, prompt: str, response: str, said: Any) -> _Found:
        tokenizer = self.loaded.tokenizer
        rendered = any(token in prompt for token in tokenizer.all_special_tokens)
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"] if rendered else self.loaded.render(prompt)
        text = self._unrendered(prompt) if rendered else prompt
        return _Found(
            list(ids),
            render_response(tokenizer, response, self.loaded.thinking, said == "stop"),
            text,
            True,
            said,
        )

    def _of_chat(self, turns: list, row: Mapping[str, Any], where: str) -> _Found:
        """The last answer of a chat, after all that was said before it."""
        chat = []
        for turn in turns:
            role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
            if not isinstance(role, str) or not isinstance(content, str):
                raise DataError(f"{where}: a turn of a chat needs role and content (or from and value), both texts.")
            chat.append({"role": ROLES.get(role, role), "content": content})
        if chat[-1]["role"] != "assistant" or len(chat) < 2:
            raise DataError(f"{where}: its chat does not end in an answer of the assistant.")
        *before, answer = chat
        asked = next(turn["content"] for turn in reversed(before))
        if len(before) == 1:
            ids = self.loaded.render(asked)
        else:
            try:
                rendered = self.loaded.tokenizer.apply_chat_template(
                    before, tokenize=False, add_generation_prompt=True, **dict(self.loaded.thinking.switch)
                )
            except Exception as error:  # jinja's, and whatever a template raises of its own
                roles = ", ".join(turn["role"] for turn in before)
                raise DataError(
                    f"{where}: the chat template of {self.loaded.name!r} does not take the turns {roles}: {error}."
                ) from error
            ids = self.loaded.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        said = row.get("finish_reason", "stop")
        output = render_response(self.loaded.tokenizer, answer["content"], self.loaded.thinking, ended=said == "stop")
        return _Found(list(ids), output, asked, True, said)

    def _unrendered(self, prompt: str) -> str:
        """The problem's text inside a rendered prompt; empty where the prompt is not what this model's template makes."""
        before, after = self._frame
        if (
            (before or after)
            and len(prompt) > len(before) + len(after)
            and prompt.startswith(before)
            and prompt.endswith(after)
        ):
            return prompt[len(before) : len(prompt) - len(after)]
        return ""

    def check_spelling(self, found: _Found, row: Mapping[str, Any], where: str) -> None:
        """Raise DataError where token ids come with a text that they do not spell, or with the fingerprint of another tokenizer."""
        made_with = row.get("tokenizer_fingerprint")
        if not found.retokenised and made_with and made_with != tokenizer_fingerprint(self.loaded.tokenizer):
            raise DataError(f"{where}: its token ids are those of another tokenizer than that of {self.loaded.name!r}.")
        if found.retokenised or not isinstance(row.get("text"), str):
            return
        if self.loaded.tokenizer.decode([*found.prompt_ids, *found.output_ids]) != row["text"]:
            raise DataError(
                f"{where}: its token ids do not spell its text with the tokenizer of {self.loaded.name!r}; another one made it."
            )


def _content_hash(row: Mapping[str, Any], found: _Found) -> str:
    """Of the problem that a trace is on: as the row says, of its column of problems, or of the text inside the prompt; else empty."""
    if isinstance(row.get("content_hash"), str) and row["content_hash"]:
        return row["content_hash"]
    text = found.text or next((row[key] for key in ("problem", "question") if isinstance(row.get(key), str)), "")
    return Problem("", text).content_hash if text else ""


def _finish(found: _Found, loaded: LoadedModel) -> str:
    if found.finish_reason in ("stop", "length"):
        return found.finish_reason
    from racviz.generation.hf import stop_ids

    return "stop" if found.output_ids and found.output_ids[-1] in stop_ids(loaded) else "unknown"
