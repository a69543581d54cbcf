"""Equations 3, 4 and 7 in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from predict_diff import evidence


def test_equal_predictions_have_no_evidence() -> None:
    assert evidence.weight_of_evidence(0.3, 0.3, 1000, 10) == 0
    assert evidence.activation_difference(2.5, 2.5) == 0


def test_evidence_is_in_bits() -> None:
    # Odds 4 against odds 1: two bits, up to the correction, which many instances make vanish.
    assert evidence.weight_of_evidence(0.8, 0.5, 10**12, 1000) == pytest.approx(2, abs=1e-8)


def test_the_laplace_correction_keeps_certainty_finite() -> None:
    # (N + 1) / (N + K) and 1 / (N + K)
    value = evidence.weight_of_evidence(1.0, 0.0, 98, 2)
    assert value == pytest.approx(np.log2(99 / 1) - np.log2(1 / 99))


def test_corrected_probabilities_of_all_classes_sum_to_one() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(7))
    assert evidence.laplace_correction(p, 50, 7).sum() == pytest.approx(1)


def test_evidence_against_a_class_is_evidence_for_the_other() -> None:
    for p, q in np.random.default_rng(1).uniform(size=(20, 2)):
        forward = evidence.weight_of_evidence(p, q, 1000, 2)
        assert forward == pytest.approx(-evidence.weight_of_evidence(1 - p, 1 - q, 1000, 2))


def test_expectation_is_mean_and_error_over_samples() -> None:
    values = np.random.default_rng(2).normal(size=(5, 9, 3))
    mean, error = evidence.expectation(values)
    for window in range(5):
        for target in range(3):
            assert mean[target, window] == pytest.approx(np.mean(values[window, :, target]))
            assert error[target, window] == pytest.approx(np.std(values[window, :, target], ddof=1) / 3)


def test_one_sample_has_no_error_to_tell() -> None:
    mean, error = evidence.expectation(np.ones((4, 1, 2)))
    assert (mean == 1).all()
    assert np.isnan(error).all()


def test_the_error_of_evidence_is_its_slope_times_that_of_the_probability() -> None:
    step = 1e-6
    for p in (0.01, 0.4, 0.97):
        ends = [evidence.weight_of_evidence(0.5, p + sign * step, 1000, 5) for sign in (-1, 1)]
        slope = abs(ends[1] - ends[0]) / (2 * step)
        assert evidence.weight_of_evidence_error(p, 0.02, 1000, 5) == pytest.approx(slope * 0.02, rel=1e-6)
