"""Shared by all commands: help in groups, errors in terms of options, first and last lines."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

from racviz.exceptions import RacvizError, StorageError
from racviz.printable import message, shown
from racviz.processes import Terminated, terminable

WORDS = "racviz.words"
"""Key of a context's `meta`: the words of a command line, before they are parsed."""


class Commands(TyperGroup):
    """The commands by group; a user's error is one line without a traceback.

    An interruption names the work that it keeps.
    """

    def invoke(self, ctx):
        try:
            with terminable():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            kept = "What was finished is kept; the same command goes on from there."
            workspace = any(word.startswith("--workspace") for word in sys.argv)
            if ctx.invoked_subcommand == "prune" and not workspace:
                kept = "Nothing was written. With --workspace FOLDER finished blocks are kept."
            by_signal = isinstance(stop, Terminated)
            print(f"\n{'Terminated' if by_signal else 'Interrupted'}. {kept}", file=sys.stderr)
            sys.exit(143 if by_signal else 130)
        except RacvizError as error:
            print(f"racviz: {self.as_options(str(error), ctx)}", file=sys.stderr)
            sys.exit(1)

    def format_commands(self, ctx, formatter) -> None:
        """Write a section for each group, the columns aligned over all of them."""
        commands = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
        commands = [command for command in commands if command and not command.hidden]
        width = max(len(command.name) for command in commands)
        limit = formatter.width - 6 - width
        for group in dict.fromkeys(command.rich_help_panel for command in commands):
            rows = [
                (command.name.ljust(width), command.get_short_help_str(limit))
                for command in commands
                if command.rich_help_panel == group
            ]
            with formatter.section(str(group)):
                formatter.write_dl(rows)

    def as_options(self, message: str, ctx) -> str:
        """Rewrite a message about Python's parameters: `t_max=8` becomes `--t-max 8`."""
        command = self.commands.get(ctx.invoked_subcommand or "")
        params = command.params if command else []
        names = {each.name: each.opts[0] for each in params if each.opts[0].startswith("--")}
        for name, option in (
            ("max_new_tokens", "t_max"),
            ("max_new_tokens", "budget"),
            ("loaded", "model"),
        ):
            if option in names:
                names.setdefault(name, names[option])

        def said(found: re.Match) -> str:
            option, value = names.get(found[1]), found[2]
            if option is None:
                return found[0]
            return option if value in ("True", "…") else f"{option} {value}"

        begins = re.match(r"([a-z_]+) must", message)
        if begins and begins[1] in names:
            message = names[begins[1]] + message[begins.end(1) :]
        message = re.sub(  # lower … to 7
            r"\b([a-z]+_[a-z_]+)(?= to \d)", lambda found: names.get(found[1], found[0]), message
        )
        return re.sub(r"\b([a-z_]+)=(True\b|…|'[^']*'|[\w.-]*)", said, message)


class ReportCommand(TyperCommand):
    """The command `report`, whose help after a report's name is that of the report."""

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx, formatter) -> None:
        name = self._named(ctx)
        if name is None:
            super().format_help(ctx, formatter)
            return
        from racviz import reports

        report = reports.find_report(name)
        rows = [
            (f"{key} = {shown(one['default'])}", shown(one["help"], 400))
            for key, one in reports.parameters_of(str(report.path)).items()
        ]
        formatter.write_usage("racviz report", f"{name} [-p PARAMETER=VALUE]... [OPTIONS]")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(shown(report.title))
        with formatter.section("Parameters, with their defaults"):
            formatter.write_dl(rows)
        formatter.write_paragraph()
        formatter.write_text("Options of the command: racviz report --help")

    def _named(self, ctx) -> str | None:
        """The report that the command line names."""
        words = list(ctx.meta.get(WORDS, []))
        try:
            values, _, _ = self.make_parser(ctx).parse_args(args=words)
        except Exception:  # a wrong option, which parsing in earnest reports
            return None
        name = values.get("name")
        return name if isinstance(name, str) else None


def told(ctx: typer.Context, *names: str) -> list[str]:
    """Those of the options that were given on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def say(text: str) -> None:
    """Print a line to standard error; standard output holds results alone."""
    print(message(text), file=sys.stderr, flush=True)


def begin(command: str, work: str, seconds: float | None, out: object) -> None:
    """Announce a command: its size, expected time, and the place of its result.

    Parameters
    ----------
    command : str
        The command, or the report that it runs.
    work : str
        The size of the work.
    seconds : float or None
        The expected time at most; None where nothing can tell.
    out : path or text
        The place of the result.
    """
    from racviz.cli.expecting import time_at_most

    time = f", {time_at_most(seconds)}" if seconds is not None else ""
    say(f"{command}: {work}{time}. Writes {out}.")


def end(following: Iterable[str]) -> None:
    """Name the files to open or the commands to run next."""
    say("Next: " + ", or ".join(following))


def writable(out: Path | None, folder: bool = False) -> None:
    """Raise StorageError where a result could not be written in the end, before any work."""
    if out is None:
        return
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    blocked = there.is_file() and (folder or there != out.absolute())
    is_folder = out.is_dir() and not folder
    wrong = "it is a folder" if is_folder else f"{there} is a file" if blocked else ""
    if not wrong and not os.access(there, os.W_OK):
        wrong = f"no permission to write in {there}"
    if wrong:
        raise StorageError(f"cannot write {out}: {wrong}. Name another place by --out.")


def ready(backend: str) -> None:
    """Check a backend's name, and the interpreter that it names, before a model is loaded."""
    from racviz.generation import check_backend

    settings = check_backend(backend)
    if hasattr(settings, "interpreter"):
        settings.interpreter()
