"""Parameters of a study out of a notebook's variables, and a guard against misspelt ones that papermill injects."""

import ast
from collections.abc import Mapping
from typing import Any

from racviz.exceptions import unknown
from racviz.study.parameters import parameter_names

INJECTED = "# Parameters"
"""First line of the cell that papermill injects."""


def parameters_in(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a study's parameters among a notebook's variables.

    Parameters
    ----------
    namespace : mapping
        `globals()` of a notebook, or any variables by name. IPython keeps the notebook's cells there as `In`.

    Raises
    ------
    ParameterError
        For an injected name that is neither a parameter of a study nor assigned in the notebook itself, with the nearest one.
    """
    declared: list[str] = []
    injected: list[str] = []
    for cell in (cell for cell in namespace.get("In", ()) if isinstance(cell, str)):
        if cell.startswith(INJECTED) and declared:  # never the first: papermill puts it after the notebook's own
            injected += assigned_names(cell)
        elif not injected:
            declared += assigned_names(cell)
    allowed = [*parameter_names(), *(name for name in dict.fromkeys(declared) if name not in parameter_names())]
    for name in injected:
        if name not in allowed:
            raise unknown("parameter", name, allowed)
    return {name: namespace[name] for name in parameter_names() if name in namespace}


def assigned_names(source: str) -> list[str]:
    """Names that a cell assigns at its top level; none for a cell that is not Python."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return []
    targets = []
    for statement in statements:
        if isinstance(statement, ast.AnnAssign):
            targets.append(statement.target)
        elif isinstance(statement, ast.Assign):
            targets += statement.targets
    return [target.id for target in targets if isinstance(target, ast.Name)]
