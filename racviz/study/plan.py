"""Plan of a report: its steps, their expected cost, and checks of its names, columns and templates; no weights are read."""

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, RacvizError, check, unknown
from racviz.generation import check_backend
from racviz.generation.server import Client, Server
from racviz.generation.vllm import Vllm
from racviz.grading import grader_of, refuse_ungradable
from racviz.grading.sandbox import run_program
from racviz.grading.showing import key_lines
from racviz.interchange import import_traces, is_traces
from racviz.models import DTYPES, LoadedModel, check_device, provenance_of, tokenizer_fingerprint
from racviz.models.architecture import auto_class
from racviz.models.checkpoints import check_checkpoint
from racviz.models.formats import locate
from racviz.problems import DOMAINS, Problem, ProblemSet, is_hub, load_problems
from racviz.problems.texts import load_texts
from racviz.prompting import thinking_format
from racviz.pruning import Pattern, Scope
from racviz.pruning.blocks import read_columns
from racviz.pruning.cost import Machine, Shapes
from racviz.sources import SOURCES, needing
from racviz.study import Study, check_timing
from racviz.study.contents import TIMED, Contents, parts_of
from racviz.study.expected import Expectation, Step, cards, size_text, time_text
from racviz.study.steps import TEACHER
from racviz.tiny.teacher import teacher_of

MACHINES = {
    "a100": Machine(1.95e13, 2.0e12, half_flops=1.5e14),
    "h100": Machine(6.0e13, 3.3e12, half_flops=4.0e14),
}
"""By their data sheets, with half of the peak for products in 16 bit; nothing was measured on them."""
PROBED = 8
"""Problems of a data set on the hub that are looked at; of a file all are."""


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

    def tried(what: str, make: Callable[[], Any], say: Callable[[Any], str]) -> Any:
        try:
            made = make()
            plan.checks.append((what, True, say(made)))
            return made
        except RacvizError as error:
            said = re.sub(r", or pass allow_fewer=True[^.]*", "", str(error).split("\n")[0])  # which no report takes
            plan.checks.append((what, False, said))
            return None

    parts = tried("comparisons", lambda: parts_of(contents, study, values), lambda p: f"{len(p)} of them")
    model = tried("model", lambda: on_meta(study, on), lambda m: f"{m.name}, {_parameters(m) / 1e9:.3g}B parameters, {m.dtype}")
    if contents.compares:
        tried("sources", lambda: study.compares(*contents.compares), lambda _: ", ".join(study.sources))
    test = tried(
        "test problems", lambda: _problems(study, "test"), lambda p: f"{len(p)} looked at, the first: {_short(p[0].text)}"
    )
    tried("backend", lambda: _backend(study, contents.answers, model, test, on == "here"), str)
    own = is_traces(study.trace_source)
    if test is not None and contents.answers:
        plan.keys = key_lines(test) if tried("grading", lambda: _gradable(test), str) else []
    train = tried("calibration problems", lambda: _problems(study, "calibration"),
                  lambda p: f"{len(p)} looked at, the first: {_short(p[0].text)}")  # fmt: skip
    if needing("texts", study.sources):
        tried("generic text", lambda: _first_text(study), _short)
    if model is None:
        return plan
    rendered = tried("chat template", lambda: model.render("…"), lambda ids: _short(model.tokenizer.decode(ids), 120))
    tried("thinking", lambda: model.thinking, _format)
    if own:
        tried("traces", lambda: import_traces(study.trace_source, model, limit=1), lambda t: f"by {t.model}")
    shapes = tried(
        "scope and pattern", lambda: _shapes(study, model), lambda s: f"{len(s.linears)} linears in each of {s.blocks} blocks"
    )
    for source in dict.fromkeys(part.study.trace_source for part in parts or ()):
        if source != study.trace_source or not own:
            tried(f"trace_source {source}", lambda source=source: _maker(replace(study, trace_source=source), model, on), str)
    tried("device", lambda: _device(study.device) if on == "here" else study.device, str)
    if test is not None:
        tried("context", lambda: _fits(model, test, "budget", study.budget), str)
    if train is not None and needing("traces", study.sources) and not own:
        tried("context of traces", lambda: _fits(model, train, "t_max", study.t_max), str)
    if rendered:
        planned, traced = replace(study), bool(needing("traces", study.sources))
        planned.memory.put(planned, "dense", "", model)  # whose tokenizer is all that a calibration set needs
        for source in study.sources:
            if _on_file(study, source):
                tried(
                    f"{source} tokens",
                    lambda source=source: _without(planned.calibration(source), test),
                    lambda c: f"{c.tokens:,} of {study.calibration_tokens:,}",
                )
        if traced and train is not None and study.trace_source != TEACHER and not own:
            tried("traced tokens", lambda: _reachable(study, model, train), str)
    if test is not None:
        tried("what calibrated the model", lambda: _uncalibrated(model, test), str)
    if None not in (test, train) and set(study.sources) - set(needing("texts", study.sources)):
        tried("overlap", lambda: _apart(test, train), str)
    if on == "here":
        tried("weights", lambda: _weights(study), str)
    if None not in (shapes, test, train, rendered, parts):
        how = Expectation(model, machine, "cpu" if on == "here" else "cuda", expected_tokens)
        plan.steps = how.steps(parts, test, train, values.get(TIMED, 0), own)
        tried("room on disk", lambda: _room(study, sum(step.disk for step in plan.steps)), str)
    return plan


