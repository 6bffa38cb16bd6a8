"""The commands that run whole comparisons and show what they left: reports, sweeps, results, the demo, the cache."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from racviz.exceptions import ParameterError, RacvizError
from racviz.printable import message, shown


def report(
    name: Annotated[str | None, typer.Argument(help="A report's name or a unique beginning of it.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="key=value, e.g. -p sparsities=[0.5,0.6]; repeat.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the HTML.")] = Path("reports"),
    list_: Annotated[bool, typer.Option("--list", help="List the reports and their parameters.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Run every report and build index.html.")] = False,
    model: Annotated[str | None, typer.Option(help="The same as -p model=….")] = None,
    full: Annotated[bool, typer.Option("--full", help="All test problems there are (500 of each embedded domain).")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check names, columns and templates, print the plan, run nothing.")
    ] = False,
    on: Annotated[str, typer.Option(help="With --dry-run: the machine to plan for: here, a100 or h100.")] = "here",
    expected_tokens: Annotated[int | None, typer.Option(help="With --dry-run: tokens of an answer, on average.")] = None,
) -> None:
    """Run a notebook as a report and render it to HTML that opens offline."""
    from racviz import reports

    if list_:
        for each in reports.list_reports():
            print(f"{each.name}: {shown(each.title)}")
            for key, value in reports.parameters_of(each.name).items():
                print(f"    {key} = {value['default']}  {value['help']}")
        return
    if all_ and str(out).endswith(".html"):
        raise ParameterError(f"--all writes several pages: --out must be a folder; not {str(out)!r}.")
    if not name and not all_:
        raise ParameterError("name a report (racviz report --list shows them), or pass --all.")
    failed, asked = {}, {}
    for each in [known.name for known in reports.list_reports()] if all_ else [name]:
        types = {key: one["type"] for key, one in reports.parameters_of(each).items()}
        asked[each] = reports.parse_parameters(parameter or [], types) | ({"model": model} if model else {})
        asked[each] |= {"problems": reports.all_problems(each, asked[each])} if full else {}
    for each, given in asked.items() if dry_run else ():
        plan = reports.plan_report(each, given, on=on, expected_tokens=expected_tokens)
        print("\n".join([f"{each}:" if all_ else "", *map(message, plan.lines())]).strip())
        failed |= {} if plan.right else {each: "its plan has something that is not right"}
    if not dry_run:
        with reports.Kernels(len(asked)) as kernels:
            for each, given in asked.items():
                try:
                    print(reports.run_report(each, given, out, kernels=kernels))
                except RacvizError as error:
                    if not all_:
                        raise
                    failed[each] = str(error)  # the others go on
        print(reports.build_index(Path(out).parent if str(out).endswith(".html") else out))
    for each, error in failed.items() if all_ else ():
        print(f"failed: {each}: {error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def sweep(
    grid: Annotated[Path, typer.Argument(help="YAML: parameters of `racviz report`, each a value or a list of values.")],
    workers: Annotated[int, typer.Option(help="Processes that share the cells, and the processors.")] = 1,
    retry: Annotated[bool, typer.Option("--retry", help="Run the cells again that failed.")] = False,
    timing_problems: Annotated[
        int, typer.Option(help="Test problems of a timing pass in the end, for minutes; 0 makes none.")
    ] = 0,
    list_: Annotated[bool, typer.Option("--list", help="List the cells and run nothing.")] = False,
) -> None:
    """Evaluate every cell of a grid; results.csv in the run's folder grows cell by cell, and the same command goes on from there."""
    from racviz.study.sweep import cell_names, run_sweep, studies_of

    if list_:
        print("\n".join(map(shown, cell_names(studies_of(grid)))))
        return
    frame = run_sweep(grid, workers=workers, retry=retry, timing_problems=timing_problems)
    print(f"{len(frame)} cells: {studies_of(grid)[0].folder / 'results.csv'}")
    if failed := frame.attrs["failed"]:
        for cell, error in failed.items():
            print(message(f"failed: {cell}: {error}"), file=sys.stderr)
        print("The same command with --retry runs them again.", file=sys.stderr)
        raise typer.Exit(1)


