"""Deletion, insertion and flipping: on linear scores every curve is known exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate1d

from predict_diff.errors import ConfigurationError, ImageError, ResultError
from predict_diff.measures import Curve, aopc, blurred, deletion, insertion, pixel_flipping
from predict_diff.measures import scores as scores_module

SHAPE = (2, 6, 7)
PIXELS = SHAPE[1] * SHAPE[2]


def image(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def linear(weights):
    return lambda batch: np.tensordot(batch.astype(np.float64), weights, 3)


def literal(x, other, relevance, score, counts):
    """One image after the other, pixel by pixel in Python's stable order."""
    order = sorted(np.ndindex(*relevance.shape), key=lambda place: -relevance[place])
    found = []
    for count in counts:
        changed = x.copy()
        for row, column in order[:count]:
            changed[:, row, column] = other[:, row, column]
        found.append(score(changed[None])[0])
    return found


def test_with_linear_scores_deletion_takes_the_contributions_away_one_after_the_other():
    x, weights = image(), image(1).astype(np.float64)
    evidence = (weights * x).sum(axis=0)
    found = deletion(linear(weights), x, evidence, steps=PIXELS)
    assert found.fractions == pytest.approx(np.arange(PIXELS + 1) / PIXELS)
    left = evidence.sum() - np.concatenate([[0], np.cumsum(np.sort(evidence, axis=None)[::-1])])
    assert found.scores == pytest.approx(left, abs=1e-9)
    assert found.area == pytest.approx((left[1:] + left[:-1]).mean() / 2)


def test_the_true_evidence_has_the_smallest_deletion_and_the_largest_insertion_area():
    x, weights = image(), image(1).astype(np.float64)
    score, evidence = linear(weights), (weights * x).sum(axis=0)
    others = [np.random.default_rng(seed).normal(size=SHAPE[1:]) for seed in range(50)]
    assert all(deletion(score, x, evidence).area < deletion(score, x, other).area for other in others)
    assert all(insertion(score, x, evidence, 0).area > insertion(score, x, other, 0).area for other in others)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 99), st.integers(1, PIXELS + 5), st.booleans())
def test_curves_are_those_of_a_literal_loop_for_any_number_of_steps(seed, steps, ties):
    x, baseline = image(seed), image(seed + 1)
    relevance = np.random.default_rng(seed).normal(size=SHAPE[1:])
    if ties:
        relevance = np.round(relevance)

    def score(batch):
        return np.tanh(batch.astype(np.float64)).prod(axis=1).sum(axis=(1, 2))

    found = deletion(score, x, relevance, baseline, steps)
    counts = np.rint(found.fractions * PIXELS).astype(int)
    assert len(counts) == min(steps, PIXELS) + 1
    assert (counts[0], counts[-1]) == (0, PIXELS)
    assert np.ptp(np.diff(counts)) <= 1
    assert found.scores == pytest.approx(literal(x, baseline, relevance, score, counts), abs=1e-12)
    revealed = insertion(score, x, relevance, baseline, steps)
    assert revealed.scores == pytest.approx(literal(baseline, x, relevance, score, counts), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.sampled_from([1, 2, 3, 6, 7, 14, 21, 42]))
def test_inserting_the_least_relevant_first_is_deletion_backwards(seed, steps):
    x, relevance, score = image(seed), np.random.default_rng(seed).normal(size=SHAPE[1:]), linear(image(seed + 1))
    away, back = deletion(score, x, relevance, 0, steps), insertion(score, x, -relevance, 0, steps)
    assert back.scores[::-1] == pytest.approx(away.scores, abs=1e-9)
    assert back.area == pytest.approx(away.area)


def test_a_one_hot_map_on_a_network_that_looks_at_one_pixel():
    relevance = np.zeros(SHAPE[1:])
    relevance[3, 4] = 1
    x = np.ones(SHAPE, np.float32)

    def score(batch):
        return batch[:, 0, 3, 4]

    # All of the score goes with the first pixel: the first trapezium alone has an area.
    assert deletion(score, x, relevance, steps=PIXELS).area == pytest.approx(1 / (2 * PIXELS))
    assert insertion(score, x, relevance, 0, steps=PIXELS).area == pytest.approx(1 - 1 / (2 * PIXELS))
    assert deletion(score, x, -relevance, steps=PIXELS).area == pytest.approx(1 - 1 / (2 * PIXELS))


