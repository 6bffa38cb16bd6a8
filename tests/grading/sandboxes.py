"""The sandbox in a process of somebody else's, for tests; and what each hostile program begins with."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from racviz.grading import SandboxError
from racviz.grading.sandbox import Limits, Ran

UID = 61_234
PRELUDE = """import ctypes, fcntl, mmap, os, resource, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    got = getattr(libc, name)(*arguments)
    if got == -1: raise OSError(ctypes.get_errno(), name)
    return got
def attempt(function, *arguments, **options):
    try: got = function(*arguments, **options)
    except (OSError, ValueError): return
    print("through:", getattr(function, "__name__", function), repr(arguments)[:80], repr(got)[:80], flush=True)
"""


class OtherUser:
    """The sandbox in a process of somebody else's."""

    def __init__(self, kind: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="racviz-test-"))
        self.folder.chmod(0o755)
        command = [sys.executable, str(Path(__file__).with_name("other_user.py")), str(self.folder), kind]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
        )  # fmt: skip

    def __call__(self, program: str, given: str = "", limits: Limits = Limits(), **options) -> Ran:
        self.process.stdin.write(
            json.dumps({"program": program, "given": given, "limits": vars(limits), "options": options}) + "\n"
        )
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read()[-500:])
        answer = json.loads(line)
        if "refused" in answer:
            raise SandboxError(answer["refused"])
        return Ran(**answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


def another(kind: str) -> OtherUser:
    """A sandbox as somebody else; skips where that cannot be."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    worker = OtherUser(kind)
    try:
        worker("print(1)")
    except SandboxError as error:
        if kind not in ("no namespaces", "lonely root"):
            worker.close()
            pytest.skip(f"{kind}: {error}")
    except (RuntimeError, BrokenPipeError) as error:
        worker.close()
        pytest.skip(f"this system does not let the tests become another user: {error}")
    return worker
