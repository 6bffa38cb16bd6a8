"""Summary of an import: rows, traces, thoughts, tokens, and the rows that were skipped."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from racviz.exceptions import DataError, check
from racviz.traces import Trace

EARLY = 100
"""Bad rows beyond the share allowed so far that end an import before its file ends."""
SHOWN = 3
"""Bad rows that a message shows."""


@dataclass(frozen=True)
class ImportSummary:
    """Counts of an import."""

    rows: int
    """Rows read, the skipped ones included."""
    traces: int
    with_thought: int
    without_thought: int
    stopped: int
    """Traces that ended by themselves."""
    truncated: int
    """Traces that a limit of length cut off."""
    unknown: int
    """Traces of which nothing says whether they ended."""
    prompt_tokens: int
    output_tokens: int
    skipped: int = 0
    """Rows that are no trace."""
    empty: int = 0
    """Null or empty generations beside others that are texts."""
    examples: tuple[str, ...] = field(default=(), repr=False)
    """The first of the skipped rows: file, line, reason."""

    def __str__(self) -> str:
        lines = [
            f"{self.rows:,} rows, {self.traces:,} traces: {self.with_thought:,} with a thought, {self.without_thought:,} without",
            f"{self.stopped:,} ended, {self.truncated:,} truncated, {self.unknown:,} unknown",
            f"{self.prompt_tokens:,} prompt tokens, {self.output_tokens:,} output tokens",
            f"{self.skipped:,} rows skipped, {self.empty:,} empty generations",
        ]
        return "\n".join([*lines, *(f"skipped: {example}" for example in self.examples)])


@dataclass(frozen=True)
class Allowed:
    """Number of bad rows that an import may skip: a count, or a share of the rows read."""

    count: int | None
    share: float
    text: str

    @classmethod
    def parse(cls, value: int | str) -> "Allowed":
        """`5` or `"5"` as a count, `"1%"` as a share. Raises ParameterError for everything else."""
        allowed = "a number of rows such as 3, or a share of them such as '1%' (from 0% to 100%)"
        if isinstance(value, int) and not isinstance(value, bool):
            check(value >= 0, "max_bad", value, allowed)
            return cls(int(value), 0.0, str(int(value)))
        text = value.strip() if isinstance(value, str) else ""
        found = re.fullmatch(r"([0-9]{1,12})|([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%", text)
        check(found is not None and float(found[2] or 0) <= 100, "max_bad", value, allowed)
        return cls(int(found[1]), 0.0, text) if found[1] else cls(None, float(found[2]) / 100, text)

    def holds(self, bad: int, rows: int) -> bool:
        """True if so many bad rows among so many are within the limit. A share is not rounded up: 1% of 99 rows is none."""
        return bad <= (self.share * rows + 1e-9 if self.count is None else self.count)

    def hopeless(self, bad: int, rows: int) -> bool:
        """True if reading on is of no use."""
        return bad > self.count if self.count is not None else bad > self.share * rows + EARLY


@dataclass
class BadRows:
    """Rows that are no trace, counted against a limit."""

    allowed: Allowed
    rows: int = 0
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, where: str, error: DataError) -> None:
        """Count a bad row. Raises DataError once reading on is of no use."""
        self.count += 1
        if len(self.examples) < SHOWN:
            text = printable(str(error))
            self.examples.append(text if text.startswith(where) else f"{printable(where)}: {text}")
        if self.allowed.hopeless(self.count, self.rows):
            self.refuse(error)

    @property
    def tolerable(self) -> bool:
        return self.allowed.holds(self.count, self.rows)

    def refuse(self, cause: Any = None) -> None:
        """Raise DataError with the first bad rows, whose number is over the limit."""
        kept = f"{self.count:,} of {self.rows:,} rows are no traces, and max_bad={self.allowed.text!r} allows fewer."
        raise DataError(" ".join([*self.examples, kept, "Correct the rows, or allow more to be skipped."])) from cause


def summary_of(traces: Sequence[Trace], thoughts: Sequence[bool], bad: BadRows, empty: int = 0) -> ImportSummary:
    """Counts of traces; `thoughts` says of each whether it holds one."""
    ends = Counter(trace.finish_reason for trace in traces)
    return ImportSummary(
        rows=bad.rows,
        traces=len(traces),
        with_thought=sum(thoughts),
        without_thought=len(traces) - sum(thoughts),
        stopped=ends["stop"],
        truncated=ends["length"],
        unknown=len(traces) - ends["stop"] - ends["length"],
        prompt_tokens=sum(len(trace.prompt_ids) for trace in traces),
        output_tokens=sum(len(trace.output_ids) for trace in traces),
        skipped=bad.count,
        empty=empty,
        examples=tuple(bad.examples),
    )


def printable(text: str, longest: int = 400) -> str:
    """Text for a terminal: control characters as escapes, cut where it is long."""
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[: longest + 1])
    return text if len(text) <= longest else text[:longest] + "…"
