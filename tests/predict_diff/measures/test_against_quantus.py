"""Measures against those of Quantus, where it has the same one: many maps, one network with the same weights."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from predict_diff import Network, Target
from predict_diff.measures import (
    aopc,
    deletion,
    gini,
    layer_names,
    overlap,
    pixel_flipping,
    pointing_game,
    rank_correlation,
    relevance_mass_accuracy,
    relevance_rank_accuracy,
    scorer,
    share_inside,
)
from predict_diff.top_pixels import top_pixels

pytestmark = [pytest.mark.strangers, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    quantus = pytest.importorskip("quantus")

COUNT, SIDE, CLASSES = 40, 12, 5
QUIET = {"disable_warnings": True, "display_progressbar": False}


@pytest.fixture(scope="module")
def maps():
    """(40, 12, 12): signed, no two values alike."""
    return np.random.default_rng(0).normal(size=(COUNT, SIDE, SIDE))


@pytest.fixture(scope="module")
def masks():
    """(40, 12, 12): a box in each."""
    found = np.zeros((COUNT, SIDE, SIDE), bool)
    generator = np.random.default_rng(1)
    for mask in found:
        (row, column), (height, width) = generator.integers(0, 7, 2), generator.integers(1, 6, 2)
        mask[row : row + height, column : column + width] = True
    return found


@pytest.fixture(scope="module")
def images():
    """(40, 1, 12, 12) float32. One channel: Quantus flips the channels of a pixel one after the other."""
    return np.random.default_rng(2).normal(size=(COUNT, 1, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(3)
    made = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 4, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * (SIDE - 2) ** 2, CLASSES),
    ).eval()
    # As torch initialises it, probabilities hardly move, and all curves would look alike.
    with torch.no_grad():
        made[-1].weight *= 10
    return made


def as_network(module):
    """The same network in ONNX, with a softmax behind it."""
    state = {name.replace(".", "_"): tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["data", "0_weight", "0_bias"], ["c0"], name="0", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "2_weight", "2_bias"], ["c2"], name="2"),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "5_weight", "5_bias"], ["fc"], name="5", transB=1),
        helper.make_node("Softmax", ["fc"], ["prob"], axis=1),
    ]
    ends = [
        helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 1, SIDE, SIDE]),
        helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["N", CLASSES]),
    ]
    tensors = [numpy_helper.from_array(values, name) for name, values in state.items()]
    graph = helper.make_graph(nodes, "twin", ends[:1], ends[1:], tensors)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return Network(model, provider="cpu", threads=1)


@pytest.fixture(scope="module")
def network(module):
    return as_network(module)


@pytest.fixture(scope="module")
def classes():
    return np.arange(COUNT) % CLASSES


def asked(metric, images, maps, masks=None, classes=None, model=None, **others):
    """Quantus's numbers; (40, ...)."""
    return np.array(
        metric(
            model=model,
            x_batch=images.copy(),
            y_batch=np.zeros(COUNT, int) if classes is None else classes,
            # It adds to what it is given.
            a_batch=maps[:, None].copy(),
            s_batch=None if masks is None else masks[:, None],
            **others,
        )
    )


def agree(name, ours, theirs, at_most):
    difference = float(np.abs(np.asarray(ours, float) - np.asarray(theirs, float)).max())
    print(f"{name}: largest difference {difference:.1e}")
    assert difference <= at_most


def test_gini_is_sparseness(maps, images):
    # Quantus adds 1e-7 to each absolute value, of which the largest is 1.
    theirs = asked(quantus.Sparseness(**QUIET), images, maps)
    agree("Sparseness", [gini(values) for values in maps], theirs, 1e-6)


def test_pointing_game(maps, masks, images):
    theirs = asked(quantus.PointingGame(**QUIET), images, maps, masks)
    agree("PointingGame", [pointing_game(*pair) for pair in zip(maps, masks, strict=True)], theirs, 0)


def test_mass_accuracy_of_positive_relevance(maps, masks, images):
    # Quantus sums relevance with its sign: only without negative relevance is that a share.
    positive = np.maximum(maps, 0)
    theirs = asked(quantus.RelevanceMassAccuracy(**QUIET), images, positive, masks)
    ours = [relevance_mass_accuracy(*pair) for pair in zip(maps, masks, strict=True)]
    agree("RelevanceMassAccuracy", ours, theirs, 1e-12)


def test_share_inside_is_attribution_localisation(maps, masks, images):
    # Quantus adds 1e-9 to the total.
    theirs = asked(quantus.AttributionLocalisation(**QUIET), images, maps, masks)
    agree("AttributionLocalisation", [share_inside(*pair) for pair in zip(maps, masks, strict=True)], theirs, 1e-9)
    theirs = asked(quantus.AttributionLocalisation(positive_attributions=True, abs=False, **QUIET), images, maps, masks)
    ours = [share_inside(*pair, "positive") for pair in zip(maps, masks, strict=True)]
    agree("AttributionLocalisation, positive", ours, theirs, 1e-9)


