"""Conditional samples: their law is eq. 5's, and nothing but photo, seed and position decides them."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import predict_diff
from predict_diff.errors import SamplerError
from predict_diff.samplers import GaussianSampler, GaussianStatistics, gaussian, pool_limits
from predict_diff.windows import WindowGrid

CHANNELS, HEIGHT, WIDTH, K, L = 2, 21, 18, 3, 6
# In the middle, in the corners, along the edges, and next to them.
PLACES = [(9, 7), (0, 0), (0, 15), (18, 0), (18, 15), (0, 7), (18, 7), (9, 0), (9, 15), (1, 14), (17, 2)]


@pytest.fixture(scope="module")
def joint(pool):
    return GaussianStatistics.fit(pool, L, patches=2000)


@pytest.fixture(scope="module")
def per_channel(pool):
    return GaussianStatistics.fit(pool, L, patches=2000, joint=False)


@pytest.fixture(scope="module")
def windows():
    return WindowGrid(HEIGHT, WIDTH, K).positions


def law(photo, row, column, mean, covariance, other_covariance=None):
    """Conditional mean and covariance of a window's values, from eq. 5, pixel by pixel and with a plain inverse."""
    top = min(max(row - (L - K) // 2, 0), HEIGHT - L)
    left = min(max(column - (L - K) // 2, 0), WIDTH - L)
    inner, outer, surround = [], [], []
    for index in range(len(mean)):
        channel, r, c = index // L**2, top + index // L % L, left + index % L
        if row <= r < row + K and column <= c < column + K:
            inner.append(index)
        else:
            outer.append(index)
            surround.append(photo[channel, r, c])
    covariance = covariance if other_covariance is None else other_covariance
    regression = covariance[np.ix_(inner, outer)] @ np.linalg.inv(covariance[np.ix_(outer, outer)])
    conditional = covariance[np.ix_(inner, inner)] - regression @ covariance[np.ix_(outer, inner)]
    return mean[inner] + regression @ (np.array(surround) - mean[outer]), conditional


def assert_distributed(samples, mean, covariance):
    """Mean and covariance within five standard errors of those expected."""
    count = len(samples)
    variances = covariance.diagonal()
    assert (np.abs(samples.mean(axis=0) - mean) < 5 * np.sqrt(variances / count) + 1e-3).all()
    error = np.sqrt((np.outer(variances, variances) + covariance**2) / count)
    assert (np.abs(np.cov(samples.T) - covariance) < 5 * error + 1e-3).all()


@pytest.mark.parametrize(("row", "column"), PLACES)
def test_samples_follow_the_conditional_law(joint, photo, row, column):
    samples = GaussianSampler(joint, K).sample(photo, np.array([[row, column]]), 20_000, seed=1)
    assert samples.dtype == np.float32
    assert samples.shape == (1, 20_000, CHANNELS, K, K)
    mean, covariance = law(photo, row, column, joint.mean, joint.covariance)
    assert_distributed(samples[0].reshape(20_000, -1).astype(float), mean, covariance)


def test_the_conditional_mean_is_the_closed_forms(joint, photo):
    means = GaussianSampler(joint, K).conditional_mean(photo, np.array(PLACES))
    assert means.shape == (len(PLACES), CHANNELS, K, K)
    for (row, column), found in zip(PLACES, means, strict=True):
        mean, _ = law(photo, row, column, joint.mean, joint.covariance)
        np.testing.assert_allclose(found.ravel(), mean, rtol=1e-6, atol=1e-5)


def test_the_conditional_mean_of_independent_channels_is_each_ones_own(per_channel, photo):
    means = GaussianSampler(per_channel, K).conditional_mean(photo, np.array(PLACES))
    for (row, column), found in zip(PLACES, means, strict=True):
        for channel in range(CHANNELS):
            alone = photo[channel : channel + 1]
            mean, _ = law(alone, row, column, per_channel.mean[channel], per_channel.covariance[channel])
            np.testing.assert_allclose(found[channel].ravel(), mean, rtol=1e-6, atol=1e-5)


def test_with_nothing_random_left_a_sample_is_the_conditional_mean(joint, photo, windows, monkeypatch):
    class Silent:
        def standard_normal(self, out):
            out[:] = 0

    sampler = GaussianSampler(joint, K)
    expected = sampler.conditional_mean(photo, windows)
    monkeypatch.setattr(gaussian, "stream", lambda *_: Silent())
    np.testing.assert_allclose(sampler.sample(photo, windows, 1, seed=0)[:, 0], expected, rtol=1e-6)


def test_independent_channels_follow_their_own_laws(per_channel, photo):
    samples = GaussianSampler(per_channel, K).sample(photo, np.array(PLACES), 20_000, seed=2)
    for (row, column), drawn in zip(PLACES, samples.astype(float), strict=True):
        for channel in range(CHANNELS):
            mean, covariance = law(
                photo[channel : channel + 1], row, column, per_channel.mean[channel], per_channel.covariance[channel]
            )
            assert_distributed(drawn[:, channel].reshape(20_000, -1), mean, covariance)
        across = np.corrcoef(drawn[:, 0, 1, 1], drawn[:, 1, 1, 1])[0, 1]
        assert abs(across) < 5 / np.sqrt(20_000)


def test_the_authors_fault_uses_the_first_channels_matrices_and_each_channels_mean(per_channel, photo):
    sampler = GaussianSampler(per_channel, K, first_channel_for_all=True)
    samples = sampler.sample(photo, np.array(PLACES), 20_000, seed=3).astype(float)
    for (row, column), drawn in zip(PLACES, samples, strict=True):
        for channel in range(CHANNELS):
            mean, covariance = law(
                photo[channel : channel + 1],
                row,
                column,
                per_channel.mean[channel],
                per_channel.covariance[channel],
                per_channel.covariance[0],
            )
            assert_distributed(drawn[:, channel].reshape(20_000, -1), mean, covariance)


def test_the_authors_fault_leaves_the_first_channel_as_it_is(per_channel, photo, windows):
    right = GaussianSampler(per_channel, K).sample(photo, windows, 3, seed=4)
    faulty = GaussianSampler(per_channel, K, first_channel_for_all=True).sample(photo, windows, 3, seed=4)
    assert np.array_equal(right[:, :, 0], faulty[:, :, 0])
    assert not np.allclose(right[:, :, 1], faulty[:, :, 1])


def test_samples_do_not_depend_on_the_windows_own_pixels(joint, photo):
    changed = photo.copy()
    changed[:, 9 : 9 + K, 7 : 7 + K] = 1e4
    sampler = GaussianSampler(joint, K)
    window = np.array([[9, 7]])
    assert np.array_equal(sampler.sample(photo, window, 5, seed=0), sampler.sample(changed, window, 5, seed=0))


@pytest.mark.parametrize("first_channel_for_all", [None, False, True])
def test_samples_do_not_depend_on_how_windows_are_grouped(
    joint, per_channel, photo, windows, monkeypatch, first_channel_for_all
):
    def fresh():
        if first_channel_for_all is None:
            return GaussianSampler(joint, K)
        return GaussianSampler(per_channel, K, first_channel_for_all=first_channel_for_all)

    sampler = fresh()
    whole = sampler.sample(photo, windows, 7, seed=5)
    random = np.random.default_rng(0)
    order = random.permutation(len(windows))
    assert np.array_equal(fresh().sample(photo, windows[order], 7, seed=5), whole[order])
    repeated = random.integers(0, len(windows), 400)
    assert np.array_equal(sampler.sample(photo, windows[repeated], 7, seed=5), whole[repeated])
    for step in [1, 2, 19]:
        parts = [sampler.sample(photo, windows[start : start + step], 7, seed=5) for start in range(0, 60, step)]
        assert np.array_equal(np.concatenate(parts)[:60], whole[:60])
    monkeypatch.setattr(gaussian, "CHUNK_NUMBERS", 7 * CHANNELS * K * K * 5)
    assert np.array_equal(fresh().sample(photo, windows, 7, seed=5), whole)


def test_fewer_samples_are_the_first_of_more(joint, photo, windows):
    sampler = GaussianSampler(joint, K)
    assert np.array_equal(sampler.sample(photo, windows, 3, seed=5), sampler.sample(photo, windows, 8, seed=5)[:, :3])


def test_another_seed_gives_other_samples(joint, photo, windows):
    sampler = GaussianSampler(joint, K)
    assert not np.array_equal(sampler.sample(photo, windows, 1, seed=0), sampler.sample(photo, windows, 1, seed=1))


PRINT_DIGESTS = """
import hashlib
import numpy as np
from predict_diff.samplers import GaussianSampler, GaussianStatistics
from predict_diff.windows import WindowGrid

random = np.random.default_rng(0)
pool = np.cumsum(random.standard_normal((4, 3, 40, 40)), axis=3).astype(np.float32)
statistics = GaussianStatistics.fit(pool, 14, patches=2500)
samples = GaussianSampler(statistics, 10).sample(pool[0], WindowGrid(40, 40, 10, 6).positions, 20, seed=0)
print(statistics.digest, hashlib.sha256(samples.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_statistics_and_samples_do_not_depend_on_the_number_of_threads():
    printed = set()
    for threads in "12":
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(predict_diff.__file__).parents[1]),
            "OPENBLAS_NUM_THREADS": threads,
            "OMP_NUM_THREADS": threads,
        }
        command = [sys.executable, "-c", PRINT_DIGESTS]
        printed.add(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(printed) == 1


def gradients(count, seed):
    """Photos whose every channel is a plane: three numbers a channel determine a photo."""
    random = np.random.default_rng(seed)
    offset, down, right = random.standard_normal((3, count, CHANNELS, 1, 1)) * np.array([50, 3, 3]).reshape(
        3, 1, 1, 1, 1
    )
    return (offset + down * np.arange(HEIGHT)[:, None] + right * np.arange(WIDTH)).astype(np.float32)


def test_in_a_world_of_smooth_gradients_the_surround_is_continued(windows, caplog):
    statistics = GaussianStatistics.fit(gradients(30, seed=0), L, patches=2000)
    sampler = GaussianSampler(statistics, K)
    photo = gradients(1, seed=1)[0]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        samples = sampler.sample(photo, windows, 4, seed=0)
    for sample, (row, column) in zip(samples, windows, strict=True):
        truth = photo[:, row : row + K, column : column + K]
        np.testing.assert_allclose(sample, np.broadcast_to(truth, sample.shape), atol=0.02)
    # Six values of the surround determine all others; said once, though there are 16 placements.
    assert "near-singular covariance: 48 of 54 surround values" in caplog.text
    assert len(caplog.records) == 1
    (clipped,) = sampler.clipped()
    assert (clipped.given, clipped.drawn) == (48, 18)
    assert max(clipped.given_share, clipped.drawn_share) < 1e-9
    assert sampler.describe()["clipped"][0]["given"] == 48


def test_limits_clip_each_pixel_to_its_own_range(joint, pool, photo, windows):
    limits = pool_limits(pool)
    assert np.array_equal(limits, [pool.min(axis=0), pool.max(axis=0)])
    free = GaussianSampler(joint, K).sample(photo, windows, 5, seed=6)
    held = GaussianSampler(joint, K, limits=limits).sample(photo, windows, 5, seed=6)
    low, high = limits
    for n, (row, column) in enumerate(windows):
        inside = (slice(None), slice(row, row + K), slice(column, column + K))
        assert np.array_equal(held[n], np.clip(free[n], low[inside], high[inside]))
    assert not np.array_equal(free, held)


def test_description_is_json_and_does_not_change_by_sampling(joint, per_channel, pool, photo, windows):
    sampler = GaussianSampler(joint, K)
    described = sampler.describe()
    assert json.loads(json.dumps(described)) == described
    sampler.sample(photo, windows, 1, seed=0)
    assert sampler.describe() == described
    others = [
        GaussianSampler(joint, K + 1),
        GaussianSampler(joint, K, limits=pool_limits(pool)),
        GaussianSampler(joint, K, limits=pool_limits(pool[1:])),
        GaussianSampler(per_channel, K),
        GaussianSampler(per_channel, K, first_channel_for_all=True),
    ]
    assert len({json.dumps(other.describe()) for other in [sampler, *others]}) == 6


def test_a_placement_is_conditioned_once(joint, photo, windows, monkeypatch):
    sampler = GaussianSampler(joint, K)
    sampler.sample(photo, windows, 1, seed=0)

    def no_second_time(*_):
        raise AssertionError

    monkeypatch.setattr(gaussian, "condition", no_second_time)
    sampler.sample(photo, windows, 2, seed=1)


@pytest.mark.parametrize("k", [0, L, L + 1])
def test_windows_without_a_surround_are_refused(joint, k):
    with pytest.raises(SamplerError, match=rf"k: expected 1 to 5, smaller than .*\(l = 6\), found {k}; the paper uses"):
        GaussianSampler(joint, k)


def test_photos_that_do_not_fit_are_refused(joint, pool, photo):
    window = np.array([[0, 0]])
    with pytest.raises(SamplerError, match=r"photo: expected 2 channels.*found 1"):
        GaussianSampler(joint, K).sample(photo[:1], window, 1, seed=0)
    with pytest.raises(SamplerError, match=r"l: expected at most 5, the size of the photo \(5 x 18\), found 6"):
        GaussianSampler(joint, K).sample(photo[:, :5], window, 1, seed=0)
    with pytest.raises(SamplerError, match=r"limits: expected shape \(2, 21, 17\), the photo's, found \(2, 21, 18\)"):
        GaussianSampler(joint, K, limits=pool_limits(pool)).sample(photo[:, :, :17], window, 1, seed=0)
    with pytest.raises(SamplerError, match="found one at row 19, column 0"):
        GaussianSampler(joint, K).sample(photo, np.array([[19, 0]]), 1, seed=0)


def test_impossible_limits_are_refused(joint, pool):
    low, high = pool_limits(pool)
    with pytest.raises(SamplerError, match=r"limits: expected two arrays of shape \(2, H, W\), found \(1, 21, 18\)"):
        GaussianSampler(joint, K, limits=(low[:1], high))
    with pytest.raises(SamplerError, match="low <= high"):
        GaussianSampler(joint, K, limits=(high, low))


def test_the_fault_is_refused_for_joint_statistics(joint):
    with pytest.raises(SamplerError, match=r"first_channel_for_all: expected statistics for each channel.*joint=False"):
        GaussianSampler(joint, K, first_channel_for_all=True)


def test_no_windows_give_no_samples(joint, photo):
    samples = GaussianSampler(joint, K).sample(photo, np.empty((0, 2), np.int64), 3, seed=0)
    assert samples.shape == (0, 3, CHANNELS, K, K)
