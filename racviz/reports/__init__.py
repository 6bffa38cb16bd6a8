"""Reports: run a notebook with papermill, render it to HTML that opens offline, index the reports of a folder."""

from racviz.reports.catalogue import Report, find_report, list_reports, parameter_table, parameters_of, parse_parameters
from racviz.reports.index import build_index
from racviz.reports.kernels import Kernels
from racviz.reports.rendering import render
from racviz.reports.running import ReportError, all_problems, plan_report, run_report
from racviz.reports.saying import caveat, finding, say, table

__all__ = [
    "Kernels",
    "Report",
    "ReportError",
    "all_problems",
    "build_index",
    "caveat",
    "find_report",
    "finding",
    "list_reports",
    "parameter_table",
    "parameters_of",
    "parse_parameters",
    "plan_report",
    "render",
    "run_report",
    "say",
    "table",
]
