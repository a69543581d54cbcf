"""Random crops: a stand-in for the many photos of ImageNet where a pool has few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predict_diff.samplers.sampler import stream


@dataclass(frozen=True)
class Crop:
    """A square cut out of a photo, in pixels, and whether it is mirrored left to right."""

    row: int
    column: int
    side: int
    mirrored: bool

    def cut(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The square of a photo, (H, W, 3) to (side, side, 3)."""
        square = pixels[self.row : self.row + self.side, self.column : self.column + self.side]
        return square[:, ::-1] if self.mirrored else square


def random_crop(sha256: str, number: int, height: int, width: int, seed: int) -> Crop:
    """Where crop `number` of a photo lies.

    Its side is 50 to 100 % of the photo's shorter side, and half of the crops are mirrored. It depends on nothing
    but the arguments, so it stays the same when another photo joins or leaves the pool.

    Parameters
    ----------
    sha256 : str
        The photo's.
    number : int
        Counted from 1: number 0 is the whole photo.
    height, width : int
        The photo's size, in pixels.
    seed : int
        0 to 2**64 - 1.
    """
    generator = stream(seed, number, 0, f"crops of {sha256}")
    size, down, right, mirror = generator.random(4)
    side = max(1, round(min(height, width) * (0.5 + 0.5 * size)))
    return Crop(int(down * (height - side + 1)), int(right * (width - side + 1)), side, bool(mirror < 0.5))
