"""A running vLLM server as a backend, by its address: prompts go as token ids, and token ids come back."""

import http.client
import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from racviz.exceptions import GenerationError, ParameterError, check
from racviz.generation import BackendKind, Completion, Request, Sampling, completion_of
from racviz.printable import message

NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Said with every request: a server fills in what is not said from the model's own generation_config.json."""
KEPT = "What was finished is kept; the same command goes on from there."
CHECKED, PROBE = 4, 128
"""Sequences by which a server is told from one that serves another model: the first prompts, each followed by so many tokens drawn at
random, on which models differ far more than on what they were trained for."""
SAME_MODEL, SAME_NAME = 0.07, 0.5
"""Mean absolute difference of their log probabilities, in nats, that is let pass, and that of a server which says that it serves the very
folder or hub id (it may be quantised). bfloat16 differs from float32 by 0.02 to 0.06, a model pruned by a tenth by 0.08 to 0.17."""
QUOTED = 100_000
"""Bytes of an error page that are read."""
LARGEST = 2**28
"""Bytes of an answer that are read at most."""
LISTING = 10.0
"""Seconds to wait for the list of models, which a server that is well gives at once."""


def problem_of_url(url: str) -> str | None:
    """What is wrong with a server's address, if anything."""
    parts = urlsplit(url)
    if "@" in url or "key" in parts.query.lower() or "token" in parts.query.lower():
        return "holds a credential, which would be written into reports; set RACVIZ_VLLM_API_KEY instead"
    return None if parts.scheme in ("http", "https") and parts.hostname else "is no address like http://host:8000"


@dataclass(frozen=True)
class Server:
    """Where the server is and how to ask it.

    url: such as http://host:8000. model: the name that it serves; empty for the only one. concurrency: requests in flight; the
    server batches them. timeout: seconds to wait for one answer. retries: how often a request that failed is sent again, after 1, 2,
    4, … seconds. verify: compare the log probabilities of one prompt with the loaded model's before anything is generated.
    The key, where the server asks for one, is in RACVIZ_VLLM_API_KEY.
    """

    url: str
    model: str = ""
    concurrency: int = 128
    timeout: float = 1800.0
    retries: int = 5
    verify: bool = True

    def __post_init__(self) -> None:
        if wrong := problem_of_url(self.url):
            shown = "the address" if "credential" in wrong else repr(self.url)
            raise ParameterError(f"backend: {shown} {wrong}")
        object.__setattr__(self, "url", self.url.rstrip("/").removesuffix("/v1"))
        check(self.concurrency >= 1, "concurrency", self.concurrency, "an integer >= 1")
        check(0 < self.timeout <= 86_400, "timeout", self.timeout, "seconds, at most a day")
        check(self.retries >= 0, "retries", self.retries, "an integer >= 0")


