"""Any method as what Quantus calls an `explain_func`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError
from ..given_arrays import as_floats, given_array
from ..methods.method import Method
from ..network.function import FunctionNetwork
from ..network.predictor import Predictor
from ..network.runtime import one_line
from .batches import checked_method, class_numbers, maps
from .torch_network import TorchNetwork

#: How many channels photos have: shapes whose last axis is one of these, and the second none, are told apart.
_CHANNELS_OF_PHOTOS = (1, 3, 4)


def explain_func(
    method: Method | None = None, *, softmax: bool = False, seed: int = 0, channel_first: bool = True
) -> Callable[..., NDArray[np.float64]]:
    """A function for the parameter `explain_func` of Quantus's metrics.

    Parameters
    ----------
    method : Method, optional
        One of `predict_diff.methods`; prediction difference analysis by default, which has to be fitted before.
    softmax : bool, default False
        The model gives scores, to which a softmax is to be applied. What Quantus is told about softmax does not reach
        this function.
    seed : int, default 0
        Of whatever is random; the same for each image.
    channel_first : bool, default True
        Images are (N, C, H, W). Otherwise (N, H, W, C), as Quantus passes them on to Keras models.

    Returns
    -------
    callable
        ``function(model, inputs, targets, device=None, method=None) -> relevance``. The model is a torch module, a
        function from batches to probabilities, both NumPy arrays, or a `Predictor`; the inputs are images, the targets
        their classes, and the relevance is an ndarray (N, 1, H, W), or (N, H, W, 1) where channels are last.
        ``quantus.evaluate`` says by ``method`` what it calls the function, which changes nothing. Any other keyword is
        a ConfigurationError.

    Raises
    ------
    ConfigurationError
        If the method is none.

    Examples
    --------
    >>> function = explain_func(Occlusion(size=4), softmax=True)  # doctest: +SKIP
    >>> quantus.Sparseness()(model, x_batch, y_batch, None, explain_func=function)  # doctest: +SKIP
    """
    chosen = checked_method(method)

    def explain(
        model: Any,
        inputs: ArrayLike,
        targets: ArrayLike,
        *,
        device: str | None = None,
        method: str | None = None,
        **additional: Any,
    ) -> NDArray[np.float64]:
        if not isinstance(method, str | None):
            additional["method"] = method
        if additional:
            raise ConfigurationError(
                f"explain_func_kwargs: expected no more than device, found {', '.join(additional)}; settings belong "
                f"to the method that explain_func is made with"
            )
        images = _checked_images(inputs, channel_first)
        network = _network(model, images[0], softmax, channel_first, device)
        found = maps(chosen, network, images, class_numbers(targets, len(images)), seed)
        return np.expand_dims(found, 1 if channel_first else 3)

    return explain


def _network(
    model: Any, example: NDArray[np.float32], softmax: bool, channel_first: bool, device: str | None
) -> Predictor:
    """A model in the clothes of a network."""
    if hasattr(model, "get_model"):  # Quantus's own wrapper
        model = model.get_model()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        parameter = next((each for each in model.parameters() if each.is_floating_point()), torch.zeros(()))
        if not channel_first:
            raise ConfigurationError("channel_first: expected True for a torch module, found False; leave it out")
        try:
            image = torch.from_numpy(example).to(device=device or parameter.device, dtype=parameter.dtype)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:  # torch without CUDA asserts
            raise ConfigurationError(
                f"device: expected one that torch has here, found {device!r} ({one_line(error)}); leave it out"
            ) from error
        return TorchNetwork(model, image, softmax)
    if hasattr(model, "penultimate"):
        network: Predictor = model
        return network
    if not callable(model):
        raise ConfigurationError(
            f"model: expected a torch module, a function of batches or a network, found {type(model).__name__}"
        )
    name = str(getattr(model, "__name__", type(model).__name__))
    function = model if channel_first else lambda batch: model(np.ascontiguousarray(np.moveaxis(batch, 1, 3)))
    return FunctionNetwork(function, example, softmax, name)


def _checked_images(inputs: ArrayLike, channel_first: bool) -> NDArray[np.float32]:
    """Images as (N, C, H, W), float32. ConfigurationError if they are none, or their axes in another order."""
    order = "(N, C, H, W)" if channel_first else "(N, H, W, C)"
    images = given_array(inputs, "inputs", ConfigurationError)
    if images.ndim != 4 or not images.size or images.dtype.kind not in "fiu":
        raise ConfigurationError(f"inputs: expected images {order}, found shape {images.shape} of {images.dtype}")
    first, last = images.shape[1] in _CHANNELS_OF_PHOTOS, images.shape[3] in _CHANNELS_OF_PHOTOS
    if first != last and first != channel_first:
        raise ConfigurationError(
            f"inputs: expected images {order}, found shape {images.shape}; say channel_first={first} if channels are "
            f"{'first' if first else 'last'}"
        )
    return as_floats(images if channel_first else np.moveaxis(images, 3, 1), "inputs", ConfigurationError)
