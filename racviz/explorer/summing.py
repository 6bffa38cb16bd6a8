"""Sums of errors at every resolution, made of their columns and written with their checksums: see `racviz.explorer.pyramid`."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import DataError
from racviz.explorer.checksums import save, sealed, write_checksums
from racviz.explorer.columns import numbers
from racviz.metrics import metric_of

DENSE = "‖x dense‖"
"""The norm of the dense model's hidden state, by which an error becomes a relative one."""
UNUSABLE = "\0unusable"
"""Counts of tokens with an error that is not finite; no sum contains them."""
LARGEST = 2**30
"""Cells of one level: rows × tokens of the longest."""


def levels(finest: np.ndarray) -> Iterator[np.ndarray]:
    """`[rows, columns]` and its sums over 2, 4, 8, … neighbours, down to one column."""
    level = finest
    yield level
    while level.shape[1] > 1:
        if level.shape[1] % 2:
            level = np.pad(np.asarray(level), ((0, 0), (0, 1)))
        level = level[:, 0::2] + level[:, 1::2]
        yield level


def shifted(level: np.ndarray, offsets: np.ndarray, columns: int, blank: float = 0) -> np.ndarray:
    """`[rows, columns]`: each row moved to the right by its offset."""
    out = np.full((len(level), columns), blank, dtype=level.dtype)
    for row, offset in enumerate(offsets):
        size = min(level.shape[1], columns - offset)
        out[row, offset : offset + size] = level[row, :size]
    return out


def file_of(names: list[str], name: str, k: int) -> str:
    """The file name of a source's level k."""
    return f"{'unusable' if name == UNUSABLE else names.index(name)}.{k}.npy"


