"""Save the view: a page that opens offline with pan, zoom and hover, a picture, or the tokens as a table."""

import base64
import hashlib
import html
import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from racviz.exceptions import ParameterError, StorageError
from racviz.explorer import scripts
from racviz.explorer.session import Session
from racviz.printable import cell, shown
from racviz.store import atomic, write_text

CELLS = 600_000
"""The most bins of an offline page."""
TEXTS = 1000
"""The most problems with texts and answers on an offline page."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "microsoft-edge")
SIZE = (1200, 612)


def page(session: Session, *, served: bool = False, part: Mapping[str, Any] | None = None, cells: int = CELLS) -> str:
    """A page of HTML that loads nothing.

    Parameters
    ----------
    session : Session
    served : bool
        True for a page that asks the server it came from; else it holds bins and answers itself.
    part : mapping or None
        The columns `x` and rows `y` to show first; None for the session's.
    cells : int
        The most bins that the page holds.
    """
    files = scripts.SERVED if served else scripts.OFFLINE
    data = "" if served else json.dumps(_data(session, cells)).replace("<", "\\u003c")
    ask = "askServer" if served else f"answerFrom({data})"
    options = json.dumps({"offline": not served, "view": part})
    code = scripts.joined(files).replace("</", "<\\/")
    script = f"\n{code}\nawait openPage({ask}, {options});\n"
    style = f"{scripts.style()}\nbody {{ margin: 0; background: #fff; }} {DARK}"
    title = html.escape(shown(f"e({session.view.numerator}) / e({session.view.denominator}) · racviz"))
    policy = content_policy(script, connect="'self'" if served else "'none'")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<title>{title}</title><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<style>{style}</style></head><body><main id="explorer"></main><script type="module">{script}</script></body></html>\n'
    )


def content_policy(script: str, connect: str = "'none'") -> str:
    """A Content-Security-Policy under which this script runs and nothing is loaded. connect: the source that requests may go to."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; connect-src {connect}; "
        "base-uri 'none'; form-action 'none'"
    )


DARK = (
    "@media (prefers-color-scheme: dark) { body { background: #15171b; } .rvx { --ink: #e8eaed; --faint: #9aa1ab; --page: #15171b; "
    "--line: #4a505a; --focus: #7db9ea; } }"
)


def _data(session: Session, cells: int) -> dict[str, Any]:
    """The view's two sums in at most so many bins; the texts of tokens if each token has a bin of its own."""
    sums, order, catalogue = session.sums, session.order, session.catalogue
    pyramid = catalogue.pyramid
    k = max(0, math.ceil(math.log2(max(1.0, len(order) * sums.columns / cells))))
    bins = -(-sums.columns // (1 << k))
    top, bottom, tokens, unusable = sums(k, order, 0, bins)  # [rows, bins]
    top, bottom = np.where((unusable >= tokens) & (tokens > 0), np.nan, top), np.where(tokens > 0, bottom, -1)
    data = {
        "about": _fixed_about(session), "bins": bins, "width": 1 << k, "top": _coded(top), "bottom": _coded(bottom),
        "boundary": session.boundaries(order), "problems": [catalogue.rows[row] for row in order],
        "lengths": pyramid.lengths[order].tolist(), "t_in": pyramid.t_in[order].tolist(), "offsets": sums.offsets[order].tolist(),
    }  # fmt: skip
    if len(order) <= TEXTS:
        rows = [int(row) for row in order]
        data["questions"] = [catalogue.question(row) for row in rows]
        data["answers"] = [catalogue.answers(row) for row in rows]
    if k == 0 and pyramid.vocabulary:
        used = np.unique(np.asarray(pyramid.ids)[order])
        place = {int(i): n for n, i in enumerate(used)}
        data["ids"] = [[place[int(i)] for i in pyramid.ids[row][: pyramid.lengths[row]]] for row in order]
        data["texts"] = [pyramid.vocabulary.get(int(i), f"#{i}") for i in used]
    return data


def _fixed_about(session: Session) -> dict[str, Any]:
    """The session's `about` with the choices that a page without a session can make: colours only."""
    about = session.about()[0]
    names = ("numerator", "denominator", "order", "align", "phase", "tokens", "answers")
    fixed = {name: [about["view"][name]] for name in names} | {"errors_of": [session.group]}
    return about | {"choices": about["choices"] | fixed, "lacking": []}


def _coded(values: np.ndarray) -> str:
    """Values as float32, in base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def selection(session: Session, x: tuple[float, float] | None = None, y: tuple[float, float] | None = None):
    """The tokens of a part as a data frame.

    Parameters
    ----------
    session : Session
    x, y : pair of float or None
        First and last column, first and last row in order; None for all.

    Returns
    -------
    DataFrame
        problem_id, position, token_id, token, phase, the two errors and their ratio; NaN where there is none.
    """
    import pandas as pd

    sums, pyramid, view = session.sums, session.catalogue.pyramid, session.view
    low, high = (0, len(session.order)) if y is None else (max(0, int(y[0])), min(len(session.order), math.ceil(y[1])))
    first, last = (0, sums.columns) if x is None else (max(0, int(x[0])), min(sums.columns, math.ceil(x[1])))
    rows = session.order[low:high]
    top, bottom, tokens, unusable = sums(0, rows, first, max(first + 1, last))
    row, column = np.nonzero(tokens > 0)
    position = column + first - sums.offsets[rows[row]]
    ids = np.asarray(pyramid.ids)[rows[row], position]
    usable = unusable[row, column] == 0  # [tokens]
    above, below = (np.where(usable, errors[row, column], np.nan).astype(np.float64) for errors in (top, bottom))
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
    """Write a part of the view to a file of the kind that its ending names.

    Parameters
    ----------
    session : Session
    path : path
        .html (offline, with pan, zoom and hover), .png or .svg (by an installed browser), .csv or .parquet (tokens).
    x, y : pair of float or None
        First and last column, first and last row in order; None for all.

    Raises
    ------
    ParameterError
        For another ending.
    StorageError
        If a picture needs a browser and there is none.
    """
    path = Path(path)
    part = {"x": list(x), "y": list(y)} if x is not None and y is not None else None
    if path.suffix == ".html":
        write_text(path, page(session, part=part))
    elif path.suffix == ".csv":
        with atomic(path) as temporary:
            tokens = selection(session, x, y)
            tokens["problem_id"] = tokens["problem_id"].map(cell)
            # "=" alone runs nothing in a spreadsheet
            tokens["token"] = tokens["token"].map(lambda text: cell(text) if len(text.strip()) > 1 else text)
            tokens.rename(columns=cell).to_csv(temporary, index=False)
    elif path.suffix == ".parquet":
        with atomic(path) as temporary:
            selection(session, x, y).to_parquet(temporary, index=False)
    elif path.suffix in (".png", ".svg"):
        _by_browser(page(session, part=part), path)
    else:
        raise ParameterError(f"path must end in .html, .png, .svg, .csv or .parquet; not {path.name!r}.")
    return path


def _by_browser(content: str, path: Path) -> None:
    """Let an installed browser draw a page, and write its picture."""
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
