"""The errors that racviz raises on purpose, and the sentences they are made of."""

import difflib
from collections.abc import Iterable

from racviz.printable import message


class RacvizError(Exception):
    """Something that the user can mend; the message says how. The command line prints it without a traceback.

    Messages quote files, servers and arguments, so they are made printable: without secrets, control characters or endless values.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(message(each) if isinstance(each, str) else each for each in arguments))


class ParameterError(RacvizError, ValueError):
    """A parameter is not one of what is allowed."""


class DataError(RacvizError, ValueError):
    """A file or a set of problems, traces or texts is not usable."""


class NotInStore(RacvizError):
    """A finished step was to be read, not made, and the cache does not hold it."""


class OverlapError(RacvizError, ValueError):
    """A problem that calibrated a model would judge it."""


class StorageError(RacvizError, OSError):
    """A file could not be written."""


class ResourceError(RacvizError, FileNotFoundError):
    """A file that ships with racviz is not there."""


class DamagedArtefact(RacvizError):
    """A cached artefact is not what was written."""


class GenerationError(RacvizError, RuntimeError):
    """vLLM is missing, too old, out of memory or dead, or a server does not answer as it should. What was finished is kept."""


class GradingError(RacvizError, RuntimeError):
    """Answers cannot be graded here: what compares them did not start, or a program cannot be contained."""


class NumericalError(RacvizError, ArithmeticError):
    """Weights, activations or a factorisation are not finite."""


def unknown(parameter: str, got: object, allowed: Iterable[str], remedy: str = "") -> ParameterError:
    """`method must be one of 'magnitude', 'sparsegpt'; not 'sparsgpt'. Did you mean 'sparsegpt'?`"""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(got), allowed, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ParameterError(
        f"{parameter} must be one of {', '.join(map(repr, allowed))}; not {got!r}.{hint}{' ' + remedy if remedy else ''}"
    )


def check(condition: bool, parameter: str, got: object, allowed: str) -> None:
    """Raise a ParameterError that names the parameter, what was got and what is allowed, unless `condition` holds."""
    if not condition:
        raise ParameterError(f"{parameter} must be {allowed}; not {got!r}.")


def reason_of(error: BaseException) -> str:
    """Another library's error in one line: its kind where its text is no sentence, and all of its lines, shortened."""
    text = " ".join(str(error).split())
    if len(text) > 400:
        text = f"{text[:300]} … {text[-80:]}"
    return text if text.count(" ") > 2 else f"{type(error).__name__}: {text}" if text else type(error).__name__
