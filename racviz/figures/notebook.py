"""Figures in notebooks: interactive in JupyterLab, and still there after nbconvert, without a network."""

import re
from typing import Any

import plotly.io as pio
from plotly.io._base_renderers import NotebookRenderer

CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
NETWORK_SCRIPT = re.compile(r"<script[^>]*\bsrc=\"https?://[^\"]*\"[^>]*>\s*</script>", re.IGNORECASE)


def offline(page: str) -> str:
    """The page without scripts that would be fetched from a network (plotly links MathJax, which no figure here uses)."""
    return NETWORK_SCRIPT.sub("", page)


class OfflineRenderer(NotebookRenderer):
    """plotly's `notebook` renderer (plotly.js once a notebook), without its link to a CDN."""

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, str]:
        return {kind: offline(page) for kind, page in super().to_mimebundle(fig_dict).items()}


def show_in_notebooks() -> None:
    """Set plotly's renderer: its MIME type for JupyterLab, HTML for everything that nbconvert makes.

    plotly's own default under ipykernel is the MIME type alone, which nbconvert leaves out: reports without figures.
    """
    pio.renderers["racviz"] = OfflineRenderer(config=CONFIG)
    pio.renderers["plotly_mimetype"].config = CONFIG
    pio.renderers.default = "plotly_mimetype+racviz"
