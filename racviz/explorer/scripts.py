"""The explorer's JavaScript and style: files of one purpose under `static/`, joined into the one text that a page loads.

The files are modules that import from each other, so that an editor and a linter read them one by one. Joined in an order in which
no file comes before one that it imports from, they need neither imports nor a bundler.
"""

import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
DRAWING = ("colours", "elements", "svg", "geometry", "state", "curve", "legend", "drawing", "picture", "status", "exporting")
HANDLING = ("reading", "next_tokens", "navigation", "controls", "pointer", "keys", "mount")
EXPLORER = (*DRAWING, *HANDLING)
"""The files that every page needs."""
WIDGET = (*EXPLORER, "widget")
"""In a notebook: exports what anywidget asks for."""
SERVED = (*EXPLORER, "server", "page")
"""From the local server: defines `askServer` and `openPage`."""
OFFLINE = (*EXPLORER, "offline", "page")
"""On a page that stands alone: defines `answerFrom` and `openPage`."""

_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default\b)", re.MULTILINE)


def joined(names: tuple[str, ...]) -> str:
    """Join files of `static/` into the text of one module.

    Parameters
    ----------
    names : tuple of str
        Files without their ending, each after those that it imports from.

    Returns
    -------
    str
        Their text without imports and named exports; a default export stays.
    """
    texts = ((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in texts)


def style() -> str:
    """The style sheet of every page."""
    return (STATIC / "explorer.css").read_text(encoding="utf-8")
