"""Plan of a report: its steps, their expected cost, and checks of its names, columns and templates; no weights are read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from racviz.exceptions import RacvizError, check, unknown
from racviz.grading.showing import key_lines
from racviz.interchange import import_traces, is_traces
from racviz.models import LoadedModel
from racviz.planning import checks
from racviz.planning.expected import Expectation, Step, cards, size_text, time_text
from racviz.problems import ProblemSet
from racviz.pruning.cost import Machine, Shapes
from racviz.sources import needing
from racviz.study import Study, check_timing
from racviz.study.contents import TIMED, Contents, parts_of
from racviz.study.steps import TEACHER

MACHINES = {
    "a100": Machine(1.95e13, 2.0e12, half_flops=1.5e14),
    "h100": Machine(6.0e13, 3.3e12, half_flops=4.0e14),
}
"""By their data sheets, with half of the peak for products in 16 bit; nothing was measured on them."""


@dataclass
class Plan:
    """Steps in order, and what could be checked: (what, whether it is right, what was found)."""

    steps: list[Step] = field(default_factory=list)
    checks: list[tuple[str, bool, str]] = field(default_factory=list)
    machine: str = ""
    keys: list[str] = field(default_factory=list)
    """A few keys, and the manner in which answers are held against them."""

    @property
    def right(self) -> bool:
        return all(ok for _, ok, _ in self.checks)

    @property
    def seconds(self) -> float | None:
        """Expected seconds of all steps; None if a step's time is unknown, or if there are no steps."""
        if not self.steps or any(step.seconds is None for step in self.steps):
            return None
        return sum(step.seconds for step in self.steps)

    def lines(self) -> list[str]:
        """For people: a line a check, a line a step, and the sum."""
        out = ["Checked without weights:"]
        out += [f"  {'ok ' if ok else 'NOT'} {what}: {found}" for what, ok, found in self.checks]
        out += ["", "Keys (the first, and the longest):", *(f"  {line}" for line in self.keys)] if self.keys else []
        if not self.steps:
            return out
        out += ["", f"Expected ({self.machine}):", f"  {'step':<52} {'tokens':>12} {'time':>10} {'memory':>9} {'disk':>9}"]
        out += [
            f"  {s.what:<52} {s.tokens:>12,} {time_text(s.seconds):>10} {size_text(s.memory):>9} {size_text(s.disk):>9}"
            for s in self.steps
        ]
        known = sum(s.seconds for s in self.steps if s.seconds is not None)
        more = " and what is not known" if any(s.seconds is None for s in self.steps) else ""
        out.append(f"  {'in all':<52} {'':>12} {time_text(known):>10} {size_text(max(s.memory for s in self.steps)):>9} "
                   f"{size_text(sum(s.disk for s in self.steps)):>9}{more}")  # fmt: skip
        return out


def make_plan(
    study: Study, contents: Contents, *, values: Mapping[str, Any] | None = None, on: str = "here", expected_tokens: int | None = None,
) -> Plan:  # fmt: skip
    """The plan of a report.

    contents: from the metadata of its notebook. values: of the notebook's own parameters, such as methods, seeds or timing_problems.
    on: `here` (the CPU of this machine, measured in half a second) or one of MACHINES. expected_tokens: of an answer, on average; None is
    what the embedded models' cards say, and for others the cap, so that times are upper bounds.

    Raises ParameterError for a machine that is none. What is wrong with a name, a column or a template is a check that fails.
    """
    if on != "here" and on not in MACHINES:
        raise unknown("on", on, ("here", *MACHINES))
    values = dict(values or {})
    check_timing(values.get(TIMED, 0))
    check(expected_tokens is None or expected_tokens >= 1, "expected_tokens", expected_tokens, "None or an integer >= 1")
    machine = Machine.measured() if on == "here" else MACHINES[on]
    where = "this CPU" if on == "here" else f"{on} by its data sheet, nothing measured on it"
    length = (
        f"of {expected_tokens} tokens"
        if expected_tokens
        else "as its card says"
        if study.model in cards()
        else "as long as allowed"
    )
    plan = Plan(machine=f"{where}; answers {length}")

    tried = Trials(plan)
    found = _Found()
    _look_at_inputs(tried, found, contents, study, values, on)
    if found.model is None:
        return plan
    _look_at_model(tried, found, study, on)
    _look_at_tokens(tried, found, study)
    if on == "here":
        tried("weights", lambda: checks.weights_of(study), str)
    if None not in (found.shapes, found.test, found.train, found.rendered, found.parts):
        how = Expectation(found.model, machine, "cpu" if on == "here" else "cuda", expected_tokens)
        own = is_traces(study.trace_source)
        plan.steps = how.steps(found.parts, found.test, found.train, values.get(TIMED, 0), own)
        tried("room on disk", lambda: checks.room(study, sum(step.disk for step in plan.steps)), str)
    return plan