def test_rank_accuracy(maps, masks, images):
    theirs = asked(quantus.RelevanceRankAccuracy(**QUIET), images, maps, masks)
    ours = [relevance_rank_accuracy(*pair) for pair in zip(maps, masks, strict=True)]
    agree("RelevanceRankAccuracy", ours, theirs, 1e-12)


@pytest.mark.parametrize("k", [1, 7, 30])
def test_top_pixels_on_a_mask_are_top_k_intersection(maps, masks, images, k):
    theirs = asked(quantus.TopKIntersection(k=k, **QUIET), images, maps, masks)
    tops = [top_pixels(values, k / values.size, absolute=False) for values in maps]
    agree(f"TopKIntersection, k = {k}", [overlap(*pair) for pair in zip(tops, masks, strict=True)], theirs, 1e-12)


@pytest.mark.parametrize(("at_once", "baseline"), [(1, 0.0), (16, 0.0), (9, -0.5)])
def test_deletion_is_pixel_flipping(maps, images, module, network, classes, at_once, baseline):
    # Of one channel. Quantus leaves out the image itself, and its area has steps of 1.
    metric = quantus.PixelFlipping(features_in_step=at_once, perturb_baseline=baseline, **QUIET)
    theirs = asked(metric, images, maps, classes=classes, model=module, channel_first=True, softmax=True)
    assert np.ptp(theirs, axis=1).mean() > 0.05
    steps = SIDE**2 // at_once
    ours = [
        deletion(scorer(network, Target("prob", (c,))), x, values, baseline, steps).scores[1:]
        for x, values, c in zip(images, maps, classes, strict=True)
    ]
    agree(f"PixelFlipping, {at_once} at once", ours, theirs, 1e-6)


@pytest.mark.parametrize("order", ["morf", "lerf"])
@pytest.mark.parametrize(("side", "regions"), [(3, 16), (4, 5)])
def test_flipping_squares_is_region_perturbation(maps, images, module, network, classes, order, side, regions):
    # Where squares fill the image: Quantus centres them and ranks by sums, with zeros beyond the border.
    metric = quantus.RegionPerturbation(
        patch_size=side, order=order, regions_evaluation=regions, perturb_baseline=0.0, **QUIET
    )
    theirs = asked(metric, images, maps, classes=classes, model=module, channel_first=True, softmax=True)
    curves = [
        pixel_flipping(scorer(network, Target("prob", (c,))), x, values, order, side, regions)
        for x, values, c in zip(images, maps, classes, strict=True)
    ]
    name = f"RegionPerturbation, {order}, {side} x {side}"
    agree(name, [curve.scores[0] - curve.scores[1:] for curve in curves], theirs, 1e-6)
    agree(f"{name}, AOPC", [aopc(curve) for curve in curves], theirs.sum(axis=1) / (regions + 1), 1e-6)


def test_rank_correlation_is_its_spearman(maps):
    theirs = [
        quantus.similarity_func.correlation_spearman(a.ravel(), b.ravel())
        for a, b in zip(maps, maps[::-1], strict=True)
    ]
    agree(
        "correlation_spearman", [rank_correlation(*pair) for pair in zip(maps, maps[::-1], strict=True)], theirs, 1e-12
    )


@pytest.mark.parametrize("order", ["top_down", "independent"])
def test_the_curve_of_random_weights_is_mprt(images, module, network, order):
    # Weights are drawn by Quantus, as torch initialises them; what becomes of the maps is compared.
    x, unit = images[:3], np.array([0, 1, 2])

    def gradients(model, inputs, targets, **_):
        inputs = torch.tensor(np.asarray(inputs), requires_grad=True)
        chosen = model(inputs)[torch.arange(len(inputs)), torch.as_tensor(np.asarray(targets))]
        return torch.autograd.grad(chosen.sum(), inputs)[0].numpy()

    metric = quantus.MPRT(layer_order=order, seed=4, abs=False, normalise=False, **QUIET)
    theirs = metric(model=module, x_batch=x.copy(), y_batch=unit, explain_func=gradients, channel_first=True)
    assert [name for name in theirs if name != "original"] == (
        layer_names(network.load()) if order == "top_down" else layer_names(network.load())[::-1]
    )

    def maps_of(some):
        return [some.gradient(image[None], "fc", int(u))[0, 0] for image, u in zip(x, unit, strict=True)]

    trained = maps_of(network)
    wrapped = quantus.helpers.model.pytorch_model.PyTorchModel(module, channel_first=True)
    for name, randomised in wrapped.get_random_layer_generator(order, seed=4):
        ours = [rank_correlation(*pair) for pair in zip(trained, maps_of(as_network(randomised)), strict=True)]
        assert np.abs(ours).max() < 0.99  # no layer leaves a map as it was
        # Rounding can exchange the ranks of values that are alike.
        agree(f"MPRT, {order}, layer {name}", ours, theirs[name], 1e-4)
