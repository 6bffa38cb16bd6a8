"""Parts by name that others can add: calibration sources, metrics of errors, backends, model formats."""

import functools
import importlib
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from racviz.exceptions import DataError, reason_of, unknown


class Registry(Mapping[str, Any]):
    """racviz's own parts, then those that installed packages add.

    A package adds a part with one line of its pyproject.toml, an entry point of the registry's group:

        [project.entry-points."racviz.sources"]
        shuffled = "my_module:SHUFFLED"

    Parameters
    ----------
    parameter : str
        The parameter that takes a name, for messages.
    group : str
        The group of entry points.
    own : mapping of str to part
        racviz's parts, in the order in which they are listed. A text `module:attribute` is imported when it is first asked for.
    """

    def __init__(self, parameter: str, group: str, own: Mapping[str, Any]) -> None:
        self.parameter, self.group, self.own = parameter, group, own

    def __getitem__(self, name: str) -> Any:
        if name in self.own:
            part = self.own[name]
            return imported(part) if isinstance(part, str) else part
        point = self._added()[name]
        try:
            return point.load()
        except Exception as error:  # a package of others may raise anything
            package = point.dist.name if point.dist else point.value
            raise DataError(
                f"{self.parameter} {name!r} of the package {package!r} cannot be imported ({reason_of(error)}). Mend or remove it."
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter([*self.own, *self._added()])

    def __len__(self) -> int:
        return len(self.own) + len(self._added())

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._added()

    def named(self, name: str, remedy: str = "") -> Any:
        """The part of that name. Raises ParameterError, with the nearest name, where there is none."""
        if name not in self:
            raise unknown(self.parameter, name, self, remedy)
        return self[name]

    def _added(self) -> Mapping[str, EntryPoint]:
        points = {point.name: point for point in _entry_points(self.group)}
        for name in sorted(points.keys() & self.own.keys()):
            warnings.warn(
                f"{self.parameter} {name!r} of {points.pop(name).value!r} is not used: racviz has one of that name.",
                stacklevel=3,
            )
        return points


@functools.cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def imported(place: str) -> Any:
    """The object at `module:attribute`."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
