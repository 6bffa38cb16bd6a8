"""Folders that are held: who comes second, who died, who is elsewhere."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from racviz.exceptions import StorageError
from racviz.store.locks import alone, in_use, share

HOLDER = """
import sys, time
from pathlib import Path
from racviz.store.locks import alone
with alone(Path(sys.argv[1]), "prune"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "held")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_is_refused_and_told_who_is_first(tmp_path, holder):
    with pytest.raises(StorageError, match=f"another prune is at work in .*held.*process {holder.pid} on") as caught:
        with alone(tmp_path / "held", "prune"):
            raise AssertionError
    assert "delete" not in str(caught.value) and "remove" not in str(caught.value)
    assert holder.poll() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_died_holds_nothing(tmp_path, holder, number):
    holder.send_signal(number)
    holder.wait(10)
    with alone(tmp_path / "held", "prune"):
        assert json.loads((tmp_path / "held" / ".lock.owner").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "held" / ".lock.owner").exists()


def test_a_folder_may_be_held_again_and_again_but_not_twice(tmp_path):
    for _ in range(2):
        with alone(tmp_path, "sweep"):
            with pytest.raises(StorageError, match=f"process {os.getpid()} on"), alone(tmp_path, "sweep"):
                raise AssertionError
    with pytest.raises(ZeroDivisionError), alone(tmp_path, "sweep"):
        1 / 0  # noqa: B018
    with alone(tmp_path, "sweep"):
        pass


@pytest.mark.parametrize(("hours", "refused"), [(0.1, True), (1.5, True), (5, False)])
def test_an_owner_on_another_host_lives_for_some_hours_after_its_last_sign(tmp_path, hours, refused):
    """Its lock is not seen here on some network file systems."""
    owner = tmp_path / ".lock.owner"
    owner.write_text(json.dumps(dict(work="prune", host="elsewhere", pid=1, since="2026-01-01", token="0" * 8, start="1" * 8)))
    os.utime(owner, (time.time() - hours * 3600,) * 2)
    if refused:
        with pytest.raises(StorageError, match="process 1 on 'elsewhere'.*remove .*lock.owner"), alone(tmp_path, "prune"):
            raise AssertionError
        assert owner.exists()
        owner.unlink()
    with alone(tmp_path, "prune"):
        pass


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"pid": "x"}', '{"pid": {}, "token": 1, "start": 1}', "[" * 10_000, "\udcff"]
)
def test_an_owner_that_cannot_be_read_is_nobody(tmp_path, text):
    (tmp_path / ".lock.owner").write_bytes(text.encode(errors="surrogateescape"))
    with alone(tmp_path, "prune"):
        pass


def test_an_owner_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / ".lock.owner")
    with alone(tmp_path, "prune"):
        assert (tmp_path / ".lock.owner").is_file()


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"), alone(tmp_path / "file" / "below", "prune"):
        raise AssertionError


def test_files_in_use(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    assert not in_use(path) and not in_use(tmp_path / "absent")
    with path.open("a") as first, path.open("a") as second:
        share(first), share(second)
        assert in_use(path)
    assert not in_use(path)
