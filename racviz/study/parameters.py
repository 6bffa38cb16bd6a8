"""The parameters of a comparison: the names and defaults that notebooks and the command line share."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from racviz.exceptions import ParameterError, check, unknown
from racviz.generation import Sampling, check_backend
from racviz.interchange import is_traces
from racviz.models import DTYPES
from racviz.printable import holds_secret, placeless
from racviz.problems import DOMAINS
from racviz.problems.tables import Table
from racviz.pruning import MODES, Pattern, Scope, solver_named
from racviz.pruning.allocation import ALLOCATIONS
from racviz.sources import SOURCES, needing
from racviz.store import Store
from racviz.study.memory import Memory


def parameter(default: Any, help_text: str) -> Any:
    """Dataclass field of a parameter, with the help that reports and their catalogue show."""
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class Parameters:
    """Checked parameters of a study: the one place of their defaults, types and help."""

    model: str = parameter(
        "tiny-reasoner", "tiny-reasoner, tiny-reasoner-small, smollm2, a local folder, or a hub id owner/name[@revision]"
    )
    thinking: str = parameter(
        "auto", "how the model marks its thought: auto, deepseek-r1, qwen3, qwen3-off, plain, …, or two markers"
    )
    trust_remote_code: bool = parameter(False, "run code that comes with the model")
    domain: str = parameter(
        "arithmetic", "embedded problem set (arithmetic or tracing), or a label where test_problems is given"
    )
    calibration_problems: str = parameter(
        "", "file (JSONL, CSV, Parquet) or hub data set to calibrate on, empty for the domain"
    )
    test_problems: str = parameter("", "file or hub data set to test on, empty for the domain")
    generic_text: str = parameter("", "file, c4 or another hub data set for generic calibration, empty for the packaged text")
    sources: tuple[str, ...] = parameter(
        ("generic", "prompt", "rac"), "calibration sources: generic, prompt, rac, prompt-same-problems"
    )
    trace_source: str = parameter(
        "own", "own traces (on-policy), another model or a file of traces (off-policy), or teacher (the text that taught it)"
    )
    calibration_tokens: int = parameter(32_768, "tokens in each calibration set, the same for every source")
    t_max: int = parameter(1024, "cap on new tokens when tracing")
    budget: int = parameter(1024, "cap on new tokens when answering")
    method: str = parameter("sparsegpt", "magnitude, wanda, sparsegpt or alps; with +refit, least squares on its mask")
    sparsities: tuple[float, ...] = parameter((0.5,), "fractions of zeros a layer")
    pattern: str = parameter("unstructured", "unstructured, or n:m for n zeros in every m, e.g. 2:4 (with sparsities [0.5])")
    allocation: str = parameter("uniform", "how zeros are shared out over the linears: uniform or owl")
    scope: str = parameter("all", "which linears: all, mlp, or a regular expression")
    thirds: tuple[int, ...] = parameter((1, 2, 3), "which thirds of the depth")
    mode: str = parameter("one-pass", "one-pass (second moments of the dense model) or sequential (block by block)")
    problems: int = parameter(100, "number of test problems")
    samples: int = parameter(1, "answers sampled for each test problem")
    temperature: float = parameter(0.6, "temperature of sampling")
    top_p: float = parameter(0.95, "nucleus of sampling; 1 is off")
    backend: str = parameter("hf", "generation backend: hf, vllm, or the address of a vLLM server")
    device: str = parameter("auto", "auto, cpu, cuda, or map (spread over all GPUs)")
    dtype: str = parameter("auto", "auto, float32, bfloat16, float16")
    batch_size: int = parameter(128, "sequences generated at a time")
    seed: int = parameter(0, "seed of sampling and of drawing calibration text")
    run: str = parameter("study", "folder under runs/ for tables and manifest, or a path")
    sequence_length: int = parameter(512, "tokens of a window of generic text")
    store: Store = field(default_factory=Store.default, compare=False, repr=False)
    progress: bool = field(default=True, compare=False, repr=False)
    memory: Memory = field(default_factory=Memory, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("sources", "sparsities", "thirds"):
            value = getattr(self, name)
            check(isinstance(value, list | tuple) and bool(value), name, value, "a list that is not empty")
            check(len(set(map(str, value))) == len(value), name, value, "a list in which nothing stands twice")
            object.__setattr__(self, name, tuple(value))
        for source in self.sources:
            if source not in SOURCES:
                raise unknown("sources", source, SOURCES)
        for name, allowed in (("mode", MODES), ("allocation", ALLOCATIONS)):
            if getattr(self, name) not in allowed:
                raise unknown(name, getattr(self, name), allowed)
        for name in (
            "model",
            "domain",
            "trace_source",
            "test_problems",
            "calibration_problems",
            "generic_text",
            "backend",
            "run",
        ):
            refuse_secret(name, getattr(self, name))
        check_backend(self.backend)
        self._check_teacher()
        tell_apart([str(self.model), str(self.trace_source)])
        check(isinstance(self.trust_remote_code, bool), "trust_remote_code", self.trust_remote_code, "true or false")
        check(isinstance(self.method, str), "method", self.method, "a solver's name")
        solver_named(self.method)
        pattern = Pattern.parse(self.pattern)
        for sparsity in self.sparsities:
            ok = isinstance(sparsity, int | float) and not isinstance(sparsity, bool) and 0 <= sparsity < 1
            check(ok, "sparsities", sparsity, "numbers in [0, 1), each a fraction of zeros")
            pattern.resolve(sparsity)
        for name in ("calibration_tokens", "t_max", "budget", "problems", "samples", "batch_size", "sequence_length"):
            value = getattr(self, name)
            check(isinstance(value, int) and not isinstance(value, bool) and value >= 1, name, value, "an integer >= 1")
        optional = ("calibration_problems", "test_problems", "generic_text")
        for name in ("model", "domain", "trace_source", "scope", "device", "thinking", "run", *optional):
            value = str(getattr(self, name)) if isinstance(getattr(self, name), Path) else getattr(self, name)
            check(isinstance(value, str) and bool(value.strip() or name in optional), name, value, "a name or a path")
            object.__setattr__(self, name, value)
        if self.test_problems:
            self._check_calibration_problems()
            if self.domain in DOMAINS:  # left as it was: a label of something else
                name = str(Table(self.test_problems.partition("?")[0]))
                object.__setattr__(self, "domain", name.rpartition("/")[2].partition(".")[0])
        if self.dtype not in ("auto", *DTYPES):
            raise unknown("dtype", self.dtype, ("auto", *DTYPES))
        Scope(self.scope, self.thirds)
        Sampling(self.budget, self.temperature, self.top_p, self.seed)

    def _check_teacher(self) -> None:
        if self.trace_source == "teacher" and self.calibration_problems:
            raise ParameterError(
                "trace_source='teacher' writes on the embedded domain's own calibration problems; calibration_problems must be empty "
                "with it."
            )

    def _check_calibration_problems(self) -> None:
        """Another set of test problems with the embedded domain's calibration problems would be a comparison that nobody asked for."""
        traced = [] if is_traces(self.trace_source) else needing("traces", self.sources)
        asked = ", ".join(sorted({*needing("problems", self.sources), *traced}))
        if asked and not self.calibration_problems:
            raise ParameterError(
                f"calibration_problems must be given where test_problems is, since the sources {asked} calibrate on problems: a file, "
                f"a hub id, or one of {', '.join(DOMAINS)}."
            )


