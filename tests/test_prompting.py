"""Prompts as the chat template writes them, and responses split at the end of the thought."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from racviz.exceptions import ParameterError
from racviz.prompting import (
    PLAIN,
    ThinkingFormat,
    answer_text,
    detect_format,
    render_prompt,
    render_response,
    thinking_format,
    thought_length,
)

THINK = ThinkingFormat()
IN_TEXT = ThinkingFormat("[think]", "[end of thought]")
"""Markers that the tokenizer has no token for."""
ODD = "naïve ∑ 漢字 🙂‍↔️ <think>\u2028</think> \x00 <|im_end|>"


@pytest.fixture(scope="module")
def tokenizer(tiny):
    return tiny.tokenizer


@pytest.fixture(scope="module")
def bare():
    """A tokenizer without a chat template and without markers."""
    words = Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")


def ids_of(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", ["What is 12 * 3?", "What does this print?\nx = 1\nif x:\n    print(x)", ODD])
def test_a_prompt_is_the_user_s_turn_and_the_opening_of_the_assistant_s(tokenizer, text):
    ids = render_prompt(tokenizer, text)
    assert ids == ids_of(tokenizer, f"<bos><user>{text}<assistant>")
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    assert all(type(token) is int for token in ids)


def test_a_tokenizer_without_a_template_is_refused(bare):
    with pytest.raises(ParameterError, match="no chat template"):
        render_prompt(bare, "a")


def test_the_format_is_that_of_the_tokenizer(tokenizer, bare):
    assert detect_format(tokenizer) == THINK and detect_format(bare) == PLAIN


def test_a_thought_ends_with_its_first_marker(tokenizer):
    thought, answer = ids_of(tokenizer, "<think>12 + 3 = 15</think>"), ids_of(tokenizer, " 15 </think> oranges<eos>")
    assert thought_length(tokenizer, thought + answer, THINK) == (len(thought), True)
    assert answer_text(tokenizer, thought + answer, THINK).split() == ["15", "oranges"]  # the second marker is a special token


@pytest.mark.parametrize("text", ["<think>12 + 3 = ", "", "<think>"])
def test_a_thought_that_never_ends_has_no_answer(tokenizer, text):
    ids = ids_of(tokenizer, text)
    assert thought_length(tokenizer, ids, THINK) == (len(ids), False)
    assert answer_text(tokenizer, ids, THINK) is None


def test_a_thought_that_is_empty_or_all_there_is(tokenizer):
    end = ids_of(tokenizer, "</think>")
    assert thought_length(tokenizer, end, THINK) == (1, True) and answer_text(tokenizer, end, THINK) == ""
    suppressed = ids_of(tokenizer, "<think></think>42<eos>")
    assert thought_length(tokenizer, suppressed, THINK) == (2, True) and answer_text(tokenizer, suppressed, THINK) == "42"


def test_without_markers_everything_is_the_thought_and_the_answer(tokenizer):
    ids = ids_of(tokenizer, "12 + 3 = 15<eos>")
    assert thought_length(tokenizer, ids, PLAIN) == (len(ids), True)
    assert answer_text(tokenizer, ids, PLAIN) == "12 + 3 = 15"


@given(thought=st.text(max_size=30), answer=st.text(max_size=30))
def test_a_marker_that_is_no_token_is_found_in_the_text(tiny, thought, answer):
    """Its pieces may be merged with their neighbours: the thought is the shortest beginning that holds the whole marker."""
    tokenizer = tiny.tokenizer
    ids = ids_of(tokenizer, thought + IN_TEXT.end + answer)
    length, ended = thought_length(tokenizer, ids, IN_TEXT)
    assert ended
    assert IN_TEXT.end in tokenizer.decode(ids[:length]) and IN_TEXT.end not in tokenizer.decode(ids[: length - 1])
    written = tokenizer.decode(ids, skip_special_tokens=True).partition(IN_TEXT.end)[2]
    assert answer_text(tokenizer, ids, IN_TEXT) == written.strip()
    cut = ids[: length - 1]
    assert thought_length(tokenizer, cut, IN_TEXT) == (len(cut), False) and answer_text(tokenizer, cut, IN_TEXT) is None


@given(thought=st.lists(st.integers(6, 1023), max_size=30), answer=st.lists(st.integers(6, 1023), max_size=30))
def test_a_marker_that_is_a_token_is_found_by_its_id(tiny, thought, answer):
    (end,) = ids_of(tiny.tokenizer, "</think>")
    thought, answer = [t for t in thought if t != end], [t for t in answer if t != end]
    assert thought_length(tiny.tokenizer, thought + [end] + answer, THINK) == (len(thought) + 1, True)
    assert thought_length(tiny.tokenizer, thought + answer, THINK) == (len(thought + answer), False)


# --- formats by name, against templates that behave as those of the models do -----------------------------------------

TURNS = "{{- bos_token -}}{%- for m in messages -%}{%- if m.role == 'user' -%}{{- '<user>' + m.content -}}{%- else -%}"
R1 = TURNS + (  # drops the thought of a turn that is over, opens that of the next
    "{{- '<assistant>' + m.content.split('</think>')[-1] + eos_token -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<assistant><think>\\n' -}}{%- endif -%}"
)
R1_BEFORE = R1.replace("<assistant><think>\\n", "<assistant>")
QWEN3 = TURNS + (
    "{{- '<assistant>' + m.content + eos_token -}}{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<assistant>\\n' -}}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}{%- endif -%}"
)
INSTRUCT = (
    TURNS + "{{- m.content -}}{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}{{- '<assistant>' -}}{%- endif -%}"
)
OTHER = INSTRUCT.replace("'<assistant>' -}}", "'<assistant><thought>\\n' -}}")


@pytest.fixture
def with_template(tiny):
    """The embedded models' tokenizer with another template."""

    def make(template):
        own = copy.deepcopy(tiny.tokenizer)
        own.chat_template = template
        return own

    return make


