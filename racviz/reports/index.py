"""`index.html` of a folder of reports: a card each, with the finding, the key numbers and the parameters."""

import html
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from racviz.exceptions import RacvizError
from racviz.printable import placeless, redacted, shown
from racviz.reports.catalogue import order_of, read_notebook, title_of
from racviz.reports.thumbnail import thumbnail
from racviz.store import explained, write_text
from racviz.store.files import regular_file

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
    damaged: str = ""
    """Why the notebook cannot be read; empty where it can."""


def build_index(out: str | Path = "reports") -> Path:
    """Write `index.html` over the reports in a folder, atomically."""
    folder = Path(out)
    with explained("write", folder / "index.html"):
        folder.mkdir(parents=True, exist_ok=True)
        notebooks = sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
        cards = sorted(card for path in notebooks if (card := _listed(path)))
        write_text(folder / "index.html", _page([card for _, _, card in cards]))
    return folder / "index.html"


def _listed(path: Path) -> tuple[float, str, str] | None:
    """Order, name and card of a notebook; None if another report's run has renamed it since the folder was listed.

    A notebook may be cut, or another's: whatever is wrong with it is said on its card, and takes no other from the index.
    """
    try:
        entry = _entry(path)
        return (entry.order, entry.name, _card(entry))
    except FileNotFoundError:
        return None
    except Exception as error:
        why = (
            str(error) if isinstance(error, RacvizError) else f"it does not hold what a notebook holds ({type(error).__name__})"
        )
        return float("inf"), path.stem, _card(Entry(path.stem, path.name, None, damaged=why))


def _entry(path: Path) -> Entry:
    """The entry of a notebook. Raises FileNotFoundError where it is gone, DataError for a file that is not a notebook."""
    if not path.is_symlink() and not path.exists():
        raise FileNotFoundError(path)
    regular_file(path)
    notebook = read_notebook(path)
    run = notebook.get("metadata", {}).get("papermill", {})
    said: dict[str, Any] = {}
    picture = ""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            said = output.get("metadata", {}).get("racviz", said)
            figure = output.get("data", {}).get("application/vnd.plotly.v1+json")
            picture = picture or (_picture(figure) if figure else "")
    page = path.with_suffix(".html")
    whole = page.is_file() and not path.name.endswith(".partial.ipynb")
    seconds, date = run.get("duration"), str(run.get("end_time") or run.get("start_time") or "")[:16].replace("T", " ")
    minutes = float(seconds) / 60 if seconds else None
    order = order_of(notebook)
    order = float(order) if isinstance(order, int | float) and order == order else float("inf")
    return Entry(path.stem, title_of(notebook), page if whole else None, date, minutes, order, said, picture)


def _picture(figure: Any) -> str:
    """The thumbnail of a figure; empty where it cannot be drawn."""
    try:
        return thumbnail(figure)
    except Exception:  # of a figure of any shape; the report's words are there all the same
        return ""


def _text(value: Any, limit: int = 2000) -> str:
    """A value of a notebook as HTML: escaped, without hidden characters or secrets, of bounded length."""
    return html.escape(shown(redacted(str(value)), limit))


def _link(path: Path) -> str:
    """The address of a page beside the index, whatever its name holds: never another scheme, a fragment or a query."""
    return html.escape(quote(os.fsencode(path.name)))


def _card(entry: Entry) -> str:
    title, parameters = _text(entry.title, 300), placeless(dict(entry.said.get("parameters", [])))
    if entry.damaged:
        return (
            f'<article class="failed"><h2>{title}</h2><p class="faint">This notebook is damaged and is not shown: '
            f"{_text(entry.damaged, 600)}</p></article>"
        )
    if entry.page is None:
        return (
            f'<article class="failed"><h2>{title}</h2><p class="faint">{_text(entry.date)} · did not finish; what was done '
            f"until then is in {_text(entry.name)}.ipynb.</p></article>"
        )
    about = [parameters.get("model"), parameters.get("domain"), parameters.get("method"), entry.date and f"{entry.date} UTC"]
    about.append(f"{entry.minutes:.1f} minutes" if entry.minutes else None)
    numbers = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in entry.said.get("numbers", []))
    rows, made = _table(parameters), _table(dict(entry.said.get("provenance", [])))
    link = _link(entry.page)
    parts = [
        f'<article><h2><a href="{link}">{title}</a></h2>',
        f'<p class="faint">{" · ".join(_text(_plain(part)) for part in about if part)}</p>',
        f'<a class="picture" href="{link}">{entry.picture}</a>' if entry.picture else "",
        f"<p>{_text(entry.said['finding'])}</p>" if entry.said.get("finding") else "",
        f'<dl class="numbers">{numbers}</dl>' if numbers else "",
        f'<p class="faint">{_text(entry.said["caveat"])}</p>' if entry.said.get("caveat") else "",
        f"<details><summary>parameters</summary><table>{rows}</table></details>" if rows else "",
        f"<details><summary>provenance</summary><table>{made}</table></details>" if made else "",
    ]
    return "".join(parts) + "</article>"


def _plain(value: Any) -> str:
    """Several values with commas between."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(values: dict[str, Any]) -> str:
    rows = placeless(values).items()
    return "".join(f"<tr><td>{_text(k)}</td><td>{_text(v)}</td></tr>" for k, v in rows if v != "")


def _page(cards: list[str]) -> str:
    body = "\n".join(cards) or "<article><p>There is no report yet. <code>racviz report NAME</code> makes one.</p></article>"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>racviz reports</title>'
        f"<style>{STYLE}</style></head><body><main>\n<h1>racviz reports</h1>"
        '<p class="faint">What compression does to a reasoning model, token by token. Every sentence here is computed from the '
        f"data of its report.</p>\n{body}\n</main></body></html>\n"
    )
