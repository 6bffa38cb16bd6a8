"""Contract of a solver.

    solver(weight [rows, columns] fp32, inputs: LinearInputs, pattern: Pattern, sparsity) -> (new weight, mask, details)

The weight it is given is not changed; the mask is True where pruned and holds round(sparsity · size) of them (n:m patterns:
`zeros` in every group of `of`); `details` go into the report, a column each.
"""

from collections.abc import Callable
from typing import Any

import torch

from racviz.pruning.inputs import LinearInputs
from racviz.pruning.patterns import Pattern

Solved = tuple[torch.Tensor, torch.Tensor, dict[str, Any]]
Solver = Callable[[torch.Tensor, LinearInputs, Pattern, float], Solved]
