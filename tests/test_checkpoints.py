"""Folders that are something else than a checkpoint, configs that cannot be saved, tokens that the model lacks."""

import copy
import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertLMHeadModel, T5Config, T5ForConditionalGeneration

import racviz as rv
from racviz.calibration import calibration_set
from racviz.exceptions import DataError
from racviz.generation import Request, Sampling, generate
from racviz.layerwise import rollouts_as_calibration
from racviz.models import load_model
from racviz.problems import Problem, load_problems
from racviz.traces import Trace, Traces, generate_traces

IDS = torch.tensor([[1, 3, 200, 300, 400, 4]])


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A checkpoint of one's own, to be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "checkpoint")


def change(path, **values):
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))


def prune(loaded):
    problems = load_problems("arithmetic", split="calibration", limit=40)
    return rv.prune(loaded, calibration_set("prompt", loaded, problems=problems, tokens=500), method="wanda", progress=False)


# --- folders -----------------------------------------------------------------------------------------------------------


def adapter(folder):
    (folder / "config.json").unlink()
    change(folder / "adapter_config.json", base_model_name_or_path="Qwen/Qwen3-8B", peft_type="LORA")


def only_gguf(folder):
    for path in folder.iterdir():
        path.unlink()
    (folder / "model-Q4_K_M.gguf").write_bytes(b"GGUF")


def gguf_weights(folder):
    (folder / "model.safetensors").rename(folder / "model.gguf")


def diffusers(folder):
    change(folder / "model_index.json", _class_name="StableDiffusionPipeline")


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def quantised(folder):
    change(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})


def consolidated(folder):
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")


def shards(folder, lose="model-00002-of-00002.safetensors"):
    state = load_file(folder / "model.safetensors")
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for name, mine in parts.items():
        save_file({key: state[key] for key in mine}, folder / name, {"format": "pt"})
    weight_map = {key: name for name, mine in parts.items() for key in mine}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    if lose:
        (folder / lose).unlink()


def empty_index(folder):
    shards(folder, None)
    (folder / "model.safetensors.index.json").write_text("{}")


def pointer(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def damaged_generation(folder):
    (folder / "generation_config.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (adapter, "adapter.*'Qwen/Qwen3-8B'"), (only_gguf, r"GGUF \(model-Q4_K_M.gguf"), (gguf_weights, "GGUF"),
        (diffusers, "diffusers"), (pickled, "pytorch_model.bin"), (quantised, "quantised.*'gptq'"),
        (consolidated, "consolidated.safetensors"), (shards, "lacks 1 of its 2 shards.*00002-of-00002"),
        (empty_index, "weight_map"), (pointer, "git-lfs"), (damaged_generation, "generation_config.json"),
    ],
)  # fmt: skip
def test_a_folder_is_named_for_what_it_is(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_shards_that_are_all_there_load(folder, tiny):
    shards(folder, None)
    assert torch.equal(load_model(folder).model(IDS).logits, tiny.model(IDS).logits)


def test_an_adapter_beside_a_whole_model_would_be_applied(folder):
    """By transformers, where peft is installed."""
    change(folder / "adapter_config.json", base_model_name_or_path="x")
    with pytest.raises(DataError, match="adapter"):
        load_model(folder)


@pytest.mark.parametrize("name", ["models/a.gguf", "owner/model-Q8_0.GGUF"])
def test_a_gguf_file(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir()
    path.write_bytes(b"GGUF")
    for given in (path, name):
        with pytest.raises(DataError, match="is GGUF"):
            load_model(given)


@pytest.mark.parametrize("name", ["Qwen2ForSequenceClassification", "Qwen2ForRewardModel", "Qwen2ForTokenClassification"])
def test_a_model_with_another_head_is_refused(folder, name):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [name]}))
    with pytest.raises(DataError, match=f"{name}', a model with another head"):
        load_model(folder)


