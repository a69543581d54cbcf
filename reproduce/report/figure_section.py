"""The part of the report that shows the figures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from predict_diff.errors import ResultError

from ..progress import duration
from .made_figures import MadeFigure, distinct
from .markup import Markup, element, joined
from .materials import title

#: Files beside the page, by their endings, as links call them.
_FILES = {".png": "PNG", ".pdf": "PDF", ".h5": "arrays (HDF5)"}


def figure_section(figures: Sequence[MadeFigure]) -> Markup:
    """All figures, each with what the paper shows there, its settings and its files."""
    return element("section", element("h2", "Figures"), *map(_figure, figures), id="figures")


def _figure(figure: MadeFigure) -> Markup:
    links = [element("a", words, href=figure.png.with_suffix(ending).name) for ending, words in _FILES.items()]
    caption = element(
        "figcaption",
        element("p", figure.caption) if figure.caption else "",
        element("p", _how(figure)),
        element("p", "Files beside this page: ", joined(links, ", "), "."),
    )
    picture = element("img", src=_data_uri(figure.png), alt=_alternative(figure))
    return element("article", element("h3", figure.title), element("figure", picture, caption), Markup("\n"))


def _how(figure: MadeFigure) -> str:
    used = [item.settings for item in figure.shown]
    sides = (f"{name} = {distinct(used, name)}" for name in ("k", "l"))
    took = f"; its maps took {duration(figure.seconds)} to compute" if figure.seconds else ""
    return (
        f"Here: variant {distinct(used, 'variant')}, profile {distinct(used, 'profile')}, {', '.join(sides)}, "
        f"S = {distinct(used, 'samples')}, stride {distinct(used, 'stride')}, seed {distinct(used, 'seed')}{took}."
    )


def _alternative(figure: MadeFigure) -> str:
    """What stands for the picture where it cannot be seen."""
    photos = ", ".join(dict.fromkeys(item.photo for item in figure.shown))
    names = ", ".join(dict.fromkeys(title(item.network) for item in figure.shown))
    return f"{figure.title.rstrip('.')}: {photos}, as seen by {names}."


def _data_uri(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise ResultError(
            f"{path}: expected the picture that was just drawn, but it cannot be read ({reason.strerror}); run it again"
        ) from reason
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
