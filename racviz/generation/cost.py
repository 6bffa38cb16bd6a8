"""Expected time of generation, counted from the shapes of the model, for the decode loop of `hf`.

A step of decoding reads every weight once and multiplies it with as many rows as still run; the rest is calls. What is fitted is named
below and checked against measured runs (benchmarks/results/plan.csv).
"""

from dataclasses import dataclass

from racviz.pruning.cost import FP32, HALF_SPEED_FORWARD, Machine, Shapes, expected_cost

SECONDS_A_CALL = 2.0e-5
"""Seconds of one small operation; a block has about forty of them."""
CALLS_A_BLOCK = 40
HALF_SPEED_ROWS = 24
"""Rows at which a product of a weight with rows reaches half the speed of a large one."""
KV_PASSES = 2.0
"""Times that a step reads the keys and values so far."""
SAMPLING_PASSES = 12
"""Times that a step goes over the logits of a row."""


@dataclass(frozen=True)
class Rows:
    """A workload: rows with a prompt of about `prompt` tokens, `mean` new ones on average, `longest` at most, in batches."""

    count: int
    prompt: float
    mean: float
    longest: int
    batch: int

    @property
    def tokens(self) -> int:
        return round(self.count * self.mean)


def generation_seconds(shapes: Shapes, vocabulary: int, kv_width: int, rows: Rows, machine: Machine) -> float:
    """Expected seconds to generate the rows. kv_width: elements of keys and values that a token leaves in one block."""
    linear = (
        shapes.blocks * sum(r * c for r, c in shapes.linears) + vocabulary * shapes.hidden
    )  # weights a token is multiplied with
    flops = machine.flops if shapes.itemsize == FP32 else machine.half_flops or machine.flops
    width = flops * shapes.hidden / (shapes.hidden + HALF_SPEED_FORWARD)
    batches = -(-rows.count // rows.batch)
    steps = batches * rows.longest
    running = rows.tokens / max(1, steps)  # rows a step, on average: those that have ended have left
    product = 2 * linear * running / (width * running / (running + HALF_SPEED_ROWS))
    step = max(linear * shapes.itemsize / machine.bandwidth, product) + shapes.blocks * CALLS_A_BLOCK * SECONDS_A_CALL
    sofar = rows.prompt + rows.mean / 2
    step += running * sofar * kv_width * shapes.blocks * shapes.itemsize * KV_PASSES / machine.bandwidth
    step += running * vocabulary * FP32 * SAMPLING_PASSES / machine.bandwidth
    prefill = 2 * linear * rows.count * rows.prompt / width
    return steps * step + prefill


def errors_seconds(shapes: Shapes, tokens: int, length: float, machine: Machine) -> float:
    """Expected seconds to take `tokens` tokens through the whole model, in rows of about `length`, for their last hidden states."""
    cost = expected_cost(shapes, max(1, tokens), machine, length=max(1, round(length)), phases=1)
    return cost.seconds["forward"]
