"""The figures that only the paper's later version has: two samplers, a window in its surround, several networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image
from tiny_home import CHEAP, SIZE, Reproduce, add_network, maps, noise, tiny_weights

from predict_diff.plot import overlay
from reproduce.figures import make
from reproduce.figures.drawing import Drawing
from reproduce.figures.panels import CAPTION, TEXT_WIDTH

#: Sides of window and outer patch in CHEAP, and the mean that the tiny network's card subtracts, in its order: BGR.
K, L = 6, 8
MEAN = np.array([100.0, 110.0, 120.0])


@pytest.fixture
def drawn(reproduce: Reproduce, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draw a figure of the photo `cat` before the tiny network, and keep the drawing instead of writing it."""

    def draw(name: str, *arguments: str, photos: str = "cat", networks: str = "tiny") -> Drawing:
        kept: list[Drawing] = []
        with monkeypatch.context() as patched:
            patched.setattr(make, "save", lambda drawing, stem: kept.append(drawing) or [])
            outcome = reproduce(
                name, "--photos", photos, "--networks", networks, *CHEAP, "--pool", home / "pool", *arguments
            )
        assert outcome.code == 0, outcome.err
        return kept[0]

    return draw


@pytest.fixture
def window(reproduce: Reproduce, home: Path) -> Reproduce:
    """Run `reproduce iclr_window` at little cost; what is given goes before these settings."""

    def run(*arguments: str | Path, photos: str = "cat", networks: str = "tiny", place: str = "[9,13]") -> Any:
        cheap = (*CHEAP, "--pool", home / "pool", "--set", f"window={place}")
        return reproduce("iclr_window", "--photos", photos, "--networks", networks, *cheap, *arguments)

    return run


def titled(drawing: Drawing, title: str) -> list[Axes]:
    """The panels with a title."""
    return [ax for ax in drawing.picture.axes if ax.get_title() == title]


def caption(drawing: Drawing) -> str:
    """What stands below a figure, in one line."""
    return " ".join(drawing.picture.get_supxlabel().split())


def arrays(path: str = "results/iclr_window.h5") -> dict[str, np.ndarray]:
    """The arrays of the first photo before the first network."""
    with h5py.File(path) as stored:
        return {name: stored["0"][name][()] for name in stored["0"]}


def squares(ax: Axes) -> list[tuple[float, float, float]]:
    """Row, column and side of what is outlined, from the largest."""
    found = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    return sorted(((p.get_y() + 0.5, p.get_x() + 0.5, p.get_width()) for p in found), key=lambda place: -place[2])


# --- all three ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["iclr_sampling", "iclr_networks"])
def test_png_pdf_and_arrays_are_written(reproduce: Reproduce, home: Path, name: str) -> None:
    outcome = reproduce(name, "--photos", "cat", "--networks", "tiny", *CHEAP, "--pool", home / "pool")
    assert outcome.files == [Path(f"results/{name}.{suffix}") for suffix in ("png", "pdf", "h5")], outcome.err
    assert arrays(f"results/{name}.h5")["conditional"].shape == (SIZE, SIZE)


@pytest.mark.parametrize("name", ["iclr_sampling", "iclr_networks", "iclr_window"])
def test_a_figure_fills_the_texts_width_with_letters_that_can_be_read_and_are_not_cut_off(
    drawn: Any, name: str
) -> None:
    place = ("--set", "window=[9,13]") if name == "iclr_window" else ()
    picture = drawn(name, *place).picture
    assert picture.get_figwidth() == TEXT_WIDTH
    renderer = FigureCanvasAgg(picture).get_renderer()
    picture.draw(renderer)
    # The numbers at colour bars are those of all figures.
    bars = {text for ax in picture.axes for bar in ax.child_axes for text in bar.findobj(Text)}
    texts = [text for text in picture.findobj(Text) if text.get_text() and text.get_visible() and text not in bars]
    assert len(texts) > 5
    for text in texts:
        box = text.get_window_extent(renderer)
        assert text.get_fontsize() >= CAPTION
        assert 0 <= box.x0 < box.x1 <= picture.bbox.width, text.get_text()
        assert 0 <= box.y0 < box.y1 <= picture.bbox.height, text.get_text()


@pytest.mark.parametrize("name", ["iclr_sampling", "iclr_networks"])
def test_the_caption_says_how_to_draw_with_the_later_versions_settings_unless_they_are_these(
    drawn: Any, name: str
) -> None:
    assert f"S = 10: reproduce {name} --variant iclr2017 --profile paper." in caption(drawn(name))
    chosen = caption(drawn(name, "--variant", "iclr2017"))
    assert "Variant iclr2017 (arXiv:1702.04595)" in chosen
    assert "--variant" not in chosen


