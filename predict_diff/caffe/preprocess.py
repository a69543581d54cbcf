"""Photo -> the network's input: what caffe.io.Transformer does, and what comes before it.

A photo is what caffe.io.load_image gives: (H, W, 3) float32, RGB, 0-1. The order is Caffe's: resize, crop, transpose,
swap channels, times raw_scale, minus mean, times input_scale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom
from skimage.transform import resize as skimage_resize

from ..errors import ConfigurationError, ImageError

Resize = Literal["warp", "square", "none"]
MeanFit = Literal["crop", "resize", "crop_bottom_right"]
ChannelOrder = Literal["BGR", "RGB"]

_CHANNEL_SWAPS: dict[str, tuple[int, int, int]] = {"BGR": (2, 1, 0), "RGB": (0, 1, 2)}


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """How a photo becomes the input of one network.

    Parameters
    ----------
    input_size : int
        Height and width of the network's input, in pixels.
    resize : {"warp", "square", "none"}
        What is cut from the photo, and how it is scaled. ``warp``: the photo is resized to `resize_to` x `resize_to`
        whatever its proportions, then its centre is cut out; Caffe's own way. ``square``: the photo's centre square
        is resized to `input_size`. ``none``: the centre of the photo is cut out as it is; the authors' way.
    resize_to : int, optional
        Side of the warped photo, in pixels: for ``warp`` only; 256 for the ImageNet networks of Caffe.
    antialias : bool, default False
        Whether to smooth before shrinking. Caffe: false in the days of the paper; pycaffe on scikit-image 0.15 or newer
        smooths.
    mean : ndarray, shape (3,), (3, 1, 1) or (3, h, w), optional
        Subtracted after `raw_scale`; in the network's channel order.
    mean_fit : {"crop", "resize", "crop_bottom_right"}
        How a mean image of another size than the input is made to fit. ``crop``: its centre is cut out, as the photo's
        is (Caffe's C++ data layers). ``resize``: it is resized (``Transformer.set_mean``). ``crop_bottom_right``: its
        lower right corner is cut out (the authors' code for AlexNet).
    raw_scale : float, default 255
        Factor before the mean is subtracted.
    input_scale : float, default 1
        Factor after the mean is subtracted.
    channel_order : {"BGR", "RGB"}
        The network's.

    Raises
    ------
    ConfigurationError
        If a setting is impossible, or the mean image does not fit.
    """

    input_size: int
    resize: Resize = "warp"
    resize_to: int | None = None
    antialias: bool = False
    mean: NDArray[np.floating] | None = None
    mean_fit: MeanFit = "crop"
    raw_scale: float = 255.0
    input_scale: float = 1.0
    channel_order: ChannelOrder = "BGR"

    def __post_init__(self) -> None:
        _require("input_size", self.input_size >= 1, "at least 1 pixel", self.input_size)
        for name, known in (("resize", Resize), ("mean_fit", MeanFit), ("channel_order", ChannelOrder)):
            options = get_args(known)
            _require(name, getattr(self, name) in options, f"one of {', '.join(options)}", getattr(self, name))
        if self.resize == "warp":
            fits = self.resize_to is not None and self.resize_to >= self.input_size
            _require("resize_to", fits, f"at least input_size = {self.input_size} with resize: warp", self.resize_to)
        else:
            _require("resize_to", self.resize_to is None, f"no value with resize: {self.resize}", self.resize_to)
        for name in ("raw_scale", "input_scale"):
            value = getattr(self, name)
            _require(name, np.isfinite(value) and value != 0, "a finite number other than 0", value)
        _ = self.fitted_mean  # A mean that does not fit shows now, not at the first photo.

    @cached_property
    def fitted_mean(self) -> NDArray[np.float32] | None:
        """What is subtracted: (3, 1, 1) or (3, input_size, input_size) float32, network's channel order; or None."""
        if self.mean is None:
            return None
        mean = np.asarray(self.mean, np.float32)
        if mean.ndim == 1:
            mean = mean[:, None, None]
        _require("mean", mean.ndim == 3 and len(mean) == 3 and mean.size > 0, "shape (3,) or (3, h, w)", mean.shape)
        _require("mean", np.isfinite(mean).all(), "finite numbers", "NaN or infinity")
        size = self.input_size
        height, width = mean.shape[1:]
        if (height, width) in ((1, 1), (size, size)):
            return mean
        if self.mean_fit == "resize":
            return resize_image(mean.transpose(1, 2, 0), (size, size), self.antialias).transpose(2, 0, 1)
        # Caffe: the data layers want a mean image as large as the photo that both are cut from.
        fits = (height, width) == (self.resize_to,) * 2 if self.resize == "warp" else min(height, width) >= size
        _require("mean", fits, f"an image of {self.resize_to or size} x {self.resize_to or size} pixels", mean.shape)
        if self.mean_fit == "crop_bottom_right":
            return mean[:, height - size :, width - size :]  # Authors' code: the offset is the whole excess.
        return mean[:, _centre(height, size), _centre(width, size)]

    def __call__(self, photo: NDArray[np.floating]) -> NDArray[np.float32]:
        """The network's input.

        Parameters
        ----------
        photo : ndarray, shape (H, W, 3), float32; RGB, 0-1

        Returns
        -------
        ndarray, shape (3, input_size, input_size), float32; in the network's channel order, mean subtracted

        Raises
        ------
        ImageError
            If the photo has another form, or is too small to cut the input from it.
        """
        return transform(
            self._fit(photo),
            channel_swap=_CHANNEL_SWAPS[self.channel_order],
            raw_scale=self.raw_scale,
            mean=self.fitted_mean,
            input_scale=self.input_scale,
        )

    def view(self, photo: NDArray[np.floating]) -> NDArray[np.float32]:
        """The part of the photo that the network sees, as it sees it: to draw maps over.

        Parameters and errors are those of a call.

        Returns
        -------
        ndarray, shape (input_size, input_size, 3), float32; RGB, 0-1
        """
        return np.clip(self._fit(photo), 0, 1)

    def deprocess(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """The photo that an input shows: a call undone. Caffe: caffe.io.Transformer.deprocess.

        Parameters
        ----------
        x : ndarray, shape (..., 3, input_size, input_size); in the network's channel order, mean subtracted

        Returns
        -------
        ndarray, shape (..., input_size, input_size, 3), float32; RGB, 0-1 where `x` is a photo, not clipped
        """
        mean = np.float32(0) if self.fitted_mean is None else self.fitted_mean
        photo = (np.asarray(x, np.float32) / np.float32(self.input_scale) + mean) / np.float32(self.raw_scale)
        return np.moveaxis(photo[..., np.argsort(_CHANNEL_SWAPS[self.channel_order]), :, :], -3, -1)

    def describe(self) -> dict[str, Any]:
        """Every setting, as JSON has it; a mean image by shape and SHA-256 of its float32 values."""
        settings: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name != "mean"
        }
        if self.mean is None:
            return {**settings, "mean": None}
        mean = np.ascontiguousarray(self.mean, np.float32)
        if mean.size == 3:
            return {**settings, "mean": mean.ravel().tolist()}
        digest = hashlib.sha256(mean.tobytes()).hexdigest()
        return {**settings, "mean": {"shape": list(mean.shape), "sha256": digest}}

    def _fit(self, photo: NDArray[np.floating]) -> NDArray[np.float32]:
        """(input_size, input_size, 3): the photo resized and cut."""
        photo = _checked(photo)
        size = self.input_size
        if self.resize_to is not None:  # warp
            return centre_crop(resize_image(photo, (self.resize_to, self.resize_to), self.antialias), size)
        if self.resize == "square":
            return resize_image(centre_crop(photo, min(photo.shape[:2])), (size, size), self.antialias)
        if min(photo.shape[:2]) < size:
            raise ImageError(
                f"photo: expected at least {size} x {size} pixels, since it is cut and not resized, found "
                f"{photo.shape[0]} x {photo.shape[1]}; give a larger one, or resize: warp"
            )
        return centre_crop(photo, size)


def transform(
    image: NDArray[np.floating],
    size: tuple[int, int] | None = None,
    *,
    antialias: bool = False,
    channel_swap: Sequence[int] | None = None,
    raw_scale: float = 1.0,
    mean: NDArray[np.floating] | None = None,
    input_scale: float = 1.0,
) -> NDArray[np.float32]:
    """Caffe: caffe.io.Transformer.preprocess.

    Parameters
    ----------
    image : ndarray, shape (H, W, C)
    size : (height, width), optional
        Resized to, in pixels, by `resize_image`.
    antialias : bool
        For resizing.
    channel_swap : sequence of int, optional
        Which channel of the image becomes each channel of the result; (2, 1, 0) makes BGR of RGB.
    raw_scale, input_scale : float
        Factors before and after the mean is subtracted.
    mean : ndarray, broadcastable to (C, height, width), optional
        In the order of the result's channels.

    Returns
    -------
    ndarray, shape (C, height, width), float32
    """
    image = np.asarray(image, np.float32)
    if size is not None and image.shape[:2] != tuple(size):
        image = resize_image(image, size, antialias)
    x = image.transpose(2, 0, 1)
    if channel_swap is not None:
        x = x[list(channel_swap)]
    x = np.ascontiguousarray(x) * np.float32(raw_scale)
    if mean is not None:
        x -= mean
    return x * np.float32(input_scale)


def resize_image(image: NDArray[np.floating], size: tuple[int, int], antialias: bool = False) -> NDArray[np.float32]:
    """Caffe: caffe.io.resize_image, bilinear.

    Beyond the border lies the image's least value, as in Caffe: an enlarged image darkens there.

    Parameters
    ----------
    image : ndarray, shape (H, W, C)
    size : (height, width)
        In pixels.
    antialias : bool
        Whether to smooth before shrinking. Caffe: scikit-image did not until 0.15, and does since. Images with other
        than 1 or 3 channels take another route, which never smooths.

    Returns
    -------
    ndarray, shape (height, width, C), float32
    """
    image = np.asarray(image, np.float32)
    height, width = size
    if image.shape[2] not in (1, 3):
        # Caffe: scipy's zoom, whose pixels lie at the corners of the grid and not in the middle of its cells.
        return np.asarray(zoom(image, (height / image.shape[0], width / image.shape[1], 1), order=1), np.float32)
    low, high = image.min(), image.max()
    if not high > low:
        return np.full((height, width, image.shape[2]), low, np.float32)
    unit = (image - low) / (high - low)
    resized = skimage_resize(unit, (height, width), order=1, mode="constant", anti_aliasing=antialias)
    return np.asarray(resized * (high - low) + low, np.float32)


def centre_crop(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The central (size, size, C) pixels of an image of shape (H, W, C); of two centres the upper left one."""
    return image[_centre(image.shape[0], size), _centre(image.shape[1], size)]


def oversample(image: NDArray[np.float32], crop: tuple[int, int]) -> NDArray[np.float32]:
    """Caffe: caffe.io.oversample, of one image.

    Parameters
    ----------
    image : ndarray, shape (H, W, C), float32
    crop : (height, width)
        In pixels.

    Returns
    -------
    ndarray, shape (10, height, width, C), float32
        Upper left, upper right, lower left, lower right, centre; then the same, mirrored.

    Raises
    ------
    ImageError
        If the image is smaller than the crop.
    """
    height, width = crop
    if height > image.shape[0] or width > image.shape[1]:
        raise ImageError(f"photo: expected at least {height} x {width} pixels to crop, found {image.shape[:2]}")
    last_row, last_column = image.shape[0] - height, image.shape[1] - width
    places = [(row, column) for row in (0, last_row) for column in (0, last_column)]
    places.append((last_row // 2, last_column // 2))
    crops = np.stack([image[row : row + height, column : column + width] for row, column in places])
    return np.concatenate([crops, crops[:, :, ::-1]])


def _centre(whole: int, part: int) -> slice:
    """Where the middle `part` of `whole` pixels lies; Caffe and the authors' code both round down."""
    start = (whole - part) // 2
    return slice(start, start + part)


def _checked(photo: NDArray[np.floating]) -> NDArray[np.float32]:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.size == 0 or photo.dtype.kind != "f":
        raise ImageError(f"photo: expected (H, W, 3) float32, RGB, found {photo.shape} {photo.dtype}; convert it first")
    low, high = float(photo.min()), float(photo.max())
    # Interpolation may leave the range by a rounding error; a photo in 0-255 leaves it by far.
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ImageError(
            f"photo: expected values from 0 to 1, found {low:g} to {high:g}; divide by the largest possible"
        )
    return photo.astype(np.float32, copy=False)


def _require(setting: str, holds: bool | np.bool, expected: str, found: object) -> None:
    if not holds:
        raise ConfigurationError(f"{setting}: expected {expected}, found {found}")
