"""Pools of photos from which samplers draw."""

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from predict_diff.caffe.preprocess import Preprocessing
from predict_diff.errors import ConfigurationError, ImageError
from reproduce.crops import Crop, random_crop
from reproduce.photos import default_photos, read_photo
from reproduce.pools import pool

HASH = "ab" * 32


def corner(pixels):
    """A preprocessing that needs no resizing: the upper left 4 x 4 pixels."""
    return np.moveaxis(pixels[:4, :4], -1, 0)


def write_photo(path, value, size=(9, 6), mode="RGB"):
    """A noisy photo of a size that grows with `value`, so that no two are alike."""
    noise = np.random.default_rng(value).integers(0, 256, (size[1] + value, size[0], 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).convert(mode).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for index, letter in enumerate("hgfedcba"):
        write_photo(tmp_path / "photos" / f"{letter}.png", index)
    return tmp_path / "photos"


def names(chosen):
    return [member.name for member in chosen.members]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# The default pool


def test_the_default_pool_is_eight_crops_of_each_photo_but_the_explained_one():
    chosen = pool(leave_out=read_photo("chelsea"))
    assert chosen.source == "default"
    assert names(chosen) == [name for name, photo in default_photos().items() if photo.pool and name != "chelsea"]
    assert chosen.crops == 8
    assert len(chosen) == 7 * 8


def test_a_copy_of_a_default_photo_under_another_name_is_left_out_too(tmp_path):
    copy = tmp_path / "my_cat.bmp"
    Image.fromarray(np.uint8(np.rint(read_photo("chelsea").pixels * 255))).save(copy)
    assert "chelsea" not in names(pool(leave_out=read_photo(copy)))


def test_a_photo_outside_the_pool_leaves_it_whole(folder):
    assert len(pool(leave_out=read_photo(folder / "a.png")).members) == 8


def test_authors_code_lets_the_explained_photo_stay():
    chosen = pool(leave_out=None, crops=1)
    assert "chelsea" in names(chosen)
    assert len(chosen) == 8


def test_crop_0_is_the_photo_as_the_network_sees_it():
    preprocessing = Preprocessing(32, "square")
    chosen = pool(leave_out=None, crops=2)
    arrays = chosen.arrays(preprocessing)
    assert arrays.shape == (16, 3, 32, 32)
    assert arrays.dtype == np.float32
    for member, whole in zip(chosen.members, arrays[::2], strict=True):
        np.testing.assert_array_equal(whole, preprocessing(read_photo(member.name).pixels))


def test_other_crops_are_cut_out_and_mirrored_before_preprocessing():
    preprocessing = Preprocessing(32, "square")
    chosen = pool(leave_out=None, crops=3, seed=5)
    arrays = chosen.arrays(preprocessing).reshape(8, 3, 3, 32, 32)
    for member, crops in zip(chosen.members, arrays, strict=True):
        photo = read_photo(member.name)
        for number in (1, 2):
            crop = random_crop(photo.sha256, number, *photo.pixels.shape[:2], seed=5)
            square = photo.pixels[crop.row : crop.row + crop.side, crop.column : crop.column + crop.side]
            square = np.flip(square, axis=1) if crop.mirrored else square
            np.testing.assert_array_equal(crops[number], preprocessing(square))


def test_inputs_come_one_by_one_in_the_order_of_arrays():
    chosen = pool(leave_out=None, crops=2)
    for one, of_all in zip(chosen.inputs(corner), chosen.arrays(corner), strict=True):
        np.testing.assert_array_equal(one, of_all)


# Random crops


def test_a_mirrored_crop_is_turned_left_to_right():
    pixels = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
    np.testing.assert_array_equal(Crop(1, 2, 2, False).cut(pixels), pixels[1:3, 2:4])
    np.testing.assert_array_equal(Crop(1, 2, 2, True).cut(pixels), pixels[1:3, [3, 2]])


def test_crops_lie_inside_the_photo_and_have_half_to_all_of_its_shorter_side():
    crops = [random_crop(HASH, number, 300, 451, seed=1) for number in range(1, 2001)]
    sides = np.array([crop.side for crop in crops])
    assert all(0 <= crop.row <= 300 - crop.side for crop in crops)
    assert all(0 <= crop.column <= 451 - crop.side for crop in crops)
    assert sides.min() >= 150
    assert sides.max() <= 300
    assert abs(sides.mean() - 225) < 5  # uniform: standard error 1
    assert abs(np.mean([crop.mirrored for crop in crops]) - 0.5) < 0.05  # standard error 0.011
    # Uniform over what is left free: 0 to 300 - side.
    places = [crop.row / (300 - crop.side) for crop in crops if crop.side < 300]
    assert abs(np.mean(places) - 0.5) < 0.04


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_the_smallest_photos_can_be_cropped(size):
    for number in range(1, 50):
        crop = random_crop(HASH, number, *size, seed=0)
        assert crop.side >= 1
        assert crop.cut(np.zeros((*size, 3), np.float32)).shape == (crop.side, crop.side, 3)


def test_crops_depend_on_photo_number_and_seed():
    crops = {
        random_crop(sha256, number, 1000, 1000, seed)
        for sha256 in (HASH, "cd" * 32)
        for number in (1, 2)
        for seed in (0, 1)
    }
    assert len(crops) == 8


def test_crops_of_a_photo_stay_when_another_joins_or_leaves(folder):
    def crops_of(name):
        chosen = pool(folder, leave_out=None, crops=4, seed=3)
        place = names(chosen).index(name)
        return chosen.arrays(lambda pixels: np.resize(pixels, (3, 4, 4)))[4 * place : 4 * place + 4]

    before = crops_of("e.png")
    (folder / "b.png").unlink()
    write_photo(folder / "aa.png", 20)
    np.testing.assert_array_equal(crops_of("e.png"), before)


def test_more_crops_keep_the_first_ones(folder):
    def small(pixels):
        return np.resize(pixels, (3, 4, 4))

    few = pool(folder, leave_out=None, crops=2).arrays(small).reshape(8, 2, 3, 4, 4)
    more = pool(folder, leave_out=None, crops=5).arrays(small).reshape(8, 5, 3, 4, 4)
    np.testing.assert_array_equal(more[:, :2], few)


# A folder


def test_a_folder_gives_each_photo_once_in_the_order_of_the_names(folder):
    chosen = pool(folder, leave_out=None)
    assert names(chosen) == [f"{letter}.png" for letter in "abcdefgh"]
    expected = [corner(read_photo(folder / name).pixels) for name in names(chosen)]
    np.testing.assert_array_equal(chosen.arrays(corner), expected)


def test_the_explained_photo_is_left_out_by_its_pixels(folder):
    shutil.copy(folder / "c.png", folder / "copy.png")
    chosen = pool(folder, leave_out=read_photo(folder / "c.png"))
    assert names(chosen) == [f"{letter}.png" for letter in "abdefgh"]


def test_subfolders_count_and_hidden_and_other_files_do_not(folder):
    write_photo(folder / "n01440764" / "n01440764_18.JPEG", 30)
    write_photo(folder / ".thumbnails" / "a.png", 31)
    write_photo(folder / ".hidden.png", 32)
    (folder / "README.md").write_text("not a photo")
    assert names(pool(folder, leave_out=None)) == [*(f"{x}.png" for x in "abcdefgh"), "n01440764/n01440764_18.JPEG"]


def test_a_limit_draws_at_random_by_the_seed(folder):
    drawn = [tuple(names(pool(folder, leave_out=None, limit=3, seed=seed))) for seed in range(30)]
    assert all(len(each) == 3 and list(each) == sorted(each) for each in drawn)
    assert len(set(drawn)) > 10
    assert {name for each in drawn for name in each} == {f"{letter}.png" for letter in "abcdefgh"}
    assert drawn[4] == tuple(names(pool(folder, leave_out=None, limit=3, seed=4)))


def test_a_new_photo_displaces_at_most_one_of_those_drawn(folder):
    before = set(names(pool(folder, leave_out=None, limit=4)))
    write_photo(folder / "new.png", 40)
    after = set(names(pool(folder, leave_out=None, limit=4)))
    assert len(before - after) <= 1


def test_only_as_many_photos_are_read_as_are_drawn(folder, monkeypatch):
    read = []
    monkeypatch.setattr("reproduce.pools.read_photo", lambda path: read.append(path) or read_photo(path))
    pool(folder, leave_out=None, limit=3)
    assert len(read) == 3


def test_the_explained_photo_does_not_use_up_the_limit(folder):
    explained = read_photo(folder / "a.png")
    assert all(len(pool(folder, leave_out=explained, limit=7, seed=seed).members) == 7 for seed in range(5))


def test_unreadable_photos_are_skipped_with_one_warning(folder, caplog):
    for name in ("u.jpg", "v.png", "w.gif", "x.webp"):
        (folder / name).write_bytes(b"no picture")
    chosen = pool(folder, leave_out=None, crops=1)
    assert names(chosen) == [f"{letter}.png" for letter in "abcdefgh"]
    (warning,) = warnings_of(caplog)
    assert "4 photos cannot be read and are left out: " in warning
    assert ", ... (" in warning  # the first three are named
    assert "expected a picture" in warning
    assert "\n" not in warning


def test_a_good_folder_gives_no_warning(folder, caplog):
    pool(folder, leave_out=None).arrays(corner)
    assert warnings_of(caplog) == []


def test_photos_too_small_for_the_authors_crop_are_skipped_with_a_note(folder, caplog):
    for index in range(3):
        write_photo(folder / f"large{index}.png", 50 + index, size=(80, 40))
    chosen = pool(folder, leave_out=None)
    arrays = chosen.arrays(Preprocessing(64, "none", raw_scale=1))
    assert arrays.shape == (3, 3, 64, 64)
    # Authors' code: int(0.5 * (size - crop)) is the first row and column.
    pixels = read_photo(folder / "large1.png").pixels
    row, column = int(0.5 * (pixels.shape[0] - 64)), int(0.5 * (80 - 64))
    cut = pixels[row : row + 64, column : column + 64, ::-1]
    np.testing.assert_allclose(arrays[1], np.moveaxis(cut, -1, 0), atol=1e-6)
    (warning,) = warnings_of(caplog)
    assert "8 of 11 crops do not suit the network and are left out: a.png, b.png, c.png, ..." in warning


# What a pool says of itself


def test_a_pool_is_the_same_twice_and_knows_it(folder):
    first, second = (pool(folder, leave_out=None, crops=3, seed=9) for _ in range(2))
    assert first == second
    assert first.digest == second.digest
    np.testing.assert_array_equal(
        first.arrays(lambda pixels: np.resize(pixels, (3, 4, 4))),
        second.arrays(lambda pixels: np.resize(pixels, (3, 4, 4))),
    )


def test_the_digest_depends_on_pixels_crops_and_seed_and_not_on_where_the_photos_lie(folder, tmp_path):
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    base = pool(folder, leave_out=None, crops=3)
    assert pool(elsewhere, leave_out=None, crops=3).digest == base.digest
    others = [
        pool(folder, leave_out=None, crops=2).digest,
        pool(folder, leave_out=None, crops=3, seed=1).digest,
        pool(folder, leave_out=None, crops=3, limit=7).digest,
        pool(folder, leave_out=read_photo(folder / "a.png"), crops=3).digest,
    ]
    assert len({base.digest, *others}) == 5


def test_without_random_crops_the_seed_changes_nothing(folder):
    assert pool(folder, leave_out=None, seed=1).digest == pool(folder, leave_out=None, seed=2).digest


def test_a_pool_describes_itself_in_json(folder):
    explained = read_photo(folder / "a.png")
    described = json.loads(json.dumps(pool(folder, leave_out=explained, crops=2, seed=7).describe()))
    assert described["source"] == str(folder)
    assert described["photos"] == [f"{letter}.png" for letter in "bcdefgh"]
    assert (described["crops"], described["seed"], described["left_out"]) == (2, 7, explained.sha256)
    assert len(described["sha256"]) == 64


# Bad input


def test_too_few_photos_say_how_many_are_needed_and_what_to_do(folder):
    with pytest.raises(ImageError, match=r"expected 20 or more crops .*, found 8; add photos, ask for more crops"):
        pool(folder, leave_out=None, needed=20)
    assert len(pool(folder, leave_out=None, crops=3, needed=20)) == 24


def test_too_few_crops_that_suit_the_network_are_an_error(folder):
    with pytest.raises(ImageError, match=r"expected 1 or more crops .*, found 0"):
        pool(folder, leave_out=None).arrays(Preprocessing(64, "none"))


def test_a_folder_without_photos_is_an_error(tmp_path):
    with pytest.raises(ImageError, match=r"expected 1 or more crops .*, found 0"):
        pool(tmp_path, leave_out=None)


def test_a_folder_without_readable_photos_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"expected 1 or more crops .*, found 0"):
        pool(tmp_path, leave_out=None)


