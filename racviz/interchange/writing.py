"""Traces for elsewhere: JSONL as the tools around read it, and data sets of Hugging Face."""

import json
from pathlib import Path
from typing import Any

from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, check, unknown
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.store import atomic
from racviz.traces import Traces

FORMS = ("ids", "text")


def export_traces(traces: Traces, path: str | Path, loaded: LoadedModel | None = None, form: str = "ids") -> None:
    """Write traces as JSONL for other tools, a rollout a line.

    form: `ids` has prompt_ids, output_ids and, for SGLang's RAC example, input_ids, num_prompt_tokens, num_decode_tokens; `text`
    has prompt (as rendered, special tokens and all) and completion (without special tokens, unless the end of the thought is one) as
    DeepSpeed's reads them, and needs `loaded` for its tokenizer.

    Raises ParameterError for another form or a missing model, DataError where the tokenizer is not the one of the traces.
    """
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    check(form == "ids" or loaded is not None, "loaded", loaded, "the model whose tokenizer the ids belong to, for form='text'")
    if loaded is not None and tokenizer_fingerprint(loaded.tokenizer) != traces.tokenizer:
        raise DataError(f"the traces were made with another tokenizer than that of {loaded.name!r}.")
    with atomic(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        for t in traces:
            row: dict[str, Any] = {
                "problem_id": t.problem_id,
                "sample": t.sample,
                "finish_reason": t.finish_reason,
                "content_hash": t.content_hash,
                "model": traces.model,
                "tokenizer_fingerprint": traces.tokenizer,
            }
            if form == "ids":
                row |= {"prompt_ids": t.prompt_ids, "output_ids": t.output_ids, "input_ids": [*t.prompt_ids, *t.output_ids]}
                row |= {"num_prompt_tokens": len(t.prompt_ids), "num_decode_tokens": len(t.output_ids)}
            else:
                row |= {"prompt": loaded.tokenizer.decode(t.prompt_ids)}
                row |= {"completion": loaded.tokenizer.decode(t.output_ids, skip_special_tokens=not _marked(loaded))}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _marked(loaded: LoadedModel) -> bool:
    """True if leaving out special tokens would leave out the end of the thought."""
    return loaded.thinking.end in loaded.tokenizer.all_special_tokens


def to_dataset(made: Traces | CalibrationSet):
    """A `datasets.Dataset`. Of traces: a row a rollout, columns as in the file. Of a calibration set: input_ids and attention_mask, a
    row a sequence, which llm-compressor takes as it is:

        oneshot(model, dataset=to_dataset(rac), recipe=…, num_calibration_samples=len(rac.sequences), shuffle_calibration_samples=False)

    with its own defaults of batch_size=1 (no padding) and max_seq_length=None (no cutting).
    """
    try:
        from datasets import Dataset
    except ModuleNotFoundError as error:
        raise DataError("to_dataset needs the package datasets: pip install 'racviz[hub]'.") from error
    if isinstance(made, Traces):
        return Dataset.from_pandas(made.to_frame(), preserve_index=False)
    check(isinstance(made, CalibrationSet), "made", made, "Traces or a CalibrationSet")
    ids = [sequence.tolist() for sequence in made.sequences]
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(sequence) for sequence in ids]})
