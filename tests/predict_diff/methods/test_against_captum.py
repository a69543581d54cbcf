"""The same small classifier in captum and here: the same maps, or differences that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from predict_diff.methods import GradientTimesInput, IntegratedGradients, Occlusion, Sensitivity, SmoothGrad
from predict_diff.network.network import Network
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

torch = pytest.importorskip("torch")
captum = pytest.importorskip("captum.attr")

pytestmark = pytest.mark.strangers

UNIT = 2
SCORE, PROBABILITY = [Target("fc", (UNIT,))], [Target("prob", (UNIT,))]

#: Of a map's largest value: some float32 operations, in another order.
TOLERANCE = 1e-5


@pytest.fixture
def score(network: Network) -> Any:
    """The network's scores in torch, with its weights."""
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in network.load().graph.initializer
    }
    convolution, inner_product = torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.Linear(5 * 7 * 7, 4)
    convolution.load_state_dict({"weight": weights["w1"], "bias": weights["b1"]})
    inner_product.load_state_dict({"weight": weights["w2"], "bias": weights["b2"]})
    layers = convolution, torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), inner_product
    return torch.nn.Sequential(*layers).eval()


@pytest.fixture
def probability(score: Any) -> Any:
    return torch.nn.Sequential(score, torch.nn.Softmax(dim=1)).eval()


@pytest.fixture
def image(x: NDArray[np.float32]) -> Any:
    return torch.from_numpy(x[None].copy())


def over_channels(attributions: Any, combine: Callable[..., NDArray]) -> NDArray:
    """captum's attributions (1, C, H, W) as a map (H, W)."""
    return combine(attributions.detach().numpy()[0].astype(float), axis=0)


def largest_difference(found: NDArray, expected: NDArray) -> float:
    """As a share of the expected map's largest value; said too, for `make strangers`."""
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    print(f"largest difference: {difference:.1e} of the largest value")
    return difference


def test_the_networks_are_the_same(network: Network, x: NDArray[np.float32], score: Any, image: Any) -> None:
    np.testing.assert_allclose(network.run(x, "fc")["fc"], score(image).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "stride"), [(4, 1), (4, 2), (2, 2), (5, 3), (1, 1)])
@pytest.mark.parametrize("fill", [0.0, 1.5])
def test_occlusion(
    network: Network, x: NDArray[np.float32], probability: Any, image: Any, size: int, stride: int, fill: float
) -> None:
    expected = captum.Occlusion(probability).attribute(
        image, sliding_window_shapes=(3, size, size), strides=(3, stride, stride), target=UNIT, baselines=fill
    )
    found = Occlusion(fill, size, stride).explain(network, x, PROBABILITY)[0]
    expected = over_channels(expected, np.mean)
    # Differences of probabilities near 0.5, to float32's last bits.
    print(f"largest difference: {np.abs(found - expected).max():.1e} in probability")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_occlusion_differs_only_where_the_last_square_stands_elsewhere(
    network: Network, x: NDArray[np.float32], probability: Any, image: Any
) -> None:
    size, stride = 5, 4
    expected = captum.Occlusion(probability).attribute(
        image, sliding_window_shapes=(3, size, size), strides=(3, stride, stride), target=UNIT, baselines=0
    )
    found = Occlusion(0.0, size, stride).explain(network, x, PROBABILITY)[0]
    moved = WindowGrid(14, 14, size, stride).rows[-1]
    assert moved == 9  # captum's stands at 12, cut off at 14
    different = np.abs(found - over_channels(expected, np.mean)) > 1e-6
    assert different.any()
    assert not different[:moved, :moved].any()


def test_saliency(network: Network, x: NDArray[np.float32], score: Any, image: Any) -> None:
    expected = over_channels(captum.Saliency(score).attribute(image, target=UNIT), np.max)
    assert largest_difference(Sensitivity().explain(network, x, PROBABILITY)[0], expected) < TOLERANCE


