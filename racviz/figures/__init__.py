"""Figures: a tidy frame or a result in, a plotly Figure out. Nothing here shows, saves or imports torch."""

from racviz.figures.aligned import aligned_thoughts
from racviz.figures.bars import policy_bars, source_bars, variant_bars
from racviz.figures.combined import figure2
from racviz.figures.curves import budget_curves, calibration_curves, seed_dots, sparsity_curves
from racviz.figures.heatmap import error_heatmap
from racviz.figures.layers import layer_errors
from racviz.figures.lengths import cot_lengths
from racviz.figures.medians import ratio_medians
from racviz.figures.notebook import show_in_notebooks
from racviz.figures.pruned import pruning_run
from racviz.figures.ratio_curve import ratio_by_position
from racviz.figures.runtime import runtime_curves
from racviz.figures.solvers import solver_curves
from racviz.figures.survival import thinking_curves
from racviz.figures.tokens import token_strip

__all__ = [
    "aligned_thoughts",
    "budget_curves",
    "calibration_curves",
    "cot_lengths",
    "error_heatmap",
    "figure2",
    "layer_errors",
    "policy_bars",
    "pruning_run",
    "ratio_by_position",
    "ratio_medians",
    "runtime_curves",
    "seed_dots",
    "show_in_notebooks",
    "solver_curves",
    "source_bars",
    "sparsity_curves",
    "thinking_curves",
    "token_strip",
    "variant_bars",
]
