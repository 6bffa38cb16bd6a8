"""The verdict on a text: its final answer, read and compared with the key."""

import re

from racviz.grading.atoms import Algebra
from racviz.grading.boxes import final_boxes, has_cut_box, prose_candidates
from racviz.grading.comparing import same
from racviz.grading.kinds import Value
from racviz.grading.values import readings

LONGEST = 4_000
"""Characters of a value that are read; what is longer is compared as text."""


def given_answers(answer: str) -> list[Value]:
    """Readings of the final answer in a text; boxes that are joined are one list, and one value if all hold the same."""
    boxed = final_boxes(answer)
    if boxed is None:
        if has_cut_box(answer):
            return []
        candidate = next(filter(_plausible, prose_candidates(answer)), None)
        return readings(candidate) if candidate and len(candidate) <= LONGEST else []
    if len(boxed) == 1:
        return readings(boxed[0]) if len(boxed[0]) <= LONGEST else []
    if sum(map(len, boxed)) > LONGEST:
        return []
    parts = tuple(readings(box)[0] for box in boxed)
    return [Value("boxes", " | ".join(boxed), parts)]


def _plausible(candidate: str) -> bool:
    """True for a text short enough to be a value with a few words, False for a sentence of several."""
    words = re.findall(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}", re.sub(r"\\text", " ", candidate))
    return bool(candidate.strip()) and len(words) <= (4 if not re.search(r"\b(?:is|are|equals)\b", candidate) else 12)


def right(key: str, answer: str, algebra: Algebra) -> bool:
    """True if the final answer in a text means what the key means."""
    if len(key) > LONGEST:
        return False
    keys = readings(key)
    return any(same(wanted, given, algebra) for given in given_answers(answer) for wanted in keys)
