"""Small photos that look a little like photos: neighbouring pixels and channels agree, more or less."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


def smooth_photos(count, channels, height, width, seed):
    noise = np.random.default_rng(seed).standard_normal((count, channels + 1, height, width))
    smooth = gaussian_filter(noise, sigma=(0, 0, 1.0, 1.0))
    # The last field is common to all channels.
    return (100 * (smooth[:, :-1] + smooth[:, -1:])).astype(np.float32)


@pytest.fixture(scope="session")
def pool():
    return smooth_photos(7, 2, 21, 18, seed=1)


@pytest.fixture(scope="session")
def photo():
    return smooth_photos(1, 2, 21, 18, seed=2)[0]


@pytest.fixture
def covariance_of():
    """A well-conditioned random covariance of a given size."""

    def make(size, seed=0):
        factor = np.random.default_rng(seed).standard_normal((size, 2 * size))
        return factor @ factor.T / (2 * size)

    return make