@pytest.mark.parametrize("name", ["iclr_sampling", "iclr_networks", "iclr_window"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--photos", "dog", "--networks", "tiny"), "photo 'dog': expected a file, a name in "),
        (("--photos", "cat", "--networks", "tyni"), "found 'tyni' (did you mean 'tiny'?)"),
        (
            ("--photos", "cat", "--networks", "tiny", "--k", "33", "--l", "37"),
            "k: expected a window between 1 and 32 pixels wide, the size of the network's input (32 x 32), found 33",
        ),
        (("--photos", "cat", "--networks", "tiny", "--set", "titel=a"), "titel: unknown field (did you mean 'title'?)"),
    ],
)
def test_bad_input_ends_in_one_line(
    reproduce: Reproduce, home: Path, name: str, arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in reproduce(name, *CHEAP, "--pool", home / "pool", *arguments).error


# --- marginal beside conditional ----------------------------------------------------------------------------------


def test_both_samplers_of_one_photo_share_a_scale_of_colours_and_photos_do_not(drawn: Any, home: Path) -> None:
    Image.fromarray(noise(2)).save(home / "data" / "photos" / "dog.png")
    drawing = drawn("iclr_sampling", photos="cat,dog")
    kept = {(array.explanation.photo.name, array.name): array.values for array in drawing.panels}
    limits = []
    for number, photo in enumerate(("cat", "dog")):
        both = {sampler: kept[photo, sampler] for sampler in ("marginal", "conditional")}
        limit = max(np.abs(values).max() for values in both.values())
        for sampler, values in both.items():
            (shown,) = titled(drawing, sampler)[number].images
            np.testing.assert_array_equal(shown.get_array(), values)
            assert (shown.norm.vmin, shown.norm.vmax) == pytest.approx((-limit, limit), rel=1e-6)
            (over,) = titled(drawing, f"{sampler}, over the photo")[number].images
            expected = overlay(kept[photo, "photo"], values, limit)
            np.testing.assert_allclose(over.get_array(), expected, atol=1e-5)
        limits.append(limit)
    assert limits[0] != limits[1]


def test_the_maps_are_those_that_any_other_figure_would_compute(reproduce: Reproduce, home: Path) -> None:
    cheap = (*CHEAP, "--pool", home / "pool", "--networks", "tiny", "--photos", "cat")
    assert reproduce("iclr_sampling", *cheap).code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("results/maps").iterdir()}
    assert len(before) == 2
    for name in ("figure1", "iclr_networks"):
        assert reproduce(name, *cheap).code == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path("results/maps").iterdir()}
    for sampler, found in maps().items():
        np.testing.assert_allclose(arrays("results/iclr_sampling.h5")[sampler], found.maps[0], rtol=1e-6)


# --- networks -----------------------------------------------------------------------------------------------------


def test_each_network_has_a_row_with_its_own_classes_probabilities_and_scale(drawn: Any, home: Path) -> None:
    add_network(home, "other", tiny_weights(seed=1))
    drawing = drawn("iclr_networks", networks="tiny,other")
    explanations = list(dict.fromkeys(array.explanation for array in drawing.panels))
    assert [item.classifier.name for item in explanations] == ["tiny", "other"]
    rows = zip(titled(drawing, "conditional"), titled(drawing, "highest probabilities"), explanations, strict=True)
    for alone, bars, item in rows:
        (shown,) = alone.images
        assert shown.norm.vmax == pytest.approx(np.abs(shown.get_array()).max())
        x = item.classifier.preprocessing(item.photo.pixels)
        probabilities = np.sort(item.classifier.network.run(x, "prob")["prob"].ravel())[::-1]
        np.testing.assert_allclose([bar.get_width() for bar in bars.patches], probabilities, rtol=1e-6)
        heights = [bar.get_y() for bar in bars.patches]
        assert heights == sorted(heights)
        assert bars.yaxis_inverted()  # so that the highest stands on top
        written = [text.get_text() for text in bars.texts]
        assert written == [f"{name}, {p:.3f}" for (name, _), p in zip(item.best, probabilities, strict=True)]


# --- a window in its surround -------------------------------------------------------------------------------------


def test_marginal_samples_come_from_the_same_place_in_different_photos_of_the_pool(
    window: Reproduce, home: Path
) -> None:
    assert window("--set", "draws=5").code == 0
    samples = arrays()["marginal_samples"]
    assert samples.shape == (5, 3, K, K)
    pool = [np.asarray(Image.open(path), np.float64) for path in sorted((home / "pool").iterdir())]
    there = [photo[9 : 9 + K, 13 : 13 + K, ::-1].transpose(2, 0, 1) - MEAN[:, None, None] for photo in pool]
    sources = [[number for number, other in enumerate(there) if np.allclose(s, other, atol=1e-3)] for s in samples]
    assert all(len(source) == 1 for source in sources)
    assert len({source[0] for source in sources}) == 5


def test_conditional_samples_keep_to_the_surround_more_than_marginal_ones(window: Reproduce) -> None:
    """Smooth photos: what stands at a window's border is close to what stands beside it."""
    assert window("--set", "draws=8").code == 0
    found = arrays()
    x = (found["photo"][..., ::-1] * 255 - MEAN).transpose(2, 0, 1)
    beside = x[:, 8, 13 : 13 + K]
    steps = {name: np.abs(found[f"{name}_samples"][:, :, 0] - beside).mean() for name in ("marginal", "conditional")}
    assert steps["conditional"] < steps["marginal"]


