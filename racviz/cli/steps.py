"""The single steps, `traces` to `evaluate`: each command usable alone on files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from racviz.cli.console import begin, end, ready, told, writable
from racviz.cli.options import (
    Backend,
    Batch,
    Device,
    Dtype,
    Limit,
    Model,
    Problems,
    RemoteCode,
    Seed,
    Temperature,
    Thinking,
    TopP,
)
from racviz.exceptions import ParameterError
from racviz.printable import message

MAKING = (
    "problems",
    "split",
    "samples",
    "t_max",
    "temperature",
    "top_p",
    "seed",
    "batch_size",
    "backend",
)
"""Options of `traces` that say how traces are made, which imported ones are already."""

TracesOut = Annotated[Path, typer.Option(help="Where to write the traces (.parquet).")]
From = Annotated[
    str | None,
    typer.Option("--from", help="Import traces, all of them or --limit (file, folder or hub id)."),
]
MaxBad = Annotated[str, typer.Option(help="With --from: rows without a trace to skip, 3 or 1%.")]
Pruned = Annotated[list[str], typer.Option(help="name=folder of a pruned checkpoint; give it once for each.")]
Rollouts = Annotated[Path, typer.Option(help="The dense model's greedy traces on test problems (.parquet).")]
Layer = Annotated[str, typer.Option(help="final (the paper's), last (before the final norm), or a block's index.")]


def traces(
    ctx: typer.Context,
    model: Model,
    out: TracesOut = Path("traces.parquet"),
    problems: Problems = "arithmetic",
    split: Annotated[str, typer.Option(help="calibration or test.")] = "calibration",
    limit: Limit = 128,
    samples: Annotated[int, typer.Option(help="Rollouts a problem.")] = 1,
    t_max: Annotated[int, typer.Option(help="Cap on new tokens.")] = 1024,
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    batch_size: Batch = 64,
    backend: Backend = "hf",
    from_: From = None,
    max_bad: MaxBad = "1%",
    thinking: Thinking = "auto",
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: RemoteCode = False,
) -> None:
    """Sample a model's own chains of thought.

    Sampled traces on calibration problems calibrate. Greedy ones on test problems (--split test
    --temperature 0) are the fixed sequences along which errors are measured. Token ids are kept as
    they were sampled. Interrupted runs resume. --from imports traces of other tools, as token ids
    of this model's tokenizer.
    """
    import racviz as rv

    _check_import(ctx, from_)
    ready(backend)
    writable(out)
    chosen = None if from_ is not None else rv.load_problems(problems, split=split, limit=limit)
    settings = dict(thinking=thinking, trust_remote_code=trust_remote_code)
    loaded = rv.load_model(model, device=device, dtype=dtype, **settings)
    if from_ is not None:
        limits = {"limit": limit, "max_bad": max_bad}
        begin("traces", f"import from {from_}", None, out)
        given = {name: value for name, value in limits.items() if told(ctx, name)}
        made = rv.import_traces(from_, loaded, **given)
    else:
        sampling = rv.Sampling(t_max, temperature, top_p, seed)
        rows = dict(samples=samples, batch_size=batch_size, backend=backend)
        made = _generated(loaded, chosen, problems, sampling, rows, out)
    made.save(out)
    ended = sum(t.finish_reason == "stop" for t in made)
    tokens = sum(len(t.output_ids) for t in made)
    print(f"{len(made)} traces, {tokens:,} tokens, {ended} ended by themselves: {out}")
    if made.summary is not None:
        print(message(made.summary))
    if split == "calibration":
        end([f"racviz prune {model} --traces {out} --out FOLDER"])
    else:
        end([f"racviz errors {model} --pruned NAME=FOLDER --rollouts {out}"])


def _check_import(ctx: typer.Context, from_: str | None) -> None:
    """Raise ParameterError for options of `traces` that do not go together."""
    if from_ is not None and (idle := told(ctx, *MAKING)):
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise ParameterError(f"{shown} cannot be given with --from, which takes traces as they are.")
    if from_ is None and told(ctx, "max_bad"):
        raise ParameterError("--max-bad needs --from: only rows that others wrote can be bad.")


def _generated(loaded: Any, chosen: Any, name: str, sampling: Any, rows: dict, out: Path) -> Any:
    """Traces of a model on problems.

    Parameters
    ----------
    loaded : LoadedModel
    chosen : ProblemSet
    name : str
        The name of the problems, as it was given.
    sampling : Sampling
    rows : dict
        samples, batch_size and backend.
    out : path
        The place of the result, for the first line.
    """
    import racviz as rv
    from racviz.cli.expecting import generating_time
    from racviz.store import Store

    samples, cap = rows["samples"], sampling.max_new_tokens
    seconds = None
    if samples >= 1 and rows["batch_size"] >= 1:  # else generating reports it
        seconds = generating_time(loaded, chosen, name, samples, cap, rows["batch_size"], rows["backend"])
    work = f"{len(chosen)} problems × {samples}, up to {cap:,} new tokens each"
    begin("traces", work, seconds, out)
    return rv.generate_traces(loaded, chosen, sampling, store=Store.default(), **rows)


def export(
    traces: Annotated[Path, typer.Argument(help="Traces (.parquet, from racviz traces).")],
    out: Annotated[Path, typer.Option(help="Where to write them (.jsonl).")] = Path("traces.jsonl"),
    form: Annotated[str, typer.Option(help="ids (token ids) or text (prompt and completion; needs --model).")] = "ids",
    model: Annotated[
        str | None,
        typer.Option(help="The model whose tokenizer the ids belong to, for --form text."),
    ] = None,
) -> None:
    """Write traces as JSONL for other tools.

    For example SGLang's and DeepSpeed's RAC examples, datasets, and programs of your own.
    """
    import racviz as rv

    made = rv.Traces.load(traces)
    rv.export_traces(made, out, rv.load_model(model) if model else None, form=form)
    print(f"{len(made)} traces: {out}")


def errors(
    model: Model,
    pruned: Pruned,
    rollouts: Rollouts,
    out: Annotated[Path, typer.Option(help="Where to write the errors (.parquet).")] = Path("errors.parquet"),
    metric: Annotated[str, typer.Option(help="hidden (the paper's), kl or top1.")] = "hidden",
    layer: Layer = "final",
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Measure tokenwise errors of pruned models.

    Along the dense model's greedy traces, each pruned model's last hidden states are compared with
    the dense ones, token by token.
    """
    import racviz as rv
    from racviz.cli.expecting import errors_time

    pairs = dict(pair.partition("=")[::2] for pair in pruned)
    if not all(pairs) or not all(pairs.values()):
        raise ParameterError(f"--pruned must be name=folder; not {pruned!r}.")
    if len(pairs) < len(pruned):
        raise ParameterError(f"--pruned must have each name once; not {pruned!r}.")
    dense = rv.load_model(model, device=device, dtype=dtype)
    models = {name: rv.load_model(folder, device=device, dtype=dtype) for name, folder in pairs.items()}
    at = int(layer) if layer.isdigit() else layer
    traces = rv.Traces.load(rollouts)
    work = f"{len(models)} pruned models along {len(traces)} rollouts"
    begin("errors", work, errors_time(dense, len(models), traces), out)
    result = rv.reconstruction_errors(dense, models, traces, metric=metric, layer=at)
    result.save(out)
    for name in result.names:
        medians = result.frame.groupby("phase")[f"e_{name}"].median()
        print(f"{name}: median error on prompt tokens {medians['prompt']:.3f}, on decode tokens {medians['decode']:.3f}")
    print(out)
    end([f"racviz explore {out}"])


