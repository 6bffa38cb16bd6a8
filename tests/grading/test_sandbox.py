"""The sandbox's limits, its end, what works in it, and where it refuses."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sandboxes import another

from racviz.grading import SandboxError, sandbox
from racviz.grading.sandbox import Limits, run_program

MEBI = 2**20
MEMFD, SHMGET = (279, 194) if platform.machine() == "aarch64" else (319, 29)
HOLDERS = {
    "private memory": "def hold(k): kept.append(bytearray(b'x' * MEBI))",
    "shared anonymous memory": "def hold(k):\n    kept.append(mmap.mmap(-1, MEBI)); kept[-1].write(b'x' * MEBI)",
    "files": "def hold(k): open(f'file-{k}', 'wb').write(b'x' * MEBI)",
    "files without a name": "def hold(k):\n    kept.append(os.open('.', os.O_TMPFILE | os.O_RDWR)); os.write(kept[-1], b'x' * MEBI)",
    "mapped files": """def hold(k):
    file = open('one', 'a+b'); file.truncate((k + 1) * MEBI)
    kept.append(mmap.mmap(file.fileno(), MEBI, offset=k * MEBI)); kept[-1].write(b'x' * MEBI)""",
    "memfds": f"""def hold(k):
    kept.append(os.memfd_create('x') if hasattr(os, 'memfd_create') else call('syscall', {MEMFD}, b'x', 0))
    os.write(kept[-1], b'x' * MEBI)""",
    "System V shared memory": f"""libc.shmat.restype = ctypes.c_void_p
def hold(k):
    number = call('syscall', {SHMGET}, 0, MEBI, 0o1600)
    ctypes.memset(libc.shmat(number, None, 0), 1, MEBI)""",
    "processes, each with its own limit": """def hold(k):
    if os.fork() == 0:
        kept.append(bytearray(b'x' * MEBI)); time.sleep(30)""",
    "pipes": """def hold(k):
    for _ in range(16):
        r, w = os.pipe(); os.set_blocking(w, False); kept.append(os.write(w, b'x' * 2**16))""",
    "sockets": """def hold(k):
    size = 0
    while size < MEBI:
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM); kept.append((a, b)); a.setblocking(False)
        try:
            while True: size += a.send(b'x' * 2**16)
        except BlockingIOError: pass""",
}  # fmt: skip
HOLD = """
import ctypes, mmap, os, socket, time
MEBI, kept = 2**20, []
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    got = getattr(libc, name)(*arguments)
    if got == -1: raise OSError(ctypes.get_errno(), name)
    return got
%s
for k in range(400):
    try: hold(k)
    except (OSError, MemoryError): break
    os.write(1, b'.')
os._exit(0)
"""


@pytest.mark.parametrize("kind", HOLDERS)
def test_memory_of_every_kind_is_within_the_limits(run, kind):
    limits = Limits(memory=160 * MEBI, files=16 * MEBI)
    held = run(HOLD % HOLDERS[kind], limits=limits).output.count(".")
    none = kind in ("memfds", "System V shared memory", "processes, each with its own limit")
    most = 0 if none else 16 if "files" in kind or kind in ("pipes", "sockets") else 160
    assert held <= most
    assert none or held >= (100 if "memory" in kind else 1), "the attempt itself works"


def test_all_kinds_together_are_within_the_sum(run):
    """Memory and files: 160 + 16 MiB; what pipes and sockets hold is bounded by the number of descriptors."""
    kinds = [kind for kind in HOLDERS if kind != "mapped files"]  # a full folder ends those with a fault
    together = "\n".join(HOLDERS[kind].replace("def hold", f"def hold{k}") for k, kind in enumerate(kinds))
    program = (
        (HOLD % together).replace("range(400)", "range(0)").replace("os._exit(0)", "")
        + f"""
for each in ({", ".join(f"hold{k}" for k in range(len(kinds)))}):
    for k in range(400):
        try: each(k + 1000)
        except (OSError, MemoryError): break
        os.write(1, b".")
os._exit(0)"""
    )
    held = run(program, limits=Limits(memory=160 * MEBI, files=16 * MEBI)).output.count(".")
    assert 100 < held <= 160 + 16 + 16


def test_files_are_few_and_the_tree_is_small(run):
    program = """
import os
made = 0
for make in (lambda k: open(f"f{k}", "w").close(), lambda k: os.mkdir(f"d{k}")):
    for k in range(20_000):
        try: make(k)
        except OSError: break
        made += 1
print(made)"""
    assert 1000 < int(run(program).output) < 4096


def test_descriptors_threads_and_the_clock_are_limited(run):
    program = """