@dataclass
class _Found:
    """The results of a plan's checks; None where one failed or was not made."""

    parts: Any = None
    model: Any = None
    """Without weights."""
    test: Any = None
    train: Any = None
    rendered: Any = None
    shapes: Any = None


@dataclass(frozen=True)
class Trials:
    """Checks of a plan, written down as they are made."""

    plan: Plan

    def __call__(self, what: str, make: Callable[[], Any], say: Callable[[Any], str]) -> Any:
        """The result of `make`, or None where it raises; what it says goes into the plan."""
        try:
            made = make()
            self.plan.checks.append((what, True, say(made)))
            return made
        except RacvizError as error:
            said = re.sub(r", or pass allow_fewer=True[^.]*", "", str(error).split("\n")[0])  # which no report takes
            self.plan.checks.append((what, False, said))
            return None


def _look_at_inputs(tried: Trials, found: _Found, contents: Contents, study: Study, values: Mapping[str, Any], on: str) -> None:
    """Check the report's comparisons, the model's small files, problems, backend and texts."""
    found.parts = tried("comparisons", lambda: parts_of(contents, study, values), lambda parts: f"{len(parts)} of them")
    found.model = tried("model", lambda: checks.on_meta(study, on), _model_in_words)
    if contents.compares:
        tried("sources", lambda: study.compares(*contents.compares), lambda _: ", ".join(study.sources))
    found.test = tried("test problems", lambda: checks.problems_of(study, "test"), _problems_in_words)
    here = on == "here"
    tried("backend", lambda: checks.backend_of(study, contents.answers, found.model, found.test, here), str)
    if found.test is not None and contents.answers:
        graded = tried("grading", lambda: checks.gradable(found.test), str)
        tried.plan.keys = key_lines(found.test) if graded else []
    found.train = tried("calibration problems", lambda: checks.problems_of(study, "calibration"), _problems_in_words)
    if needing("texts", study.sources):
        tried("generic text", lambda: checks.first_text(study), checks.short)


def _look_at_model(tried: Trials, found: _Found, study: Study, on: str) -> None:
    """Check template, thinking format, traces, linears, device and context."""
    model, own = found.model, is_traces(study.trace_source)
    found.rendered = tried(
        "chat template", lambda: model.render("…"), lambda ids: checks.short(model.tokenizer.decode(ids), 120)
    )
    tried("thinking", lambda: model.thinking, checks.format_in_words)
    if own:
        tried("traces", lambda: import_traces(study.trace_source, model, limit=1), lambda traces: f"by {traces.model}")
    found.shapes = tried("scope and pattern", lambda: checks.shapes_of(study, model), _shapes_in_words)
    for source in dict.fromkeys(part.study.trace_source for part in found.parts or ()):
        if source != study.trace_source or not own:
            other = replace(study, trace_source=source)
            tried(f"trace_source {source}", lambda other=other: checks.maker_of_traces(other, model, on), str)
    tried("device", lambda: checks.device_here(study.device) if on == "here" else study.device, str)
    if found.test is not None:
        tried("context", lambda: checks.fits(model, found.test, "budget", study.budget), str)
    if found.train is not None and needing("traces", study.sources) and not own:
        tried("context of traces", lambda: checks.fits(model, found.train, "t_max", study.t_max), str)


def _look_at_tokens(tried: Trials, found: _Found, study: Study) -> None:
    """Check that there are calibration tokens enough, and that no test problem calibrates."""
    model, test, train = found.model, found.test, found.train
    if found.rendered:
        planned = replace(study)
        planned.memory.put(planned, "dense", "", model)  # whose tokenizer is all that a calibration set needs
        for source in study.sources:
            if checks.on_file(study, source):
                tried(
                    f"{source} tokens",
                    lambda source=source: checks.without(planned.calibration(source), test),
                    lambda made: f"{made.tokens:,} of {study.calibration_tokens:,}",
                )
        own = study.trace_source == TEACHER or is_traces(study.trace_source)
        if needing("traces", study.sources) and train is not None and not own:
            tried("traced tokens", lambda: checks.reachable(study, model, train), str)
    if test is not None:
        tried("what calibrated the model", lambda: checks.uncalibrated(model, test), str)
    if None not in (test, train) and set(study.sources) - set(needing("texts", study.sources)):
        tried("overlap", lambda: checks.apart(test, train), str)


def _model_in_words(model: LoadedModel) -> str:
    return f"{model.name}, {checks.parameters_of(model) / 1e9:.3g}B parameters, {model.dtype}"


def _problems_in_words(problems: ProblemSet) -> str:
    return f"{len(problems)} looked at, the first: {checks.short(problems[0].text)}"


def _shapes_in_words(shapes: Shapes) -> str:
    return f"{len(shapes.linears)} linears in each of {shapes.blocks} blocks"
