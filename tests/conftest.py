"""Shared fixtures: a small random model, a store and a cache of each test's own, and no network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: nothing here asks the network for anything
if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side take a thread each, and so do those that they start
    os.environ["OMP_NUM_THREADS"] = os.environ["RACVIZ_PROCESSES"] = "1"

import signal
import sys

import hypothesis
import pytest

from racviz.store import Store, resource

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore Ctrl-C

hypothesis.settings.register_profile("racviz", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("racviz")


LONGEST = ("test_notebooks", "test_vllm", "test_lessons", "test_claims", "test_lessons_lab", "test_sweep", "test_plan", "test_lab",
           "test_exported", "test_study", "test_server", "test_reports", "test_smollm2", "test_tiny", "test_models")  # fmt: skip
"""Files by the time they take, longest first: one that began last would leave the other processes idle."""


def pytest_addoption(parser):
    parser.addoption("--only-serial", action="store_true", help="run only the tests that must run alone")


def pytest_collection_modifyitems(config, items):
    """Keep the tests that must run alone out of parallel runs, and start the files that take longest first.

    Whoever names no number of processes gets all tests, as ever.
    """
    parallel = "PYTEST_XDIST_WORKER" in os.environ
    if parallel or config.getoption("--only-serial"):
        left_out = [item for item in items if (item.get_closest_marker("serial") is not None) == parallel]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    if parallel:  # a stable sort: a file's tests stay together, in their order
        items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_ignore_collect(collection_path, config):
    """Read only the files in which a test must run alone, where only these are wanted: collecting all takes half a minute."""
    if config.getoption("--only-serial") and collection_path.suffix == ".py" and collection_path.name.startswith("test_"):
        return True if "mark.serial" not in collection_path.read_text(encoding="utf-8") else None
    return None


def pytest_sessionfinish(session, exitstatus):
    if session.config.getoption("--only-serial") and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK  # ARGS may have named other tests


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A cache that no other test and no user sees; one thread where torch is at work, which is quickest for small matrices."""
    monkeypatch.setenv("RACVIZ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RACVIZ_PROCESSES", "1")  # what a test counts or replaces is in this process
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def random_model(**changes):
    """A Qwen2 with random weights, 2 layers × 64, head size 32, fp32, context 256, and the embedded models' tokenizer.

    The weights are large enough for outputs that depend on all of the context and for sampling that is neither flat nor sure.
    """
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    from racviz.models import LoadedModel
    from racviz.prompting import detect_format

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(resource("data/models/tiny-reasoner"))
    tokenizer.padding_side = "left"
    settings = dict(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, initializer_range=0.15, tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(Qwen2Config(**settings | changes)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(2.0)
    name = "random" if not changes else f"random {sorted(changes.items())}"
    return LoadedModel(model, tokenizer, name, f"fingerprint of {name}", detect_format(tokenizer))


@pytest.fixture(scope="session")
def tiny():
    """The random model; shared, so copy it (`tiny.copy()`) before you change it."""
    return random_model()


@pytest.fixture(scope="session")
def make_tiny():
    """`random_model`, for a model with another config."""
    return random_model


@pytest.fixture(scope="session")
def tiny_folder(tiny, tmp_path_factory):
    """The random model as a local checkpoint; shared, so copy it before you change it."""
    return tiny.save(tmp_path_factory.mktemp("models") / "random")
