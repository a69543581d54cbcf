"""What every layer of the reading is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Blobs of a layer as the weights file has them, in any shape of the right size.
Stored = Sequence[NDArray[Any]]

#: One value for each top of a layer, None for a top that a converted network does not have.
Tops = Sequence[Array | None]

#: Takes a layer's description, its bottoms and its stored blobs.
LayerFunction = Callable[[Any, list[Array], Stored], Tops]

FLT_MAX = float(np.finfo(np.float32).max)


def weight(stored: Stored, index: int, shape: Sequence[int]) -> Array:
    """A stored blob with the shape that the layer gives it; files of 2014 state others."""
    return np.asarray(stored[index], np.float64).reshape(tuple(shape))


def beside(x: Array, values: Array, axis: int) -> Array:
    """`values`, shaped to meet the axes of `x` from `axis` on."""
    return values.reshape(values.shape + (1,) * (x.ndim - axis - values.ndim))
