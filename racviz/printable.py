"""Text from files, servers and users, made fit for a terminal, a page or a table: nothing hidden, nothing secret, nothing endless.

All expressions here take time in proportion to the text.
"""

import os
import re
from typing import Any
from urllib.parse import quote

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Control characters, escapes, changes of direction, characters without a width, halves of characters; not tab and line feed."""
LONGEST, LONGEST_WORD = 6_000, 400
"""Characters of a message, and of one word in it."""
SECRETS = ("RACVIZ_VLLM_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "OPENAI_API_KEY")
"""Environment variables whose values are never shown."""
LEAST_SECRET = 4
"""Characters of a value that is looked for everywhere; a shorter one would blot out ordinary words."""
GONE = "[redacted]"
NOT_GONE, VALUE = r"(?!\[redacted\])", r"[^\s\\\"',&}]{1,4000}"
PATTERNS = (
    (r"(://)[^/\s@'\"]{1,300}(?=@)", 0),
    (rf"(authorization[\\\"'\s:=]{{1,8}}){NOT_GONE}(?:(?:bearer|basic|token)\s{{1,4}})?{VALUE}", re.I),
    (rf"(\bbearer\s{{1,4}}){NOT_GONE}[\w.~+/=-]{{12,4000}}", re.I),
    (r"()\b(?:hf_[A-Za-z0-9]{12,200}|sk-[\w-]{16,200})", 0),
    (
        r"(\b(?:api[_-]?key|access[_-]?token|auth[_-]?token|password|passwd|secret)"
        rf"[\\\"']{{0,2}}\s?[:=]\s?[\\\"']{{0,2}}){NOT_GONE}{VALUE}",
        re.I,
    ),
    (rf"([?&](?:token|key)=){NOT_GONE}{VALUE}", re.I),
)
"""What stands before a secret, which stays, and the secret, which goes; with the flags of the expression."""


def _escaped(found: re.Match) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def shown(text: object, limit: int = 200) -> str:
    """One line of text for a terminal or a table.

    Parameters
    ----------
    text : object
        Turned into text, wherever it comes from.
    limit : int
        Characters at most; of longer texts the beginning and the end are shown, with the length.

    Returns
    -------
    str
        The text with hidden characters, tabs and line feeds written out as escapes.
    """
    line = _shortened(str(text), limit)
    return HIDDEN.sub(_escaped, line).replace("\n", "\\n").replace("\t", "\\t")


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 4
    return f"{text[:head]}…({len(text):,} characters)…{text[len(text) - tail :]}"


def redacted(text: str) -> str:
    """The text without keys, tokens and passwords: those of the environment, and whatever looks like one."""
    for name in SECRETS:
        secret = os.environ.get(name, "").strip()
        if len(secret) >= LEAST_SECRET:
            for form in {secret, quote(secret, safe=""), quote(secret), secret.replace("/", "\\/")}:
                text = text.replace(form, GONE)
    for pattern, flags in PATTERNS:
        text = re.sub(pattern, rf"\1{GONE}", text, flags=flags)
    return text


def message(text: str) -> str:
    """A message that may quote anything: no secrets, no hidden characters, no endless words; lines stay lines."""
    text = redacted(text)
    text = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda found: _shortened(found[0], LONGEST_WORD // 2), text)
    return HIDDEN.sub(_escaped, _shortened(text, LONGEST))


def cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