@pytest.mark.parametrize(
    ("template", "name", "form"),
    [
        (R1, "auto", ThinkingFormat(opened=True)),
        (R1, "deepseek-r1", ThinkingFormat(opened=True)),
        (R1_BEFORE, "auto", ThinkingFormat()),
        (R1_BEFORE, "think", ThinkingFormat()),
        (QWEN3, "auto", ThinkingFormat(switch=(("enable_thinking", True),))),
        (QWEN3, "qwen3", ThinkingFormat(switch=(("enable_thinking", True),))),
        (QWEN3, "qwen3-off", ThinkingFormat(None, None, switch=(("enable_thinking", False),))),
        (INSTRUCT, "auto", PLAIN),
        (INSTRUCT, "think", ThinkingFormat()),
        (INSTRUCT, "plain", PLAIN),
        (OTHER, "<thought> </thought>", ThinkingFormat("<thought>", "</thought>", opened=True)),
        (INSTRUCT, "<thought> </thought>", ThinkingFormat("<thought>", "</thought>")),
    ],
)
def test_a_format_is_what_the_template_bears_out(with_template, template, name, form):
    tokenizer = with_template(template)
    assert thinking_format(tokenizer, name) == form
    rendered = render_prompt(tokenizer, "What is 12 * 3?", form)
    turn = [{"role": "user", "content": "What is 12 * 3?"}]
    own = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=False, **dict(form.switch))
    assert rendered == list(own), "T_in is what the tokenizer's own template gives"
    assert tokenizer.decode(rendered).rstrip().endswith(form.start) if form.opened else True


@pytest.mark.parametrize(
    ("template", "name", "message"),
    [
        (
            R1_BEFORE,
            "deepseek-r1",
            "does not open the thought with '<think>'.*Its prompt is '<bos><user>What is 2 . 2.<assistant>'",
        ),
        (QWEN3.replace("is false", "is true"), "qwen3", "closes the thought before it begins.*'<bos><user>.*</think>"),
        (R1, "plain", "opens the thought with '<think>'"),
        (R1, "<thought> </thought>", "opens the thought with '<think>'"),
        (INSTRUCT, "qwen3", "has no switch enable_thinking"),
        (R1_BEFORE, "qwen3-off", "has no switch enable_thinking"),
        (INSTRUCT, "magistral", r"lacks the marker '\[THINK\]'.*'plain'.*Its prompt is"),
        (INSTRUCT, "thinking", "thinking must be one of 'auto', 'think'.*not 'thinking'. Did you mean 'think'"),
        ("{{ 'a system prompt' }}", "plain", "leaves the user's text out; it renders 'a system prompt'"),
        ("{{ raise_exception('no user turns') }}", "plain", "fails for one user's turn: no user turns. It begins"),
        ("{{ unclosed", "plain", "fails for one user's turn"),
    ],
)
def test_what_the_template_does_not_bear_out_is_shown(with_template, template, name, message):
    with pytest.raises(ParameterError, match=f"(?s){message}"):
        thinking_format(with_template(template), name, "some/model")


def test_a_tokenizer_that_lacks_the_markers(bare):
    bare.chat_template = INSTRUCT
    assert thinking_format(bare) == PLAIN
    for name in ("think", "deepseek-r1", "<t> </t>"):
        with pytest.raises(ParameterError, match="lacks the marker"):
            thinking_format(bare, name)


@pytest.mark.parametrize("ended", [True, False])
def test_a_response_known_as_text_keeps_its_thought(tokenizer, ended):
    eos = [tokenizer.eos_token_id] * ended
    text = "<think>\n1 + 1 = 2</think>2"
    assert render_response(tokenizer, text, THINK, ended) == ids_of(tokenizer, text) + eos
    opened = ThinkingFormat(opened=True)
    assert render_response(tokenizer, text, opened, ended) == ids_of(tokenizer, "1 + 1 = 2</think>2") + eos
    assert render_response(tokenizer, "2" + "<eos>" * ended, PLAIN, ended) == ids_of(tokenizer, "2") + eos, "ends once"


def test_qwen3_s_switch_is_off_when_it_is_said_so(with_template):
    tokenizer = with_template(QWEN3)
    on, off = (tokenizer.decode(render_prompt(tokenizer, "x", thinking_format(tokenizer, n))) for n in ("qwen3", "qwen3-off"))
    assert on == "<bos><user>x<assistant>\n" and off == on + "<think>\n\n</think>\n\n"


def test_a_format_of_one_s_own_may_be_an_object(with_template):
    form = ThinkingFormat("<thought>", "</thought>")
    assert thinking_format(with_template(INSTRUCT), form) == form
    with pytest.raises(ParameterError, match="thinking must be a format's name.*not None"):
        thinking_format(with_template(INSTRUCT), None)


def test_a_template_that_opens_a_thought_and_never_names_its_end(with_template):
    tokenizer = with_template(INSTRUCT.replace("'<assistant>' -}}", "'<assistant><think>\\n' -}}"))
    assert thinking_format(tokenizer) == thinking_format(tokenizer, "deepseek-r1") == ThinkingFormat(opened=True)
