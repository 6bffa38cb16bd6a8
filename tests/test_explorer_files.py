"""Errors and their sums on disk that are damaged, foreign or special: shown right, made anew, or refused by name."""

import os
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_explorer import asked, dense, frame_of

import racviz as rv
from racviz.exceptions import DataError, RacvizError
from racviz.explorer.checksums import BLOCK, Checked, Damaged, checksums, sealed, unsealed
from racviz.explorer.pyramid import open_pyramid
from racviz.reconstruction import ReconstructionErrors

LABEL = {"metric": "hidden", "layer": "final", "sparsity": 0.5, "method": "sparsegpt", "mode": "one-pass"}


@pytest.fixture
def frame():
    return frame_of()


@pytest.fixture
def file(frame, tmp_path):
    ReconstructionErrors(frame, LABEL).save(tmp_path / "errors.parquet")
    return tmp_path / "errors.parquet"


def flip(path: Path, place: int) -> None:
    """Change one bit of a file, and leave its times as they were."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << (place % 8)
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def pictures(source, *, tokens: bool = True) -> list[np.ndarray]:
    """What is shown at several zooms, aligned both ways, and the texts of a row."""
    found = []
    for align in ("start", "boundary"):
        session = rv.explore(source, order="given", align=align).session
        found += [asked(session, pixels=pixels)[1] for pixels in ((4096, 99), (16, 99), (3, 99), (1, 1))]
        found.append(np.array(session.token(2, session.sums.offsets[2] + 3)[0]["texts"]))
    return found


class TestDamagedSums:
    def test_any_flipped_bit_is_noticed_and_nothing_else_is_shown(self, file, frame):
        wanted = pictures(file)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pictures(file)  # whole ones are read without a word
        folder = open_pyramid(file).folder
        names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        assert {"meta.json", "ids.npy", "start/0.0.npy", "boundary/1.3.npy", "boundary/sums.json"} <= set(map(str, names))
        draw = np.random.default_rng(0)
        for name in names:
            pictures(file)  # made again where the case before took it away
            flip(folder / name, int(draw.integers(0, 10**6)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = pictures(file)
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=str(name))

    @pytest.mark.parametrize("name", ["start/0.0.npy", "start/1.2.npy", "ids.npy", "start/sums.json", "meta.json"])
    @pytest.mark.parametrize("change", ["flip", "cut", "remove", "grow", "replace"])
    def test_a_damaged_array_is_made_again_with_a_warning(self, file, frame, name, change):
        path = open_pyramid(file).folder / name
        if change == "flip":
            flip(path, path.stat().st_size - 9)
        elif change == "cut":
            path.write_bytes(path.read_bytes()[:-5])
        elif change == "grow":
            path.write_bytes(b"x" * 200 + path.read_bytes())
        elif change == "replace" and path.suffix == ".npy":
            np.save(path, np.zeros_like(np.load(path)))
        else:
            path.unlink()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            session = rv.explore(file, order="given").session
            shown = asked(session)[1]
            texts = session.token(0, 3)[0]["texts"]
            asked(session, pixels=(25, 99))
        wanted = dense(frame, "e_prompt") / dense(frame, "e_rac")
        np.testing.assert_allclose(shown, wanted, rtol=1e-6)
        assert texts == frame[frame["problem_id"] == "p0"]["token"].tolist()
        gone = change == "remove" or (change == "replace" and path.suffix != ".npy")
        assert gone or "sums" in " ".join(str(each.message) for each in caught)
        assert open_pyramid(file).folder == path.parents[len(Path(name).parts) - 1]

    def test_damage_while_it_is_open_is_mended_from_the_errors(self, file, frame):
        session = rv.explore(file, order="given").session
        flip(open_pyramid(file).folder / "start" / "0.0.npy", 200)
        session.sums.pyramid._cache.clear()  # as if it had not been read yet
        with pytest.warns(UserWarning, match="damaged"):
            shown = asked(session)[1]
        np.testing.assert_allclose(shown, dense(frame, "e_prompt") / dense(frame, "e_rac"), rtol=1e-6)

    def test_where_the_errors_are_gone_it_says_so(self, file):
        session = rv.explore(file, order="given").session
        flip(open_pyramid(file).folder / "start" / "0.0.npy", 200)
        file.unlink()
        session.sums.pyramid._cache.clear()
        assert "damaged" in session.handle(dict(ask="picture", x=[0, 90], y=[0, 12], pixels=[90, 12]))[0]["error"]

    def test_every_block_is_checked_when_it_is_read_and_not_before(self, tmp_path):
        array = np.arange(300 * 1000, dtype=np.float32).reshape(300, 1000)
        np.save(tmp_path / "x.npy", array)
        sums = checksums(array)
        assert len(sums) == -(-array.nbytes // BLOCK)

        def refuse():
            raise DataError("damaged")

        made = Checked(tmp_path / "x.npy", (300, 1000), np.float32, sums, refuse)
        wrong = sums.copy()
        wrong[5] ^= 1
        spoilt = Checked(tmp_path / "x.npy", (300, 1000), np.float32, wrong, refuse)
        for row in range(300):
            rows, first, last = np.array([row]), row * 4000 // BLOCK, (row * 4000 + 3999) // BLOCK
            np.testing.assert_array_equal(made[rows, :], array[rows])
            if first <= 5 <= last:
                with pytest.raises(DataError):
                    spoilt[rows, :]
            else:
                np.testing.assert_array_equal(spoilt[rows, :], array[rows])
        for key in (
            3,
            slice(None),
            np.array([7, 2]),
            (np.array([7, 2]), slice(10, 20)),
            (slice(0, 9), slice(990, 2000)),
            (4, slice(5, 5)),
        ):
            np.testing.assert_array_equal(made[key], array[key])
        np.testing.assert_array_equal(np.asarray(made), array)
        for shape, dtype in (((1000, 300), np.float32), ((300, 1000), np.int32)):
            with pytest.raises(Damaged):
                Checked(tmp_path / "x.npy", shape, dtype, sums, refuse)

    def test_a_seal_is_broken_by_any_change(self, tmp_path):
        content = {"a": [1, float("nan")], "b": {"10": "\ud800", "9": "é"}}
        whole = sealed(content).encode()
        path = tmp_path / "x.json"
        path.write_bytes(whole)
        assert unsealed(path, dict)["b"] == content["b"]
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(Damaged):
                unsealed(path, dict)
        for cut in (b"", whole[:-1], b"[" * 10**6, b"null"):
            path.write_bytes(cut)
            with pytest.raises(Damaged):
                unsealed(path, dict)


class TestForeignSums:
    def test_sums_that_came_with_a_folder_are_not_believed(self, file, frame, tmp_path):
        """A stranger's folder shows what its errors are, not what its ready-made sums say."""
        other = tmp_path / "other" / "errors.parquet"
        ReconstructionErrors(frame.assign(e_rac=7.0), LABEL).save(other)
        theirs = open_pyramid(file).folder
        mine = other.stat()
        forged = other.with_name("errors.parquet.pyramid")
        for name in (theirs.name, f"2-{mine.st_size}-{mine.st_mtime_ns}"):
            shutil.copytree(theirs, forged / name)
        shown = asked(rv.explore(other, order="given").session)[1]
        np.testing.assert_allclose(shown, dense(frame, "e_prompt") / 7, rtol=1e-6)

    def test_a_link_in_place_of_the_sums_leads_nowhere(self, file, tmp_path):
        """Old sums are removed; through a link this would have been everything in a folder of the user's."""
        home = tmp_path / "home"
        (home / "photos").mkdir(parents=True)
        (home / "1-22-333").mkdir()
        (home / "photos" / "one").write_text("mine")
        for path in (*home.rglob("*"), home):
            os.utime(path, (time.time() - 10**6,) * 2)
        file.with_name("errors.parquet.pyramid").symlink_to(home, target_is_directory=True)
        assert open_pyramid(file).rows == 12
        assert sorted(path.name for path in home.iterdir()) == ["1-22-333", "photos"] and (home / "photos" / "one").exists()

    def test_only_old_sums_are_removed(self, file, tmp_path):
        home = file.with_name("errors.parquet.pyramid")
        for name in ("1-22-333", "2-1-1-1", "notes", "2-1-1-1-backup"):
            (home / name).mkdir(parents=True)
            os.utime(home / name, (time.time() - 10**6,) * 2)
        (home / "3-3-3").symlink_to(tmp_path, target_is_directory=True)
        open_pyramid(file)
        left = {path.name for path in home.iterdir()}
        assert {"notes", "2-1-1-1-backup", "3-3-3"} < left and not {"1-22-333", "2-1-1-1"} & left and file.exists()


