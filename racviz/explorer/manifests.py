"""A run folder's manifest as data, not as orders.

A folder may come from anybody. Its manifest names the embedded model and problems that its errors are of, and artefacts that
may lie in the reader's own cache. It never chooses code to run, a file or an address to open, or a model to load from a path;
for these the explorer asks the user (`model=`, `models=`, `problems=`, `evaluations=`).
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

NEUTRAL = {
    "trust_remote_code": False, "backend": "hf", "device": "auto", "generic_text": "", "test_problems": "",
    "calibration_problems": "",
}  # fmt: skip
"""Parameters that could name code, an interpreter, an address, a device or a file; a manifest's own values are not used."""
TRACED = ("own", "teacher")
MOST = {"calibration_tokens": 2**20, "t_max": 2**15, "budget": 2**15, "problems": 2000, "samples": 64, "batch_size": 1024,
        "sequence_length": 2**15}  # fmt: skip
"""The largest accepted values; larger ones could keep the machine busy for hours after one click."""


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The parameters in a run's manifest; None unless they describe one study."""
    path = folder / "manifest.json"
    try:
        if not path.is_file():
            return None
        parameters = json.loads(path.read_text(encoding="utf-8"))["parameters"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    ok = isinstance(parameters, dict) and {"sources", "method", "domain", "model"} <= set(parameters)
    return parameters if ok else None


def refusals(parameters: Mapping[str, Any], model: str | Path | None) -> list[str]:
    """Reasons why a run's models cannot be made from its manifest alone; empty if they can.

    Parameters
    ----------
    parameters : mapping
        The manifest's.
    model : str, path or None
        The model that the user named, which takes the manifest's place.
    """
    from racviz.tiny.domains import DOMAINS

    reasons = []
    if model is None and not is_embedded(parameters["model"]):
        reasons.append("the run's model is not an embedded one; pass model=… (--model) if you have it and trust it")
    if parameters.get("test_problems") or parameters["domain"] not in DOMAINS:
        reasons.append("its test problems are not embedded ones")
    if "trace_source" in parameters and parameters["trace_source"] not in (*TRACED, parameters["model"]):
        reasons.append("its traces are another model's or a file's")
    reasons += [
        f"its {name} is a file or a hub's data set" for name in ("calibration_problems", "generic_text") if parameters.get(name)
    ]
    reasons += [
        f"its {name} is {parameters[name]!r:.40}, more than {most:,}"
        for name, most in MOST.items()
        if name in parameters and not (isinstance(parameters[name], int) and parameters[name] <= most)
    ]
    return reasons


def is_embedded(model: Any) -> bool:
    """True for the name of an embedded model, False for any path."""
    from racviz.store import resource

    return isinstance(model, str) and model in {path.name for path in resource("data/models").iterdir() if path.is_dir()}


def study_of(parameters: Mapping[str, Any], folder: Path, model: str | Path | None, *, cached: bool) -> Any:
    """The study of a manifest, with neutral values for everything that a file may not choose.

    Parameters
    ----------
    parameters, model
        As for `refusals`, which must be empty.
    folder : path
        The run's folder.
    cached : bool
        Only read the store: a step that is missing raises `NotInStore`.

    Raises
    ------
    ParameterError
        For unknown parameters or values.
    """
    from racviz.study import study_from
    from racviz.study.parameters import parameter_names

    options = {name: value for name, value in parameters.items() if name in parameter_names()} | NEUTRAL
    if parameters.get("trace_source") == parameters["model"]:
        options["trace_source"] = "own"
    options |= {"run": str(folder.resolve())} | ({} if model is None else {"model": str(model)})
    if cached and str(parameters.get("backend", "hf")).partition("?")[0] == "vllm":
        options["backend"] = "vllm"  # for the keys of what it made; nothing is started where nothing is made
    study = replace(study_from(options), progress=False)
    if cached:
        study.memory.cached_only = True
    return study
