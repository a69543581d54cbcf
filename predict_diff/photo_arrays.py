"""What users give as images: which axes are which, without a guess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ImageError
from .given_arrays import as_floats, given_array
from .input_spec import InputSpec

Images = ArrayLike | Sequence[ArrayLike]

#: More channels than photos have: what has as few last, and more first, may be in another order.
_FEW_CHANNELS = 4


def as_images(
    images: Images, spec: InputSpec | None = None, size: tuple[int, int] | None = None, channels: int | None = None
) -> tuple[list[NDArray[np.float32]], bool]:
    """Images as the network sees them.

    Parameters
    ----------
    images : array_like, or a list of them
        With a spec, photos (H, W, C) or (H, W), or several, (N, H, W, C); without, arrays (C, H, W), (H, W) for one
        channel, or (N, C, H, W).
    spec : InputSpec, optional
    size : (height, width), optional
        What the network insists on.
    channels : int, optional
        C, where the network says it.

    Returns
    -------
    xs : list of ndarray, shape (C, H, W), float32
    several : bool
        Whether there may be more than one.

    Raises
    ------
    ImageError
        If there are none, or one has other axes, another range, or numbers that are not finite.
    """
    photos, several = _apart(images)
    if not photos:
        raise ImageError("images: expected at least one, found none")
    noun = "image" if spec is None else "photo"
    names = [f"{noun} {number}" if several else noun for number in range(len(photos))]
    named = list(zip((given_array(photo, name) for photo, name in zip(photos, names, strict=True)), names, strict=True))
    if spec is not None:
        return [spec.prepare(photo, size, name) for photo, name in named], several
    return [_as_seen(photo, name, size, channels) for photo, name in named], several


def as_pool(pool: Images, spec: InputSpec | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The images of a pool, given as the others are, or (P, H, W) for one channel.

    Parameters
    ----------
    pool : array_like, or a list of arrays
    spec : InputSpec, optional
    shape : tuple of int
        (C, H, W) of the image that is explained.

    Returns
    -------
    ndarray, shape (P, C, H, W), float32

    Raises
    ------
    ImageError
        As of `as_images`, or if they are of other shapes than the image.
    """
    if not isinstance(pool, list | tuple):
        pool = given_array(pool, "pool")
        if pool.ndim not in (3, 4):
            raise ImageError(f"pool: expected several images, found an array of shape {pool.shape}")
    try:
        return np.stack(as_images(list(pool), spec, (shape[1], shape[2]), shape[0])[0])
    except ImageError as error:
        raise ImageError(f"pool: {error}") from error


def _apart(images: Images) -> tuple[list[Any], bool]:
    """The images, as they were given, and whether there may be more than one."""
    # Rows of numbers are those of one image.
    if isinstance(images, list | tuple) and (not images or given_array(images[0], "image 0").ndim != 1):
        return list(images), True
    array = given_array(images, "image")
    return (list(array), True) if array.ndim == 4 else ([array], False)


def _as_seen(image: NDArray[Any], name: str, size: tuple[int, int] | None, channels: int | None) -> NDArray[np.float32]:
    """(C, H, W): an array as the network sees it."""
    if image.ndim == 2:
        if channels not in (None, 1):
            raise ImageError(
                f"{name}: expected shape (C, H, W) with C = {channels}, found {image.shape}, which has no axis for "
                f"channels"
            )
        image = image[None]
    if image.ndim != 3 or not image.size:
        raise ImageError(f"{name}: expected shape (C, H, W), (H, W) or (N, C, H, W), found {image.shape}")
    if channels is not None and len(image) != channels:
        hint = ""
        if image.shape[-1] == channels:
            hint = "; channels come first: np.moveaxis(image, -1, 0), or give a spec, which takes photos"
        elif channels == 1:
            hint = "; give several images as a list or as (N, 1, H, W)"
        raise ImageError(f"{name}: expected shape (C, H, W) with C = {channels}, found {image.shape}{hint}")
    if channels is None and image.shape[-1] <= _FEW_CHANNELS < len(image):
        raise ImageError(
            f"{name}: expected shape (C, H, W), found {image.shape}, which looks like (H, W, C); channels come first: "
            f"np.moveaxis(image, -1, 0), or give a spec, which takes photos"
        )
    if size is not None and image.shape[1:] != size:
        raise ImageError(
            f"{name}: expected shape {(len(image), *size)}, found {image.shape}; resize it, or give a spec, which does"
        )
    return as_floats(image, name)
