"""Monte-Carlo convergence: noise of known size around a known map."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from predict_diff import GaussianSampler, GaussianStatistics, MiniBatchEvaluator, Target, prediction_difference
from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.measures import Convergence, converge, convergence

SAMPLES = [1, 2, 4, 8, 16, 32]
SIDE = 40
TRUTH = np.random.default_rng(99).normal(size=(SIDE, SIDE))


def noisy(count, seed, sigma=1.0):
    """A map (1, H, W) of independent samples, each with standard deviation sigma."""
    generator = np.random.default_rng([count, seed])
    return (TRUTH + sigma * generator.normal(size=TRUTH.shape) / math.sqrt(count))[None]


def simple(error=(1.0, 0.5, 0.7, 0.2), alike=(0.5, 0.95, 0.8, 0.99)):
    return Convergence(np.array([1, 2, 4, 8]), np.array(error), np.array(alike))


def test_the_standard_error_falls_as_one_over_the_root_of_s():
    found = converge(noisy, SAMPLES, seeds=range(6))
    # Of a variance from 6 seeds and 1600 pixels: relative deviation sqrt(2 / 5 / 1600), half of that for its root.
    tolerance = 5 * math.sqrt(2 / 5 / SIDE**2) / 2
    assert found.standard_error == pytest.approx(1 / np.sqrt(SAMPLES), rel=tolerance)
    assert found.expected == pytest.approx(1 / np.sqrt(SAMPLES), rel=tolerance)
    assert found.exponent == pytest.approx(-0.5, abs=0.02)
    assert found.expected_samples(0.05) == pytest.approx(400, rel=2 * tolerance)


def test_the_rank_correlation_with_other_seeds_is_that_of_two_noisy_normals():
    found = converge(noisy, SAMPLES, seeds=(0, 1))
    for count, value in zip(SAMPLES, found.rank_correlation, strict=True):
        pearson = 1 / math.sqrt((1 + 1 / count) * (1 + 1 / SAMPLES[-1]))
        spearman = 6 / math.pi * math.asin(pearson / 2)
        assert value == pytest.approx(spearman, abs=5 / SIDE)
    assert found.rank_correlation[-1] < 1


def test_maps_by_hand():
    maps = np.array([[[[0.0, 2.0, 4.0]], [[2.0, 2.0, 0.0]]], [[[1.0, 2.0, 3.0]], [[1.0, 3.0, 2.0]]]])
    found = convergence([1, 5], maps)
    # Variances over seeds: 2, 0, 8 and 0, 1/2, 1/2.
    assert found.standard_error == pytest.approx([math.sqrt(10 / 3), math.sqrt(1 / 3)])
    expected = [
        np.mean([spearmanr(maps[0, 0, 0], maps[1, 1, 0]).statistic, spearmanr(maps[0, 1, 0], maps[1, 0, 0]).statistic]),
        0.5,
    ]
    assert found.rank_correlation == pytest.approx(expected)
    assert found.samples.tolist() == [1, 5]


def test_with_one_seed_errors_are_what_the_maps_state():
    maps = np.stack([noisy(count, 0) for count in SAMPLES])
    errors = np.ones_like(maps) * (3 / np.sqrt(SAMPLES))[:, None, None, None]
    found = convergence(SAMPLES, maps, errors)
    assert found.standard_error == pytest.approx(3 / np.sqrt(SAMPLES))
    assert found.exponent == pytest.approx(-0.5)
    assert found.expected_samples(0.3) == 100
    assert found.rank_correlation[-1] == 1
    assert found.rank_correlation[0] == pytest.approx(spearmanr(maps[0], maps[-1], axis=None).statistic)


def test_relevance_maps_state_errors_that_agree_with_the_spread_over_seeds(network, photos):
    statistics = GaussianStatistics.fit(photos, l=5)
    evaluator = MiniBatchEvaluator(network, [Target("prob", (0,)), Target("prob", (1,))], batch_size=20)

    def explain(samples, seed):
        sampler = GaussianSampler(statistics, k=3)
        return prediction_difference(photos[0], evaluator, sampler, samples=samples, stride=3, seed=seed)

    stated = converge(explain, [16, 64], seeds=[0], target=1)
    spread = converge(explain, [16, 64], seeds=range(4), target=1)
    assert stated.rank_correlation[-1] == 1
    assert spread.rank_correlation[-1] < 1
    # 25 windows and 4 seeds: 75 degrees of freedom, so a root of a variance is known to 1 / sqrt(150).
    assert stated.standard_error == pytest.approx(spread.standard_error, rel=5 / math.sqrt(150))


def test_a_level_is_reached_where_the_curve_stays_beyond_it():
    assert simple().samples_with_error(0.7) == 2
    assert simple().samples_with_error(0.6) == 8
    assert simple().samples_with_error(0.1) is None
    assert simple().samples_with_correlation(0.9) == 8
    assert simple().samples_with_correlation(0.8) == 2
    assert simple().samples_with_correlation(0.1) == 1
    assert simple().samples_with_correlation(1) is None


@settings(deadline=None)
@given(st.lists(st.floats(0, 9), min_size=4, max_size=4), st.floats(0.01, 10))
def test_levels_and_the_line_agree_with_their_definitions(error, level):
    found = simple(error)
    reached = found.samples_with_error(level)
    staying = [s for i, s in enumerate([1, 2, 4, 8]) if all(later <= level for later in error[i:])]
    assert reached == (staying[0] if staying else None)
    needed = found.expected_samples(level)
    scale = found.expected[0]
    assert scale / math.sqrt(needed) <= level * (1 + 1e-9)
    assert needed == 1 or scale / math.sqrt(needed - 1) >= level * (1 - 1e-9)


@pytest.mark.parametrize("needed", [1, 3, 49, 50, 98, 103, 107, 161])
def test_the_line_reaches_its_own_error_at_its_own_s(needed):
    found = Convergence(np.array([1]), np.array([1.0]), np.array([1.0]))
    assert found.expected_samples(1 / needed) == needed**2


def test_nothing_is_computed_before_the_request_is_known_to_be_possible():
    computed = []

    def explain(samples, seed):
        computed.append((samples, seed))
        return TRUTH[None]

    for samples, seeds in [([4, 2], [0, 1]), ([0, 1], [0, 1]), ([], [0]), ([1, 2], []), ([1, 2], np.array([3, 3]))]:
        with pytest.raises(ConfigurationError, match="expected"):
            converge(explain, samples, seeds)
    assert not computed
    converge(explain, [1, 2], np.array([3, 4]))
    assert len(computed) == 4


@pytest.mark.parametrize("target", [1, -1])
def test_maps_that_are_not_there_are_refused(target):
    with pytest.raises(ConfigurationError, match=f"target: expected the number of a map, 0 to 0, found {target}"):
        converge(noisy, [1, 2], target=target)


def test_what_does_not_vary_has_no_error_and_no_exponent():
    found = converge(lambda samples, seed: TRUTH[None], [1, 2, 4])
    assert found.standard_error.tolist() == found.expected.tolist() == [0, 0, 0]
    assert found.rank_correlation == pytest.approx([1, 1, 1])
    assert math.isnan(found.exponent)
    assert found.expected_samples(0.1) == 1
    assert math.isnan(converge(noisy, [4]).exponent)


def test_what_shows_no_convergence_is_refused_in_a_line():
    for samples in ([], [0, 1], [2, 1], [1, 1], [1.5, 2]):
        with pytest.raises(ConfigurationError, match="S: expected whole numbers that rise"):
            convergence(samples, np.ones((len(samples), 2, 3, 3)))
    with pytest.raises(ConfigurationError, match="S: expected whole numbers that rise, from 1 on, found 20"):
        converge(noisy, 20)
    for seeds in ([3, 3], [], 3):
        with pytest.raises(ConfigurationError, match="seeds: expected different ones"):
            converge(noisy, [1, 2], seeds=seeds)
    with pytest.raises(ConfigurationError, match="level: expected a positive standard error"):
        simple().expected_samples(0)
    maps = np.random.default_rng(0).normal(size=(2, 2, 3, 3))
    for arguments, message in [
        (([1, 2, 3], maps), "maps: expected one group for each of 3 S, found 2"),
        (([1, 2], maps[0]), "maps: expected some values on 4 axes"),
        (([1, 2], maps[:, :1]), "maps: expected several seeds or the standard errors"),
        (([1, 2], maps[:, :1], np.full((2, 1, 3, 3), np.nan)), "standard errors: expected finite values"),
        (([1, 2], maps[:, :1], np.ones((2, 1, 3, 4))), "standard errors: expected the maps' shape"),
        (([1, 2], np.ones_like(maps)), "map: expected values that vary"),
        (([1, 2], maps * np.nan), "maps: expected finite values"),
    ]:
        with pytest.raises(ResultError, match=message):
            convergence(*arguments)
    with pytest.raises(ResultError, match=r"maps: expected those of one image, found sizes \[\(1, 3\), \(2, 3\)\]"):
        converge(lambda samples, seed: np.zeros((1, samples, 3)), [1, 2])
