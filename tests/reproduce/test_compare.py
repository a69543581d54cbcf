"""`reproduce compare`: what it writes, what it does not compute twice, and what it says of bad input."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image
from scipy import stats
from tiny_home import CHEAP, Outcome, Reproduce, add_network, noise, tiny_weights

from predict_diff.measures import deletion, rank_correlation, scorer
from predict_diff.methods.occlusion import Occlusion
from predict_diff.methods.rise import Rise
from predict_diff.methods.sensitivity import Sensitivity
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from reproduce import networks
from reproduce.classifier import Engine, open_classifier
from reproduce.comparing import figure
from reproduce.photos import Photo, read_photo

#: Little of each kind: nothing random, something random, Algorithm 1, and the null.
METHODS: list[Any] = [
    {"method": "prediction_difference", "name": "marginal", "sampler": "marginal"},
    {"method": "occlusion", "name": "occlusion, mean", "fill": "mean", "size": 6, "stride": 6},
    "sensitivity",
    {"method": "rise", "masks": 30, "cells": 4},
    "random",
]
MEASURES: list[Any] = [{"measure": "deletion", "steps": 7}, "sparsity", "repeatability"]

Compare = Callable[..., Outcome]


class ComputedError(Exception):
    """Something was computed."""


def write_comparison(home: Path, **fields: Any) -> Path:
    """A comparison of three photos before the tiny network; what is given goes before."""
    photos = home / "photos"
    photos.mkdir(exist_ok=True)
    for number, name in enumerate(("ant", "bee", "cow")):
        if not (photos / f"{name}.png").exists():
            Image.fromarray(noise(10 + number)).save(photos / f"{name}.png")
    path = home / "insects.yaml"
    described = {
        "title": "Insects",
        "photos": "photos",
        "networks": ["tiny"],
        "methods": METHODS,
        "measures": MEASURES,
        **fields,
    }
    path.write_text(yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
    return path


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longest; where nobody looks at them, a pixel stands for them."""
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, "PNG")
    draw: Callable[..., None] = lambda picture, file, **settings: file.write(pixel.getvalue())  # noqa: E731
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", draw)


