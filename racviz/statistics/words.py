"""How sources and sparsities are called in sentences and legends."""

from collections.abc import Sequence

from racviz.sources import SOURCES


def pretty(source: str) -> str:
    """The name of a calibration source, or of the dense model, in sentences and legends."""
    if source == "dense":
        return "the dense model"
    return SOURCES[source].label if source in SOURCES else source


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def percent(sparsity: float) -> str:
    return f"{100 * sparsity:.3g} %"


def listed(parts: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
