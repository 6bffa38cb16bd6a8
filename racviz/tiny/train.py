"""Train an embedded reasoning model from scratch: `python -m racviz.tiny.train tiny-reasoner --out runs/tiny-reasoner`.

Batches are a pure function of (seed, step), the state is written every few minutes, and a run that was stopped goes on
from there with the same numbers. `log.csv` holds loss and held-out accuracy against tokens.
"""

import argparse
import csv
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F

from racviz.store import atomic, write_text
from racviz.tiny import english, tokenizer
from racviz.tiny.domains import DOMAINS
from racviz.tiny.lesson import Task, draw
from racviz.tiny.teacher import STYLES

SHAPES = {
    "tiny-reasoner": dict(
        hidden_size=256, intermediate_size=768, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False
    ),
    "tiny-reasoner-seed1": dict(
        hidden_size=256, intermediate_size=768, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False
    ),
    "tiny-reasoner-small": dict(
        hidden_size=192, intermediate_size=448, num_attention_heads=3, num_key_value_heads=1, tie_word_embeddings=True
    ),
}  # fmt: skip
PROMPT_WEIGHT = 0.1
"""Loss weight of prompt tokens: operands cannot be predicted, and learning to try would waste a small model."""
POOL = 8
"""Batches are cut from a pool of this many, sorted by length, so that padding is rare and attention short."""


@dataclass(frozen=True)
class Recipe:
    model: str
    tokens: int = 12_000_000
    batch_tokens: int = 4096
    peak: float = 4e-3
    adamw_share: float = 0.25
    """AdamW's learning rate as a share of Muon's: embeddings and head take smaller steps than matrices of the blocks."""
    warmup: float = 0.02
    cooldown: float = 0.8
    english: float = 0.04
    arithmetic: float = 0.5
    optimizer: str = "muon"
    seed: int = 0
    start: str = ""
    """A checkpoint folder to go on from, with a schedule of its own; empty: from random weights."""
    tokenizer: str = ""
    """A checkpoint folder whose tokenizer is taken; empty: one that is learned anew from the tasks."""

    def rate(self, done: float) -> float:
        """Learning rate as a share of the peak: warm up, hold, then down in a straight line. `done` is in 0..1."""
        return min(1.0, done / self.warmup + 0.01, max(0.0, (1 - done) / self.cooldown))


def build(name: str):
    """A fresh `Qwen2ForCausalLM` of the named shape."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=tokenizer.VOCABULARY, num_hidden_layers=4, max_position_embeddings=2048, rope_theta=10_000.0,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, **SHAPES[name],
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


Row = tuple[np.ndarray, np.ndarray]
"""Token ids and the loss weight of each, both `[length]`."""


def lesson_row(tok, task: Task, style: str, rng: random.Random) -> Row:
    """One lesson as tokens: prompt, thought with its slips unweighted, answer."""
    segments = [("<think>", True), *DOMAINS[task.domain].teach(task, style, rng), (f"</think>\n{task.answer}<eos>", True)]
    prompt = f"<bos><user>{task.prompt}<assistant>"
    text, spans = prompt, [(0, len(prompt), PROMPT_WEIGHT)]
    for piece, taught in segments:
        spans.append((len(text), len(text) + len(piece), float(taught)))
        text += piece
    encoded = tok(text, return_offsets_mapping=True, add_special_tokens=False)
    at = np.searchsorted([start for start, _, _ in spans], [start for start, _ in encoded["offset_mapping"]], side="right") - 1
    return np.array(encoded["input_ids"], dtype=np.int32), np.array([spans[k][2] for k in at], dtype=np.float32)


def pool(recipe: Recipe, number: int, tok, pages: list[np.ndarray]) -> list[list[Row]]:
    """`POOL` batches of rows, each within `batch_tokens` when padded; a pure function of the recipe and the number."""
    rng, rows, size = random.Random(f"train {recipe.seed} {number}"), [], 0
    while size < POOL * recipe.batch_tokens:
        if rng.random() < recipe.english:
            page = rng.choice(pages)
            start = rng.randrange(max(1, len(page) - 320))
            ids = np.concatenate([[1], page[start : start + 320]]).astype(np.int32)
            rows.append((ids, np.ones(len(ids), dtype=np.float32)))
        else:
            domain = "arithmetic" if rng.random() < recipe.arithmetic else "tracing"
            task = draw(DOMAINS[domain].make, "train", rng)
            rows.append(lesson_row(tok, task, STYLES[recipe.model][domain], rng))
        size += len(rows[-1][0])
    rows.sort(key=lambda row: len(row[0]))
    batches, batch = [], []
    for row in rows:
        if batch and (len(batch) + 1) * len(row[0]) > recipe.batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(row)
    batches.append(batch)
    rng.shuffle(batches)
    return batches


def collate(batch: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded token ids and loss weights, both `[rows, longest]`; causal attention never sees the padding."""
    longest = max(len(ids) for ids, _ in batch)
    ids = np.zeros((len(batch), longest), dtype=np.int64)
    weights = np.zeros((len(batch), longest), dtype=np.float32)
    for k, (row_ids, row_weights) in enumerate(batch):
        ids[k, : len(row_ids)], weights[k, : len(row_ids)] = row_ids, row_weights
    return torch.from_numpy(ids), torch.from_numpy(weights)


