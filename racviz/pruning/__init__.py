"""One-shot pruning: second moments, solvers, the block-wise driver."""

from racviz.pruning.blocks import Scope
from racviz.pruning.driver import METHODS, MODES, PATTERNS, prune
from racviz.pruning.moments import SecondMoments, second_moments

__all__ = ["METHODS", "MODES", "PATTERNS", "Scope", "SecondMoments", "prune", "second_moments"]
