"""The decoder blocks of a transformers model, and the linears in them that a scope selects."""

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import regex
import torch
from torch import nn

from racviz.exceptions import ParameterError, check
from racviz.models.architecture import text_config

MLP = re.compile(r"(^|\.)(mlp|feed_forward|ffn)(\.|$)")


SECONDS = 2.0
"""After which a regular expression is given up on one name."""


def check_expression(expression: str, wanted: str) -> None:
    """Raise ParameterError for text that is no regular expression."""
    try:
        regex.compile(expression)
    except (regex.error, TypeError, RecursionError, OverflowError) as error:
        raise ParameterError(f"{wanted}; {expression!r} is none: {error}.") from error


def searches(expression: str, name: str, parameter: str) -> bool:
    """True if the regular expression is found in the name. Raises ParameterError for one that takes seconds to tell."""
    try:
        return bool(regex.search(expression, name, timeout=SECONDS))
    except TimeoutError as error:
        raise ParameterError(
            f"{parameter}: the regular expression {expression!r} was given up after {SECONDS:g} seconds on {name!r}; write it without "
            "repeats inside repeats."
        ) from error


def decoder_blocks(model) -> tuple[str, nn.ModuleList]:
    """The name and the list of the decoder blocks: in the language model, the first list as long as its config has layers.

    A vision tower beside it may have as many blocks; it is not looked at.
    """
    depth = text_config(model.config).num_hidden_layers
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    for part in (decoder, model) if decoder is not None and text_config(model.config) is model.config else (decoder,):
        for module in part.modules():
            if isinstance(module, nn.ModuleList) and len(module) == depth:
                return next(name for name, other in model.named_modules() if other is module), module
    raise ParameterError(f"{type(model).__name__} has no list of {depth} decoder blocks; this architecture is not supported.")


def is_linear(module: nn.Module) -> bool:
    """A linear layer: `nn.Linear`, or the transposed `Conv1D` of GPT-2."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def read_weight(linear: nn.Module) -> torch.Tensor:
    """The weight as `[rows, columns]` = [outputs, inputs], in fp32; a copy."""
    weight = linear.get_parameter("weight").detach()
    return (weight if isinstance(linear, nn.Linear) else weight.T).to(torch.float32, copy=True).contiguous()


def read_columns(linear: nn.Module) -> int:
    """Number of inputs of the linear."""
    return linear.get_parameter("weight").shape[1 if isinstance(linear, nn.Linear) else 0]


def write_weight(linear: nn.Module, weight: torch.Tensor) -> None:
    """Set the weight from `[rows, columns]`, rounded to the dtype it has.

    A new tensor, not the old one's memory: that may be mapped from a checkpoint, where every page written to stays in memory.
    """
    new = weight if isinstance(linear, nn.Linear) else weight.T
    parameter = linear.get_parameter("weight")
    parameter.data = new.to(parameter, copy=True).contiguous()


def all_finite(values: torch.Tensor) -> bool:
    """No NaN and no Inf; from the sum, which shows them several times faster, unless that overflows."""
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """No TF32 in the products: its ten bits of mantissa would go into moments and factors without a word."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


@dataclass(frozen=True)
class Scope:
    """The linears to prune.

    modules: `all` decoder linears, `mlp`, or a regular expression searched in names such as `layers.3.mlp.up_proj`.
    thirds: which thirds of the depth, of 1 (first), 2, 3 (last).
    """

    modules: str = "all"
    thirds: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        ok = isinstance(self.thirds, list | tuple) and bool(self.thirds) and set(self.thirds) <= {1, 2, 3}
        check(ok, "thirds", self.thirds, "some of (1, 2, 3)")
        object.__setattr__(self, "thirds", tuple(self.thirds))
        check(
            isinstance(self.modules, str) and bool(self.modules), "scope", self.modules, "'all', 'mlp' or a regular expression"
        )
        check_expression(self.modules, "scope must be 'all', 'mlp' or a regular expression")

    def linears(self, model) -> dict[int, dict[str, nn.Module]]:
        """For each block index the selected linears by name. Embeddings and the head are in no block, so never here."""
        _, blocks = decoder_blocks(model)
        tied = {
            id(p)
            for e in (model.get_input_embeddings(), model.get_output_embeddings())
            if e is not None
            for p in e.parameters()
        }
        chosen: dict[int, dict[str, nn.Module]] = {}
        for index, block in enumerate(blocks):
            for name, parameter in block.named_parameters():
                if parameter.ndim >= 3 and "expert" in name and self._selects(f"layers.{index}.{name}"):
                    raise ParameterError(
                        f"{type(model).__name__} is a mixture of experts, which it holds as 3-D parameters (layers.{index}.{name}); "
                        f"they are not pruned yet, and scope={self.modules!r} would prune the rest in their place. "
                        "scope='self_attn' prunes the attention alone."
                    )
        for index, block in enumerate(blocks):
            if 1 + index * 3 // len(blocks) not in self.thirds:
                continue
            found: dict[str, nn.Module] = {
                f"layers.{index}.{name}": module
                for name, module in block.named_modules()
                if is_linear(module) and id(module.weight) not in tied and self._selects(f"layers.{index}.{name}")
            }
            if found:
                chosen[index] = found
        if not chosen:
            names = [name for name, module in blocks[0].named_modules() if is_linear(module)]
            near = difflib.get_close_matches(self.modules, names, n=3, cutoff=0.3) or names[:3]
            raise ParameterError(
                f"scope={self.modules!r} with thirds={self.thirds} selects no linear of {type(model).__name__} "
                f"({len(blocks)} blocks). Names in a block are, for example, {', '.join(near)}; the whole name is like "
                f"'layers.0.{near[0]}'."
            )
        return chosen

    def _selects(self, name: str) -> bool:
        if self.modules == "all":
            return True
        return bool(MLP.search(name)) if self.modules == "mlp" else searches(self.modules, name, "scope")


def sparsity_of(model, names: Sequence[str]) -> tuple[float, float]:
    """The fraction of zeros in the named linears, and in all parameters of the model (a tied head counted once)."""
    _, blocks = decoder_blocks(model)
    zeros = total = 0
    for name in names:
        _, index, inner = name.split(".", 2)
        weight = blocks[int(index)].get_submodule(inner).get_parameter("weight")
        zeros, total = zeros + weight.numel() - int(weight.count_nonzero()), total + weight.numel()
    all_zeros = sum(p.numel() - int(p.count_nonzero()) for p in model.parameters())
    return zeros / total, all_zeros / sum(p.numel() for p in model.parameters())


def summary(names: Iterable[str]) -> str:
    """The linears and blocks in one line: `28 linears in 4 blocks (0-3): self_attn.q_proj, …`."""
    pairs = [name.split(".", 2)[1:] for name in names]
    blocks, inner = sorted({int(index) for index, _ in pairs}), dict.fromkeys(name for _, name in pairs)
    return f"{len(pairs)} linears in {len(blocks)} blocks ({blocks[0]}-{blocks[-1]}): {', '.join(inner)}"


DEPTHS = 5
"""Blocks after which errors are taken, at most, to follow them through the depth."""


def spread(blocks: int, most: int = DEPTHS) -> list[int]:
    """Up to `most` blocks, the first and the last among them, evenly apart."""
    few = min(most, blocks)
    return sorted({round(k * (blocks - 1) / max(1, few - 1)) for k in range(few)})
