"""One study at several values of one parameter, side by side."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from racviz.exceptions import ParameterError, check, unknown
from racviz.models.formats import EMBEDDED
from racviz.printable import placeless
from racviz.study import Study
from racviz.study.memory import take_from
from racviz.study.parameters import parameter_names, tell_apart
from racviz.study.steps import Steps
from racviz.study.timing import check_timing, time_cells

MEASURED = ["decode_error", "decode_low", "decode_high", "solver_seconds"]


def vary(study: Study, parameter: str, values: list, *, errors: bool = False, timing_problems: int = 0):
    """Two frames: a row a cell at every value, in the columns of results.csv, and a row a sample as `Study.evaluations`.

    Both have a column `variant`, the value as text, and the evaluations a column of the parameter. errors: the first also has
    decode_error: e_t / ‖x_dense,t‖ on decode tokens of the dense model's greedy rollouts, the median within a problem, then over problems;
    decode_low, decode_high: its quartiles over problems; and solver_seconds: what the solver took for all linears, factorisations and all.
    timing_problems: a timing pass over the first so many test problems, in the columns minutes and timed_problems, all cells interleaved.
    The first is also written to the run folder, as results.csv. What the variants share is made once.

    Raises ParameterError for a parameter that is none, no values, or one that is not allowed.
    """
    import pandas as pd

    if parameter not in parameter_names():
        raise unknown("parameter", parameter, parameter_names())
    check(isinstance(values, list | tuple) and bool(values), f"{parameter}s", values, "a list that is not empty")
    tell_apart(value for value in values if isinstance(value, str))
    check_timing(timing_problems)
    results, evaluations, before = [], [], study
    cells: list[tuple[Study, str, float]] = []
    known: set[str] = set()
    for value in dict.fromkeys(tuple(each) if isinstance(each, list) else each for each in values):
        one = variant(before, parameter, value)
        tables = [one.results(), one.evaluations()]
        if one.dense.fingerprint in known and parameter in ("method", "pattern", "thirds", "scope", "mode", "allocation"):
            tables = [table[table["source"] != "dense"] for table in tables]  # of which the first has the same
        known.add(one.dense.fingerprint)
        name = shown(value)
        cells += [(one, row.source, row.sparsity) for row in tables[0].itertuples()]
        if errors:
            measured = pd.DataFrame(
                [_measured(one, row.source, row.sparsity) for row in tables[0].itertuples()], columns=MEASURED
            )
            tables[0] = pd.concat([tables[0].reset_index(drop=True), measured.astype(float)], axis=1)
        results.append(tables[0].assign(variant=name))
        column = {} if parameter in tables[1] else {parameter: name if isinstance(value, str | tuple) else value}
        evaluations.append(tables[1].assign(variant=name, **column))
        before = one
    take_from(study, before)
    study.memory.varied[parameter] = [list(v) if isinstance(v, tuple) else v for v in values]
    return study.keep(pd.concat(results, ignore_index=True), cells, timing_problems), pd.concat(evaluations, ignore_index=True)


def time_variants(study: Study, parameter: str, values: list, timing_problems: int):
    """Minutes of a timing pass at every value: a frame with the parameter, source, sparsity, minutes, timed_problems; None for 0 problems.

    What the pass says of itself is in `frame.attrs["timing"]`.
    """
    import pandas as pd

    check_timing(timing_problems)
    if not timing_problems:
        return None
    cells = [(variant(study, parameter, value), *cell) for value in values for cell in study.cells]
    timing = time_cells(cells, timing_problems)
    frame = pd.DataFrame([[getattr(one, parameter), *cell] for one, *cell in cells], columns=[parameter, "source", "sparsity"])
    frame = frame.assign(**timing.frame)
    frame.attrs["timing"] = timing.said
    return frame


def variant(study: Study, parameter: str, value: Any) -> Study:
    """The same study with another value of one parameter; what does not depend on it is shared."""
    try:
        other = replace(study, **{parameter: value})
    except TypeError as error:
        raise ParameterError(f"{parameter} cannot be {value!r}: {error}") from error
    take_from(other, study)
    other.memory.variant = study.memory.variant | {parameter: shown(value)}
    return other


def compared_models(model: str, others: Sequence[str]) -> list[str]:
    """The model and those beside it; embedded ones only beside an embedded one."""
    tell_apart([model, *others])
    return [model, *(other for other in others if other != model and (other not in EMBEDDED or model in EMBEDDED))]


def shown(value: Any) -> str:
    """A value in a legend, without the folders of this machine."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 1000 else placeless(str(value))


def _measured(study: Steps, source: str, sparsity: float) -> dict[str, float]:
    if source == "dense":
        return {}
    frame = study.errors(sparsity).frame
    decode = frame[frame["phase"] == "decode"]
    relative = (decode[f"e_{source}"] / decode["norm_dense"]).groupby(decode["problem_id"]).median()
    low, middle, high = relative.quantile([0.25, 0.5, 0.75])
    seconds = study.prune(source, sparsity).report["seconds"].sum()
    return {"decode_error": middle, "decode_low": low, "decode_high": high, "solver_seconds": float(seconds)}
