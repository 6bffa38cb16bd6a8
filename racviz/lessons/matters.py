"""Measurements of the lessons: tokens and arithmetic by phase, coverage of second moments, agreement of masks.

What racviz has already (`study.policies.degrees_between`, `pruning.linear.relative_error`, …) the lessons take from there.
"""

import html
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from racviz.exceptions import DataError, NumericalError, check, unknown
from racviz.figures.theme import FONT, INK, SPARE, finish, legend_name, source_colour, source_symbol
from racviz.figures.tokens import Html
from racviz.sources import SOURCES
from racviz.statistics import pretty

if TYPE_CHECKING:
    from racviz.models import LoadedModel
    from racviz.pruning import SecondMoments
    from racviz.traces import Trace, Traces

PHASES = {"prompt": SPARE[0], "decode": SPARE[1], "thought": SPARE[1], "answer": SPARE[2]}
"""A colour a phase, none of them that of a calibration source."""
DASHES, MARKS = ("solid", "dash", "dot", "dashdot"), ("circle", "square", "diamond", "cross")
DAMPING = 0.01
"""λ over the mean diagonal of H, as SparseGPT damps it."""


# One linear by hand


def error_of(weight: Any, new: Any, h: Any) -> float:
    """tr((W − Ŵ) H (W − Ŵ)ᵀ) / tr(W H Wᵀ), which is ‖(W − Ŵ)X‖² / ‖WX‖² for H = XXᵀ; float64. 0 where WX is 0."""
    weight, new, h = (np.asarray(each, dtype=float) for each in (weight, new, h))
    change, whole = weight - new, float(np.einsum("ij,jk,ik", weight, h, weight))
    return float(np.einsum("ij,jk,ik", change, h, change)) / whole if whole > 0 else 0.0


def correlated_inputs(columns: int, tokens: int, correlation: float, seed: int = 0, spread: float = 4.0) -> np.ndarray:
    """Inputs X `[columns, tokens]`: every two columns have this correlation (give or take what is drawn), and their sizes lie between
    1/√spread and √spread. Each column is its share of one signal that all have, and noise of its own."""
    check(columns >= 1 and tokens >= 1, "columns, tokens", (columns, tokens), "at least 1")
    check(0 <= correlation < 1, "correlation", correlation, "in [0, 1)")
    check(spread >= 1, "spread", spread, "at least 1")
    draw = np.random.default_rng(seed)
    signal, noise = draw.standard_normal(tokens), draw.standard_normal((columns, tokens))
    sizes = draw.permutation(np.geomspace(spread**-0.5, spread**0.5, columns))
    return sizes[:, None] * (np.sqrt(correlation) * signal + np.sqrt(1 - correlation) * noise)


# Tokens and arithmetic


@dataclass(frozen=True)
class TokenCost:
    """Floating-point operations that one token costs, a product and a sum each counted."""

    linears: int
    """In the linears of all blocks: two for every weight."""
    attention: int
    """For each token that it attends to, itself among them: a score and a weighted sum, over all heads and blocks."""
    head: int
    """For the logits, where a token is drawn from them."""

    def at(self, context: Any) -> Any:
        """Operations to read one token that attends to `context` tokens, without the head."""
        return self.linears + self.attention * context


def token_cost(loaded: "LoadedModel") -> TokenCost:
    """Counted from the shapes of the model; norms, activations and the softmax, far less, are left out."""
    from racviz.pruning.blocks import Scope

    model, config = loaded.model, loaded.model.config.get_text_config()
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    weights = sum(linear.weight.numel() for mine in Scope().linears(model).values() for linear in mine.values())
    head = model.get_output_embeddings().weight
    return TokenCost(2 * weights, 4 * config.num_hidden_layers * config.num_attention_heads * size, 2 * head.numel())


def phase_costs(loaded: "LoadedModel", traces: "Traces") -> pd.DataFrame:
    """A row a trace and phase: problem_id, phase, tokens, flops, passes.

    passes: how often all weights are read where one problem runs at a time: once for the whole prompt, once for every token after it.
    The last token of an answer is drawn, but never read.
    """
    cost, rows = token_cost(loaded), []
    for trace in traces:
        read, drawn = len(trace.prompt_ids), len(trace.output_ids)
        contexts = np.arange(1, read + drawn)  # of every token that is read
        flops = cost.at(contexts)
        rows.append([trace.problem_id, "prompt", read, int(flops[:read].sum()) + cost.head, 1])
        rows.append([trace.problem_id, "decode", drawn, int(flops[read:].sum()) + cost.head * (drawn - 1), drawn - 1])
    return pd.DataFrame(rows, columns=["problem_id", "phase", "tokens", "flops", "passes"])


