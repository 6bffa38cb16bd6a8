"""The explorer without a session: the heatmap of `racviz.figures` for the same two errors."""

from typing import Any

import numpy as np

from racviz.explorer.pyramid import DENSE
from racviz.explorer.session import Session

MOST = 3_000_000
"""The most tokens of a static figure; beyond them only the first problems in order are shown."""


def static_figure(session: Session) -> Any:
    """`figures.error_heatmap` of the session's numerator and denominator, with its filters, order and alignment."""
    import pandas as pd

    from racviz.explorer.export import selection
    from racviz.figures import error_heatmap
    from racviz.figures.theme import empty
    from racviz.statistics import pretty

    view, pyramid = session.view, session.catalogue.pyramid
    title = f"{pretty(view.numerator)} over {pretty(view.denominator)}"
    if not len(session.order):
        return empty(title, "No problem is left by the filters.", pyramid.meta["label"])
    many = np.cumsum(pyramid.lengths[session.order]) > MOST
    frame = selection(session, None, (0, max(1, int(np.argmax(many)))) if many.any() else None)
    if frame.empty:
        return empty(title, "No token is left by the filters.", pyramid.meta["label"])
    names = [_name(view.numerator), _name(view.denominator)]
    frame = frame.rename(columns={f"e_{view.numerator}": f"e_{names[0]}", f"e_{view.denominator}": f"e_{names[1]}"})
    label = {key: value for key, value in pyramid.meta["label"].items() if key != "calibration_tokens"}
    sort = {"prompt length": "prompt_length", "length": "length", "mean ratio": "ratio"}.get(view.order, "given")
    shown = type("Shown", (), {"frame": frame, "label": label, "to_frame": lambda self: pd.DataFrame(self.frame)})()
    return error_heatmap(shown, *names, align=view.align, sort=sort, scale="log2" if view.scale == "log ratio" else "ratio")


def _name(label: str) -> str:
    """A column's name in the figure."""
    return "dense norm" if label == DENSE else label
