"""Loading and saving: names, hostile folders, dtypes, and checkpoints that plain transformers reads alike."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from racviz.calibration import calibration_set
from racviz.exceptions import DataError, NumericalError, ParameterError, StorageError
from racviz.generation import Sampling
from racviz.models import load_model, tokenizer_fingerprint, weight_bytes
from racviz.models import loaded as room
from racviz.models.formats import EMBEDDED
from racviz.problems import load_problems
from racviz.prompting import PLAIN, ThinkingFormat, render_prompt
from racviz.pruning import prune
from racviz.store import write_text
from racviz.traces import generate_traces

IDS = torch.tensor([[1, 3, 200, 300, 400, 4]])


@torch.inference_mode()
def logits(model) -> torch.Tensor:
    return model(IDS).logits


def plain(folder, dtype="auto"):
    """The checkpoint as somebody without racviz loads it."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A checkpoint of one's own, to be spoilt."""
    return shutil.copytree(tiny_folder, tmp_path / "checkpoint")


# --- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_models(name):
    loaded = load_model(name)
    assert loaded.name == name and loaded.embedded and loaded.thinking == ThinkingFormat()
    assert loaded.dtype == torch.float32 and str(loaded.device) == "cpu" and not loaded.model.training
    assert loaded.tokenizer.padding_side == "left" and loaded.context > 1024
    assert type(loaded.model).__name__ == "Qwen2ForCausalLM" and load_model(name).fingerprint == loaded.fingerprint
    assert render_prompt(loaded.tokenizer, "1 + 1")[0] == loaded.tokenizer.bos_token_id


@pytest.mark.parametrize(("name", "near"), [("tiny-resoner", "tiny-reasoner"), ("tiny_reasoner_small", "tiny-reasoner-small")])
def test_unknown_names_are_answered_with_the_nearest(name, near):
    with pytest.raises(ParameterError, match=f"Did you mean {near!r}.*local folder or a hub id"):
        load_model(name)


@pytest.mark.parametrize("name", ["./absent", "/absent/folder", "a/b/c", "back\\slash"])
def test_paths_that_are_no_folder(name):
    with pytest.raises(ParameterError, match=f"{re.escape(repr(name))} is not a folder here"):
        load_model(name)


def test_a_hub_id_without_a_network():
    with pytest.raises(DataError) as caught:
        load_model("nobody/no-such-model")
    message = str(caught.value)
    assert (
        "'nobody/no-such-model', which is not a folder here, could not be had from the hub" in message and "\n" not in message
    )
    assert "no network" in message and "Pass a local folder" in message and "tiny-reasoner" in message


@pytest.mark.parametrize(
    "option", [{"dtype": "float8"}, {"dtype": "fp16"}, {"device": "gpu"}, {"device": "cuda:99"}, {"device": ""}]
)
def test_unknown_dtypes_and_devices(tiny_folder, option):
    ((name, value),) = option.items()
    with pytest.raises(ParameterError, match=f"{name} must be .*{re.escape(repr(value))}"):
        load_model(tiny_folder, **option)


# --- folders that are none ---------------------------------------------------------------------------------------------


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="is not a checkpoint that transformers can load") as caught:
        load_model(tmp_path)
    assert str(tmp_path) in str(caught.value)


def lack_config(folder):
    (folder / "config.json").unlink()


def lack_weights(folder):
    (folder / "model.safetensors").unlink()


def lack_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


def cut_config(folder):
    (folder / "config.json").write_text((folder / "config.json").read_text()[:40])


def list_config(folder):
    (folder / "config.json").write_text("[1, 2]")


def foreign_config(folder):
    (folder / "config.json").write_text('{"model_type": "no-such-type"}')


def binary_config(folder):
    (folder / "config.json").write_bytes(b"\x80\xff\x00")


def cut_tokenizer(folder):
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:400])


def other_shapes(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))


def cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])


def empty_weights(folder):
    (folder / "model.safetensors").write_bytes(b"")


def garbage_weights(folder):
    (folder / "model.safetensors").write_bytes(np.random.default_rng(0).bytes(5000))


