"""Columns of errors along the same rollouts, with the problems, answers and models that belong to their rows."""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from racviz.exceptions import DataError, ParameterError
from racviz.explorer.pyramid import DENSE, Pyramid
from racviz.metrics import METRICS, metric_label

FINAL_HIDDEN = "last hidden state"
"""The group that a study's own errors belong to."""


@dataclass(frozen=True)
class Column:
    """Errors of one pruned model."""

    label: str
    pyramid: Pyramid
    name: str
    """The source's name in the pyramid."""


@dataclass
class Catalogue:
    """Columns by group (metric and layer), and everything known of their rows beside the errors."""

    groups: dict[str, list[Column]]
    models: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """Loaders of the columns' models, by label; `dense` is the model before pruning."""
    problems: dict[str, Any] = field(default_factory=dict)
    """Problems by id."""
    evaluations: Any = None
    """A data frame, a row a sample; None if unknown."""
    pending: dict[str, Callable[[], list[tuple[str, Pyramid]]]] = field(default_factory=dict)
    """Groups that are computed when they are first chosen."""
    other_rollouts: list[str] = field(default_factory=list)
    """Files of a run's folder along other rollouts; they are hidden."""
    broken_files: list[str] = field(default_factory=list)
    """Unreadable files of a run's folder, with the reason."""
    arguments: list[str] = field(default_factory=list)
    """Names of the parameters passed beside the errors."""
    source: str = ""
    """The file or folder, for the line that opens it again."""
    autoload: bool = False
    """True if models load unasked, as embedded ones do."""
    may_prune: bool = False
    """True once the user asked for models, even if they must be pruned first."""
    reasons: list[str] = field(default_factory=list)
    """Reasons why the run's models cannot be loaded."""

    @property
    def pyramid(self) -> Pyramid:
        """The first pyramid; all others are along the same rollouts."""
        return next(iter(self.groups.values()))[0].pyramid

    @property
    def rows(self) -> list[str]:
        """The name of each row: a problem's id, followed by ` #<sample>` for later samples."""
        return self.pyramid.meta["problems"]

    def group(self, name: str) -> list[Column]:
        """The columns of a group, computed if they are pending."""
        if name not in self.groups and name in self.pending:
            self.groups[name] = columns_of_group(self.pending[name](), self.pyramid)
            del self.pending[name]
        return self.groups[name]

    def row_values(self, kind: str) -> np.ndarray | None:
        """`[rows]`: each problem's difficulty, or the share of its samples that are right; None if unknown."""
        if kind == "difficulty":
            problems = [self.problems.get(problem_of(row, self.problems)[0]) for row in self.rows]
            levels = [getattr(problem, "difficulty", None) for problem in problems]
            if all(level is None for level in levels):
                return None
            return np.array([np.nan if level is None else level for level in levels], float)
        if self.evaluations is None:
            return None
        shares = self.evaluations.groupby("problem_id")["correct"].mean()
        values = shares.reindex([problem_of(row, shares.index)[0] for row in self.rows]).to_numpy(float)
        return None if np.isnan(values).all() else values

    def rows_by_answer(self) -> dict[str, np.ndarray]:
        """`[rows]` bool by label: all rows, and for each model the rows that it answered right and wrong."""
        masks, frame = {"all": np.ones(len(self.rows), dtype=bool)}, self.evaluations
        if frame is None:
            return masks
        frame = frame.assign(sparsity=frame["sparsity"] if "sparsity" in frame else np.nan)
        for (source, sparsity), cell in frame.groupby(["source", "sparsity"], sort=False, dropna=False):
            samples = cell["sample"] if "sample" in cell else np.zeros(len(cell), dtype=int)
            verdicts = dict(zip(zip(cell["problem_id"], samples, strict=True), cell["correct"], strict=True))
            problem_ids = set(cell["problem_id"])
            by_row = [verdicts.get(problem_of(row, problem_ids)) for row in self.rows]  # None: not answered
            label = _model_label(source, sparsity)
            for word, correct in (("right", True), ("wrong", False)):
                mask = [verdict is not None and bool(verdict) == correct for verdict in by_row]
                masks[f"{label}: {word}"] = np.array(mask, dtype=bool)
        return masks

    def question(self, row: int) -> dict[str, str]:
        """The problem of a row and its right answer; if it is unknown, the prompt's tokens."""
        pyramid = self.pyramid
        problem = self.problems.get(problem_of(self.rows[row], self.problems)[0])
        if problem:
            return {"prompt": problem.text, "key": problem.answer}
        return {"prompt": "".join(pyramid.texts(row, 0, int(pyramid.t_in[row]))), "key": ""}

    def answers(self, row: int) -> list[dict[str, Any]]:
        """Each model's answer to the problem and sample of a row; empty without evaluations."""
        frame = self.evaluations
        if frame is None:
            return []
        problem_id, sample = problem_of(self.rows[row], set(frame["problem_id"]))
        in_sample = frame["sample"] == sample if "sample" in frame else sample == 0
        answers = []
        for record in frame[(frame["problem_id"] == problem_id) & in_sample].to_dict("records"):
            tokens, answer = record.get("output_tokens"), record.get("answer")
            answers.append(
                {
                    "model": _model_label(record["source"], record.get("sparsity")),
                    "correct": bool(record["correct"]),
                    "answer": answer if isinstance(answer, str) else "",
                    "tokens": None if tokens is None or np.isnan(tokens) else int(tokens),
                }
            )
        return answers


