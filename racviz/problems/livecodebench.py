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

from racviz.exceptions import DataError

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


OTHER_TESTS = ("test", "test_list", "test_cases", "input_output", "unit_tests")
"""Columns of tests in the forms of HumanEval, MBPP, APPS and others."""


def refuse_other_tests(row: dict[str, Any], where: str) -> None:
    """Raise DataError for a row with a column of tests that are of another form."""
    if name := next((name for name in OTHER_TESTS if row.get(name)), None):
        raise DataError(
            f"{where}: {name!r} holds tests of another form than those that are read: LiveCodeBench's, and lists of inputs and outputs, "
            "which are named by ?tests=… after the file's name."
        )


def tests_text(value: Any, where: str) -> str:
    """A column of tests as `program_tests` writes them: of that form already, or lists of inputs and outputs as APPS has them.

    Raises DataError, which begins with `where`, for inputs and outputs that do not go together.
    """
    read = value
    if isinstance(value, str):
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return value  # which grading refuses, with its reason
    if not (isinstance(read, dict) and isinstance(read.get("inputs"), list) and isinstance(read.get("outputs"), list)):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    function = read.get("fn_name")
    inputs, outputs = read["inputs"], read["outputs"]
    if function:
        inputs = ["\n".join(map(json.dumps, each)) if isinstance(each, list) else None for each in inputs]
        outputs = [json.dumps(each[0] if isinstance(each, list) and len(each) == 1 else each) for each in outputs]
    else:
        inputs, outputs = (
            ["\n".join(map(str, each)) if isinstance(each, list) else each for each in part] for part in (inputs, outputs)
        )
    if len(inputs) != len(outputs) or not all(isinstance(each, str) for each in (*inputs, *outputs)):
        raise DataError(
            f"{where}: its tests hold {len(inputs)} inputs and {len(outputs)} outputs; as many texts of both are wanted."
        )
    kind = "functional" if function else "stdin"
    cases = [dict(input=i, output=o, testtype=kind) for i, o in zip(inputs, outputs, strict=True)]
    return json.dumps({"cases": cases, "function": function}, ensure_ascii=False)


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
