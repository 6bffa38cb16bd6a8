"""The typer application: its commands in groups, and its entry point."""

from typing import Annotated

import typer

from racviz.cli import look, pruning, runs, steps
from racviz.cli.console import Commands, ReportCommand

app = typer.Typer(
    name="racviz",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="See what compression does to a reasoning model: prune it, calibrated on its own thought (RAC), and compare.",
)

GROUPS = {
    "Run": (runs.demo, runs.report, runs.sweep),
    "Look": (look.explore, look.results, look.doctor),
    "Files": (steps.traces, steps.export, pruning.prune, steps.errors, steps.evaluate, look.cache),
}
"""The commands of each group, in the order of the help."""

for group, commands in GROUPS.items():
    for command in commands:
        cls = {"cls": ReportCommand} if command is runs.report else {}
        app.command(rich_help_panel=group, **cls)(command)


def print_version(asked: bool) -> None:
    """Print the version and stop, if it was asked for."""
    if asked:
        from racviz import __version__

        print(f"racviz {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Run the command line."""
    app(prog_name="racviz")
