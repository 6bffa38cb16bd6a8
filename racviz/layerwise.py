"""Layer-wise errors: each linear on the dense model's inputs, along the same held-out rollouts for every pruned model."""

import numpy as np
import torch

from racviz.calibration import CalibrationSet
from racviz.models import LoadedModel
from racviz.processes.threads import sized_threads
from racviz.pruning.blocks import Scope, decoder_blocks, read_weight
from racviz.pruning.linear import relative_error
from racviz.pruning.moments import moments_by_block
from racviz.reconstruction import check_rollouts, refuse_overlap
from racviz.traces import Traces


def rollouts_as_calibration(rollouts: Traces) -> CalibrationSet:
    """The rollouts as token sequences with phases, whole."""
    sequences = [np.array(t.ids, dtype=np.int32) for t in rollouts]
    phases = [np.array(t.phases, dtype=np.uint8) for t in rollouts]
    return CalibrationSet("rollouts", sequences, phases, [np.ones(len(s), dtype=np.float32) for s in sequences])


@sized_threads
def layerwise_errors(dense: LoadedModel, pruned: dict[str, LoadedModel], rollouts: Traces, *, allow_overlap: bool = False):
    """Measure ‖(W − Ŵ)X‖²_F / ‖WX‖²_F per linear and phase.

    X are the dense model's inputs on the same held-out rollouts for all models.

    Parameters
    ----------
    dense : LoadedModel
        The dense model.
    pruned : dict of str to LoadedModel
        Pruned models by name.
    rollouts : Traces
        Traces on test problems.
    allow_overlap : bool, default False
        Accept rollouts on problems that calibrated a model.

    Returns
    -------
    pandas.DataFrame
        Columns layer, depth (index of the block), phase (`prompt`, `decode`), source (the name in
        `pruned`), error.

    Raises
    ------
    OverlapError
        For a rollout on a problem that calibrated a model.
    DataError
        For rollouts that the dense model cannot read.

    References
    ----------
    The layer-wise objective of SparseGPT, arXiv 2301.00774.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> train = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=train, tokens=1024)
    >>> sparsities = {"0.3": 0.3, "0.6": 0.6}
    >>> pruned = {k: rv.prune(dense, prompt, sparsity=s, progress=False) for k, s in sparsities.items()}
    >>> test = rv.load_problems("arithmetic", split="test", limit=2)
    >>> greedy = rv.Sampling(max_new_tokens=16, temperature=0.0)
    >>> rollouts = rv.generate_traces(dense, test, greedy, progress=False)
    >>> errors = rv.layerwise_errors(dense, pruned, rollouts)
    >>> means = errors.groupby("source")["error"].mean()
    >>> bool(0 < means["0.3"] < means["0.6"])
    True
    """
    import pandas as pd

    refuse_overlap(pruned, [t.content_hash for t in rollouts], [t.problem_id for t in rollouts], allow_overlap)
    check_rollouts(dense, rollouts)
    rows = []
    for depth, moments in moments_by_block(dense, rollouts_as_calibration(rollouts), Scope()):
        for layer, moment in moments.items():
            weight = _weight(dense, layer)
            for source, model in pruned.items():
                for phase, h in (("prompt", moment.prompt), ("decode", moment.decode)):
                    error = relative_error(weight, _weight(model, layer).to(weight.device), h.to(weight))
                    rows.append({"layer": layer, "depth": depth, "phase": phase, "source": source, "error": error})
    return pd.DataFrame(rows)


def _weight(loaded: LoadedModel, layer: str) -> torch.Tensor:
    _, index, inner = layer.split(".", 2)
    return read_weight(decoder_blocks(loaded.model)[1][int(index)].get_submodule(inner))
