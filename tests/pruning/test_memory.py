"""Models larger than the memory they are given: weights stay mapped, blocks come and go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pruning_helpers import ragged

import racviz as rv
from racviz.pruning.stream import open_stream, run_block

CGROUP = Path("/sys/fs/cgroup/memory")
LIMIT = 640  # MiB, for Python, torch, numba and everything; the weights take half as much again
SHAPE = dict(
    vocab_size=32768, hidden_size=768, intermediate_size=2048, num_hidden_layers=33, num_attention_heads=8, num_key_value_heads=2,
    tie_word_embeddings=False,
)  # fmt: skip
SCRIPT = """
import os, sys
folder, group, tests = sys.argv[1:]
open(f"{group}/cgroup.procs", "w").write(str(os.getpid()))
sys.path.insert(0, tests)
import torch
torch.set_num_threads(2)
import racviz as rv
from pruning_helpers import ragged
model = rv.load_model(f"{folder}/big")
pruned = rv.prune(model, ragged(model, count=10), workspace=f"{folder}/workspace", inplace=True, progress=False)
pruned.save(f"{folder}/pruned")
print(pruned.provenance["sparsity"])
"""


@pytest.fixture
def limited():
    """A cgroup with a memory limit, as the folder of its files."""
    group = CGROUP / f"racviz-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT * 2**20))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield group
    group.rmdir()


@pytest.mark.slow
@pytest.mark.serial
def test_a_model_half_as_large_again_as_the_memory_is_pruned(tiny, limited, tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPE))
    assert sum(p.numel() * p.element_size() for p in model.parameters()) > 1.5 * LIMIT * 2**20
    model.save_pretrained(tmp_path / "big")
    tiny.tokenizer.save_pretrained(tmp_path / "big")
    del model
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), str(limited), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
    assert float(done.stdout) == pytest.approx(0.5, abs=1e-3)
    assert rv.load_model(tmp_path / "pruned").provenance["linears"] == SHAPE["num_hidden_layers"] * 7


def test_every_block_visits_the_device_and_comes_home(tiny, monkeypatch):
    """There is one device here, so what is watched is who is sent where."""
    sent, real = [], torch.nn.Module.to
    blocks = {}

    def to(module, *args, **kwargs):
        if module in blocks:
            sent.append((blocks[module], torch.device(args[0]).type))
        return real(module, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "to", to)
    mine = tiny.copy()
    blocks.update({block: index for index, block in enumerate(mine.model.model.layers)})
    rv.prune(mine, ragged(tiny), device="cpu", inplace=True, progress=False)
    assert sent == [(0, "cpu"), (0, "cpu"), (1, "cpu"), (1, "cpu")]


def test_visiting_the_same_device_changes_nothing(tiny):
    one = rv.prune(tiny, ragged(tiny), progress=False)
    other = rv.prune(tiny, ragged(tiny), device="cpu", progress=False)
    assert all(torch.equal(v, other.model.state_dict()[k]) for k, v in one.model.state_dict().items())


def test_hidden_states_in_memory_are_let_go_as_they_are_replaced(tiny):
    stream = open_stream(tiny, ragged(tiny), batch_tokens=64)
    block, held = tiny.model.model.layers[0], []
    run_block(block, 0, stream, keep=True, note=lambda batch: held.append(len(stream.hidden._now) + len(stream.hidden._next)))
    assert len(stream) > 3 and set(held) == {len(stream)}
