"""Distance of calibration sets from the model's own decoding: in nats a token, and as an angle between activations."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from racviz.interchange import is_traces
from racviz.models import LoadedModel
from racviz.pruning import SecondMoments
from racviz.store.parquet import read_parquet, write_parquet
from racviz.study.parameters import tell_apart
from racviz.study.steps import TEACHER
from racviz.study.variants import shown, variant
from racviz.traces import Trace, Traces

ENERGY = 0.9
"""The share of the second moment that its leading subspace holds."""


def nats_per_token(loaded: LoadedModel, traces: Traces, most: int = 64) -> float:
    """Mean negative log likelihood of output tokens under `loaded`, in nats, over the first `most` traces.

    The likelihood is at temperature 1, while traces are sampled below it: for its own it is less than the model's entropy. For others' it
    is larger by KL(theirs ‖ own) plus what their entropy differs.
    """
    return _mean(-_log_probs(loaded, t).gather(1, torch.tensor(t.output_ids)[:, None])[:, 0] for t in traces[:most])


def kl_per_token(maker: LoadedModel, loaded: LoadedModel, traces: Traces, most: int = 64) -> float:
    """KL(maker ‖ loaded) of the next-token distributions, in nats, the mean over output tokens of the maker's first `most` traces."""

    def gaps(trace: Trace) -> torch.Tensor:
        theirs, ours = _log_probs(maker, trace), _log_probs(loaded, trace)
        return (theirs.exp() * (theirs - ours)).sum(-1)

    return _mean(gaps(t) for t in traces[:most])


def _log_probs(loaded: LoadedModel, trace: Trace) -> torch.Tensor:
    """`[output tokens, vocabulary]`: of every token in the place of each output token."""
    ids = torch.tensor([trace.ids], device=loaded.device)
    with torch.inference_mode():
        logits = loaded.model(ids, use_cache=False).logits[0, len(trace.prompt_ids) - 1 : -1]
        return torch.log_softmax(logits.float().cpu(), -1)


def _mean(parts: Iterable[torch.Tensor]) -> float:
    """The mean over the tokens of all traces."""
    total, count = 0.0, 0
    for part in parts:
        total, count = total + float(part.sum()), count + len(part)
    return total / count if count else float("nan")


def leading_subspaces(moments: SecondMoments, energy: float = ENERGY) -> list[torch.Tensor]:
    """Orthonormal bases `[columns, k]` of the leading subspaces of the inputs of the linears, one a distinct input.

    Each is spanned by the eigenvectors of the largest eigenvalues that hold `energy` of the trace, the largest first.
    """
    distinct = {id(moments.of(name)): moments.of(name) for name in moments.by_linear}
    bases = []
    for moment in distinct.values():
        values, vectors = torch.linalg.eigh(moment.mixed().double())
        share = values.flip(0).clamp(min=0).cumsum(0) / values.clamp(min=0).sum()
        bases.append(vectors.flip(1)[:, : int((share < energy).sum()) + 1])
    return bases


def degrees_between(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    """Degrees between subspaces: the mean of the principal angles, then over inputs. Of both the smaller dimension counts."""
    angles = []
    for one, other in zip(a, b, strict=True):
        width = min(one.shape[1], other.shape[1])
        cosines = torch.linalg.svdvals(one[:, :width].T @ other[:, :width]).clamp(-1, 1)
        angles.append(float(np.degrees(np.arccos(cosines.numpy())).mean()))
    return float(np.mean(angles))


def distances(study, trace_sources: list[str]):
    """A row a trace source: what the model's own decode tokens have in common with it.

    Columns: variant, maker, nats a token under the model, KL from the maker (nan where the maker is no model here), degrees between
    the activations on this calibration set and on the model's own traces.
    """
    tell_apart(trace_sources)
    variants = {source: variant(study, "trace_source", source) for source in trace_sources}
    sets = [one.calibration("rac").fingerprint for one in variants.values()]
    key = dict(model=study.dense.fingerprint, sources=[shown(source) for source in trace_sources], calibrations=sets,
               scope=study.scope, thirds=study.thirds)  # fmt: skip

    def make(folder: Path) -> None:
        write_parquet(folder / "data.parquet", _measured(variants), {})

    return study._cached("distances", key, make, lambda folder: read_parquet(folder / "data.parquet")[0])


def _measured(variants: dict[str, Any]):
    """The frame of `distances`, from the studies by trace source, the first of which is the model's own."""
    import pandas as pd

    own, rows = None, []
    for source, one in variants.items():
        traces, moments = one.traces(), one._moments(one.calibration("rac"))
        subspaces = leading_subspaces(moments)
        own = own or subspaces
        sampled = source != TEACHER and not is_traces(str(source))
        kl = kl_per_token(one.tracer, one.dense, traces) if sampled else float("nan")
        rows.append([shown(source), traces.model, nats_per_token(one.dense, traces), kl, degrees_between(own, subspaces)])
    return pd.DataFrame(rows, columns=["variant", "made by", "nats a token", "KL from the maker", "degrees from the first"])
