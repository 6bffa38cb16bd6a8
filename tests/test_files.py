"""Reading regular files alone, writing what others may read, and telling failures of the machine apart."""

import errno
import os
import socket
import stat
import subprocess
import sys

import pytest

from racviz.exceptions import DataError, GradingError, StorageError
from racviz.store.files import (
    atomic,
    atomic_files,
    explained,
    failure_of_the_machine,
    hash_file,
    is_regular,
    read_text,
    regular_file,
    write_text,
)


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    os.chdir(path.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


def link_to_zero(path):
    path.symlink_to("/dev/zero")


def make_folder(path):
    path.mkdir()


def link_to_folder(path):
    path.symlink_to(path.parent)


def link_to_itself(path):
    path.symlink_to(path)


def link_to_nothing(path):
    path.symlink_to("nowhere")


SPECIAL = [make_fifo, make_socket, link_to_zero, make_folder, link_to_folder, link_to_itself, link_to_nothing]


@pytest.mark.parametrize("make", SPECIAL)
def test_what_is_no_regular_file_is_not_read(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "z.json"
    make(path)
    assert not is_regular(path)
    with pytest.raises(DataError, match="z.json"):
        regular_file(path)
    for read in (hash_file, read_text):
        with pytest.raises((DataError, OSError)):
            read(path)


def test_regular_files_and_links_to_them_are_read(tmp_path):
    (tmp_path / "file").write_text("abc", encoding="utf-8")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "second").symlink_to("link")
    for name in ("file", "link", "second"):
        path = tmp_path / name
        assert regular_file(path) == path and is_regular(path) and read_text(path) == "abc"
        assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("path", ["absent", "file/below", "n" * 300, "a\0b"])
def test_paths_where_nothing_is(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError):
        regular_file(path)


@pytest.mark.parametrize("make", [make_fifo, link_to_zero])
def test_a_device_or_fifo_is_not_replaced_by_a_file(tmp_path, make):
    make(tmp_path / "out")
    with pytest.raises(StorageError, match="out"):
        write_text(tmp_path / "out", "text")
    assert not is_regular(tmp_path / "out") and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600), (0o027, 0o640)])
def test_modes_follow_the_umask_whatever_the_writer_chose(tmp_path, mask, mode):
    script = f"""
import os
os.umask({mask})
from pathlib import Path
from racviz.store import Store, atomic, atomic_files
def private(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
folder = Path({str(tmp_path)!r})
with atomic(folder / "one") as path:
    private(path)
with atomic_files(folder / "several") as draft:
    private(draft / "two")
def make(draft):
    (draft / "deep").mkdir()
    private(draft / "deep" / "three")
Store(folder / "store").cached("things", {{}}, make, lambda entry: None)
"""
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["manifest.json", "one", "three", "two"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_dir()} == {0o777 & ~mask}


def test_folders_of_several_files_take_the_place_of_earlier_ones(tmp_path):
    for text in ("old", "new"):
        with atomic_files(tmp_path / "out") as draft:
            (draft / "templates").mkdir()
            (draft / "templates" / text).write_text(text)
    assert [path.name for path in (tmp_path / "out" / "templates").iterdir()] == ["new"]


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    error.__cause__ = cause
    return error


class OutOfMemoryError(RuntimeError):
    """As torch's for a GPU."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StorageError("could not write x: the disk is full"), "storage"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "storage"),
        (OSError(errno.EIO, "Input/output error"), "storage"),
        (OSError(errno.EROFS, "Read-only file system"), "storage"),
        (OSError("32768 requested and 8176 written"), "storage"),
        (Exception("No space left on device (os error 28)"), "storage"),
        (raised(DataError("not a checkpoint"), OSError(errno.ENOSPC, "full")), "storage"),
        (MemoryError(), "memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried …"), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (OSError(errno.EMFILE, "Too many open files"), "memory"),
        (raised(DataError("not a checkpoint"), MemoryError()), "memory"),
        (OSError("no luck"), None),
        (FileNotFoundError(errno.ENOENT, "x"), None),
        (PermissionError(errno.EACCES, "x"), None),
        (ValueError("No space left on device (os error 28)"), None),
        (DataError("too few tokens"), None),
        (GradingError("x"), None),
        (ZeroDivisionError(), None),
        (RuntimeError("shapes differ"), None),
    ],
)  # fmt: skip
def test_failures_of_the_machine_are_told_from_those_of_the_work(error, expected):
    assert failure_of_the_machine(error) == expected


def test_writers_that_hide_the_number_of_a_full_disk(tmp_path):
    for error in (Exception("No space left on device (os error 28)"), OSError("32768 requested and 8176 written")):
        with pytest.raises(StorageError, match="disk is full"), explained("write", tmp_path):
            raise error


def test_an_earlier_draft_of_the_same_file_is_reclaimed_by_age(tmp_path):
    for name in (".out.01234567.tmp", ".other.01234567.tmp"):
        (tmp_path / name).write_text("left")
        os.utime(tmp_path / name, (0, 0))
    with atomic(tmp_path / "out") as path:
        path.write_text("text")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.01234567.tmp", "out"]
