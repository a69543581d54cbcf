"""Figures 2, 3 and 4: what they show, what they keep, and what they refuse."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import h5py
import matplotlib.figure
import numpy as np
import pytest
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image
from tiny_home import Outcome, Reproduce, maps, noise

from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.result import RelevanceMap
from reproduce.classifier import Engine, open_classifier
from reproduce.figures import make, saving
from reproduce.figures.drawing import Drawing
from reproduce.photos import read_photo

FIGURES = ("figure2", "figure3", "figure4")

#: Few windows: those of figure 4 are set here, figures 2 and 3 set theirs.
FEW = {
    "figure2": ("--set", "sides=[4,5]", "--stride", "8"),
    "figure3": ("--set", "k=4", "--stride", "8"),
    "figure4": ("--k", "5", "--stride", "5"),
}


@pytest.fixture
def draw(reproduce: Reproduce, home: Path) -> Reproduce:
    """Run the command of a figure on the tiny network, as `draw(name, *arguments)`; two samples of each window."""

    def run(name: str, *arguments: str | Path, photos: str = "cat") -> Outcome:
        options = ("--networks", "tiny", "--photos", photos, "--samples", "2", "--provider", "cpu")
        return reproduce(name, *options, "--pool", home / "pool", *arguments)

    return run


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[Drawing]:
    """What has been drawn, before it is saved."""
    seen: list[Drawing] = []
    save = saving.save
    monkeypatch.setattr(make, "save", lambda drawing, stem: (seen.append(drawing), save(drawing, stem))[1])
    return seen


def groups(outcome: Outcome) -> list[dict[str, np.ndarray]]:
    """The arrays of each photo before each network, in the order of the figure."""
    assert outcome.code == 0, outcome.err
    with h5py.File(outcome.files[2]) as file:
        return [{name: np.asarray(values) for name, values in file[number].items()} for number in sorted(file, key=int)]


def attributes(outcome: Outcome, place: str) -> dict[str, str]:
    with h5py.File(outcome.files[2]) as file:
        return dict(file[place].attrs)


def texts(picture: matplotlib.figure.Figure) -> list[Text]:
    """What can be read in a picture."""
    found = [text for text in picture.findobj(Text) if isinstance(text, Text)]
    return [text for text in found if text.get_visible() and text.get_text()]


def check_readable(picture: matplotlib.figure.Figure) -> None:
    """No text is smaller than 6 points, stands on another, or leaves the picture."""
    picture.draw_without_rendering()
    width, height = picture.bbox.size
    boxes = [(text, text.get_window_extent()) for text in texts(picture)]
    for text, box in boxes:
        assert text.get_fontsize() >= 6, text
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
    for (one, first), (other, second) in combinations(boxes, 2):
        assert not first.overlaps(second), (one, other)


def panels(picture: matplotlib.figure.Figure) -> list[tuple[str, np.ndarray]]:
    """The title and the array of each panel, from the left; in a column from above. Colour bars are no panels."""
    axes = [ax for ax in picture.findobj(matplotlib.axes.Axes) if ax.images]
    axes.sort(key=lambda ax: (round(ax.get_position().x0, 2), -ax.get_position().y0))
    return [(ax.get_title(), np.asarray(ax.findobj(AxesImage)[0].get_array())) for ax in axes]


# --- figure 2 -----------------------------------------------------------------------------------------------------


def test_figure_2_has_a_map_for_each_side_of_the_windows(draw: Reproduce, drawings: list[Drawing]) -> None:
    outcome = draw("figure2", "--set", "sides=[1,5,10]", "--stride", "6")
    found = groups(outcome)
    assert [Image.open(outcome.files[0]).format, outcome.files[1].read_bytes()[:4]] == ["PNG", b"%PDF"]
    assert len(found) == 3
    stored = {item.grid.k: item for item in map(RelevanceMap.load, Path("results/maps").iterdir())}
    # Paper: figure 2, l = k + 4. Smaller windows overlap as much as those of k = 10 do at this stride.
    for number, (k, l, stride) in enumerate([(1, 5, 1), (5, 9, 3), (10, 14, 6)]):
        settings = json.loads(attributes(outcome, str(number))["settings"])
        assert (settings["k"], settings["l"], settings["stride"]) == (k, l, stride)
        assert (stored[k].grid.stride, stored[k].provenance["sampler"]["l"]) == (stride, l)
        np.testing.assert_allclose(found[number]["conditional"], stored[k].maps[0], rtol=1e-6)
        assert stored[k].measures == ("WE",)
    picture = drawings[0].picture
    check_readable(picture)
    shown = panels(picture)
    assert [title for title, _ in shown] == ["cat", "k = 1", "", "k = 5", "", "k = 10", ""]
    for number, (_, values) in enumerate(shown[1::2]):
        np.testing.assert_array_equal(values, found[number]["conditional"])
    assert any("k = 1, 5, 10; l = 5, 9, 14; S = 2; stride 1, 3, 6" in text.get_text() for text in texts(picture))


def test_figure_2_of_one_side_is_what_explain_computes_with_it(draw: Reproduce, explain: Reproduce) -> None:
    (found,) = groups(draw("figure2", "--set", "sides=[5]", "--stride", "4"))
    # 4 * 5 / 10 = 2: the windows of k = 10 are the measure.
    settings = ("--k", "5", "--l", "9", "--stride", "2", "--sampler", "conditional", "--out", "other")
    assert explain(*settings).code == 0
    np.testing.assert_allclose(found["conditional"], maps("other")["conditional"].maps[0], atol=1e-6)


# --- figure 3 -----------------------------------------------------------------------------------------------------


def literal_mask(values: np.ndarray, share: float) -> np.ndarray:
    """The pixels one by one, those with the largest absolute value first."""
    flat = [abs(float(value)) for value in values.ravel()]
    order = sorted(range(len(flat)), key=lambda pixel: (-flat[pixel], pixel))
    mask = np.zeros(len(flat), bool)
    for pixel in order[: round(share * len(flat))]:
        mask[pixel] = True
    return mask.reshape(values.shape)


def test_figure_3_marks_the_top_pixels_of_both_methods(draw: Reproduce, drawings: list[Drawing]) -> None:
    Image.fromarray(noise(2)).save("dog.png")
    outcome = draw("figure3", photos="cat,dog.png")
    found = groups(outcome)
    assert len(found) == 2
    for group in found:
        for method in ("sensitivity", "conditional"):
            mask = group[f"{method}_mask"]
            assert mask.dtype == bool
            assert mask.sum() == 51  # 5 % of 32 x 32 are 51.2
            np.testing.assert_array_equal(mask, literal_mask(group[method], 0.05))
    check_readable(drawings[0].picture)
    shown = panels(drawings[0].picture)
    assert len(shown) == 6
    for start, group in zip((0, 3), found, strict=True):
        np.testing.assert_array_equal(shown[start + 1][1], group["sensitivity_mask"])
        np.testing.assert_array_equal(shown[start + 2][1], group["conditional_mask"])


@pytest.mark.usefixtures("no_pictures")
def test_figure_3_explains_the_highest_class_in_the_penultimate_layer_pixel_by_pixel(draw: Reproduce) -> None:
    outcome = draw("figure3")
    classifier = open_classifier("tiny", Engine("cpu"))
    x = classifier.preprocessing(read_photo("cat").pixels)
    scores = classifier.network.run(x, "fc")["fc"][0]
    stored = maps()["conditional"]
    assert [str(target) for target in stored.targets] == [f"fc:{scores.argmax()}"]
    assert stored.measures == ("AD",)
    assert (stored.grid.k, stored.provenance["sampler"]["l"], len(stored.grid)) == (1, 5, 32 * 32)
    for array in ("sensitivity", "conditional"):
        assert attributes(outcome, f"0/{array}")["target"] == f"fc:{scores.argmax()}"
    gradient = classifier.network.gradient(x, "fc", (int(scores.argmax()),))
    np.testing.assert_allclose(groups(outcome)[0]["sensitivity"], np.abs(gradient).max(0), rtol=1e-6)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("share", "pixels"), [("0.25", 256), ("1", 1024), ("0.0001", 1)])
def test_figure_3_marks_another_share(draw: Reproduce, share: str, pixels: int) -> None:
    outcome = draw("figure3", *FEW["figure3"], "--set", f"share={share}")
    (found,) = groups(outcome)
    assert found["sensitivity_mask"].sum() == found["conditional_mask"].sum() == pixels
    assert float(attributes(outcome, "0/sensitivity_mask")["share"]) == float(share)


# --- figure 4 -----------------------------------------------------------------------------------------------------


def test_figure_4_shows_the_highest_classes_in_both_layers_with_the_units_values(
    draw: Reproduce, drawings: list[Drawing]
) -> None:
    outcome = draw("figure4", "--stride", "6")
    classifier = open_classifier("tiny", Engine("cpu"))
    x = classifier.preprocessing(read_photo("cat").pixels)
    values = {blob: array[0] for blob, array in classifier.network.run(x, ["fc", "prob"]).items()}
    order = np.argsort(-values["prob"])
    stored = maps()["conditional"]
    assert (stored.grid.k, stored.provenance["sampler"]["l"]) == (10, 14)
    assert [str(target) for target in stored.targets] == [f"{blob}:{unit}" for blob in ("fc", "prob") for unit in order]
    assert stored.measures == ("AD",) * 3 + ("WE",) * 3
    expected = [values[blob][unit] for blob in ("fc", "prob") for unit in order]
    np.testing.assert_allclose(stored.known, expected, rtol=1e-5)
    (found,) = groups(outcome)
    for number, target in enumerate(stored.targets):
        name = f"conditional {target}"
        np.testing.assert_allclose(found[name], stored.maps[number], rtol=1e-5, atol=1e-9)
        assert float(attributes(outcome, f"0/{name}")["known"]) == pytest.approx(expected[number], rel=1e-5)
    check_readable(drawings[0].picture)
    words = ("first", "second", "third")
    titles = [
        f"{words[unit]} class: {values[blob][unit]:#.3g}"
        for unit in order
        for blob in ("fc", "prob")  # column by column
    ]
    shown = panels(drawings[0].picture)
    assert [title for title, _ in shown] == ["cat", *titles]
    for (_, drawn), number in zip(shown[1:], (0, 3, 1, 4, 2, 5), strict=True):
        np.testing.assert_array_equal(drawn, found[f"conditional {stored.targets[number]}"])


@pytest.mark.usefixtures("no_pictures")
def test_the_six_maps_of_figure_4_take_one_pass(
    draw: Reproduce, explain: Reproduce, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    run_batch = MiniBatchEvaluator.run_batch

    def counted(evaluator: MiniBatchEvaluator, batch: np.ndarray) -> np.ndarray:
        calls.append(len(evaluator.targets))
        return run_batch(evaluator, batch)

    monkeypatch.setattr(MiniBatchEvaluator, "run_batch", counted)
    assert draw("figure4", *FEW["figure4"], "--evaluator", "minibatch").code == 0
    assert set(calls) == {6}
    together = len(calls)
    alone = ("--target", "prob:0", "--sampler", "conditional", *FEW["figure4"])
    assert explain(*alone, "--evaluator", "minibatch", "--out", "alone").code == 0
    assert len(calls) == 2 * together


@pytest.mark.usefixtures("no_pictures")
def test_figure_4_of_fewer_classes(draw: Reproduce) -> None:
    assert draw("figure4", *FEW["figure4"], "--set", "classes=1").code == 0
    assert [target.blob for target in maps()["conditional"].targets] == ["fc", "prob"]


# --- all three ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("name", FIGURES)
def test_a_second_run_computes_nothing(draw: Reproduce, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = groups(draw(name, *FEW[name]))

    def fail(*arguments: object) -> None:
        pytest.fail("something was computed")

    for evaluator in (MiniBatchEvaluator, IncrementalEvaluator):
        monkeypatch.setattr(evaluator, "evaluate", fail)
    for one, other in zip(first, groups(draw(name, *FEW[name])), strict=True):
        assert one.keys() == other.keys()
        for array in one:
            np.testing.assert_array_equal(one[array], other[array])


@pytest.mark.parametrize("name", FIGURES)
def test_photos_may_have_different_sizes(draw: Reproduce, drawings: list[Drawing], name: str) -> None:
    Image.fromarray(noise(2, height=90, width=47)).save("tall.png")
    found = groups(draw(name, *FEW[name], photos="cat,tall.png"))
    photos = [group["photo"] for group in found if "photo" in group]
    assert [photo.shape for photo in photos] == [(32, 32, 3)] * 2
    assert len(found) == (4 if name == "figure2" else 2)
    check_readable(drawings[0].picture)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_take_the_text_or_a_column_of_the_paper(draw: Reproduce, drawings: list[Drawing], name: str) -> None:
    sizes = {"figure2": ("sides=[1,2,3,4,5]", 6.75), "figure3": ("k=4", 3.25), "figure4": ("classes=3", 6.75)}
    change, inches = sizes[name]
    photos = [f"{number}.png" for number in range(3)] if name == "figure3" else ["cat"]
    for number, photo in enumerate(photos):
        if photo != "cat":
            Image.fromarray(noise(30 + number)).save(photo)
    assert draw(name, *FEW[name], "--set", change, photos=",".join(photos)).code == 0
    assert drawings[0].picture.get_figwidth() == pytest.approx(inches)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("figure2 --set sides=[5,29]", "k: expected at most 28 pixels, so that the surround of l = k + 4 fits into"),
        ("figure2 --set sides=[5,0]", "set: sides.1: expected a number greater than 0, found 0"),
        ("figure2 --set sides=[]", "set: sides: "),
        ("figure2 --set sides=5", "set: sides: expected a valid list, found 5"),
        ("figure2 --set sides=[five]", "set: sides.0: expected a valid integer, found 'five'"),
        ("figure2 --k 5", "k: expected none, for this figure sets the sides of its windows itself, found 5"),
        ("figure2 --l 15", "l: expected none, for this figure sets the sides of its windows itself, found 15"),
        ("figure3 --k 1", "k: expected none, for this figure sets the sides of its windows itself, found 1"),
        ("figure3 --set k=30", "k: expected at most 28 pixels"),
        ("figure3 --set share=0", "set: share: expected a number greater than 0, found 0"),
        ("figure3 --set share=-0.1", "set: share: expected a number greater than 0, found -0.1"),
        ("figure3 --set share=1.5", "set: share: expected a number less than or equal to 1, found 1.5"),
        ("figure3 --set share=.nan", "set: share: "),
        ("figure4 --set classes=5", "classes: expected at most 3, as many as Tiny has, found 5"),
        ("figure4 --set classes=0", "set: classes: expected a number greater than or equal to 1, found 0"),
        ("figure2 --set side=[1,5]", "set: side: unknown field (did you mean 'sides'"),
        ("figure3 --set shares=0.1", "set: shares: unknown field (did you mean 'share'"),
        ("figure4 --set clases=2", "set: clases: unknown field (did you mean 'classes'?)"),
    ],
)
def test_what_cannot_be_drawn_ends_in_one_line(draw: Reproduce, arguments: str, words: str) -> None:
    name, *rest = arguments.split()
    assert words in draw(name, *rest).error
    assert not [path for path in Path().rglob("*") if path.is_file()]
