"""The Gaussian's statistics: fitted on patches, stored, read back, refused when they are not what they should be."""

import errno
import hashlib
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from predict_diff.errors import SamplerError
from predict_diff.samplers import GaussianStatistics, statistics
from predict_diff.samplers.patches import draw_places

L = 4


@pytest.fixture
def fitted(pool):
    return GaussianStatistics.fit(pool, L, patches=300, seed=5)


@pytest.fixture
def stored(fitted, tmp_path):
    path = tmp_path / "gaussian.h5"
    fitted.save(path)
    return path


def cut(pool, places):
    return np.stack([pool[p, :, r : r + L, c : c + L] for p, r, c in places]).astype(np.float64)


def test_joint_statistics_are_those_of_whole_patches(pool, fitted):
    collected = cut(pool, draw_places(pool.shape, L, 300, seed=5)).reshape(300, -1)
    np.testing.assert_allclose(fitted.mean, collected.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(fitted.covariance, np.cov(collected.T), atol=1e-9 * fitted.covariance.max())
    assert (fitted.l, fitted.channels, fitted.joint, fitted.patches) == (L, 2, True, 300)


@pytest.mark.parametrize("placement", ["anywhere", "shared"])
def test_statistics_of_each_channel_come_from_patches_of_its_own(pool, placement):
    fitted = GaussianStatistics.fit(pool, L, patches=300, joint=False, seed=5, placement=placement)
    assert fitted.covariance.shape == (2, 16, 16)
    places = [draw_places(pool.shape, L, 300, 5, placement, channel) for channel in range(2)]
    assert not np.array_equal(*places)
    assert fitted.patches == len(places[0])
    for channel in range(2):
        collected = cut(pool, places[channel])[:, channel].reshape(-1, 16)
        np.testing.assert_allclose(fitted.mean[channel], collected.mean(axis=0), atol=1e-10)
        np.testing.assert_allclose(fitted.covariance[channel], np.cov(collected.T), atol=1e-9 * fitted.covariance.max())


def test_the_key_holds_everything_the_statistics_depend_on(pool, fitted):
    changed = pool.copy()
    changed[0, 0, 0, 0] += 1
    others = [
        GaussianStatistics.fit(changed, L, patches=300, seed=5),
        GaussianStatistics.fit(pool, L + 1, patches=300, seed=5),
        GaussianStatistics.fit(pool, L, patches=301, seed=5),
        GaussianStatistics.fit(pool, L, patches=300, seed=6),
        GaussianStatistics.fit(pool, L, patches=300, seed=5, joint=False),
        GaussianStatistics.fit(pool, L, patches=300, seed=5, placement="shared"),
    ]
    assert len({json.dumps(other.key, sort_keys=True) for other in [fitted, *others]}) == 7
    assert len({other.digest for other in [fitted, *others]}) == 7
    again = GaussianStatistics.fit(pool.copy(), L, patches=300, seed=5)
    assert (again.key, again.digest) == (fitted.key, fitted.digest)


def test_too_few_patches_are_refused(pool):
    with pytest.raises(SamplerError, match=r"patches: expected more than 32, the number of values.*l = 4, found 32"):
        GaussianStatistics.fit(pool, L, patches=32)
    with pytest.raises(SamplerError, match=r"patches: expected more than 16,.*found 16"):
        GaussianStatistics.fit(pool, L, patches=16, joint=False)
    assert GaussianStatistics.fit(pool, L, patches=33).patches == 33


def test_pools_without_patches_are_refused(pool):
    with pytest.raises(SamplerError, match="at least one photo, found none"):
        GaussianStatistics.fit(pool[:0], L)
    with pytest.raises(SamplerError, match=r"fit into the pool's photos \(21 x 3\), found 4"):
        GaussianStatistics.fit(pool[..., :3], L)


@pytest.mark.parametrize("joint", [True, False])
def test_what_is_saved_is_read_back_to_the_bit(pool, tmp_path, joint):
    fitted = GaussianStatistics.fit(pool, L, patches=300, joint=joint)
    fitted.save(tmp_path / "gaussian.h5")
    loaded = GaussianStatistics.load(tmp_path / "gaussian.h5")
    assert np.array_equal(loaded.mean, fitted.mean)
    assert np.array_equal(loaded.covariance, fitted.covariance)
    assert (loaded.l, loaded.channels, loaded.joint, loaded.patches) == (L, 2, joint, 300)
    assert (loaded.key, loaded.digest) == (fitted.key, fitted.digest)
    assert [file.name for file in tmp_path.iterdir()] == ["gaussian.h5"]


def overwrite(name, change):
    def damage(file):
        values = change(file[name][()])
        del file[name]
        file[name] = values

    return damage


def spoil(values):
    values.flat[1] += 1
    return values


def compress(file):
    values = file["covariance"][()]
    del file["covariance"]
    file.create_dataset("covariance", data=values, compression="gzip")


DAMAGE = {
    "mean changed": (overwrite("mean", spoil), "do not have the digest"),
    "covariance not symmetric": (overwrite("covariance", spoil), "symmetric"),
    "covariance of another size": (overwrite("covariance", lambda values: values[:-1, :-1]), "shape"),
    "covariance with NaN": (overwrite("covariance", lambda values: values * np.nan), "NaN"),
    "covariance in single precision": (overwrite("covariance", np.float32), "float32"),
    "covariance compressed": (compress, "bytes in the file"),
    "mean missing": (lambda file: file.pop("mean"), "mean"),
    "mean a group": (lambda file: (file.pop("mean"), file.create_group("mean")), "shape"),
    "key missing": (lambda file: file.attrs.pop("key"), "key"),
    "key not JSON": (lambda file: file.attrs.update(key="{"), "line 1"),
    "key not a dictionary": (lambda file: file.attrs.update(key="[1]"), "indices"),
    "key of another size": (
        lambda file: file.attrs.update(key='{"l": 1000000, "channels": 3, "joint": true}'),
        "shape",
    ),
    "key changed": (
        lambda file: file.attrs.update(key=file.attrs["key"].replace('"seed":5', '"seed":6')),
        "do not have the digest",
    ),
}


def seal(path, kind=b"predict_diff Gaussian statistics, layout 1"):
    """Give a file the checksum it should have."""
    content = path.read_bytes()[512:]
    lines = kind + b"\nSHA-256 from byte 512: " + hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(lines.ljust(512, b"\0") + content)


def refused(path, reason):
    with pytest.raises(SamplerError) as caught:
        GaussianStatistics.load(path)
    message = str(caught.value)
    assert re.fullmatch(
        rf".*{path.name}: expected Gaussian statistics .*{reason}.*delete it and fit them anew", message
    )


@pytest.mark.parametrize("damage", DAMAGE)
def test_contents_that_are_not_statistics_are_refused_in_one_line(stored, damage):
    change, reason = DAMAGE[damage]
    with h5py.File(stored, "r+") as file:
        change(file)
    refused(stored, "checksum")
    seal(stored)
    refused(stored, reason)


def test_a_single_damaged_byte_is_noticed_before_the_hdf5_library_sees_it(stored, monkeypatch):
    content = stored.read_bytes()
    monkeypatch.delattr(h5py, "File")
    for place in [*range(0, 400, 7), *range(512, len(content), 97)]:
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        stored.write_bytes(damaged)
        refused(stored, "its (contents|first line)")


def test_files_of_another_layout_are_refused(stored):
    seal(stored, b"predict_diff Gaussian statistics, layout 2")
    refused(stored, "its first line is not 'predict_diff Gaussian statistics, layout 1'")


def test_other_programs_can_read_the_file(stored, fitted):
    with h5py.File(stored) as file:
        assert np.array_equal(file["covariance"], fitted.covariance)
    assert stored.read_bytes().startswith(b"predict_diff Gaussian statistics, layout 1\n")


@pytest.mark.parametrize("size", [0, 100, 512, 2000, -1])
def test_truncated_files_are_refused(stored, size):
    stored.write_bytes(stored.read_bytes()[:size])
    refused(stored, "damaged or foreign")
    seal(stored)
    refused(stored, "damaged or foreign")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "page.h5").write_text("<html>503</html>")
    refused(tmp_path / "page.h5", "its first line is not")
    for path in [tmp_path, tmp_path / "missing.h5"]:
        with pytest.raises(SamplerError, match="found none; fit them first"):
            GaussianStatistics.load(path)


