"""Traces: the very tokens, on disk and back, and runs that are stopped and go on."""

import dataclasses
import signal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz import traces as room
from racviz.exceptions import DataError, ParameterError, StorageError
from racviz.generation import Sampling
from racviz.models import tokenizer_fingerprint
from racviz.problems import Problem, load_problems
from racviz.prompting import render_prompt
from racviz.traces import COLUMNS, Trace, Traces, generate_traces

SAMPLING = Sampling(max_new_tokens=12, temperature=0.9, top_p=0.95, seed=1)


@pytest.fixture(scope="module")
def problems():
    return load_problems("arithmetic", split="calibration", limit=10)


@pytest.fixture
def backend(monkeypatch):
    """The real backend, counting the rows it finishes, and stopping as told (`backend.stop_at`, `backend.how`)."""

    class Backend:
        made: list = []
        stop_at, how = None, KeyboardInterrupt

        def __init__(self):
            self.made = []
            generate = room.generate

            def counted(loaded, requests, *args):
                for index, completion in generate(loaded, requests, *args):
                    if self.stop_at == len(self.made):
                        if self.how is KeyboardInterrupt:
                            signal.raise_signal(signal.SIGINT)  # a real Ctrl-C
                        raise self.how
                    self.made.append(requests[index].name)
                    yield index, completion

            monkeypatch.setattr(room, "generate", counted)

    return Backend()


def traces_of(loaded, problems, sampling=SAMPLING, **options):
    return generate_traces(loaded, problems, sampling, progress=False, **options)


# --- what a trace is ---------------------------------------------------------------------------------------------------


def test_a_trace_is_the_prompt_and_the_tokens_that_were_sampled(tiny, problems):
    made = traces_of(tiny, problems)
    assert [t.problem_id for t in made] == [p.id for p in problems]
    for trace, problem in zip(made, problems, strict=True):
        assert list(trace.prompt_ids) == render_prompt(tiny.tokenizer, problem.prompt)
        assert trace.content_hash == problem.content_hash and trace.sample == 0
        assert len(trace.output_ids) <= 12 and (trace.finish_reason == "length") == (
            len(trace.output_ids) == 12 and trace.output_ids[-1] != tiny.tokenizer.eos_token_id
        )
    assert (made.model, made.model_fingerprint) == (tiny.name, tiny.fingerprint)
    assert made.tokenizer == tokenizer_fingerprint(tiny.tokenizer) and made.sampling == dataclasses.asdict(SAMPLING)


def test_tokens_are_never_made_anew_from_text(tiny, problems, tmp_path):
    """Random outputs hardly ever are what the tokenizer makes of their text: only kept ids come through."""
    made = traces_of(tiny, problems)
    again = [tiny.tokenizer(tiny.tokenizer.decode(t.output_ids), add_special_tokens=False)["input_ids"] for t in made]
    assert sum(ids != list(t.output_ids) for ids, t in zip(again, made, strict=True)) >= 3
    made.save(tmp_path / "traces.parquet")
    assert [t.output_ids for t in Traces.load(tmp_path / "traces.parquet")] == [t.output_ids for t in made]


def test_samples_of_a_problem_differ_and_do_not_depend_on_how_many(tiny, problems):
    three = traces_of(tiny, problems[:4], samples=3)
    assert [(t.problem_id, t.sample) for t in three] == [(p.id, k) for p in problems[:4] for k in range(3)]
    assert len({t.output_ids for t in three}) == 12
    assert [t for t in three if t.sample == 0] == list(traces_of(tiny, problems[:4]))


def test_the_batch_and_the_store_do_not_change_the_tokens(tiny, problems, store):
    loaded = tiny.copy()
    loaded.model.double()  # so that no order of additions decides a token
    made = traces_of(loaded, problems)
    for options in ({"batch_size": 1}, {"batch_size": 3}, {"batch_size": 4, "store": store}):
        assert traces_of(loaded, problems, **options).rows == made.rows
    assert traces_of(loaded, list(reversed(problems))).rows == tuple(reversed(made.rows))


