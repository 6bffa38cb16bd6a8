"""Generic English: the prose of CPython's own language reference, split by topic name.

A third of the topics is mixed into training; the rest is the packaged generic calibration text (data/texts/), the stand-in
for C4 where there is no network. `pydoc_data.topics` is part of Python (PSF License 2).
"""

import hashlib


def topics(split: str) -> list[tuple[str, str]]:
    """(name, text) of the topics of a split, `train` or `calibration`, in alphabetical order."""
    from pydoc_data.topics import topics as all_topics

    if split not in ("train", "calibration"):
        raise ValueError(f"split must be 'train' or 'calibration'; not {split!r}")
    for_training = [name for name in sorted(all_topics) if hash_third(name)]
    names = for_training if split == "train" else sorted(set(all_topics) - set(for_training))
    return [(name, all_topics[name]) for name in names]


def hash_third(name: str) -> bool:
    """True if a topic is one of the third that trains."""
    return int(hashlib.sha256(f"topic {name}".encode()).hexdigest()[:8], 16) % 3 == 0
