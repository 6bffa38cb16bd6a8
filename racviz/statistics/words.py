"""Names of sources and sparsities in sentences and legends."""

from collections.abc import Sequence

NAMES = {
    "dense": "the dense model",
    "generic": "generic text",
    "prompt": "prompt-only",
    "rac": "RAC",
    "prompt-same-problems": "prompt-only (same problems)",
}


def pretty(source: str) -> str:
    """Name of a source in sentences and legends."""
    return NAMES.get(source, source)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def percent(sparsity: float) -> str:
    return f"{100 * sparsity:.3g} %"


def listed(parts: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