# --- files -------------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.builds(
            Trace,
            problem_id=st.text(),
            sample=st.integers(0, 99),
            prompt_ids=st.lists(st.integers(0, 2**31 - 1)).map(tuple),
            output_ids=st.lists(st.integers(0, 2**31 - 1)).map(tuple),
            finish_reason=st.sampled_from(["stop", "length"]),
            content_hash=st.text(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, rows):
    made = Traces(tuple(rows), "mödel", "f1", "t1", {"max_new_tokens": 3, "temperature": 0.5})
    path = tmp_path_factory.mktemp("traces") / "made.parquet"
    made.save(path)
    again = Traces.load(path)
    assert again == made and again.fingerprint == made.fingerprint
    assert list(made.to_frame().columns) == [*COLUMNS, "model", "tokenizer"]


def test_the_file_is_plain_parquet(tiny, problems, tmp_path):
    made = traces_of(tiny, problems)
    made.save(tmp_path / "deep" / "traces.parquet")
    frame = pd.read_parquet(tmp_path / "deep" / "traces.parquet")
    assert list(map(tuple, frame["output_ids"])) == [t.output_ids for t in made]
    assert set(frame["model"]) == {"random"} and set(frame["finish_reason"]) <= {"stop", "length"}


def test_a_file_of_somebody_else_s_traces_needs_no_content_hash(tiny, problems, tmp_path):
    made = traces_of(tiny, problems[:2])
    room.write_parquet(tmp_path / "t.parquet", made.to_frame().drop(columns="content_hash"), {"tokenizer": made.tokenizer})
    again = Traces.load(tmp_path / "t.parquet")
    assert [t.output_ids for t in again] == [t.output_ids for t in made] and {t.content_hash for t in again} == {""}


