"""The formats of models: where the checkpoint behind a name lies, or is made.

A format of one's own is a `Format` and one line: in FORMATS, or an entry point of the group `racviz.models.formats`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from racviz import hub
from racviz.exceptions import DataError, ParameterError, unknown
from racviz.models import smollm2
from racviz.models.checkpoints import gguf
from racviz.registry import Registry
from racviz.store import resource

EMBEDDED = ("tiny-reasoner", "tiny-reasoner-small", "tiny-reasoner-seed1")
SMOLLM2 = "smollm2"


@dataclass(frozen=True)
class Wanted:
    """A model that was asked for."""

    name: str
    """Without the revision."""
    revision: str | None = None
    code: bool = False
    """True where the repository's Python files may run (trust_remote_code)."""
    weights: bool = True
    """False where the small files are enough."""


@dataclass(frozen=True)
class Format:
    """A format of models."""

    takes: Callable[[str], bool]
    """True for the names that it stands for."""
    checkpoint: Callable[[Wanted], tuple[Path, str | None]]
    """The folder of an ordinary checkpoint (safetensors), and a stamp that stands for its content: a commit or an artefact's key.
    None has the files themselves hashed."""
    revisions: bool = False
    """True where a name has revisions."""


def _packaged_smollm2(wanted: Wanted) -> tuple[Path, str]:
    folder = smollm2.checkpoint()
    return folder, folder.parent.name  # the artefact's key: its content was verified a moment ago


FORMATS = Registry(
    "model",
    "racviz.models.formats",
    {
        "embedded": Format(EMBEDDED.__contains__, lambda wanted: (resource(f"data/models/{wanted.name}"), None)),
        "smollm2": Format(SMOLLM2.__eq__, _packaged_smollm2),
        "folder": Format(os.path.isdir, lambda wanted: (Path(wanted.name), None)),
        "hub": Format(
            lambda name: hub.is_id(name) and not os.path.isfile(name) and not name.lower().endswith(".gguf"),
            lambda wanted: hub.snapshot(wanted.name, wanted.revision, wanted.code, wanted.weights),
            revisions=True,
        ),
    },
)
"""Formats in the order in which a name is tried."""


def locate(name: str, revision: str | None = None, code: bool = False, weights: bool = True) -> tuple[Path, str | None]:
    """The folder of the checkpoint behind a name, and the stamp of its content where its format knows one.

    Parameters
    ----------
    name : str
        A model's name; a hub id may hold its revision, `owner/name@revision`.
    revision : str, optional
        A branch, tag or commit of a hub id.
    code : bool
        Fetch the repository's Python files too.
    weights : bool
        False fetches only the small files.

    Raises
    ------
    ParameterError
        For a name that no format takes, and a revision where there are none.
    DataError
        For a file that is not a model.
    """
    plain, _, asked = name.partition("@")
    if revision is not None and asked:
        raise ParameterError(f"revision={revision!r} and the model {name!r} both name a revision; give one.")
    forms = list(FORMATS.values())
    tries = [(name, form) for form in forms] + [(plain, form) for form in forms if form.revisions]
    if found := next(((spelled, form) for spelled, form in tries if form.takes(spelled)), None):
        spelled, form = found
        if revision and not form.revisions:
            raise ParameterError(f"revision must be None for {name!r}; only a hub id has revisions.")
        return form.checkpoint(Wanted(spelled, revision or (asked if spelled != name else None), code, weights))
    if any(form.takes(plain) for form in forms):
        raise ParameterError(f"revision must be None for {plain!r}; only a hub id has revisions.")
    if name.lower().endswith(".gguf"):
        raise gguf(name, Path(name).name)
    if os.path.isfile(name):
        raise DataError(f"{name!r} is a file; a model is a folder with config.json, *.safetensors and a tokenizer.")
    if "/" in name or "\\" in name:
        raise ParameterError(
            f"model {name!r} is not a folder here; pass an existing folder, an embedded name or a hub id owner/name."
        )
    raise unknown("model", name, (*EMBEDDED, SMOLLM2), "Or pass a local folder or a hub id owner/name.")
