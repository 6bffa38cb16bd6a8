"""Text generation behind one protocol: token ids in, token ids out.

A backend takes requests and yields (index, Completion) as rows finish, in any order. `hf` runs the model that is loaded, on its
device; `vllm` runs vLLM in processes of its own; an address http://… is a vLLM server. Settings stand after a question mark:
`vllm?workers=2&tensor_parallel=4`, `http://host:8000?concurrency=256`.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from racviz.errors import DataError, GenerationError, ParameterError, check, unknown

BACKENDS = ("hf", "vllm")
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


LEAST_TEMPERATURE = 1e-30
"""Smaller ones are zero in 32 bits, by which no logit can be divided."""


@dataclass(frozen=True)
class Sampling:
    """Settings of sampling.

    Parameters
    ----------
    max_new_tokens : int, default 1024
        Cap on new tokens: t_max when tracing, the budget when evaluating.
    temperature : float, default 0.6
        0 is greedy decoding.
    top_p : float, default 0.95
        Nucleus sampling, in (0, 1]; 1 is off.
    seed : int, default 0
        Seed of the whole run. Each request draws from its own generator, seeded by (seed, problem,
        sample), so that its tokens do not depend on the batch.

    Raises
    ------
    ParameterError
        For a value outside of its range.

    Examples
    --------
    >>> import racviz as rv
    >>> rv.Sampling(max_new_tokens=64, temperature=0.0)
    Sampling(max_new_tokens=64, temperature=0.0, top_p=0.95, seed=0)
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
        number = number and (self.temperature == 0 or self.temperature >= LEAST_TEMPERATURE)
        check(number, "temperature", self.temperature, f"0 (greedy), or a number from {LEAST_TEMPERATURE:g} on")
        check(isinstance(self.top_p, int | float) and 0 < self.top_p <= 1, "top_p", self.top_p, "a number in (0, 1]")
        check(isinstance(self.seed, int) and self.seed >= 0, "seed", self.seed, "an integer >= 0")


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


def completion_of(ids: Sequence[int], reason: str | None, stop_reason: Any, vocabulary: int | None = None) -> Completion:
    """A completion as vLLM tells it, which may leave out the token that it stopped at.

    vocabulary: tokens of the model; every id must be one of them.

    Raises GenerationError for one that neither stopped nor reached the cap: it was broken off, and is not a rollout.
    """
    if wrong := [k for k in (*ids, stop_reason) if vocabulary is not None and type(k) is int and not 0 <= k < vocabulary]:
        raise GenerationError(f"vLLM gave the token id {wrong[0]!r:.20}, which is none of the {vocabulary:,} of this model.")
    ids = [int(k) for k in ids]
    if reason == "stop" and type(stop_reason) is int and ids[-1:] != [stop_reason]:
        ids.append(stop_reason)
    if reason not in ("stop", "length") or not ids:
        raise GenerationError(
            f"vLLM broke a row off ({reason!r}, {len(ids)} tokens). What was finished is kept; the same command goes on."
        )
    return Completion(tuple(ids), reason)


class Backend(Protocol):
    """A generator of tokens for one loaded model, until it is closed."""

    def run(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Completion]]: ...

    def close(self) -> None: ...


@dataclass
class Opened:
    """A backend of one model. Nothing starts before the first request."""

    name: str
    loaded: Any
    backend: Backend | None
    """None for hf, which takes its requests in batches."""

    def expect(self, longest: int) -> None:
        """Sequences of up to so many tokens are going to come, so that no engine is started for shorter ones first."""
        if hasattr(self.backend, "least"):
            self.backend.least = longest

    def run(self, requests: Sequence[Request], sampling: Sampling, batch_size: int) -> Iterator[tuple[int, Completion]]:
        if self.backend is None:
            from racviz.generation import hf

            return hf.generate(self.loaded, requests, sampling, batch_size)
        return self.backend.run(requests, sampling)


def backend_key(name: str) -> str:
    """The part of a backend's name that its rows depend on: neither the number of workers nor a server's address."""
    kind, _, query = name.partition("?")
    dtype = dict(parse_qsl(query)).get("dtype", "auto")
    return "vllm server" if "://" in kind else kind if dtype == "auto" else f"{kind} {dtype}"


