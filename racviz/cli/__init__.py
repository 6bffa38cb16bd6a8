"""The command line, `racviz COMMAND …`: whole comparisons, single steps on files, and views."""

from racviz.cli.app import app, main

__all__ = ["app", "main"]