# Second moments


def only(moments: "SecondMoments", phase: str) -> "SecondMoments":
    """The second moments of the tokens of one phase, `prompt` or `decode`. Raises DataError where there are none."""
    from racviz.pruning import SecondMoments
    from racviz.pruning.moment import Moment

    if phase not in (phases := ("prompt", "decode")):
        raise unknown("phase", phase, phases)
    place = phases.index(phase)
    made: dict[int, Moment] = {}
    for name, moment in moments.by_linear.items():
        if place not in moment.sums:
            raise DataError(f"there are no {phase} tokens behind these moments (first missing for {name}).")
        if id(moment) not in made:
            part = Moment(moment.columns, moment.dtype, moment.device, moment.diagonal)
            part.sums, part.tokens[place] = {place: moment.sums[place]}, moment.tokens[place]
            made[id(moment)] = part
    parts = {name: made[id(moment)] for name, moment in moments.by_linear.items()}
    return SecondMoments(parts, moments.model_fingerprint, moments.calibration)


def spectrum(h: Any) -> np.ndarray:
    """`[columns]`: the shares of tr(H) along its eigenvectors, the largest first."""
    values = np.linalg.eigvalsh(_float64(h))[::-1].clip(min=0)
    total = values.sum()
    if not (np.isfinite(total) and total > 0):
        raise NumericalError("the second moment has no positive finite trace")
    return values / total


def angle_table(moments: Mapping[str, "SecondMoments"], energy: float = 0.9) -> pd.DataFrame:
    """Degrees between the leading subspaces of every two, a row and a column each (`study.policies.degrees_between`)."""
    from racviz.study.policies import degrees_between, leading_subspaces

    names, subspaces = list(moments), {name: leading_subspaces(each, energy) for name, each in moments.items()}
    table = pd.DataFrame(0.0, index=names, columns=names)
    for one, other in itertools.combinations(names, 2):
        table.loc[one, other] = table.loc[other, one] = degrees_between(subspaces[one], subspaces[other])
    return table


def leverage(h: Any, tokens: int, h_other: Any, tokens_other: int, damping: float = DAMPING) -> float:
    """Leverage of other tokens under H, relative to the tokens that H was summed over: 1 is as usual as they are.

    The mean of xᵀ(H/n + λI)⁻¹x over the other tokens, over the same mean of H's own; λ = damping · mean diag(H/n). No token is needed:
    the mean over tokens is tr((H/n + λI)⁻¹ H_other/n_other). h, h_other: `[columns, columns]`.
    """
    check(tokens >= 1 and tokens_other >= 1, "tokens", (tokens, tokens_other), "at least 1")
    check(damping > 0, "damping", damping, "a number > 0")
    own, other = _float64(h) / tokens, _float64(h_other) / tokens_other
    check(own.shape == other.shape, "h_other", other.shape, f"of the shape {own.shape}, that of h")
    if not (np.isfinite(own).all() and np.isfinite(other).all() and np.trace(own) > 0):
        raise NumericalError("second moments must be finite, and h not 0")
    damped = own + damping * own.diagonal().mean() * np.eye(len(own))
    return float(np.trace(np.linalg.solve(damped, other)) / np.trace(np.linalg.solve(damped, own)))


def leverage_table(calibrations: Mapping[str, "SecondMoments"], held_out: "SecondMoments") -> pd.DataFrame:
    """A row a linear, phase and source: layer, depth, phase, source, leverage of the held-out tokens of the phase. As `layerwise`."""
    known: dict[tuple, float] = {}  # linears that read the same input share moments
    rows = []
    for layer, name in _linears(held_out):
        for phase in ("prompt", "decode"):
            tokens = held_out.of(name).tokens[phase == "decode"]
            for source, moments in calibrations.items():
                own, other = moments.of(name), held_out.of(name)
                key = (id(own), id(other), phase)
                if key not in known:
                    known[key] = leverage(own.mixed(), sum(own.tokens), getattr(other, phase), tokens)
                rows.append([name, layer, phase, source, known[key]])
    return pd.DataFrame(rows, columns=["layer", "depth", "phase", "source", "leverage"])


def _linears(moments: "SecondMoments") -> Iterator[tuple[int, str]]:
    for name in moments.by_linear:
        yield int(name.split(".")[1]), name


