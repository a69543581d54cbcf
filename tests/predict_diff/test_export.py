"""Relevance maps in NumPy's files and as pictures: nothing is lost, and nothing else is read."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from predict_diff import result
from predict_diff.errors import ResultError
from predict_diff.result import RelevanceMap
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

FIELDS = ("known", "expected", "relevance", "standard_error", "counts", "maps", "map_errors")


def made() -> RelevanceMap:
    grid = WindowGrid(9, 8, 3, 2)
    generator = np.random.default_rng(0)
    return RelevanceMap(
        grid=grid,
        targets=(Target("prob", (3,)), Target("Köln/3x3", (1, 2, 2))),
        measures=("WE", "AD"),
        known=generator.uniform(size=2),
        expected=generator.uniform(size=(2, len(grid))),
        relevance=generator.normal(size=(2, len(grid))),
        standard_error=np.full((2, len(grid)), np.nan),
        counts=np.arange(1, len(grid) + 1),
        provenance={"seed": 0, "network": {"name": "é"}},
    )


@pytest.fixture
def relevance_map() -> RelevanceMap:
    return made()


def same(one: RelevanceMap, other: RelevanceMap) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in FIELDS) and all(
        getattr(one, name) == getattr(other, name)
        for name in ("grid", "targets", "measures", "provenance", "map_dtype")
    )


@pytest.mark.parametrize("map_dtype", ["float64", "float16"])
@pytest.mark.parametrize("name", ["map.npz", "map.NPZ", "map.h5", "map.hdf5"])
def test_a_map_survives_its_file(relevance_map: RelevanceMap, tmp_path: Path, name: str, map_dtype: str) -> None:
    relevance_map = replace(relevance_map, map_dtype=map_dtype)
    path = relevance_map.save(tmp_path / "deep" / name)
    assert [each.name for each in path.parent.iterdir()] == [name]
    assert same(RelevanceMap.load(path), relevance_map)


def test_numpy_alone_reads_all_of_it(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    with np.load(relevance_map.save(tmp_path / "map.npz"), allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["maps"], relevance_map.maps)
        np.testing.assert_array_equal(stored["map_errors"], relevance_map.map_errors)
        np.testing.assert_array_equal(stored["positions"], relevance_map.grid.positions)
        assert stored["targets"].tolist() == ["prob:3", "Köln/3x3:1,2,2"]
        assert stored["measures"].tolist() == ["WE", "AD"]
        assert stored["grid"].tolist() == [9, 8, 3, 2]
        assert json.loads(str(stored["provenance"])) == relevance_map.provenance


def test_very_many_maps_are_left_to_be_computed(
    relevance_map: RelevanceMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "_LARGEST_MAPS", 2 * 9 * 8 * 8 - 1)
    path = relevance_map.save(tmp_path / "map.npz")
    with np.load(path) as stored:
        assert not {"maps", "map_errors"} & set(stored.files)
    assert same(RelevanceMap.load(path), relevance_map)


def test_the_same_map_makes_the_same_file(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    for suffix in (".npz", ".png"):
        first, second = (relevance_map.save(tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
        assert first == second


def test_the_picture_is_red_for_and_blue_against(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    for sign, strong, weak in ((1, 0, 2), (-1, 2, 0)):
        one = replace(
            relevance_map,
            targets=relevance_map.targets[:1],
            measures=("WE",),
            relevance=np.full((1, len(relevance_map.grid)), sign * 0.5),
        )
        with Image.open(one.save(tmp_path / "map.png")) as picture:
            middle = np.asarray(picture.convert("RGB"))[picture.height // 2, picture.width // 2]
        assert middle[strong] > 50 > middle[weak]


@pytest.mark.parametrize("name", ["map", "map.txt", "map.npy", "map.npz.gz"])
def test_a_suffix_of_no_known_file_is_refused(relevance_map: RelevanceMap, tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultError, match=r"ends in \.h5, \.hdf5, \.npz or \.png"):
        relevance_map.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["map.npz", "map.png"])
def test_what_cannot_be_written_leaves_nothing(relevance_map: RelevanceMap, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultError, match="could not be written"):
        relevance_map.save(tmp_path / "file" / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_numpys_functions_take_a_map_as_its_array(relevance_map: RelevanceMap) -> None:
    maps = relevance_map.maps
    np.testing.assert_array_equal(np.asarray(relevance_map), maps)
    np.testing.assert_array_equal(np.stack([relevance_map, relevance_map]), [maps, maps])
    assert np.asarray(relevance_map, np.float32).dtype == np.float32
    assert not np.shares_memory(np.array(relevance_map), maps)
    assert np.abs(relevance_map).max() == np.abs(maps).max()


def npy(array: np.ndarray, **settings: bool) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **settings)
    return buffer.getvalue()


def claiming(shape: str, kind: str, content: bytes = b"") -> bytes:
    """An array file with a header that says so."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


