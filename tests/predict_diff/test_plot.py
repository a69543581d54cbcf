"""Colours: red for, blue against, symmetric about zero, and transparent where nothing speaks."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from skimage.color import rgb2hsv

from predict_diff import plot

RELEVANCE = np.array([[2.0, -2.0, 0.0], [0.5, -0.5, 1.0]])
PHOTO = np.random.default_rng(0).uniform(size=(2, 3, 3))


def test_red_is_for_and_blue_against() -> None:
    picture = plot.overlay(PHOTO, RELEVANCE)
    red, _, blue = np.moveaxis(picture, -1, 0)
    assert red[0, 0] > blue[0, 0]
    assert blue[0, 1] > red[0, 1]


def test_no_influence_is_grey() -> None:
    picture = plot.overlay(PHOTO, RELEVANCE)
    assert np.ptp(picture[0, 2]) < 0.02


def test_lightness_is_the_faded_photos() -> None:
    picture = plot.overlay(PHOTO, RELEVANCE)
    grey = PHOTO @ [0.2125, 0.7154, 0.0721]
    np.testing.assert_allclose(rgb2hsv(picture)[..., 2], 1 - (1 - grey) / 2, atol=1e-6)


@pytest.mark.parametrize("relevance", [RELEVANCE, -RELEVANCE, np.zeros((2, 3))])
def test_the_scale_is_symmetric(relevance: np.ndarray) -> None:
    norm = plot.scale(relevance)
    assert norm.vmin == -norm.vmax
    assert norm(0.0) == 0.5


@pytest.mark.parametrize("palette", ["paper", "safe"])
def test_each_panel_returns_its_axes(palette: plot.Palette) -> None:
    axes = Figure().subplots(5)
    assert plot.show_photo(axes[0], PHOTO) is axes[0]
    assert plot.show_sensitivity(axes[1], np.zeros((4, 4))) is axes[1]
    assert plot.show_relevance(axes[2], RELEVANCE, palette=palette) is axes[2]
    assert plot.show_overlay(axes[3], PHOTO, RELEVANCE, palette=palette) is axes[3]
    assert plot.show_colour_bar(axes[4], RELEVANCE, palette=palette) is axes[4]


def test_the_colour_bar_ends_at_the_largest_value_in_bits() -> None:
    ax = Figure().subplots()
    plot.show_colour_bar(ax, RELEVANCE)
    labels = [label.get_text() for label in ax.child_axes[0].get_xticklabels()]
    assert labels == ["−2", "0", "+2 bits"]
