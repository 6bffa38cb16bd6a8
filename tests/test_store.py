"""Artefacts: keys, atomic writes, damage, racing writers, full disks and folders that may not be written."""

import dataclasses
import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz import store as room
from racviz.exceptions import DamagedArtefact, ParameterError, RacvizError, StorageError
from racviz.generation import Sampling
from racviz.store import Store, atomic, atomic_files, canonical, explained, key_of, resource, write_text
from racviz.store.locks import share

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
REFUSALS = {
    errno.ENOSPC: "disk is full",
    errno.EDQUOT: "quota",
    errno.EROFS: "read-only",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
}


def put(text: str):
    """A `make` for `Store.cached`."""
    return lambda folder: (folder / "data.txt").write_text(text, encoding="utf-8")


def get(folder: Path) -> str:
    return (folder / "data.txt").read_text(encoding="utf-8")


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def entry(store: Store, parts: dict, text: str = "content") -> Path:
    """A finished artefact's folder."""
    store.cached("things", parts, put(text), get)
    return store.path("things", key_of(kind="things", **parts))


# --- keys --------------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), PLAIN, max_size=4))
def test_a_key_does_not_depend_on_order_nor_on_lists_being_tuples(parts):
    again = json.loads(json.dumps(parts))
    turned = {name: tuple(value) if isinstance(value, list) else value for name, value in reversed(again.items())}
    assert key_of(**turned) == key_of(**parts)


