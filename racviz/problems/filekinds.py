"""The kind of a file: recognised by its first bytes, unpacked where it is compressed, decoded by its byte-order mark.

A name says what a file should be, its first bytes what it is. Where both differ and the content is plain, the content decides.
"""

import bz2
import codecs
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError

PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
"""Suffixes of compressed files, and the method."""
HEAD = 4096
"""Bytes at the beginning of a file that tell its kind."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
TABULAR = "Save its table as CSV, JSONL or Parquet and pass that."
COLUMNAR = ("parquet", "arrow", "arrow stream")
OTHER = (
    (b"PK\x03\x04", "a ZIP archive (an Excel workbook is one, too)", TABULAR),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", TABULAR),
    (b"SQLite format 3", "an SQLite database", TABULAR),
    (b"%PDF", "a PDF document", TABULAR),
    (b"\x89HDF", "an HDF5 file", TABULAR),
    (b"ORC", "an ORC file", TABULAR),
    (b"Obj\x01", "an Avro file", TABULAR),
    (b"FEA1", "a Feather file of version 1", TABULAR),
    (b"\x93NUMPY", "a NumPy array", TABULAR),
    (b"PARE", "an encrypted Parquet file", "Decrypt it first."),
    (b"\x80\x02", "a pickle, which could run code", TABULAR),
    (b"\x80\x03", "a pickle, which could run code", TABULAR),
    (b"\x80\x04", "a pickle, which could run code", TABULAR),
    (b"\x80\x05", "a pickle, which could run code", TABULAR),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it first."),
    (b"Rar!", "a RAR archive", "Unpack it first."),
    (b"\x04\x22\x4d\x18", "compressed by LZ4", "Unpack it, or compress it with gzip or zstd."),
    (b"GGUF", "a GGUF file of weights", TABULAR),
)
"""First bytes of files that are not read: what they are, and the remedy."""
POINTER = b"version https://git-lfs"
"""The first bytes of the small file that stands for a large one until `git lfs pull`."""
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error")
ANSWERS = (b"404: not found", b"not found", b"entry not found", b"invalid username or password", b"access to", b"unauthorized")
"""First words of a server's refusal that was saved under the name of the file."""


def suffixes(name: str) -> tuple[str, str | None]:
    """The suffix of a name below the one of a compression, in lower case, and the compression that the name says."""
    stem, last = os.path.splitext(name.lower())
    packed = PACKED.get(last)
    return (os.path.splitext(stem)[1] if packed else last), packed


@contextmanager
def unpacked(path: Path) -> Iterator[io.BufferedReader]:
    """The bytes of a file, unpacked where it is compressed, with at least HEAD bytes to peek at.

    Raises DataError for a file that cannot be read or was cut off, here or while it is read.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    method = next((method for mark, method in COMPRESSED.items() if head.startswith(mark)), None)
    said = suffixes(path.name)[1]
    if said and method is None and not _plain(head):
        raise DataError(f"{path} cannot be read, or was cut off: its name says {said}, its first bytes do not.")
    with _opened(path, method) as inner:
        yield io.BufferedReader(_Guarded(path, inner), buffer_size=max(HEAD, io.DEFAULT_BUFFER_SIZE))


def _opened(path: Path, method: str | None) -> Any:
    if method == "zstd":
        import pyarrow as pa

        return pa.input_stream(str(path), compression="zstd")
    openers = {None: open, "gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    return openers[method](path, "rb")


def _plain(head: bytes) -> bool:
    """True for the beginning of JSON or Parquet, which may stand under any name."""
    return head.startswith(b"PAR1") or head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[")


class _Guarded(io.RawIOBase):
    """A stream whose failures name the file."""

    def __init__(self, path: Path, inner: Any):
        self.path, self.inner = path, inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.inner.read(len(buffer))
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise DataError(f"{self.path} cannot be read, or was cut off: {error}") from error
        buffer[: len(data)] = data
        return len(data)


def kind_of(path: Path, head: bytes) -> str:
    """The kind of an unpacked file by its first bytes: one of COLUMNAR, or the encoding of a text, for example `utf-8-sig`.

    Raises DataError, which says what the file is, for every other kind.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "arrow"
    if head.startswith(b"\xff\xff\xff\xff"):  # the length of a message, at the beginning of a stream
        return "arrow stream"
    encoding = next((encoding for mark, encoding in MARKS if head.startswith(mark)), "utf-8-sig")
    found = next(((what, remedy) for mark, what, remedy in OTHER if head.startswith(mark)), None)
    words = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if head[257:262] == b"ustar":
        found = ("a TAR archive", "Unpack it first.")
    elif words.startswith(POINTER):
        found = ("the pointer that Git LFS leaves in place of a file", "Run `git lfs pull` where it was cloned.")
    elif words.startswith(PAGES):
        found = (
            "a web page (HTML or XML)",
            "Download the raw file; a page often says that a login is needed or the address wrong.",
        )
    elif words.startswith(ANSWERS) and len(words.splitlines()) == 1 and b"," not in words:
        found = (f"a server's refusal ({words.decode('utf-8', 'replace').strip()[:60]!r})", "Download the file again.")
    elif found is None and encoding == "utf-8-sig" and b"\0" in head.partition(b"\n")[0]:
        zeros = [head[0:HEAD:2].count(0), head[1:HEAD:2].count(0)]
        wide = max(zeros) > len(head) // 4 > min(zeros) * 8
        found = (
            ("a text in UTF-16 without a byte-order mark", "Save it as UTF-8.")
            if wide
            else ("a binary file, or holds NUL bytes", "Pass JSONL, CSV or Parquet.")
        )
    if found:
        what, remedy = found
        raise DataError(f"{path} is {what}. {remedy}")
    return encoding


def text_lines(
    path: Path, stream: io.BufferedReader, encoding: str, what: str = "UTF-8 text", keep_going: bool = False
) -> Iterator[tuple[int, Any]]:
    r"""Lines with their numbers, apart at \n alone (U+2028 and the like may stand in JSON).

    Raises DataError that names the line where bytes are not of the encoding; in UTF-8 it stands in the line's place if `keep_going`.
    """
    if encoding != "utf-8-sig":
        wrapped = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
        try:
            yield from enumerate(wrapped, 1)
        except UnicodeDecodeError as error:
            raise not_text(str(path), error, what) from error
        return
    for number, raw in enumerate(stream, 1):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            failure = not_text(f"{path}, line {number}", error, what)
            if not keep_going:
                raise failure from error
            yield number, failure


def read_text(path: Path) -> str | None:
    """The whole of a text file; None where it is Parquet or Arrow. Raises DataError as `kind_of` and `text_lines` do."""
    with unpacked(path) as stream:
        kind = kind_of(path, stream.peek(HEAD)[:HEAD])
        if kind in COLUMNAR:
            return None
        try:
            return stream.read().decode(kind)
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text: {error}. {RECODE}") from error


RECODE = "Save it as UTF-8, for example by iconv -f WINDOWS-1252 -t UTF-8."


def not_text(where: str, error: UnicodeDecodeError, what: str) -> DataError:
    """The error of bytes that are not text: no encoding is guessed, since a wrong guess changes letters silently."""
    name = what.replace("UTF-8", error.encoding.upper())
    return DataError(f"{where}: not {name}: {error}. {RECODE}")
