"""The explorer's numbers against float64 sums of the artefact; its choices, its exports, and what it says of odd errors."""

import base64
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import racviz as rv
from racviz.exceptions import DataError, ParameterError, StorageError
from racviz.explorer import Session
from racviz.explorer.at_token import at_token
from racviz.explorer.columns import columns_of
from racviz.explorer.export import page, selection
from racviz.explorer.opening import open_catalogue
from racviz.explorer.pyramid import levels, make_pyramid, open_pyramid
from racviz.explorer.server import Server
from racviz.explorer.view import NO_ERROR, NO_ERROR_BELOW, NOT_FINITE, class_of, clusters, picture
from racviz.reconstruction import ReconstructionErrors

NASTY = ["<script>alert(1)</script>", "</div>", "&amp;", "\u202eabc", "\x1b[31mred", "👩‍🚀", "\n", "</script><b>"]


def frame_of(rows: int = 12, longest: int = 90, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    parts = []
    for row in range(rows):
        length = int(draw.integers(longest // 3, longest + 1))
        t_in = int(draw.integers(1, max(2, length // 2)))
        ids = draw.integers(0, 6, length)
        texts = np.array(["7", "+", "cat", "\n", "</think>", "?"])[ids]
        parts.append(
            pd.DataFrame(
                dict(
                    problem_id=f"p{row}",
                    position=range(length),
                    token_id=ids,
                    token=texts,
                    phase=["prompt"] * t_in + ["decode"] * (length - t_in),
                    norm_dense=draw.lognormal(3, 0.1, length).astype("f4"),
                    e_prompt=draw.lognormal(0, 1, length).astype("f4"),
                    e_rac=draw.lognormal(0, 1, length).astype("f4"),
                )
            )  # fmt: skip
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def frame():
    return frame_of()


@pytest.fixture
def errors(frame):
    return ReconstructionErrors(frame, {"model": "m", "metric": "hidden", "layer": "final", "sparsity": 0.5})


@pytest.fixture
def file(errors, tmp_path):
    errors.save(tmp_path / "errors.parquet")
    return tmp_path / "errors.parquet"


def session(errors, **view) -> Session:
    return rv.explore(errors, **view).session


def dense(frame: pd.DataFrame, column: str, align: str = "start") -> np.ndarray:
    """`[rows, columns]` float64 with NaN where there is no token, in the order of the frame; aligned at 2^k columns of prompt."""
    t_in = frame[frame["phase"] == "prompt"].groupby("problem_id", sort=False).size()
    names = list(frame["problem_id"].unique())
    origin = 0 if align == "start" else 2 ** int(np.ceil(np.log2(max(1, t_in.max()))))
    out = np.full((len(names), origin + int(frame["position"].max()) + 1), np.nan)
    for row, name in enumerate(names):
        mine = frame[frame["problem_id"] == name]
        out[row, mine["position"] + (origin - t_in[name] if origin else 0)] = mine[column]
    return out


def asked(session: Session, x=None, y=None, pixels=(4096, 4096)) -> tuple[dict, np.ndarray]:
    about = session.about()[0]
    x, y = x or [0, about["columns"]], y or [0, about["rows"]]
    head, (ratio, _) = session.picture(list(x), list(y), list(pixels))
    return head, np.frombuffer(ratio, "f4").reshape(head["shape"])


class TestPyramid:
    def test_levels_are_sums_of_two_four_eight(self):
        finest = np.random.default_rng(0).random((3, 11))
        for k, level in enumerate(levels(finest)):
            padded = np.pad(finest, ((0, 0), (0, (-11) % 2**k)))
            np.testing.assert_allclose(level, padded.reshape(3, -1, 2**k).sum(2))
        assert level.shape == (3, 1)

    def test_at_full_zoom_every_cell_is_the_artefact(self, file, frame):
        for align in ("start", "boundary"):
            _, shown = asked(session(file, order="given", align=align))
            wanted = dense(frame, "e_prompt", align) / dense(frame, "e_rac", align)
            wanted = wanted[:, : shown.shape[1]]
            np.testing.assert_array_equal(np.isnan(shown), np.isnan(wanted))
            np.testing.assert_allclose(shown, wanted, rtol=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(some.data())
    def test_every_bin_is_the_ratio_of_its_sums(self, data):
        frame = frame_of(
            rows=data.draw(some.integers(1, 9)), longest=data.draw(some.integers(6, 70)), seed=data.draw(some.integers(0, 99))
        )
        align = data.draw(some.sampled_from(["start", "boundary"]))
        made = session(ReconstructionErrors(frame, {}), order="given", align=align)
        about = made.about()[0]
        x = sorted([data.draw(some.floats(0, about["columns"])), data.draw(some.floats(0, about["columns"]))])
        y = sorted([data.draw(some.integers(0, about["rows"])), data.draw(some.integers(0, about["rows"]))])
        head, shown = asked(made, x, y, [data.draw(some.integers(1, 40)), data.draw(some.integers(1, 12))])
        top, bottom = (np.nan_to_num(dense(frame, f"e_{name}", align)) for name in ("prompt", "rac"))
        for r in range(shown.shape[0]):
            rows = slice(head["first"] + r * head["group"], min(head["first"] + (r + 1) * head["group"], max(y[1], y[0] + 1)))
            for c in range(shown.shape[1]):
                part = slice(head["start"] + c * head["width"], head["start"] + (c + 1) * head["width"])
                over, under = top[rows, part].sum(), bottom[rows, part].sum()
                if under == 0:
                    assert np.isnan(shown[r, c])
                else:
                    assert shown[r, c] == pytest.approx(over / under, rel=1e-5)
        assert head["start"] <= x[0] and head["start"] + shown.shape[1] * head["width"] >= min(x[1], about["columns"])

    def test_a_part_beyond_the_last_column_shows_the_last_column(self, errors, frame):
        made = session(errors, order="given")
        columns = made.about()[0]["columns"]
        for x in ([columns, columns], [columns + 5, columns + 9]):
            head, shown = asked(made, x)
            assert head["start"] == columns - 1
            np.testing.assert_allclose(shown[:, 0], (dense(frame, "e_prompt") / dense(frame, "e_rac"))[:, -1], rtol=1e-6)

    def test_aligned_at_the_boundary_no_bin_mixes_the_phases(self, errors, frame):
        made = session(errors, align="boundary", order="given")
        origin = made.about()[0]["origin"]
        for pixels in (1, 3, 7, 30):
            head, _ = asked(made, pixels=(pixels, 99))
            assert head["start"] % head["width"] == 0 and (origin % head["width"] == 0 or head["width"] > origin)

    def test_is_made_once_and_again_when_the_file_is_another(self, file, errors):
        first = open_pyramid(file)
        stamp = (first.folder / "meta.json").stat().st_mtime_ns
        assert open_pyramid(file).folder == first.folder and first.folder.parent == file.with_name("errors.parquet.pyramid")
        assert (first.folder / "meta.json").stat().st_mtime_ns == stamp
        ReconstructionErrors(frame_of(rows=5), errors.label).save(file)
        assert open_pyramid(file).rows == 5
        assert [path.name for path in file.parent.rglob("*") if path.name.startswith(".")] == []

    def test_what_is_open_stays_what_it_is_and_says_so(self, file, errors):
        made = session(file, order="given")
        _, before = asked(made)
        ReconstructionErrors(frame_of(rows=5, seed=7), errors.label).save(file)
        other = session(file, order="given", align="boundary")
        np.testing.assert_array_equal(asked(made)[1], before)
        made.choose(align="boundary")
        assert asked(made)[1].shape[0] == 12 and asked(other)[1].shape[0] == 5
        assert "was replaced since" in " ".join(made.about()[0]["notes"]) and other.about()[0]["notes"] == []

    def test_several_processes_may_make_it_at_once(self, tmp_path):
        paths = [tmp_path / f"{k}.parquet" for k in range(12)]
        for k, path in enumerate(paths):
            ReconstructionErrors(frame_of(rows=6, seed=k), {}).save(path)
        code = (
            "import sys, racviz as rv\nfor path in sys.argv[1:]:\n"
            "    s = rv.explore(path, align='boundary').session; s.picture([0, 9], [0, 3], [9, 3])"
        )
        runs = [
            subprocess.Popen([sys.executable, "-c", code, *map(str, paths)], stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        for run in runs:
            assert run.wait(60) == 0, run.stderr.read()
        assert [path for path in tmp_path.rglob(".*")] == []

    def test_where_one_may_not_write_it_is_made_elsewhere(self, file, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(13, "no")

        from racviz.explorer import pyramid

        monkeypatch.setattr(pyramid, "new_draft", refuse)
        monkeypatch.setattr(pyramid.tempfile, "TemporaryDirectory", _own_folder(file.parent))
        made = open_pyramid(file)
        assert made.rows == 12 and list(file.with_name("errors.parquet.pyramid").iterdir()) == []

    def test_one_row_one_token_and_a_hundred_thousand(self):
        one = pd.DataFrame(dict(problem_id=["a"], position=[0], phase=["decode"], e_x=[2.0], e_y=[1.0]))
        head, shown = asked(session(one))
        assert shown.tolist() == [[2.0]] and head["boundary"] == [0]
        n = 100_000
        phase = ["prompt"] * 10 + ["decode"] * (n - 10)
        long = pd.DataFrame(dict(problem_id="a", position=range(n), phase=phase, e_x=np.full(n, 3.0), e_y=np.full(n, 2.0)))
        head, shown = asked(session(long), pixels=(1000, 400))
        assert head["width"] == 128 and shown.shape == (1, 782) and np.allclose(shown, 1.5)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: f.drop(columns="phase"), "phase is missing"),
            (lambda f: f.drop(columns=["e_prompt", "e_rac"]), "at least one pruned model"),
            (lambda f: f.iloc[:0], "at least one token; they are empty"),
            (lambda f: pd.concat([f, f.iloc[:1]]), "each position of a problem once"),
            (lambda f: f[f["position"] != 3], "without gaps"),
            (
                lambda f: f.assign(phase=np.where(f["phase"] == "prompt", "decode", "prompt")),
                "prompt's tokens of a problem before",
            ),
            (lambda f: f.assign(position=f["position"] - 1), "positions from 0 on"),
            (lambda f: f.assign(position=f["position"] + 0.5), "column position of errors must hold whole numbers"),
            (lambda f: f.assign(e_rac="high"), "column e_rac of errors must hold numbers"),
            (lambda f: f.assign(phase=f["phase"].str.upper()), "must hold prompt and decode; there is 'DECODE', 'PROMPT'"),
            (lambda f: f.assign(phase=None), "there is 'nothing'"),
            (lambda f: f.assign(problem_id=None), "problem_id in every row"),
            (lambda f: f.rename(columns={"e_rac": "e_"}), "with a name other than"),
        ],
    )
    def test_what_is_no_errors_is_said(self, frame, change, message):
        with pytest.raises(DataError, match=message):
            make_pyramid(columns_of(change(frame)), {})


class TestFrames:
    def test_a_source_may_have_any_name(self, frame):
        part = frame.rename(columns={"e_rac": "e_unusable", "e_prompt": "e_<b>, 'x'"})
        part.loc[0, "e_unusable"] = np.nan
        made = session(part, order="given")
        wanted = dense(part, "e_<b>, 'x'") / dense(part, "e_unusable")
        _, shown = asked(made)
        np.testing.assert_allclose(shown[shown > 0], wanted[np.isfinite(wanted)], rtol=1e-6)

    def test_texts_tell_tokens_apart_where_there_are_no_ids(self, frame):
        made = session(frame.drop(columns="token_id"), order="given")
        assert made.token(0, 5)[0]["texts"] == frame[frame["problem_id"] == "p0"]["token"].tolist()
        bare = session(frame.drop(columns=["token_id", "token"]))
        assert bare.about()[0]["choices"]["tokens"] == ["all"]
        with pytest.raises(ParameterError, match="needs the texts of tokens"):
            session(frame.drop(columns=["token_id", "token"]), tokens="digits")

    def test_numbers_as_ids_in_a_file_and_in_memory(self, frame, tmp_path):
        numbered = frame.assign(problem_id=frame["problem_id"].str[1:].astype(int))
        ReconstructionErrors(numbered, {}).save(tmp_path / "x.parquet")
        answers = pd.DataFrame(dict(source="dense", problem_id=np.arange(12), correct=np.arange(12) < 4))
        for errors in (numbered, tmp_path / "x.parquet"):
            made = rv.explore(errors, evaluations=answers, answers="dense: right", order="accuracy").session
            assert sorted(made.order) == [0, 1, 2, 3] and "error" not in made.handle(dict(ask="token", place=0, column=2))[0]

    def test_a_row_longer_than_the_disk(self, frame, monkeypatch):
        monkeypatch.setattr("racviz.explorer.summing.LARGEST", 500)
        with pytest.raises(DataError, match="of which the longest .p[0-9]+. has [0-9]+ tokens, need .* GiB of disk"):
            rv.explore(frame)

    def test_a_file_that_fails_leaves_nothing(self, frame, tmp_path):
        ReconstructionErrors(frame.drop(columns="phase"), {}).save(tmp_path / "x.parquet")
        with pytest.raises(DataError):
            rv.explore(tmp_path / "x.parquet")
        assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]

    def test_others_may_read_it(self, file):
        assert open_pyramid(file).folder.stat().st_mode & 0o055 == 0o777 & ~_umask() & 0o055

    def test_of_a_folder_only_errors_along_the_same_rollouts(self, errors, tmp_path):
        errors.save(tmp_path / "run" / "errors" / "hidden-final-0.5-one-pass.parquet")
        explorer = rv.explore(tmp_path / "run")
        explorer.save(tmp_path / "run" / "errors" / "seen.parquet")  # a table, not errors
        assert rv.explore(tmp_path / "run").session.catalogue.pyramid.rows == 12
        ReconstructionErrors(frame_of(rows=3), {"sparsity": 0.6}).save(
            tmp_path / "run" / "errors" / "hidden-final-0.6-one-pass.parquet"
        )
        again = rv.explore(tmp_path / "run").session
        assert again.catalogue.pyramid.rows == 3 and "hidden-final-0.5-one-pass" in again.about()[0]["notes"][0]


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _own_folder(inside: Path):
    class Folder:
        def __init__(self, **_):
            self.name = str(inside / "elsewhere")
            Path(self.name).mkdir()

    return Folder


class TestOddErrors:
    def test_not_finite_zero_and_both_zero_are_shown_as_such(self, frame):
        part = frame[frame["problem_id"] == "p0"].reset_index(drop=True)
        part.loc[0, "e_prompt"], part.loc[1, "e_rac"], part.loc[2, "e_rac"] = np.nan, np.inf, 0.0
        part.loc[3, ["e_prompt", "e_rac"]] = 0.0
        part.loc[4, "e_prompt"] = -1.0
        made = session(part)
        _, shown = asked(made)
        assert shown[0, :5].tolist() == [NOT_FINITE, NOT_FINITE, NO_ERROR_BELOW, NO_ERROR, NOT_FINITE]
        assert made.about()[0]["unusable"] == 3
        head, whole = asked(made, pixels=(1, 1))
        good = part.drop(index=[0, 1, 4])
        assert whole[0, 0] == pytest.approx(good["e_prompt"].sum() / good["e_rac"].sum(), rel=1e-6)

    def test_all_ratios_equal(self, frame):
        made = session(frame.assign(e_prompt=frame["e_rac"]))
        assert made.limit == 1.0 and np.allclose(asked(made)[1][np.isfinite(asked(made)[1])], 1.0)

    def test_no_error_at_all(self, frame):
        made = session(frame.assign(e_prompt=0.0, e_rac=0.0))
        assert set(np.unique(asked(made)[1][~np.isnan(asked(made)[1])])) == {NO_ERROR}
        assert "no token that is shown and has an error" in made.handle({"ask": "jump"})[0]["error"]

    def test_errors_of_other_problems_or_tokens_are_not_laid_side_by_side(self, errors, frame):
        others = ReconstructionErrors(frame.assign(problem_id=frame["problem_id"].replace("p3", "q3")), {})
        with pytest.raises(DataError, match=r"'b' are of other problems \(11 of 12 are the same\)"):
            rv.explore({"a": errors, "b": others})
        with pytest.raises(DataError, match="of other tokens or of another tokenizer"):
            rv.explore({"a": errors, "b": frame.assign(token_id=frame["token_id"] + 1)})
        with pytest.raises(DataError, match="along other rollouts"):
            rv.explore({"a": errors, "b": frame[~((frame["problem_id"] == "p0") & (frame["position"] > 20))]})

    def test_folders_and_files_that_hold_none(self, tmp_path, file):
        with pytest.raises(DataError, match=r"holds no errors/\*\.parquet"):
            rv.explore(_empty(tmp_path))
        with pytest.raises(DataError, match="none.parquet does not exist"):
            rv.explore(tmp_path / "none.parquet")
        half = tmp_path / "half.parquet"
        half.write_bytes(file.read_bytes()[:500])
        with pytest.raises(DataError, match="is still being written"):
            rv.explore(half)
        with pytest.raises(ParameterError, match="a run's folder or a Study; not int"):
            rv.explore(3)


def _empty(folder: Path) -> Path:
    (folder / "run" / "errors").mkdir(parents=True)
    (folder / "run" / "errors" / ".x.parquet.tmp").write_text("")
    return folder / "run"


class TestChoices:
    def test_rows_in_order(self, errors, frame):
        sizes = frame.groupby("problem_id", sort=False).agg(
            length=("position", "size"), top=("e_prompt", "sum"), low=("e_rac", "sum")
        )
        sizes["t_in"] = (frame["phase"] == "prompt").groupby(frame["problem_id"], sort=False).sum()
        names = np.array(sizes.index)
        for order, by in (
            ("prompt length", sizes["t_in"]),
            ("length", sizes["length"]),
            ("mean ratio", sizes["top"] / sizes["low"]),
        ):
            made = session(errors, order=order)
            assert (np.diff(by[names[made.order]].to_numpy()) >= -1e-6).all(), order
        assert sorted(session(errors, order="cluster").order) == list(range(12))

    def test_clusters_bring_like_rows_together(self):
        draw = np.random.default_rng(0)
        profiles = 2.0 ** (np.where(np.arange(20) % 2, 1, -1)[:, None] * np.ones((20, 16)) + draw.normal(0, 0.1, (20, 16)))
        kind = clusters(profiles) % 2
        assert (np.diff(kind) != 0).sum() == 1
        assert sorted(clusters(np.vstack([profiles] * 160))) == list(range(3200)) and clusters(profiles[:1]).tolist() == [0]

    def test_classes_of_tokens(self):
        told = {"7": "digits", " 42": "digits", "+": "operators", " =": "operators", "cat": "words", "x1": "words", "\n": "newline",
                ".\n\n": "newline", "</think>": "end of thought", "[/THINK]": "end of thought", " ": "other", "": "other",
                "½": "other"}  # fmt: skip
        assert {token: class_of(token) for token in told} == told

    @pytest.mark.parametrize(("phase", "tokens"), [("prompt", "all"), ("decode", "digits"), ("all", "newline")])
    @pytest.mark.parametrize("align", ["start", "boundary"])
    def test_filters_leave_what_they_say(self, errors, frame, phase, tokens, align):
        made = session(errors, phase=phase, tokens=tokens, align=align, order="given")
        keep = (frame["phase"] == phase) | (phase == "all")
        keep &= (frame["token"].map(class_of) == tokens) | (tokens == "all")
        left = frame[keep]
        got = selection(made)
        assert len(got) == len(left) and got["e_prompt"].sum() == pytest.approx(left["e_prompt"].sum(), rel=1e-5)
        _, whole = asked(made, pixels=(1, 1))
        assert whole[0, 0] == pytest.approx(left["e_prompt"].sum() / left["e_rac"].sum(), rel=1e-5)

    def test_answers_difficulty_and_accuracy_when_they_are_known(self, errors):
        problems = [rv.Problem(f"p{k}", f"{k}?", str(k), difficulty=12 - k) for k in range(12)]
        answers = pd.DataFrame(
            [dict(source=source, sparsity=s, problem_id=f"p{k}", sample=0, correct=(k % 3 == 0) == (source == "dense"), answer=f"{k}")
             for source, s in (("dense", 0.0), ("rac", 0.5)) for k in range(11)]
        )  # fmt: skip
        made = rv.explore(errors, problems=problems, evaluations=answers, order="difficulty").session
        assert made.order.tolist() == list(range(11, -1, -1))
        made.choose(answers="dense: right", order="accuracy")
        assert sorted(made.order) == [0, 3, 6, 9]
        made.choose(answers="rac, 50 %: wrong")
        assert sorted(made.order) == [0, 3, 6, 9], "p11, which was not answered, is neither"
        told = made.token(0, 3)[0]
        assert told["key"] == told["problem"][1:] and [one["model"] for one in told["answers"]] == ["dense", "rac, 50 %"]

    def test_samples_and_ids_with_a_number_sign(self, frame):
        later = frame.assign(problem_id=frame["problem_id"].replace({"p0": "p1 #1", "p2": "Set #1"}))
        answers = pd.DataFrame(
            [dict(source="dense", problem_id=p, sample=s, correct=c, answer=a)
             for p, s, c, a in (("p1", 0, True, "first"), ("p1", 1, False, "second"), ("Set #1", 0, True, "set"))]
        )  # fmt: skip
        made = rv.explore(
            later, evaluations=answers, order="given", problems=[rv.Problem("Set #1", "one?", "1", difficulty=3)]
        ).session
        names = made.catalogue.pyramid.meta["problems"]
        made.choose(answers="dense: right")
        assert [names[row] for row in made.order] == ["p1", "Set #1"]
        made.choose(answers="dense: wrong")
        assert [names[row] for row in made.order] == ["p1 #1"] and made.token(0, 0)[0]["answers"][0]["answer"] == "second"

    @pytest.mark.parametrize(
        ("evaluations", "kind", "message"),
        [
            ([dict(source="dense")], ParameterError, "must be a data frame"),
            (pd.DataFrame(dict(source=["dense"], problem_id=["p0"])), ParameterError, "columns source, problem_id and correct"),
            (
                pd.DataFrame(dict(source=["dense"], problem_id=["p0"], correct=["yes"])),
                ParameterError,
                "must hold true and false",
            ),
            (pd.DataFrame(dict(source=["dense"], problem_id=["q"], correct=[True])), DataError, "they are on others"),
        ],
    )
    def test_evaluations_that_are_none(self, errors, evaluations, kind, message):
        with pytest.raises(kind, match=message):
            rv.explore(errors, evaluations=evaluations)

    def test_another_face_that_chose_is_followed(self, errors):
        made = session(errors)
        version = made.about()[0]["version"]
        made.choose(numerator="rac", denominator="prompt")
        told = made.handle(dict(ask="picture", x=[0, 9], y=[0, 9], pixels=[9, 9], version=version))[0]
        assert told["changed"]["view"]["numerator"] == "rac" and told["changed"]["version"] == version + 1

    @pytest.mark.parametrize(
        ("choices", "message"),
        [
            (dict(order="difficulty"), "needs problems, which these errors come without"),
            (dict(order="accuracy"), "needs evaluations"),
            (dict(order="size"), "order must be one of 'given'"),
            (dict(numerator="promt"), "Did you mean 'prompt'"),
            (dict(limit=-1), "limit must be a number from 0"),
            (dict(limit="2"), "limit must be a number from 0"),
            (dict(colour="red"), "parameter must be one of"),
            (dict(errors_of="kl"), "errors_of must be one of 'last hidden state'"),
            (dict(answers="dense: right"), "Pass evaluations"),
        ],
    )
    def test_what_cannot_be_is_said(self, errors, choices, message):
        with pytest.raises(ParameterError, match=message):
            rv.explore(errors, **choices)

    def test_a_choice_that_cannot_be_leaves_the_view(self, errors):
        made = session(errors)
        before = made.about()[0]
        assert "tokens must be one of" in made.handle(dict(ask="choose", tokens="verbs"))[0]["error"]
        assert "ask must be one of" in made.handle(dict(ask="dance"))[0]["error"]
        assert "errors_of must be one of" in made.handle(dict(ask="choose", errors_of="nope"))[0]["error"]
        assert made.handle(dict(ask="token", place=0, column=9999))[0] == {"nothing": True}
        for odd in (
            dict(ask="picture", x=[0, 1], y=[0, 1], pixels=["a", 1]),
            dict(ask="token", place=0.5, column=0),
            dict(ask=None),
        ):
            assert made.handle(odd)[0]["error"]
        assert "place must be 0 to 11" in made.handle(dict(ask="token", place=99, column=0))[0]["error"]
        assert "error" in made.handle(dict(ask="picture", x=[0, float("nan")], y=[0, 1], pixels=[10, 10]))[0]
        assert "error" in made.handle(dict(ask="picture", wrong=1))[0]
        assert made.about()[0] == before

    def test_the_line_opens_what_is_seen(self, file):
        made = session(file)
        made.choose(order="length", tokens="digits", align="boundary", limit=2.5)
        asked(made, [10.0, 50.0], [2, 9])
        again = eval(made.line(), {"rv": rv}).session  # our own line
        assert again.about()[0]["window"] == {"x": [10.0, 50.0], "y": [2.0, 9.0]}
        np.testing.assert_array_equal(asked(again)[1], asked(made)[1])
        assert session(frame_of(), x=(3, 9)).about()[0]["window"] == {"x": [3, 9]}
        with pytest.raises(ParameterError, match="x must be two numbers"):
            session(frame_of(), x=(9, 3))

    def test_runs_side_by_side(self, errors, frame):
        other = ReconstructionErrors(frame.assign(e_rac=2 * frame["e_rac"]), errors.label | {"sparsity": 0.6})
        kl = ReconstructionErrors(frame.assign(e_rac=0.5), errors.label | {"metric": "kl"})
        made = session({"half": errors, "more": other, "kl": kl}, numerator="rac, 60 %", denominator="rac, 50 %")
        assert np.allclose(asked(made)[1][np.isfinite(asked(made)[1])], 2.0)
        assert "m · last hidden state · rac, 60 %: 60 % sparsity · rac, 50 %: 50 % sparsity · n = 12 problems" == made.caption()
        made.choose(errors_of="KL of the next token, nats")
        assert made.about()[0]["choices"]["numerator"] == ["prompt", "rac"], "a norm says nothing about nats"


class TestTokens:
    def test_strip_and_errors_of_a_token(self, errors, frame):
        made = session(errors, order="given")
        mine = frame[frame["problem_id"] == "p4"].reset_index(drop=True)
        told = made.token(4, 17)[0]
        assert (told["problem"], told["position"], told["t_in"]) == ("p4", 17, (mine["phase"] == "prompt").sum())
        assert told["texts"] == mine["token"].tolist() and told["at"] == 17
        np.testing.assert_allclose(told["ratios"], mine["e_prompt"] / mine["e_rac"], rtol=1e-6)
        assert told["numerator"] == pytest.approx(mine["e_prompt"][17]) and "model not loaded" in told["live"]["reason"]
        json.dumps(told, allow_nan=False)

    def test_jumps_go_through_the_largest_errors_that_are_shown(self, errors, frame):
        made = session(errors, phase="decode")
        left = frame[frame["phase"] == "decode"].sort_values("e_prompt", ascending=False)
        for number in range(4):
            told = made.jump(number)[0]
            assert (told["problem"], told["position"]) == tuple(left.iloc[number][["problem_id", "position"]])

    def test_what_models_say_next_and_where_their_layers_part(self, tiny, errors):
        import torch

        ids = np.array(tiny.render("What is 2 + 3?"))
        known = rv.load_problems("arithmetic", split="calibration")
        calibration = rv.calibration_set("prompt", tiny, problems=known, tokens=2000)
        pruned = rv.prune(tiny, calibration, method="magnitude", sparsity=0.5, progress=False)
        told = at_token({"dense": tiny, "x": pruned}, ids)
        with torch.inference_mode():
            out = [each.model(torch.tensor(ids)[None], output_hidden_states=True) for each in (tiny, pruned)]
        best = torch.softmax(out[0].logits[0, -1].double(), -1).sort(descending=True)
        assert [one["text"] for one in told["next"]["dense"]] == [tiny.tokenizer.decode([int(i)]) for i in best.indices[:5]]
        np.testing.assert_allclose([one["probability"] for one in told["next"]["dense"]], best.values[:5], rtol=1e-4)
        a, b = (each.hidden_states[1][0, -1].double() for each in out)  # after the first block
        assert told["layers"]["x"][0] == pytest.approx(float((a - b).norm() / a.norm()), rel=1e-4)
        assert len(told["layers"]["x"]) == len(tiny.model.base_model.layers)

    def test_models_are_loaded_when_asked_for(self, tiny, errors):
        loaded = []
        made = rv.explore(errors, models={"dense": lambda: loaded.append("dense") or tiny}).session
        assert made.token(0, 3)[0]["live"] == {"reason": "model not loaded", "loadable": True} and loaded == []
        made.load()
        assert len(made.token(0, 3)[0]["live"]["next"]["dense"]) == 5 and loaded == ["dense"]
        broken = rv.explore(errors, models={"dense": lambda: 1 / 0}).session
        broken.load()
        assert "model not loaded: ZeroDivisionError" in broken.token(0, 3)[0]["live"]["reason"]


class TestKeeping:
    def test_tables_are_the_tokens_that_are_seen(self, errors, frame, tmp_path):
        explorer = rv.explore(errors, order="given")
        asked(explorer.session, [5.0, 20.0], [2, 6])
        wanted = frame[frame["problem_id"].isin([f"p{k}" for k in range(2, 6)]) & frame["position"].between(5, 19)]
        pd.testing.assert_frame_equal(pd.read_csv(explorer.save(tmp_path / "x.csv"))[["problem_id", "position", "token_id"]],
                                      wanted[["problem_id", "position", "token_id"]].reset_index(drop=True))  # fmt: skip
        kept = pd.read_parquet(explorer.save(tmp_path / "x.parquet"))
        np.testing.assert_allclose(kept["ratio"], wanted["e_prompt"] / wanted["e_rac"], rtol=1e-6)
        assert kept["phase"].tolist() == wanted["phase"].tolist()

    def test_no_token_is_run_by_a_spreadsheet(self, errors, tmp_path):
        texts = np.array(["=", "=1+cmd|' /C calc'!A0", "plain", "\n", "@SUM(A1)"])
        frame = errors.frame.assign(token=texts[errors.frame["token_id"] % len(texts)])
        kept = pd.read_csv(rv.explore(frame).save(tmp_path / "x.csv"), keep_default_na=False)["token"]
        assert set(kept) == {"=", "'=1+cmd|' /C calc'!A0", "plain", "\n", "'@SUM(A1)"}

    def test_a_page_holds_no_text_of_a_model_as_html(self, errors, tmp_path):
        texts, ids = np.array(NASTY), errors.frame["token_id"]
        frame = errors.frame.assign(token=texts[ids % len(texts)], problem_id="<img src=x>" + errors.frame["problem_id"])
        text = (
            rv.explore(ReconstructionErrors(frame, {"model": "</script><i>"}))
            .save(tmp_path / "x.html")
            .read_text(encoding="utf-8")
        )
        assert text.count("<script") == 1 and text.count("</script>") == 1 and "<img" not in text and "</div>" not in text
        bare = text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
        assert "http" not in bare, "nothing is loaded from elsewhere"
        policy = re.search('Content-Security-Policy" content="([^"]+)"', text)[1]
        script = re.search('<script type="module">(.*)</script>', text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy and "connect-src 'none'" in policy

    def test_a_large_page_holds_bins(self):
        made = session(ReconstructionErrors(frame_of(rows=40, longest=30_000), {}))
        assert len(page(made)) < 8e6

    def test_other_endings_and_no_browser(self, errors, tmp_path, monkeypatch):
        with pytest.raises(ParameterError, match="must end in .html, .png, .svg, .csv or .parquet; not 'x.pdf'"):
            rv.explore(errors).save(tmp_path / "x.pdf")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(StorageError, match="needs a browser, and none of chromium"):
            rv.explore(errors).save(tmp_path / "x.png")

    def test_without_a_notebook_there_is_the_static_figure(self, errors, monkeypatch):
        explorer = rv.explore(errors, phase="decode")
        assert "12 problems" in repr(explorer)
        figure = explorer.figure()
        assert (
            figure.data[0].type == "heatmap"
            and np.isfinite(figure.data[0].z).sum() == (errors.frame["phase"] == "decode").sum()
        )
        bundle = explorer._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in bundle and bundle["text/html"].startswith("<iframe")
        assert bundle["text/html"].count("<") == 2, "the page is escaped within its frame"
        monkeypatch.setenv("RACVIZ_STATIC", "1")
        assert "application/vnd.jupyter.widget-view+json" not in explorer._repr_mimebundle_()


class TestServer:
    def test_answers_who_knows_its_address_and_nobody_else(self, errors):
        made = session(errors)
        with Server(made) as server:
            with urllib.request.urlopen(server.address) as answer:
                assert b'id="explorer"' in answer.read()
            body = json.dumps(dict(ask="picture", x=[0, 90], y=[0, 12], pixels=[50, 50])).encode()
            with urllib.request.urlopen(server.address + "ask", body) as answer:
                raw = answer.read()
            size = int.from_bytes(raw[:4], "big")
            said = json.loads(raw[4 : 4 + size])
            ratio = np.frombuffer(raw[4 + size : 4 + size + said["sizes"][0]], "f4")
            np.testing.assert_array_equal(ratio.reshape(said["data"]["shape"]), asked(made, [0, 90], [0, 12], [50, 50])[1])
            base = server.address.rsplit("/", 2)[0]
            for url, host in ((f"{base}/", None), (f"{base}/guess/", None), (server.address, "evil.example")):
                request = urllib.request.Request(url, headers={"Host": host} if host else {})
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(request)
            for body, status in ((b"{", "400"), (b"x" * 70_000, "413")):
                with pytest.raises(urllib.error.HTTPError, match=status):
                    urllib.request.urlopen(server.address + "ask", body)
            for port in (int(base.rsplit(":", 1)[1]), 99_999):
                with pytest.raises(StorageError, match=f"port {port} of this machine cannot be used"):
                    Server(made, port)


def answer_of(server: Server, path: str = "", method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of one request, sent as given."""
    host, _, rest = server.address.removeprefix("http://").partition("/")
    asking = http.client.HTTPConnection(host, timeout=20)
    asking.request(
        method, f"/{rest}{path}", b"{}" if method == "POST" else None, {k.replace("_", "-"): v for k, v in headers.items()}
    )
    answer = asking.getresponse()
    answer.read()
    return answer.status, dict(answer.getheaders())


class TestServerAmongOthers:
    @pytest.mark.parametrize("path, method", [("", "GET"), ("ask", "POST")])
    def test_pages_of_other_sites_are_refused(self, errors, path, method):
        with Server(session(errors)) as server:
            port = server.address.split(":")[2].split("/")[0]
            mine = f"http://127.0.0.1:{port}"
            assert answer_of(server, path, method)[0] == answer_of(server, path, method, Origin=mine)[0] == 200
            assert answer_of(server, path, method, Origin=f"http://localhost:{port}", Sec_Fetch_Site="same-origin")[0] == 200
            foreign = [
                "http://evil.example",
                "null",
                "",
                f"https://127.0.0.1:{port}",
                "http://127.0.0.1:1",
                f"{mine}.evil.example",
            ]
            assert {answer_of(server, path, method, Origin=each)[0] for each in foreign} == {404}
            assert {answer_of(server, path, method, Sec_Fetch_Site=each)[0] for each in ("cross-site", "same-site")} == {404}
            assert {answer_of(server, path, method, Host=each)[0] for each in ("127.0.0.1", "localhost:1", "evil.example")} == {
                404
            }

    def test_headers_leave_the_page_alone_with_its_server(self, errors):
        with Server(session(errors)) as server:
            headers = answer_of(server)[1]
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
        assert policy["script-src"].startswith("'sha256-") and "unsafe" not in policy["script-src"]
        assert headers["Referrer-Policy"] == "no-referrer" and headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize("sent", [b"", b"GET", b"POST /KEY/ask HTTP/1.0\r\nHost: HOST\r\nContent-Length: 9\r\n\r\n{"])
    def test_slow_clients_are_left(self, errors, sent, capfd):
        with Server(session(errors), patience=0.3) as server:
            host, key = server.address.removeprefix("http://").rstrip("/").split("/")
            with socket.create_connection(host.split(":"), timeout=10) as slow:
                slow.sendall(sent.replace(b"KEY", key.encode()).replace(b"HOST", host.encode()))
                began, left = time.monotonic(), b"x"
                while left:  # drips: every byte comes soon after the one before
                    try:
                        slow.settimeout(0.1)
                        left = slow.recv(1000)
                    except TimeoutError:
                        slow.sendall(b" ")
                    except ConnectionError:
                        break
                    assert time.monotonic() - began < 5
            assert answer_of(server)[0] == 200
        assert "Traceback" not in capfd.readouterr().err

    def test_two_hundred_at_once(self, errors):
        found: list[int] = []
        with Server(session(errors)) as server:
            start = threading.Barrier(200)

            def ask() -> None:
                start.wait()
                found.append(answer_of(server, "ask", "POST")[0])

            threads = [threading.Thread(target=ask) for _ in range(200)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        assert found == [200] * 200

    @pytest.mark.parametrize(
        "body", [b"[" * 60_000, b'{"ask": ' * 5000, b"\xff", b"", b'{"ask": "jump", "number": 1e999}', b"[]", b"3"]
    )
    def test_odd_requests_get_an_answer(self, errors, body, capfd):
        with Server(session(errors)) as server:
            try:
                with urllib.request.urlopen(server.address + "ask", body, timeout=20) as answer:
                    assert answer.status == 200
            except urllib.error.HTTPError as error:
                assert error.code in (400, 413)
        assert "Traceback" not in capfd.readouterr().err


def test_a_run_of_a_study_has_its_problems_models_and_other_metrics(tiny_folder, tmp_path):
    from racviz.store import Store

    study = rv.Study(model=str(tiny_folder), sources=("prompt", "rac"), sparsities=(0.5,), problems=4, budget=48, t_max=48,
                     calibration_tokens=2048, run=str(tmp_path / "run"), store=Store(tmp_path / "store"), progress=False)  # fmt: skip
    study.errors(0.5)
    study.write_manifest()
    (shown,) = (study.folder / "errors").glob("*.parquet")
    before, opened = shown.stat(), rv.explore(shown).session
    study.errors(0.5)
    assert (shown.stat().st_mtime_ns, shown.stat().st_ino) == (before.st_mtime_ns, before.st_ino), (
        "what is the same is not written"
    )
    assert opened.about()[0]["notes"] == [] and len(list(shown.with_name(f"{shown.name}.pyramid").iterdir())) == 1
    shown.write_bytes(b"cut")
    study.errors(0.5)
    assert ReconstructionErrors.load(shown).frame.equals(study.errors(0.5).frame), "what is not the same is written anew"
    ids = {problem.id for problem in study.test()}
    stranger = open_catalogue(study.folder)
    assert set(stranger.problems) == ids and not stranger.models and not stranger.pending and "--model" in stranger.reasons[0]
    named = open_catalogue(study.folder, model=str(tiny_folder))
    assert set(named.problems) == ids and set(named.models) == {"dense", "prompt", "rac"} and not named.autoload
    catalogue = open_catalogue(study)
    assert set(catalogue.problems) == ids and set(catalogue.models) == {"dense", "prompt", "rac"}
    assert list(catalogue.pending) == ["KL of the next token, nats", "top-1 disagreement"]
    study.results()
    made = rv.explore(study).session
    assert {"dense: right", "rac, 50 %: wrong"} <= set(made.about()[0]["choices"]["answers"])
    assert [one["model"] for one in made.token(0, 3)[0]["answers"]] == ["dense", "prompt, 50 %", "rac, 50 %"]
    made.choose(errors_of="top-1 disagreement")
    wanted = study.errors(0.5, metric="top1").frame
    assert (
        selection(made)["e_prompt"].sum() == wanted["e_prompt"].sum()
        and "KL of the next token, nats" in made.about()[0]["choices"]["errors_of"]
    )
    made.load()
    assert set(made.token(0, 3)[0]["live"]["next"]) == {"dense", "prompt", "rac"}


def test_top1_disagreement_is_counted(tiny):
    test = rv.load_problems("arithmetic", split="test", limit=3)
    rollouts = rv.generate_traces(tiny, test, rv.Sampling(40, temperature=0.0), progress=False)
    calibration = rv.calibration_set("prompt", tiny, problems=rv.load_problems("arithmetic", split="calibration"), tokens=2000)
    pruned = rv.prune(tiny, calibration, method="magnitude", sparsity=0.6, progress=False)
    found = rv.reconstruction_errors(tiny, {"x": pruned}, rollouts, metric="top1", progress=False).frame
    import torch

    for trace in rollouts:
        ids = torch.tensor([[*trace.prompt_ids, *trace.output_ids]])
        with torch.inference_mode():
            a, b = (each.model(ids).logits[0].argmax(-1) for each in (tiny, pruned))
        np.testing.assert_array_equal(found.loc[found["problem_id"] == trace.problem_id, "e_x"], (a != b).float())
    assert 0 < found["e_x"].mean() < 1


def test_a_picture_of_many_rows_groups_them():
    made = session(ReconstructionErrors(frame_of(rows=50, longest=20), {}), order="given")
    found = picture(made.sums, made.order, (0, 20), (0, 50), (20, 7))
    assert found.ratio.shape[0] == 7 and found.group == 8


def test_the_command_writes_pages_and_says_what_cannot_be(file, tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "racviz", "explore", *arguments], capture_output=True, text=True, check=False
        )

    done = run(str(file), "-p", "order=length", "--out", str(tmp_path / "page.html"))
    assert done.returncode == 0 and (tmp_path / "page.html").exists(), done.stderr
    wrong = run(str(file), "-p", "ordr=length")
    assert wrong.returncode != 0 and "Did you mean 'order'" in wrong.stderr and "Traceback" not in wrong.stderr
    none = run(str(tmp_path / "none"))
    assert none.returncode != 0 and "does not exist" in none.stderr and "Traceback" not in none.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "racviz", "explore", str(file), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = [process.stdout.readline() for _ in range(2)]
        address = said[1].split()[0]
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200
    finally:
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0 and stderr == "", "Ctrl-C ends it without a word"


def test_drafts_of_killed_explorers_are_removed_and_living_ones_are_not(tmp_path):
    from racviz.explorer.pyramid import open_pyramid
    from racviz.processes import this_process

    rows = [{"problem_id": "a", "position": k, "phase": "prompt", "e_rac": 1.0} for k in range(4)]
    pd.DataFrame(rows).to_parquet(tmp_path / "errors.parquet")
    home, me = tmp_path / "errors.parquet.pyramid", this_process()
    living, dead = (home / f".x.{me.host}-{pid}-{me.start}-01234567.tmp" for pid in (me.pid, 2**22 + 1))
    for path in (living, dead):
        path.mkdir(parents=True)
        os.utime(path, (0, 0))
    pyramid = open_pyramid(tmp_path / "errors.parquet")
    assert living.exists() and not dead.exists()
    assert np.asarray(pyramid.level("rac", 0, "boundary")).sum() == 4 and sorted(home.iterdir()) == sorted(
        [living, pyramid.folder]
    )
    assert not list(pyramid.folder.glob(".*"))
