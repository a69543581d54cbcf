"""Claims: the rule that verdicts follow, what claims.yaml covers, and what is measured on networks made of noise."""

from __future__ import annotations

import inspect
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_home import CHEAP, add_network, noise, tiny_weights

from predict_diff.errors import ConfigurationError, NetworkError, PredictDiffError, ResultError
from reproduce import claims as claims_module
from reproduce import config, networks
from reproduce.claims import CLAIMS, Claim, Claims, Folders, read_claims, verify
from reproduce.classifier import Engine
from reproduce.measuring import case
from reproduce.pools import pool
from reproduce.reference_outputs import reference_cases
from reproduce.request import Request
from reproduce.subject import Choices
from reproduce.verifying import registry
from reproduce.verifying.checks import equation6, times
from reproduce.verifying.interval import Interval
from reproduce.verifying.material import Material
from reproduce.verifying.measurement import Measurement, NotMeasurableError
from reproduce.verifying.record import Finding, Measured, Verdicts
from reproduce.verifying.trained import as_published
from reproduce.verifying.verdict import Expected, verdict

PAPER = ("alexnet", "googlenet", "vgg16")

#: The numbers and statements to be checked, and the claims that do it.
COVERED = {
    "hours for one photo": {"time-alexnet", "time-googlenet", "time-vgg16"},
    "minutes for one photo, ICLR 2017": {
        "time-alexnet-iclr2017",
        "time-googlenet-iclr2017",
        "time-vgg16-iclr2017",
    },
    "top class of each photo": {"top-class-paper", "top-class"},
    "accuracy on ILSVRC-2012": {
        *(f"accuracy-{network}-top{top}" for network in PAPER for top in (1, 5)),
        *(f"accuracy-efficientnet_lite{number}-top1" for number in range(3)),
    },
    "conditional sampling is sharper": {"sharper", "sharper-variation"},
    "conditional sampling downweights predictable pixels": {"predictable"},
    "one pixel has an effect, where the sensitivity map is high": {
        "single-pixel-effect",
        "single-pixels-and-sensitivity",
    },
    "outlines and objects": {"outlines", "outlines-and-sensitivity", "sensitivity-on-object"},
    "maps for different k are no averages of one another": {"sides-10", "sides-15", "sides-20"},
    "similar classes": {"similar-classes", "similar-classes-penultimate"},
    "networks differ": {"networks-differ"},
    "the last convolutional layer is sparse": {"sparse"},
    "S = 10 and S = 20": {"sample-count"},
    "eq. 6 equals eq. 1": {"equation-6"},
}


# --- the rule -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "low", "high", "relation", "threshold", "word"),
    [
        (0.2, 0.1, 0.3, "above", 0.0, "reproduced"),
        (0.2, -0.1, 0.5, "above", 0.0, "not measurable here"),
        (-0.2, -0.3, -0.1, "above", 0.0, "deviates"),
        (0.2, 0.1, 0.3, "below", 0.0, "deviates"),
        (0.2, 0.1, 0.3, "below", 0.4, "reproduced"),
        (0.2, 0.1, 0.3, "at_most", 0.25, "not measurable here"),
        (0.97, 0.96, 0.98, "at_least", 0.95, "reproduced"),
        (0.0, 0.0, 0.0, "above", 0.0, "not measurable here"),
        # One photo says nothing of others, however clear it looks.
        (9.0, math.nan, math.nan, "above", 0.0, "not measurable here"),
        # Exact numbers have no interval: only there does equality count.
        (0.2, None, None, "above", 0.0, "reproduced"),
        (0.0, None, None, "above", 0.0, "deviates"),
        (0.0, None, None, "below", 0.0, "deviates"),
        (1.0, None, None, "at_least", 1.0, "reproduced"),
        (1.0, None, None, "at_most", 1.0, "reproduced"),
        (0.99, None, None, "at_least", 1.0, "deviates"),
        (2e-6, None, None, "at_most", 1e-6, "deviates"),
    ],
)
def test_a_verdict_follows_from_where_the_whole_interval_lies(
    value: float, low: float | None, high: float | None, relation: Any, threshold: float, word: str
) -> None:
    found, because = verdict(Measurement(value, low, high), Expected(relation=relation, threshold=threshold))
    assert found == word
    assert bool(because) == (word == "not measurable here")