def test_samples_are_shown_in_the_photos_colours_and_nothing_else_is_changed(drawn: Any) -> None:
    drawing = drawn("iclr_window", "--set", "window=[9,13]", "--set", "draws=3")
    kept = {array.name: array.values for array in drawing.panels}
    shown = [ax.images[0].get_array() for ax in drawing.picture.axes[2:]]
    assert len(shown) == 6
    for number, patch in enumerate(shown):
        sample = kept["marginal_samples" if number < 3 else "conditional_samples"][number % 3]
        expected = kept["photo"][8 : 8 + L, 12 : 12 + L].copy()
        expected[1:-1, 1:-1] = np.clip((sample[::-1].transpose(1, 2, 0) + MEAN[::-1]) / 255, 0, 1)
        np.testing.assert_allclose(patch, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("place", "outer"),
    [((9, 13), (8, 12)), ((0, 0), (0, 0)), ((26, 26), (24, 24)), ((0, 26), (0, 24)), ((25, 1), (24, 0))],
)
def test_window_and_outer_patch_are_outlined_where_they_lie_and_in_the_photo(
    drawn: Any, place: tuple[int, int], outer: tuple[int, int]
) -> None:
    drawing = drawn("iclr_window", "--set", f"window=[{place[0]},{place[1]}]", "--set", "draws=1")
    photo, enlarged, *samples = drawing.picture.axes
    within = place[0] - outer[0], place[1] - outer[1]
    assert squares(photo) == [(*outer, L), (*place, K)]
    assert squares(enlarged) == [(0, 0, L), (*within, K)]
    assert [squares(ax) for ax in samples] == [[(*within, K)]] * 2
    np.testing.assert_array_equal(
        enlarged.images[0].get_array(), photo.images[0].get_array()[outer[0] : outer[0] + L, outer[1] : outer[1] + L]
    )


def test_no_relevance_map_is_computed_and_the_seed_decides_what_is_drawn(window: Reproduce) -> None:
    found = []
    for seed in ("0", "0", "1"):
        assert window("--seed", seed).code == 0
        found.append(arrays())
    assert not list(Path("results").glob("maps/*"))
    for name in ("marginal_samples", "conditional_samples"):
        np.testing.assert_array_equal(found[0][name], found[1][name])
        assert not np.allclose(found[0][name], found[2][name])


def test_each_photo_before_each_network_has_its_window(drawn: Any, home: Path) -> None:
    add_network(home, "other", tiny_weights(seed=1))
    Image.fromarray(noise(2)).save(home / "data" / "photos" / "dog.png")
    settings = ("--set", "window=[9,13]", "--set", "draws=2")
    drawing = drawn("iclr_window", *settings, photos="cat,dog", networks="tiny,other")
    shown = [(array.explanation.photo.name, array.explanation.classifier.card.title) for array in drawing.panels[::3]]
    assert shown == [(photo, network) for photo in ("cat", "dog") for network in ("Tiny", "Other")]
    assert [block.get_suptitle() for block in drawing.picture.subfigs] == ["Tiny", "Other"] * 2
    assert [ax.get_title() for ax in drawing.picture.axes[::6]] == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("--set", "window=[27,0]"),
            "window: expected a row of at most 26 and a column of at most 26, so that 6 x 6 pixels lie in the input of "
            "Tiny (32 x 32), found [27, 0]; choose another with --set 'window=[ROW,COLUMN]'",
        ),
        (("--set", "window=[0,1000000000000000000000000]"), "found [0, 1000000000000000000000000]; choose another"),
        (("--k", "24", "--l", "30"), "expected a row of at most 8 and a column of at most 8, so that 24 x 24 pixels"),
        (("--l", "33"), "l: expected at most 32, the size of the network's input (32 x 32), found 33"),
        (("--set", "window=[-1,0]"), "window.0: expected a number greater than or equal to 0, found -1"),
        (("--set", "window=[9]"), "window: expected at least 2 of them, found [9]"),
        (("--set", "window=[9,1.5]"), "window.1: expected a valid integer, found 1.5"),
        (("--set", "draws=9"), "draws: expected a number less than or equal to 8, found 9"),
        (("--set", "windows=[9,9]"), "windows: unknown field (did you mean 'window'"),
    ],
)
def test_an_impossible_window_ends_in_one_line(window: Reproduce, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in window(*arguments).error
    assert not list(Path("results").glob("*.png"))


def test_a_pool_with_fewer_photos_than_samples_are_drawn_is_refused(window: Reproduce, home: Path) -> None:
    for path in sorted((home / "pool").iterdir())[3:]:
        path.unlink()
    expected = "draws: expected at most 3, as many as the pool has photos, for each marginal sample comes from another"
    assert expected in window("--set", "draws=4").error
    assert window("--set", "draws=3").code == 0