def lack_some_weights(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def damaged_provenance(folder):
    (folder / "racviz.json").write_text('{"base": "x", "calib')


def foreign_provenance(folder):
    (folder / "racviz.json").write_text("[1]")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lack_config, "not a checkpoint"), (lack_weights, "not a checkpoint"), (lack_tokenizer, "has no tokenizer"),
        (cut_config, "not a checkpoint"), (list_config, "not a checkpoint"), (foreign_config, "not a checkpoint.*no-such-type"),
        (binary_config, "not a checkpoint"), (cut_tokenizer, "not a checkpoint"), (other_shapes, "not a checkpoint"),
        (cut_weights, "damaged"), (cut_header, "damaged"), (empty_weights, "damaged"), (garbage_weights, "damaged"),
        (lack_some_weights, r"lacks 1 of its weights \(model.layers.1.mlp.up_proj.weight"),
        (damaged_provenance, "racviz.json is damaged"), (foreign_provenance, "racviz.json is damaged"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_whole_checkpoint_is_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "layer", ["model.layers.1.mlp.down_proj.weight", "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.bias"]
)
def test_weights_that_are_not_finite_name_the_layer(folder, layer, value):
    weights = load_file(folder / "model.safetensors")
    weights[layer].view(-1)[3] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(NumericalError, match=f"not finite in {layer}"):
        load_model(folder)


# --- saving and loading ------------------------------------------------------------------------------------------------


def test_a_saved_model_is_an_ordinary_checkpoint(tiny, tiny_folder):
    model, tokenizer = plain(tiny_folder)
    assert torch.equal(logits(model), logits(tiny.model))
    text = "What is 12 * 3? <think>\n</think>"
    assert tokenizer(text)["input_ids"] == tiny.tokenizer(text)["input_ids"]
    message = [{"role": "user", "content": text}]
    assert tokenizer.apply_chat_template(message, tokenize=False) == tiny.tokenizer.apply_chat_template(message, tokenize=False)
    assert tokenizer_fingerprint(tokenizer) == tokenizer_fingerprint(tiny.tokenizer)
    assert not [p for p in tiny_folder.iterdir() if p.suffix in (".bin", ".pt", ".pkl", ".tmp")]


