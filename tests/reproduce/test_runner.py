"""Maps on disk: computed once, for everything they depend on, and saying how they were made."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from tiny_home import CHEAP, PROJECT, Reproduce, add_network, maps, noise, tiny_weights

from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.result import RelevanceMap
from predict_diff.samplers import pool_limits
from reproduce import forecast, networks
from reproduce import subject as subjects
from reproduce.classifier import Engine, open_classifier
from reproduce.config import FaultName, Settings, settings
from reproduce.figures import saving
from reproduce.photos import read_photo

pytestmark = pytest.mark.usefixtures("no_pictures")

FAULTS: list[FaultName] = ["first_channel_for_all", "stale_window", "no_feature_maps", "evidence_by_position"]


class ComputedError(Exception):
    """The evaluator was used."""


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on using the evaluator is an error."""

    def fail(*arguments: object) -> None:
        raise ComputedError

    for evaluator in (MiniBatchEvaluator, IncrementalEvaluator):
        monkeypatch.setattr(evaluator, "evaluate", fail)


@pytest.fixture
def once(explain: Reproduce, home: Path, request: pytest.FixtureRequest) -> Reproduce:
    """`explain`, after it has been run once; from now on using the evaluator is an error."""
    assert explain().code == 0
    add_network(home, "other", tiny_weights(seed=1))
    Image.fromarray(noise(2)).save("dog.png")
    request.getfixturevalue("nothing_computed")
    return explain


# --- what is read and what is computed ----------------------------------------------------------------------------


def test_the_same_configuration_is_read_and_not_computed_again(once: Reproduce) -> None:
    before = [(path, path.stat().st_mtime_ns) for path in sorted(Path("results/maps").iterdir())]
    assert once().code == 0
    # What does not change the numbers does not count, nor does a way to say the same.
    assert once("--batch-size", "3").code == 0
    assert once("--threads", "1", "--palette", "safe").code == 0
    assert once("--evaluator", "minibatch").code == 0
    assert once("--preview").code == 0
    assert once("--sampler", "marginal").code == 0
    assert once("--variant", "paper", "--profile", "paper").code == 0
    assert before == [(path, path.stat().st_mtime_ns) for path in sorted(Path("results/maps").iterdir())]


@pytest.mark.parametrize(
    "arguments",
    [
        "--seed 1",
        "--k 5 --stride 5",
        "--l 9",
        "--samples 3",
        "--stride 5",
        "--target fc:0",
        "--target prob:0 --target top",
    ],
)
def test_another_setting_is_computed_anew(once: Reproduce, arguments: str) -> None:
    with pytest.raises(ComputedError):
        once(*arguments.split())


def test_another_photo_network_pool_or_folder_is_computed_anew(once: Reproduce, home: Path) -> None:
    with pytest.raises(ComputedError):
        once(photo="dog.png")
    with pytest.raises(ComputedError):
        once(network="other")
    with pytest.raises(ComputedError):
        once("--out", "elsewhere")
    (home / "pool" / "00.png").unlink()
    with pytest.raises(ComputedError):
        once()


def test_another_photo_under_the_same_name_is_computed_anew_and_the_same_under_another_is_not(
    once: Reproduce, home: Path
) -> None:
    Image.fromarray(noise(1)).save("renamed.png")
    with pytest.raises(ComputedError):
        # The name is in the file's name, for people.
        once(photo="renamed.png")
    Image.fromarray(noise(3)).save(home / "data" / "photos" / "cat.png")
    with pytest.raises(ComputedError):
        once()


def test_other_preprocessing_is_computed_anew(once: Reproduce, home: Path) -> None:
    card = home / "models" / "tiny" / "model.yaml"
    card.write_text(card.read_text().replace("raw_scale: 255", "raw_scale: 254"))
    networks._card.cache_clear()  # as in a new process
    with pytest.raises(ComputedError):
        once()


def test_a_figure_reads_what_explain_computed(once: Reproduce, reproduce: Reproduce, home: Path) -> None:
    outcome = reproduce("figure1", "--networks", "tiny", "--photos", "cat", *CHEAP, "--pool", home / "pool")
    assert outcome.code == 0, outcome.err


