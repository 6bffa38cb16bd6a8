"""Prompts, system prompts, splits, bad rows and token ids of imported traces."""

import copy
import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import racviz as rv
from racviz.exceptions import DataError, ParameterError
from racviz.interchange import import_traces, is_traces
from racviz.interchange.summary import Allowed
from racviz.problems import Problem
from racviz.prompting import thinking_format
from racviz.traces import Trace, Traces

QUESTION, ANSWER = "What is 3 + 4?", "<think>3+4</think>7"
CHAT = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]


def decoded(loaded, trace):
    return loaded.tokenizer.decode(trace.prompt_ids), loaded.tokenizer.decode(trace.output_ids)


def with_template(tiny, template):
    made = copy.copy(tiny)
    made.tokenizer = copy.deepcopy(tiny.tokenizer)
    made.tokenizer.chat_template = template
    made.thinking = thinking_format(made.tokenizer, "think")
    return made


LOOP = "{%- for m in messages -%}{%- if m.role == 'user' -%}{{- '<user>' + m.content -}}{%- elif m.role == 'assistant' -%}"
END = "{{- '<assistant>' + m.content + '<eos>' -}}{%- endif -%}{%- endfor -%}"
END += "{%- if add_generation_prompt -%}{{- '<assistant>' -}}{%- endif -%}"
SILENT = "{{- bos_token -}}" + LOOP + END
"""Leaves system prompts out without a word."""
TAKES = SILENT.replace(
    "{%- for", "{%- if messages[0].role == 'system' -%}{{- 'System: ' + messages[0].content -}}{%- endif -%}{%- for", 1
)
DEFAULT = TAKES.replace("{%- endif -%}{%- for", "{%- else -%}{{- 'System: Be kind.' -}}{%- endif -%}{%- for", 1)


# --- prompts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        "What does </think> mean?",
        "What does <think> mean?",
        "<think>",
        "Is <eos> a token?",
        "<user> is a token. Which one?",
        "<bos> is a token. Which one?",
        "Say <assistant>",
        "<assistant>",
        "a <bos><user>b<assistant>",
        "</think>",
    ],
)
def test_a_control_token_in_the_user_s_text_does_not_make_it_rendered(tiny, problem):
    for row in (
        dict(problem=problem, generations=[ANSWER]),
        dict(prompt=problem, response=ANSWER),
        dict(messages=[{**CHAT[0], "content": problem}, CHAT[1]]),
    ):
        (trace,) = import_traces([row], tiny)
        assert decoded(tiny, trace)[0] == f"<bos><user>{problem}<assistant>"
        assert trace.content_hash == Problem("", problem).content_hash


def test_a_prompt_that_begins_as_the_template_begins_is_rendered(tiny):
    for prompt in (
        f"<bos><user>{QUESTION}<assistant>",
        f"<user>{QUESTION}<assistant>",
        f"<bos><user>a<assistant>b<eos><user>{QUESTION}<assistant>",
    ):
        (trace,) = import_traces([dict(prompt=prompt, response=ANSWER, problem=QUESTION)], tiny)
        assert decoded(tiny, trace)[0] == "<bos>" + prompt.removeprefix("<bos>")


def test_a_date_in_the_template_s_beginning_may_be_another(tiny):
    dated = with_template(tiny, "{{- bos_token + '<user>' + 'Today: 2 May. ' -}}" + LOOP + END)
    (trace,) = import_traces(
        [dict(prompt=f"<bos><user>Today: 1 May. <user>{QUESTION}<assistant>", response=ANSWER, problem=QUESTION)], dated
    )
    assert decoded(tiny, trace)[0] == f"<bos><user>Today: 1 May. <user>{QUESTION}<assistant>"


