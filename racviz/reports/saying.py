"""Findings of a report: computed sentences, shown in the notebook and kept for the index."""

import html
import re
from collections.abc import Mapping
from typing import Any

SHARES = ("sparsity", "sparsity of the model", "repetition", "looping", "truncated", "looping_of_truncated")
"""Columns of fractions, which people read in per cent."""


def caveat(study: Any) -> str:
    """Caveat: the limits of the evidence that this study's model gives."""
    name = study.dense.name.rstrip("/").split("/")[-1] if study.dense.name.count("/") != 1 else study.dense.name
    if study.dense.embedded:
        size = sum(parameter.numel() for parameter in study.dense.model.parameters()) / 1e6
        return (
            f"{name} is an embedded model of {size:.1f}M parameters, made to be pruned on a laptop: it shows the mechanism "
            "and is no evidence about R1-Distill or any other large model."
        )
    return f"What is shown holds for {name} on {study.domain} with seed {study.seed}; other models and seeds may differ."


def typeset(sentence: str) -> str:
    """HTML of a computed sentence: escaped, with e_t and r_t as symbols with an index."""
    return indexed(html.escape(sentence))


def indexed(escaped: str) -> str:
    """HTML with e_t and r_t as symbols with an index."""
    return re.sub(r"\b([er])_t\b", r"<var>\1<sub>t</sub></var>", escaped)


def say(*sentences: str) -> None:
    """Show computed sentences, a paragraph each, whatever names are in them."""
    from IPython.display import HTML, display

    display(HTML("".join(f"<p>{typeset(sentence)}</p>" for sentence in sentences)))


def table(frame: Any) -> None:
    """Show a data frame whole: no index, no cut-off cells, shares in per cent."""
    import pandas as pd
    from IPython.display import HTML, display

    shares = {name: [_share(value) for value in frame[name]] for name in SHARES if name in frame}
    frame = frame.assign(**shares)
    percent = {name: _one for name in frame if "%" in str(name) or str(name).startswith("SE")}
    with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
        display(HTML(frame.to_html(index=False, escape=True, border=0, na_rep="", float_format=_short, formatters=percent)))


def _share(value: float) -> str:
    return "" if value != value else f"{100 * value:.3g} %"


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _one(value: float) -> str:
    """Per cent, or the SE of it: a decimal."""
    return "" if value != value else f"{value:.1f}"


def _provenance(study: Any) -> dict[str, Any]:
    """Provenance of the numbers beside the parameters: model, versions, machine."""
    found = study.manifest()
    kept = {key: found[key] for key in ("model_fingerprint", "device", "dtype")}
    return kept | found["versions"] | found["machine"]


def finding(study: Any, sentence: str, numbers: Mapping[str, Any] | None = None) -> None:
    """Show the report's one finding, and keep it with its numbers and the parameters, with what was varied, for the index of reports."""
    from IPython.display import HTML, display

    kept = {
        "finding": sentence,
        "numbers": [[str(key), str(value)] for key, value in (numbers or {}).items()],  # lists keep their order in the file
        "caveat": caveat(study),
        "parameters": [[key, value] for key, value in study.manifest()["parameters"].items()],
        "provenance": [[key, str(value)] for key, value in _provenance(study).items()],
    }
    shown = f'<div class="racviz-finding"><b>Finding.</b> {typeset(sentence)} <i>{html.escape(kept["caveat"])}</i></div>'
    display(HTML(shown), metadata={"racviz": kept})