def test_saliency_of_the_probability(network: Network, x: NDArray[np.float32], probability: Any, image: Any) -> None:
    expected = over_channels(captum.Saliency(probability).attribute(image, target=UNIT), np.max)
    found = Sensitivity(probability=True).explain(network, x, PROBABILITY)[0]
    assert largest_difference(found, expected) < TOLERANCE


def test_input_times_gradient(network: Network, x: NDArray[np.float32], score: Any, image: Any) -> None:
    expected = over_channels(captum.InputXGradient(score).attribute(image, target=UNIT), np.sum)
    assert largest_difference(GradientTimesInput().explain(network, x, SCORE)[0], expected) < TOLERANCE


@pytest.mark.parametrize("baseline", [0.0, 0.75])
def test_integrated_gradients_by_the_midpoint_rule(
    network: Network, x: NDArray[np.float32], score: Any, image: Any, baseline: float
) -> None:
    expected, gap = captum.IntegratedGradients(score).attribute(
        image,
        baselines=baseline,
        target=UNIT,
        n_steps=50,
        method="riemann_middle",
        return_convergence_delta=True,
    )
    method = IntegratedGradients(baseline, steps=50)
    found = method.explain(network, x, SCORE)
    # A step may fall on the other side of a kink: each of 50 moves the map by a fiftieth of its value at most.
    assert largest_difference(found[0], over_channels(expected, np.sum)) < TOLERANCE
    np.testing.assert_allclose(method.completeness_gap(network, x, SCORE, found), gap.numpy(), atol=1e-5)


def test_integrated_gradients_by_captums_own_rule_with_many_steps(
    network: Network, x: NDArray[np.float32], score: Any, image: Any
) -> None:
    expected = captum.IntegratedGradients(score).attribute(image, target=UNIT, n_steps=500)
    found = IntegratedGradients(steps=500).explain(network, x, SCORE)[0]
    # Both rules err by about the share of a step in which ReLUs and maxima switch.
    assert largest_difference(found, over_channels(expected, np.sum)) < 1e-2


@pytest.mark.parametrize(("signed", "combine"), [(True, np.sum), (False, lambda a, axis: np.abs(a).max(axis))])
def test_smoothgrad_without_noise(
    network: Network, x: NDArray[np.float32], score: Any, image: Any, signed: bool, combine: Callable[..., NDArray]
) -> None:
    tunnel = captum.NoiseTunnel(captum.Saliency(score))
    expected = tunnel.attribute(image, nt_samples=3, stdevs=0.0, nt_type="smoothgrad", target=UNIT, abs=False)
    found = SmoothGrad(n=3, sigma=0.0, signed=signed).explain(network, x, SCORE)[0]
    assert largest_difference(found, over_channels(expected, combine)) < TOLERANCE


def test_smoothgrad_has_captums_mean(network: Network, x: NDArray[np.float32], score: Any, image: Any) -> None:
    repetitions, n, sigma = 30, 50, 0.15
    tunnel = captum.NoiseTunnel(captum.Saliency(score))
    torch.manual_seed(0)
    expected = [
        over_channels(
            tunnel.attribute(
                image, nt_samples=n, stdevs=sigma * float(np.ptp(x)), nt_type="smoothgrad", target=UNIT, abs=False
            ),
            np.sum,
        )
        for _ in range(repetitions)
    ]
    found = [SmoothGrad(n, sigma, signed=True).explain(network, x, SCORE, seed)[0] for seed in range(repetitions)]
    errors = [np.std(runs, axis=0, ddof=1) / np.sqrt(repetitions) for runs in (expected, found)]
    differences = np.abs(np.mean(expected, axis=0) - np.mean(found, axis=0)) / np.hypot(*errors)
    # In standard errors: t with 58 degrees of freedom exceeds 5 less than once in 100,000 pixels; here are 196.
    assert differences.max() < 5
