"""The incremental evaluator against whole networks: of photos composed one by one, and of the mini-batched evaluator.

Tolerance: 1e-6 of a blob's largest value. Both ways add the same float32 products, but batches of other shapes are
divided among other kernels, which add them in another order; that shows in the last of 24 bits, 6e-8, in every layer.
A probability may be off by 1e-6 of the largest logit, since that is what the logits may be off by; those of goldens and
real networks are held to 1e-6 as such. Means of feature maps are off by up to 3e-6: ONNX Runtime adds their hundreds of
numbers in float32, in an order that depends on what it merges the mean with.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from local_networks import local_network, model_of
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from predict_diff.caffe.converter import convert
from predict_diff.errors import ConfigurationError, NetworkError
from predict_diff.network import choosing, incremental
from predict_diff.network.choosing import choose_evaluator
from predict_diff.network.frontier import Frontier, find_frontier
from predict_diff.network.graphs import Shape, blob_shapes
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.locality import changed_squares, local_steps
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.targets import Target
from reproduce import networks

Array = NDArray[np.float32]
Windows = NDArray[np.int64]

TOLERANCE, OF_MEANS = 1e-6, 3e-6

GOLDENS = Path(__file__).parents[2] / "goldens"
WHOLE = ["mini_alexnet", "mini_googlenet", "mini_vgg", "v0_lenet", "v0_padding"]
#: Photos of a batch do not stand for themselves.
ACROSS_PHOTOS = {"batchnorm_batchstats", "concat", "flatten", "reduction", "slice", "softmax"}
#: Take vectors, volumes, or several inputs.
NO_PHOTOS = {"batchnorm_2d", "bias_two_bottoms", "conv3d", "eltwise", "embed", "old_input_fields"}
LAYERS = sorted({path.name for path in (GOLDENS / "layers").iterdir()} - ACROSS_PHOTOS - NO_PHOTOS)


def everything_local(model: onnx.ModelProto, shapes: Mapping[str, Shape], image: str, k: int) -> Frontier:
    """In place of `find_frontier`: every operator that can be is evaluated on squares, whether it pays or not."""
    steps = tuple(local_steps(model, shapes, image))
    squares = changed_squares(steps, shapes, image, k)
    return Frontier(steps, squares, dict.fromkeys(squares, 1.0), 1.0, 1.0)


@pytest.fixture
def deep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "find_frontier", everything_local)


def composed(x: Array, windows: Windows, patches: Array) -> Array:
    """(n * S, C, H, W): each photo with its window replaced."""
    photos = np.repeat(x[None], patches.shape[0] * patches.shape[1], axis=0)
    for photo, patch, (row, column) in zip(
        photos, patches.reshape(-1, *patches.shape[2:]), np.repeat(windows, patches.shape[1], axis=0), strict=True
    ):
        photo[:, row : row + patch.shape[1], column : column + patch.shape[2]] = patch
    return photos


def blobs_of(targets: Sequence[Target]) -> list[str]:
    return list(dict.fromkeys(target.blob for target in targets))


def expect_right(evaluator: IncrementalEvaluator, x: Array, windows: Windows, patches: Array) -> None:
    """Compare with the network itself, and with the mini-batched evaluator."""
    network, targets, photos = evaluator.network, evaluator.targets, composed(x, windows, patches)
    logits = {blob: network.penultimate(blob) for blob in blobs_of(targets)}
    blobs = {*logits, *logits.values()} - {network.input_name}
    whole = {network.input_name: photos} | (network.run(photos, sorted(blobs)) if blobs else {})
    found = evaluator.evaluate(x, windows, patches)
    batched = MiniBatchEvaluator(network, targets).evaluate(x, windows, patches)
    assert found.shape == batched.shape == (*patches.shape[:2], len(targets))
    for number, target in enumerate(targets):
        values = whole[target.blob].astype(np.float64)[(slice(None), *target.index)]
        expected = values.reshape(len(values), -1).mean(axis=1).reshape(patches.shape[:2])
        scale = max(np.abs(whole[blob]).max() for blob in (target.blob, logits[target.blob]))
        limit = scale * (TOLERANCE if values.ndim == 1 else OF_MEANS)
        for other in (expected, batched[..., number]):
            np.testing.assert_allclose(found[..., number], other, rtol=0, atol=limit, err_msg=str(target))


def expect_probabilities_right(evaluator: IncrementalEvaluator, x: Array, windows: Windows, patches: Array) -> None:
    """All within 1e-6."""
    whole = evaluator.network.run(composed(x, windows, patches), "prob")["prob"]
    units = [target.index[0] for target in evaluator.targets]
    found = evaluator.evaluate(x, windows, patches)
    np.testing.assert_allclose(found, whole[:, units].reshape(found.shape), rtol=0, atol=1e-6)


def corners_and_edges(shape: Shape, k: int) -> Windows:
    """All four corners, the middle of each edge, and the centre."""
    rows, columns = ([0, (size - k) // 2, size - k] for size in shape[1:])
    return np.array([[row, column] for row in rows for column in columns], np.int64)


def photo_and_patches(shape: Shape, k: int, count: int, samples: int, seed: int = 0) -> tuple[Array, Array]:
    """Noise, and other noise: no two windows or samples are alike."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float32)
    return x, rng.normal(0, 2, (count, samples, shape[0], k, k)).astype(np.float32)


