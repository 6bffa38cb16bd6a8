"""The contents of a report, read from its notebook's metadata: which studies it prunes, measures, lets answer and times.

    "racviz": {"order": 4, "title": "…?", "compares": ["prompt", "rac"], "makes": [{"make": ["answers"], "vary": {"seed": "seeds"}}]}

docs/design.md explains the keys.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from racviz.exceptions import DataError, ParameterError, RacvizError, check, unknown
from racviz.sources import SOURCES
from racviz.study import Study
from racviz.study.parameters import parameter_names

KINDS = ("answers", "errors", "layer errors", "depth errors", "timing")
TIMED = "timing_problems"
"""The parameter of a report with a timing pass: how many problems it takes."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `makes`: results of a study, or of its variants."""

    make: list[str]
    """Members of KINDS; an empty list prunes and measures nothing more."""
    sparsities: str = "all"
    """`all`, `first`, or a list parameter: those of the study's sparsities that it holds, all where it holds none."""
    vary: dict[str, str | list[Any]] = {}
    """A study's parameter -> its values: a list parameter of the notebook, or the values themselves."""
    fix: dict[str, str] = {}
    """A study's parameter -> a list parameter of the notebook, whose first value it takes."""
    sets: int = 0
    """Calibration sets beside the sources, a model each."""
    optional: bool = False
    """True where an empty list leaves the entry out; otherwise it is refused."""

    def lists(self) -> Iterator[str]:
        """Names of the list parameters that this entry reads."""
        yield from (values for values in self.vary.values() if isinstance(values, str))
        yield from self.fix.values()
        if self.sparsities not in ("all", "first"):
            yield self.sparsities


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`metadata.racviz` of a report's notebook."""

    order: float
    """Place in the catalogue and in the index."""
    title: str
    """The question that the report answers: its first heading."""
    makes: list[Entry]
    subject: str = ""
    """A few words above the title: the figure or table of the paper, or the topic."""
    compares: list[str] = []
    """Sources that the report cannot do without."""
    trial: dict[str, Any] = {}
    """Values of parameters for a run of seconds, which the tests make."""

    @property
    def answers(self) -> bool:
        """True if models answer problems in this report."""
        return any("answers" in entry.make for entry in self.makes)

    @property
    def models(self) -> str:
        """The list parameter with the models beside `model`; empty if there is none."""
        return next((str(entry.vary["model"]) for entry in self.makes if "model" in entry.vary), "")


@dataclass(frozen=True)
class Part:
    """A study, and the results that a report makes of it."""

    study: Study
    answers: bool = False
    errors: bool = False
    layers: bool = False
    depths: bool = False
    """Errors at more depths than the last (`Steps.depths`)."""
    timing: bool = False
    sets: int = 0
    """Models of the study's first sparsity that are calibrated on other sets of as many tokens."""


def read_contents(metadata: Any, report: str, parameters: Sequence[str]) -> Contents:
    """The contents of a report, checked.

    Parameters
    ----------
    metadata : object
        `metadata.racviz` of the notebook.
    report : str
        Name of the report, for messages.
    parameters : sequence of str
        Names of the parameters that the notebook takes.

    Raises
    ------
    DataError
        For a missing or unknown key, an unknown kind, parameter or source, or a value of the wrong type.
    """
    try:
        contents = msgspec.convert(metadata, Contents)
        check(bool(contents.makes), "makes", contents.makes, "a list that is not empty")
        for source in contents.compares:
            _known("compares", source, SOURCES)
        for name in contents.trial:
            _known("trial", name, parameters)
        for entry in contents.makes:
            _check_entry(entry, parameters)
    except (msgspec.ValidationError, RacvizError) as error:
        raise DataError(f"metadata.racviz of the report {report!r} is wrong: {error}") from error
    return contents


def _check_entry(entry: Entry, parameters: Sequence[str]) -> None:
    for kind in entry.make:
        _known("makes: make", kind, KINDS)
    for name in (*entry.vary, *entry.fix):
        _known("makes: vary and fix", name, parameter_names())
    for name in entry.lists():
        _known("makes: a list parameter", name, parameters)
    if "timing" in entry.make:
        _known("makes: timing", TIMED, parameters)


def _known(what: str, name: str, allowed: Sequence[str]) -> None:
    if name not in allowed:
        raise unknown(what, name, allowed)


def parts_of(contents: Contents, study: Study, values: Mapping[str, Any]) -> list[Part]:
    """The parts of a report.

    Parameters
    ----------
    contents : Contents
        From `read_contents`.
    study : Study
        The study of the report's parameters.
    values : mapping
        Values of the parameters that are the notebook's own, such as `methods` or `seeds`.

    Raises
    ------
    ParameterError
        For a list that must not be empty, or a value in one that a study refuses.
    """
    parts = [part for entry in contents.makes for part in _parts(entry, study, values)]
    if not parts:
        raise ParameterError("the lists of this report are empty; it makes nothing.")
    return parts


def _parts(entry: Entry, study: Study, values: Mapping[str, Any]) -> Iterator[Part]:
    first = {name: _listed(values, listed)[0] for name, listed in entry.fix.items()}
    study = replace(study, **first)
    study = replace(study, sparsities=_sparsities(entry, study, values))
    axes = {
        name: listed if isinstance(listed, list) else _listed(values, listed, entry.optional)
        for name, listed in entry.vary.items()
        if name != "model"  # each model has a plan of its own
    }
    kinds = ("answers", "errors", "timing")
    makes = {kind: kind in entry.make for kind in kinds} | {
        "layers": "layer errors" in entry.make,
        "depths": "depth errors" in entry.make,
    }
    for combination in itertools.product(*axes.values()):
        plain = [tuple(value) if isinstance(value, list) else value for value in combination]
        yield Part(replace(study, **dict(zip(axes, plain, strict=True))), **makes, sets=entry.sets)


def _listed(values: Mapping[str, Any], name: str, optional: bool = False) -> Sequence[Any]:
    """The values of a list parameter."""
    value = values.get(name)
    check(isinstance(value, list | tuple), name, value, "a list")
    check(bool(value) or optional, name, value, "a list that is not empty")
    return value


def _sparsities(entry: Entry, study: Study, values: Mapping[str, Any]) -> tuple[float, ...]:
    if entry.sparsities == "all":
        return study.sparsities
    if entry.sparsities == "first":
        return study.sparsities[:1]
    chosen = values.get(entry.sparsities)
    check(isinstance(chosen, list | tuple), entry.sparsities, chosen, "a list")
    return tuple(sparsity for sparsity in study.sparsities if sparsity in chosen) or study.sparsities
