"""What came of a question: who is right, after how many tokens and seconds, where they part, and r_t along the dense model's text."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from racviz.exceptions import GradingError
from racviz.grading import grade_all
from racviz.models import LoadedModel, tokenizer_fingerprint
from racviz.play.asking import Asking
from racviz.problems import Problem
from racviz.prompting import answer_text
from racviz.reconstruction import ReconstructionErrors, reconstruction_errors
from racviz.statistics import pretty, ratio
from racviz.traces import Trace, Traces


@dataclass(frozen=True)
class Answer:
    """One model's answer to one problem."""

    name: str
    title: str
    output_ids: tuple[int, ...] = field(repr=False)
    texts: tuple[str, ...] = field(repr=False)
    """What each token adds to the text."""
    finish: str
    """`stop`, `length` (the budget) or `stopped` by somebody."""
    seconds: float
    answer: str | None
    """What follows the thought; None where there is no whole answer."""
    correct: bool | None
    """None where that cannot be told: no answer key, or stopped."""
    parted: int | None
    """The place of the first token that is not the dense model's."""
    note: str = ""

    @property
    def tokens_per_second(self) -> float:
        return len(self.output_ids) / self.seconds if self.seconds else float("nan")


@dataclass(frozen=True)
class Answers:
    """The answers of the dense and of pruned models to one problem; a notebook shows them side by side."""

    problem: Problem
    rows: tuple[Answer, ...]
    errors: ReconstructionErrors | None = field(repr=False)
    """Along the prompt and the dense model's output; None without a pruned model."""
    pair: tuple[str, str] | None
    """Which two models r_t compares; None with fewer than two pruned ones."""

    def __getitem__(self, name: str) -> Answer:
        return {row.name: row for row in self.rows}[name]

    def to_frame(self):
        """A row a model: name, answer, correct, tokens, seconds, tokens_per_second, parted, finish."""
        import pandas as pd

        names = ("name", "answer", "correct", "seconds", "parted", "finish")
        rows = [{key: getattr(row, key) for key in names} for row in self.rows]
        frame = pd.DataFrame(rows).astype({"correct": "boolean", "parted": "Int64"})
        frame.insert(3, "tokens", [len(row.output_ids) for row in self.rows])
        frame.insert(5, "tokens_per_second", [row.tokens_per_second for row in self.rows])
        return frame

    def strip(self):
        """r_t on the prompt and on the dense model's text, as HTML; None where there are no two models to compare."""
        from racviz.figures import token_strip

        return token_strip(self.errors, self.problem.id, *self.pair) if self.pair else None

    def sentence(self) -> str:
        """The medians of r_t on this one text."""
        if self.pair is None:
            return "r_t compares two pruned models; choose a second source to see it."
        frame = self.errors.frame
        values = ratio(frame, *self.pair)
        said = []
        for phase in ("prompt", "decode"):
            mine = values[(frame["phase"] == phase).to_numpy()].dropna()
            if len(mine):
                said.append(f"{mine.median():.2f} on its {len(mine):,} {phase} tokens")
        if not said:
            return "Both pruned models are the dense one, so there are no errors to compare."
        top, bottom = (pretty(name) for name in self.pair)
        return f"The median of r_t = e({top}) / e({bottom}) is {' and '.join(said)}. One text is an anecdote; Figure 2 measures many."

    def _repr_html_(self) -> str:
        from racviz.play.showing import page

        return page(self)


def answers_of(asking: Asking) -> Answers:
    """Grade what a question has brought, and take the errors along the dense model's text."""
    problem, dense = asking.problem, next(iter(asking.models))
    given = {name: _answer(asking, name) for name in asking.decodings}
    graded, note = _graded(problem, given)
    rows = []
    for name, one in asking.decodings.items():
        seen = problem.content_hash in asking.models[name].calibrated_on
        cramped = asking.cramped and one.finish == "length"
        told = [note, "calibrated on this very problem" if seen else "", "the context is full" if cramped else ""]
        correct = None if one.finish == "stopped" else graded[name]
        parted = None if name == dense else asking.parted(name)
        rows.append(Answer(name, asking.titles[name], tuple(one.output_ids), tuple(one.texts), one.finish or "stopped", one.seconds,
                           given[name], correct, parted, "; ".join(filter(None, told))))  # fmt: skip
    pruned = {name: loaded for name, loaded in asking.models.items() if name != dense}
    errors = errors_along(asking, pruned) if pruned else None
    return Answers(problem, tuple(rows), errors, pair_of(list(pruned)))


def _answer(asking: Asking, name: str) -> str | None:
    """The text after the thought; of an answer that was cut off what stands there may be half of one."""
    one, loaded = asking.decodings[name], asking.models[name]
    return answer_text(loaded.tokenizer, one.output_ids, loaded.thinking) if one.finish == "stop" else None


def _graded(problem: Problem, given: dict[str, str | None]) -> tuple[dict[str, bool | None], str]:
    """Right or wrong by model, None where nobody can tell; and why."""
    unknown: dict[str, bool | None] = dict.fromkeys(given)
    if not problem.answer.strip() and not problem.tests:
        return unknown, "no answer key"
    try:
        right = grade_all(list(given.values()), [problem] * len(given))
    except GradingError as error:  # a program that cannot be contained here, for one
        return unknown, str(error)
    return dict(zip(given, right, strict=True)), ""


def errors_along(asking: Asking, pruned: dict[str, LoadedModel]) -> ReconstructionErrors:
    """e_t of each pruned model along the prompt and the dense model's own output, as `reconstruction_errors` has them.

    A problem that calibrated a model is allowed, since nobody is judged here; the answer's note says so.
    """
    dense_name, dense = next(iter(asking.models.items()))
    one, problem = asking.decodings[dense_name], asking.problem
    trace = Trace(problem.id, 0, asking.prompt_ids, tuple(one.output_ids), one.finish or "stopped", problem.content_hash)
    rollout = Traces((trace,), dense.name, dense.fingerprint, tokenizer_fingerprint(dense.tokenizer), asdict(asking.sampling))
    return reconstruction_errors(dense, pruned, rollout, allow_overlap=True, progress=False)


def pair_of(sources: Sequence[str]) -> tuple[str, str] | None:
    """Prompt-only over RAC where both are there, else the first over the last."""
    if {"prompt", "rac"} <= set(sources):
        return "prompt", "rac"
    return (sources[0], sources[-1]) if len(sources) > 1 else None
