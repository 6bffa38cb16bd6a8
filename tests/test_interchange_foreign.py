"""Rows as other tools leave them: switches for thoughts, JSON as text, repeated prompts, ends and reasons in other places."""

import json

import pytest

from racviz.exceptions import DataError
from racviz.interchange import import_traces
from racviz.problems import Problem

QUESTION, WHOLE = "What is 3 + 4?", "<think>3+4</think>7"
USER, ASSISTANT = {"role": "user", "content": QUESTION}, {"role": "assistant", "content": WHOLE}
REPLY = {
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "7", "reasoning_content": "3+4"}, "finish_reason": "stop"}
    ]
}
PROMPT = f"<bos><user>{QUESTION}<assistant>"


@pytest.fixture
def outputs(tiny):
    def of(row, **how):
        made = import_traces([row], tiny, **how)
        assert {tiny.tokenizer.decode(t.prompt_ids) for t in made} == {PROMPT}
        return [(tiny.tokenizer.decode(t.output_ids), t.finish_reason) for t in made]

    return of


def ids(tiny, text):
    return tiny.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", ["off", "on", "N/A", "null", "nan", "-", "None", "high"])
@pytest.mark.parametrize("name", ["reasoning", "cot", "thinking"])
def test_switches_and_placeholders_are_no_thoughts(outputs, name, value):
    assert outputs({"problem": QUESTION, "response": "7", name: value}) == [("7", "unknown")]
    assert outputs({"problem": QUESTION, "response": WHOLE, name: value}) == [(WHOLE, "unknown")]


