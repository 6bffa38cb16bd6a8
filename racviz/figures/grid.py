"""Rows of problems and columns of positions: the array behind the heatmap, binned where there are too many columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from racviz.exceptions import check, unknown
from racviz.statistics import as_frame, ratio

ALIGNMENTS = ("start", "boundary")
SORTS = ("prompt_length", "length", "ratio", "given")


@dataclass(frozen=True)
class Grid:
    """Errors of two pruned models on P problems × C columns; a column spans `width` positions."""

    problems: list[str]
    t_in: np.ndarray  # (P,) prompt tokens of each row
    start: int  # position of the first column (negative when rows are aligned at their boundaries)
    width: int  # positions a column; 1 = not binned
    numerator: np.ndarray  # (P, C) summed errors, NaN where there is no token
    denominator: np.ndarray  # (P, C)
    tokens: np.ndarray  # (P, C) str, as the tokenizer decodes them; several of a bin joined
    phases: np.ndarray  # (P, C) str
    align: str

    @property
    def ratio(self) -> np.ndarray:  # (P, C); of a bin the ratio of the sums
        usable = np.isfinite(self.numerator) & (self.denominator > 0)
        return np.divide(self.numerator, self.denominator, out=np.full(self.numerator.shape, np.nan), where=usable)

    @property
    def boundary(self) -> np.ndarray:  # (P,) x of each row's T_in, between its last prompt token and its first decode token
        return (np.zeros_like(self.t_in) if self.align == "boundary" else self.t_in) - 0.5

    @property
    def x0(self) -> float:  # centre of the first column
        return self.start + (self.width - 1) / 2


def prompt_lengths(frame: pd.DataFrame) -> pd.Series:
    """T_in of each problem: the number of its prompt tokens."""
    return (frame["phase"] == "prompt").groupby(frame["problem_id"], sort=False).sum()


def build_grid(
    errors: Any, numerator: str, denominator: str, *, align: str = "start", sort: str = "prompt_length", max_columns: int = 1500
) -> Grid:
    if align not in ALIGNMENTS:
        raise unknown("align", align, ALIGNMENTS)
    if sort not in SORTS:
        raise unknown("sort", sort, SORTS)
    check(max_columns >= 1, "max_columns", max_columns, "at least 1")
    frame = as_frame(errors)
    frame = frame.assign(ratio=ratio(frame, numerator, denominator))
    t_in = prompt_lengths(frame)
    order = {name: row for row, name in enumerate(_order(frame, t_in, sort))}
    rows = frame["problem_id"].map(order).to_numpy(np.int64)
    offset = frame["problem_id"].map(t_in).to_numpy(np.int64) if align == "boundary" else 0
    positions = frame["position"].to_numpy(np.int64) - offset
    first, last = (int(positions.min()), int(positions.max())) if len(frame) else (0, 0)
    width = -(-(last - first + 1) // max_columns)
    while (last // width - first // width + 1) > max(max_columns, 2 if first < 0 else 1):
        width += 1
    start = first // width * width  # an edge falls on 0: aligned at the boundary, no bin mixes the phases
    columns = (positions - start) // width
    shape = (len(order), int(columns.max(initial=0)) + 1)

    top, bottom = (frame[f"e_{name}"].to_numpy(np.float64) for name in (numerator, denominator))
    both = np.isfinite(top) & np.isfinite(bottom)
    return Grid(
        problems=[str(name) for name in order],
        t_in=t_in.reindex(list(order)).to_numpy(),
        start=start,
        width=width,
        numerator=_sums(rows[both], columns[both], top[both], shape),
        denominator=_sums(rows[both], columns[both], bottom[both], shape),
        tokens=_joined(rows, columns, frame["token"] if "token" in frame else None, shape),
        phases=_phases(rows, columns, frame["phase"], shape),
        align=align,
    )


def _order(frame: pd.DataFrame, t_in: pd.Series, sort: str) -> list[Any]:
    """Problem ids from the first row down."""
    if sort == "given":
        return list(t_in.index)
    length = frame.groupby("problem_id", sort=False).size()
    decode = frame[frame["phase"] == "decode"]
    median = decode.groupby("problem_id", sort=False)["ratio"].median().reindex(t_in.index)
    keys = {"prompt_length": [t_in, length], "length": [length, t_in], "ratio": [median, length]}[sort]
    table = pd.concat(keys, axis=1, keys=[0, 1])
    return list(table.sort_values([0, 1], kind="stable", na_position="last").index)


def _sums(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    total, count = np.zeros(shape), np.zeros(shape, np.int64)
    np.add.at(total, (rows, columns), values)
    np.add.at(count, (rows, columns), 1)
    return np.where(count > 0, total, np.nan)


def _joined(rows: np.ndarray, columns: np.ndarray, tokens: pd.Series | None, shape: tuple[int, int]) -> np.ndarray:
    found = np.full(shape, "", dtype=object)
    if tokens is not None:
        for row, column, token in zip(rows, columns, tokens, strict=True):
            found[row, column] += token if isinstance(token, str) else ""
    return found


def _phases(rows: np.ndarray, columns: np.ndarray, phases: pd.Series, shape: tuple[int, int]) -> np.ndarray:
    prompt, decode = np.zeros(shape, bool), np.zeros(shape, bool)
    is_prompt = (phases == "prompt").to_numpy()
    prompt[rows[is_prompt], columns[is_prompt]] = True
    decode[rows[~is_prompt], columns[~is_prompt]] = True
    return np.select([prompt & decode, prompt, decode], ["prompt and decode", "prompt", "decode"], "")
