"""The final answer in a text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz.grading import grade, last_boxed
from racviz.grading.boxes import boxes, final_boxes, prose_candidates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{5}", ["5"]), (r"\fbox{5}", ["5"]), (r"\framebox{5}", ["5"]), (r"\boxed 5", ["5"]), (r"$\boxed5$", ["5"]),
        (r"\boxed{\boxed{5}}", ["5"]), (r"\boxed{\{1, 2\}}", [r"\{1, 2\}"]), ("\x08oxed{5}", ["5"]), (r"\boxed {5}", ["5"]),
        (r"\boxed{\frac{1}{2}}", [r"\frac{1}{2}"]), (r"\boxed{a\}b}", [r"a\}b"]),
        (r"First \boxed{7}, then the total is \boxed{42}.", ["42"]), (r"\boxed{3}, no: \boxed{4}", ["4"]),
        (r"\boxed{2} or \boxed{3}", ["2", "3"]), (r"$\boxed{2}$, or else $\boxed{3}$", ["2", "3"]),
        (r"\boxed{2}\text{ or }\boxed{3}", ["2", "3"]),
        ("\\boxed{2}\n\n$$\\boxed{3}$$", ["2", "3"]), (r"\boxed{1}, \boxed{2} and \boxed{3}", ["1", "2", "3"]),
        (r"x=\boxed{2}, y=\boxed{3}", ["2", "3"]), (r"\boxed{1} wrong. \boxed{2}; \boxed{3}", ["2", "3"]),
        (r"\boxed{5}\boxed{}", ["5"]), (r"\boxed{5} \boxed{\text{}} \boxed{\ldots}", ["5"]), (r"\boxed{} then \boxed{5}", ["5"]),
        (r"put it in \boxed{}", None), ("no box", None), (r"\boxed{4} or \boxed{4", None), (r"\boxed{4", None),
        (r"the \boxed command", None),
    ],
)  # fmt: skip
def test_final_boxes(text, expected):
    assert final_boxes(text) == expected
    assert last_boxed(text) == (expected[-1] if expected else None)


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("A long story.\n#### 1,234", "1,234"), ("So.\nThe answer is 10. I hope it is correct.", "10"),
        ("Final answer: $x = 5$", "$x = 5$"),
        ("<answer> 7 </answer>", "7"), ("**Answer: B**", "B"), ("Evelyn", "Evelyn"), ("3.5", "3.5"),
        ("Adding up,\nwe have $a$ and \\(b+1\\) left.", "b+1"), ("First 3,\nlater 1,024 of them", "1,024"), ("nothing\nat all", None),
    ],
)  # fmt: skip
def test_answers_without_a_box(text, best):
    assert next(prose_candidates(text), None) == best


def test_several_boxes_are_the_key_of_an_embedded_domain_only_if_each_is():
    assert grade(r"\boxed{42} \boxed{42.0}", "42")
    assert not grade(r"\boxed{41} \boxed{43} \boxed{42}", "42") and not grade(r"\boxed{2} or \boxed{3}", "3")


@given(st.text(alphabet="\\boxed{}fbox $0aé\n", max_size=200))
def test_boxes_are_parts_of_the_text_whatever_it_is(text):
    found, _ = boxes(text)
    assert all(
        text[box.start : box.end].rstrip("}").endswith(box.content.rstrip("}")) and "\\boxed{" not in box.content
        for box in found
    )


@pytest.mark.parametrize("text", ["It is not 3, " * 20_000, "the answer is not 3. " * 20_000, "**3 " * 50_000, "$3 " * 50_000])
def test_long_prose_is_read_in_linear_time(text):
    began = time.monotonic()
    list(prose_candidates(text))
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "text", [r"\boxed{" * 50_000, r"\boxed{1} " * 20_000, "{" * 200_000, "\\boxed{3} " + "x" * 200_000 + r" \boxed{"]
)
def test_long_texts_are_read_in_linear_time(text):
    began = time.monotonic()
    final_boxes(text)
    assert time.monotonic() - began < 3