# Masks


def mask_overlap(pruned: Mapping[str, "LoadedModel"], layers: Sequence[str]) -> pd.DataFrame:
    """A row a linear and pair of models: layer, depth, pair, overlap, chance.

    overlap: the share of the weights that the first has pruned which the second has pruned too; chance: what it would be for masks that
    know nothing of each other, the sparsity of the second. layers: names such as `layers.0.mlp.up_proj`.
    """
    check(len(pruned) >= 2, "pruned", list(pruned), "at least two models")
    rows = []
    for layer in layers:
        zeros = {name: pruned_mask(loaded, layer) for name, loaded in pruned.items()}
        for one, other in itertools.combinations(pruned, 2):
            first, second = zeros[one], zeros[other]
            if not first.any():
                raise DataError(f"{one!r} has no zero in {layer}: is it a pruned model?")
            both = (first & second).sum() / first.sum()
            pair = f"{pretty(one)} and {pretty(other)}"
            rows.append([layer, int(layer.split(".")[1]), pair, float(both), float(second.mean())])
    return pd.DataFrame(rows, columns=["layer", "depth", "pair", "overlap", "chance"])


def crossed_errors(
    dense: "LoadedModel", pruned: Mapping[str, "LoadedModel"], moments: Mapping[str, "SecondMoments"], held_out: "SecondMoments",
    layers: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """A row a linear, mask, second moment and phase: layer, depth, mask, weights, phase, error.

    The mask is that of one pruned model, the kept weights are solved anew (least squares, 20 steps of conjugate gradients) with the
    second moment of another; error: ‖(W − Ŵ)X‖² / ‖WX‖² on the held-out tokens of the phase.
    """
    import torch

    from racviz.pruning.inputs import LinearInputs
    from racviz.pruning.linear import relative_error
    from racviz.pruning.solvers.refit import conjugate_gradient

    rows = []
    for layer, (mask, weights) in itertools.product(layers, itertools.product(pruned, moments)):
        weight, zero = _weight(dense, layer), torch.from_numpy(pruned_mask(pruned[mask], layer))
        h = LinearInputs(moments[weights].of(layer).mixed().float().cpu()).damped
        new = conjugate_gradient(weight, h, zero, weight)
        for phase in ("prompt", "decode"):
            error = relative_error(weight, new, getattr(held_out.of(layer), phase).float().cpu())
            rows.append([layer, int(layer.split(".")[1]), mask, weights, phase, error])
    return pd.DataFrame(rows, columns=["layer", "depth", "mask", "weights", "phase", "error"])


def pruned_mask(loaded: "LoadedModel", layer: str) -> np.ndarray:
    """`[rows, columns]` bool, True where a linear's weight is zero."""
    return (_weight(loaded, layer) == 0).numpy()


def _weight(loaded: "LoadedModel", layer: str) -> Any:
    from racviz.pruning.blocks import decoder_blocks, read_weight

    _, index, inner = layer.split(".", 2)
    return read_weight(decoder_blocks(loaded.model)[1][int(index)].get_submodule(inner)).detach().cpu()


# Pictures


def thought_strip(loaded: "LoadedModel", trace: "Trace", note: str = "") -> Html:
    """A rollout as text: the prompt, the thought and the answer, each on its colour, with their numbers of tokens. Escaped."""
    from racviz.prompting import thought_length

    length, _ = thought_length(loaded.tokenizer, trace.output_ids, loaded.thinking)
    parts = {"prompt": trace.prompt_ids, "thought": trace.output_ids[:length], "answer": trace.output_ids[length:]}
    key = " ".join(
        f'<span style="background:{PHASES[name]}59;padding:1px 8px">{name}: {len(ids):,} tokens</span>'
        for name, ids in parts.items()
    )
    text = "".join(f'<bdi style="background:{PHASES[name]}59">{_shown(loaded, ids)}</bdi>' for name, ids in parts.items())
    return Html(
        f'<div dir="ltr" style="background:white;color:{INK};padding:8px 10px;line-height:1.7;font-family:{FONT}">'
        f'<div style="margin-bottom:6px"><b>{html.escape(str(trace.problem_id))}</b> {key} {html.escape(note)}</div>'
        f'<div style="font-family:monospace;font-size:13px;overflow-wrap:anywhere">{text}</div></div>'
    )


def _shown(loaded: "LoadedModel", ids: Sequence[int]) -> str:
    """Tokens as escaped text in which line breaks are seen and nothing else can act."""
    text = loaded.tokenizer.decode(list(ids))
    text = "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return html.escape(text).replace("\n", "⏎<br>")


def lines(
    frame: pd.DataFrame, x: str, y: str, by: str, *, title: str, caption: str, x_title: str | None = None, y_title: str | None = None,
    log_y: bool = False, mode: str = "lines", colours: Mapping[str, str] | None = None, height: int = 400,
) -> go.Figure:  # fmt: skip
    """A line (or marks) a value of `by`, in the order in which they come. Columns `source` and `phase` have their own colours."""
    figure = go.Figure()
    for look, rows in _parts(frame, (x, y), by, colours):
        figure.add_scatter(
            x=rows[x], y=rows[y], mode=mode, name=look.shown, line={"color": look.colour, "width": 2.5, "dash": look.dash},
            marker={"symbol": look.symbol, "color": look.colour, "size": 7},
            hovertemplate="%{x}: <b>%{y:.4~g}</b><extra>" + look.shown + "</extra>",
        )  # fmt: skip
    figure.update_layout(showlegend=frame[by].nunique() > 1)
    figure.update_xaxes(title_text=x if x_title is None else x_title)
    scale = {"type": "log", "tickformat": "~g"} if log_y else {"rangemode": "tozero"}
    figure.update_yaxes(title_text=y if y_title is None else y_title, **scale)
    return finish(figure, title, caption, height=height)


def bars(
    frame: pd.DataFrame, x: str, y: str, by: str, *, title: str, caption: str, x_title: str | None = None, y_title: str | None = None,
    stacked: bool = False, error: str | None = None, level: float | None = None, colours: Mapping[str, str] | None = None,
    height: int = 400,
) -> go.Figure:  # fmt: skip
    """A bar a row, a colour a value of `by`. error: a column of what to draw above and below; level: a dashed line across."""
    figure = go.Figure()
    for look, rows in _parts(frame, (x, y) if error is None else (x, y, error), by, colours):
        names = [html.escape(str(each), quote=False) for each in rows[x]]
        figure.add_bar(
            x=names, y=rows[y], name=look.shown, marker_color=look.colour,
            hovertemplate="%{x}: <b>%{y:.4~g}</b><extra>" + look.shown + "</extra>",
            error_y=None if error is None else {"type": "data", "array": rows[error], "thickness": 1.4, "width": 4},
        )  # fmt: skip
    if level is not None:
        figure.add_hline(y=level, line={"color": INK, "width": 1.5, "dash": "dash"})
    legend = {"showlegend": frame[by].nunique() > 1, "legend_traceorder": "normal"}
    figure.update_layout(barmode="stack" if stacked else "group", **legend)
    figure.update_xaxes(title_text=x if x_title is None else x_title, type="category")
    figure.update_yaxes(title_text=y if y_title is None else y_title)
    return finish(figure, title, caption, height=height)


@dataclass(frozen=True)
class _Look:
    """Style of the rows of one value: its escaped name in the legend, its colour and its mark."""

    shown: str
    colour: str
    dash: str
    symbol: str


def _parts(
    frame: pd.DataFrame, needed: Sequence[str], by: str, colours: Mapping[str, str] | None
) -> Iterator[tuple[_Look, pd.DataFrame]]:
    """The rows of every value of `by`; what is no source is told apart by its dashes and marks, as well as by colour."""
    if missing := [name for name in (*needed, by) if name not in frame]:
        raise DataError(f"the frame has no column {', '.join(missing)}; it has {', '.join(map(str, frame))}.")
    others = 1 if by == "source" and frame[by].isin(["dense", *SOURCES]).any() else 0
    for name, rows in frame.groupby(by, sort=False):
        colour = (colours or (PHASES if by == "phase" else {})).get(str(name)) or source_colour(str(name))
        shown = html.escape(f"{name} tokens", quote=False) if by == "phase" else legend_name(str(name))
        if by == "source" and (name == "dense" or name in SOURCES):
            look = _Look(shown, colour, "solid", source_symbol(str(name)))
        else:
            look, others = _Look(shown, colour, DASHES[others % len(DASHES)], MARKS[others % len(MARKS)]), others + 1
        yield look, rows


def _float64(h: Any) -> np.ndarray:
    h = np.asarray(h.double().cpu() if hasattr(h, "cpu") else h, dtype=float)
    check(h.ndim == 2 and h.shape[0] == h.shape[1], "h", h.shape, "square")
    return h
