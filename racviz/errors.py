"""The former name of `racviz.exceptions`, kept for one release."""

import warnings

from racviz import exceptions


def __getattr__(name: str):
    if name.startswith("_"):
        raise AttributeError(name)
    warnings.warn(
        "racviz.errors is now racviz.exceptions; the old name goes with the next release.", DeprecationWarning, stacklevel=2
    )
    return getattr(exceptions, name)
