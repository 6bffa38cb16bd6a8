"""Expected cost of a report's steps, from the shapes of the model and the lengths of prompts and answers."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from racviz.generation.cost import Rows, errors_seconds, generation_seconds
from racviz.interchange import is_traces
from racviz.models import LoadedModel
from racviz.problems import Problem
from racviz.pruning import Scope
from racviz.pruning.blocks import spread
from racviz.pruning.cost import Cost, Machine, Shapes, expected_cost
from racviz.sources import needing
from racviz.store import resource
from racviz.study import Study
from racviz.study.contents import Part
from racviz.study.steps import CHUNK, TEACHER
from racviz.study.timing import ROUNDS

STORED = 6
"""Bytes that a generated token takes in the cache, in the batch, the traces and the evaluation."""
SAMPLE = 200
"""Prompts whose mean length stands for all."""


@dataclass(frozen=True)
class Step:
    """One step: what is made, from how many tokens, and what it is expected to take."""

    what: str
    tokens: int
    seconds: float | None
    """None where nothing here can tell, as for a server."""
    memory: int = 0
    """Bytes on the device."""
    disk: int = 0
    """Bytes that stay in the cache."""


def cards() -> dict[str, Any]:
    """The figures of the embedded models' cards, by name."""
    folder = resource("data/models")
    return {p.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in folder.glob("*/figures.json")}


@dataclass(frozen=True)
class Expectation:
    """Cost of the parts of a report for a model of this shape, on a machine."""

    model: LoadedModel
    machine: Machine
    device: str
    answer: int | None
    """Tokens of an answer on average, if somebody knows."""

    def steps(
        self, parts: Sequence[Part], test: Sequence[Problem], train: Sequence[Problem], timing: int, imported: bool
    ) -> list[Step]:
        """The steps of a report, in order; what several parts share is made once.

        imported: the traces come from a file. timing: problems of a timing pass, 0 where there is none.
        """
        study = parts[0].study
        shapes = [Shapes.of(self.model.model, Scope(part.study.scope, part.study.thirds)) for part in parts]
        weights, ask = shapes[0].model_bytes, self._length(test)
        rollouts = Rows(study.problems, ask, *self._answers(study, study.budget), study.batch_size)
        tokens = round(study.problems * (rollouts.prompt + rollouts.mean))
        steps = [Step(f"load {study.model}", 0, weights / self.machine.disk, weights)]
        steps += [] if imported else self._tracing(parts, self._length(train))
        if any(part.errors or part.layers or part.depths for part in parts):
            name = f"greedy rollouts on {study.problems} problems, budget {study.budget}"
            steps.append(self._generating(study, name, rollouts))
        steps += self._prunings(parts, shapes, self._length(train))
        deep = len(spread(shapes[0].blocks))
        for name, turns in (
            ("tokenwise errors of {} models", len({cell for p in parts if p.errors for cell in _cells(p.study)})),
            ("errors at more depths, {} passes", deep * len({cell for p in parts if p.depths for cell in _cells(p.study)})),
        ):
            if turns:
                took = errors_seconds(shapes[0], 2 * turns * tokens, tokens / study.problems, self.machine)
                steps.append(Step(name.format(turns), 2 * turns * tokens, took, 2 * weights))
        if any(part.layers for part in parts):
            cost = self._pruning(shapes[0], tokens, round(tokens / study.problems), "one-pass")
            steps.append(
                Step(
                    "layer-wise errors", tokens, cost.seconds["forward"] + cost.seconds["moments"], weights + cost.total_memory
                )
            )
        if cells := {cell for part in parts if part.answers for cell in _answering(part.study, part.sets)}:
            turns, count = len(cells), study.problems * study.samples
            steps.append(
                self._answering(study, f"answers of {turns} models, {study.samples} a problem", rollouts, count, turns)
            )
            if timing:
                few = min(timing, study.problems)
                turns = len({cell for part in parts if part.timing for cell in _timed(part.study)})
                name = f"timing pass of {turns} models on {few} problems, {ROUNDS} rounds"
                steps.append(self._answering(study, name, rollouts, few, ROUNDS * turns))
        return steps

    def _prunings(self, parts: Sequence[Part], shapes: Sequence[Shapes], ask: float) -> list[Step]:
        """A step a mode: the models that are pruned, each once."""
        made: dict[str, dict[tuple, tuple[int, Cost]]] = {}
        for part, shape in zip(parts, shapes, strict=True):
            study = part.study
            cost = self._pruning(shape, study.calibration_tokens, min(study._window, round(ask + study.t_max)), study.mode)
            made.setdefault(study.mode, {}).update(
                {cell: (study.calibration_tokens, cost) for cell in _cells(study, part.sets)}
            )
        return [
            Step(
                f"prune {len(cells)} models, {mode}", sum(tokens for tokens, _ in cells.values()),
                sum(cost.total_seconds for _, cost in cells.values()),
                shapes[0].model_bytes + max(cost.total_memory for _, cost in cells.values()), len(cells) * shapes[0].model_bytes,
            )
            for mode, cells in made.items()
        ]  # fmt: skip

    def _length(self, problems: Sequence[Problem]) -> float:
        some = problems[:SAMPLE]
        return sum(len(self.model.render(p.text)) for p in some) / len(some)

    def _answers(self, study: Study, cap: int) -> tuple[float, int]:
        """Mean and longest answer: as is known, as the card of an embedded model says, or the cap."""
        card = {} if study.test_problems else cards().get(study.model, {}).get(study.domain, {})
        mean = self.answer or card.get("median_decode") or cap
        return min(float(mean), cap), min(cap, round(3 * mean))

    def _pruning(self, shapes: Shapes, tokens: int, length: int, mode: str) -> Cost:
        return expected_cost(shapes, tokens, self.machine, mode=mode, length=max(1, length), device=self.device)

    def _tracing(self, parts: Sequence[Part], ask: float) -> list[Step]:
        """A step for each tracer, seed and cap, for the most tokens that any part asks of it."""
        most: dict[tuple, Study] = {}
        for study in (part.study for part in parts):
            if needing("traces", study.sources) and study.trace_source != TEACHER and not is_traces(study.trace_source):
                key = study.trace_source, study.seed, study.t_max
                most[key] = max(most.get(key, study), study, key=lambda each: each.calibration_tokens)
        steps = []
        for (source, seed, cap), study in most.items():
            mean, longest = self._answers(study, cap)
            count = math.ceil(study.calibration_tokens / (ask + mean) / CHUNK) * CHUNK
            rows = Rows(count, ask, mean, longest, min(study.batch_size, CHUNK))
            more = "" if source in ("own", study.model) else f" by {source}"
            more += f", seed {seed}" if len({key[1] for key in most}) > 1 else ""
            steps.append(self._generating(study, f"traces of {count} problems, t_max {cap}{more}", rows))
        return steps

    def _answering(self, study: Study, what: str, like: Rows, count: int, times: int) -> Step:
        return self._generating(study, what, Rows(count, like.prompt, like.mean, like.longest, like.batch), times)

    def _generating(self, study: Study, what: str, rows: Rows, times: int = 1) -> Step:
        shapes = Shapes.of(self.model.model)
        known = study.backend == "hf" or (study.backend.startswith("vllm") and self.device == "cuda")
        seconds = times * generating_seconds(self.model.model, rows, self.machine) if known else None
        cache = (
            kv_width(self.model.model)
            * shapes.blocks
            * shapes.itemsize
            * (rows.prompt + rows.longest)
            * min(rows.batch, rows.count)
        )
        return Step(what, times * rows.tokens, seconds, round(shapes.model_bytes + cache), STORED * times * rows.tokens)