def test_a_full_disk_leaves_no_file(fitted, tmp_path, monkeypatch):
    def full(path, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SamplerError, match=r"gaussian\.h5: .*No space left on device"):
        fitted.save(tmp_path / "gaussian.h5")
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_written_are_named(pool, fitted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SamplerError, match=r"file/gaussian\.h5: could not be written"):
        fitted.save(tmp_path / "file" / "gaussian.h5")
    with pytest.raises(SamplerError, match=r"file/gaussian_4x4_joint_.*\.h5: could not be written"):
        GaussianStatistics.load_or_fit(tmp_path / "file", pool, L, patches=300)


def test_statistics_are_fitted_once(pool, tmp_path, monkeypatch):
    first = GaussianStatistics.load_or_fit(tmp_path / "new" / "folder", pool, L, patches=300)
    assert first.digest == GaussianStatistics.fit(pool, L, patches=300).digest

    def no_second_fit(*_):
        raise AssertionError

    monkeypatch.setattr(statistics, "moments", no_second_fit)
    second = GaussianStatistics.load_or_fit(tmp_path / "new" / "folder", pool, L, patches=300)
    assert second.digest == first.digest
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1


def test_other_settings_are_other_files(pool, tmp_path):
    GaussianStatistics.load_or_fit(tmp_path, pool, L, patches=300)
    GaussianStatistics.load_or_fit(tmp_path, pool, L, patches=300, joint=False)
    GaussianStatistics.load_or_fit(tmp_path, pool[1:], L, patches=300)
    assert len(list(tmp_path.iterdir())) == 3


def test_statistics_under_a_wrong_name_are_refused(pool, tmp_path):
    GaussianStatistics.load_or_fit(tmp_path, pool, L, patches=300)
    (file,) = tmp_path.iterdir()
    GaussianStatistics.fit(pool, L, patches=400).save(file)
    with pytest.raises(SamplerError, match="expected the statistics of this pool, found others; delete the file"):
        GaussianStatistics.load_or_fit(tmp_path, pool, L, patches=300)


def test_impossible_statistics_are_refused():
    with pytest.raises(SamplerError, match=r"expected mean \(32,\) and covariance \(32, 32\) for l = 4"):
        GaussianStatistics(np.zeros(16), np.eye(16), L, 2, True, 100, {})
    with pytest.raises(SamplerError, match="variances of at least 0"):
        GaussianStatistics(np.zeros(32), -np.eye(32), L, 2, True, 100, {})
