"""What `make benchmark` measures and writes; the networks that converted ones are timed against."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_home import Reproduce, add_network, tiny_weights

from predict_diff.caffe.caffe_pb2 import NetParameter
from predict_diff.errors import ConfigurationError, NetworkError
from predict_diff.network.network import Network
from predict_diff.windows import WindowGrid
from reproduce import benchmark, networks
from reproduce.measuring import case, measure
from reproduce.measuring.case import Case, prepare
from reproduce.measuring.clocks import Clock, GpuLoad, runtime_clock
from reproduce.measuring.measure import projected_hours, sampled_windows
from reproduce.measuring.row import Row, tables
from reproduce.measuring.sample import rim_windows, spread_windows
from reproduce.measuring.twins import HANDWRITTEN, compare
from reproduce.photos import read_photo
from reproduce.pools import pool

#: What the file's rows have at least.
KEYS = {"network", "ms_full", "ms_incremental", "ratio", "bound", "max_abs_diff_probability", "overhead_share"}

#: Takes photos of any size.
GROWING = """\
name: "growing"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 } }
layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def call_here(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


@pytest.fixture
def benchmarked(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tiny networks, one of them for any size of photo; measured in this process, to save time."""
    net = NetParameter.FromString(tiny_weights())
    net.layer[1].blobs[0].shape.dim[:] = [3, 4]
    del net.layer[1].blobs[0].data[12:]
    folder = add_network(home, "growing", net.SerializeToString(deterministic=True))
    (folder / "deploy.prototxt").write_text(GROWING)
    monkeypatch.setattr(benchmark, "apart", call_here)
    monkeypatch.setattr(case, "pool", partial(pool, home / "pool"))
    monkeypatch.setattr(case, "_PHOTO", "cat")
    monkeypatch.setattr(measure, "_SIDES", {"cpu": (2, 2)})
    monkeypatch.setattr(measure, "_GROWTH_SIDES", (2, 2))
    monkeypatch.setattr(measure, "_ROUNDS", 1)
    monkeypatch.setattr(benchmark, "GROWING", "growing")
    monkeypatch.setattr(benchmark, "GROWTH", {"k": (2, 10), "samples": (20,), "targets": (1, 3), "input": (32, 40)})
    return home


# --- rows ---------------------------------------------------------------------------------------------------------


def test_the_file_is_a_list_of_rows_that_all_have_the_same_keys(benchmarked: Path, reproduce: Reproduce) -> None:
    outcome = reproduce("benchmark", "--networks", "tiny", "--out", "there")
    assert outcome.code == 0, outcome.err
    rows = json.loads(Path("there/benchmark.json").read_text())
    assert isinstance(rows, list)
    assert [(row["network"], row["vary"], row["value"]) for row in rows] == [
        ("tiny", None, None),
        *(("growing", "k", value) for value in (2, 10)),
        ("growing", "samples", 20),
        *(("growing", "targets", value) for value in (1, 3)),
        *(("growing", "input", value) for value in (32, 40)),
    ]
    for row in rows:
        assert set(row) == {field.name for field in fields(Row)} > KEYS
        assert all(row[key] is not None for key in KEYS)
        assert row["max_abs_diff_probability"] <= 1e-6
        assert row["max_abs_diff_bits"] <= 1e-4
        assert 0 <= row["rounding_probability"] <= 1e-6
        assert 0 <= row["sampler_share"] <= row["overhead_share"] <= 1
        assert min(row["ms_full"], row["ms_incremental"], row["ratio"], row["peak_mb"], row["warm_up_s"]) > 0
        assert row["bound"] >= 1
        assert row["windows_total"] == (row["input_size"] - row["k"] + 1) ** 2
        assert (row["weights"], row["provider"], row["gpu_busy"]) == ("real", "cpu", None)
    tiny, *growth = rows
    assert tiny["hours_paper_settings"] == pytest.approx(tiny["windows_total"] / tiny["windows_per_second"] / 3600)
    assert [row["hours_paper_settings"] for row in growth] == [None] * len(growth)
    assert tiny["both_layers"] > 0
    assert [row["both_layers"] for row in growth] == [None] * len(growth)
    # What is the same case was measured once.
    assert growth[1]["ratio"] == growth[2]["ratio"] == growth[3]["ratio"] == growth[5]["ratio"]
    assert [row["input_size"] for row in growth] == [32] * 6 + [40]


def test_growth_can_be_left_out(benchmarked: Path, reproduce: Reproduce) -> None:
    outcome = reproduce("benchmark", "--networks", "growing,tiny", "--no-growth")
    assert outcome.code == 0, outcome.err
    rows = json.loads(Path("results/benchmark.json").read_text())
    assert [(row["network"], row["vary"]) for row in rows] == [("growing", None), ("tiny", None)]
    assert "grows" not in outcome.out


def test_an_unknown_network_is_refused_before_anything_is_measured(benchmarked: Path, reproduce: Reproduce) -> None:
    assert "did you mean 'tiny'" in reproduce("benchmark", "--networks", "tiny,tinny").error
    assert not Path("results/benchmark.json").exists()


def test_weights_that_are_not_there_are_replaced_by_random_ones(home: Path, tmp_path: Path) -> None:
    (home / "models" / "tiny" / "tiny.caffemodel").unlink()
    files = prepare(Case("tiny"), tmp_path / "made")
    assert files.kind == "random"
    assert Network(files.model, "cpu").blobs["prob"] == (3,)
    assert not list((home / "models").rglob("*.onnx"))


def test_the_settings_are_the_papers_but_for_what_is_varied(home: Path) -> None:
    usual = Case("tiny")
    assert (usual.k, usual.samples, usual.targets, usual.input_size) == (10, 20, 1, 32)
    varied = replace(usual, vary="samples", value=100)
    assert (varied.k, varied.samples, varied.targets, varied.input_size) == (10, 100, 1, 32)


def test_an_hour_is_3600_windows_at_one_a_second() -> None:
    assert projected_hours(3600, 1.0) == 1
    # AlexNet at k = 10: 218 x 218 windows.
    assert projected_hours(218**2, 47.524) == pytest.approx(1000 / 3600)


# --- sample -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**32))
def test_the_sample_has_a_window_in_each_cell_and_each_strip(side: int, more: int, extra: int, seed: int) -> None:
    count = side * side
    grid = WindowGrid(count + more + 2, count + extra + 2, 3)
    windows = spread_windows(grid, side, seed)
    assert windows.shape == (count, 2)
    assert {tuple(window) for window in windows} <= {tuple(window) for window in grid.positions}
    for axis, places in enumerate((len(grid.rows), len(grid.columns))):
        strips = np.sort(windows[:, axis])
        ends = np.arange(count + 1) * places / count
        assert (strips >= np.floor(ends[:-1])).all()
        assert (strips < np.ceil(ends[1:])).all()
    # A pixel that two cells share belongs to both.
    cells = np.stack(np.divmod(np.arange(count), side), axis=1)
    sizes = np.array([len(grid.rows), len(grid.columns)]) / side
    assert (windows >= np.floor(cells * sizes)).all()
    assert (windows < np.ceil((cells + 1) * sizes)).all()


def test_the_samples_mean_is_that_of_the_grid() -> None:
    # A cost as squares have it: smaller near the border, and dependent on the phase of a stride.
    grid = WindowGrid(224, 224, 10)
    along = np.minimum(np.minimum(np.arange(215), 214 - np.arange(215)), 30) + 40.0 + (np.arange(215) % 32 < 9) * 10
    cost = np.outer(along, along)
    means = np.array([cost[tuple(spread_windows(grid, 8, seed).T)].mean() for seed in range(100)])
    assert abs(means.mean() / cost.mean() - 1) < 0.003
    assert abs(means / cost.mean() - 1).max() < 0.03


def test_corners_and_edges_are_compared() -> None:
    rim = rim_windows(WindowGrid(20, 31, 10))
    assert rim.tolist() == [[0, 0], [0, 11], [0, 21], [5, 0], [5, 21], [10, 0], [10, 11], [10, 21]]


@pytest.mark.parametrize(("multiplications", "sampled", "full"), [(10**6, 64, 64), (16 * 10**9, 16, 1)])
def test_the_more_a_network_multiplies_the_fewer_windows_are_sampled(
    multiplications: int, sampled: int, full: int
) -> None:
    windows, some = sampled_windows(Case("vgg16"), WindowGrid(224, 224, 10), multiplications, 10.0)
    assert (len(windows), len(some)) == (sampled, full)
    assert {tuple(window) for window in some} <= {tuple(window) for window in windows}


# --- clocks -------------------------------------------------------------------------------------------------------


def test_the_runtime_clock_counts_calls_of_onnx_runtime_and_leaves_no_trace(home: Path) -> None:
    network = Network(networks.onnx_path("tiny"), "cpu")
    x = np.zeros((3, 32, 32), np.float32)
    original = onnxruntime.InferenceSession.run
    with runtime_clock() as clock:
        assert clock.seconds == 0
        network.run(x, "prob")
        counted = clock.seconds
    assert counted > 0
    assert onnxruntime.InferenceSession.run is original
    network.run(x, "prob")
    assert clock.seconds == counted


def test_a_clock_counts_calls_that_fail_as_well() -> None:
    clock = Clock()

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - our own
        clock.timed(fail)()
    assert clock.seconds > 0


@pytest.mark.parametrize(("lines", "busy"), [("90\n70\n", 0.8), ("", None), ("[N/A]\n", None)])
def test_the_gpus_load_is_the_mean_of_what_the_driver_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, busy: float | None
) -> None:
    teller = tmp_path / "nvidia-smi"
    (tmp_path / "lines").write_text(lines)
    teller.write_text(f"#!/bin/sh\nexec /bin/cat {tmp_path / 'lines'} {tmp_path / 'pipe'}\n")
    teller.chmod(0o755)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("PATH", str(tmp_path))
    with GpuLoad("cuda") as load, (tmp_path / "pipe").open("w"):
        # Opened for reading only once the lines have been said.
        pass
    assert load.busy == busy


def test_nobody_is_asked_for_a_gpus_load_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with GpuLoad("cpu") as load:
        pass
    assert load.busy is None


# --- processes ----------------------------------------------------------------------------------------------------


def test_what_a_process_of_its_own_gives_comes_back() -> None:
    assert benchmark.apart(projected_hours, 7200, 1.0) == 2


def test_an_error_in_it_is_the_callers() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'alexnet'"):
        benchmark.apart(networks.card, "alexnett")


def test_a_process_that_is_killed_is_said_to_be() -> None:
    with pytest.raises(NetworkError, match="ended with code 3; if that is -9"):
        benchmark.apart(os._exit, 3)


# --- tables -------------------------------------------------------------------------------------------------------


ROW = Row(
    **dict.fromkeys((field.name for field in fields(Row)), 12345)
    | {"network": "efficientnet_lite0", "vary": None, "value": None, "weights": "random", "provider": "cuda"}
    | {"precision": "tf32", "ratio": 5.678, "onnxruntime": "1.2.3", "hours_paper": None, "gpu_busy": None}
)


def test_tables_fit_a_wide_terminal() -> None:
    text = tables([ROW, replace(ROW, network="zebra"), replace(ROW, vary="targets", value=1000)])
    assert max(map(len, text.splitlines())) <= 160
    assert text.count("zebra") == 2
    assert text.count("cuda tf32") == 5
    assert "12345/12345" in text
    assert "5.68" in text
    assert "–" in text


# --- handwritten networks -----------------------------------------------------------------------------------------


def test_a_network_beside_itself_is_the_same(home: Path) -> None:
    path = networks.onnx_path("tiny")
    network = Network(path, "cpu")
    found = compare(network, onnx.load(path), np.zeros((3, 32, 32), np.float32), "prob", 4, None)
    assert found.difference == 0
    assert found.ratio > 0


@pytest.mark.slow
def test_the_handwritten_network_is_the_converted_one() -> None:
    # Two roads from one file of weights: through Caffe's description and the converter, and straight into ONNX.
    card = networks.card("efficientnet_lite0")
    handwritten = HANDWRITTEN["efficientnet_lite0"](networks.obtain_weights(card.name))
    onnx.checker.check_model(handwritten, full_check=True)
    x = networks.preprocessing(card)(read_photo("coffee").pixels)
    ours, theirs = (
        Network(source, "cpu").run(x, "prob")["prob"] for source in (networks.onnx_path(card.name), handwritten)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
