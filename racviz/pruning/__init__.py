"""One-shot pruning: second moments, solvers, the block-wise driver."""

from racviz.pruning.blocks import Scope
from racviz.pruning.driver import MODES, prune
from racviz.pruning.interface import LinearInputs
from racviz.pruning.moments import SecondMoments, second_moments
from racviz.pruning.patterns import Pattern
from racviz.pruning.solvers import METHODS, SOLVERS, solver_named

__all__ = [
    "METHODS", "MODES", "SOLVERS", "LinearInputs", "Pattern", "Scope", "SecondMoments", "prune", "second_moments", "solver_named",
]  # fmt: skip
