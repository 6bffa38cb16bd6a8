"""Exports of the view: a page that opens offline with pan, zoom and hover, pictures, and the tokens as a table."""

import base64
import hashlib
import html
import json
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import ParameterError, StorageError
from racviz.explorer.session import Session
from racviz.printable import cell, shown
from racviz.store import atomic, write_text

STATIC = Path(__file__).parent / "static"
CELLS = 600_000
"""Bins that an offline page holds at most."""
TEXTS = 1000
"""Problems whose texts and answers an offline page holds at most."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "microsoft-edge")
SIZE = (1200, 612)


def page(session: Session, ask: str = "", view: str = "null", cells: int = CELLS) -> str:
    """A page of HTML that holds all it needs. ask: JavaScript of a function that answers requests; else the page answers itself, from so
    many bins (cells) at most."""
    face = (STATIC / "explorer.js").read_text(encoding="utf-8").replace("</", "<\\/")
    offline = "" if ask else (STATIC / "offline.js").read_text(encoding="utf-8").replace("</", "<\\/")
    data = "null" if ask else json.dumps(_data(session, cells)).replace("<", "\\u003c")
    face = face.replace("export default { render };", "").replace("export ", "")
    how = f"{{bare: location.hash === '#bare', offline: {'false' if ask else 'true'}, view: {view}}}"
    script = (
        f"\n{face}\n{offline.replace('export ', '')}\nconst ask = {ask.strip() or f'answers({data})'};\n"
        f'await mount(document.getElementById("explorer"), ask, {how});\n{SHOW_SVG}'
    )
    style = f"{(STATIC / 'explorer.css').read_text(encoding='utf-8')}\nbody {{ margin: 0; background: #fff; }} {DARK}"
    title = html.escape(shown(f"e({session.view.numerator}) / e({session.view.denominator}) · racviz"))
    policy = content_policy(script, connect="'self'" if ask else "'none'")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<title>{title}</title><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<style>{style}</style></head><body><main id="explorer"></main><script type="module">{script}</script></body></html>\n'
    )


def content_policy(script: str, connect: str = "'none'") -> str:
    """A Content-Security-Policy: this one script runs, and nothing is loaded from anywhere; connect says where requests may go."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; connect-src {connect}; "
        "base-uri 'none'; form-action 'none'"
    )


DARK = (
    "@media (prefers-color-scheme: dark) { body { background: #15171b; } .rvx { --ink: #e8eaed; --faint: #9aa1ab; --page: #15171b; "
    "--line: #4a505a; --focus: #7db9ea; } }"
)
SHOW_SVG = """
if (location.hash === "#svg") document.body.innerHTML = document.getElementById("explorer").rvx.svg();
"""


