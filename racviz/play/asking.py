"""One question to several models at once: a token from each in turn, until all have ended or somebody stops them."""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from transformers import DynamicCache

from racviz.exceptions import DataError, ParameterError, check
from racviz.generation import Request, Sampling
from racviz.generation.hf import choose, stop_ids
from racviz.models import LoadedModel
from racviz.problems import Problem
from racviz.processes.threads import threads_for, using_threads
from racviz.statistics import divergence

LONGEST = 20_000
"""Characters of a problem, at most."""


class Step(NamedTuple):
    """One token of one model."""

    name: str
    token_id: int
    text: str
    """What it adds to the text; empty while a character of several tokens is not whole."""


class Pieces:
    """The text that each token adds. Bytes of one character may come in several tokens."""

    def __init__(self, tokenizer):
        self.tokenizer, self.ids, self.begin, self.told = tokenizer, [], 0, 0

    def add(self, token_id: int) -> str:
        self.ids.append(token_id)
        return self._tell(waits=len(self.ids) - self.told < 4)  # no character has more than four bytes

    def rest(self) -> str:
        """What is still untold at the end."""
        return self._tell(waits=False) if self.told < len(self.ids) else ""

    def _tell(self, waits: bool) -> str:
        before = self.tokenizer.decode(self.ids[self.begin : self.told])  # some tokenizers drop the space of a first word
        whole = self.tokenizer.decode(self.ids[self.begin :])
        if waits and whole.endswith("\ufffd"):
            return ""
        self.begin, self.told = self.told, len(self.ids)
        return whole[len(before) :]