@pytest.mark.parametrize(
    ("value", "half", "word"),
    [
        (57.6, None, "reproduced"),
        (57.7, None, "deviates"),
        (57.7, 0.2, "reproduced"),
        (58.5, 0.2, "deviates"),
        (56.4, 0.2, "reproduced"),
        (50.0, 0.2, "deviates"),
        (57.1, math.nan, "not measurable here"),
    ],
)
def test_a_published_number_is_reproduced_if_the_interval_reaches_its_tolerance(
    value: float, half: float | None, word: str
) -> None:
    measured = Measurement(value) if half is None else Measurement(value, value - half, value + half)
    assert verdict(measured, Expected(relation="within", threshold=57.1, tolerance=0.5))[0] == word


def test_an_undecided_interval_says_what_it_holds_and_how_few_there_were() -> None:
    _, because = verdict(Measurement.over(Interval(0.1, -0.05, 0.25, 5)), Expected(relation="above", threshold=0))
    assert because == "the 95 % interval -0.05 to 0.25 holds the threshold 0: too few photos (5) to decide"


def test_a_number_that_is_none_is_no_measurement() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ResultError, match="finite"):
            Measurement(value)


@pytest.mark.parametrize("fields", [{"relation": "within"}, {"relation": "above", "tolerance": 1.0}])
def test_a_tolerance_goes_with_a_published_number_only(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tolerance"):
        Expected(threshold=0, **fields)


# --- claims.yaml --------------------------------------------------------------------------------------------------


def test_every_number_and_statement_of_the_paper_has_a_claim_and_there_are_no_others() -> None:
    ids = {claim.id for claim in read_claims().claims}
    covered = set().union(*COVERED.values())
    assert ids - covered == {f"references-{case.name}" for case in reference_cases()}
    assert covered <= ids


def test_every_claim_names_a_check_and_what_it_takes() -> None:
    for claim in read_claims().claims:
        inspect.signature(registry.checks()[claim.check]).bind(None, **claim.parameters)


def test_what_a_longer_time_means_is_said_where_it_is_claimed() -> None:
    for claim in read_claims().claims:
        if claim.check == "time":
            assert "no longer here than the paper's" in claim.statement
            assert "deviates means that this one is slower" in claim.why


def test_every_check_belongs_to_a_claim() -> None:
    assert set(registry.checks()) == {claim.check for claim in read_claims().claims}


def test_claims_about_pictures_need_trained_networks() -> None:
    untrained = {claim.check for claim in read_claims().claims if not claim.trained}
    assert untrained == {"time", "equation6"}


def test_the_papers_times_are_the_papers() -> None:
    thresholds = {claim.id: claim.expected.threshold for claim in read_claims().claims if claim.check == "time"}
    assert [thresholds[f"time-{name}"] for name in PAPER] == [0.5, 1, 5]
    assert [thresholds[f"time-{name}-iclr2017"] for name in PAPER] == [20, 30, 70]


def test_published_accuracies_are_those_of_the_cards() -> None:
    for claim in read_claims().claims:
        if claim.check == "accuracy":
            published = networks.card(claim.parameters["network"]).accuracy
            expected = published.top1 if claim.parameters["top"] == 1 else published.top5
            assert (claim.expected.threshold, claim.expected.tolerance) == (expected, 0.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("check: equation6", "check: equation7", "claim equation-6: check: .*did you mean 'equation6'"),
        ("id: sparse", "id: sharper", "expected every id once, found 'sharper' 2 times"),
        ("relation: at_most, threshold: 1.0e-6", "relation: at_most, threshold: .nan", "finite number"),
        ("relation: at_most, threshold: 1.0e-6", "relation: at_mots, threshold: 0", "did you mean 'at_most'"),
        ("seeds: [0, 1]", "seeds: [-1]", "seeds"),
        ("    check: equation6\n", "", "check: missing"),
        ("seeds: [0, 1]", "seeds: [0, 1, 0]", "seeds: expected each once, found 0 2 times"),
        ("[chelsea, coffee, astronaut", "[coffee, coffee, astronaut", "photos: expected each once, found coffee 2"),
        (
            "samples: 20, unit: h",
            "samples: '20', unit: h",
            "claim time-alexnet: parameters: samples: expected .*integer",
        ),
        ("samples: 20, unit: h", "samples: 0, unit: h", "claim time-alexnet: parameters: samples: .*greater than 0"),
        ("samples: 20, unit: h", "samples: 20, unit: hours", "claim time-alexnet: parameters: unit: expected 'h' or"),
        ("samples: 20, unit: h", "sample: 20, unit: h", "parameters: sample: unknown field .*did you mean 'samples'"),
        ("{photos: [chelsea, coffee]}", "{photos: chelsea}", "claim top-class: parameters: photos: .*found 'chelsea'"),
        ("{photos: [chelsea, coffee]}", "{}", "claim top-class: parameters: photos: missing"),
        (
            "{photos: [chelsea, coffee]}",
            "{photos: [chelsee]}",
            "claim top-class: parameters: photos: expected names under recognised.*did you mean 'chelsea'",
        ),
        (
            "      photos: {}",
            "      photos: {cat.png: [n02123045]}",
            "claim top-class-paper: parameters: photos.cat.png",
        ),
        (
            "      photos: {}",
            "      photos: {cat.png: {alexnet: [n02123159], vgg16: [n02123045]}}",
            "claim top-class-paper: parameters: photos.cat.png.googlenet: missing",
        ),
        (
            "    check: equation6\n",
            "    check: equation6\n    parameters: {k: 3}\n",
            "equation-6: parameters: k: unknown",
        ),
    ],
)
def test_what_is_wrong_with_the_list_is_said_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = CLAIMS.read_text()
    assert old in text
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_claims(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


# --- on networks made of noise ------------------------------------------------------------------------------------


@pytest.fixture
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    known = config.named_settings()
    variants = {name: variant.model_copy(update={"patches": 1000}) for name, variant in known.variants.items()}
    monkeypatch.setattr(config, "named_settings", lambda: known.model_copy(update={"variants": variants}))


@pytest.fixture
def paper_home(home: Path, few_patches: None) -> Path:
    """A home in which files full of noise are in the place of the paper's weights, down to the hashes."""
    for seed, name in enumerate(PAPER):
        add_network(home, name, tiny_weights(seed))
    return home


Ask = Callable[..., Request]


@pytest.fixture
def ask(home: Path, tmp_path: Path) -> Ask:
    """A request at little cost."""
    changes = {name.removeprefix("--"): int(value) for name, value in zip(CHEAP[:8:2], CHEAP[1:8:2], strict=True)}

    def made(**fields: Any) -> Request:
        choices = Choices(tmp_path / "out", pool=str(home / "pool"), force=fields.pop("force", False))
        return Request(choices, engine=Engine("cpu", threads=1), profile="quick", changes=changes, **fields)

    return made


def claim(check: str, id: str = "made-up", trained: bool = False, **fields: Any) -> Claim:
    expected = fields.pop("expected", {"relation": "above", "threshold": 0})
    words = dict.fromkeys(("place", "statement", "meaning", "why"), "made up")
    return Claim(id=id, check=check, trained=trained, expected=expected, **{**words, **fields})


def made_up(*claims: Claim, **fields: Any) -> Claims:
    """A list of claims on the photo `cat`, which shows whatever the networks say."""
    recognised = {"cat": ["n00000001", "n00000002", "n00000003"]}
    return Claims(**{"photos": ["cat"], "seeds": [0, 1], "recognised": recognised, **fields}, claims=list(claims))


Register = Callable[[str, Callable[..., Measurement]], None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Register a check for one test."""
    registry.checks()
    return lambda name, function: monkeypatch.setitem(registry._checks, name, function)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are measured in this process, and not remembered from other homes."""
    monkeypatch.setattr(times, "apart", lambda work, *arguments: work(*arguments))
    times._seconds.cache_clear()
    yield
    times._seconds.cache_clear()


@pytest.fixture
def a_second(here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for a window, with rounds half a second apart."""
    monkeypatch.setattr(times, "seconds_per_window", lambda case, files, device: (0.5, 1.0, 1.5))


def test_with_random_weights_in_the_place_of_the_papers_nothing_that_needs_trained_ones_is_reproduced(
    paper_home: Path, ask: Ask, a_second: None
) -> None:
    listed = read_claims()
    found = verify(ask(photos=["cat"]))
    assert [finding.id for finding in found.claims] == [claim.id for claim in listed.claims]
    for listed_claim, finding in zip(listed.claims, found.claims, strict=True):
        if listed_claim.trained:
            assert finding.verdict == "not measurable here", finding
            assert finding.measured is None
        elif listed_claim.check == "equation6":
            # The method is right whatever the weights.
            assert finding.verdict == "reproduced"
    reasons = {finding.id: finding.because for finding in found.claims}
    assert "does not recognise chelsea, coffee, motorcycle_left, as if its weights were random" in reasons["sharper"]
    assert "--imagenet" in reasons["accuracy-vgg16-top5"]
    assert not list(paper_home.parent.glob("out/maps/*"))


def test_weights_that_are_not_the_published_ones_are_no_trained_ones(paper_home: Path, ask: Ask) -> None:
    path = paper_home / "models" / "vgg16" / "vgg16.caffemodel"
    path.write_bytes(tiny_weights(9))
    (finding,) = verify(ask(), ["sharper"]).claims
    assert finding.verdict == "not measurable here"
    assert str(path) in finding.because
    assert "expected" in finding.because


def test_without_networks_what_needs_none_is_still_said(home: Path, few_patches: None, ask: Ask) -> None:
    found = verify(ask(), ["sharper", "top-class-paper", "accuracy-alexnet-top1", "references-alexnet-opencv"])
    assert found.counts == {"reproduced": 0, "deviates": 0, "not measurable here": 4}
    assert found.header.networks == []
    assert found.header.without_networks


def test_trained_is_a_network_that_recognises_most_of_what_is_known(paper_home: Path, ask: Ask) -> None:
    right, wrong = ["n00000001", "n00000002", "n00000003"], ["n00000009"]
    photos = {str(path): right for path in sorted((paper_home / "pool").iterdir())[:4]}
    first, second, third, fourth = photos

    def reason(**recognised: list[str]) -> str | None:
        material = Material(ask(), ["cat"], [0], recognised)
        return material.trained(material.network("googlenet"))

    assert reason(**photos) is None
    assert reason(**{first: right, second: right, third: wrong}) is None
    assert "does not recognise" in str(reason(**{first: right, second: wrong}))
    assert "does not recognise" in str(reason(**{first: wrong, second: wrong, third: wrong, fourth: right}))


def test_equation_6_is_checked_against_a_literal_loop(
    paper_home: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = verify(ask(photos=["cat"]), ["equation-6"]).claims
    assert finding.verdict == "reproduced"
    assert finding.measured is not None
    assert finding.measured.value < 1e-6
    assert finding.networks == list(PAPER)
    assert finding.photos == ["cat"]
    assert finding.seeds == [0]
    real = equation6.marginalise

    def off(*arguments: Any) -> Any:
        expected, error = real(*arguments)
        return expected + 2e-6, error

    monkeypatch.setattr(equation6, "marginalise", off)
    (finding,) = verify(ask(photos=["cat"]), ["equation-6"]).claims
    assert finding.verdict == "deviates"


def test_the_top_class_is_compared_with_what_is_known(paper_home: Path, ask: Ask) -> None:
    material = Material(ask(), ["cat"], [0], {"cat": ["n00000009"]})
    x = {network: network.preprocessing(material.photos[0].pixels) for network in material.networks()}
    highest = [network.classes[network.best(x[network], 1)[0][0]].synset for network in x]
    for right in set(highest):
        listed = made_up(
            claim("top_class", parameters={"photos": ["cat"]}, expected={"relation": "at_least", "threshold": 1}),
            recognised={"cat": [right]},
        )
        (finding,) = verify(ask(), claims=listed).claims
        share = highest.count(right) / 3
        assert finding.measured is not None
        assert finding.measured.value == pytest.approx(share)
        assert finding.verdict == ("reproduced" if share == 1 else "deviates")


def test_the_papers_own_top_classes_are_said_network_by_network(paper_home: Path, ask: Ask) -> None:
    material = Material(ask(), ["cat"], [0], {"cat": ["n00000001"]})
    photo = material.photos[0]
    highest = {}
    for network in material.networks():
        ((index, _),) = network.best(network.preprocessing(photo.pixels), 1)
        highest[network.name] = [network.classes[index].synset]

    def found(reported: dict[str, list[str]], networks: list[str] | None = None) -> Finding:
        expected = {"relation": "at_least", "threshold": 1}
        only = claim("top_class_paper", parameters={"photos": {"cat": reported}}, expected=expected)
        return verify(ask(networks=networks, force=True), claims=made_up(only)).claims[0]

    assert found(highest).verdict == "reproduced"
    wrong = found({**highest, "vgg16": ["n00000009"]})
    assert wrong.verdict == "deviates"
    assert wrong.measured is not None
    assert wrong.measured.value == pytest.approx(2 / 3)
    # The statement is about all three.
    assert "googlenet" in found(highest, ["alexnet"]).because


def test_what_is_said_of_trained_networks_is_seen_with_their_own_preprocessing(paper_home: Path, ask: Ask) -> None:
    photo = paper_home / "large.png"
    Image.fromarray(noise(5, 80, 64)).save(photo)
    material = Material(ask(variant="authors_code"), [str(photo)], [0], {str(photo): ["n00000001"]})
    network = material.network("vgg16")
    resized = as_published(network).preprocessing
    assert network.preprocessing.resize == "none"
    assert resized.describe() == networks.preprocessing(networks.card("vgg16")).describe()
    pixels = material.photos[0].pixels
    ((_, highest),) = as_published(network).best(resized(pixels), 1)
    assert network.best(network.preprocessing(pixels), 1)[0][1] != highest
    found = registry.checks()["top_class"](material, [str(photo)])
    assert f"({highest:.2f})" in found.detail.split("Vgg16: ")[1]


def test_stand_ins_do_not_bear_out_what_the_paper_says_of_its_networks(home: Path, few_patches: None, ask: Ask) -> None:
    for seed, name in enumerate(PAPER):
        add_network(home, name, present=False)
        embedded = {"name": "made-up", "file": "x", "bytes": 1, "sha256": "0" * 64}
        weights = tiny_weights(seed)
        folder = add_network(home, f"small_{name}", weights, kind="embedded", stands_in_for=name)
        text = (folder / "model.yaml").read_text()
        start = text.index("  urls:")
        (folder / "model.yaml").write_text(f"{text[:start]}  package: {json.dumps(embedded)}\n")
    listed = made_up(
        claim(
            "top_class_paper", "paper", True, parameters={"photos": {"cat": {role: ["n00000001"] for role in PAPER}}}
        ),
        claim(
            "top_class", "any", True, parameters={"photos": ["cat"]}, expected={"relation": "at_least", "threshold": 1}
        ),
    )
    found = verify(ask(), claims=listed)
    paper, any_ = found.claims
    assert paper.verdict == "not measurable here"
    assert "Small_alexnet only stands in" in paper.because
    assert any_.verdict == "reproduced"
    assert [network.stands_in_for for network in found.header.networks] == list(PAPER)


def test_accuracy_needs_the_photos_and_enough_of_them(paper_home: Path, ask: Ask) -> None:
    folder = paper_home / "val"
    for number in range(12):
        place = folder / f"n{number % 3 + 1:08}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(number)).save(place)
    (paper_home / "data" / "imagenet_labels.txt").write_text(
        "".join(f"n{number + 1:08} class {number}\n" for number in range(1000))
    )
    expected = {"relation": "within", "threshold": 33.3, "tolerance": 0.5}

    def found(**parameters: Any) -> Any:
        listed = made_up(claim("accuracy", parameters={"network": "tiny", **parameters}, expected=expected))
        return verify(ask(), None, Folders(imagenet=folder), listed).claims[0]

    finding = found(top=1, least=12)
    assert finding.verdict in ("reproduced", "deviates")
    # 1.96 sqrt(p (1 - p) / n) at the published third, in percent.
    half = 196 * math.sqrt(0.333 * 0.667 / 12)
    assert finding.measured.high - finding.measured.value == pytest.approx(half)
    assert finding.measured.count == 12
    assert f"top-1 {finding.measured.value:.2f} %" in finding.measured.detail
    assert "12 photos do not tell" in found(top=1, least=13).because
    assert "no top-5 accuracy" in found(top=5, least=12).because
    for path in (folder / "n00000002").iterdir():
        path.unlink()
    assert "the photos are of 2 of 3 classes" in found(top=1, least=8).because


def test_published_outputs_are_compared_in_tolerances(
    paper_home: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reproduce import reference_outputs
    from reproduce.verifying.checks import references

    known = reference_cases()[0].model_copy(update={"network": "tiny", "photos": None, "tensor": "in.npy"})
    monkeypatch.setattr(references, "reference_cases", lambda: [known])
    folder = tmp_path / "published"
    folder.mkdir()
    listed = made_up(
        claim("references", parameters={"case": known.name}, expected={"relation": "at_most", "threshold": 1})
    )
    (finding,) = verify(ask(), None, Folders(references=folder), listed).claims
    assert finding.verdict == "not measurable here"
    assert f"in.npy is not in {folder}" in finding.because

    x = np.random.default_rng(0).normal(0, 50, (1, 3, 32, 32)).astype(np.float32)
    np.save(folder / "in.npy", x)
    network = Engine("cpu").network(networks.onnx_path("tiny"))
    right = network.run(x, known.blob)[known.blob]
    for offset, value, word in ((0.0, 0.0, "reproduced"), (2e-4, 20.0, "deviates")):
        np.save(folder / known.expected, right + offset)
        (finding,) = verify(ask(), None, Folders(references=folder), listed).claims
        assert finding.verdict == word
        # The mean's tolerance, 1e-5, is the narrower one.
        assert finding.measured is not None
        assert finding.measured.value == pytest.approx(value, rel=1e-3, abs=1e-3)
    assert reference_outputs.reference_cases()[0].network == "alexnet"


def test_times_are_projected_to_all_windows_at_the_papers_settings(paper_home: Path, ask: Ask, a_second: None) -> None:
    hours, minutes = verify(ask(), ["time-googlenet", "time-googlenet-iclr2017"]).claims
    assert hours.measured is not None
    assert minutes.measured is not None
    # The tiny network has 23 x 23 windows of 10 pixels.
    assert hours.measured.value == pytest.approx(23 * 23 / 3600)
    assert minutes.measured.value == pytest.approx(23 * 23 / 60 / 2)
    # t(0.975, 2) = 4.3027 and a standard error of 0.5 / sqrt(3).
    assert hours.measured.high == pytest.approx(23 * 23 * (1 + 4.3027 * 0.5 / math.sqrt(3)) / 3600, rel=1e-4)
    assert (hours.measured.unit, minutes.measured.unit) == ("h", "min")
    assert (hours.measured.of, hours.measured.count) == ("rounds", 3)


def test_times_are_taken_on_the_gpu_that_the_user_named(
    paper_home: Path, ask: Ask, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []

    def measured(case: Any, files: Any, device: int) -> tuple[float, ...]:
        devices.append(device)
        return 1.0, 1.0

    monkeypatch.setattr(times, "seconds_per_window", measured)
    request = ask().on_gpu(3)
    registry.checks()["time"](Material(request, ["cat"], [0], {"cat": ["n00000001"]}), "vgg16", 20, "h")
    assert devices == [3]


def died() -> None:
    os._exit(9)


def refused() -> None:
    raise NetworkError("network: expected one, found none")


@pytest.mark.slow
def test_a_process_that_dies_while_time_is_taken_is_no_benchmark() -> None:
    with pytest.raises(NotMeasurableError, match="process that takes the time was killed") as caught:
        times._apart(died)
    assert "benchmark" not in str(caught.value)
    with pytest.raises(NetworkError, match=r"^network: expected one, found none$"):
        times._apart(refused)


@pytest.mark.slow
def test_times_are_measured_on_networks_without_their_weights(
    home: Path, ask: Ask, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_network(home, "alexnet", present=False)
    monkeypatch.setattr(case, "pool", partial(pool, home / "pool"))
    monkeypatch.setattr(case, "_PHOTO", "cat")
    monkeypatch.setattr(times, "_SIDE", 2)
    (finding,) = verify(ask(), ["time-alexnet"]).claims
    assert finding.verdict == "reproduced"
    assert finding.measured is not None
    assert 0 < finding.measured.value < 0.5
    assert finding.measured.detail.startswith("Alexnet with random weights, CPU; 4 of 529 windows in 5 rounds")


# --- what can go wrong with one claim -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "because"),
    [
        (NotMeasurableError("because nobody knows"), "nobody knows"),
        (NotMeasurableError("nobody knows"), "nobody knows"),
        (NetworkError("network: expected one, found none"), "network: expected one, found none"),
    ],
)
def test_a_claim_that_fails_is_not_measurable_and_the_others_are_measured(
    paper_home: Path, ask: Ask, register: Register, error: PredictDiffError, because: str
) -> None:
    def failing(material: Material) -> Measurement:
        raise error

    register("failing", failing)
    register("fine", lambda material: Measurement(1.0))
    first, second = verify(ask(), claims=made_up(claim("failing", "first"), claim("fine", "second"))).claims
    assert (first.verdict, first.because, first.measured) == ("not measurable here", because, None)
    assert (second.verdict, second.because) == ("reproduced", "")


def test_parameters_that_do_not_fit_make_a_claim_not_measurable(paper_home: Path, ask: Ask) -> None:
    listed = made_up(
        claim("top_class", "unknown", parameters={"photos": ["dog"]}),
        claim("top_class", "of no list", parameters={"photos": 3}),
        claim("time", "missing"),
    )
    unknown, number, missing = (finding.because for finding in verify(ask(), claims=listed).claims)
    assert "photos: expected names under recognised, such as cat, found 'dog'" in unknown
    assert number.startswith("parameters: photos: ")
    assert missing.startswith("parameters: network: missing")


def test_copies_of_photos_and_networks_are_no_independent_units(
    paper_home: Path, ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "another name.png"
    Image.fromarray(noise(1)).save(copy)
    one = str(paper_home / "pool" / "00.png")
    file = str(tmp_path / "copy.onnx")
    shutil.copy(networks.onnx_path("vgg16"), file)
    request = ask(networks=["vgg16", "alexnet", file])
    material = Material(request, ["cat", one, str(copy), "cat"], [3, 3, 4], {"cat": ["n00000001"]})
    with caplog.at_level("INFO", "reproduce.verifying.material"):
        for again in (material, material.for_claim(False)):
            assert [photo.name for photo in again.photos] == ["cat", "00"]
            assert [network.name for network in again.networks()] == ["vgg16", "alexnet"]
            assert again.seeds == [3, 4]
    said = [record.getMessage() for record in caplog.records if record.name == "reproduce.verifying.material"]
    assert said == [
        f"photos: each counts once; left out as repeated: {copy}, cat.",
        f"networks: each counts once; left out as repeated: {file}.",
    ]


def test_verdicts_are_written_after_each_claim(paper_home: Path, ask: Ask, tmp_path: Path, register: Register) -> None:
    def stopped(material: Material) -> Measurement:
        raise KeyboardInterrupt

    register("fine", lambda material: Measurement(1.0))
    register("stopped", stopped)
    path = tmp_path / "out" / "verify.json"
    last = claim("fine", "last")
    verify(ask(), ["last"], claims=made_up(last))
    with pytest.raises(KeyboardInterrupt):
        verify(ask(), claims=made_up(claim("fine", "first"), claim("stopped", "second"), last))
    assert [finding.id for finding in claims_module.read_verdicts(path).claims] == ["first", "last"]


@pytest.mark.parametrize(
    "change",
    [
        {"place": "elsewhere"},
        {"statement": "another"},
        {"meaning": "another"},
        {"why": "another"},
        {"expected": {"relation": "above", "threshold": 0.5}},
        {"parameters": {"k": 2}},
        {"trained": True},
        {"id": "renamed"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_verdict_does_not_survive_a_change_of_its_claim(
    paper_home: Path, ask: Ask, register: Register, change: dict[str, Any]
) -> None:
    register("fine", lambda material, k=1: Measurement(1.0))
    other, before = claim("fine", "other"), claim("fine", "before")
    verify(ask(), claims=made_up(other, before))
    assert [finding.id for finding in verify(ask(), ["other"], claims=made_up(other, before)).claims] == [
        "other",
        "before",
    ]
    changed = Claim(**{**before.model_dump(), **change})
    assert [finding.id for finding in verify(ask(), ["other"], claims=made_up(other, changed)).claims] == ["other"]


def test_no_claims_are_no_measurement_and_no_file(
    paper_home: Path, ask: Ask, tmp_path: Path, register: Register
) -> None:
    register("fine", lambda material: Measurement(1.0))
    listed = made_up(claim("fine"))
    path = tmp_path / "out" / "verify.json"
    assert verify(ask(), [], claims=listed).claims == []
    assert not path.exists()
    found = verify(ask(), claims=listed)
    before = path.stat().st_mtime_ns
    assert verify(ask(), [], claims=listed) == found
    for other in (ask(seed=7), ask(photos=[str(paper_home / "pool" / "00.png")])):
        with pytest.raises(ResultError, match="same networks and photos"):
            verify(other, [], claims=listed)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("changed", ["data/photos/cat.png", "pool/05.png"])
def test_photos_that_have_changed_under_their_names_are_other_photos(
    paper_home: Path, ask: Ask, register: Register, changed: str
) -> None:
    register("fine", lambda material: Measurement(1.0))
    listed = made_up(claim("fine"))
    verify(ask(), claims=listed)
    Image.fromarray(noise(77)).save(paper_home / changed)
    with pytest.raises(ResultError, match="same networks and photos"):
        verify(ask(), [], claims=listed)


@pytest.mark.parametrize(
    ("measurement", "word"),
    [
        (Measurement(1.0), "reproduced"),
        (Measurement(-1.0), "deviates"),
        (Measurement(1.0, 0.5, 1.5, count=4), "reproduced"),
        (Measurement(1.0, -0.5, 1.5, count=4), "not measurable here"),
        (Measurement(1.0, math.nan, math.nan), "not measurable here"),
    ],
)
def test_a_verdict_that_does_not_follow_from_its_numbers_is_refused(
    paper_home: Path, ask: Ask, tmp_path: Path, register: Register, measurement: Measurement, word: str
) -> None:
    register("fine", lambda material: measurement)
    (found,) = verify(ask(), claims=made_up(claim("fine"))).claims
    assert found.verdict == word
    assert found.measured == Measured.from_measurement(measurement)
    path = tmp_path / "out" / "verify.json"
    assert claims_module.read_verdicts(path).claims == [found]
    written = path.read_text()
    for other in {"reproduced", "deviates", "not measurable here"} - {word}:
        fields = json.loads(written)
        fields["claims"][0] |= {"verdict": other, "because": "by hand" if other == "not measurable here" else ""}
        path.write_text(json.dumps(fields))
        with pytest.raises(ResultError, match=f"expected verdict '{word}'.*found '{other}'"):
            claims_module.read_verdicts(path)


def test_several_gpus_are_refused_in_one_line(paper_home: Path, ask: Ask) -> None:
    with pytest.raises(ConfigurationError, match=r"^gpus: expected one, .*found 0,1; name one$"):
        verify(ask(gpus=(0, 1)), ["sharper"])


def test_what_a_claim_was_measured_on_is_kept(paper_home: Path, ask: Ask, register: Register) -> None:
    def measured(material: Material) -> Measurement:
        network = material.network("vgg16")
        material.subject(material.photo("cat"), network, ("conditional",), seed=7)
        return Measurement.over(Interval(1.0, 0.5, 1.5, 5), "bits", "of a cat")

    register("measured", measured)
    register("nothing", lambda material: Measurement(1.0))
    first, second = verify(ask(), claims=made_up(claim("measured", "first"), claim("nothing", "second"))).claims
    assert (first.networks, first.photos, first.seeds) == (["vgg16"], ["cat"], [7])
    assert first.measured is not None
    assert str(first.measured) == "1 (0.5 to 1.5) bits"
    assert (second.networks, second.photos, second.seeds) == ([], [], [])


def test_maps_have_the_seeds_of_the_claims_and_are_stored_once(
    paper_home: Path, ask: Ask, tmp_path: Path, register: Register
) -> None:
    seen: list[dict[str, Any]] = []

    def measured(material: Material) -> Measurement:
        network, photo = material.network("alexnet"), material.photos[0]
        for seed in material.seeds:
            targets = material.best_three(photo, network)
            assert [target.blob for target in targets] == ["fc"] * 3 + ["prob"] * 3
            found = material.explanation(photo, network, ("marginal",), targets, seed=seed)
            seen.append(found.relevance["marginal"].provenance)
        small = material.explanation(photo, network, ("marginal",), k=3, samples=5)
        assert (small.settings.k, small.settings.l, small.settings.samples) == (3, 5, 5)
        return Measurement(1.0)

    register("measured", measured)
    listed = made_up(claim("measured", trained=True))
    assert verify(ask(), claims=listed).claims[0].verdict == "reproduced"
    assert [one["seed"] for one in seen] == [0, 1]
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "maps").iterdir()}
    assert len(stored) == 3
    assert verify(ask(), claims=listed).claims[0].verdict == "reproduced"
    assert stored == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "maps").iterdir()}
    assert verify(ask(seed=5), claims=listed).header.seeds == [5, 6]
    assert [one["seed"] for one in seen[-2:]] == [5, 6]


def test_a_network_is_found_by_the_role_it_has(paper_home: Path, ask: Ask) -> None:
    material = Material(ask(networks=["vgg16", "tiny"]), ["cat"], [0], {"cat": ["n00000001"]})
    assert [network.name for network in material.networks()] == ["vgg16", "tiny"]
    assert material.network("vgg16").name == "vgg16"
    with pytest.raises(NotMeasurableError, match="alexnet"):
        material.network("alexnet")


@pytest.mark.slow
def test_claims_about_maps_are_measured_on_networks_that_recognise_what_is_known(paper_home: Path, ask: Ask) -> None:
    photos = [str(path) for path in sorted((paper_home / "pool").iterdir())[:2]]
    # Some claims are measured at S = 20, and each marginal sample is another photo.
    for number in range(20, 40):
        Image.fromarray(noise(100 + number)).save(paper_home / "pool" / f"{number}.png")
    both = ["alexnet", "vgg16"], [0, 1]
    wanted = {"sharper": (["alexnet"], [0]), "similar-classes": both, "networks-differ": both}
    chosen = [claim for claim in read_claims().claims if claim.id in wanted]
    found = verify(ask(networks=["alexnet", "vgg16"]), claims=made_up(*chosen, photos=photos))
    for finding in found.claims:
        assert finding.measured is not None, finding.because
        assert finding.measured.count == 2
        assert (finding.networks, finding.seeds) == wanted[finding.id]


def test_verdicts_are_read_as_they_were_written(paper_home: Path, ask: Ask, tmp_path: Path) -> None:
    found = verify(ask(photos=["cat"]), ["equation-6", "sharper"])
    assert claims_module.read_verdicts(tmp_path / "out" / "verify.json") == found
    assert isinstance(found, Verdicts)
    assert {network.sha256 for network in found.header.networks} == {
        Engine("cpu").network(networks.onnx_path(name)).sha256 for name in PAPER
    }
    assert found.header.settings["k"] == 6
    assert found.header.versions["numpy"] == np.__version__
