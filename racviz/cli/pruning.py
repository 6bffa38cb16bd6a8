"""The command `prune`: a model in, an ordinary checkpoint out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from racviz.cli.console import begin, end, writable
from racviz.cli.options import Device, Dtype, Model, Problems, RemoteCode, Seed, Thinking
from racviz.exceptions import ParameterError

Source = Annotated[str, typer.Option(help="rac, prompt, generic or prompt-same-problems.")]
TracesFile = Annotated[
    str | None,
    typer.Option(help="Traces (from racviz traces, or of other tools); for rac and prompt-same-problems."),
]
Texts = Annotated[
    str | None,
    typer.Option(help="Texts for generic: a file, c4 or a hub id; default: the packaged text."),
]
AllowFewer = Annotated[
    bool,
    typer.Option("--allow-fewer", help="Go on with fewer tokens where the source has no more."),
]
Method = Annotated[
    str,
    typer.Option(help="magnitude, wanda, sparsegpt or alps; with +refit, least squares on its mask."),
]
Sparsity = Annotated[
    float | None,
    typer.Option(help="Fraction of zeros in the pruned linears, in [0, 1); default: 0.5, or by the pattern."),
]
ScopeName = Annotated[str, typer.Option(help="all, mlp, or a regular expression on names like layers.0.mlp.up_proj.")]
Workspace = Annotated[
    Path | None,
    typer.Option(help="Folder for hidden states and finished blocks; the same command resumes from it."),
]


def prune(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
    source: Source = "rac",
    traces: TracesFile = None,
    problems: Problems = "arithmetic",
    texts: Texts = None,
    tokens: Annotated[int, typer.Option(help="Calibration tokens, exactly.")] = 32_768,
    allow_fewer: AllowFewer = False,
    sequence_length: Annotated[int, typer.Option(help="Longest calibration sequence; longer ones are cut.")] = 8192,
    method: Method = "sparsegpt",
    sparsity: Sparsity = None,
    pattern: Annotated[str, typer.Option(help="unstructured, or n:m for n zeros in every m, e.g. 2:4.")] = "unstructured",
    allocation: Annotated[str, typer.Option(help="Distribution of zeros over the linears: uniform or owl.")] = "uniform",
    keep_zeros: Annotated[bool, typer.Option(help="Weights that are zero stay so (prune further).")] = False,
    scope: ScopeName = "all",
    thirds: Annotated[str, typer.Option(help="Which thirds of the depth, e.g. 1,3.")] = "1,2,3",
    mode: Annotated[str, typer.Option(help="one-pass or sequential.")] = "one-pass",
    workspace: Workspace = None,
    seed: Seed = 0,
    thinking: Thinking = "auto",
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: RemoteCode = False,
) -> None:
    """Prune a model in one shot.

    The result is an ordinary Hugging Face checkpoint.
    """
    import racviz as rv

    solving = dict(method=method, sparsity=sparsity, pattern=pattern, allocation=allocation)
    solving |= dict(keep_zeros=keep_zeros, scope=scope, thirds=_thirds(thirds))
    _check_pruning(model, out, source, traces, solving)
    settings = dict(thinking=thinking, trust_remote_code=trust_remote_code)
    loaded = rv.load_model(model, device=device, dtype=dtype, **settings)
    _begin_pruning(loaded, tokens, sequence_length, mode, solving, out)
    given = _inputs(loaded, source, traces, texts, problems, tokens, seed)
    given |= dict(tokens=tokens, sequence_length=sequence_length, seed=seed)
    calibration = rv.calibration_set(source, loaded, packed=bool(texts), allow_fewer=allow_fewer, **given)
    pruned = rv.prune(loaded, calibration, **solving, mode=mode, workspace=workspace, inplace=True)
    pruned.save(out)
    kept = pruned.provenance
    print(f"{kept['sparsity']:.1%} of {kept['linears']} linears are zero ({kept['sparsity_all']:.1%} of all parameters): {out}")
    end([f"racviz evaluate {out}", f"racviz errors {model} --pruned {source}={out} --rollouts FILE"])


def _thirds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ParameterError(f"thirds must be numbers of 1, 2, 3 with commas between; not {text!r}.") from error


def _check_pruning(model: str, out: Path, source: str, traces: str | None, solving: dict[str, Any]) -> None:
    """Raise before the model is loaded for options of `prune` that cannot be."""
    from racviz.pruning import Pattern, Scope, solver_named
    from racviz.sources import SOURCES

    if Path(model).is_dir() and Path(model).resolve() == out.resolve():
        raise ParameterError(
            f"out={str(out)!r} is the folder of the model itself, whose dense weights would be gone; name another."
        )
    writable(out, folder=True)
    solver_named(solving["method"])
    Scope(solving["scope"], solving["thirds"])
    Pattern.parse(solving["pattern"]).resolve(solving["sparsity"])
    if SOURCES.named(source).needs == "traces" and not traces:
        raise ParameterError(f"--source {source} needs --traces: a file that `racviz traces` wrote, or others' traces.")


def _begin_pruning(loaded: Any, tokens: int, length: int, mode: str, solving: dict[str, Any], out: Path) -> None:
    """Announce pruning. Invalid values are left to the steps to reject."""
    from racviz.cli.expecting import pruning_time
    from racviz.pruning import MODES, Scope

    seconds = None
    if min(tokens, length) >= 1 and mode in MODES:
        scope = Scope(solving["scope"], solving["thirds"])
        seconds = pruning_time(loaded, scope, tokens, length, mode)
    begin("prune", f"{solving['method']} on {tokens:,} calibration tokens", seconds, f"{out}/")


def _inputs(
    loaded: Any,
    source: str,
    traces: str | None,
    texts: str | None,
    problems: str,
    tokens: int,
    seed: int,
) -> dict[str, Any]:
    """Traces, texts and problems of a calibration set."""
    import racviz as rv
    from racviz.problems import is_hub
    from racviz.problems.texts import load_texts
    from racviz.sources import SOURCES

    few = max(256, tokens // 8) if is_hub(problems) else None  # of a hub's data set only a part
    chosen = None
    if SOURCES.named(source).needs == "problems":
        chosen = rv.load_problems(problems, split="calibration", limit=few)
    return {
        "traces": rv.import_traces(traces, loaded, tokens=_enough(tokens)) if traces else None,
        "texts": load_texts(texts, seed=seed) if texts else None,
        "problems": chosen,
    }


def _enough(tokens: int) -> int:
    """Tokens of traces to read for so many of calibration: the longest are cut, the order drawn."""
    return 4 * tokens
