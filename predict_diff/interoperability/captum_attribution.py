"""Any method in captum's call shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigurationError
from ..given_arrays import as_floats, given_array
from ..methods.method import Method
from .batches import checked_method, class_numbers, maps
from .torch_network import TorchNetwork, as_array, import_torch


def _wrapped(attribute: Callable[..., Any]) -> Callable[..., Any]:
    """As captum's own are, which log each use: its NoiseTunnel calls what is wrapped."""

    @wraps(attribute)
    def call(*arguments: Any, **named: Any) -> Any:
        return attribute(*arguments, **named)

    return call


class Attribution:
    """A method as captum has them: made from a forward function, asked by `attribute`.

    Parameters
    ----------
    forward_func : callable or torch.nn.Module
        Takes images (n, C, H, W) and gives probabilities (n, classes), both tensors. A module has to be in evaluation
        mode.
    method : Method, optional
        One of `predict_diff.methods`; prediction difference analysis by default, which needs `fit`.
    softmax : bool, default False
        The forward function gives scores, to which a softmax is to be applied. Weight of evidence is then that of
        probabilities, and methods that differentiate take the gradient of the score, unless told otherwise.
    seed : int, default 0
        Of whatever is random; the same for each image, so that its map does not depend on the batch.

    Raises
    ------
    ConfigurationError
        If the function cannot be called, or the method is none.

    Examples
    --------
    >>> attribution = Attribution(model, PredictionDifference(k=4, l=8), softmax=True).fit(training)  # doctest: +SKIP
    >>> attribution.attribute(images, target=3)  # like images  # doctest: +SKIP
    """

    #: What captum's NoiseTunnel and metrics ask for.
    multiplies_by_inputs = False

    def __init__(
        self,
        forward_func: Callable[[Any], Any],
        method: Method | None = None,
        *,
        softmax: bool = False,
        seed: int = 0,
    ) -> None:
        if not callable(forward_func):
            raise ConfigurationError(
                f"forward_func: expected a torch function or module, found {type(forward_func).__name__}"
            )
        self.forward_func = forward_func
        self.method = checked_method(method)
        self.softmax = softmax
        self.seed = seed

    def fit(self, images: Any) -> Self:
        """Let the method learn from images (N, C, H, W), a tensor or an array, prepared as those to be explained.

        Raises
        ------
        ConfigurationError
            If the method learns nothing from images.
        PredictDiffError
            If they are no images, or not all numbers are finite.
        """
        fit = getattr(self.method, "fit", None)
        if fit is None:
            raise ConfigurationError(
                f"{type(self.method).__name__}: expected a method that learns from images, such as "
                f"PredictionDifference, found one that needs none; leave fit out"
            )
        fit(as_array(images) if hasattr(images, "detach") else as_floats(given_array(images, "images"), "images"))
        return self

    def has_convergence_delta(self) -> bool:
        """False: there is nothing that maps must add up to."""
        return False

    @_wrapped
    def attribute(self, inputs: Any, target: int | ArrayLike | None = None, **additional: Any) -> Any:
        """The relevance of each pixel of each image for a class.

        Parameters
        ----------
        inputs : torch.Tensor, shape (N, C, H, W), or a tuple of one
            Images, as the forward function sees them.
        target : int, or ints of shape (1,) or (N,)
            A class for all images, or one for each: a number, a list, an array or a tensor.
        **additional
            Refused unless None: settings belong to the method.

        Returns
        -------
        torch.Tensor, shape (N, C, H, W), or a tuple of one
            On the device of the inputs, and of their type. A method gives one map for all channels: each channel gets
            an equal share, so that the sum over channels is the map. Positive is evidence for the class.

        Raises
        ------
        PredictDiffError
            If the inputs, the target or the forward function are not as described, or the method refuses them.
        """
        given = [name for name, value in additional.items() if value is not None]
        if given:
            raise ConfigurationError(
                f"attribute: expected inputs and target, found {', '.join(given)} too; settings belong to the method, "
                f"and what else the forward function takes into a function of images alone"
            )
        several = isinstance(inputs, tuple)
        if several and len(inputs) != 1:
            raise ConfigurationError(f"inputs: expected one tensor of images, found a tuple of {len(inputs)}")
        images = inputs[0] if several else inputs
        torch = import_torch()
        if not isinstance(images, torch.Tensor) or images.ndim != 4 or not len(images):
            found = f"shape {tuple(images.shape)}" if isinstance(images, torch.Tensor) else type(images).__name__
            raise ConfigurationError(f"inputs: expected a tensor of images (N, C, H, W), found {found}")
        if not images.is_floating_point():
            raise ConfigurationError(f"inputs: expected floating-point images, found {images.dtype}")
        if target is None:
            raise ConfigurationError("target: expected a class, found None; several classes need one to be chosen")
        network = TorchNetwork(self.forward_func, images[0], self.softmax)
        found_maps = maps(self.method, network, as_array(images), class_numbers(target, len(images)), self.seed)
        shares = np.repeat(found_maps[:, None] / images.shape[1], images.shape[1], axis=1)
        relevance = torch.from_numpy(shares).to(device=images.device, dtype=images.dtype)
        return (relevance,) if several else relevance
