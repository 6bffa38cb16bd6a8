"""The command line, `racviz COMMAND …`: each command usable alone on files."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from racviz.console import Commands, ready, told, writable
from racviz.errors import ParameterError

app = typer.Typer(
    name="racviz", cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="See what compression does to a reasoning model: prune it, calibrated on its own thought (RAC), and compare.",
)  # fmt: skip

Model = Annotated[
    str, typer.Argument(help="tiny-reasoner, tiny-reasoner-small, smollm2, a local folder, or a hub id owner/name[@revision].")
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
    str, typer.Option(help="How the model marks its thought: auto, deepseek-r1, qwen3, plain, … or two markers.")
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
    ready(backend)
    writable(out)
    given = None if from_ is not None else rv.load_problems(problems, split=split, limit=limit)
    loaded = rv.load_model(model, device=device, dtype=dtype, thinking=thinking, trust_remote_code=trust_remote_code)
    if from_ is not None:
        made = rv.import_traces(from_, loaded, limit=limit if told(ctx, "limit") else None)
    else:
        how = dict(samples=samples, batch_size=batch_size, backend=backend, store=Store.default())
        made = rv.generate_traces(loaded, given, rv.Sampling(t_max, temperature, top_p, seed), **how)
    made.save(out)
    ended = sum(t.finish_reason == "stop" for t in made)
    print(f"{len(made)} traces, {sum(len(t.output_ids) for t in made):,} tokens, {ended} ended by themselves: {out}")


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
    from racviz.pruning import Pattern, Scope, solver_named
    from racviz.texts import load_texts

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
    if source in ("rac", "prompt-same-problems") and not traces:
        raise ParameterError(f"--source {source} needs --traces: a file that `racviz traces` wrote, or others' traces.")
    loaded = rv.load_model(model, device=device, dtype=dtype, thinking=thinking, trust_remote_code=trust_remote_code)
    few = max(256, tokens // 8) if is_hub(problems) else None  # of a hub's data set only what is needed is read
    given = {
        "traces": rv.import_traces(traces, loaded, tokens=_enough(tokens)) if traces else None,
        "texts": load_texts(texts, seed=seed) if texts else None,
        "problems": rv.load_problems(problems, split="calibration", limit=few) if source == "prompt" else None,
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
    metric: Annotated[str, typer.Option(help="hidden (the paper's) or kl.")] = "hidden",
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


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(help="A report's name or a unique beginning of it.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="key=value, e.g. -p sparsities=[0.5,0.6]; repeat.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the HTML.")] = Path("reports"),
    list_: Annotated[bool, typer.Option("--list", help="List the reports and their parameters.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Run every report and build index.html.")] = False,
    model: Annotated[str | None, typer.Option(help="The same as -p model=….")] = None,
    full: Annotated[bool, typer.Option("--full", help="All test problems there are (500 of each embedded domain).")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check names, columns and templates, print the plan, run nothing.")
    ] = False,
    on: Annotated[str, typer.Option(help="With --dry-run: the machine to plan for: here, a100 or h100.")] = "here",
    expected_tokens: Annotated[int | None, typer.Option(help="With --dry-run: tokens of an answer, on average.")] = None,
) -> None:
    """Run a notebook as a report and render it to HTML that opens offline."""
    from racviz import reports

    if list_:
        for each in reports.list_reports():
            print(f"{each.name}: {each.title}")
            for key, value in reports.parameters_of(each.name).items():
                print(f"    {key} = {value['default']}  {value['help']}")
        return
    if all_ and str(out).endswith(".html"):
        raise ParameterError(f"--all writes several pages: --out must be a folder; not {str(out)!r}.")
    if not name and not all_:
        raise ParameterError("name a report (racviz report --list shows them), or pass --all.")
    for each in [known.name for known in reports.list_reports()] if all_ else [name]:
        types = {key: one["type"] for key, one in reports.parameters_of(each).items()}
        given = reports.parse_parameters(parameter or [], types) | ({"model": model} if model else {})
        given |= {"problems": reports.all_problems(each, given)} if full else {}
        if dry_run:
            plan = reports.plan_report(each, given, on=on, expected_tokens=expected_tokens)
            print("\n".join(plan.lines()))
            if not plan.right:
                raise typer.Exit(1)
            continue
        page = reports.run_report(each, given, out)
        print(page)
    if not dry_run:
        print(reports.build_index(page.parent))


@app.command()
def sweep(
    grid: Annotated[Path, typer.Argument(help="YAML: parameters of `racviz report`, each a value or a list of values.")],
    workers: Annotated[int, typer.Option(help="Processes that share the cells, and the processors.")] = 1,
    retry: Annotated[bool, typer.Option("--retry", help="Run the cells again that failed.")] = False,
    timing_problems: Annotated[
        int, typer.Option(help="Test problems of a timing pass in the end, for minutes; 0 makes none.")
    ] = 0,
    list_: Annotated[bool, typer.Option("--list", help="List the cells and run nothing.")] = False,
) -> None:
    """Evaluate every cell of a grid; results.csv in the run's folder grows cell by cell, and the same command goes on from there."""
    from racviz.sweep import Book, run_sweep, studies_of

    if list_:
        for study in studies_of(grid):
            for source, sparsity in study.cells:
                print(
                    f"{study.model} {study.domain} {source} {sparsity:g} {study.method} {study.pattern} {study.mode} seed {study.seed}"
                )
        return
    frame = run_sweep(grid, workers=workers, retry=retry, timing_problems=timing_problems)
    folder = studies_of(grid)[0].folder
    print(f"{len(frame)} cells: {folder / 'results.csv'}")
    if failed := Book(folder).failed:
        for cell, error in failed.items():
            print(f"failed: {cell}: {error}", file=sys.stderr)
        print("The same command with --retry runs them again.", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def results(
    run: Annotated[Path, typer.Argument(help="Folder of a run (runs/NAME), or its results.csv.")],
    where: Annotated[list[str] | None, typer.Option(help="column=value; repeat for more columns.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns to show, with commas between.")] = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by.")] = None,
    latex: Annotated[bool, typer.Option("--latex", help="As a LaTeX table (booktabs), accuracy with its SE.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, every digit; all columns where --columns is not given.")] = False,
) -> None:
    """Show the results of a sweep or a report, or some of them; for a paper with --latex or --csv."""
    from racviz.results import chosen_results, latex_table
    from racviz.study import RESULT_COLUMNS

    if latex and csv:
        raise ParameterError("--latex and --csv are two forms of the same table; give one.")
    chosen = columns.split(",") if columns else RESULT_COLUMNS if csv else None
    frame = chosen_results(run, where or [], chosen, sort)
    if latex or csv:
        print(latex_table(frame) if latex else frame.to_csv(index=False), end="\n" if latex else "")
        return
    print(frame.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep=""))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the reports.")] = Path("reports"),
    problems: Annotated[int, typer.Option(help="Test problems a cell.")] = 100,
    model: Annotated[str, typer.Option(help="The model to prune.")] = "tiny-reasoner",
) -> None:
    """The paper's picture, measured: prune the embedded model three ways and build the reports. About 8 minutes on two cores."""
    from racviz.demo import run_demo

    run_demo(out, problems, model)


@app.command()
def cache(
    list_: Annotated[bool, typer.Option("--list", help="List the artefacts.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove artefacts.")] = False,
    older_than: Annotated[float, typer.Option(help="With --prune: only those older than so many days.")] = 0.0,
    kind: Annotated[str | None, typer.Option(help="With --prune: only those of this kind, e.g. checkpoints.")] = None,
) -> None:
    """Show or clean the cache of finished steps."""
    from racviz.store import Store

    store = Store.default()
    if prune:
        print(f"{store.prune(older_than, kind) / 2**20:.1f} MiB freed in {store.root}")
        return
    entries = store.entries()
    if list_:
        for row in entries:
            print(f"{row['kind']:<12} {row['key']}  {row['bytes'] / 2**20:9.2f} MiB  {row['created']}")
    print(f"{len(entries)} artefacts, {sum(row['bytes'] for row in entries) / 2**20:.1f} MiB in {store.root}")


def _enough(tokens: int) -> int:
    """Tokens of traces to read for so many of calibration: some more, since the longest are cut and the order is drawn."""
    return 4 * tokens


def main() -> None:
    """Run the command line."""
    app(prog_name="racviz")


if __name__ == "__main__":
    main()
