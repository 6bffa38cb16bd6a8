"""What is built is what runs: the sdist, the wheel made from it, and the wheel alone in an environment of its own."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "plotly", "pandas", "scipy")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Standard output of a command that must succeed, in an environment that knows nothing of the checkout."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shipped() -> set[str]:
    """The files of data/ and notebooks/ in the checkout, less what tools leave there."""
    files = (f.relative_to(ROOT) for folder in ("data", "notebooks") for f in (ROOT / folder).rglob("*") if f.is_file())
    return {f.as_posix() for f in files if not any(part.startswith((".", "__pycache__")) for part in f.parts)}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist and the wheel that was built from the unpacked sdist."""
    pytest.importorskip("build", reason="needs the extra dev")
    pytest.importorskip("hatchling", reason="needs the extra dev")
    out = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The `bin` of a new environment with the wheel, and on its path the dependencies of this one but not the checkout."""
    folder = tmp_path_factory.mktemp("a place") / "with a space"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.mark.wheel
def test_the_wheel_carries_data_and_notebooks_and_no_tests(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"racviz/_resources/{name}" for name in shipped()} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"racviz"}
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names if ".dist-info/licenses/" in name}


@pytest.mark.wheel
def test_the_sdist_carries_what_the_tests_and_make_need(built):
    (sdist,) = built.glob("*.tar.gz")
    names = {name.split("/", 1)[1] for name in tarfile.open(sdist).getnames() if "/" in name}
    assert shipped() <= names
    assert {"Makefile", "constraints.txt", "environment.yml", "tests/test_packaging.py", "CITATION.cff"} <= names
    assert not [name for name in names if name.split("/")[0].startswith((".venv", "runs", "cache", "reports"))]


@pytest.mark.wheel
def test_the_wheel_works_from_an_empty_folder(installed, tmp_path):
    code = """
import json, racviz
from racviz.store import resource
with resource("data/problems/arithmetic-test.jsonl").open(encoding="utf-8") as file:
    first = json.loads(file.readline())
print(json.dumps([racviz.__version__, racviz.__file__, str(resource("notebooks")), first["domain"]]))
"""
    version, module, notebooks, domain = json.loads(run(installed / "python", "-c", code, cwd=tmp_path))
    assert (version, domain) == ("0.1.0", "arithmetic")
    assert Path(module).is_relative_to(installed.parent)
    assert notebooks == str(Path(module).parent / "_resources" / "notebooks")


@pytest.mark.wheel
def test_the_command_of_the_wheel_explains_itself(installed, tmp_path):
    for command in ([installed / "racviz"], [installed / "python", "-m", "racviz"]):
        assert "demo" in run(*command, "--help", cwd=tmp_path)


def test_import_racviz_imports_nothing_heavy():
    code = f"import sys, racviz; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(sys.executable, "-c", code).strip() == "[]"


def test_the_facade_names_what_it_exports():
    code = "import racviz; print([name for name in racviz.__all__ if getattr(racviz, name, None) is None])"
    assert run(sys.executable, "-c", code).strip() == "[]"
