"""A model in memory with its tokenizer, its thinking format and its provenance."""

import contextlib
import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from racviz.models.architecture import context_of, length_switch
from racviz.models.checkpoints import any_generation_config
from racviz.models.formats import EMBEDDED
from racviz.printable import placeless
from racviz.prompting import ThinkingFormat, render_prompt
from racviz.store import atomic_files, explained, write_text

STALE = ("model*.safetensors*", "racviz_report.csv", "chat_template.jinja", "generation_config.json")
"""Files of a checkpoint that was saved in a folder before: transformers would load them with the new one."""


@dataclass
class LoadedModel:
    """A transformers model with its tokenizer and its provenance.

    Made by `load_model` and `prune`.

    Attributes
    ----------
    model : transformers.PreTrainedModel
        The model itself, in evaluation mode.
    tokenizer : transformers.PreTrainedTokenizerBase
        Its tokenizer.
    name : str
        The name that it was loaded by.
    fingerprint : str
        Hash of the weights; part of every cache key.
    thinking : ThinkingFormat
        Markers of its thought.
    provenance : dict
        For a pruned model: base, parameters, calibration and hashes of the calibration problems.
    report : pandas.DataFrame or None
        For a pruned model: a row a linear.

    Examples
    --------
    >>> import racviz as rv
    >>> dense = rv.load_model("tiny-reasoner")
    >>> dense.thinking.end
    '</think>'
    >>> prompt_ids = dense.render("What is 2 + 2?")
    >>> dense.tokenizer.decode(prompt_ids).count("What is 2 + 2?")
    1
    """

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
    """True if the model was loaded with trust_remote_code."""
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


def tokenizer_fingerprint(tokenizer) -> str:
    """A hash of the vocabulary and merges: equal for tokenizers that give the same ids for the same text."""
    backend = getattr(tokenizer, "backend_tokenizer", None) or getattr(tokenizer, "_tokenizer", None)
    if backend is not None:
        data = json.loads(backend.to_str())
        text = json.dumps({k: data.get(k) for k in ("model", "added_tokens", "pre_tokenizer", "normalizer")}, sort_keys=True)
    else:
        text = json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
