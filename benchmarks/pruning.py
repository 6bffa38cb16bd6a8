"""Pruning against its peers on this machine, in turns in one process: `make bench`, or one part: `python benchmarks/pruning.py solve`.

solve    SparseGPT on single linears: racviz, llm-compressor's functions, a plain reference; beside the arithmetic's floor
moments  the second moment of one input against tokens
block    the moments and the solve of one Qwen2.5-1.5B-shaped block, racviz and llm-compressor's functions
model    all of a model of SmolLM2-135M's shape, sequentially, racviz and llm-compressor's `oneshot`
alps     ALPS, racviz and the published iteration in plain torch
quality  error on the calibration inputs and on held-out ones against solver seconds
memory   peak memory and seconds of whole runs, beside what racviz.pruning.cost expects

Tables (CSV) and a plot (HTML) go to benchmarks/results/, with machine and versions.
"""

import argparse
import contextlib
import functools
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import racviz as rv
from racviz.calibration import CalibrationSet
from racviz.pruning import LinearInputs, Pattern, solver_named
from racviz.pruning.inputs import inverse_factor
from racviz.pruning.moment import Moment

RESULTS = Path(__file__).parent / "results"
SHAPES = ((576, 1536), (1536, 1536), (8960, 1536), (1536, 8960), (1536, 576), (1536, 4096))
"""Rows and columns; the last two are there for the plot."""
SPARSITY = 0.5


def activations(tokens: int, columns: int, seed: int = 0) -> torch.Tensor:
    """`[tokens, columns]`, correlated through a low-rank part, with scales that differ between columns."""
    generator = torch.Generator().manual_seed(seed)
    rank = min(columns // 4, 512)
    mixing = torch.randn(rank, columns, generator=torch.Generator().manual_seed(99)) / rank**0.5
    x = torch.randn(tokens, rank, generator=generator) @ mixing + 0.3 * torch.randn(tokens, columns, generator=generator)
    return x * torch.logspace(0.3, -0.7, columns)[torch.randperm(columns, generator=torch.Generator().manual_seed(98))]


def timed(run: Callable, *arguments) -> tuple[float, object]:
    began = time.perf_counter()
    result = run(*arguments)
    return time.perf_counter() - began, result


def matmul_speed(size: int = 3000) -> float:
    """Floating-point operations a second of a large fp32 product, the best of fifteen."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return max(2 * size**3 / timed(torch.matmul, a, b)[0] for _ in range(15))


def peer_sparsegpt(weight: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """llm-compressor's `sparsify_weight`; it prunes int(sparsity · size) + 1 of a block."""
    from llmcompressor.modifiers.pruning.sparsegpt.sgpt_sparsify import sparsify_weight

    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight.clone()
    size = weight.shape[0] * min(128, weight.shape[1])
    sparsity = (round(SPARSITY * size) - 0.5) / size
    return sparsify_weight(
        module=linear, hessians_dict={linear: moment.clone()}, sparsity=sparsity, prune_n=0, prune_m=0, block_size=128,
        dampening_frac=0.01, preserve_sparsity_mask=False,
    )[1].detach().float()  # fmt: skip


def factor_as_published(moment: torch.Tensor) -> torch.Tensor:
    """Cholesky, inverse, Cholesky: what the reference and llm-compressor do."""
    h = moment.clone()
    h.diagonal().add_(0.01 * h.diagonal().mean())
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)


