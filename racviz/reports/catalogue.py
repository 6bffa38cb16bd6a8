"""Catalogue of reports: packaged notebooks and those of the user's folders, and their parameters."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from racviz.exceptions import DataError, ParameterError, unknown
from racviz.store import resource, write_text

if TYPE_CHECKING:
    from racviz.study.contents import Contents

FOLDERS = "RACVIZ_NOTEBOOKS"
"""Environment variable with folders of further reports, separated as in PATH."""


@dataclass(frozen=True)
class Report:
    """A notebook that can be run: its stem, its title, and the file."""

    name: str
    title: str
    path: Path
    contents: "Contents | None" = None
    """`metadata.racviz`, checked; None for a plain papermill notebook, which runs but cannot be planned."""


def list_reports() -> list[Report]:
    """The reports in reading order: notebooks with a `parameters` cell, packaged or in the folders of RACVIZ_NOTEBOOKS.

    Raises
    ------
    DataError
        For a notebook with parameters whose metadata is missing or wrong, or two notebooks of one name.
    """
    reports: dict[str, Report] = {}
    for path in (path for folder in _folders() for path in sorted(folder.glob("*.ipynb"))):
        notebook = read_notebook(path)
        if not parameters_cell(notebook):
            continue
        report = _report(path, notebook)
        planned(report)
        if path.stem in reports:
            raise DataError(f"two reports have the name {path.stem!r}: {reports[path.stem].path} and {path}; rename one.")
        reports[path.stem] = report
    return sorted(reports.values(), key=lambda report: (planned(report).order, report.name))


def _folders() -> list[Path]:
    named = [Path(folder) for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder]
    for folder in named:
        if not folder.is_dir():
            raise DataError(f"{FOLDERS} names {folder}, which is not a folder.")
    return [resource("notebooks"), *named]


def _report(path: Path, notebook: dict[str, Any]) -> Report:
    """The report of a notebook. Raises DataError for metadata that is wrong."""
    whole = notebook.get("metadata")
    metadata = whole.get("racviz") if isinstance(whole, dict) else None
    if metadata is None:
        return Report(path.stem, title_of(notebook), path)
    from racviz.study.contents import read_contents
    from racviz.study.namespace import assigned_names
    from racviz.study.parameters import parameter_names

    own = assigned_names(source_of(parameters_cell(notebook) or {}))
    contents = read_contents(metadata, path.stem, [*own, *parameter_names()])
    if contents.title != heading_of(notebook):
        raise DataError(
            f"metadata.racviz of the report {path.stem!r} is wrong: its title {contents.title!r} is not the notebook's first "
            f"heading, {heading_of(notebook)!r}."
        )
    return Report(path.stem, contents.title, path, contents)


def planned(report: Report) -> "Contents":
    """The contents of a report. Raises DataError for a notebook without `metadata.racviz`."""
    if report.contents is None:
        raise DataError(
            f"the report {report.name!r} cannot be planned: {report.path} has no metadata.racviz with order, title and makes "
            "(see docs/design.md)."
        )
    return report.contents


def find_report(name: str) -> Report:
    """A report by its name or the beginning of it, or a notebook by its path."""
    if str(name).endswith(".ipynb"):
        path = Path(name)
        if not path.is_file():
            raise DataError(f"the notebook {name} does not exist. Pass an existing one, or the name of a report.")
        return _report(path, read_notebook(path))
    reports = {report.name: report for report in list_reports()}
    if name in reports:
        return reports[name]
    begins = [known for known in reports if name and known.startswith(name)]
    if len(begins) == 1:
        return reports[begins[0]]
    if begins:
        raise ParameterError(f"the report {name!r} may be any of {', '.join(map(repr, begins))}; write more of its name.")
    raise unknown("report", name, reports)


def is_packaged(report: Report) -> bool:
    """True for a report that ships with racviz, of which a plan can be made; false for a notebook of the user's."""
    return report.path.parent == resource("notebooks")


def parameters_of(name: str) -> dict[str, dict[str, str]]:
    """Default, type and help of each parameter, by name: first those of the notebook's cell, then a study's other ones.

    A notebook without `metadata.racviz` has those of its cell alone.
    """
    import papermill

    from racviz.study.parameters import described

    report = find_report(name)
    shared = described() if report.contents is not None else {}
    path = str(report.path).replace("{", "{{").replace("}", "}}")
    own = {
        key: {"default": one["default"], "type": one["inferred_type_name"], "help": one["help"]}
        for key, one in papermill.inspect_notebook(path).items()
    }
    return own | {key: one for key, one in shared.items() if key not in own}