class Decoding:
    """One model on one prompt, a token a step: the tokens of `generate_traces` in a batch of one."""

    def __init__(self, loaded: LoadedModel, request: Request, sampling: Sampling):
        self.loaded, self.sampling = loaded, sampling
        self.output_ids: list[int] = []
        self.texts: list[str] = []
        self.finish: str | None = None
        """`stop`, `length`, `stopped` by somebody; None while it goes on."""
        self.seconds = 0.0
        """Spent in this model alone, the prompt included."""
        self._stops, self._pieces = stop_ids(loaded), Pieces(loaded.tokenizer)
        self._draws = np.random.Generator(np.random.Philox(request.seed(sampling)))
        self._cache = DynamicCache(config=loaded.model.config)
        self._next = torch.tensor([request.prompt_ids], device=loaded.device)  # [1, T_in], then [1, 1]

    @torch.inference_mode()
    def step(self) -> tuple[int, str]:
        began = time.perf_counter()
        out = self.loaded.model(input_ids=self._next, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        uniform = torch.tensor([self._draws.random()], device=self._next.device) if self.sampling.temperature > 0 else None
        chosen = choose(out.logits[:, -1].float(), self.sampling, uniform)  # [1]
        token_id = int(chosen)
        self._next = chosen[:, None]
        self.output_ids.append(token_id)
        text = self._pieces.add(token_id)
        if token_id in self._stops or len(self.output_ids) >= self.sampling.max_new_tokens:
            self.end("stop" if token_id in self._stops else "length")
            text += self._pieces.rest()
        self.texts.append(text)
        self.seconds += time.perf_counter() - began
        return token_id, text

    def end(self, finish: str) -> None:
        self.finish, self._cache = finish, None  # keys and values take as much memory as a small model


class Asking:
    """A question that is being answered: iterate for the steps of all models, interleaved; `stop` from any thread.

    models: by name, the dense one first. titles: what they are called. `decodings` hold what each has said so far.

    Raises ParameterError for a problem that is no text, or too long a one; DataError for one that the model cannot read or has
    no room for.
    """

    def __init__(
        self, problem: Problem, models: Mapping[str, LoadedModel], sampling: Sampling, titles: Mapping[str, str] | None = None
    ):
        self.problem, self.models, self.titles = problem, dict(models), dict(titles or {name: name for name in models})
        first = next(iter(self.models.values()))
        self.prompt_ids = prompt_ids(first, problem)
        room = first.reach - len(self.prompt_ids)
        self.cramped = room < sampling.max_new_tokens
        """Whether the context ends before the budget does."""
        self.sampling = Sampling(min(sampling.max_new_tokens, room), sampling.temperature, sampling.top_p, sampling.seed)
        request = Request(self.prompt_ids, problem.id)
        self.decodings = {name: Decoding(loaded, request, self.sampling) for name, loaded in self.models.items()}
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End after the token that is being made."""
        self._stopped.set()

    def __iter__(self) -> Iterator[Step]:
        threads = threads_for(next(iter(self.models.values())))
        try:
            while running := [name for name, one in self.decodings.items() if one.finish is None]:
                for name in running:
                    if self._stopped.is_set():
                        return
                    with using_threads(threads):
                        step = self.decodings[name].step()
                    yield Step(name, *step)
        finally:  # also where the caller leaves the loop
            for one in self.decodings.values():
                if one.finish is None:
                    one.end("stopped")

    def parted(self, name: str) -> int | None:
        """The place of the first token that is not the dense model's; None where there is none so far."""
        dense, other = (self.decodings[which].output_ids for which in (next(iter(self.decodings)), name))
        same = divergence(dense, other)
        return same if same < min(len(dense), len(other)) else None


def prompt_ids(loaded: LoadedModel, problem: Problem) -> tuple[int, ...]:
    """The prompt of a problem in the model's own format, after a look at whether the model can read it."""
    text = problem.text
    check(isinstance(text, str) and bool(text.strip()), "problem", text, "a text that is not empty")
    if len(text) > LONGEST:
        raise ParameterError(f"problem must be a text of at most {LONGEST:,} characters; not one of {len(text):,}.")
    marks = [mark for mark in _marks(loaded.tokenizer) if mark in text]
    if marks:
        raise DataError(
            f"the problem holds {', '.join(map(repr, marks))}, which {loaded.name!r} reads as a mark of its chat and not as text; "
            "leave it out."
        )
    if strange := unreadable(loaded, text):
        shown = ", ".join(f"{char!r} (U+{ord(char):04X})" for char in strange[:8]) + (", …" if len(strange) > 8 else "")
        has = "has tokens for plain ASCII text only" if loaded.embedded else "has no tokens for them"
        raise DataError(
            f"the problem holds characters that {loaded.name!r} cannot read: {shown}. It {has}; write it without them."
        )
    ids = tuple(loaded.render(text))
    if len(ids) >= loaded.reach:
        raise DataError(
            f"the problem has {len(ids):,} prompt tokens, but {loaded.name!r} has room for {loaded.reach:,}, prompt and answer "
            "together; shorten the problem or take a model with a longer context."
        )
    return ids


def _marks(tokenizer) -> list[str]:
    """What a tokenizer turns into one of its special tokens wherever it stands in a text."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special = {str(token) for token in added if token.special} | set(tokenizer.all_special_tokens)
    return sorted(mark for mark in special if mark.strip())


def unreadable(loaded: LoadedModel, text: str) -> list[str]:
    """The characters of a text that the tokenizer loses; for an embedded model also those that it never saw: it spells them in bytes."""
    return [char for char in sorted(set(text)) if not char.isspace() and not _readable(loaded, char)]


def _readable(loaded: LoadedModel, char: str) -> bool:
    if 0xD800 <= ord(char) < 0xE000:  # half of a character, which no tokenizer takes
        return False
    ids = loaded.tokenizer(char, add_special_tokens=False)["input_ids"]
    if not ids or loaded.tokenizer.unk_token_id in ids:
        return False
    if loaded.embedded:
        return len(ids) == 1 and char.isprintable()
    return "\ufffd" not in loaded.tokenizer.decode(ids) or char == "\ufffd"
