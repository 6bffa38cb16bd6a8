"""The commands that run whole comparisons: reports, sweeps, the demo."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from racviz.cli.console import begin, end, say, writable
from racviz.cli.options import Parameter
from racviz.exceptions import ParameterError, RacvizError
from racviz.printable import message, shown


def complete_report(incomplete: str) -> list[tuple[str, str]]:
    """Names and titles of reports with this beginning, for the shell."""
    from racviz.reports.catalogue import list_reports

    return [(each.name, each.title) for each in list_reports() if each.name.startswith(incomplete)]


ReportName = Annotated[
    str | None,
    typer.Argument(
        help="A report's name or a unique beginning of it, or your notebook's path; NAME --help shows its parameters.",
        autocompletion=complete_report,
    ),
]
Full = Annotated[bool, typer.Option("--full", help="All test problems there are (500 of each embedded domain).")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Check names, columns and templates, print the plan, run nothing."),
]
On = Annotated[str, typer.Option(help="With --dry-run: the machine to plan for: here, a100 or h100.")]
Tokens = Annotated[int | None, typer.Option(help="With --dry-run: tokens of an answer, on average.")]


def report(
    name: ReportName = None,
    parameter: Parameter = None,
    out: Annotated[Path, typer.Option(help="Folder for the HTML.")] = Path("reports"),
    list_: Annotated[bool, typer.Option("--list", help="List the reports, a line each.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Run every report and build index.html.")] = False,
    model: Annotated[str | None, typer.Option(help="The same as -p model=….")] = None,
    full: Full = False,
    dry_run: DryRun = False,
    on: On = "here",
    expected_tokens: Tokens = None,
) -> None:
    """Run a notebook as a report, in HTML.

    The page opens offline. `racviz report --list` lists the reports, and
    `racviz report NAME --help` the parameters of one.
    """
    from racviz import reports

    known = reports.list_reports()
    if list_:
        width = max(len(each.name) for each in known)
        print("\n".join(f"{each.name:<{width}}  {shown(each.title)}" for each in known))
        return
    if all_ and str(out).endswith(".html"):
        raise ParameterError(f"--all writes several pages: --out must be a folder; not {str(out)!r}.")
    if not name and not all_:
        raise ParameterError("name a report (racviz report --list shows them), or pass --all.")
    writable(out, folder=not str(out).endswith(".html"))
    names = [each.name for each in known] if all_ else [name]
    asked = _asked(names, parameter or [], model, full)
    if dry_run:
        failed = _print_plans(asked, all_, on, expected_tokens)
    else:
        failed = _run_reports(asked, all_, out)
    for each, error in failed.items() if all_ else ():
        print(f"failed: {each}: {error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _asked(names: list[str], pairs: list[str], model: str | None, full: bool) -> dict[str, dict[str, Any]]:
    """The parameters of each report, by its name.

    Raises ParameterError for a parameter that none of the reports takes.
    """
    from racviz import reports
    from racviz.exceptions import unknown

    allowed = {name: reports.parameters_of(name) for name in names}
    anywhere = list(dict.fromkeys(key for mine in allowed.values() for key in mine))
    asked = {}
    for name, mine in allowed.items():
        types = {key: one["type"] for key, one in mine.items()}
        asked[name] = reports.parse_parameters(pairs, types)
        asked[name] |= {"model": model} if model else {}
        for key in asked[name]:
            if key not in anywhere:
                raise unknown("parameter", key, anywhere)
        if full:
            asked[name] |= {"problems": reports.all_problems(name, asked[name])}
    return asked


def _print_plans(asked: dict[str, dict[str, Any]], all_: bool, on: str, expected_tokens: int | None) -> dict[str, str]:
    """Print the plans of reports; returns the reports whose plans have faults."""
    from racviz import reports

    failed = {}
    for name, given in asked.items():
        plan = reports.plan_report(name, given, on=on, expected_tokens=expected_tokens)
        heading = f"{name}:" if all_ else ""
        print("\n".join([heading, *map(message, plan.lines())]).strip())
        if not plan.right:
            failed[name] = "its plan has something that is not right"
    return failed


def _run_reports(asked: dict[str, dict[str, Any]], all_: bool, out: Path) -> dict[str, str]:
    """Run reports in a row and build the index; returns the errors of those that failed."""
    from racviz import reports

    failed: dict[str, str] = {}
    runs: list[Path] = []
    page = None
    with reports.Kernels(len(asked), early=True) as kernels:
        for name, given in asked.items():
            try:
                runs.append(_begin_report(name, given, out))
                page = reports.run_report(name, given, out, kernels=kernels)
                print(page)
            except RacvizError as error:
                if not all_:
                    raise
                failed[name] = str(error)  # the others go on
    index = reports.build_index(out.parent if str(out).endswith(".html") else out)
    print(index)
    end([f"open {index if all_ else page}", *(_commands(runs[0]) if len(runs) == 1 else [])])
    return failed


def _begin_report(name: str, given: dict[str, Any], out: Path) -> Path:
    """Announce a report; returns the folder of its run.

    Raises ParameterError for an invalid parameter, list or model, before anything runs.
    """
    from racviz import reports
    from racviz.cli.expecting import plan_time

    found, values = reports.find_report(name), reports.values_of(name, given)
    page = out if str(out).endswith(".html") else out / f"{found.name}.html"
    run = str(values.get("run", ""))
    folder = Path(run) if "/" in run else Path("runs") / run
    work, seconds = "a notebook", None
    plan = _planned(name, given) if reports.is_packaged(found) else None
    if plan is not None:
        for what, right, said in plan.checks:
            if not right and what in ("comparisons", "model"):
                raise ParameterError(said)
            if not right:
                say(f"{found.name}: {what}: {said}")
        work, seconds = f"{len(plan.steps)} steps", plan_time(plan, values)
    begin(found.name, work, seconds, f"{page}" + (f" and {folder}/" if run else ""))
    return folder


def _planned(name: str, given: dict[str, Any]) -> Any:
    """The plan of a report, or None for a model of a kind that cannot be planned for."""
    from racviz import reports

    try:
        return reports.plan_report(name, given)
    except RacvizError:
        raise
    except Exception:  # an architecture that only runs with its weights; the report may still run
        return None


def _commands(run: Path) -> list[str]:
    """Commands that show the content of a run's folder."""
    errors, results = (run / "errors").is_dir(), (run / "results.csv").is_file()
    return [f"racviz explore {run}"] * errors + [f"racviz results {run}"] * results


