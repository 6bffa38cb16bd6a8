"""Run a notebook with papermill in a kernel of this very interpreter, and render it."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from racviz.exceptions import ParameterError, RacvizError, unknown
from racviz.generation import check_backend
from racviz.reports.catalogue import Report, find_report, parameters_of
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
    """Run a report and render it to HTML; returns the page.

    name: a notebook's stem, a unique prefix of it, or the path of a notebook. out: a folder, or the page's own path ending in
    .html. The executed notebook lies beside the page. What an earlier run left there is replaced only when this one succeeds;
    a run that fails leaves NAME.partial.ipynb. Several runs may write the same page at the same time: each works in a hidden folder
    of its own, and the last one stays. kernels: where kernels come from when several reports are run in a row.

    Raises ParameterError for an unknown report or parameter, ReportError when a cell fails.
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
    """What a report would do and cost, as a `racviz.study.plan.Plan`; nothing is run and no weights are read.

    Raises ParameterError for an unknown report, parameter or machine, as `run_report` does.
    """
    from racviz.study import study_from
    from racviz.study.contents import compared_models
    from racviz.study.parameters import parameter_names
    from racviz.study.plan import Plan, make_plan

    report = find_report(name)
    values = _values(report, parameters or {})
    own = {key: value for key, value in values.items() if key in parameter_names()}
    others = {key: value for key, value in values.items() if key not in own}
    models = compared_models(own["model"], others.pop("models", ()))
    how, plans = dict(on=on, expected_tokens=expected_tokens), []
    for model in models:
        more = {"models": [model]} if "models" in values else {}
        plans.append(make_plan(study_from(own | {"model": model}), report.name, values=others | more, **how))
    steps, checks = [s for plan in plans for s in plan.steps], [c for plan in plans for c in plan.checks]
    return Plan(steps, checks, plans[0].machine, plans[0].keys)


def all_problems(name: str, parameters: dict[str, Any] | None = None) -> int:
    """How many test problems there are for a report with these parameters. Raises DataError where they cannot be had, and as
    `run_report` does."""
    from racviz.problems import load_problems

    values = _values(find_report(name), parameters or {})
    return len(load_problems(values.get("test_problems") or values.get("domain", "arithmetic"), split="test"))


def _show_keys(report: Report, parameters: dict[str, Any]) -> None:
    """Print three keys of the test problems and the manner of grading, where the report grades answers."""
    from racviz.grading.showing import key_lines
    from racviz.problems import is_hub, load_problems
    from racviz.progress import show_lines
    from racviz.study.contents import answering
    from racviz.study.plan import PROBED

    values = _values(report, parameters)
    if not answering(report.name) or "problems" not in values or "domain" not in values:
        return
    with contextlib.suppress(RacvizError):  # which the report itself is going to say, with the cell
        name = values.get("test_problems") or values["domain"]
        problems = load_problems(name, split="test", limit=PROBED if is_hub(name) else values["problems"])
        show_lines(["Keys (the first, and the longest):", *key_lines(problems)])


def _values(report: Report, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a report: its defaults, and what is given in their place. Raises as `_allowed` does."""
    import ast

    return {key: ast.literal_eval(one["default"]) for key, one in _allowed(report, parameters).items()} | parameters


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
    bar = {"desc": report.name, "leave": False} if progress else False
    try:
        with contextlib.nullcontext(kernels) if kernels else Kernels(progress=progress) as pool, pool.one() as kernel:
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
