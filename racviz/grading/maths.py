"""Two expressions of mathematics, compared in a process of its own, which imports math-verify and sympy.

What a model writes may be 9^(9^(9^9)), on which a computer algebra system works until it is stopped, inside one product of integers
that no signal interrupts. So the comparison runs elsewhere, with little memory, and is given up after some seconds.
"""

from racviz.exceptions import GradingError
from racviz.processes.answering import Answering

SECONDS = 10.0
"""After which an answer that is still compared is wrong."""


class MathsJudge:
    """The process that compares, as a context: it starts with the first question and ends with the block."""

    def __init__(self, seconds: float = SECONDS):
        self.seconds = seconds
        self.process = Answering(["-m", "racviz.grading.maths_worker"])

    def __enter__(self) -> "MathsJudge":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def equal(self, gold: str, answer: str) -> bool:
        """Verdict on a text: True if its final answer means the same as `gold`, False also where the time is up.

        Raises GradingError where math-verify is not installed.
        """
        try:
            said = self.process.ask({"gold": gold, "answer": answer}, self.seconds)
        except ChildProcessError as error:
            raise GradingError(
                "the process that compares mathematics did not start; is math-verify[antlr4_13_2] installed?"
            ) from error
        return said is not None and bool(said["equal"])

    def close(self) -> None:
        """End the process."""
        self.process.close()
