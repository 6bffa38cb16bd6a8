"""A process of its own that answers questions, a line of JSON each, and is given up where it takes too long.

What models and their folders bring may never end: a chat template that multiplies integers for ever, an answer that is 9^(9^(9^9)).
No signal and no thread interrupts that, so it is worked on elsewhere.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

STARTING = 120.0
"""Seconds that a process may take to start, on a machine that is busy."""


class Answering:
    """The process, started with the first question and again after it was given up. Threads take turns.

    Parameters
    ----------
    command : sequence of str
        Arguments of this interpreter. The process prints a line when it is ready, and one for each question.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command, self.lock = list(command), threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[str | None] = queue.Queue()

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer to one question; None after so many seconds, or where the process died of it.

        Raises ChildProcessError where the process does not start. An exception that comes from outside, such as Ctrl-C, ends the
        process, so that its late answer is not taken for that of the next question.
        """
        with self.lock:
            try:
                if self.process is None or self.process.poll() is not None:
                    self._start()
                with contextlib.suppress(OSError):  # one that has died says so by the end of its output
                    self.process.stdin.write(json.dumps(question, default=str) + "\n")
                    self.process.stdin.flush()
                line = self._line(seconds)
                if line is not None:
                    return json.loads(line)
            except BaseException:
                self._end()
                raise
            self._end()
            return None

    def _start(self) -> None:
        self._end()
        self.lines = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, *self.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, encoding="utf-8", errors="surrogatepass", start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=_read, args=(self.process.stdout, self.lines), daemon=True).start()
        if self._line(STARTING) is None:
            raise ChildProcessError(f"{' '.join(self.command)} did not start")

    def _line(self, seconds: float) -> str | None:
        """The next line; None at the end of the output, or after so many seconds."""
        with contextlib.suppress(queue.Empty):
            return self.lines.get(timeout=seconds)
        return None

    def close(self) -> None:
        """End the process."""
        with self.lock:
            self._end()

    def _end(self) -> None:
        if self.process is None:
            return
        process, self.process = self.process, None
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):  # what was not yet written
            process.stdin.close()


def _read(stream: Any, lines: queue.Queue) -> None:
    with contextlib.suppress(ValueError, OSError), stream:
        for line in stream:
            lines.put(line)
    lines.put(None)
