"""Arrays that users give: of any library, and nothing that NumPy would leave out of them in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ImageError, PredictDiffError

#: Pillow's modes whose numbers are what they look like.
_PLAIN_MODES = ("L", "RGB", "RGBA", "LA", "F", "I", "I;16")


def given_array(value: object, name: str, error: type[PredictDiffError] = ImageError) -> NDArray[Any]:
    """What a user gives as an array: NumPy's, a list, a picture of Pillow's, a tensor.

    Parameters
    ----------
    value : array_like
    name : str
        What messages call it.
    error : type
        What to raise.

    Raises
    ------
    PredictDiffError
        If NumPy makes no array of it, or would leave out what it says: that pixels are masked, or numbers of a palette.
    """
    if isinstance(value, str | bytes | Path):
        raise error(f"{name}: expected an array, found a text or path; read the file first, as with skimage.io.imread")
    mode = getattr(value, "mode", None)
    if hasattr(value, "getpalette") and mode not in _PLAIN_MODES:
        raise error(f"{name}: expected RGB or grey, found a picture of Pillow's mode {mode}; give its .convert('RGB')")
    try:
        array = np.asarray(value)
    except Exception as reason:  # lists of unequal lists, tensors on a GPU or that need gradients
        raise error(
            f"{name}: expected an array, found {type(value).__name__}, of which NumPy makes none; give lists of equal "
            f"lengths, tensors as tensor.detach().cpu().float().numpy()"
        ) from reason
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise error(f"{name}: expected a number everywhere, found a masked array; give its .filled(...)")
    return array


def as_floats(array: NDArray[Any], name: str, error: type[PredictDiffError] = ImageError) -> NDArray[np.float32]:
    """Real numbers as contiguous float32. The error if they are none, not finite, or too large for it."""
    if array.dtype.kind not in "fiu":
        raise error(f"{name}: expected numbers, found {array.dtype}")
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(floats).all():
        found = "NaN or infinity" if not np.isfinite(array).all() else f"{np.abs(array).max():g}, beyond float32"
        raise error(f"{name}: expected finite numbers, found {found}")
    return floats
