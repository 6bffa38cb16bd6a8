"""The examples in the docstrings of the facade run, and there is one for every name."""

import doctest

import pytest

import racviz as rv


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(rv._MODULE_OF))
def test_the_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = getattr(rv, name)
    parsed = doctest.DocTestParser().get_doctest(named.__doc__, {}, f"rv.{name}", None, None)
    assert any("rv." in example.source for example in parsed.examples), f"rv.{name} has no example"
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(parsed, out=said.append)
    assert not failed, "".join(said)