CHATML = (
    "{%- if messages[0].role != 'system' -%}{{- '<|im_start|>system\\nBe kind.<|im_end|>\\n' -}}{%- endif -%}{%- for m in messages -%}"
    "{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def test_a_turn_is_opened_by_a_control_token_and_its_role(tiny):
    chat = copy.copy(tiny)
    chat.tokenizer, chat.model = copy.deepcopy(tiny.tokenizer), copy.deepcopy(tiny.model)
    chat.tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    chat.model.resize_token_embeddings(len(chat.tokenizer), mean_resizing=False)
    chat.tokenizer.chat_template = CHATML
    chat.thinking = thinking_format(chat.tokenizer, "think")
    turn = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    for prompt in (turn, f"<|im_start|>system\nBe brief.<|im_end|>\n{turn}"):
        (trace,) = import_traces([dict(prompt=prompt, response=ANSWER, problem=QUESTION)], chat)
        assert decoded(chat, trace)[0] == prompt
    for problem in ("<|im_start|> is what?", "What is <|im_start|>user?", "<|im_end|>"):
        (trace,) = import_traces([dict(prompt=problem, response=ANSWER)], chat)
        kind = "<|im_start|>system\nBe kind.<|im_end|>\n"
        assert decoded(chat, trace)[0] == f"{kind}<|im_start|>user\n{problem}<|im_end|>\n<|im_start|>assistant\n"
    (trace,) = import_traces([dict(problem=QUESTION, response=ANSWER, system="Be brief.")], chat)
    assert decoded(chat, trace)[0] == f"<|im_start|>system\nBe brief.<|im_end|>\n{turn}"


def test_a_prompt_without_control_tokens_is_known_by_both_ends(tiny):
    plain = with_template(tiny, "{%- for m in messages -%}{{- 'Q: ' + m.content + '\\nA:' -}}{%- endfor -%}")
    for prompt in ("2 + 2?", "Q: 2 + 2?\nA:"):
        (trace,) = import_traces([dict(prompt=prompt, response=ANSWER)], plain)
        assert decoded(tiny, trace)[0] == "Q: 2 + 2?\nA:" and trace.content_hash == Problem("", "2 + 2?").content_hash
    (trace,) = import_traces([dict(prompt="Q: is what?", response=ANSWER)], plain)
    assert decoded(tiny, trace)[0] == "Q: Q: is what?\nA:"


def test_an_instruction_beside_its_input_is_asked_too(tiny):
    for row, prompt in [
        (dict(instruction="Add.", input="3 4", output=ANSWER), "Add.\n3 4"),
        (dict(instruction="Add 3 4.", input="", output=ANSWER), "Add 3 4."),
        (dict(problem="3 4", instruction="Add.", output=ANSWER), "3 4\n\nAdd."),
    ]:
        assert decoded(tiny, import_traces([row], tiny)[0])[0] == f"<bos><user>{prompt}<assistant>"
    with pytest.raises(DataError, match="history"):
        import_traces([dict(instruction="Add.", output=ANSWER, history=[["a", "b"]])], tiny)


# --- system prompts ----------------------------------------------------------------------------------------------------

SYSTEM = "Be brief."
WITH_SYSTEM = {
    "in the chat": dict(messages=[{"role": "system", "content": SYSTEM}, *CHAT]),
    "beside a chat": dict(messages=CHAT, system=SYSTEM),
    "beside conversations": dict(
        conversations=[{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}], system_prompt=SYSTEM
    ),
    "beside a problem": dict(problem=QUESTION, generations=[ANSWER], system=SYSTEM),
    "twice": dict(messages=[{"role": "system", "content": SYSTEM}, *CHAT], system=SYSTEM),
}


@pytest.mark.parametrize("where", WITH_SYSTEM)
def test_a_system_prompt_is_rendered_or_refused(tiny, where):
    row = WITH_SYSTEM[where]
    for template in (TAKES, DEFAULT):
        (trace,) = import_traces([row], with_template(tiny, template))
        assert decoded(tiny, trace)[0] == f"<bos>System: {SYSTEM}<user>{QUESTION}<assistant>"
        assert trace.content_hash == Problem("", QUESTION).content_hash
    for loaded in (tiny, with_template(tiny, SILENT)):
        with pytest.raises(DataError, match=f"row 1: .*{next((name for name in row if 'system' in name), 'system')}"):
            import_traces([row], loaded)


def test_a_system_prompt_that_says_what_the_user_says_is_not_taken_for_rendered(tiny):
    row = dict(messages=[{"role": "system", "content": QUESTION}, *CHAT])
    with pytest.raises(DataError, match="system"):
        import_traces([row], with_template(tiny, SILENT))


def test_system_prompts_that_are_none_or_contradict(tiny):
    takes = with_template(tiny, TAKES)
    for nothing in (None, "", " "):
        (trace,) = import_traces([dict(problem=QUESTION, response=ANSWER, system=nothing)], takes)
        assert decoded(tiny, trace)[0] == f"<bos><user>{QUESTION}<assistant>"
    for row in (
        dict(messages=[{"role": "system", "content": "Be long."}, *CHAT], system=SYSTEM),
        dict(problem=QUESTION, response=ANSWER, system=SYSTEM, system_prompt="Be long."),
        dict(problem=QUESTION, response=ANSWER, system=3),
        dict(prompt=f"<bos><user>{QUESTION}<assistant>", response=ANSWER, system=SYSTEM),
    ):
        with pytest.raises(DataError, match="row 1: .*system"):
            import_traces([row], takes)


# --- splits ------------------------------------------------------------------------------------------------------------


def test_splits_are_named(tiny, tmp_path):
    datasets = pytest.importorskip("datasets")

    def split(text):
        return datasets.Dataset.from_list([dict(problem=text, response=ANSWER)])

    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    datasets.DatasetDict(train_sft=split("a?")).save_to_disk(one)
    both = datasets.DatasetDict(train=split("b?"), test=split("c?"))
    both.save_to_disk(two)
    for name, problem in [
        (one, "a?"),
        (f"{one}?split=train_sft", "a?"),
        (f"{two}?split=test", "c?"),
        (f"{two}?split=train", "b?"),
    ]:
        assert is_traces(name)
        assert decoded(tiny, import_traces(name, tiny)[0])[0] == f"<bos><user>{problem}<assistant>"
    for name in (two, f"{two}?split=validation", f"{one}?split=train"):
        with pytest.raises(DataError, match="train_sft" if name.startswith(one) else "train, test"):
            import_traces(name, tiny)
    with pytest.raises(DataError, match="train, test"):
        import_traces(both, tiny)
    assert len(import_traces(both["test"], tiny)) == len(import_traces(datasets.DatasetDict(x=both["test"]), tiny)) == 1


def test_splits_of_a_json_file_are_named(tiny, tmp_path):
    path = tmp_path / "both.json"
    path.write_text(json.dumps({"train": [dict(problem="b?", response=ANSWER)], "test": [dict(problem="c?", response=ANSWER)]}))
    assert decoded(tiny, import_traces(f"{path}?split=test", tiny)[0])[0] == "<bos><user>c?<assistant>"
    with pytest.raises(DataError, match="train, test"):
        import_traces(path, tiny)


# --- bad rows ----------------------------------------------------------------------------------------------------------

GOOD = json.dumps(dict(problem=QUESTION, response=ANSWER))
BAD = {
    "no trace": '{"a": 1}',
    "not JSON": '{"a": ',
    "cut off": GOOD[:-9],
    "a list": "[1]",
    "a number": "3",
    "half a surrogate": '{"problem": "\\ud800", "response": "x"}',
    "a key twice": '{"a": 1, "a": 2}',
    "ids": '{"prompt_ids": [1, -1], "output_ids": [2]}',
    "not UTF-8": '{"problem": "\udcff", "response": "x"}',
}


def lines(path, rows):
    path.write_bytes("".join(row + "\n" for row in rows).encode("utf-8", "surrogateescape"))
    return path


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("place", [0, 50, 100])
def test_one_bad_row_of_a_hundred_is_skipped_and_said(tiny, tmp_path, kind, place):
    rows = [GOOD] * 100
    path = lines(tmp_path / "rows.jsonl", [*rows[:place], BAD[kind], *rows[place:]])
    with pytest.warns(UserWarning, match=f"1 of 101 rows were skipped.*\n.*rows.jsonl, line {place + 1}"):
        made = import_traces(path, tiny)
    assert len(made) == 100 and (made.summary.rows, made.summary.traces, made.summary.skipped) == (101, 100, 1)
    assert made.summary.examples[0].count(f"line {place + 1}") == 1


def test_too_many_bad_rows_are_refused_with_the_first(tiny, tmp_path):
    path = lines(tmp_path / "rows.jsonl", [GOOD] * 100 + ['{"a": 1}'] * 5)
    with pytest.raises(DataError, match="line 101: .*line 102: .*line 103: .*5 of 105 rows.*max_bad='1%'"):
        import_traces(path, tiny)
    with pytest.warns(UserWarning, match="5 of 105"):
        assert len(import_traces(path, tiny, max_bad=5)) == len(import_traces(path, tiny, max_bad="5%")) == 100
        assert len(import_traces(f"{path}?max_bad=5%", tiny)) == 100
    for few in (4, "4", "4.7%", 0, "0%"):
        with pytest.raises(DataError, match="line 101"):
            import_traces(path, tiny, max_bad=few)


def test_a_csv_row_that_does_not_fit_is_skipped(tiny, tmp_path):
    path = lines(tmp_path / "rows.csv", ["problem,response", *[f"{QUESTION},{ANSWER}"] * 3, "a,b,c", f"{QUESTION},{ANSWER}"])
    with pytest.raises(DataError, match="line 5"):
        import_traces(path, tiny)
    with pytest.warns(UserWarning, match="1 of 5 rows"):
        assert len(import_traces(path, tiny, max_bad=1)) == 4


def test_a_source_of_bad_rows_alone_is_refused_whatever_is_allowed(tiny):
    with pytest.raises(DataError, match="holds no traces.*row 1: "):
        import_traces([dict(a=1)], tiny, max_bad="100%")


def test_an_endless_source_of_bad_rows_ends(tiny):
    def endless():
        while True:
            yield dict(a=1)

    with pytest.raises(DataError, match="row 1: .*row 2: "):
        import_traces(endless(), tiny)


def test_a_limit_does_not_hide_a_bad_beginning(tiny):
    """A first row that is bad is 1 of 1; among a hundred it is within the share, so that reading goes on until then."""
    row = json.loads(GOOD)
    with pytest.warns(UserWarning, match="1 of 100 rows"):
        made = import_traces([dict(a=1), *[row] * 500], tiny, limit=1)
    assert len(made) == made.summary.traces == 1
    with pytest.raises(DataError, match="row 1"):
        import_traces([dict(a=1), row, row], tiny, limit=1)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 10_000))
