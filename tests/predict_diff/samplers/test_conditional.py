"""Conditioning a Gaussian, against the textbook's formulas and NumPy's inverse."""

import numpy as np
import pytest

from predict_diff.samplers.conditional import PANEL, condition

CHANNELS, L, K = 2, 6, 3


def split(row, column):
    """Indices of the window's values in an outer patch, and of the others, by a literal loop."""
    window, surround = [], []
    for index in range(CHANNELS * L * L):
        r, c = index // L % L, index % L
        (window if row <= r < row + K and column <= c < column + K else surround).append(index)
    return np.array(window), np.array(surround)


def closed_form(covariance, window, surround):
    inverse = np.linalg.inv(covariance[np.ix_(surround, surround)])
    regression = covariance[np.ix_(window, surround)] @ inverse
    return regression, covariance[np.ix_(window, window)] - regression @ covariance[np.ix_(surround, window)]


@pytest.mark.parametrize("row", range(L - K + 1))
@pytest.mark.parametrize("column", range(L - K + 1))
def test_every_placement_agrees_with_the_closed_form(covariance_of, row, column):
    covariance = covariance_of(CHANNELS * L * L)
    window, surround = split(row, column)
    regression, conditional = closed_form(covariance, window, surround)
    found = condition(covariance, window, surround)
    np.testing.assert_allclose(found.regression, regression, atol=1e-12)
    np.testing.assert_allclose(found.root @ found.root.T, conditional, atol=1e-12)
    assert (found.clipped.given, found.clipped.drawn) == (0, 0)


def test_many_panels_agree_with_the_closed_form(covariance_of):
    covariance = covariance_of(5 * PANEL)
    order = np.random.default_rng(1).permutation(5 * PANEL)
    window, surround = order[: 2 * PANEL + 9], order[2 * PANEL + 9 :]
    regression, conditional = closed_form(covariance, window, surround)
    found = condition(covariance, window, surround)
    np.testing.assert_allclose(found.regression, regression, atol=1e-11)
    np.testing.assert_allclose(found.root @ found.root.T, conditional, atol=1e-11)


def test_the_total_variance_is_that_of_the_mean_and_that_around_it(covariance_of):
    covariance = covariance_of(CHANNELS * L * L, seed=5)
    for row in range(L - K + 1):
        window, surround = split(row, 1)
        found = condition(covariance, window, surround)
        of_the_mean = found.regression @ covariance[np.ix_(surround, surround)] @ found.regression.T
        total = of_the_mean + found.root @ found.root.T
        np.testing.assert_allclose(total, covariance[np.ix_(window, window)], atol=1e-12)


def test_ill_conditioned_covariances_are_conditioned_as_well_as_their_inverse_can():
    """Eigenvalues over nine decades: the predictions agree, whatever the weak directions of the matrices do."""
    random = np.random.default_rng(2)
    basis = np.linalg.qr(random.standard_normal((60, 60)))[0]
    factor = basis * np.logspace(0, -4.5, 60)
    covariance = factor @ factor.T
    window, surround = np.arange(20), np.arange(20, 60)
    values = factor @ random.standard_normal((60, 500))
    regression, conditional = closed_form(covariance, window, surround)
    found = condition(covariance, window, surround, cutoff=1e-14)
    np.testing.assert_allclose(found.regression @ values[surround], regression @ values[surround], atol=1e-6)
    np.testing.assert_allclose(found.root @ found.root.T, conditional, atol=1e-9)


def test_a_singular_covariance_survives():
    """Rank 8 among 40 variables: what the others determine is predicted exactly and does not vary."""
    random = np.random.default_rng(7)
    factor = random.standard_normal((40, 8))
    window, surround = np.arange(10), np.arange(10, 40)
    found = condition(factor @ factor.T, window, surround)
    values = factor @ random.standard_normal((8, 50))
    np.testing.assert_allclose(found.regression @ values[surround], values[window], atol=1e-9)
    assert np.abs(found.root).max() == 0
    assert (found.clipped.given, found.clipped.drawn) == (22, 10)
    assert max(found.clipped.given_share, found.clipped.drawn_share) < 1e-12


def test_a_singular_surround_and_a_window_that_varies_agree_with_the_pseudo_inverse():
    random = np.random.default_rng(8)
    factor = np.zeros((30, 15))
    factor[10:, :6] = random.standard_normal((20, 6))
    factor[:10] = random.standard_normal((10, 15))
    covariance = factor @ factor.T
    window, surround = np.arange(10), np.arange(10, 30)
    found = condition(covariance, window, surround)
    cross = covariance[np.ix_(window, surround)]
    regression = cross @ np.linalg.pinv(covariance[np.ix_(surround, surround)], rcond=1e-10, hermitian=True)
    values = factor @ random.standard_normal((15, 50))
    np.testing.assert_allclose(found.regression @ values[surround], regression @ values[surround], atol=1e-8)
    conditional = covariance[np.ix_(window, window)] - regression @ cross.T
    np.testing.assert_allclose(found.root @ found.root.T, conditional, atol=1e-9)
    # Nine directions are left to ten variables of the window.
    assert (found.clipped.given, found.clipped.drawn) == (14, 1)


def test_a_variable_that_the_given_ones_determine_does_not_vary(covariance_of):
    covariance = covariance_of(12)
    mixing = np.eye(13, 12)
    mixing[12] = [0, 0, 0, 0, 0, 2, -1, 0.5, 0, 0, 3, 0]
    found = condition(mixing @ covariance @ mixing.T, np.array([0, 1, 12]), np.arange(2, 12))
    np.testing.assert_allclose(found.regression[2], mixing[12, 2:12], atol=1e-10)
    np.testing.assert_allclose(found.root[2], 0, atol=1e-7)
    assert (np.linalg.norm(found.root[:2], axis=1) > 0.1).all()
    assert (found.clipped.given, found.clipped.drawn) == (0, 1)


def test_constant_variables_stay_at_their_mean(covariance_of):
    covariance = covariance_of(10)
    covariance[[2, 7]] = covariance[:, [2, 7]] = 0
    found = condition(covariance, np.arange(4), np.arange(4, 10))
    assert (found.regression[2] == 0).all()
    assert (found.regression[:, 3] == 0).all()
    assert (found.root[2] == 0).all()


def test_the_unit_of_a_variable_does_not_matter(covariance_of):
    covariance = covariance_of(20)
    scale = 2.0 ** np.random.default_rng(1).integers(-30, 30, 20)
    window, surround = np.arange(8), np.arange(8, 20)
    plain = condition(covariance, window, surround)
    scaled = condition(covariance * np.outer(scale, scale), window, surround)
    expected = plain.regression * scale[window, None] / scale[surround]
    np.testing.assert_allclose(scaled.regression / expected, 1, rtol=1e-6)
    np.testing.assert_allclose(
        (scaled.root @ scaled.root.T) / np.outer(scale, scale)[:8, :8], plain.root @ plain.root.T, atol=1e-9
    )
