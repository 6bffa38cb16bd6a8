"""The command line, `racviz COMMAND …`: each command usable alone on files."""

from pathlib import Path
from typing import Annotated

import typer

from racviz.cli_runs import cache, demo, explore, report, results, sweep
from racviz.console import Commands, ready, told, writable
from racviz.exceptions import ParameterError
from racviz.printable import message

app = typer.Typer(
    name="racviz", cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="See what compression does to a reasoning model: prune it, calibrated on its own thought (RAC), and compare.",
)  # fmt: skip

Model = Annotated[
    str,
    typer.Argument(
        help="tiny-reasoner, tiny-reasoner-small, tiny-reasoner-seed1, smollm2, a local folder, or a hub id owner/name."
    ),
]
Problems = Annotated[
    str, typer.Option(help="arithmetic, tracing, a JSONL, CSV or Parquet file, math-500, gsm8k, … or a hub id.")
]
Limit = Annotated[int | None, typer.Option(help="Take the first so many problems.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy decoding.")]
TopP = Annotated[float, typer.Option(help="Nucleus sampling; 1 is off.")]
Seed = Annotated[int, typer.Option(help="Seed; each problem and sample draws from a generator of its own.")]
Batch = Annotated[int, typer.Option(help="Sequences generated at a time.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, …, or map: spread over all GPUs.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Backend = Annotated[str, typer.Option(help="hf, vllm, or the address of a vLLM server; settings after a question mark.")]
Thinking = Annotated[
    str,
    typer.Option(help="How the model marks its thought: auto, on, off, deepseek-r1, plain, …, switch=value or two markers."),
]
RemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")]


@app.command()
def traces(
    ctx: typer.Context,
    model: Model,
    out: Annotated[Path, typer.Option(help="Where to write the traces (.parquet).")] = Path("traces.parquet"),
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
    from_: Annotated[
        str | None, typer.Option("--from", help="Take others' traces, all of them or --limit (a file, folder or hub id).")
    ] = None,
    max_bad: Annotated[str, typer.Option(help="With --from: rows without a trace to skip, 3 or 1%.")] = "1%",
    thinking: Thinking = "auto",
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: RemoteCode = False,
) -> None:
    """Let a model think on problems and keep the very tokens it sampled.

    Sampled traces on calibration problems calibrate; greedy ones on test problems (--split test --temperature 0) are the
    fixed sequences along which errors are measured. A run that was stopped goes on where it was. --from reads traces that
    something else wrote, as token ids of this model's tokenizer.
    """
    import racviz as rv
    from racviz.store import Store

    making = ("problems", "split", "samples", "t_max", "temperature", "top_p", "seed", "batch_size", "backend")
    if from_ is not None and (idle := told(ctx, *making)):
        shown = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise ParameterError(f"{shown} cannot be given with --from, which takes traces as they are.")
    if from_ is None and told(ctx, "max_bad"):
        raise ParameterError("--max-bad needs --from: only rows that others wrote can be bad.")
    ready(backend)
    writable(out)
    given = None if from_ is not None else rv.load_problems(problems, split=split, limit=limit)
    loaded = rv.load_model(model, device=device, dtype=dtype, thinking=thinking, trust_remote_code=trust_remote_code)
    if from_ is not None:
        limits = {name: value for name, value in (("limit", limit), ("max_bad", max_bad)) if told(ctx, name)}
        made = rv.import_traces(from_, loaded, **limits)
    else:
        how = dict(samples=samples, batch_size=batch_size, backend=backend, store=Store.default())
        made = rv.generate_traces(loaded, given, rv.Sampling(t_max, temperature, top_p, seed), **how)
    made.save(out)
    ended = sum(t.finish_reason == "stop" for t in made)
    print(f"{len(made)} traces, {sum(len(t.output_ids) for t in made):,} tokens, {ended} ended by themselves: {out}")
    if made.summary is not None:
        print(message(made.summary))


@app.command()
def export(
    traces: Annotated[Path, typer.Argument(help="Traces (.parquet, from racviz traces).")],
    out: Annotated[Path, typer.Option(help="Where to write them (.jsonl).")] = Path("traces.jsonl"),
    form: Annotated[str, typer.Option(help="ids (token ids) or text (prompt and completion; needs --model).")] = "ids",
    model: Annotated[str | None, typer.Option(help="The model whose tokenizer the ids belong to, for --form text.")] = None,
) -> None:
    """Write traces as JSONL for other tools: SGLang's and DeepSpeed's RAC examples, datasets, your own."""
    import racviz as rv

    made = rv.Traces.load(traces)
    rv.export_traces(made, out, rv.load_model(model) if model else None, form=form)
    print(f"{len(made)} traces: {out}")


@app.command()
def prune(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
    source: Annotated[str, typer.Option(help="What calibrates: rac, prompt, generic or prompt-same-problems.")] = "rac",
    traces: Annotated[
        str | None, typer.Option(help="Traces (from racviz traces, or of other tools); for rac and prompt-same-problems.")
    ] = None,
    problems: Problems = "arithmetic",
    texts: Annotated[
        str | None, typer.Option(help="Texts for generic: a file, c4 or a hub id; default: the packaged text.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Calibration tokens, exactly.")] = 32_768,
    allow_fewer: Annotated[
        bool, typer.Option("--allow-fewer", help="Go on with fewer tokens where the source has no more.")
    ] = False,
    sequence_length: Annotated[int, typer.Option(help="Longest calibration sequence; longer ones are cut.")] = 8192,
    method: Annotated[
        str, typer.Option(help="magnitude, wanda, sparsegpt or alps; with +refit, least squares on its mask.")
    ] = "sparsegpt",
    sparsity: Annotated[
        float | None, typer.Option(help="Fraction of zeros in the pruned linears, in [0, 1); 0.5, or what the pattern fixes.")
    ] = None,
    pattern: Annotated[str, typer.Option(help="unstructured, or n:m for n zeros in every m, e.g. 2:4.")] = "unstructured",
    allocation: Annotated[str, typer.Option(help="How zeros are shared out over the linears: uniform or owl.")] = "uniform",
    keep_zeros: Annotated[bool, typer.Option(help="Weights that are zero stay so (prune further).")] = False,
    scope: Annotated[str, typer.Option(help="all, mlp, or a regular expression on names like layers.0.mlp.up_proj.")] = "all",
    thirds: Annotated[str, typer.Option(help="Which thirds of the depth, e.g. 1,3.")] = "1,2,3",
    mode: Annotated[str, typer.Option(help="one-pass or sequential.")] = "one-pass",
    workspace: Annotated[
        Path | None, typer.Option(help="Folder for hidden states and finished blocks; the same command goes on from there.")
    ] = None,
    seed: Seed = 0,
    thinking: Thinking = "auto",
    device: Device = "auto",
    dtype: Dtype = "auto",
    trust_remote_code: RemoteCode = False,
) -> None:
    """Prune a model in one shot and save an ordinary Hugging Face checkpoint."""
    import racviz as rv
    from racviz.problems import is_hub
    from racviz.problems.texts import load_texts
    from racviz.pruning import Pattern, Scope, solver_named
    from racviz.sources import SOURCES

    try:
        chosen = tuple(int(part) for part in thirds.split(","))
    except ValueError as error:
        raise ParameterError(f"thirds must be numbers of 1, 2, 3 with commas between; not {thirds!r}.") from error
    if Path(model).is_dir() and Path(model).resolve() == out.resolve():
        raise ParameterError(
            f"out={str(out)!r} is the folder of the model itself, whose dense weights would be gone; name another."
        )
    writable(out, folder=True)
    solver_named(method), Scope(scope, chosen), Pattern.parse(pattern).resolve(sparsity)
    needs = SOURCES.named(source).needs
    if needs == "traces" and not traces:
        raise ParameterError(f"--source {source} needs --traces: a file that `racviz traces` wrote, or others' traces.")
    loaded = rv.load_model(model, device=device, dtype=dtype, thinking=thinking, trust_remote_code=trust_remote_code)
    few = max(256, tokens // 8) if is_hub(problems) else None  # of a hub's data set only what is needed is read
    given = {
        "traces": rv.import_traces(traces, loaded, tokens=_enough(tokens)) if traces else None,
        "texts": load_texts(texts, seed=seed) if texts else None,
        "problems": rv.load_problems(problems, split="calibration", limit=few) if needs == "problems" else None,
    }  # fmt: skip
    calibration = rv.calibration_set(source, loaded, **given, tokens=tokens, sequence_length=sequence_length, seed=seed,
                                     packed=bool(texts), allow_fewer=allow_fewer)  # fmt: skip
    how = dict(
        method=method, sparsity=sparsity, pattern=pattern, allocation=allocation, keep_zeros=keep_zeros, scope=scope, thirds=chosen,
    )  # fmt: skip
    pruned = rv.prune(loaded, calibration, **how, mode=mode, workspace=workspace, inplace=True)
    pruned.save(out)
    kept = pruned.provenance
    print(f"{kept['sparsity']:.1%} of {kept['linears']} linears are zero ({kept['sparsity_all']:.1%} of all parameters): {out}")


@app.command()
def errors(
    model: Model,
    pruned: Annotated[list[str], typer.Option(help="name=folder of a pruned checkpoint; give it once for each.")],
    rollouts: Annotated[Path, typer.Option(help="The dense model's greedy traces on test problems (.parquet).")],
    out: Annotated[Path, typer.Option(help="Where to write the errors (.parquet).")] = Path("errors.parquet"),
    metric: Annotated[str, typer.Option(help="hidden (the paper's), kl or top1.")] = "hidden",
    layer: Annotated[
        str, typer.Option(help="final (the paper's), last (before the final norm), or the index of a block.")
    ] = "final",
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Measure, token by token, how far pruned models are from the dense one."""
    import racviz as rv

    pairs = dict(pair.partition("=")[::2] for pair in pruned)
    if not all(pairs) or not all(pairs.values()):
        raise ParameterError(f"--pruned must be name=folder; not {pruned!r}.")
    if len(pairs) < len(pruned):
        raise ParameterError(f"--pruned must have each name once; not {pruned!r}.")
    dense = rv.load_model(model, device=device, dtype=dtype)
    models = {name: rv.load_model(folder, device=device, dtype=dtype) for name, folder in pairs.items()}
    at = int(layer) if layer.isdigit() else layer
    result = rv.reconstruction_errors(dense, models, rv.Traces.load(rollouts), metric=metric, layer=at)
    result.save(out)
    for name in result.names:
        medians = result.frame.groupby("phase")[f"e_{name}"].median()
        print(f"{name}: median error on prompt tokens {medians['prompt']:.3f}, on decode tokens {medians['decode']:.3f}")
    print(out)


@app.command()
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
    """Let a model answer test problems: accuracy with its standard error, CoT length, truncation."""
    import racviz as rv
    from racviz.grading import refuse_ungradable
    from racviz.store import Store

    ready(backend)
    writable(out)
    sampling = rv.Sampling(budget, temperature, top_p, seed)
    test = rv.load_problems(problems, split="test", limit=limit)
    refuse_ungradable(test)
    loaded = rv.load_model(model, device=device, dtype=dtype, thinking=thinking, trust_remote_code=trust_remote_code)
    result = rv.evaluate(loaded, test, sampling, samples=samples, batch_size=batch_size, backend=backend, store=Store.default())
    if out:
        result.save(out)
    for key, value in result.summary().items():
        print(f"{key:>11}  {value:.4f}" if isinstance(value, float) else f"{key:>11}  {value:,}")


for command in (report, sweep, results, explore, demo, cache):
    app.command()(command)


def _enough(tokens: int) -> int:
    """Tokens of traces to read for so many of calibration: some more, since the longest are cut and the order is drawn."""
    return 4 * tokens


def main() -> None:
    """Run the command line."""
    app(prog_name="racviz")


if __name__ == "__main__":
    main()