def test_a_share_is_never_rounded_up(bad, rows, hundredths):
    allowed = Allowed.parse(f"{hundredths / 100}%")
    assert allowed.holds(bad, rows) == (bad * 10_000 <= hundredths * rows)
    assert Allowed.parse(bad).holds(bad, rows) and not Allowed.parse(str(bad)).holds(bad + 1, rows)


@pytest.mark.parametrize("value", [-1, True, 0.01, "many", "1 %%", "101%", "-1%", "", "٣", [1]])
def test_a_limit_of_bad_rows_that_is_none(tiny, value):
    with pytest.raises(ParameterError, match="max_bad must be"):
        import_traces([], tiny, max_bad=value)


def test_control_characters_of_a_bad_row_reach_no_terminal(tiny):
    row = {"prompt_ids": ["\x1b[31m" + "x" * 10_000], "output_ids": [1], "\x1b[2J": 1}
    for bad in (row, {"\x1b[2J": 1}, dict(problem="x", response={"\x1b]0;": 3})):
        with pytest.raises(DataError) as error:
            import_traces([bad], tiny)
        assert str(error.value).isprintable() and len(str(error.value)) < 1_000


# --- null generations, summary -----------------------------------------------------------------------------------------


def test_null_generations_are_counted_and_said(tiny):
    row = dict(problem=QUESTION, generations=[ANSWER, None, "", "<think>b"], finish_reasons=["stop", "stop", None, "length"])
    with pytest.warns(UserWarning, match="2 generations were null or empty"):
        made = import_traces([row], tiny)
    assert [(decoded(tiny, trace)[1], trace.finish_reason) for trace in made] == [
        (ANSWER + "<eos>", "stop"),
        ("<think>b", "length"),
    ]
    assert made.summary.empty == 2 and made.summary.skipped == 0
    with pytest.raises(DataError, match="row 1: generations"):
        import_traces([dict(problem=QUESTION, generations=[None, None])], tiny)