@pytest.fixture
def compare(reproduce: Reproduce, home: Path, no_pictures: None) -> Compare:
    """Run `reproduce compare insects.yaml` at little cost, with options and fields of the YAML."""

    def run(*arguments: str | Path, **fields: Any) -> Outcome:
        return reproduce(
            "compare",
            write_comparison(home, **fields),
            *CHEAP,
            "--pool",
            home / "pool",
            "--profile",
            "quick",
            *arguments,
        )

    return run


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, explaining or evaluating anything is an error."""

    def fail(*arguments: object, **named: object) -> None:
        raise ComputedError

    def switch() -> None:
        for kind in (Occlusion, Sensitivity, Rise):
            monkeypatch.setattr(kind, "explain", fail)
        for evaluator in (MiniBatchEvaluator, IncrementalEvaluator):
            monkeypatch.setattr(evaluator, "evaluate", fail)
        monkeypatch.setattr("reproduce.comparing.measuring.scorer", fail)

    return switch


def numbers(out: Path = Path("results/compare/insects")) -> dict[str, Any]:
    return json.loads((out / "comparison.json").read_text())


def table(out: Path = Path("results/compare/insects")) -> list[dict[str, str]]:
    with (out / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def value(found: dict[str, Any], photo: str, method: str, measure: str) -> float | None:
    (each,) = [m for m in found["maps"] if (m["photo"], m["method"]) == (photo, method)]
    return each["measured"].get(measure)


def test_it_writes_figures_tables_numbers_and_a_page(compare: Compare) -> None:
    done = compare()
    assert done.code == 0, done.err
    names = [path.name for path in done.files]
    assert names == [
        "comparison.html", "table.csv", "table.md", "comparison.json",
        "comparison.png", "measures.png", "agreement.png",
    ]  # fmt: skip
    assert all(path.stat().st_size for path in done.files)
    out = done.files[0].parent
    assert all((out / f"{name}.pdf").exists() for name in ("comparison", "measures", "agreement"))
    page, markdown = done.files[0].read_text(), (out / "table.md").read_text()
    for name in ("marginal", "occlusion, mean", "sensitivity", "rise", "random"):
        assert name in page
        assert name in markdown
    assert "arXiv:1806.07421" in page
    assert "<script" not in page
    assert "http://" not in page
    assert numbers()["versions"]["numpy"] == np.__version__


def test_the_table_has_means_and_t_intervals_over_photos(compare: Compare) -> None:
    compare(measures=[*MEASURES, "pointing_game"])
    # Nobody says where an object is.
    assert not [row for row in table() if row["measure"] == "pointing_game"]
    found = numbers()
    values = [value(found, photo, "rise", "deletion") for photo in ("ant", "bee", "cow")]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    (row,) = [r for r in table() if (r["network"], r["method"], r["measure"]) == ("all", "rise", "deletion")]
    assert [float(row[name]) for name in ("mean", "low", "high")] == pytest.approx([np.mean(values), low, high])
    assert row["photos"] == "3"
    (row,) = [r for r in table() if (r["network"], r["method"], r["measure"]) == ("tiny", "rise", "seconds")]
    assert row["forward"] == "30"


def test_measures_are_those_of_the_library_on_the_methods_own_maps(compare: Compare, home: Path) -> None:
    compare()
    classifier = open_classifier("tiny", Engine("cpu"))
    x = classifier.preprocessing(read_photo(home / "photos" / "bee.png").pixels)
    target = classifier.top(x)
    relevance = Rise(masks=30, cells=4).explain(classifier.network, x, [target], seed=0)[0]
    expected = deletion(scorer(classifier.network, target), x, relevance, 0.0, 7).area
    assert value(numbers(), "bee", "rise", "deletion") == pytest.approx(expected, abs=1e-12)
    # Repeatability is measured on the first photo by default: ant.
    x = classifier.preprocessing(read_photo(home / "photos" / "ant.png").pixels)
    first, second = (Rise(masks=30, cells=4).explain(classifier.network, x, [classifier.top(x)], s)[0] for s in (0, 1))
    assert value(numbers(), "ant", "rise", "repeatability") == pytest.approx(rank_correlation(first, second))
    assert value(numbers(), "bee", "rise", "repeatability") is None
    assert value(numbers(), "ant", "sensitivity", "repeatability") is None


def test_a_second_run_computes_nothing_and_gives_the_same(
    compare: Compare, nothing_computed: Callable[[], None]
) -> None:
    first = compare()
    before = {path.name: path.read_bytes() for path in first.files}
    nothing_computed()
    again = compare()
    assert again.code == 0, again.err
    assert {path.name: path.read_bytes() for path in again.files} == before


def test_maps_of_explain_are_taken_as_they_are(
    compare: Compare, reproduce: Reproduce, home: Path, nothing_computed: Callable[[], None]
) -> None:
    for name in ("ant", "bee", "cow"):
        photo = write_comparison(home).parent / "photos" / f"{name}.png"
        options = ("--pool", home / "pool", "--profile", "quick", "--sampler", "marginal")
        assert reproduce("explain", photo, "--network", "tiny", *CHEAP, *options).code == 0
    stored = sorted(Path("results/maps").iterdir())
    nothing_computed()
    done = compare("--methods", "marginal,random", "--measures", "sparsity")
    assert done.code == 0, done.err
    assert sorted(Path("results/maps").iterdir()) == stored


def test_what_was_stopped_goes_on(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    explain, calls = Rise.explain, []

    def stopped(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return explain(*arguments, **named)

    monkeypatch.setattr(Rise, "explain", stopped)
    monkeypatch.setattr(Occlusion, "explain", counted := _counting(Occlusion.explain))
    assert compare("--measures", "sparsity").code == 2
    assert not Path("results/compare/insects/comparison.html").exists()
    before = len(counted.calls)
    assert compare("--measures", "sparsity").code == 0
    assert len(calls) == 1 + 1 + 2  # one complete, one stopped, then the two that were missing
    assert len(counted.calls) == 3
    assert before == 2


class _counting:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.calls: list[int] = []
        self._function = function

    def __get__(self, owner: Any, kind: Any) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(1)
            return self._function(owner, *arguments, **named)

        return call


def test_a_dry_run_says_what_is_missing_and_writes_nothing(compare: Compare) -> None:
    said = compare("--dry-run")
    assert said.code == 0, said.err
    assert "Tiny, rise: 4 of 4 to do, 30 forward passes each" in said.out  # three photos, and a second seed of one
    assert "Tiny, sensitivity: 3 of 3 to do, 1 forward and 1 backward passes each" in said.out
    assert "All of them: about" in said.out
    assert not Path("results").exists()
    compare()
    assert compare("--dry-run").out.splitlines()[1:] == ["All is there."]


def test_profiles_set_parameters(compare: Compare) -> None:
    methods = [{"method": "rise", "masks": 50, "profiles": {"quick": {"masks": 20}}}, "random"]
    compare(methods=methods, measures=[])
    assert numbers()["methods"]["rise"]["settings"]["masks"] == 20
    compare("--profile", "paper", methods=methods, measures=[])
    assert numbers()["methods"]["rise"]["settings"]["masks"] == 50


def test_several_networks_have_a_figure_each_and_photos_are_the_units(compare: Compare, home: Path) -> None:
    add_network(home, "other", tiny_weights(seed=5))
    done = compare("--methods", "random,sensitivity", "--measures", "sparsity", networks=["tiny", "other"])
    assert {"comparison-tiny.png", "comparison-other.png"} <= {path.name for path in done.files}
    found = numbers()
    (mean,) = [m for m in found["means"] if (m["network"], m["method"], m["measure"]) == ("all", "random", "sparsity")]
    assert mean["photos"] == 3
    values = [m["measured"]["sparsity"] for m in found["maps"] if m["method"] == "random"]
    assert len(values) == 6
    assert mean["mean"] == pytest.approx(np.mean(values))


def test_an_onnx_file_beside_the_yaml_is_taken_with_the_card_that_it_names(compare: Compare, home: Path) -> None:
    (home / "mine.onnx").write_bytes(networks.onnx_path("tiny").read_bytes())
    cheap = ("--methods", "random", "--measures", "sparsity")
    done = compare(*cheap, networks=["mine.onnx", "tiny"], cards={"mine.onnx": "tiny"})
    assert done.code == 0, done.err
    assert list(numbers()["networks"]) == ["mine", "tiny"]
    assert (
        "found 'mein.onnx' (did you mean 'mine.onnx'"
        in compare(networks=["mine.onnx"], cards={"mein.onnx": "tiny"}).error
    )


def test_a_picture_named_twice_counts_once(compare: Compare, home: Path) -> None:
    compare("--photos", f"{home}/photos/ant.png,{home}/photos/ant.png", "--measures", "sparsity")
    assert [photo["name"] for photo in numbers()["photos"]] == ["ant"]
    assert all(row["low"] == "" for row in table())


def test_methods_and_measures_can_be_chosen(compare: Compare) -> None:
    compare("--methods", "occlusion, random", "--measures", "sparsity")
    assert list(numbers()["methods"]) == ["occlusion, mean", "random"]
    assert list(numbers()["measures"]) == ["sparsity"]
    assert "found 'rose' (did you mean 'rise'" in compare("--methods", "rose").error


def test_an_entrys_own_name_goes_before_what_others_are(compare: Compare) -> None:
    measures = ["deletion", {"measure": "deletion", "name": "blurred out", "baseline": "blur"}]
    cheap = ("--methods", "random")
    compare(*cheap, "--measures", "deletion", measures=measures)
    assert list(numbers()["measures"]) == ["deletion"]
    measures[0] = {"measure": "deletion", "name": "covered"}
    compare(*cheap, "--measures", "deletion", measures=measures)
    assert list(numbers()["measures"]) == ["covered", "blurred out"]


def test_measures_of_one_kind_are_told_apart_by_their_names(compare: Compare) -> None:
    measures = ["deletion", {"measure": "deletion", "name": "del <b>*blur*", "baseline": "blur"}]
    done = compare("--methods", "sensitivity,random", measures=measures)
    page = done.files[0].read_text()
    assert re.findall(r'<th scope="col">([^<]*)</th>', page)[:3] == [
        "Method",
        "Deletion ↓",
        html.escape("del <b>*blur* ↓", quote=False),
    ]
    assert "| Method | Deletion ↓ | del \\<b\\>\\*blur\\* ↓ |" in done.files[2].read_text()


def test_a_blur_is_no_part_of_what_takes_the_mean(compare: Compare) -> None:
    cheap = ("--methods", "random")
    error = compare(*cheap, measures=[{"measure": "deletion", "sigma": 3.0}]).error
    assert "deletion: sigma: expected none with `baseline: mean`, found 3.0" in error
    compare(
        *cheap,
        measures=[
            "deletion",
            "insertion",
            {"measure": "insertion", "name": "from grey", "baseline": "mean"},
            {"measure": "deletion", "name": "to a blur", "baseline": "blur"},
            {"measure": "deletion", "name": "to another blur", "baseline": "blur", "sigma": 2.0},
        ],
    )
    found = numbers()
    sigmas = {name: each["parameters"]["sigma"] for name, each in found["measures"].items()}
    assert sigmas == {"deletion": None, "insertion": 5, "from grey": None, "to a blur": 5, "to another blur": 2}
    # What is removed into a baseline, and what is revealed in it, end where the other begins.
    with h5py.File("results/compare/insects/measures.h5") as file:
        last = {name: file["0"][f"{name} random scores"][-1] for name in ("deletion", "to a blur", "to another blur")}
        first = {name: file["0"][f"{name} random scores"][0] for name in ("insertion", "from grey")}
    assert last["deletion"] == pytest.approx(first["from grey"], rel=1e-5)
    assert last["to a blur"] == pytest.approx(first["insertion"], rel=1e-5)
    assert last["to another blur"] != pytest.approx(first["insertion"], rel=1e-5)


def test_only_a_network_that_nobody_asked_for_stands_in(compare: Compare, home: Path) -> None:
    package = {"name": "no-such-package", "file": "weights.pth", "bytes": 1, "sha256": "0" * 64}
    add_network(home, "absent", tiny_weights(seed=6), present=False)
    folder = add_network(home, "own", tiny_weights(seed=7), kind="embedded", stands_in_for="absent")
    described = yaml.safe_load((folder / "model.yaml").read_text())
    del described["weights"]["urls"]
    described["weights"]["package"] = package
    (folder / "model.yaml").write_text(yaml.safe_dump(described))
    cheap = ("--methods", "random", "--measures", "sparsity")
    for fields, says in (({"networks": ["absent"]}, True), ({"networks": ["own"]}, False)):
        done = compare(*cheap, **fields)
        assert done.code == 0, done.err
        assert ("stands in for" in done.files[0].read_text()) == says
    assert "stands in for" not in compare(*cheap, "--networks", "own", networks=["absent"]).files[0].read_text()


def test_where_the_object_is_can_be_said_by_a_box_or_a_mask(compare: Compare, home: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[:16] = 255
    Image.fromarray(mask).save(home / "half.mask.png")
    objects = {"ant": {"box": [0, 0, 16, 32]}, "bee": {"mask": "half.mask.png"}}
    compare(objects=objects, measures=["mass_accuracy", {"measure": "pointing_game", "tolerance": 0.0}])
    found = numbers()
    for photo in ("ant", "bee"):
        assert value(found, photo, "random", "mass_accuracy") == pytest.approx(0.5, abs=0.05)
        assert value(found, photo, "random", "pointing_game") in (0, 1)
    assert value(found, "cow", "random", "mass_accuracy") is None


def test_a_mask_of_another_size_is_one_line(compare: Compare, home: Path) -> None:
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(home / "small.mask.png")
    error = compare(objects={"ant": {"mask": "small.mask.png"}}).error
    assert "small.mask.png: expected 32 x 32 pixels, as ant has, found 32 x 16" in error
    assert "inside the photo" in compare(objects={"ant": {"box": [0, 0, 33, 32]}}).error
    assert "nowhere" in compare(objects={"ant": {"mask": _black(home)}}).error
    assert "found 'bea' (did you mean 'bee'?)" in compare(objects={"bea": {"box": [0, 0, 9, 9]}}).error


def _black(home: Path) -> str:
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(home / "black.mask.png")
    return "black.mask.png"


def test_weights_can_be_randomised(compare: Compare) -> None:
    measure = {"measure": "weight_randomisation", "layers": 2}
    done = compare(measures=[measure], methods=[*METHODS[:3], "random"])
    assert done.code == 0, done.err
    found = numbers()
    for method in ("marginal", "occlusion, mean", "sensitivity"):
        assert 0 <= value(found, "ant", method, "weight_randomisation") <= 1
    # It knows nothing of weights: to it all networks are the same.
    assert value(found, "ant", "random", "weight_randomisation") == pytest.approx(1)
    assert value(found, "bee", "random", "weight_randomisation") is None


def test_a_map_that_is_the_same_everywhere_has_no_value_and_stops_nothing(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sensitivity, "explain", lambda self, network, x, targets, seed=0: np.zeros((1, *x.shape[1:])))
    done = compare()
    assert done.code == 0, done.err
    assert "sensitivity: deletion has no value" in done.err
    assert value(numbers(), "ant", "sensitivity", "deletion") is None
    assert not [row for row in table() if (row["method"], row["measure"]) == ("sensitivity", "deletion")]


def test_a_method_that_gives_nan_is_one_line(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Sensitivity, "explain", lambda self, network, x, targets, seed=0: np.full((1, *x.shape[1:]), np.nan)
    )
    assert "sensitivity: expected a map of 32 x 32 finite numbers" in compare().error


def test_damaged_files_are_named_and_can_be_made_again(compare: Compare) -> None:
    cheap = ("--methods", "rise", "--measures", "sparsity")
    compare(*cheap)
    damaged = next(iter(Path("results/methods").glob("*rise*.h5")))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    error = compare(*cheap).error
    assert str(damaged) in error
    assert "--force" in error
    done = compare(*cheap, "--force")
    assert done.code == 0, done.err
    assert "computed again" in done.err
    assert compare(*cheap).code == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"methods": ["occlusoin"]}, "(did you mean 'occlusion'?)"),
        ({"methods": [{"method": "rise", "mask": 10}]}, "rise: mask: unknown field (did you mean 'masks'?)"),
        ({"methods": [{"method": "rise", "masks": 0}]}, "rise: masks: expected a number greater than 0, found 0"),
        ({"methods": [{"method": "rise", "masks": "many"}]}, "rise: masks"),
        ({"methods": [{"method": "rise", "p": 1.5}]}, "rise: p"),
        ({"methods": [{"method": "occlusion", "fill": "grey"}]}, "occlusion: fill"),
        ({"methods": [{"method": "rise", "profiles": {"quik": {"masks": 2}}}]}, "(did you mean 'quick'?)"),
        ({"methods": [{"method": "rise", "profiles": {"quick": {"mask": 2}}}]}, "rise: mask: unknown field"),
        ({"methods": [{"method": "rise", "name": "a/b"}]}, "name: expected"),
        ({"methods": [{"method": "rise", "name": ".."}]}, "name: expected"),
        ({"methods": [{"method": "rise", "name": "photo"}]}, "name: expected"),
        ({"methods": [{"method": "rise", "baseline": float("nan")}]}, "rise: baseline"),
        ({"measures": [{"measure": "pointing_game", "tolerance": float("inf")}]}, "tolerance: expected a finite"),
        ({"title": "two\nlines"}, "title: expected a line"),
        ({"methods": [3]}, "expected the name of a method"),
        ({"methods": []}, "methods"),
        ({"methods": ["random", "random"]}, "add `name: ...` to one"),
        ({"measures": ["deletoin"]}, "(did you mean 'deletion'?)"),
        ({"measures": [{"measure": "deletion", "steps": -1}]}, "deletion: steps"),
        ({"objects": {"ant": {}}}, "either `box` or `mask`"),
        ({"photo": "ant"}, "photo: unknown field (did you mean 'photos'?)"),
    ],
)
def test_what_is_wrong_with_the_yaml_is_one_line_with_file_and_line(
    compare: Compare, fields: dict[str, Any], words: str
) -> None:
    error = compare(**fields).error
    assert words in error
    assert "insects.yaml:" in error
    line = int(error.split("insects.yaml:")[1].split(":")[0])
    assert line >= 1


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"method": "occlusion", "size": -3}, "methods.0: occlusion: size: expected a number greater than 0, found -3"),
        ({"method": "occlusion", "fill": "noize"}, "one of mean, blur, noise, inpainting, found 'noize' (did you mean"),
        ({"method": "prediction_difference", "name": "far", "stride": 40}, "far, before Tiny: stride: expected 1 to"),
        ({"method": "univariate_marginal", "name": "wide", "side": 40}, "wide, before Tiny: k: expected a window"),
    ],
)
def test_what_is_impossible_says_of_which_entry_and_field(compare: Compare, entry: dict[str, Any], words: str) -> None:
    assert words in compare(methods=["random", entry][::-1]).error


def test_a_curve_has_no_more_steps_than_the_photo_has_pixels_or_squares(compare: Compare) -> None:
    flipping = {"measure": "pixel_flipping", "square": 16, "steps": 100}
    measures = [{"measure": "deletion", "steps": 10**6}, flipping]
    said = compare("--dry-run", "--methods", "random", measures=measures).out
    assert "deletion: 3 of 3 to do, 1,025 forward passes each" in said  # 32 x 32 pixels, and the photo itself
    assert "pixel_flipping: 3 of 3 to do, 10 forward passes each" in said  # 4 squares and the photo, in both orders
    compare("--methods", "random", measures=[flipping])
    with h5py.File("results/compare/insects/measures.h5") as file:
        assert len(file["0"]["pixel_flipping random scores"]) == 5


def test_the_line_is_that_of_the_entry(compare: Compare, home: Path) -> None:
    error = compare(methods=["random", {"method": "rise", "masks": 0}]).error
    line = int(error.split("insects.yaml:")[1].split(":")[0])
    assert "rise" in (home / "insects.yaml").read_text().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ([{"method": "occlusion", "size": 40}], "occlusion"),
        ([{"method": "occlusion", "size": 6, "stride": 7}], "occlusion"),
        ([{"method": "prediction_difference", "k": 40}], "l"),
    ],
)
def test_parameters_that_do_not_fit_the_network_show_before_anything_is_computed(
    compare: Compare, nothing_computed: Callable[[], None], methods: list[Any], words: str
) -> None:
    nothing_computed()
    assert words in compare(methods=methods).error


def test_titles_and_names_are_no_markup(compare: Compare) -> None:
    methods = [{"method": "random", "name": "<b>x|y"}]
    done = compare(title="<script>alert(1)</script>", methods=methods, measures=["sparsity"])
    assert done.code == 0, done.err
    page = done.files[0].read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;x|y" in page
    assert "<b>x|y" not in page


def test_only_one_gpu_is_taken(compare: Compare) -> None:
    assert "gpus: expected one" in compare("--provider", "auto", "--gpus", "0,1").error


def test_the_built_in_comparison_can_be_read() -> None:
    from reproduce.comparing.configuration import BUILT_IN, ComparisonFile
    from reproduce.comparing.methods import METHODS as KNOWN
    from reproduce.validation import read_yaml

    found = read_yaml(BUILT_IN, ComparisonFile)
    assert {entry.kind for entry in found.methods} == set(KNOWN)


def test_headings_of_many_measures_leave_each_other_room(
    reproduce: Reproduce, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    pixel, drawn = io.BytesIO(), []
    Image.new("RGB", (1, 1)).save(pixel, "PNG")

    def keep(picture: Figure, file: Any, **settings: Any) -> None:
        drawn.append(picture)
        file.write(pixel.getvalue())

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", keep)
    objects = {name: {"box": [0, 0, 16, 32]} for name in ("ant", "bee", "cow")}
    measures = ["deletion", "insertion", "pixel_flipping", "sparsity", "total_variation", "pointing_game"]
    measures += ["mass_accuracy", "repeatability", {"measure": "weight_randomisation", "layers": 1}]
    measures += [{"measure": "sparsity", "name": "how sparse the map is"}]
    path = write_comparison(home, methods=["random"], measures=measures, objects=objects)
    assert reproduce("compare", path, "--pool", home / "pool", *CHEAP).code == 0
    (picture,) = {id(each): each for each in drawn if "Insects: measures" in each.get_suptitle()}.values()
    picture.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in picture.axes if ax.title.get_text()]
    assert len(boxes) == 1 + len(measures)  # the curves of the one method, too
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
    assert all(box.x0 >= 0 and box.x1 <= picture.bbox.width for box in boxes)


def test_a_figure_draws_signed_maps_about_zero_and_others_from_black_to_white(reproduce: Reproduce) -> None:
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    values = np.linspace(2, 4, 100).reshape(10, 10)
    shown = figure.show_map(ax, values, "for", "paper").get_images()[0]
    assert shown.get_array().min() == 0
    assert shown.get_clim()[0] == 0
    shown = figure.show_map(Figure().subplots(), values - 3, "for or against", "paper").get_images()[0]
    assert shown.get_clim()[0] == -shown.get_clim()[1]


def test_versions_are_those_that_maps_were_computed_with(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = ("--methods", "sensitivity", "--measures", "sparsity")
    with monkeypatch.context() as earlier:
        earlier.setattr("reproduce.comparing.approaches.versions", lambda: {"numpy": "0.9"})
        compare(*cheap)
    done = compare(*cheap)
    assert numbers()["versions"]["numpy"] == "0.9"
    assert "numpy 0.9" in done.files[0].read_text()


def test_the_map_of_another_seed_is_made_again_too_if_it_is_damaged(compare: Compare) -> None:
    cheap = ("--methods", "marginal,rise", "--measures", "repeatability")
    compare(*cheap)
    before = numbers()
    for folder in ("maps", "methods"):
        of_ant = sorted(Path(f"results/{folder}").glob("ant-*"))
        assert len(of_ant) == 2
        for path in of_ant:
            path.write_bytes(path.read_bytes()[:-100])
    assert "--force" in compare(*cheap).error
    done = compare(*cheap, "--force")
    assert done.code == 0, done.err
    assert value(numbers(), "ant", "marginal", "repeatability") == value(before, "ant", "marginal", "repeatability")


@pytest.mark.parametrize("what", ["cow-*-deletion-*.h5", "cow-*-agreement-*.h5"])
def test_damaged_numbers_show_before_anything_is_computed(
    compare: Compare, nothing_computed: Callable[[], None], what: str
) -> None:
    cheap = ("--methods", "sensitivity,random")
    compare(*cheap)
    (damaged, *_) = Path("results/measures").glob(what)
    damaged.write_bytes(b"")
    for other in Path("results/methods").glob("ant-*"):
        other.unlink()
    nothing_computed()
    assert str(damaged) in compare(*cheap).error


def test_the_figures_arrays_know_the_seed(compare: Compare) -> None:
    compare("--methods", "random", "--measures", "sparsity", seed=5)
    with h5py.File("results/compare/insects/comparison.h5") as file:
        assert json.loads(file["0"].attrs["settings"])["seed"] == 5


def test_maps_of_networks_that_are_not_compared_any_more_are_deleted(compare: Compare, home: Path) -> None:
    add_network(home, "other", tiny_weights(seed=5))
    cheap, out = ("--methods", "random", "--measures", "sparsity"), Path("results/compare/insects")
    compare(*cheap)
    own = out / "comparison-notes.png"
    own.write_bytes(b"the user's")
    compare(*cheap, networks=["tiny", "other"])
    assert {path.stem for path in out.glob("comparison*.h5")} == {"comparison-tiny", "comparison-other"}
    assert not (out / "comparison.pdf").exists()
    assert not (out / "comparison.png").exists()
    compare(*cheap, "--networks", "other")
    assert {path.stem for path in out.glob("comparison*.h5")} == {"comparison"}
    assert own.exists()


def test_names_may_hold_the_commas_that_separate_them(compare: Compare) -> None:
    done = compare("--methods", "random,occlusion,  mean", "--measures", "sparsity")
    assert list(numbers()["methods"]) == ["occlusion, mean", "random"]
    assert "--methods random,occlusion,mean" in html.unescape(done.files[0].read_text())


def test_photos_that_are_called_alike_have_no_object(compare: Compare, home: Path) -> None:
    twin = home / "photos" / "more" / "ant.png"
    twin.parent.mkdir(parents=True)
    Image.fromarray(noise(99)).save(twin)
    assert "found 'ant', as several are called" in compare(objects={"ant": {"box": [0, 0, 9, 9]}}).error


def test_too_many_photos_are_refused_before_they_are_read(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reproduce.comparing.compare._MOST_PHOTOS", 2)
    monkeypatch.setattr("reproduce.comparing.compare.read_photo", lambda name: 1 / 0)
    assert "photos: expected at most 2" in compare().error


def test_photos_do_not_stay_in_memory(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Photo] = []
    monkeypatch.setattr(
        "reproduce.comparing.compare.read_photo", lambda name: seen.append(read_photo(name)) or seen[-1]
    )
    alive: list[int] = []
    explain = Sensitivity.explain

    def counting(*arguments: Any, **named: Any) -> Any:
        kept = [weakref.ref(photo.pixels) for photo in seen]
        seen.clear()
        alive.append(sum(reference() is not None for reference in kept))
        return explain(*arguments, **named)

    monkeypatch.setattr(Sensitivity, "explain", counting)
    assert compare("--methods", "sensitivity", "--measures", "sparsity").code == 0
    assert alive == [0, 0, 0]


def test_no_session_outlives_its_photo(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    from predict_diff.network import network

    opened: list[weakref.ref[Any]] = []
    make, explain, alive = network.make_session, Sensitivity.explain, list[int]()

    def noted(*arguments: Any, **named: Any) -> Any:
        session = make(*arguments, **named)
        opened.append(weakref.ref(session))
        return session

    def counting(*arguments: Any, **named: Any) -> Any:
        alive.append(sum(session() is not None for session in opened))
        return explain(*arguments, **named)

    monkeypatch.setattr(network, "make_session", noted)
    monkeypatch.setattr(Sensitivity, "explain", counting)
    assert compare("--methods", "marginal,sensitivity", "--measures", "deletion").code == 0
    # The network's own stays.
    assert alive == [1, 1, 1]


def test_each_pool_is_looked_through_once(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    from reproduce import subject

    monkeypatch.setattr(subject, "pool", counted := _counting_function(subject.pool))
    compare("--methods", "marginal,random")
    # Of three photos, and for the other seed of one.
    assert len(counted.calls) == 4


class _counting_function:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.calls: list[int] = []
        self._function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls.append(1)
        return self._function(*arguments, **named)


def test_a_dry_run_says_what_is_impossible(compare: Compare) -> None:
    methods = [{"method": "prediction_difference", "l": 1}]
    assert compare(methods=methods).error == compare("--dry-run", methods=methods).error
    assert "squares of at most 32" in compare("--dry-run", measures=[{"measure": "pixel_flipping", "square": 33}]).error


def test_files_of_networks_with_odd_names_are_linked(compare: Compare, home: Path) -> None:
    content = networks.onnx_path("tiny").read_bytes()
    odd = ["50% #1?.onnx", "x" * 200 + "1.onnx", "x" * 200 + "2.onnx"]
    for name in odd:
        (home / name).write_bytes(content)
    done = compare("--methods", "random", "--measures", "sparsity", networks=odd, cards=dict.fromkeys(odd, "tiny"))
    assert done.code == 0, done.err
    page = done.files[0]
    linked = [unquote(link) for link in re.findall(r'<a href="([^"#]+)"', page.read_text())]
    assert len([link for link in linked if link.endswith(".pdf")]) == 5
    assert all((page.parent / link).exists() for link in linked)


def test_pictures_of_maps_are_small_in_the_page_and_names_are_no_formulas(reproduce: Reproduce, home: Path) -> None:
    methods = [{"method": "random", "name": "a$^$_*b*"}, {"method": "sensitivity", "name": "<i>$x^$"}]
    comparison = write_comparison(home, methods=methods, measures=["sparsity"])
    done = reproduce("compare", comparison, *CHEAP, "--pool", home / "pool", "--profile", "quick")
    assert done.code == 0, done.err
    page = done.files[0].read_text()
    ((kind, content),) = re.findall(r'<div [^>]*class="maps"[^>]*><img src="data:image/(\w+);base64,([^"]+)"', page)
    assert kind == "jpeg"
    with Image.open(io.BytesIO(base64.b64decode(content))) as shown, Image.open(done.files[4]) as drawn:
        assert shown.size == drawn.size  # neither is as wide as the page
        difference = np.asarray(shown, float) - np.asarray(drawn.convert("RGB"), float)
    assert np.abs(difference).mean() < 10  # of 255: nearly all of so small a picture is edges and noise
    assert r"| a$^$\_\*b\* |" in (done.files[0].parent / "table.md").read_text()


def test_where_fewer_photos_have_a_value_it_is_said_of_how_many(compare: Compare) -> None:
    done = compare("--methods", "rise", "--measures", "repeatability,sparsity")
    page, markdown = done.files[0].read_text(), (done.files[0].parent / "table.md").read_text()
    assert "<small>1 photo</small>" in page
    assert markdown.count("(1 photo)") == 1


def test_a_parameter_that_shows_late_names_its_method(compare: Compare) -> None:
    assert "rise, before Tiny: cells: expected" in compare(methods=[{"method": "rise", "cells": 1000}]).error
