"""Figures 5 and 6: all feature maps of a blob in one pass, and the few that are drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr
from tiny_home import CHEAP, PROJECT, Outcome, Reproduce, noise

from predict_diff.result import RelevanceMap
from reproduce.figures import make
from reproduce.figures.drawing import Drawing
from reproduce.figures.feature_maps import Choice, diverse, strength, strongest

#: The tiny network's blob of feature maps; it has four.
BLOB, MAPS = "conv1", 4


@pytest.fixture
def figure(reproduce: Reproduce, home: Path) -> Reproduce:
    """Draw a figure of the photo `cat` before the tiny network, at little cost."""

    def run(name: str, *arguments: str, photos: str = "cat", **fields: str) -> Outcome:
        sets = [part for field, value in fields.items() for part in ("--set", f"{field}={value}")]
        chosen = ("--networks", "tiny", "--photos", photos, "--pool", home / "pool", *CHEAP)
        return reproduce(name, *chosen, *sets, *arguments)

    return run


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[Drawing]:
    """What is drawn, in place of files."""
    found: list[Drawing] = []
    monkeypatch.setattr(make, "save", lambda drawing, stem: found.append(drawing) or [])
    return found


def stored_maps() -> list[RelevanceMap]:
    return [RelevanceMap.load(path) for path in sorted(Path("results/maps").glob("*.h5"))]


# --- the figures --------------------------------------------------------------------------------------------------


def test_figure_5_explains_all_maps_of_a_blob_in_one_pass_and_draws_the_strongest(figure: Reproduce) -> None:
    outcome = figure("figure5", blobs="[early]", maps="{rule: strongest, count: 3}")
    assert [path.suffix for path in outcome.files] == [".png", ".pdf", ".h5"]
    (found,) = stored_maps()
    assert [str(target) for target in found.targets] == [f"{BLOB}:{number}" for number in range(MAPS)]
    assert set(found.measures) == {"AD"}
    chosen = np.argsort(-np.abs(found.relevance).mean(axis=1))[:3]
    with h5py.File(outcome.files[2]) as file:
        drawn = {name for name in file["0"] if name.startswith("conditional conv1")}
        assert drawn == {f"conditional {BLOB}:{number}" for number in chosen}
        for number in chosen:
            values = file[f"0/conditional {BLOB}:{number}"][()]
            np.testing.assert_allclose(values, found.maps[number], atol=1e-7)
        assert file["0/photo"].shape == (32, 32, 3)


def test_each_blob_of_figure_5_has_a_row(figure: Reproduce, drawings: list[Drawing]) -> None:
    figure("figure5", blobs="[early, conv1]", maps="[3, 1]", photos="cat,cat")
    (drawing,) = drawings
    texts = [title for place in _places(drawing.picture) if (title := place.get_suptitle())]
    assert texts.count("conv1: 2 of 4 feature maps") == 4  # two photos, two blobs
    assert [ax.get_title() for ax in drawing.picture.axes if ax.images] == ["cat", "3", "1", "3", "1"] * 2


def test_figure_6_shows_the_same_maps_for_all_photos_in_colours_that_can_be_compared(
    figure: Reproduce, home: Path, drawings: list[Drawing]
) -> None:
    # Photos of different sizes; all are as the network sees them in the end.
    Image.fromarray(noise(2, 48, 70) // 3).save(home / "data" / "photos" / "dog.png")
    figure("figure6", maps="{rule: diverse, count: 3}", photos="cat,dog")
    (drawing,) = drawings
    relevance = [item.relevance for item in stored_maps()]
    chosen = diverse(relevance, 3)
    assert [array.name for array in drawing.panels if array.attributes.get("measure")] == [
        f"conditional {BLOB}:{number}" for number in chosen
    ] * 2
    rows = np.array([ax for ax in drawing.picture.axes if ax.images]).reshape(2, 1 + 3)
    assert [ax.get_title() for ax in rows[0]] == ["cat", *map(str, chosen)]
    for column, number in zip(rows.T[1:], chosen, strict=True):
        limits = {ax.images[0].norm.vmax for ax in column}
        assert limits == {max(np.abs(found.maps[number]).max() for found in stored_maps())}


def test_numbers_are_drawn_as_they_were_given(figure: Reproduce) -> None:
    outcome = figure("figure6", maps="[2, 0]")
    with h5py.File(outcome.files[2]) as file:
        assert {name for name in file["0"] if name.startswith(f"conditional {BLOB}")} == {
            f"conditional {BLOB}:{number}" for number in (2, 0)
        }


@pytest.mark.parametrize("name", ["figure5", "figure6"])
def test_their_yaml_names_the_papers_blobs_and_draws_as_many_maps_as_the_paper(name: str) -> None:
    configuration = make.read_figure(name)
    assert configuration.networks == ["googlenet"]
    assert configuration.maps.count == {"figure5": 8, "figure6": 4}[name]


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (
            "blobs=[conv2]",
            "expected early, middle, last, or the name of a blob of feature maps, found 'conv2' (did you ",
        ),
        ("blobs=[conv2]", "(did you mean 'conv1'?)"),
        ("blobs=[midle]", "found 'midle' (did you mean 'middle'?)"),
        # The photo has the shape of feature maps, but is none.
        ("blobs=[dat]", "found 'dat' (did you mean 'last'?)"),
        (
            "blobs=[prob]",
            "with feature maps, (maps, height, width), such as early, middle, last, conv1, found 'prob' with",
        ),
        ("blobs=[fc]", "found 'fc' with shape (3,)"),
        ("blobs=[]", "blobs: "),
        ("blobs=early", "blobs: "),
        ("maps=[4]", "maps: expected numbers from 0 to 3, for blob 'conv1' of Tiny has 4 feature maps, found 4"),
        ("maps=[1, 1]", "maps: expected 1 to 64 different numbers, found [1, 1]"),
        ("maps=[]", "maps: expected 1 to 64 different numbers, found []"),
        ("maps=[-1]", "maps.numbers.0: expected a number greater than or equal to 0, found -1"),
        ("maps=[1.5]", "maps.numbers.0: expected a valid integer, found 1.5"),
        ("maps=3", "maps: expected a rule with a count, such as {rule: strongest, count: 8}, or numbers, such as"),
        ("maps={rule: strongest}", "maps: expected a rule with a count"),
        ("maps={count: 3}", "maps: expected a rule with a count"),
        ("maps={rule: strongest, count: 3, numbers: [1]}", "found only a part, or both"),
        ("maps={rule: strongset, count: 3}", "found 'strongset' (did you mean 'strongest'?)"),
        ("maps={rule: strongest, count: 0}", "maps.count: expected a number greater than or equal to 1, found 0"),
        ("maps={rule: strongest, count: 99}", "maps.count: expected a number less than or equal to 64, found 99"),
        ("maps={rule: strongest, cuont: 3}", "maps.cuont: unknown field (did you mean 'count'?)"),
        (
            "maps={rule: strongest, count: 5}",
            "maps: expected at most 4, as many feature maps as blob 'conv1' of Tiny has, found count 5; choose fewer "
            "with --set 'maps={rule: strongest, count: 4}'\n",
        ),
        ("map=[1]", "map: unknown field (did you mean 'maps'"),
    ],
)
def test_impossible_choices_are_refused_before_anything_is_computed(figure: Reproduce, field: str, words: str) -> None:
    fields = dict([field.split("=", 1)]) if field.startswith("maps") else {"maps": "[0]", **dict([field.split("=", 1)])}
    assert words in figure("figure5", **fields).error + "\n"
    assert not Path("results").exists()


def test_the_authors_code_is_refused_before_anything_is_computed(figure: Reproduce) -> None:
    fields = {"maps": "[0]"}
    error = figure("figure5", "--variant", "authors_code", **fields).error
    assert "the authors' code cannot average over a feature map" in error
    assert not Path("results").exists()
    assert figure("figure5", "--variant", "authors_code", "--faults", "stale_window", **fields).code == 0


# --- the rules ----------------------------------------------------------------------------------------------------


def test_the_strongest_have_the_largest_mean_absolute_relevance() -> None:
    relevance = np.array([[1.0, -1.0], [0.0, 3.0], [-5.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(strength([relevance]), np.array([1, 1.5, 2.5, 0, 1]) / 1.2)
    assert strongest([relevance], 5) == [2, 1, 0, 4, 3]
    assert strongest([relevance], 2) == [2, 1]


def test_photos_weigh_alike_whatever_their_relevance_amounts_to() -> None:
    generator = np.random.default_rng(0)
    photos = [generator.normal(size=(12, 30)) for _ in range(3)]
    louder = [photos[0], 1e3 * photos[1], photos[2]]
    np.testing.assert_allclose(strength(louder), strength(photos))
    assert diverse(louder, 5) == diverse(photos, 5)


def _listing(photos: list[np.ndarray], count: int) -> list[int]:
    """The rule `diverse`, word by word."""

    def alike(a: int, b: int) -> float:
        return float(np.mean([abs(spearmanr(photo[a], photo[b]).statistic) for photo in photos]))

    ranking = strongest(photos, len(photos[0]))
    half = ranking[: max(count, (len(ranking) + 1) // 2)]
    chosen = half[:1]
    while len(chosen) < count:
        rest = [number for number in half if number not in chosen]
        chosen.append(min(rest, key=lambda number: max(alike(number, other) for other in chosen)))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_diverse_maps_are_those_of_the_rule_word_by_word(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(11, 4))
    # Equal values, too: rounded, as behind a ReLU.
    photos = [np.round(2 * mixed @ generator.normal(size=(4, 40))) for _ in range(2)]
    for count in (1, 4, 8, 11):
        assert diverse(photos, count) == _listing(photos, count)


def test_a_map_that_is_dead_is_taken_last() -> None:
    relevance = np.random.default_rng(0).normal(size=(6, 50))
    relevance[[1, 4]] = 0
    assert set(diverse([relevance], 4)) == {0, 2, 3, 5}
    assert sorted(diverse([relevance], 6)) == list(range(6))
    assert diverse([np.zeros((3, 5))], 2) == [0, 1]


def test_a_rule_is_described_with_its_count() -> None:
    assert "the 8 with the largest mean" in Choice(rule="strongest", count=8).describe()
    assert "4 in all" in Choice(rule="diverse", count=4).describe()
    assert "by number" in Choice.model_validate([3, 17]).describe()


# --- memory -------------------------------------------------------------------------------------------------------

MEMORY = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from matplotlib.figure import Figure
from predict_diff import result
from predict_diff.algorithm import prediction_difference
from predict_diff.result import RelevanceMap
from predict_diff.targets import Target
from reproduce.figures.feature_maps import SAMPLER, diverse
from reproduce.figures.panels import Panels

SIDE, K, S = {side}, 10, 20
result._LARGEST_MAPS = 0  # As with photos of the usual size, of which so many maps are not stored.
x = np.zeros((3, SIDE, SIDE), np.float32)

class Stub:
    batch_size = 20
    batching = dict(evaluator="stub", batch_size=20)
    def __init__(self, maps):
        self.generator = np.random.default_rng(0)
        self.targets = tuple(Target("blob", (number,)) for number in range(maps))
        self.network = SimpleNamespace(name="stub", provider="cpu", describe=dict, blobs={{"blob": (maps, 7, 7)}})
    def values(self, x):
        return np.zeros(len(self.targets))
    def batches(self, windows, samples):
        return iter(np.split(np.arange(len(windows)), range(20, len(windows), 20)))
    def evaluate(self, x, windows, patches):
        return self.generator.random((*patches.shape[:2], len(self.targets)), np.float32)

class Sampler:
    k = K
    def describe(self):
        return {{}}
    def sample(self, x, windows, count, seed):
        return np.broadcast_to(np.float32(0), (len(windows), count, 3, K, K))

def peak(maps):
    evaluator = Stub(maps)
    path = prediction_difference(x, evaluator, Sampler(), samples=S).save(Path(sys.argv[1]) / "map.h5")
    found = RelevanceMap.load(path)
    item = SimpleNamespace(relevance={{SAMPLER: found}}, targets=found.targets)
    panels, axes = Panels(), Figure().subplots(1, 8)
    for ax, number in zip(axes, diverse([found.relevance], 8)):
        panels.relevance(ax, item, SAMPLER, number)
    assert len(panels.arrays) == 16
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

few, many = peak(8), peak({maps})
print(1024 * (many - few))
"""


@pytest.mark.slow
def test_memory_is_that_of_the_maps_and_not_of_their_units(tmp_path: Path) -> None:
    side, maps = 64, 480
    script = MEMORY.format(side=side, maps=maps)
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    one_array = 8 * maps * (side - 10 + 1) ** 2
    # At the paper's settings, 46,225 windows, one array of 480 maps takes 0.18 GB, and 4 GB are 22 of them. Three more
    # photos of a figure take nine, the libraries two. That leaves eleven. (A map has 49 units here.)
    assert int(done.stdout) < 11 * one_array


def _places(place: object) -> list[SimpleNamespace]:
    """A picture's parts, and theirs."""
    return [part for sub in getattr(place, "subfigs", ()) for part in (sub, *_places(sub))]