@given(PLAIN, PLAIN)
def test_different_values_have_different_keys(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (key_of(part=a) == key_of(part=b)) == same


def test_a_key_is_the_hash_of_the_sorted_json_the_format_and_the_version():
    from racviz import __version__

    text = json.dumps({"a": [1, 2.5], "b": "ü", "format": room.FORMAT, "racviz": __version__}, sort_keys=True)
    assert key_of(b="ü", a=(1, 2.5)) == hashlib.sha256(text.encode()).hexdigest()[:24]


def test_a_new_format_makes_new_keys(monkeypatch):
    before = key_of(a=1)
    monkeypatch.setattr(room, "FORMAT", room.FORMAT + 1)
    assert key_of(a=1) != before


@pytest.mark.parametrize("change", [{"max_new_tokens": 9}, {"temperature": 0.5}, {"top_p": 0.5}, {"seed": 1}])
def test_every_field_of_a_dataclass_counts(change):
    sampling = Sampling()
    assert key_of(s=sampling) == key_of(s=dataclasses.asdict(sampling))
    assert key_of(s=sampling) != key_of(s=dataclasses.replace(sampling, **change))


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", Path("x")])
def test_what_has_no_stable_form_is_no_key(value):
    with pytest.raises(TypeError, match=type(value).__name__):
        canonical({"deep": [value]})


# --- resources ---------------------------------------------------------------------------------------------------------


def test_resources_are_found_and_missing_ones_named():
    assert (resource("data/problems") / "arithmetic-test.jsonl").is_file()
    with pytest.raises(FileNotFoundError, match="data/nothing") as caught:
        resource("data/nothing")
    assert isinstance(caught.value, RacvizError)


# --- one file ----------------------------------------------------------------------------------------------------------


def test_atomic_replaces_at_the_end_and_not_before(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert everything(tmp_path) == ["deep", "deep/file.txt"]


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, raised):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(raised), atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise raised
    assert path.read_text() == "old" and everything(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_refused_write_says_where_why_and_what_to_do(tmp_path, monkeypatch, number, where):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    path = tmp_path / "file.txt"
    monkeypatch.setattr(room.os, where, refuse)
    with pytest.raises(StorageError, match=REFUSALS[number]) as caught:
        write_text(path, "text")
    assert str(path) in str(caught.value) and "RACVIZ_CACHE" in str(caught.value)
    assert everything(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path):
    write_text(tmp_path / "file", "text")
    for path in (tmp_path / "file" / "below", tmp_path / "file" / "deep" / "below"):
        with pytest.raises(StorageError, match="is a file, not a folder"):
            write_text(path, "text")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", Path(".")):
        with pytest.raises(StorageError, match="it is a folder"):
            write_text(path, "text")
    with pytest.raises(StorageError, match="too long"):
        write_text(tmp_path / ("n" * 300), "text")


def test_other_errors_are_not_explained_away(tmp_path):
    with pytest.raises(FileNotFoundError), explained("write", tmp_path):
        (tmp_path / "absent").read_text()
    with pytest.raises(ZeroDivisionError), explained("write", tmp_path):
        1 / 0  # noqa: B018
    with pytest.raises(StorageError, match="inner"), explained("write", tmp_path / "outer"):
        with explained("write", tmp_path / "inner"):
            raise OSError(errno.ENOSPC, "full")


def test_the_weights_of_a_model_meet_a_full_disk(tmp_path):
    """safetensors has an error type of its own, which carries the system's number in its message."""
    from safetensors import SafetensorError

    message = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(StorageError, match="disk is full"), explained("save the model in", tmp_path):
        raise SafetensorError(message)
    with pytest.raises(ValueError), explained("save the model in", tmp_path):
        raise ValueError(message)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB, where the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_model_on_a_disk_that_is_really_full(tiny, small_disk):
    with pytest.raises(StorageError, match="disk is full") as caught:
        tiny.save(small_disk / "model")
    assert str(small_disk / "model") in str(caught.value)
    assert everything(small_disk) == []


def test_several_files_appear_together_or_not_at_all(tmp_path):
    folder = tmp_path / "out"
    with atomic_files(folder) as draft:
        (draft / "a").write_text("1")
        (draft / "b").write_text("1")
    with pytest.raises(RuntimeError), atomic_files(folder) as draft:
        (draft / "a").write_text("2")
        raise RuntimeError
    assert everything(folder) == ["a", "b"] and (folder / "a").read_text() == "1"
    with pytest.raises(RuntimeError), atomic_files(tmp_path / "new") as draft:
        raise RuntimeError
    assert everything(tmp_path) == ["out", "out/a", "out/b"]


# --- the store ---------------------------------------------------------------------------------------------------------


def test_what_was_made_is_read_the_next_time(store):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "deep").mkdir()
        (folder / "deep" / "data").write_bytes(b"\x00\xff")

    def read(folder):
        return (folder / "deep" / "data").read_bytes()

    for _ in range(3):
        assert store.cached("things", {"a": 1}, make, read) == b"\x00\xff"
    assert store.cached("things", {"a": 2}, make, read) == store.cached("others", {"a": 1}, make, read)
    assert len(made) == 3
    assert everything(store.path("things", key_of(kind="things", a=1))) == ["deep", "deep/data", "manifest.json"]


def test_the_manifest_says_what_made_it(store):
    folder = entry(store, {"a": [1, 2], "name": "ü"}, "text")
    manifest = store.verify(folder)
    assert (
        manifest["parameters"] == {"a": [1, 2], "name": "ü"} and manifest["kind"] == "things" and manifest["key"] == folder.name
    )
    assert manifest["files"] == {"data.txt": hashlib.sha256(b"text").hexdigest()}


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt])
def test_a_step_that_fails_leaves_nothing(store, raised):
    def make(folder):
        put("half")(folder)
        raise raised

    with pytest.raises(raised):
        store.cached("things", {"a": 1}, make, get)
    assert everything(store.root) == ["things"] and store.entries() == []
    assert store.cached("things", {"a": 1}, put("whole"), get) == "whole"


def spoil_flip(folder):
    (folder / "data.txt").write_text("c0ntent")


def spoil_cut(folder):
    (folder / "data.txt").write_text("cont")


def spoil_lose(folder):
    (folder / "data.txt").unlink()


