"""Which tokens a calibration set holds, and what that alone does: sets of the same tokens without their order, or of others."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from racviz.calibration import CalibrationSet
from racviz.study import Study

WINDOW = 512
"""Tokens of a window of a set that is made here."""


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


def orderless_sets(study: Study) -> dict[str, CalibrationSet]:
    """Calibration sets as large as the study's, of tokens in no order: the prompts' own, shuffled, and drawn evenly from vocabularies."""
    draw, size = np.random.default_rng(study.seed), study.calibration_tokens
    known = vocabularies(study)
    others = np.setdiff1d(known["all"], np.union1d(known["prompts"], known["thoughts"]))
    flat = {
        "the prompts' tokens, shuffled": draw.permutation(np.concatenate(study.calibration("prompt").sequences)),
        "random: tokens of prompts": draw.choice(known["prompts"], size),
        "random: tokens of neither": draw.choice(others, size),
        "random: all tokens": draw.choice(known["all"], size),
        "random: tokens of thoughts": draw.choice(known["thoughts"], size),
    }
    return {name: _windows(study, name, ids) for name, ids in flat.items()}


def _windows(study: Study, name: str, ids: np.ndarray) -> CalibrationSet:
    length = min(WINDOW, study.dense.context)
    rows = [ids[start : start + length].astype(np.int32) for start in range(0, len(ids), length)]
    label = {"source": name, "tokens": len(ids), "sequences": len(rows), "vocabulary": study.dense.vocabulary}
    zeros, ones = ([make(len(row), dtype=kind) for row in rows] for make, kind in ((np.zeros, np.uint8), (np.ones, np.float32)))
    return CalibrationSet("generic", rows, zeros, ones, (), label)


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

    base = replace(study, sparsities=(sparsity,))
    base._memo.update(study._memo)
    frames = [base.evaluations()]
    for name, each in sets.items():
        one = replace(base, sources=("generic",))
        one._memo.update({key: value for key, value in study._memo.items() if not key.endswith(" generic")})
        one._memo["calibration generic"] = each  # a step's key holds the content of the set, whatever it is called
        frame: Any = one.evaluations()
        frames.append(frame[frame["source"] == "generic"].assign(source=name))
    return pd.concat(frames, ignore_index=True)
