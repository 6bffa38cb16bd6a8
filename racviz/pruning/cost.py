"""Expected time and memory of a pruning run, counted from the shapes of the model.

The counts follow the code: products by their arithmetic at the machine's speed of a large product, the rest by the bytes that
it moves. What is fitted (the passes over memory, the seconds a call) is named below and checked against measured runs.
"""

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from racviz.exceptions import check, unknown
from racviz.pruning.blocks import Scope, decoder_blocks, read_columns
from racviz.pruning.stream import EnoughSeen, batch_tokens_on

FP32 = 4
FORWARD_PASSES = 32
"""Times that a block's forward reads or writes its hidden states; its widest activations it does half as often."""
SOLVE_PASSES = 90
"""Times that solving a linear reads or writes its weight."""
SECONDS_A_LINEAR, SECONDS_A_BATCH = 0.004, 0.001
ATTENTION = 0.3
"""Speed of attention on a CPU, as a share of that of a large product."""
HALF_SPEED_FORWARD, HALF_SPEED_FACTOR = 128, 1800
"""The width at which products, and factorisations, reach half the speed of a large product; n reaches n / (n + this)."""


@dataclass(frozen=True)
class Machine:
    """Speed of a machine: products and copies."""

    flops: float
    """Floating-point operations a second of a large fp32 product."""
    bandwidth: float
    """Bytes a second, read and written, of a large copy."""
    disk: float = 2.5e8
    """Bytes a second that are made durable; not measured by `measured`, but on the machine of the benchmarks."""
    half_flops: float | None = None
    """Speed of a large 16-bit product, where it differs; for generation, since pruning computes in fp32."""

    @classmethod
    @functools.cache
    def measured(cls, size: int = 3000, rounds: int = 5) -> "Machine":
        """Measure the CPU here, with the threads that torch has: the best of a few rounds, half a second, once a process."""
        a, b, source = torch.randn(size, size), torch.randn(size, size), torch.ones(16 * 2**20)
        target = torch.empty_like(source)

        def best(run) -> float:
            seconds = []
            for _ in range(rounds):
                began = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - began)
            return min(seconds)

        return cls(2 * size**3 / best(lambda: a @ b), 2 * source.nbytes / best(lambda: target.copy_(source)))


