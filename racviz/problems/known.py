"""The data sets of the hub that have a short name."""

from dataclasses import dataclass

from racviz.problems.sets import BOXED


@dataclass(frozen=True)
class Known:
    """A data set of the hub: where its splits are, and which columns hold what."""

    id: str
    config: str | None
    splits: dict[str, str]
    columns: dict[str, str]
    instruction: str = ""
    parquet: bool = False


HUB = {
    "math-500": Known("HuggingFaceH4/MATH-500", None, {"test": "test"},
                      dict(id="unique_id", prompt="problem", answer="answer", family="subject", difficulty="level"), BOXED),
    "openr1-math": Known("open-r1/OpenR1-Math-220k", "default", {"calibration": "train"},
                         dict(id="uuid", prompt="problem", answer="answer", family="problem_type"), BOXED, parquet=True),
    "codeforces": Known("open-r1/codeforces", "verifiable-prompts", {"calibration": "train", "test": "test"},
                        dict(id="id", prompt="prompt"), parquet=True),
    "gsm8k": Known("openai/gsm8k", "main", {"calibration": "train", "test": "test"},
                   dict(prompt="question", answer="answer"), BOXED),
    "livecodebench": Known("lighteval/code_generation_lite", "release_v6", {"test": "test"},
                           dict(id="question_id", prompt="question_content", family="platform")),
}  # fmt: skip
"""Data sets by a short name; their hub ids mean the same."""
BY_ID = {known.id: known for known in HUB.values()}
