"""Chat templates: rendered as transformers renders them, given up where they never end, and asked for their thinking switches."""

import copy
import threading
import time

import pytest

from racviz.exceptions import ParameterError
from racviz.models import load_model
from racviz.prompting import PLAIN, ThinkingFormat, detect_format, render_prompt, switches, templates, thinking_format

TURN = "{{ bos_token }}{% for m in messages %}<user>{{ m.content }}{% endfor %}<assistant>"
ENDLESS = {
    "power": "{{ 9**(9**9) }}", "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "power of a variable": "{% set n = messages | length + 8 %}{{ n ** (n ** n) }}",
    "only for some texts": "{% if 'secret' in messages[0].content %}{{ 9 ** ((messages | length + 8) ** 9) }}{% endif %}",
}  # fmt: skip
"""Powers stand in brackets: in jinja 9**9**9 is (9**9)**9, which ends."""
LARGE = {
    "repeat": "{{ 'x' * 10**10 }}",
    "doubling": "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
}


@pytest.fixture
def with_template(tiny):
    """The embedded models' tokenizer with another template."""

    def make(template):
        own = copy.deepcopy(tiny.tokenizer)
        own.chat_template = template
        return own

    return make


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(templates, "SECONDS", 1.0)


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_that_never_ends_is_given_up(with_template, hurried, name, where):
    caught = []

    def run():
        try:
            render_prompt(with_template(TURN + ENDLESS[name]), "a secret")
        except ParameterError as error:
            caught.append(str(error))

    began = time.monotonic()
    if where == "main":
        run()
    else:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert len(caught) == 1 and "given up after 1 seconds" in caught[0] and time.monotonic() - began < 30
    assert render_prompt(with_template(TURN), "a"), "the next one is rendered"


@pytest.mark.parametrize("name", LARGE)
def test_a_template_that_needs_too_much_memory_fails(with_template, name):
    with pytest.raises(ParameterError, match="chat template fails"):
        render_prompt(with_template(TURN + LARGE[name]), "a")


def test_a_checkpoint_with_such_a_template_does_not_load(tiny_folder, tmp_path, hurried):
    import shutil

    folder = shutil.copytree(tiny_folder, tmp_path / "checkpoint")
    (folder / "chat_template.jinja").write_text(TURN + "<think></think>{{ 9**(9**9) }}")
    with pytest.raises(ParameterError, match="given up"):
        load_model(folder)


RICH = (
    "{%- for m in messages %}{% if loop.index0 > 5 %}{% break %}{% endif %}\n{{ m | tojson }}{{ m.content | trim }}\n"
    "{% generation %}{{ m.role }}{% endgeneration %}{% endfor %}\n  {% if tools is none and documents is none %}ok{% endif %}"
    "{{ bos_token }}{{ eos_token }}{% if add_generation_prompt %}go{% endif %}{{ x | default('none') }}{{ strftime_now('%Y') }}"
)


@pytest.mark.parametrize("text", ["plain", "<é>&\"'{{ 1 }}", "漢字 \ud800 \x00 \u2028", " \n spaces \n "])
@pytest.mark.parametrize("switch", [{}, {"x": True}, {"x": "low"}])
def test_it_renders_as_transformers_does(with_template, text, switch):
    tokenizer = with_template(RICH)
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": text}]
    expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **switch)
    assert templates.render(tokenizer, turns, **switch) == expected


def test_names_are_those_that_nobody_gives(with_template):
    tokenizer = with_template(
        "{% set a = 1 %}{{ a }}{{ messages }}{{ bos_token }}{{ thinking }}{% if tools %}{{ zeal }}{% endif %}"
    )
    assert templates.undeclared(tokenizer) == ["thinking", "zeal"]


def test_a_tokenizer_s_own_rendering_is_used(tiny):
    class Own(type(tiny.tokenizer)):
        def apply_chat_template(self, turns, **options):
            return f"<user>{turns[-1]['content']}<assistant>"

    own = copy.deepcopy(tiny.tokenizer)
    own.__class__ = Own
    own.chat_template = "unused"
    assert own.decode(render_prompt(own, "hi")) == "<user>hi<assistant>"


# --- switches ------------------------------------------------------------------------------------------------------------

NAMES = ("thinking", "enable_thinking", "reasoning", "enable_reasoning", "think", "use_cot")


