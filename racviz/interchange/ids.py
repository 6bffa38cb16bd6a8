"""Rollouts as token ids, which are checked and kept as they are."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from racviz.exceptions import DataError
from racviz.interchange.answers import Answer, with_reason
from racviz.interchange.prompts import Prompts
from racviz.interchange.rollouts import Rollout
from racviz.interchange.thoughts import fields_of, shown
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.prompting import thought_length

IDS = ("prompt_ids", "output_ids", "input_ids")
LEAST_PROMPT = 4
"""Tokens of a prompt that an output does not repeat by chance."""


@dataclass(frozen=True)
class IdsReader:
    """Makes rollouts out of rows of token ids."""

    loaded: LoadedModel
    prompts: Prompts
    thought: str | None = None
    """Name of the column of the thought, where it is not a usual one."""

    @cached_property
    def size(self) -> int:
        """The number of token ids that both the tokenizer and the embeddings know."""
        return min(self.loaded.model.get_input_embeddings().weight.shape[0], len(self.loaded.tokenizer))

    def rollout(self, row: Mapping[str, Any]) -> Rollout | None:
        """The rollout of a row of token ids; None where the row has none, or no boundary between prompt and output.

        Raises DataError for ids that are none, that are another tokenizer's, or whose text is not theirs.
        """
        pair, packed = ("prompt_ids" in row and "output_ids" in row), ("input_ids" in row and "num_prompt_tokens" in row)
        for name in IDS:
            if name in row and not isinstance(row[name], list | tuple):
                raise DataError(f"{name} must be a list of token ids; not {shown(row[name])}.")
        if not pair and not packed:
            return None
        names = ("prompt_ids", "output_ids") if pair else ("input_ids",)
        lists = [self._checked(name, row[name]) for name in names]
        if pair:
            prompt, output = lists
        else:
            ids, boundary = lists[0], row["num_prompt_tokens"]
            if isinstance(boundary, bool) or not hasattr(boundary, "__index__") or not 0 < boundary <= len(ids):
                raise DataError(f"num_prompt_tokens is {shown(boundary)}, but there are {len(ids)} input_ids.")
            if row.get("num_decode_tokens") not in (None, len(ids) - boundary):
                raise DataError(f"num_prompt_tokens and num_decode_tokens do not add up to its {len(ids)} input_ids.")
            prompt, output = ids[:boundary], ids[boundary:]
        if not prompt:
            raise DataError(f"{names[0]} is empty; token ids must be integers, at least one of them the prompt's.")
        own = bool(row.get("tokenizer_fingerprint"))  # racviz's own files hold neither prompts nor padding in their outputs
        if pair and not own and len(prompt) >= LEAST_PROMPT and output[: len(prompt)] == prompt:
            raise DataError("output_ids begin with prompt_ids, as generate() returns them; remove the prompt from them.")
        if not own:
            output = self._without_padding(output)
        reason = with_reason(Answer(""), row).reason
        thought = self.holds_thought(output, reason)
        if not thought and (beside := [each.name for each in fields_of(row, self.thought) if each.sure]):
            if self.loaded.thinking.end is not None:
                raise DataError(f"{beside[0]} holds a thought that is not among the {names[-1]}, which are the answer alone.")
        text = self.prompts.problem(self.loaded.tokenizer.decode(prompt))
        rollout = Rollout(prompt, output, text, False, reason, thought)
        self._check_spelling(rollout, row)
        return rollout

    def _without_padding(self, output: list[int]) -> list[int]:
        """Token ids up to their first end token, where only end tokens and padding follow it."""
        from racviz.generation.hf import stop_ids

        stops = stop_ids(self.loaded)
        end = next((k for k, token in enumerate(output, 1) if token in stops), len(output))
        filling = stops | {self.loaded.tokenizer.pad_token_id}
        return output[:end] if all(token in filling for token in output[end:]) else output

    def _checked(self, name: str, ids: Sequence[Any]) -> list[int]:
        allowed = f"from 0 to {self.size - 1:,}"
        for k, token in enumerate(ids):
            if isinstance(token, bool) or not hasattr(token, "__index__"):
                raise DataError(f"{name}[{k}] is {shown(token)}; token ids must be integers {allowed}.")
            if not 0 <= operator.index(token) < self.size:
                raise DataError(
                    f"{name}[{k}] is token id {shown(operator.index(token))}, but {self.loaded.name!r} has {self.size:,} tokens; allowed "
                    f"are ids {allowed}. Another tokenizer made this trace."
                )
        return [operator.index(token) for token in ids]

    def holds_thought(self, output: Sequence[int], reason: str | None) -> bool:
        """True if token ids hold a thought: text before its end, or its beginning. A thought that the prompt opened may be cut off."""
        form, decode = self.loaded.thinking, self.loaded.tokenizer.decode
        if form.end is None:
            return False
        length, ended = thought_length(self.loaded.tokenizer, output, form)
        if form.opened and not ended and reason == "length":
            return True
        text = decode(list(output[:length] if ended else output[:64]))
        inner = text.partition(form.end)[0] if ended else text
        return bool(inner.replace(form.start or "", "").strip()) and (ended or (form.start or form.end) in text)

    def _check_spelling(self, rollout: Rollout, row: Mapping[str, Any]) -> None:
        """Raise DataError for token ids with a text that they do not spell, or with the fingerprint of another tokenizer."""
        made_with, name = row.get("tokenizer_fingerprint"), self.loaded.name
        if made_with and made_with != tokenizer_fingerprint(self.loaded.tokenizer):
            raise DataError(f"its token ids are those of another tokenizer than that of {name!r}.")
        text = row.get("text")
        if isinstance(text, str) and self.loaded.tokenizer.decode([*rollout.prompt_ids, *rollout.output_ids]) != text:
            raise DataError(f"its token ids do not spell its text with the tokenizer of {name!r}; another one made it.")
