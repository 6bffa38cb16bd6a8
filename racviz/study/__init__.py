"""One comparison from problems to results: the steps of the house in order, each cached by content.

The parameters are those of the notebooks and of the command line. A step that was done before, in this process or in
another, is read from the store; a run that was killed goes on from what is complete.
"""

import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from racviz.exceptions import ParameterError, StorageError, unknown
from racviz.printable import placeless
from racviz.sources import needing
from racviz.store import key_of, write_text
from racviz.study.namespace import parameters_in
from racviz.study.parameters import Parameters, as_parameters, parameter_names
from racviz.study.processes import side_by_side
from racviz.study.steps import Steps
from racviz.study.timing import check_timing, machine, time_cells

__all__ = ["RESULT_COLUMNS", "Parameters", "Study", "as_parameters", "check_timing", "machine", "study_from"]

RESULT_COLUMNS = [
    "model", "domain", "source", "trace_source", "method", "pattern", "scope", "thirds", "allocation", "sparsity", "sparsity_all",
    "mode", "calibration_tokens", "t_max", "budget", "seed", "backend", "problems", "samples", "accuracy", "se", "tokens", "minutes",
    "timed_problems", "mean_cot", "median_cot", "truncated",
]  # fmt: skip


class Study(Steps):
    """One comparison: a model, calibrated from several sources, pruned to several sparsities, and measured.

    Each step is cached by content; a killed run resumes. The notebooks and the command line are
    made of studies. Every field is a parameter of the reports, with the same default.

    Parameters
    ----------
    model : str, default "tiny-reasoner"
        Embedded name, `smollm2`, local folder, or hub id.
    domain : str, default "arithmetic"
        Embedded problem set; `calibration_problems` and `test_problems` replace it.
    sources : sequence of str, default ("generic", "prompt", "rac")
        Calibration sources.
    sparsities : sequence of float, default (0.5,)
        Fractions of zeros in the pruned linears.
    method, pattern, allocation, scope, thirds, mode
        See `prune`.
    calibration_tokens : int, default 32768
        Tokens in each calibration set.
    t_max, budget : int, default 1024
        Caps on new tokens when tracing and when evaluating.
    problems, samples : int, default 100 and 1
        Test problems, and answers to each.
    run : str, default "study"
        Name of the folder `runs/<run>/`, or a path.

    Raises
    ------
    ParameterError
        For a setting outside of its range, at once.

    Examples
    --------
    >>> import racviz as rv
    >>> study = rv.Study(sources=["prompt", "rac"], sparsities=[0.5, 0.6], problems=4)
    >>> study.cells
    [('dense', 0.0), ('prompt', 0.5), ('rac', 0.5), ('prompt', 0.6), ('rac', 0.6)]
    """

    @classmethod
    def of(cls, namespace: Mapping[str, Any]) -> "Study":
        """A study of a notebook's variables: `Study.of(globals())`.

        Parameters
        ----------
        namespace : mapping
            Variables by name; those that are not parameters of a study are ignored, and parameters without
            a variable have their defaults.

        Raises
        ------
        ParameterError
            For an unknown name that papermill injected, with the nearest one, or a value that is not allowed.
        """
        return study_from(parameters_in(namespace))

    @property
    def cells(self) -> list[tuple[str, float]]:
        """(source, sparsity): the dense model first, then every source at every sparsity."""
        return [("dense", 0.0), *((source, sparsity) for sparsity in self.sparsities for source in self.sources)]

    def each(self, step: str, calls: Sequence[tuple]) -> Iterator[Any]:
        """Results of a step at several arguments, in order; what is not in the store is made side by side where that is quicker.

        Parameters
        ----------
        step : str
            The name of a method whose result lies in the store, such as `errors`.
        calls : sequence of tuples
            Its arguments, a tuple a result.
        """
        with side_by_side(self, step, calls) as others:
            for call in self._shown(calls, step):
                others.claim(call)
                yield getattr(self, step)(*call)

    def evaluations(self, ids: bool = False):
        """A row a sample over all cells, with the cell's source, method, sparsity, mode and budget. ids: with output_ids."""
        import pandas as pd

        self.can_answer()
        frames = []
        for (source, sparsity), evaluation in zip(self.cells, self.each("evaluation", self.cells), strict=True):
            frame = evaluation.frame
            frame = frame if ids else frame.drop(columns="output_ids")
            method = "dense" if source == "dense" else self.method
            cell = dict(
                source=source, method=method, sparsity=sparsity, mode=self.mode, budget=self.budget, model=placeless(self.model)
            )
            cell |= dict(domain=self.domain, seed=self.seed, calibration_tokens=self._tokens_of(source))
            frames.append(frame.assign(**cell))
        return pd.concat(frames, ignore_index=True)

    def thoughts(self, sparsity: float, count: int = 3) -> list[dict[str, Any]]:
        """The answers of the dense and the pruned models to a few test problems, as the texts of their tokens: problem_id, tokens and
        correct, each by source. Problems that the dense model answers come first.
        """
        frames = {"dense": self.evaluation("dense", 0.0).frame}
        frames |= {source: self.evaluation(source, sparsity).frame for source in self.sources}
        first = {source: frame[frame["sample"] == 0].set_index("problem_id") for source, frame in frames.items()}
        order = first["dense"].sort_values("correct", ascending=False, kind="stable").index[:count]
        decode = self.dense.tokenizer.decode
        return [
            {
                "problem_id": name,
                "tokens": {source: [decode([k]) for k in frame.loc[name, "output_ids"]] for source, frame in first.items()},
                "correct": {source: bool(frame.loc[name, "correct"]) for source, frame in first.items()},
            }
            for name in order
        ]

    def results(self, timing_problems: int = 0):
        """A row a cell, in the columns of results.csv; also written to the run folder, with its manifest.

        timing_problems: make a timing pass over the first so many test problems, one worker, cells interleaved; its minutes
        are for these problems alone, and the column timed_problems says how many they were.
        """
        import pandas as pd

        self.can_answer()
        check_timing(timing_problems)
        frame = pd.DataFrame(list(self.each("row", self.cells)))[RESULT_COLUMNS]
        return self.keep(frame, [(self, *cell) for cell in self.cells], timing_problems)

    def keep(self, frame: Any, cells: Sequence[tuple[Any, str, float]] = (), timing_problems: int = 0):
        """Write the run's table, results.csv, and its manifest; returns the table, timed where that is asked for.

        cells: what the rows are of. Several tables of one study follow each other in the file. What a timing pass says of itself is in
        `frame.attrs["timing"]`.

        Raises StorageError where a sweep keeps its results in the folder.
        """
        import pandas as pd

        if (self.folder / "cells.jsonl").exists():
            raise StorageError(f"{self.folder} holds the results of a sweep; name another run.")
        frame = frame.astype({"minutes": float, "timed_problems": float}).reset_index(drop=True)
        if timing_problems:
            timing = time_cells(cells, timing_problems)
            frame = frame.assign(**timing.frame)
            frame.attrs["timing"] = timing.said
        tables = self.memory.tables
        tables.append(frame)
        cell = [name for name in RESULT_COLUMNS if name not in ("minutes", "timed_problems")]
        table = pd.concat(tables, ignore_index=True)
        table = (
            table.iloc[table["minutes"].isna().argsort(kind="stable")].drop_duplicates(cell).sort_index()
        )  # the timed of two
        write_text(self.folder / "results.csv", table.to_csv(index=False))
        self.write_manifest()
        return frame

    def write_manifest(self) -> None:
        write_text(self.folder / "manifest.json", json.dumps(self.manifest(), indent=1, ensure_ascii=False))

    def row(self, source: str, sparsity: float) -> dict[str, Any]:
        """One cell, evaluated, in the columns of results.csv, not timed."""
        result, dense = self.evaluation(source, sparsity), source == "dense"
        traced = bool(needing("traces", [source]))
        row = {name: getattr(self, name) for name in ("model", "domain", "mode", "t_max", "budget", "seed", "backend")}
        row |= {name: getattr(self, name) for name in ("scope", "allocation", "pattern")}
        row |= dict(
            source=source, thirds=",".join(map(str, self.thirds)), method="dense" if dense else self.method, sparsity=sparsity,
            calibration_tokens=self._tokens_of(source), sparsity_all=0.0 if dense else result.label.get("sparsity_all"),
            trace_source=self.trace_source if traced else "", minutes=None, timed_problems=None,
        )  # fmt: skip
        row = placeless(row)
        return row | {key: value for key, value in result.summary().items() if key in RESULT_COLUMNS}

    def _tokens_of(self, source: str) -> int:
        """The tokens that really calibrated: some sources have fewer than was asked for."""
        return 0 if source == "dense" else self.calibration(source).tokens

    def manifest(self) -> dict[str, Any]:
        """Parameters, keys, versions, machine: what a reader needs to do it again."""
        import torch
        import transformers

        from racviz import __version__

        parameters = as_parameters(self) | self.memory.varied
        versions = dict(
            racviz=__version__, python=platform.python_version(), torch=torch.__version__, transformers=transformers.__version__
        )
        return {
            "parameters": placeless(parameters), "model_fingerprint": self.dense.fingerprint, "key": key_of(**parameters),
            "versions": versions,
            "machine": machine(), "device": str(self.dense.device), "dtype": str(self.dense.dtype), "embedded": self.dense.embedded,
            "created": time.strftime("%Y-%m-%d %H:%M:%S"), "keys": dict(self.memory.keys),
        }  # fmt: skip

    def provenance(self):
        """The manifest as a table of two columns, key and value; also written to the run folder."""
        import pandas as pd

        self.write_manifest()

        flat: list[tuple[str, str]] = []
        for key, value in self.manifest().items():
            if key == "keys":
                continue
            flat += [(name, str(item)) for name, item in value.items()] if isinstance(value, dict) else [(key, str(value))]
        return pd.DataFrame(flat, columns=["key", "value"])


def study_from(parameters: dict[str, Any]) -> Study:
    """A study from named parameters. Raises ParameterError for a name that is none, with the nearest."""
    for name in parameters:
        if name not in parameter_names():
            raise unknown("parameter", name, parameter_names())
    try:
        return Study(**parameters)
    except TypeError as error:
        raise ParameterError(f"a parameter has a value of the wrong type: {error}") from error