def loop_as_published(weight: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The reference's column loop, plain."""
    w = weight.clone()
    rows, columns = w.shape
    for start in range(0, columns, 128):
        end = min(start + 128, columns)
        block, factor = w[:, start:end].clone(), u[start:end, start:end]
        saliency = block**2 / factor.diagonal() ** 2
        mask = saliency <= saliency.flatten().sort()[0][round(SPARSITY * saliency.numel()) - 1]
        errors = torch.zeros_like(block)
        for j in range(end - start):
            q = block[:, j].masked_fill(mask[:, j], 0)
            errors[:, j] = (block[:, j] - q) / factor[j, j]
            block[:, j:] -= errors[:, j, None] @ factor[None, j, j:]
            w[:, start + j] = q
        w[:, end:] -= errors @ u[start:end, end:]
    return w


def in_float64(weight: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """The mask of the same algorithm in fp64, by which rounding is judged."""
    return loop_as_published(weight.double(), inverse_factor(moment.double())[0]) == 0


def solve(rounds: int) -> pd.DataFrame:
    speed, rows = matmul_speed(), []
    for r, c in SHAPES:
        x = activations(4 * c, c)
        weight, moment = torch.randn(r, c, generator=torch.Generator().manual_seed(1)) / c**0.5, x.T @ x
        del x
        floor = {"factor": 2 * c**3 / 3 / speed, "solve": r * c**2 / speed}
        runs: dict[str, list] = {"racviz": [], "llm-compressor": [], "reference": []}
        for turn in range(rounds + 1):  # the first warms up
            inputs = LinearInputs(moment)
            factor, _ = timed(getattr, inputs, "inverse_factor")
            whole, (ours, mask, _) = timed(solver_named("sparsegpt"), weight, inputs, Pattern(), SPARSITY)
            theirs_whole, theirs = timed(peer_sparsegpt, weight, moment)
            theirs_factor, u = timed(factor_as_published, moment)
            loop, plain = timed(loop_as_published, weight, u)
            if turn:
                runs["racviz"].append((factor, whole))
                runs["llm-compressor"].append((theirs_factor, theirs_whole - theirs_factor))
                runs["reference"].append((theirs_factor, loop))
        exact = in_float64(weight, moment)
        masks = {"racviz": mask, "llm-compressor": theirs == 0, "reference": plain == 0}
        for name, times in runs.items():
            table = torch.tensor(times)
            rows.append({
                "rows": r, "columns": c, "by": name, "factor": table[:, 0].min().item(), "loop": table[:, 1].min().item(),
                "total": table.sum(1).min().item(), "equal_to_racviz": float((masks[name] == mask).float().mean()),
                "equal_to_float64": float((masks[name] == exact).float().mean()), "rounds": rounds,
            })  # fmt: skip
        rows.append({"rows": r, "columns": c, "by": "floor", "factor": floor["factor"], "loop": floor["solve"],
                     "total": sum(floor.values())})  # fmt: skip
        print(pd.DataFrame(rows[-4:]).round(4).to_string(index=False), flush=True)
    frame = pd.DataFrame(rows)
    for name in ("llm-compressor", "reference", "floor"):
        for part in ("loop", "total"):
            other = frame[frame.by == name].set_index(["rows", "columns"])[part]
            ours = frame[frame.by == "racviz"].set_index(["rows", "columns"])[part]
            print(f"{part}: {name} / racviz:", (other / ours).round(2).to_dict())
    return frame.assign(matmul_gflops=speed / 1e9)


def moments(rounds: int, columns: int = 1536, batch: int = 2048) -> pd.DataFrame:
    """The second moment of one input: racviz's symmetric update and llm-compressor's `accumulate_hessian`."""
    from llmcompressor.modifiers.pruning.sparsegpt.sgpt_sparsify import accumulate_hessian, make_empty_hessian

    def ours(parts):
        moment = Moment(columns)
        for part in parts:
            moment.add(1, part)
        return moment.finish()

    def theirs(parts):
        linear, count = torch.nn.Linear(columns, 8, bias=False), 0
        h = make_empty_hessian(linear)
        for part in parts:
            h, count = accumulate_hessian(part[None], linear, h, count)
        return h

    speed, rows = matmul_speed(), []
    for tokens in (2048, 8192, 32_768, 131_072):
        parts = [activations(min(batch, tokens), columns)] * -(-tokens // batch)
        turns = torch.tensor([(timed(ours, parts)[0], timed(theirs, parts)[0]) for _ in range(rounds + 1)][1:]).min(0).values
        for by, seconds in zip(
            ("racviz", "llm-compressor", "floor"), [*turns.tolist(), tokens * columns**2 / speed], strict=True
        ):
            rows.append({"tokens": tokens, "columns": columns, "by": by, "seconds": seconds, "rounds": rounds})
        print(pd.DataFrame(rows[-3:]).round(3).to_string(index=False), flush=True)
    return pd.DataFrame(rows).assign(matmul_gflops=speed / 1e9)


LINEARS = {"q": (1536, 1536, "attention"), "k": (256, 1536, "attention"), "v": (256, 1536, "attention"), "o": (1536, 1536, "o"),
           "gate": (8960, 1536, "mlp"), "up": (8960, 1536, "mlp"), "down": (1536, 8960, "down")}  # fmt: skip
"""The linears of a Qwen2.5-1.5B block: rows, columns, and which input each reads."""


def block(rounds: int, tokens: int = 16_384, batch: int = 2048) -> pd.DataFrame:
    from llmcompressor.modifiers.pruning.sparsegpt.sgpt_sparsify import accumulate_hessian, make_empty_hessian

    inputs = {name: activations(tokens, columns, seed) for seed, (name, columns) in
              enumerate({i: c for _, c, i in LINEARS.values()}.items())}  # fmt: skip
    weights = {
        n: torch.randn(r, c, generator=torch.Generator().manual_seed(k)) / c**0.5
        for k, (n, (r, c, _)) in enumerate(LINEARS.items())
    }
    speed, rows = matmul_speed(), []
    columns = {name: x.shape[1] for name, x in inputs.items()}
    floor = {
        "moments": sum(tokens * c**2 for c in columns.values()) / speed,
        "solve": (sum(2 * c**3 / 3 for c in columns.values()) + sum(r * c**2 for r, c, _ in LINEARS.values())) / speed,
    }

    def our_moments():
        found = {name: Moment(x.shape[1]) for name, x in inputs.items()}
        for name, x in inputs.items():
            for part in x.split(batch):
                found[name].add(1, part)
            found[name].finish()
        return found

    def our_solve(moments):
        known = {name: LinearInputs(moment.mixed()) for name, moment in moments.items()}
        return {n: solver_named("sparsegpt")(weights[n], known[i], Pattern(), SPARSITY)[1] for n, (_, _, i) in LINEARS.items()}

    def their_moments():
        found = {}
        for name, (r, c, source) in LINEARS.items():
            linear, count = torch.nn.Linear(c, r, bias=False), 0
            h = make_empty_hessian(linear)
            for part in inputs[source].split(batch):
                h, count = accumulate_hessian(part[None], linear, h, count)
            found[name] = h
        return found

    def their_solve(moments):
        return {name: peer_sparsegpt(weights[name], h) == 0 for name, h in moments.items()}

    for turn in range(rounds):
        ours, moments = timed(our_moments)
        ours_solve, mask = timed(our_solve, moments)
        del moments
        theirs, moments = timed(their_moments)
        theirs_solve, their_mask = timed(their_solve, moments)
        del moments
        equal = min(float((mask[n] == their_mask[n]).float().mean()) for n in LINEARS)
        rows += [
            {
                "turn": turn,
                "by": "racviz",
                "moments": ours,
                "solve": ours_solve,
                "total": ours + ours_solve,
                "equal_masks": equal,
            },
            {"turn": turn, "by": "llm-compressor", "moments": theirs, "solve": theirs_solve, "total": theirs + theirs_solve},
            {"turn": turn, "by": "floor", **floor, "total": sum(floor.values())},
        ]
        print(pd.DataFrame(rows[-3:]).round(3).to_string(index=False), flush=True)
        print(f"llm-compressor / racviz: {rows[-2]['total'] / rows[-3]['total']:.2f}", flush=True)
    return pd.DataFrame(rows).assign(tokens=tokens, matmul_gflops=speed / 1e9)


def alps_as_published(weight: torch.Tensor, moment: torch.Tensor, sparsity: float, rho: float = 0.1) -> torch.Tensor:
    """The ADMM of the ALPS authors in plain torch: eigendecomposition in fp64, two products an iteration, top-k by sorting."""
    h = moment.clone()
    h.diagonal().add_(0.01 * h.diagonal().mean())
    scale = h.diagonal().rsqrt()
    h, w = h * scale[:, None] * scale, weight / scale
    values, vectors = (t.float() for t in torch.linalg.eigh(h.double()))
    g, keep = w @ h, weight.numel() - round(sparsity * weight.numel())

    def project(x):
        chosen = torch.zeros(x.numel())
        index = x.abs().flatten().topk(keep).indices
        chosen[index] = x.flatten()[index]
        return chosen.view_as(x)

    d, v = project(w), torch.zeros_like(w)
    looked = d != 0
    for iteration in range(1, 301):
        x = (((g - v + rho * d) @ vectors) / (values + rho)) @ vectors.T
        d = project(x + v / rho)
        v += rho * (x - d)
        if iteration % 3 == 0:
            changed = int(((d != 0) != looked).sum()) / keep
            if changed == 0 or (iteration >= 30 and changed < 3e-4):
                break
            rho *= 1.3 if changed >= 0.1 else 1.2 if changed >= 0.005 else 1.1
            looked = d != 0
    p = r = ((w - d) @ h) * looked  # ten steps of conjugate gradients on the support
    rr = (r * r).sum(1)
    for _ in range(10):
        q = (p @ h) * looked
        alpha = rr / (p * q).sum(1).clamp(min=1e-30)
        d, r = d + alpha[:, None] * p, r - alpha[:, None] * q
        rr, before = (r * r).sum(1), rr
        p = r + (rr / before.clamp(min=1e-30))[:, None] * p
    return d * scale


def alps(rounds: int) -> pd.DataFrame:
    rows = []
    for r, c in ((576, 576), (576, 1536), (1536, 576), (1536, 1536)):
        x = activations(8192, c)
        weight, moment = torch.randn(r, c, generator=torch.Generator().manual_seed(1)) / c**0.5, x.T @ x
        for sparsity in (0.5, 0.7):
            times = []
            for turn in range(rounds + 1):
                ours, (_, mask, details) = timed(solver_named("alps"), weight, LinearInputs(moment), Pattern(), sparsity)
                theirs, other = timed(alps_as_published, weight, moment, sparsity)
                if turn:
                    times.append((ours, theirs))
            equal = float(((other == 0) == mask).float().mean())
            ours, theirs = torch.tensor(times).min(0).values.tolist()
            rows.append({"rows": r, "columns": c, "sparsity": sparsity, "racviz": ours, "plain torch": theirs, "ratio": theirs / ours,
                         "equal_support": equal, "iterations": details["iterations"]})  # fmt: skip
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def quality(rounds: int) -> pd.DataFrame:
    rows = []
    r, c = 1536, 1536
    x, held = activations(8192, c), activations(4096, c, seed=7)
    weight = torch.randn(r, c, generator=torch.Generator().manual_seed(1)) / c**0.5
    moments = {"calibration": x.T @ x, "held out": held.T @ held}
    for sparsity in (0.5, 0.7, 0.8):
        for method in ("magnitude", "wanda", "sparsegpt", "sparsegpt+refit", "alps"):
            seconds, (new, _, _) = timed(
                solver_named(method), weight, LinearInputs(moments["calibration"]), Pattern(), sparsity
            )
            delta = weight - new
            row = {"sparsity": sparsity, "method": method, "seconds": seconds}
            row |= {name: float(((delta @ h) * delta).sum() / ((weight @ h) * weight).sum()) for name, h in moments.items()}
            rows.append(row)
            print(row, flush=True)
    return pd.DataFrame(rows)


class Clock:
    """Seconds that are spent inside wrapped functions, less those inside other wrapped functions that they call."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inner = [0.0]

    def wrap(self, owner, attribute: str, name: str) -> Callable[[], None]:
        """Replace `owner.attribute` by a version that is timed; returns what puts it back."""
        real = getattr(owner, attribute)

        @functools.wraps(real)
        def run(*args, **kwargs):
            began = time.perf_counter()
            self._inner.append(0.0)
            try:
                return real(*args, **kwargs)
            finally:
                took = time.perf_counter() - began
                self.spent[name] = self.spent.get(name, 0.0) + took - self._inner.pop()
                self._inner[-1] += took

        setattr(owner, attribute, run)
        return lambda: setattr(owner, attribute, real)

    @contextlib.contextmanager
    def watching(self, *wraps: tuple[object, str, str]):
        """Wrap for a while; `spent` starts anew, and its `other` is what is in none of them."""
        self.spent = {}
        undo = [self.wrap(*wrap) for wrap in wraps]
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent["total"] = time.perf_counter() - began
            self.spent["other"] = self.spent["total"] - sum(v for k, v in self.spent.items() if k != "total")
            for put_back in undo:
                put_back()


def smollm2(folder: Path) -> rv.LoadedModel:
    """A model of the shape of SmolLM2-135M, with random weights, from a folder (where llm-compressor wants it) that is made once."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if folder.exists():
        return rv.load_model(folder)

    config = LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True, rms_norm_eps=1e-5, max_position_embeddings=8192,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    rv.load_model("tiny-reasoner-small").tokenizer.save_pretrained(folder)
    return rv.load_model(folder)


def token_rows(tokens: int, length: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 49_152, length).astype(np.int32) for _ in range(tokens // length)]


def as_calibration(rows: list[np.ndarray]) -> CalibrationSet:
    return CalibrationSet(
        "random", rows, [np.ones(len(r), np.uint8) for r in rows], [np.ones(len(r), np.float32) for r in rows]
    )


def llm_compressor_oneshot(model, tokenizer, rows: list[np.ndarray]) -> None:
    """`oneshot` with its sequential pipeline, in place."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.pruning import SparseGPTModifier

    data = Dataset.from_dict({"input_ids": [r.tolist() for r in rows], "attention_mask": [[1] * len(r) for r in rows]})
    recipe = SparseGPTModifier(sparsity=SPARSITY, mask_structure="0:0", targets=["Linear"], ignore=["re:.*lm_head"])
    oneshot(
        model=model, processor=tokenizer, dataset=data, recipe=recipe, pipeline="sequential", max_seq_length=len(rows[0]),
        num_calibration_samples=len(rows), shuffle_calibration_samples=False,
    )  # fmt: skip


def model(rounds: int, length: int = 512) -> pd.DataFrame:
    from llmcompressor.modifiers.pruning.sparsegpt import base as theirs
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    from racviz.pruning import inputs, moments, run

    speed, table, clock = matmul_speed(), [], Clock()
    layer = LlamaDecoderLayer, "forward", "forward"
    folder = Path(tempfile.mkdtemp()) / "smollm2-shape"
    for tokens in (8192, 32_768):
        rows = token_rows(tokens, length)
        for turn in range(rounds):
            ours, dense = smollm2(folder), smollm2(folder)
            with clock.watching(layer, (moments.Moment, "add", "moments"), (moments.Moment, "finish", "moments"),
                                (inputs, "inverse_factor", "factor"), (run, "prune_linear", "solve")):  # fmt: skip
                pruned = rv.prune(
                    ours, as_calibration(rows), sparsity=SPARSITY, mode="sequential", inplace=True, progress=False
                )
            table.append({"tokens": tokens, "turn": turn, "by": "racviz", **clock.spent})
            with (
                torch.enable_grad(),
                clock.watching(layer, (theirs, "accumulate_hessian", "moments"), (theirs, "sparsify_weight", "solve")),
            ):
                llm_compressor_oneshot(dense.model, dense.tokenizer, rows)
            names = [name for name, module in dense.model.model.layers.named_modules() if isinstance(module, torch.nn.Linear)]
            equal = [
                ((dense.model.model.layers.get_submodule(n).weight == 0) == (pruned.model.model.layers.get_submodule(n).weight == 0))
                for n in names
            ]  # fmt: skip
            table[-1]["equal_masks"] = float(torch.cat([e.flatten() for e in equal]).float().mean())
            table.append({"tokens": tokens, "turn": turn, "by": "llm-compressor", **clock.spent})
            table.append({"tokens": tokens, "turn": turn, "by": "floor", **smollm2_floor(tokens, length, speed)})
            print(pd.DataFrame(table[-3:]).round(2).to_string(index=False), flush=True)
            mine, other = table[-3], table[-2]
            outside = (other["total"] - other["forward"]) / (mine["total"] - mine["forward"])
            print(f"llm-compressor / racviz: total {other['total'] / mine['total']:.2f}, outside the forward {outside:.2f}")
    return pd.DataFrame(table).assign(matmul_gflops=speed / 1e9)


def smollm2_floor(tokens: int, length: int, speed: float) -> dict[str, float]:
    """The arithmetic alone, at the speed of a large product: two forward passes, c² a token and input, 2/3 c³, r · c²."""
    shapes = [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)]
    distinct = (576, 576, 576, 1536)
    found = {
        "forward": 2 * tokens * (sum(2 * r * c for r, c in shapes) + 2 * length * 576),
        "moments": tokens * sum(c**2 for c in distinct),
        "factor": sum(2 * c**3 / 3 for c in distinct),
        "solve": sum(r * c**2 for r, c in shapes),
    }
    found = {name: 30 * work / speed for name, work in found.items()}
    return found | {"total": sum(found.values())}


RUNS = (
    ("tiny-reasoner", 32_768, "one-pass", False), ("tiny-reasoner", 32_768, "sequential", False),
    ("smollm2-shape", 16_384, "one-pass", True), ("smollm2-shape", 65_536, "one-pass", True),
    ("smollm2-shape", 262_144, "one-pass", True), ("smollm2-shape", 16_384, "one-pass", False),
    ("smollm2-shape", 65_536, "one-pass", False), ("smollm2-shape", 16_384, "sequential", False),
)  # fmt: skip
"""Model, tokens, mode, hidden states on disk. Of the SmolLM2 shape ten of thirty blocks: the memory is that of all."""


def memory(rounds: int) -> pd.DataFrame:
    """Peak memory and seconds of whole runs, each in a process of its own, beside what racviz.pruning.cost expects."""
    folder, rows = Path(tempfile.mkdtemp()), []
    smollm2(folder / "smollm2-shape")
    for name, tokens, mode, on_disk in RUNS:
        call = {"name": name, "tokens": tokens, "mode": mode, "on_disk": on_disk, "folder": str(folder)}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--child", json.dumps(call)], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1), flush=True)
    return pd.DataFrame(rows)


def one_run(name: str, tokens: int, mode: str, on_disk: bool, folder: str) -> dict:
    """One of the runs of `memory`, in this process: seconds by part, peak memory beyond what it was before, in MB."""
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer
    from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

    from racviz.pruning import inputs, moments, run
    from racviz.pruning.blocks import Scope
    from racviz.pruning.cost import Machine, Shapes, expected_cost
    from racviz.pruning.workspace import give_back

    tiny = name.startswith("tiny")
    rng, size = np.random.default_rng(0), 1000 if tiny else 49_152
    loaded = rv.load_model(name) if tiny else smollm2(Path(folder) / name)
    sample = as_calibration([rng.integers(0, size, 512).astype(np.int32) for _ in range(tokens // 512)])
    few = as_calibration(sample.sequences[:4])
    rv.prune(loaded, few, thirds=(3,), progress=False)  # loads and compiles what is loaded and compiled once
    machine_, thirds, clock = Machine.measured(), (1, 2, 3) if tiny else (1,), Clock()
    expected = expected_cost(
        Shapes.of(loaded.model, Scope("all", thirds)), tokens, machine_, mode=mode, phases=1, on_disk=on_disk
    )
    for parameter in loaded.model.parameters():  # mapped until it is read
        parameter.sum()
    give_back()
    peak = Peak()
    with clock.watching(*((layer, "forward", "forward") for layer in (LlamaDecoderLayer, Qwen2DecoderLayer)),
                        (moments.Moment, "add", "moments"), (moments.Moment, "finish", "moments"),
                        (inputs, "inverse_factor", "factor"), (run, "prune_linear", "solve")):  # fmt: skip
        rv.prune(loaded, sample, mode=mode, thirds=thirds, progress=False, inplace=True,
                 workspace=tempfile.mkdtemp(dir=folder) if on_disk else None)  # fmt: skip
    return {
        "model": name, "tokens": tokens, "mode": mode, "on_disk": on_disk, "peak_mb": peak.stop(),
        "expected_mb": expected.total_memory / 2**20, **{f"{k}_seconds": v for k, v in clock.spent.items()},
        **{f"expected_{k}_seconds": v for k, v in expected.seconds.items()}, "expected_total_seconds": expected.total_seconds,
        "flops": machine_.flops, "bandwidth": machine_.bandwidth,
    }  # fmt: skip


class Peak:
    """The most anonymous memory of this process beyond what it has now, in MB, looked at every few milliseconds (Linux).

    Not the resident size: that counts the pages of mapped files as well, which the system takes back when it needs them.
    """

    def __init__(self) -> None:
        self.before = self.most = self._now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._done.set()
        self._thread.join()
        return self.most - self.before

    def _watch(self) -> None:
        while not self._done.wait(0.004):
            self.most = max(self.most, self._now())

    @staticmethod
    def _now() -> float:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


def machine() -> dict:
    versions = {
        name: importlib.metadata.version(name)
        for name in ("torch", "numba", "numpy", "transformers", "llmcompressor", "racviz")
    }
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **versions,
    }


PARTS = {"solve": solve, "moments": moments, "block": block, "model": model, "alps": alps, "quality": quality, "memory": memory}


COLOURS = {"racviz": "#0072B2", "llm-compressor": "#D55E00", "reference": "#CC79A7", "floor": "#888888"}
SOLVERS = {"magnitude": "circle", "wanda": "square", "sparsegpt": "diamond", "sparsegpt+refit": "cross", "alps": "star"}


def draw(results: Path) -> None:
    """`pruning.html` from the tables that are there."""
    from plotly.subplots import make_subplots

    tables = {part: pd.read_csv(path) for part in PARTS if (path := results / f"pruning-{part}.csv").exists()}
    if not {"solve", "moments", "model", "quality"} <= set(tables):
        print("no plot yet: it wants the parts solve, moments, model and quality")
        return
    solved, facts = tables["solve"], json.loads((results / "machine.json").read_text())
    figure = make_subplots(
        rows=2, cols=3, horizontal_spacing=0.07, vertical_spacing=0.15, specs=[[{}, {}, {}], [{}, {"colspan": 2}, None]],
        subplot_titles=(
            "Solve one linear, 1,536 columns", "Solve one linear, 1,536 rows", "Second moment, 1,536 columns",
            "SmolLM2-135M's shape, sequential, 32,768 tokens", "Error of one linear against solver seconds",
        ),
    )  # fmt: skip
    lines = [(solved[solved["columns"] == 1536], "rows", "total", 1), (solved[solved["rows"] == 1536], "columns", "total", 2),
             (tables["moments"], "tokens", "seconds", 3)]  # fmt: skip
    for frame, x, y, at in lines:
        for by, colour in COLOURS.items():
            mine = frame[frame["by"] == by].groupby(x, as_index=False)[y].min()
            if len(mine):
                dash = "dot" if by == "floor" else "solid"
                figure.add_scatter(x=mine[x], y=mine[y], name=by, legendgroup=by, showlegend=by not in {t.name for t in figure.data},
                                   mode="lines+markers", line={"color": colour, "dash": dash}, row=1, col=at)  # fmt: skip
        ticks = sorted(frame[x].unique())
        figure.update_xaxes(title=x, type="log", tickvals=ticks, ticktext=[f"{t:,}" for t in ticks], row=1, col=at)
        figure.update_yaxes(title="seconds" if at == 1 else None, type="log", dtick=1, row=1, col=at)
    whole = tables["model"]
    whole = whole[whole["tokens"] == whole["tokens"].max()].groupby("by").mean(numeric_only=True)
    for part, shade in (
        ("forward", "#56B4E9"),
        ("moments", "#009E73"),
        ("factor", "#E69F00"),
        ("solve", "#F0E442"),
        ("other", "#BBBBBB"),
    ):
        bars = ["floor", "racviz", "llm-compressor"]
        figure.add_bar(y=bars, x=whole[part].reindex(bars).fillna(0), name=part, orientation="h", marker_color=shade, legend="legend2",
                       row=2, col=1)  # fmt: skip
    figure.update_xaxes(title="seconds", row=2, col=1)
    for kind, dash in (("calibration", "solid"), ("held out", "dash")):
        for sparsity, mine in tables["quality"].groupby("sparsity"):
            mine = mine.sort_values("seconds")
            figure.add_scatter(
                x=mine["seconds"], y=mine[kind], mode="lines+markers+text" if kind == "held out" else "lines+markers",
                text=mine["method"] if sparsity == 0.8 else None, textposition="top center", name=f"{sparsity:.0%} {kind}",
                line={"dash": dash, "color": {0.5: "#0072B2", 0.7: "#009E73", 0.8: "#D55E00"}[sparsity]},
                marker={"symbol": [SOLVERS[m] for m in mine["method"]], "size": 9}, legend="legend3", row=2, col=2,
            )  # fmt: skip
    figure.update_xaxes(title="solver seconds, factorisation and all", type="log", dtick=1, row=2, col=2)
    figure.update_yaxes(title="relative error", type="log", dtick=1, row=2, col=2)
    caption = ", ".join(f"{name} {value}" for name, value in facts.items())
    figure.update_layout(
        template="plotly_white", barmode="stack", width=1500, height=950, margin={"t": 110, "b": 90},
        title={"text": f"racviz, llm-compressor and the arithmetic alone<br><sup>{caption}</sup>", "x": 0.02},
        legend={"orientation": "h", "y": 1.09, "x": 0.6}, legend2={"orientation": "h", "y": -0.1, "x": 0.0},
        legend3={"orientation": "h", "y": -0.1, "x": 0.42},
    )  # fmt: skip
    figure.write_html(results / "pruning.html", include_plotlyjs=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all, if none is named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(one_run(**json.loads(arguments.child))))
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "machine.json").write_text(json.dumps(machine(), indent=1))
    for part in arguments.parts or PARTS:
        print(f"-- {part}", flush=True)
        with torch.no_grad():
            PARTS[part](arguments.rounds).to_csv(RESULTS / f"pruning-{part}.csv", index=False)
    draw(RESULTS)


if __name__ == "__main__":
    main()
