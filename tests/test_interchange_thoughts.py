"""Thoughts in fields of their own: joined to their answers, or refused by name."""

import copy
import json

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.exceptions import DataError
from racviz.interchange import import_traces
from racviz.interchange.thoughts import named_thought
from racviz.prompting import PLAIN, thinking_format

QUESTION, THOUGHT, ANSWER = "What is 3 + 4?", "3 + 4 = 7, easy", "7"
USER = {"role": "user", "content": QUESTION}
PROMPT, WHOLE = f"<bos><user>{QUESTION}<assistant>", f"<think>{THOUGHT}</think>{ANSWER}"
NAMES = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "thought",
    "thoughts",
    "thinking_content",
    "think_content",
    "chain_of_thought",
    "cot",
    "Complex_CoT",
    "reasoningContent",
    "reasoning_trace",
    "deepseek_reasoning",
    "long_cot",
    "thinking_trajectory",
    "thought_process",
    "think",
)


def assistant(**fields):
    return {"role": "assistant", "content": ANSWER} | fields


def decoded(tiny, trace):
    return tiny.tokenizer.decode(trace.prompt_ids), tiny.tokenizer.decode(trace.output_ids)


def rows_by_shape(thought=THOUGHT, answer=ANSWER):
    """A row of each shape in which servers, SDKs and data sets write a thought and its answer, and whether the answer ends a turn."""
    said = {"role": "assistant", "content": answer}
    asked = {"prompt": QUESTION}
    chat = [{"type": "thinking", "thinking": thought, "signature": "s"}, {"type": "text", "text": answer}]
    items = [
        {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": thought}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": answer, "annotations": []}]},
    ]
    details = [{"type": "reasoning.text", "text": thought, "index": 0}]
    reply = {"choices": [{"index": 0, "message": said | {"reasoning_content": thought}, "finish_reason": "stop"}]}
    ends = {
        **{f"message {name}": dict(messages=[USER, said | {name: thought}]) for name in NAMES},
        **{f"beside messages {name}": {"messages": [USER, said], name: thought} for name in NAMES},
        "conversations": dict(
            conversations=[{"from": "human", "value": QUESTION}, {"from": "gpt", "value": answer, "thinking": thought}]
        ),
        "openrouter": dict(messages=[USER, said | {"reasoning": thought, "reasoning_details": details}]),
        "openrouter details": dict(messages=[USER, said | {"reasoning": None, "reasoning_details": details}]),
        "litellm": dict(messages=[USER, said | {"thinking_blocks": [chat[0]]}]),
        "langchain": dict(messages=[USER, said | {"additional_kwargs": {"reasoning_content": thought}}]),
        "anthropic": dict(messages=[USER, said | {"content": chat}]),
        "anthropic response": asked | dict(role="assistant", content=chat, stop_reason="end_turn"),
        "magistral": dict(
            messages=[
                USER,
                said | {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}, chat[1]]},
            ]
        ),
        "bedrock": dict(
            messages=[USER, said | {"content": [{"reasoningContent": {"reasoningText": {"text": thought}}}, {"text": answer}]}]
        ),
        "gemini": asked
        | dict(
            candidates=[{"content": {"parts": [{"text": thought, "thought": True}, {"text": answer}]}, "finishReason": "STOP"}]
        ),
        "channels": dict(
            messages=[USER, dict(role="assistant", channel="analysis", content=thought), said | {"channel": "final"}]
        ),
        "role": dict(messages=[USER, dict(role="reasoning", content=thought), said]),
        "responses": asked | dict(output=items),
        "responses object": asked | dict(response={"status": "completed", "output": items}),
        "choices": asked | reply,
        "choices after a chat": dict(messages=[USER]) | reply,
        "batch": dict(messages=[USER], response={"status_code": 200, "body": reply}),
        "ollama": asked | dict(message=said | {"thinking": thought}, done_reason="stop"),
        "trl": dict(prompt=[USER], completion=[said | {"reasoning_content": thought}]),
        "json in text": dict(messages=json.dumps([USER, said | {"reasoning_content": thought}])),
        "openthoughts": dict(
            conversations=[
                {"from": "user", "value": QUESTION},
                {
                    "from": "assistant",
                    "value": f"<|begin_of_thought|>{thought}<|end_of_thought|><|begin_of_solution|>{answer}<|end_of_solution|>",
                },
            ]
        ),
    }
    open_ended = {
        **{f"beside a response {name}": {"problem": QUESTION, "response": answer, name: thought} for name in NAMES},
        "medical": dict(Question=QUESTION, Complex_CoT=thought, Response=answer),
        "s1K": dict(question=QUESTION, solution="seven", cot=None, thinking_trajectories=[thought], attempt=answer),
        "s1K-1.1": dict(
            question=QUESTION, solution="seven", cot=None, deepseek_thinking_trajectory=thought, deepseek_attempt=answer
        ),
        "AM": dict(problem=QUESTION, think_content=thought, answer_content=answer),
        "OpenThoughts": dict(
            problem=QUESTION, deepseek_reasoning=thought, deepseek_solution=answer, ground_truth_solution="seven"
        ),
        "answer": dict(question=QUESTION, reasoning=thought, answer=answer),
        "generations": dict(problem=QUESTION, generations=[answer], reasoning=[thought]),
        "plain": dict(problem=QUESTION, response=f"<think>{thought}</think>{answer}"),
        "harmony": dict(
            problem=QUESTION,
            response=f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>",
        ),
        "magistral markers": dict(problem=QUESTION, response=f"[THINK]{thought}[/THINK]{answer}"),
    }
    return {name: (row, True) for name, row in ends.items()} | {name: (row, False) for name, row in open_ended.items()}


