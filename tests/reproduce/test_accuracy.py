"""Accuracy: what a literal loop over the photos gives, wherever it was stopped and whatever became of its file."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_home import PROJECT, add_network, noise, tiny_weights

from predict_diff.errors import ConfigurationError, ImageError, NetworkError, ResultError
from reproduce import accuracy
from reproduce.accuracy import half_interval, measure_accuracy, rank
from reproduce.classifier import Classifier, Engine, open_classifier
from reproduce.imagenet import LabelledPhoto, validation_set

COUNT = 30
BATCH = 4


@pytest.fixture
def classifier(home: Path) -> Classifier:
    return open_classifier("tiny", Engine("cpu", threads=1))


@pytest.fixture
def photos(home: Path, classifier: Classifier) -> list[LabelledPhoto]:
    """Photos of noise with labels at random, read as `val.txt` and a flat folder."""
    folder = home / "val"
    folder.mkdir()
    labels = np.random.default_rng(5).integers(0, 3, COUNT)
    for number in range(COUNT):
        Image.fromarray(noise(number, 40, 48)).save(folder / f"photo{number:02}.png")
    (folder / "val.txt").write_text("".join(f"photo{number:02}.png {label}\n" for number, label in enumerate(labels)))
    return validation_set(folder, classifier.classes)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that networks are given from now on."""
    from predict_diff.network.network import Network

    seen: list[int] = []
    run = Network.run

    def counted(self: Network, x, blobs):
        seen.append(len(x))
        return run(self, x, blobs)

    monkeypatch.setattr(Network, "run", counted)
    return seen


def ranks_file(store: Path) -> Path:
    (path,) = store.iterdir()
    return path


def by_a_loop(classifier: Classifier, photos: list[LabelledPhoto]) -> tuple[float, float]:
    """top-1 and top-5 in percent: one photo after the other, classes sorted by probability."""
    first = first_five = 0
    for photo in photos:
        with Image.open(photo.path) as image:
            pixels = np.asarray(image, np.float32) / 255
        values = classifier.network.run(classifier.preprocessing(pixels), "prob")["prob"][0]
        order = sorted(range(len(values)), key=lambda unit: (-values[unit], unit))
        first += order[0] == photo.label
        first_five += photo.label in order[:5]
    return 100 * first / len(photos), 100 * first_five / len(photos)


@pytest.mark.parametrize("batch_size", [None, 1, 7, 100])
def test_it_is_what_a_loop_over_the_photos_gives(classifier, photos, store, batch_size):
    found = measure_accuracy(classifier, photos, store, batch_size)
    assert (found.top1, found.top5) == by_a_loop(classifier, photos)
    assert 0 < found.top1 < 100
    assert (found.count, found.unreadable) == (COUNT, 0)


def test_top_5_counts_five_of_more_classes(classifier, photos, store, monkeypatch):
    ranks = iter([0, 4, 5, 6] * 2)
    monkeypatch.setattr(accuracy, "rank", lambda probabilities, label: next(ranks))
    found = measure_accuracy(classifier, photos[:8], store)
    assert (found.top1, found.top5) == (25, 50)


@pytest.mark.parametrize(("label", "expected"), [(0, 1), (1, 2), (2, 0), (3, 3), (4, 4)])
def test_of_equal_probabilities_the_first_listed_comes_first(label: int, expected: int):
    assert rank(np.array([0.2, 0.2, 0.3, 0.2, 0.1]), label) == expected


def test_a_second_run_only_reads(classifier, photos, store, runs):
    first = measure_accuracy(classifier, photos, store, BATCH)
    assert runs == [BATCH] * math.ceil(COUNT / BATCH)
    runs.clear()
    assert measure_accuracy(classifier, photos, store, BATCH) == first
    assert runs == []


