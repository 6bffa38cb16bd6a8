"""The playground's controls. The answers are made in a thread of their own, so that Stop is heard."""

import html
import threading
import time
import traceback
from typing import Any

import ipywidgets as widgets

from racviz.exceptions import RacvizError
from racviz.play import showing
from racviz.play.answers import Answers, answers_of
from racviz.play.asking import Asking
from racviz.play.preparing import Playground
from racviz.pruning import METHODS
from racviz.sources import SOURCES
from racviz.statistics.words import capital, pretty

OFFERED = 40
"""Test problems to pick from; any other can be typed, or asked by its id."""
EVERY = 0.12
"""Seconds between two pictures of a column that streams."""
BUDGETS = (64, 128, 256, 512, 1024, 2048, 4096)
NONE = ""


class Panel(widgets.VBox):
    """Choose, ask, watch, stop. `wait` is for programs that drive it."""

    def __init__(self, play: Playground):
        self.play = play
        self.answers: Answers | None = None
        self._thread: threading.Thread | None = None
        self._asking: Asking | None = None
        self._stopped = threading.Event()
        study = play.study
        problems = play.problems[:OFFERED]
        wide = widgets.Layout(width="auto")
        label = {"description_width": "110px"}

        def choice(kind: Any, name: str, tip: str, **how: Any) -> Any:
            return kind(description=name, tooltip=tip, style=label, **{"layout": wide} | how)

        self.pick = choice(widgets.Dropdown, "Pick a problem", "a test problem, which no pruned model was calibrated on",
                           options=[("one of my own, typed below", NONE), *((_short(each.prompt), each.id) for each in problems)],
                           value=problems[0].id)  # fmt: skip
        self.text = choice(widgets.Textarea, "Problem", "what the models are asked", value=problems[0].prompt, rows=3,
                           placeholder="Type a problem")  # fmt: skip
        self.key = choice(widgets.Text, "Answer key", "the right answer to a problem of your own, if you know it",
                          placeholder="of a problem of your own, if you know it")  # fmt: skip
        names = [(capital(pretty(source)), source) for source in SOURCES]
        given = [*study.sources, NONE, NONE, NONE][:3]
        self.sources = [
            choice(widgets.Dropdown, f"Calibration {number}", "what a pruned model is calibrated on",
                   options=names if number == 1 else [*names, ("none", NONE)], value=value)
            for number, value in enumerate(given, 1)
        ]  # fmt: skip
        self.method = choice(widgets.Dropdown, "Solver", "how weights are chosen and corrected",
                             options=sorted({*METHODS, study.method}, key=[*METHODS, study.method].index), value=study.method)  # fmt: skip
        steps = sorted({*(round(0.05 * k, 2) for k in range(17)), float(study.sparsities[0])})
        self.sparsity = choice(widgets.SelectionSlider, "Sparsity", "the share of weights set to zero", continuous_update=False,
                               options=[(f"{100 * step:.3g} %", step) for step in steps], value=float(study.sparsities[0]))  # fmt: skip
        budget = play.sampling.max_new_tokens
        self.budget = choice(widgets.Dropdown, "Token budget", "new tokens of each answer, at most",
                             options=sorted({*BUDGETS, budget}), value=budget)  # fmt: skip
        self.ask = widgets.Button(description="Ask", tooltip="ask all models", button_style="primary", icon="play")
        self.stop = widgets.Button(
            description="Stop", tooltip="stop answering; what is there stays", icon="stop", disabled=True
        )
        self.status, self.measured = widgets.HTML(), widgets.HTML()
        grid = widgets.Layout(grid_template_columns="repeat(auto-fit, minmax(250px, 1fr))", grid_gap="6px", width="100%")
        self.columns = widgets.GridBox(layout=grid)
        three = widgets.Layout(grid_template_columns="repeat(auto-fit, minmax(280px, 1fr))", grid_gap="2px 12px", width="100%")
        controls = widgets.GridBox([*self.sources, self.method, self.sparsity, self.budget], layout=three)
        self.pick.observe(self._picked, "value")
        self.text.observe(self._typed, "value")
        self.ask.on_click(self._asked)
        self.stop.on_click(self._stop)
        self.say("Choose and press Ask. Pruned models are made when they are first needed, and kept.")
        super().__init__([self.pick, self.text, self.key, controls, widgets.HBox([self.ask, self.stop]), self.status, self.columns,
                          self.measured])  # fmt: skip

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the answers are there; whether they are."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def say(self, text: str, more: str = "", error: bool = False) -> None:
        """The line below the buttons; `more` is HTML."""
        head = "<b>Error:</b> " if error else ""
        role = 'role="alert"' if error else 'role="status" aria-live="polite"'
        self.status.value = showing.block(f"<div {role}>{head}{showing.plain(text)}{more}</div>")

    def _picked(self, change: Any) -> None:
        if change["new"]:
            self.text.value = next(each.prompt for each in self.play.problems if each.id == change["new"])
            self.key.value = ""

    def _typed(self, change: Any) -> None:
        if self.pick.value and change["new"] != next(each.prompt for each in self.play.problems if each.id == self.pick.value):
            self.pick.value = NONE

    def _asked(self, _: Any) -> None:
        if not self.wait(0):
            return
        self._stopped.clear()
        self._busy(True)
        sources = [each.value for each in self.sources if each.value]
        choices = dict(sources=list(dict.fromkeys(sources)), sparsity=self.sparsity.value, method=self.method.value,
                       budget=self.budget.value)  # fmt: skip
        self._thread = threading.Thread(target=self._run, args=(self.text.value, self.key.value, choices), daemon=True)
        self._thread.start()

    def _stop(self, _: Any) -> None:
        self._stopped.set()
        self.stop.disabled = True
        if self._asking is None:
            self.say("Stopping when the model that is being made is ready …")
        else:
            self._asking.stop()

    def _busy(self, busy: bool) -> None:
        self.ask.disabled, self.stop.disabled = busy, not busy

    def _run(self, text: str, key: str, choices: dict[str, Any]) -> None:
        """What the thread does; an error is shown, since nobody would see it there."""
        try:
            self._answer(text, key, choices)
        except RacvizError as error:
            self.say(str(error), error=True)
        except Exception as error:  # of every kind
            trace = html.escape(traceback.format_exc())
            self.say(
                f"{type(error).__name__}: {error}", f"<details><summary>where</summary><pre>{trace}</pre></details>", error=True
            )
        finally:
            self._asking = None
            self._busy(False)

    def _answer(self, text: str, key: str, choices: dict[str, Any]) -> None:
        asking = self.play.start(text, key or None, **choices, say=self.say)
        self._asking, self.answers, self.measured.value = asking, None, ""
        if self._stopped.is_set():  # pressed while a model was made
            asking.stop()
        shown = {name: widgets.HTML() for name in asking.decodings}
        self.columns.children = tuple(shown.values())
        self.say("Answering …")
        last = 0.0
        for _ in asking:
            if time.monotonic() - last >= EVERY:
                for name, each in shown.items():
                    each.value = showing.streaming(asking, name)
                last = time.monotonic()
        for name, each in shown.items():
            each.value = showing.streaming(asking, name)
        self.say("Grading, and measuring r_t along the dense model's text …")
        self.answers = answers_of(asking)
        for name, each in shown.items():
            each.value = showing.finished(self.answers, name)
        self.measured.value = showing.measured(self.answers)
        made = ", ".join(f"{pretty(name)} {seconds:.1f} s" for name, seconds in self.play.prepared.items() if seconds)
        ended = "Stopped." if any(row.finish == "stopped" for row in self.answers.rows) else "Done."
        self.say(f"{ended} Pruned models made or read: {made}." if made else ended)


def _short(text: str, most: int = 110) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