@pytest.mark.parametrize("shape", rows_by_shape())
def test_a_thought_is_joined_to_its_answer(tiny, shape):
    row, ends = rows_by_shape()[shape]
    made = import_traces([row], tiny)
    assert [decoded(tiny, trace) for trace in made] == [(PROMPT, WHOLE + "<eos>" * ends)]
    assert made[0].finish_reason == ("stop" if ends else "unknown")
    assert (made.summary.with_thought, made.summary.without_thought) == (1, 0)


TEXT = st.text(st.sampled_from("abc 0123+=\n\té√"), min_size=1, max_size=12).filter(lambda text: text.strip())


@given(TEXT, TEXT, st.sampled_from(sorted(rows_by_shape())))
def test_every_shape_gives_the_token_ids_of_the_plain_text(tiny, thought, answer, shape):
    (plain,) = import_traces([dict(problem=QUESTION, response=f"<think>{thought}</think>{answer}")], tiny)
    row, ends = rows_by_shape(thought, answer)[shape]
    (trace,) = import_traces([row], tiny)
    assert trace.output_ids == plain.output_ids + (tiny.tokenizer.eos_token_id,) * ends
    assert trace.prompt_ids == plain.prompt_ids and trace.content_hash == plain.content_hash


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "folder"])
@pytest.mark.parametrize(
    "shape", ["message reasoning_content", "beside a response thinking", "beside messages cot", "choices", "anthropic"]
)
def test_a_thought_is_joined_in_files_of_every_kind(tiny, tmp_path, form, shape):
    row, ends = rows_by_shape()[shape]
    path = tmp_path / f"rows.{form}"
    if form == "jsonl":
        path.write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    elif form == "json":
        path.write_text(json.dumps([row, row], indent=1))
    else:
        datasets = pytest.importorskip("datasets")
        if shape == "anthropic":  # a column of Arrow holds either texts or blocks
            row["messages"][0] = {"role": "user", "content": [{"type": "text", "text": QUESTION}]}
        if form == "parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row, row]), path)
        else:
            datasets.Dataset.from_list([row, row]).save_to_disk(str(path))
    made = import_traces(path, tiny)
    assert [decoded(tiny, trace) for trace in made] == [(PROMPT, WHOLE + "<eos>" * ends)] * 2


