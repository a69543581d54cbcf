"""What a comparison is made of: stored arrays, means and what is best, the random map, what a run will cost."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from predict_diff.caffe.preprocess import Preprocessing
from predict_diff.errors import ImageError, ResultError
from predict_diff.measures import rank_correlation
from predict_diff.methods.method import Passes
from predict_diff.targets import Target
from reproduce.comparing.configuration import Region
from reproduce.comparing.estimate import Speed
from reproduce.comparing.measuring import Measured
from reproduce.comparing.objects import region_seen
from reproduce.comparing.random_map import RandomMap
from reproduce.comparing.results import Results
from reproduce.comparing.storing import Store, Stored
from reproduce.comparing.summary import over_networks, paired_difference, summaries
from reproduce.comparing.table import cell
from reproduce.photos import Photo
from reproduce.verifying.interval import Interval

IDENTITY = {"method": "rise", "seed": 0}


def stored() -> Stored:
    return Stored({"map": np.arange(12.0).reshape(3, 4), "value": np.array(0.25)}, {"seconds": 1.5})


def test_stored_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "folder")
    assert store.load("cat", IDENTITY) is None
    store.save("cat", IDENTITY, stored())
    found = store.load("cat", IDENTITY)
    assert found is not None
    assert found.arrays.keys() == {"map", "value"}
    np.testing.assert_array_equal(found.arrays["map"], stored().arrays["map"])
    assert float(found.arrays["value"]) == 0.25
    assert found.provenance == {"seconds": 1.5, "identity": IDENTITY}


def test_another_identity_has_another_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("cat", IDENTITY, stored())
    assert store.load("cat", {**IDENTITY, "seed": 1}) is None


def test_what_is_stored_is_not_computed_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> Stored:
        calls.append(1)
        return stored()

    store = Store(tmp_path)
    for _ in range(2):
        assert float(store.kept("cat", IDENTITY, compute).arrays["value"]) == 0.25
    assert calls == [1]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("cat", IDENTITY, stored())
    other = {"method": "other"}
    store.path("cat", IDENTITY).rename(store.path("cat", other))
    with pytest.raises(ResultError, match="expected the numbers of this configuration"):
        store.load("cat", other)


@pytest.mark.parametrize("damage", [b"", b"nothing", None])
def test_damage_is_an_error_that_names_the_file_or_makes_room(tmp_path: Path, damage: bytes | None) -> None:
    store = Store(tmp_path)
    store.save("cat", IDENTITY, stored())
    path = store.path("cat", IDENTITY)
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    with pytest.raises(ResultError, match=str(path)) as error:
        store.load("cat", IDENTITY)
    assert len(str(error.value).splitlines()) == 1
    assert Store(tmp_path, force=True).load("cat", IDENTITY) is None


def test_other_programs_can_read_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("cat", IDENTITY, stored())
    with h5py.File(store.path("cat", IDENTITY)) as file:
        assert file["map"].shape == (3, 4)


def test_a_long_name_still_makes_a_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("ü/" * 300, IDENTITY, stored())
    assert store.load("ü/" * 300, IDENTITY) is not None


# --- means, and what is best ---


def test_networks_are_averaged_within_photos_that_have_a_value_in_each() -> None:
    assert over_networks([{0: 1.0, 1: 2.0, 2: 5.0}, {0: 3.0, 1: 2.0}]) == {0: 2.0, 1: 2.0}
    assert over_networks([]) == {}


def test_intervals_are_students() -> None:
    values = [0.1, 0.4, 0.5, 0.9]
    found = summaries({"a": dict(enumerate(values)), "b": {}}, "higher")
    assert found.keys() == {"a"}
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found["a"].interval.low, found["a"].interval.high) == pytest.approx((low, high))


def test_best_is_what_is_better_photo_by_photo_even_if_the_intervals_overlap() -> None:
    base = np.array([0.1, 0.5, 0.9, 0.3, 0.7])
    step = np.array([0.05, 0.06, 0.05, 0.04, 0.05])
    values = {"low": dict(enumerate(base)), "high": dict(enumerate(base + step))}
    found = summaries(values, "higher")
    assert found["high"].interval.low < found["low"].interval.high
    assert found["high"].best
    assert not found["low"].best
    assert summaries(values, "lower")["low"].best
    assert not any(each.best for each in summaries(values, "neither").values())


def test_nothing_is_best_where_the_interval_of_the_difference_holds_zero_or_there_is_one_photo() -> None:
    values = {"a": {0: 1.0, 1: 0.0, 2: 1.0}, "b": {0: 0.0, 1: 0.9, 2: 0.5}}
    assert not any(each.best for each in summaries(values, "higher").values())
    assert not any(each.best for each in summaries({"a": {0: 1.0}, "b": {0: 0.0}}, "higher").values())
    assert not any(each.best for each in summaries({"a": {0: 1.0, 1: 1.1}}, "higher").values())


def test_best_has_to_beat_each_other_method() -> None:
    noise = np.array([0.3, -0.3, 0.2, -0.2, 0.0])
    values = {
        "first": dict(enumerate(np.full(5, 1.0))),
        "second": dict(enumerate(0.9 + noise)),
        "third": dict(enumerate(np.full(5, 0.1))),
    }
    assert not summaries(values, "higher")["first"].best


def test_differences_are_of_the_photos_that_both_have() -> None:
    found = paired_difference({0: 1.0, 1: 3.0}, {1: 1.0, 2: 9.0})
    assert found is not None
    assert (found.mean, found.count) == (2.0, 1)
    assert math.isnan(found.low)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_the_best_is_found_even_if_another_has_the_best_mean_of_other_photos() -> None:
    better = {photo: 0.5 + 0.01 * photo for photo in range(4)}
    worse = {photo: value - 0.4 for photo, value in better.items()}
    values = {"few": {0: 0.4, 1: 0.42, 5: 9.0}, "better": better, "worse": worse}
    found = summaries(values, "higher")
    assert found["few"].interval.mean > found["better"].interval.mean
    assert found["better"].best


def test_a_cell_says_of_how_many_photos_it_is_if_not_of_all() -> None:
    assert cell(Interval(0.5, 0.4, 0.6, 5), 5) == "0.5 (0.4 to 0.6)"
    assert cell(Interval(0.5, -0.4, 0.6, 4), 5) == "0.5 (−0.4 to 0.6, 4 photos)"
    assert cell(Interval(0.5, math.nan, math.nan, 1), 5) == "0.5 (1 photo)"
    assert cell(Interval(0.5, math.nan, math.nan, 1), 1) == "0.5"


def test_curves_are_of_the_photos_that_have_one() -> None:
    def outcome(scores: list[float] | None) -> Any:
        curve = {} if scores is None else {("rise", "deletion"): Measured(0.0, {"scores": np.array(scores)})}
        return SimpleNamespace(measured=curve)

    comparison: Any = None
    first, second = (
        [outcome([1, 0]), outcome(None), outcome([3, 0])],
        [outcome([3, 2]), outcome([1, 1]), outcome([5, 4])],
    )
    found = Results(comparison, {"a": first, "b": second}).curve("deletion", "rise")
    np.testing.assert_array_equal(found, [[2, 1], [4, 2]])
    assert Results(comparison, {"a": first[1:2], "b": second[1:2]}).curve("deletion", "rise") is None


# --- where objects are ---


@pytest.mark.parametrize("options", [
    {"resize": "warp", "resize_to": 40},
    {"resize": "square"},
    {"resize": "square", "antialias": True},
    {"resize": "none"},
])  # fmt: skip
@pytest.mark.parametrize("size", [(90, 60), (61, 151), (37, 33)])
def test_an_object_is_where_the_network_sees_it(tmp_path: Path, options: dict[str, Any], size: tuple[int, int]) -> None:
    height, width = size
    # A white rectangle, off the centre, on a black photo.
    box = [height // 3, width // 2, height // 4, width // 8]
    row, column, rows, columns = box
    marked = np.zeros((height, width, 3), np.float32)
    marked[row : row + rows, column : column + columns] = 1
    preprocessing = Preprocessing(input_size=32, raw_scale=1, **options)
    classifier: Any = SimpleNamespace(preprocessing=preprocessing, card=SimpleNamespace(title="Tiny"))
    photo = Photo("marked", marked, "", "", "")
    seen = preprocessing(marked)[0] > 0.5
    assert 0 < seen.mean() < 0.5
    Image.fromarray((255 * marked).astype(np.uint8)).save(tmp_path / "it.mask.png")
    for region in (Region(box=box), Region(mask="it.mask.png")):
        np.testing.assert_array_equal(region_seen(region, photo, classifier, tmp_path / "c.yaml"), seen)


def test_an_object_beside_what_the_network_sees_is_one_line(tmp_path: Path) -> None:
    classifier: Any = SimpleNamespace(
        preprocessing=Preprocessing(input_size=32, resize="square"), card=SimpleNamespace(title="Tiny")
    )
    photo = Photo("wide", np.zeros((40, 200, 3), np.float32), "", "", "")
    for box, words in (([0, 0, 40, 50], "found it nowhere"), ([0, 60, 40, 100], "found it all over")):
        with pytest.raises(ImageError, match=f"c.yaml: objects: wide: .*{words}; correct the box"):
            region_seen(Region(box=box), photo, classifier, tmp_path / "c.yaml")


# --- the random map ---


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_random_map_knows_nothing_but_its_seed_and_photo(seed: int, number: int) -> None:
    x = np.random.default_rng(number).random((3, 20, 20)).astype(np.float32)
    network: Any = None
    targets = [Target("prob", (0,)), Target("prob", (1,))]
    found = RandomMap().explain(network, x, targets, seed)
    np.testing.assert_array_equal(found, RandomMap().explain(network, x, targets, seed))
    others = [
        found[1],
        RandomMap().explain(network, x, targets, seed + 1)[0],
        RandomMap().explain(network, x + 1, targets, seed)[0],
    ]
    for other in others:
        # Of 400 independent pairs the rank correlation has a standard deviation of 0.05: six of them.
        assert abs(rank_correlation(found[0], other)) < 0.3
    assert RandomMap().passes(x.shape) == Passes(0)


# --- what a run will cost ---


def test_passes_cost_what_each_takes() -> None:
    speed = Speed(0.01, 0.05)
    assert speed.of(Passes(20, 10)) == pytest.approx(1.1 * 0.7)
    assert Speed(0.01, math.nan).of(Passes(10)) == pytest.approx(0.11)