def test_choices_of_a_question_are_no_answers(tiny):
    (trace,) = import_traces([dict(problem=QUESTION, choices=["5", "7"], response=ANSWER)], tiny)
    assert decoded(tiny, trace)[1] == ANSWER
    with pytest.raises(DataError, match="no trace in it"):
        import_traces([dict(problem=QUESTION, choices=["5", "7"])], tiny)


def test_a_summary_counts(tiny):
    rows = [
        dict(problem=QUESTION, response=ANSWER, finish_reason="stop"),
        dict(problem=QUESTION, response="<think>3", finish_reason="max_tokens"),
        dict(problem=QUESTION, generations=["7", ANSWER]),
        dict(a=1),
    ]
    with pytest.warns(UserWarning, match="skipped"):
        made = import_traces(rows, tiny, max_bad=1)
    found = made.summary
    assert (found.rows, found.traces, found.skipped, found.empty) == (4, 4, 1, 0)
    assert (found.with_thought, found.without_thought) == (3, 1)
    assert (found.stopped, found.truncated, found.unknown) == (1, 1, 2)
    assert found.prompt_tokens == sum(len(trace.prompt_ids) for trace in made)
    assert found.output_tokens == sum(len(trace.output_ids) for trace in made)
    assert "4 rows, 4 traces: 3 with a thought, 1 without" in str(found)
    with pytest.raises(AttributeError):
        found.rows = 5