import os, threading, time
opened = []
try:
    while True: opened.append(os.dup(0))
except OSError: print(len(opened))
for descriptor in opened: os.close(descriptor)
threads = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(50)]
try:
    for thread in threads: thread.start()
except RuntimeError: print(sum(t.ident is not None for t in threads))"""
    descriptors, threads = map(int, run(program, limits=Limits(processes=6)).output.split())
    assert descriptors < 64 and threads == 5
    began = time.monotonic()
    assert run("import time\ntime.sleep(30)", limits=Limits(seconds=0.5)).status == "time"
    assert time.monotonic() - began < 5


def test_nothing_but_input_output_and_errors_is_open(run):
    program = (
        "import os\nfor k in range(3, 1024):\n    try: print(k, os.fstat(k))\n    except OSError: pass\nprint(os.listdir('.'))"
    )
    assert run(program).output == "['program.py']\n"
    assert (
        run("import os, socket\nprint(os.getpid(), os.getppid(), socket.gethostname(), os.getuid() == 0)").output
        == "1 0 sandbox False\n"
    )
    assert run("import resource as r\nprint(r.getrlimit(r.RLIMIT_CORE))").output == "(1, 1)\n", (
        "no core is piped to the system's handler"
    )


WORKS = {
    "the input by every name": """
import os, sys
first = sys.stdin.readline()
print(repr(first), repr(open(0, closefd=False).read()))
for path in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"): print(repr(open(path).read()))
print(os.fstat(0).st_size, repr(os.pread(0, 3, 0)))""",
    "threads": """
import threading, queue
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(3) as pool: print(list(pool.map(abs, [-1, 2])))
t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()""",
    "deep recursion in a thread with a large stack": """
import sys, threading
sys.setrecursionlimit(50_000); threading.stack_size(256 * 2**20)
def depth(n): return 0 if n == 0 else 1 + depth(n - 1)
t = threading.Thread(target=lambda: print(depth(40_000))); t.start(); t.join()""",
    "asyncio": """
import asyncio
async def main():
    await asyncio.sleep(0.01)
    return await asyncio.gather(*(asyncio.to_thread(abs, -k) for k in range(3)))
print(asyncio.run(main()))""",
    "files of its own": """
import mmap, os, pathlib, shutil, sqlite3, tempfile
pathlib.Path("a").write_text("x" * 10); os.rename("a", "b"); os.makedirs("c/d"); shutil.move("b", "c/d/e")
with tempfile.TemporaryFile() as f: f.write(b"1"); print(f.tell())
print(pathlib.Path("c/d/e").stat().st_size); shutil.rmtree("c")
print(len(mmap.mmap(-1, 100)), sqlite3.connect(":memory:").execute("select 6*7").fetchone())""",
    "time, chance and signals": """