class Payload:
    """Would leave a file, were it unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.trace), "w")


def changed(path: Path, name: str, content: bytes | None) -> None:
    """The file with another member, or without it."""
    with zipfile.ZipFile(path) as stored:
        members = {each: stored.read(each) for each in stored.namelist()}
    members[f"{name}.npy"] = content or b""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stored:
        for each, bytes_ in members.items():
            if each != f"{name}.npy" or content is not None:
                stored.writestr(each, bytes_)


FOREIGN = {
    "another's": ("kind", npy(np.array("another's"))),
    "kind in numbers": ("kind", npy(np.array(1))),
    "no targets": ("targets", None),
    "targets without form": ("targets", npy(np.array(["prob", "x"]))),
    "too few targets": ("targets", npy(np.array(["prob:1"]))),
    "very many targets": ("targets", npy(np.full((1 << 20) + 1, "a"))),
    "targets that take no bytes": ("targets", claiming("(1000000000000,)", "<U0")),
    "more than there is": ("relevance", claiming("(2, 1000000000)", "<f8", bytes(64))),
    "less than it says": ("relevance", claiming("(2, 20)", "<f8", bytes(8))),
    "another shape": ("relevance", npy(np.zeros((2, 3)))),
    "another type": ("relevance", npy(np.zeros((2, 20), np.float32))),
    "by columns": ("relevance", npy(np.asfortranarray(np.zeros((2, 20))))),
    "a nested header": ("relevance", claiming("(" * 3000, "<f8")),
    "no header": ("relevance", b"\x93NUMPY"),
    "another version": ("relevance", npy(np.zeros((2, 20)), version=(2, 0))),
    "too large a photo": ("grid", npy(np.array([10**9, 10**9, 3, 1]))),
    "a negative photo": ("grid", npy(np.array([-5, 8, 3, 2]))),
    "another measure": ("measures", npy(np.array(["WE", "XX"]))),
    "another type of maps": ("map_dtype", npy(np.array("float8"))),
    "a list as provenance": ("provenance", npy(np.array("[]"))),
    "deep provenance": ("provenance", npy(np.array("[" * 100_000))),
    "letters that are none": ("provenance", claiming("()", "<U1", b"\xff\xff\xff\x7f")),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_such_map_is_refused_in_one_line(relevance_map: RelevanceMap, tmp_path: Path, what: str) -> None:
    path = relevance_map.save(tmp_path / "map.npz")
    changed(path, *FOREIGN[what])
    tracemalloc.start()
    try:
        with pytest.raises(ResultError, match=r"expected a relevance map \(\.npz\).*delete the file") as error:
            RelevanceMap.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)


def test_nothing_is_unpickled(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    path = relevance_map.save(tmp_path / "map.npz")
    changed(path, "provenance", npy(np.array(Payload(tmp_path / "trace"), object), allow_pickle=True))
    with pytest.raises(ResultError):
        RelevanceMap.load(path)
    assert not (tmp_path / "trace").exists()


def test_a_bomb_does_not_go_off(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    path = relevance_map.save(tmp_path / "map.npz")
    letters = (1 << 26) // 4 + 1  # 64 MiB, from a file of 0.07 MB
    changed(path, "provenance", claiming("()", f"<U{letters}", bytes(4 * letters)))
    tracemalloc.start()
    try:
        with pytest.raises(ResultError, match="too many"):
            RelevanceMap.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_list_of_members_cannot_claim_the_memory(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    path = relevance_map.save(tmp_path / "map.npz")
    with zipfile.ZipFile(path, "a") as stored:
        for number in range(20_000):
            stored.writestr(f"{number:040}", b"")
    with pytest.raises(ResultError, match="list of members claims"):
        RelevanceMap.load(path)


def test_other_files_are_no_maps(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="found no such file"):
        RelevanceMap.load(tmp_path / "none.npz")
    stored = relevance_map.save(tmp_path / "map.h5").rename(tmp_path / "map.npz")
    with pytest.raises(ResultError, match="cannot be read"):
        RelevanceMap.load(stored)
    with pytest.raises(ResultError, match="cannot be read"):
        RelevanceMap.load(relevance_map.save(tmp_path / "map.png"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made().save(tmp_path_factory.mktemp("whole") / "map.npz")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_says_the_same(whole: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    damaged = whole.with_name("damaged.npz")
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    with contextlib.suppress(ResultError):
        assert same(RelevanceMap.load(damaged), made())
