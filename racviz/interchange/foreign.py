"""Control tokens of other models: text here, which calibrates nothing that the model would meet."""

from collections.abc import Sequence

from racviz.exceptions import DataError

FOREIGN_ENDS = (
    "<|im_end|>", "<｜end▁of▁sentence｜>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>", "<|end|>", "<|return|>",
    "<end_of_turn>", "<eos>",
)  # fmt: skip
"""End tokens of well-known tokenizers, which are plain text for others."""
FOREIGN_TURNS = ("<|im_start|>", "<｜User｜>", "<|start_header_id|>", "<start_of_turn>", "<|start|>user", "<|user|>")
"""Control tokens that open a turn in well-known chat templates."""


def without_foreign_end(text: str, controls: Sequence[str]) -> str:
    """A text without the end token of another tokenizer behind it. controls: the own tokenizer's control tokens."""
    found = next((end for end in FOREIGN_ENDS if text.rstrip().endswith(end) and end not in controls), None)
    return without_foreign_end(text.rstrip().removesuffix(found), controls) if found else text


def check_not_foreign(prompt: str, controls: Sequence[str]) -> None:
    """Raise DataError for a prompt that another model's chat template rendered."""
    foreign = next((token for token in FOREIGN_TURNS if token in prompt and token not in controls), None)
    if foreign:
        raise DataError(
            f"its prompt was rendered by another model's chat template (it holds {foreign}); pass the bare question."
        )