# --- networks drawn at random ---------------------------------------------------------------------------------------


def some_targets(network: Network, rng: np.random.Generator) -> list[Target]:
    """Class probabilities, and of three hidden blobs a unit or the mean of a feature map."""
    targets = [Target("prob", (3,)), Target("prob", (0,))]
    hidden = [name for name, shape in network.blobs.items() if len(shape) == 3]
    for name in rng.choice(hidden, 3):
        unit = tuple(int(rng.integers(size)) for size in network.blobs[name])
        targets.append(Target(str(name), unit[: rng.choice([1, 3])]))
    return targets


@pytest.mark.parametrize("groups", [1, 3, 1000])
@pytest.mark.parametrize("depth", ["chosen", "where it is not larger", "everything"])
@pytest.mark.parametrize("seed", range(20))
def test_any_network_gives_what_it_gives_as_a_whole(
    seed: int, depth: str, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental, "_GROUPS", {"cpu": groups})
    if depth == "everything":
        monkeypatch.setattr(incremental, "find_frontier", everything_local)
    elif depth == "where it is not larger":
        monkeypatch.setattr("predict_diff.network.frontier._OF_A_PASTED_NUMBER", 0.0)
    number = 9 * seed + 3 * ["chosen", "where it is not larger", "everything"].index(depth) + [1, 3, 1000].index(groups)
    expect_random_network_right(number)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_more_networks_do(block: int, deep: None) -> None:
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        expect_random_network_right(seed)


