"""The sanity check: what becomes of a map when the network forgets what it has learnt, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from math import nan, prod
from typing import Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import ConfigurationError, closest
from ..methods.method import Method
from ..network.inference import constants
from ..network.network import Network
from ..samplers.sampler import stream
from ..targets import Target
from .layers import Layer, layers
from .maps import Array, check_varies
from .similarity import rank_correlation

#: From the top on, all layers up to one; or one alone.
Cascade = Literal["cascading", "independent"]

_PURPOSE = "randomised weights: "


@dataclass(frozen=True)
class RandomisationCurve:
    """How much of a map is left once layers are randomised.

    Attributes
    ----------
    layers : tuple of str
        L of them, from the top of the network down.
    signed : ndarray, shape (L,), float64
        Rank correlation of the map with that of the trained network.
    absolute : ndarray, shape (L,), float64
        The same of the absolute values: where relevance is, whatever it speaks for.
    """

    layers: tuple[str, ...]
    signed: Array
    absolute: Array


def layer_names(model: onnx.ModelProto) -> list[str]:
    """Names of the layers with weights, from the top of the network down, as `randomised_models` gives them."""
    return [layer.name for layer in layers(model)]


def randomised_models(
    model: onnx.ModelProto, seed: int = 0, order: Cascade = "cascading", only: Collection[str] | None = None
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Copies of a network in which more and more layers are randomised, from the top down.

    Adebayo et al., *Sanity checks for saliency maps*, NeurIPS 2018 (arXiv:1810.03292).

    Parameters
    ----------
    model : onnx.ModelProto
        It stays as it is. ``network.load()`` gives that of a `Network`.
    seed : int, default 0
        0 to 2**64 - 1. A tensor's random values depend on it and on the tensor's name: they are the same in either
        order.
    order : {"cascading", "independent"}
        Each layer together with all above it, or each alone.
    only : collection of str, optional
        Give the network after these layers only; cascading still randomises all above them. By default after each.

    Yields
    ------
    name : str
        Of the layer: a linear operator with the bias, scale and normalisation right behind it.
    randomised : onnx.ModelProto
        A copy of its own.

    Raises
    ------
    ConfigurationError
        If there is no such order or layer, the seed is no such number, or the network has no weights.

    Notes
    -----
    The paper initialises weights anew, as before training; an ONNX file does not say how that was. Here each tensor's
    values are shuffled. What they have learnt is gone, while their mean, their spread and the sign of a variance stay,
    so that activations neither vanish nor explode. A tensor whose values are all alike stays as it is.
    """
    if order not in get_args(Cascade):
        raise ConfigurationError(f"order: expected {' or '.join(get_args(Cascade))}, found '{order}'")
    found = layers(model)
    if not found:
        raise ConfigurationError(
            f"{model.graph.name}: expected a network with weights, found none in any convolution, product or "
            f"normalisation"
        )
    names = [layer.name for layer in found]
    for name in only or ():
        if name not in names:
            raise ConfigurationError(
                f"layer: expected one of the network's {len(names)}, found '{name}'{closest(name, names)}; layer_names "
                f"lists them"
            )
    # Here, not at the first use: a generator's errors come late.
    return _models(model, found, _shuffles(seed), order, names if only is None else only)


def randomisation_curve(
    method: Method,
    network: Network,
    x: NDArray[np.float32],
    target: Target,
    seed: int = 0,
    order: Cascade = "cascading",
    only: Collection[str] | None = None,
) -> RandomisationCurve:
    """Sensitivity of a method to what the network has learnt: rank correlation of maps, layer by layer.

    Adebayo et al., *Sanity checks for saliency maps*, NeurIPS 2018 (arXiv:1810.03292).

    Parameters
    ----------
    method : Method
    network : Network
        Trained.
    x : ndarray, shape (C, H, W), float32
        The image, as the network sees it.
    target : Target
    seed, order, only
        As `randomised_models` takes them. The seed is the method's too, so that only weights differ.

    Returns
    -------
    RandomisationCurve
        -1 to 1. Lower is better, in absolute value: a map that stays the same explains the image, not the network.
        Null, a map unrelated to the trained network's: 0. NaN where the randomised network's map is the same
        everywhere, which has no ranks.

    Raises
    ------
    ConfigurationError
        As `randomised_models`; also if the network has no such target.
    ResultError
        If the map of the trained network is the same everywhere, or a map holds NaN or infinity.
    PredictDiffError
        What else the method raises.
    """
    if not isinstance(network, Network):
        raise ConfigurationError(
            f"network: expected one whose weights are known, found {type(network).__name__}; open its ONNX file"
        )
    target.check(network.blobs)
    models = randomised_models(network.load(), seed, order, only)
    trained = method.explain(network, x, [target], seed)[0]
    check_varies(np.abs(trained))
    names, signed, absolute = [], [], []
    for name, model in models:
        randomised = Network(
            model,
            network.provider,
            precision=network.precision,
            device=network.device,
            probabilities=_without_softmax(network),
        )
        values = method.explain(randomised, x, [target], seed)[0]
        names.append(name)
        signed.append(_correlation(trained, values))
        absolute.append(_correlation(np.abs(trained), np.abs(values)))
    return RandomisationCurve(tuple(names), np.array(signed), np.array(absolute))


def _without_softmax(network: Network) -> list[str]:
    """The blobs of which it was said that they are probabilities."""
    return [blob for blob in network.blobs if network.is_probability(blob) and network.penultimate(blob) == blob]


def _correlation(trained: NDArray[np.floating], randomised: NDArray[np.floating]) -> float:
    return nan if np.ptp(randomised) == 0 else rank_correlation(trained, randomised)


def _models(
    model: onnx.ModelProto,
    found: list[Layer],
    shuffle: Callable[[onnx.TensorProto, str], None],
    order: Cascade,
    wanted: Collection[str],
) -> Iterator[tuple[str, onnx.ModelProto]]:
    current = _copy(model)
    for layer in found:
        if order == "independent":
            if layer.name not in wanted:
                continue
            current = _copy(model)
        tensors = constants(current)
        for name in layer.weights:
            shuffle(tensors[name], name)
        if layer.name in wanted:
            yield layer.name, _copy(current) if order == "cascading" else current


def _shuffles(seed: int) -> Callable[[onnx.TensorProto, str], None]:
    stream(seed, 0, 0, _PURPOSE)  # refuses what is no seed

    def shuffle(tensor: onnx.TensorProto, name: str) -> None:
        """Put the values of a tensor into random order, whatever kind of numbers they are."""
        order = stream(seed, 0, 0, _PURPOSE + name).permutation(prod(tensor.dims))
        if tensor.raw_data:
            values = np.frombuffer(tensor.raw_data, np.uint8).reshape(len(order), -1)
            tensor.raw_data = values[order].tobytes()
            return
        field = next((field for field in (tensor.float_data, tensor.double_data, tensor.int32_data) if field), None)
        if field is None:
            raise ConfigurationError(
                f"tensor '{name}': expected its values in the model, found none; load the model together with its "
                f"external data"
            )
        field[:] = np.array(field)[order].tolist()

    return shuffle


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
