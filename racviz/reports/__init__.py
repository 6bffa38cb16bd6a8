"""Reports: run a notebook with papermill, render it to HTML that opens offline, index the reports of a folder.

Names are imported when first used, so that a list of the reports needs neither torch nor papermill.
"""

import importlib
from typing import Any

_HOMES = {
    "catalogue": "Report find_report is_packaged list_reports parameter_table parameters_of parse_parameters",
    "index": "build_index",
    "kernels": "Kernels",
    "rendering": "render",
    "running": "ReportError all_problems plan_report run_report values_of",
    "saying": "caveat finding say table",
}
"""The module of each name."""

__all__ = sorted(name for names in _HOMES.values() for name in names.split())


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(importlib.import_module(f"racviz.reports.{home}"), name)
    raise AttributeError(f"racviz.reports has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