def spoil_manifest_cut(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[: len(text) // 2])


def spoil_manifest_empty(folder):
    (folder / "manifest.json").write_text("")


def spoil_manifest_garbage(folder):
    (folder / "manifest.json").write_bytes(b"\x80\x81\x82")


def spoil_manifest_list(folder):
    (folder / "manifest.json").write_text("[]")


def spoil_manifest_null(folder):
    (folder / "manifest.json").write_text('{"files": null}')


def spoil_manifest_lost(folder):
    (folder / "manifest.json").unlink()


def with_manifest(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(manifest))


def spoil_manifest_names_nothing(folder):
    with_manifest(folder, files={})


def spoil_manifest_names_a_list(folder):
    with_manifest(folder, files=["data.txt"])


def spoil_manifest_names_outside(folder):
    (folder.parent / "outside.txt").write_text("content")
    with_manifest(folder, files={"../outside.txt": hashlib.sha256(b"content").hexdigest()})


def spoil_manifest_names_an_absolute_path(folder):
    with_manifest(folder, files={str(folder / "data.txt"): hashlib.sha256(b"content").hexdigest()})


def spoil_manifest_names_itself_differently(folder):
    with_manifest(folder, files={"./data.txt": hashlib.sha256(b"content").hexdigest()})


def spoil_manifest_names_a_folder(folder):
    (folder / "deep").mkdir()
    with_manifest(folder, files={"data.txt": hashlib.sha256(b"content").hexdigest(), "deep": "0" * 64})


def spoil_manifest_names_no_text(folder):
    with_manifest(folder, files={"data.txt": ["0"]})


def spoil_manifest_of_a_nul(folder):
    with_manifest(folder, files={"data.txt": hashlib.sha256(b"content").hexdigest(), "a\0b": "0" * 64})


def spoil_manifest_of_half_a_character(folder):
    with_manifest(folder, files={"data.txt": hashlib.sha256(b"content").hexdigest(), "\ud800": "0" * 64})


def spoil_manifest_of_a_long_name(folder):
    with_manifest(folder, files={"data.txt": hashlib.sha256(b"content").hexdigest(), "n" * 100_000: "0" * 64})


def spoil_manifest_of_another_key(folder):
    with_manifest(folder, key="0" * 24)


def spoil_manifest_of_another_kind(folder):
    with_manifest(folder, kind="others")


def spoil_manifest_of_another_format(folder):
    with_manifest(folder, format=room.FORMAT + 1)


def spoil_manifest_without_its_key(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["key"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def spoil_manifest_nested(folder):
    (folder / "manifest.json").write_text("[" * 200_000)


def spoil_manifest_of_a_huge_number(folder):
    (folder / "manifest.json").write_text('{"key": ' + "9" * 10_000 + "}")


def spoil_manifest_a_folder(folder):
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def spoil_manifest_a_fifo(folder):
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def spoil_manifest_a_device(folder):
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to("/dev/zero")


def spoil_data_a_folder(folder):
    (folder / "data.txt").unlink()
    (folder / "data.txt").mkdir()


def spoil_data_a_fifo(folder):
    (folder / "data.txt").unlink()
    os.mkfifo(folder / "data.txt")


def spoil_data_a_device(folder):
    (folder / "data.txt").unlink()
    (folder / "data.txt").symlink_to("/dev/zero")


def spoil_data_a_link_to_nothing(folder):
    (folder / "data.txt").unlink()
    (folder / "data.txt").symlink_to("nowhere")


def spoil_one_file_more(folder):
    (folder / "more.txt").write_text("more")


def spoil_one_fifo_more(folder):
    os.mkfifo(folder / "more.txt")


def spoil_one_file_more_below(folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "more.txt").write_text("more")


def spoil_a_link_to_a_folder_more(folder):
    (folder / "deep").symlink_to("/")


def spoil_empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def spoil_into_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("a file")


def spoil_into_an_empty_file(folder):
    shutil.rmtree(folder)
    folder.touch()


def spoil_into_a_fifo(folder):
    shutil.rmtree(folder)
    os.mkfifo(folder)


def spoil_into_a_link_to_nothing(folder):
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


def spoil_into_a_link_to_itself(folder):
    shutil.rmtree(folder)
    folder.symlink_to(folder)


def spoil_into_a_link_to_a_device(folder):
    shutil.rmtree(folder)
    folder.symlink_to("/dev/zero")


def spoil_into_a_link_to_a_folder(folder):
    shutil.rmtree(folder)
    folder.symlink_to(folder.parent.parent)


SPOILERS = [value for name, value in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_damaged_artefact_is_reported_and_made_again(store, spoil):
    folder = entry(store, {"a": 1})
    spoil(folder)
    with pytest.raises(DamagedArtefact, match=folder.name):
        store.verify(folder)
    assert len(store.entries()) <= 1  # listing survives it
    with pytest.warns(UserWarning, match="damaged.*made again"):
        assert store.cached("things", {"a": 1}, put("content"), get) == "content"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.cached("things", {"a": 1}, put("not made"), get) == "content"
    left = [name for name in everything(store.root / "things") if name != "outside.txt"]
    assert left == [folder.name, f"{folder.name}/data.txt", f"{folder.name}/manifest.json"]


def test_what_a_link_led_to_is_left_alone(store, tmp_path):
    folder = entry(store, {"a": 1})
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a whole artefact on another disk, say
        assert store.cached("things", {"a": 1}, put("not made"), get) == "content"
    (elsewhere / "data.txt").write_text("c0ntent")
    with pytest.warns(UserWarning, match="made again"):
        assert store.cached("things", {"a": 1}, put("content"), get) == "content"
    assert not folder.is_symlink() and (elsewhere / "data.txt").read_text() == "c0ntent"


@pytest.mark.parametrize("name", [".nfs0001", ".DS_Store", "data.txt.pyramid/level"])
def test_what_may_lie_beside_the_files_of_an_artefact(store, name):
    folder = entry(store, {"a": 1})
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("more")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.cached("things", {"a": 1}, put("not made"), get) == "content"


def test_what_may_not_be_read_is_not_damaged(store, monkeypatch):
    """Of another user, who saved it for himself alone: it is his."""
    folder = entry(store, {"a": 1})

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(room, "hash_file", refuse)
    with pytest.raises(StorageError, match="no permission"):
        store.cached("things", {"a": 1}, put("not made"), get)
    assert (folder / "data.txt").read_text() == "content"


def test_an_artefact_that_somebody_removes_while_it_is_read_is_made_again(store):
    folder = entry(store, {"a": 1})
    calls = []

    def read(place):
        calls.append(place)
        if len(calls) == 1:
            shutil.rmtree(folder)
        return get(place)

    assert store.cached("things", {"a": 1}, put("again"), read) == "again"


def test_an_artefact_that_cannot_be_read_is_not_made_for_ever(store):
    made = []
    with pytest.raises(FileNotFoundError):
        store.cached("things", {"a": 1}, lambda draft: made.append((draft / "other").write_text("x")), get)
    assert len(made) == 1
    with pytest.raises(FileNotFoundError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.cached("things", {"a": 2}, made.append, get)
    assert len(made) <= 20


def test_damage_that_another_process_has_mended_meanwhile_stays_mended(store, monkeypatch):
    folder = entry(store, {"a": 1})
    spoil_flip(folder)
    real, looked = Store._remove_damaged, []

    def later(self, place, *more):
        looked.append(place)
        (place / "data.txt").write_text("content")  # the other was faster
        return real(self, place, *more)

    monkeypatch.setattr(Store, "_remove_damaged", later)
    made = []
    with pytest.warns(UserWarning):
        assert store.cached("things", {"a": 1}, lambda draft: made.append(put("content")(draft)), get) == "content"
    assert looked == [folder] and len(everything(store.root / "things")) == 3


def test_a_reader_that_finds_damage_has_it_made_again(store):
    entry(store, {"a": 1})
    calls = []

    def read(folder):
        calls.append(folder)
        if len(calls) == 1:
            raise DamagedArtefact("unreadable.")
        return "read"

    with pytest.warns(UserWarning, match="unreadable. It is made again"):
        assert store.cached("things", {"a": 1}, put("content"), read) == "read"


def test_threads_that_race_for_one_artefact_all_get_it(store):
    barrier, results = threading.Barrier(6), []

    def make(folder):
        put("content")(folder)
        barrier.wait(20)  # all are making it at once

    def work():
        results.append(store.cached("things", {"a": 1}, make, get))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == ["content"] * 6
    assert len(everything(store.root / "things")) == 3  # one folder with its two files, and no drafts


def race(root: str, number: int, barrier, queue) -> None:
    """In a process of its own: make twenty artefacts that others make at the same time."""
    for k in range(20):
        barrier.wait(30)
        queue.put((number, k, Store(Path(root)).cached("things", {"k": k}, put(f"content {k}"), get)))


def test_processes_that_race_for_artefacts_all_get_them(store):
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(3), context.Queue()
    workers = [context.Process(target=race, args=(str(store.root), n, barrier, queue)) for n in range(3)]
    for worker in workers:
        worker.start()
    got = sorted(queue.get(timeout=60) for _ in range(60))
    for worker in workers:
        worker.join(30)
    assert got == [(n, k, f"content {k}") for n in range(3) for k in range(20)]
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(store.entries()) == 20 and len(everything(store.root / "things")) == 60


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("where", ["make", "fsync", "rename", "mkdir"])
def test_a_store_that_cannot_be_written_says_so_and_keeps_the_rest(store, monkeypatch, number, where):
    kept = entry(store, {"a": 0}, "kept")

    def refuse(*args, **options):
        raise OSError(number, os.strerror(number))

    def make(folder):
        put("half")(folder)
        if where == "make":
            refuse()

    target = {"fsync": (room.os, "fsync"), "rename": (Path, "rename"), "mkdir": (Path, "mkdir")}.get(where)
    with monkeypatch.context() as patch:
        if target:
            patch.setattr(*target, refuse)
        with pytest.raises(StorageError, match=REFUSALS[number]) as caught:
            store.cached("things", {"a": 1}, make, get)
    assert str(store.root / "things") in str(caught.value) and "What was finished before is kept" in str(caught.value)
    assert everything(store.root / "things") == [kept.name, f"{kept.name}/data.txt", f"{kept.name}/manifest.json"]
    assert store.cached("things", {"a": 1}, put("whole"), get) == "whole"


def test_a_folder_without_permission(store):
    store.root.mkdir()
    store.root.chmod(0o500)
    if os.access(store.root, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(StorageError, match="no permission"):
        store.cached("things", {"a": 1}, put("content"), get)


def test_an_artefact_on_a_disk_that_is_really_full(small_disk):
    store = Store(small_disk / "store")
    assert store.cached("things", {"a": 0}, put("small"), get) == "small"
    with pytest.raises(StorageError, match="disk is full"):
        store.cached("things", {"a": 1}, put("large" * 100_000), get)
    assert len(everything(store.root / "things")) == 3
    assert store.cached("things", {"a": 0}, put("not made"), get) == "small"


def test_the_default_store_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("RACVIZ_CACHE", str(tmp_path / "elsewhere"))
    assert Store.default().root == tmp_path / "elsewhere"
    monkeypatch.delenv("RACVIZ_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Store.default().root.name == "racviz"


# --- looking and cleaning ----------------------------------------------------------------------------------------------


def test_entries_are_listed_with_their_size(store):
    assert store.entries() == []
    folder = entry(store, {"a": 1}, "twelve bytes")
    (row,) = store.entries()
    assert (row["kind"], row["key"]) == ("things", folder.name)
    assert row["bytes"] == 12 + (folder / "manifest.json").stat().st_size


def age(folder: Path, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(folder, (then, then))


def test_pruning_by_age_and_kind(store):
    old, young = entry(store, {"a": 1}), entry(store, {"a": 2})
    store.cached("others", {"a": 1}, put("content"), get)
    age(old, days=10)
    expected = sum(path.stat().st_size for path in old.iterdir())
    assert store.prune(older_than_days=5) == expected
    assert not old.exists() and young.exists()
    assert store.prune(kind="others") > 0
    assert [row["kind"] for row in store.entries()] == ["things"]
    assert store.prune() > 0 and store.entries() == [] and store.prune() == 0


def test_pruning_removes_what_a_killed_writer_left(store):
    killed = store.root / "things" / f".{'0' * 24}.123.{'f' * 8}.tmp"
    killed.mkdir(parents=True)
    (killed / "data.txt").write_text("12345")
    assert store.entries() == [] and store.prune() == 5 and not killed.exists()


KILLED = """
import os, signal, sys, time
from pathlib import Path
from racviz.store import Store
def make(draft):
    (draft / "data.txt").write_text("12345")
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print("making", flush=True)
    time.sleep(60)
Store(Path(sys.argv[1])).cached("things", {"a": 1}, make, lambda folder: None)
"""


def test_the_next_run_reclaims_what_a_killed_one_left_and_nothing_else(store):
    command = [sys.executable, "-c", KILLED, str(store.root)]
    for _ in range(3):
        assert subprocess.run([*command, "kill"]).returncode == -signal.SIGKILL
    living = subprocess.Popen([*command, "wait"], stdout=subprocess.PIPE, text=True)
    try:
        assert living.stdout.readline() == "making\n"
        left = store.drafts()
        assert [draft.abandoned for draft in left] == [False], "the living process reclaimed those of the killed ones"
        subprocess.run([*command, "kill"])
        assert sorted(draft.abandoned for draft in store.drafts()) == [False, True]
        assert store.cached("others", {}, put("content"), get) == "content", "another kind, the same store"
        assert [draft.path for draft in store.drafts()] == [left[0].path]
        assert Store(store.root).prune(kind="drafts") == 0 and left[0].path.exists()
        store.prune()
        assert left[0].path.exists(), "it is at work"
    finally:
        living.kill()
        living.wait()
        living.stdout.close()
    assert store.prune(kind="drafts") == 5 and store.drafts() == []


def test_files_of_others_that_look_like_drafts_are_not_reclaimed(store):
    """RACVIZ_CACHE may point at a folder that holds other things."""
    mine = store.root / "documents" / ".letter.01234567.tmp"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear")
    os.utime(mine, (0, 0))
    store.cached("things", {"a": 1}, put("content"), get)
    store.prune()
    assert mine.read_text() == "dear" and store.drafts() == []


@pytest.mark.parametrize("spoil", [spoil for spoil in SPOILERS if "into" in spoil.__name__])
def test_pruning_removes_what_stands_in_the_place_of_an_artefact(store, spoil):
    folder = entry(store, {"a": 1})
    spoil(folder)
    assert [row["created"] for row in store.entries()] == ["damaged"]
    store.prune()
    assert not os.path.lexists(folder) and store.root.exists()


def test_a_journal_in_use_is_not_removed(store):
    journal = store.root / "journals" / "abc.jsonl"
    journal.parent.mkdir(parents=True)
    with journal.open("a") as file:
        share(file)
        assert store.prune() == 0 and journal.exists()
    store.prune()
    assert not journal.exists()


def test_pruning_touches_only_what_a_store_has_made(tmp_path):
    """RACVIZ_CACHE may point at a folder that holds other things, and a kind is a name and not a path."""
    store = Store(tmp_path / "home")
    entry(store, {"a": 1})
    letters = store.root / "documents" / "letters"
    letters.mkdir(parents=True)
    neighbour = tmp_path / "neighbour" / ("a" * 24)
    neighbour.mkdir(parents=True)
    for kind in ("..", "../neighbour", "thing", ""):
        with pytest.raises(ParameterError, match="kind must be one of 'things'"):
            store.prune(kind=kind)
    with pytest.raises(ParameterError, match="older_than_days"):
        store.prune(older_than_days=-1)
    assert store.prune() > 0
    assert letters.exists() and neighbour.exists() and store.entries() == []


def test_pruning_an_absent_store(store):
    assert store.prune() == 0 and store.prune(kind="things") == 0
    shutil.rmtree(store.root, ignore_errors=True)
    assert store.entries() == []


def test_journals_of_runs_that_did_not_end_are_removed_too(store):
    journal = store.root / "journals" / "abc.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("{}\n")
    assert store.prune(older_than_days=1) == 0 and journal.exists()
    assert store.prune(kind="journals") == 3 and not journal.exists()
