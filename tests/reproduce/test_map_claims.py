"""The checks of claims about maps: on maps made so that the answer is known, and once on all that is real but small."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from tiny_home import add_network, noise, tiny_weights

from predict_diff.caffe.preprocess import Preprocessing
from predict_diff.errors import ConfigurationError, ImageError
from predict_diff.result import RelevanceMap
from predict_diff.targets import Target
from predict_diff.top_pixels import top_pixels
from predict_diff.windows import WindowGrid
from reproduce import config
from reproduce.classifier import Engine
from reproduce.figures.make import read_figure
from reproduce.request import Request
from reproduce.subject import Choices, Subject
from reproduce.verifying.interval import Interval, decide
from reproduce.verifying.material import Material
from reproduce.verifying.measurement import NotMeasurableError
from reproduce.verifying.over_photos import contrast
from reproduce.verifying.registry import checks
from reproduce.verifying.statistics import box_average, hoyer_of_exponential

SIDE = 60
TITLES = ("First", "Second", "Third")


@dataclass(frozen=True)
class Place:
    """All that a made-up map may depend on."""

    photo: str
    network: int
    sampler: str
    seed: int
    k: int | None
    samples: int | None

    def generator(self, *names: str) -> np.random.Generator:
        """Of what depends on the named fields alone."""
        words = ",".join(str(getattr(self, name)) for name in names)
        return np.random.default_rng([ord(letter) for letter in words] or 0)


class AsItIs:
    """A preprocessing that does nothing, so that whatever stands for a photo reaches the network."""

    def __call__(self, pixels):
        return pixels

    def view(self, pixels):
        return pixels


def smooth(generator: np.random.Generator, sigma: float = 2.0) -> np.ndarray:
    values = gaussian_filter(generator.normal(size=(SIDE, SIDE)), sigma)
    return values / values.std()


@dataclass
class MadeUp:
    """Stands for `Material`: windows are pixels, so that a map is what it is made from.

    Attributes
    ----------
    relevance : callable
        Place -> (targets, SIDE, SIDE).
    error : callable
        Place -> the standard errors of these, or one number.
    """

    relevance: Callable[[Place], np.ndarray]
    error: Callable[[Place], np.ndarray | float] = lambda place: 0.0
    names: tuple[str, ...] = ("p", "q", "r", "s", "t")
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    titles: tuple[str, ...] = TITLES
    chosen: bool = True
    sensitivity: Callable[[Place], np.ndarray] | None = None
    view: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE, 3), np.float32))
    blobs: dict[str, Callable[[int], np.ndarray]] = field(default_factory=dict)
    predicted: Callable[[np.ndarray], np.ndarray] | None = None
    pixels: Callable[[str], Any] = str
    preprocessing: Any = field(default_factory=AsItIs)

    @property
    def request(self):
        return SimpleNamespace(photos=list(self.names) if self.chosen else None)

    @property
    def photos(self):
        return [self.photo(name) for name in self.names]

    def photo(self, name):
        return SimpleNamespace(name=name, pixels=self.pixels(name))

    def networks(self):
        return [self._network(number) for number in range(len(self.titles))]

    def network(self, role):
        return self._network(("alexnet", "googlenet", "vgg16").index(role))

    def _network(self, number):
        def run(x, blob):
            return {blob: self.blobs[blob](self.names.index(x))[None]}

        return SimpleNamespace(
            number=number,
            card=SimpleNamespace(title=self.titles[number]),
            network=SimpleNamespace(run=run),
            preprocessing=self.preprocessing,
            spatial_blob=lambda which: which,
            top=lambda x: Target("prob", (0,)),
            describe_target=str,
        )

    def best_three(self, photo, classifier):
        return tuple(Target(blob, (number,)) for blob in ("fc", "prob") for number in range(3))

    def settings(self, seed, k=None, samples=None):
        settings = config.settings("paper", "quick", seed)
        return settings if k is None else config.with_side(settings, k)

    def subject(self, photo, classifier, samplers, targets=None, *, seed):
        sampler = SimpleNamespace(conditional_mean=lambda x, windows: self.predicted(windows))
        grid = WindowGrid(SIDE, SIDE, 1)
        x = np.zeros((3, SIDE, SIDE), np.float32)
        return SimpleNamespace(sampler=lambda name: sampler, x=x, grid=grid, settings=SimpleNamespace(k=1))

    def explanation(self, photo, classifier, samplers, targets=None, *, k=None, samples=None, seed, sensitivity=False):
        places = {name: Place(photo.name, classifier.number, name, seed, k, samples) for name in samplers}
        first = Place(photo.name, classifier.number, "none", seed, k, samples)
        shown = [self.sensitivity(first)] if sensitivity and self.sensitivity else [np.ones((SIDE, SIDE))]
        relevance = {name: self._map(place, len(targets or "1")) for name, place in places.items()}
        return SimpleNamespace(relevance=relevance, sensitivity=shown, view=self.view)

    def _map(self, place, targets):
        values = np.broadcast_to(self.relevance(place), (targets, SIDE, SIDE))
        flat = np.array(values, float).reshape(targets, -1)
        errors = np.broadcast_to(self.error(place), values.shape).reshape(targets, -1)
        return RelevanceMap(
            grid=WindowGrid(SIDE, SIDE, 1),
            targets=tuple(Target("prob", (number,)) for number in range(targets)),
            measures=("WE",) * targets,
            known=np.ones(targets),
            expected=np.zeros_like(flat),
            relevance=flat,
            standard_error=errors.astype(float),
            counts=np.ones(SIDE * SIDE, np.int64),
        )


def measured(name, material, **parameters):
    return checks()[name](material, **parameters)


def verdict(found, threshold=0.0):
    return decide(Interval(found.value, found.low, found.high, found.count), "above", threshold)


def either(one, other):
    """Maps of the conditional sampler, and of the marginal one."""
    return lambda place: (one if place.sampler == "conditional" else other)(place)


def base(place):
    return smooth(place.generator("photo", "network", "seed"))


# Sharper, predictable


def peaked(place):
    return base(place) ** 3


def blurred(place):
    return gaussian_filter(base(place), 3)


@pytest.mark.parametrize(("name", "sharp", "dull"), [("sharper", peaked, base), ("sharper_variation", base, blurred)])
def test_what_sharpens_a_map_is_sharper_whichever_sampler_does_it(name, sharp, dull):
    assert verdict(measured(name, MadeUp(either(sharp, dull)), samples=20)) == "reproduced"
    assert verdict(measured(name, MadeUp(either(dull, sharp)), samples=20)) == "deviates"
    assert verdict(measured(name, MadeUp(base), samples=20)) == "undecided"


def test_sharpness_says_both_terms_photos_and_how_much_of_each_map_is_noise():
    noise_of = {"conditional": 0.1, "marginal": 0.3}
    found = MadeUp(either(peaked, base), lambda place: noise_of[place.sampler] * np.abs(found.relevance(place)))
    detail = measured("sharper", found, samples=20).detail
    for words in ("conditional 0.", "minus marginal 0.", "by photo: p 0."):
        assert words in detail
    assert "S = 20; sampling noise in the squared relevance: marginal 0.09, conditional 0.01" in detail


@pytest.mark.parametrize("name", ["sharper", "sharper_variation", "predictable"])
def test_samplers_are_compared_at_the_s_asked_for_on_one_network_with_one_seed(name):
    asked = set()

    def recorded(place):
        asked.add(place)
        return base(place)

    material = MadeUp(recorded, seeds=[4, 5], predicted=lambda windows: np.ones((len(windows), 3, 1, 1)))
    found = measured(name, material, samples=20)
    assert found.count == 5
    both = ("conditional", "marginal")
    assert asked == {Place(photo, 0, sampler, 4, None, 20) for photo in material.names for sampler in both}


def test_samplers_are_not_compared_at_one_sample_which_does_not_say_its_noise():
    with pytest.raises(NotMeasurableError, match="single sample"):
        measured("sharper", MadeUp(base, lambda place: np.nan), samples=1)


LEFT = np.indices((SIDE, SIDE))[1] < SIDE // 2


def test_relevance_taken_off_windows_that_their_surround_predicts_is_found():
    def predicted(windows):
        # x is 0: on the left as the surround leads to expect, on the right ever further from it.
        return np.broadcast_to((windows[:, 1] // (SIDE // 2))[:, None, None, None] * 9.0, (len(windows), 3, 1, 1))

    def even(place):
        return np.ones((SIDE, SIDE))

    def taken_off(place):
        # Two thirds of what is left lies on the right.
        return np.where(LEFT, -0.5, 1)

    found = measured("predictable", MadeUp(either(taken_off, even), predicted=predicted), samples=20)
    assert found.value == pytest.approx(1 / 2 - 1 / 3)
    assert verdict(found) == "reproduced"
    for relevance, word in ((either(even, taken_off), "deviates"), (even, "undecided")):
        assert verdict(measured("predictable", MadeUp(relevance, predicted=predicted), samples=20)) == word


# Single pixels


def two_samples(effect):
    """Relevance and standard error of two samples, an effect and noise of variance 1."""

    def drawn(place):
        return effect + place.generator("photo", "seed").normal(size=(2, SIDE, SIDE))

    return lambda place: drawn(place).mean(axis=0), lambda place: np.abs(np.subtract(*drawn(place))) / 2


@pytest.mark.parametrize("effect", [0.3, 1, 5])
def test_the_share_of_effect_in_squared_relevance_is_that_of_theory(effect):
    found = measured("single_pixel_effect", MadeUp(*two_samples(effect)))
    assert found.value == pytest.approx(effect**2 / (effect**2 + 1 / 2), abs=0.03)
    assert verdict(found) == "reproduced"


def test_noise_alone_is_no_effect():
    found = measured("single_pixel_effect", MadeUp(*two_samples(0)))
    assert abs(found.value) < 0.05
    assert verdict(found) == "undecided"
    assert measured("single_pixel_effect", MadeUp(lambda place: np.zeros((SIDE, SIDE)))).value == 0


def test_samples_that_contradict_each_other_deviate():
    assert verdict(measured("single_pixel_effect", MadeUp(base, lambda place: 2 * np.abs(base(place))))) == "deviates"


def test_one_sample_does_not_tell_an_effect_from_noise():
    with pytest.raises(NotMeasurableError, match="single sample"):
        measured("single_pixel_effect", MadeUp(base, lambda place: np.nan))


def test_top_pixels_are_compared_with_those_of_the_sensitivity_map():
    def compared(sensitivity):
        return measured("single_pixels_and_sensitivity", MadeUp(base, sensitivity=sensitivity))

    same = compared(lambda place: np.abs(base(place)))
    # A mask lies in itself; shifted by anything but nothing, in (n - 1) of the other N - 1 places.
    pixels, total = round(0.05 * SIDE**2), SIDE**2
    assert same.value == pytest.approx(1 - (pixels - 1) / (total - 1), abs=0.005)
    assert verdict(same) == "reproduced"
    assert "share of shifts that overlap as much: p 0" in same.detail
    elsewhere = compared(lambda place: np.where(top_pixels(base(place)), 0, np.abs(base(place))))
    assert verdict(elsewhere) == "deviates"
    assert verdict(compared(lambda place: smooth(place.generator("photo"), 0))) == "undecided"


SQUARE = np.zeros((SIDE, SIDE, 3), np.float32)
SQUARE[15:45, 15:45] = 1
#: Pixels on its outline, and far from it: fewer and more than the top 5 %.
OUTLINE, ELSEWHERE = np.zeros((2, SIDE, SIDE), bool)
OUTLINE[15:45, [15, 44]] = OUTLINE[[15, 44], 15:45] = True
ELSEWHERE[20:40, 20:40] = True


def on(mask):
    return lambda place: mask * (2 + place.generator("photo").random((SIDE, SIDE)))


def off(place):
    return ~OUTLINE * (2 + place.generator("photo").random((SIDE, SIDE)))


def test_top_pixels_on_outlines_are_found_there():
    along = measured("outlines", MadeUp(on(OUTLINE), view=SQUARE))
    assert verdict(along) == "reproduced"
    assert verdict(measured("outlines", MadeUp(on(ELSEWHERE), view=SQUARE))) == "deviates"
    scattered = MadeUp(lambda place: place.generator("photo").normal(size=(SIDE, SIDE)), view=SQUARE)
    assert abs(measured("outlines", scattered).value) < 0.05
    # An even photo has none, nor has chance any.
    assert measured("outlines", MadeUp(base)).value == 0


def test_top_pixels_are_more_or_less_on_outlines_than_the_sensitivity_maps():
    def compared(one, other):
        return verdict(measured("outlines_beyond_sensitivity", MadeUp(one, sensitivity=other, view=SQUARE)))

    assert compared(on(OUTLINE), on(ELSEWHERE)) == "reproduced"
    assert compared(on(ELSEWHERE), on(OUTLINE)) == "deviates"
    assert compared(on(OUTLINE), on(OUTLINE)) == "undecided"


@pytest.mark.parametrize("seeds", [0, 3])
def test_as_many_seeds_as_there_are_not_are_refused(seeds):
    with pytest.raises(ConfigurationError, match=f"expected 1 to 2, .* found {seeds}"):
        measured("outlines", MadeUp(base, view=SQUARE), seeds=seeds)


def test_single_pixels_are_figure_3s_unless_photos_are_chosen():
    asked = []

    def recorded(place):
        asked.append((place.photo, place.k, place.seed, place.sampler))
        return base(place)

    figure = read_figure("figure3")
    found = measured("single_pixel_effect", MadeUp(recorded, chosen=False))
    assert asked == [(photo, figure.k, 0, "conditional") for photo in figure.photos]
    assert found.count == len(figure.photos)
    asked.clear()
    measured("single_pixel_effect", MadeUp(recorded, names=("cat", "dog")), seeds=2)
    assert asked == [(photo, 1, seed, "conditional") for photo in ("cat", "dog") for seed in (0, 1)]


# Objects

#: A photo twice as wide as high, of which a network sees the square in the middle.
WIDE = (SIDE, 2 * SIDE)
OBJECT = np.zeros(WIDE, np.uint8)
OBJECT[20:40, 50:70] = 255
#: The same in the network's view: a ninth of it.
SEEN = OBJECT[:, 30:90] > 0


@pytest.fixture
def draw(home):
    """Put a mask where the user would, white where the values are 255."""

    def drawn(name, values):
        Image.fromarray(values).save(home / "data" / "photos" / f"{name}.mask.png")

    return drawn


def looking(at):
    """Sensitivity maps whose top pixels lie in a mask, or anywhere where there is none."""

    def sensitivity(place):
        values = place.generator("photo").random((SIDE, SIDE))
        return values if at is None else values + 2 * at

    photos = {"pixels": lambda name: np.zeros((*WIDE, 3), np.float32), "preprocessing": Preprocessing(SIDE, "square")}
    return MadeUp(base, sensitivity=sensitivity, **photos)


def test_top_pixels_on_the_object_are_found_there(draw):
    for name in MadeUp(base).names:
        draw(name, OBJECT)
    on = measured("on_the_object", looking(SEEN))
    assert on.value == pytest.approx(1 - 1 / 9)
    assert verdict(on) == "reproduced"
    off = measured("on_the_object", looking(~SEEN))
    assert off.value == pytest.approx(-1 / 9)
    assert verdict(off) == "deviates"
    assert abs(measured("on_the_object", looking(None)).value) < 0.05


def test_only_photos_with_a_mask_count(draw):
    draw("q", OBJECT)
    draw("s", np.repeat(OBJECT[..., None], 3, axis=2))
    found = measured("on_the_object", looking(SEEN))
    assert found.count == 2
    assert "by photo: q 0.889, s 0.889" in found.detail


@pytest.mark.usefixtures("home")
def test_without_masks_where_the_object_is_nobody_knows():
    with pytest.raises(NotMeasurableError, match=r"none of the photos has a mask .*data/photos/<photo>\.mask\.png"):
        measured("on_the_object", looking(SEEN))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (OBJECT[:, :-1], r"expected 120 x 60 pixels, as p has, found 119 x 60"),
        (OBJECT.T.copy(), r"expected 120 x 60 pixels, as p has, found 60 x 120"),
        (np.zeros_like(OBJECT), "found black all over"),
        (np.full_like(OBJECT, 255), "found white all over"),
    ],
)
def test_masks_that_say_nothing_of_their_photo_are_errors_in_one_line(draw, values, found):
    draw("p", values)
    with pytest.raises(ImageError, match=found) as error:
        measured("on_the_object", looking(SEEN))
    assert "p.mask.png: expected " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_picture_is_no_mask(home):
    (home / "data" / "photos" / "p.mask.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"p\.mask\.png"):
        measured("on_the_object", looking(SEEN))


# Sides


def noisy(values, place, amount):
    return values + amount * smooth(place.generator("photo", "seed", "k"))


def averaged(amount):
    """The map of every side is the average of that of k = 5, but for noise."""

    def relevance(place):
        fine = smooth(place.generator("photo"), 2)
        stride = config.with_side(config.settings("paper", "quick"), place.k).stride
        values = fine if place.k == 5 else 7 * box_average(fine, place.k, stride) + 3
        return noisy(values, place, amount)

    return relevance


@pytest.mark.parametrize("k", [10, 15, 20])
def test_a_map_that_is_an_average_leaves_nothing_but_noise(k):
    assert measured("sides", MadeUp(averaged(0)), k=k).value == pytest.approx(0, abs=1e-12)
    found = measured("sides", MadeUp(averaged(0.7)), k=k)
    assert abs(found.value) < 0.2
    assert verdict(found, 0.06) != "reproduced"


@pytest.mark.parametrize("amount", [0, 0.5, 1])
def test_a_map_of_its_own_that_is_no_average_is_found_whatever_the_noise(amount):
    found = measured("sides", MadeUp(lambda place: noisy(smooth(place.generator("photo", "k")), place, amount)), k=10)
    assert found.value == pytest.approx(1, abs=0.2)
    assert verdict(found, 0.06) == "reproduced"


@pytest.mark.parametrize("amount", [6, 100])
def test_maps_that_hardly_repeat_are_no_measurement(amount):
    drowned = MadeUp(lambda place: noisy(smooth(place.generator("photo", "k")), place, amount))
    with pytest.raises(NotMeasurableError, match=r"maps of p for k = 10 and 5 hardly repeat .* less than 0\.1"):
        measured("sides", drowned, k=10)


def test_maps_whose_seeds_contradict_each_other_do_not_repeat():
    with pytest.raises(NotMeasurableError, match="hardly repeat with other samples: 0 of"):
        measured("sides", MadeUp(lambda place: (1 - 2 * place.seed) * smooth(place.generator("photo"))), k=10)


def test_windows_that_add_up_what_their_pixels_count_stay_below_the_threshold():
    def added(place):
        pixels = smooth(place.generator("photo"), 1)
        stride = config.with_side(config.settings("paper", "quick"), place.k).stride
        return box_average(pixels, place.k, stride)

    for k in (10, 15, 20):
        assert measured("sides", MadeUp(added), k=k).value < 0.06


# Classes, networks


def classes(penultimate, output):
    """Maps of three classes: alike, or each its own, in either layer."""

    def layer(place, alike, name):
        generator = place.generator("photo", "network")
        common = smooth(generator)
        own = np.array([smooth(generator) for _ in range(6)])[3 * name : 3 * name + 3]
        return common + 0.1 * own if alike else own

    return lambda place: np.concatenate([layer(place, penultimate, 0), layer(place, output, 1)])


def test_classes_look_alike_in_the_layer_where_they_do():
    def compared(penultimate, output):
        return measured("similar_classes", MadeUp(classes(penultimate, output), names=("p", "q"), titles=("Only",)))

    found = compared(True, False)
    assert found.value == pytest.approx(1, abs=0.2)
    assert verdict(found) == "reproduced"
    assert verdict(compared(False, True)) == "deviates"
    assert abs(compared(True, True).value) < 0.01


def test_what_shared_samples_add_to_similarity_shows_and_does_not_decide():
    def only_noise(place):
        common = smooth(place.generator("photo", "network", "seed"))
        # Photos are independent: what one has in common by chance, the next has not.
        own = np.array([smooth(np.random.default_rng([ord(place.photo), number])) for number in range(6)])
        return np.concatenate([common + 0.1 * own[:3], own[3:]])

    found = measured("similar_classes", MadeUp(only_noise, titles=("Only",)))
    assert abs(found.value) < 0.3
    assert verdict(found) == "undecided"
    *_, itself, shared = found.detail.split(";")
    assert float(shared.split()[0]) > 0.7
    # In the penultimate layer maps do not repeat, in the output layer they do to the last bit.
    penultimate, output = itself.removeprefix(" a class with itself ").split(" and ")
    assert abs(float(penultimate)) < 0.3
    assert float(output) == 1


def test_penultimate_maps_of_classes_are_alike_or_not_whatever_noise_they_share():
    def compared(relevance):
        return measured("similar_classes_penultimate", MadeUp(relevance, titles=("Only",)))

    alike = compared(classes(True, False))
    assert alike.value == pytest.approx(1, abs=0.1)
    assert verdict(alike) == "reproduced"
    assert verdict(compared(classes(False, True))) == "undecided"

    def opposed(place):
        # Of three maps that add up to nothing, each correlates with the others by minus a half.
        own = np.array([smooth(place.generator("photo")), *2 * [np.zeros((SIDE, SIDE))]])
        own[1] = smooth(np.random.default_rng([ord(place.photo), 1]))
        own[2] = -own[0] - own[1]
        return np.concatenate([own, own])

    assert verdict(compared(opposed)) == "deviates"

    def only_noise(place):
        return np.concatenate([[base(place)] * 3, [base(place)] * 3])

    assert verdict(compared(only_noise)) == "undecided"


def seen_by(*fields):
    """Maps that depend on these, with noise of their own."""
    return lambda place: smooth(place.generator(*fields)) + 0.5 * smooth(place.generator("photo", "network", "seed"))


def test_networks_differ_if_their_maps_do_by_more_than_noise():
    found = measured("networks_differ", MadeUp(seen_by("photo", "network")))
    assert verdict(found) == "reproduced"
    assert "First and Second 0." in found.detail
    assert "one class in 5 of 5 photos" in found.detail
    same = measured("networks_differ", MadeUp(seen_by("photo")))
    assert abs(same.value) < 0.05
    assert verdict(same) != "reproduced"


def test_networks_that_agree_better_than_seeds_deviate():
    def crossed(place):
        # What one network shows for one seed, the second shows for the other.
        return smooth(np.random.default_rng([ord(place.photo), (place.network + place.seed) % 2]))

    assert verdict(measured("networks_differ", MadeUp(crossed, titles=TITLES[:2]))) == "deviates"


def test_one_network_cannot_differ():
    with pytest.raises(NotMeasurableError, match="two networks"):
        measured("networks_differ", MadeUp(base, titles=TITLES[:1]))


# Sparseness, samples


def feature_maps(activations):
    """Blobs of feature maps with these mean absolute activations, (photo) -> (n,)."""
    alternating = np.where(np.indices((4, 4)).sum(0) % 2, 1, -1)
    blob = {name: lambda photo: activations(photo)[:, None, None] * alternating for name in ("early", "middle", "last")}
    return MadeUp(base, blobs=blob)


def test_sparse_activations_are_sparser_than_exponential_ones():
    one = measured("sparse", feature_maps(lambda photo: np.eye(200)[photo]))
    assert one.value == pytest.approx(1 - hoyer_of_exponential(200))
    assert verdict(one) == "reproduced"
    assert verdict(measured("sparse", feature_maps(lambda photo: np.ones(200)))) == "deviates"
    exponential = measured("sparse", feature_maps(lambda photo: np.random.default_rng(photo).exponential(size=1000)))
    assert abs(exponential.value) < 0.03
    assert "early blob early" in exponential.detail


def test_maps_of_few_and_many_samples_are_compared():
    def relevance(place):
        deviation = 0.3 / np.sqrt(place.samples)
        return smooth(place.generator("photo")) + deviation * place.generator("photo", "seed", "samples").normal(
            size=(SIDE, SIDE)
        )

    found = measured("sample_count", MadeUp(relevance, lambda place: 0.3 / np.sqrt(place.samples)))
    assert found.count == 3
    assert verdict(found, 0.95) == "reproduced"
    differing = float(found.detail.split("of the windows, ")[1].split()[0])
    assert differing == pytest.approx(0.05, abs=0.01)
    unlike = MadeUp(lambda place: smooth(place.generator("photo", "samples")))
    assert verdict(measured("sample_count", unlike), 0.95) == "deviates"


def test_maps_of_many_samples_are_those_that_tell_the_samplers_apart():
    asked = []

    def recorded(place):
        asked.append(place)
        return base(place)

    material = MadeUp(recorded, seeds=[4, 5])
    measured("sharper", material, samples=20)
    compared, asked[:] = set(asked), []
    measured("sample_count", material)
    many = {place for place in asked if place.samples == 20}
    assert many == {place for place in compared if place.photo in material.names[:3]}
    assert set(asked) - many == {Place(photo, 0, "conditional", 5, None, 10) for photo in material.names[:3]}


# Photos and seeds


def test_one_photo_has_no_interval():
    found = measured("sharper", MadeUp(either(peaked, base), names=("p",)), samples=20)
    assert np.isnan([found.low, found.high]).all()
    assert verdict(found) == "undecided"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sides", {"k": 10}),
        ("similar_classes", {}),
        ("similar_classes_penultimate", {}),
        ("networks_differ", {}),
        ("sample_count", {}),
    ],
)
def test_one_seed_does_not_tell_a_map_from_its_noise(name, parameters):
    with pytest.raises(NotMeasurableError, match="two seeds"):
        measured(name, MadeUp(base, seeds=[7]), **parameters)


def test_photos_are_the_independent_units():
    # By photo -1, 1, 3, each with networks and seeds that cancel out.
    centres = dict(zip("pqr", (-1, 1, 3), strict=True))

    def terms(photo, classifier, seed):
        return centres[photo.name] + 10 * (classifier.number - 1) + 5 * (2 * seed - 1), 0

    found = contrast(MadeUp(base, names=("p", "q", "r")), terms, ("it", "nothing"))
    # t(0.975, 2) = 4.3027; the standard deviation of -1, 1, 3 is 2.
    half = 4.3027 * 2 / np.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1 - half, 1 + half), abs=1e-3)
    assert found.count == 3
    # Two seeds, 10 apart.
    assert "spread over 2 seeds 7.1" in found.detail
    assert "First -9, Second 1, Third 11" in found.detail


# All that is real but small


CHECKS = {
    "sharper": {"samples": 3},
    "sharper_variation": {"samples": 3},
    "predictable": {"samples": 3},
    "single_pixel_effect": {},
    "single_pixels_and_sensitivity": {},
    "outlines": {},
    "outlines_beyond_sensitivity": {},
    "on_the_object": {},
    "sides": {"k": 8},
    "similar_classes": {},
    "similar_classes_penultimate": {},
    "networks_differ": {},
    "sparse": {},
    "sample_count": {"counts": [2, 3], "photos": 2},
}


@pytest.mark.slow
@pytest.mark.usefixtures("reproduce")
def test_every_check_measures_real_networks_and_computes_no_map_twice(home, tmp_path, monkeypatch):
    for seed, name in enumerate(("alexnet", "googlenet", "vgg16")):
        add_network(home, name, tiny_weights(seed))
    photos = [tmp_path / f"{name}.png" for name in ("ape", "bee")]
    for seed, path in enumerate(photos):
        Image.fromarray(noise(seed)).save(path)
        mask = Image.fromarray(255 * np.tri(*noise(seed).shape[:2], dtype=np.uint8))
        mask.save(home / "data" / "photos" / f"{path.stem}.mask.png")
    request = Request(
        Choices(tmp_path / "results", str(home / "pool")),
        photos=list(map(str, photos)),
        profile="quick",
        engine=Engine("cpu"),
        changes={"k": 4, "l": 5, "stride": 4},
    )

    def measure():
        material = Material(request, request.photos, [0, 1], {})
        return {name: measured(name, material, **parameters) for name, parameters in CHECKS.items()}

    first = measure()
    assert all(np.isfinite([found.value, found.low, found.high]).all() for found in first.values())
    assert first["sample_count"].count == 2
    monkeypatch.setattr(Subject, "compute", None)
    assert measure() == first
