"""Checks of a checkpoint's files before it is loaded, and of what is going to be saved before any work is done with it."""

import contextlib
import json
import re
import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from racviz.exceptions import DataError, reason_of
from racviz.problems.filekinds import POINTER

HEADS = re.compile(
    r"For(?:Sequence|Token|Audio|Image)Classification|ForQuestionAnswering|ForMaskedLM|ForMultipleChoice|ForReward|RewardModel"
)
"""Ends of the names of classes that are no language models; transformers would load their decoder without a word."""
CHANGING = re.compile(r"lora_|_scale(?:_inv)?$|_zero_point$|qweight|qzeros|\\.absmax|modules_to_save|ia3_")
"""Names of weights without which others mean something else."""
CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json")


def check_checkpoint(folder: Path, name: str, weights: bool = True) -> dict[str, Any]:
    """The parsed config.json of a folder that holds a causal language model in safetensors.

    folder: the local folder.
    name: the model's name, for messages.
    weights: False where only the small files are there.

    Raises DataError in one line for a folder that is something else: an adapter, GGUF files, a diffusers pipeline, a quantised or
    encoder-decoder model, weights in another format, missing shards, damaged JSON.
    """
    if (folder / "adapter_config.json").is_file():
        base = _json(folder / "adapter_config.json", name).get("base_model_name_or_path")
        raise DataError(
            f"{name!r} is an adapter (adapter_config.json) of {_shown(base)}, not a whole model; merge it into that model (in peft, "
            "merge_and_unload) and pass the merged checkpoint, without adapter_config.json."
        )
    if (folder / "model_index.json").is_file():
        raise DataError(f"{name!r} is a pipeline of diffusers (model_index.json), not a causal language model.")
    if not (folder / "config.json").is_file():
        if ggufs := sorted(folder.glob("*.gguf")):
            raise gguf(name, ggufs[0].name)
        held = "is empty" if not any(folder.iterdir()) else "has no config.json"
        raise _refusal(name, f"it {held}; a checkpoint has config.json, *.safetensors and a tokenizer")
    for file in CONFIGS:
        if (folder / file).is_file():
            _json(folder / file, name)
    config = _json(folder / "config.json", name)
    if weights and not config.get("model_type") and not config.get("auto_map"):
        raise _refusal(name, "its config.json names no model_type")
    heads = [str(each) for each in config.get("architectures") or () if HEADS.search(str(each))]
    if heads:
        raise DataError(
            f"{name!r} is {_shown(heads[0])}, a model with another head than that of a language model; racviz takes decoders only."
        )
    quantised = config.get("quantization_config") or config.get("compression_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise DataError(
            f"{name!r} is a quantised checkpoint ({_shown(method)} in quantization_config); racviz prunes plain weights. Pass the "
            "model that it was quantised from."
        )
    if config.get("is_encoder_decoder"):
        raise DataError(
            f"{name!r} is an encoder-decoder model ({_shown(config.get('model_type'))}); racviz takes decoders only."
        )
    if weights:
        _check_weights(folder, name)
    return config


def gguf(name: str, file: str) -> DataError:
    """The error for GGUF files."""
    return DataError(
        f"{name!r} is GGUF ({file}), a format of llama.cpp, which racviz does not load yet; pass the checkpoint in safetensors that "
        "it was converted from."
    )


def _check_weights(folder: Path, name: str) -> None:
    """The weights are there, whole as far as their names tell, and in safetensors."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        shards = [single]
    elif index.is_file():
        wanted = _json(index, name).get("weight_map")
        if not isinstance(wanted, dict) or not wanted or not all(isinstance(shard, str) for shard in wanted.values()):
            raise _refusal(name, f"its {index.name} has no weight_map; copy it again")
        names = sorted(set(wanted.values()))
        missing = [shard for shard in names if not (folder / shard).is_file()]
        if missing:
            raise DataError(
                f"{name!r} lacks {len(missing)} of its {len(names)} shards, first {_shown(missing[0])}; copy the checkpoint again."
            )
        shards = [folder / shard for shard in names]
    else:
        raise _no_weights(folder, name)
    for shard in shards:
        try:
            with shard.open("rb") as file:
                pointer = file.read(len(POINTER)) == POINTER
        except OSError as error:
            raise _refusal(
                name, f"its {shard.name} cannot be read ({error.strerror}); make it readable, or copy it again"
            ) from error
        if pointer:
            raise DataError(f"{shard.name} of {name!r} is a pointer of git-lfs, not the weights; run `git lfs pull` there.")


def _no_weights(folder: Path, name: str) -> DataError:
    pickles = sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])
    if pickles:
        return _refusal(
            name,
            f"its weights are in {pickles[0].name}, a pickle, which may run code when read; racviz reads safetensors only. Convert it "
            "where you trust it: save_pretrained writes safetensors",
        )
    if ggufs := sorted(folder.glob("*.gguf")):
        return gguf(name, ggufs[0].name)
    others = sorted(folder.glob("*.safetensors"))
    found = f"; {others[0].name} is not a name that transformers reads" if others else ""
    return _refusal(name, f"it has no weights, neither model.safetensors nor model.safetensors.index.json{found}")


def _refusal(name: str, why: str) -> DataError:
    return DataError(f"the folder {name!r} is not a checkpoint that transformers can load: {why}.")


def _json(path: Path, name: str) -> dict[str, Any]:
    """A JSON object from a file. Raises DataError that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _refusal(
            name, f"its {path.name} cannot be read ({error.strerror}); make it readable, or copy it again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _refusal(name, f"its {path.name} is not JSON ({error}); copy it again") from error
    if not isinstance(value, dict):
        raise _refusal(name, f"its {path.name} holds a {type(value).__name__}, not an object; copy it again")
    return value


def _shown(value: object) -> str:
    """A value out of a file, short."""
    text = repr(value) if value is not None else "unknown"
    return text if len(text) <= 80 else text[:77] + "…"


def check_savable(loaded: Any) -> None:
    """Raise DataError for a model whose config or tokenizer cannot be written, before any work is done with it."""
    if loaded.trials.get("savable"):
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            loaded.model.config.save_pretrained(folder)
            loaded.tokenizer.save_pretrained(folder)
        except OSError:
            raise
        except Exception as error:  # transformers checks more when it saves than when it loads
            first = reason_of(error)
            raise DataError(
                f"{loaded.name!r} could not be saved after pruning: {first}. Mend its config.json or tokenizer_config.json first."
            ) from error
    loaded.trials["savable"] = True


@contextlib.contextmanager
def any_generation_config(model: Any, folder: Path) -> Iterator[None]:
    """Let a model be saved in a folder whose generation config transformers would refuse to save: it is written as it was."""
    from transformers import GenerationConfig

    own = model.generation_config
    try:
        own.validate(strict=True)
    except ValueError:
        model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        refused, model.generation_config = model.generation_config is not own, own
    if refused:
        own.to_json_file(folder / "generation_config.json")


def check_unused(names: Collection[str], name: str) -> None:
    """Raise DataError for weights that change others and are not loaded, adapters and scales; warn of others that are not."""
    changing = sorted(each for each in names if CHANGING.search(each))
    if changing:
        raise DataError(
            f"the checkpoint {name!r} holds weights that transformers leaves out and that change the model, {len(changing)} such as "
            f"{_shown(changing[0])}: an adapter or scales. Merge them into the weights first."
        )
    if names:
        some = ", ".join(sorted(names)[:3])
        warnings.warn(f"{len(names)} weights of {name!r} are not part of the model and are left out: {some}, ….", stacklevel=3)
