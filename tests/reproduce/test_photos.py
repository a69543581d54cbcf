"""Finding photos: by a default name, a path, or a name in data/photos."""

import hashlib
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from predict_diff.errors import ConfigurationError, ImageError
from reproduce import home
from reproduce.photos import default_photos, fingerprint, read_photo


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """A home with no photos in data/photos, and the working folder elsewhere."""
    listed = (home.root() / "data" / "photos.yaml").read_bytes()
    for folder in ("models", "data/photos", "work"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data" / "photos.yaml").write_bytes(listed)
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a photo needed the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def write_list(own_home, text):
    (own_home / "data" / "photos.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", list(default_photos()))
def test_every_default_photo_comes_with_scikit_image(name, no_network):
    photo = read_photo(name)
    assert (photo.name, photo.source) == (name, f"skimage:{name}")
    assert photo.pixels.dtype == np.float32
    assert min(photo.pixels.shape[:2]) >= 224
    assert photo.pixels.shape[2] == 3
    assert photo.pixels.min() >= 0
    assert photo.pixels.max() <= 1


def test_default_photos_are_what_scikit_image_shows():
    shown = {
        "chelsea": skimage.data.chelsea(),
        "coffee": skimage.data.coffee(),
        "rocket": skimage.data.rocket(),
        "ihc": skimage.data.immunohistochemistry(),
        "motorcycle_left": skimage.data.stereo_motorcycle()[0],
    }
    for name, pixels in shown.items():
        np.testing.assert_array_equal(read_photo(name).pixels, skimage.img_as_float(pixels).astype(np.float32))


def test_the_pool_and_figure_1_have_the_photos_they_should():
    listed = default_photos()
    assert {name for name, photo in listed.items() if photo.figure1} == {"chelsea", "coffee"}
    assert {name for name, photo in listed.items() if photo.pool} == {
        *("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left", "hubble_deep_field", "ihc", "retina"),
    }
    assert "motorcycle_right" not in listed


def test_photos_of_the_pool_are_colour_photographs():
    for name, photo in default_photos().items():
        grey = "greyscale: repeated over three channels" in read_photo(name).notes
        assert grey != photo.pool


def test_a_file_is_read_by_its_path(tmp_path, rgb):
    path = tmp_path / "my dog.png"
    Image.fromarray(rgb).save(path)
    for given in (path, str(path)):
        photo = read_photo(given)
        assert (photo.name, photo.source) == ("my dog", str(path))
        np.testing.assert_array_equal(photo.pixels, rgb / np.float32(255))


def test_a_small_photo_is_used_and_says_that_it_is_enlarged(tmp_path):
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), "red").save(path)
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.pixels, [[[1, 0, 0]]])
    assert photo.notes == ("small: 1 x 1 pixels, enlarged to the network's input",)


def test_notes_of_reading_are_kept(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("L", (300, 300), 51).save(path)
    assert read_photo(path).notes == ("greyscale: repeated over three channels",)


def test_pixels_cannot_be_changed():
    photo = read_photo("coins")
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0, 0] = 0.5


def test_the_hash_is_of_pixels_not_of_files(tmp_path, rgb):
    for kind in ("png", "bmp", "tiff"):
        Image.fromarray(rgb).save(tmp_path / f"same.{kind}")
    hashes = {read_photo(tmp_path / f"same.{kind}").sha256 for kind in ("png", "bmp", "tiff")}
    values = np.ascontiguousarray(rgb / np.float32(255), "<f4")
    assert hashes == {hashlib.sha256(b"5x7x3" + values.tobytes()).hexdigest()}


def test_the_hash_knows_the_shape():
    pixels = np.zeros((4, 6, 3), np.float32)
    assert fingerprint(pixels) != fingerprint(pixels.reshape(6, 4, 3))


def test_a_default_name_wins_over_a_file_in_the_working_folder(own_home):
    Image.new("RGB", (2, 2), "red").save("chelsea", "PNG")
    Path("coffee").mkdir()
    assert read_photo("chelsea").source == "skimage:chelsea"
    assert read_photo("coffee").source == "skimage:coffee"
    assert read_photo("./chelsea").pixels.shape == (2, 2, 3)


