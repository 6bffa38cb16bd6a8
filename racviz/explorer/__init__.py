"""The heatmap at full size: zoom, pan, filter and read every token, in a notebook, a browser or an offline page."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from racviz.exceptions import unknown
from racviz.explorer.catalogue import Catalogue
from racviz.explorer.export import page, save, selection
from racviz.explorer.opening import open_catalogue
from racviz.explorer.session import Session
from racviz.printable import shown

__all__ = ["Catalogue", "Explorer", "Session", "explore"]

EXPORTED = 60_000
"""The most bins of the page in a notebook's output, which an exported notebook shows."""
STATIC = "RACVIZ_STATIC"
"""The variable that reports set in their kernels: their pages show the static figure."""


class Explorer:
    """An open explorer: a widget in a notebook, the static figure on a page or in a script.

    Made by `explore`.

    Attributes
    ----------
    session : Session
        The state behind the widget.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> train = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=train, tokens=1024)
    >>> sparsities = {"0.3": 0.3, "0.6": 0.6}
    >>> pruned = {k: rv.prune(dense, prompt, sparsity=s, progress=False) for k, s in sparsities.items()}
    >>> test = rv.load_problems("arithmetic", split="test", limit=2)
    >>> greedy = rv.Sampling(max_new_tokens=16, temperature=0.0)
    >>> rollouts = rv.generate_traces(dense, test, greedy, progress=False)
    >>> errors = rv.reconstruction_errors(dense, pruned, rollouts, progress=False)
    >>> explorer = rv.explore(errors)
    >>> explorer.save("tokens.csv").name
    'tokens.csv'
    >>> len(explorer.selection()) == len(errors.frame)
    True
    """

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
        """The static heatmap of the same two errors, as a plotly figure."""
        from racviz.explorer.static_figure import static_figure

        return static_figure(self.session)

    def selection(self):
        """The tokens in sight that the filters keep, as a data frame."""
        return selection(self.session, *self.session.seen)

    def save(self, path: str | Path) -> Path:
        """Write the part in sight to a file, and return its path.

        Parameters
        ----------
        path : path
            .html (offline, with pan, zoom and hover), .png or .svg (by an installed browser), .csv or .parquet (tokens).

        Raises
        ------
        ParameterError
            For another ending.
        StorageError
            If a picture needs a browser and there is none.
        """
        return save(self.session, path, *self.session.seen)

    @property
    def line(self) -> str:
        """The line of Python that opens this view."""
        return self.session.line()

    def __repr__(self) -> str:
        about = self.session.about()[0]
        return (
            f"Explorer(e({shown(about['view']['numerator'])}) / e({shown(about['view']['denominator'])}), {about['rows']} problems, "
            f"{about['tokens']:,} tokens; .figure() is the static picture, .save('page.html') one that opens offline)"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The widget, with a page in a frame for exported notebooks; in a report the static figure."""
        if os.environ.get(STATIC):
            return self.figure()._repr_mimebundle_() or {"text/plain": repr(self)}
        bundle = self.widget._repr_mimebundle_()
        bundle = (bundle[0] if isinstance(bundle, tuple) else bundle) or {}
        content = html.escape(page(self.session, cells=EXPORTED))
        attributes = 'title="explorer" style="width:100%;height:720px;border:0" sandbox="allow-scripts allow-downloads"'
        frame = f'<iframe {attributes} srcdoc="{content}"></iframe>'
        return {
            "text/plain": repr(self),
            "text/html": frame,
            **{key: value for key, value in bundle.items() if key != "text/plain"},
        }


def explore(
    errors: Any, *, models: Mapping[str, Any] | None = None, problems: Sequence[Any] | None = None, evaluations: Any = None,
    model: str | Path | None = None, errors_of: str = "", x: Sequence[float] | None = None, y: Sequence[float] | None = None, **view: Any,
) -> Explorer:  # fmt: skip
    """Open the explorer on tokenwise errors: a heatmap of any size, and every token to read.

    The cache of a file's sums is built beside it once.

    Parameters
    ----------
    errors : path, ReconstructionErrors, pandas.DataFrame, Study or mapping
        A run's folder, a file of errors, errors in memory, a `Study`, or a mapping of names to
        several of them along the same rollouts.
    models : mapping of str to LoadedModel or callable, optional
        `dense` and the sources' models by name, or functions that load them: their next tokens
        are shown at a chosen token.
    problems : sequence of Problem, optional
        To sort by difficulty and to show the question.
    evaluations : pandas.DataFrame or Evaluation, optional
        A row a sample (source, problem_id, correct, and sparsity and answer if known), to sort and
        filter by.
    model : str or Path, optional
        The dense model of a run, if it is not embedded. A folder may come from anybody, so a model
        that its manifest names is not loaded.
    errors_of : str, default ""
        The metric and layer to show first, where there are several.
    x, y : pair of float, optional
        Columns and rows to show first.
    **view
        numerator, denominator, order (`given`, `prompt length`, `length`, `mean ratio`, `cluster`,
        `difficulty`, `accuracy`), align (`start`, `boundary`), phase, tokens (a class), answers,
        scale (`log ratio`, `ratio`), limit.

    Returns
    -------
    Explorer
        Shown by a notebook as a widget.

    Raises
    ------
    ParameterError
        For an unknown choice.
    DataError
        For errors along different rollouts, and for anything but errors.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> train = rv.load_problems("arithmetic", split="calibration", limit=60)
    >>> prompt = rv.calibration_set("prompt", dense, problems=train, tokens=1024)
    >>> sparsities = {"0.3": 0.3, "0.6": 0.6}
    >>> pruned = {k: rv.prune(dense, prompt, sparsity=s, progress=False) for k, s in sparsities.items()}
    >>> test = rv.load_problems("arithmetic", split="test", limit=2)
    >>> greedy = rv.Sampling(max_new_tokens=16, temperature=0.0)
    >>> rollouts = rv.generate_traces(dense, test, greedy, progress=False)
    >>> errors = rv.reconstruction_errors(dense, pruned, rollouts, progress=False)
    >>> explorer = rv.explore(errors, numerator="0.6", denominator="0.3", order="length")
    >>> explorer.session.about()[0]["rows"]
    2
    """
    names = ("numerator", "denominator", "order", "align", "phase", "tokens", "answers", "scale", "limit")
    for name in view:
        if name not in names:
            raise unknown("parameter", name, (*names, "models", "model", "problems", "evaluations", "errors_of", "x", "y"))
    return Explorer(Session(open_catalogue(errors, models, problems, evaluations, model), errors_of, x, y, **view))
