"""Run a notebook with papermill in a kernel of this very interpreter, and render it."""

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from racviz.exceptions import ParameterError, RacvizError, unknown
from racviz.generation import check_backend
from racviz.progress import in_place
from racviz.reports.catalogue import Report, find_report, parameters_of, planned
from racviz.reports.kernels import Kernels
from racviz.reports.rendering import render
from racviz.store import explained
from racviz.store.drafts import drafts_in, new_draft, remove
from racviz.study.parameters import refuse_secret


class ReportError(RacvizError):
    """A cell of a report failed; the message names it and the error, and where the notebook up to there is."""


def run_report(
    name: str, parameters: dict[str, Any] | None = None, out: str | Path = "reports", *, progress: bool = True,
    kernels: Kernels | None = None,
) -> Path:  # fmt: skip
    """Run a report and render it to HTML that opens offline.

    The executed notebook lies beside the page. A failed run leaves NAME.partial.ipynb and keeps the
    page of an earlier one. Several runs may write the same page at the same time; the last one
    stays.

    Parameters
    ----------
    name : str
        A notebook's stem, a unique prefix of it, or the path of a notebook.
    parameters : dict, optional
        Values of the notebook's parameters.
    out : str or Path, default "reports"
        A folder, or the page's own path ending in .html.
    progress : bool, default True
        Show a bar.
    kernels : Kernels, optional
        Source of kernels for several reports in a row.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ParameterError
        For an unknown report or parameter.
    ReportError
        For a cell that fails.

    Examples
    --------
    >>> import nbformat.v4 as nb
    >>> import racviz as rv
    >>> parameters = nb.new_code_cell("side = 2  # cm", metadata={"tags": ["parameters"]})
    >>> kernel = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    >>> notebook = nb.new_notebook(cells=[parameters, nb.new_code_cell("side**2")], metadata=kernel)
    >>> _ = open("square.ipynb", "w").write(nb.writes(notebook))
    >>> rv.run_report("square.ipynb", {"side": 3}, progress=False).name
    'square.html'
    """
    report = find_report(name)
    parameters = {key: str(value) if isinstance(value, Path) else value for key, value in (parameters or {}).items()}
    _allowed(report, parameters)
    for key, value in parameters.items():
        refuse_secret(key, value)
    if "backend" in parameters:
        check_backend(parameters["backend"])  # before it is written into a notebook: it may hold what must not be written
    page = Path(out) if str(out).endswith(".html") else Path(out) / f"{report.name}.html"
    partial = page.with_suffix(".partial.ipynb")
    if page.with_suffix(".ipynb").resolve() == report.path.resolve():
        raise ParameterError(f"out={str(out)!r} would write the executed notebook over {report.path}; choose another folder.")
    with explained("write", page):
        page.parent.mkdir(parents=True, exist_ok=True)
        if progress:
            _show_keys(report, parameters)
        _keep_notebooks_of_killed_runs(page.parent)
        draft = new_draft(page.parent, page.stem)
        notebook = draft / partial.name
        try:
            _execute(report, notebook, partial, parameters, progress, kernels)
            render(notebook, page, title=report.title)
            os.replace(notebook, page.with_suffix(".ipynb"))
            partial.unlink(missing_ok=True)  # of an earlier run
        finally:
            if notebook.exists():
                os.replace(notebook, partial)
            shutil.rmtree(draft, ignore_errors=True)
    return page


def _keep_notebooks_of_killed_runs(folder: Path) -> None:
    """Give the notebooks of runs that were killed the name of partial ones, and remove the rest of those runs."""
    for draft in drafts_in(folder):
        if draft.owner is not None and draft.abandoned:
            for notebook in draft.path.glob("*.partial.ipynb"):
                with contextlib.suppress(OSError):
                    os.replace(notebook, folder / notebook.name)
            remove(draft.path, missing_ok=True)