def test_pandas_arrays_inside_rows(tiny, tmp_path):
    import numpy as np
    import pandas as pd

    turns = np.array(
        [USER, assistant(content=np.array([{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": ANSWER}]))]
    )
    frame = pd.DataFrame({"messages": [turns]})
    assert decoded(tiny, import_traces(frame, tiny)[0]) == (PROMPT, WHOLE + "<eos>")
    frame = pd.DataFrame([dict(problem=QUESTION, response=WHOLE, reasoning=float("nan"))])
    assert decoded(tiny, import_traces(frame, tiny)[0]) == (PROMPT, WHOLE)


REFUSED = {
    "a number": ("reasoning_content", dict(messages=[USER, assistant(reasoning_content=3)])),
    "a flag": ("thinking", dict(messages=[USER, assistant()], thinking=True)),
    "settings": ("reasoning", dict(messages=[USER, assistant()], reasoning={"effort": "high"})),
    "encrypted": (
        "reasoning_details",
        dict(messages=[USER, assistant(reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}])]),
    ),
    "redacted": (
        "redacted_thinking",
        dict(messages=[USER, assistant(content=[{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "7"}])]),
    ),
    "summary": (
        "summary",
        dict(
            prompt=QUESTION,
            output=[
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "7"}]},
            ],
        ),
    ),
    "steps": ("thoughts", dict(problem=QUESTION, response="7", thoughts=["a", "b"])),
    "one for several": ("reasoning", dict(problem=QUESTION, generations=["7", "8"], reasoning="a")),
    "two that differ": ("reasoning and thinking", dict(messages=[USER, assistant(reasoning="a", thinking="b")])),
    "another in the text": (
        "reasoning_content",
        dict(messages=[USER, assistant(content="<think>a</think>7", reasoning_content="b")]),
    ),
    "an unclear name": ("rationale", dict(problem=QUESTION, response="7", rationale="a")),
    "an unknown name": ("reasoning_foo", dict(problem=QUESTION, response="7", reasoning_foo="a")),
    "a marker inside": ("reasoning_content", dict(messages=[USER, assistant(reasoning_content="a</think>b")])),
    "beside ids": ("reasoning_content", dict(prompt_ids=[5], output_ids=[40], reasoning_content="a")),
    "interleaved": (
        "content",
        dict(messages=[USER, assistant(content=[{"type": "text", "text": "7"}, {"type": "thinking", "thinking": "a"}])]),
    ),
    "a tool": (
        "tool_calls",
        dict(messages=[USER, dict(role="assistant", content=None, tool_calls=[{"id": "1"}], reasoning="a")]),
    ),
    "an image": ("image_url", dict(messages=[USER, assistant(content=[{"type": "image_url"}, {"type": "text", "text": "7"}])])),
    "a commentary": (
        "commentary",
        dict(messages=[USER, dict(role="assistant", channel="commentary", content="a"), assistant()]),
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_thought_that_cannot_be_joined_is_refused_by_name(tiny, kind):
    name, row = REFUSED[kind]
    with pytest.raises(DataError, match=f"row 1: .*{name}"):
        import_traces([row], tiny)


def test_a_model_without_markers_refuses_thoughts_in_fields(tiny):
    plain = copy.copy(tiny)
    plain.thinking = PLAIN
    with pytest.raises(DataError, match="row 1: reasoning_content holds a thought, but 'random' has no markers"):
        import_traces([dict(messages=[USER, assistant(reasoning_content=THOUGHT)])], plain)
    assert decoded(tiny, import_traces([dict(messages=[USER, assistant()])], plain)[0])[1] == "7<eos>"


@pytest.mark.parametrize("nothing", [None, "", "  \n", [], {}, False, float("nan"), [None]])
def test_an_empty_field_is_no_thought_and_an_import_without_one_warns(tiny, nothing):
    with pytest.warns(UserWarning, match="none of its 2 traces holds a thought"):
        made = import_traces(
            [dict(messages=[USER, assistant(reasoning_content=nothing)]), dict(problem=QUESTION, response="7", cot=nothing)],
            tiny,
        )
    assert [decoded(tiny, trace)[1] for trace in made] == ["7<eos>", "7"] and made.summary.without_thought == 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("reasoning_tokens", False),
        ("reasoning_effort", False),
        ("is_reasoning_complete", False),
        ("thinking_budget", False),
        ("enable_thinking", False),
        ("reason", False),
        ("reasoning_category", False),
        ("thought_signature", False),
        ("response", False),
        ("finish_reason", False),
        ("rethinking", False),
        ("analysis", None),
        ("solution_reasoning", None),
        ("gemini_thinking_trajectory", True),
    ],
)
def test_names_are_read_word_by_word(name, kind):
    assert named_thought(name) is kind


