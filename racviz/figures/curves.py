"""Small multiples of lines against one axis: sparsity, decode budget, calibration tokens; measured solid, published dashed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from racviz.exceptions import DataError
from racviz.figures.theme import (
    INK,
    caption,
    empty,
    finish,
    label_from,
    legend_name,
    panels,
    rgba,
    short_name,
    source_colour,
    source_order,
    source_symbol,
)
from racviz.statistics import accuracy_table

ACCURACY, TOKENS, MINUTES = "accuracy, %", "tokens a problem", "minutes"


def sparsity_curves(evaluations: pd.DataFrame, published: pd.DataFrame | None = None) -> go.Figure:
    """Accuracy above, runtime below, a column a model: measured ones first, then those of the paper, dashed, with their minutes.

    evaluations: a row a sample, with `model`. published: of `racviz.published("math")`.
    """
    title = "Accuracy and runtime against sparsity"
    if evaluations.empty:
        return empty(title, "The evaluations have no row.")
    table = accuracy_table(evaluations).rename(columns={"tokens a sample": TOKENS})
    columns = [(short_name(model), part, True) for model, part in table.groupby("model", sort=False)]
    if published is not None:
        theirs = published.rename(columns={"minutes": MINUTES}).assign(**{ACCURACY: 100 * published["accuracy"]})
        theirs["SE"] = 100 * published["se"] if "se" in published else np.nan
        columns += [(f"{model},<br>published", part, False) for model, part in theirs.groupby("model", sort=False)]
    figure = make_subplots(
        rows=2, cols=len(columns), vertical_spacing=0.13, horizontal_spacing=min(0.07, 0.2 / len(columns)),
        column_titles=[name for name, _, _ in columns],
    )  # fmt: skip
    seen: set[str] = set()
    for column, (_, part, measured) in enumerate(columns, 1):
        runtime = TOKENS if measured else MINUTES
        for row, value in ((1, ACCURACY), (2, runtime)):
            _draw(figure, part, 100 * part["sparsity"].astype(float), value, row, column, seen, dashed=not measured)
        first_of_kind = column == 1 or (not measured and columns[column - 2][2])
        figure.update_yaxes(title_text=runtime if first_of_kind else None, rangemode="tozero", row=2, col=column)
        figure.update_xaxes(
            title_text="sparsity, %", tickvals=sorted(set(100 * part["sparsity"]) - {0.0}), tickformat="~g", row=2, col=column
        )
        figure.update_xaxes(tickvals=sorted(set(100 * part["sparsity"]) - {0.0}), tickformat="~g", row=1, col=column)
    figure.update_yaxes(range=[-3, 103], row=1)
    figure.update_yaxes(title_text=ACCURACY, row=1, col=1)
    notes = "Bars: SE over problems. Level: the dense model."
    if published is not None:
        benchmark = ", ".join(dict.fromkeys(published["benchmark"])) if "benchmark" in published else "MATH-500"
        notes += f"\nDashed: as the paper prints it ({benchmark}; generic is C4 there; below: the authors' minutes)."
    label = label_from(evaluations, "budget")
    figure = finish(figure, title, caption(label, evaluations["problem_id"].nunique(), notes), height=600)
    figure = panels(figure, 1.13).update_layout(margin_t=120)
    if len(columns) > 4:  # narrow panels
        figure.update_annotations(selector={"yanchor": "bottom"}, font_size=max(8, 16 - len(columns)))
    return figure


def budget_curves(evaluations: pd.DataFrame) -> go.Figure:
    """Accuracy and tokens against the decode budget, a column a sparsity. evaluations: of `within_budgets`."""
    title = "Accuracy under decode budgets"
    if evaluations.empty:
        return empty(title, "The evaluations have no row.")
    dense = evaluations[evaluations["source"] == "dense"]
    parts = {
        f"{100 * sparsity:.3g} % sparsity": accuracy_table(pd.concat([dense.assign(sparsity=sparsity), part]), by=("budget",))
        for sparsity, part in evaluations[evaluations["source"] != "dense"].groupby("sparsity")
    }
    figure = _multiples(parts, "budget", {"accuracy, %": ACCURACY, "tokens a sample": TOKENS}, "decode budget, tokens")
    note = "The same answers, cut at each budget: one that was not there by then is wrong. Bars: SE over problems."
    label = label_from(evaluations, "budget")
    return panels(finish(figure, title, caption(label, evaluations["problem_id"].nunique(), note), height=560), 1.07)


def calibration_curves(results: pd.DataFrame, x: str, title: str, axis: str) -> go.Figure:
    """Accuracy and decode error against `x`, a column of the results; a panel a sparsity, a line a source.

    results: of `vary(…, errors=True)`.
    """
    if missing := [column for column in (x, "accuracy", "se", "decode_error", "source", "sparsity") if column not in results]:
        raise DataError(f"results must have the columns of vary(…, errors=True) and {x!r}; there is no {', '.join(missing)}.")
    pruned = results[results["source"] != "dense"]
    if pruned.empty:
        return empty(title, "There is no pruned model.")
    frame = pruned.assign(**{"accuracy, %": 100 * pruned["accuracy"], "SE": 100 * pruned["se"]})
    parts = {f"{100 * sparsity:.3g} % sparsity": part for sparsity, part in frame.groupby("sparsity")}
    figure = _multiples(parts, x, {"accuracy, %": ACCURACY, "decode_error": "error on decode tokens"}, axis, log=True)
    level = 100 * results.loc[results["source"] == "dense", "accuracy"].mean()
    if np.isfinite(level):
        figure.add_hline(y=level, line={"color": INK, "width": 1.5, "dash": "dash"}, row=1, col="all")
    note = (
        "Bars: SE over problems. Dashed: the dense model. Error: e_t / ‖x_dense,t‖ on decode tokens of its greedy rollouts, the median "
        "within a problem, then over problems."
    )
    label = label_from(results, "budget", x)
    return panels(finish(figure, title, caption(label, int(results["problems"].max()), note), height=560), 1.07)


def seed_dots(evaluations: pd.DataFrame) -> go.Figure:
    """Accuracy of each seed, a dot each, by source and sparsity; the bar is their mean."""
    title = "Accuracy, seed by seed"
    if evaluations.empty:
        return empty(title, "The evaluations have no row.")
    table = accuracy_table(evaluations, by=("seed",))
    dense = table[table["source"] == "dense"]
    sparsities = sorted(table.loc[table["source"] != "dense", "sparsity"].unique())
    figure = make_subplots(rows=1, cols=max(1, len(sparsities)), shared_yaxes=True, horizontal_spacing=0.03,
                           subplot_titles=[f"{100 * sparsity:.3g} % sparsity" for sparsity in sparsities])  # fmt: skip
    for column, sparsity in enumerate(sparsities, 1):
        here = pd.concat([dense, table[np.isclose(table["sparsity"], sparsity) & (table["source"] != "dense")]])
        for source in source_order(here["source"]):
            rows = here[here["source"] == source]
            name = legend_name(source)
            figure.add_scatter(
                x=[name] * len(rows), y=rows[ACCURACY], mode="markers", showlegend=False, row=1, col=column,
                marker={"size": 10, "color": rgba(source_colour(source), 0.65), "symbol": source_symbol(source)},
                error_y={"type": "data", "array": rows["SE"], "thickness": 1, "width": 3}, customdata=rows["seed"],
                hovertemplate="seed %{customdata}: <b>%{y:.1f} %</b><extra>" + name + "</extra>",
            )  # fmt: skip
            figure.add_scatter(
                x=[name], y=[rows[ACCURACY].mean()], mode="markers", showlegend=False, hoverinfo="skip", row=1, col=column,
                marker={"symbol": "line-ew", "size": 34, "line": {"width": 3, "color": source_colour(source)}},
            )  # fmt: skip
    figure.update_yaxes(range=[-3, 103])
    figure.update_yaxes(title_text=ACCURACY, col=1)
    note = "A mark a seed (of traces, calibration sets and answers); bars: SE over problems of that seed; strokes: means."
    return panels(
        finish(figure, title, caption(label_from(evaluations), evaluations["problem_id"].nunique(), note), height=430), 1.07
    )


def _multiples(parts: Mapping[str, pd.DataFrame], x: str, rows: Mapping[str, str], axis: str, log: bool = True) -> go.Figure:
    """A column a part, a row a value, a line a source."""
    figure = make_subplots(
        rows=len(rows),
        cols=len(parts),
        vertical_spacing=0.13,
        horizontal_spacing=0.06,
        column_titles=list(parts),
        shared_yaxes="rows",
    )
    seen: set[str] = set()
    for column, part in enumerate(parts.values(), 1):
        for row, value in enumerate(rows, 1):
            _draw(figure, part, part[x].astype(float), value, row, column, seen)
        ticks = sorted(part[x].astype(float).unique())
        figure.update_xaxes(
            type="log" if log else "linear", tickvals=ticks, ticktext=[f"{tick:,.0f}" for tick in ticks], col=column
        )
        figure.update_xaxes(title_text=axis, row=len(rows), col=column)
    for row, (value, name) in enumerate(rows.items(), 1):
        figure.update_yaxes(title_text=name, row=row, col=1)
        figure.update_yaxes(**({"range": [-3, 103]} if value == ACCURACY else {"rangemode": "tozero"}), row=row)
    return figure


def _draw(
    figure: go.Figure, part: pd.DataFrame, x: pd.Series, value: str, row: int, column: int, seen: set[str], dashed: bool = False
) -> None:
    """Lines of one panel: a source each; the dense model as a level where it stands at one place."""
    for source in sorted(
        source_order(part["source"]), key="dense".__eq__
    ):  # its level last: plotly draws none into an empty panel
        chosen = (part["source"] == source) & part[value].notna()
        if not chosen.any():
            continue
        rows, at = part[chosen], x[chosen]
        order = np.argsort(at.to_numpy(), kind="stable")
        if source == "dense" and at.nunique() == 1:
            figure.add_hline(y=rows[value].mean(), line={"color": INK, "width": 1.5, "dash": "dash"}, row=row, col=column)
            continue
        name, bars = legend_name(source), {}
        if value == ACCURACY and rows["SE"].notna().any():
            bars = {"error_y": {"type": "data", "array": rows["SE"].to_numpy()[order], "thickness": 1.3, "width": 4}}
        line: dict[str, Any] = {"color": source_colour(source), "width": 2.2, "dash": "dash" if dashed else "solid"}
        figure.add_scatter(
            x=at.to_numpy()[order], y=rows[value].to_numpy()[order], mode="lines+markers", line=line, name=name, legendgroup=source,
            marker={"size": 8, "symbol": source_symbol(source) + ("-open" if dashed else "")}, showlegend=source not in seen,
            hovertemplate="%{x:~g}: <b>%{y:.4~g}</b><extra>" + name + "</extra>", **bars, row=row, col=column,
        )  # fmt: skip
        seen.add(source)
