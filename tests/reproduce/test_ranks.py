"""The file of ranks: a torn end is what a run that was stopped leaves; all other damage is named."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image
from tiny_home import noise

from predict_diff.errors import ResultError
from reproduce.classifier import Classifier, Engine, open_classifier
from reproduce.imagenet import LabelledPhoto
from reproduce.ranks import Ranks

COUNT = 6


@pytest.fixture
def classifier(home: Path) -> Classifier:
    return open_classifier("tiny", Engine("cpu", threads=1))


@pytest.fixture
def photos(tmp_path: Path) -> list[LabelledPhoto]:
    found = []
    for number in range(COUNT):
        path = tmp_path / f"photo{number}.png"
        Image.fromarray(noise(number)).save(path)
        found.append(LabelledPhoto(path=path, name=path.name, label=number % 3))
    return found


@pytest.fixture
def path(classifier: Classifier, photos: list[LabelledPhoto], tmp_path: Path) -> Path:
    """A file with the ranks 0, 1, 2, ... of the photos."""
    Ranks(classifier, tmp_path / "store").add([(photo, number) for number, photo in enumerate(photos)])
    (path,) = (tmp_path / "store").iterdir()
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_ranks_are_read_again(classifier, photos, path):
    assert Ranks(classifier, path.parent).of(photos) == {photo.name: n for n, photo in enumerate(photos)}


def test_an_unterminated_last_line_is_dropped_and_said_so(classifier, photos, path, caplog):
    caplog.set_level(logging.INFO)
    whole = lines(path)
    for length in range(1, len(whole[-1])):
        path.write_bytes(b"".join(whole[:-1]) + whole[-1][:length])
        caplog.clear()
        assert Ranks(classifier, path.parent).of(photos) == {photo.name: n for n, photo in enumerate(photos[:-1])}
        assert lines(path) == whole[:-1]
        assert f"the end was torn; {length} bytes dropped" in caplog.text


def test_a_torn_end_is_no_damage_whatever_it_holds(classifier, photos, path):
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0\xff no line")
    assert len(Ranks(classifier, path.parent).of(photos)) == COUNT
    assert path.read_bytes() == whole


DAMAGE = {
    "another rank": lambda line: line.replace(b", 2]", b", 0]"),
    "another checksum": lambda line: b"0" + line[1:] if line[:1] != b"0" else b"1" + line[1:],
    "no space": lambda line: line[:16] + b"_" + line[17:],
    "cut": lambda line: line[:20] + b"\n",
    "nothing": lambda line: b"\n",
    "zeros": lambda line: b"\0" * (len(line) - 1) + b"\n",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_line_is_named_and_the_file_kept(classifier, path, damage):
    whole = lines(path)
    damaged = b"".join([*whole[:3], damage(whole[3]), *whole[4:]])
    assert damaged != b"".join(whole)
    path.write_bytes(damaged)
    with pytest.raises(ResultError, match=r"accuracy-tiny-\w+\.txt: .*found a damaged line 4; .*--force") as caught:
        Ranks(classifier, path.parent)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == damaged


def test_a_damaged_last_line_with_its_end_is_no_torn_end(classifier, path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-5] + b"\n")
    with pytest.raises(ResultError, match=f"a damaged line {COUNT + 1};"):
        Ranks(classifier, path.parent)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_with_force_the_lines_that_are_whole_are_kept(classifier, photos, path, damage, caplog):
    whole = lines(path)
    path.write_bytes(b"".join([*whole[:3], damage(whole[3]), *whole[4:], b"torn"]))
    known = Ranks(classifier, path.parent, force=True)
    assert known.of(photos) == {photo.name: n for n, photo in enumerate(photos) if n != 2}
    assert "a damaged line 4; it is replaced, and 5 ranks are kept" in caplog.text
    known.add([(photos[2], 2)])
    assert sorted(lines(path)[1:]) == sorted(whole[1:])
    assert len(Ranks(classifier, path.parent).of(photos)) == COUNT


@pytest.mark.parametrize("head", [b"", b"something else\n", b"no end"])
def test_a_damaged_head_is_named_and_replaced_only_with_force(classifier, photos, path, head):
    whole = lines(path)
    damaged = head + b"".join(whole[1:]) if head.endswith(b"\n") else head
    path.write_bytes(damaged)
    with pytest.raises(ResultError, match=r"found another's, or a damaged beginning; .*--force"):
        Ranks(classifier, path.parent)
    assert path.read_bytes() == damaged
    kept = Ranks(classifier, path.parent, force=True).of(photos)
    assert len(kept) == (COUNT if head.endswith(b"\n") else 0)
    assert lines(path) == (whole if kept else whole[:1])


def test_a_head_that_comes_twice_is_damage(classifier, path):
    """As from `cat`: its checksum is right, but it is no rank."""
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ResultError, match=f"a damaged line {COUNT + 2};"):
        Ranks(classifier, path.parent)


def test_a_file_that_is_whole_is_the_same_with_force(classifier, path):
    before = path.read_bytes()
    Ranks(classifier, path.parent, force=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_that_name_stays(classifier, path, force):
    path.unlink()
    path.mkdir()
    with pytest.raises(ResultError, match="found no file; delete it"):
        Ranks(classifier, path.parent, force)
    assert path.is_dir()
