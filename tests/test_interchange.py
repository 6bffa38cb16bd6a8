"""Traces from elsewhere and for elsewhere, in the shapes in which others write them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import racviz as rv
from racviz.exceptions import DataError, ParameterError
from racviz.interchange import export_traces, import_traces, is_traces, to_dataset
from racviz.problems import BOXED, Problem
from racviz.traces import Trace, Traces

SHARED = Path(__file__).parents[2] / "shared" / "data" / "r1-distill-traces.jsonl"
QUESTION, ANSWER = "What is 1 + 1?", "<think>1 + 1 = 2</think>2"


@pytest.fixture
def save(tmp_path):
    def run(rows, name="theirs.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return run


def ids(tiny, text):
    return tuple(tiny.tokenizer(text, add_special_tokens=False)["input_ids"])


PROMPT = f"<bos><user>{QUESTION}<assistant>"


def rows_of_every_kind(tiny):
    """A row as each of the tools writes it; all of the same rollout."""
    prompt, output = list(ids(tiny, PROMPT)), list(ids(tiny, ANSWER))
    return {
        "racviz": dict(prompt_ids=prompt, output_ids=output, finish_reason="length"),
        "sglang": dict(input_ids=prompt + output, num_prompt_tokens=len(prompt), num_decode_tokens=len(output)),
        "deepspeed": dict(prompt=PROMPT, completion=ANSWER, prompt_tokens=1, completion_tokens=2, model="m", dataset="d"),
        "rac-jsonl": dict(prompt=PROMPT + ANSWER, completion=ANSWER, rewards={"accuracy": None}, step=0),
        "rac-arrow": dict(
            prompt=[dict(role="user", content=QUESTION), dict(role="assistant", content=ANSWER)], generations=["other"]
        ),
        "messages": dict(messages=[dict(role="user", content=QUESTION), dict(role="assistant", content=ANSWER)]),
        "conversations": dict(conversations=[{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]),
        "response": dict(prompt=QUESTION, response=ANSWER),
        "generations": dict(problem=QUESTION, solution="not it", generations=[ANSWER, ANSWER]),
    }


@pytest.mark.parametrize("kind", ["racviz", "sglang", "deepspeed", "rac-jsonl", "rac-arrow", "messages", "conversations", "response",
                                  "generations"])  # fmt: skip
def test_every_tool_s_rows_are_the_same_trace(tiny, save, kind):
    made = import_traces(save([rows_of_every_kind(tiny)[kind]]), tiny)
    chat = kind in ("rac-arrow", "messages", "conversations")  # where an answer is a whole turn, so it ended
    for trace in made:
        assert trace.prompt_ids == ids(tiny, PROMPT)
        assert trace.output_ids == ids(tiny, ANSWER + "<eos>" * chat)
        assert trace.content_hash == Problem("", QUESTION).content_hash, "so that it cannot be judged on this problem"
        assert trace.finish_reason == ("length" if kind == "racviz" else "stop" if chat else "unknown")
    assert [t.sample for t in made] == list(range(2 if kind == "generations" else 1))
    assert made.sampling["retokenised"] is (kind not in ("racviz", "sglang")) and made.model_fingerprint == ""
    assert not rv.calibration_set("rac", tiny, traces=made, tokens=5).label["on_policy"]


def test_the_thought_is_kept_where_the_template_has_opened_it(make_tiny, save):
    """As DeepSeek-R1's distills do: their prompt ends in <think>, their template drops the thought of a turn that is over."""
    loaded = make_tiny()
    loaded.tokenizer = type(loaded.tokenizer).from_pretrained(rv.store.resource("data/models/tiny-reasoner"))
    loaded.tokenizer.chat_template = (
        "{{- bos_token -}}{%- for m in messages -%}{%- if m['role'] == 'user' -%}{{- '<user>' + m['content'] -}}{%- else -%}"
        "{{- '<assistant>' + m['content'].split('</think>')[-1] + eos_token -}}{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<assistant><think>\\n' -}}{%- endif -%}"
    )
    loaded.thinking = rv.prompting.thinking_format(loaded.tokenizer)
    assert loaded.thinking.opened
    for response in (f"<think>\n{ANSWER.removeprefix('<think>')}", ANSWER.removeprefix("<think>")):
        (trace,) = import_traces([dict(prompt=QUESTION, response=response)], loaded)
        whole = loaded.tokenizer.decode([*trace.prompt_ids, *trace.output_ids])
        assert whole == f"<bos><user>{QUESTION}<assistant><think>\n1 + 1 = 2</think>2"
        assert len(trace.prompt_ids) == len(loaded.render(QUESTION))
    (chat,) = import_traces(
        [dict(messages=[dict(role="user", content=QUESTION), dict(role="assistant", content=ANSWER)])], loaded
    )
    assert "1 + 1 = 2</think>2<eos>" in loaded.tokenizer.decode(chat.output_ids)


