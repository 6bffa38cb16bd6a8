"""Text generation behind one protocol: token ids in, token ids out.

A backend takes requests and yields (index, Completion) as rows finish, in any order. `hf` runs the model that is loaded, on its
device; `vllm` runs vLLM in processes of its own; an address http://… is a vLLM server. Settings stand after a question mark:
`vllm?workers=2&tensor_parallel=4`, `http://host:8000?concurrency=256`.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from racviz.exceptions import DataError, GenerationError, ParameterError, check, unknown
from racviz.registry import Registry, imported

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
    """A backend at work for one loaded model, until it is closed."""

    def run(self, requests: Sequence[Request], sampling: Sampling, batch_size: int) -> Iterator[tuple[int, Completion]]:
        """Continue every request; yields (index of the request, Completion) as rows finish, in any order."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class BackendKind:
    """A kind of backend: a line in BACKENDS, or an entry point of the group `racviz.backends`."""

    start: Callable[[Any, Any], Backend] | str
    """(LoadedModel, settings) -> Backend; nothing should start before the first request. Or its place, `module:attribute`."""
    settings: type | None = None
    """A frozen dataclass: its fields may stand after the question mark of a backend's name. Addresses go to its field `url`."""
    by_batch: bool = False
    """True where it continues `batch_size` rows at a time in this process, so that a batch that was stopped is redone whole.
    Other backends get all requests at once, and each row is kept as it finishes."""
    serves_one: bool = False
    """True where it cannot take the models that a study prunes."""
    key: str = ""
    """Its name in cache keys; empty for the name that the user gave."""


BACKENDS = Registry(
    "backend",
    "racviz.backends",
    {
        "hf": BackendKind("racviz.generation.hf:Here", by_batch=True),
        "vllm": "racviz.generation.vllm:BACKEND",
        "http": "racviz.generation.server:BACKEND",
        "https": "racviz.generation.server:BACKEND",
    },
)
"""Kinds of backends by name, or by the scheme of an address."""


@dataclass
class Opened:
    """A backend of one model. Nothing starts before the first request."""

    name: str
    loaded: Any
    backend: Backend
    by_batch: bool
    """See `BackendKind`."""

    def expect(self, longest: int) -> None:
        """Sequences of up to so many tokens are going to come, so that no engine is started for shorter ones first."""
        if hasattr(self.backend, "least"):
            self.backend.least = longest


def kind_of(name: str) -> BackendKind:
    """The kind of a backend's name or address. Raises ParameterError for one that is unknown."""
    check(isinstance(name, str), "backend", name, "a name such as 'hf', 'vllm' or 'http://host:8000'")
    return BACKENDS.named(_scheme(name), "Or the address of a vLLM server, http://host:8000.")


def _scheme(name: str) -> str:
    head = name.partition("?")[0]
    scheme = head.partition("://")[0].lower() if "://" in head else head
    return (
        "http" if "://" in head and scheme not in BACKENDS or "@" in head else scheme
    )  # the server says what is wrong with it


def backend_key(name: str) -> str:
    """The part of a backend's name that rows depend on: not the number of workers, nor where a server is."""
    head, _, query = name.partition("?")
    kind = kind_of(name)
    dtype = dict(parse_qsl(query)).get("dtype", "auto")
    return kind.key or (head if dtype == "auto" else f"{head} {dtype}")


def check_backend(name: str) -> Any:
    """The settings in a backend's name; None where its kind has none. Raises ParameterError for unknown names and settings."""
    kind = kind_of(name)
    head, _, query = name.partition("?")
    if kind.settings is None:
        check(not query, "backend", name, f"{head!r} without settings")
        return None
    given = dict(parse_qsl(query, keep_blank_values=True))
    if "://" in head or "@" in head:
        scheme, _, rest = head.partition("://")
        return kind.settings(f"{scheme.lower()}://{rest}", **_typed(kind.settings, given, but=("url",)))
    return kind.settings(**_typed(kind.settings, given))


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
    kind = kind_of(backend)
    start = imported(kind.start) if isinstance(kind.start, str) else kind.start
    made = Opened(backend, loaded, start(loaded, check_backend(backend)), kind.by_batch)
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
    check_requests(loaded, requests, sampling, kind_of(backend if isinstance(backend, str) else backend.name).by_batch)
    return _generate(loaded, requests, sampling, batch_size, backend)


def check_requests(loaded, requests: Sequence[Request], sampling: Sampling, here: bool) -> None:
    """Raise DataError for a prompt that the model cannot read or continue so far, before any is continued.

    here: by transformers, which would go on beyond the context; vLLM refuses that itself.
    """
    from racviz.models.limits import check_tokens

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
            yield from running.backend.run(requests, sampling, batch_size)