def write_levels(folder: Path, names: list[str], name: str, finest: np.ndarray, crcs: dict[str, list[int]]) -> None:
    """Write all levels of one source, and note the checksums of their files."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, level in enumerate(levels(finest)):
        save(folder / file_of(names, name, k), level.astype(np.float32, copy=False), crcs)


@dataclass(frozen=True)
class _Grid:
    """Places of tokens in arrays of problems by positions."""

    shape: tuple[int, int]
    row: np.ndarray  # [tokens]
    position: np.ndarray  # [tokens]
    lengths: np.ndarray  # [rows] tokens of each problem
    t_in: np.ndarray  # [rows] those of its prompt

    def lay_out(self, values: np.ndarray, keep: np.ndarray | slice, blank: float = 0) -> np.ndarray:
        """`shape`: the values of the tokens to keep, and `blank` elsewhere."""
        array = np.full(self.shape, blank, dtype=values.dtype)
        array[self.row[keep], self.position[keep]] = values[keep]
        return array


def _grid_of(columns: Mapping[str, Any], sources: int, folder: Path) -> _Grid:
    """Places of the tokens. Raises DataError where positions or phases are not those of whole texts."""
    (row, problems), (codes, phases) = columns["problem_id"], columns["phase"]
    position = numbers(columns, "position", np.int64)
    if not len(position):
        raise DataError("errors must hold at least one token; they are empty.")
    if (row < 0).any() or (position < 0).any():
        raise DataError("errors must have a problem_id in every row, and positions from 0 on.")
    if wrong := sorted({*(phases[code] if code >= 0 else "nothing" for code in np.unique(codes))} - {"prompt", "decode"}):
        raise DataError(f"the column phase of errors must hold prompt and decode; there is {', '.join(map(repr, wrong))}.")
    shape = (len(problems), int(position.max()) + 1)
    _fits(shape, sources, len(position), problems[int(row[position.argmax()])], folder)
    lengths, last = np.bincount(row, minlength=shape[0]), np.zeros(shape[0], dtype=np.int64)
    np.maximum.at(last, row, position + 1)
    present = np.zeros(shape, dtype=bool)
    present[row, position] = True
    if np.count_nonzero(present) != len(position) or (last != lengths).any():
        raise DataError("errors must have each position of a problem once, from 0 on without gaps.")
    prompt = np.array([phase == "prompt" for phase in phases], dtype=bool)[codes]
    t_in = np.bincount(row[prompt], minlength=shape[0])
    if (position[prompt] >= t_in[row[prompt]]).any():
        raise DataError("errors must have the prompt's tokens of a problem before those of its thought.")
    return _Grid(shape, row, position, lengths, t_in)


def _token_ids(columns: Mapping[str, Any], tokens: int) -> np.ndarray:
    """`[tokens]` int32: the ids of tokens, or numbers for their texts where there are no ids."""
    if "token_id" not in columns:
        return np.asarray(columns["token"][0] if "token" in columns else np.zeros(tokens), dtype=np.int32)
    token_ids = numbers(columns, "token_id", np.int32)
    if (token_ids < 0).any():
        raise DataError(f"the column token_id of errors must hold numbers from 0 on; not {int(token_ids.min())}.")
    return token_ids


def _vocabulary(columns: Mapping[str, Any], token_ids: np.ndarray) -> dict[int, str]:
    """The text of each token id; empty where errors come without texts."""
    if "token" not in columns:
        return {}
    codes, texts = columns["token"]
    _, first = np.unique(token_ids, return_index=True)
    return {int(token_ids[k]): str(texts[codes[k]]) if codes[k] >= 0 else "" for k in first}


def write_pyramid(
    columns: Mapping[str, Any], label: Mapping[str, Any], made_of: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Write a pyramid into a folder.

    Parameters
    ----------
    columns : mapping
        Errors by column, from `racviz.explorer.columns`.
    label : mapping
        Of the errors.
    made_of : dict
        Format, size, time and inode of the file of errors; empty for errors in memory.
    folder : path

    Returns
    -------
    dict
        The content of meta.json.

    Raises
    ------
    DataError
        If the columns are not errors, or the disk is too small.
    """
    sources = [name[2:] for name in columns if name.startswith("e_")]
    if missing := [name for name in ("problem_id", "position", "phase") if name not in columns]:
        raise DataError(
            f"errors must have the columns problem_id, position, phase and e_<name>; {', '.join(missing)} is missing."
        )
    if not sources or "" in sources or DENSE in sources:
        raise DataError(f"errors must have a column e_<name> for at least one pruned model, with a name other than {DENSE!r}.")
    grid = _grid_of(columns, len(sources), folder)
    metric = metric_of(label)
    relative = "norm_dense" in columns and metric is not None and metric.layers
    names = [*sources, *([DENSE] if relative else [])]
    values = {name: numbers(columns, "norm_dense" if name == DENSE else f"e_{name}", np.float32) for name in names}
    usable = np.ones(len(grid.position), dtype=bool)  # [tokens]
    for name in names:
        usable &= np.isfinite(values[name]) & (values[name] >= 0)
    crcs: dict[str, list[int]] = {}
    for name in names:
        write_levels(folder / "start", names, name, grid.lay_out(values[name], usable), crcs)
    if not usable.all():
        counts = grid.lay_out(np.ones(len(usable), dtype=np.float32), ~usable)
        write_levels(folder / "start", names, UNUSABLE, counts, crcs)
    token_ids = _token_ids(columns, len(usable))
    ids = grid.lay_out(np.maximum(token_ids, 0), slice(None), blank=-1)
    save(folder / "ids.npy", ids, crcs)
    write_checksums(folder / "start", crcs)
    problems = [str(name) for name in columns["problem_id"][1]]
    meta = {
        "made_of": made_of, "problems": problems, "lengths": grid.lengths.tolist(), "t_in": grid.t_in.tolist(),
        "columns": grid.shape[1], "names": names, "unusable": int((~usable).sum()),
        "vocabulary": _vocabulary(columns, token_ids), "label": dict(label),
        "sequences": hashlib.sha256(ids.tobytes() + "\n".join(problems).encode()).hexdigest()[:24],
    }  # fmt: skip
    (folder / "meta.json").write_text(sealed(meta), encoding="utf-8")
    return meta


def _fits(shape: tuple[int, int], sources: int, tokens: int, longest: str, folder: Path) -> None:
    """Raise DataError if the pyramid would be larger than the disk or than `LARGEST`."""
    size, free = 8 * shape[0] * shape[1] * (sources + 1), shutil.disk_usage(folder).free
    if shape[0] * shape[1] > LARGEST or size > 0.9 * free:
        raise DataError(
            f"errors of {shape[0]:,} problems, of which the longest ({longest}) has {shape[1]:,} tokens, need {size / 2**30:.1f} GiB of "
            f"disk to explore ({free / 2**30:.1f} GiB are free), though they are {tokens:,} tokens. Leave the longest out, or explore a "
            "part of the problems."
        )