def test_a_manifest_beside_the_traces_says_who_made_them(tiny, save):
    path = save([rows_of_every_kind(tiny)["sglang"]], "traces.jsonl")
    (path.parent / "rac_manifest.json").write_text(
        json.dumps(dict(model_path="a/b", temperature=0.6, seed=3, max_new_tokens=9))
    )
    made = import_traces(path, tiny)
    assert made.model == "a/b" and made.sampling["temperature"] == 0.6 and made.sampling["max_new_tokens"] == 9
    (path.parent / "rac_manifest.json").write_text("{")
    with pytest.raises(DataError, match="rac_manifest.json is damaged"):
        import_traces(path, tiny)


def test_traces_of_several_models_are_told_apart(tiny, save):
    path = save([dict(prompt=QUESTION, response=ANSWER, model=name) for name in ("a", "b", "b")])
    assert import_traces(path, tiny).model == "a + b" and len(import_traces(path, tiny, limit=2)) == 2
    made = import_traces(f"{path}?model=b&own=true", tiny)
    assert len(made) == 2 and made.model == "b" and made.model_fingerprint == tiny.fingerprint
    with pytest.raises(DataError, match="holds no traces by 'c'; it has some by a, b"):
        import_traces(path, tiny, model="c")
    with pytest.raises(ParameterError, match="not 'modl'. Did you mean 'model'"):
        import_traces(f"{path}?modl=b", tiny)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (dict(ask="x", gold="y"), "no trace in it; it has ask, gold. A trace is"),
        (dict(prompt="x"), "no trace in it"),
        (dict(prompt="x", response=3), "no trace in it"),
        (dict(prompt_ids=[1, 99_999], output_ids=[1]), "token id 99999, but 'random' has 1,024 tokens"),
        (dict(prompt_ids=[1, -1], output_ids=[1]), "token id -1"),
        (dict(prompt_ids=["input_ids"], output_ids=[1]), "token ids must be integers"),
        (dict(prompt_ids=[], output_ids=[1]), "at least one of them the prompt's"),
        (dict(input_ids=[1, 2, 3], num_prompt_tokens=4), "num_prompt_tokens is 4, but there are 3"),
        (dict(input_ids=[1, 2, 3], num_prompt_tokens=1, num_decode_tokens=1), "do not add up to its 3"),
        (dict(input_ids=[1, 40, 41], num_prompt_tokens=1, text="another text"), "do not spell its text"),
        (dict(messages=[dict(role="user", content="x")]), "does not end in an answer"),
        (dict(messages=[dict(role="assistant", content="x")]), "does not end in an answer"),
        (dict(messages=[dict(role="user"), dict(role="assistant", content="x")]), "needs role and content"),
        (
            dict(messages=[dict(role="tool", content="x")] * 2 + [dict(role="assistant", content="x")]),
            "does not take the turns tool",
        ),
        ([1], "not a row with columns"),
    ],
)
def test_what_is_no_trace_is_said_with_its_place(tiny, save, row, message):
    good = rows_of_every_kind(tiny)["racviz"]
    with pytest.raises(DataError, match=f"theirs.jsonl, line 2: .*{message}"):
        import_traces(save([good, row]), tiny)


def test_an_empty_file_and_columns_that_are_not_there(tiny, save):
    with pytest.raises(DataError, match="holds no traces"):
        import_traces(save([]), tiny)
    path = save([dict(ask=QUESTION, said=ANSWER)])
    assert import_traces(f"{path}?prompt=ask&response=said", tiny)[0].output_ids == ids(tiny, ANSWER)
    with pytest.raises(DataError, match="no column 'asked'; it has ask, said"):
        import_traces(f"{path}?prompt=asked&response=said", tiny)


TRACE = st.tuples(st.lists(st.integers(0, 1023), min_size=1, max_size=8), st.lists(st.integers(0, 1023), max_size=8))


