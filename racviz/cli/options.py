"""Options that several commands share."""

from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        help="tiny-reasoner, tiny-reasoner-small, tiny-reasoner-seed1, smollm2, a local folder, or a hub id owner/name."
    ),
]
Problems = Annotated[
    str,
    typer.Option(help="arithmetic, tracing, a JSONL, CSV or Parquet file, math-500, gsm8k, … or a hub id."),
]
Limit = Annotated[int | None, typer.Option(help="Take the first so many problems.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy decoding.")]
TopP = Annotated[float, typer.Option(help="Nucleus sampling; 1 is off.")]
Seed = Annotated[int, typer.Option(help="Seed; each problem and sample draws from a generator of its own.")]
Batch = Annotated[int, typer.Option(help="Sequences generated at a time.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, …, or map: spread over all GPUs.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Backend = Annotated[
    str,
    typer.Option(help="hf, vllm, or the address of a vLLM server; settings after a question mark."),
]
Thinking = Annotated[
    str,
    typer.Option(help="The model's marks of thought: auto, on, off, deepseek-r1, plain, …, switch=value or two markers."),
]
RemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")]
Parameter = Annotated[
    list[str] | None,
    typer.Option("-p", "--parameter", help="key=value, e.g. -p sparsities=[0.5,0.6]; repeat for more."),
]