def optimizers(model, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, head, norms and biases."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers." in n]
    others = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "layers." in n)]
    if recipe.optimizer == "adamw":
        return [torch.optim.AdamW(matrices + others, lr=recipe.peak, betas=(0.9, 0.95), weight_decay=0.01)]
    return [
        torch.optim.Muon(matrices, lr=recipe.peak, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.adamw_share * recipe.peak, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(recipe: Recipe, out: Path, every: float = 180.0, evaluate_every: float = 900.0) -> None:
    """Train until `recipe.tokens` are seen; state in `out/state.safetensors`, log in `out/log.csv`, the model in `out/model/`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
    torch.manual_seed(recipe.seed)
    model, tok = build(recipe.model), tokenizer.load_or_train(Path(recipe.tokenizer) if recipe.tokenizer else out / "tokenizer")
    if recipe.start:
        begin(model, tok, Path(recipe.start))
    opts = optimizers(model, recipe)
    bases = [opt.param_groups[0]["lr"] for opt in opts]
    pages = [np.array(tok(text, add_special_tokens=False)["input_ids"], dtype=np.int32) for _, text in english.topics("train")]
    number, seen, seconds = 0, 0, 0.0
    if (out / "state.safetensors").exists():
        number, seen, seconds = load_state(out / "state.safetensors", model, opts)
        print(f"resumed at {seen / 1e6:.2f}M tokens", flush=True)
    cut_log(out / "log.csv", seen)
    last_save = last_eval = time.monotonic()
    while seen < recipe.tokens:
        began, losses = time.monotonic(), []
        for batch in pool(recipe, number, tok, pages):
            for opt, base in zip(opts, bases, strict=True):
                opt.param_groups[0]["lr"] = base * recipe.rate(seen / recipe.tokens)
            ids, weights = collate(batch)
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
            each = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1), reduction="none")
            counted = weights[:, 1:].reshape(-1)
            loss = (each * counted).sum() / counted.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for opt in opts:
                opt.step()
                opt.zero_grad()
            losses.append(loss.item())
            seen += sum(len(row[0]) for row in batch)
        number += 1
        seconds += time.monotonic() - began
        row = {"tokens": seen, "minutes": round(seconds / 60, 2), "loss": round(float(np.mean(losses)), 4)}
        if not math.isfinite(row["loss"]):
            raise FloatingPointError(f"the loss is not finite at {seen} tokens; lower Recipe.peak")
        if time.monotonic() - last_eval > evaluate_every or seen >= recipe.tokens:
            row |= {f"{d}_accuracy": accuracy(model, tok, d, 64) for d in DOMAINS}
            last_eval = time.monotonic()
        log(out / "log.csv", row)
        if time.monotonic() - last_save > every or seen >= recipe.tokens:
            save_state(out / "state.safetensors", model, opts, (number, seen, seconds))
            last_save = time.monotonic()
    export(model, tok, out / "model")


def begin(model, tok, start: Path) -> None:
    """Take over the weights in a folder. Where its tokenizer is another, embeddings and head follow their tokens; those of tokens that
    it does not have stay as they are."""
    weights = type(model).from_pretrained(start, dtype=torch.float32).state_dict()
    theirs, ours = tokenizer.load_or_train(start).get_vocab(), tok.get_vocab()
    if theirs != ours:
        both = sorted(set(theirs) & set(ours), key=ours.get)
        to, source = torch.tensor([ours[token] for token in both]), torch.tensor([theirs[token] for token in both])
        for name, fresh in model.state_dict().items():
            if name.endswith(("embed_tokens.weight", "lm_head.weight")):
                rows = fresh.clone()
                rows[to] = weights[name][source]
                weights[name] = rows
    model.load_state_dict(weights)


def save_state(path: Path, model, opts: list[torch.optim.Optimizer], progress: tuple[int, int, float]) -> None:
    """Weights, optimizer states and (pool, tokens, seconds), in one file that appears whole."""
    tensors = {f"model.{name}": value.detach().clone() for name, value in model.state_dict().items()}
    for k, opt in enumerate(opts):
        for index, state in opt.state_dict()["state"].items():
            tensors |= {f"optimizer.{k}.{index}.{name}": torch.as_tensor(value).clone() for name, value in state.items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, {"progress": json.dumps(progress)})


def load_state(path: Path, model, opts: list[torch.optim.Optimizer]) -> tuple[int, int, float]:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        progress = json.loads(file.metadata()["progress"])
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    for k, opt in enumerate(opts):
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimizer.{k}."):
                _, _, index, field = name.split(".", 3)
                states.setdefault(int(index), {})[field] = value
        opt.load_state_dict({"state": states, "param_groups": opt.state_dict()["param_groups"]})
    return tuple(progress)


def cut_log(path: Path, seen: int) -> None:
    """Drop what was logged after the state that a run goes on from."""
    if path.exists():
        header, *rows = path.read_text().splitlines()
        write_text(path, "\n".join([header, *(row for row in rows if int(row.split(",")[0]) <= seen)]) + "\n")


def log(path: Path, row: dict) -> None:
    columns = ["tokens", "minutes", "loss", *(f"{d}_accuracy" for d in DOMAINS)]
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if fresh:
            writer.writeheader()
        writer.writerow(row)
    print(row, flush=True)


def accuracy(model, tok, domain: str, count: int) -> float:
    """Greedy accuracy on `count` calibration tasks (never the test split): a progress figure, not the reported one."""
    from racviz.generation import Request, Sampling, generate
    from racviz.models import LoadedModel
    from racviz.prompting import ThinkingFormat, answer_text, render_prompt

    tasks, form = list(_take(domain, count)), ThinkingFormat()
    loaded = LoadedModel(model.eval(), tok, "in training", "", form)
    requests = [Request(tuple(render_prompt(tok, task.prompt)), task.id) for task in tasks]
    done = generate(loaded, requests, Sampling(max_new_tokens=1000, temperature=0.0), batch_size=count)
    right = [answer_text(tok, c.output_ids, form) == tasks[index].answer for index, c in done]
    model.train()
    return float(np.mean(right))


def _take(domain: str, count: int) -> Iterator[Task]:
    from racviz.tiny.lesson import stream

    tasks = stream(DOMAINS[domain].make, "calibration", seed=1)
    return (next(tasks) for _ in range(count))


def export(model, tok, folder: Path) -> None:
    """Write the model in bf16 as an ordinary Hugging Face checkpoint."""
    from transformers import GenerationConfig

    shipped = build_like(model)
    shipped.load_state_dict(model.state_dict())
    shipped = shipped.to(torch.bfloat16)
    shipped.generation_config = GenerationConfig(
        do_sample=True, temperature=0.6, top_p=0.95, bos_token_id=1, eos_token_id=2, pad_token_id=0
    )
    shipped.save_pretrained(folder)
    tok.save_pretrained(folder)


def build_like(model):
    return type(model)(model.config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(SHAPES))
    parser.add_argument("--out", type=Path, required=True)
    for name in ("tokens", "batch_tokens", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Recipe, name))
    for name in ("peak", "adamw_share", "arithmetic", "english", "cooldown"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Recipe, name))
    parser.add_argument("--start", default=Recipe.start, help="a checkpoint folder to go on from")
    parser.add_argument("--tokenizer", default=Recipe.tokenizer, help="a checkpoint folder whose tokenizer is taken")
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default=Recipe.optimizer)
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    train(Recipe(**arguments), out)


if __name__ == "__main__":
    main()