@given(st.lists(TRACE, min_size=1, max_size=5))
def test_token_ids_survive_the_way_out_and_back(tiny, tmp_path_factory, pairs):
    rows = tuple(Trace(f"p{k}", 0, tuple(p), tuple(o), "length", "") for k, (p, o) in enumerate(pairs))
    traces = Traces(rows, "m", "f", rv.models.tokenizer_fingerprint(tiny.tokenizer))
    path = tmp_path_factory.mktemp("out") / "out.jsonl"
    export_traces(traces, path)
    again = import_traces(path, tiny)
    assert [(t.prompt_ids, t.output_ids, t.problem_id) for t in again] == [
        (t.prompt_ids, t.output_ids, t.problem_id) for t in rows
    ]
    for line in path.read_text().splitlines():
        row = json.loads(line)
        assert row["input_ids"][: row["num_prompt_tokens"]] == row["prompt_ids"] and row["model"] == "m"


def test_text_goes_out_as_others_read_it(tiny, save, tmp_path):
    made = import_traces(save([rows_of_every_kind(tiny)["messages"]]), tiny)
    export_traces(made, tmp_path / "out.jsonl", tiny, form="text")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["prompt"] == PROMPT and row["completion"] == ANSWER + "<eos>", "the end of the thought must not be lost"
    assert import_traces(tmp_path / "out.jsonl", tiny)[0].output_ids == made[0].output_ids
    with pytest.raises(ParameterError, match="form must be one of 'ids', 'text'"):
        export_traces(made, tmp_path / "x.jsonl", tiny, form="arrow")
    with pytest.raises(ParameterError, match="loaded must be the model whose tokenizer"):
        export_traces(made, tmp_path / "x.jsonl", form="text")