@pytest.mark.parametrize(
    ("row", "made"),
    [
        ({"generations": json.dumps([WHOLE, "<think>b</think>8"])}, [(WHOLE, "unknown"), ("<think>b</think>8", "unknown")]),
        ({"response": json.dumps(REPLY)}, [(WHOLE + "<eos>", "stop")]),
        ({"completion": json.dumps([ASSISTANT])}, [(WHOLE + "<eos>", "stop")]),
        ({"response": '{"answer": 7}'}, [('{"answer": 7}', "unknown")]),
        ({"response": "[1, 2]"}, [("[1, 2]", "unknown")]),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_json_as_text_is_read_where_it_holds_answers(outputs, row, made):
    assert outputs({"problem": QUESTION, **row}) == made


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"generations": repr([WHOLE, "8"])}, "generations holds .* as Python prints a value"),
        ({"response": "ChatCompletion(id='c', choices=[Choice(finish_reason='stop')])"}, "response holds .* as Python prints a value"),
        ({"response": "analysis3+4 is sevenassistantfinal7"}, "channels analysis and final without their control tokens"),
        ({"response": "7", "parsed_reasoning": "3+4 is seven"}, "parsed_reasoning may be the thought"),
        ({"messages": [USER, ASSISTANT], "tools": [{"type": "function"}]}, "tools holds descriptions"),
        ({"messages": [USER, {"role": "assistant", "content": "gold"}], "response": WHOLE}, "messages ends in an answer, and response"),
        ({"messages": [USER, {"role": "assistant", "content": "7", "reasoning": "**Adding**",
          "reasoning_details": [{"type": "reasoning.summary", "summary": "**Adding**"}]}]}, "reasoning holds only a summary"),
        ({"response": WHOLE, "context": "It opened in 1999."}, "context holds a text that problem does not"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_named(outputs, row, named):
    with pytest.raises(DataError, match=named):
        outputs({"problem": QUESTION, **row} if "messages" not in row else row)


@pytest.mark.parametrize(
    "prompt", ["<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", "<｜User｜>{}<｜Assistant｜><think>\n"]
)
def test_a_prompt_of_another_template_is_refused(outputs, prompt):
    with pytest.raises(DataError, match="rendered by another model's chat template"):
        outputs({"prompt": prompt.format(QUESTION), "response": WHOLE})


@pytest.mark.parametrize(
    "row",
    [{"prompt": QUESTION, "generated_text": f"{QUESTION}\n{WHOLE}"}, {"prompt": PROMPT, "generated_text": PROMPT + WHOLE},
     {"prompt": PROMPT, "response": PROMPT + WHOLE}],
)  # fmt: skip
def test_a_repeated_prompt_is_no_answer(outputs, row):
    assert outputs(row) == [(WHOLE, "unknown")]


def test_ids_that_repeat_the_prompt_are_refused_and_padding_is_cut(tiny, outputs):
    prompt, output = ids(tiny, PROMPT), ids(tiny, WHOLE)
    with pytest.raises(DataError, match="output_ids begin with prompt_ids"):
        outputs({"prompt_ids": prompt, "output_ids": prompt + output})
    end, pad = tiny.tokenizer.eos_token_id, tiny.tokenizer.pad_token_id
    assert outputs({"prompt_ids": prompt, "output_ids": [*output, end, end, pad, pad]}) == [(WHOLE + "<eos>", "stop")]


@pytest.mark.parametrize(
    "where",
    [{"metadata": {"finish_reason": "length"}}, {"generation_info": {"finish_reason": "length"}}, {"truncated": True},
     {"response_metadata": {"finish_reason": "length"}}, {"meta_info": {"finish_reason": {"type": "length", "length": 4096}}},
     {"finish_reason": {"type": "length", "length": 9}}, {"is_truncated": True}],
)  # fmt: skip
def test_a_cut_is_known_wherever_it_is_said(outputs, where):
    assert outputs({"messages": [USER, ASSISTANT], **where}) == [(WHOLE, "length")]
    assert outputs({"messages": [USER, ASSISTANT | where]}) == [(WHOLE, "length")]


@pytest.mark.parametrize("end", ["<|im_end|>", "<｜end▁of▁sentence｜>", "<|eot_id|>", "<|endoftext|>", "</s>", "<|end|>"])
def test_end_tokens_of_other_tokenizers_end_an_answer(outputs, end):
    assert outputs({"problem": QUESTION, "response": WHOLE + end}) == [(WHOLE + "<eos>", "stop")]


def test_neighbours_of_an_answer(outputs, tiny):
    begun = [USER, {"role": "assistant", "content": "<think>\n"}]
    assert outputs({"prompt": begun, "response": "3+4</think>7"}) == [("<think>\n3+4</think>7", "unknown")]
    row = {"problem": QUESTION, "deepseek_reasoning": "3+4", "deepseek_solution": "It is 7.", "answer": "7"}
    assert outputs(row) == [("<think>3+4</think>It is 7.", "unknown")]
    made = import_traces([{"prompt": "Which is larger, 3 or 7", "completion": "7"}], tiny, columns={"thought": ""})
    assert tiny.tokenizer.decode(made[0].prompt_ids) == "<bos><user>Which is larger, 3 or 7<assistant>", (
        "the question keeps its end"
    )
    columns = {"from": ["human", "gpt"], "value": [QUESTION, WHOLE]}
    assert outputs({"conversations": columns}) == [(WHOLE + "<eos>", "stop")]
    samples = {"doc": {"question": QUESTION}, "target": "7", "resps": [[WHOLE]]}
    assert outputs(samples, columns={"prompt": "doc.question", "response": "resps"}) == [(WHOLE, "unknown")]


def test_the_problem_is_the_one_in_its_column(tiny):
    longer = {"role": "user", "content": f"{QUESTION}\nLet's think step by step."}
    made = import_traces([{"problem": QUESTION, "messages": [longer, ASSISTANT]}], tiny)
    assert made[0].content_hash == Problem("", QUESTION).content_hash


def test_tokens_bound_an_import_of_any_file(tiny, tmp_path):
    made = import_traces([{"problem": QUESTION, "response": WHOLE}] * 9, tiny)
    made.save(tmp_path / "own.parquet")
    size = len(made[0].prompt_ids) + len(made[0].output_ids)
    for source in (tmp_path / "own.parquet", [{"problem": QUESTION, "response": WHOLE}] * 9):
        assert (
            len(import_traces(source, tiny, tokens=3 * size)) == 3
            and len(import_traces(source, tiny, tokens=3 * size + 1)) == 4
        )
        for wrong in (0, -1, "1000", 1.5):
            with pytest.raises(ValueError, match="tokens must be None or an integer >= 1"):
                import_traces(source, tiny, tokens=wrong)
