"""Accuracy with its standard error, CoT lengths, truncation, and minutes from a timing pass.

acc@1:k is the mean over problems of c/k with k samples each; SE is the sample standard deviation of these per-problem
means over the square root of the number of problems.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from racviz.exceptions import ParameterError, check
from racviz.generation import Opened, Sampling, opened
from racviz.grading import Limits, grade_all, refuse_ungradable
from racviz.models import LoadedModel
from racviz.problems import Problem
from racviz.progress import progress_bar
from racviz.prompting import answer_text, thought_length
from racviz.reconstruction import refuse_overlap
from racviz.statistics import pass_at_k, standard_error
from racviz.store import Store
from racviz.store.kinds import EVALUATION, EvaluationLabel
from racviz.traces import generate_traces, read_parquet, write_parquet


@dataclass(frozen=True)
class Evaluation:
    """One model on one set of problems: a row a sample, and the figures that sum it up."""

    frame: Any = field(repr=False)
    """problem_id, sample, answer, correct, prompt_tokens, think_tokens, output_tokens, finish_reason, output_ids."""
    label: dict[str, Any] = field(default_factory=dict)

    def per_problem(self):
        """The mean of `correct` per problem, in the order of the problems."""
        return self.frame.groupby("problem_id", sort=False)["correct"].mean()

    def pass_at(self, k: int) -> tuple[float, float]:
        """The unbiased estimate of the chance that one of k samples is right, and its SE over problems (Chen et al. 2021).

        Raises ParameterError where a problem has fewer than k samples.
        """
        groups = self.frame.groupby("problem_id", sort=False)["correct"]
        check(1 <= k <= int(groups.size().min()), "k", k, f"from 1 to {groups.size().min()}, the samples of a problem")
        each = groups.agg(lambda right: pass_at_k(len(right), int(right.sum()), k)).to_numpy(float)
        return float(each.mean()), standard_error(each)

    def quantiles(self, levels: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9)) -> dict[float, float]:
        """CoT length in tokens at these levels; of a thought that was cut off, what there is of it."""
        return self.frame["think_tokens"].quantile(list(levels)).to_dict()

    def summary(self) -> dict[str, Any]:
        """accuracy, se, problems, samples, tokens (generated in all), mean_cot, median_cot, truncated (share)."""
        means, frame = self.per_problem(), self.frame
        return {
            "accuracy": float(means.mean()), "se": standard_error(means.to_numpy(float)),
            "problems": len(means), "samples": int(frame["sample"].max()) + 1,
            "tokens": int(frame["output_tokens"].sum()), "mean_cot": float(frame["think_tokens"].mean()),
            "median_cot": float(frame["think_tokens"].median()), "truncated": float((frame["finish_reason"] == "length").mean()),
        }  # fmt: skip

    def to_frame(self):
        return self.frame

    def save(self, path: str | Path) -> None:
        write_parquet(Path(path), self.frame, self.label)

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        frame, label = read_parquet(Path(path), EVALUATION, EvaluationLabel)
        return cls(frame, label)

    def __repr__(self) -> str:
        s = self.summary()
        return (
            f"Evaluation({self.label.get('model')!r}: accuracy {s['accuracy']:.3f} ± {s['se']:.3f} (SE, n = {s['problems']}), "
            f"median CoT {s['median_cot']:.0f} tokens, {s['truncated']:.0%} truncated)"
        )


def evaluate(
    loaded: LoadedModel, problems: Sequence[Problem], sampling: Sampling = Sampling(), *, samples: int = 1, backend: str | Opened = "hf",
    batch_size: int = 128, store: Store | None = None, allow_overlap: bool = False, limits: Limits = Limits(), unsafe: bool = False,
    progress: bool = True,
) -> Evaluation:  # fmt: skip
    """Answer each problem `samples` times and grade (see `racviz.grading`). `sampling.max_new_tokens` is the budget.

    limits, unsafe: of the programs that are run where problems have tests.

    Raises OverlapError for a problem that calibrated the model, DataError for problems without an answer key, SandboxError where
    programs must be run and cannot be contained; the answers are kept in the store.
    """
    refuse_overlap({loaded.name: loaded}, [p.content_hash for p in problems], [p.id for p in problems], allow_overlap)
    refuse_ungradable(problems)
    traces = generate_traces(
        loaded, problems, sampling, samples=samples, backend=backend, batch_size=batch_size, store=store, progress=progress
    )
    by_id = {p.id: p for p in problems}
    import pandas as pd

    # of an answer that was cut off what stands there may be half of one
    answers = [
        None if t.finish_reason == "length" else answer_text(loaded.tokenizer, t.output_ids, loaded.thinking) for t in traces
    ]
    graded = grade_all(answers, [by_id[t.problem_id] for t in traces], limits=limits, unsafe=unsafe)
    rows = [
        {
            "problem_id": t.problem_id, "sample": t.sample, "answer": answer, "correct": correct,
            "prompt_tokens": len(t.prompt_ids), "think_tokens": thought_length(loaded.tokenizer, t.output_ids, loaded.thinking)[0],
            "output_tokens": len(t.output_ids), "finish_reason": t.finish_reason, "output_ids": list(t.output_ids),
        }
        for t, answer, correct in zip(traces, answers, graded, strict=True)
    ]  # fmt: skip
    label = {
        "model": loaded.name,
        "budget": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    label |= {
        "seed": sampling.seed,
        "backend": backend.name if isinstance(backend, Opened) else backend,
        **{k: loaded.provenance[k] for k in ("sparsity", "sparsity_all") if k in loaded.provenance},
    }
    return Evaluation(pd.DataFrame(rows), label)


def time_generation(
    models: dict[str, LoadedModel | Callable[[], LoadedModel]],
    problems: Sequence[Problem],
    sampling: Sampling,
    *,
    batch_size: int = 128,
    rounds: int = 1,
    backend: str = "hf",
    progress: bool = True,
):
    """Minutes to answer the problems, one sample each, a model after the other, in one worker.

    A model may be given as a function that loads it, so that no two need to be in memory at once; loading is not timed. Each
    is warmed up before it is timed; the models are interleaved (`rounds` times over all, the order turning by one each round).
    Returns a frame: name, round, problems, tokens, minutes, load (the machine's one-minute load average at the start).
    """
    import pandas as pd

    check(rounds >= 1, "rounds", rounds, "an integer >= 1")
    if not models:
        raise ParameterError("models must hold at least one model")
    warm = Sampling(8, sampling.temperature, sampling.top_p, sampling.seed)
    rows, names = [], list(models)
    with progress_bar(total=rounds * len(names), desc="timing", unit="cell", shown=progress) as bar:
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                loaded = models[name] if isinstance(models[name], LoadedModel) else models[name]()
                how = dict(batch_size=batch_size, progress=False)
                with opened(loaded, backend) as running:  # starting vLLM is part of warming up
                    running.expect(max(len(loaded.render(p.text)) for p in problems) + sampling.max_new_tokens)
                    generate_traces(loaded, problems[:2], warm, backend=running, **how)
                    load, began = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"), time.perf_counter()
                    traces = generate_traces(loaded, problems, sampling, backend=running, **how)
                    minutes = (time.perf_counter() - began) / 60
                tokens = sum(len(t.output_ids) for t in traces)
                rows.append(
                    {"name": name, "round": turn, "problems": len(problems), "tokens": tokens, "minutes": minutes, "load": load}
                )
                bar.update()
    return pd.DataFrame(rows)
