"""The mini-batched evaluator: what it puts into windows, how it reduces blobs to targets, how it fills batches."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError, NetworkError
from predict_diff.network.minibatch import MiniBatchEvaluator, suggested_batch_size
from predict_diff.network.network import Network
from predict_diff.targets import Target

TARGETS = [
    Target("conv", (2,)),
    Target("prob", (1,)),
    Target("pool", (0, 3, 4)),
    Target("fc", (3,)),
    Target("conv", (0,)),
]


def of_blobs(network: Network, photo: NDArray[np.float32]) -> list[float]:
    """The targets, taken from whole blobs."""
    blobs = network.run(photo, ["conv", "prob", "pool", "fc"])
    return [float(blobs[target.blob][0][target.index].mean()) for target in TARGETS]


def test_values_are_those_of_the_photo(network: Network, x: NDArray[np.float32]) -> None:
    found = MiniBatchEvaluator(network, TARGETS).values(x)
    np.testing.assert_allclose(found, of_blobs(network, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 6, 13])
def test_each_sample_stands_alone_in_its_window(
    network: Network, x: NDArray[np.float32], photos: NDArray[np.float32], batch_size: int
) -> None:
    windows = np.array([[0, 0], [11, 11], [0, 11], [11, 0], [5, 4], [5, 5]])
    patches = np.stack([[photos[s, :, r : r + 3, c : c + 3] for s in (7, 8)] for r, c in windows])
    untouched = x.copy()
    found = MiniBatchEvaluator(network, TARGETS, batch_size).evaluate(x, windows, patches)
    assert found.shape == (6, 2, len(TARGETS))
    for w, (row, column) in enumerate(windows):
        for s in range(2):
            changed = x.copy()
            changed[:, row : row + 3, column : column + 3] = patches[w, s]
            np.testing.assert_allclose(found[w, s], of_blobs(network, changed), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(x, untouched)


def test_every_batch_has_one_shape(
    network: Network, x: NDArray[np.float32], photos: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = MiniBatchEvaluator(network, TARGETS, 4)
    shapes = []
    bare = evaluator.run_batch
    monkeypatch.setattr(evaluator, "run_batch", lambda batch: shapes.append(batch.shape) or bare(batch))
    evaluator.evaluate(x, np.zeros((3, 2), np.int64), photos[:9, :, :3, :3].reshape(3, 3, 3, 3, 3))
    assert shapes == [(4, 3, 14, 14)] * 3


def test_the_batch_size_is_chosen_within_memory(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    assert suggested_batch_size(network) == 20
    numbers = sum(map(prod, network.blobs.values())) + 3 * 14 * 14
    monkeypatch.setattr("predict_diff.network.minibatch._available_memory", lambda: 4 * 4 * numbers * 7)
    assert suggested_batch_size(network) == 7
    monkeypatch.setattr("predict_diff.network.minibatch._available_memory", lambda: 1)
    assert suggested_batch_size(network) == 1


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (Target("prob", (4,)), r"blob 'prob' is 4, so it has no unit \(4,\)"),
        (Target("pool", (0, 7, 0)), "blob 'pool' is 5 x 7 x 7, so it has no unit"),
        (Target("prob", (0, 0)), "has no unit"),
        (Target("prob", ()), "has no unit"),
    ],
)
def test_units_that_do_not_exist_are_refused(network: Network, target: Target, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        MiniBatchEvaluator(network, [target])


def test_unknown_blobs_no_targets_and_empty_batches_are_refused(network: Network) -> None:
    with pytest.raises(NetworkError, match="did you mean 'conv'"):
        MiniBatchEvaluator(network, [Target("conv1", (0,))])
    with pytest.raises(ConfigurationError, match="at least one, found none"):
        MiniBatchEvaluator(network, [])
    with pytest.raises(ConfigurationError, match="batch size: expected at least 1, found 0"):
        MiniBatchEvaluator(network, TARGETS, 0)


@pytest.mark.parametrize("text", ["prob:1", "a/b_c-d:12,3,4", "x:y:3"])
def test_targets_are_read_as_they_are_written(text: str) -> None:
    assert str(Target.parse(text)) == text


@pytest.mark.parametrize("text", ["prob", "prob:", "prob:-1", "prob:a", ":1", "prob:1.5", ""])
def test_malformed_targets_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected BLOB:UNIT"):
        Target.parse(text)