def parse_parameters(pairs: list[str], types: dict[str, str] | None = None) -> dict:
    """`key=value` pairs, the values read as YAML: numbers, lists, true and false; as text where `types` says `str`."""
    import yaml

    parameters = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ParameterError(f"a parameter is given as key=value; not {pair!r}.")
        if (types or {}).get(key.strip()) == "str":
            parameters[key.strip()] = value  # YAML would read 2:4 as a number of base 60
            continue
        try:
            parameters[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ParameterError(
                f"the value of {key.strip()} cannot be read: {value!r}. Write lists as [0.5,0.6]; put other signs in quotes."
            ) from error
    return parameters


def parameter_table() -> str:
    """Markdown of the reports, and all parameters with their defaults."""
    from racviz.study.parameters import described

    reports, shared = list_reports(), described()
    lines = ["| notebook | what it shows |", "|---|---|"]
    lines += [f"| `{report.name}` | {report.title} |" for report in reports]
    defaults: dict[str, dict[str, list[str]]] = {name: {one["default"]: []} for name, one in shared.items()}
    helps = {name: one["help"] for name, one in shared.items()}
    for report in reports:
        for key, one in parameters_of(report.name).items():
            defaults.setdefault(key, {}).setdefault(one["default"], []).append(report.name)
            helps.setdefault(key, one["help"])
    lines += ["", "| parameter | default | meaning |", "|---|---|---|"]
    for key, values in defaults.items():
        lines.append(f"| `{key}` | {_default_text(values)} | {helps[key]} |".replace("\n", " "))
    return "\n".join(lines) + "\n"


def _default_text(values: dict[str, list[str]]) -> str:
    """The default, then the reports with another one; `of each report` where no report has the default."""
    first, *others = values.items()
    if not first[1]:
        return "of each report"
    return "; ".join([f"`{first[0]}`", *(f"`{value}` in {', '.join(where)}" for value, where in others)])


def read_notebook(path: Path) -> dict[str, Any]:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        return notebook if isinstance(notebook["cells"], list) else {"cells": []}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is not a notebook: {error}.") from error


def source_of(cell: dict[str, Any]) -> str:
    return "".join(cell.get("source", ""))


def parameters_cell(notebook: dict[str, Any]) -> dict[str, Any] | None:
    return next((cell for cell in notebook["cells"] if "parameters" in cell.get("metadata", {}).get("tags", [])), None)


def order_of(notebook: dict[str, Any]) -> float:
    """The place that a notebook's metadata asks for (`"racviz": {"order": 1}`); others come last."""
    return _metadata(notebook).get("order", float("inf"))


def title_of(notebook: dict[str, Any]) -> str:
    """The title in a notebook's metadata, else its first heading."""
    title = _metadata(notebook).get("title")
    return title if isinstance(title, str) else heading_of(notebook)


def subject_of(notebook: dict[str, Any]) -> str:
    """A few words above the title; empty where the metadata has none."""
    return str(_metadata(notebook).get("subject", ""))


def _metadata(notebook: dict[str, Any]) -> dict[str, Any]:
    """`metadata.racviz` of any notebook, unchecked; empty where it is missing or not a mapping."""
    whole = notebook.get("metadata")
    metadata = whole.get("racviz") if isinstance(whole, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def heading_of(notebook: dict[str, Any]) -> str:
    """The first heading of the first cell."""
    first = source_of(notebook["cells"][0]) if notebook["cells"] else ""
    heading = re.search(r"^#\s+(.+)$", first, re.MULTILINE)
    return heading.group(1).strip() if heading else "untitled"


def update_page(path: Path) -> None:
    """Write the table of notebooks and parameters between its marks in a Markdown page.

    Raises DataError for a page without the marks.
    """
    text = path.read_text(encoding="utf-8")
    begin = re.search(r"<!-- begin: parameters .*?-->\n", text)
    if not begin or "<!-- end: parameters -->" not in text:
        raise DataError(f"{path} has no marks <!-- begin: parameters … --> and <!-- end: parameters -->.")
    end = text.index("<!-- end: parameters -->")
    write_text(path, text[: begin.end()] + parameter_table() + text[end:])
