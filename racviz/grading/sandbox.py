"""Run a program that nobody has read: no network, no files but its own, no secrets, little memory, and an end.

On Linux the program runs in namespaces of its own (network, processes, mounts), with rights over nothing but its own folder (Landlock;
as root also as a user who owns nothing), which is empty and in memory, with no environment and with limits on time, memory, output, files
and processes. Where the system does not allow that, programs are refused unless the caller insists.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from racviz.errors import GradingError, check

LAUNCHER = Path(__file__).with_name("sandbox_launcher.py")
RUNNER = Path(__file__).with_name("program_runner.py")
ERRORS = 2**16
"""Bytes of the error stream that are kept, the last ones; any number may be written."""
STARTING = 20.0
"""Seconds that the sandbox may take before the program begins, on a machine that is busy; not counted for the program."""
READABLE = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/zero", "/dev/urandom")
"""What an interpreter needs beside its own folder."""


class SandboxError(GradingError):
    """A program cannot be contained here, so it was not run."""


@dataclass(frozen=True)
class Limits:
    """What one run may use: seconds (of the clock, and of the processor), bytes of memory a process, of output (beyond what is
    wanted), of files in all, and processes."""

    seconds: float = 6.0
    memory: int = 2**30
    output: int = 2**20
    files: int = 2**24
    processes: int = 8

    def __post_init__(self) -> None:
        check(0 < self.seconds <= 3600, "seconds", self.seconds, "a number in (0, 3600]")
        for name, least in (("memory", 2**26), ("output", 1), ("files", 2**16), ("processes", 1)):
            value = getattr(self, name)
            check(isinstance(value, int) and value >= least, name, value, f"an integer >= {least}")


@dataclass(frozen=True)
class Ran:
    """What a program did: `status` is `ended` (by itself, or by SystemExit), `failed`, `time` or `output` (too much of it)."""

    status: str
    output: str
    error: str

    @property
    def ended(self) -> bool:
        return self.status == "ended"


def run_program(
    program: str, given: str = "", limits: Limits = Limits(), *, unsafe: bool = False, function: str = "", room: int = 0
) -> Ran:
    """Run a Python program with `given` as its input, or call one of its functions.

    It finds the names of `typing`, `collections`, `math` and the like, which starter code takes for granted, as LiveCodeBench gives them.
    Only the standard library, and what the base interpreter has, can be imported.

    Parameters
    ----------
    unsafe
        Run it even where the system cannot keep it from the network and from files; limits and the empty environment hold all the same.
    function
        The function, or method of a class Solution, to call with the lines of `given` as JSON; `output` is then its result as JSON.
    room
        Bytes of output allowed beyond `limits.output`.

    Raises SandboxError where the program cannot be contained.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxError("programs are run on Linux only, which can contain them; here none was run.")
    with tempfile.TemporaryDirectory(prefix="racviz-program-") as scratch:
        os.chmod(scratch, 0o711)
        for part in ("work", "python"):
            (Path(scratch) / part).mkdir()
        base = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
        prefix = os.path.realpath(sys.base_prefix)
        spec = {name: most for name, most in asdict(limits).items() if name != "output"} | {
            "folder": str(Path(scratch) / "work"), "python": str(Path(scratch) / "python"), "prefix": prefix,
            "executable": os.path.relpath(base, prefix), "unsafe": unsafe, "function": function,
            "runner": RUNNER.read_text(encoding="utf-8"),
            "readable": [path for path in READABLE if os.path.exists(path)],
        }  # fmt: skip
        (Path(scratch) / "spec.json").write_text(json.dumps(spec | {"program": _text(program)}), encoding="utf-8")
        return _watched(Path(scratch) / "spec.json", _text(given).encode(), limits.seconds, limits.output + room)


def _text(text: str) -> str:
    """Half of a surrogate pair is no text."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _watched(spec: Path, given: bytes, seconds: float, most: int) -> Ran:
    """Start the launcher, feed and read it, end it in time. The time runs from the first byte of output, which is the runner's."""
    status_read, status_write = os.pipe()
    command = [sys.executable, "-I", "-S", str(LAUNCHER), str(spec), str(status_write)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[status_write],
        env={}, start_new_session=True,
    )  # fmt: skip
    os.close(status_write)
    outputs: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    said, stopped, begun = bytearray(), "", False
    end = time.monotonic() + STARTING
    with selectors.DefaultSelector() as watch:
        for stream in (process.stdout, process.stderr):
            watch.register(stream, selectors.EVENT_READ)
        watch.register(status_read, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        watch.register(process.stdin, selectors.EVENT_WRITE)
        rest = memoryview(given)
        try:
            while watch.get_map():
                left = end - time.monotonic()
                if left <= 0:
                    stopped = "time"
                    break
                for key, _ in watch.select(left):
                    if key.fileobj is process.stdin:
                        with contextlib.suppress(BlockingIOError):
                            try:
                                rest = rest[os.write(process.stdin.fileno(), rest[:65536]) :] if rest else rest
                            except BrokenPipeError:
                                rest = rest[:0]  # it does not read its input
                        if not rest:
                            watch.unregister(process.stdin)
                            process.stdin.close()
                        continue
                    data = os.read(key.fd, 65536)
                    if not data:
                        watch.unregister(key.fileobj)
                    elif key.fileobj == status_read:
                        said += data
                    elif key.fileobj is process.stdout and not begun:
                        begun, end = True, time.monotonic() + seconds
                        outputs[process.stdout] += data[1:]
                    else:
                        outputs[key.fileobj] += data
                del outputs[process.stderr][:-ERRORS]
                if len(outputs[process.stdout]) > most:
                    stopped = "output"
                    break
        finally:
            _end(process)
            os.close(status_read)
    lines = [json.loads(line) for line in said.decode().splitlines() if line.endswith("}")]
    refused = next((line["refused"] for line in lines if "refused" in line), None)
    if refused is not None:
        raise SandboxError(
            f"{refused}; no program was run. Run on a Linux that allows it, or pass unsafe=True to run them all the same."
        )
    if not begun:
        raise SandboxError(f"the sandbox did not start: {outputs[process.stderr].decode('utf-8', 'replace')[-300:]}")
    code = next((line["code"] for line in lines if "code" in line), None)
    status = stopped or ("ended" if code == 0 else "failed")
    out, error = outputs[process.stdout][:most], outputs[process.stderr]
    return Ran(status, out.decode("utf-8", "replace"), error.decode("utf-8", "replace"))


def _end(process: subprocess.Popen) -> None:
    """Ask the launcher to end the program with all that it started, which ends the launcher too."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):
            stream.close()
