"""Marginal samples are patches of other photos, at the window's own place."""

import json

import numpy as np
import pytest

from predict_diff.errors import SamplerError
from predict_diff.samplers import MarginalSampler
from predict_diff.windows import WindowGrid

K = 4


@pytest.fixture
def windows():
    return WindowGrid(21, 18, K).positions


def photos_that_patches_come_from(samples, windows, pool):
    """For each sample the index of the photo that has just this patch at this place."""
    found = np.full(samples.shape[:2], -1)
    for n, (row, column) in enumerate(windows):
        for s in range(samples.shape[1]):
            for index, photo in enumerate(pool):
                if np.array_equal(samples[n, s], photo[:, row : row + K, column : column + K]):
                    found[n, s] = index
    return found


def test_samples_are_the_pools_patches_at_the_windows_place(pool, photo, windows):
    samples = MarginalSampler(pool, K).sample(photo, windows, 3, seed=0)
    assert samples.shape == (len(windows), 3, 2, K, K)
    assert samples.dtype == np.float32
    assert (photos_that_patches_come_from(samples, windows, pool) >= 0).all()


def test_the_photos_of_a_window_all_differ(pool, photo, windows):
    drawn = photos_that_patches_come_from(MarginalSampler(pool, K).sample(photo, windows, 7, seed=1), windows, pool)
    assert (np.sort(drawn, axis=1) == np.arange(7)).all()


def test_every_photo_is_drawn_equally_often(pool, photo):
    windows = WindowGrid(21, 18, 1).positions
    pool = np.arange(7, dtype=np.float32)[:, None, None, None] + np.zeros((2, 21, 18), np.float32)
    drawn = MarginalSampler(pool, 1).sample(photo, windows, 3, seed=2)[:, :, 0, 0, 0].astype(int)
    for sample in range(3):
        counts = np.bincount(drawn[:, sample], minlength=7)
        # Chi-square with 6 degrees of freedom: 22.5 is exceeded once in a thousand times.
        assert ((counts - len(windows) / 7) ** 2 / (len(windows) / 7)).sum() < 22.5


def test_samples_do_not_depend_on_how_windows_are_grouped(pool, photo, windows):
    sampler = MarginalSampler(pool, K)
    whole = sampler.sample(photo, windows, 5, seed=3)
    order = np.random.default_rng(0).permutation(len(windows))
    assert np.array_equal(sampler.sample(photo, windows[order], 5, seed=3), whole[order])
    parts = [sampler.sample(photo, part, 5, seed=3) for part in np.array_split(windows, 13)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_another_seed_gives_other_samples(pool, photo, windows):
    sampler = MarginalSampler(pool, K)
    assert not np.array_equal(sampler.sample(photo, windows, 3, 0), sampler.sample(photo, windows, 3, 1))


def test_the_authors_take_the_first_photos_in_order(pool, photo, windows):
    samples = MarginalSampler(pool, K, first=True).sample(photo, windows, 3, seed=9)
    assert (photos_that_patches_come_from(samples, windows, pool) == [0, 1, 2]).all()


def test_description_is_json_and_names_the_pool_by_its_pixels(pool):
    other = pool.copy()
    other[3, 1, 4, 5] += 1
    described = MarginalSampler(pool, K).describe()
    assert json.loads(json.dumps(described)) == described
    assert described == MarginalSampler(pool.copy(), K).describe()
    assert described["pool"] != MarginalSampler(other, K).describe()["pool"]
    assert described != MarginalSampler(pool, K, first=True).describe()


def test_fewer_photos_than_samples_are_refused(pool, photo, windows):
    with pytest.raises(SamplerError, match=r"at least S = 8 photos.*found 7; add photos to the pool or lower S"):
        MarginalSampler(pool, K).sample(photo, windows, 8, seed=0)


def test_impossible_pools_are_refused(pool):
    with pytest.raises(SamplerError, match="at least one photo, found none"):
        MarginalSampler(pool[:0], K)
    with pytest.raises(SamplerError, match=r"shape \(P, C, H, W\), found shape \(2, 21, 18\)"):
        MarginalSampler(pool[0], K)
    broken = pool.copy()
    broken[5, 0, 0, 0] = np.nan
    with pytest.raises(SamplerError, match="NaN or infinity in photo 5"):
        MarginalSampler(broken, K)


@pytest.mark.parametrize("k", [0, 19])
def test_windows_that_do_not_fit_the_pool_are_refused(pool, k):
    with pytest.raises(SamplerError, match=f"k: expected 1 to 18.*found {k}"):
        MarginalSampler(pool, k)


def test_what_cannot_be_sampled_is_refused(pool, photo, windows):
    sampler = MarginalSampler(pool, K)
    with pytest.raises(SamplerError, match=r"photo: expected shape \(2, 21, 18\).*found \(2, 18, 21\)"):
        sampler.sample(photo.transpose(0, 2, 1), windows[:1], 2, seed=0)
    with pytest.raises(SamplerError, match=r"shape \(C, H, W\), found \(1, 2, 21, 18\)"):
        sampler.sample(photo[None], windows, 2, seed=0)
    with pytest.raises(SamplerError, match="photo: expected finite numbers"):
        sampler.sample(photo * np.inf, windows, 2, seed=0)
    with pytest.raises(SamplerError, match="at least one sample a window, found 0"):
        sampler.sample(photo, windows, 0, seed=0)
    with pytest.raises(SamplerError, match=r"4 x 4 pixels inside the photo \(21 x 18\), found one at row 3, column 15"):
        sampler.sample(photo, np.array([[0, 0], [3, 15]]), 2, seed=0)
    with pytest.raises(SamplerError, match=r"shape \(n, 2\), found float64 of shape \(1, 2\)"):
        sampler.sample(photo, np.zeros((1, 2)), 2, seed=0)


def test_no_windows_give_no_samples(pool, photo):
    samples = MarginalSampler(pool, K).sample(photo, np.empty((0, 2), np.int64), 3, seed=0)
    assert samples.shape == (0, 3, 2, K, K)
