"""Progress of long steps: a bar on a terminal, plain lines in a file or a pipe.

Steps of a report run in a kernel of their own. Their state goes through a file to the command that
started the report, which shows it.
"""

import contextlib
import html
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm.std import tqdm

from racviz import printable

VARIABLE = "RACVIZ_PROGRESS"
"""Environment variable: the file into which a kernel writes its progress instead of showing it."""
DISABLED = "TQDM_DISABLE"
"""Environment variable: no progress is shown, as for all programs that use tqdm."""
INTERVAL = 0.5
"""Seconds between two looks at the progress of a kernel."""
FOLLOWED = 16
"""Steps of a kernel that are remembered; those that are under way are the last ones."""
EVERY = 30.0
"""Seconds between two lines of one step, in a file or a pipe."""
LINE = "{{desc}}: {{n_fmt}}/{{total_fmt}} {units}, {{rate_fmt}}, {{remaining}} left"
COUNT = "{{desc}}: {{n_fmt}} {units}, {{rate_fmt}}"
"""A line of a step whose number of rows is known, and unknown, in tqdm's words."""


def progress_bar(
    iterable: Iterable | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    shown: bool = True,
) -> Any:
    """Progress of one step: a tqdm bar, or one that writes lines, or one that is relayed.

    Parameters
    ----------
    iterable : iterable, optional
        The rows of the step, handed through; without it the caller calls `update`.
    desc, unit : str
        The name of the step and of a row.
    total : int, optional
        Rows in all; default: the length of the iterable.
    shown : bool
        False makes a bar that shows nothing.
    """
    options = dict(iterable=iterable, total=total, desc=printable.shown(desc, 80), unit=unit)
    options |= dict(leave=False)
    path = os.environ.get(VARIABLE)
    if not shown or (_disabled() and not path):
        return tqdm(disable=True, **options)
    if path:
        return Relayed(Path(path), **options)
    if _in_notebook():
        from tqdm.auto import tqdm as widget

        return widget(**options)
    return InPlace(**options) if in_place() else Lines(**options)


def in_place() -> bool:
    """True if progress can be drawn over itself: standard error is a terminal that has a size."""
    if not sys.stderr.isatty() or _disabled():
        return False
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    return False


def show_lines(lines: Iterable[str]) -> None:
    """Show lines: above the bars on a terminal, as a paragraph in a notebook.

    A notebook's stream of errors would look like an error.
    """
    if _in_notebook():
        from IPython.display import HTML, display

        text = "<br>".join(html.escape(printable.message(line)) for line in lines)
        display(HTML(f"<p>{text}</p>"))
        return
    for line in lines:
        _write(printable.message(line))


def _disabled() -> bool:
    return os.environ.get(DISABLED, "").lower() not in ("", "0", "false")


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython() if ipython else None, "kernel")


def _write(line: str) -> None:
    """Write a line to standard error: above the bars, if there are any."""
    if sys.stderr.isatty():
        tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


class Step(tqdm):
    """A bar that says one line when its step is finished, unless it is part of another step."""

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.failed = kind is not None
        super().__exit__(kind, *rest)

    def close(self) -> None:
        closing = not getattr(self, "disable", True)
        part = closing and abs(self.pos) > 0
        super().close()
        finished = self.n >= self.total if self.total is not None else True
        if closing and finished and not part and not getattr(self, "failed", False):
            self.say(self.finished())

    def finished(self) -> str:
        """`generate: 64 rows in 8.2 s (7.8 rows/s)`, or `sweep: 6 cells in 2.1 min (21 s/cell)`."""
        seconds, name = max(1e-3, time.time() - self.start_t), self.desc.removesuffix(": ")
        took = f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
        rate = f"{self.n / seconds:.3g} {units(self.unit)}/s"
        if 0 < self.n < seconds:
            rate = f"{seconds / self.n:.3g} s/{self.unit}"
        return f"{name}: {self.n:,} {units(self.unit, self.n)} in {took} ({rate})"

    def say(self, line: str) -> None:
        _write(line)


class InPlace(Step):
    """A bar on a terminal, drawn over itself."""


