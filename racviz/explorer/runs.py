"""Catalogue for the explorer: columns of errors by metric and layer, and the facts known of each row."""

import contextlib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import DataError, ParameterError, RacvizError
from racviz.explorer import manifests
from racviz.explorer.columns import columns_of, label_of
from racviz.explorer.folders import folder_files
from racviz.explorer.pyramid import DENSE, Pyramid, make_pyramid, open_pyramid
from racviz.metrics import METRICS, metric_label


@dataclass(frozen=True)
class Column:
    """Errors of one pruned model."""

    label: str
    pyramid: Pyramid
    name: str
    """In the pyramid."""


@dataclass
class Runs:
    """Columns by group (metric and layer), all along the same sequences; and of the rows what is known beside their errors."""

    groups: dict[str, list[Column]]
    models: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """Loads the model of a column, by label; `dense` is the model that was pruned."""
    problems: dict[str, Any] = field(default_factory=dict)
    evaluations: Any = None
    pending: dict[str, Callable[[], list[tuple[str, Pyramid]]]] = field(default_factory=dict)
    """Groups that are computed when they are first picked."""
    dropped: list[str] = field(default_factory=list)
    """Files of a run's folder that are along other rollouts, and not shown."""
    broken: list[str] = field(default_factory=list)
    """Files of a run's folder that cannot be read, with the reason."""
    given: list[str] = field(default_factory=list)
    """Arguments passed beside the errors, by parameter."""
    source: str = ""
    """The explored object, for the line of Python that opens it again."""
    cheap: bool = False
    """True where models are loaded without being asked for: the embedded ones are."""
    asked: bool = False
    """True once the user asked for models that have to be made first."""
    reasons: list[str] = field(default_factory=list)
    """Why the run's models cannot be loaded."""

    @property
    def pyramid(self) -> Pyramid:
        return next(iter(self.groups.values()))[0].pyramid

    def group(self, name: str) -> list[Column]:
        if name not in self.groups and name in self.pending:
            self.groups[name] = _columns(self.pending[name](), self.pyramid)
            del self.pending[name]
        return self.groups[name]


def _group_of(label: Mapping[str, Any]) -> str:
    metric, layer = label.get("metric", "hidden"), label.get("layer", "final")
    where = {"final": "last hidden state", "last": "last block's output"}.get(layer, f"output of block {layer}")
    return where if metric in METRICS and METRICS[metric].layers else metric_label(metric, unit=True)


def _columns(files: Sequence[tuple[str, Pyramid]], first: Pyramid | None = None) -> list[Column]:
    """The columns of several pyramids, named by what tells them apart. Raises DataError where they are not along the same sequences."""
    base = first or files[0][1]
    parts = {name: _run(pyramid) for name, pyramid in files}
    common = set.intersection(*map(set, parts.values()))
    found: list[Column] = []
    for name, pyramid in files:
        if pyramid.meta["sequences"] != base.meta["sequences"]:
            raise DataError(
                f"the errors {name!r} are {_difference(base, pyramid)}; lay errors along the same rollouts side by side."
            )
        for source in pyramid.names:
            if source != DENSE:
                label = ", ".join([source, *(part for part in parts[name] if part not in common)])
                taken = label in {column.label for column in found}
                found.append(Column(f"{label} ({name})" if taken else label, pyramid, source))
    if DENSE in files[0][1].names:
        found.append(Column(DENSE, files[0][1], DENSE))
    return found


def _difference(one: Pyramid, other: Pyramid) -> str:
    if one.meta["problems"] != other.meta["problems"]:
        shared = len(set(one.meta["problems"]) & set(other.meta["problems"]))
        return f"of other problems ({shared} of {one.rows} are the same)"
    if one.meta["lengths"] == other.meta["lengths"]:
        return "of other tokens or of another tokenizer, on the same problems"
    return "along other rollouts, of the same problems"


def _run(pyramid: Pyramid) -> list[str]:
    """Provenance of these errors."""
    label = pyramid.meta["label"]
    sparsity = label.get("sparsity")
    parts = [
        f"{100 * sparsity:.3g} %" if isinstance(sparsity, int | float) else sparsity,
        label.get("method"),
        label.get("mode"),
    ]
    return [str(part) for part in parts if part]


