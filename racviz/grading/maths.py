"""Two expressions of mathematics, compared in a process of its own, which imports math-verify and sympy.

What a model writes may be 9^(9^(9^9)), on which a computer algebra system works until it is stopped, inside one product of integers
that no signal interrupts. So the comparison runs elsewhere, with little memory, and is given up after some seconds.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from typing import Any

from racviz.errors import GradingError

SECONDS = 10.0
"""After which an answer that is still compared is wrong."""
STARTING = 120.0
"""Seconds that the process may take to import what it needs, on a machine that is busy."""


class MathsJudge:
    """The process, started with the first question and started again where one was given up."""

    def __init__(self, seconds: float = SECONDS):
        self.seconds = seconds
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> "MathsJudge":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def equal(self, gold: str, answer: str) -> bool:
        """Verdict on a text: True if its final answer means the same as `gold`, False also where the time is up."""
        if self.process is None:
            self._start()
        with contextlib.suppress(OSError):  # one that has died says so by the end of its output
            self.process.stdin.write(json.dumps({"gold": gold, "answer": answer}) + "\n")
            self.process.stdin.flush()
        line = self._line(self.seconds)
        if line is None:
            self.close()
            return False
        return bool(json.loads(line)["equal"])

    def _start(self) -> None:
        self.lines = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "racviz.grading.maths_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, encoding="utf-8", errors="surrogatepass", start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=_read, args=(self.process.stdout, self.lines), daemon=True).start()
        if self._line(STARTING) is None:
            self.close()
            raise GradingError("the process that compares mathematics did not start; is math-verify[antlr4_13_2] installed?")

    def _line(self, seconds: float) -> str | None:
        """The next line; None at the end of the output, or after so many seconds."""
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process = None


def _read(stream: Any, lines: queue.Queue) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