def evaluate(
    model: Model,
    problems: Problems = "arithmetic",
    limit: Limit = 100,
    samples: Annotated[int, typer.Option(help="Answers a problem.")] = 1,
    budget: Annotated[int, typer.Option(help="Cap on new tokens.")] = 1024,
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    batch_size: Batch = 128,
    backend: Backend = "hf",
    thinking: Thinking = "auto",
    out: Annotated[Path | None, typer.Option(help="Where to write the answers (.parquet).")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: RemoteCode = False,
) -> None:
    """Measure accuracy and length of thought.

    Accuracy comes with its standard error, the length of the chain of thought (CoT) in tokens, and
    the share of truncated answers.
    """
    import racviz as rv
    from racviz.cli.expecting import generating_time
    from racviz.grading import refuse_ungradable
    from racviz.store import Store

    ready(backend)
    writable(out)
    sampling = rv.Sampling(budget, temperature, top_p, seed)
    test = rv.load_problems(problems, split="test", limit=limit)
    refuse_ungradable(test)
    settings = dict(thinking=thinking, trust_remote_code=trust_remote_code)
    loaded = rv.load_model(model, device=device, dtype=dtype, **settings)
    rows = dict(samples=samples, batch_size=batch_size, backend=backend)
    seconds = None
    if min(samples, batch_size) >= 1:  # else generating reports it
        seconds = generating_time(loaded, test, problems, samples, budget, batch_size, backend)
    work = f"{len(test)} problems × {samples}, up to {budget:,} new tokens each"
    begin("evaluate", work, seconds, out or "nothing but the cache (see --out)")
    result = rv.evaluate(loaded, test, sampling, store=Store.default(), **rows)
    if out:
        result.save(out)
    for key, value in result.summary().items():
        print(f"{key:>11}  {value:.4f}" if isinstance(value, float) else f"{key:>11}  {value:,}")
    if out:
        end([f"pandas.read_parquet({str(out)!r}), a row an answer with its verdict"])
    else:
        end(["the same command with --out FILE keeps the answers, each with its verdict"])
