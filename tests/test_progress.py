"""Bars that are drawn, and bars of a report's kernel that show at the command that runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from racviz.progress import VARIABLE, progress_bar, relayed, show_lines


def test_a_bar_is_tqdm_s_own_where_nobody_relays_it(capsys):
    assert list(progress_bar(range(3), desc="work", unit="row")) == [0, 1, 2]
    assert "work" in capsys.readouterr().err
    with progress_bar(total=2, desc="hidden", unit="row", shown=False) as bar:
        bar.update()
    assert "hidden" not in capsys.readouterr().err


def test_a_relayed_bar_is_written_into_the_file_and_drawn_nowhere_else(tmp_path, monkeypatch, capsys):
    path = tmp_path / "bar.json"
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as in a report's kernel
    with progress_bar(total=5, desc="generate", unit="row") as bar:
        bar.update(2)
        bar.refresh()
        assert json.loads(path.read_text()) == {"desc": "generate", "n": 2, "total": 5, "unit": "row"}
    assert capsys.readouterr().err == ""


@pytest.mark.serial
def test_what_a_kernel_does_shows_at_the_command(capfd):
    code = (
        "import time\nfrom racviz.progress import progress_bar\n"
        "for _ in progress_bar(range(4), desc='prune', unit='linear'): time.sleep(0.4)"
    )
    with relayed(True) as more:
        done = subprocess.run([sys.executable, "-c", code], env=os.environ | more, capture_output=True, text=True)
        time.sleep(0.7)
    assert done.returncode == 0 and done.stderr == ""
    assert "prune" in capfd.readouterr().err and not Path(more[VARIABLE]).exists()
    with relayed(False) as more:
        assert more == {}


def test_lines_go_to_the_terminal_and_in_a_notebook_onto_the_page(capsys, monkeypatch):
    import IPython

    show_lines(["one <b>"])
    assert capsys.readouterr().err == "one <b>\n"
    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=True))
    monkeypatch.setattr("IPython.display.display", lambda page: shown.append(page.data))
    show_lines(["one <b>", "two"])
    assert shown == ["<p>one &lt;b&gt;<br>two</p>"] and capsys.readouterr().err == ""
