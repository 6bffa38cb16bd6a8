"""The explorer's side that knows the numbers: requests in, plain data and arrays out; a notebook, a server and an export share it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from racviz.exceptions import NotInStore, ParameterError, RacvizError, check, unknown
from racviz.explorer.at_token import at_token
from racviz.explorer.columns import label_words
from racviz.explorer.pyramid import DENSE
from racviz.explorer.runs import Column, Runs, problem_of, row_values
from racviz.explorer.view import (
    ALIGNS,
    CLASSES,
    ORDERS,
    PHASES,
    SCALES,
    Layers,
    View,
    colour_limit,
    order_rows,
    picture,
    ratios,
)
from racviz.printable import message, shown

AROUND = 150
"""Tokens shown on each side of the chosen one."""
MOST_JUMPS = 500
PIXELS = 4096

Answer = tuple[dict[str, Any], list[bytes]]


class Session:
    """State of one explorer. `handle` answers its requests; every answer is JSON-ready data and a list of arrays' bytes."""

    def __init__(
        self, runs: Runs, group: str = "", x: Sequence[float] | None = None, y: Sequence[float] | None = None, **choices: Any
    ) -> None:
        self.runs, self.version = runs, 0
        for name, span in (("x", x), ("y", y)):
            ok = span is None or (len(span) == 2 and all(np.isfinite(edge) for edge in span) and span[0] < span[1])
            check(ok, name, span, "two numbers, the first and the last column or row, or None for all")
        self.window = {name: list(span) for name, span in (("x", x), ("y", y)) if span is not None}
        """The part that is shown first."""
        self.group = group or next(iter(runs.groups))
        if self.group not in (*runs.groups, *runs.pending):
            raise unknown("errors_of", self.group, [*runs.groups, *runs.pending])
        self._loaded: dict[str, Any] = {}
        self.seen: tuple[Any, Any] = (None, None)
        """The columns and places of the last picture; None where all is seen."""
        self.view = self._checked(View(**choices))
        self._arrange()

    @property
    def columns(self) -> dict[str, Column]:
        return {column.label: column for column in self.runs.group(self.group)}

    def _checked(self, view: View) -> View:
        """The view with columns that there are."""
        labels = list(self.columns)
        given = [label for label in labels if label != DENSE]
        first = view.numerator or next((label for label in given if self.columns[label].name == "prompt"), given[0])
        beside = [
            each
            for each in given
            if each != first and first in labels and self.columns[each].pyramid is self.columns[first].pyramid
        ]
        second = next((each for each in beside if self.columns[each].name == "rac"), (beside or [labels[-1]])[-1])
        view = replace(view, numerator=first, denominator=view.denominator or second)
        for name in ("numerator", "denominator"):
            if getattr(view, name) not in labels:
                raise unknown(name, getattr(view, name), labels)
        if view.order in ("difficulty", "accuracy") and row_values(self.runs, view.order) is None:
            raise ParameterError(
                f"order={view.order!r} needs {'problems' if view.order == 'difficulty' else 'evaluations'}, which these errors come "
                f"without: pass {'problems' if view.order == 'difficulty' else 'evaluations'}=…, or take another order."
            )
        if view.answers not in self._answers:
            raise unknown("answers", view.answers, self._answers, "" if len(self._answers) > 1 else "Pass evaluations=… .")
        return view

    @cached_property
    def _answers(self) -> dict[str, np.ndarray]:
        """Rows by what was answered: `all`, and for each model those that it got right and wrong."""
        rows = self.runs.pyramid.meta["problems"]
        found, frame = {"all": np.ones(len(rows), dtype=bool)}, self.runs.evaluations
        if frame is None:
            return found
        by = frame.assign(sparsity=frame["sparsity"] if "sparsity" in frame else np.nan).groupby(
            ["source", "sparsity"], sort=False, dropna=False
        )
        for (source, sparsity), cell in by:
            samples = cell["sample"] if "sample" in cell else np.zeros(len(cell), dtype=int)
            right = dict(zip(zip(cell["problem_id"], samples, strict=True), cell["correct"], strict=True))
            known = set(cell["problem_id"])
            each = [right.get(problem_of(name, known)) for name in rows]
            label = source if source == "dense" or sparsity != sparsity else f"{source}, {100 * sparsity:.3g} %"
            for word, says in (("right", True), ("wrong", False)):
                found[f"{label}: {word}"] = np.array([one is not None and bool(one) == says for one in each], dtype=bool)
        return found

    def _arrange(self) -> None:
        """Prepare the rows and sums that the view needs before it is drawn."""
        top, bottom = (self.columns[label] for label in (self.view.numerator, self.view.denominator))
        self.layers = Layers((top.pyramid, top.name), (bottom.pyramid, bottom.name), self.view)
        keep = self._answers[self.view.answers]
        known = (
            {self.view.order: row_values(self.runs, self.view.order)} if self.view.order in ("difficulty", "accuracy") else {}
        )
        self.order = order_rows(self.layers, self.view, keep, known)
        self.limit = self.view.limit or (colour_limit(self.layers, self.order) if len(self.order) else 1.0)
        self._largest: np.ndarray | None = None
        self.seen = (None, None)
        self.version += 1

    def handle(self, request: Mapping[str, Any]) -> Answer:
        """The answer to a request by its `ask`: what there is, a picture, a token, the next large error, another view.

        What is asked wrongly is answered by `{"error": sentence}`.
        """
        asks = {name: getattr(self, name) for name in ("about", "picture", "token", "jump", "choose", "load")}
        try:
            ask = asks.get(str(request.get("ask")))
            if ask is None:
                raise unknown("ask", request.get("ask"), asks)
            if request.get("version", self.version) != self.version and request["ask"] in ("picture", "token", "jump"):
                return {"changed": self.about()[0]}, []  # another face of this session chose something else
            return ask(**{key: value for key, value in request.items() if key not in ("ask", "version")})
        except RacvizError as error:
            return {"error": str(error)}, []
        except Exception as error:  # who asked must hear something, or waits for ever
            return {"error": message(f"{type(error).__name__}: {error}")}, []

    def about(self) -> Answer:
        """The rows, the choices there are and those that are made."""
        pyramid, view = self.runs.pyramid, self.view
        orders = [
            order for order in ORDERS if order not in ("difficulty", "accuracy") or row_values(self.runs, order) is not None
        ]
        choices = {
            "numerator": list(self.columns), "denominator": list(self.columns), "order": orders, "align": list(ALIGNS),
            "phase": list(PHASES), "tokens": list(CLASSES) if pyramid.vocabulary else ["all"],
            "answers": list(self._answers), "scale": list(SCALES),
            "errors_of": [*self.runs.groups, *self.runs.pending],
        }  # fmt: skip
        return {
            "version": self.version, "window": self.window, "notes": self._notes(),
            "view": asdict(view) | {"errors_of": self.group}, "choices": choices, "limit": self.limit, "rows": len(self.order),
            "all_rows": pyramid.rows, "columns": self.layers.columns, "origin": pyramid.origin(view.align),
            "tokens": int(pyramid.lengths[self.order].sum()),
            "unusable": pyramid.meta["unusable"], "caption": self.caption(), "line": self.line(),
            "lacking": [order for order in ORDERS if order not in orders],
        }, []  # fmt: skip

    def _notes(self) -> list[str]:
        """Warnings for the viewer: hidden files, files that changed on disk, and models that are not loaded."""
        columns = {id(column.pyramid): column.pyramid for column in self.columns.values()}
        others = ", ".join(shown(name) for name in self.runs.dropped)
        notes = [f"Not shown, being along other rollouts: {others}."] if others else []
        notes += [f"Not shown, being broken: {'; '.join(self.runs.broken)}"] if self.runs.broken else []
        if any(pyramid.replaced for pyramid in columns.values()):
            notes.append("The file of errors was replaced since; what is shown is of before. Open it again for the new one.")
        notes += [f"Model not loaded: {'; '.join(self.runs.reasons)}."] if self.runs.reasons else []
        return notes

    def choose(self, **choices: Any) -> Answer:
        """Another view; what cannot be leaves the one that is."""
        before = self.view, self.group
        try:
            if (group := choices.pop("errors_of", self.group)) != self.group:
                if group not in (*self.runs.groups, *self.runs.pending):
                    raise unknown("errors_of", group, [*self.runs.groups, *self.runs.pending])
                self.runs.group(group)
                self.group = group
                labels = list(self.columns)
                kept = {name: getattr(self.view, name) for name in ("numerator", "denominator")}
                choices = {name: label if label in labels else "" for name, label in kept.items()} | choices
            self.view = self._checked(replace(self.view, **choices))
            self._arrange()
        except BaseException:
            self.view, self.group = before
            raise
        return self.about()

    def picture(self, x: list[float], y: list[float], pixels: list[int]) -> Answer:
        """Bins of a part: their ratios as float32, row by row, then the curve below; codes stand for what has no ratio (see `view`)."""
        check(all(np.isfinite(each) for each in (*x, *y)), "x and y", [x, y], "numbers")
        pixels = [int(min(max(1, each), PIXELS)) for each in pixels]
        self.seen = tuple(x), tuple(y)
        made = picture(self.layers, self.order, tuple(x), tuple(y), tuple(pixels))
        rows = made.problems[:: made.group]
        pyramid = self.runs.pyramid
        edge = np.full(len(rows), pyramid.origin("boundary")) if self.view.align == "boundary" else pyramid.t_in[rows]
        few = len(rows) <= 60
        return {
            "shape": list(made.ratio.shape), "start": made.start, "width": made.width, "first": made.first, "group": made.group,
            "boundary": edge.tolist(), "problems": [pyramid.meta["problems"][row] for row in rows] if few and made.group == 1 else [],
        }, [made.ratio.tobytes(), made.curve.astype(np.float32).tobytes()]  # fmt: skip

    def token(self, place: int, column: int, live: bool = True) -> Answer:
        """All of one token: the row at a place of the order, the text around it, both errors, what the models say next."""
        if not len(self.order):
            raise ParameterError("no problem is left by the filter by answers; take it away.")
        check(isinstance(place, int) and 0 <= place < len(self.order), "place", place, f"0 to {len(self.order) - 1}")
        row, pyramid = int(self.order[place]), self.runs.pyramid
        position = int(column) - int(self.layers.offsets[row])
        if not 0 <= position < pyramid.lengths[row]:
            return {"nothing": True}, []
        return self._at(place, row, position, live), []

    def _at(self, place: int, row: int, position: int, live: bool) -> dict[str, Any]:
        pyramid, problem = self.runs.pyramid, self.runs.pyramid.meta["problems"][row]
        low, high = max(0, position - AROUND), min(int(pyramid.lengths[row]), position + AROUND + 1)
        only = np.array([row])
        begin = int(self.layers.offsets[row])
        every = Layers(self.layers.top, self.layers.bottom, replace(self.view, phase="all", tokens="all"))
        top, bottom, tokens, bad = every(0, only, low + begin, high + begin)
        shown = ratios(top, bottom, tokens, bad)[0]
        ids = np.asarray(pyramid.ids[row])
        text = [pyramid.vocabulary.get(int(i), f"#{i}") for i in ids[low:high]]
        at = position - low
        return {
            "place": place, "column": position + begin, "position": position, "problem": problem, "length": int(pyramid.lengths[row]),
            "t_in": int(pyramid.t_in[row]), "from": low, "texts": text, "ratios": [_number(value) for value in shown], "at": at,
            "numerator": _number(top[0, at]), "denominator": _number(bottom[0, at]), **self.asked(row), "answers": self.answered(problem),
            "live": self._live(row, position) if live else {"reason": "not asked for"},
        }  # fmt: skip

    def asked(self, row: int) -> dict[str, str]:
        """The problem of a row and its right answer, as far as they are known; else the tokens of its prompt."""
        pyramid = self.runs.pyramid
        known = self.runs.problems.get(problem_of(pyramid.meta["problems"][row], self.runs.problems)[0])
        if known:
            return {"prompt": known.text, "key": known.answer}
        ids = pyramid.ids[row][: pyramid.t_in[row]]
        return {"prompt": "".join(pyramid.vocabulary.get(int(i), f"#{i}") for i in ids), "key": ""}

    def answered(self, row: str) -> list[dict[str, Any]]:
        """Each model's answer to the problem of a row, in its sample, where evaluations exist."""
        frame = self.runs.evaluations
        if frame is None:
            return []
        problem, sample = problem_of(row, set(frame["problem_id"]))
        mine = frame[(frame["problem_id"] == problem) & (frame["sample"] == sample if "sample" in frame else sample == 0)]
        found = []
        for each in mine.to_dict("records"):
            sparsity, tokens, answer = (each.get(name) for name in ("sparsity", "output_tokens", "answer"))
            of = (
                f", {100 * sparsity:.3g} %"
                if each["source"] != "dense" and sparsity is not None and sparsity == sparsity
                else ""
            )
            said = {"model": f"{each['source']}{of}", "correct": bool(each["correct"])}
            known = tokens is not None and tokens == tokens
            found.append(said | {"answer": answer if isinstance(answer, str) else "", "tokens": int(tokens) if known else None})
        return found

    def _live(self, row: int, position: int) -> dict[str, Any]:
        wanted = ["dense", self.view.numerator, self.view.denominator]
        labels = list(dict.fromkeys(label for label in wanted if label in self.runs.models))
        if "dense" not in labels:
            why = "; ".join(self.runs.reasons) or "these errors came without their models (pass models={'dense': …, …})"
            return {"reason": f"model not loaded: {why}"}
        if not self.runs.cheap and any(label not in self._loaded for label in labels):
            return {"reason": "model not loaded", "loadable": True}
        try:
            models = {label: self._model(label) for label in labels}
            ids = np.asarray(self.runs.pyramid.ids[row][: position + 1])
            return at_token(models, ids)
        except NotInStore:
            return {
                "reason": "model not loaded: it is not in the cache and has to be pruned anew, which takes minutes",
                "loadable": True,
            }
        except Exception as error:  # of whatever a model is made of; the errors themselves can still be explored
            return {"reason": message(f"model not loaded: {type(error).__name__}: {error}")}

    def _model(self, label: str) -> Any:
        if label not in self._loaded:
            self._loaded[label] = self.runs.models[label]()
        return self._loaded[label]

    def load(self) -> Answer:
        """Load the models of the view, and make those that are not in the cache; from now on without being asked."""
        self.runs.cheap = self.runs.asked = True
        return {}, []

    def jump(self, number: int = 0, live: bool = True) -> Answer:
        """The token with the number-th largest error of the numerator among those that are shown, from 0 on."""
        if self._largest is None:
            self._largest = self._find_largest()
        if not len(self._largest):
            raise ParameterError("there is no token that is shown and has an error; take away a filter.")
        place, column = self._largest[int(number) % len(self._largest)]
        row = int(self.order[place])
        found = self._at(int(place), row, int(column - self.layers.offsets[row]), live)
        return found | {"jump": int(number) % len(self._largest), "jumps": len(self._largest)}, []

    def _find_largest(self) -> np.ndarray:
        """`[n, 2]` places and columns of the largest errors."""
        best: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for low in range(0, len(self.order), 64):
            top, _, tokens, bad = self.layers(0, self.order[low : low + 64], 0, self.layers.columns)
            flat = np.where((tokens > 0) & (bad == 0), top, -1).ravel()
            most = np.argpartition(flat, -min(MOST_JUMPS, flat.size))[-min(MOST_JUMPS, flat.size) :]
            best.append((flat[most], most // self.layers.columns + low, most % self.layers.columns))
        value, place, column = (np.concatenate(each) for each in zip(*best, strict=True)) if best else (np.zeros(0),) * 3
        chosen = np.argsort(-value, kind="stable")[:MOST_JUMPS]
        chosen = chosen[value[chosen] > 0]
        return np.stack([place[chosen], column[chosen]], axis=1).astype(int)

    def caption(self) -> str:
        """Caption: provenance shared by both errors, then the differences."""
        top, bottom = (self.columns[name] for name in (self.view.numerator, self.view.denominator))
        both = [label_words(column.pyramid.meta["label"]) for column in (top, bottom)]
        shared = [part for part in both[0] if part in both[1]]
        own = [
            f"{column.label}: {', '.join(left)}"
            for column, mine in zip((top, bottom), both, strict=True)
            if (left := [part for part in mine if part not in shared])
        ]
        return " · ".join([*shared, self.group, *own, f"n = {len(self.order)} problems"])

    def line(self) -> str:
        """The Python that opens what is seen."""
        plain = View()
        chosen = {
            f.name: getattr(self.view, f.name) for f in fields(View) if getattr(self.view, f.name) != getattr(plain, f.name)
        }
        chosen |= {"errors_of": self.group} if self.group != next(iter(self.runs.groups)) else {}
        all_of = {"x": self.layers.columns, "y": len(self.order)}
        for (name, size), span in zip(all_of.items(), self.seen, strict=True):
            if span is not None and (span[0] > 0 or span[1] < size):
                chosen[name] = tuple(round(float(edge), 2) for edge in span)
        given = [f"{name}={name}" for name in self.runs.given]
        source = repr(self.runs.source) if self.runs.source else "errors"
        return f"rv.explore({', '.join([source, *given, *(f'{name}={value!r}' for name, value in chosen.items())])})"


def _number(value: float) -> float | None:
    """For JSON, which knows no NaN: None."""
    return float(value) if np.isfinite(value) else None
