"""Text generation behind one protocol: token ids in, token ids out.

A backend is a function `(loaded, requests, sampling, batch_size) -> iterator of (index, Completion)`; it yields rows as
they finish, in any order. `hf` runs the model that is loaded, on its device.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from racviz.errors import check, unknown

BACKENDS = ("hf",)


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    max_new_tokens: the cap on new tokens (t_max when tracing, the budget when evaluating).
    temperature: 0 is greedy decoding. top_p: nucleus sampling, 1 is off. seed: the seed of the whole run; each request
    draws from a generator of its own, made of (seed, problem, sample), so that its tokens do not depend on the batch.
    """

    max_new_tokens: int = 1024
    temperature: float = 0.6
    top_p: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check(
            isinstance(self.max_new_tokens, int) and self.max_new_tokens >= 1,
            "max_new_tokens",
            self.max_new_tokens,
            "an integer >= 1",
        )
        number = isinstance(self.temperature, int | float) and 0 <= self.temperature < float("inf")
        check(number, "temperature", self.temperature, "a number >= 0 (0 is greedy)")
        check(isinstance(self.top_p, int | float) and 0 < self.top_p <= 1, "top_p", self.top_p, "a number in (0, 1]")
        check(isinstance(self.seed, int), "seed", self.seed, "an integer")


@dataclass(frozen=True)
class Request:
    """One prompt to continue. `name` and `sample` make its random generator, with the sampling's seed."""

    prompt_ids: tuple[int, ...]
    name: str
    sample: int = 0

    def seed(self, sampling: Sampling) -> int:
        text = f"{sampling.seed} {self.name} {self.sample}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class Completion:
    """The very tokens that were sampled, and why it ended: `stop` (end of sequence) or `length` (the cap)."""

    output_ids: tuple[int, ...]
    finish_reason: str


def generate(
    loaded, requests: Sequence[Request], sampling: Sampling, batch_size: int = 64, backend: str = "hf"
) -> Iterator[tuple[int, Completion]]:
    """Continue every request; yields (index of the request, Completion) as rows finish."""
    check(batch_size >= 1, "batch_size", batch_size, "an integer >= 1")
    if backend == "hf":
        from racviz.generation import hf

        return hf.generate(loaded, requests, sampling, batch_size)
    raise unknown("backend", backend, BACKENDS)
