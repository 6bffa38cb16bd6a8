"""Solvers side by side: the same calibration sets, problems and seeds, pruned by each of several methods."""

from racviz.exceptions import check
from racviz.study import Study
from racviz.study.variants import MEASURED, variant, vary

__all__ = ["MEASURED", "compare_solvers", "with_method"]


def with_method(study: Study, method: str) -> Study:
    """The same study with another solver; the model, the traces, the calibration sets and their moments are shared."""
    return variant(study, "method", method)


def compare_solvers(study: Study, methods: list[str]):
    """`vary(study, "method", methods)` with errors: a row a cell of every method, and a row a sample."""
    check(isinstance(methods, list | tuple) and bool(methods), "methods", methods, "a list of names of solvers")
    for source in study.sources:  # made once, then shared
        study.calibration(source)
    return vary(study, "method", methods, errors=True)
