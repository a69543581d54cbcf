"""Samples from a function: anybody's generative model as a sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import PredictDiffError, SamplerError
from .fills import window_side
from .sampler import check_request, checked_patches, stream

#: ``function(x, windows, count, generators)`` gives patches (n, count, C, k, k).
DrawFunction = Callable[[NDArray[np.float32], NDArray[np.int64], int, Sequence[np.random.Generator]], ArrayLike]


class FunctionSampler:
    """Draws with a function of yours.

    Parameters
    ----------
    k : int
        Side of a window, in pixels.
    function : callable
        ``function(x, windows, count, generators)``: the photo, (C, H, W) float32; the upper left pixels of n windows,
        (n, 2) int64; S; and n generators of random numbers, one for each window. It gives patches (n, S, C, k, k), in
        the network's input space. As long as it draws each window's numbers from that window's generator, and
        computes each window by itself, samples do not depend on which windows are drawn together.
    name : str
        What the samples depend on beside photo, windows and seed: the model and its version. Results carry it, and
        a run that goes on where it was stopped does so only with the same name.

    Raises
    ------
    SamplerError
        If k or the name is none.

    Examples
    --------
    A model of photos in which a window is as bright as its surround, more or less: a normal distribution around the
    mean of the ring of pixels around it.

    >>> import numpy as np
    >>> from predict_diff.samplers.function import FunctionSampler
    >>> k, margin = 4, 2
    >>> def draw(x, windows, count, generators):
    ...     patches = np.empty((len(windows), count, len(x), k, k), np.float32)
    ...     for patch, (row, column), generator in zip(patches, windows, generators):
    ...         top, left = max(row - margin, 0), max(column - margin, 0)
    ...         ring = x[:, top : row + k + margin, left : column + k + margin].copy()
    ...         ring[:, row - top :, column - left :][:, :k, :k] = np.nan  # the window itself must not show through
    ...         mean, deviation = np.nanmean(ring, (1, 2)), np.nanstd(ring, (1, 2))
    ...         shift = generator.normal(size=(count, len(x)))
    ...         patch[:] = (mean + deviation * shift)[:, :, None, None]
    ...     return patches
    >>> sampler = FunctionSampler(k, draw, name="as bright as its ring")
    >>> photo = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    >>> windows = np.array([[0, 0], [5, 7]])
    >>> samples = sampler.sample(photo, windows, count=20, seed=0)
    >>> samples.shape
    (2, 20, 3, 4, 4)
    >>> bool((sampler.sample(photo, windows[1:], 20, seed=0) == samples[1:]).all())
    True
    """

    def __init__(self, k: int, function: DrawFunction, name: str) -> None:
        self.k = window_side(k)
        if not callable(function):
            raise SamplerError(f"function: expected one, found {type(function).__name__}; pass the function itself")
        if not isinstance(name, str) or not name.strip():
            raise SamplerError(
                f"name: expected what the function's samples depend on, such as 'vae, epoch 20', found {name!r}"
            )
        self.name = name
        self._function = function

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        """See `Sampler.sample`.

        Raises
        ------
        SamplerError
            If the function fails, changes its input, or gives something else than finite patches.
        """
        check_request(x, windows, count, self.k)
        shape = (len(windows), count, len(x), self.k, self.k)
        if not len(windows):
            return np.empty(shape, np.float32)
        generators = [stream(seed, row, column, f"function {self.name}") for row, column in windows.tolist()]
        photo, places = x.copy(), windows.copy()
        try:
            given = self._function(photo, places, count, generators)
        except PredictDiffError:
            raise
        except Exception as error:  # whatever a stranger's function raises
            message = " ".join(str(error).split())[:300]
            raise SamplerError(f"{self.name}: the function failed: {type(error).__name__}: {message}") from error
        for what, before, after in (("photo", x, photo), ("windows", windows, places)):
            if not np.array_equal(before, after):
                raise SamplerError(
                    f"{self.name}: expected the function to leave the {what} as they were given, found them changed; "
                    f"let it work on a copy"
                )
        return checked_patches(given, shape, f"{self.name}: expected the function")

    def describe(self) -> dict[str, Any]:
        """See `Sampler.describe`."""
        return {"kind": "function", "k": self.k, "name": self.name}
