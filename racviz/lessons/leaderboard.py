"""Pruned models ranked by their answers to held-out problems, each against plain RAC: paired, with what can be told.

    board = lessons.leaderboard.Leaderboard(dense, rac, sparsity=0.6, problems=48)
    board.enter("my solver", method=my_solver)
    board.enter("my set", calibration=my_set)
    board                      # the standings
    board.final()              # the best entry on problems that the board has not shown

All entries have the same sparsity and no more calibration tokens than the baseline, answer the same problems with the same seeds,
and none may be calibrated on a problem that judges it.
"""

import html
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from racviz.exceptions import RacvizError, check
from racviz.lessons.checks import Checked, not_yet, unanswered

if TYPE_CHECKING:
    import pandas as pd

    from racviz.calibration import CalibrationSet
    from racviz.models import LoadedModel
    from racviz.pruning.interface import Solver

BASELINE = "RAC, SparseGPT"
VERDICTS = {"above": "better", "below": "worse", "inside the noise": "inside the noise"}
COLUMNS = ["rank", "entry", "accuracy, %", "SE", "difference", "SE of it", "p", "against RAC", "cut off, %", "n"]


@dataclass
class Leaderboard:
    """Entries on held-out test problems. `dense` is pruned; `baseline` is the RAC calibration set that all are measured against."""

    dense: "LoadedModel"
    baseline: "CalibrationSet"
    sparsity: float = 0.6
    problems: int = 48
    budget: int = 768
    domain: str = "arithmetic"
    seed: int = 0
    progress: bool = False
    evaluations: dict[str, "pd.DataFrame"] = field(default_factory=dict, repr=False)
    """A row a sample, by entry; the dense model is `dense`."""
    _models: dict[str, "LoadedModel"] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check(0 < self.sparsity < 1, "sparsity", self.sparsity, "between 0 and 1")
        check(isinstance(self.problems, int) and self.problems >= 1, "problems", self.problems, "an integer >= 1")
        self._answer("dense", self.dense)
        found = self.enter(BASELINE)
        if found.right is not True:  # a set that cannot calibrate this model: a mistake of the lesson
            raise RacvizError(found.words)

    def enter(self, name: str, *, method: "str | Solver" = "sparsegpt", calibration: "CalibrationSet | None" = None) -> Checked:
        """Prune with a solver and a calibration set (else those of the baseline), and let the model answer.

        `...` for either is an exercise that is not done yet and enters nothing; what racviz refuses is said, not raised. An
        entry of the same name is replaced.
        """
        if unanswered(method) or calibration is ...:
            return Checked(None, f"{name}: not answered yet, so there is no entry.")
        if name == "dense" or (name == BASELINE and BASELINE in self._models):
            return not_yet(f"{name!r} is on the board already; choose another name.")
        try:
            if calibration is not None:
                self._fair(calibration)
            from racviz.pruning import prune

            model = prune(
                self.dense, self.baseline if calibration is None else calibration, method=method, sparsity=self.sparsity,
                progress=self.progress,
            )  # fmt: skip
            self._answer(name, model)
        except RacvizError as error:
            return not_yet(f"{name}: {error}")
        self._models[name] = model
        summary = self.standings().set_index("entry").loc[name]
        return Checked(True, f"{name}: {summary['accuracy, %']:.0f} % ± {summary['SE']:.0f} of {self.problems} problems.")

    def _fair(self, calibration: Any) -> None:
        from racviz.calibration import CalibrationSet

        check(isinstance(calibration, CalibrationSet), "calibration", type(calibration).__name__, "a calibration set")
        most = self.baseline.tokens
        check(
            calibration.tokens <= most, "calibration", f"{calibration.tokens:,} tokens", f"of {most:,} tokens at most, as RAC's"
        )

    def _held_out(self, after: int = 0) -> Any:
        from racviz.problems import load_problems

        return load_problems(self.domain, split="test", limit=after + self.problems)[after:]

    def _answer(self, name: str, model: "LoadedModel") -> None:
        self.evaluations[name] = _answers(model, self._held_out(), self.budget, self.seed, self.progress)

    def standings(self) -> "pd.DataFrame":
        """The table: see `standings`."""
        return standings(self.evaluations)

    def frame(self) -> "pd.DataFrame":
        """All evaluations as the figures take them: the entry as the source."""
        import pandas as pd

        parts = [
            frame.assign(source=name, sparsity=0.0 if name == "dense" else self.sparsity, model=self.dense.name, domain=self.domain,
                         budget=self.budget, seed=self.seed)
            for name, frame in self.evaluations.items()
        ]  # fmt: skip
        return pd.concat(parts, ignore_index=True)

    def figure(self) -> Any:
        """Accuracy ± SE, a bar an entry; the dense model as a level."""
        from racviz.figures import source_bars

        title = f"Leaderboard: accuracy on held-out problems, {100 * self.sparsity:.3g} % zeros"
        return source_bars(self.frame()).update_layout(title_text=title)

    def final(self) -> Checked:
        """The best entry and the baseline once more, on the problems after those of the board, which nothing was chosen by."""
        table = self.standings()
        entries = [name for name in table["entry"] if name in self._models and name != BASELINE]
        if not entries:
            return Checked(None, "There is no entry yet beside the baseline.")
        best = entries[0]
        fresh = self._held_out(after=self.problems)
        try:
            rows = {
                name: _answers(self._models[name], fresh, self.budget, self.seed, self.progress) for name in (BASELINE, best)
            }
        except RacvizError as error:
            return not_yet(f"{best}: {error}")
        row = standings(rows).set_index("entry").loc[best]
        words = (
            f"On {row['n']} problems that the board has not shown, {best} answers {row['accuracy, %']:.0f} % ± {row['SE']:.0f}: "
            f"{row['difference']:+.0f} points ± {row['SE of it']:.0f} against {BASELINE} (p = {row['p']:.2g}), {row['against RAC']}."
        )
        return Checked({"better": True, "worse": False}.get(row["against RAC"]), words)

    def __repr__(self) -> str:
        return self.standings().to_string(index=False, na_rep="", float_format="%.1f")

    def _repr_html_(self) -> str:
        table = self.standings()
        rows = "".join(
            f"<tr>{''.join(f'<td>{_shown(key, row[key])}</td>' for key in COLUMNS)}</tr>" for _, row in table.iterrows()
        )
        heads = "".join(f"<th>{html.escape(key)}</th>" for key in COLUMNS)
        return (
            f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{html.escape(_rule(len(table) - 2, self.sparsity, self.baseline.tokens))}</p>"
        )


