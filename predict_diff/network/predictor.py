"""What methods need of a classifier: a network's named blobs, whatever computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Predictor(Protocol):
    """A classifier with named blobs: a `Network`, or a plain function in its clothes (`FunctionNetwork`)."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def provider(self) -> str:
        """What runs: "cpu" or "cuda"."""
        ...

    @property
    def precision(self) -> str:
        """In which it runs: "full", "tf32" or "fp16"."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, as the network sees it."""
        ...

    @property
    def blobs(self) -> dict[str, tuple[int, ...]]:
        """Shape of each blob, batch axis left out."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The blobs that the network itself names as outputs."""
        ...

    @property
    def largest_batch(self) -> int:
        """As many images as it takes at once, whatever the memory."""
        ...

    def resolve(self, name: str) -> str:
        """The blob that a name stands for. NetworkError if there is none."""
        ...

    def is_probability(self, blob: str) -> bool:
        """Whether the units of a blob are probabilities that add up to 1."""
        ...

    def classes(self, blob: str) -> int:
        """K of the Laplace correction: how many units of a blob, of those that are probabilities, add up to 1."""
        ...

    def penultimate(self, blob: str) -> str:
        """What the softmax that makes `blob` is applied to; the blob itself if it is no probability."""
        ...

    def run(self, x: NDArray[np.float32], blobs: str | Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Values of some blobs, each (N, ...), for images (N, C, H, W). NetworkError if x or a name does not fit."""
        ...

    def gradient(
        self, x: NDArray[np.float32], blob: str, unit: int | tuple[int, ...], scale: float = 1.0
    ) -> NDArray[np.float32]:
        """Gradient of a unit with respect to each image, (N, C, H, W). NetworkError where there is none."""
        ...

    def batch(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """x as a contiguous float32 batch; NetworkError if it does not fit the input."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a result should say of the network, JSON-able."""
        ...
