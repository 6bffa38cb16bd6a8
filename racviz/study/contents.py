"""What each report makes, for its plan: which studies are pruned, which errors are taken, which models answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from racviz.exceptions import check
from racviz.models.formats import EMBEDDED
from racviz.study import Study
from racviz.study.parameters import tell_apart

AXES = {
    "table1_math": {"models": "model"},
    "table3_on_off_policy": {"trace_sources": "trace_source"},
    "table4_semi_structured": {"depths": "thirds"},
    "calibration_budget": {"token_counts": "calibration_tokens", "trace_caps": "t_max"},
    "seeds": {"seeds": "seed"},
    "solvers": {"methods": "method"},
}
"""Reports that repeat a study: the notebook's list, and the parameter of a study that it is for."""
WITH_ERRORS = ("table3_on_off_policy", "calibration_budget", "solvers")
COMPARING = ("figure2_error_heatmap", "runtime_vs_sparsity", "cot_lengths", "table1_math", "table2_code", "table4_semi_structured",
             "table5_decode_budget", "calibration_budget", "seeds", "generic_text")  # fmt: skip
"""Reports that compare prompt with rac."""
OTHER_SETS = 6
"""Calibration sets beside the sources (`study.coverage.other_sets`)."""


@dataclass(frozen=True)
class Part:
    """A study of which a report makes something."""

    study: Study
    answers: bool = False
    errors: bool = False
    layers: bool = False
    depths: bool = False
    """Errors at more depths than the last (`Steps.depths`)."""
    passes: int = 1
    """Timing passes, where there are any."""
    others: int = 0
    """Models of the study's first sparsity that are calibrated on other sets of as many tokens."""


def parts_of(report: str, study: Study, values: Mapping[str, Any]) -> list[Part]:
    """The parts of a report whose notebook has these parameter values.

    Raises ParameterError for a list that must not be empty, or a value in one that no study takes.
    """
    for name, value in values.items():
        check(name == "timing_problems" or isinstance(value, list | tuple), name, value, "a list")
    first = replace(study, sparsities=study.sparsities[:1])
    if report == "figure2_error_heatmap":
        other = "sequential" if study.mode == "one-pass" else "one-pass"
        methods = [Part(replace(first, method=each), errors=True) for each in values.get("methods", ())]
        return [
            Part(study, errors=True),
            Part(replace(first, mode=other), errors=True),
            *methods,
            Part(first, layers=True, depths=True),
        ]
    if report == "pruning_report":
        return [Part(first, layers=True)]
    if report == "generic_text":
        return [Part(first, answers=True, others=OTHER_SETS)]
    errors = report in WITH_ERRORS
    parts = [Part(study, answers=True, errors=errors, passes=len(values.get("budgets", ())) or 1)]
    if report in AXES:
        parts = []
        for name, parameter in AXES[report].items():
            check(bool(values.get(name)), name, values.get(name), "a list that is not empty")
            changed = [replace(study, **{parameter: tuple(each) if isinstance(each, list) else each}) for each in values[name]]
            parts += [Part(each, answers=True, errors=errors) for each in changed]
    if report == "seeds":
        claims = tuple(s for s in study.sparsities if s in values.get("claims", ())) or study.sparsities
        start = replace(study, seed=values["seeds"][0], sparsities=claims)
        parts += [Part(replace(start, method=each), answers=True) for each in values.get("methods", ())]
    return parts


def answering(report: str) -> bool:
    """Whether pruned models answer problems in a report."""
    return report not in ("figure2_error_heatmap", "pruning_report")


def compared_models(model: str, others: Sequence[str]) -> list[str]:
    """The model and those that are set beside it; embedded ones only beside an embedded one."""
    tell_apart([model, *others])
    return [model, *(each for each in others if each != model and (each not in EMBEDDED or model in EMBEDDED))]
