"""The byte-level BPE tokenizer that both embedded models share.

It is a `Qwen2Tokenizer` with a vocabulary of its own: transformers gives every model of type qwen2 that class, with its
splitting rule, whatever a checkpoint's files say. The rule lets digits stand alone, so that columns line up.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from racviz.tiny import arithmetic, english, tracing
from racviz.tiny.lesson import draw

VOCABULARY = 1024
SPECIAL = ("<pad>", "<bos>", "<eos>", "<user>", "<assistant>", "<think>", "</think>")
CHAT_TEMPLATE = (
    "{#- the assistant writes <think> its thought </think> before its answer -#}"
    "{{- '<bos>' -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{{- '<user>' + message['content'] -}}"
    "{%- elif message['role'] == 'assistant' -%}{{- '<assistant>' + message['content'] + '<eos>' -}}"
    "{%- else -%}{{- raise_exception('only user and assistant messages') -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<assistant>' -}}{%- endif -%}"
)
"""Rendered as written, thoughts included: an assistant message keeps its `<think> … </think>`."""


def texts(count: int = 6000, seed: int = 0) -> Iterator[str]:
    """Texts that the vocabulary is learned from: lessons of both domains in both styles, and English."""
    rng = random.Random(seed)
    for _ in range(count):
        for domain, style in ((arithmetic, "columns"), (arithmetic, "places"), (tracing, "state"), (tracing, "changes")):
            task = draw(domain.make, "train", rng)
            yield task.prompt
            yield "".join(text for text, _ in domain.teach(task, style, rng))
    for _, text in english.topics("train"):
        yield text
        yield text  # twice: English is a few per cent of the lessons and would get no vocabulary of its own


def train():
    """Learn the tokenizer; returns a `Qwen2Tokenizer` with the chat template set."""
    from tokenizers import pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    raw = Qwen2Tokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=16, show_progress=False,
    )  # fmt: skip
    raw.train_from_iterator(texts(), trainer)
    learned = json.loads(raw.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]], unk_token=None,
        bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", padding_side="left",
        additional_special_tokens=["<user>", "<assistant>", "<think>", "</think>"], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def load_or_train(folder: Path):
    """The tokenizer saved in `folder`, learned first where there is none."""
    from transformers import Qwen2Tokenizer

    if not (folder / "tokenizer.json").exists():
        train().save_pretrained(folder)
    return Qwen2Tokenizer.from_pretrained(folder)
