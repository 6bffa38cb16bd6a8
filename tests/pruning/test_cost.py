"""Expected cost of a run, against runs that were measured (benchmarks/results) and the table in docs/performance.md."""

import csv
import re
from pathlib import Path

import pytest
import torch

import racviz as rv
from racviz.exceptions import ParameterError
from racviz.pruning.blocks import Scope
from racviz.pruning.cost import Machine, Shapes, expected_cost

ROOT = Path(__file__).parents[2]
MEASURED = list(csv.DictReader(open(ROOT / "benchmarks/results/pruning-memory.csv")))
REASONERS = {  # DeepSeek-R1-Distill-Qwen: hidden, intermediate, layers, heads, key-value heads, vocabulary
    "1.5B": (1536, 8960, 28, 12, 2, 151_936), "7B": (3584, 18_944, 28, 28, 4, 152_064),
    "14B": (5120, 13_824, 48, 40, 8, 152_064), "32B": (5120, 27_648, 64, 40, 8, 152_064),
}  # fmt: skip
HERE, A100 = Machine(2.6e11, 2.5e10), Machine(1.95e13, 2.0e12)


def on_meta(kind, dtype=torch.float32, **settings):
    import transformers

    with torch.device("meta"):
        return getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**settings)).to(dtype)


def smollm2():
    return on_meta("Llama", vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                   num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True)  # fmt: skip


def reasoner(name):
    hidden, wide, layers, heads, kv, vocabulary = REASONERS[name]
    return on_meta("Qwen2", torch.bfloat16, vocab_size=vocabulary, hidden_size=hidden, intermediate_size=wide,
                   num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv)  # fmt: skip


def test_shapes_know_which_linears_share_an_input(tiny):
    shapes = Shapes.of(smollm2())
    assert shapes.inputs == (576, 576, 576, 1536) and shapes.blocks == 30
    assert shapes.linears[:3] == ((576, 576), (192, 576), (192, 576))
    assert shapes.model_bytes == 4 * 134_515_008 and shapes.itemsize == 4
    own = Shapes.of(tiny.model)
    assert own.hidden == tiny.model.config.hidden_size and len(own.inputs) == 4


@pytest.mark.parametrize("run", MEASURED, ids=lambda r: f"{r['model']}-{r['tokens']}-{r['mode']}-{r['on_disk']}")
def test_measured_runs_are_predicted_within_a_quarter(run):
    tiny = run["model"].startswith("tiny")
    model = rv.load_model("tiny-reasoner").model if tiny else smollm2()
    shapes = Shapes.of(model, Scope("all", (1, 2, 3) if tiny else (1,)))
    machine = Machine(float(run["flops"]), float(run["bandwidth"]))
    cost = expected_cost(shapes, int(run["tokens"]), machine, mode=run["mode"], phases=1, on_disk=run["on_disk"] == "True")
    assert cost.total_seconds == pytest.approx(float(run["total_seconds"]), rel=0.25)
    assert cost.total_memory / 2**20 == pytest.approx(float(run["peak_mb"]), rel=0.25)


def test_the_measured_memory_does_not_grow_with_tokens_that_are_on_disk():
    peaks = {int(r["tokens"]): float(r["peak_mb"]) for r in MEASURED if r["on_disk"] == "True"}
    assert set(peaks) == {16_384, 65_536, 262_144} and max(peaks.values()) < 1.35 * min(peaks.values())


def test_cost_follows_tokens_mode_and_disk():
    shapes, machine = Shapes.of(smollm2()), HERE
    one, ten = (expected_cost(shapes, n, machine) for n in (10_000, 100_000))
    assert ten.seconds["moments"] == pytest.approx(10 * one.seconds["moments"])
    assert ten.seconds["factor"] == one.seconds["factor"] and ten.memory["hidden"] == 10 * one.memory["hidden"]
    sequential = expected_cost(shapes, 10_000, machine, mode="sequential")
    assert 1.5 < sequential.seconds["forward"] / one.seconds["forward"] < 2
    disk = [expected_cost(shapes, n, machine, on_disk=True).total_memory for n in (10_000, 10_000_000)]
    assert disk[0] == disk[1]


@pytest.mark.parametrize("bad", [dict(mode="both"), dict(tokens=0), dict(phases=3)])
def test_bad_parameters_are_named(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        expected_cost(Shapes.of(smollm2()), **{"tokens": 1000, "machine": HERE} | bad)


def documented_row(name):
    """Weights, a block, hidden states of 1M tokens, device memory beyond them; hours on the benchmarks' CPU and on an A100."""
    shapes = Shapes.of(reasoner(name))
    runs = dict(mode="one-pass", length=4096, phases=2, on_disk=True)
    cpu, gpu = (expected_cost(shapes, 10**6, m, **runs, device=d) for m, d in ((HERE, "cpu"), (A100, "cuda")))
    hidden = shapes.itemsize * 10**6 * shapes.hidden
    gib = [x / 2**30 for x in (shapes.model_bytes, shapes.block_bytes, hidden, gpu.total_memory + shapes.block_bytes)]
    hours = [cost.total_seconds / 3600 for cost in (cpu, gpu)]
    return f"| {name} | {gib[0]:.1f} | {gib[1]:.2f} | {gib[2]:.1f} | {gib[3]:.1f} | {hours[0]:.0f} | {hours[1]:.1f} |"


@pytest.mark.parametrize("name", REASONERS)
def test_the_documentation_says_what_the_formulas_say(name):
    assert re.sub(r" +", " ", documented_row(name)) in re.sub(
        r" +", " ", (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    )