def test_an_own_file_has_a_summary_too(tiny, tmp_path):
    rows = [dict(problem=QUESTION, response=ANSWER, finish_reason="stop"), dict(problem=QUESTION, response="7")]
    made = import_traces(rows, tiny)
    made.save(tmp_path / "own.parquet")
    again = import_traces(tmp_path / "own.parquet", tiny)
    assert again == made and again.summary == made.summary and again.summary.with_thought == 1


def test_thoughts_among_token_ids_are_counted(tiny):
    def ids(text):
        return list(tiny.tokenizer(text, add_special_tokens=False)["input_ids"])

    rows = [
        dict(prompt_ids=ids("<bos><user>x<assistant>"), output_ids=ids(text))
        for text in (ANSWER, "<think>3", "7", "<think></think>7", "</think>7")
    ]
    summary = import_traces(rows, tiny).summary
    assert (summary.with_thought, summary.without_thought) == (2, 3)


# --- token ids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["prompt_ids", "output_ids", "input_ids"])
@pytest.mark.parametrize(
    "token", ["5", None, -1, 1024, 2**31, 2**40, -(2**63), 10**30, 1.0, 1.5, True, [1], {"a": 1}, float("nan")], ids=str
)
def test_token_ids_that_are_none(tiny, field, token):
    ids = [1, token, 3]
    row = (
        dict(input_ids=ids, num_prompt_tokens=1)
        if field == "input_ids"
        else dict(prompt_ids=[1], output_ids=[2]) | {field: ids}
    )
    with pytest.raises(DataError) as error:
        import_traces([row], tiny)
    message = str(error.value)
    assert message.startswith(f"row 1: {field}[1]") and "from 0 to 1,023" in message
    assert str(token) in message or repr(token) in message


def test_ids_that_only_the_embeddings_know_are_another_tokenizer_s(make_tiny):
    """Embeddings are padded; the ids of a sibling with more tokens would pass as ids that mean nothing."""
    padded = make_tiny(vocab_size=1100)
    with pytest.raises(DataError, match="token id 1050, but .* has 1,024 tokens"):
        import_traces([dict(prompt_ids=[1], output_ids=[1050])], padded)


def test_an_own_file_with_ids_that_the_model_lacks(tiny, tmp_path):
    rows = (Trace("a", 0, (1, 2), (3, 70_000), "length", ""),)
    Traces(rows, "m", "f", rv.models.tokenizer_fingerprint(tiny.tokenizer)).save(tmp_path / "own.parquet")
    with pytest.raises(DataError, match="row 1, holds token 70000"):
        import_traces(tmp_path / "own.parquet", tiny)