def test_racviz_loads_what_it_saved(tiny, tiny_folder):
    again = load_model(tiny_folder)
    assert torch.equal(logits(again.model), logits(tiny.model))
    assert again.name == str(tiny_folder) and not again.embedded and again.provenance == {}
    assert again.context == 256 and again.thinking == tiny.thinking


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_saves_and_reloads_to_identical_logits(tiny_folder, tmp_path, dtype):
    loaded = load_model(tiny_folder, dtype=dtype)
    assert loaded.dtype == getattr(torch, dtype)
    exact = load_file(tiny_folder / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    assert torch.equal(loaded.model.model.layers[0].mlp.up_proj.weight, exact.to(loaded.dtype))
    loaded.save(tmp_path / "half")
    assert {t.dtype for t in load_file(tmp_path / "half" / "model.safetensors").values()} == {loaded.dtype}
    assert torch.equal(logits(plain(tmp_path / "half")[0]), logits(loaded.model))
    widened = load_model(tmp_path / "half")  # on a CPU `auto` is float32: the same numbers, wider
    assert widened.dtype == torch.float32
    assert torch.equal(widened.model.lm_head.weight, loaded.model.lm_head.weight.float())


def test_a_model_with_tied_embeddings_saves_and_reloads(make_tiny, tmp_path):
    tied = make_tiny(tie_word_embeddings=True)
    tied.save(tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    again, (model, _) = load_model(tmp_path / "tied"), plain(tmp_path / "tied")
    assert torch.equal(logits(again.model), logits(tied.model)) and torch.equal(logits(model), logits(tied.model))
    assert again.model.lm_head.weight.data_ptr() == again.model.model.embed_tokens.weight.data_ptr()


def test_provenance_is_kept_and_says_what_calibrated(tiny, tmp_path):
    pruned = tiny.copy()
    pruned.name = "räc 50 %"
    pruned.provenance = {"base": "tiny-reasoner", "calibration": {"problems": ["aa", "bb"], "tokens": 12}, "sparsity": 0.5}
    pruned.report = pd.DataFrame({"layer": ["layers.0"], "sparsity": [0.5]})
    pruned.save(tmp_path / "pruned")
    written = json.loads((tmp_path / "pruned" / "racviz.json").read_text(encoding="utf-8"))
    assert written == {"name": "räc 50 %", "fingerprint": pruned.fingerprint} | pruned.provenance
    assert pd.read_csv(tmp_path / "pruned" / "racviz_report.csv").equals(pruned.report)
    again = load_model(tmp_path / "pruned")
    assert again.provenance == pruned.provenance and again.calibrated_on == {"aa", "bb"} and again.embedded
    plain(tmp_path / "pruned")  # is not disturbed by it


def test_what_decides_the_numbers_decides_the_fingerprint(tiny, folder):
    first = load_model(folder).fingerprint
    assert load_model(folder).fingerprint == first != load_model(folder, dtype="bfloat16").fingerprint
    other = tiny.copy()
    with torch.no_grad():
        other.model.lm_head.weight[0, 0] += 1
    other.save(folder)
    assert load_model(folder).fingerprint != first


def test_a_copy_shares_no_weights(tiny):
    copy = tiny.copy()
    with torch.no_grad():
        copy.model.lm_head.weight.zero_()
    copy.provenance["calibration"] = {"problems": ["x"]}
    assert tiny.model.lm_head.weight.abs().sum() > 0 and tiny.calibrated_on == frozenset()
    assert copy.tokenizer is tiny.tokenizer and repr(copy).startswith("LoadedModel('random', 0.2M parameters, torch.float32")


def test_the_fingerprint_of_a_tokenizer_is_that_of_its_ids(tiny, tiny_folder):
    same, other = AutoTokenizer.from_pretrained(tiny_folder), AutoTokenizer.from_pretrained(tiny_folder)
    same.padding_side, same.chat_template = "right", "none"
    assert tokenizer_fingerprint(same) == tokenizer_fingerprint(tiny.tokenizer)
    other.add_tokens(["<more>"])
    assert tokenizer_fingerprint(other) != tokenizer_fingerprint(tiny.tokenizer)


def test_a_tokenizer_without_padding_or_markers(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("pad_token", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    text = (folder / "tokenizer.json").read_text().replace("</think>", "</thunk>")
    (folder / "tokenizer.json").write_text(text)
    config_text = (folder / "tokenizer_config.json").read_text().replace("</think>", "</thunk>")
    (folder / "tokenizer_config.json").write_text(config_text)
    loaded = load_model(folder)
    assert loaded.tokenizer.pad_token_id == loaded.tokenizer.eos_token_id
    assert loaded.thinking == PLAIN


# --- saving that fails -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eos", [10**6, [10**6, 10**6 + 1], -1, "x", ["</s>"]])
def test_end_tokens_that_no_model_samples_are_refused(folder, eos):
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).exists():
            own = {k: v for k, v in json.loads((folder / name).read_text()).items() if k not in ("eos_token", "pad_token")}
            (folder / name).write_text(json.dumps(own | ({"pad_token": "<pad>"} if name.startswith("tok") else {})))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": eos}))
    with pytest.raises(DataError, match="eos_token_id"):
        load_model(folder)


def test_end_tokens_beside_one_that_is_sampled_are_fine(folder):
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [10**6, 1]}))
    load_model(folder)


def test_a_save_that_fails_leaves_the_old_checkpoint(tiny, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = tiny.copy()
    with torch.no_grad():
        other.model.lm_head.weight.zero_()

    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "write_text", refuse)  # after the weights
    with pytest.raises(StorageError, match="disk is full"):
        other.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(StorageError, match="disk is full"):
        other.save(folder / "new")
    assert not (folder / "new").exists()


def test_a_checkpoint_over_another_leaves_nothing_of_it(tiny, folder):
    """Stale shards would be loaded by transformers, and a stale report believed."""
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"old")
    (folder / "model.safetensors.index.json").write_text("{}")
    (folder / "racviz_report.csv").write_text("old")
    (folder / "notes.txt").write_text("mine")
    tiny.save(folder)
    names = {path.name for path in folder.iterdir()}
    assert not {n for n in names if "index" in n or "-of-" in n or n.endswith(".csv")}
    assert {"model.safetensors", "notes.txt"} <= names
    assert torch.equal(logits(load_model(folder).model), logits(tiny.model))