def test_two_targets_take_one_pass(explain: Reproduce, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    run_batch = MiniBatchEvaluator.run_batch

    def counted(evaluator: MiniBatchEvaluator, batch: np.ndarray) -> np.ndarray:
        calls.append(len(evaluator.targets))
        return run_batch(evaluator, batch)

    monkeypatch.setattr(MiniBatchEvaluator, "run_batch", counted)
    explain("--target", "prob:0", "--out", "one", "--evaluator", "minibatch")
    alone = len(calls)
    explain("--target", "prob:0", "--target", "fc:2", "--out", "two", "--evaluator", "minibatch")
    assert len(calls) == 2 * alone
    assert set(calls[alone:]) == {2}
    for sampler, both in maps("two").items():
        np.testing.assert_allclose(both.relevance[0], maps("one")[sampler].relevance[0], atol=1e-6)


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(explain: Reproduce) -> None:
    explain("--out", "one", "--batch-size", "20")
    explain("--out", "two", "--batch-size", "20")
    explain("--out", "three", "--seed", "1")
    for sampler, found in maps("one").items():
        np.testing.assert_array_equal(found.relevance, maps("two")[sampler].relevance)
        assert not np.allclose(found.relevance, maps("three")[sampler].relevance)


def test_the_default_pool_leaves_the_explained_photo_out(explain: Reproduce) -> None:
    explain("--pool", "default", "--sampler", "marginal", photo="chelsea")
    pool = maps()["marginal"].provenance["pool"]
    assert pool["source"] == "default"
    assert "coffee" in pool["photos"]
    assert "chelsea" not in pool["photos"]


def test_evaluators_give_the_same_map(explain: Reproduce) -> None:
    for evaluator in ("auto", "incremental", "minibatch"):
        explain("--evaluator", evaluator, "--out", evaluator)
    assert maps("incremental")["marginal"].provenance["evaluator"] == "IncrementalEvaluator"
    assert maps("minibatch")["marginal"].provenance["evaluator"] == "MiniBatchEvaluator"
    for sampler, found in maps("minibatch").items():
        np.testing.assert_allclose(maps("incremental")[sampler].maps, found.maps, rtol=0, atol=1e-5)
        np.testing.assert_allclose(maps("auto")[sampler].maps, found.maps, rtol=0, atol=1e-5)


def test_a_preview_is_refined_to_the_exact_map_and_reuses_its_windows(
    explain: Reproduce, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain("--stride", "2", "--out", "exact")
    seen: list[tuple[int, ...]] = []
    evaluate = IncrementalEvaluator.evaluate
    monkeypatch.setattr(forecast, "seconds_per_evaluation", lambda subject: 0.0)

    def remembered(evaluator: IncrementalEvaluator, x: np.ndarray, windows: np.ndarray, patches: np.ndarray) -> object:
        seen.extend(map(tuple, windows.tolist()))
        return evaluate(evaluator, x, windows, patches)

    monkeypatch.setattr(IncrementalEvaluator, "evaluate", remembered)
    outcome = explain("--stride", "2", "--preview", "--evaluator", "incremental")
    assert outcome.code == 0, outcome.err
    assert "Previews before the exact map: 1" in outcome.err
    assert "Preview, windows at every 4 pixels: results/explain/cat-tiny.png" in outcome.err
    assert len(outcome.files) == 3
    assert len(seen) == len(set(seen)) * 2 == 2 * 196  # for each of two samplers
    found = {path.stem.split("-")[-2]: RelevanceMap.load(path) for path in Path("results/maps").glob("*.h5")}
    for sampler, exact in maps("exact").items():
        stored = [RelevanceMap.load(path) for path in Path("results/maps").glob(f"*-{sampler}-*.h5")]
        (final,) = [one for one in stored if one.grid.stride == 2]
        np.testing.assert_allclose(final.maps, exact.maps, rtol=0, atol=1e-5)
    assert set(found) == {"marginal", "conditional"}


def test_a_lower_precision_is_another_map_which_says_how_far_it_is_off(explain: Reproduce) -> None:
    explain("--out", "full")
    explain("--precision", "fp16", "--out", "half")
    for sampler, found in maps("half").items():
        full = maps("full")[sampler]
        assert full.provenance["precision_error"] is None
        stated = found.provenance["precision_error"]
        assert found.provenance["network"]["precision"] == "fp16"
        assert found.provenance["identity"] != full.provenance["identity"]
        assert 0 < np.abs(found.relevance - full.relevance).max() < 0.1
        assert 0 < stated["bits"] < 0.1
        assert (stated["windows"], stated["samples"]) == (9, 2)


# --- what is stored -----------------------------------------------------------------------------------------------


def test_a_map_says_how_it_was_made(explain: Reproduce) -> None:
    explain("--variant", "iclr2017", "--profile", "quick", "--seed", "7")
    expected = settings("iclr2017", "quick", 7, k=6, l=8, stride=6, samples=2)
    for sampler, found in maps().items():
        made = found.provenance
        assert Settings(**made["settings"]) == expected
        assert made["photo"]["name"] == "cat"
        assert made["network"]["name"].startswith("tiny-")
        assert len(made["network"]["sha256"]) == len(made["identity"]["photo"]) == 64
        assert made["network"]["provider"] == "cpu"
        assert made["identity"]["sampler"] == sampler
        assert len(made["pool"]["photos"]) == 12
        assert made["seconds"] > 0
        assert {"numpy", "onnx", "python"} < set(made["versions"])


def test_a_picture_s_arrays_say_how_they_were_made(explain: Reproduce) -> None:
    outcome = explain("--variant", "authors_code")
    with h5py.File(outcome.files[2]) as file:
        stored = json.loads(file["0"].attrs["settings"])
        assert (stored["variant"], stored["profile"], stored["faults"]) == ("authors_code", "quick", FAULTS)
        made = json.loads(file["0"].attrs["provenance_marginal"])
        assert made == maps()["marginal"].provenance


def test_iclr2017_in_profile_paper_takes_ten_samples_everywhere(reproduce: Reproduce, home: Path) -> None:
    arguments = ["--network", "tiny", "--provider", "cpu", "--pool", home / "pool", "--sampler", "marginal"]
    variant = ["--variant", "iclr2017", "--profile", "paper", "--k", "24", "--l", "26"]
    outcome = reproduce("explain", "cat", *arguments, *variant)
    assert outcome.code == 0, outcome.err
    found = maps()["marginal"]
    assert found.provenance["samples"] == 10
    assert len(found.grid) == (32 - 24 + 1) ** 2


# --- the authors' code --------------------------------------------------------------------------------------------


def authors_code(explain: Reproduce, out: str, *arguments: str) -> dict[str, RelevanceMap]:
    # Four windows fill one of its batches, so that there is a last one that is not full.
    outcome = explain("--variant", "authors_code", "--samples", "10", "--stride", "5", "--out", out, *arguments)
    assert outcome.code == 0, outcome.err
    return maps(out)


def test_the_authors_code_counts_one_window_twice(explain: Reproduce) -> None:
    found, mended = authors_code(explain, "on"), authors_code(explain, "off", "--faults", "first_channel_for_all")
    for sampler in ("marginal", "conditional"):
        counts = found[sampler].counts
        # Authors' code: batches of 128 samples, 12 windows. Of 49 windows one is left for the last batch, in which
        # the window after it, by then the second of the batch before, is computed again.
        assert np.flatnonzero(counts == 2).tolist() == [37]
        assert counts.sum() == 50
        assert (mended[sampler].counts == 1).all()
        others = counts == 1
        np.testing.assert_array_equal(found[sampler].relevance[:, others], mended[sampler].relevance[:, others])


def test_the_authors_code_uses_the_first_channel_s_regression_for_all(explain: Reproduce) -> None:
    rest = ",".join(fault for fault in FAULTS if fault != "first_channel_for_all")
    found, mended = authors_code(explain, "on"), authors_code(explain, "off", "--faults", rest)
    np.testing.assert_array_equal(found["marginal"].relevance, mended["marginal"].relevance)
    assert not np.allclose(found["conditional"].relevance, mended["conditional"].relevance)


def test_the_authors_code_measures_by_position(explain: Reproduce) -> None:
    targets = ("--target", "prob:0", "--target", "fc:0", "--sampler", "marginal")
    # The last blob gets weight of evidence, which does not exist for what is no probability.
    refused = explain("--variant", "authors_code", "--out", "on", *targets)
    assert "target fc:0: weight of evidence needs a probability" in refused.error
    assert not Path("on").exists()
    mended = authors_code(explain, "off", *targets, "--faults", "none")["marginal"]
    assert mended.measures == ("WE", "AD")


@pytest.mark.parametrize("off", FAULTS)
def test_each_fault_can_be_switched_off_alone(explain: Reproduce, off: FaultName) -> None:
    rest = [fault for fault in FAULTS if fault != off]
    found = authors_code(explain, "out", "--sampler", "marginal", "--faults", ",".join(rest))["marginal"]
    assert found.provenance["faults"] == {fault: fault != off for fault in FAULTS}


def test_the_authors_code_stores_maps_as_float16(explain: Reproduce) -> None:
    found = authors_code(explain, "authors")["marginal"]
    explain("--out", "paper")
    assert found.maps.dtype == np.float16
    assert maps("paper")["marginal"].maps.dtype == np.float64
    assert found.relevance.dtype == np.float64


def test_the_authors_code_scales_sensitivity_by_the_unit_s_activation(explain: Reproduce) -> None:
    def sensitivity(variant: str) -> np.ndarray:
        outcome = explain("--variant", variant, "--target", "fc:1", "--target", "prob:1", "--faults", "none")
        with h5py.File(outcome.files[2]) as file:
            return np.stack([file["0/sensitivity fc:1"], file["0/sensitivity prob:1"]])

    plain, scaled = sensitivity("paper"), sensitivity("authors_code")
    activation = maps_of_variant("paper").known[0]
    # A class's map starts from its unit before the softmax.
    np.testing.assert_array_equal(plain[0], plain[1])
    np.testing.assert_allclose(scaled, abs(activation) * plain, rtol=1e-5)


def maps_of_variant(variant: str) -> RelevanceMap:
    found = [RelevanceMap.load(path) for path in Path("results/maps").iterdir()]
    return next(item for item in found if item.provenance["settings"]["variant"] == variant)


def test_the_authors_code_clips_samples_to_the_pool(home: Path, reproduce: Reproduce) -> None:
    photo, classifier = read_photo("cat"), open_classifier("tiny", Engine("cpu"))
    choices = subjects.Choices(Path("results"), str(home / "pool"))

    def beyond(variant: str) -> bool:
        chosen = settings(variant, "paper", k=6, l=8, faults=[])
        subject = subjects.Subject(photo, classifier, chosen, choices, ("conditional",))
        windows = np.array([[0, 0], [13, 7], [26, 26]])
        samples = subject.sampler("conditional").sample(subject.x, windows, 10, 0)
        low, high = pool_limits(subject.pool_arrays)
        bounds = [(low[:, r : r + 6, c : c + 6], high[:, r : r + 6, c : c + 6]) for r, c in windows]
        return any(((drawn < low) | (drawn > high)).any() for drawn, (low, high) in zip(samples, bounds, strict=True))

    assert beyond("paper")
    assert not beyond("authors_code")


def test_the_authors_code_takes_the_first_photos_of_the_pool_the_explained_one_included(
    explain: Reproduce, home: Path
) -> None:
    found = authors_code(explain, "authors", "--sampler", "marginal")["marginal"]
    assert found.provenance["sampler"]["first"]
    # Nothing is drawn: another seed gives the same, but for what the pool's crops depend on.
    again = authors_code(explain, "again", "--sampler", "marginal", "--seed", "1")["marginal"]
    np.testing.assert_array_equal(found.relevance, again.relevance)
    pool = found.provenance["pool"]
    assert pool["left_out"] is None


def test_the_authors_code_cuts_photos_and_does_not_resize_them(explain: Reproduce) -> None:
    pixels = noise(5, 48, 40)
    Image.fromarray(pixels).save("larger.png")
    outcome = explain("--variant", "authors_code", "--sampler", "marginal", photo="larger.png")
    with h5py.File(outcome.files[2]) as file:
        np.testing.assert_allclose(file["0/photo"], pixels[8:40, 4:36] / 255, atol=1e-6)
    Image.fromarray(noise(5, 20, 40)).save("smaller.png")
    assert "expected at least 32 x 32 pixels" in explain("--variant", "authors_code", photo="smaller.png").error


@pytest.mark.slow
def test_the_authors_code_explains_an_embedded_network_with_the_default_pool(
    reproduce: Reproduce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(PROJECT))
    if not networks.available("efficientnet_lite0"):
        pytest.skip("its package is not installed")
    cheap = ["--stride", "10", "--samples", "1", "--provider", "cpu"]
    outcome = reproduce("explain", "chelsea", "--network", "efficientnet_lite0", "--variant", "authors_code", *cheap)
    assert outcome.code == 0, outcome.err
    for found in maps().values():
        assert all(found.provenance["faults"].values())
        assert len(found.provenance["pool"]["photos"]) == 8
        assert np.isfinite(found.maps).all()
        assert found.maps.shape == (1, 224, 224)


# --- damaged files ------------------------------------------------------------------------------------------------


def test_a_damaged_map_is_named_and_computed_again_only_by_force(explain: Reproduce) -> None:
    assert explain().code == 0
    path = next(Path("results/maps").glob("*-marginal-*.h5"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    error = explain().error
    assert str(path) in error
    assert "say --force" in error
    assert path.read_bytes() == whole[:-100]

    other = next(Path("results/maps").glob("*-conditional-*.h5")).stat().st_mtime_ns
    outcome = explain("--force")
    assert outcome.code == 0
    assert f"{path}: expected a relevance map (HDF5), but it cannot be read" in outcome.err
    assert next(Path("results/maps").glob("*-conditional-*.h5")).stat().st_mtime_ns == other
    assert explain().code == 0


def test_damaged_statistics_are_named_and_fitted_again_only_by_force(explain: Reproduce) -> None:
    assert explain("--sampler", "conditional").code == 0
    path = next(Path("results/statistics").iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert str(path) in explain("--sampler", "conditional", "--seed", "0", "--samples", "3").error
    outcome = explain("--sampler", "conditional", "--samples", "3", "--force")
    assert outcome.code == 0
    assert "they are fitted again" in outcome.err
    assert path.read_bytes() == whole


def test_a_picture_that_would_be_too_large_is_refused(explain: Reproduce, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_LARGEST_SIDE", 20)
    assert "cat-tiny.png: expected a picture of at most 20 pixels along a side, found" in explain().error
    assert not list(Path("results/explain").glob("*"))
