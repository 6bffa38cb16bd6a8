"""LiveCodeBench's test cases, read without running anything that the data set says.

Its private tests are a JSON text, pickled, compressed and written in base64. A pickle is a program; this one is only looked at: its
instructions are listed, and the text is taken where it is nothing but a text.
"""

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any

from racviz.errors import DataError

HARMLESS = {"PROTO", "FRAME", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP"}
LARGEST = 2**28
"""Bytes of a problem's private tests, unpacked; larger ones are refused before they fill the memory."""


def program_tests(row: dict[str, Any], where: str) -> str:
    """The public and private tests of a problem as JSON: {"cases": [{"input", "output", "testtype"}, …], "function": name or null}.

    Raises DataError for tests that are not of that form.
    """
    try:
        cases = [*_read(row.get("public_test_cases"), []), *_read(row.get("private_test_cases"), [])]
        function = _read(row.get("metadata"), {}).get("func_name")
        return json.dumps({"cases": cases, "function": function}, ensure_ascii=False)
    except (ValueError, TypeError, AttributeError, RecursionError, zlib.error, binascii.Error) as error:
        raise DataError(f"{where}: its test cases cannot be read: {error}.") from error


def _read(value: Any, otherwise: Any) -> Any:
    """A column's value: JSON, or JSON in a pickle; as it is where it was read before."""
    if not isinstance(value, str):
        return otherwise if value is None else value
    if not value.strip():
        return otherwise
    return json.loads(value if value.lstrip()[0] in "[{" else pickled_text(value))


def pickled_text(packed: str) -> str:
    """The text in a compressed pickle of one text. Raises ValueError for a pickle of anything else."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(packed), LARGEST)
    if unpacker.unconsumed_tail:
        raise ValueError(f"they are larger than {LARGEST:,} bytes")
    found = []
    for code, argument, _ in pickletools.genops(data):
        if code.name not in HARMLESS:
            raise ValueError(f"the pickle holds {code.name}, which a text does not need")
        if "UNICODE" in code.name:
            found.append(argument)
    if len(found) != 1:
        raise ValueError(f"the pickle holds {len(found)} texts")
    return found[0]