def _model_label(source: str, sparsity: float | None) -> str:
    if source == "dense" or sparsity is None or np.isnan(sparsity):
        return source
    return f"{source}, {100 * sparsity:.3g} %"


def problem_of(row: str, problem_ids: Container[str]) -> tuple[str, int]:
    """The problem and the sample of a row: rows of later samples are named `<problem> #<sample>`."""
    later = re.fullmatch(r"(.*) #(\d+)", row, re.DOTALL)
    return (row, 0) if row in problem_ids or not later else (later[1], int(later[2]))


def group_of(label: Mapping[str, Any]) -> str:
    """The group of errors with this label: metric and layer in words."""
    metric, layer = label.get("metric", "hidden"), label.get("layer", "final")
    if metric not in METRICS or not METRICS[metric].layers:
        return metric_label(metric, unit=True)
    return {"final": FINAL_HIDDEN, "last": "last block's output"}.get(layer, f"output of block {layer}")


def columns_of_group(files: Sequence[tuple[str, Pyramid]], first: Pyramid | None = None) -> list[Column]:
    """The columns of several pyramids.

    Parameters
    ----------
    files : sequence of (str, Pyramid)
        Names of files and their pyramids; a column is labelled by the words that tell its file from the others.
    first : Pyramid or None
        The pyramid whose rollouts all must share; None for the first of the files.

    Raises
    ------
    DataError
        If a pyramid is along other rollouts.
    """
    base = first or files[0][1]
    words = {name: _pruning_words(pyramid) for name, pyramid in files}
    common = set.intersection(*map(set, words.values()))
    columns: list[Column] = []
    for name, pyramid in files:
        if pyramid.meta["sequences"] != base.meta["sequences"]:
            raise DataError(
                f"the errors {name!r} are {_difference(base, pyramid)}; lay errors along the same rollouts side by side."
            )
        for source in pyramid.names:
            if source != DENSE:
                label = ", ".join([source, *(word for word in words[name] if word not in common)])
                taken = label in {column.label for column in columns}
                columns.append(Column(f"{label} ({name})" if taken else label, pyramid, source))
    if DENSE in files[0][1].names:
        columns.append(Column(DENSE, files[0][1], DENSE))
    return columns


def _difference(one: Pyramid, other: Pyramid) -> str:
    """The difference between the rollouts of two pyramids, in words."""
    if one.meta["problems"] != other.meta["problems"]:
        shared = len(set(one.meta["problems"]) & set(other.meta["problems"]))
        return f"of other problems ({shared} of {one.rows} are the same)"
    if one.meta["lengths"] == other.meta["lengths"]:
        return "of other tokens or of another tokenizer, on the same problems"
    return "along other rollouts, of the same problems"


def _pruning_words(pyramid: Pyramid) -> list[str]:
    """Sparsity, method and mode of the pruned models, in words."""
    label = pyramid.meta["label"]
    sparsity = label.get("sparsity")
    percent = f"{100 * sparsity:.3g} %" if isinstance(sparsity, int | float) else sparsity
    return [str(word) for word in (percent, label.get("method"), label.get("mode")) if word]


def check_evaluations(frame: Any, rows: Sequence[str]) -> Any:
    """The evaluations with ids as text and verdicts as booleans.

    Parameters
    ----------
    frame : data frame, or an object with `to_frame`
        A row a sample, with the columns source, problem_id and correct.
    rows : sequence of str
        The rows of the errors.

    Raises
    ------
    ParameterError
        If it is not such a table.
    DataError
        If it is about none of the problems.
    """
    frame = frame.to_frame() if hasattr(frame, "to_frame") and not hasattr(frame, "columns") else frame
    if not hasattr(frame, "columns") or not {"source", "problem_id", "correct"} <= set(frame):
        raise ParameterError(
            "evaluations must be a data frame, a row a sample, with the columns source, problem_id and correct."
        )
    if frame["correct"].dtype.kind not in "bif":
        raise ParameterError(f"the column correct of evaluations must hold true and false; not {frame['correct'].iloc[0]!r}.")
    frame = frame.assign(problem_id=frame["problem_id"].astype(str), correct=frame["correct"].astype(bool))
    problem_ids = set(frame["problem_id"])
    if not {problem_of(row, problem_ids)[0] for row in rows} & problem_ids:
        raise DataError(
            f"evaluations must be on the problems of the errors ({rows[0]!r}, …); they are on others "
            f"({frame['problem_id'].iloc[0]!r}, …)."
        )
    return frame
