"""The view of errors and the numbers of its picture: bins, their ratios, and the order of rows."""

import math
import re
from dataclasses import dataclass

import numpy as np

from racviz.exceptions import ParameterError, check, unknown
from racviz.explorer.pyramid import UNUSABLE, Pyramid, levels, shifted

ORDERS = ("given", "prompt length", "length", "mean ratio", "cluster", "difficulty", "accuracy")
ALIGNS = ("start", "boundary")
PHASES = ("all", "prompt", "decode")
CLASSES = ("all", "digits", "operators", "words", "newline", "end of thought", "other")
SCALES = ("log ratio", "ratio")

EMPTY, NO_ERROR_BELOW, NO_ERROR, NOT_FINITE = math.nan, -1.0, -2.0, -3.0
"""Codes in the place of a ratio: no token; a denominator of zero; both errors zero; no finite error."""


@dataclass(frozen=True)
class View:
    """The choices of the explorer; `explore` takes each by name."""

    numerator: str = ""
    denominator: str = ""
    order: str = "prompt length"
    align: str = "start"
    phase: str = "all"
    tokens: str = "all"
    answers: str = "all"
    scale: str = "log ratio"
    limit: float = 0.0
    """The |log2 of the ratio| at which colours end; 0 for the 98 % quantile."""

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


