"""Facts about a model's architecture, read from its config: its class, its language part, its context, its position rule."""

from typing import Any

from racviz.exceptions import DataError

LENGTHS = ("max_position_embeddings", "max_seq_len", "n_positions", "seq_length", "max_sequence_length")
LONG = ("longrope", "su")
"""Rotary rules that use other frequencies for a sequence longer than the original length."""


def text_config(config: Any) -> Any:
    """The config of the language model, also of one with a vision tower."""
    return config.get_text_config(decoder=True)


def auto_class(config: Any, name: str) -> Any:
    """The class of transformers that loads a decoder with this config, `AutoModelForCausalLM` wherever it does.

    A model of text and pictures comes with its vision tower, so that it can be saved whole; racviz uses the language part.

    Raises DataError for a config of anything else.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    if getattr(config, "is_encoder_decoder", False):
        raise DataError(f"{name!r} is an encoder-decoder model ({config.model_type}); racviz takes decoders only.")
    if type(config) in AutoModelForCausalLM._model_mapping or "AutoModelForCausalLM" in (
        getattr(config, "auto_map", None) or {}
    ):
        return AutoModelForCausalLM
    if type(config) in AutoModelForImageTextToText._model_mapping:
        return AutoModelForImageTextToText
    kind = ", ".join(getattr(config, "architectures", None) or ()) or config.model_type
    raise DataError(f"{name!r} is not a causal language model but {kind}; racviz takes decoders only.")


def check_decoder(model: Any, name: str) -> None:
    """Raise DataError for a model whose tokens see the tokens after them, such as BERT."""
    if getattr(text_config(model.config), "is_decoder", True) is False:
        raise DataError(
            f"{name!r} is an encoder ({type(model).__name__}): its tokens see those after them. racviz takes decoders only."
        )


def end_ids(model: Any, tokenizer: Any) -> set[int]:
    """The end-of-sequence ids of the model's generation config and of its tokenizer."""
    ids = getattr(model.generation_config, "eos_token_id", None)
    ids = set(ids) if isinstance(ids, list | tuple) else {ids}
    return {int(i) for i in ids | {tokenizer.eos_token_id} if i is not None}


def check_ends(model: Any, tokenizer: Any, name: str) -> None:
    """Raise DataError for a model that names end tokens of which it can sample none, so that every generation would be cut off."""
    try:
        ends = end_ids(model, tokenizer)
    except (TypeError, ValueError) as error:
        raise DataError(f"generation_config.json of {name!r} has an eos_token_id that is no token id: {error}.") from error
    size = model.get_input_embeddings().weight.shape[0]
    if ends and not any(0 <= end < size for end in ends):
        raise DataError(
            f"{name!r} ends by the tokens {', '.join(map(str, sorted(ends)))}, but samples only the {size:,} tokens from 0 on, so that "
            "nothing would end. Correct eos_token_id in generation_config.json and in the tokenizer's files."
        )


def context_of(config: Any) -> int:
    """The longest sequence in tokens that the config allows; 2**31 where it names none."""
    inner = text_config(config)
    for name in LENGTHS:
        value = getattr(inner, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return 2**31


def length_switch(config: Any) -> int | None:
    """The length past which every position of a sequence is rotated by other frequencies (longrope); None for other models.

    Dynamic NTK scaling also depends on the length, but only past `max_position_embeddings`, which racviz refuses anyway.
    """
    inner = text_config(config)
    rules = getattr(inner, "rope_parameters", None) or getattr(inner, "rope_scaling", None) or {}
    rules = [rules, *(rule for rule in rules.values() if isinstance(rule, dict))]  # one for all layers, or one a kind of layer
    lengths = [
        int(
            rule.get("original_max_position_embeddings")
            or getattr(inner, "original_max_position_embeddings", 0)
            or context_of(inner)
        )
        for rule in rules
        if (rule.get("rope_type") or rule.get("type")) in LONG
    ]
    return min(lengths) if lengths else None
