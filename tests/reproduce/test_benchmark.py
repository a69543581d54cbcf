"""What `make benchmark` measures and writes; the networks that converted ones are timed against."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from predict_diff.network.network import Network
from reproduce import benchmark, networks
from reproduce.photos import read_photo

ROW = benchmark.Row("zebra", "cpu", 4, None, 3.0, 3.1, 0.033, 0.005, 310.0, 290.0, 1.01, 1e-7)


def test_the_table_and_the_file_hold_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "measured", lambda name, threads: ROW)
    table = benchmark.run(tmp_path)
    assert table.count("zebra") == len(benchmark.HANDWRITTEN)
    rows = json.loads((tmp_path / "benchmark.json").read_text())
    assert [row["network"] for row in rows] == ["zebra"] * len(benchmark.HANDWRITTEN)
    assert rows[0]["overhead"] == 0.033


@pytest.mark.slow
def test_the_handwritten_network_is_the_converted_one(tmp_path: Path) -> None:
    # Two roads from one file of weights: through Caffe's description and the converter, and straight into ONNX.
    card = networks.card("efficientnet_lite0")
    handwritten = benchmark.HANDWRITTEN["efficientnet_lite0"](networks.obtain_weights(card.name))
    onnx.checker.check_model(handwritten, full_check=True)
    x = networks.preprocessing(card)(read_photo("coffee").pixels)
    ours, theirs = (
        Network(source, "cpu").run(x, "prob")["prob"] for source in (networks.onnx_path(card.name), handwritten)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
