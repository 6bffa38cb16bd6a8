"""What the steps of a report are expected to cost, from the shapes of the model and the lengths of prompts and answers."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from racviz.generation.cost import Rows, errors_seconds, generation_seconds
from racviz.models import LoadedModel
from racviz.problems import Problem
from racviz.pruning.cost import Cost, Machine, Shapes, expected_cost
from racviz.store import resource
from racviz.study import Study
from racviz.study.steps import CHUNK

EVALUATING = ("runtime_vs_sparsity", "cot_lengths", "solvers")
"""Reports that let every pruned model answer."""
FIGURE2 = "figure2_error_heatmap"
COMPARING = (FIGURE2, "runtime_vs_sparsity", "cot_lengths")
"""Reports that compare prompt with rac."""
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
    """A study of a model of these shapes, on a machine."""

    study: Study
    model: LoadedModel
    shapes: Shapes
    machine: Machine
    device: str
    answer: int | None
    """Tokens of an answer on average, if somebody knows."""

    def steps(
        self, report: str, test: Sequence[Problem], train: Sequence[Problem], methods: list[str], timing: int, imported: bool
    ) -> list[Step]:
        """The steps of a report, in order. imported: the traces come from a file. timing: problems of a timing pass.

        methods: all that are compared at every cell; in Figure 2 those after the first are compared at the first sparsity alone.
        """
        study, weights = self.study, self.shapes.model_bytes
        ask, count = self._length(train), study.problems
        rollouts = Rows(count, self._length(test), *self._answers(study.budget), study.batch_size)
        tokens = round(count * (rollouts.prompt + rollouts.mean))
        steps = [Step(f"load {study.model}", 0, weights / self.machine.disk, weights)]
        if {"rac", "prompt-same-problems"} & set(study.sources) and not imported:
            steps.append(self._tracing(ask))
        if report not in ("runtime_vs_sparsity", "cot_lengths"):
            steps.append(self._generating(f"greedy rollouts on {count} problems, budget {study.budget}", rollouts))
        cells = self._cells(report)
        others = len(methods) - 1 if report == FIGURE2 else 0
        methods = methods[:1] if report == FIGURE2 else methods
        for mode in dict.fromkeys(mode for mode, _ in cells):
            times = sum(each == mode for each, _ in cells) * len(study.sources) * len(methods)
            times += others * len(study.sources) if mode == study.mode else 0
            cost = self._pruning(study.calibration_tokens, min(study._window, round(ask + study.t_max)), mode)
            took, memory = times * cost.total_seconds, weights + cost.total_memory
            steps.append(Step(f"prune {times} models, {mode}", times * study.calibration_tokens, took, memory, times * weights))
        if report not in (*EVALUATING[:2], "pruning_report"):
            turns = (len(cells) * len(methods) + others) * len(study.sources)
            took = errors_seconds(self.shapes, 2 * turns * tokens, tokens / count, self.machine)
            steps.append(Step(f"tokenwise errors of {turns} models", 2 * turns * tokens, took, 2 * weights))
        if report not in EVALUATING:
            cost = self._pruning(tokens, round(tokens / count), "one-pass")
            took = cost.seconds["forward"] + cost.seconds["moments"]
            steps.append(Step("layer-wise errors", tokens, took, weights + cost.total_memory))
        if report in EVALUATING:
            turns = 1 + len(study.sparsities) * len(study.sources) * len(methods)
            steps.append(
                self._answering(f"answers of {turns} models, {study.samples} a problem", rollouts, count * study.samples, turns)
            )
            if timing and report == "runtime_vs_sparsity":
                few = min(timing, count)
                steps.append(self._answering(f"timing pass of {turns} models on {few} problems", rollouts, few, turns))
        return steps

    def _length(self, problems: Sequence[Problem]) -> float:
        some = problems[:SAMPLE]
        return sum(len(self.model.render(p.text)) for p in some) / len(some)

    def _answers(self, cap: int) -> tuple[float, int]:
        """Mean and longest answer: as is known, as the card of an embedded model says, or the cap."""
        card = {} if self.study.test_problems else cards().get(self.study.model, {}).get(self.study.domain, {})
        mean = self.answer or card.get("median_decode") or cap
        return min(float(mean), cap), min(cap, round(3 * mean))

    def _cells(self, report: str) -> list[tuple[str, float]]:
        """(mode, sparsity) of what is pruned."""
        mode, sparsities = self.study.mode, self.study.sparsities
        if report == "pruning_report":
            return [(mode, sparsities[0])]
        other = "sequential" if mode == "one-pass" else "one-pass"
        return [*((mode, s) for s in sparsities), *([(other, sparsities[0])] if report not in EVALUATING else [])]

    def _pruning(self, tokens: int, length: int, mode: str) -> Cost:
        return expected_cost(self.shapes, tokens, self.machine, mode=mode, length=max(1, length), device=self.device)

    def _tracing(self, ask: float) -> Step:
        mean, longest = self._answers(self.study.t_max)
        count = math.ceil(self.study.calibration_tokens / (ask + mean) / CHUNK) * CHUNK
        rows = Rows(count, ask, mean, longest, min(self.study.batch_size, CHUNK))
        return self._generating(f"traces of {count} problems, t_max {self.study.t_max}", rows)

    def _answering(self, what: str, like: Rows, count: int, times: int) -> Step:
        return self._generating(what, Rows(count, like.prompt, like.mean, like.longest, like.batch), times)

    def _generating(self, what: str, rows: Rows, times: int = 1) -> Step:
        config = self.model.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        kv = 2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        known = self.study.backend == "hf" or (self.study.backend.startswith("vllm") and self.device == "cuda")
        seconds = times * generation_seconds(self.shapes, config.vocab_size, kv, rows, self.machine) if known else None
        cache = kv * self.shapes.blocks * self.shapes.itemsize * (rows.prompt + rows.longest) * min(rows.batch, rows.count)
        return Step(what, times * rows.tokens, seconds, round(self.shapes.model_bytes + cache), STORED * times * rows.tokens)