# --- any rows ----------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    (
        "prompt problem messages conversations response completion output generations choices message content role type text thinking "
        "reasoning reasoning_details system finish_reason prompt_ids output_ids input_ids num_prompt_tokens parts history channel info"
    ).split()
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from(["user", "assistant", "system", "analysis", "thinking", "text", "<think>a</think>b", "stop"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@settings(max_examples=300)
def test_any_row_is_a_trace_or_a_data_error(tiny, row):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = import_traces([row], tiny)
        except DataError as error:
            assert "row 1" in str(error) and str(error).isprintable()
        else:
            assert all(0 <= token < 1024 for trace in made for token in (*trace.prompt_ids, *trace.output_ids))


@pytest.mark.parametrize(
    "row",
    [
        dict(problem=QUESTION, response="\ud800"),
        dict(messages=[CHAT[0], {**CHAT[1], "reasoning": "\ud800"}]),
        dict(problem=QUESTION, response={"status": "completed", "output": ["a", {"type": "message"}]}),
        dict(problem=QUESTION, response={"choices": ["x"]}),
    ],
)
def test_rows_that_broke_an_import(tiny, row):
    with pytest.raises(DataError, match="row 1: "):
        import_traces([row], tiny)


def test_rows_that_are_nested_too_deeply(tiny):
    deep = "a"
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(DataError, match="row 1: .*nested too deeply"):
        import_traces([dict(problem=QUESTION, response="7", reasoning=deep)], tiny)


# --- what is no text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["messages", "conversations", "prompt"])
def test_a_chat_as_python_prints_it_says_what_it_is(tiny, name):
    import numpy as np

    for printed in (repr(CHAT), repr(np.array(CHAT)), str(np.array(CHAT)), f" {CHAT}\n"):
        for beside in (dict(), dict(response=ANSWER)) if name == "prompt" else (dict(),):
            with pytest.raises(DataError, match=f"row 1: {name} holds a chat as Python prints it .*JSON"):
                import_traces([{name: printed} | beside], tiny)
    for text in (json.dumps(CHAT), json.dumps(CHAT, indent=1), f" [ {json.dumps(CHAT)[1:]}"):
        (trace,) = import_traces([{name: text}], tiny)
        assert decoded(tiny, trace) == (f"<bos><user>{QUESTION}<assistant>", ANSWER + "<eos>")
    with pytest.raises(DataError, match="row 1: response holds a chat as Python prints it"):
        import_traces([dict(problem=QUESTION, response=repr(CHAT[1:]))], tiny)
    (trace,) = import_traces([dict(messages=repr(CHAT), problem=QUESTION, generations=[ANSWER])], tiny)
    assert decoded(tiny, trace)[1] == ANSWER, "a column that is not read may hold what it likes"


def test_bytes_are_utf_8_or_refused_by_name(tiny, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = dict(prompt="√4?".encode(), response="<think>√</think>2".encode(), picture=b"\xff\xd8")
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    turns = [dict(role="user", content="√4?".encode()), dict(role="assistant", content="<think>√</think>2".encode())]
    plain = import_traces([dict(prompt="√4?", response="<think>√</think>2")], tiny)[0]
    for source in ([row], tmp_path / "rows.parquet", [dict(messages=turns, finish_reason=None)]):
        (trace,) = import_traces(source, tiny)
        assert (trace.prompt_ids, trace.output_ids, trace.content_hash) == (
            plain.prompt_ids,
            plain.output_ids,
            plain.content_hash,
        )
    for name in ("prompt", "response"):
        with pytest.raises(DataError, match=f"row 1: {name} holds bytes that are no UTF-8"):
            import_traces([row | {name: b"\xff\xfe7"}], tiny)


def test_nan_is_refused_by_name(tiny):
    row = dict(prompt=QUESTION, response=ANSWER)
    for name in row:
        with pytest.raises(DataError, match=f"row 1: {name} is NaN"):
            import_traces([row | {name: float("nan")}], tiny)
    with pytest.raises(DataError, match=r"row 1: generations\[1\] is NaN"):
        import_traces([dict(problem=QUESTION, generations=[ANSWER, float("nan")])], tiny)
    (trace,) = import_traces([row | dict(prompt=float("nan"), problem=QUESTION)], tiny)
    assert decoded(tiny, trace)[0] == f"<bos><user>{QUESTION}<assistant>"