@pytest.mark.parametrize("name", NAMES)
def test_a_switch_is_found_whatever_it_is_called(with_template, name):
    tokenizer = with_template(TURN + f"{{% if {name} %}}<think>{{% else %}}</think>{{% endif %}}")
    on = ThinkingFormat(opened=True, switch=((name, True),))
    off = ThinkingFormat(None, None, switch=((name, False),))
    assert switches(tokenizer) == ((name, True),) and detect_format(tokenizer) == on
    assert thinking_format(tokenizer, "on") == thinking_format(tokenizer, f"{name}=true") == on
    assert thinking_format(tokenizer, "off") == thinking_format(tokenizer, f"{name}=false") == off
    assert tokenizer.decode(render_prompt(tokenizer, "hi", on)) == "<bos><user>hi<assistant><think>"
    assert tokenizer.decode(render_prompt(tokenizer, "hi", off)) == "<bos><user>hi<assistant></think>"


@pytest.mark.parametrize(
    ("template", "name", "on"),
    [
        ("{% if no_think %}<think></think>{% endif %}", "no_think", False),
        ("{% if disable_reasoning is defined and disable_reasoning %}</think>{% else %}<think>{% endif %}", "disable_reasoning", False),
        ("{% if thinking is defined and thinking is false %}<think></think>{% endif %}", "thinking", True),
        ("{% set t = thinking | default(true) %}{% if t %}<think>{% else %}</think>{% endif %}", "thinking", True),
        ("{% if not enable_thinking is defined %}{% set enable_thinking = true %}{% endif %}{% if enable_thinking %}<think>{% else %}"
         "</think>{% endif %}", "enable_thinking", True),
        ("{% if tools_in_turn %}tools{% endif %}{% if thinking or enable_thinking %}<think>{% else %}</think>{% endif %}",
         "enable_thinking", True),
    ],
)  # fmt: skip
def test_the_value_that_turns_it_on(with_template, template, name, on):
    tokenizer = with_template(TURN + template)
    assert switches(tokenizer)[0] == (name, on)
    form, off = detect_format(tokenizer), thinking_format(tokenizer, "off")
    assert form.end == "</think>" and "</think>" not in tokenizer.decode(render_prompt(tokenizer, "hi", form))
    assert off.end is None and "</think>" in tokenizer.decode(render_prompt(tokenizer, "hi", off))


@pytest.mark.parametrize(
    "template",
    [
        "{% if other %}x{% else %}y{% endif %}<think>", "{{ date_string }}<think>", "{% if mode == 'fast' %}</think>{% endif %}<think>",
        "Reasoning: {{ reasoning_effort | default('medium') }}<think>",
    ],
)  # fmt: skip
def test_other_variables_are_no_switches(with_template, template):
    tokenizer = with_template(TURN + template)
    assert switches(tokenizer) == () and detect_format(tokenizer) == ThinkingFormat(opened=True)
    with pytest.raises(ParameterError, match="no switch"):
        thinking_format(tokenizer, "off")


def test_a_variable_may_be_set_to_a_text(with_template):
    tokenizer = with_template(
        TURN + "{% if reasoning_effort == 'none' %}</think>{% else %}[{{ reasoning_effort }}]<think>{% endif %}"
    )
    low = thinking_format(tokenizer, "reasoning_effort=low")
    assert low == ThinkingFormat(opened=True, switch=(("reasoning_effort", "low"),))
    assert tokenizer.decode(render_prompt(tokenizer, "hi", low)).endswith("[low]<think>")
    none = thinking_format(tokenizer, "reasoning_effort=none")
    assert none == ThinkingFormat(None, None, switch=(("reasoning_effort", "none"),))


def test_a_variable_that_the_template_does_not_read_is_refused(with_template):
    tokenizer = with_template(TURN + "{% if thinking %}<think>{% else %}</think>{% endif %}")
    with pytest.raises(ParameterError, match="'thinking'.*not 'thinkin'"):
        thinking_format(tokenizer, "thinkin=false")
    assert detect_format(with_template(TURN)) == PLAIN


def test_a_switch_reaches_a_loaded_model(tiny_folder, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_folder, tmp_path / "checkpoint")
    (folder / "chat_template.jinja").write_text(TURN + "{% if thinking %}<think>{% else %}</think>{% endif %}")
    on, off = load_model(folder), load_model(folder, thinking="off")
    assert on.thinking.opened and off.thinking.end is None and on.fingerprint != off.fingerprint
    assert on.tokenizer.decode(on.render("x")) == "<bos><user>x<assistant><think>"
    assert off.tokenizer.decode(off.render("x")) == "<bos><user>x<assistant></think>"
