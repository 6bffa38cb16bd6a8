"""vLLM as a backend: workers in processes of their own, or a server by its address. Token ids in, token ids out.

vLLM pins other releases than a notebook has, so its interpreter may be another: the parameter `python`, $RACVIZ_VLLM_PYTHON, the
`.venv-vllm` that `make vllm` makes in a checkout, or this one. Rows come as they finish; what a worker that dies had finished is kept.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from racviz.exceptions import GenerationError, ParameterError, check
from racviz.generation import BackendKind, Completion, Request, Sampling, completion_of

WORKER = Path(__file__).with_name("vllm_worker.py")
LAST_LINES = 15
ROOM = 2048
"""The length of sequences that an engine takes is a multiple of this, or the model's whole context."""
GRACE = 2.0
"""Seconds that an idle worker has to end by itself; one that still generates is killed after them."""
TESTED = "0.32"
MISSING = (
    "vLLM is not installed in {python}. Install it there (pip install 'racviz[vllm]'; on a CPU `make vllm` makes .venv-vllm), or name "
    "another interpreter by RACVIZ_VLLM_PYTHON."
)


@dataclass(frozen=True)
class Vllm:
    """How to run vLLM.

    python: the interpreter that has it. workers: processes, each with a copy of the model, that share the requests.
    tensor_parallel: GPUs a worker. dtype: `auto` is that of the loaded model. memory: the share of a GPU that a worker may take.
    kv_gib: on a CPU, memory for keys and values of all workers. max_model_len: the longest sequence; 0 is what the requests need,
    and some room. starting: seconds that a worker may take until it is ready; compiling for a large model takes minutes.
    """

    python: str = ""
    workers: int = 1
    tensor_parallel: int = 1
    dtype: str = "auto"
    memory: float = 0.9
    kv_gib: float = 4.0
    max_model_len: int = 0
    starting: float = 900.0

    def __post_init__(self) -> None:
        for name in ("workers", "tensor_parallel"):
            value = getattr(self, name)
            check(isinstance(value, int) and not isinstance(value, bool) and value >= 1, name, value, "an integer >= 1")
        check(
            isinstance(self.max_model_len, int) and self.max_model_len >= 0,
            "max_model_len",
            self.max_model_len,
            "an integer >= 0",
        )
        check(
            self.dtype in ("auto", "float32", "bfloat16", "float16"), "dtype", self.dtype, "auto, float32, bfloat16 or float16"
        )
        check(0 < self.memory <= 1, "memory", self.memory, "a share in (0, 1]")
        check(0 < self.kv_gib < float("inf"), "kv_gib", self.kv_gib, "a number of GiB > 0")
        check(0 < self.starting <= 86_400, "starting", self.starting, "seconds, at most a day")

    def interpreter(self) -> str:
        """The Python that has vLLM. Raises ParameterError for one that is not there."""
        for given, origin in ((self.python, "python"), (os.environ.get("RACVIZ_VLLM_PYTHON", ""), "RACVIZ_VLLM_PYTHON")):
            if given:
                found = shutil.which(os.path.expanduser(given))
                if found is None:
                    raise ParameterError(f"{origin} must be a Python interpreter with vLLM; {given!r} is no program here.")
                return found
        made = Path(__file__).parents[2] / ".venv-vllm" / "bin" / "python"
        return str(made) if made.exists() else sys.executable

    def installed(self) -> str:
        """The interpreter, asked whether it has vLLM, which takes a second and not the minute of an import. Raises GenerationError."""
        python = self.interpreter()
        found = subprocess.run(
            [python, "-c", "import importlib.util as u; print(u.find_spec('vllm') is not None)"], capture_output=True, text=True
        )
        if found.stdout.strip() != "True":
            raise GenerationError(MISSING.format(python=python))
        return python


