"""A plain function, from a batch of images to probabilities, in the clothes of a network."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from inspect import unwrap
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NetworkError, closest
from ..given_arrays import as_floats, given_array
from .runtime import one_line

#: From images (n, C, H, W), float32, to probabilities or scores (n, classes).
BatchFunction = Callable[[NDArray[np.float32]], ArrayLike]

#: How far the probabilities of an image may add up to something else than 1: those in bfloat16, with 8 bits of
#: mantissa, are each off by up to 0.4 %.
_SUM_TOLERANCE = 1e-2
#: How far the same image's may differ between two batches: kernels differ in last bits, dropout does in the first.
_BATCH_TOLERANCE = 1e-3

_PROBABILITIES, _SCORES = "prob", "scores"


class FunctionNetwork:
    """A classifier that is a function; what a `Predictor` is.

    The function is called with an array of its own each time, so that it may change it, and what it gives is checked
    each time.

    Parameters
    ----------
    function : callable
        Takes images (n, C, H, W), float32, and gives their probabilities (n, classes): an array, or what NumPy can
        make one of. It has to take batches of any size, and to treat each image by itself.
    example : ndarray, shape (C, H, W)
        An image that the function is tried with, and whose shape is that of all.
    softmax : bool, default False
        The function gives scores, to which a softmax is to be applied.
    name : str, optional
        The function's own by default.

    Attributes
    ----------
    blobs : dict of str to tuple of int
        ``prob``, and with `softmax` before it ``scores``; each of shape (classes,).

    Raises
    ------
    NetworkError
        If the function fails, does not give finite probabilities of at least two classes for each image, or others
        for the same image in another batch.
    """

    provider = "cpu"
    precision = "full"
    largest_batch = sys.maxsize
    outputs = (_PROBABILITIES,)

    def __init__(
        self, function: BatchFunction, example: NDArray[np.floating], softmax: bool = False, name: str | None = None
    ) -> None:
        self._function = function
        self._softmax = softmax
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        label = f"{self.name}: example"
        example = as_floats(given_array(example, label, NetworkError), label, NetworkError)
        if example.ndim != 3 or not example.size:
            raise NetworkError(
                f"{self.name}: expected an example of shape (C, H, W), found {example.shape}; a grey image is (1, H, W)"
            )
        self.input_shape: tuple[int, ...] = example.shape
        self._classes: int | None = None
        alone = self._call(example[None])[_PROBABILITIES][0]
        self._classes = len(alone)
        self._refuse_moods(example, alone)
        if softmax and are_probabilities(self._call(example[None])[_SCORES]):
            raise NetworkError(
                f"{self.name}: expected scores, since softmax is asked for, found probabilities, which add up to 1; "
                f"leave softmax out"
            )
        self.blobs: dict[str, tuple[int, ...]] = {_SCORES: (self._classes,)} if softmax else {}
        self.blobs[_PROBABILITIES] = (self._classes,)
        self._fingerprint = _fingerprint(self.name, self.input_shape, alone)

    def resolve(self, name: str) -> str:
        """The name itself. NetworkError if there is no such blob."""
        if name in self.blobs:
            return name
        raise NetworkError(
            f"{self.name}: expected the blob {' or '.join(self.blobs)}, found '{name}'{closest(name, self.blobs)}"
        )

    def is_probability(self, blob: str) -> bool:
        """Whether it is ``prob``."""
        return self.resolve(blob) == _PROBABILITIES

    def classes(self, blob: str) -> int:
        """See `Predictor.classes`."""
        return self.blobs[self.resolve(blob)][0]

    def penultimate(self, blob: str) -> str:
        """``scores``, where the function gives them; else the blob itself."""
        return _SCORES if self._softmax else self.resolve(blob)

    def run(self, x: NDArray[np.float32], blobs: str | Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Values of some blobs, each (n, classes).

        Parameters
        ----------
        x : ndarray, shape (n, C, H, W) or (C, H, W), float32
        blobs : str or sequence of str

        Raises
        ------
        NetworkError
            If there is no such blob, x has another shape, or the function fails.
        """
        asked = [blobs] if isinstance(blobs, str) else list(blobs)
        for blob in asked:
            self.resolve(blob)
        values = self._call(self.batch(x))
        return {blob: values[blob] for blob in asked}

    def gradient(
        self, x: NDArray[np.float32], blob: str, unit: int | tuple[int, ...], scale: float = 1.0
    ) -> NDArray[np.float32]:
        """NetworkError: a function does not say how it computes."""
        raise NetworkError(
            f"{self.name}: expected a network whose graph is known, found a function, which has no gradient; export "
            f"the classifier to ONNX, or choose a method that needs none"
        )

    def batch(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """x as a contiguous float32 batch; NetworkError if it does not fit the input."""
        x = given_array(x, f"{self.name}: images", NetworkError)
        batch = x[None] if x.ndim == 3 else x
        if batch.shape[1:] != self.input_shape or batch.dtype.kind not in "fiu":
            raise NetworkError(
                f"{self.name}: expected images of shape {self.input_shape}, found {x.shape} of {x.dtype}"
            )
        return np.ascontiguousarray(batch, dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """What a result should say of the function, JSON-able.

        Functions have no contents to tell them apart by: ``sha256`` is that of the name, the shapes, and the
        probabilities of the example to three digits.
        """
        return {"name": self.name, "sha256": self._fingerprint, "provider": self.provider, "precision": self.precision}

    def _call(self, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """What the function gives for images (n, C, H, W), by blob, (n, classes) each."""
        if not len(batch):
            empty = np.empty((0, self._classes or 0), np.float32)
            return {_SCORES: empty, _PROBABILITIES: empty}
        try:
            # A copy: what functions do to their argument is their own business.
            given = self._function(batch.copy())
        except Exception as error:  # whatever a stranger's function raises
            raise NetworkError(
                f"{self.name}: the function failed for images of shape {batch.shape}: {type(error).__name__}: "
                f"{one_line(error)}{_hint_for(unwrap(self._function))}"
            ) from error
        values = self._checked(given, len(batch))
        if self._softmax:
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            return {_SCORES: values, _PROBABILITIES: np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)}
        return {_PROBABILITIES: self._checked_probabilities(values)}

    def _checked(self, given: ArrayLike, images: int) -> NDArray[np.float32]:
        """Numbers for each image and class. NetworkError if they are something else."""
        expected = f"{self.name}: expected the function to give {'scores' if self._softmax else 'probabilities'}"
        try:
            values = np.asarray(given)
        except Exception as error:  # a tensor that needs gradients or lies on a GPU, a list of unequal lists
            raise NetworkError(
                f"{expected} as an array, found {type(given).__name__}, of which NumPy can make none "
                f"({one_line(error)})"
            ) from error
        if values.dtype.kind not in "fiu" or np.ma.is_masked(given):
            raise NetworkError(f"{expected} as an array of numbers, found {type(given).__name__} of {values.dtype}")
        if values.shape == (images,) or values.shape == (images, 1):
            raise NetworkError(
                f"{expected} of at least two classes, found one number for each image, shape {values.shape}; for two "
                f"classes give both: np.stack([1 - p, p], axis=1)"
            )
        if values.ndim != 2 or len(values) != images or not values.shape[1]:
            raise NetworkError(
                f"{expected} of shape (images, classes), here ({images}, {self._classes or 'classes'}), found shape "
                f"{values.shape}"
            )
        if self._classes is not None and values.shape[1] != self._classes:
            raise NetworkError(
                f"{expected} of {self._classes} classes, as for the first batch, found {values.shape[1]} for another"
            )
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise NetworkError(
                f"{expected} that are finite, found NaN or infinity; check the function, and the range of the images"
            )
        return values

    def _checked_probabilities(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if not are_probabilities(values):
            sums = values.sum(axis=1, dtype=np.float64)
            worst = sums[np.argmax(np.abs(sums - 1))]
            raise NetworkError(
                f"{self.name}: expected probabilities from 0 on that add up to 1 for each image, found numbers from "
                f"{values.min():.4g} to {values.max():.4g} whose sum for one is {worst:.4g}; if "
                f"these are scores (logits), say softmax=True"
            )
        # Rounding may have carried them beyond.
        return np.clip(values, 0, 1)

    def _refuse_moods(self, example: NDArray[np.float32], alone: NDArray[np.float32]) -> None:
        """NetworkError if an image's probabilities depend on what else is in the batch, or on chance."""
        other = example[..., ::-1] / 2  # with other statistics
        beside = self._call(np.stack([other, example]))[_PROBABILITIES][1]
        difference = float(np.abs(beside - alone).max())
        if difference > _BATCH_TOLERANCE:
            raise NetworkError(
                f"{self.name}: expected the same probabilities for an image alone and beside another, found some that "
                f"differ by {difference:.3g}; put the classifier into evaluation mode: no dropout, no batch statistics"
            )


def _hint_for(function: object) -> str:
    """What to do about a module of torch's, which takes no arrays; torch is not loaded for it."""
    if any(kind.__module__.startswith("torch.nn.") for kind in type(function).__mro__):
        return (
            "; for a module of torch's give predict_diff.interoperability.TorchNetwork(module, example), the example "
            "being a tensor (C, H, W)"
        )
    return ""


def are_probabilities(values: NDArray[np.floating]) -> bool:
    """Whether numbers (n, classes) are such as could be probabilities: none below 0, and 1 in all for each image."""
    sums = values.sum(axis=1, dtype=np.float64)
    return bool(values.min() >= -_SUM_TOLERANCE and np.abs(sums - 1).max() <= _SUM_TOLERANCE)


def _fingerprint(name: str, shape: tuple[int, ...], probabilities: NDArray[np.float32]) -> str:
    """SHA-256 of what is known of a function; last bits, which may differ from run to run, do not matter."""
    rounded = np.rint(np.asarray(probabilities, np.float64) * 1000).astype("<i8")
    return hashlib.sha256(repr((name, shape)).encode() + rounded.tobytes()).hexdigest()