def open_runs(
    errors: Any, models: Mapping[str, Any] | None = None, problems: Sequence[Any] | None = None, evaluations: Any = None,
    model: str | Path | None = None, own: Any = None,
) -> Runs:  # fmt: skip
    """Open a run folder, a file of errors, `ReconstructionErrors`, a study, or a mapping of names to any of the last three.

    See `racviz.explore`."""
    known = Runs({}, {name: _loader(model) for name, model in (models or {}).items()}, evaluations=evaluations)
    if wrong := [problem for problem in problems or () if not hasattr(problem, "text")]:
        raise ParameterError(f"problems must hold Problems, such as Problem('mine-1', 'What is 2 + 2?'); not {wrong[0]!r}.")
    known.problems = {problem.id: problem for problem in problems or ()}
    beside = {"models": models, "problems": problems, "evaluations": evaluations, "model": model}
    known.given = [name for name, value in beside.items() if value is not None]
    if isinstance(errors, Mapping):
        if not errors:
            raise ParameterError("errors must name at least one: {'mine': errors, …}.")
        files = [(str(name), _opened(each)) for name, each in errors.items()]
    elif isinstance(errors, str | Path) and Path(errors).is_dir():
        files, known.dropped, known.broken = folder_files(Path(errors))
        known.source = str(errors)
        _know_study(known, Path(errors), files, model, own)
    elif hasattr(errors, "errors") and hasattr(errors, "sparsities"):  # a study
        for sparsity in errors.sparsities:
            errors.errors(sparsity)
        errors.write_manifest()
        return open_runs(errors.folder, models, problems, evaluations, own=errors)
    else:
        files = [("errors", _opened(errors))]
        known.source = str(errors) if isinstance(errors, str | Path) else ""
    by_group: dict[str, list[tuple[str, Pyramid]]] = {}
    for name, pyramid in files:
        by_group.setdefault(_group_of(pyramid.meta["label"]), []).append((name, pyramid))
    first = files[0][1]
    known.groups = {group: _columns(mine, first) for group, mine in by_group.items()}
    if evaluations is not None:
        known.evaluations = _evaluations(evaluations, known)
    for group in known.groups:
        known.pending.pop(group, None)
    return known


def _loader(model: Any) -> Callable[[], Any]:
    return model if callable(model) and not hasattr(model, "tokenizer") else lambda: model


def _opened(errors: Any) -> Pyramid:
    if isinstance(errors, str | Path):
        return open_pyramid(errors)
    frame = errors.to_frame() if hasattr(errors, "to_frame") else errors
    if not hasattr(frame, "columns"):
        raise ParameterError(
            f"errors must be ReconstructionErrors, a file of them, a run's folder or a Study; not {type(errors).__name__}."
        )
    return make_pyramid(columns_of(frame), label_of(getattr(errors, "label", {}), "these errors"))


def _know_study(known: Runs, folder: Path, files: Sequence[tuple[str, Pyramid]], model: str | Path | None, own: Any) -> None:
    """Learn what a run's parameters lead to: problems, models, answers, errors of other metrics.

    own: the study itself, where the user gave it; else the parameters come from the folder's manifest, and lead to no more
    than a stranger's file may (see `racviz.explorer.manifests`).
    """
    from racviz.study.parameters import as_parameters

    parameters = manifests.read_manifest(folder) if own is None else as_parameters(own)
    if parameters is None:
        return
    try:
        if own is None and (reasons := manifests.refusals(parameters, model)):
            known.reasons = reasons
            known.problems = known.problems or _embedded_problems(parameters)
            return
        makers = {
            cached: functools.cache(functools.partial(_study, parameters, folder, model, own, cached))
            for cached in (True, False)
        }
        test = makers[True]().test()
        hidden = [(name, each) for name, each in files if _group_of(each.meta["label"]) == "last hidden state"]
        cells = _cells(_columns(hidden or files), parameters)
    except (RacvizError, OSError, KeyError, TypeError, ValueError) as error:
        known.reasons = [
            str(error)
        ]  # several values of a parameter, or problems that are gone: the errors are there all the same
        return
    known.problems = known.problems or {each.id: each for each in test}
    known.cheap = model is None and manifests.is_embedded(parameters["model"])
    known.models.setdefault("dense", lambda: makers[False]().dense)
    for label, cell in cells.items():
        known.models.setdefault(label, lambda cell=cell: makers[own is None and not known.asked]().prune(*cell))
    if known.evaluations is None and (folder / "results.csv").is_file():
        with contextlib.suppress(RacvizError, OSError):  # they are not in this cache
            known.evaluations = makers[True]().evaluations(ids=True)

    def compute(metric: str) -> list[tuple[str, Pyramid]]:
        wanted = sorted({cell[1:] for cell in cells.values()}, key=str)
        return [(f"{metric} {cell[0]} {cell[1]}", _opened(makers[False]().errors(*cell, metric=metric))) for cell in wanted]

    whole = [name for name in METRICS if not METRICS[name].layers] if cells else []
    known.pending = {metric_label(name, unit=True): lambda name=name: compute(name) for name in whole}


