"""What all commands have in common: errors in their own words, and what is looked at before anything long begins."""

import os
import re
import sys
from pathlib import Path

import typer
from typer.core import TyperGroup

from racviz.exceptions import RacvizError, StorageError
from racviz.processes import Terminated, terminable


class Commands(TyperGroup):
    """Errors that the user can mend are printed without a traceback; an interruption says what it leaves."""

    def invoke(self, ctx):
        try:
            with terminable():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            kept = "What was finished is kept; the same command goes on from there."
            if ctx.invoked_subcommand == "prune" and not any(word.startswith("--workspace") for word in sys.argv):
                kept = "Nothing was written. With --workspace FOLDER finished blocks are kept."
            by_signal = isinstance(stop, Terminated)
            print(f"\n{'Terminated' if by_signal else 'Interrupted'}. {kept}", file=sys.stderr)
            sys.exit(143 if by_signal else 130)
        except RacvizError as error:
            print(f"racviz: {self.as_options(str(error), ctx)}", file=sys.stderr)
            sys.exit(1)

    def as_options(self, message: str, ctx) -> str:
        """A message about parameters of Python, in the words of the command that was given: `t_max=8` becomes `--t-max 8`."""
        command = self.commands.get(ctx.invoked_subcommand or "")
        names = {each.name: each.opts[0] for each in command.params if each.opts[0].startswith("--")} if command else {}
        for name, option in (("max_new_tokens", "t_max"), ("max_new_tokens", "budget"), ("loaded", "model")):
            if option in names:
                names.setdefault(name, names[option])

        def said(found: re.Match) -> str:
            option, value = names.get(found[1]), found[2]
            return found[0] if option is None else option if value in ("True", "…") else f"{option} {value}"

        begins = re.match(r"([a-z_]+) must", message)
        if begins and begins[1] in names:
            message = names[begins[1]] + message[begins.end(1) :]
        message = re.sub(r"\b([a-z]+_[a-z_]+)(?= to \d)", lambda found: names.get(found[1], found[0]), message)  # lower … to 7
        return re.sub(r"\b([a-z_]+)=(True\b|…|'[^']*'|[\w.-]*)", said, message)


def told(ctx: typer.Context, *names: str) -> list[str]:
    """Those of the options that were given on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def writable(out: Path | None, folder: bool = False) -> None:
    """Raise StorageError where a result could not be written in the end, before anything is made."""
    if out is None:
        return
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    blocked = there.is_file() and (folder or there != out.absolute())
    wrong = "it is a folder" if out.is_dir() and not folder else f"{there} is a file" if blocked else ""
    if not wrong and not os.access(there, os.W_OK):
        wrong = f"no permission to write in {there}"
    if wrong:
        raise StorageError(f"cannot write {out}: {wrong}. Name another place by --out.")


def ready(backend: str) -> None:
    """Whether a backend's name, and the interpreter that it names, are right: before a model is loaded."""
    from racviz.generation import check_backend

    how = check_backend(backend)
    if hasattr(how, "interpreter"):
        how.interpreter()
