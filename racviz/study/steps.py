"""The steps of a comparison in the order of the house, each cached by content."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from racviz.calibration import CalibrationSet, calibration_set
from racviz.evaluation import Evaluation, evaluate
from racviz.exceptions import NotInStore, ParameterError
from racviz.generation import Sampling, backend_key, kind_of, opened
from racviz.grading import refuse_ungradable
from racviz.interchange import import_traces, is_traces
from racviz.interchange.reading import is_own
from racviz.layerwise import layerwise_errors
from racviz.models import LoadedModel, load_model
from racviz.printable import placeless
from racviz.problems import ProblemSet, load_problems
from racviz.problems.texts import load_texts
from racviz.processes.threads import small_on_a_cpu
from racviz.progress import progress_bar, show_lines
from racviz.pruning import Scope, SecondMoments, prune, second_moments
from racviz.pruning.blocks import decoder_blocks, read_columns, spread
from racviz.reconstruction import ReconstructionErrors, reconstruction_errors
from racviz.sources import SOURCES
from racviz.store import atomic, hash_file, key_of
from racviz.store.parquet import read_parquet, write_parquet
from racviz.study.parameters import Parameters
from racviz.traces import Traces, generate_traces

CHUNK, LARGEST = 64, 1024
"""Problems traced at a time until there are enough calibration tokens. Backends that batch by themselves get twice as many each time, up
to the second number: sizes that do not depend on how many tokens are asked for, so that traces are found again."""
LARGE = ("checkpoints", "errors", "evaluations")
"""Steps that are worth another process where one of them is not in the store."""
TEACHER = "teacher"
"""The trace_source that is the text which an embedded model was taught."""
REUSED_MOMENTS = 2**30
"""Bytes: second moments are kept for the next sparsity where those of all sources take no more; else they are made anew."""


class Steps(Parameters):
    """Traces, calibration sets, pruned models, errors and answers of one comparison, made once and then read."""

    @property
    def folder(self) -> Path:
        """Where this run's tables go."""
        return Path(self.run) if "/" in self.run or "\\" in self.run else Path("runs") / self.run

    @property
    def dense(self) -> LoadedModel:
        return self._once("dense", "", lambda: self._load(self.model))

    def _load(self, name: str | Path) -> LoadedModel:
        how = dict(device=self.device, dtype=self.dtype, thinking=self.thinking, trust_remote_code=self.trust_remote_code)
        return load_model(name, **how)

    @property
    def tracer(self) -> LoadedModel:
        """The model whose traces calibrate."""
        if self.trace_source in ("own", self.model, TEACHER):
            return self.dense
        return self._once("tracer", "", lambda: self._load(self.trace_source))

    def test(self) -> ProblemSet:
        return self._once(
            "test", "", lambda: load_problems(self.test_problems or self.domain, split="test", limit=self.problems)
        )

    def calibration_pool(self, count: int) -> ProblemSet:
        """The first `count` calibration problems, or as many as there are."""
        return load_problems(self.calibration_problems or self.domain, split="calibration", limit=count)

    def traces(self) -> Traces:
        """Sampled traces of the tracer on calibration problems, as many as `calibration_tokens` asks for."""
        return self._once("traces", "", self._traces)

    def _traces(self) -> Traces:
        if is_traces(self.trace_source):
            own = is_own(Path(self.trace_source))  # read whole, so that they calibrate as they would have without a file
            return import_traces(self.trace_source, self.dense, tokens=None if own else 4 * self.calibration_tokens)
        if self.trace_source == TEACHER:
            return self._teacher_traces()
        sampling = Sampling(self.t_max, self.temperature, self.top_p, self.seed)
        rows: list = []
        tokens, count = 0, 0
        pool = self.calibration_pool(8 * CHUNK)
        with opened(self.tracer, self.backend) as running:
            while tokens < self.calibration_tokens:
                size = CHUNK if running.by_batch else max(CHUNK, min(count, LARGEST))
                while count + size > len(pool) and (more := self.calibration_pool(2 * len(pool))) and len(more) > len(pool):
                    pool = more  # generated problems come from the first on
                chunk = pool[count : count + size] if len(pool) > count else None
                if chunk is None:
                    break  # calibration_set says how many tokens there are
                made = self._cached(
                    "traces", dict(model=self.tracer.fingerprint, problems=chunk.fingerprint, sampling=sampling,
                                   backend=backend_key(self.backend)),
                    lambda folder, chunk=chunk: generate_traces(
                        self.tracer, chunk, sampling, **self._how | {"backend": running}
                    ).save(folder / "data.parquet"), lambda folder: Traces.load(folder / "data.parquet"),
                )  # fmt: skip
                rows += made.rows
                tokens += sum(min(self._window, len(t)) for t in made)
                count += len(chunk)
        return Traces(tuple(rows), made.model, made.model_fingerprint, made.tokenizer, made.sampling)

    def _teacher_traces(self) -> Traces:
        """Traces by the embedded model's teacher, on as many problems as `calibration_tokens` asks for."""
        from racviz.tiny.teacher import teacher_traces

        rows: list = []
        while sum(min(self._window, len(t)) for t in rows) < self.calibration_tokens:
            made = teacher_traces(self.dense, self.domain, len(rows), CHUNK, self.t_max)
            rows += made.rows
        return replace(made, rows=tuple(rows))

    @property
    def _window(self) -> int:
        """Room for any trace: the thought's cap and a prompt."""
        return self.t_max + self.sequence_length

    def rollouts(self) -> Traces:
        """The dense model's greedy rollouts on the test problems: the fixed sequences of Figure 2."""
        sampling = Sampling(self.budget, temperature=0.0, seed=self.seed)
        return self._cached(
            "traces", dict(model=self.dense.fingerprint, problems=self.test().fingerprint, sampling=sampling,
                 backend=backend_key(self.backend)),
            lambda folder: generate_traces(
                self.dense, self.test(), sampling, **self._how
            ).save(folder / "data.parquet"), lambda folder: Traces.load(folder / "data.parquet"),
        )  # fmt: skip

    def calibration(self, source: str) -> CalibrationSet:
        """The calibration set of a source, at `calibration_tokens` tokens."""
        return self._once("calibration", source, lambda: self._calibration(source))

    def calibrate_with(self, source: str, calibration: CalibrationSet) -> None:
        """Let a calibration set of one's own stand for a source; keys of artefacts hold its content, not its name."""
        self.memory.forget(self, "moments", source)
        self.memory.put(self, "calibration", source, calibration)

    def _calibration(self, source: str) -> CalibrationSet:
        options = dict(tokens=self.calibration_tokens, seed=self.seed)
        kind = SOURCES[source]
        if kind.needs == "texts":
            texts = load_texts(self.generic_text, seed=self.seed) if self.generic_text else None
            options |= dict(sequence_length=self.sequence_length, packed=bool(self.generic_text))
            return calibration_set(source, self.dense, texts=texts, **options)
        if kind.needs == "problems":
            count = max(256, self.calibration_tokens // 20)  # hardly any prompt is shorter than 20 tokens
            return calibration_set(
                source, self.dense, problems=self.calibration_pool(count), sequence_length=self._window, **options
            )
        options |= dict(sequence_length=self._window, allow_fewer=kind.may_be_short)
        return calibration_set(source, self.dense, traces=self.traces(), **options)

    def prune(self, source: str, sparsity: float, mode: str | None = None) -> LoadedModel:
        """The model pruned with one source to one sparsity."""
        mode = mode or self.mode
        parameters = dict(
            method=self.method,
            sparsity=float(sparsity),
            pattern=self.pattern,
            allocation=self.allocation,
            scope=self.scope,
            thirds=self.thirds,
            mode=mode,
        )
        calibration = self.calibration(source)

        def make(folder: Path) -> None:
            how: dict[str, Any] = dict(calibration=calibration)
            if mode == "one-pass" and self._moments_bytes() <= REUSED_MOMENTS:
                how = dict(moments=self._once("moments", source, lambda: self._moments(calibration)))
            prune(self.dense, **how, **parameters, progress=self.progress).save(folder / "checkpoint")

        key = dict(model=self.dense.fingerprint, calibration=calibration.fingerprint, **parameters)
        label = f"{source} {sparsity:.0%} {mode}"
        return self._cached("checkpoints", key, make, lambda folder: self._load_pruned(folder / "checkpoint", label))

    def _moments(self, calibration: CalibrationSet) -> SecondMoments:
        """For every sparsity, pattern and method: a factor depends on none of them."""
        made = second_moments(self.dense, calibration, scope=self.scope, thirds=self.thirds)
        made.keep_factors = True
        return made

    def _moments_bytes(self) -> int:
        """Upper bound on the bytes of all sources' second moments and factors: fp32, prompt and decode apart, a linear each."""
        linears = Scope(self.scope, self.thirds).linears(self.dense.model)
        return len(self.sources) * sum(16 * read_columns(linear) ** 2 for mine in linears.values() for linear in mine.values())

    def _load_pruned(self, folder: Path, label: str) -> LoadedModel:
        loaded = self._load(folder)
        loaded.name = f"{self.model} · {label}"
        return loaded

    def errors(
        self, sparsity: float, mode: str | None = None, layer: str | int = "final", metric: str = "hidden"
    ) -> ReconstructionErrors:
        """Tokenwise errors of every source at one sparsity, along the rollouts; also written to the run folder.

        layer: after which they are taken; metric: what is compared. See `reconstruction_errors`.
        """
        mode = mode or self.mode

        def compute() -> ReconstructionErrors:
            pruned = {source: lambda source=source: self.prune(source, sparsity, mode) for source in self.sources}
            if small_on_a_cpu(self.dense):  # all at once in memory: the dense model goes over the rollouts once
                pruned = {source: load() for source, load in pruned.items()}
            result = reconstruction_errors(
                self.dense, pruned, self.rollouts(), metric=metric, layer=layer, progress=self.progress
            )
            return ReconstructionErrors(
                result.frame,
                result.label | dict(domain=self.domain, seed=self.seed, calibration_tokens=self.calibration_tokens),
            )

        key = dict(
            rollouts=self.rollouts().fingerprint,
            pruned=[self._cell_key(s, sparsity, mode) for s in self.sources],
            seed=self.seed,
            **({} if layer == "final" else {"layer": layer}),
            **({} if metric == "hidden" else {"metric": metric}),
        )
        result = self._cached(
            "errors", key, lambda f: compute().save(f / "data.parquet"), lambda f: ReconstructionErrors.load(f / "data.parquet")
        )
        made = self.store.path("errors", key_of(kind="errors", **key)) / "data.parquet"
        shown = self.folder / "errors" / f"{metric}-{layer}-{sparsity:g}-{mode}{self._told_apart()}.parquet"
        if not (shown.is_file() and hash_file(shown) == hash_file(made)):  # a file that stays as it was is not replaced
            with atomic(shown) as draft:
                shutil.copyfile(made, draft)
        return result

    def _told_apart(self) -> str:
        """Suffix that distinguishes this variant's files from those of its base study."""
        parts = (f"-{name}={value}" for name, value in self.memory.variant.items())
        return re.sub(r"[^\w.,=+-]+", "_", "".join(parts))

    def depths(self) -> list[int | str]:
        """Layers to take errors after, evenly over the depth: blocks by their index, and `final`."""
        return [*spread(len(decoder_blocks(self.dense.model)[1])), "final"]

    def label(self, sparsity: float) -> dict[str, Any]:
        """Provenance of the models of one sparsity, for captions."""
        return dict(model=placeless(self.model), domain=self.domain, method=self.method, sparsity=sparsity, mode=self.mode, seed=self.seed,
                    calibration_tokens=self.calibration_tokens, rollouts=len(self.test()))  # fmt: skip

    def layerwise(self, sparsity: float, mode: str | None = None):
        """Layer-wise errors of every source at one sparsity on the rollouts; a frame."""

        def make(folder: Path) -> None:
            pruned = {source: self.prune(source, sparsity, mode) for source in self.sources}
            write_parquet(folder / "data.parquet", layerwise_errors(self.dense, pruned, self.rollouts()), {})

        key = dict(
            rollouts=self.rollouts().fingerprint, pruned=[self._cell_key(s, sparsity, mode or self.mode) for s in self.sources]
        )
        return self._cached("layerwise", key, make, lambda folder: read_parquet(folder / "data.parquet")[0])

    def show_keys(self) -> None:
        """Print three keys and the manner of grading, once, before hours are spent. Raises DataError for problems without a key."""
        from racviz.grading.showing import key_lines

        def shown() -> bool:
            refuse_ungradable(self.test())
            if self.progress:
                show_lines([f"Keys of {self.test().name} (the first, and the longest):", *key_lines(self.test())])
            return True

        self._once("shown", "", shown)

    def evaluation(self, source: str, sparsity: float) -> Evaluation:
        """Sampled answers on the test problems; source `dense` is the model itself."""
        self.show_keys()
        if source != "dense":
            self.can_answer()
        loaded = self.dense if source == "dense" else self.prune(source, sparsity)
        key = dict(
            model=loaded.fingerprint,
            problems=self.test().fingerprint,
            sampling=self._sampling,
            samples=self.samples,
            backend=backend_key(self.backend),
        )

        def make(folder: Path) -> None:
            answered = evaluate(loaded, self.test(), self._sampling, samples=self.samples, **self._how)
            answered.save(folder / "data.parquet")

        return self._cached("evaluations", key, make, lambda folder: Evaluation.load(folder / "data.parquet"))

    def compares(self, *needed: str) -> None:
        """Raise ParameterError where one of the sources that a report compares is not among those of the study."""
        if missing := [source for source in needed if source not in self.sources]:
            raise ParameterError(
                f"sources must hold {' and '.join(needed)}, which this report compares; {', '.join(missing)} is missing."
            )

    def can_answer(self) -> None:
        """Raise ParameterError where the backend cannot run the pruned models that are made on the way."""
        if kind_of(self.backend).serves_one:
            raise ParameterError(
                f"backend={self.backend!r} serves one model, but pruned ones have to answer too; take 'hf' or 'vllm' here. (A server "
                "can make traces and greedy rollouts; a pruned model that was saved and is served is evaluated by `racviz evaluate`.)"
            )

    @property
    def _sampling(self) -> Sampling:
        """Sampling of the answers to test problems."""
        return Sampling(self.budget, self.temperature, self.top_p, self.seed)

    @property
    def _how(self) -> dict[str, Any]:
        """Options of generation, for every step that generates."""
        return dict(backend=self.backend, batch_size=self.batch_size, store=self.store, progress=self.progress)

    def _once(self, step: str, source: str, make: Callable[[], Any]) -> Any:
        return self.memory.once(self, step, source, make)

    def _cached(self, kind: str, parts: dict[str, Any], make, read):
        def made(folder: Path) -> None:
            if kind in LARGE and (others := self.memory.others):
                others.start()
            make(folder)

        key = key_of(kind=kind, **parts)
        if self.memory.cached_only and not self.store.path(kind, key).exists():
            raise NotInStore(f"the {kind} of this run are not in the cache, {self.store.root}; run the study to make them.")
        self.memory.keys[key] = kind
        return self.store.cached(kind, parts, made, read)

    def _cell_key(self, source: str, sparsity: float, mode: str) -> dict[str, Any]:
        if source == "dense":
            return {"model": self.dense.fingerprint}
        calibration = self.calibration(source).fingerprint
        return dict(model=self.dense.fingerprint, source=source, calibration=calibration, method=self.method, sparsity=float(sparsity),
                    pattern=self.pattern, allocation=self.allocation, scope=self.scope, thirds=self.thirds, mode=mode)  # fmt: skip

    def _shown(self, items: list, doing: str):
        return progress_bar(items, desc=doing, unit="cell", shown=self.progress)
