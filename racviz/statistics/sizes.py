"""Theoretical savings of pruning: the bytes of a mask and the values that are kept, beside the dense weights."""

import pandas as pd

BYTES = 2
"""Bytes of a weight, as checkpoints of reasoning models are stored (bf16)."""


def stored_bytes(report: pd.DataFrame) -> pd.DataFrame:
    """A row a linear: `layer`, `dense` bytes, and `sparse`: one bit a weight for the mask and the kept values, both in bytes.

    report: of a pruned model, with rows, columns and sparsity.
    """
    size = report["rows"] * report["columns"]
    sparse = size / 8 + BYTES * (size * (1 - report["sparsity"])).round()
    return pd.DataFrame({"layer": report["layer"], "dense": BYTES * size, "sparse": sparse.astype("int64")})


def size_sentence(report: pd.DataFrame) -> str:
    """Sentence: the size that the pruned linears would take, while the files written stay dense."""
    table = stored_bytes(report)
    dense, sparse = table["dense"].sum(), table["sparse"].sum()
    change = (
        f"{100 * sparse / dense:.0f} % of that" if sparse < dense else f"{100 * sparse / dense:.0f} % of that: more, not less"
    )
    return (
        f"The {len(report)} pruned linears take {_readable(dense)} dense (bf16); as a mask of one bit a weight and the kept values "
        f"they would take {_readable(sparse)}, {change}. That is a count, not a saving: the checkpoint that is written stays dense, "
        "and runs at the dense model's speed."
    )


def _readable(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} {unit}"
        count /= 1000
    raise AssertionError