KILLS = """
import os, shutil, signal, sys
from pathlib import Path
import torch
from racviz.models import load_model
home, how = Path(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
model = load_model(home / "old")
model.provenance = {"base": "x", "calibration": {"problems": ["new"]}}
model.model.lm_head.weight.data.fill_(2.0)
real = os.replace
for k in range(100):
    folder = shutil.copytree(home / "old", home / f"{how}-{k}")
    if not (pid := os.fork()):
        calls = []
        def replace(*paths):
            calls.append(paths)
            if len(calls) == k + 1:
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(5, "Input/output error")
            return real(*paths)
        os.replace = replace
        try:
            model.save(folder)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        break
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "fail"])
def test_a_save_that_ends_at_any_rename_never_leaves_old_provenance_beside_new_weights(tiny, tmp_path, how):
    old = tiny.copy()
    old.provenance, old.report = {"base": "x", "calibration": {"problems": ["old"]}}, pd.DataFrame({"layer": ["a"]})
    with torch.no_grad():
        old.model.lm_head.weight.fill_(1.0)
    old.save(tmp_path / "old")
    subprocess.run([sys.executable, "-c", KILLS, str(tmp_path), how], check=True, timeout=120)
    outcomes = []
    for k in range(len(list(tmp_path.glob(f"{how}-*")))):
        try:
            loaded = load_model(tmp_path / f"{how}-{k}")
        except DataError as error:
            assert "incomplete" in str(error) and f"{how}-{k}" in str(error)
            outcomes.append("refused")
        else:
            weights = {1.0: "old", 2.0: "new"}[loaded.model.lm_head.weight[0, 0].item()]
            assert loaded.calibrated_on == {weights}
            outcomes.append(weights)
    order = [outcome for k, outcome in enumerate(outcomes) if k == 0 or outcomes[k - 1] != outcome]
    assert order == ["old", "refused", "new"] and outcomes.count("refused") >= 4


def test_what_a_killed_save_left_is_reclaimed_by_the_next(tiny, folder):
    (folder / ".01234567.tmp").mkdir()
    (folder / ".01234567.tmp" / "model.safetensors").write_bytes(b"half")
    for path in (folder / ".01234567.tmp" / "model.safetensors", folder / ".01234567.tmp"):
        os.utime(path, (0, 0))
    write_text(folder / "racviz.json", '{"incomplete": "…"}')
    with pytest.raises(DataError, match="incomplete"):
        load_model(folder)
    tiny.save(folder)
    assert load_model(folder).provenance == {} and not list(folder.glob(".*"))


def test_a_report_of_pruning_without_its_provenance_is_refused(tiny, tmp_path):
    pruned = tiny.copy()
    pruned.provenance, pruned.report = {"calibration": {"problems": ["a"]}}, pd.DataFrame({"layer": ["x"]})
    pruned.save(tmp_path / "pruned")
    (tmp_path / "pruned" / "racviz.json").unlink()
    with pytest.raises(DataError, match="racviz.json is missing"):
        load_model(tmp_path / "pruned")


def test_a_checkpoint_that_is_replaced_while_it_is_loaded(tiny, folder, monkeypatch):
    """Weights of the one would have the provenance of the other."""
    other = tiny.copy()
    other.provenance = {"calibration": {"problems": ["a"]}}
    real = AutoModelForCausalLM.from_pretrained

    def slowly(*args, **options):
        loaded = real(*args, **options)
        other.save(folder)
        return loaded

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", slowly)
    with pytest.raises(DataError, match="replaced while it was loaded"):
        load_model(folder)


@pytest.mark.slow
def test_two_saves_into_one_folder_leave_one_of_the_two(tiny, tmp_path):
    """Each in a process of its own, again and again: weights and provenance are of the same."""
    script = """
import sys, torch
from racviz.models import load_model
model, value = load_model(sys.argv[1]), float(sys.argv[3])
model.model.lm_head.weight.data.fill_(value)
model.provenance = {"calibration": {"problems": [str(value)]}}
for _ in range(4):
    model.save(sys.argv[2])
