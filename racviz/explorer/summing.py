"""Sums of errors at every resolution, made of their columns and written with their checksums: see `racviz.explorer.pyramid`."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import DataError
from racviz.explorer.columns import numbers
from racviz.explorer.sums import save, sealed, write_sums
from racviz.metrics import metric_of

DENSE = "‖x dense‖"
"""The norm of the dense model's hidden state, by which an error becomes a relative one."""
UNUSABLE = "\0unusable"
"""Counts of tokens at which an error is no finite number: they are in no sum."""
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
    """Each row moved to the right by its offset, in an array of so many columns."""
    out = np.full((len(level), columns), blank, dtype=level.dtype)
    for row, offset in enumerate(offsets):
        size = min(level.shape[1], columns - offset)
        out[row, offset : offset + size] = level[row, :size]
    return out


def file_of(names: list[str], name: str, k: int) -> str:
    return f"{'unusable' if name == UNUSABLE else names.index(name)}.{k}.npy"


def write_levels(folder: Path, names: list[str], name: str, finest: np.ndarray, sums: dict[str, list[int]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, level in enumerate(levels(finest)):
        save(folder / file_of(names, name, k), level.astype(np.float32, copy=False), sums)


def write_pyramid(
    columns: Mapping[str, Any], label: Mapping[str, Any], made_of: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Write a pyramid into a folder; returns its meta. Raises DataError for rows that are no errors."""
    sources = [name[2:] for name in columns if name.startswith("e_")]
    if missing := [name for name in ("problem_id", "position", "phase") if name not in columns]:
        raise DataError(
            f"errors must have the columns problem_id, position, phase and e_<name>; {', '.join(missing)} is missing."
        )
    if not sources or "" in sources or DENSE in sources:
        raise DataError(f"errors must have a column e_<name> for at least one pruned model, with a name other than {DENSE!r}.")
    (row, problems), (codes, phases) = columns["problem_id"], columns["phase"]
    position = numbers(columns, "position", np.int64)
    if not len(position):
        raise DataError("errors must hold at least one token; they are empty.")
    if (row < 0).any() or (position < 0).any():
        raise DataError("errors must have a problem_id in every row, and positions from 0 on.")
    if wrong := sorted({*(phases[code] if code >= 0 else "nothing" for code in np.unique(codes))} - {"prompt", "decode"}):
        raise DataError(f"the column phase of errors must hold prompt and decode; there is {', '.join(map(repr, wrong))}.")
    shape = (len(problems), int(position.max()) + 1)
    _fits(shape, len(sources), len(position), problems[int(row[position.argmax()])], folder)
    lengths, last = np.bincount(row, minlength=shape[0]), np.zeros(shape[0], dtype=np.int64)
    np.maximum.at(last, row, position + 1)
    there = np.zeros(shape, dtype=bool)
    there[row, position] = True
    if np.count_nonzero(there) != len(position) or (last != lengths).any():
        raise DataError("errors must have each position of a problem once, from 0 on without gaps.")
    prompt = np.array([phase == "prompt" for phase in phases], dtype=bool)[codes]
    t_in = np.bincount(row[prompt], minlength=shape[0])
    if (position[prompt] >= t_in[row[prompt]]).any():
        raise DataError("errors must have the prompt's tokens of a problem before those of its thought.")

    metric = metric_of(label)
    relative = "norm_dense" in columns and metric is not None and metric.layers
    names = [*sources, *([DENSE] if relative else [])]
    values = {name: numbers(columns, "norm_dense" if name == DENSE else f"e_{name}", np.float32) for name in names}
    usable = np.ones(len(position), dtype=bool)
    for name in names:
        usable &= np.isfinite(values[name]) & (values[name] >= 0)
    sums: dict[str, list[int]] = {}
    for name in names:
        finest = np.zeros(shape, dtype=np.float32)
        finest[row[usable], position[usable]] = values[name][usable]
        write_levels(folder / "start", names, name, finest, sums)
    if not usable.all():
        finest = np.zeros(shape, dtype=np.float32)
        finest[row[~usable], position[~usable]] = 1
        write_levels(folder / "start", names, UNUSABLE, finest, sums)
    ids = np.full(shape, -1, dtype=np.int32)
    if "token_id" in columns:
        given = numbers(columns, "token_id", np.int32)
        if (given < 0).any():
            raise DataError(f"the column token_id of errors must hold numbers from 0 on; not {int(given.min())}.")
    else:  # the texts tell tokens apart too
        given = np.asarray(columns["token"][0] if "token" in columns else np.zeros(len(position)), dtype=np.int32)
    ids[row, position] = np.maximum(given, 0)
    save(folder / "ids.npy", ids, sums)
    write_sums(folder / "start", sums)
    vocabulary: dict[int, str] = {}
    if "token" in columns:
        token, texts = columns["token"]
        _, first = np.unique(given, return_index=True)
        vocabulary = {int(given[k]): str(texts[token[k]]) if token[k] >= 0 else "" for k in first}
    meta = {
        "made_of": made_of, "problems": [str(name) for name in problems], "lengths": lengths.tolist(), "t_in": t_in.tolist(),
        "columns": shape[1], "names": names, "unusable": int((~usable).sum()), "vocabulary": vocabulary, "label": dict(label),
        "sequences": hashlib.sha256(ids.tobytes() + "\n".join(map(str, problems)).encode()).hexdigest()[:24],
    }  # fmt: skip
    (folder / "meta.json").write_text(sealed(meta), encoding="utf-8")
    return meta


def _fits(shape: tuple[int, int], sources: int, tokens: int, longest: str, folder: Path) -> None:
    """Raise DataError where the pyramid would be larger than the disk, or than can be."""
    size, free = 8 * shape[0] * shape[1] * (sources + 1), shutil.disk_usage(folder).free
    if shape[0] * shape[1] > LARGEST or size > 0.9 * free:
        raise DataError(
            f"errors of {shape[0]:,} problems, of which the longest ({longest}) has {shape[1]:,} tokens, need {size / 2**30:.1f} GiB of "
            f"disk to explore ({free / 2**30:.1f} GiB are free), though they are {tokens:,} tokens. Leave the longest out, or explore a "
            "part of the problems."
        )
