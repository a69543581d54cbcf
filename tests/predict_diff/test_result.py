"""Relevance maps on disk: what is written is read, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from predict_diff.errors import ResultError
from predict_diff.result import RelevanceMap, versions
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid


@pytest.fixture
def relevance_map() -> RelevanceMap:
    grid = WindowGrid(9, 8, 3, 2)
    generator = np.random.default_rng(0)
    return RelevanceMap(
        grid=grid,
        targets=(Target("prob", (3,)), Target("conv/3x3", (1, 2, 2))),
        measures=("WE", "AD"),
        known=generator.uniform(size=2),
        expected=generator.uniform(size=(2, len(grid))),
        relevance=generator.normal(size=(2, len(grid))),
        standard_error=generator.uniform(size=(2, len(grid))),
        counts=np.ones(len(grid), np.int64),
        provenance={"seed": 0, "network": {"sha256": "abc"}},
    )


def test_a_map_survives_its_file(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    found = RelevanceMap.load(relevance_map.save(tmp_path / "deep" / "map.h5"))
    for name in ("known", "expected", "relevance", "standard_error", "counts", "maps", "map_errors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(relevance_map, name))
    for name in ("grid", "targets", "measures", "provenance", "map_dtype"):
        assert getattr(found, name) == getattr(relevance_map, name)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["map.h5"]


def test_other_programs_find_the_maps_in_it(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    with h5py.File(relevance_map.save(tmp_path / "map.h5")) as stored:
        np.testing.assert_array_equal(stored["maps"], relevance_map.maps)
        np.testing.assert_array_equal(stored["positions"], relevance_map.grid.positions)


def test_the_same_map_makes_the_same_file(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    first, second = (relevance_map.save(tmp_path / name).read_bytes() for name in ("a.h5", "b.h5"))
    assert first == second


def test_a_window_counted_twice_weighs_twice(relevance_map: RelevanceMap) -> None:
    counts = relevance_map.counts.copy()
    counts[4] = 2
    twice = replace(relevance_map, counts=counts)
    total, number = np.zeros((9, 8)), np.zeros((9, 8))
    for (row, column), value, times in zip(twice.grid.positions, twice.relevance[0], counts, strict=True):
        total[row : row + 3, column : column + 3] += value * times
        number[row : row + 3, column : column + 3] += times
    np.testing.assert_allclose(twice.maps[0], total / number, atol=1e-12)


def test_maps_can_be_rounded_as_the_authors_do(relevance_map: RelevanceMap) -> None:
    rounded = replace(relevance_map, map_dtype="float16").maps
    assert rounded.dtype == np.float16
    np.testing.assert_array_equal(rounded, relevance_map.maps.astype(np.float16))


def test_files_that_are_none_are_refused(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    path = relevance_map.save(tmp_path / "map.h5")
    whole = path.read_bytes()
    with pytest.raises(ResultError, match="found no such file"):
        RelevanceMap.load(tmp_path / "other.h5")
    for content in (b"", b"text", whole[:-1], whole[: len(whole) // 2], whole[:3000] + b"x" + whole[3001:]):
        path.write_bytes(content)
        with pytest.raises(ResultError, match="delete the file") as error:
            RelevanceMap.load(path)
        assert "\n" not in str(error.value)


def test_a_map_that_cannot_be_written_leaves_nothing(relevance_map: RelevanceMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultError, match="could not be written"):
        relevance_map.save(tmp_path / "file" / "map.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_versions_name_what_makes_the_numbers() -> None:
    assert {"python", "numpy", "onnx"} <= versions().keys()


def test_a_map_says_in_a_line_what_it_is(relevance_map: RelevanceMap) -> None:
    line = repr(relevance_map)
    assert "\n" not in line
    assert len(line) < 120
    assert str(relevance_map.targets[0]) in line
    assert f"{len(relevance_map.grid)} windows" in line