class Client:
    """Asks a server to continue prompts of one model."""

    def __init__(self, loaded: Any, how: Server):
        self.loaded, self.how = loaded, how
        self.served: str | None = None
        self.room = 0
        self.allowed = SAME_MODEL

    def run(self, requests: Sequence[Request], sampling: Sampling, batch_size: int = 0) -> Iterator[tuple[int, Completion]]:
        """Continue every request; yields (index, Completion) as answers come.

        Raises GenerationError for a server that does not answer, refuses, serves another model, or answers another prompt.
        """
        name = self._serves(requests, sampling)
        if self.served is None and self.how.verify:
            self._verify(name, [r.prompt_ids for r in requests[:CHECKED]])
        self.served = name
        asked, answers = queue.SimpleQueue(), queue.SimpleQueue()
        for index in range(len(requests)):
            asked.put(index)
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                try:
                    index = asked.get_nowait()
                except queue.Empty:
                    return
                try:
                    answers.put((index, self._complete(requests[index], sampling)))
                except BaseException as error:  # raised where the rows are taken
                    over.set()  # what is in flight is waited for and kept; what waits is not sent
                    answers.put((index, error))

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self.how.concurrency, len(requests)))]
        for thread in threads:  # daemons, which a Ctrl-C does not wait for
            thread.start()
        failure: BaseException | None = None
        try:
            while any(thread.is_alive() for thread in threads) or not answers.empty():
                try:
                    index, answer = answers.get(timeout=0.1)
                except queue.Empty:
                    continue
                if isinstance(answer, Completion):
                    yield index, answer
                else:
                    failure = failure or answer
        finally:
            over.set()
        if failure is not None:
            raise failure

    def close(self) -> None:
        self.served = None

    def _complete(self, request: Request, sampling: Sampling) -> Completion:
        from racviz.generation.hf import stop_ids

        stops = sorted(stop_ids(self.loaded))
        room = len(self.loaded.model.get_input_embeddings().weight)
        choice = self._ask(request.prompt_ids, max_tokens=sampling.max_new_tokens, temperature=sampling.temperature,
                           top_p=sampling.top_p, seed=request.seed(sampling) >> 1, stop_token_ids=stops)  # fmt: skip
        ids = choice["token_ids"]
        if not all(type(k) is int and 0 <= k < room for k in ids) or len(ids) > sampling.max_new_tokens:
            raise GenerationError(
                f"the server at {self.how.url} gives what was not asked for: {len(ids)} tokens for a cap of {sampling.max_new_tokens}, or "
                f"ids that are none of the {room:,} of {self.loaded.name!r}. {KEPT}"
            )
        last = choice.get("stop_reason")
        if last is not None and not (type(last) is int and last in stops):  # no stop strings were asked for
            raise GenerationError(
                f"the server at {self.how.url} says that it stopped at {str(last)[:40]!r}, which is none of those that stop "
                f"{self.loaded.name!r}: {stops}. {KEPT}"
            )
        return completion_of(ids, choice.get("finish_reason"), last, room)

    def _ask(self, prompt: Sequence[int], name: str = "", **how: Any) -> dict[str, Any]:
        """The one choice of a completion. The server is told neither to add tokens nor to leave out special ones."""
        body = {**NEUTRAL, "model": name or self.served, "prompt": list(prompt), "n": 1, "stream": False, "add_special_tokens": False,
                "return_token_ids": True, "skip_special_tokens": False, **how}  # fmt: skip
        answer = self._send("/v1/completions", body)
        try:
            (choice,) = answer["choices"]
            choice = dict(choice)
        except (KeyError, TypeError, ValueError):
            raise GenerationError(
                f"the server at {self.how.url} does not answer as vLLM does: {_quotable(str(answer))[:200]}. {KEPT}"
            ) from None
        if not isinstance(choice.get("token_ids"), list) or not isinstance(choice.get("prompt_token_ids"), list):
            raise GenerationError(f"the server at {self.how.url} returns no token ids; vLLM 0.11 or newer does. {KEPT}")
        if choice["prompt_token_ids"] != list(prompt):
            raise GenerationError(
                f"the server at {self.how.url} continued other token ids than were sent: {len(choice['prompt_token_ids'])} instead of "
                f"{len(prompt)}, or others of them. It must take prompts as they are (no proxy that rewrites them). {KEPT}"
            )
        return choice

    def _models(self) -> dict[str, dict[str, Any]]:
        answer = self._send("/v1/models")
        try:
            return {str(card["id"]): card for card in answer["data"]}
        except (KeyError, TypeError):
            raise GenerationError(f"the server at {self.how.url} does not list its models as vLLM does.") from None

    def _serves(self, requests: Sequence[Request], sampling: Sampling) -> str:
        """The name of the model that is served, which must be the one that is loaded and have room for the longest request."""
        models = self._models()
        longest = max(len(r.prompt_ids) for r in requests) + sampling.max_new_tokens
        name = self.choose(longest, models)
        self.allowed = SAME_NAME if self._is_it(name, str(models[name].get("root", ""))) else SAME_MODEL
        return name

    def choose(self, longest: int, models: dict[str, dict[str, Any]] | None = None) -> str:
        """The name of the model to ask for sequences of up to `longest` tokens. Raises where there is none such, or it has no room."""
        models = self._models() if models is None else models
        name = self.how.model or next(iter(models), "")
        if name not in models or (not self.how.model and len(models) > 1):
            raise ParameterError(
                f"backend: model must be one that {self.how.url} serves ({', '.join(models)}); not {self.how.model!r}."
            )
        room = models[name].get("max_model_len")
        self.room = room if isinstance(room, int) else max(longest, self.loaded.reach)
        if longest > self.room:
            raise GenerationError(f"the server at {self.how.url} takes {room} tokens; the longest request may need {longest}: "
                                  "lower max_new_tokens, or start it with a larger --max-model-len.")  # fmt: skip
        return name

    def _is_it(self, *names: str) -> bool:
        """Whether the server says that it serves the very folder, or the very hub id of a model that nothing was done to."""
        folder = set() if self.loaded.folder is None else {str(self.loaded.folder)}
        return bool((folder if self.loaded.provenance else folder | {self.loaded.name}) & set(names))

    def _verify(self, name: str, prompts: Sequence[Sequence[int]]) -> None:
        """Refuse a server of another model: a report on a pruned model would show the dense one's answers."""
        drawn = np.random.default_rng(0)
        tokens = len(self.loaded.tokenizer)
        probes = [[*prompt, *drawn.integers(0, tokens, PROBE).tolist()][: self.room - 1] for prompt in prompts]
        apart = float(np.concatenate([self._apart(name, probe) for probe in probes]).mean())
        if not apart < self.allowed:
            raise GenerationError(
                f"the server at {self.how.url} serves another model than {self.loaded.name!r}: on a few sequences their log probabilities "
                f"differ by {apart:.2f} on average, more than {self.allowed:g}. Serve this one (a pruned model: the "
                "folder that save wrote); verify=false asks nothing."
            )

    def _apart(self, name: str, prompt: Sequence[int]) -> np.ndarray:
        """How far the log probabilities of a prompt's tokens are from the loaded model's."""
        import torch

        choice = self._ask(prompt, name, max_tokens=1, temperature=0.0, prompt_logprobs=0)
        try:
            theirs = [float(next(iter(each.values()))["logprob"]) for each in choice.get("prompt_logprobs") or [] if each]
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
            theirs = []
        if len(theirs) != len(prompt) - 1:
            raise GenerationError(
                f"the server at {self.how.url} gives no prompt_logprobs, by which the model is told; pass verify=false."
            )
        with torch.inference_mode():
            ids = torch.tensor([list(prompt)], device=self.loaded.device)
            logits = torch.log_softmax(self.loaded.model(ids, use_cache=False).logits[0, :-1].float(), -1)
            ours = logits.gather(1, ids[0, 1:, None].to(logits.device)).squeeze(1).cpu().numpy()
        return np.abs(np.array(theirs) - ours)

    def _send(self, path: str, body: dict[str, Any] | None = None) -> Any:
        for attempt in range(self.how.retries + 1):
            try:
                return self._once(path, body)
            except _TryAgain as error:
                if attempt == self.how.retries:
                    raise GenerationError(f"{error} (asked {attempt + 1} times). {KEPT}") from error
                warnings.warn(f"{error}; asking again ({attempt + 1} of {self.how.retries}).", stacklevel=2)
                time.sleep(min(2**attempt, 30))

    def _once(self, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("RACVIZ_VLLM_API_KEY", "").strip():
            if not (key.isascii() and key.isprintable()):
                raise ParameterError("RACVIZ_VLLM_API_KEY must be one line of plain characters; it holds others.")
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        url, wait = self.how.url, self.how.timeout if body else min(LISTING, self.how.timeout)
        try:
            with OPENER.open(urllib.request.Request(url + path, data, headers), timeout=wait) as answer:
                return json.loads(_read(answer, wait))
        except urllib.error.HTTPError as error:
            said = _quotable(error.read(QUOTED).decode("utf-8", "replace"))
            if error.code in (401, 403):
                raise GenerationError(
                    f"the server at {url} refuses ({error.code}): set RACVIZ_VLLM_API_KEY to its key."
                ) from None
            if 300 <= error.code < 400:
                raise GenerationError(
                    f"the server at {url} sends us elsewhere ({error.code}), where a key must not follow: give the address itself."
                ) from None
            if error.code == 429 or error.code >= 500:
                raise _TryAgain(f"the server at {url} failed with {error.code}: {said[:200]}") from None
            raise GenerationError(f"the server at {url} refused the request ({error.code}): {said[:500]}. {KEPT}") from None
        except TimeoutError:
            raise _TryAgain(
                f"the server at {url} did not answer within {wait:g} s; raise timeout, or lower concurrency"
            ) from None
        except (ValueError, RecursionError) as error:
            raise GenerationError(f"what answers at {url} is no vLLM server: {error}. {KEPT}") from None
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise _TryAgain(
                f"no server answers at {url}: {reason}; start it with `vllm serve MODEL`, or give its address"
            ) from None


def _quotable(said: str) -> str:
    """A server's words without keys: taken out before it is cut, since half a key is not known for one."""
    return message(said if len(said) < QUOTED // 4 else said[: -QUOTED // 4])


def _read(answer: Any, seconds: float) -> bytes:
    """All of an answer. Raises TimeoutError where it takes longer, however slowly it drips, ValueError for an endless one."""
    end, parts, size = time.monotonic() + seconds, [], 0
    while part := answer.read1(65536):
        parts.append(part)
        size += len(part)
        if time.monotonic() > end:
            raise TimeoutError
        if size > LARGEST:
            raise ValueError(f"its answer is larger than {LARGEST / 2**20:.0f} MiB")
    return b"".join(parts)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the key along to wherever an answer points."""

    def redirect_request(self, *args: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirect)


class _TryAgain(Exception):
    """A failure that may pass; its text may quote what the server said."""

    def __init__(self, text: str) -> None:
        super().__init__(message(text))


BACKEND = BackendKind(Client, Server, serves_one=True, key="vllm server")