@pytest.mark.parametrize("name", ["tabby", "tabby.JPEG"])
def test_own_photos_are_found_by_name(own_home, name):
    path = own_home / "data" / "photos" / "tabby.JPEG"
    Image.new("RGB", (300, 300), "white").save(path)
    (path.parent / "tabby.txt").write_text("notes")
    photo = read_photo(name)
    assert (photo.name, photo.source) == ("tabby", str(path))


def test_the_user_s_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (2, 2)).save(tmp_path / "dog.png")
    assert read_photo("~/dog.png").name == "dog"
    with pytest.raises(ImageError, match="expected a file"):
        read_photo("~no-such-user-here/dog.png")


@pytest.mark.parametrize("given", ["chelsae", "Chelsea", "chelsea.png"])
def test_close_default_names_are_suggested(own_home, given):
    with pytest.raises(ImageError, match=r"expected a file, .*chelsea, coffee, .*\(did you mean 'chelsea'"):
        read_photo(given)


def test_close_names_in_the_same_folder_are_suggested(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "labrador.jpg")
    with pytest.raises(ImageError, match=r"did you mean 'labrador\.jpg'\?"):
        read_photo(tmp_path / "labrado.jpg")


@pytest.mark.parametrize("given", ["", "nothing/like/this.png", "a\0b", "photo\nof a dog", "x" * 5000, "\udcff.png"])
def test_impossible_names_give_one_line(own_home, given):
    with pytest.raises(ImageError) as caught:
        read_photo(given)
    message = str(caught.value)
    assert "\n" not in message
    message.encode("utf-8")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="expected a photo, found a folder; name one file in it"):
        read_photo(tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(ImageError, match=r"empty\.png: expected a photo, found an empty file"):
        read_photo(path)


def test_text_under_a_picture_s_name_is_refused(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("<html>404 Not Found</html>")
    with pytest.raises(ImageError, match=r"text\.jpg: expected a picture"):
        read_photo(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    with pytest.raises(ImageError, match="found a device or a pipe"):
        read_photo(path)


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)  # sparse
    with pytest.raises(ImageError, match="expected at most 1073741824 bytes, found 1073741825"):
        read_photo(path)


def test_a_file_without_rights_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    Image.new("RGB", (2, 2)).save(path)

    def refuse(self, *_):
        raise PermissionError(13, "Permission denied")

    # Not by the file's mode: root, as whom tests may run, may read everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"secret\.png: expected a photo that may be read, found: Permission denied"):
        read_photo(path)


def test_a_name_that_is_not_utf_8_can_be_stored(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")  # noqa: PTH118 -- bytes
    with open(path, "wb") as file:  # noqa: PTH123
        Image.new("RGB", (2, 2)).save(file, "PNG")
    photo = read_photo(os.fsdecode(path))
    assert photo.name == "caf?"
    photo.source.encode("utf-8")


ENTRY = "{name: a, file: chelsea.png, shows: x, credit: y, pool: true"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photos: [", "expected YAML"),
        ("just text", "expected fields, as in 'name: value', found 'just text'"),
        ("photos: [{name: a}]", r"photos\.0\.file: missing; add it"),
        (f"photos: [{ENTRY}, figure: true}}]", r"unknown field \(did you mean 'figure1'"),
        (f"photos: [{ENTRY.replace('true', '5')}}}]", r"photos\.0\.pool: expected a valid boolean, found 5"),
        (f"photos: [{ENTRY}}}, {ENTRY}}}]", "expected every name once, found one twice"),
    ],
)
def test_a_list_of_another_form_is_refused(own_home, text, message):
    write_list(own_home, text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        default_photos()
    assert "\n" not in str(caught.value)
    assert "photos.yaml" in str(caught.value)


def test_a_missing_list_is_named(own_home):
    (own_home / "data" / "photos.yaml").unlink()
    with pytest.raises(ConfigurationError, match=r"photos\.yaml: expected YAML"):
        default_photos()


def test_a_scikit_image_without_the_photo_is_an_error_not_a_download(own_home, no_network):
    write_list(own_home, f"photos: [{ENTRY.replace('chelsea.png', 'kidney.tif')}}}]")
    with pytest.raises(ImageError, match=r"photo a: expected .*kidney\.tif, found no such file"):
        read_photo("a")


def test_a_link_that_leads_nowhere_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "cat.png").symlink_to("gone.png")
    with pytest.raises(ImageError, match=r"cat\.png: expected a photo, found a link that leads to no file; mend"):
        read_photo(tmp_path / "cat.png")