def sweep(
    grid: Annotated[Path, typer.Argument(help="YAML: parameters of `racviz report`, each a value or a list.")],
    workers: Annotated[int, typer.Option(help="Processes that share the cells, and the processors.")] = 1,
    retry: Annotated[bool, typer.Option("--retry", help="Run the cells again that failed.")] = False,
    timing_problems: Annotated[
        int,
        typer.Option(help="Test problems of a timing pass in the end, for minutes; 0 makes none."),
    ] = 0,
    list_: Annotated[bool, typer.Option("--list", help="List the cells and run nothing.")] = False,
) -> None:
    """Evaluate every cell of a grid.

    results.csv in the run's folder grows cell by cell. Interrupted sweeps resume.
    """
    from racviz.cli.expecting import sweep_time
    from racviz.study.sweep import cell_names, run_sweep, studies_of

    studies = studies_of(grid)
    names, folder = cell_names(studies), studies[0].folder
    if list_:
        print("\n".join(map(shown, names)))
        return
    seconds = sweep_time(studies, timing_problems) if workers == 1 else None
    begin("sweep", f"{len(names)} cells", seconds, folder / "results.csv")
    frame = run_sweep(grid, workers=workers, retry=retry, timing_problems=timing_problems)
    print(f"{len(frame)} cells: {folder / 'results.csv'}")
    if failed := frame.attrs["failed"]:
        for cell, error in failed.items():
            print(message(f"failed: {cell}: {error}"), file=sys.stderr)
        print("The same command with --retry runs them again.", file=sys.stderr)
        raise typer.Exit(1)
    end([f"racviz results {folder}"])


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the reports.")] = Path("reports"),
    problems: Annotated[int, typer.Option(help="Test problems a cell.")] = 60,
    model: Annotated[str, typer.Option(help="The model to prune.")] = "tiny-reasoner",
) -> None:
    """Make the paper's picture in 5 minutes.

    The embedded model is pruned with three calibration sets, and three reports show the effect. The
    first picture is there after a minute and a half. Times are those of two cores with AVX-512.
    """
    from racviz.demo import run_demo

    writable(out, folder=True)
    index = run_demo(out, problems, model)
    end(
        [
            f"open {index}",
            f"racviz explore {out / 'runs' / 'figure2_error_heatmap'}",
            "racviz report --list",
        ]
    )
