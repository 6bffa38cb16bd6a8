"""The table of rules: every example is graded as it says, also the other way round; the page holds the table."""

from pathlib import Path

import pytest

from racviz.grading import grade_all
from racviz.grading.rules import RULES, table
from racviz.problems import Problem

PAGE = Path(__file__).parents[2] / "docs" / "grading.md"


def boxed(rule, answer):
    return answer if rule.name in ("boxes", "no box") else f"So it is \\boxed{{{answer}}}."


def cases(rule):
    """Pairs of key and answer with their verdict, both ways round where the rule is symmetric."""
    for pairs, verdict in ((rule.right, True), (rule.wrong, False)):
        for key, answer in pairs:
            yield (key, boxed(rule, answer)), verdict
            if rule.symmetric:
                yield (answer, boxed(rule, key)), verdict


def graded(pairs):
    """Verdicts on pairs of a key and an answer, from one process."""
    problems = [Problem(str(k), "x", key) for k, (key, _) in enumerate(pairs)]
    return dict(zip(pairs, grade_all([answer for _, answer in pairs], problems), strict=True))


@pytest.fixture(scope="module")
def verdicts():
    return graded([pair for rule in RULES for pair, _ in cases(rule)])


def test_every_rule_has_a_name_of_its_own_and_an_example():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.right for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_examples_are_graded_as_the_rule_says(verdicts, rule):
    assert [(pair, verdict) for pair, verdict in cases(rule) if verdicts[pair] is not verdict] == []


def test_keys_are_right_for_themselves():
    keys = sorted(
        {text for rule in RULES if rule.name not in ("boxes", "no box") for pair in (*rule.right, *rule.wrong) for text in pair}
    )
    pairs = [(key, f"\\boxed{{{key}}}") for key in keys]
    assert [pair for pair, right in graded(pairs).items() if not right] == []


def test_the_page_holds_the_table():
    assert table() in PAGE.read_text(encoding="utf-8")
