"""What `racviz report figure2` takes on a machine, step by step, against what its plan expects: `python benchmarks/plan.py [MODEL …]`.

Each model's report runs in a cache of its own, so that nothing is read from an earlier run; the seconds of each step are those that the
artefacts' manifests keep. The expectation is made from what the plan cannot know beforehand: how long the answers were.
smollm2 wants GSM8K, MATH-500 and C4: `--data FOLDER` with gsm8k-train.jsonl, MATH-500.jsonl and c4-sample.jsonl, or nothing for the hub.
Results go to benchmarks/results/plan.csv.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"


def parameters_of(model: str, data: Path | None, run: str) -> dict[str, str]:
    common = {"model": model, "run": run}
    if model != "smollm2":
        return common | {"sparsities": "[0.5]", "problems": "100"}
    files = {"calibration_problems": "gsm8k-train.jsonl", "test_problems": "MATH-500.jsonl", "generic_text": "c4-sample.jsonl"}
    hub = {"calibration_problems": "gsm8k", "test_problems": "math-500", "generic_text": "c4"}
    chosen = {key: str(data / name) for key, name in files.items()} if data else hub
    sizes = {"problems": "32", "budget": "256", "t_max": "256", "calibration_tokens": "24000", "sparsities": "[0.5]"}
    return common | {"domain": "MATH-500"} | chosen | sizes


def peak_of(process: subprocess.Popen) -> tuple[float, float]:
    """Wall seconds of a process, and the peak of what it and its children hold, in MB, mapped files and all."""
    began, peak = time.perf_counter(), [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            try:
                me = psutil.Process(process.pid)
                peak[0] = max(peak[0], sum(p.memory_info().rss for p in [me, *me.children(recursive=True)]) / 1e6)
            except psutil.NoSuchProcess:
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    process.wait()
    over.set()
    return time.perf_counter() - began, peak[0]


def measure(model: str, data: Path | None) -> list[dict]:
    from racviz.pruning.cost import Machine

    machine = Machine.measured()
    with tempfile.TemporaryDirectory() as folder:
        cache, out = Path(folder) / "cache", Path(folder) / "reports"
        given = [f"-p{key}={value}" for key, value in parameters_of(model, data, str(Path(folder) / "run")).items()]
        environment = os.environ | {"RACVIZ_CACHE": str(cache)}
        if model == "smollm2":  # converting its file once is not part of the report
            subprocess.run([sys.executable, "-c", "import racviz; racviz.load_model('smollm2')"], env=environment, check=True)
        command = [sys.executable, "-m", "racviz", "report", "figure2", "--out", str(out), *given]
        wall, peak = peak_of(subprocess.Popen(command, env=environment))
        rows = list(steps_of(cache))
        made = json.loads(next((out).glob("*.ipynb")).read_text())
        assert made["cells"], "the report failed"
    speed = dict(model=model, flops=f"{machine.flops:.3g}", bandwidth=f"{machine.bandwidth:.3g}")
    for row in rows:
        print(speed | row, flush=True)
    total = dict(step="all", seconds=round(wall, 1), peak_mb=round(peak), tokens=sum(int(row["tokens"]) for row in rows))
    print(speed | total, flush=True)
    return [speed | row for row in [*rows, total]]


def steps_of(cache: Path):
    """A row an artefact: which step, its seconds without those of the artefacts that were made meanwhile, and what went into it."""
    from racviz.store.parquet import read_parquet
    from racviz.traces import Traces

    manifests = [json.loads(path.read_text()) | {"folder": path.parent} for path in cache.glob("*/*/manifest.json")]
    by_kind = {kind: [m for m in manifests if m["kind"] == kind] for kind in {m["kind"] for m in manifests}}
    for m in by_kind["batches"]:
        lengths = [len(ids) for ids in read_parquet(m["folder"] / "data.parquet")[0]["output_ids"]]
        prompts = [len(request["prompt_ids"]) for request in m["parameters"]["requests"]]
        kind = "rollouts" if m["parameters"]["sampling"]["temperature"] == 0 else "traces"
        yield dict(step=kind, seconds=m["seconds"], rows=len(lengths), prompt=round(sum(prompts) / len(prompts), 1),
                   mean=round(sum(lengths) / len(lengths), 1), longest=max(lengths), tokens=sum(lengths))  # fmt: skip
    rollouts = max((Traces.load(m["folder"] / "data.parquet") for m in by_kind["traces"]
                    if m["parameters"]["sampling"]["temperature"] == 0), key=len)  # fmt: skip
    tokens = sum(map(len, rollouts))
    for m in by_kind["checkpoints"]:
        report = m["folder"] / "checkpoint" / "racviz.json"
        calibration = json.loads(report.read_text())["calibration"]
        yield dict(step=f"prune {m['parameters']['mode']}", seconds=m["seconds"], tokens=calibration["tokens"],
                   length=round(calibration["tokens"] / calibration["sequences"]), phases=1 + (calibration["source"] == "rac"))  # fmt: skip
    for m in by_kind["errors"]:  # the models are pruned meanwhile, where they were not there
        mine = [each["mode"] for each in m["parameters"]["pruned"]]
        nested = sum(c["seconds"] for c in by_kind["checkpoints"] if c["parameters"]["mode"] == mine[0])
        yield dict(step="errors", seconds=round(m["seconds"] - nested, 3), tokens=2 * len(mine) * tokens, rows=len(rollouts),
                   length=round(tokens / len(rollouts)))  # fmt: skip
    for m in by_kind["layerwise"]:
        yield dict(step="layers", seconds=m["seconds"], tokens=tokens, length=round(tokens / len(rollouts)), rows=len(rollouts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["tiny-reasoner", "smollm2"])
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    rows = [row for model in arguments.models for row in measure(model, arguments.data)]
    columns = [
        "model",
        "step",
        "seconds",
        "tokens",
        "rows",
        "prompt",
        "mean",
        "longest",
        "length",
        "phases",
        "peak_mb",
        "flops",
        "bandwidth",
    ]
    with (RESULTS / "plan.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