class TestFolders:
    @pytest.mark.parametrize("kind", ["text", "empty", "cut", "page", "table", "fifo", "folder", "link", "label", "rows"])
    def test_a_broken_file_does_not_hide_the_others(self, file, frame, tmp_path, kind):
        run = tmp_path / "run" / "errors"
        good, bad = run / "hidden-final-0.5-one-pass.parquet", run / "hidden-final-0.6-one-pass.parquet"
        ReconstructionErrors(frame, LABEL).save(good)
        whole = file.read_bytes()
        if kind == "fifo":
            os.mkfifo(bad)
        elif kind == "folder":
            bad.mkdir()
        elif kind == "link":
            bad.symlink_to("/dev/zero")
        elif kind == "table":
            frame.to_parquet(bad)  # not racviz's: passed over
        elif kind == "label":
            ReconstructionErrors(frame, [1, 2]).save(bad)
        elif kind == "rows":
            ReconstructionErrors(frame.iloc[3:], LABEL).save(bad)
        else:
            middle = len(whole) // 2
            bad.write_bytes(
                {
                    "text": b"PAR1 no",
                    "empty": b"",
                    "cut": whole[:-20],
                    "page": whole[:middle] + b"\xff" * 99 + whole[middle + 99 :],
                }[kind]
            )
        began = time.monotonic()
        session = rv.explore(tmp_path / "run").session
        assert session.catalogue.pyramid.rows == 12 and time.monotonic() - began < 20
        notes = " ".join(session.about()[0]["notes"])
        assert (bad.stem in notes) == (kind != "table") and good.stem not in notes

    def test_a_folder_of_nothing_but_broken_files_names_them(self, tmp_path):
        (tmp_path / "errors").mkdir()
        (tmp_path / "errors" / "one.parquet").write_bytes(b"PAR1")
        with pytest.raises(DataError, match="one"):
            rv.explore(tmp_path)

    @pytest.mark.parametrize("label", [
        {"metric": ["kl"]}, {"metric": 3}, {"layer": {}}, {"layer": [1]}, {"sparsity": "half"}, {"sparsity": [0.5]}, {"sparsity": None},
        {"method": {"a": 1}}, {"mode": 1}, {"model": ["m"]}, {"calibration_tokens": {"rac": "many"}}, {"calibration_tokens": {}},
        {"seed": [1]}, {"domain": None}, {"model": "\x1b[31m" * 99}, {"sparsity": 1e999}, {"sparsity": float("nan")}, {"sparsity": True},
        {"sparsity": 10**400},
    ], ids=str)  # fmt: skip
    def test_labels_of_any_shape_are_shown_or_refused_by_name(self, frame, tmp_path, label):
        path = tmp_path / "x.parquet"
        ReconstructionErrors(frame, LABEL | label).save(path)
        try:
            session = rv.explore(path).session
        except RacvizError as error:
            assert str(path) in str(error) and next(iter(label)) in str(error)
        else:
            assert "error" not in session.handle(dict(ask="about"))[0] and session.token(0, 1)[0]["texts"]
            rv.explore(path).figure()

    @pytest.mark.parametrize("ids", [
        ["a"], [None], [-1], [2**31], [2**40], [float("nan")], [1.5], [[1]],
    ], ids=str)  # fmt: skip
    def test_token_ids_of_any_kind(self, frame, tmp_path, ids):
        path = tmp_path / "x.parquet"
        few = frame[frame["problem_id"] == "p0"].reset_index(drop=True)
        column = pd.Series(ids * len(few))
        ReconstructionErrors(few.assign(token_id=column), LABEL).save(path)
        with pytest.raises(DataError, match="token_id"):
            rv.explore(path)

    def test_tokens_beyond_the_model_s_vocabulary_are_not_asked_of_it(self, frame, tiny):
        session = rv.explore(ReconstructionErrors(frame.assign(token_id=10**6), LABEL), models={"dense": tiny}).session
        session.load()
        live = session.token(0, 3)[0]["live"]
        assert "vocabulary" in live["reason"] and "IndexError" not in live["reason"]
