"""The visible part of the errors and the numbers of its picture: bins, their ratios, and the order of rows."""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from racviz.exceptions import ParameterError, check, unknown
from racviz.explorer.pyramid import UNUSABLE, Pyramid, levels, shifted

ORDERS = ("given", "prompt length", "length", "mean ratio", "cluster", "difficulty", "accuracy")
ALIGNS = ("start", "boundary")
PHASES = ("all", "prompt", "decode")
CLASSES = ("all", "digits", "operators", "words", "newline", "end of thought", "other")
SCALES = ("log ratio", "ratio")

EMPTY, NO_ERROR_BELOW, NO_ERROR, NOT_FINITE = math.nan, -1.0, -2.0, -3.0
"""In the place of a ratio: no token; an error over none; no error of either; no finite error at any of the tokens."""


@dataclass(frozen=True)
class View:
    """The choices of the explorer; each may be given to `explore` by name."""

    numerator: str = ""
    denominator: str = ""
    order: str = "prompt length"
    align: str = "start"
    phase: str = "all"
    tokens: str = "all"
    answers: str = "all"
    scale: str = "log ratio"
    limit: float = 0.0
    """|log2 of the ratio| at which colours end; 0: the 98 % quantile."""

    def __post_init__(self) -> None:
        for name, allowed in (("order", ORDERS), ("align", ALIGNS), ("phase", PHASES), ("tokens", CLASSES), ("scale", SCALES)):
            if getattr(self, name) not in allowed:
                raise unknown(name, getattr(self, name), allowed)
        number = (
            isinstance(self.limit, int | float | np.number) and not isinstance(self.limit, bool) and math.isfinite(self.limit)
        )
        check(number and 0 <= self.limit <= 40, "limit", self.limit, "a number from 0 (find one) to 40, in powers of two")


def class_of(token: str) -> str:
    """The class of a token's text."""
    text = token.strip()
    if re.fullmatch(r"(</\w*think\w*>|\[/THINK\]|</thought>)", text, re.IGNORECASE):
        return "end of thought"
    if "\n" in token:
        return "newline"
    if text and all(char.isdigit() for char in text):
        return "digits"
    if any(char.isalpha() for char in text):
        return "words"
    return (
        "operators"
        if text and not any(char.isspace() for char in text) and all(not char.isalnum() for char in text)
        else "other"
    )