class Sums:
    """Sums of two columns of errors at every resolution, over all tokens or those that a filter keeps."""

    def __init__(self, top: tuple[Pyramid, str], bottom: tuple[Pyramid, str], view: View) -> None:
        self.pyramid, self.top, self.bottom, self.align = top[0], top, bottom, view.align
        self.offsets, self.columns = self.pyramid.offsets(view.align), self.pyramid.width(view.align)
        if view.tokens != "all" and not self.pyramid.vocabulary:
            raise ParameterError(
                f"tokens={view.tokens!r} needs the texts of tokens, which these errors come without; take 'all'."
            )
        self._filtered: list[list[np.ndarray]] | None = None
        if (view.phase, view.tokens) != ("all", "all"):
            mask = shifted(token_mask(self.pyramid, view.phase, view.tokens), self.offsets, self.columns, blank=False)
            finest = [pyramid.level(name, 0, view.align) for pyramid, name in (top, bottom)]
            layers = (*finest, np.ones_like(finest[0]))  # the two errors, and a count of tokens
            self._filtered = [list(levels(np.where(mask, layer, 0).astype(np.float32))) for layer in layers]
        pyramids = {id(pyramid): pyramid for pyramid, _ in (top, bottom)}
        self._unusable = [pyramid for pyramid in pyramids.values() if pyramid.has_unusable]

    def __call__(
        self, k: int, rows: np.ndarray, first: int, last: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The two sums, the tokens and the unusable ones among them, `[rows, last - first]` each, in bins of 2^k columns."""
        part = slice(first, last)
        if self._filtered is not None:
            top, bottom, tokens = (by_level[k][rows, part] for by_level in self._filtered)
        else:
            top, bottom = (pyramid.level(name, k, self.align)[rows, part] for pyramid, name in (self.top, self.bottom))
            tokens = self._tokens(k, rows, first, last)
        unusable = np.zeros_like(tokens)
        for pyramid in self._unusable:
            count = pyramid.level(UNUSABLE, k, self.align)[rows, part]
            unusable = np.maximum(unusable, np.minimum(count, tokens))
        return top, bottom, tokens, unusable

    def _tokens(self, k: int, rows: np.ndarray, first: int, last: int) -> np.ndarray:
        """`[rows, last - first]`: tokens in each bin."""
        edges = np.arange(first, last + 1) << k
        begin = self.offsets[rows][:, None]
        inside = np.clip(edges, begin, begin + self.pyramid.lengths[rows][:, None])
        return np.diff(inside, axis=1).astype(np.float32)

    @property
    def depth(self) -> int:
        """The level at which a row is one bin."""
        return max(0, math.ceil(math.log2(self.columns)))


def token_mask(pyramid: Pyramid, phase: str, tokens: str) -> np.ndarray:
    """`[rows, columns]` bool: the tokens of a phase and of a class."""
    mask = np.asarray(pyramid.ids) >= 0
    if phase != "all":
        mask &= (np.arange(pyramid.columns) < pyramid.t_in[:, None]) == (phase == "prompt")
    if tokens != "all":
        in_class = np.zeros(max(pyramid.vocabulary, default=0) + 2, dtype=bool)  # the last place: no token
        in_class[[i for i, text in pyramid.vocabulary.items() if i >= 0 and class_of(text) == tokens]] = True
        mask &= in_class[np.clip(pyramid.ids, -1, len(in_class) - 1)]
    return mask


def ratios(top: np.ndarray, bottom: np.ndarray, tokens: np.ndarray, unusable: np.ndarray) -> np.ndarray:
    """The ratio of the sums as float32, or a code in its place."""
    ratio = np.full(top.shape, EMPTY, dtype=np.float32)
    np.divide(top, bottom, out=ratio, where=bottom > 0)
    ratio[(bottom == 0) & (tokens > 0)] = NO_ERROR
    ratio[(bottom == 0) & (top > 0)] = NO_ERROR_BELOW
    ratio[(tokens > 0) & (unusable >= tokens)] = NOT_FINITE
    ratio[tokens == 0] = EMPTY
    return ratio


@dataclass(frozen=True)
class Picture:
    """Bins of a part of the errors, at most one a pixel."""

    ratio: np.ndarray  # [R, C] float32, with codes where there is no ratio
    curve: np.ndarray  # [C] the ratio of the sums over all rows shown
    start: int  # the column at which the first bin begins
    width: int  # columns a bin: a power of two
    first: int  # the place in the order of the first row shown
    group: int  # rows of the order that share a row of bins
    problems: np.ndarray  # the rows shown, in order
    usable: np.ndarray  # [R, C] tokens that are in the sums


def picture(sums: Sums, order: np.ndarray, x: tuple[float, float], y: tuple[float, float], pixels: tuple[int, int]) -> Picture:
    """Bins of a part of the errors.

    Parameters
    ----------
    sums : Sums
    order : array, [R]
        Rows in the order of the picture.
    x, y : pair of float
        First and last column, first and last place of the order.
    pixels : pair of int
        The most bins across and down.
    """
    left, right = (min(max(0.0, float(edge)), float(sums.columns)) for edge in x)
    left = min(left, sums.columns - 1.0)  # a part at the very end still shows the last column
    right = max(right, left + 1)
    k = min(sums.depth, max(0, math.ceil(math.log2(max(1.0, (right - left) / max(1, pixels[0]))))))
    first, last = int(left) >> k, min(-(-math.ceil(right) // (1 << k)), -(-sums.columns // (1 << k)))
    low, high = int(min(max(0, y[0]), max(0, len(order) - 1))), int(min(max(1, math.ceil(y[1])), len(order)))
    high = max(high, low + 1) if len(order) else 0
    rows = order[low:high]
    bins = sums(k, rows, first, max(first + 1, last))
    group = max(1, -(-len(rows) // max(1, pixels[1])))
    if group > 1:
        bins = tuple(np.add.reduceat(values, np.arange(0, len(rows), group), axis=0) for values in bins)
    totals = tuple(values.sum(0, keepdims=True) for values in bins)
    _, _, tokens, unusable = bins
    return Picture(ratios(*bins), ratios(*totals)[0], first << k, 1 << k, low, group, rows, tokens - unusable)


def colour_limit(sums: Sums, order: np.ndarray) -> float:
    """The 98 % quantile of |log2 of the ratio| over the bins of a coarse picture, at least 1."""
    ratio = picture(sums, order, (0, sums.columns), (0, len(order)), (512, 256)).ratio
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    return max(1.0, float(np.quantile(np.abs(np.log2(ratio)), 0.98))) if ratio.size else 1.0


def order_rows(sums: Sums, view: View, keep: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """Row numbers in the view's order.

    Parameters
    ----------
    sums : Sums
    view : View
    keep : array of bool, [rows]
        The rows that the filter by answers keeps.
    values : array, [rows], or None
        The rows' difficulty or accuracy, where the order is by one of them.
    """
    pyramid, rows = sums.pyramid, np.flatnonzero(keep)
    if view.order == "given" or not len(rows):
        return rows
    if view.order == "cluster":
        return rows[clusters(_row_ratios(sums, rows, max(0, sums.depth - 5)))]
    if view.order == "prompt length":
        by = pyramid.t_in[rows]
    elif view.order == "length":
        by = pyramid.lengths[rows]
    elif view.order == "mean ratio":
        by = _row_ratios(sums, rows, sums.depth)[:, 0]
    else:
        by = np.asarray(values, dtype=float)[rows]
    return rows[np.lexsort((pyramid.lengths[rows], np.nan_to_num(by, nan=np.inf)))]


def _row_ratios(sums: Sums, rows: np.ndarray, k: int) -> np.ndarray:
    """`[rows, bins]`: ratios of whole rows in bins of 2^k columns; NaN where there is none."""
    ratio = ratios(*sums(k, rows, 0, -(-sums.columns // (1 << k))))
    return np.where(ratio > 0, ratio, np.nan)


def clusters(profiles: np.ndarray) -> np.ndarray:
    """`[rows]`: an order in which rows of like log ratios along the text are neighbours (Ward's tree, leaves in optimal order)."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    logs = np.log2(profiles, out=np.zeros_like(profiles), where=np.isfinite(profiles))
    if len(logs) < 3:
        return np.arange(len(logs))
    if len(logs) > 3000:  # a tree takes the square of it
        return np.argsort(np.linalg.svd(logs - logs.mean(0), full_matrices=False)[0][:, 0], kind="stable")
    return leaves_list(linkage(logs, "ward", optimal_ordering=len(logs) <= 600))