def _study(parameters: Mapping[str, Any], folder: Path, model: str | Path | None, own: Any, cached: bool) -> Any:
    return own or manifests.study_of(parameters, folder, model, cached=cached)


def _embedded_problems(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The embedded test problems of a domain, by id; none for other problems."""
    from racviz.problems import DOMAINS, load_problems

    count = parameters.get("problems")
    ok = parameters["domain"] in DOMAINS and not parameters.get("test_problems") and isinstance(count, int)
    return {each.id: each for each in load_problems(parameters["domain"], split="test", limit=count)} if ok else {}


def _cells(columns: Sequence[Column], parameters: Mapping[str, Any]) -> dict[str, tuple[str, float, str | None]]:
    """Source, sparsity and mode of the columns whose models the study makes, by label."""
    from racviz.pruning import MODES

    labels = {column.label: (column.name, column.pyramid.meta["label"]) for column in columns}
    return {
        shown: (name, label["sparsity"], label.get("mode"))
        for shown, (name, label) in labels.items()
        if name in parameters["sources"]
        and isinstance(label.get("sparsity"), int | float)  # files are named by it and by the mode
        and label.get("mode") in (None, *MODES)
        and label.get("method") == parameters["method"]
    }


def _evaluations(frame: Any, runs: Runs) -> Any:
    """A frame of answers with ids as texts. Raises ParameterError for what is none, DataError where it is on none of the problems."""
    frame = frame.to_frame() if hasattr(frame, "to_frame") and not hasattr(frame, "columns") else frame
    if not hasattr(frame, "columns") or not {"source", "problem_id", "correct"} <= set(frame):
        raise ParameterError(
            "evaluations must be a data frame, a row a sample, with the columns source, problem_id and correct."
        )
    if frame["correct"].dtype.kind not in "bif":
        raise ParameterError(f"the column correct of evaluations must hold true and false; not {frame['correct'].iloc[0]!r}.")
    frame = frame.assign(problem_id=frame["problem_id"].astype(str), correct=frame["correct"].astype(bool))
    if not {problem_of(name, set(frame["problem_id"]))[0] for name in runs.pyramid.meta["problems"]} & set(frame["problem_id"]):
        raise DataError(
            f"evaluations must be on the problems of the errors ({runs.pyramid.meta['problems'][0]!r}, …); they are on others "
            f"({frame['problem_id'].iloc[0]!r}, …)."
        )
    return frame


def problem_of(name: str, known: Any) -> tuple[str, int]:
    """The problem and the sample of a row: rows of later samples are called `<problem> #<sample>`."""
    later = re.fullmatch(r"(.*) #(\d+)", name, re.DOTALL)
    return (name, 0) if name in known or not later else (later[1], int(later[2]))


def row_values(runs: Runs, kind: str) -> np.ndarray | None:
    """`[rows]`: the difficulty of each problem, or the share of its right answers over all that were given; None where it is unknown."""
    rows = runs.pyramid.meta["problems"]
    if kind == "difficulty":
        levels = [getattr(runs.problems.get(problem_of(name, runs.problems)[0]), "difficulty", None) for name in rows]
        return None if all(level is None for level in levels) else np.array([np.nan if v is None else v for v in levels], float)
    if runs.evaluations is None:
        return None
    share = runs.evaluations.groupby("problem_id")["correct"].mean()
    found = share.reindex([problem_of(name, share.index)[0] for name in rows]).to_numpy(float)
    return None if np.isnan(found).all() else found
