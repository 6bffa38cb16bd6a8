"""Open errors of any kind as a catalogue: a file, a run's folder, a result in memory, a study, or several of them."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from racviz.exceptions import ParameterError, RacvizError
from racviz.explorer import manifests
from racviz.explorer.catalogue import FINAL_HIDDEN, Catalogue, Column, check_evaluations, columns_of_group, group_of
from racviz.explorer.columns import columns_of, label_of
from racviz.explorer.folders import folder_files
from racviz.explorer.pyramid import Pyramid, make_pyramid, open_pyramid
from racviz.metrics import METRICS, metric_label


def open_catalogue(
    errors: Any, models: Mapping[str, Any] | None = None, problems: Sequence[Any] | None = None, evaluations: Any = None,
    model: str | Path | None = None, study: Any = None,
) -> Catalogue:  # fmt: skip
    """Open errors, and find the problems, answers and models that belong to them.

    Parameters
    ----------
    errors, models, problems, evaluations, model
        As for `racviz.explore`.
    study : Study or None
        The study that a run's folder belongs to, if the user passed it; None reads the folder's manifest.

    Raises
    ------
    ParameterError
        If a parameter is of another kind.
    DataError
        If there are no errors, or they are along different rollouts.
    """
    if wrong := [problem for problem in problems or () if not hasattr(problem, "text")]:
        raise ParameterError(f"problems must hold Problems, such as Problem('mine-1', 'What is 2 + 2?'); not {wrong[0]!r}.")
    if hasattr(errors, "errors") and hasattr(errors, "sparsities"):  # a study
        for sparsity in errors.sparsities:
            errors.errors(sparsity)
        errors.write_manifest()
        return open_catalogue(errors.folder, models, problems, evaluations, study=errors)
    catalogue = Catalogue({}, {name: _loader(model) for name, model in (models or {}).items()}, evaluations=evaluations)
    catalogue.problems = {problem.id: problem for problem in problems or ()}
    beside = {"models": models, "problems": problems, "evaluations": evaluations, "model": model}
    catalogue.arguments = [name for name, value in beside.items() if value is not None]
    files = _open_files(errors, catalogue)
    if _is_folder(errors):
        _add_study(catalogue, Path(errors), files, model, study)
    by_group: dict[str, list[tuple[str, Pyramid]]] = {}
    for name, pyramid in files:
        by_group.setdefault(group_of(pyramid.meta["label"]), []).append((name, pyramid))
    first = files[0][1]
    catalogue.groups = {group: columns_of_group(members, first) for group, members in by_group.items()}
    if evaluations is not None:
        catalogue.evaluations = check_evaluations(evaluations, catalogue.rows)
    for group in catalogue.groups:
        catalogue.pending.pop(group, None)
    return catalogue


def _open_files(errors: Any, catalogue: Catalogue) -> list[tuple[str, Pyramid]]:
    """Names and pyramids of the errors; the catalogue learns where they lie and which files are hidden."""
    if isinstance(errors, Mapping):
        if not errors:
            raise ParameterError("errors must name at least one: {'mine': errors, …}.")
        return [(str(name), _open(value)) for name, value in errors.items()]
    catalogue.source = str(errors) if isinstance(errors, str | Path) else ""
    if _is_folder(errors):
        files, catalogue.other_rollouts, catalogue.broken_files = folder_files(Path(errors))
        return files
    return [("errors", _open(errors))]


def _is_folder(errors: Any) -> bool:
    return isinstance(errors, str | Path) and Path(errors).is_dir()


def _loader(model: Any) -> Callable[[], Any]:
    """A function that returns the model, unless it is one already."""
    return model if callable(model) and not hasattr(model, "tokenizer") else lambda: model


def _open(errors: Any) -> Pyramid:
    if isinstance(errors, str | Path):
        return open_pyramid(errors)
    frame = errors.to_frame() if hasattr(errors, "to_frame") else errors
    if not hasattr(frame, "columns"):
        raise ParameterError(
            f"errors must be ReconstructionErrors, a file of them, a run's folder or a Study; not {type(errors).__name__}."
        )
    return make_pyramid(columns_of(frame), label_of(getattr(errors, "label", {}), "these errors"))


def _add_study(
    catalogue: Catalogue, folder: Path, files: Sequence[tuple[str, Pyramid]], model: str | Path | None, study: Any
) -> None:
    """Add the problems, models, answers and other metrics that a run's parameters lead to.

    Parameters
    ----------
    catalogue : Catalogue
    folder : path
        The run's folder.
    files : sequence of (str, Pyramid)
        Its errors.
    model : str, path or None
        The pruned model, if the user named it.
    study : Study or None
        The study, if the user passed it. Without one, the parameters come from the folder's manifest and may lead
        to no more than a stranger's file may: see `racviz.explorer.manifests`.
    """
    from racviz.study.parameters import as_parameters

    parameters = manifests.read_manifest(folder) if study is None else as_parameters(study)
    if parameters is None:
        return
    open_study = functools.partial(manifests.study_of, parameters, folder, model)
    cached_study = functools.cache(lambda: study or open_study(cached=True))  # only reads the store
    full_study = functools.cache(lambda: study or open_study(cached=False))
    try:
        if study is None and (reasons := manifests.refusals(parameters, model)):
            catalogue.reasons = reasons
            catalogue.problems = catalogue.problems or _embedded_problems(parameters)
            return
        test_problems = cached_study().test()
        hidden = [(name, pyramid) for name, pyramid in files if group_of(pyramid.meta["label"]) == FINAL_HIDDEN]
        cells = _cells(columns_of_group(hidden or files), parameters)
    except (RacvizError, OSError, KeyError, TypeError, ValueError) as error:
        catalogue.reasons = [str(error)]  # a grid's parameters, or missing problems: the errors can still be shown
        return
    catalogue.problems = catalogue.problems or {problem.id: problem for problem in test_problems}
    catalogue.autoload = model is None and manifests.is_embedded(parameters["model"])
    catalogue.models.setdefault("dense", lambda: full_study().dense)

    def load(cell: tuple[str, float, str | None]) -> Any:
        return (full_study if study is not None or catalogue.may_prune else cached_study)().prune(*cell)

    for label, cell in cells.items():
        catalogue.models.setdefault(label, functools.partial(load, cell))
    if catalogue.evaluations is None and (folder / "results.csv").is_file():
        with contextlib.suppress(RacvizError, OSError):  # not in this cache
            catalogue.evaluations = cached_study().evaluations(ids=True)
    if cells:
        catalogue.pending = {
            metric_label(name, unit=True): functools.partial(_errors_by, name, cells.values(), full_study)
            for name in METRICS
            if not METRICS[name].layers
        }


def _errors_by(metric: str, cells: Sequence[Any], open_study: Callable[[], Any]) -> list[tuple[str, Pyramid]]:
    """Errors of a study by another metric, a pyramid for each sparsity and mode."""
    pairs = sorted({(sparsity, mode) for _, sparsity, mode in cells}, key=str)
    return [
        (f"{metric} {sparsity} {mode}", _open(open_study().errors(sparsity, mode, metric=metric))) for sparsity, mode in pairs
    ]


def _embedded_problems(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The embedded test problems of a domain, by id; empty for other problems."""
    from racviz.problems import DOMAINS, load_problems

    count = parameters.get("problems")
    embedded = parameters["domain"] in DOMAINS and not parameters.get("test_problems") and isinstance(count, int)
    problems = load_problems(parameters["domain"], split="test", limit=count) if embedded else []
    return {problem.id: problem for problem in problems}


def _cells(columns: Sequence[Column], parameters: Mapping[str, Any]) -> dict[str, tuple[str, float, str | None]]:
    """Source, sparsity and mode by label, of the columns whose models belong to the study."""
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
