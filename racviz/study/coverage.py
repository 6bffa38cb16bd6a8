"""Ablation of calibration tokens: the same tokens shuffled, or tokens drawn at random."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from racviz.calibration import CalibrationSet
from racviz.evaluation import Evaluation
from racviz.statistics import holm, paired_difference
from racviz.statistics.estimates import cell_of
from racviz.study import RESULT_COLUMNS, Study
from racviz.study.variants import variant

WINDOW = 512
"""Tokens of a window of a set that is made here."""
PACKED, SHUFFLED = "prompts, packed", "prompts' tokens, shuffled"


def random_of(vocabulary: str) -> str:
    """The name of a set of tokens of a vocabulary, drawn evenly."""
    return "random tokens of all" if vocabulary == "all" else f"random tokens of {vocabulary}"


THOUGHTS, NEITHER, ALL, PROMPTS = map(random_of, ("thoughts", "neither", "all", "prompts"))
PAIRS = (("generic", "prompt"), (NEITHER, "generic"), (ALL, "generic"), (THOUGHTS, NEITHER), (NEITHER, PROMPTS), (PACKED, "prompt"),
         (SHUFFLED, PACKED), ("rac", THOUGHTS))  # fmt: skip
"""The comparisons: vocabularies without language, tokens of thoughts against others, length, order, and the gain of real thoughts."""


def vocabularies(study: Study) -> dict[str, np.ndarray]:
    """Token ids by where they stand: `prompts` and `thoughts` (the two phases of the RAC set, prompts with those of the prompt set),
    `all` (whatever the tokenizer has but special tokens)."""
    own, prompts = study.calibration("rac"), study.calibration("prompt")
    ids, phases = np.concatenate(own.sequences), np.concatenate(own.phases)
    return {
        "prompts": np.union1d(np.concatenate(prompts.sequences), ids[phases == 0]),
        "thoughts": np.unique(ids[phases == 1]),
        "all": np.setdiff1d(np.arange(len(study.dense.tokenizer)), study.dense.tokenizer.all_special_ids),
    }


def other_sets(study: Study) -> dict[str, CalibrationSet]:
    """Calibration sets as large as the study's, in windows of WINDOW tokens: the prompts one after the other, the same tokens shuffled, and
    tokens drawn evenly from the vocabularies, in no order. A vocabulary that is empty has no set."""
    draw, size = np.random.default_rng(study.seed), study.calibration_tokens
    known, prompts = vocabularies(study), np.concatenate(study.calibration("prompt").sequences)
    known["neither"] = np.setdiff1d(known["all"], np.union1d(known["prompts"], known["thoughts"]))
    drawn = {PACKED: prompts, SHUFFLED: draw.permutation(prompts)}
    drawn |= {random_of(name): draw.choice(ids, size) for name, ids in known.items() if len(ids)}
    asked = study.calibration("prompt").problems  # which must not judge a model that saw them
    return {name: _windows(study, name, ids, asked if name in (PACKED, SHUFFLED) else ()) for name, ids in drawn.items()}


def _windows(study: Study, name: str, ids: np.ndarray, problems: tuple[str, ...]) -> CalibrationSet:
    length = min(WINDOW, study.dense.context)
    rows = [ids[start : start + length].astype(np.int32) for start in range(0, len(ids), length)]
    label = {"source": name, "tokens": len(ids), "sequences": len(rows), "vocabulary": study.dense.vocabulary}
    zeros, ones = ([make(len(row), dtype=kind) for row in rows] for make, kind in ((np.zeros, np.uint8), (np.ones, np.float32)))
    return CalibrationSet("generic", rows, zeros, ones, problems, label)


def coverage(study: Study, sets: Mapping[str, CalibrationSet] | None = None):
    """A row a set: its tokens, how many distinct ones, and the share of what the model says in its thoughts that it has ever seen."""
    import pandas as pd

    own = study.calibration("rac")
    said = np.concatenate(own.sequences)[np.concatenate(own.phases) == 1]
    given = {source: study.calibration(source) for source in study.sources} | dict(sets or {})
    rows = []
    for name, each in given.items():
        ids = np.concatenate(each.sequences)
        rows.append([name, len(ids), len(np.unique(ids)), 100 * np.isin(said, ids).mean()])
    return pd.DataFrame(rows, columns=["calibration", "tokens", "distinct", "of the thoughts' tokens, %"])


def evaluate_sets(study: Study, sets: Mapping[str, CalibrationSet], sparsity: float):
    """Answers of the dense model, of the study's sources and of models calibrated on other sets: a row a sample, `source` the name."""
    import pandas as pd

    base = variant(study, "sparsities", (sparsity,))
    frames = [base.evaluations()]
    for name, each in sets.items():
        one = variant(base, "sources", ("generic",))
        one.calibrate_with("generic", each)
        frame: Any = one.evaluations()
        frames.append(frame[frame["source"] == "generic"].assign(source=name))
    everything = pd.concat(frames, ignore_index=True)
    study.keep(_results(study, everything, sets))
    return everything


def _results(study: Study, evaluations: Any, sets: Mapping[str, CalibrationSet]):
    """The run's table: a row a set, in the columns of results.csv, with the set's name as its source."""
    import pandas as pd

    base = study.row("dense", 0.0)
    rows = []
    for (source, sparsity), frame in evaluations.groupby(["source", "sparsity"], sort=False):
        changed = dict(source=source, sparsity=sparsity, method=frame["method"].iloc[0], trace_source="", sparsity_all=None)
        changed |= dict(calibration_tokens=int(frame["calibration_tokens"].iloc[0]))
        rows.append({**base, **changed, **{k: v for k, v in Evaluation(frame).summary().items() if k in RESULT_COLUMNS}})
    return pd.DataFrame(rows)[RESULT_COLUMNS]


def coverage_sentence(evaluations: Any) -> str:
    """Verdict of the comparisons of PAIRS on one explanation: a set helps by holding the tokens that thoughts are made of."""
    there = [pair for pair in PAIRS if set(pair) <= set(evaluations["source"])]
    sparsity = evaluations.loc[evaluations["source"] != "dense", "sparsity"].iloc[0]
    gaps = {pair: paired_difference(*(cell_of(evaluations, source, sparsity) for source in pair)) for pair in there}
    corrected = holm([gap.p_value for gap in gaps.values()])
    told = {
        pair: gap.verdict if p < 0.05 else "inside the noise" for (pair, gap), p in zip(gaps.items(), corrected, strict=True)
    }
    order = told.get(("generic", "prompt"))
    words = {"above": "is above prompts alone", "below": "is below prompts alone"}.get(
        order, "cannot be told from prompts alone"
    )
    more = told.get((THOUGHTS, NEITHER)) == "above"
    other = told.get((NEITHER, PROMPTS)) == "above"
    text = f"Generic text {words} here."
    if more:
        text += " Tokens that the thoughts are made of help, though they stand in no order, beyond tokens that no thought holds"
        text += ", and so does a vocabulary that is merely wider than that of the prompts." if other else "."
    elif other:
        text += " A vocabulary wider than that of the prompts helps, though no thought holds its tokens;"
        text += " that those of thoughts help more cannot be told."
    else:
        text += " That the tokens of a set alone make a difference cannot be told."
    return text
