"""Requests of a page in, numbers out: one session for a notebook, a server or an export."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np

from racviz.exceptions import ParameterError, RacvizError, check, unknown
from racviz.explorer.at_token import LiveModels
from racviz.explorer.captions import caption, notes, python_line
from racviz.explorer.catalogue import Catalogue, Column
from racviz.explorer.pyramid import DENSE
from racviz.explorer.view import (
    ALIGNS,
    CLASSES,
    ORDERS,
    PHASES,
    SCALES,
    Sums,
    View,
    colour_limit,
    order_rows,
    picture,
    ratios,
)  # fmt: skip
from racviz.printable import message

AROUND = 150
"""Tokens shown on each side of the chosen one."""
MOST_JUMPS = 500
"""Large errors in the list that jumps go through."""
PIXELS = 4096
"""The most bins of a picture in each direction."""
BY_VALUE = {"difficulty": "problems", "accuracy": "evaluations"}
"""Orders by a value of each row, and the parameter that it comes from."""

Answer = tuple[dict[str, Any], list[bytes]]
"""Data for JSON, and arrays."""


class Session:
    """The state of one explorer.

    Parameters
    ----------
    catalogue : Catalogue
    group : str
        Metric and layer to show first; empty for the first.
    x, y : pair of float or None
        Columns and rows to show first; None for all.
    **choices
        Fields of `View`.

    Raises
    ------
    ParameterError
        If a choice is not available.
    """

    def __init__(
        self, catalogue: Catalogue, group: str = "", x: Sequence[float] | None = None, y: Sequence[float] | None = None,
        **choices: Any,
    ) -> None:  # fmt: skip
        self.catalogue, self.version = catalogue, 0
        for name, span in (("x", x), ("y", y)):
            ok = span is None or (len(span) == 2 and all(np.isfinite(edge) for edge in span) and span[0] < span[1])
            check(ok, name, span, "two numbers, the first and the last column or row, or None for all")
        self.window = {name: list(span) for name, span in (("x", x), ("y", y)) if span is not None}
        """The part to show first."""
        self.group = group or next(iter(catalogue.groups))
        self._check_group(self.group)
        self.live_models = LiveModels(catalogue)
        self.seen: tuple[Any, Any] = (None, None)
        """Columns and places of the last picture; None for all."""
        self.view = self._checked(View(**choices))
        self._arrange()

    @property
    def groups(self) -> list[str]:
        """Metrics and layers that can be chosen."""
        return [*self.catalogue.groups, *self.catalogue.pending]

    @property
    def columns(self) -> dict[str, Column]:
        """The columns of the group, by label."""
        return {column.label: column for column in self.catalogue.group(self.group)}

    @property
    def compared(self) -> tuple[Column, Column]:
        """Numerator and denominator."""
        columns = self.columns
        return columns[self.view.numerator], columns[self.view.denominator]

    def _check_group(self, group: str) -> None:
        if group not in self.groups:
            raise unknown("errors_of", group, self.groups)

    def _checked(self, view: View) -> View:
        """The view with a numerator and a denominator. Raises ParameterError for a choice that is not available."""
        columns, (numerator, denominator) = self.columns, self._default_columns(view)
        view = replace(view, numerator=numerator, denominator=denominator)
        for name in ("numerator", "denominator"):
            if getattr(view, name) not in columns:
                raise unknown(name, getattr(view, name), list(columns))
        if view.order in BY_VALUE and self.catalogue.row_values(view.order) is None:
            parameter = BY_VALUE[view.order]
            raise ParameterError(
                f"order={view.order!r} needs {parameter}, which these errors come without: pass {parameter}=…, "
                "or take another order."
            )
        if view.answers not in self._answer_masks:
            hint = "" if len(self._answer_masks) > 1 else "Pass evaluations=… ."
            raise unknown("answers", view.answers, self._answer_masks, hint)
        return view

    def _default_columns(self, view: View) -> tuple[str, str]:
        """The view's numerator and denominator; by default prompt over RAC, else the first over the last of one file."""
        columns = self.columns
        sources = [label for label in columns if label != DENSE]
        default = next((label for label in sources if columns[label].name == "prompt"), sources[0])
        numerator = view.numerator or default
        beside = [
            label
            for label in sources
            if label != numerator and numerator in columns and columns[label].pyramid is columns[numerator].pyramid
        ]
        last = (beside or [list(columns)[-1]])[-1]
        denominator = next((label for label in beside if columns[label].name == "rac"), last)
        return numerator, view.denominator or denominator

    @cached_property
    def _answer_masks(self) -> dict[str, np.ndarray]:
        return self.catalogue.rows_by_answer()

    def _arrange(self) -> None:
        """Compute sums, order and colours of the view."""
        view, (top, bottom) = self.view, self.compared
        self.sums = Sums((top.pyramid, top.name), (bottom.pyramid, bottom.name), view)
        values = self.catalogue.row_values(view.order) if view.order in BY_VALUE else None
        self.order = order_rows(self.sums, view, self._answer_masks[view.answers], values)
        self.limit = view.limit or (colour_limit(self.sums, self.order) if len(self.order) else 1.0)
        self._largest: np.ndarray | None = None
        self.seen = (None, None)
        self.version += 1

    def handle(self, request: Mapping[str, Any]) -> Answer:
        """Answer a request of a page; `ask` names the method, all else are its parameters.

        A wrong request is answered by `{"error": sentence}`, an outdated `version` by the changed view.
        """
        methods = {name: getattr(self, name) for name in ("about", "picture", "token", "jump", "choose", "load")}
        try:
            method = methods.get(str(request.get("ask")))
            if method is None:
                raise unknown("ask", request.get("ask"), methods)
            if request.get("version", self.version) != self.version and request["ask"] in ("picture", "token", "jump"):
                return {"changed": self.about()[0]}, []  # another page of this session chose another view
            return method(**{key: value for key, value in request.items() if key not in ("ask", "version")})
        except RacvizError as error:
            return {"error": str(error)}, []
        except Exception as error:  # a page without an answer waits for ever
            return {"error": message(f"{type(error).__name__}: {error}")}, []

    def about(self) -> Answer:
        """The view, the choices, and the size of the picture."""
        pyramid, view = self.catalogue.pyramid, self.view
        orders = [order for order in ORDERS if order not in BY_VALUE or self.catalogue.row_values(order) is not None]
        choices = {
            "numerator": list(self.columns), "denominator": list(self.columns), "order": orders, "align": list(ALIGNS),
            "phase": list(PHASES), "tokens": list(CLASSES) if pyramid.vocabulary else ["all"],
            "answers": list(self._answer_masks), "scale": list(SCALES), "errors_of": self.groups,
        }  # fmt: skip
        return {
            "version": self.version, "window": self.window, "notes": notes(self.catalogue, self.columns.values()),
            "view": asdict(view) | {"errors_of": self.group}, "choices": choices, "limit": self.limit, "rows": len(self.order),
            "all_rows": pyramid.rows, "columns": self.sums.columns, "origin": pyramid.origin(view.align),
            "tokens": int(pyramid.lengths[self.order].sum()),
            "unusable": pyramid.meta["unusable"], "caption": self.caption(), "line": self.line(),
            "lacking": [order for order in ORDERS if order not in orders],
        }, []  # fmt: skip

    def choose(self, **choices: Any) -> Answer:
        """Change the view; on an error the view stays.

        Parameters
        ----------
        **choices
            `errors_of`, or fields of `View`.
        """
        before = self.view, self.group
        try:
            if (group := choices.pop("errors_of", self.group)) != self.group:
                self._check_group(group)
                self.catalogue.group(group)
                self.group = group
                labels = {name: getattr(self.view, name) for name in ("numerator", "denominator")}
                choices = {name: label if label in self.columns else "" for name, label in labels.items()} | choices
            self.view = self._checked(replace(self.view, **choices))
            self._arrange()
        except BaseException:
            self.view, self.group = before
            raise
        return self.about()

    def picture(self, x: list[float], y: list[float], pixels: list[int]) -> Answer:
        """Bins of a part of the errors.

        Parameters
        ----------
        x, y : list of float
            First and last column, first and last row in order.
        pixels : list of int
            The most bins across and down.

        Returns
        -------
        Answer
            The ratios as float32 [rows, columns] with the codes of `view`, and the curve as float32 [columns].
        """
        check(all(np.isfinite(edge) for edge in (*x, *y)), "x and y", [x, y], "numbers")
        across, down = (int(min(max(1, size), PIXELS)) for size in pixels)
        self.seen = tuple(x), tuple(y)
        part = picture(self.sums, self.order, tuple(x), tuple(y), (across, down))
        rows = part.problems[:: part.group]
        named = len(rows) <= 60 and part.group == 1
        return {
            "shape": list(part.ratio.shape), "start": part.start, "width": part.width, "first": part.first, "group": part.group,
            "boundary": self.boundaries(rows), "problems": [self.catalogue.rows[row] for row in rows] if named else [],
        }, [part.ratio.tobytes(), part.curve.astype(np.float32).tobytes()]  # fmt: skip

    def boundaries(self, rows: np.ndarray) -> list[int]:
        """The columns at which the thoughts of rows begin."""
        pyramid = self.catalogue.pyramid
        aligned = self.view.align == "boundary"
        return [pyramid.origin("boundary")] * len(rows) if aligned else pyramid.t_in[rows].tolist()

    def token(self, place: int, column: int, live: bool = True) -> Answer:
        """A token and the text around it; `{"nothing": True}` if there is no token.

        Parameters
        ----------
        place : int
            The row, as a place in the order.
        column : int
        live : bool
            Ask the models for their next tokens.
        """
        if not len(self.order):
            raise ParameterError("no problem is left by the filter by answers; take it away.")
        check(isinstance(place, int) and 0 <= place < len(self.order), "place", place, f"0 to {len(self.order) - 1}")
        row = int(self.order[place])
        position = int(column) - int(self.sums.offsets[row])
        if not 0 <= position < self.catalogue.pyramid.lengths[row]:
            return {"nothing": True}, []
        return self._token_data(place, row, position, live), []

    def _token_data(self, place: int, row: int, position: int, live: bool) -> dict[str, Any]:
        """Text, errors, problem, answers and next tokens at a position of a row."""
        pyramid, begin = self.catalogue.pyramid, int(self.sums.offsets[row])
        first, last = max(0, position - AROUND), min(int(pyramid.lengths[row]), position + AROUND + 1)
        unfiltered = Sums(self.sums.top, self.sums.bottom, replace(self.view, phase="all", tokens="all"))
        top, bottom, tokens, unusable = unfiltered(0, np.array([row]), first + begin, last + begin)  # [1, last - first]
        at = position - first
        return {
            "place": place, "column": position + begin, "position": position, "problem": self.catalogue.rows[row],
            "length": int(pyramid.lengths[row]), "t_in": int(pyramid.t_in[row]), "from": first,
            "texts": pyramid.texts(row, first, last),
            "ratios": [_number(value) for value in ratios(top, bottom, tokens, unusable)[0]], "at": at,
            "numerator": _number(top[0, at]), "denominator": _number(bottom[0, at]),
            **self.catalogue.question(row), "answers": self.catalogue.answers(row),
            "live": self._next_tokens(row, position) if live else {"reason": "not asked for"},
        }  # fmt: skip

    def _next_tokens(self, row: int, position: int) -> dict[str, Any]:
        ids = np.asarray(self.catalogue.pyramid.ids[row][: position + 1])
        return self.live_models.answer(["dense", self.view.numerator, self.view.denominator], ids)

    def load(self) -> Answer:
        """Allow loading models from now on, even if they must be pruned first."""
        self.catalogue.autoload = self.catalogue.may_prune = True
        return {}, []

    def jump(self, number: int = 0, live: bool = True) -> Answer:
        """The token with the number-th largest error of the numerator, from 0 on, among those that the filters keep."""
        if self._largest is None:
            self._largest = self._largest_errors()
        if not len(self._largest):
            raise ParameterError("there is no token that is shown and has an error; take away a filter.")
        jumps, jump = len(self._largest), int(number) % len(self._largest)
        place, column = self._largest[jump]
        row = int(self.order[place])
        token = self._token_data(int(place), row, int(column - self.sums.offsets[row]), live)
        return token | {"jump": jump, "jumps": jumps}, []

    def _largest_errors(self) -> np.ndarray:
        """`[n, 2]`: places and columns of the largest errors, in falling order."""
        columns, parts = self.sums.columns, []
        for low in range(0, len(self.order), 64):
            top, _, tokens, unusable = self.sums(0, self.order[low : low + 64], 0, columns)
            errors = np.where((tokens > 0) & (unusable == 0), top, -1).ravel()  # [64 * columns]
            count = min(MOST_JUMPS, errors.size)
            largest = np.argpartition(errors, -count)[-count:]
            parts.append((errors[largest], largest // columns + low, largest % columns))
        values, places, positions = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else (np.zeros(0),) * 3
        falling = np.argsort(-values, kind="stable")[:MOST_JUMPS]
        falling = falling[values[falling] > 0]
        return np.stack([places[falling], positions[falling]], axis=1).astype(int)

    def caption(self) -> str:
        """Caption: provenance shared by both errors, then what differs."""
        return caption(*self.compared, self.group, len(self.order))

    def line(self) -> str:
        """The line of Python that opens this view."""
        x, y = self.seen
        seen = {"x": (x, self.sums.columns), "y": (y, len(self.order))}
        return python_line(self.catalogue, self.view, self.group, seen)


def _number(value: float) -> float | None:
    """The value for JSON; None if it is not finite."""
    return float(value) if np.isfinite(value) else None