def results(
    run: Annotated[Path, typer.Argument(help="Folder of a run (runs/NAME), or its results.csv.")],
    where: Annotated[list[str] | None, typer.Option(help="column=value; repeat for more columns.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to show, with commas between.")] = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by.")] = None,
    latex: Annotated[bool, typer.Option("--latex", help="As a LaTeX table (booktabs), accuracy with its SE.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, every digit; all columns where --columns is not given.")] = False,
) -> None:
    """Show the results of a sweep or a report, or some of them; for a paper with --latex or --csv."""
    from racviz.results import chosen_results, latex_table, printable_table
    from racviz.study import RESULT_COLUMNS

    if latex and csv:
        raise ParameterError("--latex and --csv are two forms of the same table; give one.")
    chosen = columns.split(",") if columns else RESULT_COLUMNS if csv else None
    frame = chosen_results(run, where or [], chosen, sort)
    frame = printable_table(frame, csv=csv)
    if latex or csv:
        print(latex_table(frame) if latex else frame.to_csv(index=False), end="\n" if latex else "")
        return
    print(frame.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep=""))


def explore(
    errors: Annotated[Path, typer.Argument(help="A run's folder (runs/NAME), or a file of errors.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="Of the view: key=value, e.g. -p order=length; repeat.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write this instead: .html (opens offline), .png, .svg, .csv or .parquet.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The run's dense model, if not embedded; trusted by naming it.")] = None,
    port: Annotated[int, typer.Option(help="Of 127.0.0.1; 0 takes one that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Explore tokenwise errors in the browser: zoom, pan, filter, read every token. Ctrl-C ends it."""
    from racviz.explorer import explore as open_explorer
    from racviz.reports import parse_parameters

    explorer = open_explorer(errors, model=model, **parse_parameters(parameter or []))
    if out:
        print(explorer.save(out))
        return
    from racviz.explorer.server import Server

    server = Server(explorer.session, port)
    for note in explorer.session.about()[0]["notes"]:
        print(message(note), file=sys.stderr)
    print(f"{explorer!r}\n{server.address}  (Ctrl-C ends it)", flush=True)
    if browser:
        import webbrowser

        webbrowser.open(server.address)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve()


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the reports.")] = Path("reports"),
    problems: Annotated[int, typer.Option(help="Test problems a cell.")] = 60,
    model: Annotated[str, typer.Option(help="The model to prune.")] = "tiny-reasoner",
) -> None:
    """The paper's picture, measured: prune the embedded model three ways and build the reports. Under 5 minutes on two cores."""
    from racviz.demo import run_demo

    run_demo(out, problems, model)


def cache(
    list_: Annotated[bool, typer.Option("--list", help="List the artefacts.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove artefacts.")] = False,
    older_than: Annotated[float, typer.Option(help="With --prune: only those older than so many days.")] = 0.0,
    kind: Annotated[
        str | None,
        typer.Option(help="With --prune: only those of this kind, e.g. checkpoints, or drafts: what killed runs left."),
    ] = None,
) -> None:
    """Show or clean the cache of finished steps."""
    from racviz.store import Store
    from racviz.store.drafts import size_of

    store = Store.default()
    if prune:
        print(f"{store.prune(older_than, kind) / 2**20:.1f} MiB freed in {store.root}")
        return
    entries, drafts = store.entries(), store.drafts()
    if list_:
        for row in entries:
            print(
                f"{shown(row['kind'], 40):<12} {shown(row['key'], 40)}  {row['bytes'] / 2**20:9.2f} MiB  {shown(row['created'], 40)}"
            )
        for draft in drafts:
            state = "left by a killed run" if draft.abandoned else "being written"
            print(
                f"{shown(draft.path.parent.name, 40):<12} {shown(draft.path.name)}  {size_of(draft.path) / 2**20:9.2f} MiB  {state}"
            )
    print(f"{len(entries)} artefacts, {sum(row['bytes'] for row in entries) / 2**20:.1f} MiB in {store.root}")
    if left := [draft for draft in drafts if draft.abandoned]:
        size = sum(size_of(draft.path) for draft in left) / 2**20
        print(f"{len(left)} drafts of killed runs, {size:.1f} MiB: the next run removes them, or --prune --kind drafts")
