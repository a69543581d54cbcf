"""What notebooks show of a relevance map: labelled, symmetric, without scripts, whatever its texts hold."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from predict_diff.display import TARGETS_AT_MOST, Shown
from predict_diff.errors import ConfigurationError, ImageError, PredictDiffError
from predict_diff.result import RelevanceMap
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

PHOTO = np.random.default_rng(1).uniform(size=(9, 12, 3))


def made(names: tuple[str, ...] = ("prob", "conv/3x3"), grid: WindowGrid | None = None) -> RelevanceMap:
    """The first target in bits, the others in their own units."""
    grid = grid or WindowGrid(9, 12, 3, 2)
    shape = len(names), len(grid)
    generator = np.random.default_rng(0)
    return RelevanceMap(
        grid=grid,
        targets=tuple(Target(name, (3,)) for name in names),
        measures=("WE", *["AD"] * (len(names) - 1)),
        known=np.linspace(0.25, 1, len(names)),
        expected=generator.uniform(size=shape),
        relevance=generator.normal(size=shape),
        standard_error=np.full(shape, 0.5),
        counts=np.ones(shape[1], np.int64),
        provenance={"network": {"name": "small"}, "samples": 20, "sampler": {"kind": "gaussian"}},
    )


class Page(HTMLParser):
    """Tags, texts and pictures."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[Image.Image] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert {name for name, _ in attrs} <= {"style", "alt", "src"}
        if tag == "img":
            kind, content = str(dict(attrs)["src"]).split(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(Image.open(io.BytesIO(base64.b64decode(content, validate=True))))

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_a_notebook_gets_a_labelled_picture_of_each_target() -> None:
    page = Page(made()._repr_html_())
    assert len(page.pictures) == 2
    assert set(page.tags) <= {"div", "b", "br", "figure", "figcaption", "img"}
    for said in ("small, k = 3, stride 2, S = 20, gaussian", "prob:3", "p(c | x) = 0.25", "conv/3x3:3", "value 1"):
        assert said in page.text
    limit = np.abs(made().maps[0]).max()
    assert f"scale ±{limit:.3g} bits" in page.text
    assert f"Monte-Carlo error at most {made().map_errors[0].max():.3g} bits" in page.text


def test_without_monte_carlo_errors_none_are_named() -> None:
    found = made()
    assert "Monte-Carlo" not in replace(found, standard_error=found.standard_error * np.nan)._repr_html_()


def test_of_very_many_targets_the_first_are_shown() -> None:
    page = Page(made(tuple(f"b{number}" for number in range(1000)))._repr_html_())
    assert len(page.pictures) == TARGETS_AT_MOST
    assert f"{TARGETS_AT_MOST} of 1,000 targets" in page.text


def test_targets_are_chosen_by_number() -> None:
    page = Page(made(("a", "b", "c")).show(targets=[2, 0])._repr_html_())
    assert re.findall(r"([abc]):3", page.text) == ["c", "a"]


def test_a_row_of_panels_that_is_not_full_has_no_empty_ones() -> None:
    axes = made(("a", "b", "c", "d")).figure().axes
    assert len(axes) == 4
    assert all(ax.images for ax in axes)


@pytest.mark.parametrize("chosen", [[], [2], [-1], [0.5], ["prob"], [True], 0])
def test_targets_that_there_are_not_are_refused(chosen: object) -> None:
    with pytest.raises(ConfigurationError, match="numbers from 0 to 1"):
        made().show(targets=chosen)  # type: ignore[arg-type]


HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=1>', "$\\frac{$", "a\nb\0\x1b[31m", "x" * 500, "猫é&amp;")


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_are_neither_html_nor_formulas(name: str) -> None:
    found = replace(made((name,)), provenance={"network": {"name": name}, "samples": name, "sampler": {"kind": name}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = Page(found._repr_html_())
        found._repr_png_()
    assert set(page.tags) <= {"div", "b", "br", "figure", "figcaption", "img"}
    assert len(page.pictures) == 1
    assert name[:5] in page.text or not name.isprintable()


@pytest.mark.parametrize("provenance", [{}, {"network": None, "samples": [1], "sampler": "x"}, {"network": {}}])
def test_a_map_that_does_not_say_how_it_was_made_is_shown(provenance: dict[str, object]) -> None:
    assert "k = 3" in replace(made(), provenance=provenance)._repr_html_()


def test_each_map_has_a_symmetric_scale_of_its_own() -> None:
    found = made()
    panels = [ax for ax in found.figure().axes if ax.images]
    for ax, values in zip(panels, found.maps, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), values)
        assert ax.images[0].norm.vmax == -ax.images[0].norm.vmin == np.abs(values).max()
        (bar,) = ax.child_axes
        assert [label.get_text()[0] for label in bar.get_xticklabels()] == ["−", "0", "+"]
    assert panels[0].child_axes[0].get_xticklabels()[-1].get_text().endswith(" bits")


@pytest.mark.parametrize(
    "photo",
    [PHOTO, (PHOTO * 255).astype(np.uint8), PHOTO[..., 0], PHOTO[..., :1].astype(np.float32), PHOTO.tolist()],
    ids=["floats", "bytes", "grey", "one channel", "lists"],
)
def test_with_the_photo_there_are_three_panels_for_each_target(photo: object) -> None:
    shown = made().show(photo)
    assert len([ax for ax in shown.figure().axes if ax.images]) == 6
    page = Page(shown._repr_html_())
    assert len(page.pictures) == 2
    without = Page(made()._repr_html_()).pictures[0]
    assert page.pictures[0].width > 2 * without.width


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (PHOTO[:8], r"9 x 12 pixels.*\(8, 12, 3\)"),
        (PHOTO.transpose(2, 0, 1), r"\(3, 9, 12\)"),
        (np.zeros((9, 12, 4)), r"\(9, 12, 4\)"),
        (PHOTO * 255, "floats from 0 to 1 or uint8"),
        (PHOTO - 0.5, "floats from 0 to 1 or uint8"),
        (PHOTO * np.nan, "floats from 0 to 1 or uint8"),
        (np.zeros((9, 12), np.int64), "int64"),
        (np.full((9, 12), "a"), "floats from 0 to 1"),
        ([[1.0, 2.0], [3.0]], "found list"),
    ],
)
def test_photos_that_do_not_fit_are_refused_in_one_line(photo: object, message: str) -> None:
    with pytest.raises(ImageError, match=message) as error:
        made().figure(photo)
    assert "\n" not in str(error.value)


