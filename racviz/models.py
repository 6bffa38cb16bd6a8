"""Load and save a causal language model with its tokenizer and its provenance.

A name is an embedded model, a local folder or a hub id, looked for in this order.
"""

import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from racviz.errors import DataError, NumericalError, ParameterError, check, unknown
from racviz.prompting import ThinkingFormat, detect_format
from racviz.store import atomic_files, explained, hash_file, resource, write_text

EMBEDDED = ("tiny-reasoner", "tiny-reasoner-small")
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

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def context(self) -> int:
        """The longest sequence, prompt and output together, in tokens."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2**31)

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
        """Write an ordinary Hugging Face checkpoint and `racviz.json`, the provenance."""
        folder = Path(folder)
        with explained("save the model in", folder):
            with atomic_files(folder) as draft:
                with quiet():
                    self.model.save_pretrained(draft)
                self.tokenizer.save_pretrained(draft)
                own = {"name": self.name, "fingerprint": self.fingerprint, **self.provenance}
                write_text(draft / "racviz.json", json.dumps(own, indent=1, ensure_ascii=False))
                if self.report is not None:
                    self.report.to_csv(draft / "racviz_report.csv", index=False)
                written = {path.name for path in draft.iterdir()}
            for path in [*folder.glob("model*.safetensors*"), folder / "racviz_report.csv"]:
                if path.name not in written:  # of a checkpoint that was saved here before: transformers would load its shards
                    path.unlink(missing_ok=True)
        return folder

    def copy(self) -> "LoadedModel":
        """The same with a deep copy of the weights; the tokenizer is shared."""
        return LoadedModel(
            copy.deepcopy(self.model),
            self.tokenizer,
            self.name,
            self.fingerprint,
            self.thinking,
            copy.deepcopy(self.provenance),
            self.report,
        )

    def __repr__(self) -> str:
        size = sum(p.numel() for p in self.model.parameters())
        return f"LoadedModel({self.name!r}, {size / 1e6:.1f}M parameters, {self.dtype}, {self.device})"


def load_model(
    name: str | Path, *, device: str = "auto", dtype: str = "auto", revision: str | None = None, trust_remote_code: bool = False
) -> LoadedModel:
    """Load a causal language model.

    name: an embedded model (`tiny-reasoner`, `tiny-reasoner-small`), a local folder, or a hub id `owner/name`.
    device: `auto` (a GPU if there is one), `cpu`, `cuda`, … . dtype: `auto` is the checkpoint's own on a GPU and float32
    on a CPU; or `float32`, `bfloat16`, `float16`.

    Raises ParameterError for a name that is none of these (with the nearest), DataError for a hub that cannot be
    reached or a folder that is no checkpoint or lacks weights, NumericalError for weights that are not finite (names the
    layer).
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = str(name)
    check(dtype in ("auto", *DTYPES), "dtype", dtype, f"'auto' or one of {', '.join(DTYPES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    _check_device(device)
    source, is_hub = _locate(name)
    chosen = DTYPES.get(dtype, torch.float32 if device == "cpu" else "auto")
    options = {"trust_remote_code": trust_remote_code} | ({"revision": revision} if revision else {})
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        with contextlib.nullcontext() if is_hub else quiet():
            model, loading = AutoModelForCausalLM.from_pretrained(
                source, dtype=chosen, use_safetensors=True, output_loading_info=True, **options
            )
    except Exception as error:  # transformers raises of every kind for files that are not what they should be
        if type(error).__name__ == "SafetensorError":
            raise DataError(f"the weights in {name!r} are damaged: {error}. Copy the checkpoint again.") from error
        first = (str(error) or type(error).__name__).strip().split("\n")[0]
        if is_hub:
            raise DataError(
                f"model {name!r} could not be had from the hub: {first} Without a network, pass a local folder "
                f"or one of the embedded models ({', '.join(EMBEDDED)})."
            ) from error
        raise DataError(f"the folder {name!r} is not a checkpoint that transformers can load: {first}") from error
    # transformers makes an empty tokenizer where the files of one are missing
    if not tokenizer("1 a", add_special_tokens=False)["input_ids"]:
        raise DataError(f"{name!r} has no tokenizer; a checkpoint needs tokenizer.json or the files of its own tokenizer.")
    if loading["missing_keys"]:
        some = ", ".join(sorted(loading["missing_keys"])[:3])
        raise DataError(
            f"the checkpoint {name!r} lacks {len(loading['missing_keys'])} of its weights ({some}, …). Copy the checkpoint again."
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= len(model.get_input_embeddings().weight):
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    model = model.to(device).eval()
    for parameter, values in model.named_parameters():
        if not torch.isfinite(values).all():
            raise NumericalError(f"the weights of {name!r} are not finite in {parameter}; the checkpoint is damaged")
    provenance, report = {}, None
    if not is_hub and (Path(source) / "racviz.json").exists():
        provenance = _provenance(Path(source) / "racviz.json")
        report = _report(Path(source) / "racviz_report.csv")
    stamp = _fingerprint(source, is_hub, model, dtype=str(model.dtype))
    return LoadedModel(model, tokenizer, name, stamp, detect_format(tokenizer), provenance, report)


def _check_device(device: str) -> None:
    """Raise ParameterError for a device that torch does not know or that is not here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().split("\n")[0]
        raise ParameterError(
            f"device must be 'auto', 'cpu', 'cuda' or another that torch has here; not {device!r}: {first}"
        ) from error


def _report(path: Path):
    """The report of a pruned model that was saved, a row a linear; None where there is none."""
    import pandas as pd

    return pd.read_csv(path) if path.exists() else None


def _provenance(path: Path) -> dict[str, Any]:
    try:
        kept = dict(json.loads(path.read_text(encoding="utf-8")))
        return {k: v for k, v in kept.items() if k not in ("name", "fingerprint")}
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path} is damaged ({error}): it says which problems calibrated the model. Save the model again."
        ) from error


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


def _locate(name: str) -> tuple[str, bool]:
    """The folder or hub id behind a name, and whether it is a hub id."""
    if name in EMBEDDED:
        return str(resource(f"data/models/{name}")), False
    if Path(name).is_dir():
        return name, False
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith((".", "/")):
        return name, True
    if "/" in name or "\\" in name:
        raise ParameterError(
            f"model {name!r} is no folder here; pass an existing folder, an embedded name or a hub id owner/name."
        )
    raise unknown("model", name, EMBEDDED, "Or pass a local folder or a hub id owner/name.")


def _fingerprint(source: str, is_hub: bool, model, **more: str) -> str:
    """Of a folder the content of its weights and config, of a hub id the commit that was loaded."""
    digest = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    if is_hub:
        digest.update(f"{source} {getattr(model.config, '_commit_hash', None)}".encode())
    else:
        kinds = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.py")  # weights, configs, all that makes a prompt
        for path in sorted(path for kind in kinds for path in Path(source).glob(kind)):
            digest.update(f"{path.name} {hash_file(path)}".encode())
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