class Layers:
    """Sums of two columns at every resolution, of all tokens or of those that a filter leaves."""

    def __init__(self, top: tuple[Pyramid, str], bottom: tuple[Pyramid, str], view: View) -> None:
        self.pyramid, self.top, self.bottom, self.align = top[0], top, bottom, view.align
        self.offsets, self.columns = self.pyramid.offsets(view.align), self.pyramid.width(view.align)
        self._chosen = None
        if view.tokens != "all" and not self.pyramid.vocabulary:
            raise ParameterError(
                f"tokens={view.tokens!r} needs the texts of tokens, which these errors come without; take 'all'."
            )
        if (view.phase, view.tokens) != ("all", "all"):
            mask = shifted(chosen(self.pyramid, view.phase, view.tokens), self.offsets, self.columns, blank=False)
            finest = [each[0].level(each[1], 0, view.align) for each in (top, bottom)]
            self._chosen = [
                list(levels(np.where(mask, each, 0).astype(np.float32))) for each in (*finest, np.ones_like(finest[0]))
            ]
        self._unusable = [p for p, _ in {id(each[0]): each for each in (top, bottom)}.values() if p.has_unusable]

    def __call__(
        self, k: int, rows: np.ndarray, first: int, last: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`[rows, last - first]` each: the two sums, the tokens, and those of them that are unusable, in bins of 2^k columns."""
        part = slice(first, last)
        if self._chosen is not None:
            sums = [each[k][rows, part] for each in self._chosen]
        else:
            sums = [pyramid.level(name, k, self.align)[rows, part] for pyramid, name in (self.top, self.bottom)]
            sums.append(self._tokens(k, rows, first, last))
        bad = np.zeros_like(sums[2])
        for pyramid in self._unusable:
            bad = np.maximum(bad, np.minimum(pyramid.level(UNUSABLE, k, self.align)[rows, part], sums[2]))
        return *sums, bad

    def _tokens(self, k: int, rows: np.ndarray, first: int, last: int) -> np.ndarray:
        edges = np.arange(first, last + 1) << k
        begin = self.offsets[rows][:, None]
        inside = np.clip(edges, begin, begin + self.pyramid.lengths[rows][:, None])
        return np.diff(inside, axis=1).astype(np.float32)

    @property
    def depth(self) -> int:
        return max(0, math.ceil(math.log2(self.columns)))


def chosen(pyramid: Pyramid, phase: str, tokens: str) -> np.ndarray:
    """`[rows, columns]` bool: the tokens of a phase and of a class."""
    mask = np.asarray(pyramid.ids) >= 0
    if phase != "all":
        mask &= (np.arange(pyramid.columns) < pyramid.t_in[:, None]) == (phase == "prompt")
    if tokens != "all":
        known = np.zeros(max(pyramid.vocabulary, default=0) + 2, dtype=bool)  # the last place: no token
        known[[i for i, text in pyramid.vocabulary.items() if i >= 0 and class_of(text) == tokens]] = True
        mask &= known[np.clip(pyramid.ids, -1, len(known) - 1)]
    return mask


def ratios(top: np.ndarray, bottom: np.ndarray, tokens: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """The ratio of the sums, float32, and codes in its place where there is none."""
    out = np.full(top.shape, EMPTY, dtype=np.float32)
    np.divide(top, bottom, out=out, where=bottom > 0)
    out[(bottom == 0) & (tokens > 0)] = NO_ERROR
    out[(bottom == 0) & (top > 0)] = NO_ERROR_BELOW
    out[(tokens > 0) & (bad >= tokens)] = NOT_FINITE
    out[tokens == 0] = EMPTY
    return out


@dataclass(frozen=True)
class Picture:
    """Bins of a part of the errors, as many as there are pixels for."""

    ratio: np.ndarray  # [R, C] float32, with codes where there is no ratio
    curve: np.ndarray  # [C] the ratio of the sums over all rows shown
    start: int  # the column at which the first bin begins
    width: int  # columns a bin: a power of two
    first: int  # the place in the order of the first row shown
    group: int  # rows of the order that share a row of bins
    problems: np.ndarray  # the rows shown, in order
    usable: np.ndarray  # [R, C] tokens that are in the sums


def picture(
    layers: Layers, order: np.ndarray, x: tuple[float, float], y: tuple[float, float], pixels: tuple[int, int]
) -> Picture:
    """The columns x[0] to x[1] and the places y[0] to y[1] of the order, at no more bins than pixels across and down."""
    left, right = (min(max(0.0, float(edge)), float(layers.columns)) for edge in x)
    left = min(left, layers.columns - 1.0)  # a part at the very end still shows the last column
    right = max(right, left + 1)
    k = min(layers.depth, max(0, math.ceil(math.log2(max(1.0, (right - left) / max(1, pixels[0]))))))
    first, last = int(left) >> k, min(-(-math.ceil(right) // (1 << k)), -(-layers.columns // (1 << k)))
    low, high = int(min(max(0, y[0]), max(0, len(order) - 1))), int(min(max(1, math.ceil(y[1])), len(order)))
    high = max(high, low + 1) if len(order) else 0
    rows = order[low:high]
    sums = layers(k, rows, first, max(first + 1, last))
    group = max(1, -(-len(rows) // max(1, pixels[1])))
    if group > 1:
        sums = tuple(np.add.reduceat(each, np.arange(0, len(rows), group), axis=0) for each in sums)
    whole = tuple(each.sum(0, keepdims=True) for each in sums)
    return Picture(ratios(*sums), ratios(*whole)[0], first << k, 1 << k, low, group, rows, sums[2] - sums[3])


def colour_limit(layers: Layers, order: np.ndarray) -> float:
    """|log2 of the ratio| that 98 % of the bins of a coarse picture stay below; never below 1."""
    found = picture(layers, order, (0, layers.columns), (0, len(order)), (512, 256)).ratio
    found = found[np.isfinite(found) & (found > 0)]
    return max(1.0, float(np.quantile(np.abs(np.log2(found)), 0.98))) if found.size else 1.0


def order_rows(layers: Layers, view: View, keep: np.ndarray, known: dict[str, Any]) -> np.ndarray:
    """Row numbers in the view's order. keep: those that the filter by answers leaves. known: values by row for difficulty, accuracy."""
    pyramid, rows = layers.pyramid, np.flatnonzero(keep)
    if view.order == "given" or not len(rows):
        return rows
    if view.order in ("difficulty", "accuracy"):
        by = np.asarray(known[view.order], dtype=float)[rows]
    elif view.order == "prompt length":
        by = pyramid.t_in[rows]
    elif view.order == "length":
        by = pyramid.lengths[rows]
    elif view.order == "mean ratio":
        by = _ratio_of(layers, rows, layers.depth)[:, 0]
    else:
        return rows[clusters(_ratio_of(layers, rows, max(0, layers.depth - 5)))]
    return rows[np.lexsort((pyramid.lengths[rows], np.nan_to_num(by, nan=np.inf)))]


def _ratio_of(layers: Layers, rows: np.ndarray, k: int) -> np.ndarray:
    found = ratios(*layers(k, rows, 0, -(-layers.columns // (1 << k))))
    return np.where(found > 0, found, np.nan)


def clusters(profiles: np.ndarray) -> np.ndarray:
    """`[rows]`: an order in which rows of like log ratios along the text are neighbours (Ward's tree, leaves in optimal order)."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    logs = np.log2(profiles, out=np.zeros_like(profiles), where=np.isfinite(profiles))
    if len(logs) < 3:
        return np.arange(len(logs))
    if len(logs) > 3000:  # a tree takes the square of it
        return np.argsort(np.linalg.svd(logs - logs.mean(0), full_matrices=False)[0][:, 0], kind="stable")
    return leaves_list(linkage(logs, "ward", optimal_ordering=len(logs) <= 600))