"""
    first = tiny.save(tmp_path / "first")
    runs = [subprocess.Popen([sys.executable, "-c", script, first, tmp_path / "both", value]) for value in ("1.0", "2.0")]
    assert [run.wait(120) for run in runs] == [0, 0]
    loaded = load_model(tmp_path / "both")
    assert loaded.calibrated_on == {str(loaded.model.lm_head.weight[0, 0].item())}
    assert not list((tmp_path / "both").glob(".*"))


# --- special files beside a checkpoint ---------------------------------------------------------------------------------


def special_files(folder, name):
    """Everything under a name that is not a regular file, one after the other."""
    path = folder / name
    for make in (
        lambda: os.mkfifo(path), path.mkdir, lambda: path.symlink_to("/dev/zero"), lambda: path.symlink_to("nowhere"),
        lambda: path.symlink_to(path.name), lambda: path.symlink_to("."),
    ):  # fmt: skip
        make()
        yield path
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


@pytest.mark.parametrize(
    "name", ["z.json", "notes.txt", "more.safetensors", "extra.jinja", "code.py", "x.model", "adapter_model.safetensors"]
)
def test_special_files_beside_a_checkpoint_change_nothing(folder, name):
    expected = load_model(folder).fingerprint
    for _ in special_files(folder, name):
        assert load_model(folder).fingerprint == expected
        assert weight_bytes(folder) == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("name", ["racviz.json", "racviz_report.csv", "config.json", "model.safetensors"])
def test_special_files_in_the_place_of_a_checkpoints_own_are_named(tiny, tmp_path, name):
    pruned = tiny.copy()
    pruned.provenance, pruned.report = {"calibration": {"problems": ["a"]}}, pd.DataFrame({"layer": ["x"]})
    folder = pruned.save(tmp_path / "pruned")
    (folder / name).unlink()
    for path in special_files(folder, name):
        with pytest.raises(DataError, match=str(path.name if "racviz" in name else folder)):
            load_model(folder)


def test_links_to_regular_files_are_a_checkpoint_too(folder, tmp_path):
    """As in the cache of the hub."""
    (tmp_path / "blobs").mkdir()
    expected = load_model(folder).fingerprint
    for path in list(folder.iterdir()):
        path.rename(tmp_path / "blobs" / path.name)
        path.symlink_to(tmp_path / "blobs" / path.name)
    assert load_model(folder).fingerprint == expected


def test_saving_where_a_file_is(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not save the model in .*file"):
        tiny.save(tmp_path / "file")


# --- where it goes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["map", {"": "cpu"}])
def test_a_model_spread_by_accelerate_is_the_same_model(tiny_folder, device):
    pytest.importorskip("accelerate", reason="accelerate is not installed (extra: hub)")
    plain, spread = load_model(tiny_folder), load_model(tiny_folder, device=device)
    ids = torch.tensor([plain.render("What is 2 + 2?")])
    with torch.inference_mode():
        assert torch.equal(plain.model(ids).logits, spread.model(ids).logits)
    assert spread.device.type == "cpu" and spread.fingerprint == plain.fingerprint


def test_weights_on_disk_generate_but_are_not_pruned(tiny_folder, tiny, tmp_path):
    """As of a model that fits into no memory: accelerate brings each block in for its turn."""
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed (extra: hub)")
    loaded = load_model(tiny_folder)
    where = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu", "lm_head": "cpu",
             "model.rotary_emb": "cpu"}  # fmt: skip
    accelerate.dispatch_model(loaded.model, where, main_device="cpu", offload_dir=str(tmp_path / "offload"))
    problems = load_problems("arithmetic", limit=2)
    made, expected = (generate_traces(m, problems, Sampling(8, 0.0), progress=False) for m in (loaded, tiny))
    assert [t.output_ids for t in made] == [t.output_ids for t in expected]
    calibration = calibration_set("prompt", loaded, problems=problems, tokens=40)
    with pytest.raises(ParameterError, match="layers.1.* is offloaded by its device map.*device='cpu'"):
        prune(loaded, calibration, progress=False)


def test_a_gpu_that_is_too_small_means_all_of_them(tiny_folder, monkeypatch):
    """What `auto` chooses, with cards that are made up."""
    from racviz import models

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    size = models.weight_bytes(tiny_folder)
    for free, place in (([2 * size], "cuda"), ([2 * size] * 2, "cuda"), ([size] * 2, "map"), ([size], "cuda")):
        monkeypatch.setattr(torch.cuda, "device_count", lambda free=free: len(free))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda k, free=free: (free[k], free[k]))
        assert models._place("auto", tiny_folder) == place
    assert models._place("cpu", tiny_folder) == "cpu" and models._place({"": 0}, tiny_folder) == {"": 0}


@pytest.mark.parametrize("thinking", ["plain", "<a> </a>"])
def test_a_thinking_format_is_part_of_what_the_model_is(tiny_folder, thinking):
    auto, named = load_model(tiny_folder), load_model(tiny_folder, thinking=thinking)
    assert named.fingerprint != auto.fingerprint and load_model(tiny_folder, thinking=thinking).fingerprint == named.fingerprint
    assert named.render("x") == auto.render("x")


def test_the_format_that_is_found_anyway_is_the_same_model(tiny_folder):
    """Or traces of the model would count as another's where its format is named."""
    assert load_model(tiny_folder, thinking="think").fingerprint == load_model(tiny_folder).fingerprint