def test_progress_tells_what_is_done(classifier, photos, store):
    told: list[tuple[int, int]] = []
    measure_accuracy(classifier, photos[:10], store, BATCH, lambda done, total: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_a_part_of_the_set_shares_its_ranks_with_the_whole(classifier, photos, store, runs):
    measure_accuracy(classifier, photos[:8], store, BATCH)
    measure_accuracy(classifier, photos, store, BATCH)
    assert len(runs) == math.ceil(COUNT / BATCH)


def test_killed_in_the_middle_it_goes_on_and_gives_the_same(classifier, photos, store, tmp_path, runs):
    """A process is killed, as by kill -9, when 12 photos are done."""
    script = f"""
import os, signal
from pathlib import Path
from reproduce.accuracy import measure_accuracy
from reproduce.classifier import Engine, open_classifier
from reproduce.imagenet import validation_set

classifier = open_classifier("tiny", Engine("cpu", threads=1))
photos = validation_set(Path({str(photos[0].path.parent)!r}), classifier.classes)
end = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 12 else None
measure_accuracy(classifier, photos, Path({str(store)!r}), {BATCH}, end)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=False)
    assert ended.returncode == -signal.SIGKILL
    resumed = measure_accuracy(classifier, photos, store, BATCH)
    assert len(runs) == math.ceil(COUNT / BATCH) - 3
    assert resumed == measure_accuracy(classifier, photos, tmp_path / "uninterrupted", BATCH)
    assert ranks_file(store).read_bytes() == ranks_file(tmp_path / "uninterrupted").read_bytes()


def test_a_torn_end_is_dropped_wherever_it_is_torn(classifier, photos, store):
    photos = photos[:6]
    expected = measure_accuracy(classifier, photos, store, 2)
    path = ranks_file(store)
    whole = path.read_bytes()
    head = len(whole.splitlines(keepends=True)[0])
    for length in range(head, len(whole), 7):
        path.write_bytes(whole[:length])
        assert measure_accuracy(classifier, photos, store, 2) == expected
        # Batches of two, so one line may be there twice.
        assert set(path.read_bytes().splitlines()) == set(whole.splitlines())


def test_a_damaged_line_is_refused_and_found_again_only_with_force(classifier, photos, store, runs):
    expected = measure_accuracy(classifier, photos, store, BATCH)
    path = ranks_file(store)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1 + BATCH] = lines[1 + BATCH].replace(b", 0]", b", 9]").replace(b", 1]", b", 9]").replace(b", 2]", b", 9]")
    path.write_bytes(b"".join(lines))
    runs.clear()
    with pytest.raises(ResultError, match="found a damaged line"):
        measure_accuracy(classifier, photos, store, BATCH)
    assert measure_accuracy(classifier, photos, store, BATCH, force=True) == expected
    assert runs == [BATCH]


@pytest.mark.parametrize("content", [b"", b"something else\n"])
def test_a_file_of_something_else_is_named_and_left_alone(classifier, photos, store, content):
    measure_accuracy(classifier, photos[:2], store)
    path = ranks_file(store)
    path.write_bytes(content)
    with pytest.raises(ResultError, match=f"{path}: expected ranks of this configuration"):
        measure_accuracy(classifier, photos[:2], store)
    assert path.read_bytes() == content


def test_other_preprocessing_and_other_weights_have_files_of_their_own(classifier, photos, store, home):
    add_network(home, "other", tiny_weights(seed=1))
    other = open_classifier("other", Engine("cpu", threads=1))
    smoothed = replace(classifier, preprocessing=replace(classifier.preprocessing, antialias=True))
    for each in (classifier, other, smoothed):
        assert measure_accuracy(each, photos, store, BATCH).top1 == by_a_loop(each, photos)[0]
    assert len(list(store.iterdir())) == 3


def test_another_configurations_ranks_are_refused_even_under_this_ones_name(classifier, photos, store, home):
    add_network(home, "other", tiny_weights(seed=1))
    measure_accuracy(open_classifier("other", Engine("cpu")), photos, store, BATCH)
    theirs = ranks_file(store)
    content = theirs.read_bytes()
    theirs.unlink()
    measure_accuracy(classifier, photos[:1], store)
    ranks_file(store).write_bytes(content)
    with pytest.raises(ResultError, match="found another"):
        measure_accuracy(classifier, photos, store)


def test_a_changed_label_counts(classifier, photos, store, runs):
    measure_accuracy(classifier, photos, store, BATCH)
    changed = [replace(photo, label=(photo.label + 1) % 3) if n == 5 else photo for n, photo in enumerate(photos)]
    runs.clear()
    found = measure_accuracy(classifier, changed, store, BATCH)
    assert len(runs) == 1
    assert found.top1 == by_a_loop(classifier, changed)[0]


def test_a_replaced_photo_counts(classifier, photos, store, runs):
    measure_accuracy(classifier, photos, store, BATCH)
    runs.clear()
    Image.fromarray(noise(99, 64, 80)).save(photos[3].path)
    found = measure_accuracy(classifier, photos, store, BATCH)
    assert len(runs) == 1
    assert found.top1 == by_a_loop(classifier, photos)[0]


def test_unreadable_photos_are_named_once_and_excluded(classifier, photos, store, caplog, runs):
    photos[2].path.write_bytes(b"no picture")
    photos[9].path.unlink()
    found = measure_accuracy(classifier, photos, store, BATCH)
    rest = [photo for number, photo in enumerate(photos) if number not in (2, 9)]
    assert (found.top1, found.top5) == by_a_loop(classifier, rest)
    assert (found.count, found.unreadable) == (COUNT - 2, 2)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "2 photos cannot be read and are left out: photo02.png, photo09.png" in warning
    runs.clear()
    assert measure_accuracy(classifier, photos, store, BATCH) == found
    assert runs == []


def test_a_mended_photo_counts(classifier, photos, store):
    content = photos[2].path.read_bytes()
    photos[2].path.write_bytes(b"\0" * len(content))
    assert measure_accuracy(classifier, photos, store, BATCH).unreadable == 1
    photos[2].path.write_bytes(content)
    found = measure_accuracy(classifier, photos, store, BATCH)
    assert found.unreadable == 0
    assert found.top1 == by_a_loop(classifier, photos)[0]


def test_photos_none_of_which_can_be_read_have_no_accuracy(classifier, photos, store):
    for photo in photos[:3]:
        photo.path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"found none among 3: .*photo00\.png"):
        measure_accuracy(classifier, photos[:3], store)


@pytest.mark.parametrize(
    ("spoil", "error", "expected"),
    [
        (lambda photos: [], ImageError, "expected labelled photos, found none"),
        (lambda photos: [replace(photos[0], label=3)], ConfigurationError, "expected a label from 0 to 2"),
        (lambda photos: [photos[0], photos[0]], ConfigurationError, "found it twice"),
    ],
)
def test_impossible_sets(classifier, photos, store, spoil: Callable, error: type[Exception], expected: str):
    with pytest.raises(error, match=expected):
        measure_accuracy(classifier, spoil(photos), store)
    assert not store.exists()


def test_a_batch_has_a_photo_at_least(classifier, photos, store):
    with pytest.raises(ConfigurationError, match="batch_size: expected a whole number from 1 on, found 0"):
        measure_accuracy(classifier, photos, store, 0)


def test_a_network_that_gives_nan_is_not_right(classifier, photos, store, monkeypatch):
    nothing = {"prob": np.full((2, 3), np.nan, np.float32)}
    monkeypatch.setattr(type(classifier.network), "run", lambda self, x, blobs: nothing)
    with pytest.raises(NetworkError, match="expected a finite probability for each of 3 classes"):
        measure_accuracy(classifier, photos[:2], store)


def test_a_folder_that_cannot_be_written_to(classifier, photos, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="could not be written"):
        measure_accuracy(classifier, photos, tmp_path / "file" / "store")


@pytest.mark.parametrize(("published", "count", "half"), [(57.1, 50_000, 0.43382), (50, 100, 9.8), (100, 7, 0)])
def test_chance_may_move_an_accuracy_by_two_standard_errors_of_the_published_one(published, count, half):
    # By hand: 1.96 * 100 * sqrt(0.571 * 0.429 / 50000), and 1.96 * 5.
    assert half_interval(published, count) == pytest.approx(half, abs=1e-5)