def test_the_thought_of_a_field_is_not_doubled(tiny):
    for content, output in [
        (WHOLE, WHOLE),
        (f"<think>\n{THOUGHT}\n</think>\n\n7", f"<think>\n{THOUGHT}\n</think>\n\n7"),
        (f"{THOUGHT}</think>7", WHOLE),
        ("<think>\n\n</think>7", WHOLE),
        ("<think></think>7", WHOLE),
    ]:
        (trace,) = import_traces([dict(messages=[USER, assistant(content=content, reasoning_content=THOUGHT)])], tiny)
        assert decoded(tiny, trace)[1] == output + "<eos>"
    (trace,) = import_traces([dict(messages=[USER, assistant(content=f"<think>{THOUGHT}", reasoning_content=THOUGHT)])], tiny)
    assert decoded(tiny, trace)[1] == f"<think>{THOUGHT}" and trace.finish_reason == "unknown"
    (trace,) = import_traces([dict(messages=[USER, assistant(reasoning_content=f"<think>\n{THOUGHT}</think>")])], tiny)
    assert decoded(tiny, trace)[1] == f"<think>\n{THOUGHT}</think>7<eos>"


def test_a_column_of_thoughts_is_named_or_ignored(tiny, tmp_path):
    row = dict(problem=QUESTION, response="7", musing=THOUGHT, reasoning="other")
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    assert decoded(tiny, import_traces(f"{path}?thought=musing", tiny)[0])[1] == WHOLE
    with pytest.warns(UserWarning, match="holds a thought"):
        assert decoded(tiny, import_traces(f"{path}?thought=", tiny)[0])[1] == "7"
    with pytest.raises(DataError, match="no column 'absent'"):
        import_traces(f"{path}?thought=absent", tiny)
    both = dict(
        question=QUESTION,
        deepseek_thinking_trajectory="a",
        deepseek_attempt="7",
        gemini_thinking_trajectory="b",
        gemini_attempt="8",
    )
    (trace,) = import_traces([both], tiny, columns={"response": "gemini_attempt"})
    assert decoded(tiny, trace)[1] == "<think>b</think>8"


