"""`import racviz`: all names, at once and without the heavy libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

import racviz as rv

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "plotly", "pandas", "numpy", "pyarrow", "papermill", "nbformat", "typer")


def fresh(script: str) -> str:
    """Run in a new interpreter, with what the tests run with."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["racviz", "racviz.store", "racviz.problems", "racviz.exceptions", "racviz.cli"])
def test_importing_loads_nothing_heavy(module):
    allowed = {"racviz.cli": {"typer"}}.get(module, set())
    loaded = fresh(f"import sys, {module}; print(*sorted(m for m in {HEAVY!r} if m in sys.modules))").split()
    assert set(loaded) <= allowed


def test_importing_takes_less_than_a_second():
    seconds = float(fresh("import time; t = time.process_time(); import racviz, racviz.store; print(time.process_time() - t)"))
    assert seconds < 1


def test_every_name_is_there():
    assert sorted(rv.__all__) == sorted(set(rv.__all__)) and set(rv.__all__) <= set(dir(rv))
    for name in rv.__all__:
        value = getattr(rv, name)
        assert value is getattr(rv, name)
        if callable(value):
            assert value.__name__ == name and (value.__doc__ or "").strip(), f"{name} needs a docstring"


def test_the_former_name_of_a_module_warns():
    import racviz.errors

    with pytest.warns(DeprecationWarning, match="racviz.exceptions"):
        assert racviz.errors.DataError is racviz.exceptions.DataError


def test_what_the_design_calls_is_there():
    facade = (
        "load_model load_problems generate_traces Sampling calibration_set prune second_moments reconstruction_errors "
        "layerwise_errors evaluate figures"
    )
    assert set(facade.split()) <= set(rv.__all__)
    assert callable(rv.figures.error_heatmap)


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(AttributeError, match="racviz has no 'load_modle'; it has .*load_model"):
        rv.load_modle  # noqa: B018
    assert not hasattr(rv, "absent")


def test_a_star_import_gives_the_names():
    names = fresh("from racviz import *; print(*sorted(n for n in dir() if not n.startswith('__')))").split()
    assert set(names) == set(rv.__all__) - {"__version__"}


def test_the_docstring_s_example_uses_names_that_are_there():
    import re

    used = set(re.findall(r"rv\.(\w+)", rv.__doc__))
    assert len(used) >= 8 and used <= set(rv.__all__)
