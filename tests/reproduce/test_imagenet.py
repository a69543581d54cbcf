"""The forms in which people have the validation set: each gives the right labels, or one line that says what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_home import PROJECT

from predict_diff.errors import ConfigurationError, ImageError, PredictDiffError
from reproduce import imagenet
from reproduce.imagenet import LabelledPhoto, validation_set

# Lines 1, 2 and 66 of data/imagenet_labels.txt.
TENCH, GOLDFISH, SEA_SNAKE = ("n01440764", 0), ("n01443537", 1), ("n01751748", 65)


def name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}.JPEG"


def put(folder: Path, *names: str) -> Path:
    """Files of these names; what is in them is not read here."""
    for each in names:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes(b"not read")
    return folder


def found(photos: list[LabelledPhoto]) -> dict[str, int]:
    return {photo.name: photo.label for photo in photos}


def problem(folder: Path) -> str:
    with pytest.raises(PredictDiffError) as caught:
        validation_set(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert isinstance(caught.value, ImageError | ConfigurationError)
    return message


@pytest.fixture
def val(tmp_path: Path) -> Path:
    """A flat folder of three photos, without labels."""
    return put(tmp_path / "val", name(1), name(2), name(3))


def test_the_classes_used_below_are_those_of_the_list():
    lines = (PROJECT / "data" / "imagenet_labels.txt").read_text().splitlines()
    for synset, index in (TENCH, GOLDFISH, SEA_SNAKE):
        assert lines[index].startswith(synset)


@pytest.mark.parametrize("place", ["val", "."])
def test_caffes_list_lies_in_the_folder_or_one_up(val: Path, place: str):
    (val.parent / place / "val.txt").write_text(f"{name(3)} 999\n{name(1)} 65\n{name(2)} 0\n{name(4)} 7\n")
    photos = validation_set(val)
    assert [(photo.name, photo.label) for photo in photos] == [(name(1), 65), (name(2), 0), (name(3), 999)]
    assert all(photo.path.is_file() for photo in photos)


def test_photos_saved_in_another_format_keep_their_labels(tmp_path: Path):
    folder = put(tmp_path, "ILSVRC2012_val_00000001.png", "ILSVRC2012_val_00000002.jpg")
    (folder / "val.txt").write_text(f"{name(1)} 65\n{name(2)} 970\n")
    assert list(found(validation_set(folder)).values()) == [65, 970]


@pytest.mark.parametrize("depth", ["val", "up/val", "ILSVRC/Data/CLS-LOC/val"])
def test_kaggles_list_lies_beside_the_photos_or_at_the_top_of_its_archive(tmp_path: Path, depth: str):
    folder = put(tmp_path / depth, name(1), name(2))
    place = tmp_path if depth != "val" else folder
    (place / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n"
        f"ILSVRC2012_val_00000002,{TENCH[0]} 85 1 499 272 {TENCH[0]} 1 2 3 4 \n"
        f"ILSVRC2012_val_00000001,{SEA_SNAKE[0]} 111 108 403 398 \n"
    )
    assert found(validation_set(folder)) == {name(1): 65, name(2): 0}


def test_a_folder_for_each_class_needs_no_list(tmp_path: Path):
    put(tmp_path, f"{GOLDFISH[0]}/{name(7)}", f"{GOLDFISH[0]}/{name(5)}", f"{TENCH[0]}/{name(6)}", "notes/read.txt")
    photos = validation_set(tmp_path)
    assert found(photos) == {f"n01440764/{name(6)}": 0, f"n01443537/{name(5)}": 1, f"n01443537/{name(7)}": 1}
    assert [photo.name for photo in photos] == sorted(photo.name for photo in photos)


def test_other_sets_may_number_each_class_anew(tmp_path: Path):
    put(tmp_path, f"{GOLDFISH[0]}/0001.JPEG", f"{TENCH[0]}/0001.JPEG")
    assert len(validation_set(tmp_path)) == 2


def test_hidden_files_and_other_files_are_no_photos(val: Path):
    put(val, f"._{name(1)}", "readme.txt")
    (val / "val.txt").write_text(f"{name(1)} 1\n{name(2)} 1\n{name(3)} 1\n")
    assert len(validation_set(val)) == 3


def test_the_devkits_list_is_refused_because_of_its_order(val: Path):
    put(val.parent, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt")
    message = problem(val)
    assert "another and needs MATLAB's meta.mat" in message
    assert "get_ilsvrc_aux.sh fetches val.txt" in message


def test_no_such_folder(val: Path):
    assert "did you mean 'val'?" in problem(val.parent / "vall")


def test_a_file_is_no_folder(val: Path):
    assert "Not a directory" in problem(val / name(1))


def test_a_folder_without_photos(val: Path):
    assert "found none; it has folders (val): name the one with the photos" in problem(val.parent)


def test_photos_without_any_labels(val: Path):
    assert "expected labels in val.txt or LOC_val_solution.csv" in problem(val)


def test_photos_beside_folders_of_classes(val: Path):
    put(val, f"{TENCH[0]}/{name(9)}")
    assert "found both" in problem(val)


def test_a_folder_of_an_unknown_class(tmp_path: Path):
    put(tmp_path, f"n01440765/{name(1)}")
    assert "found another synset (did you mean 'n01440764'" in problem(tmp_path)


def test_a_photo_in_two_classes(tmp_path: Path):
    put(tmp_path, f"{TENCH[0]}/{name(1)}", f"{GOLDFISH[0]}/{name(1)}")
    assert f"found n01440764/{name(1)} and n01443537/{name(1)}" in problem(tmp_path)


def test_a_photo_in_two_formats(val: Path):
    put(val, "ILSVRC2012_val_00000001.png")
    (val / "val.txt").write_text(f"{name(1)} 1\n{name(2)} 1\n{name(3)} 1\n")
    assert "expected each photo once" in problem(val)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{name(1)} 1000\n", "val.txt:1: expected an index from 0 to 999, found 1000; the first class is 0"),
        (f"{name(1)} -1\n", "val.txt:1: expected an index from 0 to 999, found -1"),
        (f"{name(1)} 5\n\n{name(1)} 5\n", "val.txt:3: expected each photo once, found"),
        (f"{name(1)}\n", "val.txt:1: expected a name and an index"),
        (f"{name(1)} five\n", "val.txt:1: expected a name and an index"),
        (f"{name(2)} 5\n", f"found none for {name(1)} and 1 more; add the labels"),
    ],
)
def test_a_wrong_list_of_caffes_form(val: Path, text: str, expected: str):
    (val / "val.txt").write_text(text)
    assert expected in problem(val)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ILSVRC2012_val_00000001,n09999999 1 2 3 4", "LOC_val_solution.csv:2: expected one of the network's 1000"),
        ("ILSVRC2012_val_00000001,", "LOC_val_solution.csv:2: expected a name and a synset id"),
        (f"ILSVRC2012_val_00000001,{TENCH[0]} 1 2 3 4", f"found none for {name(2)} and 1 more"),
    ],
)
def test_a_wrong_list_of_kaggles_form(val: Path, line: str, expected: str):
    (val / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\n{line}\n")
    assert expected in problem(val)


def test_a_list_of_other_bytes(val: Path):
    (val / "val.txt").write_bytes(b"\xff\xfe\x00")
    assert "expected a list of labels in UTF-8" in problem(val)


def test_a_list_that_is_far_too_large_is_not_read(val: Path, monkeypatch: pytest.MonkeyPatch):
    (val / "val.txt").write_text(f"{name(1)} 5\n")
    monkeypatch.setattr(imagenet, "_LABELS_AT_MOST", 5)
    assert "of at most 5 bytes" in problem(val)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_list_that_may_not_be_read(val: Path):
    (val / "val.txt").write_text(f"{name(1)} 5\n")
    (val / "val.txt").chmod(0)
    assert "Permission denied" in problem(val)