def _data(session: Session, cells: int) -> dict[str, Any]:
    """The view's two sums in bins of as few columns as fit, and the texts of the tokens where every token has a bin of its own."""
    layers, order, pyramid = session.layers, session.order, session.runs.pyramid
    k = max(0, math.ceil(math.log2(max(1.0, len(order) * layers.columns / cells))))
    bins = -(-layers.columns // (1 << k))
    top, bottom, tokens, bad = layers(k, order, 0, bins)
    top, bottom = np.where((bad >= tokens) & (tokens > 0), np.nan, top), np.where(tokens > 0, bottom, -1)
    about = session.about()[0]
    fixed = {
        name: [about["view"][name]] for name in ("numerator", "denominator", "order", "align", "phase", "tokens", "answers")
    }
    about |= {"choices": about["choices"] | fixed | {"errors_of": [session.group]}, "lacking": []}
    edge = np.full(len(order), pyramid.origin("boundary")) if session.view.align == "boundary" else pyramid.t_in[order]
    found = {
        "about": about, "bins": bins, "width": 1 << k, "top": _coded(top), "bottom": _coded(bottom), "boundary": edge.tolist(),
        "problems": [pyramid.meta["problems"][row] for row in order], "lengths": pyramid.lengths[order].tolist(),
        "t_in": pyramid.t_in[order].tolist(), "offsets": layers.offsets[order].tolist(),
    }  # fmt: skip
    if len(order) <= TEXTS:
        names = [pyramid.meta["problems"][row] for row in order]
        found |= {"asked": [session.asked(int(row)) for row in order], "answers": [session.answered(name) for name in names]}
    if k == 0 and pyramid.vocabulary:
        used = np.unique(np.asarray(pyramid.ids)[order])
        place = {int(i): n for n, i in enumerate(used)}
        ids = [[place[int(i)] for i in pyramid.ids[row][: pyramid.lengths[row]]] for row in order]
        found |= {"ids": ids, "texts": [pyramid.vocabulary.get(int(i), f"#{i}") for i in used]}
    return found


def _coded(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def selection(session: Session, x: tuple[float, float] | None = None, y: tuple[float, float] | None = None):
    """The tokens that are shown as a frame: problem_id, position, token_id, token, phase, the two errors and their ratio (NaN where
    there is none). x, y: columns and places of the order; all where they are not given."""
    import pandas as pd

    layers, pyramid, view = session.layers, session.runs.pyramid, session.view
    low, high = (0, len(session.order)) if y is None else (max(0, int(y[0])), min(len(session.order), math.ceil(y[1])))
    first, last = (0, layers.columns) if x is None else (max(0, int(x[0])), min(layers.columns, math.ceil(x[1])))
    rows = session.order[low:high]
    top, bottom, tokens, bad = layers(0, rows, first, max(first + 1, last))
    row, column = np.nonzero(tokens > 0)
    position = column + first - layers.offsets[rows[row]]
    ids = np.asarray(pyramid.ids)[rows[row], position]
    good = bad[row, column] == 0
    above, below = (np.where(good, each[row, column], np.nan).astype(np.float64) for each in (top, bottom))
    return pd.DataFrame(
        {
            "problem_id": np.array(pyramid.meta["problems"], dtype=object)[rows[row]], "position": position, "token_id": ids,
            "token": [pyramid.vocabulary.get(int(i), "") for i in ids],
            "phase": np.where(position < pyramid.t_in[rows[row]], "prompt", "decode"),
            f"e_{view.numerator}": above, f"e_{view.denominator}": below,
            "ratio": np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0),
        }
    )  # fmt: skip


def save(
    session: Session, path: str | Path, x: tuple[float, float] | None = None, y: tuple[float, float] | None = None
) -> Path:
    """Write what is seen: .html (offline, with pan, zoom and hover), .png and .svg (by an installed browser), .csv or .parquet (tokens)."""
    path = Path(path)
    seen = json.dumps({"x": list(x), "y": list(y)}) if x is not None and y is not None else "null"
    if path.suffix == ".html":
        write_text(path, page(session, view=seen))
    elif path.suffix == ".csv":
        with atomic(path) as temporary:
            tokens = selection(session, x, y)
            tokens["problem_id"] = tokens["problem_id"].map(cell)
            tokens["token"] = tokens["token"].map(
                lambda text: cell(text) if len(text.strip()) > 1 else text
            )  # "=" runs nothing
            tokens.rename(columns=cell).to_csv(temporary, index=False)
    elif path.suffix == ".parquet":
        with atomic(path) as temporary:
            selection(session, x, y).to_parquet(temporary, index=False)
    elif path.suffix in (".png", ".svg"):
        _by_browser(page(session, view=seen), path)
    else:
        raise ParameterError(f"path must end in .html, .png, .svg, .csv or .parquet; not {path.name!r}.")
    return path


def _by_browser(content: str, path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise StorageError(
            f"a {path.suffix} needs a browser, and none of {', '.join(BROWSERS)} is installed; save as .html instead."
        )
    with tempfile.TemporaryDirectory(prefix="racviz-export-") as folder, atomic(path) as temporary:
        source, picture = Path(folder) / "page.html", Path(folder) / "picture.png"
        source.write_text(content, encoding="utf-8")
        what = [f"--screenshot={picture}"] if path.suffix == ".png" else ["--dump-dom"]
        address = source.as_uri() + ("#svg" if path.suffix == ".svg" else "#bare")
        command = [browser, "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile",
                   "--virtual-time-budget=8000",
                   f"--window-size={SIZE[0]},{SIZE[1]}", *(["--no-sandbox"] if os.geteuid() == 0 else []), *what, address]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StorageError(f"the browser {browser} did not draw {path.name}: {error}; save as .html instead.") from error
        if path.suffix == ".png" and picture.exists():
            shutil.copyfile(picture, temporary)
        elif path.suffix == ".svg" and b"<svg" in done.stdout:
            temporary.write_bytes(done.stdout[done.stdout.index(b"<svg") : done.stdout.rindex(b"</svg>") + 6] + b"\n")
        else:
            raise StorageError(f"the browser {browser} drew nothing (it ended with {done.returncode}); save as .html instead.")