class Lines(Step):
    """Progress in a file or a pipe: a plain line every EVERY seconds at most."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.said = time.monotonic()
        super().__init__(*args, mininterval=1.0, file=sys.stderr, **options)

    @staticmethod
    def status_printer(file: Any) -> Any:
        return lambda text: None

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        now = time.monotonic()
        if msg is None and now - self.said >= EVERY and self.n != self.total:
            self.said = now
            _write(line_of(self.format_dict))
        return False

    def clear(self, nolock: bool = False) -> None:
        """Nothing is drawn, so nothing is to clear."""

    def moveto(self, n: int) -> None:
        """No cursor to move."""


class Relayed(Step):
    """Writes its state into a file, two times a second at most, and a line when it is finished."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        nowhere = open(os.devnull, "w")  # noqa: SIM115  closed with the bar
        super().__init__(disable=False, file=nowhere, mininterval=INTERVAL, **options)

    def display(self, *_: Any, **__: Any) -> bool:
        name = self.desc.removesuffix(": ")
        state = {"desc": name, "n": self.n, "total": self.total, "unit": self.unit}
        state["began"] = getattr(self, "start_t", None) or time.time()
        with contextlib.suppress(OSError):
            self.path.write_text(json.dumps(state), encoding="utf-8")
        return True

    def say(self, line: str) -> None:
        with (
            contextlib.suppress(OSError),
            finished_of(self.path).open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(line) + "\n")


def line_of(state: dict[str, Any]) -> str:
    """A plain line of where a step stands, from tqdm's `format_dict`."""
    form = (LINE if state["total"] else COUNT).format(units=units(str(state["unit"])))
    state = {**state, "prefix": str(state["prefix"]).removesuffix(": "), "ncols": None}
    return tqdm.format_meter(**state | {"bar_format": form})


def units(unit: str, count: int = 2) -> str:
    """The word for so many rows: row, rows; study, studies."""
    if count == 1:
        return unit
    return f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"


def finished_of(path: Path) -> Path:
    """The file of lines of finished steps, beside that of the state."""
    return path.with_suffix(".finished")


@contextlib.contextmanager
def relayed(shown: bool) -> Iterator[dict[str, str]]:
    """The environment for a kernel whose progress is shown here, below the bar that is there."""
    if not shown:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="racviz-progress-") as folder:
        path, over = Path(folder) / "bar.json", threading.Event()
        thread = threading.Thread(target=_follow, args=(path, over), daemon=True)
        thread.start()
        try:
            yield {VARIABLE: str(path)}
        finally:
            over.set()
            thread.join(timeout=5)


def _follow(path: Path, over: threading.Event) -> None:
    """Show the state in a file until `over` is set: in place on a terminal, else by lines."""
    if _disabled():
        return
    bar: tqdm | None = None
    steps: dict[tuple, Follower] = {}
    position = 0
    try:
        while True:
            last = over.wait(INTERVAL)
            lines, position = _finished_since(finished_of(path), position)
            for line in lines:
                _write(line)
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                state = json.loads(path.read_text(encoding="utf-8"))
                if in_place():
                    bar = _bar_below() if bar is None else bar
                    _draw(bar, state)
                else:
                    began = float(state["began"])  # tells a step from others of its name
                    steps.setdefault((state["desc"], began), Follower(began)).see(state)
                    while len(steps) > FOLLOWED:
                        del steps[next(iter(steps))]
            if last:
                return
    finally:
        if bar is not None:
            bar.close()


class Follower:
    """A step of a kernel, seen from outside: a line every EVERY seconds at most."""

    def __init__(self, began: float) -> None:
        self.began = self.said = began
        """Seconds since the epoch."""

    def see(self, state: dict[str, Any]) -> None:
        """Say where the step stands, if it is time."""
        now, n = time.time(), state["n"]
        if now - self.said < EVERY or n == state["total"]:
            return
        self.said = now
        desc, unit = printable.shown(state["desc"], 80), printable.shown(state["unit"], 40)
        elapsed = max(1e-9, now - self.began)
        known = dict(n=n, total=state["total"], elapsed=elapsed, rate=n / elapsed or None)
        _write(line_of(known | dict(prefix=desc, unit=unit)))


def _bar_below() -> tqdm:
    """A bar on the second line of the terminal."""
    form = "  {desc}{n_fmt}/{total_fmt} ({unit}), {elapsed}"
    return tqdm(position=1, leave=False, desc="", bar_format=form)


def _draw(bar: tqdm, state: dict[str, Any]) -> None:
    if (state["desc"], state["total"]) != (bar.desc.removesuffix(": "), bar.total):
        bar.reset(state["total"])
        bar.set_description(printable.shown(state["desc"], 80), refresh=False)
        bar.unit = printable.shown(state["unit"], 40)
    bar.n = state["n"]
    bar.refresh()


def _finished_since(path: Path, position: int) -> tuple[list[str], int]:
    """The lines that a kernel has added to a file since `position`, and the new position."""
    lines = []
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(position)
        for raw in file:
            if not raw.endswith(b"\n"):
                break  # still being written
            position += len(raw)
            with contextlib.suppress(ValueError):
                lines.append(printable.message(str(json.loads(raw))))
    return lines, position