def plan_report(name: str, parameters: dict[str, Any] | None = None, *, on: str = "here", expected_tokens: int | None = None):
    """Plan a report: its steps, their expected cost, and checks. Nothing is run and no weights are read.

    Parameters
    ----------
    name : str
        A notebook's stem, a unique prefix of it, or the path of a notebook.
    parameters : dict, optional
        Values of the notebook's parameters.
    on : str, default "here"
        The machine to plan for: `here`, `a100` or `h100`.
    expected_tokens : int, optional
        Tokens of an answer, on average; else the embedded models' cards, or the caps.

    Returns
    -------
    Plan
        `lines()` prints it; `right` is False where a check failed.

    Raises
    ------
    ParameterError
        For an unknown report, parameter or machine.
    DataError
        For a notebook whose metadata does not say what it makes.

    Examples
    --------
    >>> import racviz as rv
    >>> plan = rv.plan_report("figure2", {"problems": 8}, on="a100")
    >>> plan.right
    True
    """
    from racviz.planning.plan import Plan, make_plan
    from racviz.study import study_from
    from racviz.study.parameters import parameter_names
    from racviz.study.variants import compared_models

    report = find_report(name)
    contents = planned(report)
    values = values_of(name, parameters)
    own = {key: value for key, value in values.items() if key in parameter_names()}
    others = {key: value for key, value in values.items() if key not in own}
    models = compared_models(own["model"], others.get(contents.models) or ()) if contents.models else [own["model"]]
    how = dict(on=on, expected_tokens=expected_tokens)
    plans = [make_plan(study_from(own | {"model": model}), contents, values=others, **how) for model in models]
    steps, checks = [s for plan in plans for s in plan.steps], [c for plan in plans for c in plan.checks]
    return Plan(steps, checks, plans[0].machine, plans[0].keys)


def values_of(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """The parameters of a report: its defaults, and the given values in their place.

    Raises ParameterError for an unknown report or parameter.
    """
    import ast

    report, parameters = find_report(name), parameters or {}
    return {key: ast.literal_eval(one["default"]) for key, one in _allowed(report, parameters).items()} | parameters


def all_problems(name: str, parameters: dict[str, Any] | None = None) -> int:
    """Number of test problems of a report with these parameters. Raises DataError where they cannot be had, and as
    `run_report` does."""
    from racviz.problems import load_problems

    values = values_of(name, parameters)
    return len(load_problems(values.get("test_problems") or values.get("domain", "arithmetic"), split="test"))


def _show_keys(report: Report, parameters: dict[str, Any]) -> None:
    """Print three keys of the test problems and the manner of grading, where the report grades answers."""
    from racviz.grading.showing import key_lines
    from racviz.planning.checks import PROBED
    from racviz.problems import is_hub, load_problems
    from racviz.progress import show_lines

    if report.contents is None or not report.contents.answers:
        return
    values = values_of(str(report.path), parameters)
    with contextlib.suppress(RacvizError):  # which the report itself is going to say, with the cell
        name = values.get("test_problems") or values["domain"]
        problems = load_problems(name, split="test", limit=PROBED if is_hub(name) else values["problems"])
        show_lines(["Keys (the first, and the longest):", *key_lines(problems)])


def _allowed(report: Report, parameters: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The parameters of a report. Raises ParameterError for one that is given and is none, with the nearest."""
    allowed = parameters_of(str(report.path))
    for key in parameters:
        if key not in allowed:
            raise unknown("parameter", key, allowed)
    return allowed


def _execute(
    report: Report, notebook: Path, partial: Path, parameters: dict[str, Any], progress: bool, kernels: Kernels | None
) -> None:
    """Run a report into a notebook. partial: the notebook's name if a cell fails, for the message."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    source, target = (
        str(path).replace("{", "{{").replace("}", "}}") for path in (report.path, notebook)
    )  # papermill formats paths
    bar = {"desc": report.name, "leave": False} if progress and in_place() else False
    try:
        with (
            _unwarned(),
            contextlib.nullcontext(kernels) if kernels else Kernels(progress=progress) as pool,
            pool.one() as kernel,
        ):
            papermill.execute_notebook(
                source, target, parameters=parameters, kernel_name="python3", km=kernel, progress_bar=bar,
                request_save_on_cell_execute=False,  # a notebook of 30 MB is not written after each cell, but every 30 seconds
            )  # fmt: skip
    except PapermillExecutionError as error:
        line = next((line for line in error.source.splitlines() if line.strip() and not line.startswith("#")), "")
        raise ReportError(
            f"{report.name}: cell [{error.exec_count}], {line.strip()!r}, failed with {error.ename}: {error.evalue}\n"
            f"The notebook up to there: {partial}"
        ) from error
    except DeadKernelError as error:
        raise ReportError(
            f"{report.name}: the kernel died; most often memory ran out: take fewer problems, a smaller batch_size or budget. "
            f"The notebook up to there: {partial}"
        ) from error


@contextlib.contextmanager
def _unwarned():
    """Silence papermill's warning about parameters without a line in the notebook's cell: `_allowed` has checked them."""
    logger = logging.getLogger("papermill")

    def wanted(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Passed unknown parameter")

    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)