# --- without its end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "finish", "output"),
    [
        (dict(messages=[USER, assistant(content="<think>hmm")]), "unknown", "<think>hmm"),
        (
            dict(conversations=[{"from": "human", "value": QUESTION}, {"from": "gpt", "value": "<think>hmm"}]),
            "unknown",
            "<think>hmm",
        ),
        (dict(prompt=[USER, assistant(content="<think>hmm")]), "unknown", "<think>hmm"),
        (dict(problem=QUESTION, response="<think>hmm"), "unknown", "<think>hmm"),
        (dict(problem=QUESTION, generations=["<think>hmm"]), "unknown", "<think>hmm"),
        (dict(messages=[USER, dict(role="assistant", content=None, reasoning_content="hmm")]), "unknown", "<think>hmm"),
        (dict(messages=[USER, dict(role="assistant", content="\n", reasoning_content="hmm")]), "unknown", "<think>hmm"),
        (dict(messages=[USER, dict(role="assistant", reasoning="hmm")]), "unknown", "<think>hmm"),
        (dict(messages=[USER, dict(role="assistant", channel="analysis", content="hmm")]), "unknown", "<think>hmm"),
        (dict(problem=QUESTION, response=None, reasoning="hmm"), "unknown", "<think>hmm"),
        (dict(problem=QUESTION, response="", reasoning="hmm"), "unknown", "<think>hmm"),
        (dict(messages=[USER, assistant(content="<|begin_of_thought|>hmm")]), "unknown", "<think>hmm"),
        (dict(messages=[USER, assistant(content="<think>hmm")], finish_reason="stop"), "unknown", "<think>hmm"),
        (dict(problem=QUESTION, response="<think>hmm", finish_reason="stop"), "unknown", "<think>hmm"),
        (dict(problem=QUESTION, response="<think>hmm<eos>"), "unknown", "<think>hmm"),
        (dict(problem=QUESTION, generations=["<think>hmm"], finish_reasons=["stop"]), "unknown", "<think>hmm"),
        (dict(messages=[USER, assistant(content="", reasoning_content="hmm")], finish_reason="stop"), "unknown", "<think>hmm"),
        (
            dict(
                prompt=QUESTION,
                choices=[{"message": dict(role="assistant", content="", reasoning="hmm"), "finish_reason": "stop"}],
            ),
            "unknown",
            "<think>hmm",
        ),
        (dict(messages=[USER, assistant(content="<think>hmm")], finish_reason="length"), "length", "<think>hmm"),
        (
            dict(
                messages=[USER],
                choices=[{"message": dict(role="assistant", content=None, reasoning="hmm"), "finish_reason": "length"}],
            ),
            "length",
            "<think>hmm",
        ),
        (
            dict(prompt=QUESTION, content=[{"type": "thinking", "thinking": "hmm"}], stop_reason="max_tokens"),
            "length",
            "<think>hmm",
        ),
        (
            dict(prompt=QUESTION, message=dict(role="assistant", content="", thinking="hmm"), done_reason="length"),
            "length",
            "<think>hmm",
        ),
    ],
)
def test_a_thought_without_its_end_does_not_end(tiny, row, finish, output):
    made = import_traces([row], tiny)
    assert decoded(tiny, made[0]) == (PROMPT, output) and made[0].finish_reason == finish
    assert made.summary.with_thought == 1


def test_a_cut_off_thought_of_a_model_without_markers(tiny):
    plain = copy.copy(tiny)
    plain.thinking = PLAIN
    (trace,) = import_traces([dict(messages=[USER, assistant(content="<think>hmm")])], plain)
    assert trace.finish_reason == "unknown" and decoded(tiny, trace)[1] == "<think>hmm"


# --- other templates ---------------------------------------------------------------------------------------------------


def with_template(tiny, template, name="auto"):
    made = copy.copy(tiny)
    made.tokenizer = copy.deepcopy(tiny.tokenizer)
    made.tokenizer.chat_template = template
    made.thinking = thinking_format(made.tokenizer, name)
    return made


TURNS = "{{- bos_token -}}{%- for m in messages -%}{%- if m.role == 'user' -%}{{- '<user>' + m.content -}}"
OPENED = TURNS + (
    "{%- else -%}{{- '<assistant>' + m.content.split('</think>')[-1] + eos_token -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<assistant><think>\\n' -}}{%- endif -%}"
)
SPACED = TURNS + (
    "{%- else -%}{{- '<assistant>' -}}{%- if m.reasoning_content -%}"
    "{{- '<think>\\n' + m.reasoning_content.strip('\\n') + '\\n</think>\\n\\n' -}}{%- endif -%}{{- m.content + eos_token -}}"
    "{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<assistant>' -}}{%- endif -%}"
)


def test_a_thought_that_the_template_opens_is_not_opened_again(tiny):
    opened = with_template(tiny, OPENED)
    assert opened.thinking.opened
    (trace,) = import_traces([dict(messages=[USER, assistant(reasoning_content=THOUGHT)])], opened)
    assert "".join(decoded(tiny, trace)) == f"<bos><user>{QUESTION}<assistant><think>\n{THOUGHT}</think>7<eos>"
    (trace,) = import_traces([dict(messages=[USER, assistant(content="hmm let me")])], opened)
    assert trace.finish_reason == "unknown" and decoded(tiny, trace)[1] == "hmm let me", (
        "the prompt opened a thought that never ended"
    )
    (trace,) = import_traces([dict(prompt=PROMPT, response=WHOLE)], opened)
    assert decoded(tiny, trace) == (PROMPT, WHOLE), "this prompt leaves it to the model"


