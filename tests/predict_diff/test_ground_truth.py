"""Classifiers whose evidence is known exactly: the map has it where it is, and as much as there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit, logsumexp, softmax

from predict_diff.explaining import explain
from predict_diff.methods.prediction_difference import PredictionDifference
from predict_diff.network.function import FunctionNetwork
from predict_diff.result import RelevanceMap
from predict_diff.samplers import GaussianSampler, GaussianStatistics
from predict_diff.samplers.fills import ConstantFill
from predict_diff.targets import Target

Array = NDArray[np.float32]

#: So many that the Laplace correction moves no probability in float32.
ENDLESS = 10**12


# A linear classifier: the log odds of a class are its score less the log of the sum of the others' exponentials.

CHANNELS, SIDE, CLASSES, K = 2, 7, 3, 2
GENERATOR = np.random.default_rng(5)
WEIGHTS = GENERATOR.normal(0, 0.2, (CLASSES, CHANNELS, SIDE, SIDE)).astype(np.float32)
IMAGES = GENERATOR.normal(0, 1, (13, CHANNELS, SIDE, SIDE)).astype(np.float32)


def linear(images: Array) -> NDArray[np.float64]:
    return softmax(np.tensordot(images.astype(np.float64), WEIGHTS, ((1, 2, 3), (1, 2, 3))), axis=1)


def linear_file(folder: Path) -> Path:
    """The same as ONNX."""
    weights = numpy_helper.from_array(np.ascontiguousarray(WEIGHTS.reshape(CLASSES, -1)), "weights")
    nodes = [
        helper.make_node("Flatten", ["x"], ["row"]),
        helper.make_node("Gemm", ["row", "weights"], ["score"], transB=1),
        helper.make_node("Softmax", ["score"], ["probability"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", CHANNELS, SIDE, SIDE]),
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", CLASSES]),
    ]
    graph = helper.make_graph(nodes, "linear", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    return folder / "net.onnx"


def bits(scores: NDArray[np.float64], c: int) -> NDArray[np.float64]:
    """Log odds of class c, (...,), for scores (..., classes)."""
    return (scores[..., c] - logsumexp(np.delete(scores, c, -1), axis=-1)) / np.log(2)


def expected_map(x: Array, others: NDArray[np.float64], c: int) -> NDArray[np.float64]:
    """The map by definition: windows replaced by those of all `others` (S, C, H, W), probabilities averaged."""
    score = np.tensordot(WEIGHTS.astype(np.float64), x, 3)
    sums, counts = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for row in range(SIDE - K + 1):
        for column in range(SIDE - K + 1):
            window = np.s_[..., row : row + K, column : column + K]
            changes = np.tensordot(others[window] - x[window], WEIGHTS[window].astype(np.float64), ((1, 2, 3),) * 2)
            without = softmax(score + changes, axis=1).mean(axis=0)
            sums[window] += bits(score, c) - np.log2(without[c] / (1 - without[c]))
            counts[window] += 1
    return sums / counts


@pytest.mark.parametrize("kind", ["function", "file"])
@pytest.mark.parametrize("sampler", ["constant", "marginal"])
def test_a_linear_classifiers_map_is_its_closed_form(kind: str, sampler: str, tmp_path: Path) -> None:
    x, pool = IMAGES[0], IMAGES[1:]
    others = np.full((1, *x.shape), 0.25) if sampler == "constant" else pool.astype(np.float64)
    found = explain(
        linear if kind == "function" else linear_file(tmp_path),
        x,
        [0, 1, 2],
        sampler=ConstantFill(K, 0.25) if sampler == "constant" else "marginal",
        pool=pool,
        k=None if sampler == "constant" else K,
        samples=len(others),  # all of the pool, each image once
        instances=ENDLESS,
        provider="cpu",
    )
    assert isinstance(found, RelevanceMap)
    expected = np.stack([expected_map(x, others, c) for c in range(CLASSES)])
    # Probabilities in float32, of two predictions, are off by 2**-24 of their size or, in a softmax of the runtime,
    # some times that; the slope of the log odds is 1 / (p (1 - p) log 2).
    p = np.concatenate([found.known[:, None], found.expected], axis=1)
    rounding = 2 * 8 * 2**-24 * (p / (p * (1 - p) * np.log(2))).max()
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=rounding)
    assert np.abs(expected).max() > 1000 * rounding


def test_two_classes_are_evidence_for_and_against_each_other() -> None:
    def two(images: Array) -> NDArray[np.float64]:
        score = np.tensordot(images.astype(np.float64), WEIGHTS[0], 3)
        return np.stack([expit(-score), expit(score)], axis=1)

    found = explain(two, IMAGES[0], [0, 1], sampler=ConstantFill(1), samples=1, instances=ENDLESS)
    assert isinstance(found, RelevanceMap)
    evidence = (WEIGHTS[0].astype(np.float64) * IMAGES[0]).sum(axis=0) / np.log(2)  # w_i x_i, in bits
    np.testing.assert_allclose(found.maps[1], evidence, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.maps[0], -evidence, rtol=0, atol=1e-5)


# A detector of one patch, wherever it is.

PATCH = np.where(np.random.default_rng(11).random((5, 5)) < 0.5, -1.0, 1.0)


def detector(images: Array) -> NDArray[np.float64]:
    """The probability of a patch: high where any 5 x 5 pixels are nearly those of `PATCH`, low elsewhere."""
    distances = np.square(sliding_window_view(images[:, 0], PATCH.shape, axis=(1, 2)) - PATCH).mean(axis=(3, 4))
    p = expit(10 * (0.5 - distances.min(axis=(1, 2))))
    return np.stack([1 - p, p], axis=1)


def backgrounds(count: int, side: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(0, 0.3, (count, 1, side, side)).astype(np.float32)


@pytest.mark.parametrize("sampler", ["conditional", "marginal", "constant"])
def test_a_detectors_map_points_at_the_planted_patch_each_time(sampler: str) -> None:
    side, placements = 16, 60
    generator = np.random.default_rng(17)
    images = backgrounds(placements, side, 18)
    places = generator.integers(0, side - len(PATCH) + 1, (placements, 2))
    places[:4] = [(0, 0), (0, 11), (11, 0), (11, 11)]  # the corners too
    for image, (row, column) in zip(images, places, strict=True):
        image[0, row : row + 5, column : column + 5] = PATCH
    assert (detector(images)[:, 1] > 0.99).all()
    pool = backgrounds(40, side, 19)
    assert (detector(pool)[:, 1] < 0.2).all()
    maps = explain(
        detector,
        images,
        1,
        sampler=ConstantFill(3) if sampler == "constant" else sampler,  # type: ignore[arg-type]
        pool=pool,
        samples=4,
        k=3,
    )
    hits = 0
    for found, (row, column) in zip(maps, places, strict=True):
        at = np.unravel_index(np.argmax(found.maps[0]), (side, side))
        hits += bool((np.array(at) >= (row, column)).all() and (np.array(at) < (row + 5, column + 5)).all())
        # And nothing where no window reaches the patch: the least distance stays as it is.
        near = np.zeros((side, side), bool)
        near[max(0, row - 2) : row + 7, max(0, column - 2) : column + 7] = True
        assert np.abs(found.maps[0][~near]).max() < 1e-9
    assert hits == placements  # pointing game: 100 %


# Images in which the surround of a window says all about it.


def smooth(count: int, side: int, seed: int) -> Array:
    """Polynomials of degree 2 in row and column: so is each patch, and 6 of its pixels determine all of it."""
    row, column = np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")
    terms = np.stack([np.ones_like(row), row, column, row * column, row**2, column**2])
    coefficients = np.random.default_rng(seed).normal(0, 1, (count, 6))
    return np.tensordot(coefficients, terms, 1)[:, None].astype(np.float32)


#: Conditioning stops where a pixel's variance given the others has fallen to 1e-10 of its own: at a standard deviation
#: of 1e-5 of its own. What an image has in such a direction stays within 10 of these.
_CUTOFF_DEVIATION = 10 * 1e-5
#: Pixels in float32 are off by 2**-24 of their size, the greatest of which is below 10. A polynomial that is 1 at most
#: on the surround is below 6 in the window, even in a corner of the outer patch (a linear program says so), and the
#: 6 well-placed pixels that it is computed from let it be no more than 6 on the surround.
_ROUNDING = 6 * 6 * 10 * 2**-24


def test_windows_that_their_surround_predicts_are_drawn_as_they_are() -> None:
    images = smooth(200, 20, 3)
    sampler = GaussianSampler(GaussianStatistics.fit(images[1:], 8, patches=5000), 4)
    windows = np.array([(row, column) for row in range(0, 17, 4) for column in range(0, 17, 4)])
    true = np.stack([images[0, :, row : row + 4, column : column + 4] for row, column in windows])
    found = sampler.sample(images[0], windows, 5, seed=0)
    assert np.abs(found - true[:, None]).max() <= _CUTOFF_DEVIATION * images.std() + _ROUNDING


def test_pixels_that_their_surround_predicts_have_no_conditional_but_much_marginal_relevance() -> None:
    side, k = 20, 4
    images = smooth(200, side, 3)
    weights = np.random.default_rng(4).normal(0, 0.05, (side, side))

    def classify(batch: Array) -> NDArray[np.float64]:
        p = expit((batch[:, 0] * weights).sum(axis=(1, 2)))
        return np.stack([1 - p, p], axis=1)

    network = FunctionNetwork(classify, images[0])
    maps: dict[str, NDArray[np.float64]] = {}
    for name in ("conditional", "marginal"):
        method = PredictionDifference(k=k, l=8, sampler=name, stride=2, instances=ENDLESS).fit(images[1:])  # type: ignore[arg-type]
        maps[name] = method.explain(network, images[0], [Target("prob", (1,))])[0]
    # The log odds are the sum of weights times pixels: they move by no more than the window's weights times how far
    # its samples are off, and by the rounding of two probabilities.
    p = classify(images[:1])[0, 1]
    heaviest = sliding_window_view(np.abs(weights), (k, k)).sum(axis=(2, 3)).max()
    bound = heaviest * (_CUTOFF_DEVIATION * images.std() + _ROUNDING) + 2 * 2**-24 / min(p, 1 - p)
    assert np.abs(maps["conditional"]).max() <= bound / np.log(2)
    assert np.abs(maps["marginal"]).max() > 1000 * bound / np.log(2)
