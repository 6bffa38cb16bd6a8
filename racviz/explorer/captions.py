"""Sentences about a session: warnings, the caption, and the line of Python that opens it again."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from racviz.explorer.catalogue import Catalogue, Column
from racviz.explorer.columns import label_words
from racviz.explorer.view import View
from racviz.printable import shown


def notes(catalogue: Catalogue, columns: Iterable[Column]) -> list[str]:
    """Warnings for the viewer: hidden files, files that changed on disk, and models that are not loaded."""
    pyramids = {id(column.pyramid): column.pyramid for column in columns}
    hidden = ", ".join(shown(name) for name in catalogue.other_rollouts)
    sentences = [f"Not shown, being along other rollouts: {hidden}."] if hidden else []
    if catalogue.broken_files:
        sentences.append(f"Not shown, being broken: {'; '.join(catalogue.broken_files)}")
    if any(pyramid.replaced for pyramid in pyramids.values()):
        sentences.append("The file of errors was replaced since; what is shown is of before. Open it again for the new one.")
    if catalogue.reasons:
        sentences.append(f"Model not loaded: {'; '.join(catalogue.reasons)}.")
    return sentences


def caption(top: Column, bottom: Column, group: str, problems: int) -> str:
    """Caption: provenance shared by both errors, then what differs."""
    words = [label_words(column.pyramid.meta["label"]) for column in (top, bottom)]
    shared = [word for word in words[0] if word in words[1]]
    different = [
        f"{column.label}: {', '.join(own)}"
        for column, label in zip((top, bottom), words, strict=True)
        if (own := [word for word in label if word not in shared])
    ]
    return " · ".join([*shared, group, *different, f"n = {problems} problems"])


def python_line(catalogue: Catalogue, view: View, group: str, seen: Mapping[str, tuple[Any, int]]) -> str:
    """The line of Python that opens this view.

    Parameters
    ----------
    catalogue : Catalogue
    view : View
    group : str
        The metric and layer that are shown.
    seen : mapping
        For `x` and `y`: the span that is shown, or None for all, and the number of columns or rows.
    """
    default = View()
    options = {
        field.name: getattr(view, field.name)
        for field in fields(View)
        if getattr(view, field.name) != getattr(default, field.name)
    }
    if group != next(iter(catalogue.groups)):
        options["errors_of"] = group
    for name, (span, size) in seen.items():
        if span is not None and (span[0] > 0 or span[1] < size):
            options[name] = tuple(round(float(edge), 2) for edge in span)
    source = repr(catalogue.source) if catalogue.source else "errors"
    arguments = [f"{name}={name}" for name in catalogue.arguments]
    return f"rv.explore({', '.join([source, *arguments, *(f'{name}={value!r}' for name, value in options.items())])})"
