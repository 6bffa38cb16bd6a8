"""Text from files, servers and users, made fit for a terminal, a page or a table: nothing hidden, nothing secret, nothing endless.

All expressions here take time in proportion to the text.
"""

import html
import json
import os
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Control characters, escapes, changes of direction, characters without a width, halves of characters; not tab and line feed."""
LONGEST, LONGEST_WORD = 6_000, 400
"""Characters of a message, and of one word in it."""
SECRETS = ("RACVIZ_VLLM_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "OPENAI_API_KEY")
"""Environment variables whose values are never shown."""
SECRET_NAME = re.compile(r"(?:^|_)(?:API_?KEY|ACCESS_KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.I)
"""Names of other variables that hold secrets."""
LEAST_SECRET, LEAST_OTHER = 4, 8
"""Characters of a value that is looked for everywhere, of a known variable and of another; shorter ones would blot out ordinary words."""
GONE = "[redacted]"
RESERVED = ("tiny-reasoner", "tiny-reasoner-small", "tiny-reasoner-seed1", "smollm2", "arithmetic", "tracing", "own", "teacher")
"""Names of embedded models, problems and of trace sources: a folder that is called so stays a path, `./own`."""
WRITTEN = ("thinking", "scope")
"""Parameters that hold markers and expressions, which may look like paths."""
NOT_GONE, VALUE = r"(?!\[redacted\])", r"[^\s\\\"',&}]{1,4000}"
PATTERNS = (
    (r"(://)(?:[^/\s'\"?#]{1,300}|[^/\s'\"?#:@]{0,100}:[^\s'\"]{1,300})(?=@)", 0),
    (rf"(authorization[\\\"'\s:=]{{1,8}}){NOT_GONE}(?:(?:bearer|basic|token)\s{{1,4}})?{VALUE}", re.I),
    (rf"(\bbearer\s{{1,4}}){NOT_GONE}[\w.~+/=-]{{12,4000}}", re.I),
    (r"()\b(?:hf_[A-Za-z0-9]{12,200}|sk-[\w-]{16,200})", 0),
    (
        r"(\b(?:api[_-]?key|access[_-]?token|auth[_-]?token|password|passwd|secret)"
        rf"[\\\"']{{0,2}}\s?[:=]\s?[\\\"']{{0,2}}){NOT_GONE}{VALUE}",
        re.I,
    ),
    (rf"([?&;#][\w.-]{{0,40}}(?:token|key|secret|password|credential|signature|auth|sig|pwd)=){NOT_GONE}{VALUE}", re.I),
)
"""Words before a secret, which stay, and the secret, which goes; with the flags of the expression."""


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
    for name, secret in os.environ.items():
        secret, known = secret.strip(), name in SECRETS
        if len(secret) >= (LEAST_SECRET if known else LEAST_OTHER) and (known or SECRET_NAME.search(name)):
            plain = json.dumps(secret)[1:-1]
            forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret), plain}
            for form in sorted({*forms, plain.replace("/", "\\/"), repr(secret)[1:-1]}, key=len, reverse=True):
                text = re.sub(re.escape(form), GONE, text, flags=re.I)
    for pattern, flags in PATTERNS:
        text = re.sub(pattern, rf"\1{GONE}", text, flags=flags)
    return text


def message(text: object) -> str:
    """A message that may quote anything: no secrets, no hidden characters, no endless words; lines stay lines."""
    text = redacted(str(text))
    text = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda found: _shortened(found[0], LONGEST_WORD // 2), text)
    return HIDDEN.sub(_escaped, _shortened(text, LONGEST))


def cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would run as a formula gets an apostrophe before it; numbers stay."""
    if not isinstance(value, str):
        return value
    text = HIDDEN.sub(_escaped, value)
    if not re.match(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]", value):
        return text
    try:
        float(value)
    except ValueError:
        return f"'{text}"
    return text


def holds_secret(value: Any) -> bool:
    """True if a value, or one inside a list or mapping, holds what `redacted` would take out."""
    if isinstance(value, dict):
        return any(map(holds_secret, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_secret, value))
    return isinstance(value, str) and redacted(value) != value


def placeless(value: Any) -> Any:
    """Plain data in which an absolute path is its last part: for labels, manifests and cards, which others read.

    Names, relative paths, and everything that is not text stay as they are.
    """
    if isinstance(value, dict):
        return {key: each if key in WRITTEN else placeless(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [placeless(each) for each in value]
    if not isinstance(value, str):
        return value
    head, mark, query = value.partition("?")  # a file of problems, or a backend, with its settings
    if mark:
        pairs = (pair.partition("=") for pair in query.split("&"))
        query = "&".join(f"{name}{equals}{_last_part(each)}" for name, equals, each in pairs)
    name, dot, rest = head.partition(" · ")  # a pruned model is called after its base
    return f"{_last_part(name)}{dot}{rest}{mark}{query}"


def _last_part(text: str) -> str:
    plain = re.sub(r"^file:(?://[^/]{0,255})?(?=/)", "", text)
    if PurePosixPath(plain).is_absolute() or plain.startswith("~"):
        name = PurePosixPath(plain).name or text
    elif PureWindowsPath(plain).is_absolute():
        name = PureWindowsPath(plain).name or text
    else:
        return text
    return f"./{name}" if name in RESERVED else name
