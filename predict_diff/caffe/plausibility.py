"""What is checked of a description and its weights before they are converted, and what the user is told of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice

from google.protobuf import text_format

from ..errors import ConversionError, closest
from .caffe_pb2 import LayerParameter
from .prototxt import LAYERS_AT_MOST
from .reader import Description, Weights

logger = logging.getLogger(__name__)

#: What a description may hold. The largest published networks have names of 100 characters.
_BOTTOMS_AND_TOPS_AT_MOST = 200_000
_NAME_AT_MOST = 1024

_COMPARED_NAMES, _COMPARED_CHARACTERS = 5000, 100
_QUOTED_CHARACTERS = 300


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
        logger.warning(
            "%s: weights of %d layer(s) were not used, as %s has no layer of that name: %s",
            weights.path,
            len(unused),
            description.path,
            _some(unused),
        )


def expect_plausible(description: Description) -> None:
    """Raise ConversionError if there are more layers than a network has, or names that no one would give."""
    layers = description.net.layer
    references = sum(len(layer.bottom) + len(layer.top) for layer in layers)
    if len(layers) > LAYERS_AT_MOST or references > _BOTTOMS_AND_TOPS_AT_MOST:
        raise ConversionError(
            f"{description.path}: expected at most {LAYERS_AT_MOST:,} layers and {_BOTTOMS_AND_TOPS_AT_MOST:,} "
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


def tell_of_behaviour(description: Description) -> None:
    """Log what of a description may give other numbers than the user expects."""
    layers = description.net.layer
    if any(layer.include or layer.exclude for layer in layers):
        logger.warning("%s: it describes training too; what runs in phase TEST was converted", description.path)
    by_batch = [layer.name for layer in layers if layer.type == "BatchNorm" and _by_batch(layer)]
    if by_batch:
        logger.warning(
            "%s: use_global_stats: false in %d layer(s) normalises by the photos of a batch, as in Caffe: what a photo "
            "gives depends on those beside it: %s",
            description.path,
            len(by_batch),
            _some(by_batch),
        )
    if filled := [layer.name for layer in layers if layer.type == "DummyData"]:
        logger.warning(
            "%s: DummyData, which Caffe fills with noise or a constant, became an input: %s",
            description.path,
            _some(filled),
        )


def tell_of_preprocessing(description: Description) -> None:
    """Log, in one line, what a description does not know of the photos, and quote what it does."""
    known = [
        f"layer '{layer.name}' has {_short(text_format.MessageToString(layer.transform_param, as_one_line=True))}"
        for layer in description.net.layer
        if layer.HasField("transform_param")
    ]
    quoted = f"; {'; '.join(known[:3])}" if known else ""
    logger.warning(
        "%s: a description does not say how photos become inputs (mean, scale, order of channels, size they are "
        "resized to): it is for whoever feeds the network to know%s",
        description.path,
        quoted,
    )


def near(name: str, known: Iterable[str]) -> str:
    """The closest names, looked for among so many that it is quick whatever they are."""
    candidates = islice((other for other in known if len(other) <= _COMPARED_CHARACTERS), _COMPARED_NAMES)
    return closest(name, candidates) if len(name) <= _COMPARED_CHARACTERS else ""


def _by_batch(layer: LayerParameter) -> bool:
    settings = layer.batch_norm_param
    return bool(settings.HasField("use_global_stats") and not settings.use_global_stats)


def _short(text: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in text.strip())
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}..."


def _some(names: Iterable[str], count: int = 4) -> str:
    names = sorted(name if name.isprintable() else ascii(name) for name in names)
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
