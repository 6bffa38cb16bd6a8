"""The sandbox as the user of the tests, as an ordinary user, and as root without its rights; and a home that programs attack."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from sandboxes import PRELUDE, UID, another

from racviz.grading import SandboxError
from racviz.grading.sandbox import run_program


@pytest.fixture(scope="module", params=["here", "user", "weak root"])
def run(request):
    if request.param == "here":
        try:
            run_program("")
        except SandboxError as error:
            pytest.skip(str(error))
        yield run_program
        return
    worker = another(request.param)
    yield worker
    worker.close()


@pytest.fixture
def without_namespaces():
    worker = another("no namespaces")
    yield worker
    worker.close()


@pytest.fixture
def lonely_root():
    worker = another("lonely root")
    yield worker
    worker.close()


@pytest.fixture
def world(run):
    """A home with a letter, an agent's and a terminal's socket; yields its folder and a function that fills names into programs."""
    home = Path(tempfile.mkdtemp(prefix="racviz-home-"))
    (home / "tmux").mkdir()
    (home / "letter").write_text("dear diary")
    sockets = []
    for kind, address in (
        (socket.SOCK_STREAM, str(home / "agent.sock")), (socket.SOCK_STREAM, str(home / "tmux" / "default")),
        (socket.SOCK_STREAM, f"\0{home.name}"), (socket.SOCK_DGRAM, str(home / "letters.sock")), (socket.SOCK_DGRAM, f"\0{home.name}-3"),
    ):  # fmt: skip
        listening = socket.socket(socket.AF_UNIX, kind)
        listening.bind(address)
        if kind == socket.SOCK_STREAM:
            listening.listen()
        listening.setblocking(False)
        sockets.append(listening)
    if run is not run_program and os.getuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, UID, UID)

    def fill(program: str) -> str:
        for name, value in (("HOME", home), ("ABSTRACT", home.name), ("PID", os.getpid()), ("UID", UID)):
            program = program.replace(name, str(value))
        return PRELUDE + program + "\nprint('held')"

    yield home, fill, sockets
    for listening in sockets:
        listening.close()
    shutil.rmtree(home)