class Workers:
    """Running workers of one model; they start with the first requests and end with `close`."""

    def __init__(self, loaded: Any, how: Vllm):
        self.loaded, self.how = loaded, how
        self.workers: list[Worker] = []
        self.lines: queue.Queue = queue.Queue()
        """(worker, what it said, or None at its end)."""
        self.calls = 0
        self.least = 0
        """Sequences are going to be at least as long as this, as far as somebody knows."""
        self.scratch: tempfile.TemporaryDirectory | None = None
        self.parked: Any = None
        """The GPU that the loaded model came from."""

    def run(self, requests: Sequence[Request], sampling: Sampling, batch_size: int = 0) -> Iterator[tuple[int, Completion]]:
        """Continue every request, all at once; yields (index, Completion) as rows finish."""
        from racviz.generation.hf import stop_ids

        longest = max(self.least, max(len(r.prompt_ids) for r in requests) + sampling.max_new_tokens)
        if not self.workers or longest > self.workers[0].longest:
            self.close()
            room = min(-(-longest // ROOM) * ROOM, self.loaded.reach)  # so that a longer prompt seldom needs another engine
            self._start(max(longest, self.how.max_model_len or room))
        stops = sorted(stop_ids(self.loaded))
        vocabulary = len(self.loaded.model.get_input_embeddings().weight)
        self.calls += 1  # ids carry it, so that rows of a call that was broken off are not taken for rows of this one
        waiting: dict[str, tuple[int, Worker]] = {}
        for index, r in enumerate(requests):
            worker, name = self.workers[index % len(self.workers)], f"{self.calls}-{index}"
            seed = r.seed(sampling) >> 1  # torch's generators take 63 bits
            waiting[name] = index, worker
            worker.send(id=name, prompt=list(r.prompt_ids), max_tokens=sampling.max_new_tokens, stop=stops,
                        temperature=float(sampling.temperature), top_p=float(sampling.top_p), seed=seed)  # fmt: skip
        failed: list[tuple[Worker, dict[str, Any] | None]] = []
        while waiting:
            worker, line = self.lines.get()
            if line is None or "error" in line:
                failed += [] if any(worker is each for each, _ in failed) else [(worker, line)]
                waiting = {name: (k, other) for name, (k, other) in waiting.items() if other is not worker}
            elif line["id"] in waiting:
                index, _ = waiting.pop(line["id"])
                if line["prompt"] and tuple(line["prompt"]) != requests[index].prompt_ids:
                    raise GenerationError(
                        "vLLM continued another prompt than was sent; report this as a bug of racviz or of this vLLM."
                    )
                yield index, completion_of(line["ids"], line["reason"], line["stop_reason"], vocabulary)
        if failed:  # after what the other workers were at
            worker, line = failed[0]
            self._fail(worker, line)

    def _fail(self, worker: "Worker", line: dict[str, Any] | None) -> None:
        try:
            worker.fail(line)
        finally:
            self.close()  # so that the next call begins with new ones

    def _start(self, longest: int) -> None:
        self._park()
        folder, dtype = self._checkpoint(), self.how.dtype
        dtype = str(self.loaded.dtype).removeprefix("torch.") if dtype == "auto" else dtype
        engine = {
            "model": str(folder), "dtype": dtype, "max_model_len": longest, "tensor_parallel_size": self.how.tensor_parallel,
            "gpu_memory_utilization": self.how.memory, "kv_bytes": int(self.how.kv_gib * 2**30 / self.how.workers),
            "skip_tokenizer_init": True, "generation_config": "vllm", "trust_remote_code": self.loaded.remote_code,
            "enable_prefix_caching": False, "disable_log_stats": True,
        }  # fmt: skip
        self.lines = queue.Queue()
        self.workers = [Worker(self.how, k, engine, longest, self.lines) for k in range(self.how.workers)]
        for _ in self.workers:
            try:
                worker, line = self.lines.get(timeout=self.how.starting)
            except queue.Empty:
                late = f"it was not ready within {self.how.starting:.0f} s (starting=…); a smaller max_model_len starts faster"
                worker, line = self.workers[0], {"error": late}
            if line is None or "ready" not in line:
                self._fail(worker, line)

    def _park(self) -> None:
        """Move the loaded model off its GPU while vLLM has the card; `close` brings it back. One spread by a device map stays."""
        import torch

        if self.loaded.device.type == "cuda" and getattr(self.loaded.model, "hf_device_map", None) is None:
            self.parked = self.loaded.device
            self.loaded.model.to("cpu")
            torch.cuda.empty_cache()

    def _checkpoint(self) -> Path:
        """The folder of the weights; of a model that exists in memory only, one that is written for vLLM to read."""
        if self.loaded.folder is not None:
            return self.loaded.folder
        if self.scratch is None:
            self.scratch = tempfile.TemporaryDirectory(prefix="racviz-vllm-")
            self.loaded.save(self.scratch.name)
        return Path(self.scratch.name)

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.workers = []
        if self.scratch is not None:
            self.scratch.cleanup()
            self.scratch = None
        if self.parked is not None:
            self.loaded.model.to(self.parked)
            self.parked = None


class Worker:
    """One process of vLLM: its pipes, its log, its end."""

    def __init__(self, how: Vllm, number: int, engine: dict[str, Any], longest: int, lines: queue.Queue):
        self.python, self.number, self.longest, self.lines = how.interpreter(), number, longest, lines
        self.stopped = False
        log = tempfile.NamedTemporaryFile(prefix=f"racviz-vllm-{number}-", suffix=".log", delete=False)  # noqa: SIM115
        self.log = Path(log.name)
        self.process = subprocess.Popen(
            [self.python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self._environment(how),
            start_new_session=True, text=True, encoding="utf-8", bufsize=1,
        )  # fmt: skip
        log.close()
        threading.Thread(target=self._read, daemon=True).start()
        self.send(**engine)

    def _environment(self, how: Vllm) -> dict[str, str]:
        environment = dict(os.environ) | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
        environment.pop("PYTHONPATH", None) if self.python != sys.executable else None
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // how.workers)))
        needed, given = how.workers * how.tensor_parallel, os.environ.get("CUDA_VISIBLE_DEVICES")
        if needed > 1 and given != "":  # each worker its own cards, out of those that are visible
            cards = given.split(",") if given else [str(k) for k in range(needed)]
            if len(cards) < needed:
                raise ParameterError(
                    f"workers={how.workers} with tensor_parallel={how.tensor_parallel} need {needed} cards; CUDA_VISIBLE_DEVICES={given} "
                    f"shows {len(cards)}. Lower one of the two, or show more cards."
                )
            mine = slice(self.number * how.tensor_parallel, (self.number + 1) * how.tensor_parallel)
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(cards[mine])
        return environment

    def _read(self) -> None:
        for line in self.process.stdout:
            try:
                self.lines.put((self, json.loads(line)))
            except ValueError:
                continue  # cut off by its death
        self.lines.put((self, None))

    def send(self, **line: Any) -> None:
        with contextlib.suppress(OSError):  # where it has died, its end is read from the other pipe, with the reason
            self.process.stdin.write(json.dumps(line) + "\n")

    def fail(self, line: dict[str, Any] | None) -> None:
        """Raise what the worker's last word, or its silence, means."""
        said, kind = (line or {}).get("error", ""), (line or {}).get("kind", "dead")
        self.stop(keep_log=True)
        code = self.process.returncode
        if kind == "missing":
            raise GenerationError(MISSING.format(python=self.python))
        if kind == "old":
            raise GenerationError(f"vLLM {said} in {self.python} is too old: 0.11 or newer is needed, {TESTED} was tested.")
        kept = " What was finished is kept; the same command goes on from there."
        if kind == "memory":
            raise GenerationError(
                f"vLLM ran out of memory: {said}. Lower memory or kv_gib, the length (max_new_tokens), or use more GPUs with "
                f"tensor_parallel.{kept}{self._last_lines()}"
            )
        ended = f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"
        if code == -signal.SIGKILL:
            ended += " (most often the system ran out of memory)"
        raise GenerationError(f"vLLM's worker {self.number} {said and f'failed: {said}' or ended}.{kept}{self._last_lines()}")

    def _last_lines(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return f"\nIts log is {self.log}; the last lines:\n" + "\n".join(lines)

    def stop(self, keep_log: bool = False) -> None:
        """End the process and its children, once. One that is idle ends by itself at the end of its input."""
        if self.stopped:
            return
        self.stopped = True
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # children too, where the worker itself is gone
        self.process.wait()
        if not keep_log:
            self.log.unlink(missing_ok=True)


BACKEND = BackendKind(Workers, Vllm)
