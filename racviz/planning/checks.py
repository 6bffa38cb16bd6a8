"""Checks of a plan: each looks at one thing without reading weights, says what it found, or raises an error."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from racviz.calibration import CalibrationSet
from racviz.exceptions import DataError, RacvizError
from racviz.generation import check_backend
from racviz.generation.server import Client, Server
from racviz.generation.vllm import Vllm
from racviz.grading import grader_of, refuse_ungradable
from racviz.grading.sandbox import run_program
from racviz.interchange import import_traces, is_traces
from racviz.models import DTYPES, LoadedModel, check_device, provenance_of, tokenizer_fingerprint
from racviz.models.architecture import auto_class
from racviz.models.checkpoints import check_checkpoint
from racviz.models.formats import locate
from racviz.planning.expected import size_text
from racviz.problems import DOMAINS, Problem, ProblemSet, is_hub, load_problems
from racviz.problems.texts import load_texts
from racviz.prompting import thinking_format
from racviz.pruning import Pattern, Scope
from racviz.pruning.blocks import read_columns
from racviz.pruning.cost import Shapes
from racviz.sources import SOURCES
from racviz.study import Study
from racviz.study.steps import TEACHER
from racviz.tiny.teacher import teacher_of

PROBED = 8
"""Problems of a data set on the hub that are looked at; of a file all are."""


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


def problems_of(study: Study, split: str) -> ProblemSet:
    name = (study.test_problems if split == "test" else study.calibration_problems) or study.domain
    if split == "calibration":  # of an embedded domain there are as many as anybody asks for
        return load_problems(name, split=split, limit=PROBED if is_hub(name) else 2_000 if name in DOMAINS else None)
    return load_problems(name, split=split, limit=PROBED if is_hub(name) else study.problems)


def first_text(study: Study) -> str:
    for text in load_texts(study.generic_text, seed=study.seed):
        return text
    raise DataError(f"{study.generic_text!r} holds no texts.")


def backend_of(study: Study, answers: bool, model: LoadedModel | None, test: ProblemSet | None, here: bool) -> str:
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


def shapes_of(study: Study, model: LoadedModel) -> Shapes:
    scope, pattern = Scope(study.scope, study.thirds), Pattern.parse(study.pattern)
    for mine in scope.linears(model.model).values():
        for name, linear in mine.items():
            pattern.check_columns(read_columns(linear), name)
    return Shapes.of(model.model, scope)


def fits(model: LoadedModel, problems: ProblemSet, name: str, cap: int) -> str:
    longest = max(len(model.render(p.text)) for p in problems)
    if longest + cap > model.reach:
        raise DataError(f"a prompt of {longest} tokens and {name}={cap} exceed {model.limit}")
    return f"prompts of up to {longest} tokens and {name}={cap} fit into {model.reach}"


def maker_of_traces(study: Study, model: LoadedModel, on: str) -> str:
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


def device_here(device: str) -> str:
    if device not in ("auto", "map"):
        check_device(device)
    return device


def on_file(study: Study, source: str) -> bool:
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


def apart(test: ProblemSet, train: ProblemSet) -> str:
    _disjoint(test, (p.content_hash for p in train), "are among the calibration problems")
    return f"none of the {len(test)} test problems is among the {len(train)} that were looked at"


def gradable(test: ProblemSet) -> str:
    refuse_ungradable(test)
    kinds = sorted({grader_of(p) for p in test})
    if "program" in kinds:
        run_program("")
    return f"every problem has a key; {', '.join(kinds)}"


def weights_of(study: Study) -> str:
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


def without(made: CalibrationSet, test: ProblemSet | None) -> CalibrationSet:
    _disjoint(test or (), made.problems, "are in it")
    return made


def uncalibrated(model: LoadedModel, test: ProblemSet) -> str:
    _disjoint(test, model.calibrated_on, f"calibrated {model.name!r}, which is pruned already")
    return f"pruned before, on {len(model.calibrated_on)} problems" if model.provenance else "nothing, it is not pruned"


def reachable(study: Study, model: LoadedModel, train: ProblemSet) -> str:
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


def room(study: Study, needed: int) -> str:
    root = study.store.root
    while not root.exists():
        root = root.parent
    free = shutil.disk_usage(root).free
    if needed > free:
        raise DataError(
            f"{size_text(needed)} are needed in the cache, {size_text(free)} are free; set RACVIZ_CACHE to a folder elsewhere"
        )
    return f"{size_text(needed)} needed, {size_text(free)} free in the cache"


def parameters_of(model: LoadedModel) -> int:
    return sum(p.numel() for p in model.model.parameters())


def format_in_words(form) -> str:
    if form.end is None:
        return "no markers: the whole answer is the thought"
    return f"{form.start} … {form.end}, {'opened by the prompt' if form.opened else 'written by the model'}"


def short(text: str, length: int = 60) -> str:
    shown = repr(text)
    return shown if len(shown) <= length else shown[: length - 2] + "…'"