def check_backend(name: str) -> Any:
    """The settings that a backend's name stands for; None for hf. Raises ParameterError for a name or a setting that is none."""
    check(isinstance(name, str), "backend", name, "a name such as 'hf', 'vllm' or 'http://host:8000'")
    kind, _, query = name.partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    if "://" in kind or "@" in kind:
        from racviz.generation.server import Server

        return Server(
            kind.partition("://")[0].lower() + "://" + kind.partition("://")[2], **_typed(Server, given, but=("url",))
        )
    if kind not in BACKENDS:
        raise unknown("backend", name, BACKENDS, "Or the address of a vLLM server, http://host:8000.")
    if kind == "hf":
        check(not query, "backend", name, "'hf' without settings")
        return None
    from racviz.generation.vllm import Vllm

    return Vllm(**_typed(Vllm, given))


def _typed(kind: type, given: dict[str, str], but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Settings as the fields of `kind` want them."""
    allowed = {f.name: f.type for f in dataclasses.fields(kind) if f.name not in but}
    typed: dict[str, Any] = {}
    for name, text in given.items():
        if name not in allowed:
            if any(word in name.lower() for word in ("key", "token", "password")):
                raise ParameterError("backend: credentials do not belong in it; set RACVIZ_VLLM_API_KEY.")
            raise unknown("the setting of the backend", name, allowed)
        try:
            typed[name] = WORDS[text.lower()] if allowed[name] is bool else allowed[name](text)
        except (ValueError, KeyError) as error:
            raise ParameterError(f"backend: {name} must be of type {allowed[name].__name__}; not {text!r}.") from error
    return typed


@contextlib.contextmanager
def opened(loaded, backend: "str | Opened" = "hf") -> Iterator[Opened]:
    """A backend that stays open over several calls, so that vLLM starts once; closed at the end of the block."""
    if isinstance(backend, Opened):
        if backend.loaded is not loaded:
            raise ParameterError(f"this backend was opened for {backend.loaded.name!r}, not for {loaded.name!r}")
        yield backend
        return
    how = check_backend(backend)
    if how is None:
        yield Opened("hf", loaded, None)
        return
    from racviz.generation.server import Client, Server
    from racviz.generation.vllm import Workers

    made = Opened(backend, loaded, Client(loaded, how) if isinstance(how, Server) else Workers(loaded, how))
    try:
        yield made
    finally:
        made.backend.close()


def generate(
    loaded, requests: Sequence[Request], sampling: Sampling, batch_size: int = 64, backend: "str | Opened" = "hf"
) -> Iterator[tuple[int, Completion]]:
    """Continue every request; yields (index of the request, Completion) as rows finish."""
    check(batch_size >= 1, "batch_size", batch_size, "an integer >= 1")
    if isinstance(backend, str):
        check_backend(backend)
    _check_requests(loaded, requests, sampling, (backend if isinstance(backend, str) else backend.name) == "hf")
    return _generate(loaded, requests, sampling, batch_size, backend)


def _check_requests(loaded, requests: Sequence[Request], sampling: Sampling, here: bool) -> None:
    """Raise DataError for a prompt that the model cannot read or continue so far, before any is continued.

    here: by transformers, which would go on beyond the context; vLLM refuses that itself.
    """
    from racviz.conformance import check_tokens

    for request in requests:
        if not request.prompt_ids:
            raise DataError(f"the prompt {request.name!r} is empty; a prompt has at least one token.")
        check_tokens(loaded, request.prompt_ids, f"the prompt {request.name!r}")
        longest = len(request.prompt_ids) + sampling.max_new_tokens
        if longest > loaded.reach and (here or loaded.reach < loaded.context):
            raise DataError(
                f"the prompt {request.name!r} has {len(request.prompt_ids)} tokens, with max_new_tokens={sampling.max_new_tokens} "
                f"{longest}, which exceeds {loaded.limit}; lower max_new_tokens or leave it out."
            )


def _generate(loaded, requests, sampling, batch_size, backend) -> Iterator[tuple[int, Completion]]:
    with opened(loaded, backend) as running:
        if requests:
            yield from running.run(requests, sampling, batch_size)