def test_white_space_around_a_thought_is_the_template_s(tiny):
    spaced = with_template(tiny, SPACED, "think")
    for thought, answer in [(THOUGHT, "7"), (f"\n{THOUGHT}\n", "\n\n7")]:
        (trace,) = import_traces([dict(messages=[USER, assistant(content=answer, reasoning=thought)])], spaced)
        assert decoded(tiny, trace)[1] == f"<think>\n{THOUGHT}\n</think>\n\n7<eos>"


# --- turns in a row, earlier turns -------------------------------------------------------------------------------------

SPELT = [dict(content=None, reasoning_content="h"), dict(content="<think>h</think>"), dict(content="", reasoning="h")]


@pytest.mark.parametrize("first", SPELT)
def test_a_thought_in_a_turn_of_its_own_is_joined_to_the_next(tiny, first):
    for row in (
        dict(messages=[USER, assistant(**first), assistant()]),
        dict(prompt=QUESTION, completion=[assistant(**first), assistant()]),
    ):
        (trace,) = import_traces([row], tiny)
        assert decoded(tiny, trace) == (PROMPT, "<think>h</think>7<eos>") and trace.finish_reason == "stop"


@pytest.mark.parametrize(
    "first", [dict(content="6"), dict(content="<think>h</think>6"), dict(content="<think>h"), dict(content="")]
)
def test_two_answers_in_a_row_are_refused_by_name(tiny, first):
    chat = [USER, assistant(**first), assistant()]
    for messages in (chat, [*chat, USER, assistant()], [*chat[:2], dict(role="reasoning", content="h")]):
        with pytest.raises(DataError, match=r"row 1: messages\[1\] and the turn after it"):
            import_traces([dict(messages=messages)], tiny)
    with pytest.raises(DataError, match=r"messages\[1\] .*reasoning.* hold different thoughts"):
        import_traces([dict(messages=[USER, assistant(content=None, cot="h"), assistant(reasoning="g")])], tiny)


@pytest.mark.parametrize(
    "earlier",
    [
        [assistant(content="<think>a</think>7")],
        [assistant(reasoning_content="a")],
        [assistant(content=[{"type": "thinking", "thinking": "a"}, {"type": "text", "text": "7"}])],
        [dict(role="assistant", channel="analysis", content="a"), assistant(channel="final")],
        [assistant(content=None, reasoning="a"), assistant()],
    ],
)
def test_an_earlier_thought_is_treated_alike_in_every_spelling(tiny, earlier):
    row = dict(messages=[USER, *earlier, dict(role="user", content="+ 1?"), assistant(content="8", reasoning_content="b")])
    (trace,) = import_traces([row], tiny)
    assert decoded(tiny, trace) == (
        f"<bos><user>{QUESTION}<assistant><think>a</think>7<eos><user>+ 1?<assistant>",
        "<think>b</think>8<eos>",
    )
    (trace,) = import_traces([row], with_template(tiny, OPENED))
    assert decoded(tiny, trace)[0] == f"<bos><user>{QUESTION}<assistant>7<eos><user>+ 1?<assistant><think>\n"


def test_an_earlier_thought_that_cannot_be_joined_is_refused_by_name(tiny):
    plain = copy.copy(tiny)
    plain.thinking = PLAIN
    row = dict(messages=[USER, assistant(reasoning_content="a"), USER, assistant(content="8")])
    with pytest.raises(DataError, match="reasoning_content holds a thought, but 'random' has no markers"):
        import_traces([row], plain)


# --- calls of tools, refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["tool_calls", "function_call"])
@pytest.mark.parametrize("beside", [dict(), dict(content=None), dict(content=None, reasoning_content="h"), dict(reasoning="h")])
def test_a_call_of_a_tool_is_refused_whatever_stands_beside_it(tiny, key, beside):
    call = assistant(**beside) | {key: [{"id": "1"}] if key == "tool_calls" else {"name": "f"}}
    for messages in ([USER, call], [USER, call, USER, assistant()]):
        with pytest.raises(DataError, match=rf"messages\[1\] calls a tool \({key}\)"):
            import_traces([dict(messages=messages)], tiny)
    for nothing in (None, [], {}):
        assert decoded(tiny, import_traces([dict(messages=[USER, assistant(**{key: nothing})])], tiny)[0])[1] == "7<eos>"