def standings(evaluations: "dict[str, pd.DataFrame]", baseline: str = BASELINE) -> "pd.DataFrame":
    """A row an entry, the best first: accuracy ± SE in per cent, the paired difference to the baseline ± its SE in points, p, verdict,
    share cut off, problems.

    `better` and `worse` are said beyond twice the SE of the paired difference and with p < 0.05 after Holm's correction for all entries;
    the dense model is no entry and has no rank.
    """
    import pandas as pd

    from racviz.statistics import holm, paired_difference, standard_error

    check(baseline in evaluations, "evaluations", list(evaluations), f"with the baseline {baseline!r} among them")
    gaps = {
        name: paired_difference(frame, evaluations[baseline])
        for name, frame in evaluations.items()
        if name not in ("dense", baseline)
    }
    corrected = dict(zip(gaps, holm([gap.p_value for gap in gaps.values()]), strict=True))
    rows = []
    for name, frame in evaluations.items():
        means = 100 * frame["correct"].astype(float).groupby(frame["problem_id"]).mean().to_numpy()
        row = {"entry": name, "accuracy, %": means.mean(), "SE": standard_error(means), "n": len(means)}
        row["cut off, %"] = 100 * (frame["finish_reason"] == "length").mean()
        if name in gaps:
            gap, sure = gaps[name], corrected[name] < 0.05
            verdict = VERDICTS.get(gap.verdict, gap.verdict) if sure or gap.n < 5 else "inside the noise"
            row |= {"difference": 100 * gap.difference, "SE of it": 100 * gap.se, "p": corrected[name], "against RAC": verdict}
        else:
            row["against RAC"] = "the baseline" if name == baseline else "not pruned"
        rows.append(row)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["top"] = table["entry"] != "dense"
    table = table.sort_values(["top", "accuracy, %"], ascending=[True, False], kind="stable", ignore_index=True).drop(
        columns="top"
    )
    ranked = table["entry"] != "dense"
    table["rank"] = table["accuracy, %"].where(ranked).rank(ascending=False, method="min")
    return table


def check_solver(solver: Any, because: str = "") -> Checked:
    """Whether a solver keeps the contract of `racviz.pruning.interface` on a small linear: what is amiss in words, never a traceback."""
    if unanswered(solver):
        return Checked(None, "Not answered yet: put a function in place of the three dots.")
    if not callable(solver):
        return not_yet(f"The answer must be a function (weight, inputs, pattern, sparsity); this is a {type(solver).__name__}.")
    import torch

    from racviz.pruning.inputs import LinearInputs
    from racviz.pruning.linear import prune_linear
    from racviz.pruning.patterns import Pattern

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(256, 24, generator=draw) @ torch.randn(24, 24, generator=draw)  # [tokens, columns], correlated
    linear = torch.nn.Linear(24, 16, bias=False)
    linear.weight.data = torch.randn(16, 24, generator=draw)
    weight = linear.weight.data.clone()
    try:
        row = prune_linear(
            "a small linear", linear, LinearInputs(x.T @ x, "a small linear"), solver, Pattern.parse("unstructured"), 0.5
        )
    except RacvizError as error:
        return not_yet(f"{error}.".replace("..", "."))
    except Exception as error:  # whatever the learner's function raises
        frames = traceback.extract_tb(error.__traceback__)
        own = next((frame for frame in reversed(frames) if frame.name == getattr(solver, "__name__", "")), frames[-1])
        return not_yet(f"Line {own.lineno} ({own.line or own.name}) raised {type(error).__name__}: {error}")
    if torch.equal(linear.weight.data, weight):
        return not_yet("The weights came back as they were.")
    return Checked(
        True, f"A solver: half of the weights are zero, with a relative error of {row['calibration_error']:.3f}.", because
    )


def _answers(model: Any, problems: Any, budget: int, seed: int, progress: bool) -> "pd.DataFrame":
    from racviz.evaluation import evaluate
    from racviz.generation import Sampling

    return evaluate(model, problems, Sampling(max_new_tokens=budget, seed=seed), progress=progress).frame


def _rule(entries: int, sparsity: float, tokens: int) -> str:
    several = f" after Holm's correction for {entries} entries" if entries > 1 else ""
    return (
        f"{100 * sparsity:.3g} % zeros, {tokens:,} calibration tokens at most. Differences are paired by problem, in points; better and "
        f"worse are said beyond twice their SE and with p < 0.05{several}."
    )


def _shown(key: str, value: Any) -> str:
    if value != value or value is None:  # NaN: none
        return ""
    if key in ("rank", "n"):
        return f"{value:.0f}"
    if key == "p":
        return f"{value:.2g}"
    if isinstance(value, float):
        return f"{value:+.1f}" if key == "difference" else f"{value:.1f}"
    return html.escape(str(value))
