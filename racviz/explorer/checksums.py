"""Arrays on disk with a checksum for every 64 KiB, compared when a block is first read."""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import DataError
from racviz.store.files import regular_file
from racviz.store.schemas import checked, loaded_json

BLOCK = 1 << 16
"""Bytes that share a checksum."""
NAME = "sums.json"
CHECKSUMS = dict[str, list[int]]
"""Schema: the checksums of a file's blocks, by file name."""


class Damaged(Exception):
    """A cached array or its description is not what was written."""


def checksums(array: np.ndarray) -> list[int]:
    """The CRC-32 of every block of an array's bytes, in C order."""
    raw = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return [zlib.crc32(raw[start : start + BLOCK]) for start in range(0, len(raw), BLOCK)]


def sealed(content: Mapping[str, Any]) -> str:
    """JSON with a checksum of its content; in ASCII, because a token may hold half a character."""
    text = json.dumps(content)
    return f'{{"crc": {zlib.crc32(text.encode())}, "content": {text}}}'


def unsealed(path: Path, schema: Any) -> dict[str, Any]:
    """Read a file of `sealed`.

    Raises
    ------
    OSError
        If there is no such file.
    Damaged
        If the content differs from its checksum or from the schema.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    parts = re.fullmatch(rb'\{"crc": (\d{1,10}), "content": (\{.*\})\}', path.read_bytes(), re.DOTALL)
    if parts is None or zlib.crc32(parts[2]) != int(parts[1]):
        raise Damaged(f"{path.name} is not what was written")
    try:
        content = loaded_json(parts[2], path.name, field="the content")
        checked(content, schema, path.name)
    except DataError as error:
        raise Damaged(str(error)) from error
    return content


def write_checksums(folder: Path, crcs: Mapping[str, list[int]]) -> None:
    """Write the checksums of a folder's arrays into the folder."""
    (folder / NAME).write_text(sealed(crcs), encoding="utf-8")


def save(path: Path, array: np.ndarray, crcs: dict[str, list[int]]) -> None:
    """Write an array as a .npy file and note its checksums under the file's name."""
    np.save(path, array)
    crcs[path.name] = checksums(array)


class Checked:
    """A memory-mapped array of two dimensions; each block is compared with its checksum when it is first read.

    Parameters
    ----------
    path : path
        A .npy file.
    shape : pair of int
    dtype : dtype
    crcs : list of int
        Checksums of the array's blocks, from `checksums`.
    instead : callable
        Returns an array to read in place of a damaged one, or raises.

    Raises
    ------
    Damaged
        If the file is not an array of this shape and dtype.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], dtype: Any, crcs: list[int], instead: Callable[[], "Checked"]
    ) -> None:
        self.path, self.shape, self.dtype, self._instead = path, shape, np.dtype(dtype), instead
        self._replacement: Checked | None = None
        size = shape[0] * shape[1] * self.dtype.itemsize  # bytes
        try:
            regular_file(path)  # a FIFO would never be read to its end
            self._data = np.load(path, mmap_mode="r")
            ok = self._data.shape == shape and self._data.dtype == self.dtype and self._data.flags.c_contiguous
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise Damaged(f"{path.name} is not readable") from error
        if not ok or not isinstance(crcs, list) or len(crcs) != -(-size // BLOCK):
            raise Damaged(f"{path.name} is not what was written")
        self._crcs, self._good = crcs, np.zeros(len(crcs), dtype=bool)
        self._raw = memoryview(self._data.reshape(-1).view(np.uint8))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if self._replacement is None and not self._whole(key):
            self._replacement = self._instead()
        return self._replacement[key] if self._replacement is not None else self._data[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype) if copy else np.asarray(self[:], dtype=dtype)

    def _whole(self, key: Any) -> bool:
        """True if all blocks that hold these rows (and a slice of columns) are as they were written."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        rows = np.atleast_1d(np.arange(self.shape[0])[rows])
        first, last, _ = columns.indices(self.shape[1])
        if self._good.all() or not len(rows) or last <= first:
            return True
        begin = (rows * self.shape[1] + first) * self.dtype.itemsize // BLOCK
        end = ((rows * self.shape[1] + last) * self.dtype.itemsize - 1) // BLOCK
        steps = np.zeros(len(self._crcs) + 1, dtype=np.int64)
        np.add.at(steps, begin, 1)
        np.add.at(steps, end + 1, -1)
        for block in np.flatnonzero((np.cumsum(steps[:-1]) > 0) & ~self._good):
            if zlib.crc32(self._raw[block * BLOCK : (block + 1) * BLOCK]) != self._crcs[block]:
                return False
            self._good[block] = True
        return True


def lost(path: Path | None) -> DataError:
    """The error for damaged sums that cannot be made again: the errors are gone."""
    what = "the errors" if path is None else str(path)
    return DataError(
        f"the explorer's sums of {what} were damaged on disk, and the errors are not there any more; open them again."
    )