def on_meta(study: Study, on: str = "here") -> LoadedModel:
    """The model without its weights: config, shapes and tokenizer. Of a hub id only the small files are fetched."""
    import torch
    from transformers import AutoConfig, AutoTokenizer

    folder, _ = locate(study.model, None, study.trust_remote_code, weights=False)
    check_checkpoint(folder, study.model, weights=False)
    code = {"trust_remote_code": study.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(folder, **code)
        tokenizer = AutoTokenizer.from_pretrained(folder, **code)
        gpu = on != "here" or torch.cuda.is_available()
        dtype = DTYPES.get(study.dtype, (getattr(config, "dtype", None) or torch.bfloat16) if gpu else torch.float32)
        with torch.device("meta"):
            model = auto_class(config, study.model).from_config(config, dtype=dtype, **code)
    except RacvizError:
        raise
    except Exception as error:  # of every kind, for files that are not what they should be
        raise DataError(f"the model {study.model!r} has no config and tokenizer that transformers can load: {error}") from error
    form = thinking_format(tokenizer, study.thinking, study.model)
    return LoadedModel(model, tokenizer, study.model, "", form, provenance_of(folder), folder=folder)


def _problems(study: Study, split: str) -> ProblemSet:
    name = (study.test_problems if split == "test" else study.calibration_problems) or study.domain
    if split == "calibration":  # of an embedded domain there are as many as anybody asks for
        return load_problems(name, split=split, limit=PROBED if is_hub(name) else 2_000 if name in DOMAINS else None)
    return load_problems(name, split=split, limit=PROBED if is_hub(name) else study.problems)


def _first_text(study: Study) -> str:
    for text in load_texts(study.generic_text, seed=study.seed):
        return text
    raise DataError(f"{study.generic_text!r} holds no texts.")


def _backend(study: Study, answers: bool, model: LoadedModel | None, test: ProblemSet | None, here: bool) -> str:
    how = check_backend(study.backend)
    if answers:
        study.can_answer()
    if isinstance(how, Server):
        if not here:
            return f"{how.url}, not asked"
        longest = 1 if model is None or test is None else max(len(model.render(p.text)) for p in test) + study.budget
        return f"{how.url} serves {Client(model, replace(how, retries=0)).choose(longest)!r}"
    if isinstance(how, Vllm):
        return f"{study.backend}, with {how.installed() if here else how.python or 'the interpreter there'}"
    return study.backend


def _shapes(study: Study, model: LoadedModel) -> Shapes:
    scope, pattern = Scope(study.scope, study.thirds), Pattern.parse(study.pattern)
    for mine in scope.linears(model.model).values():
        for name, linear in mine.items():
            pattern.check_columns(read_columns(linear), name)
    return Shapes.of(model.model, scope)


def _fits(model: LoadedModel, problems: ProblemSet, name: str, cap: int) -> str:
    longest = max(len(model.render(p.text)) for p in problems)
    if longest + cap > model.reach:
        raise DataError(f"a prompt of {longest} tokens and {name}={cap} exceed {model.limit}")
    return f"prompts of up to {longest} tokens and {name}={cap} fit into {model.reach}"


def _maker(study: Study, model: LoadedModel, on: str) -> str:
    """The model that makes the traces of a study. Raises where no model can, or where they would mean other text."""
    if study.trace_source in ("own", study.model):
        return "the model itself"
    if study.trace_source == TEACHER:
        teacher_of(model, study.domain)
        return "the embedded model's teacher"
    if is_traces(study.trace_source):
        return f"by {import_traces(study.trace_source, model, limit=1).model}"
    other = on_meta(replace(study, model=study.trace_source), on)
    if tokenizer_fingerprint(other.tokenizer) != tokenizer_fingerprint(model.tokenizer):
        raise DataError(
            f"trace_source {study.trace_source!r} has another tokenizer than {study.model!r}; its traces mean other text there"
        )
    return f"{other.name}, with the same tokenizer"


def _device(device: str) -> str:
    if device not in ("auto", "map"):
        check_device(device)
    return device


def _on_file(study: Study, source: str) -> bool:
    """True if the calibration set of a source can be made from files, without a model's weights."""
    needs = SOURCES[source].needs
    if needs == "texts":
        return not study.generic_text or Path(study.generic_text.partition("?")[0]).exists()
    if needs == "problems":
        return not is_hub(study.calibration_problems or study.domain)
    return Path(study.trace_source.partition("?")[0]).exists() and is_traces(study.trace_source)


def _disjoint(test: Iterable[Problem], hashes: Iterable[str], where: str) -> None:
    """Raise DataError where test problems are among those of `hashes`."""
    shared = {p.content_hash for p in test} & set(hashes)
    if shared:
        raise DataError(f"{len(shared)} of the test problems {where}; a model is not judged on what calibrated it")


def _apart(test: ProblemSet, train: ProblemSet) -> str:
    _disjoint(test, (p.content_hash for p in train), "are among the calibration problems")
    return f"none of the {len(test)} test problems is among the {len(train)} that were looked at"


def _gradable(test: ProblemSet) -> str:
    refuse_ungradable(test)
    kinds = sorted({grader_of(p) for p in test})
    if "program" in kinds:
        run_program("")
    return f"every problem has a key; {', '.join(kinds)}"


def _weights(study: Study) -> str:
    folders = [name for name in (study.model, study.trace_source) if Path(name).is_dir() and not is_traces(name)]
    for name in folders:
        files = list(Path(name).glob("*.safetensors"))
        if not files:
            raise DataError(f"the folder {name!r} has no *.safetensors, the only kind of weights that is read")
        for path in files:
            with path.open("rb") as file:
                header = int.from_bytes(file.read(8), "little")
            if not 2 <= header <= path.stat().st_size - 8:
                raise DataError(f"{path} is no safetensors file; where Git LFS left a pointer, run `git lfs pull`")
    return "safetensors" if folders else "as the hub or the package has them"


def _without(made: CalibrationSet, test: ProblemSet | None) -> CalibrationSet:
    _disjoint(test or (), made.problems, "are in it")
    return made


def _uncalibrated(model: LoadedModel, test: ProblemSet) -> str:
    _disjoint(test, model.calibrated_on, f"calibrated {model.name!r}, which is pruned already")
    return f"pruned before, on {len(model.calibrated_on)} problems" if model.provenance else "nothing, it is not pruned"


def _reachable(study: Study, model: LoadedModel, train: ProblemSet) -> str:
    name = study.calibration_problems or study.domain
    if is_hub(name) or name in DOMAINS:
        return "as many problems as are needed"
    most = sum(min(study._window, len(model.render(p.text)) + study.t_max) for p in train)
    asked = study.calibration_tokens
    if most < asked:
        raise DataError(
            f"the traces of {len(train)} problems have {most:,} tokens at most; calibration_tokens={asked:,} asks for more"
        )
    return f"{most:,} at most for the {asked:,} asked for"


def _room(study: Study, needed: int) -> str:
    root = study.store.root
    while not root.exists():
        root = root.parent
    free = shutil.disk_usage(root).free
    if needed > free:
        raise DataError(
            f"{size_text(needed)} are needed in the cache, {size_text(free)} are free; set RACVIZ_CACHE to a folder elsewhere"
        )
    return f"{size_text(needed)} needed, {size_text(free)} free in the cache"


def _parameters(model: LoadedModel) -> int:
    return sum(p.numel() for p in model.model.parameters())


def _format(form) -> str:
    if form.end is None:
        return "no markers: the whole answer is the thought"
    return f"{form.start} … {form.end}, {'opened by the prompt' if form.opened else 'written by the model'}"


def _short(text: str, length: int = 60) -> str:
    shown = repr(text)
    return shown if len(shown) <= length else shown[: length - 2] + "…'"
