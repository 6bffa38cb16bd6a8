"""`index.html` of a folder of reports: a card each, with the finding, the key numbers and the parameters."""

import html
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from racviz.errors import RacvizError
from racviz.files import regular_file
from racviz.printable import shown
from racviz.reports.catalogue import order_of, read_notebook, title_of
from racviz.reports.thumbnail import thumbnail
from racviz.store import explained, write_text

STYLE = """
:root { color-scheme: light dark; --ink: #1d1f23; --faint: #666b73; --page: #f6f7f9; --card: #fff; --line: #dfe2e7; --blue: #0b5f9e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --faint: #9aa1ab; --page: #15171b; --card: #1e2127; --line: #333841; --blue: #7db9ea; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 Inter, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { font-size: 1.9rem; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 1.25rem; margin: 0 0 6px; }
a { color: var(--blue); text-decoration: none; }
a:hover { text-decoration: underline; }
p { margin: 0 0 12px; }
.faint { color: var(--faint); font-size: 0.9rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px 24px; margin-top: 20px; }
dl.numbers { display: flex; flex-wrap: wrap; gap: 10px 32px; margin: 14px 0; }
dl.numbers dt { color: var(--faint); font-size: 0.82rem; }
dl.numbers dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
details { margin-top: 10px; }
summary { cursor: pointer; color: var(--faint); font-size: 0.9rem; }
table { border-collapse: collapse; margin-top: 8px; font-size: 0.86rem; }
td { padding: 2px 18px 2px 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: var(--faint); white-space: nowrap; }
.picture { float: right; width: 300px; max-width: 45%; margin: 0 0 12px 24px; }
.thumbnail { display: block; width: 100%; background: #fff; border-radius: 6px; }
article::after { content: ""; display: block; clear: both; }
.failed { border-left: 4px solid #c8452c; }
"""


@dataclass(frozen=True)
class Entry:
    """What the index knows of a report: read from its executed notebook."""

    name: str
    title: str
    page: Path | None
    date: str = ""
    minutes: float | None = None
    order: float = 0
    said: dict[str, Any] = field(default_factory=dict)
    picture: str = ""
    """An SVG of the first figure."""
    damaged: bool = False
    """True for a notebook that cannot be read."""


def build_index(out: str | Path = "reports") -> Path:
    """Write `index.html` over the reports in a folder, atomically."""
    folder = Path(out)
    with explained("write", folder / "index.html"):
        folder.mkdir(parents=True, exist_ok=True)
        notebooks = sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
        entries = sorted([entry for path in notebooks if (entry := _entry(path))], key=lambda entry: (entry.order, entry.name))
        write_text(folder / "index.html", _page([_safe_card(entry) for entry in entries]))
    return folder / "index.html"


def _entry(path: Path) -> Entry | None:
    """The entry of a notebook; None if another report's run has renamed it since the folder was listed.

    A notebook that is cut off, or not one of racviz, is an entry that says so: it takes no other from the index.
    """
    try:
        return _read_entry(path, read_notebook(regular_file(path)))
    except FileNotFoundError:
        return None
    except (RacvizError, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        return None if not os.path.lexists(path) else Entry(path.stem, path.stem, None, damaged=True)


def _read_entry(path: Path, notebook: dict[str, Any]) -> Entry:
    run = notebook.get("metadata", {}).get("papermill", {})
    said: dict[str, Any] = {}
    picture = ""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            said = output.get("metadata", {}).get("racviz", said)
            figure = output.get("data", {}).get("application/vnd.plotly.v1+json")
            picture = picture or (thumbnail(figure) if figure else "")
    page = path.with_suffix(".html")
    whole = page.exists() and not path.name.endswith(".partial.ipynb")
    seconds, date = run.get("duration"), str(run.get("end_time") or run.get("start_time") or "")[:16].replace("T", " ")
    minutes = seconds / 60 if seconds else None
    return Entry(path.stem, title_of(notebook), page if whole else None, date, minutes, order_of(notebook), said, picture)


def _safe_card(entry: Entry) -> str:
    try:
        return _card(entry)
    except (KeyError, TypeError, ValueError, AttributeError):  # what it says of itself is not what reports say
        return _card(Entry(entry.name, entry.name, None, damaged=True))


def _card(entry: Entry) -> str:
    title = html.escape(shown(entry.title))
    if entry.damaged:
        return (
            f'<article class="failed"><h2>{title}</h2><p class="faint">{html.escape(shown(entry.name))}.ipynb is damaged, or not a '
            "notebook; run the report again.</p></article>"
        )
    parameters = dict(entry.said.get("parameters", []))
    if entry.page is None:
        return (
            f'<article class="failed"><h2>{title}</h2><p class="faint">{html.escape(entry.date)} · did not finish; what was done '
            f"until then is in {html.escape(entry.name)}.ipynb.</p></article>"
        )
    about = [parameters.get("model"), parameters.get("domain"), parameters.get("method"), entry.date and f"{entry.date} UTC"]
    about.append(f"{entry.minutes:.1f} minutes" if entry.minutes else None)
    numbers = "".join(
        f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in entry.said.get("numbers", [])
    )
    rows, made = _table(parameters), _table(dict(entry.said.get("provenance", [])))
    parts = [
        f'<article><h2><a href="{_link(entry.page.name)}">{title}</a></h2>',
        f'<p class="faint">{html.escape(" · ".join(_plain(part) for part in about if part))}</p>',
        f'<a class="picture" href="{_link(entry.page.name)}">{entry.picture}</a>' if entry.picture else "",
        f"<p>{html.escape(entry.said.get('finding', ''))}</p>" if entry.said.get("finding") else "",
        f'<dl class="numbers">{numbers}</dl>' if numbers else "",
        f'<p class="faint">{html.escape(entry.said["caveat"])}</p>' if entry.said.get("caveat") else "",
        f"<details><summary>parameters</summary><table>{rows}</table></details>" if rows else "",
        f"<details><summary>provenance</summary><table>{made}</table></details>" if made else "",
    ]
    return "".join(parts) + "</article>"


def _link(name: str) -> str:
    """A file of this folder as the target of a link, whatever is in its name."""
    return html.escape(quote(os.fsencode(name)))


def _plain(value: Any) -> str:
    """Several values with commas between."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(values: dict[str, Any]) -> str:
    return "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in values.items() if v != "")


def _page(cards: list[str]) -> str:
    body = "\n".join(cards) or "<article><p>There is no report yet. <code>racviz report NAME</code> makes one.</p></article>"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>racviz reports</title>'
        f"<style>{STYLE}</style></head><body><main>\n<h1>racviz reports</h1>"
        '<p class="faint">What compression does to a reasoning model, token by token. Every sentence here is computed from the '
        f"data of its report.</p>\n{body}\n</main></body></html>\n"
    )
