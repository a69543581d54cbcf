"""What is checked of a description and its weights before they are converted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice

from ..errors import ConversionError, closest
from .reader import Description, Weights

logger = logging.getLogger(__name__)

#: What a description may hold. The largest published networks have a few thousand layers, and names of 100 characters.
_LAYERS_AT_MOST = 20_000
_BOTTOMS_AND_TOPS_AT_MOST = 200_000
_NAME_AT_MOST = 1024

_COMPARED_NAMES, _COMPARED_CHARACTERS = 5000, 100


def expect_same_network(description: Description, weights: Weights) -> None:
    """Raise ConversionError if no layer of the description has weights; log the weights that no layer takes."""
    described = {str(layer.name) for layer in description.net.layer}
    stored = {name for name, layer in weights.layers.items() if layer.blobs}
    if stored and not stored & described:
        raise ConversionError(
            f"{weights.path}: expected weights for the layers of {description.path} ({_some(described)}), found only "
            f"others ({_some(stored)}); the files describe different networks"
        )
    if unused := stored - described:
        logger.info("%s: layers not in the description, left out: %s", weights.path, _some(unused))


def expect_plausible(description: Description) -> None:
    """Raise ConversionError if there are more layers than a network has, or names that no one would give."""
    layers = description.net.layer
    references = sum(len(layer.bottom) + len(layer.top) for layer in layers)
    if len(layers) > _LAYERS_AT_MOST or references > _BOTTOMS_AND_TOPS_AT_MOST:
        raise ConversionError(
            f"{description.path}: expected at most {_LAYERS_AT_MOST:,} layers and {_BOTTOMS_AND_TOPS_AT_MOST:,} "
            f"bottoms and tops, found {len(layers):,} and {references:,}; is this the description of a network?"
        )
    for layer in layers:
        for name in (description.net.name, layer.name, layer.type, *layer.bottom, *layer.top):
            if len(name) > _NAME_AT_MOST or not name.isprintable():
                raise ConversionError(
                    f"{description.where(layer.name)}: expected names of up to {_NAME_AT_MOST} printable characters, "
                    f"found {name[:40]!a}; rename it in description and weights"
                )
        if not all((*layer.bottom, *layer.top)):
            raise ConversionError(
                f"{description.where(layer.name)}: layer '{layer.name}': expected a name for each bottom and top, "
                f"found an empty one"
            )


def near(name: str, known: Iterable[str]) -> str:
    """The closest names, looked for among so many that it is quick whatever they are."""
    candidates = islice((other for other in known if len(other) <= _COMPARED_CHARACTERS), _COMPARED_NAMES)
    return closest(name, candidates) if len(name) <= _COMPARED_CHARACTERS else ""


def _some(names: Iterable[str], count: int = 4) -> str:
    names = sorted(name if name.isprintable() else ascii(name) for name in names)
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