def test_data_sets_of_hugging_face_come_and_go(tiny, save, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (extra: hub)")
    made = import_traces(save([rows_of_every_kind(tiny)["racviz"]]), tiny)
    frame = to_dataset(made)
    assert import_traces(frame, tiny).rows == made.rows
    frame.save_to_disk(str(tmp_path / "saved"))
    assert is_traces(str(tmp_path / "saved")) and import_traces(tmp_path / "saved", tiny).rows == made.rows
    arrow = datasets.Dataset.from_list([rows_of_every_kind(tiny)["rac-arrow"]])
    arrow.save_to_disk(str(tmp_path / "rac"))
    assert import_traces(tmp_path / "rac", tiny)[0].prompt_ids == ids(tiny, PROMPT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is not a data set that datasets saved"):
        import_traces(tmp_path / "empty", tiny)


def test_racviz_s_own_file_comes_back_as_it_was(tiny, make_tiny, save, tmp_path):
    made = import_traces(save([rows_of_every_kind(tiny)["racviz"]]), tiny, own=True)
    made.save(tmp_path / "own.parquet")
    assert import_traces(tmp_path / "own.parquet", tiny) == made and is_traces(str(tmp_path / "own.parquet"))
    assert not is_traces("tiny-reasoner") and not is_traces("own")


def test_a_study_calibrates_on_a_file_of_traces(tiny, tiny_folder, save, store, tmp_path):
    path = save([dict(prompt=f"{QUESTION} {k}", response=ANSWER) for k in range(9)])
    study = rv.Study(model=str(tiny_folder), trace_source=str(path), thinking="plain", calibration_tokens=40, store=store,
                     run=str(tmp_path / "run"), progress=False)  # fmt: skip
    made = study.calibration("rac")
    assert made.tokens == 40 and made.label["trace_source"] == "theirs.jsonl" and made.label["on_policy"] is False


def test_an_instruction_in_imported_text_does_not_hide_the_problem(tiny):
    (trace,) = import_traces([dict(prompt=f"{QUESTION}\n\n{BOXED}", response=ANSWER)], tiny)
    assert trace.content_hash == Problem("", QUESTION).content_hash
    assert BOXED in tiny.tokenizer.decode(trace.prompt_ids)


# --- llm-compressor ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_llm_compressor_prunes_on_our_traces_as_we_do(tiny, tmp_path):
    """RAC as a drop-in: `oneshot` with our calibration set makes the masks that `prune` makes of it, block by block."""
    pytest.importorskip("llmcompressor", reason="llmcompressor is not installed (extra: dev)")
    import torch
    from llmcompressor import oneshot
    from llmcompressor.modifiers.pruning import SparseGPTModifier

    problems = rv.load_problems("arithmetic", split="calibration", limit=16)
    own = rv.generate_traces(tiny, problems, rv.Sampling(60), progress=False)
    rac = rv.calibration_set("rac", tiny, traces=own, tokens=1_500, sequence_length=128)
    folder = tiny.save(tmp_path / "dense")
    theirs = type(tiny.model).from_pretrained(folder, dtype=torch.float32)
    recipe = SparseGPTModifier(
        sparsity=0.5, mask_structure="0:0", targets=["Linear"], ignore=["re:.*lm_head"], sequential_update=True
    )
    oneshot(theirs, dataset=to_dataset(rac), recipe=recipe, processor=tiny.tokenizer, num_calibration_samples=len(rac.sequences),
            shuffle_calibration_samples=False)  # fmt: skip
    ours = rv.prune(tiny, rac, sparsity=0.5, mode="sequential", progress=False).model
    same = total = 0
    for (name, a), (_, b) in zip(ours.model.layers.named_parameters(), theirs.model.layers.named_parameters(), strict=True):
        if a.ndim == 2:
            same, total = same + int(((a == 0) == (b == 0)).sum()), total + a.numel()
            assert float((b == 0).float().mean()) == pytest.approx(0.5, abs=0.01), name
    assert same / total > 0.99  # later blocks read what the earlier ones give, where single flips grow


# --- real traces -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.exists(), reason="the slice of R1-distill traces is not on this machine")
def test_real_traces_of_r1_distills(tiny):
    made = import_traces(f"{SHARED}?model=deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", tiny)
    assert len(made) == 50 and made.model.endswith("Qwen-1.5B") and len({t.content_hash for t in made}) == 50
    assert all("<think>" in tiny.tokenizer.decode(t.output_ids[:8]) for t in made)
    off = rv.calibration_set("rac", tiny, traces=made, tokens=12_000, sequence_length=256)
    assert off.decode_tokens > 0.5 * off.tokens and not off.label["on_policy"]
    assert np.concatenate(off.sequences).max() < 1024


# --- which problems calibrated -----------------------------------------------------------------------------------------


def test_problems_that_calibrated_are_known_after_a_way_out_and_back(tiny, tmp_path):
    """Whatever was said after the prompt, and whichever file the traces went through."""
    asked = [Problem(f"p{k}", f"What is {k} + 1?\n\n{BOXED}", str(k + 1)) for k in range(6)]
    plain = [Problem(f"q{k}", f"What is {k} + 1?", str(k + 1), instruction=BOXED) for k in range(6)]
    assert [p.content_hash for p in asked] == [p.content_hash for p in plain]
    own = rv.generate_traces(tiny, asked, rv.Sampling(20), progress=False)
    export_traces(own, tmp_path / "own.jsonl")
    for traces in (own, import_traces(tmp_path / "own.jsonl", tiny, own=True)):
        pruned = rv.prune(tiny, rv.calibration_set("rac", tiny, traces=traces, tokens=100), progress=False)
        with pytest.raises(rv.RacvizError, match="of the test problems calibrated"):
            rv.evaluate(pruned, plain, rv.Sampling(4), progress=False)


def test_the_guard_s_hashes_are_part_of_every_fingerprint(tiny):
    rows = rows_of_every_kind(tiny)["racviz"]
    one, two = (import_traces([rows | {"content_hash": name}], tiny) for name in ("a" * 16, "b" * 16))
    assert one.fingerprint != two.fingerprint
    assert len({rv.calibration_set("rac", tiny, traces=each, tokens=5).fingerprint for each in (one, two)}) == 2


def test_traces_on_unknown_problems_are_told(tiny):
    row = dict(prompt_ids=[40, 41, 42], output_ids=[43])
    with pytest.warns(UserWarning, match="which problems 1 of 1 traces are on is not known"):
        import_traces([row], tiny)
    assert import_traces([row | {"problem": QUESTION}], tiny)[0].content_hash == Problem("", QUESTION).content_hash


def test_own_files_keep_their_books_whatever_is_asked(tiny, tmp_path, save):
    made = import_traces(save([rows_of_every_kind(tiny)["racviz"]]), tiny)
    made.save(tmp_path / "m.parquet")
    mine = import_traces(f"{tmp_path / 'm.parquet'}?own=true", tiny)
    assert mine.rows == made.rows and mine.model_fingerprint == tiny.fingerprint
    other = dataclasses.replace(made, tokenizer="another")
    other.save(tmp_path / "other.parquet")
    for name in ("other.parquet", "other.parquet?own=true"):
        with pytest.raises(DataError, match="made with another tokenizer"):
            import_traces(f"{tmp_path / name}", tiny)


def test_only_what_is_needed_is_read(tiny):
    read = []

    def endless():
        while True:
            read.append(1)
            yield dict(prompt=f"{QUESTION} {len(read)}", response=ANSWER)

    made = import_traces(endless(), tiny, tokens=200)
    assert len(made) == len(read) < 30 and sum(len(t.prompt_ids) + len(t.output_ids) for t in made) >= 200


def test_a_chat_that_was_cut_off_does_not_end(tiny):
    chat = dict(messages=[dict(role="user", content=QUESTION), dict(role="assistant", content=ANSWER)], finish_reason="length")
    (trace,) = import_traces([chat], tiny)
    assert trace.output_ids == ids(tiny, ANSWER) and trace.finish_reason == "length"
    both = chat | dict(problem=QUESTION, generations=["<think>a</think>b", "<think>c</think>d"])
    assert len(import_traces([both], tiny, columns={"response": "generations"})) == 2


def test_prompts_of_several_samples_calibrate_once(tiny):
    rows = [dict(prompt_ids=list(ids(tiny, PROMPT)), output_ids=[40 + k], problem_id=f"p{k}") for k in range(4)]
    made = rv.calibration_set("prompt-same-problems", tiny, traces=import_traces(rows, tiny), tokens=5)
    assert (
        len(
            rv.calibration_set(
                "prompt-same-problems", tiny, traces=import_traces(rows, tiny), tokens=999, allow_fewer=True
            ).sequences
        )
        == 1
    )
    assert made.tokens == 5


def test_openr1_s_rows_give_all_their_generations(tiny):
    chat = [dict(role="user", content=QUESTION), dict(role="assistant", content=ANSWER)]
    row = dict(problem=QUESTION, solution="not it", answer="2", generations=[ANSWER, "<think>no", ANSWER], messages=chat,
               finish_reasons=["stop", "length", None])  # fmt: skip
    made = import_traces([row], tiny)
    assert [t.finish_reason for t in made] == ["stop", "length", "unknown"] and [t.sample for t in made] == [0, 1, 2]
    assert made[0].output_ids == (*ids(tiny, ANSWER), tiny.tokenizer.eos_token_id) and made[2].output_ids == ids(tiny, ANSWER)
    assert len(import_traces([row | dict(finish_reasons=None)], tiny)) == 3


def test_rows_of_pandas_and_numpy(tiny):
    import pandas as pd

    prompt, output = ids(tiny, PROMPT), ids(tiny, ANSWER)
    frame = pd.DataFrame(
        [dict(prompt_ids=np.array(prompt), output_ids=np.array(output)), dict(prompt_ids=prompt, output_ids=output)]
    )
    for made in (
        import_traces(frame, tiny),
        import_traces([dict(input_ids=np.array(prompt + output), num_prompt_tokens=np.int64(len(prompt)))], tiny),
    ):
        assert {(t.prompt_ids, t.output_ids) for t in made} == {(prompt, output)}


def test_ids_of_another_tokenizer_are_known_by_its_fingerprint(tiny, tmp_path):
    made = import_traces([rows_of_every_kind(tiny)["response"]], tiny)
    export_traces(made, tmp_path / "out.jsonl")
    assert import_traces(tmp_path / "out.jsonl", tiny)[0].output_ids == made[0].output_ids
    text = (tmp_path / "out.jsonl").read_text().replace(made.tokenizer, "0" * 24)
    (tmp_path / "out.jsonl").write_text(text)
    with pytest.raises(DataError, match="line 1: its token ids are those of another tokenizer than that of 'random'"):
        import_traces(tmp_path / "out.jsonl", tiny)


def test_a_model_without_a_chat_template_takes_token_ids(tiny):
    import copy

    bare = tiny.copy()
    bare.tokenizer = copy.deepcopy(tiny.tokenizer)
    bare.tokenizer.chat_template = None
    with pytest.warns(UserWarning, match="is not known"):
        made = import_traces([rows_of_every_kind(tiny)["racviz"]], bare)
    assert made[0].prompt_ids == ids(tiny, PROMPT)


@pytest.mark.parametrize("limit", ["5", 0, 1.5])
def test_a_limit_that_is_none(tiny, limit):
    with pytest.raises(ParameterError, match="limit must be None or an integer >= 1"):
        import_traces([], tiny, limit=limit)


@pytest.mark.parametrize(
    "row", [dict(prompt_ids=None, output_ids=[5]), dict(prompt_ids=[1], output_ids=7), dict(input_ids=3, num_prompt_tokens=1)]
)
def test_ids_that_are_no_list(tiny, save, row):
    with pytest.raises(DataError, match="line 1: .*_ids must be a list of token ids"):
        import_traces(save([row]), tiny)


def test_half_a_surrogate_inside_a_chat(tiny, tmp_path):
    path = tmp_path / "half.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "x"}]}\n')
    with pytest.raises(DataError, match="line 1: the column 'messages' holds half of a surrogate pair"):
        import_traces(path, tiny)