@pytest.mark.parametrize("beside", [dict(), dict(content=None), dict(content=None, reasoning_content="h")])
def test_a_refusal_is_not_dropped(tiny, beside):
    with pytest.raises(DataError, match=r"messages\[1\] holds a refusal"):
        import_traces([dict(messages=[USER, assistant(refusal="no", **beside)])], tiny)
    assert decoded(tiny, import_traces([dict(messages=[USER, assistant(refusal=None)])], tiny)[0])[1] == "7<eos>"


# --- efforts, end tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["high", "low", "medium", "minimal", "none", "High"])
@pytest.mark.parametrize("name", ["reasoning", "thinking"])
def test_a_level_of_effort_is_no_thought(tiny, level, name):
    for row, output in [
        (dict(messages=[USER, assistant(**{name: level})]), "7<eos>"),
        ({"messages": [USER, assistant()], name: level}, "7<eos>"),
        ({"problem": QUESTION, "response": "7", name: level}, "7"),
        ({"messages": [USER, assistant(reasoning_content=THOUGHT)], name: level}, WHOLE + "<eos>"),
        ({"prompt_ids": [5], "output_ids": [40], "problem": QUESTION, name: level}, tiny.tokenizer.decode([40])),
    ]:
        assert decoded(tiny, import_traces([row], tiny)[0])[1] == output
    (trace,) = import_traces([dict(messages=[USER, assistant(reasoning_content=f"{level} it is")])], tiny)
    assert decoded(tiny, trace)[1] == f"<think>{level} it is</think>7<eos>"


@pytest.mark.parametrize("text", ["7", "7<eos>", "7<eos><eos>", "7<eos>\n", "7<eos> <eos>\n<eos>"])
def test_an_answer_has_one_end_token(tiny, text):
    for row in (
        dict(messages=[USER, assistant(content=text, reasoning=THOUGHT)]),
        dict(problem=QUESTION, response=f"<think>{THOUGHT}</think>{text}", finish_reason="stop"),
    ):
        (trace,) = import_traces([row], tiny)
        assert decoded(tiny, trace)[1] == WHOLE + "<eos>" and trace.finish_reason == "stop"
    (trace,) = import_traces([dict(problem=QUESTION, response=f"<think>{THOUGHT}</think>{text}")], tiny)
    ended = "<eos>" in text
    assert decoded(tiny, trace)[1] == WHOLE + "<eos>" * ended and trace.finish_reason == ("stop" if ended else "unknown")


@pytest.mark.parametrize("text", ["7<eos>junk", "7<eos>junk<eos>", "<think>a<eos>b</think>7", "7<eos><user>"])
def test_text_after_an_end_token_is_refused_by_name(tiny, text):
    for row in (dict(messages=[USER, assistant(content=text)]), dict(problem=QUESTION, response=text, finish_reason="length")):
        with pytest.raises(DataError, match="row 1: .*goes on after the end token <eos>"):
            import_traces([row], tiny)


def test_a_thought_that_the_prompt_opened_gets_no_end_token_without_its_end(tiny):
    opened = with_template(tiny, OPENED)
    for row, prompt, output, finish in [
        (dict(problem=QUESTION, response="hmm", finish_reason="stop"), f"{PROMPT}<think>\n", "hmm", "unknown"),
        (dict(prompt=PROMPT, response="7", finish_reason="stop"), PROMPT, "7<eos>", "stop"),
        (dict(prompt=f"{PROMPT}<think>\n", response="hmm", finish_reason="length"), f"{PROMPT}<think>\n", "hmm", "length"),
    ]:
        (trace,) = import_traces([row], opened)
        assert (*decoded(tiny, trace), trace.finish_reason) == (prompt, output, finish)
