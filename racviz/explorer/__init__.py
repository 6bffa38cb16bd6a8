"""The heatmap at full size: zoom, pan, filter, and read every token, in a notebook, in a browser, or on a page that stands alone."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from racviz.exceptions import unknown
from racviz.explorer.export import page, save, selection
from racviz.explorer.runs import Runs, open_runs
from racviz.explorer.session import Session
from racviz.printable import shown

__all__ = ["Explorer", "Runs", "Session", "explore"]

EXPORTED = 60_000
"""Bins of the page that a notebook's output carries for its export; of larger errors they are coarser."""
STATIC = "RACVIZ_STATIC"
"""Set in the kernels of reports, whose pages have no kernel behind them."""


class Explorer:
    """What `explore` returns: shown by a notebook as a widget, by a page or a script as the static figure."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._widget: Any = None

    @property
    def widget(self):
        """The anywidget that shows the session."""
        if self._widget is None:
            from racviz.explorer.widget import ExplorerWidget

            self._widget = ExplorerWidget(self.session)
        return self._widget

    def figure(self):
        """The static heatmap of the same two errors, as a plotly figure. Raises ParameterError where they are of two runs."""
        from racviz.explorer.static_figure import static_figure

        return static_figure(self.session)

    def selection(self):
        """The tokens that are seen, as a frame: those of the filters, in the part that is zoomed into."""
        return selection(self.session, *self.session.seen)

    def save(self, path: str | Path) -> Path:
        """Write what is seen to a .html that opens offline with pan, zoom and hover, a .png or .svg (by an installed browser), or as
        tokens to a .csv or .parquet; returns the path. Raises ParameterError for another ending, StorageError where no browser is."""
        return save(self.session, path, *self.session.seen)

    @property
    def line(self) -> str:
        """The Python that opens what is seen."""
        return self.session.line()

    def __repr__(self) -> str:
        about = self.session.about()[0]
        return (
            f"Explorer(e({shown(about['view']['numerator'])}) / e({shown(about['view']['denominator'])}), {about['rows']} problems, "
            f"{about['tokens']:,} tokens; .figure() is the static picture, .save('page.html') one that opens offline)"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The widget; for where there is no kernel behind it, the static figure (a report) or a page within the page (an export)."""
        if os.environ.get(STATIC):
            return self.figure()._repr_mimebundle_() or {"text/plain": repr(self)}
        shown = self.widget._repr_mimebundle_()
        bundle = (shown[0] if isinstance(shown, tuple) else shown) or {}
        alone = html.escape(page(self.session, cells=EXPORTED))
        how = 'title="explorer" style="width:100%;height:720px;border:0" sandbox="allow-scripts allow-downloads"'
        frame = f'<iframe {how} srcdoc="{alone}"></iframe>'
        return {
            "text/plain": repr(self),
            "text/html": frame,
            **{key: value for key, value in bundle.items() if key != "text/plain"},
        }


def explore(
    errors: Any, *, models: Mapping[str, Any] | None = None, problems: Sequence[Any] | None = None, evaluations: Any = None,
    model: str | Path | None = None, errors_of: str = "", x: Sequence[float] | None = None, y: Sequence[float] | None = None, **view: Any,
) -> Explorer:  # fmt: skip
    """Open the explorer on tokenwise errors: a heatmap with zoom and pan over any size, and every token to be read.

    errors: a run's folder, a file of errors, `ReconstructionErrors`, a `Study`, or a mapping of names to several of them along the same
    rollouts. models: by name, `dense` and those of the sources, or functions that load them: what they say next is shown at a chosen
    token. problems, evaluations (a row a sample: source, problem_id, correct, and sparsity and answer where they are known): to sort and
    filter by. model: the model that a run pruned (a path or an id), where it is not an embedded one: a folder may come from anybody,
    so that a model which its manifest names is not loaded. errors_of: which of several metrics and layers is shown first. Of the view:
    numerator, denominator, order (`given`, `prompt length`, `length`, `mean ratio`, `cluster`, `difficulty`, `accuracy`), align
    (`start`, `boundary`), phase, tokens (a class), answers, scale (`log ratio`, `ratio`), limit; x, y: the columns and rows that are
    shown first.

    The pyramid of a file is made beside it once. Raises ParameterError for a choice that there is not, DataError for errors along other
    rollouts than the first, and for what is no errors.
    """
    names = ("numerator", "denominator", "order", "align", "phase", "tokens", "answers", "scale", "limit")
    for name in view:
        if name not in names:
            raise unknown("parameter", name, (*names, "models", "model", "problems", "evaluations", "errors_of", "x", "y"))
    return Explorer(Session(open_runs(errors, models, problems, evaluations, model), errors_of, x, y, **view))
