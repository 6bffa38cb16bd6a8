"""The parameters of a comparison: the names and defaults that notebooks and the command line share."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Parameters:
    """What a study is asked for, checked."""

    model: str = "tiny-reasoner"
    """Embedded name, `smollm2`, local folder, or hub id owner/name[@revision]."""
    thinking: str = "auto"
    """How the model marks its thought: see `racviz.prompting.thinking_format`."""
    trust_remote_code: bool = False
    domain: str = "arithmetic"
    """Embedded problem set; or only a label where test_problems is given: by default its name."""
    calibration_problems: str = ""
    """A file or a data set of the hub (see `load_problems`) instead of the domain's calibration problems."""
    test_problems: str = ""
    """A file or a data set of the hub instead of the domain's test problems."""
    generic_text: str = ""
    """A file or a data set of the hub (see `load_texts`) instead of the packaged documentation text."""
    sources: tuple[str, ...] = ("generic", "prompt", "rac")
    trace_source: str = "own"
    """`own` (on-policy); another model with the same tokenizer (off-policy); a file of traces (see `import_traces`); or `teacher`, the
    text that an embedded model was taught."""
    calibration_tokens: int = 32_768
    t_max: int = 1024
    """Cap on new tokens when tracing."""
    budget: int = 1024
    """Cap on new tokens when evaluating."""
    method: str = "sparsegpt"
    sparsities: tuple[float, ...] = (0.5,)
    pattern: str = "unstructured"
    allocation: str = "uniform"
    """How zeros are shared out over the linears: `uniform` or `owl`."""
    scope: str = "all"
    thirds: tuple[int, ...] = (1, 2, 3)
    mode: str = "one-pass"
    problems: int = 100
    """Test problems."""
    samples: int = 1
    temperature: float = 0.6
    top_p: float = 0.95
    backend: str = "hf"
    """`hf`, `vllm` or a server's address, with settings (see `racviz.generation`)."""
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 128
    seed: int = 0
    run: str = "study"
    """Name of the run folder `runs/<run>/`, or a path."""
    sequence_length: int = 512
    """Length of a window of generic text."""
    store: Store = field(default_factory=Store.default, compare=False, repr=False)
    progress: bool = field(default=True, compare=False, repr=False)
    _memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

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
    """What a study is asked for: every field but where it keeps things and whether it shows progress."""
    return [f.name for f in fields(Parameters) if f.name not in ("store", "progress", "_memo")]


def as_parameters(study: Parameters) -> dict[str, Any]:
    """The study's parameters as plain data, lists for tuples."""
    plain = {name: getattr(study, name) for name in parameter_names()}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
