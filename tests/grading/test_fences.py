"""The program in an answer: fences of many kinds, well-formed and not."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.grading.fences import blocks_of, program_of

ONE, TWO = "print(1)", "print(2)"
DOCSTRING = 'def f():\n    """Example:\n\n    ```\n    f()\n    ```\n    """\n    return 1'

# name: (answer, program)
ANSWERS = {
    "marked": (f"```python\n{ONE}\n```", ONE),
    "unmarked": (f"```\n{ONE}\n```", ONE),
    "the last of two": (f"```python\n{ONE}\n```\nBetter:\n```python\n{TWO}\n```\nDone.", TWO),
    "the last unmarked of two": (f"```\n{ONE}\n```\nBetter:\n```\n{TWO}\n```", TWO),
    "marked before unmarked": (f"```python\n{ONE}\n```\nIt prints:\n```\n1\n```", ONE),
    "marked before another language": (f"```python\n{ONE}\n```\nRun it:\n```bash\npython a.py\n```", ONE),
    "unmarked before another language": (f"```\n{ONE}\n```\nRun it:\n```bash\npython a.py\n```", ONE),
    "another language alone": ("```text\n5\n```", "5"),
    "inline": (f"Use ```x``` then\n```python\n{ONE}\n```", ONE),
    "inline at the beginning of a line": (f"```x``` is used:\n```python\n{ONE}\n```", ONE),
    "inline after it": (f"```python\n{ONE}\n```\nHere ```print``` prints.", ONE),
    "inline alone": ("```print(1)``` it is, or ```python print(2)```", ""),
    "a fence within words": (f"text ``` not a fence\n```python\n{ONE}\n```", ONE),
    "a lone fence before": (f"Like so:\n```\nFirst words.\n```python\n{ONE}\n```", ONE),
    "a lone fence after": (f"```python\n{ONE}\n```\n```\n", ONE),
    "never closed": (f"```python\n{ONE}", ONE),
    "never closed and empty": ("So:\n```python", ""),
    "the last one never closed": (f"```python\n{ONE}\n```\nBetter:\n```python\n{TWO}\nprint(", f"{TWO}\nprint("),
    "an unmarked one never closed": (f"```python\n{ONE}\n```\nIt prints\n```\n1", ONE),
    "closed on its last line": (f"```python\n{ONE}```", ONE),
    "closed on its last line, with more after": (f"```python\n{ONE}```\nIt prints:\n```\n1\n```", ONE),
    "after words": (f"The program: ```python\n{ONE}\n```", ONE),
    "py": (f"```py\n{ONE}\n```\n```\n{TWO}\n```", ONE),
    "python3": (f"```python3\n{ONE}\n```\n```\n{TWO}\n```", ONE),
    "Python 3.11": (f"```Python 3.11\n{ONE}\n```\n```\n{TWO}\n```", ONE),
    "PYTHON": (f"```PYTHON\n{ONE}\n```\n```\n{TWO}\n```", ONE),
    "pypy3": (f"```pypy3\n{ONE}\n```\n```\n{TWO}\n```", ONE),
    "a space before the name": (f"``` python\n{ONE}\n```\n```\n{TWO}\n```", ONE),
    "attributes": (f'```python title="a.py" linenos\n{ONE}\n```\n```\n{TWO}\n```', ONE),
    "a file name": (f"```python:a.py\n{ONE}\n```\n```\n{TWO}\n```", ONE),
    "attributes in braces": (f"```{{.python .numberLines}}\n{ONE}\n```\n```\n{TWO}\n```", ONE),
    "no Python": (f"```pyrex\n{ONE}\n```\n```python-repl\n>>> 1\n```\n```\n{TWO}\n```", TWO),
    "tildes": (f"~~~python\n{ONE}\n~~~\n```\n{TWO}\n```", ONE),
    "tildes around backticks": (f"~~~python\n{ONE}\n# ```\n~~~", f"{ONE}\n# ```"),
    "four backticks": (f"````python\n{ONE}\n````", ONE),
    "four backticks around three": (f'````python\ns = """\n```\n"""\n{ONE}\n````', f's = """\n```\n"""\n{ONE}'),
    "a closing fence that is longer": (f"```python\n{ONE}\n`````\n{TWO}", ONE),
    "Markdown around it": (f"````markdown\n# Title\n```python\n{ONE}\n```\n````", ONE),
    "Markdown around it, as short": (f"```markdown\n# Title\n```python\n{ONE}\n```\n```", ONE),
    "indented": (f"1. So:\n\n   ```python\n   if 1:\n       {ONE}\n   ```\n", f"if 1:\n    {ONE}"),
    "in an item": (f"- ```python\n  {ONE}\n  ```", ONE),
    "a closing fence that is indented": (f"```python\n{ONE}\n  ```\nDone.", ONE),
    "quoted": (f"> ```python\n> {ONE}\n> ```", ONE),
    "carriage returns": (f"```python\r\n{ONE}\r\n{TWO}\r\n```\r\nDone.\r\n", f"{ONE}\n{TWO}"),
    "white space behind the fences": (f"```python  \n{ONE}\n```  \nDone.", ONE),
    "an empty one after": (f"```python\n{ONE}\n```\n```python\n\n```", ONE),
    "fences in a docstring": (f"```python\n{DOCSTRING}\n```\nDone.", DOCSTRING),
    "marked fences in a docstring": (f"```python\n{DOCSTRING.replace('```', '```python', 1)}\n```\nDone.",
                                     DOCSTRING.replace("```", "```python", 1)),
    "fences in a docstring, never closed": (f"```python\n{DOCSTRING}", DOCSTRING),
    "fences in two docstrings": (f"```python\n{DOCSTRING}\n\n\n{DOCSTRING}\n```", f"{DOCSTRING}\n\n\n{DOCSTRING}"),
    "a fence in a text and a comment": ('```python\ns = "```"  # ``` is a fence\nprint(s)\n```', 's = "```"  # ``` is a fence\nprint(s)'),
    "quotes that never close": (f'```python\nx = """\n```\nSorry:\n```python\n{ONE}\n"""\n"""\n```', f'{ONE}\n"""\n"""'),
    "an apostrophe in a comment": (f"```python\n# it's\n{ONE}\n```\nIt's done: ```x```", f"# it's\n{ONE}"),
    "no block": ("print(1)", ""),
    "nothing": ("", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_the_program_of_an_answer(name):
    answer, program = ANSWERS[name]
    assert program_of(answer).rstrip("\n") == program


LINES = st.lists(
    st.sampled_from(["x = 1", "    y = x  # note", 'print("a")', "", "z = '''a", "b'''", "s = 'it``s'"]), max_size=8
)


@given(
    LINES, st.sampled_from(["```", "````", "~~~", "~~~~~"]), st.sampled_from(["python", "py", "Python3"]), st.text(max_size=40)
)
def test_a_marked_block_is_found_among_words(lines, fence, mark, words):
    """After any words that hold no fence, and with any words after it."""
    words = words.replace("`", "'").replace("~", "-")
    code = "\n".join([*lines, "print(7)"])
    if code.count("'''") % 2 == 0 and code.count("z = '''a") == code.count("b'''"):
        assert program_of(f"{words}\n{fence}{mark}\n{code}\n{fence}\n{words}") == f"{code}\n"


@given(
    st.lists(
        st.sampled_from(["```", "````", "~~~", "```python", "``` py", "text", "'''", '"""', "- ", "> ", "\n", "  ", "x=1", "#"])
    )
)
def test_any_answer_is_read_and_no_content_is_invented(pieces):
    answer = "".join(pieces)
    plain = answer.replace(" ", "").replace(">", "")
    assert all(block.content.replace(" ", "").replace(">", "") in plain for block in blocks_of(answer))


@pytest.mark.parametrize(
    "answer",
    ["```python\n" * 20_000, "```python\nx\n```\n" * 10_000, "```\n" * 30_000, '```python\n"""\n' + "```\n" * 20_001,
     "```python\n'''\n" * 8_000, "a " * 100_000 + "```python", "```python\n" + "x ``` y\n" * 10_000, "> " * 100_000,
     "".join("`" * k + "md\nx\n" for k in range(600, 2, -1))],
)  # fmt: skip
def test_a_model_that_repeats_itself_does_not_stop_grading(answer):
    began = time.process_time()
    program_of(answer)
    assert time.process_time() - began < 5


def test_tildes_before_a_block_are_no_fence_around_it():
    assert program_of("~~~~~~\n```python\nprint(1)\n```") == "print(1)\n"
    assert program_of("~~~\nprint(2)\n~~~") == "print(2)\n"