def expect_random_network_right(seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    network = Network(local_network(seed), "cpu", threads=1)
    shape, side = network.input_shape, min(network.input_shape[1:])
    k = int(rng.choice([1, side, rng.integers(1, side + 1), rng.integers(1, 6)]))
    samples = int(rng.integers(1, 4))
    windows = corners_and_edges(shape, k)
    more = [rng.integers(0, size - k + 1, 4) for size in shape[1:]]
    windows = rng.permutation(np.concatenate([windows, np.stack(more, axis=1)]))
    x, patches = photo_and_patches(shape, k, len(windows), samples, seed)
    batch_size = [None, 1, 4, 7][rng.integers(4)]
    evaluator = IncrementalEvaluator(network, some_targets(network, rng), k, batch_size)
    expect_right(evaluator, x, windows, patches)


def test_these_networks_have_every_kind_of_local_operator() -> None:
    found: dict[str, int] = {}
    for seed in range(180):
        model = local_network(seed)
        for step in local_steps(model, blob_shapes(model), "data"):
            found[step.node.op_type] = found.get(step.node.op_type, 0) + 1
    kinds = {"AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "LRN", "MaxPool", "PRelu", "Pad", "Softmax"}
    assert all(found.get(kind, 0) > 5 for kind in kinds | {"Add", "Max", "Mul", "Relu", "Split", "Sub"})


# --- networks of the original Caffe, and a real one -----------------------------------------------------------------


@cache
def golden(case: str) -> Network:
    return Network(convert(GOLDENS / case / "deploy.prototxt", GOLDENS / case / "weights.caffemodel"), "cpu", threads=1)


def golden_photo(case: str) -> Array:
    with np.load(GOLDENS / case / "blobs.npz") as blobs:
        return np.asarray(blobs["data"][0], np.float32)


@pytest.mark.parametrize("depth", ["chosen", "everything"])
@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("case", WHOLE)
def test_networks_of_the_original_caffe(case: str, k: int, depth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if depth == "everything":
        monkeypatch.setattr(incremental, "find_frontier", everything_local)
    network, x = golden(case), golden_photo(case)
    windows = corners_and_edges(network.input_shape, k)
    # Pixels of the photo, in another order.
    patches = np.random.default_rng(0).choice(x.ravel(), (len(windows), 2, x.shape[0], k, k))
    targets = [Target("prob", (unit,)) for unit in range(10)]
    evaluator = IncrementalEvaluator(network, targets, k)
    assert evaluator.frontier.steps or (case, k, depth) == ("v0_lenet", 10, "chosen")
    expect_right(evaluator, x, windows, patches)
    expect_probabilities_right(evaluator, x, windows, patches)


@pytest.mark.parametrize("case", LAYERS)
def test_single_layers_of_the_original_caffe(case: str, deep: None) -> None:
    network = golden(f"layers/{case}")
    blobs = [name for name in network.blobs if name != network.input_name]
    targets = [Target(name, tuple(size // 2 for size in network.blobs[name])) for name in blobs if network.blobs[name]]
    k = min(3, *network.input_shape[1:])
    windows = corners_and_edges(network.input_shape, k)
    x, patches = photo_and_patches(network.input_shape, k, len(windows), 2)
    # Some layers take roots and logarithms.
    expect_right(IncrementalEvaluator(network, targets, k), np.abs(x) + 0.1, windows, np.abs(patches) + 0.1)


@pytest.mark.slow
def test_efficientnet_lite0() -> None:
    if not networks.available("efficientnet_lite0"):
        pytest.skip(str(networks.missing("efficientnet_lite0")))
    network = Network(networks.onnx_path("efficientnet_lite0"), "cpu", threads=2)
    k, shape = 10, network.input_shape
    windows = corners_and_edges(shape, k)
    x, patches = photo_and_patches(shape, k, len(windows), 1)
    evaluator = choose_evaluator(network, [Target("prob", (unit,)) for unit in (281, 0, 999)], k)
    assert isinstance(evaluator, IncrementalEvaluator)
    expect_probabilities_right(evaluator, x, windows, patches)
    expect_right(evaluator, x, windows, patches)


# --- what results must not depend on --------------------------------------------------------------------------------


def small() -> Network:
    """The first random network that is local for long and has a photo of three channels."""
    return Network(local_network(SMALL), "cpu", threads=1)


SMALL = next(
    seed
    for seed in range(1000)
    if (model := local_network(seed)).graph.input[0].type.tensor_type.shape.dim[1].dim_value == 3
    and len(local_steps(model, blob_shapes(model), "data")) >= 10
)
TARGETS = [Target("prob", (1,)), Target("prob", (2,)), Target("fc", (0,))]


def all_windows(shape: Shape, k: int) -> Windows:
    rows, columns = np.indices([size - k + 1 for size in shape[1:]])
    return np.stack([rows.ravel(), columns.ravel()], axis=1)


@pytest.mark.parametrize("samples", [1, 3, 50])
def test_results_do_not_depend_on_the_batch_size(samples: int, deep: None) -> None:
    network = small()
    windows = corners_and_edges(network.input_shape, 3)
    x, patches = photo_and_patches(network.input_shape, 3, len(windows), samples)
    results = [
        IncrementalEvaluator(network, TARGETS, 3, batch_size).evaluate(x, windows, patches)
        for batch_size in (None, 1, 2, 5, 64)
    ]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=0, atol=1e-6 * np.abs(results[0]).max())


def test_more_samples_than_go_through_the_tile_graph_at_once(deep: None) -> None:
    network = small()
    windows = corners_and_edges(network.input_shape, 2)[:4]
    x, patches = photo_and_patches(network.input_shape, 2, 4, 45)
    expect_right(IncrementalEvaluator(network, TARGETS, 2), x, windows, patches)
    expect_right(IncrementalEvaluator(network, TARGETS, 2, 7), x, windows, patches)


def test_each_window_gets_its_own_samples_in_any_order_and_division(deep: None) -> None:
    network = small()
    windows = all_windows(network.input_shape, 4)
    x, patches = photo_and_patches(network.input_shape, 4, len(windows), 2)
    evaluator = IncrementalEvaluator(network, TARGETS, 4)
    expect_right(evaluator, x, windows, patches)
    known = evaluator.evaluate(x, windows, patches)
    limit = TOLERANCE * np.abs(known).max()
    # Samples are told apart by far more than rounding.
    assert (np.abs(known[1:] - known[:-1]).max(axis=(1, 2)) > 100 * limit).all()
    assert (np.abs(known[:, 0] - known[:, 1]).max(axis=1) > 100 * limit).all()
    order = np.random.default_rng(3).permutation(len(windows))
    np.testing.assert_allclose(evaluator.evaluate(x, windows[order], patches[order]), known[order], rtol=0, atol=limit)
    for part in np.array_split(order, 7):
        np.testing.assert_allclose(evaluator.evaluate(x, windows[part], patches[part]), known[part], rtol=0, atol=limit)
    twice = np.array([5, 5, 0, 5])
    np.testing.assert_allclose(evaluator.evaluate(x, windows[twice], patches[twice]), known[twice], rtol=0, atol=limit)


def test_no_windows_give_no_values() -> None:
    network = small()
    x, patches = photo_and_patches(network.input_shape, 3, 0, 2)
    found = IncrementalEvaluator(network, TARGETS, 3).evaluate(x, np.empty((0, 2), np.int64), patches)
    assert found.shape == (0, 2, len(TARGETS))


def test_a_photo_is_not_taken_for_the_one_before(deep: None) -> None:
    network = small()
    windows = corners_and_edges(network.input_shape, 3)
    evaluator = IncrementalEvaluator(network, TARGETS, 3)
    for seed in (0, 1, 0):
        x, patches = photo_and_patches(network.input_shape, 3, len(windows), 2, seed)
        expect_right(evaluator, x, windows, patches)
        np.testing.assert_allclose(evaluator.values(x), of_photo(network, x), rtol=0, atol=1e-6)
    # Changed in place, as it were the same array.
    x += 1
    expect_right(evaluator, x, windows, patches)


def test_a_photo_that_failed_does_not_spoil_the_one_before(deep: None, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    windows = corners_and_edges(network.input_shape, 3)
    x, patches = photo_and_patches(network.input_shape, 3, len(windows), 2)
    evaluator = IncrementalEvaluator(network, TARGETS, 3)
    evaluator.values(x)

    def fail(count: int) -> Array:
        raise NetworkError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "_rest", fail)
        with pytest.raises(NetworkError, match="out of memory"):
            evaluator.values(x + 1)
    expect_right(evaluator, x, windows, patches)


def test_a_photo_goes_through_the_network_once(deep: None, monkeypatch: pytest.MonkeyPatch) -> None:
    network, calls = small(), list[int]()
    bare = incremental.run_session
    monkeypatch.setattr(incremental, "run_session", lambda *given: calls.append(1) or bare(*given))
    windows = corners_and_edges(network.input_shape, 3)
    x, patches = photo_and_patches(network.input_shape, 3, len(windows), 2)
    evaluator = IncrementalEvaluator(network, TARGETS, 3)
    for _ in range(3):
        evaluator.values(x.copy())
        evaluator.evaluate(x.copy(), windows, patches)
    assert len(calls) == 1


def test_nothing_that_was_given_is_changed(deep: None) -> None:
    network = small()
    windows = corners_and_edges(network.input_shape, 3)
    x, patches = photo_and_patches(network.input_shape, 3, len(windows), 2)
    kept = x.copy(), windows.copy(), patches.copy()
    evaluator = IncrementalEvaluator(network, TARGETS, 3)
    first = evaluator.evaluate(x, windows, patches)
    before = first.copy()
    evaluator.values(x)[:] = 7
    evaluator.evaluate(x, windows, -patches)
    for array, copy in zip((x, windows, patches, first), (*kept, before), strict=True):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_allclose(evaluator.values(x), of_photo(network, x), rtol=0, atol=1e-6)


def of_photo(network: Network, x: Array) -> list[float]:
    blobs = network.run(x, blobs_of(TARGETS))
    return [float(blobs[target.blob][0][target.index]) for target in TARGETS]


def test_values_are_those_of_the_photo() -> None:
    network = small()
    x, _ = photo_and_patches(network.input_shape, 3, 0, 1)
    for depth in (find_frontier, everything_local):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(incremental, "find_frontier", depth)
            found = IncrementalEvaluator(network, TARGETS, 3).values(x)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, of_photo(network, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 3, 20, 1000])
@pytest.mark.parametrize("count", [0, 1, 50, None])
def test_batches_have_each_window_once(count: int | None, samples: int, deep: None) -> None:
    network = small()
    windows = np.random.default_rng(0).permutation(all_windows(network.input_shape, 3))[:count]
    batches = list(IncrementalEvaluator(network, TARGETS, 3).batches(windows, samples))
    assert all(len(batch) for batch in batches)
    found = np.sort(np.concatenate([np.empty(0, np.int64), *batches]))
    np.testing.assert_array_equal(found, np.arange(len(windows)))


def test_targets_may_be_on_squares_behind_them_or_the_photo_itself(deep: None) -> None:
    network = small()
    deepest = [step.outputs[-1] for step in local_steps(network.load(), blob_shapes(network.load()), "data")]
    targets = [Target(deepest[0], (0,)), Target("data", (1,)), Target("prob", (0,)), Target(deepest[-1], (0, 0, 0))]
    windows = corners_and_edges(network.input_shape, 5)
    x, patches = photo_and_patches(network.input_shape, 5, len(windows), 2)
    expect_right(IncrementalEvaluator(network, targets, 5), x, windows, patches)


def test_the_photo_itself_may_be_the_only_target() -> None:
    network = small()
    windows = corners_and_edges(network.input_shape, 5)
    x, patches = photo_and_patches(network.input_shape, 5, len(windows), 2)
    evaluator = IncrementalEvaluator(network, [Target("data", (0, 2, 3)), Target("data", (1,))], 5)
    expect_right(evaluator, x, windows, patches)


# --- when nothing is gained -----------------------------------------------------------------------------------------


def flat_network() -> Network:
    """No operator of it is local."""
    nodes = [
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["fc"]),
        helper.make_node("Softmax", ["fc"], ["prob"], axis=1),
    ]
    weights = np.random.default_rng(0).normal(0, 0.1, (3 * 8 * 9, 5)).astype(np.float32)
    return Network(model_of(nodes, (3, 8, 9), {"w": weights}), "cpu", threads=1)


def test_where_little_is_local_every_layer_is_evaluated_whole(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "_said", set())  # it is said once
    with caplog.at_level(logging.INFO):
        evaluator = choose_evaluator(flat_network(), [Target("prob", (0,))], 3, 6)
    assert isinstance(evaluator, MiniBatchEvaluator)
    assert evaluator.batch_size == 6
    assert "every layer is evaluated whole" in caplog.text


def test_networks_that_take_no_image_are_evaluated_whole() -> None:
    nodes = [helper.make_node("Relu", ["data"], ["y"])]
    model = model_of(nodes, (3, 8, 9))
    del model.graph.input[0].type.tensor_type.shape.dim[2:]
    network = Network(model, "cpu", threads=1)
    assert isinstance(choose_evaluator(network, [Target("y", (0,))], 3), MiniBatchEvaluator)
    with pytest.raises(ConfigurationError, match="fits into the network's input"):
        IncrementalEvaluator(network, [Target("y", (0,))], 3)


def test_a_network_without_local_operators_is_right_all_the_same() -> None:
    network = flat_network()
    evaluator = IncrementalEvaluator(network, [Target("prob", (0,)), Target("fc", (1,))], 3)
    assert evaluator.frontier.steps == ()
    assert evaluator.frontier.gain == evaluator.frontier.bound == 1
    windows = corners_and_edges((3, 8, 9), 3)
    x, patches = photo_and_patches((3, 8, 9), 3, len(windows), 3)
    expect_right(evaluator, x, windows, patches)


def test_the_evaluator_can_be_named() -> None:
    network = golden("mini_vgg")
    assert isinstance(choose_evaluator(network, [Target("prob", (0,))], 5, kind="minibatch"), MiniBatchEvaluator)
    assert isinstance(choose_evaluator(network, [Target("prob", (0,))], 5), IncrementalEvaluator)
    named = choose_evaluator(flat_network(), [Target("prob", (0,))], 5, kind="incremental")
    assert isinstance(named, IncrementalEvaluator)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, -1, 65])
def test_windows_that_do_not_fit_are_refused(k: int) -> None:
    with pytest.raises(ConfigurationError, match=f"expected a window that fits .*found {k}"):
        IncrementalEvaluator(golden("mini_vgg"), [Target("prob", (0,))], k)


def test_impossible_settings_are_refused() -> None:
    network = golden("mini_vgg")
    with pytest.raises(ConfigurationError, match="batch size: expected at least 1, found 0"):
        IncrementalEvaluator(network, [Target("prob", (0,))], 3, 0)
    with pytest.raises(ConfigurationError, match="at least one, found none"):
        IncrementalEvaluator(network, [], 3)
    with pytest.raises(ConfigurationError, match="has no unit"):
        IncrementalEvaluator(network, [Target("prob", (10,))], 3)
    with pytest.raises(NetworkError, match="did you mean 'prob'"):
        IncrementalEvaluator(network, [Target("probs", (0,))], 3)


def test_photos_and_samples_of_another_size_are_refused() -> None:
    network = small()
    x, patches = photo_and_patches(network.input_shape, 3, 1, 1)
    evaluator = IncrementalEvaluator(network, TARGETS, 3)
    with pytest.raises(ConfigurationError, match="expected samples of 3 x 3 pixels, found 2 x 2"):
        evaluator.evaluate(x, np.zeros((1, 2), np.int64), patches[..., :2, :2])
    with pytest.raises(NetworkError, match="expected photos of shape"):
        evaluator.values(x[:, 1:])
    with pytest.raises(NetworkError, match="expected photos of shape"):
        evaluator.evaluate(x[:1], np.zeros((1, 2), np.int64), patches)
    assert evaluator.values(x).shape == (len(TARGETS),)


# --- networks of others ---------------------------------------------------------------------------------------------


def as_exported(opset: int, ir_version: int) -> onnx.ModelProto:
    """As exporters write: weights in Constant nodes and initialisers, paths as names, a residual block, ReLU6."""
    rng = np.random.default_rng(opset)

    def weights(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    def constant(name: str, array: NDArray[np.float32]) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))

    stem, block = "/stem/Conv_output_0", "/block/Conv_output_0"
    nodes = [
        constant("stem.weight", weights(8, 3, 3, 3)),
        helper.make_node("Conv", ["data", "stem.weight"], [stem], strides=[2, 2], auto_pad="SAME_UPPER"),
        helper.make_node("BatchNormalization", [stem, "scale", "shift", "mean", "variance"], ["bn"], epsilon=1e-3),
        constant("/Constant_output_0", np.array(0, np.float32)),
        constant("/Constant_1_output_0", np.array(6, np.float32)),
        helper.make_node("Clip", ["bn", "/Constant_output_0", "/Constant_1_output_0"], ["relu6"]),
        helper.make_node("Conv", ["relu6", "depthwise"], [block], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", [block], ["relu"]),
        helper.make_node("Add", ["relu", "relu6"], ["sum"]),
        helper.make_node("AveragePool", ["sum"], ["pool"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["pool"], ["mean_of_all"]),
        helper.make_node("Flatten", ["mean_of_all"], ["/Flatten_output_0"]),
        constant("fc.weight", weights(5, 8) * 3),
        helper.make_node("Gemm", ["/Flatten_output_0", "fc.weight"], ["fc"], transB=1),
        helper.make_node("Softmax", ["fc"], ["prob"], axis=1),
    ]
    initialisers = {"scale": weights(8) + 1, "shift": weights(8), "mean": weights(8), "variance": weights(8) ** 2 + 1}
    return model_of(nodes, (3, 30, 26), initialisers | {"depthwise": weights(8, 1, 3, 3)}, opset, ir_version)


@pytest.mark.parametrize(("opset", "ir_version"), [(11, 3), (11, 6), (13, 7), (17, 8), (21, 10)])
def test_networks_of_other_opsets(opset: int, ir_version: int, deep: None) -> None:
    network = Network(as_exported(opset, ir_version), "cpu", threads=1)
    windows = corners_and_edges(network.input_shape, 6)
    x, patches = photo_and_patches(network.input_shape, 6, len(windows), 2)
    targets = [Target("prob", (1,)), Target("sum", (3,)), Target("pool", (0, 1, 1))]
    evaluator = IncrementalEvaluator(network, targets, 6)
    assert len(evaluator.frontier.steps) == 7
    expect_right(evaluator, x, windows, patches)


def test_weights_in_constant_nodes_count_as_weights() -> None:
    model = as_exported(17, 8)
    found = find_frontier(model, blob_shapes(model), "data", 4)
    lifted = onnx.ModelProto()
    lifted.CopyFrom(model)
    for node in [node for node in lifted.graph.node if node.op_type == "Constant"]:
        lifted.graph.initializer.append(node.attribute[0].t)
        lifted.graph.initializer[-1].name = node.output[0]
        lifted.graph.node.remove(node)
    expected = find_frontier(lifted, blob_shapes(lifted), "data", 4)
    assert (found.gain, found.bound) == pytest.approx((expected.gain, expected.bound), rel=1e-3)
    assert found.bound > 2


def test_what_only_a_branch_of_an_if_reads_is_made_whole(deep: None) -> None:
    info = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)
    then, other = (
        helper.make_graph([helper.make_node(kind, ["conv"], ["chosen"])], kind, [], [info]) for kind in ("Neg", "Abs")
    )
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["conv"]),
        helper.make_node("If", ["yes"], ["branch"], then_branch=then, else_branch=other),
        helper.make_node("GlobalAveragePool", ["branch"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["prob"]),
    ]
    weights = {"w": np.ones((2, 1, 3, 3), np.float32), "yes": np.array(True)}
    network = Network(model_of(nodes, (1, 9, 9), weights), "cpu", threads=1)
    windows = corners_and_edges((1, 9, 9), 3)
    x, patches = photo_and_patches((1, 9, 9), 3, len(windows), 2)
    expect_right(IncrementalEvaluator(network, [Target("prob", (1,))], 3), x, windows, patches)


