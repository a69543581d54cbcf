"""What every test of the method can afford: a small classifier, and photos for it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from small_network import SIDE, small_model

from predict_diff.network.network import Network


@pytest.fixture(scope="session")
def network() -> Network:
    return Network(small_model(), provider="cpu", threads=1)


@pytest.fixture(scope="session")
def photos() -> NDArray[np.float32]:
    """(60, 3, 14, 14): photos whose neighbouring pixels are alike."""
    noise = np.random.default_rng(1).normal(0, 2, (60, 3, SIDE, SIDE))
    return (noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def x(photos: NDArray[np.float32]) -> NDArray[np.float32]:
    return photos[0]
