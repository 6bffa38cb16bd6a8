"""Progress on a terminal, in a file, in a notebook, and of a report's kernel."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from racviz import progress
from racviz.progress import VARIABLE, Follower, progress_bar, relayed, show_lines

ROOT = Path(__file__).parents[1]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
"""Carriage returns, escapes, and all that moves a cursor; not the end of a line."""


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def test_a_finished_step_is_one_plain_line(capsys):
    assert list(progress_bar(range(3), desc="work", unit="row")) == [0, 1, 2]
    err = capsys.readouterr().err
    assert err.startswith("work: 3 rows ") and err.count("\n") == 1 and not CONTROL.search(err)


def test_a_long_step_is_a_line_every_half_minute(capsys, clock):
    with progress_bar(total=100, desc="work", unit="row") as bar:
        for _ in range(100):
            clock.seconds += 2.0
            bar.update()
            bar.refresh()
    *lines, last = capsys.readouterr().err.splitlines()
    done = [int(re.search(r"(\d+)/100 rows", line)[1]) for line in lines]
    assert done == [15, 30, 45, 60, 75, 90] and "100 rows" in last
    assert all(re.search(r"/s, .*\d\d:\d\d", line) and not CONTROL.search(line) for line in lines)


def test_units_are_words():
    assert [progress.units("row"), progress.units("study"), progress.units("row", 1)] == ["rows", "studies", "row"]


def test_a_step_of_unknown_length_is_told_too(capsys, clock):
    with progress_bar(desc="work", unit="row") as bar:
        clock.seconds += 31
        bar.update(7)
        bar.refresh()
    first, last = capsys.readouterr().err.splitlines()
    assert "7 rows" in first and "7 rows" in last


def test_a_step_that_fails_or_stops_early_is_not_finished(capsys):
    with pytest.raises(ZeroDivisionError), progress_bar(total=1, desc="work", unit="row") as bar:
        bar.update()
        raise ZeroDivisionError
    for _ in progress_bar(range(3), desc="work", unit="row"):
        break
    assert capsys.readouterr().err == ""


def test_parts_of_a_step_are_not_told_when_they_are_finished(capsys):
    with progress_bar(total=2, desc="whole", unit="cell") as whole:
        for _ in range(2):
            list(progress_bar(range(5), desc="part", unit="row"))
            whole.update()
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("whole: 2 cells")


@pytest.mark.parametrize("off", ["shown", "variable"])
def test_progress_can_be_switched_off(capsys, monkeypatch, off):
    if off == "variable":
        monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress_bar(total=2, desc="hidden", unit="row", shown=off != "shown") as bar:
        bar.update(2)
    assert list(progress_bar([1], desc="hidden", unit="row", shown=off != "shown")) == [1]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TQDM_DISABLE", "0")
    list(progress_bar([1], desc="seen", unit="row"))
    assert "seen" in capsys.readouterr().err


def on_a_terminal(code: str, columns: int = 80) -> str:
    """Standard error of a program that finds a terminal there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux's end of a terminal
            part = b""
        if not part:
            break
        said += part
    os.close(ours)
    assert run.wait() == 0
    return said.decode()


def test_on_a_terminal_a_bar_is_drawn_in_place():
    code = (
        "import time\nfrom racviz.progress import progress_bar\n"
        "for _ in progress_bar(range(5), desc='work', unit='row'): time.sleep(0.15)"
    )
    drawn, _, finished = on_a_terminal(code).rstrip().rpartition("\r")
    assert drawn.count("\r") >= 3 and drawn.count("\n") == 0 and "%" in drawn
    assert finished.startswith("work: 5 rows")
    assert on_a_terminal(code, columns=0).rstrip().count("\r") == 0, "a terminal of unknown size"


def test_a_relayed_bar_is_written_into_the_file_and_drawn_nowhere_else(tmp_path, monkeypatch, capsys):
    path = tmp_path / "bar.json"
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as in a report's kernel
    with progress_bar(total=5, desc="generate", unit="row") as bar:
        bar.update(2)
        bar.refresh()
        state = json.loads(path.read_text())
        assert abs(time.time() - state.pop("began")) < 60
        assert state == {"desc": "generate", "n": 2, "total": 5, "unit": "row"}
        bar.update(3)
    assert capsys.readouterr().err == ""
    (line,) = progress.finished_of(path).read_text().splitlines()
    assert json.loads(line).startswith("generate: 5 rows")


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
    err = capfd.readouterr().err
    assert err.startswith("prune: 4 linears") and err.count("\n") == 1 and not CONTROL.search(err)
    assert not Path(more[VARIABLE]).exists()
    with relayed(False) as more:
        assert more == {}


def test_a_kernel_s_long_step_is_a_line_every_half_minute(capsys, monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.time, "time", lambda: now.seconds)
    for began in (1000.0, 2000.0):  # two steps of one name
        step, now.seconds = Follower(began), began
        for n in range(0, 81, 2):
            step.see({"desc": "prune", "n": n, "total": 80, "unit": "linear"})
            now.seconds += 5.0
        lines = capsys.readouterr().err.splitlines()
        assert [int(re.search(r"(\d+)/80 linears", line)[1]) for line in lines] == [12, 24, 36, 48, 60, 72]
        assert "2.50s/linear, 02:50 left" in lines[0]


def test_a_kernel_s_progress_is_off_where_progress_is(capfd, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with relayed(True) as more:
        progress.finished_of(Path(more[VARIABLE])).write_text(json.dumps("prune: 4 linears") + "\n")
        time.sleep(0.1)
    assert capfd.readouterr().err == ""


def test_lines_go_to_the_terminal_and_in_a_notebook_onto_the_page(capsys, monkeypatch):
    import IPython

    show_lines(["one <b>"])
    assert capsys.readouterr().err == "one <b>\n"
    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=True))
    monkeypatch.setattr("IPython.display.display", lambda page: shown.append(page.data))
    show_lines(["one <b>", "two"])
    assert shown == ["<p>one &lt;b&gt;<br>two</p>"] and capsys.readouterr().err == ""
