"""Chat templates, rendered in a process of their own: one that never ends is given up, wherever the caller runs.

A template comes with a model, and jinja's sandbox bounds neither time nor memory: `{{ 9**9**9 }}` is one product of integers, which
no signal and no thread interrupts.
"""

import atexit
import contextlib
import functools
import json
import math
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECONDS = 10.0
"""After which a template is given up."""
STARTING = 120.0
"""Seconds that the process may take to start, on a machine that is busy."""


class TemplateFailure(Exception):
    """A template that fails, or does not end in time; the message says why."""

    def __init__(self, why: str, late: bool = False) -> None:
        super().__init__(why)
        self.late = late
        """True where it was given up."""


def render(tokenizer: Any, turns: Sequence[Mapping[str, Any]], **switches: Any) -> str:
    """The text of a chat, opened for the assistant's answer, as `tokenizer.apply_chat_template` gives it.

    tokenizer: one with a chat template.
    turns: the turns before the answer, each with role and content.
    switches: further variables of the template.

    Raises TemplateFailure.
    """
    template = _template_of(tokenizer)
    if template is None or _trusted(template):
        try:
            return tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True, **switches)
        except Exception as error:  # jinja's, and whatever a tokenizer's own code raises
            raise TemplateFailure(str(error) or type(error).__name__) from error
    always = {"messages": list(turns), "tools": None, "documents": None, "add_generation_prompt": True}
    variables = always | dict(tokenizer.special_tokens_map) | switches
    return _ask(template, variables)["text"]


def undeclared(tokenizer: Any) -> list[str]:
    """Variables that the tokenizer's chat template reads and that nobody gives it by default."""
    template = _template_of(tokenizer)
    if template is None or _trusted(template):
        return []
    given = {"messages", "tools", "documents", "add_generation_prompt", *tokenizer.special_tokens_map}
    return [name for name in _ask(template, None)["names"] if name not in given]


def _template_of(tokenizer: Any) -> str | None:
    """The template of a plain chat; None for a tokenizer that renders in its own way."""
    from transformers import PreTrainedTokenizerBase

    if getattr(type(tokenizer), "apply_chat_template", None) is not PreTrainedTokenizerBase.apply_chat_template:
        return None
    template = tokenizer.get_chat_template()
    return template if isinstance(template, str) else None


def _trusted(template: str) -> bool:
    """True for the template of the embedded models, which is known to end."""
    from racviz.tiny.tokenizer import CHAT_TEMPLATE

    return template == CHAT_TEMPLATE


def _ask(template: str, variables: dict[str, Any] | None) -> dict[str, Any]:
    said = _renderer(os.getpid()).ask({"template": template, "variables": variables})
    if "error" in said:
        raise TemplateFailure(said["error"], said.get("late", False))
    return said


@functools.lru_cache(1)
def _renderer(pid: int) -> "Renderer":
    """The process of this one; a fork has its own."""
    return Renderer()


class Renderer:
    """The process, started with the first question and started again where one was given up. Threads take turns."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds, self.lock = seconds, threading.Lock()
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[str | None] = queue.Queue()
        atexit.register(self.close)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to one question, or an `error` after some seconds."""
        seconds = self.seconds or SECONDS
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self._start()
            with contextlib.suppress(OSError):  # one that has died says so by the end of its output
                self.process.stdin.write(json.dumps(question | {"seconds": math.ceil(seconds) + 1}, default=str) + "\n")
                self.process.stdin.flush()
            line = self._line(seconds)
            if line is None:
                self.close()
                return {"error": f"it was given up after {seconds:g} seconds", "late": True}
            return json.loads(line)

    def _start(self) -> None:
        self.close()
        self.lines = queue.Queue()
        worker = Path(__file__).with_name("template_worker.py")
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, encoding="utf-8", start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=_read, args=(self.process.stdout, self.lines), daemon=True).start()
        if self._line(STARTING) is None:
            self.close()
            raise TemplateFailure("the process that renders chat templates did not start; is jinja2 installed?")

    def _line(self, seconds: float) -> str | None:
        """The next line; None at the end of the output, or after so many seconds."""
        with contextlib.suppress(queue.Empty):
            return self.lines.get(timeout=seconds)
        return None

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(OSError):  # what was not yet written
                self.process.stdin.close()
            self.process = None


def _read(stream: Any, lines: queue.Queue) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed while it was read
        for line in stream:
            lines.put(line)
    lines.put(None)
