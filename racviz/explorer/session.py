"""The explorer's side that knows the numbers: requests in, plain data and arrays out; a notebook, a server and an export share it."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from racviz.errors import ParameterError, RacvizError, check, unknown
from racviz.explorer.at_token import at_token
from racviz.explorer.pyramid import DENSE
from racviz.explorer.runs import Column, Runs, row_values
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

AROUND = 150
"""Tokens shown on each side of the chosen one."""
MOST_JUMPS = 500
PIXELS = 4096

Answer = tuple[dict[str, Any], list[bytes]]


class Session:
    """What one explorer shows. `handle` answers its requests; every answer is JSON-ready data and a list of arrays' bytes."""

    def __init__(self, runs: Runs, group: str = "", **choices: Any) -> None:
        self.runs = runs
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
        if view.answers not in self._answers():
            raise unknown("answers", view.answers, self._answers(), "" if len(self._answers()) > 1 else "Pass evaluations=… .")
        return view

    def _answers(self) -> dict[str, np.ndarray]:
        """Rows by what was answered: `all`, and for each model those that it got right and wrong."""
        names = [name.split(" #")[0] for name in self.runs.pyramid.meta["problems"]]
        found = {"all": np.ones(len(names), dtype=bool)}
        frame = self.runs.evaluations
        if frame is not None and {"source", "correct", "problem_id"} <= set(frame):
            by = ["source", *(["sparsity"] if "sparsity" in frame else [])]
            for cell, rows in frame.groupby(by, sort=False):
                right = rows.groupby("problem_id")["correct"].first().reindex(names)
                label = cell[0] if cell[0] == "dense" or len(cell) == 1 else f"{cell[0]}, {100 * cell[1]:.3g} %"
                found |= {f"{label}: right": (right == True).to_numpy(), f"{label}: wrong": (right == False).to_numpy()}  # noqa: E712
        return found

    def _arrange(self) -> None:
        """What the view needs before anything of it can be drawn."""
        top, bottom = (self.columns[label] for label in (self.view.numerator, self.view.denominator))
        self.layers = Layers((top.pyramid, top.name), (bottom.pyramid, bottom.name), self.view)
        keep = self._answers()[self.view.answers]
        known = (
            {self.view.order: row_values(self.runs, self.view.order)} if self.view.order in ("difficulty", "accuracy") else {}
        )
        self.order = order_rows(self.layers, self.view, keep, known)
        self.limit = self.view.limit or (colour_limit(self.layers, self.order) if len(self.order) else 1.0)
        self._largest: np.ndarray | None = None
        self.seen = (None, None)

    def handle(self, request: Mapping[str, Any]) -> Answer:
        """The answer to a request by its `ask`: what there is, a picture, a token, the next large error, another view.

        What is asked wrongly is answered by `{"error": sentence}`.
        """
        asks = {
            "about": self.about,
            "picture": self.picture,
            "token": self.token,
            "jump": self.jump,
            "choose": self.choose,
            "load": self.load,
        }
        try:
            ask = asks.get(str(request.get("ask")))
            if ask is None:
                raise unknown("ask", request.get("ask"), asks)
            return ask(**{key: value for key, value in request.items() if key not in ("ask", "number")})
        except (RacvizError, OSError, TypeError) as error:
            return {"error": str(error)}, []

    def about(self) -> Answer:
        """The rows, the choices there are and those that are made."""
        pyramid, view = self.runs.pyramid, self.view
        orders = [
            order for order in ORDERS if order not in ("difficulty", "accuracy") or row_values(self.runs, order) is not None
        ]
        choices = {
            "numerator": list(self.columns), "denominator": list(self.columns), "order": orders, "align": list(ALIGNS),
            "phase": list(PHASES), "tokens": list(CLASSES), "answers": list(self._answers()), "scale": list(SCALES),
            "errors_of": [*self.runs.groups, *self.runs.pending],
        }  # fmt: skip
        return {
            "view": asdict(view) | {"errors_of": self.group}, "choices": choices, "limit": self.limit, "rows": len(self.order),
            "all_rows": pyramid.rows, "columns": self.layers.columns, "origin": pyramid.origin(view.align),
            "tokens": int(pyramid.lengths[self.order].sum()),
            "unusable": pyramid.meta["unusable"], "caption": self.caption(), "line": self.line(),
            "lacking": [order for order in ORDERS if order not in orders],
        }, []  # fmt: skip

    def choose(self, **choices: Any) -> Answer:
        """Another view; what cannot be leaves the one that is."""
        before = self.view, self.group
        try:
            if (group := choices.pop("errors_of", self.group)) != self.group:
                self.runs.group(group)
                self.group = group
                labels = list(self.columns)
                kept = {name: getattr(self.view, name) for name in ("numerator", "denominator")}
                choices = {name: label if label in labels else "" for name, label in kept.items()} | choices
            self.view = self._checked(replace(self.view, **choices))
            self._arrange()
        except (RacvizError, OSError, TypeError, KeyError):
            self.view, self.group = before
            raise
        return self.about()

    def picture(self, x: list[float], y: list[float], pixels: list[int]) -> Answer:
        """Bins of a part: their ratios as float32, row by row, then the curve below; codes stand for what has no ratio (see `view`)."""
        check(all(np.isfinite(each) for each in (*x, *y)), "x and y", [x, y], "numbers")
        pixels = [min(max(1, int(each)), PIXELS) for each in pixels]
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
        check(0 <= place < len(self.order), "place", place, f"0 to {len(self.order) - 1}")
        row, pyramid = int(self.order[place]), self.runs.pyramid
        position = int(np.clip(int(column) - self.layers.offsets[row], 0, pyramid.lengths[row] - 1))
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
        prompt = "".join(pyramid.vocabulary.get(int(i), f"#{i}") for i in ids[: pyramid.t_in[row]])
        known = self.runs.problems.get(problem.split(" #")[0])
        at = position - low
        return {
            "place": place, "column": position + begin, "position": position, "problem": problem, "length": int(pyramid.lengths[row]),
            "t_in": int(pyramid.t_in[row]), "from": low, "texts": text, "ratios": [_number(value) for value in shown], "at": at,
            "numerator": _number(top[0, at]), "denominator": _number(bottom[0, at]), "prompt": known.text if known else prompt,
            "key": known.answer if known else "", "answers": self._answered(problem.split(" #")[0]),
            "live": self._live(row, position) if live else {"reason": "not asked for"},
        }  # fmt: skip

    def _answered(self, problem: str) -> list[dict[str, Any]]:
        """What each model answered, where evaluations are there."""
        frame = self.runs.evaluations
        if frame is None or "answer" not in frame:
            return []
        mine = frame[(frame["problem_id"] == problem) & (frame["sample"] == 0 if "sample" in frame else True)]
        return [
            {"model": row.source + (f", {100 * row.sparsity:.3g} %" if row.source != "dense" else ""), "correct": bool(row.correct),
             "answer": row.answer if isinstance(row.answer, str) else "", "tokens": int(getattr(row, "output_tokens", 0))}
            for row in mine.itertuples()
        ]  # fmt: skip

    def _live(self, row: int, position: int) -> dict[str, Any]:
        wanted = ["dense", self.view.numerator, self.view.denominator]
        labels = list(dict.fromkeys(label for label in wanted if label in self.runs.models))
        if "dense" not in labels:
            return {"reason": "model not loaded: these errors came without their models (pass models={'dense': …, …})"}
        if not self.runs.cheap and any(label not in self._loaded for label in labels):
            return {"reason": "model not loaded", "loadable": True}
        try:
            models = {label: self._model(label) for label in labels}
            ids = np.asarray(self.runs.pyramid.ids[row][: position + 1])
            return at_token(models, ids)
        except Exception as error:  # of whatever a model is made of; the errors themselves can still be explored
            return {"reason": f"model not loaded: {type(error).__name__}: {error}"}

    def _model(self, label: str) -> Any:
        if label not in self._loaded:
            self._loaded[label] = self.runs.models[label]()
        return self._loaded[label]

    def load(self) -> Answer:
        """Load the models of the view, from now on without being asked."""
        self.runs.cheap = True
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
        """What the errors are of: model, domain, and of both models what they do not share."""
        label, group = self.columns[self.view.numerator].pyramid.meta["label"], self.group
        sparsity, tokens = label.get("sparsity"), label.get("calibration_tokens")
        tokens = next(iter(tokens.values()), None) if isinstance(tokens, dict) else tokens
        parts = [
            label.get("model"),
            label.get("domain"),
            label.get("method"),
            f"{100 * sparsity:.3g} % sparsity" if isinstance(sparsity, float) else None,
        ]
        parts += [label.get("mode"), group, f"{tokens:,} calibration tokens" if isinstance(tokens, int) else None]
        parts += [f"seed {label['seed']}" if label.get("seed") is not None else None, f"n = {len(self.order)} problems"]
        return " · ".join(str(part) for part in parts if part)

    def line(self) -> str:
        """The Python that opens what is seen."""
        plain = View()
        chosen = {
            f.name: getattr(self.view, f.name) for f in fields(View) if getattr(self.view, f.name) != getattr(plain, f.name)
        }
        chosen |= {"errors_of": self.group} if self.group != next(iter(self.runs.groups)) else {}
        source = repr(self.runs.source) if self.runs.source else "errors"
        return f"rv.explore({', '.join([source, *(f'{name}={value!r}' for name, value in chosen.items())])})"


def _number(value: float) -> float | None:
    """For JSON, which knows no NaN: None."""
    return float(value) if np.isfinite(value) else None
