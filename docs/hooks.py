"""Pages of the site that are built from elsewhere: the API from the facade, reports and lessons from the notebooks.

mkdocs.yml names this file. It needs the standard library and MkDocs alone; racviz is read, not imported.
"""

import ast
import json
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
NOTEBOOKS, LESSONS, REPORTS = ROOT / "notebooks", ROOT / "notebooks" / "lessons", ROOT / "reports"
GALLERY = {
    "figure2_error_heatmap": "figure2",
    "runtime_vs_sparsity": "runtime",
    "cot_lengths": "cot_lengths",
    "solvers": "solvers",
    "table1_math": "table1",
    "explore": "explorer",
}
"""Pictures of docs/gallery by notebook, for pages of notebooks that have not been run."""
UNEXECUTED = """!!! note "Not executed"
    This page shows the notebook without its outputs. `{command}` runs it{where}.
"""
EXECUTED = """!!! note "Executed"
    This page shows `reports/{name}.html` as it was when the site was built.
    [Open it alone](../executed/{name}.html).

<iframe class="report" src="../executed/{name}.html" title="{title}"></iframe>
"""


def on_files(files, config):
    """Add a page for each notebook, the instructors' page, and the reports that were run."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        page = REPORTS / f"{path.stem}.html"
        if page.is_file():
            files.append(File.generated(config, f"executed/{path.stem}.html", abs_src_path=str(page)))
        files.append(File.generated(config, f"reports/{path.stem}.md", content=report_page(path, page.is_file())))
    for path in sorted(LESSONS.glob("*.ipynb")):
        note = UNEXECUTED.format(command="make lab", where=" in JupyterLab")
        files.append(File.generated(config, f"lessons/{path.stem}.md", content=notebook_page(path, note)))
    text = (LESSONS / "instructor.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "lessons/instructor.md", content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Point links at the pages of notebooks, and name the homes of the facade's names."""
    source = page.file.src_uri
    if source == "api.md":
        return re.sub(r"^::: rv\.(\w+)$", lambda found: entry(found[1]), markdown, flags=re.MULTILINE)
    if source == "reports.md":
        return re.sub(r"^\| `(\w+)` \|(?=[^|]*\|$)", lambda found: linked(found), markdown, flags=re.MULTILINE)
    return re.sub(r"\]\(\.\./notebooks/([\w/]+)\.(ipynb|md)\)", lambda found: f"]({page_of(found[1])})", markdown)


def facade() -> dict[str, str]:
    """Name -> module of every name of the facade, from the table in racviz/__init__.py."""
    tree = ast.parse((ROOT / "racviz" / "__init__.py").read_text(encoding="utf-8"))
    tables = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "_HOMES")
    return {name: module for module, names in ast.literal_eval(next(tables)).items() for name in names}


def entry(name: str) -> str:
    """The mkdocstrings block of a name of the facade."""
    homes = facade()
    if name not in homes:
        raise PluginError(f"docs/api.md names rv.{name}, which racviz does not export; see racviz/__init__.py.")
    members = methods(homes[name], name)
    chosen = "" if members is None else f"\n    options: {{members: {json.dumps(members)}}}"
    return f"::: racviz.{homes[name]}.{name}{chosen}"


def methods(home: str, name: str) -> list[str] | None:
    """Public methods and properties of a class, whose docstring lists its fields; None for a function."""
    place = ROOT.joinpath("racviz", *home.split("."))
    for path in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                own = [member.name for member in node.body if isinstance(member, ast.FunctionDef) and ast.get_docstring(member)]
                return [member for member in own if not member.startswith("_")]
    return None


def linked(found: re.Match) -> str:
    """A row of the table of notebooks, with a link to the page of its notebook."""
    known = (NOTEBOOKS / f"{found[1]}.ipynb").is_file()
    return f"| [`{found[1]}`](reports/{found[1]}.md) |" if known else found[0]


def page_of(notebook: str) -> str:
    """The site's page of a notebook or a Markdown file under notebooks/."""
    return f"{notebook}.md" if "/" in notebook else f"reports/{notebook}.md"


def report_page(path: Path, executed: bool) -> str:
    """The page of a report: its executed HTML in a frame, else the notebook without outputs."""
    if executed:
        title = re.search(r"^# +(.+)$", cells_of(path)[0][1], re.MULTILINE)[1]
        return f"---\nhide: [toc]\n---\n# {title}\n\n{EXECUTED.format(name=path.stem, title=title)}"
    plain = not any("parameters" in tags for _, _, tags in cells_of(path))
    command = "make lab" if plain else f"racviz report {path.stem}"
    note = UNEXECUTED.format(command=command, where=" in JupyterLab" if plain else " and writes an executed page")
    if path.stem in GALLERY:
        note += f"\n![A picture of an earlier run](../gallery/{GALLERY[path.stem]}.png)\n"
    return notebook_page(path, note)


def notebook_page(path: Path, note: str) -> str:
    """Markdown of a notebook without outputs; code is folded away, and solutions are marked."""
    parts = []
    for kind, text, tags in cells_of(path):
        if kind == "markdown":
            parts.append(text)
        elif kind == "code" and text.strip():
            label = "Solution" if "solution" in tags else "Parameters" if "parameters" in tags else "Code"
            block = "\n".join(f"    {line}".rstrip() for line in ["```python", *text.splitlines(), "```"])
            parts.append(f'??? example "{label}"\n{block}')
    head, _, rest = "\n\n".join(parts).partition("\n")
    return f"{head}\n\n{note}\n{rest}\n"


def cells_of(path: Path) -> list[tuple[str, str, list[str]]]:
    """Kind, source and tags of each cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"]), cell.get("metadata", {}).get("tags", [])) for cell in cells]
