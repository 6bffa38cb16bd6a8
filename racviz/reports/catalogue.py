"""Which reports there are, and what parameters they take."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError, ParameterError, unknown
from racviz.store import resource, write_text


@dataclass(frozen=True)
class Report:
    """A notebook that can be run: its stem, the heading of its first cell, and the file."""

    name: str
    title: str
    path: Path


def list_reports() -> list[Report]:
    """The packaged notebooks that have parameters, in the order in which they are meant to be read."""
    found = [(path, read_notebook(path)) for path in sorted(resource("notebooks").glob("*.ipynb"))]
    found.sort(key=lambda pair: order_of(pair[1]))
    return [Report(path.stem, title_of(notebook), path) for path, notebook in found if parameters_cell(notebook)]


def find_report(name: str) -> Report:
    """A report by its name or the beginning of it, or by the path of a notebook of one's own."""
    if str(name).endswith(".ipynb"):
        path = Path(name)
        if not path.is_file():
            raise DataError(f"the notebook {name} does not exist. Pass an existing one, or the name of a packaged report.")
        return Report(path.stem, title_of(read_notebook(path)), path)
    reports = {report.name: report for report in list_reports()}
    if name in reports:
        return reports[name]
    begins = [known for known in reports if name and known.startswith(name)]
    if len(begins) == 1:
        return reports[begins[0]]
    if begins:
        raise ParameterError(f"the report {name!r} may be any of {', '.join(map(repr, begins))}; write more of its name.")
    raise unknown("report", name, reports)


def parameters_of(name: str) -> dict[str, dict[str, str]]:
    """Name -> default, type and help of each parameter, in the order of the notebook."""
    import papermill

    path = str(find_report(name).path).replace("{", "{{").replace("}", "}}")
    found = papermill.inspect_notebook(path)
    return {
        key: {"default": one["default"], "type": one["inferred_type_name"], "help": one["help"]} for key, one in found.items()
    }


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
    """Markdown for the README: the reports, and all parameters with their defaults."""
    reports = list_reports()
    lines = ["| notebook | what it shows |", "|---|---|"]
    lines += [f"| `{report.name}` | {report.title} |" for report in reports]
    defaults: dict[str, dict[str, list[str]]] = {}
    helps: dict[str, str] = {}
    for report in reports:
        for key, one in parameters_of(report.name).items():
            defaults.setdefault(key, {}).setdefault(one["default"], []).append(report.name)
            helps.setdefault(key, one["help"])
    lines += ["", "| parameter | default | meaning |", "|---|---|---|"]
    for key, values in defaults.items():
        most = max(values, key=lambda value: len(values[value]))
        others = [f"`{value}` in {', '.join(where)}" for value, where in values.items() if value != most]
        lines.append(f"| `{key}` | {'; '.join([f'`{most}`', *others])} | {helps[key]} |".replace("\n", " "))
    return "\n".join(lines) + "\n"


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
    return notebook.get("metadata", {}).get("racviz", {}).get("order", float("inf"))


def title_of(notebook: dict[str, Any]) -> str:
    """The first heading of the first cell."""
    first = source_of(notebook["cells"][0]) if notebook["cells"] else ""
    heading = re.search(r"^#\s+(.+)$", first, re.MULTILINE)
    return heading.group(1).strip() if heading else "untitled"


def update_readme(path: Path) -> None:
    """Write the table of notebooks and parameters between its marks in a README."""
    text = path.read_text(encoding="utf-8")
    begin = re.search(r"<!-- begin: parameters .*?-->\n", text)
    if not begin or "<!-- end: parameters -->" not in text:
        raise DataError(f"{path} has no marks <!-- begin: parameters … --> and <!-- end: parameters -->.")
    end = text.index("<!-- end: parameters -->")
    write_text(path, text[: begin.end()] + parameter_table() + text[end:])