def old_networks() -> Iterator[tuple[str, onnx.ModelProto]]:
    """What used to mean something else, or varies over the plane in a place where it seldom does."""
    rng = np.random.default_rng(0)
    slopes = {"slope": rng.random((9,)).astype(np.float32)}
    yield (
        "PRelu with a slope per column",
        model_of([helper.make_node("PRelu", ["data", "slope"], ["y"])], (2, 8, 9), slopes),
    )
    yield "softmax over all axes", model_of([helper.make_node("Softmax", ["data"], ["y"], axis=1)], (2, 8, 9), {}, 12)
    planes = {name: rng.uniform(1, 2, (2, 8, 9)).astype(np.float32) for name in ("a", "b", "c", "d")}
    yield "statistics for each position", model_of(
        [helper.make_node("BatchNormalization", ["data", "a", "b", "c", "d"], ["y"], spatial=0)],
        (2, 8, 9), planes, 7, 3,
    )  # fmt: skip
    yield "steps wider than the kernel of a pool that pads itself", model_of(
        [helper.make_node("AveragePool", ["data"], ["y"], auto_pad="SAME_UPPER", kernel_shape=[3, 1], strides=[1, 3])],
        (2, 8, 9),
    )  # fmt: skip
    weights = {"tile/0": rng.random((2, 2, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["data", "tile/0"], ["tile/samples"]),
        helper.make_node("Relu", ["tile/samples"], ["y"]),
    ]
    yield "names like those of the tile graph", model_of(nodes, (2, 8, 9), weights)
    vector = np.array([0.5], np.float32)
    pads = np.array([0, 0, 1, 2, 0, 0, 3, 1], np.int64)
    yield (
        "padding with a vector of one number",
        model_of(
            [helper.make_node("Pad", ["data", "pads", "value"], ["y"])], (2, 8, 9), {"pads": pads, "value": vector}, 13
        ),
    )


@pytest.mark.parametrize(("kind", "model"), list(old_networks()))
def test_rare_forms_of_operators(kind: str, model: onnx.ModelProto, deep: None) -> None:
    network = Network(model, "cpu", threads=1)
    windows = corners_and_edges((2, 8, 9), 3)
    x, patches = photo_and_patches((2, 8, 9), 3, len(windows), 2)
    expect_right(IncrementalEvaluator(network, [Target("y", (1,)), Target("y", (0, 2, 2))], 3), x, windows, patches)


@pytest.mark.parametrize("batch_size", [None, 3, 8, 50])
def test_batches_that_are_filled_up_give_the_same(monkeypatch: pytest.MonkeyPatch, batch_size: int | None) -> None:
    # As on CUDA, where every batch has the shape of a full one.
    def full(evaluator: IncrementalEvaluator, job: object) -> int:
        samples = job.size // len(job.windows)  # type: ignore[attr-defined]
        return evaluator._tile_batch // samples * samples

    network = Network(local_network(3), provider="cpu", threads=1)
    blob = next(reversed(network.blobs))
    targets = [Target(blob, (0,))]
    generator = np.random.default_rng(0)
    x = generator.standard_normal(network.input_shape).astype(np.float32)
    windows = np.argwhere(np.ones(np.array(network.input_shape[1:]) - 1))
    patches = generator.standard_normal((len(windows), 3, network.input_shape[0], 2, 2)).astype(np.float32)
    expected = IncrementalEvaluator(network, targets, 2, batch_size).evaluate(x, windows, patches)
    monkeypatch.setattr(IncrementalEvaluator, "_rows", full)
    found = IncrementalEvaluator(network, targets, 2, batch_size).evaluate(x, windows, patches)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_windows_for_another_k_are_refused() -> None:
    network = Network(local_network(3), provider="cpu", threads=1)
    evaluator = IncrementalEvaluator(network, [Target(next(reversed(network.blobs)), (0,))], 3)
    beyond = np.array([[network.input_shape[1] - 2, 0]])
    with pytest.raises(ConfigurationError, match="k: expected windows of 3 pixels"):
        list(evaluator.batches(beyond, 1))
