"""Tokens per second of racviz's decode loop and of `model.generate`, greedy, the same batch, in turns in one process."""

import argparse
import time

import torch

import racviz as rv
from racviz.generation import Request, generate
from racviz.prompting import render_prompt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny-reasoner")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    loaded = rv.load_model(arguments.model)
    problems = rv.load_problems("arithmetic", limit=arguments.problems)
    prompts = [render_prompt(loaded.tokenizer, problem.prompt) for problem in problems]
    requests = [Request(tuple(ids), problem.id) for ids, problem in zip(prompts, problems, strict=True)]

    def ours() -> int:
        done = generate(loaded, requests, rv.Sampling(arguments.tokens, temperature=0.0), batch_size=len(requests))
        return sum(len(completion.output_ids) for _, completion in done)

    def theirs() -> int:
        batch = loaded.tokenizer.pad({"input_ids": prompts}, return_tensors="pt", padding_side="left").to(loaded.device)
        with torch.inference_mode():
            out = loaded.model.generate(**batch, max_new_tokens=arguments.tokens, do_sample=False)
        new = out[:, batch["input_ids"].shape[1] :]
        return int((new != loaded.tokenizer.pad_token_id).sum())

    ratios = []
    for turn in range(arguments.rounds):
        speeds = []
        for run in (ours, theirs):
            began = time.perf_counter()
            tokens = run()
            speeds.append(tokens / (time.perf_counter() - began))
        ratios.append(speeds[0] / speeds[1])
        print(f"round {turn}: racviz {speeds[0]:.0f} tokens/s, generate {speeds[1]:.0f} tokens/s, ratio {ratios[-1]:.2f}")
    print(
        f"ratio: {min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} rounds, {torch.get_num_threads()} threads, {loaded.device}"
    )


if __name__ == "__main__":
    main()
