"""How a foreign classifier wants its images: what makes a photo the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.transform import resize

from .errors import ConfigurationError, ImageError, in_short
from .given_arrays import as_floats, given_array

#: Order of the axes that the classifier itself takes. "NHW": grey, without an axis for channels; "flat": one row of
#: numbers for each image, in the order (C, H, W); "flat NHWC": in the order (H, W, C).
Layout = Literal["NCHW", "NHWC", "NHW", "flat", "flat NHWC"]

_COLOURS = ("RGB", "BGR", "grey")
#: Luma of ITU-R BT.601, as Pillow's and torchvision's conversion to grey has it.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
#: Interpolation may leave the range by a rounding error; a photo in 0-255 leaves it by far.
_RANGE_TOLERANCE = 1e-3
#: Numbers of a photo that is made larger or smaller: 256 MiB. A network's file may claim any size.
_NUMBERS_AT_MOST = 1 << 26


@dataclass(frozen=True, eq=False)
class InputSpec:
    """What a classifier expects of its images.

    ``x = (white * photo - mean) / std * scale``, a photo being 0 for black and 1 for white. Whatever the layout, x is
    (C, H, W), and the classifier gets its own order of axes from it.

    Parameters
    ----------
    size : int or (height, width), optional
        To which photos are resized, in pixels, whatever their proportions: crop them before where the classifier saw
        crops. By default what the file says, else that of the photo.
    layout : {"NCHW", "NHWC", "NHW", "flat", "flat NHWC"}, optional
        Order of axes that the classifier takes: N images, C channels, H rows, W columns. "NHW" has grey images without
        an axis for channels; "flat" one row of numbers for each image, from (C, H, W) or, "flat NHWC", (H, W, C).
        By default NCHW, or the only one that fits grey images and what the file says.
    channels : {"RGB", "BGR", "grey"} or int
        What the classifier takes. Colour photos become grey by their luma (ITU-R BT.601), grey ones are repeated
        for RGB and BGR. A number of channels, such as of a multispectral camera, is taken as it comes.
    white : float, default 1
        What white is to the classifier, before the mean is subtracted: 1, 255, or 16 for scikit-learn's digits.
    mean, std, scale : float or sequence of float
        Subtracted, divided by, then multiplied by; one for all channels or one for each, in the classifier's order.
        torchvision has `mean` and `std`, Caffe `mean` and `scale`.
    labels : sequence of str, optional
        Names of the classes, in order.
    softmax : bool, default False
        The classifier gives scores (logits), to which a softmax is to be applied.
    output : str, optional
        Of an ONNX file with several: the one that has the probabilities or scores.

    Raises
    ------
    ConfigurationError
        If a value is impossible.
    """

    size: int | tuple[int, int] | None = None
    layout: Layout | None = None
    channels: Literal["RGB", "BGR", "grey"] | int = "RGB"
    white: float = 1.0
    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0
    scale: float | Sequence[float] = 1.0
    labels: Sequence[str] | None = None
    softmax: bool = False
    output: str | None = None

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, list | tuple) else (self.size, self.size)
        _require(
            "size",
            self.size is None or (len(sides) == 2 and all(_is_whole(side) and side for side in sides)),
            "a number of pixels, or (height, width)",
            self.size,
        )
        layouts = get_args(Layout)
        known = self.layout is None or (isinstance(self.layout, str) and self.layout in layouts)
        _require("layout", known, f"one of {', '.join(layouts)}", self.layout)
        known = self.channels in _COLOURS if isinstance(self.channels, str) else _is_whole(self.channels)
        _require("channels", known and self.channels != 0, f"one of {', '.join(_COLOURS)}, or how many", self.channels)
        _require(
            "layout",
            self.layout != "NHW" or self.channel_count == 1,
            f"one with channels, of which there are {self.channel_count}",
            self.layout,
        )
        _require(
            "white",
            _is_finite(self.white) and np.ndim(self.white) == 0 and self.white > 0,
            "a number above 0, such as 1 or 255",
            self.white,
        )
        for name in ("mean", "std", "scale"):
            value = getattr(self, name)
            fits = _is_finite(value) and np.shape(value) in ((), (self.channel_count,))
            _require(name, fits, f"a number, or one for each of {self.channel_count} channels", value)
            _require(name, name == "mean" or bool(np.all(np.asarray(value) != 0)), "numbers other than 0", value)
        names = self.labels.tolist() if isinstance(self.labels, np.ndarray) else self.labels
        fits = isinstance(names, list | tuple) and all(isinstance(label, str) for label in names)
        _require("labels", names is None or fits, "a sequence of names, each a text", self.labels)
        # Whatever they were given as: compared and counted as texts.
        object.__setattr__(self, "labels", None if names is None else tuple(map(str, names)))
        _require("softmax", isinstance(self.softmax, bool | np.bool_), "True or False", self.softmax)
        _require("output", self.output is None or isinstance(self.output, str), "the name of an output", self.output)

    @property
    def channel_count(self) -> int:
        """C."""
        return int(self.channels) if not isinstance(self.channels, str) else 1 if self.channels == "grey" else 3

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """What `size` says."""
        if self.size is None:
            return None
        height, width = self.size if isinstance(self.size, list | tuple) else (self.size, self.size)
        return int(height), int(width)

    def prepare(
        self, photo: ArrayLike, size: tuple[int, int] | None = None, name: str = "photo"
    ) -> NDArray[np.float32]:
        """The network's input.

        Parameters
        ----------
        photo : array_like, shape (H, W, C) or (H, W), uint8 or float
            RGB or grey; uint8 from 0 to 255, floating point from 0 to 1.
        size : (height, width), optional
            Instead of the spec's.
        name : str
            What messages call the photo.

        Returns
        -------
        ndarray, shape (C, H, W), float32

        Raises
        ------
        ImageError
            If the photo has other axes or another range, or NaN, or the size is beyond all memory.
        """
        pixels = self._channels(_unit_range(photo, name), name)
        wanted = size or self.height_and_width or pixels.shape[:2]
        if pixels.shape[:2] != wanted:
            if wanted[0] * wanted[1] * pixels.shape[2] > _NUMBERS_AT_MOST:
                raise ImageError(
                    f"{name}: expected at most {_NUMBERS_AT_MOST:,} numbers once it is resized, found a size of "
                    f"{wanted[0]:,} x {wanted[1]:,}; correct the spec, or the network's file if it asks for that"
                )
            # Smoothed before it is shrunk, as Pillow and torchvision do.
            pixels = resize(pixels, wanted, order=1, mode="edge", anti_aliasing=True)
        mean, std, scale = (np.asarray(value, np.float64) for value in (self.mean, self.std, self.scale))
        with np.errstate(over="ignore"):
            x = (self.white * pixels.astype(np.float64) - mean) / std * scale
        return as_floats(np.moveaxis(x, -1, 0), f"{name}, once the spec's mean, std and scale are applied")

    def laid_out(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images (n, C, H, W), in the layout of the spec."""
        if self.layout in ("NHWC", "flat NHWC"):
            batch = np.ascontiguousarray(np.moveaxis(batch, 1, -1))
        if self.layout == "NHW":
            return batch[:, 0]
        return batch.reshape(len(batch), -1) if self.layout in ("flat", "flat NHWC") else batch

    def _channels(self, photo: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        """(H, W, C): the photo in the classifier's channels."""
        found = 1 if photo.ndim == 2 else photo.shape[-1]
        wanted = self.channel_count
        if photo.ndim == 2:
            photo = photo[..., None]
        if isinstance(self.channels, str):
            if found not in (1, 3):
                raise ImageError(
                    f"{name}: expected (H, W, 3) in RGB or (H, W), found shape {photo.shape}{_axes_hint(photo.shape)}"
                )
            if found == 3 and wanted == 1:
                return np.asarray(photo @ _LUMA, np.float32)[..., None]
            if found == 1 and wanted == 3:
                return np.repeat(photo, 3, axis=-1)
            return np.asarray(photo[..., ::-1]) if self.channels == "BGR" else photo
        if found != wanted:
            raise ImageError(
                f"{name}: expected (H, W, {wanted}), the channels of the spec, found shape {photo.shape}"
                f"{_axes_hint(photo.shape, wanted)}"
            )
        return photo


def _unit_range(photo: ArrayLike, name: str) -> NDArray[np.float32]:
    """A photo, (H, W, C) or (H, W), from 0 to 1. ImageError if it is something else."""
    pixels = given_array(photo, name)
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise ImageError(f"{name}: expected shape (H, W, C) or (H, W), found {pixels.shape}; give several as a list")
    if pixels.dtype == np.uint8:
        if pixels.max() == 1:
            raise ImageError(
                f"{name}: expected numbers from 0 to 255 in uint8, found none above 1; if 1 is white, convert it to "
                f"float"
            )
        return pixels.astype(np.float32) / np.float32(255)
    if pixels.dtype.kind != "f":
        hint = f"; divide by what white is, such as {np.iinfo(pixels.dtype).max}" if pixels.dtype.kind in "iu" else ""
        raise ImageError(f"{name}: expected uint8 (0 to 255) or floating point (0 to 1), found {pixels.dtype}{hint}")
    if not np.isfinite(pixels).all():
        raise ImageError(f"{name}: expected finite numbers, found NaN or infinity")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -_RANGE_TOLERANCE or high > 1 + _RANGE_TOLERANCE:
        raise ImageError(
            f"{name}: expected floating point from 0 to 1, found {low:g} to {high:g}; divide by what white is, or "
            f"leave out the spec and give arrays as the network sees them"
        )
    return np.asarray(np.clip(pixels, 0, 1), np.float32)


def _axes_hint(shape: tuple[int, ...], channels: int | None = None) -> str:
    if shape[-1] == 4:
        return "; leave the opacity out: photo[..., :3]"
    if shape[0] in ({1, 3} if channels is None else {channels}):
        return "; channels come last in photos: np.moveaxis(photo, 0, -1)"
    return ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


def _is_finite(value: Any) -> bool:
    try:
        values = np.asarray(value)
    except ValueError:  # lists of unequal lists
        return False
    return values.dtype.kind in "fiu" and bool(np.isfinite(values).all())


def _require(name: str, holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise ConfigurationError(f"spec, {name}: expected {expected}, found {in_short(found)}")
