"""Drafts: whose they are, and which of them are removed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.processes import Owner, host_token, start_token, this_process
from racviz.store import drafts as room
from racviz.store.drafts import Draft, draft_name, drafts_in, reclaim, remove, size_of

DAY = 86_400


@pytest.fixture
def other_process():
    """A living process that does nothing."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    process.stdin.close()


def named(owner: Owner, name: str = "data.bin") -> str:
    return f".{name}.{owner.host}-{owner.pid}-{owner.start}-01234567.tmp"


def put(folder: Path, name: str, days: float = 0.0, inside: bool = False) -> Path:
    path = folder / name
    if inside:
        path.mkdir()
        (path / "weights").write_bytes(b"12345")
    else:
        path.write_bytes(b"12345")
    for each in (*path.glob("*"), path):
        os.utime(each, (time.time() - days * DAY,) * 2)
    return path


@given(st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=300))
def test_a_draft_is_read_back_from_its_name_which_every_file_system_takes(name):
    made = draft_name(name)
    draft = Draft.parse(Path("folder") / made)
    assert draft.owner == this_process() and not draft.abandoned
    assert len(os.fsencode(made)) <= 255
    if len(name.encode()) < 200:
        assert draft.name == name


@pytest.mark.parametrize(
    "name", ["data.tmp", ".data.tmp", ".x.1234567.tmp", ".x.1234567g.tmp", "x.12345678.tmp", ".tmp", ".x.12345678.tmp.txt"]
)
def test_other_names_are_no_drafts(tmp_path, name):
    put(tmp_path, name, days=1000)
    assert drafts_in(tmp_path) == [] and reclaim(tmp_path) == 0 and (tmp_path / name).exists()


@pytest.mark.parametrize("inside", [False, True])
def test_a_living_process_keeps_its_draft_and_a_dead_one_does_not(tmp_path, other_process, inside):
    owner = Owner(host_token(), other_process.pid, start_token(other_process.pid))
    path = put(tmp_path, named(owner), days=1000, inside=inside)
    assert reclaim(tmp_path) == 0 and path.exists()
    other_process.kill()
    end = time.monotonic() + 10
    while owner.living and time.monotonic() < end:  # a zombie: nobody has asked how it ended
        time.sleep(0.01)
    assert reclaim(tmp_path) == 5 and not path.exists()


def test_a_number_that_another_process_has_by_now(tmp_path, other_process):
    path = put(tmp_path, named(Owner(host_token(), other_process.pid, "0" * 8)))
    assert reclaim(tmp_path) == 5 and not path.exists()


def test_a_number_that_no_process_has(tmp_path):
    for pid in (2**22 + 1, 10**11):
        put(tmp_path, named(Owner(host_token(), pid, "0" * 8)))
        assert reclaim(tmp_path) == 5


@pytest.mark.parametrize(("name", "owned"), [(named(Owner("0" * 8, 1, "1" * 8)), True), (".data.bin.01234567.tmp", False)])
def test_an_owner_elsewhere_or_unknown_is_judged_by_age(tmp_path, name, owned):
    young = put(tmp_path, name, days=0.5)
    assert reclaim(tmp_path) == 0 and young.exists()
    assert (Draft.parse(young).owner is not None) == owned
    put(tmp_path, name, days=10)
    assert reclaim(tmp_path) == 5 and not young.exists()


def test_the_age_of_a_folder_is_that_of_its_newest_file(tmp_path):
    path = put(tmp_path, ".01234567.tmp", days=10, inside=True)
    (path / "more").write_text("now")
    os.utime(path, (0, 0))
    assert reclaim(tmp_path) == 0 and path.exists()


def test_what_has_no_owner_is_removed_only_under_the_names_that_were_asked_for(tmp_path):
    put(tmp_path, ".mine.txt.01234567.tmp", days=10)
    put(tmp_path, ".letter.doc.01234567.tmp", days=10)
    assert reclaim(tmp_path, r"mine\.txt") == 5
    assert [path.name for path in tmp_path.iterdir()] == [".letter.doc.01234567.tmp"]


def test_links_are_removed_and_what_they_lead_to_is_not(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("12345")
    link = tmp_path / "link"
    for target in (tmp_path / "kept", tmp_path / "kept" / "file", tmp_path / "nowhere"):
        link.symlink_to(target)
        assert size_of(link) == 0 and remove(link) == 0 and not link.is_symlink()
    assert (tmp_path / "kept" / "file").read_text() == "12345"


def test_a_folder_that_is_not_there_or_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert drafts_in(tmp_path / "absent") == drafts_in(tmp_path / "file") == [] and reclaim(tmp_path / "absent") == 0
    assert room.newest(tmp_path / "absent") == 0 and remove(tmp_path / "absent", missing_ok=True) == 0


def test_this_process_lives_and_the_first_one_too():
    assert this_process().living and this_process().here
    assert Owner(host_token(), 1, start_token(1)).living
    assert not Owner("0" * 8, 1, "0" * 8).here


CHILD = """
import os, sys, time
from racviz.processes import end_with_parent
end_with_parent(int(sys.argv[1]) if len(sys.argv) > 1 else os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_child_ends_with_its_parent_however_that_ends():
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    parent = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    owner = Owner(host_token(), child, start_token(child))
    assert owner.living
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while owner.living and time.monotonic() < end:
        time.sleep(0.01)
    assert not owner.living
    parent.stdout.close()


def test_a_child_whose_parent_was_faster_ends_at_once():
    done = subprocess.run([sys.executable, "-c", CHILD, "1"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and done.stdout == ""