def test_neither_scale_nor_the_memory_at_once_matters(monkeypatch):
    x, relevance, score = image(), np.random.default_rng(2).normal(size=SHAPE[1:]), linear(image(1))
    whole = deletion(score, x, relevance, steps=30)
    assert np.array_equal(deletion(score, x, 1e-9 * relevance, steps=30).scores, whole.scores)
    sizes = []
    monkeypatch.setattr(scores_module, "_BYTES_AT_ONCE", 4 * x.size * 4)
    found = deletion(lambda batch: sizes.append(len(batch)) or score(batch), x, relevance, steps=30)
    assert sizes == [4] * 7 + [3]
    assert found.scores == pytest.approx(whole.scores, abs=1e-12)


def test_the_image_itself_is_left_alone():
    x, relevance = image(), np.random.default_rng(2).normal(size=SHAPE[1:])
    kept = x.copy()

    def vandal(batch):
        batch[:] = 7
        return np.zeros(len(batch))

    deletion(vandal, x, relevance)
    insertion(vandal, x, relevance)
    assert np.array_equal(x, kept)


# The blurred baseline


def test_a_blurred_image_is_two_passes_of_gaussian_weights():
    x, sigma = image(shape=(1, 30, 40)), 2.0
    weights = np.exp(-0.5 * (np.arange(-8, 9) / sigma) ** 2)
    weights /= weights.sum()
    twice = correlate1d(correlate1d(x[0].astype(np.float64), weights, 0, mode="nearest"), weights, 1, mode="nearest")
    assert blurred(x, sigma)[0] == pytest.approx(twice, abs=1e-6)
    assert blurred(x).dtype == np.float32


def test_blur_keeps_an_even_image_and_channels_apart():
    x = np.full((3, 9, 8), [[[1.0]], [[2.0]], [[-5.0]]], np.float32)
    assert blurred(x) == pytest.approx(x, abs=1e-5)


def test_insertion_begins_at_the_blurred_image():
    x, score = image(), linear(image(1))
    found = insertion(score, x, x[0])
    assert found.scores[0] == pytest.approx(score(blurred(x)[None])[0])
    assert found.scores[-1] == pytest.approx(score(x[None])[0])


# Pixel flipping


def test_single_pixels_in_morf_order_are_deletion():
    x, relevance, score = image(), np.random.default_rng(2).normal(size=SHAPE[1:]), linear(image(1))
    assert np.array_equal(pixel_flipping(score, x, relevance).scores, deletion(score, x, relevance, 0, PIXELS).scores)
    last = pixel_flipping(score, x, relevance, "lerf")
    assert np.array_equal(last.scores, deletion(score, x, -relevance, 0, PIXELS).scores)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 99), st.integers(1, 7), st.sampled_from(["morf", "lerf"]))
def test_squares_are_those_of_a_literal_loop(seed, side, order):
    x, relevance, score = image(seed), np.random.default_rng(seed).normal(size=SHAPE[1:]), linear(image(seed + 1))
    corners = [(row, column) for row in range(0, SHAPE[1], side) for column in range(0, SHAPE[2], side)]
    means = [relevance[row : row + side, column : column + side].mean() for row, column in corners]
    ordered = sorted(range(len(corners)), key=lambda number: -means[number] if order == "morf" else means[number])
    changed, expected, pixels = x.copy(), [score(x[None])[0]], [0]
    for number in ordered:
        row, column = corners[number]
        changed[:, row : row + side, column : column + side] = 0.5
        expected.append(score(changed[None])[0])
        pixels.append(pixels[-1] + relevance[row : row + side, column : column + side].size)
    found = pixel_flipping(score, x, relevance, order, side, baseline=0.5)
    assert found.scores == pytest.approx(expected, abs=1e-9)
    assert found.fractions == pytest.approx(np.array(pixels) / PIXELS)


def test_flips_and_steps_bound_the_curve():
    x, relevance, score = image(), np.random.default_rng(2).normal(size=SHAPE[1:]), linear(image(1))
    whole = pixel_flipping(score, x, relevance, square=2)
    part = pixel_flipping(score, x, relevance, square=2, flips=6, steps=3)
    assert np.array_equal(part.scores, whole.scores[:7:2])
    assert np.array_equal(part.fractions, whole.fractions[:7:2])


