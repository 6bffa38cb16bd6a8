"""A pruning run: blocks one after the other, each pruned whole or not at all."""

import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from racviz.calibration import CalibrationSet
from racviz.exceptions import ParameterError
from racviz.models import LoadedModel
from racviz.progress import progress_bar
from racviz.pruning.blocks import decoder_blocks, full_precision, summary
from racviz.pruning.inputs import LinearInputs
from racviz.pruning.interface import Solver
from racviz.pruning.linear import prune_linear
from racviz.pruning.moment import Moment
from racviz.pruning.moments import SecondMoments, block_moments
from racviz.pruning.patterns import Pattern
from racviz.pruning.solvers.magnitude import unread
from racviz.pruning.stream import Stream, open_stream, run_block, visiting
from racviz.pruning.workspace import Workspace


@dataclass(frozen=True)
class Run:
    """The settings that all blocks have in common."""

    target: LoadedModel
    linears: Mapping[int, Mapping[str, nn.Module]]
    """The linears to prune by block and name."""
    solver: Solver
    pattern: Pattern
    shares: Mapping[str, float]
    """The sparsity of each linear."""
    mode: str
    weights: tuple[float, float]
    """w_P and w_D of H = w_P H_P + w_D H_D."""
    dtype: torch.dtype
    """Dtype of the sums of second moments."""
    device: torch.device | None
    batch_tokens: int

    def blocks(
        self, calibration: CalibrationSet | None, moments: SecondMoments | None, workspace: Workspace, progress: bool
    ) -> list[dict[str, Any]]:
        """Prune block after block; returns the rows of the report."""
        _, blocks = decoder_blocks(self.target.model)
        last = max(self.linears)
        bar = progress_bar(total=len(self.shares), desc="prune", unit="linear", shown=progress)
        logging.getLogger("racviz").info("to prune: %s", summary(self.shares))
        if progress and sys.stderr.isatty():  # not into the pages of reports
            bar.write(f"to prune: {summary(self.shares)}", file=sys.stderr)
        with bar, full_precision():
            done = workspace.restore(blocks)
            bar.update(len(workspace.rows))
            stream = None
            if calibration is not None and done <= last:
                stream = open_stream(self.target, calibration, self.batch_tokens, folder=workspace.folder, block=done)
            for index in range(done, last + 1):
                with visiting(blocks[index], self.device):
                    new = self._block(index, blocks[index], stream, moments, bar)
                workspace.keep(index, blocks[index], new)
                if stream is not None:
                    stream.hidden.drop(until=index)
        workspace.finished()
        return workspace.rows

    def _block(
        self, index: int, block: nn.Module, stream: Stream | None, moments: SecondMoments | None, bar: Any
    ) -> list[dict[str, Any]]:
        """Prune one block and, in sequential mode, run it anew."""
        mine = self.linears.get(index, {})
        was = {linear: linear.get_parameter("weight").data for linear in mine.values()}
        try:
            return self._pruned_block(index, block, mine, stream, moments, bar)
        except BaseException:  # a block is pruned whole or not at all: the same call may go on from here
            for linear, weight in was.items():
                linear.get_parameter("weight").data = weight
            raise

    def _pruned_block(
        self,
        index: int,
        block: nn.Module,
        mine: Mapping[str, nn.Module],
        stream: Stream | None,
        moments: SecondMoments | None,
        bar: Any,
    ) -> list[dict[str, Any]]:
        on = index < max(self.linears)  # nobody reads the output of the last block
        inputs: Mapping[str, Moment] = {}
        if moments is not None:
            inputs = {name: moments.of(name) for name in mine}
        elif mine and stream is not None:
            keep = on and self.mode == "one-pass"
            inputs = block_moments(block, index, mine, stream, keep=keep, dtype=self.dtype)
        rows = list(self._solve(mine, inputs, moments, bar)) if mine else []
        if stream is not None and on and (self.mode == "sequential" or not mine):
            run_block(block, index, stream, keep=True)
        return rows

    def _solve(
        self, linears: Mapping[str, nn.Module], moments: Mapping[str, Moment], kept: SecondMoments | None, bar: Any
    ) -> Iterator[dict[str, Any]]:
        """Prune the linears of one block, those with the same input one after the other, so that one factor is held at a time."""
        groups: dict[int, list[str]] = {}
        for name in linears:
            if name not in moments:
                kind = type(self.target.model).__name__
                raise ParameterError(f"no token reaches {name} of {kind} on this calibration set; leave it out by scope=…")
            groups.setdefault(id(moments[name]), []).append(name)
        for names in groups.values():
            moment = moments[names[0]]
            if kept is not None:
                inputs = kept.inputs_of(names[0], self.weights)
            else:
                inputs = LinearInputs(moment.mixed(*self.weights).float(), names[0])
            solver = self.solver
            if inputs.dead.all():
                _check_tokens_counted(names[0], moment, self.weights)
                solver = unread  # every input was zero: the moment ranks no weight above another
            for name in names:
                yield prune_linear(name, linears[name], inputs, solver, self.pattern, self.shares[name])
                bar.update()


def _check_tokens_counted(name: str, moment: Moment, weights: tuple[float, float]) -> None:
    """Raise ParameterError where a moment is zero because no token counts, not because the inputs were zero."""
    if not any(tokens and weight for tokens, weight in zip(moment.tokens, weights, strict=True)):
        raise ParameterError(
            f"the second moment of {name} is zero: it saw {moment.tokens[0]} prompt and {moment.tokens[1]} decode tokens, "
            f"weighted {weights[0]:g} and {weights[1]:g}; choose weights or a calibration set that leave some"
        )
