"""The commands that only look: results, the explorer, the cache, this machine."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from racviz.cli.options import Parameter
from racviz.exceptions import ParameterError
from racviz.printable import message, shown


def results(
    run: Annotated[Path, typer.Argument(help="Folder of a run (runs/NAME), or its results.csv.")],
    where: Annotated[list[str] | None, typer.Option(help="column=value; repeat for more columns.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to show, with commas between.")] = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by.")] = None,
    latex: Annotated[bool, typer.Option("--latex", help="As a LaTeX table (booktabs), accuracy with its SE.")] = False,
    csv: Annotated[
        bool,
        typer.Option("--csv", help="As CSV, every digit; all columns where --columns is not given."),
    ] = False,
) -> None:
    """Show a run's table of results.

    All rows or some, of a sweep or a report; for a paper with --latex or --csv.
    """
    from racviz.results import chosen_results, latex_table, printable_table
    from racviz.study import RESULT_COLUMNS

    if latex and csv:
        raise ParameterError("--latex and --csv are two forms of the same table; give one.")
    chosen = columns.split(",") if columns else RESULT_COLUMNS if csv else None
    frame = chosen_results(run, where or [], chosen, sort)
    frame = printable_table(frame, csv=csv)
    if latex or csv:
        print(latex_table(frame) if latex else frame.to_csv(index=False), end="\n" * latex)
        return
    print(frame.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep=""))


def explore(
    errors: Annotated[Path, typer.Argument(help="A run's folder (runs/NAME), or a file of errors.")],
    parameter: Parameter = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write this instead: .html (opens offline), .png, .svg, .csv or .parquet."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The run's dense model, if not embedded; trusted by naming it."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 picks a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Explore tokenwise errors in the browser.

    Zoom, pan, filter, and read every token; -p sets the view, e.g. -p order=length. Ctrl-C ends it.
    """
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


def doctor(
    json_: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Check this machine and installation.

    Each missing or poor thing comes with a line of advice. The exit status is 1 where racviz
    cannot work, else 0.
    """
    import json

    from racviz.doctor import examine, lines

    findings = examine()
    if json_:
        print(json.dumps([each.plain() for each in findings], indent=1))
    else:
        print("\n".join(lines(findings)))
    if any(each.fatal for each in findings):
        raise typer.Exit(1)


def cache(
    list_: Annotated[bool, typer.Option("--list", help="List the artefacts.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove artefacts.")] = False,
    older_than: Annotated[float, typer.Option(help="With --prune: only those older than so many days.")] = 0.0,
    kind: Annotated[
        str | None,
        typer.Option(help="With --prune: only this kind, e.g. checkpoints, or drafts (left by killed runs)."),
    ] = None,
) -> None:
    """List or clean the cache of finished steps."""
    from racviz.store import Store
    from racviz.store.drafts import size_of

    store = Store.default()
    if prune:
        print(f"{store.prune(older_than, kind) / 2**20:.1f} MiB freed in {store.root}")
        return
    entries, drafts = store.entries(), store.drafts()
    if list_:
        for row in entries:
            print(_cache_line(row["kind"], row["key"], row["bytes"], shown(row["created"], 40)))
        for draft in drafts:
            state = "left by a killed run" if draft.abandoned else "being written"
            name, size = shown(draft.path.name), size_of(draft.path)
            print(_cache_line(draft.path.parent.name, name, size, state))
    total = sum(row["bytes"] for row in entries) / 2**20
    print(f"{len(entries)} artefacts, {total:.1f} MiB in {store.root}")
    if left := [draft for draft in drafts if draft.abandoned]:
        size = sum(size_of(draft.path) for draft in left) / 2**20
        print(f"{len(left)} drafts of killed runs, {size:.1f} MiB: the next run removes them, or --prune --kind drafts")


def _cache_line(kind: str, name: str, size: int, state: str) -> str:
    return f"{shown(kind, 40):<12} {shown(name)}  {size / 2**20:9.2f} MiB  {state}"
