"""Solvers side by side: the same calibration sets, problems and seeds, pruned by each of several methods."""

import json
from dataclasses import replace

from racviz.errors import check
from racviz.store import write_text
from racviz.study import Study
from racviz.study.sharing import take_from
from racviz.study.steps import Steps

MEASURED = ["decode_error", "decode_low", "decode_high", "solver_seconds"]


def with_method(study: Study, method: str) -> Study:
    """The same study with another solver; the model, the traces, the calibration sets and their moments are shared."""
    other = replace(study, method=method)
    take_from(other, study)
    return other


def compare_solvers(study: Study, methods: list[str]):
    """Two frames: a row a cell of every method, in the columns of results.csv, and a row a sample as `Study.evaluations`.

    Beside the columns of results.csv the first has decode_error: e_t / ‖x_dense,t‖ on decode tokens of the dense model's greedy
    rollouts, the median within a problem, then over problems; decode_low, decode_high: its quartiles over problems; and
    solver_seconds: what the solver took for all linears, factorisations and all, when the model was pruned. The first is also
    written to the run folder, as results.csv.
    """
    import pandas as pd

    check(isinstance(methods, list | tuple) and bool(methods), "methods", methods, "a list of names of solvers")
    for source in study.sources:  # made once, then shared
        study.calibration(source)
    results, evaluations = [], []
    for number, method in enumerate(dict.fromkeys(methods)):
        one = with_method(study, method)
        tables = [one.results(), one.evaluations()]
        if number:  # the dense model is in the first
            tables = [table[table["source"] != "dense"] for table in tables]
        measured = pd.DataFrame([_measured(one, row.source, row.sparsity) for row in tables[0].itertuples()], columns=MEASURED)
        results.append(pd.concat([tables[0].reset_index(drop=True), measured.astype(float)], axis=1))
        evaluations.append(tables[1])
        take_from(study, one)
    table = pd.concat(results, ignore_index=True)
    write_text(study.folder / "results.csv", table.to_csv(index=False))
    manifest = study.manifest()
    manifest["parameters"] |= {"method": list(dict.fromkeys(methods))}
    write_text(study.folder / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))
    return table, pd.concat(evaluations, ignore_index=True)


def _measured(study: Steps, source: str, sparsity: float) -> dict[str, float]:
    if source == "dense":
        return {}
    frame = study.errors(sparsity).frame
    decode = frame[frame["phase"] == "decode"]
    relative = (decode[f"e_{source}"] / decode["norm_dense"]).groupby(decode["problem_id"]).median()
    low, middle, high = relative.quantile([0.25, 0.5, 0.75])
    seconds = study.prune(source, sparsity).report["seconds"].sum()
    return {"decode_error": middle, "decode_low": low, "decode_high": high, "solver_seconds": float(seconds)}