@pytest.mark.parametrize("more", ["lora_A.weight", "weight_scale", "weight_scale_inv"])
def test_weights_that_change_others_are_not_left_out(folder, more):
    weights = load_file(folder / "model.safetensors")
    own = next(name for name in weights if name.endswith("q_proj.weight"))
    save_file(weights | {own.replace("weight", more): torch.ones(2, 2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="that transformers leaves out and that change the model"):
        load_model(folder)


def test_other_weights_that_are_left_out_are_told(folder):
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"mtp.weight": torch.ones(2, 2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.warns(UserWarning, match="1 weights of .* left out: mtp.weight"):
        load_model(folder)


def test_a_file_is_no_model(folder):
    with pytest.raises(DataError, match="is a file"):
        load_model(folder / "model.safetensors")


@pytest.mark.parametrize("kind", ["encoder", "encoder-decoder"])
def test_models_that_are_no_decoders(tiny, folder, kind, tmp_path):
    sizes = dict(vocab_size=1024, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    if kind == "encoder":
        model = BertLMHeadModel(BertConfig(**sizes))
    else:
        model = T5ForConditionalGeneration(T5Config(vocab_size=1024, d_model=32, d_ff=32, num_layers=1, num_heads=2, d_kv=16))
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (folder / name).unlink(missing_ok=True)
    model.save_pretrained(folder)
    with pytest.raises(DataError, match=rf"is an {kind}"):
        load_model(folder)


# --- configs that transformers refuses to save -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.6, "top_p": 0.95, "eos_token_id": 2}, {"top_k": 20, "eos_token_id": [2, 3]},
        {"temperature": 0.6, "do_sample": False, "eos_token_id": 2}, {"num_beams": 1, "length_penalty": 2.0, "eos_token_id": 2},
        {"min_p": 0.1, "typical_p": 0.5, "eos_token_id": 2}, {"pad_token_id": -1, "eos_token_id": 2},
        {"transformers_version": "4.30.0", "eos_token_id": 2, "a_field_of_its_own": {"x": 1}},
    ],
)  # fmt: skip
def test_any_generation_config_is_saved_as_it_was(folder, settings, tmp_path):
    (folder / "generation_config.json").write_text(json.dumps(settings))
    loaded = load_model(folder)
    pruned = prune(loaded)
    out = pruned.save(tmp_path / "out")
    kept = json.loads((out / "generation_config.json").read_text())
    assert all(kept.get(name) == value for name, value in settings.items() if name != "transformers_version")
    again = load_model(out)
    assert torch.equal(again.model(IDS).logits, pruned.model(IDS).logits) and again.provenance["sparsity"] > 0.4
    load_model(again.save(tmp_path / "again"))
    assert loaded.model.generation_config.eos_token_id == settings["eos_token_id"]


def test_fields_of_generation_in_the_config_itself(folder, tmp_path):
    change(folder / "config.json", temperature=0.6, top_p=0.9, do_sample=True, a_field_of_its_own=[1, 2])
    out = prune(load_model(folder)).save(tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["a_field_of_its_own"] == [1, 2]
    load_model(out)


def test_a_config_that_cannot_be_saved_is_found_before_the_work(tiny, monkeypatch):
    loaded = tiny.copy()
    loaded.trials.clear()

    def refuse(folder):
        raise ValueError("field x is wrong\nand more")

    loaded.tokenizer = copy.deepcopy(loaded.tokenizer)
    monkeypatch.setattr(loaded.tokenizer, "save_pretrained", refuse, raising=False)
    with pytest.raises(DataError, match="could not be saved.*field x is wrong"):
        prune(loaded)


def test_a_template_in_a_file_of_its_own_goes_along(folder, tmp_path):
    change(folder / "tokenizer_config.json", extra_of_its_own={"a": [1]}, model_max_length=10**30)
    template = "{{ bos_token }}{% for m in messages %}<user>{{ m.content }}{% endfor %}<assistant><think>"
    (folder / "chat_template.jinja").write_text(template)
    loaded = load_model(folder)
    assert loaded.tokenizer.decode(loaded.render("hi")) == "<bos><user>hi<assistant><think>" and loaded.thinking.opened
    again = load_model(loaded.save(tmp_path / "out"))
    assert again.render("hi") == loaded.render("hi")


# --- tokens that the model does not embed ---------------------------------------------------------------------------------


@pytest.fixture
def larger(tiny):
    """A tokenizer of 400 tokens more than the model embeds."""
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.add_tokens([f"<new_{k}>" for k in range(400)])
    return dataclasses.replace(tiny, tokenizer=tokenizer)


NAMED = r"token 1423 \('<new_399>'\).*1024 tokens.*1424"


def test_a_prompt_with_such_a_token_is_refused(larger):
    with pytest.raises(DataError, match=NAMED):
        generate_traces(larger, [Problem("a", "What is <new_399> + 2?")], Sampling(8), progress=False)
    with pytest.raises(DataError, match=NAMED):
        generate(larger, [Request((1, 1423), "a")], Sampling(8))
    made = generate_traces(larger, [Problem("a", "What is 2 + 2?")], Sampling(8), progress=False)
    assert len(made) == 1, "other texts are none the worse"


def test_calibration_errors_and_imports_too(larger):
    with pytest.raises(DataError, match=NAMED):
        calibration_set("generic", larger, texts=["all is <new_399> here"] * 20, tokens=20)
    with pytest.raises(DataError, match=NAMED):
        calibration_set("prompt", larger, problems=[Problem("a", "<new_399>")], tokens=3)
    with pytest.raises(DataError, match=NAMED):
        rv.import_traces([{"prompt": "What is 2?", "response": "<think>2 <new_399></think>2"}], larger)
    from racviz.models import tokenizer_fingerprint

    rollouts = Traces((Trace("a", 0, (1, 5), (1423,), "length", "h"),), "x", "x", tokenizer_fingerprint(larger.tokenizer))
    with pytest.raises(DataError, match=NAMED):
        rv.reconstruction_errors(larger, {"p": larger}, rollouts, progress=False)
    with pytest.raises(DataError, match=NAMED):
        rv.layerwise_errors(larger, {"p": larger}, rollouts)


def test_embeddings_larger_than_the_tokenizer_are_fine(make_tiny):
    loaded = make_tiny(vocab_size=1100)
    made = generate_traces(loaded, [Problem("a", "What is 2 + 2?")], Sampling(8), progress=False)
    assert len(made[0].output_ids) >= 1


# --- errors beyond the context --------------------------------------------------------------------------------------------


def moments(loaded, pruned, rollouts):
    return rv.second_moments(loaded, rollouts_as_calibration(rollouts))


def test_errors_beyond_the_context_are_refused(make_tiny):
    from racviz.models import tokenizer_fingerprint

    loaded = make_tiny(max_position_embeddings=32)
    rows = [Trace(str(n), 0, (1, 5), tuple(range(10, 8 + n)), "length", str(n)) for n in (32, 33)]
    for count, refused in ((1, False), (2, True)):
        rollouts = Traces(tuple(rows[:count]), "x", "x", tokenizer_fingerprint(loaded.tokenizer))
        for measure in (rv.reconstruction_errors, rv.layerwise_errors, moments):
            if refused:
                with pytest.raises(DataError, match="has 33 tokens.*is 32"):
                    measure(loaded, {"p": loaded}, rollouts)
            else:
                measure(loaded, {"p": loaded}, rollouts)
