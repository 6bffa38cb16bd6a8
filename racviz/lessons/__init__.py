"""Parts of the lessons in notebooks/lessons/: checked answers, a quiz, pictures to step through, a leaderboard.

    from racviz import lessons

    lessons.check_number(answer_1, truth=61.5, within=0.05, unit="tokens", because="…")

`stepper`, `matters` and `leaderboard` are imported when first used: `import racviz.lessons` loads neither torch nor plotly.
"""

import importlib

from racviz.lessons.checks import Checked, check_array, check_choice, check_number
from racviz.lessons.quiz import mark, quiz, quiz_questions  # at once, so that `lessons.quiz` is the function, not the file

_ROOMS = ("leaderboard", "matters", "stepper")
_HOMES = {"student_edition": "student"}

__all__ = [
    "Checked", "check_array", "check_choice", "check_number", "leaderboard", "mark", "matters", "quiz", "quiz_questions", "stepper",
    "student_edition",
]  # fmt: skip


def __getattr__(name: str):
    if name in _ROOMS:
        return importlib.import_module(f"racviz.lessons.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"racviz.lessons.{_HOMES[name]}"), name)
    raise AttributeError(f"racviz.lessons has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
