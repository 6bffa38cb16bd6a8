"""Still thinking after t tokens: right and wrong answers apart."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.figures.theme import caption, empty, finish, label_from, legend_name, panels, source_colour, source_order
from racviz.statistics import survival


def thinking_curves(evaluations: pd.DataFrame) -> go.Figure:
    """A panel a sparsity: the share of thoughts that go on after t tokens, by source; solid where the answer is right in the end, dotted
    where it is wrong. A curve that does not come down was cut off."""
    title = "Still thinking after t tokens"
    if evaluations.empty:
        return empty(title, "The evaluations have no row.")
    table = survival(evaluations)
    dense = table["source"] == "dense"
    sparsities = sorted(table.loc[~dense, "sparsity"].unique()) or [0.0]
    figure = make_subplots(rows=1, cols=len(sparsities), shared_yaxes=True, horizontal_spacing=0.03,
                           subplot_titles=[f"{100 * s:.3g} % sparsity" if s else "dense" for s in sparsities])  # fmt: skip
    seen: set[tuple[str, bool]] = set()
    for column, sparsity in enumerate(sparsities, 1):
        here = table[dense | np.isclose(table["sparsity"].astype(float), sparsity)]
        for source in source_order(here["source"]):
            for correct in (True, False):
                rows = here[(here["source"] == source) & (here["correct"] == correct)]
                if rows.empty:
                    continue
                name = f"{legend_name(source)}, {'right' if correct else 'wrong'}"
                n = int(rows["n"].iloc[0])
                line = {"color": source_colour(source), "width": 2.4 if correct else 1.8, "shape": "hv"}
                line["dash"] = "solid" if correct else "dot"
                figure.add_scatter(
                    x=rows["tokens"], y=100 * rows["thinking"], mode="lines", name=name, legendgroup=name, row=1, col=column,
                    line=line,
                    showlegend=(source, correct) not in seen,
                    hovertemplate=f"%{{y:.0f}} % of {n} go on after %{{x:.0f}} tokens<extra>{name}</extra>",
                )  # fmt: skip
                seen.add((source, correct))
    figure.update_yaxes(range=[-3, 103])
    figure.update_yaxes(title_text="still thinking, %", col=1)
    figure.update_xaxes(title_text="tokens of thought")
    note = "Solid: the answer was right in the end; dotted: wrong. What the budget cut off never ended: there the curve does not come down."
    label = label_from(evaluations, "budget")
    return panels(finish(figure, title, caption(label, evaluations["problem_id"].nunique(), note), height=430), 1.1)