def test_files_that_are_no_traces(tiny, problems, tmp_path):
    with pytest.raises(DataError, match="absent.parquet does not exist"):
        Traces.load(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("not parquet at all")
    (tmp_path / "empty.parquet").write_bytes(b"")
    traces_of(tiny, problems).save(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.parquet").write_bytes(whole[:4] + bytes(len(whole) - 30) + whole[-26:])
    for name in ("text", "empty", "cut", "flipped"):
        with pytest.raises(DataError, match=f"{name}.parquet is not a readable parquet file"):
            Traces.load(tmp_path / f"{name}.parquet")
    pq.write_table(pa.table({"problem_id": ["a"], "sample": [0]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="other.parquet .* lacks .*prompt_ids, output_ids, finish_reason"):
        Traces.load(tmp_path / "other.parquet")
    frame = pq.read_table(tmp_path / "whole.parquet").to_pandas()
    frame.to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(DataError, match="bare.parquet.* tokenizer"):
        Traces.load(tmp_path / "bare.parquet")


def test_a_file_that_cannot_be_written(tiny, problems, tmp_path, monkeypatch):
    made = traces_of(tiny, problems[:2])
    made.save(tmp_path / "traces.parquet")
    before = (tmp_path / "traces.parquet").read_bytes()

    def refuse(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", refuse)
    with pytest.raises(StorageError, match="traces.parquet: the disk is full"):
        made.save(tmp_path / "traces.parquet")
    assert [p.name for p in tmp_path.iterdir()] == ["traces.parquet"]
    assert (tmp_path / "traces.parquet").read_bytes() == before


# --- stopped and gone on with ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("stop_at", [0, 4, 5, 7, 9])
def test_a_run_that_was_stopped_goes_on_after_its_last_whole_batch(tiny, problems, store, tmp_path, backend, how, stop_at):
    whole = traces_of(tiny, problems, batch_size=4)
    backend.made.clear()
    backend.stop_at, backend.how = stop_at, how
    with pytest.raises(how):
        traces_of(tiny, problems, batch_size=4, store=store)
    assert len(backend.made) == stop_at
    assert len(store.entries()) == stop_at // 4
    assert not [p for p in store.root.rglob("*") if p.name.endswith(".tmp")]
    backend.made.clear()
    backend.stop_at = None
    assert traces_of(tiny, problems, batch_size=4, store=store) == whole
    longest_first = sorted(problems, key=lambda p: -len(tiny.render(p.text)))
    left = [p.id for p in longest_first[stop_at // 4 * 4 :]]
    assert sorted(backend.made) == sorted(left), "finished batches are not generated again, the others whole"
    backend.made.clear()
    assert traces_of(tiny, problems, batch_size=4, store=store) == whole and backend.made == []


def test_a_damaged_batch_is_generated_again(tiny, problems, store, backend):
    whole = traces_of(tiny, problems, batch_size=4, store=store)
    backend.made.clear()
    victim = sorted(store.root.glob("batches/*/data.parquet"))[1]
    victim.write_bytes(victim.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="damaged.*made again"):
        assert traces_of(tiny, problems, batch_size=4, store=store) == whole
    assert 2 <= len(backend.made) <= 4


@pytest.mark.parametrize("change", [{"seed": 2}, {"temperature": 0.8}, {"top_p": 0.9}, {"max_new_tokens": 11}])
def test_another_sampling_is_another_batch(tiny, problems, store, backend, change):
    traces_of(tiny, problems[:3], store=store)
    backend.made.clear()
    traces_of(tiny, problems[:3], dataclasses.replace(SAMPLING, **change), store=store)
    assert len(backend.made) == 3


def test_another_model_or_prompt_is_another_batch(tiny, problems, store, backend):
    traces_of(tiny, problems[:3], store=store)
    other = tiny.copy()
    other.fingerprint = "other"
    traces_of(other, problems[:3], store=store)
    traces_of(tiny, [dataclasses.replace(problems[0], prompt="another"), *problems[1:3]], store=store)
    assert len(backend.made) == 9 and len(store.entries()) == 3


# --- what is not allowed -----------------------------------------------------------------------------------------------


def test_a_problem_longer_than_the_context_is_named_with_what_to_do(tiny, backend):
    fits = Problem("fits", "1 " * 100)
    size = len(render_prompt(tiny.tokenizer, fits.prompt))
    room_left = tiny.context - size
    assert len(traces_of(tiny, [fits], dataclasses.replace(SAMPLING, max_new_tokens=room_left))[0].output_ids) <= room_left
    backend.made.clear()
    with pytest.raises(
        DataError, match=f"problem 'fits' has {size} prompt tokens.*lower max_new_tokens to {room_left} or less"
    ):
        traces_of(tiny, [Problem("short", "1"), fits], dataclasses.replace(SAMPLING, max_new_tokens=room_left + 1))
    with pytest.raises(
        DataError, match="problem 'long' has .* context of 256: leave the problem out or take a model with a longer"
    ):
        traces_of(tiny, [Problem("short", "1"), Problem("long", "1 " * 256)])
    assert backend.made == [], "nothing is generated before all are known to fit"


def test_no_problems_and_doubles(tiny, problems):
    with pytest.raises(DataError, match="is empty"):
        traces_of(tiny, [])
    with pytest.raises(DataError, match="more than once"):
        traces_of(tiny, [problems[0], problems[0]])


@pytest.mark.parametrize(
    ("option", "value"), [("samples", 0), ("samples", 1.5), ("batch_size", 0), ("batch_size", -1), ("backend", "vlm")]
)
def test_options_that_make_no_sense(tiny, problems, option, value):
    with pytest.raises(ParameterError, match=f"{option} must be .*{value!r}"):
        traces_of(tiny, problems, **{option: value})


def test_a_model_without_a_chat_template(tiny, problems, tiny_folder, tmp_path):
    from transformers import AutoTokenizer

    loaded = tiny.copy()
    loaded.tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    loaded.tokenizer.chat_template = None
    with pytest.raises(ParameterError, match="no chat template"):
        traces_of(loaded, problems)