def refuse_secret(name: str, value: Any) -> None:
    """Raise ParameterError for a parameter that holds a key or a password: parameters are written into notebooks and manifests."""
    if holds_secret(value):
        raise ParameterError(
            f"{name} holds a credential, which would be written into reports; set RACVIZ_VLLM_API_KEY or HF_TOKEN in the environment."
        )


def tell_apart(models: Iterable[str]) -> None:
    """Raise ParameterError for models whose names in results, which hold no folders of this machine, would be the same."""
    names: dict[str, str] = {}
    for model in models:
        name = placeless(model)
        if names.setdefault(name, model) != model:
            raise ParameterError(f"model: {names[name]!r} and {model!r} are both called {name!r} in results; rename a folder.")


def parameter_names() -> list[str]:
    """Names of a study's parameters: every field but the store, the progress bars and the memory."""
    return [f.name for f in fields(Parameters) if f.name not in ("store", "progress", "memory")]


def described() -> dict[str, dict[str, str]]:
    """Default as Python source, type and help of every parameter, by name."""
    return {
        f.name: {"default": literal(f.default), "type": _type_name(f.type), "help": f.metadata["help"]}
        for f in fields(Parameters)
        if "help" in f.metadata
    }


def literal(value: Any) -> str:
    """Python source of a plain value; tuples as lists, text in double quotes."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _type_name(annotation: Any) -> str:
    """`list[str]` for `tuple[str, ...]`, else the name of the type."""
    arguments = get_args(annotation)
    return f"list[{arguments[0].__name__}]" if arguments else annotation.__name__


def as_parameters(study: Parameters) -> dict[str, Any]:
    """The study's parameters as plain data, lists for tuples."""
    plain = {name: getattr(study, name) for name in parameter_names()}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
