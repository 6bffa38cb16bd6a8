"""Text from anywhere, fit to be printed: nothing hidden, nothing secret, nothing endless; in time that grows with the text."""

import pickle
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racviz import errors
from racviz.exceptions import DataError, RacvizError, StorageError
from racviz.grading.sandbox import SandboxError
from racviz.printable import cell, message, redacted, shown
from racviz.reports.running import ReportError

KEY = "s3cr+t/key-of-7"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("RACVIZ_VLLM_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", "hubhubhub")


@given(st.text(alphabet=st.characters(), max_size=300))
def test_nothing_hidden_is_left(text):
    line = shown(text, 1000)
    assert (
        not {unicodedata.category(c) for c in line} & {"Cc", "Cs", "Zl", "Zp"} and "\u202e" not in line and "\u200b" not in line
    )
    assert message(message(text)) == message(text)
    assert not {unicodedata.category(c) for c in message(text)} - {"Cc"} & {"Cs", "Zl", "Zp"}
    assert not set(message(text)) & (set(map(chr, range(32))) - set("\n\t"))


def test_escapes_are_written_out():
    assert shown("\x1b[31mred\x1b]0;x\x07 \x9b31m a\u202eb\n\t") == r"\x1b[31mred\x1b]0;x\x07 \x9b31m a\u202eb\n\t"
    assert shown("\ud800") == r"\ud800" and shown("Grüße 你好 ½") == "Grüße 你好 ½"
    assert "\x1b" not in str(DataError("a \x1b[2J b\nc")) and "\n" in str(DataError("a\nb"))


@pytest.mark.parametrize("text", [
    f"Authorization: Bearer {KEY}",
    f"{{'authorization': 'Bearer {KEY}'}}", f'{{\\"Authorization\\": \\"Bearer {KEY}\\"}}', f"it was {KEY}!",
    "http://h/?k=s3cr%2Bt%2Fkey-of-7", "https://hubhubhub@hub/x", "HF said hubhubhub",
])  # fmt: skip
def test_the_user_s_keys_are_never_shown(text):
    for told in (redacted(text), str(StorageError(text)), str(ReportError(text))):
        assert KEY not in told and "hubhubhub" not in told and "s3cr%2Bt" not in told and "[redacted]" in told


@pytest.mark.parametrize("text, secret", [
    ("backend must be 'hf'; not 'hf?token=xyzzy12'", "xyzzy12"), ("http://me:pass1@host:8/x", "pass1"), ("x-api-key: barbar", "barbar"),
    ('"password": "hunter2"', "hunter2"), ("api_key=foobar&x=1", "foobar"), ("hf_" + "aB3" * 11, "aB3aB3"),
    ("Bearer abcdefgh12345", "abcdefgh"),
    ("authorization: Basic Zm9vOmJhcg==", "Zm9v"),
])  # fmt: skip
def test_what_looks_like_a_key_is_not_shown(text, secret):
    assert secret not in redacted(text) and redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize("text", [
    "max_new_tokens=512 calibration_tokens=32", "-p key=value", "the token 5 of 'a'", "bearer of news", "owner/name@main",
    "a key of the grid",
    "the tokenizer's token: 7", "http://host:8000/v1",
])  # fmt: skip
def test_ordinary_words_stay(text):
    assert redacted(text) == text == message(text)


def test_long_values_are_shortened_and_the_remedy_stays():
    told = str(DataError(f"a.jsonl, row 3: the id {'x' * 10**6!r} is too long; shorten it."))
    assert len(told) < 500 and told.startswith("a.jsonl, row 3") and told.endswith("shorten it.") and "1,000,0" in told
    assert len(str(DataError("a b " * 10**6 + "Do this."))) < 7000 and str(DataError("a b " * 10**6 + "Do this.")).endswith(
        "Do this."
    )


@pytest.mark.parametrize(
    "piece", ["a_", "://", "x://:", "authorization", "bearer ", "hf_", "password", "\\\"'", "?token=", "\x1b", "secret: "]
)
def test_time_grows_with_the_text(piece):
    began = time.process_time()
    message(piece * 100_000)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    "kind", [*(k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, RacvizError)), SandboxError]
)
def test_errors_cross_processes(kind):
    one = kind("what went wrong\x1b")
    other = pickle.loads(pickle.dumps(one))
    assert type(other) is kind and str(other) == str(one) == r"what went wrong\x1b"


@pytest.mark.parametrize("value, wanted", [
    ("=1+1", "'=1+1"), ("-5", "-5"), ("+1e3", "+1e3"), ("@x", "'@x"), ("-x", "'-x"), ("\t=x", "'\t=x"), ("ok", "ok"), (5, 5), (-0.5, -0.5),
    ("-inf", "-inf"), ("", ""),
])  # fmt: skip
def test_cells_that_a_spreadsheet_would_run(value, wanted):
    assert cell(value) == wanted
