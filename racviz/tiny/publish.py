"""Write what ships in data/: `python -m racviz.tiny.publish problems | texts | model NAME --run FOLDER`.

`model` copies a trained run into data/models/NAME, measures it there (sampled, on the 500 test problems of each domain, and
with the thought suppressed) and writes the model card.
"""

import argparse
import json
import platform
import shutil
from pathlib import Path

from racviz.problems import ProblemSet, generated
from racviz.tiny import english
from racviz.tiny.teacher import STYLES
from racviz.tiny.train import Recipe

SHIPPED = {"test": 500, "calibration": 2000}
CONTEXT = 1280
"""Prompt and a budget of 1,024 tokens; the longest training row has about 930."""


def problems(data: Path) -> None:
    for domain in ("arithmetic", "tracing"):
        for split, count in SHIPPED.items():
            ProblemSet(tuple(generated(domain, split, count)), domain, split).save(
                data / "problems" / f"{domain}-{split}.jsonl"
            )


def texts(data: Path) -> None:
    path = data / "texts" / "python-topics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"topic": name, "text": text}, ensure_ascii=False) for name, text in english.topics("calibration")]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def model(name: str, run: Path, data: Path, problems_count: int = 500) -> dict:
    """Copy, measure, describe. Returns the figures."""
    target = data / "models" / name
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(run / "model", target)
    config = json.loads((target / "config.json").read_text())
    config["max_position_embeddings"] = CONTEXT
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    recipe = json.loads((run / "recipe.json").read_text())
    (target / "model.safetensors").chmod(0o644)
    figures = measure(name, problems_count)
    log = (run / "log.csv").read_text().strip().splitlines()
    seen, minutes = log[-1].split(",")[:2]
    notes = (run / "notes.md").read_text(encoding="utf-8") if (run / "notes.md").exists() else ""
    (target / "README.md").write_text(_card(name, recipe, int(seen), float(minutes), figures, notes), encoding="utf-8")
    (target / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    (target / "training_log.csv").write_text("\n".join(log) + "\n")
    if (run / "start_log.csv").exists():  # of the training that this one went on from
        shutil.copy(run / "start_log.csv", target / "training_log_start.csv")
    return figures


def measure(name: str, count: int) -> dict:
    """Sampled accuracy by family, lengths, and accuracy without the thought, per domain."""
    import racviz as rv
    from racviz.grading import grade

    loaded, figures = rv.load_model(name), {}
    for domain in STYLES[name]:
        test = rv.load_problems(domain, split="test", limit=count)
        result = rv.evaluate(loaded, test, rv.Sampling(max_new_tokens=1024), batch_size=250)
        frame = result.frame.merge(test.to_frame()[["id", "family"]], left_on="problem_id", right_on="id")
        q = frame["think_tokens"].quantile([0.1, 0.5, 0.9])
        figures[domain] = result.summary() | {
            "median_prompt": float(frame["prompt_tokens"].median()), "median_decode": float(frame["output_tokens"].median()),
            "cot_90_over_10": float(q[0.9] / q[0.1]), "families": frame.groupby("family")["correct"].mean().round(3).to_dict(),
        }  # fmt: skip
        closed = loaded.tokenizer("<think></think>\n", add_special_tokens=False)["input_ids"]
        right = 0
        from racviz.generation import Request, generate

        requests = [Request((*loaded.render(p.text), *closed), p.id) for p in test]
        for index, done in generate(loaded, requests, rv.Sampling(max_new_tokens=16), batch_size=250):
            right += grade(loaded.tokenizer.decode(list(done.output_ids), skip_special_tokens=True).strip(), test[index].answer)
        figures[domain]["accuracy_without_thought"] = right / len(test)
    return figures


def _card(name: str, recipe: dict, seen: int, minutes: float, figures: dict, notes: str) -> str:
    rows = "\n".join(
        f"| {domain} | {f['accuracy']:.3f} ± {f['se']:.3f} | {f['accuracy_without_thought']:.3f} | {f['median_prompt']:.0f} | "
        f"{f['median_decode']:.0f} | {f['cot_90_over_10']:.1f} | {f['truncated']:.1%} | "
        f"{', '.join(f'{k} {v:.2f}' for k, v in f['families'].items())} |"
        for domain, f in figures.items()
    )
    chosen = {key: value for key, value in recipe.items() if key != "model" and value != getattr(Recipe, key)}
    flags = "".join(f" --{key} {Path(value).name if key in ('start', 'tokenizer') else value}" for key, value in chosen.items())
    data = " and ".join(f"`racviz.tiny.{domain}`" for domain in STYLES[name])
    styles = ", ".join(f"{domain}: `{style}`" for domain, style in STYLES[name].items())
    return f"""---
license: apache-2.0
pipeline_tag: text-generation
---
# {name}

A reasoning model small enough to prune on a laptop in seconds, trained from scratch for racviz on tasks with a written chain
of thought (teacher styles: {styles}). It shows the mechanism of reasoning-aware compression and is no evidence about large models.

Data: {data} (train split by content; in 15 % of the lessons the teacher slips,
notices and redoes the step; the slip itself is not taught), and {recipe["english"]:.0%} of the rows English from CPython's
language reference (a third of the topics). {seen / 1e6:.1f}M tokens in {minutes:.0f} minutes on two CPU cores that other work
shared, seed {recipe["seed"]}, Python {platform.python_version()}, shipped in bf16.

Commands: `python -m racviz.tiny.train {name} --out runs/{name}{flags}`, then
`python -m racviz.tiny.publish model {name} --run runs/{name}`. The loss log is training_log.csv. {notes}

Measured on this file, one sample a problem at temperature 0.6, top_p 0.95, budget 1,024, on 500 unseen problems a domain
(split by content), float32 on a CPU, seed 0:

| domain | accuracy ± SE | thought suppressed | median prompt | median decode | CoT 90th / 10th perc. | truncated | by family |
|---|---|---|---|---|---|---|---|
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("problems", "texts", "model"))
    parser.add_argument("name", nargs="?")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    if arguments.what == "model":
        print(json.dumps(model(arguments.name, arguments.run, arguments.data), indent=1))
    else:
        {"problems": problems, "texts": texts}[arguments.what](arguments.data)


if __name__ == "__main__":
    main()