def test_of_a_linear_score_aopc_is_a_weighted_sum_of_the_contributions():
    x, weights = image(), image(1).astype(np.float64)
    evidence = (weights * x).sum(axis=0)
    ordered = np.sort(evidence, axis=None)[::-1]
    # The contribution flipped at step k is missing from then on: in L - k + 1 of L + 1 terms.
    expected = (ordered * np.arange(PIXELS, 0, -1)).sum() / (PIXELS + 1)
    assert aopc(pixel_flipping(linear(weights), x, evidence)) == pytest.approx(expected)
    assert aopc(pixel_flipping(linear(weights), x, evidence, "lerf")) == pytest.approx(
        (ordered[::-1] * np.arange(PIXELS, 0, -1)).sum() / (PIXELS + 1)
    )


def test_for_random_maps_both_orders_have_the_same_area():
    x, score = image(), linear(image(1))
    differences = []
    for seed in range(400):
        relevance = np.random.default_rng(seed).normal(size=SHAPE[1:])
        differences.append(pixel_flipping(score, x, relevance, "lerf").area - pixel_flipping(score, x, relevance).area)
    assert abs(np.mean(differences)) < 5 * np.std(differences) / 20


def test_aopc_by_hand():
    assert aopc(Curve(np.array([0, 0.5, 1]), np.array([1.0, 0.4, 0.1]))) == pytest.approx((0 + 0.6 + 0.9) / 3)


# Bad input

MEASURES = [deletion, insertion, pixel_flipping]


@pytest.mark.parametrize("measure", MEASURES)
def test_what_does_not_fit_is_refused_in_a_line(measure):
    x, score, relevance = image(), linear(image(1)), np.random.default_rng(0).normal(size=SHAPE[1:])
    cases = [
        ((score, x, relevance.T), ResultError, "map: expected the size of the image, 6 x 7, found 7 x 6"),
        ((score, x, np.ones(SHAPE[1:])), ResultError, "map: expected values that vary, found 1 everywhere"),
        ((score, x, np.where(relevance > 2, np.nan, np.nan)), ResultError, "map: expected finite values"),
        ((score, x, relevance[None]), ResultError, "map: expected some values on 2 axes"),
        ((score, x[0], relevance), ImageError, r"image: expected one of shape \(C, H, W\), found \(6, 7\)"),
        ((score, np.full(SHAPE, np.inf), relevance), ImageError, "image: expected finite numbers"),
        ((lambda batch: 0.5, x, relevance), ResultError, r"scores: expected one number for each of \d+ images"),
        ((lambda batch: np.zeros((len(batch), 1)), x, relevance), ResultError, "scores: expected one number"),
        ((lambda batch: np.full(len(batch), np.nan), x, relevance), ResultError, "scores: expected finite values"),
    ]
    for arguments, kind, message in cases:
        with pytest.raises(kind, match=message) as raised:
            measure(*arguments)
        assert "\n" not in str(raised.value)
    for baseline, message in [
        (x[0], "baseline: expected one number, 2 for the channels, or an image"),
        (np.nan, "baseline: expected finite"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            measure(score, x, relevance, baseline=baseline)
    for steps in (0, 10.0, "all"):
        with pytest.raises(ConfigurationError, match=f"steps: expected a whole number, 1 or more, found {steps!r}"):
            measure(score, x, relevance, steps=steps)


def test_impossible_settings_are_refused():
    x, score, relevance = image(), linear(image(1)), np.random.default_rng(0).normal(size=SHAPE[1:])
    for settings_, message in [
        ({"order": "random"}, "order: expected morf or lerf, found 'random'"),
        ({"square": 0}, "square: expected a whole number, from 1 to 7, the image's size, found 0"),
        ({"square": 2.0}, "square: expected a whole number, .* found 2.0"),
        ({"square": 2, "flips": 13}, "flips: expected a whole number, from 1 to 12, the number of squares, found 13"),
        ({"flips": 2.5}, "flips: expected a whole number, .* found 2.5"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            pixel_flipping(score, x, relevance, **settings_)
    with pytest.raises(ConfigurationError, match="sigma: expected"):
        blurred(x, 0)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_baseline_may_have_a_number_for_each_channel(measure):
    x, score, relevance = image(), linear(image(1)), np.random.default_rng(0).normal(size=SHAPE[1:])
    spread = np.broadcast_to(np.array([0.5, -1])[:, None, None], SHAPE)
    found = measure(score, x, relevance, baseline=[0.5, -1])
    np.testing.assert_array_equal(found.scores, measure(score, x, relevance, baseline=spread).scores)
