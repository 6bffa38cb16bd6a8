"""The calibration sources: the sequences that each of them calibrates on, and how it is called and drawn.

A source of one's own is a `Source` and one line: in SOURCES, or an entry point of the group `racviz.sources`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from racviz.exceptions import check
from racviz.problems.texts import generic_texts
from racviz.registry import Registry

PROMPT, DECODE = 0, 1
"""The phases of tokens."""

Row = tuple[Sequence[int], Sequence[int], str]
"""Token ids, their phases, and the content hash of the problem they come from ("" for generic text)."""


@dataclass(frozen=True)
class Material:
    """Material that a source takes its sequences from."""

    loaded: Any
    """The model that is pruned, with its tokenizer."""
    window: int
    """Tokens of the longest sequence."""
    tokens: int
    """Calibration tokens that are wanted."""
    seed: int
    texts: Iterable[str] | None = None
    """Generic texts; None for the packaged documentation."""
    packed: bool = False
    problems: Any = None
    """A sequence of problems, for sources that need them."""
    traces: Any = None
    """Traces, for sources that need them."""


@dataclass(frozen=True)
class Source:
    """A calibration source."""

    needs: Literal["texts", "problems", "traces"]
    """The material that it cannot do without; texts are always there."""
    rows: Callable[[Material], Iterable[Row]]
    """Its sequences, in an order that does not matter; `calibration_set` draws one by the seed."""
    label: str
    """Its name in sentences and legends."""
    colour: str
    symbol: str = "x"
    """A marker of Plotly."""
    sign: str = "★"
    """The same as a character."""
    may_be_short: bool = False
    """True where it cannot reach the tokens of the others, and a study takes what there is."""


def rendered_prompts(material: Material) -> Iterator[Row]:
    """Each problem's prompt as the model's chat template renders it."""
    for problem in material.problems:
        ids = material.loaded.render(problem.text)
        yield ids, [PROMPT] * len(ids), problem.content_hash


def prompts_with_traces(material: Material) -> Iterator[Row]:
    """Each prompt with its trace: RAC (arXiv 2509.12464, Algorithm 1)."""
    for trace in material.traces:
        yield trace.ids, trace.phases, trace.content_hash


def prompts_of_traces(material: Material) -> Iterator[Row]:
    """The prompts of the traces alone, each once: RAC's problems without its thoughts."""
    seen = set()
    for trace in material.traces:
        if trace.prompt_ids not in seen:
            seen.add(trace.prompt_ids)
            yield trace.prompt_ids, [PROMPT] * len(trace.prompt_ids), trace.content_hash


def windows_of_text(material: Material) -> Iterator[Row]:
    """Generic texts in windows: packed one after the other, or a window beginning with each text."""
    texts = generic_texts() if material.texts is None else material.texts
    first, body = _beginning(material.loaded, material.window)
    yield from (_packed if material.packed else _windows)(material, texts, first, body)


def _windows(material: Material, texts: Iterable[str], first: list[int], body: int) -> Iterator[Row]:
    """Each text cut into windows."""
    for text in texts:
        ids = material.loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        for start in range(0, len(ids), body):
            piece = first + ids[start : start + body]
            yield piece, [PROMPT] * len(piece), ""


def _packed(material: Material, texts: Iterable[str], first: list[int], body: int) -> Iterator[Row]:
    """Texts one after the other in whole windows, until there are enough tokens; the last window may be short."""
    tokenizer = material.loaded.tokenizer
    if isinstance(texts, Sequence):
        texts = [texts[k] for k in np.random.default_rng(material.seed).permutation(len(texts))]
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    waiting: list[int] = []
    left = material.tokens
    for text in texts:
        waiting += tokenizer(text, add_special_tokens=False)["input_ids"] + end
        while len(waiting) >= body and left > 0:
            piece, waiting = first + waiting[:body], waiting[body:]
            left -= len(piece)
            yield piece, [PROMPT] * len(piece), ""
        if left <= 0:
            return
    if waiting:
        yield first + waiting, [PROMPT] * (len(first) + len(waiting)), ""


def _beginning(loaded: Any, window: int) -> tuple[list[int], int]:
    """The tokens that begin a window, as the model's prompts do (the beginning of a sequence or none), and the room after them."""
    first = loaded.tokenizer.bos_token_id
    begins = first is not None  # a model without a chat template was trained on texts that begin so
    if begins and loaded.tokenizer.chat_template:
        begins = loaded.render("x")[0] == first
    body = window - int(begins)
    check(body >= 1, "sequence_length", window, "at least 2: each window of text begins with the beginning-of-sequence token")
    return [first] * begins, body


# Okabe and Ito's colours, which the colour-blind can tell apart; RAC is blue and prompt-only red as on the ratio scale.
SOURCES = Registry(
    "source",
    "racviz.sources",
    {
        "generic": Source("texts", windows_of_text, "generic text", "#009E73", "diamond", "◆"),
        "prompt": Source("problems", rendered_prompts, "prompt-only", "#D55E00", "triangle-up", "▲"),
        "rac": Source("traces", prompts_with_traces, "RAC", "#0072B2", "circle", "●"),
        "prompt-same-problems": Source(
            "traces", prompts_of_traces, "prompt-only (same problems)", "#CC79A7", "cross", "✚", may_be_short=True
        ),
    },
)


def needing(material: str, sources: Iterable[str]) -> list[str]:
    """Those of the sources that need the material: `texts`, `problems` or `traces`."""
    return [source for source in sources if source in SOURCES and SOURCES[source].needs == material]
