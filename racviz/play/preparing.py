"""The models of a playground, made on demand, and the problems to pick from."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from racviz.exceptions import ParameterError, check, unknown
from racviz.generation import Sampling
from racviz.models import LoadedModel
from racviz.play.answers import Answers, answers_of
from racviz.play.asking import Asking, prompt_ids
from racviz.problems import DOMAINS, Problem, ProblemSet
from racviz.statistics.words import percent, pretty
from racviz.study import Study
from racviz.study.memory import take_from
from racviz.study.parameters import parameter_names

TYPED = "typed"
"""The id of a problem that somebody typed."""


class Playground:
    """A dense model beside pruned ones. Shown in a notebook it is a panel of controls; `ask` does the same without."""

    def __init__(
        self, model: str, sources: Sequence[str], sparsity: float, method: str, *, calibration_tokens: int, budget: int,
        temperature: float, top_p: float, **parameters: Any,
    ):  # fmt: skip
        for name in parameters:
            if name not in parameter_names():
                raise unknown("the parameter", name, parameter_names())
        check_sparsity(sparsity)
        chosen = dict(sources=sources, sparsities=(sparsity,), method=method, calibration_tokens=calibration_tokens)
        self.study = Study(model=model, **{"problems": 500, "progress": False} | parameters | chosen | dict(budget=budget))
        self.sampling = Sampling(budget, temperature, top_p, self.study.seed)
        self.prepared: dict[str, float] = {}
        """Seconds that each pruned model of the last question took to make or to read; 0 for one that was there."""
        self._kept: dict[tuple[str, str, float], LoadedModel] = {}
        self._lock = threading.Lock()
        self._panel: Any = None

    @property
    def problems(self) -> ProblemSet:
        """To pick from: the test problems."""
        return self.study.test()

    def problem(self, problem: str | Problem, answer: str | None = None) -> Problem:
        """A Problem as it is; the test problem that has this id or this text; or one that was typed.

        answer: the key, where it is not known already.
        """
        check(isinstance(problem, str | Problem), "problem", problem, "a text, a test problem's id, or a Problem")
        check(answer is None or isinstance(answer, str), "answer", answer, "None or a text")
        if isinstance(problem, str):
            wanted = " ".join(problem.split())
            known = (each for each in self.problems if wanted in (each.id, " ".join(each.prompt.split())))
            typed = Problem(TYPED, problem, domain=self.study.domain if self.study.domain in DOMAINS else "")
            problem = next(known, typed)
        return replace(problem, answer=answer) if (answer or "").strip() else problem

    def models(
        self, sources: Sequence[str] | None = None, sparsity: float | None = None, method: str | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> dict[str, LoadedModel]:  # fmt: skip
        """The dense model and the pruned ones by source, made where they are not in the cache; None means what it was last.

        say: gets a line before what takes a moment. Models of earlier questions are let go.
        """
        with self._lock:
            study = self._study(sources, sparsity, method)
            sparsity = float(study.sparsities[0])
            keys = {source: (source, study.method, sparsity) for source in study.sources}
            self._kept = {key: kept for key, kept in self._kept.items() if key in keys.values()}
            self.prepared = dict.fromkeys(keys, 0.0)
            for source, key in keys.items():
                if key not in self._kept:
                    began = time.perf_counter()
                    say(f"Taking {study.calibration_tokens:,} tokens to calibrate on, {pretty(source)} …")
                    study.calibration(source)  # for some sources the model's own traces, which take longest, and are kept
                    say(f"Pruning to {percent(sparsity)} with {study.method}, calibrated on {pretty(source)} …")
                    self._kept[key] = study.prune(source, sparsity)
                    self.prepared[source] = time.perf_counter() - began
            self.study = study
            return {"dense": study.dense} | {source: self._kept[key] for source, key in keys.items()}

    def _study(self, sources: Sequence[str] | None, sparsity: float | None, method: str | None) -> Study:
        changes: dict[str, Any] = {}
        if sources is not None:
            changes["sources"] = sources
        if sparsity is not None:
            check_sparsity(sparsity)
            changes["sparsities"] = (sparsity,)
        if method is not None:
            changes["method"] = method
        study = replace(self.study, **changes)
        take_from(study, self.study)
        return study

    def titles(self) -> dict[str, str]:
        """Titles of the models of the last question."""
        how = f"{self.study.method}, {percent(self.study.sparsities[0])}"
        return {"dense": "dense"} | {source: f"{pretty(source)} · {how}" for source in self.study.sources}

    def start(
        self, problem: str | Problem, answer: str | None = None, *, sources: Sequence[str] | None = None,
        sparsity: float | None = None, method: str | None = None, budget: int | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> Asking:  # fmt: skip
        """A question to iterate over: (name, token_id, text) of all models, interleaved."""
        whole = isinstance(budget, int) and not isinstance(budget, bool) and budget >= 1
        check(budget is None or whole, "budget", budget, "None or an integer >= 1")
        sampling = self.sampling if budget is None else replace(self.sampling, max_new_tokens=budget)
        problem = self.problem(problem, answer)
        say(f"Loading {self.study.model} …")
        prompt_ids(self.study.dense, problem)  # refuses what cannot be asked before anything is pruned for it
        models = self.models(sources, sparsity, method, say)
        return Asking(problem, models, sampling, self.titles())

    def ask(self, problem: str | Problem, answer: str | None = None, **choices: Any) -> Answers:
        """Ask, wait, and compare. Interrupting the kernel stops the answers and keeps what there is.

        problem: a text, the id or the text of a test problem, or a Problem. answer: its key, where none is known. choices:
        sources, sparsity, method, budget, where they should not be what they were last.

        Raises ParameterError for what is not allowed, DataError for a problem that the model cannot read or has no room for.
        """
        unknown_choice = set(choices) - {"sources", "sparsity", "method", "budget"}
        if unknown_choice:
            raise unknown("the choice", sorted(unknown_choice)[0], ("sources", "sparsity", "method", "budget"))
        asking = self.start(problem, answer, **choices)
        try:
            for _ in asking:
                pass
        except KeyboardInterrupt:
            asking.stop()
        return answers_of(asking)

    def panel(self):
        """The controls, an ipywidgets VBox; one for the playground."""
        if self._panel is None:
            from racviz.play.widget import Panel

            self._panel = Panel(self)
        return self._panel

    def __repr__(self) -> str:
        return f"Playground({self.study.model!r}, {', '.join(self.titles().values())}); play.ask('…') answers without widgets"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any):
        shown = self.panel()._repr_mimebundle_(include=include, exclude=exclude)
        return shown | {"text/plain": repr(self)}  # where there are no widgets


def check_sparsity(sparsity: Any) -> None:
    number = isinstance(sparsity, int | float) and not isinstance(sparsity, bool)
    if not (number and 0 <= sparsity < 1):
        raise ParameterError(f"sparsity must be a number in [0, 1), the fraction of zeros; not {sparsity!r}.")
