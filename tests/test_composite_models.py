"""Models of text and pictures: the language model is found by its own path, and whole checkpoints go in and out."""

import dataclasses

import pytest
import torch
import transformers

import racviz as rv
from racviz.calibration import calibration_set
from racviz.exceptions import DataError
from racviz.generation import Request, Sampling, generate
from racviz.models import load_model
from racviz.problems import load_problems
from racviz.pruning.blocks import decoder_blocks
from racviz.traces import generate_traces

TEXT = dict(
    vocab_size=1024, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=8, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
VISION = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14)
"""A tower of as many blocks as the language model has."""
QWEN_VISION = dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=4, out_hidden_size=32, patch_size=14)
ROTARY = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}
TOKENS = dict(image_token_id=1000, video_token_id=1001, vision_start_token_id=1002, vision_end_token_id=1003)
CONFIGS = {
    "Gemma3": dict(text_config=TEXT, vision_config=VISION, mm_tokens_per_image=4, image_token_index=1000),
    "Qwen2_5_VL": dict(text_config=TEXT | ROTARY, vision_config=QWEN_VISION, **TOKENS),
    "Qwen3VL": dict(text_config=TEXT | ROTARY, vision_config=QWEN_VISION | {"deepstack_visual_indexes": [0]}, **TOKENS),
    "Llava": dict(text_config=TEXT | {"model_type": "llama"}, vision_config=VISION | {"model_type": "clip_vision_model"},
                  image_token_index=1000),
    "Mistral3": dict(text_config=TEXT | {"model_type": "mistral"}, vision_config=VISION | {"model_type": "pixtral", "head_dim": 8},
                     image_token_index=1000),
    "Idefics3": dict(text_config=TEXT | {"model_type": "llama"}, vision_config=VISION, image_token_id=1000, scale_factor=2),
}  # fmt: skip


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request, tiny, tmp_path_factory):
    config = getattr(transformers, f"{request.param}Config")(**CONFIGS[request.param])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{request.param}ForConditionalGeneration")(config).eval()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.mul_(4)
    return dataclasses.replace(tiny, model=model, name=request.param).save(tmp_path_factory.mktemp("composite") / request.param)


def vision(model):
    return {name: value for name, value in model.state_dict().items() if "visi" in name or "visual" in name}


@torch.no_grad()
def test_loads_generates_prunes_saves(folder, tmp_path):
    loaded = load_model(folder)
    assert loaded.context == 64
    name, blocks = decoder_blocks(loaded.model)
    assert len(blocks) == 2 and "visi" not in name and "visual" not in name
    assert vision(loaded.model), "the vision tower is there, to be saved again"
    problems = load_problems("arithmetic", split="calibration", limit=40)
    with pytest.raises(DataError, match="context of 64"):
        generate_traces(loaded, problems[:1], Sampling(64), progress=False)
    prompts = [tuple(range(10, 10 + size)) for size in (4, 9)]
    made = dict(generate(loaded, [Request(p, "x") for p in prompts], Sampling(6, temperature=0), 2))
    for k, ids in enumerate(map(list, prompts)):
        for chosen in made[k].output_ids:
            assert chosen == int(loaded.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            ids.append(chosen)
    calibration = calibration_set("prompt", loaded, problems=problems, tokens=500)
    pruned = rv.prune(loaded, calibration, method="wanda", progress=False)
    assert pruned.provenance["sparsity"] == pytest.approx(0.5, abs=1e-3)
    assert all(torch.equal(value, vision(pruned.model)[name]) for name, value in vision(loaded.model).items())
    again = load_model(pruned.save(tmp_path / "pruned"))
    ids = torch.arange(10, 40)[None]
    assert torch.equal(again.model(input_ids=ids).logits, pruned.model(input_ids=ids).logits)
    assert again.provenance["sparsity"] == pruned.provenance["sparsity"] and vision(again.model)
    rollouts = generate_traces(loaded, problems[:2], Sampling(8, temperature=0), progress=False)
    errors = rv.reconstruction_errors(loaded, {"pruned": again}, rollouts, allow_overlap=True, progress=False)
    assert (errors.frame["e_pruned"] > 0).any()