def test_palettes_are_those_of_the_figures() -> None:
    safe = made().show(palette="safe")
    assert safe._repr_png_() != made()._repr_png_()
    assert "Orange speaks for the target, violet against it" in safe._repr_html_()
    assert "Red speaks for the target, blue against it" in made()._repr_html_()
    with pytest.raises(ConfigurationError, match="paper or safe"):
        made().show(palette="jet")


@pytest.mark.parametrize("values", [0.0, np.nan, np.inf, 1e-320])
def test_maps_without_a_scale_are_shown(values: float) -> None:
    found = made()
    found = replace(found, relevance=np.full_like(found.relevance, values))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Page(found.show(PHOTO)._repr_html_()).pictures) == 2


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (8, 8), (1000, 700)])
def test_photos_of_any_shape_are_shown(shape: tuple[int, int]) -> None:
    found = made(grid=WindowGrid(*shape, 1, 1) if max(shape) < 400 else WindowGrid(*shape, 100, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for picture in Page(found.show(np.zeros(shape))._repr_html_()).pictures:
            assert max(picture.size) < 1500


def test_the_same_map_gives_the_same_picture() -> None:
    assert made()._repr_png_() == made()._repr_png_()
    assert Image.open(io.BytesIO(made()._repr_png_())).format == "PNG"


def test_a_users_settings_of_matplotlib_stay_and_do_not_matter() -> None:
    with mpl.rc_context({"text.usetex": True}):
        before = dict(mpl.rcParams)
        made(("a_b$",))._repr_png_()
        assert dict(mpl.rcParams) == before


def test_a_picture_is_written_whole(tmp_path) -> None:  # type: ignore[no-untyped-def]
    Shown(made(), PHOTO).write(tmp_path / "deep" / "map.png")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["map.png"]
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PredictDiffError, match="could not be written"):
        Shown(made()).write(tmp_path / "file" / "map.png")


def test_pyplot_is_not_touched_and_matplotlib_only_loaded_to_draw() -> None:
    program = """
import sys
import numpy as np
from predict_diff.result import RelevanceMap
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid
assert "matplotlib" not in sys.modules
one = np.ones((1, 1))
found = RelevanceMap(WindowGrid(3, 3, 3), (Target("a", (0,)),), ("AD",), one[0], one, one, one, np.ones(1, np.int64))
found._repr_html_(), found._repr_png_(), found.figure()
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