@dataclass(frozen=True)
class Shapes:
    """The sizes that a run's cost depends on."""

    linears: tuple[tuple[int, int], ...]
    """(rows, columns) of each linear of one block."""
    inputs: tuple[int, ...]
    """The columns of each distinct input of one block."""
    blocks: int
    hidden: int
    itemsize: int
    """Bytes of a weight, and of a hidden state, as the model is loaded."""
    block_bytes: int
    """The weights of one block as they are loaded."""
    model_bytes: int

    @classmethod
    def of(cls, model: Any, scope: Scope | None = None) -> "Shapes":
        """From a transformers model, which may be on the meta device (no weights needed); the first block stands for all."""
        scope = scope or Scope()
        linears = scope.linears(model)
        first = min(linears)
        block = decoder_blocks(model)[1][first]
        return cls(
            linears=tuple((m.get_parameter("weight").numel() // read_columns(m), read_columns(m)) for m in linears[first].values()),
            inputs=tuple(_distinct_inputs(model, linears[first])),
            blocks=len(linears),
            hidden=model.config.get_text_config().hidden_size,
            itemsize=next(block.parameters()).element_size(),
            block_bytes=sum(p.numel() * p.element_size() for p in block.parameters()),
            model_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
        )  # fmt: skip


def _distinct_inputs(model, linears) -> Iterator[int]:
    """The columns of each distinct input of these linears, from a forward of eight tokens."""
    seen: dict[int, torch.Tensor] = {}
    waiting = set(linears)

    def hook(name):
        def look(module, args):
            seen[id(args[0])] = args[0]
            waiting.discard(name)
            if not waiting:
                raise EnoughSeen

        return look

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in linears.items()]
    try:
        with torch.no_grad():
            ids = torch.zeros(1, 8, dtype=torch.long, device=model.device)
            mask = torch.zeros(1, 1, 8, 8, device=model.device)  # made by the model it would be looked into, which meta cannot
            model(input_ids=ids, attention_mask=mask, use_cache=False)
    except EnoughSeen:
        pass
    finally:
        for handle in handles:
            handle.remove()
    for x in seen.values():
        yield x.shape[-1]


@dataclass(frozen=True)
class Cost:
    """Expected seconds and bytes of a run of SparseGPT."""

    seconds: dict[str, float]
    """forward, moments, factor, solve, disk."""
    memory: dict[str, int]
    """Bytes at the peak beyond the model and the libraries: pruned weights that are held, hidden states, moments, and what the
    solver or the forward works with."""

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def total_memory(self) -> int:
        return sum(self.memory.values())


def expected_cost(
    shapes: Shapes, tokens: int, machine: Machine, *, mode: str = "one-pass", length: int = 512, phases: int = 2,
    on_disk: bool = False, device: str = "cpu",
) -> Cost:  # fmt: skip
    """The expected cost of pruning with SparseGPT on `tokens` calibration tokens in rows of about `length`.

    device: what the blocks run on. phases: 2 where the set has prompt and decode tokens, 1 where it has one kind. on_disk: a
    workspace holds the hidden states. ATTENTION and the widths of half speed are those of a CPU; elsewhere the time is a guess.
    The passes over a block: one, or in sequential mode two, the first of which ends before the last product.
    """
    if mode not in ("one-pass", "sequential"):
        raise unknown("mode", mode, ("one-pass", "sequential"))
    check(tokens >= 1, "tokens", tokens, "an integer >= 1")
    check(phases in (1, 2), "phases", phases, "1 or 2")
    products, widest, d = 2 * sum(r * c for r, c in shapes.linears), max(shapes.inputs), shapes.hidden
    last = 2 * shapes.linears[-1][0] * shapes.linears[-1][1]
    runs, full = (1, 1.0) if mode == "one-pass" else (2, 2 - last / products)
    fast = machine.flops * d / (d + HALF_SPEED_FORWARD)
    batch = min(tokens, max(length, batch_tokens_on(device)))
    solving = sum(r * c for r, c in shapes.linears)
    a_block = {
        "forward": (
            full * tokens * products / fast
            + runs * tokens * 2 * length * d / (ATTENTION * machine.flops)  # causal: half of all pairs
            + runs * tokens * (d + widest / 2) * FORWARD_PASSES * FP32 / machine.bandwidth
            + runs * tokens / batch * SECONDS_A_BATCH
        ),
        "moments": sum(tokens * c * (1.1 * c / fast + 2 * FP32 / machine.bandwidth) for c in shapes.inputs),
        "factor": sum(2 / 3 * c**2 * (c + HALF_SPEED_FACTOR) / machine.flops for c in shapes.inputs),
        "solve": (
            sum(3 * r * c**2 for r, c in shapes.linears) / fast  # one in the solver, two in the error that is reported
            + SOLVE_PASSES * solving * FP32 / machine.bandwidth
            + SECONDS_A_LINEAR * len(shapes.linears)
        ),
        "disk": shapes.itemsize * tokens * d / machine.disk if on_disk else 0.0,
    }  # fmt: skip
    largest = max(r * c for r, c in shapes.linears)
    working = FP32 * (  # a sum, not the larger: the C library keeps what the one has freed while the other works
        2 * widest**2 + 5 * largest  # solving: H as mixed, its factor; the weight, its transposes and masks
        + batch * (12 * d + 8 * widest)  # a batch in the block
    )  # fmt: skip
    memory = {
        "weights": 0 if on_disk else shapes.itemsize * shapes.blocks * solving,
        "hidden": 0 if on_disk else shapes.itemsize * tokens * d,
        "moments": FP32 * phases * sum(c**2 for c in shapes.inputs),
        "working": working,
    }
    return Cost({part: shapes.blocks * seconds for part, seconds in a_block.items()}, memory)
