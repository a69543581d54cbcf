"""A torch function or module in the clothes of a network, with its gradients."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, NetworkError
from ..network.function import FunctionNetwork
from ..network.runtime import one_line


def import_torch() -> Any:
    """The module. ConfigurationError if it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError as reason:
        raise ConfigurationError(
            "torch: expected PyTorch, which is not installed; install it, or give arrays and a function to "
            "predict_diff.explain, which needs none"
        ) from reason


class TorchNetwork(FunctionNetwork):
    """A classifier written in torch; what a `Predictor` is.

    It is called with batches that lie on the device of the example and have its type, without gradients but for
    `gradient`. Parameters of modules, and the gradients stored with them, are left as they are.

    Parameters
    ----------
    forward : callable or torch.nn.Module
        Takes images (n, C, H, W) and gives probabilities (n, classes), both tensors.
    example : torch.Tensor, shape (C, H, W)
        An image that the function is tried with, and whose shape, device and type are those of all.
    softmax : bool, default False
        The function gives scores, to which a softmax is to be applied. Gradients are then those of scores, where a
        method asks for them.

    Raises
    ------
    NetworkError
        As for `FunctionNetwork`.
    """

    def __init__(self, forward: Callable[[Any], Any], example: Any, softmax: bool = False) -> None:
        self._forward = forward
        self._device, self._dtype = example.device, example.dtype
        self.provider = "cuda" if self._device.type == "cuda" else "cpu"
        name = str(getattr(forward, "__name__", type(forward).__name__))
        super().__init__(self._values, as_array(example), softmax, name)

    def gradient(
        self, x: NDArray[np.float32], blob: str, unit: int | tuple[int, ...], scale: float = 1.0
    ) -> NDArray[np.float32]:
        """Gradient of a unit with respect to each image, by torch's autograd.

        Parameters
        ----------
        x : ndarray, shape (n, C, H, W) or (C, H, W), float32
        blob : str
        unit : int or tuple of one int
        scale : float, default 1
            What the gradient is multiplied by.

        Returns
        -------
        ndarray, shape of x, float32

        Raises
        ------
        NetworkError
            If there is no such blob or unit, x has another shape, or torch finds no gradient.
        """
        blob = self.resolve(blob)
        (number,) = unit if isinstance(unit, tuple) else (unit,)
        if not 0 <= number < self.blobs[blob][0]:
            raise NetworkError(
                f"{self.name}: expected a unit from 0 to {self.blobs[blob][0] - 1} of '{blob}', found {number}"
            )
        batch = self.batch(x).copy()
        torch = self._torch
        try:
            # Whatever the caller has switched off.
            with torch.inference_mode(False), torch.enable_grad():
                images = self._tensor(batch).requires_grad_(True)
                values = self._forward(images)
                if blob != self.penultimate(blob):  # a probability, and the function gives scores
                    values = torch.softmax(values, dim=1)
                (found,) = torch.autograd.grad(scale * values[:, number].sum(), images)
        except Exception as error:  # whatever a stranger's function raises
            raise NetworkError(
                f"{self.name}: expected a function that torch can differentiate, found none "
                f"({type(error).__name__}: {one_line(error)}); choose a method that needs no gradient"
            ) from error
        gradient = as_array(found)
        if not np.isfinite(gradient).all():
            raise NetworkError(
                f"{self.name}: expected finite gradients, found NaN or infinity; check the function, and the range of "
                f"the images"
            )
        return gradient.reshape(np.shape(x))

    @property
    def _torch(self) -> Any:
        return import_torch()

    def _values(self, batch: NDArray[np.float32]) -> Any:
        with self._torch.no_grad():
            given = self._forward(self._tensor(batch))
        # Complex numbers are left to be refused: as floats they would lose a part in silence.
        if not isinstance(given, self._torch.Tensor) or given.is_complex():
            return given
        return as_array(given)

    def _tensor(self, batch: NDArray[np.float32]) -> Any:
        return self._torch.from_numpy(batch).to(device=self._device, dtype=self._dtype)


def as_array(tensor: Any) -> NDArray[np.float32]:
    """A tensor's numbers, wherever they lie. NetworkError if they are nowhere, or not all there."""
    try:
        return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)
    except (NotImplementedError, RuntimeError, TypeError) as error:  # tensors without data, sparse ones
        raise NetworkError(
            f"tensor: expected one with all its numbers, found {one_line(error)}; give a dense one on a device"
        ) from error
