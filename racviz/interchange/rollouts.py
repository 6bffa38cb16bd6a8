"""One rollout of a row, and the hash of the problem that it is on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from racviz.problems import Problem


@dataclass(frozen=True)
class Rollout:
    """One rollout of a row, as token ids."""

    prompt_ids: list[int]
    output_ids: list[int]
    text: str
    """The problem's text, where it is known; for the content hash."""
    retokenised: bool
    finish_reason: str | None
    """`stop`, `length`, or None where the row does not say."""
    thought: bool = False


def content_hash(row: Mapping[str, Any], rollout: Rollout) -> str:
    """Content hash of the trace's problem, from its row, its prompt or its problem column; empty if unknown."""
    if isinstance(row.get("content_hash"), str) and row["content_hash"]:
        return row["content_hash"]
    column = next((row[key] for key in ("problem", "question") if isinstance(row.get(key), str) and row[key].strip()), "")
    inside = " ".join(column.split()) in " ".join(rollout.text.split())  # the prompt may say more, such as how to answer
    text = column if column and (inside or not rollout.text) else rollout.text
    return Problem("", text).content_hash if text else ""