def test_only_the_explained_photo_is_an_error(tmp_path):
    path = write_photo(tmp_path / "a.png", 0)
    with pytest.raises(ImageError, match="expected 1 or more crops of photos other than the explained one, found 0"):
        pool(tmp_path, leave_out=read_photo(path))


def test_a_missing_folder_is_named_with_the_closest(folder):
    with pytest.raises(ImageError, match=r"No such file or directory \(did you mean 'photos'\?\)"):
        pool(folder.parent / "photo", leave_out=None)
    with pytest.raises(ImageError, match=r"expected 'default' or a folder.*did you mean 'default'"):
        pool("defualt", leave_out=None)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_impossible_folders_give_one_line(name):
    with pytest.raises(ImageError, match="expected 'default' or a folder of photos, found"):
        pool(name, leave_out=None)


def test_a_file_is_no_folder(folder):
    with pytest.raises(ImageError, match="Not a directory"):
        pool(folder / "a.png", leave_out=None)


@pytest.mark.parametrize(("setting", "value"), [("crops", 0), ("limit", 0), ("seed", -1)])
def test_impossible_numbers_are_refused(folder, setting, value):
    with pytest.raises(ConfigurationError, match=f"{setting}: expected a whole number from . on, found {value}"):
        pool(folder, leave_out=None, **{setting: value})


def test_a_photo_that_changes_meanwhile_is_noticed(folder):
    chosen = pool(folder, leave_out=None)
    write_photo(folder / "d.png", 60)
    with pytest.raises(ImageError, match=r"d\.png: expected the photo to stay as it was"):
        chosen.arrays(corner)


def test_a_photo_that_goes_meanwhile_is_named(folder):
    chosen = pool(folder, leave_out=None)
    (folder / "d.png").unlink()
    with pytest.raises(ImageError, match=r"d\.png"):
        chosen.arrays(corner)


def test_masks_of_objects_are_no_photos(folder):
    before = names(pool(folder, leave_out=None))
    write_photo(folder / "a.mask.png", 9)
    assert names(pool(folder, leave_out=None)) == before