import random, secrets, signal, time, datetime, resource, uuid
signal.signal(signal.SIGALRM, lambda *_: print("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(0.05)
print(0 <= random.random() < 1, len(secrets.token_bytes(4)), datetime.datetime.now().year > 2000, time.localtime().tm_year > 2000)
signal.signal(signal.SIGUSR1, lambda *_: print("signal")); signal.raise_signal(signal.SIGUSR1)
import os; os.kill(os.getpid(), signal.SIGUSR1)
resource.setrlimit(resource.RLIMIT_STACK, (2**28, resource.getrlimit(resource.RLIMIT_STACK)[1]))""",
    "many modules": """
import array, bisect, cmath, collections, csv, ctypes, dataclasses, decimal, difflib, enum, fractions, functools, hashlib, heapq, io, json
import logging, lzma, numbers, operator, os, pickle, platform, pprint, queue, select, socket, statistics, string, struct, subprocess, sys
import textwrap, timeit, traceback, typing, unicodedata, unittest, urllib.parse, uuid, weakref, zlib, zoneinfo, multiprocessing
print(platform.system(), os.cpu_count() >= 1, os.get_terminal_size if 0 else sys.stdin.isatty(), select.select([0], [], [], 0)[0])""",
}  # fmt: skip


@pytest.mark.parametrize("name", WORKS)
def test_ordinary_programs_work(run, name):
    ran = run(WORKS[name], "one\ntwo\n")
    expected = {
        "the input by every name": "'one\\n' ''\n" + 3 * "'one\\ntwo\\n'\n" + "8 b'one'\n",
        "threads": "[1, 2]\nthread\n", "deep recursion in a thread with a large stack": "40000\n", "asyncio": "[0, 1, 2]\n",
        "files of its own": "1\n10\n100 (42,)\n", "time, chance and signals": "alarm\nTrue 4 True True\nsignal\nsignal\n",
        "many modules": "Linux True False [0]\n",
    }[name]  # fmt: skip
    assert (ran.status, ran.output) == ("ended", expected), ran.error


def test_a_crash_is_a_failure_and_not_an_error_of_the_sandbox(run):
    for program in ("import ctypes\nctypes.string_at(0)", "import os\nos.abort()", "import os\nos._exit(3)"):
        assert run(program).status == "failed"
    assert run("import os\nos._exit(0)").status == "ended"


DIES = (
    "import ctypes, signal\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
    "for k in (1, 2, 14, 15): signal.signal(k, signal.SIG_IGN)\nwhile True: pass"
)


def racviz_here(mark: str, folder: Path):
    """(the process that grades, a function that ends it)."""
    code = f"from racviz.grading.sandbox import *; run_program({DIES!r}, limits=Limits(seconds=50), function={mark!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": ":".join(sys.path), "TMPDIR": str(folder)}
    )
    return process, lambda: (process.kill(), process.wait())


def racviz_of_a_user(mark: str, folder: Path):
    worker = another("user")
    asked = {"program": DIES, "given": "", "limits": {"seconds": 50}, "options": {"function": mark}}
    worker.process.stdin.write(json.dumps(asked) + "\n")
    worker.process.stdin.flush()
    return worker.process, lambda: (worker.process.kill(), worker.close())


@pytest.mark.parametrize("start", [racviz_here, racviz_of_a_user])
@pytest.mark.parametrize(("who", "by"), [("racviz", signal.SIGKILL), ("racviz", signal.SIGTERM), ("launcher", signal.SIGKILL)])
def test_a_program_ends_with_racviz_and_with_the_launcher(start, who, by, tmp_path):
    """Even one that ignores signals and tries to unbind itself."""
    mark = f"mark-{os.getpid()}-{start.__name__}-{who}-{by}"

    def marked() -> list[psutil.Process]:
        return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] and mark in p.info["cmdline"]]

    def wait_until(holds) -> bool:
        end = time.monotonic() + 20
        while not holds() and time.monotonic() < end:
            time.sleep(0.02)
        return holds()

    racviz, finish = start(mark, tmp_path)
    try:
        assert wait_until(lambda: any(p.cpu_times().user > 0.1 for p in marked()))
        os.kill(racviz.pid if who == "racviz" else marked()[0].ppid(), by)
        assert wait_until(lambda: not marked())
    finally:
        finish()


def test_where_namespaces_are_off_programs_are_refused_with_the_reason(without_namespaces):
    with pytest.raises(SandboxError, match=r"max_user_namespaces is 0.*unsafe=True"):
        without_namespaces("print(1)")


def test_unsafe_keeps_limits_calls_and_landlock(without_namespaces):
    program = """
import os, socket
for attempt in (lambda: socket.socket(), os.fork, lambda: os.kill(PID, 0), lambda: os.chmod("program.py", 0o777)):
    try: print("through", attempt())
    except OSError as error: print(type(error).__name__)
print(dict(os.environ), input(), open("/dev/stdin").read() != "")"""
    ran = without_namespaces(program.replace("PID", str(os.getppid())), "given\n", unsafe=True)
    assert ran.output == 4 * "PermissionError\n" + "{} given True\n", ran.error
    assert without_namespaces("x = bytearray(2**29)", limits=Limits(memory=2**28), unsafe=True).status == "failed"
    if landlock():
        assert without_namespaces("open('/etc/passwd')", unsafe=True).status == "failed"


def landlock() -> bool:
    import ctypes

    return ctypes.CDLL(None).syscall(444, None, 0, 1) > 0


def test_no_program_runs_as_root_even_where_nobody_else_exists(lonely_root):
    for unsafe in (False, True):
        with pytest.raises(SandboxError, match="let a program be shut in"):
            lonely_root("print(1)", unsafe=unsafe)


def test_an_interpreter_that_does_not_run_inside_is_an_error_of_the_sandbox(monkeypatch):
    monkeypatch.setattr(sandbox, "LIBRARIES", ())
    sandbox._check_interpreter.cache_clear()
    with pytest.raises(SandboxError):
        run_program("print(1)")
    sandbox._check_interpreter.cache_clear()


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    before = Path("/proc/self/mountinfo").read_text()
    assert run_program("open('x', 'w').write('x')\nprint(1)").ended
    assert list(tmp_path.iterdir()) == [] and Path("/proc/self/mountinfo").read_text() == before