def kv_width(model: Any) -> int:
    """Elements of keys and values that a token leaves in one block of a transformers model."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def generating_seconds(model: Any, rows: Rows, machine: Machine) -> float:
    """Expected seconds to generate rows with a transformers model, which may be on the meta device."""
    return generation_seconds(Shapes.of(model), model.config.get_text_config().vocab_size, kv_width(model), rows, machine)


def _timed(study: Study) -> list[tuple]:
    """Identities of the cells that a timing pass measures, the dense one among them."""
    return [(study.budget, cell) for cell in _answering(study)]


def _cells(study: Study, sets: int = 0) -> list[tuple]:
    """Identities of a study's pruned models. sets: models of other calibration sets."""
    how = (study.model, study.trace_source, study.seed, study.calibration_tokens, study.t_max, study.method, study.pattern,
           study.allocation, study.scope, study.thirds, study.mode)  # fmt: skip
    cells = [*study.cells, *((f"set {k}", study.sparsities[0]) for k in range(sets))]
    return [(source, sparsity, *how) for source, sparsity in cells if source != "dense"]


def _answering(study: Study, sets: int = 0) -> list[tuple]:
    """Identities of a study's answers; those of the dense model depend on the seed alone."""
    return [("dense", study.model, study.seed), *((cell, study.budget, study.samples) for cell in _cells(study, sets))]


def time_text(seconds: float | None) -> str:
    """Seconds, minutes or hours, for people."""
    if seconds is None:
        return "not known"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def size_text(size: int) -> str:
    """Bytes as MiB or GiB, for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
