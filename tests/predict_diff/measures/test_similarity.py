"""How alike maps are: closed forms, SciPy, cases by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, rankdata, spearmanr

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.measures import overlap, rank_correlation, top_overlap


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def block(shape, rows, columns):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


# Rank correlation


def test_rank_correlation_sees_order_only():
    values = noise(6, 7)
    assert rank_correlation(values, np.exp(3 * values)) == pytest.approx(1)
    assert rank_correlation(values, -(values**3)) == pytest.approx(-1)


def test_rank_correlation_by_hand():
    # No ties: 1 - 6 sum d^2 / (n (n^2 - 1)), with rank differences 0, -1, 1, 0.
    assert rank_correlation([[1, 2], [3, 4]], [[10, 30], [20, 40]]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    # Ties share their mean rank: Pearson's r of (1, 2, 3) and (1.5, 1.5, 3).
    assert rank_correlation([[1, 2, 3]], [[5, 5, 9]]) == pytest.approx(math.sqrt(3) / 2)


def test_unrelated_maps_have_no_rank_correlation():
    assert abs(rank_correlation(noise(100, 100), noise(100, 100, seed=1))) < 5 / 100


@pytest.mark.parametrize("maps", [(np.ones((2, 3)), noise(2, 3)), (noise(2, 3), np.zeros((2, 3)))])
def test_a_constant_map_ranks_nothing_and_is_no_evidence_of_a_difference(maps):
    with pytest.raises(ResultError, match=r"map: expected values that vary, found [01] everywhere"):
        rank_correlation(*maps)


@settings(deadline=None)
@given(arrays(np.float64, (2, 4, 5), elements=st.integers(-3, 3)).filter(lambda maps: np.ptp(maps, axis=(1, 2)).all()))
def test_rank_correlation_is_scipys_and_pearsons_of_mean_ranks(maps):
    first, second = maps.reshape(2, -1)
    assert rank_correlation(*maps) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert rank_correlation(*maps) == pytest.approx(pearsonr(rankdata(first), rankdata(second)).statistic, abs=1e-12)


# Overlap of masks


def test_overlap_by_hand():
    a, b = block((4, 4), slice(0, 2), slice(0, 2)), block((4, 4), slice(1, 3), slice(0, 4))
    assert overlap(a, b) == 0.5
    assert overlap(b, a) == 0.25
    assert overlap(a, a) == 1
    assert overlap(a, ~a) == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((2, 3), bool), np.ones((3, 2), bool)),
        (np.ones((2, 3)), np.ones((2, 3), bool)),
        (np.zeros((2, 3), bool), np.ones((2, 3), bool)),
        (np.ones(3, bool), np.ones(3, bool)),
    ],
    ids=["shapes", "numbers", "empty", "flat"],
)
def test_masks_that_cannot_be_compared_are_refused(a, b):
    with pytest.raises(ResultError, match="mask: expected"):
        overlap(a, b)


# Overlap of top pixels


def test_of_planted_boxes_the_top_overlaps_as_the_boxes_do():
    a, b = np.zeros((10, 10)), np.zeros((10, 10))
    a[2:4, 2:7], b[3:5, 4:9] = 1, -1
    # 10 pixels each, row 3 and columns 4 to 6 in common.
    assert top_overlap(a, b, 0.1) == pytest.approx(0.3)
    assert top_overlap(a, -a, 0.1) == 1


def test_by_value_only_what_speaks_for_the_target_counts():
    values = np.array([[5.0, -9.0, 1.0, 0.0]])
    assert top_overlap(values, -values, 0.25) == 1
    assert top_overlap(values, -values, 0.25, absolute=False) == 0


def test_unrelated_maps_overlap_by_the_share():
    found = [top_overlap(noise(50, 50, seed=i), noise(50, 50, seed=i + 100), 0.2) for i in range(20)]
    # Hypergeometric: 500 of 2500 pixels, 500 marked.
    deviation = math.sqrt(0.2 * 0.8 / 500 * 2000 / 2499)
    assert np.mean(found) == pytest.approx(0.2, abs=5 * deviation / math.sqrt(20))


@settings(deadline=None)
@given(arrays(np.float64, (2, 4, 5), elements=st.floats(-9, 9)), st.floats(0.01, 1))
def test_top_overlap_is_symmetric_and_whole_at_share_1(maps, share):
    if not np.ptp(np.abs(maps), axis=(1, 2)).all():
        return
    assert top_overlap(*maps, share) == top_overlap(*maps[::-1], share)
    assert top_overlap(*maps, 1) == 1


@pytest.mark.parametrize("measure", [rank_correlation, top_overlap])
def test_maps_of_two_photos_constant_ones_and_nan_are_refused(measure):
    with pytest.raises(ResultError, match=r"expected two of one shape, found \(2, 3\) and \(3, 2\)"):
        measure(noise(2, 3), noise(3, 2))
    with pytest.raises(ResultError, match="expected values that vary"):
        measure(noise(2, 3), np.ones((2, 3)))
    with pytest.raises(ResultError, match="found NaN or infinity in 1 of 4"):
        measure([[1, 2], [np.nan, 3]], noise(2, 2))


def test_a_map_of_one_size_but_two_signs_has_no_absolute_top():
    with pytest.raises(ResultError, match="expected values that vary, found 2 everywhere"):
        top_overlap([[2, -2]], [[1, 3]])
    assert top_overlap([[2, -2]], [[1, 3]], 0.5, absolute=False) == 0
    with pytest.raises(ConfigurationError, match="share of top pixels: expected"):
        top_overlap(noise(2, 2), noise(2, 2, seed=1), 0)
