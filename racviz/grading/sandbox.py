"""Run a program that nobody has read: no network, no files but its own, no secrets, little memory, and an end.

On Linux the program runs under a root of its own: a read-only tree in memory with the interpreter and its libraries, and one empty folder
to write in. It is one process in namespaces of its own (network, processes, mounts, IPC, users), has no environment, no rights and only
the system calls that a computation needs (an allow list), and limits on time, memory, output, files and threads. Where the system does
not allow that, programs are refused unless the caller insists. docs/security.md says what is promised.
"""

import contextlib
import functools
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from racviz.exceptions import GradingError, check
from racviz.grading import seccomp

LAUNCHER = Path(__file__).with_name("sandbox_launcher.py")
RUNNER = Path(__file__).with_name("program_runner.py")
ERRORS = 2**16
"""Bytes of the error stream that are kept, the last ones; any number may be written."""
STARTING = 20.0
"""Seconds that the sandbox may take before the program begins, on a machine that is busy; not counted for the program."""
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache")
"""The system's files that an interpreter may need beside its own, where they are."""
INSIDE = "/python"
"""The interpreter's folder inside the sandbox."""
PACKAGES = f"{INSIDE}/packages"
"""Folder of NumPy, which LiveCodeBench's harness has, inside the sandbox."""


class SandboxError(GradingError):
    """A program cannot be contained here, so it was not run."""


@dataclass(frozen=True)
class Limits:
    """Limits of one run of a program.

    Parameters
    ----------
    seconds : of the clock from the program's start, and of the processor.
    memory : bytes of memory in all, shared memory and the interpreter included; files count apart.
    output : bytes that are printed, beyond what is wanted.
    files : bytes of all files together, which lie in memory.
    processes : threads. A program is one process and cannot start another.
    """

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
    """Result of a run: `status` is `ended` (by itself, or by SystemExit), `failed`, `time` or `output` (too much of it)."""

    status: str
    output: str
    error: str

    @property
    def ended(self) -> bool:
        return self.status == "ended"


def run_program(
    program: str, given: str = "", limits: Limits = Limits(), *, unsafe: bool = False, function: str = "", room: int = 0
) -> Ran:
    """Run a Python program that nobody has read, or call one of its functions.

    It finds the names of `typing`, `collections`, `math` and the like, which starter code takes for granted, as LiveCodeBench gives them.
    Only the standard library, what the base interpreter has, and NumPy can be imported.

    Parameters
    ----------
    program : its text.
    given : its input, in a file: /dev/stdin begins anew at each opening.
    limits : see `Limits`.
    unsafe : run it even where the system cannot keep it from files. Limits, the allow list of system calls and the empty environment hold
        all the same; see docs/security.md.
    function : the function, or method of a class Solution, to call with the lines of `given` as JSON; `output` is then its result as JSON.
    room : bytes of output allowed beyond `limits.output`.

    Raises
    ------
    SandboxError
        Where the program cannot be contained, or the interpreter does not run in the sandbox; nothing was run then.
    """
    if not sys.platform.startswith("linux"):
        raise SandboxError("programs are run on Linux only, which can contain them; here none was run.")
    _check_interpreter(unsafe)
    return _run(program, given, limits, unsafe, function, room)


@functools.cache
def _check_interpreter(unsafe: bool) -> None:
    """Raise SandboxError where the interpreter itself does not run in the sandbox, so that no program fails in its place."""
    ran = _run("print(7)", "", Limits(), unsafe, "", 0)
    if ran.output != "7\n" and ran.status != "time":
        raise SandboxError(f"the interpreter does not run in the sandbox: {ran.error[-300:]}; no program was run.")


def _run(program: str, given: str, limits: Limits, unsafe: bool, function: str, room: int) -> Ran:
    try:
        return _started(program, given, limits, function, room, contained=True)
    except SandboxError:
        if not unsafe:
            raise
        return _started(program, given, limits, function, room, contained=False)


def _started(program: str, given: str, limits: Limits, function: str, room: int, *, contained: bool) -> Ran:
    """Write all that the launcher needs into a folder, and start it."""
    with tempfile.TemporaryDirectory(prefix="racviz-program-") as scratch:
        if not contained:
            os.chmod(scratch, 0o711)  # without a root of its own the program goes through it to its folder
        paths = {part: os.path.join(scratch, part) for part in ("folder", "root", "input")}
        os.mkdir(paths["folder"])
        os.mkdir(paths["root"], 0o700)
        Path(paths["input"]).write_bytes(_text(given).encode())
        os.chmod(paths["input"], 0o644)
        machine = os.uname().machine
        python, readable, packages = _interpreter()
        spec = {name: most for name, most in asdict(limits).items() if name != "output"} | paths | {
            "python": python, "readable": readable, "packages": packages, "contained": contained, "function": function,
            "runner": RUNNER.read_text(encoding="utf-8"), "program": _text(program), "parent": os.getpid(),
            "filter": seccomp.assembled(machine).hex(),
            "numbers": seccomp.numbers(seccomp.LAUNCHERS, machine) if machine in seccomp.MACHINES else {},
        }  # fmt: skip
        with open(os.open(os.path.join(scratch, "spec.json"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            json.dump(spec, file)
        return _watched(Path(scratch) / "spec.json", limits.seconds, limits.output + room, contained)


def _interpreter() -> tuple[tuple[str, str], list[tuple[str, str]], tuple[str, str]]:
    """The base interpreter, all that is shown to a program, and the folder of packages: (path here, path inside the sandbox)."""
    python = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    inside = f"{INSIDE}/bin/{os.path.basename(python)}"
    prefix = os.path.realpath(sys.base_prefix)
    shown = [(os.path.join(prefix, part), f"{INSIDE}/{part}") for part in ("lib", "lib64")]
    shown = [(os.path.realpath(path), target) for path, target in shown]
    site = os.path.dirname(find_spec("numpy").submodule_search_locations[0])
    packages = [(os.path.realpath(os.path.join(site, name)), f"{PACKAGES}/{name}") for name in ("numpy", "numpy.libs")]
    system = [(path, path) for path in LIBRARIES]
    found = [pair for pair in (*shown, *packages, *system) if os.path.exists(pair[0])]
    return (python, inside), [(python, inside), *found], (site, PACKAGES)


def _text(text: str) -> str:
    """Half of a surrogate pair is no text."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _watched(spec: Path, seconds: float, most: int, contained: bool) -> Ran:
    """Start the launcher, read it, end it in time, which runs from the first byte of output: that is the runner's."""
    status_read, status_write = os.pipe()
    command = [sys.executable, "-I", "-S", str(LAUNCHER), str(spec), str(status_write)]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[status_write],
            env={}, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        os.close(status_read)
        raise SandboxError(f"the sandbox did not start: {error.strerror}.") from error
    finally:
        os.close(status_write)
    outputs: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    said, stopped, begun = bytearray(), "", False
    end = time.monotonic() + STARTING
    with selectors.DefaultSelector() as watch:
        for stream in (process.stdout, process.stderr):
            watch.register(stream, selectors.EVENT_READ)
        watch.register(status_read, selectors.EVENT_READ)
        try:
            while watch.get_map():
                left = end - time.monotonic()
                if left <= 0:
                    stopped = "time"
                    break
                for key, _ in watch.select(left):
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
        or_else = ", or pass unsafe=True to run them all the same" if contained else ""
        raise SandboxError(f"{refused}; no program was run. Run on a Linux that allows it{or_else}.")
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
    for stream in (process.stdout, process.stderr):
        with contextlib.suppress(OSError):
            stream.close()
