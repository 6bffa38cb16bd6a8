"""The solvers, by name. A new one is a file and a line: in SOLVERS, or an entry point of the group `racviz.solvers`."""

from racviz.exceptions import ParameterError, unknown
from racviz.pruning.interface import Solver
from racviz.pruning.solvers.alps import alps
from racviz.pruning.solvers.magnitude import magnitude
from racviz.pruning.solvers.refit import refitted
from racviz.pruning.solvers.sparsegpt import sparsegpt
from racviz.pruning.solvers.wanda import wanda
from racviz.registry import Registry

OWN: dict[str, Solver] = {"magnitude": magnitude, "wanda": wanda, "sparsegpt": sparsegpt, "alps": alps}
SOLVERS = Registry("method", "racviz.solvers", OWN)
REFITS = ("refit", "exact")
METHODS = (*OWN, *(f"{name}+refit" for name in OWN))
"""The names of racviz's own; `+exact` in place of `+refit` solves the least squares of each row exactly, for small linears."""


def solver_named(method: str | Solver) -> Solver:
    """A solver by name (`sparsegpt`, `wanda+refit`, …), or a callable as it is. Raises ParameterError for another name."""
    if callable(method):
        return method
    if not isinstance(method, str):
        raise ParameterError(f"method must be a name or a callable; got {method!r}.")
    name, plus, refit = method.partition("+")
    if name not in SOLVERS or (plus and refit not in REFITS):
        raise unknown("method", method, [*SOLVERS, *(f"{name}+refit" for name in SOLVERS)])
    return refitted(SOLVERS[name], refit) if plus else SOLVERS[name]
