"""Progress bars. Those of a report, which runs in a kernel of its own, show at the command that started it."""

import contextlib
import html
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from racviz import printable

VARIABLE = "RACVIZ_PROGRESS"
"""Names a file: bars are written into it instead of being drawn."""
INTERVAL = 0.5


def progress_bar(iterable: Iterable | None = None, *, desc: str, unit: str, total: int | None = None, shown: bool = True):
    """A tqdm bar; inside a report's kernel one that is relayed."""
    from tqdm.auto import tqdm

    path = os.environ.get(VARIABLE)
    how = dict(iterable=iterable, total=total, desc=printable.shown(desc, 80), unit=unit, leave=False)
    return tqdm(disable=not shown, **how) if not path else _relayed(path, how)


def show_lines(lines: Iterable[str]) -> None:
    """Show lines: above the bars on the terminal, as a paragraph in a notebook (a stream of errors would look like one)."""
    from tqdm import tqdm

    ipython = sys.modules.get("IPython")
    if hasattr(ipython.get_ipython() if ipython else None, "kernel"):
        from IPython.display import HTML, display

        display(HTML(f"<p>{'<br>'.join(html.escape(printable.message(line)) for line in lines)}</p>"))
        return
    for line in lines:
        tqdm.write(printable.message(line), file=sys.stderr)


def _relayed(path: str, how: dict):
    from tqdm.std import tqdm

    class Relayed(tqdm):
        """Writes where it stands into a file, two times a second at most."""

        def display(self, *args, **kwargs):
            with contextlib.suppress(OSError):
                state = {"desc": self.desc.removesuffix(": "), "n": self.n, "total": self.total, "unit": self.unit}
                Path(path).write_text(json.dumps(state), encoding="utf-8")
            return True

    return Relayed(disable=False, file=open(os.devnull, "w"), mininterval=INTERVAL, **how)  # noqa: SIM115


@contextlib.contextmanager
def relayed(shown: bool) -> Iterator[dict[str, str]]:
    """The environment for a kernel whose bars shall be drawn here, below the bar that is there."""
    from tqdm.auto import tqdm

    if not shown:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="racviz-progress-") as folder:
        path, over = Path(folder) / "bar.json", threading.Event()

        def draw() -> None:
            with tqdm(position=1, leave=False, desc="", bar_format="  {desc}{n_fmt}/{total_fmt} {unit}s, {elapsed}") as bar:
                while not over.wait(INTERVAL):
                    with contextlib.suppress(OSError, ValueError, KeyError):
                        state = json.loads(path.read_text(encoding="utf-8"))
                        if (state["desc"], state["total"]) != (bar.desc.removesuffix(": "), bar.total):
                            bar.reset(state["total"])
                            bar.set_description(printable.shown(state["desc"], 80), refresh=False)
                            bar.unit = printable.shown(state["unit"], 40)
                        bar.n = state["n"]
                        bar.refresh()

        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        try:
            yield {VARIABLE: str(path)}
        finally:
            over.set()
            thread.join(timeout=5)
