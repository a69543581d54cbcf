"""Fills: what stands in for a window's values where they are not drawn from photos, as in classical occlusion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from skimage.restoration import inpaint_biharmonic

from ..errors import SamplerError
from ..windows import surround_positions
from .sampler import check_request, stream


class _Fill:
    """A sampler with nothing random in it: all samples of a window are alike.

    Parameters
    ----------
    k : int
        Side of a window, in pixels.

    Raises
    ------
    SamplerError
        If k is no positive whole number.
    """

    def __init__(self, k: int) -> None:
        self.k = window_side(k)

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        """See `Sampler.sample`."""
        check_request(x, windows, count, self.k)
        return np.repeat(self._patches(x, windows)[:, None], count, axis=1)

    def _patches(self, x: NDArray[np.float32], windows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What each window is filled with, (n, C, k, k)."""
        raise NotImplementedError

    def _each(self, values: NDArray[np.floating], windows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same values, (C,), in every pixel of every window."""
        patches = np.empty((len(windows), len(values), self.k, self.k), np.float32)
        patches[:] = values[:, None, None]
        return patches


class ConstantFill(_Fill):
    """One value in every pixel. Zeiler and Fergus (2014): a grey square.

    Parameters
    ----------
    k : int
        Side of a window, in pixels.
    value : float or array_like of shape (C,), default 0
        In the network's input space; one for all channels, or one for each. Where the mean is subtracted from
        photos, 0 is the mean colour.

    Raises
    ------
    SamplerError
        If a value is not finite in float32.
    """

    def __init__(self, k: int, value: ArrayLike = 0.0) -> None:
        super().__init__(k)
        try:
            self.value = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            self.value = np.full(1, np.nan)
        with np.errstate(over="ignore"):  # what does not fit is infinite then
            finite = np.isfinite(self.value.astype(np.float32)).all()
        if self.value.ndim > 1 or not self.value.size or not finite:
            raise SamplerError(f"value: expected a finite number, or one for each channel, found {value!r}")

    def _patches(self, x: NDArray[np.float32], windows: NDArray[np.int64]) -> NDArray[np.float32]:
        if self.value.ndim and len(self.value) != len(x):
            raise SamplerError(
                f"value: expected one number, or {len(x)}, one for each channel of the photo, found {len(self.value)}"
            )
        return self._each(np.broadcast_to(self.value, len(x)), windows)

    def describe(self) -> dict[str, Any]:
        """See `Sampler.describe`."""
        return {"kind": "constant", "k": self.k, "value": self.value.tolist()}


class MeanFill(_Fill):
    """The photo's own mean colour: of each channel, over all of its pixels.

    Parameters
    ----------
    k : int
        Side of a window, in pixels.
    """

    def _patches(self, x: NDArray[np.float32], windows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._each(x.mean(axis=(1, 2), dtype=np.float64), windows)

    def describe(self) -> dict[str, Any]:
        """See `Sampler.describe`."""
        return {"kind": "mean", "k": self.k}


class BlurFill(_Fill):
    """The photo out of focus: blurred by a Gaussian, the edge pixels repeated outwards.

    The whole photo is blurred, the window included: its coarse content stays, its details go.

    Parameters
    ----------
    k : int
        Side of a window, in pixels.
    sigma : float, default 10
        Standard deviation of the Gaussian, in pixels. Fong and Vedaldi (2017, arXiv:1704.03296) use 10.

    Raises
    ------
    SamplerError
        If sigma is not positive.
    """

    def __init__(self, k: int, sigma: float = 10.0) -> None:
        super().__init__(k)
        self.sigma = _deviation(sigma)

    def _patches(self, x: NDArray[np.float32], windows: NDArray[np.int64]) -> NDArray[np.float32]:
        blurred = gaussian_filter(x.astype(np.float64), (0, self.sigma, self.sigma), mode="nearest")
        every = sliding_window_view(blurred, (self.k, self.k), axis=(1, 2))
        return every[:, windows[:, 0], windows[:, 1]].swapaxes(0, 1).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """See `Sampler.describe`."""
        return {"kind": "blur", "k": self.k, "sigma": self.sigma}


class NoiseFill(_Fill):
    """White noise around the photo's mean colour: each pixel and channel independently Gaussian.

    Its mean is that of the photo's channel. Fong and Vedaldi (2017, arXiv:1704.03296) replace regions by such noise.

    Parameters
    ----------
    k : int
        Side of a window, in pixels.
    sigma : float, optional
        Standard deviation, in the network's input space; by default each channel's own over the photo, so that a
        window has the colours' spread but no structure.

    Raises
    ------
    SamplerError
        If sigma is not positive.
    """

    def __init__(self, k: int, sigma: float | None = None) -> None:
        super().__init__(k)
        self.sigma = None if sigma is None else _deviation(sigma)

    def sample(self, x: NDArray[np.float32], windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
        """See `Sampler.sample`."""
        check_request(x, windows, count, self.k)
        mean = x.mean(axis=(1, 2), dtype=np.float64)[:, None, None]
        deviation = x.std(axis=(1, 2), dtype=np.float64)[:, None, None] if self.sigma is None else self.sigma
        samples = np.empty((len(windows), count, len(x), self.k, self.k), np.float32)
        for patches, (row, column) in zip(samples, windows.tolist(), strict=True):
            patches[:] = mean + deviation * stream(seed, row, column, "noise").standard_normal(patches.shape)
        return samples

    def describe(self) -> dict[str, Any]:
        """See `Sampler.describe`."""
        return {"kind": "noise", "k": self.k, "sigma": self.sigma}


class InpaintingFill(_Fill):
    """What smoothly continues the surround: scikit-image's biharmonic inpainting.

    The window is filled with the surface whose biharmonic operator vanishes and that meets the surround, channel by
    channel; values beyond the surround's range are clipped to it.

    Parameters
    ----------
    k : int
        Side of a window, in pixels.
    l : int, optional
        Side of the outer patch that is known, in pixels, placed as for conditional sampling; by default
        k + 4, or the side of a smaller photo. The operator reaches 2 pixels far, so that from k + 4 on it changes
        the clipping only.

    Raises
    ------
    SamplerError
        If l is not larger than k.
    """

    def __init__(self, k: int, l: int | None = None) -> None:
        super().__init__(k)
        if l is not None and (isinstance(l, bool) or not isinstance(l, int | np.integer) or l <= self.k):
            raise SamplerError(f"l: expected a whole number of pixels larger than k = {self.k}, found {l!r}")
        self.l = None if l is None else int(l)

    def _patches(self, x: NDArray[np.float32], windows: NDArray[np.int64]) -> NDArray[np.float32]:
        channels, height, width = x.shape
        l = min(self.k + 4, height, width) if self.l is None else self.l
        surrounds = surround_positions(windows, self.k, l, height, width)
        patches = np.empty((len(windows), channels, self.k, self.k), np.float32)
        for patch, (top, left), (row, column) in zip(patches, surrounds, windows - surrounds, strict=True):
            inside = slice(row, row + self.k), slice(column, column + self.k)
            unknown = np.zeros((l, l), bool)
            unknown[inside] = True
            known = x[:, top : top + l, left : left + l].astype(np.float64)
            patch[:] = inpaint_biharmonic(known, unknown, channel_axis=0)[:, inside[0], inside[1]]
        return patches

    def describe(self) -> dict[str, Any]:
        """See `Sampler.describe`."""
        return {"kind": "inpainting", "k": self.k, "l": self.l}


def window_side(k: int) -> int:
    """k. SamplerError unless it can be the side of a window."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise SamplerError(f"k: expected the side of a window, a whole number of pixels from 1 on, found {k!r}")
    return int(k)


def _deviation(sigma: float) -> float:
    """SamplerError unless it is a positive number."""
    if isinstance(sigma, bool) or not isinstance(sigma, int | float | np.number) or not 0 < sigma < np.inf:
        raise SamplerError(f"sigma: expected a positive number, found {sigma!r}")
    return float(sigma)
