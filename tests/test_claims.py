"""What the embedded models are for: they reason, and pruning them shows the paper. Real models, real runs, no stored numbers."""

import json

import numpy as np
import pytest

import racviz as rv
from racviz.generation import Request, generate
from racviz.grading import grade
from racviz.prompting import render_prompt
from racviz.statistics import paired_difference, ratio_interval
from racviz.store import resource

pytestmark = pytest.mark.slow
CLAIMED_AT = 0.6
"""At this sparsity RAC answers more than prompt-only; so named for the first checkpoint, and kept for this one. 70 % was named
too, for each of them before it was pruned, and there no calibration left either of them an answer: nothing can be told."""
PROMISED = {"tiny-reasoner": {"arithmetic": 0.95, "tracing": 0.85}, "tiny-reasoner-small": {"arithmetic": 0.80, "tracing": 0.0},
            "tiny-reasoner-seed1": {"arithmetic": 0.90}}  # fmt: skip
"""The accuracy that each model was trained to reach, on 500 test problems."""


@pytest.fixture(scope="module")
def dense():
    return rv.load_model("tiny-reasoner")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from racviz.store import Store

    folder = tmp_path_factory.mktemp("claims")
    return rv.Study(
        problems=24, sources=("prompt", "rac"), sparsities=(0.5, CLAIMED_AT), calibration_tokens=16_384,
        run=str(folder / "run"), store=Store(folder / "cache"), progress=False,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "domain"), [(name, domain) for name, promised in PROMISED.items() for domain in promised])
def test_the_model_card_tells_the_truth(name, domain):
    """Accuracy and lengths on the first 32 test problems, against the card's figures on all 500."""
    card = json.loads(resource(f"data/models/{name}/figures.json").read_text())[domain]
    frame = rv.evaluate(rv.load_model(name), rv.load_problems(domain, limit=32), rv.Sampling(1024), progress=False).frame
    stated = card["accuracy"]
    assert abs(frame.correct.mean() - stated) < 3.5 * np.sqrt(max(stated * (1 - stated), 0.01) / len(frame))
    assert frame.output_tokens.median() == pytest.approx(card["median_decode"], rel=0.3)
    assert card["problems"] == 500 and card["median_decode"] >= 150 and card["median_decode"] >= 4 * card["median_prompt"]
    assert card["cot_90_over_10"] >= 2.5 and stated >= PROMISED[name][domain] and card["accuracy_without_thought"] < 0.3


@pytest.mark.parametrize("domain", ["arithmetic", "tracing"])
def test_the_thought_is_needed(dense, domain):
    closed = dense.tokenizer("<think></think>\n", add_special_tokens=False)["input_ids"]
    test = rv.load_problems(domain, limit=150)
    requests = [Request((*render_prompt(dense.tokenizer, p.prompt), *closed), p.id) for p in test]
    done = generate(dense, requests, rv.Sampling(16), batch_size=150)
    texts = {index: dense.tokenizer.decode(list(c.output_ids), skip_special_tokens=True).strip() for index, c in done}
    assert np.mean([grade(texts[k], p.answer) for k, p in enumerate(test)]) < 0.3


@pytest.mark.parametrize("mode", ["one-pass", "sequential"])
def test_figure_2_prompt_calibration_preserves_the_prompt_and_rac_the_thought(study, mode):
    errors = study.errors(0.5, mode)
    decode, prompt = (ratio_interval(errors, "prompt", "rac", phase) for phase in ("decode", "prompt"))
    assert decode.estimate > 1.5 and decode.low > 1
    assert prompt.estimate < 1 and prompt.high < 1


def test_rac_keeps_the_accuracy_that_prompt_calibration_loses(study):
    rac, prompt = (study.evaluation(source, CLAIMED_AT).frame for source in ("rac", "prompt"))
    gap = paired_difference(rac, prompt)
    assert gap.difference > 2 * gap.se


def test_the_layers_tell_the_same(study):
    means = study.layerwise(0.5).groupby(["source", "phase"])["error"].mean()
    assert means["rac", "decode"] < means["prompt", "decode"]
    assert means["prompt", "prompt"] < means["rac", "prompt"]
