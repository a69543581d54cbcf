"""Patches of a pool: where they are cut out, and their moments."""

import numpy as np
import pytest

from predict_diff.errors import SamplerError
from predict_diff.samplers import patches
from predict_diff.samplers.patches import draw_places, moments

SHAPE, L = (7, 2, 21, 18), 5


def cut(pool, places):
    """Every patch in the order channel, row, column, one at a time."""
    return np.stack([pool[p, :, r : r + L, c : c + L].ravel() for p, r, c in places]).astype(np.float64)


def test_moments_are_numpys_of_the_collected_patches(pool):
    places = draw_places(SHAPE, L, 500, seed=0)
    mean, covariance = moments(pool, places, L)
    collected = cut(pool, places)
    np.testing.assert_allclose(mean, collected.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(covariance, np.cov(collected.T), atol=1e-9 * covariance.max())
    assert np.array_equal(covariance, covariance.T)


def test_moments_gathered_in_many_chunks_are_the_same(pool, monkeypatch):
    places = draw_places(SHAPE, L, 500, seed=0)
    mean, covariance = moments(pool, places, L)
    monkeypatch.setattr(patches, "CHUNK_NUMBERS", 50 * 7)
    in_chunks = moments(pool, places, L)
    np.testing.assert_allclose(in_chunks[0], mean, atol=1e-10)
    np.testing.assert_allclose(in_chunks[1], covariance, atol=1e-10 * covariance.max())


def test_a_large_mean_does_not_spoil_the_covariance(pool):
    """Shifting every pixel by far more than it varies changes the mean alone."""
    places = draw_places(SHAPE, L, 200, seed=1)
    grid = np.round(pool)
    _, covariance = moments(grid, places, L)
    mean, shifted = moments(grid + np.float32(2**20), places, L)
    np.testing.assert_allclose(shifted, covariance, atol=1e-9 * covariance.max())
    assert (np.abs(mean - 2**20) < 1000).all()


def test_patches_come_from_anywhere_equally_often():
    places = draw_places(SHAPE, L, 20_000, seed=2)
    for column, size in enumerate([7, 21 - L + 1, 18 - L + 1]):
        counts = np.bincount(places[:, column], minlength=size)
        assert len(counts) == size
        assert (np.abs(counts - 20_000 / size) < 5 * np.sqrt(20_000 / size)).all()


def test_seed_and_group_choose_the_patches():
    places = draw_places(SHAPE, L, 50, seed=2)
    assert np.array_equal(places, draw_places(SHAPE, L, 50, seed=2))
    assert not np.array_equal(places, draw_places(SHAPE, L, 50, seed=3))
    assert not np.array_equal(places, draw_places(SHAPE, L, 50, seed=2, group=1))


def test_the_authors_take_one_place_in_every_photo_for_each_draw():
    places = draw_places(SHAPE, L, 20_000, seed=0, placement="shared")
    draws = int(20_000 / 7) + 1
    assert len(places) == draws * 7
    by_draw = places.reshape(draws, 7, 3)
    assert (by_draw[:, :, 0] == np.arange(7)).all()
    assert (by_draw[:, :, 1:] == by_draw[:, :1, 1:]).all()


def test_the_authors_never_draw_the_last_row_and_column_of_places():
    places = draw_places(SHAPE, L, 20_000, seed=0, placement="shared")
    assert set(places[:, 1]) == set(range(21 - L))
    assert set(places[:, 2]) == set(range(18 - L))


def test_photos_that_are_just_as_large_as_a_patch_have_one_place():
    assert (draw_places((3, 2, L, L), L, 10, seed=0)[:, 1:] == 0).all()
    with pytest.raises(SamplerError, match=r"1 to 4 pixels, to fit into the pool's photos \(5 x 5\), found 5"):
        draw_places((3, 2, L, L), L, 10, seed=0, placement="shared")


def test_impossible_patches_are_refused():
    with pytest.raises(SamplerError, match=r"l: expected an outer patch of 1 to 18 pixels.*found 19; choose a smaller"):
        draw_places(SHAPE, 19, 10, seed=0)
    with pytest.raises(SamplerError, match=r"anywhere, shared, found 'anywere' \(did you mean 'anywhere'"):
        draw_places(SHAPE, L, 10, seed=0, placement="anywere")
