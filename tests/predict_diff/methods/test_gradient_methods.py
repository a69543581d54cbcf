"""Methods that use gradients, on networks whose explanations are known."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from known_networks import linear, quadratic, reshaped_behind_softmax
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError
from predict_diff.methods import GradientTimesInput, IntegratedGradients, Occlusion, Sensitivity, SmoothGrad
from predict_diff.network.gradient import gradient_model
from predict_diff.network.network import Network
from predict_diff.samplers import stream
from predict_diff.sensitivity import sensitivity_map
from predict_diff.targets import Target

SHAPE = (3, 6, 5)
CLASSES = [Target("prob", (unit,)) for unit in range(4)]


@pytest.fixture(scope="module")
def weights() -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(4, *SHAPE))


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)


class TestLinearNetwork:
    """The score is w . x + b, so each pixel's contribution is w x, summed over channels."""

    @pytest.fixture
    def network(self, weights: NDArray[np.float64]) -> Network:
        return linear(weights, np.arange(4.0))

    def test_gradient_times_input_is_the_contribution(
        self, network: Network, weights: NDArray[np.float64], image: NDArray[np.float32]
    ) -> None:
        found = GradientTimesInput().explain(network, image, CLASSES)
        np.testing.assert_allclose(found, (weights * image).sum(axis=1), atol=1e-5)

    @pytest.mark.parametrize("steps", [1, 2, 33])
    def test_integrated_gradients_are_the_contribution_for_any_number_of_steps(
        self, network: Network, weights: NDArray[np.float64], image: NDArray[np.float32], steps: int
    ) -> None:
        found = IntegratedGradients(steps=steps).explain(network, image, CLASSES)
        np.testing.assert_allclose(found, (weights * image).sum(axis=1), atol=1e-5)

    def test_occlusion_of_single_pixels_by_zero_is_the_contribution(
        self, network: Network, weights: NDArray[np.float64], image: NDArray[np.float32]
    ) -> None:
        scores = [Target("fc", target.index) for target in CLASSES]
        found = Occlusion(fill=0.0, size=1).explain(network, image, scores)
        np.testing.assert_allclose(found, (weights * image).sum(axis=1), atol=1e-5)

    @pytest.mark.parametrize("baseline", [0.5, [1, -2, 3], np.random.default_rng(2).normal(size=SHAPE)])
    def test_integrated_gradients_count_from_the_baseline(
        self, network: Network, weights: NDArray[np.float64], image: NDArray[np.float32], baseline: object
    ) -> None:
        found = IntegratedGradients(baseline, steps=3).explain(network, image, CLASSES)
        start = np.asarray(baseline)[..., None, None] if np.ndim(baseline) == 1 else baseline
        np.testing.assert_allclose(found, (weights * (image - start)).sum(axis=1), atol=1e-5)

    @pytest.mark.parametrize("sigma", [0, 0.2])
    def test_smoothgrad_is_the_gradient_whatever_the_noise(
        self, network: Network, weights: NDArray[np.float64], image: NDArray[np.float32], sigma: float
    ) -> None:
        signed = SmoothGrad(n=5, sigma=sigma, signed=True).explain(network, image, CLASSES)
        np.testing.assert_allclose(signed, weights.sum(axis=1), atol=1e-5)
        unsigned = SmoothGrad(n=5, sigma=sigma).explain(network, image, CLASSES)
        np.testing.assert_allclose(unsigned, np.abs(weights).max(axis=1), atol=1e-5)

    def test_sensitivity_is_the_largest_weight_over_channels(
        self, network: Network, weights: NDArray[np.float64], image: NDArray[np.float32]
    ) -> None:
        np.testing.assert_allclose(
            Sensitivity().explain(network, image, CLASSES), np.abs(weights).max(axis=1), atol=1e-5
        )

    def test_the_gradient_of_a_probability_is_the_softmaxs(
        self, network: Network, weights: NDArray[np.float64], image: NDArray[np.float32]
    ) -> None:
        p = network.run(image, "prob")["prob"][0].astype(float)
        slopes = p[:, None, None, None] * (weights - np.tensordot(p, weights, 1))
        found = GradientTimesInput(probability=True).explain(network, image, CLASSES)
        np.testing.assert_allclose(found, (slopes * image).sum(axis=1), atol=1e-6)
        found = Sensitivity(probability=True).explain(network, image, CLASSES)
        np.testing.assert_allclose(found, np.abs(slopes).max(axis=1), atol=1e-6)


class TestQuadraticNetwork:
    """The score is (w . x) squared, with the gradient 2 (w . x) w."""

    SCORES = [Target("fc", (unit,)) for unit in range(4)]  # noqa: RUF012

    @pytest.mark.parametrize("steps", [1, 4])
    def test_the_midpoint_rule_is_exact(
        self, weights: NDArray[np.float64], image: NDArray[np.float32], steps: int
    ) -> None:
        method = IntegratedGradients(steps=steps)
        network = quadratic(weights)
        found = method.explain(network, image, self.SCORES)
        inner = (weights * image).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(found, (inner[:, None, None, None] * weights * image).sum(axis=1), rtol=1e-4)
        gap = method.completeness_gap(network, image, self.SCORES, found)
        np.testing.assert_allclose(gap, 0, atol=1e-5 * (inner**2).max())

    def test_smoothgrad_is_unbiased(self, weights: NDArray[np.float64], image: NDArray[np.float32]) -> None:
        n, sigma = 2000, 0.1
        found = SmoothGrad(n=n, sigma=sigma, signed=True).explain(quadratic(weights), image, self.SCORES)
        inner = (weights * image).sum(axis=(1, 2, 3))
        expected = 2 * inner[:, None, None] * weights.sum(axis=1)
        deviation = sigma * (image.max() - image.min())
        # The noise moves w . x by a Gaussian of this deviation; five standard errors of the mean.
        error = 2 * deviation * np.sqrt((weights**2).sum(axis=(1, 2, 3))) / np.sqrt(n)
        assert (np.abs(found - expected) < 5 * error[:, None, None] * np.abs(weights.sum(axis=1))).all()


class TestClassifier:
    """The small classifier with convolution, ReLU and pooling."""

    TARGETS = [Target("prob", (1,)), Target("fc", (3,))]  # noqa: RUF012

    def test_sensitivity_is_the_sensitivity_map_of_the_score(self, network: Network, x: NDArray[np.float32]) -> None:
        found = Sensitivity().explain(network, x, self.TARGETS)
        np.testing.assert_array_equal(found[0], sensitivity_map(network, x, Target("fc", (1,))))
        np.testing.assert_array_equal(found[1], sensitivity_map(network, x, Target("fc", (3,))))

    def test_smoothgrad_without_noise_is_the_gradient(self, network: Network, x: NDArray[np.float32]) -> None:
        signed = SmoothGrad(n=3, sigma=0, signed=True).explain(network, x, self.TARGETS)
        np.testing.assert_allclose(signed[0], network.gradient(x, "fc", 1).sum(axis=0), atol=1e-6)
        unsigned = SmoothGrad(n=3, sigma=0).explain(network, x, self.TARGETS)
        np.testing.assert_allclose(unsigned, Sensitivity().explain(network, x, self.TARGETS), atol=1e-6)

    def test_integrated_gradients_equal_a_loop_over_single_steps(
        self, network: Network, x: NDArray[np.float32]
    ) -> None:
        baseline, steps = np.full_like(x, 0.5), 13
        total = np.zeros(x.shape)
        for step in range(steps):
            alpha = (step + 0.5) / steps
            total += network.gradient(baseline + np.float32(alpha) * (x - baseline), "fc", 1)
        expected = ((x - baseline) * total / steps).sum(axis=0)
        found = IntegratedGradients(0.5, steps).explain(network, x, self.TARGETS)[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_the_completeness_gap_is_what_is_missing_and_closes_with_more_steps(
        self, network: Network, x: NDArray[np.float32]
    ) -> None:
        ends = network.run(np.stack([x, np.zeros_like(x)]), "fc")["fc"][:, [1, 3]].astype(float)
        gaps = {}
        for steps in (2, 512):
            method = IntegratedGradients(steps=steps)
            maps = method.explain(network, x, self.TARGETS)
            gaps[steps] = method.completeness_gap(network, x, self.TARGETS, maps)
            np.testing.assert_allclose(gaps[steps], maps.sum(axis=(1, 2)) - (ends[0] - ends[1]), atol=1e-5)
        assert np.abs(gaps[512]).max() < 0.1 * np.abs(gaps[2]).max()

    def test_smoothgrad_equals_a_loop_over_single_copies(self, network: Network, x: NDArray[np.float32]) -> None:
        copies = [
            x + 0.15 * np.ptp(x) * stream(9, copy, 0, "SmoothGrad").standard_normal(x.shape).astype(np.float32)
            for copy in range(4)
        ]
        expected = np.mean([network.gradient(copy, "fc", 1) for copy in copies], axis=0)
        found = SmoothGrad(n=4).explain(network, x, self.TARGETS, seed=9)[0]
        # A copy's pixels in float32 may fall on the other side of a kink.
        np.testing.assert_allclose(found, np.abs(expected).max(axis=0), atol=1e-5)

    def test_a_feature_map_is_explained_by_the_mean_of_its_units(
        self, network: Network, x: NDArray[np.float32]
    ) -> None:
        units = [Target("pool", (2, row, column)) for row in range(7) for column in range(7)]
        whole = GradientTimesInput().explain(network, x, [Target("pool", (2,))])
        np.testing.assert_allclose(whole[0], GradientTimesInput().explain(network, x, units).mean(axis=0), atol=1e-6)


class TestBackwardGraph:
    def test_is_built_once_for_all_batches_and_targets_and_is_not_kept(
        self, monkeypatch: pytest.MonkeyPatch, network: Network, x: NDArray[np.float32]
    ) -> None:
        built: list[str] = []

        def build(model: onnx.ModelProto, blob: str, image: str) -> onnx.ModelProto:
            built.append(blob)
            return gradient_model(model, blob, image)

        monkeypatch.setattr("predict_diff.network.network.gradient_model", build)
        targets = [Target("prob", (1,)), Target("fc", (3,)), Target("pool", (2,))]
        IntegratedGradients(steps=9, batch_size=2).explain(network, x, targets)
        assert built == ["fc", "pool"]
        network.gradient(x, "pool", 1)
        network.gradient(x, "pool", 1)
        assert built == ["fc", "pool", "pool", "pool"]


class TestScoreBeforeTheSoftmax:
    @pytest.mark.parametrize(
        ("shape", "unit"), [((4,), (2,)), ((2, 2), (1, 0)), ((4, 1, 1), (2, 0, 0)), ((4, 1, 1), (2,))]
    )
    def test_is_found_behind_operators_that_change_the_shape_only(
        self, weights: NDArray[np.float64], image: NDArray[np.float32], shape: tuple[int, ...], unit: tuple[int, ...]
    ) -> None:
        network = reshaped_behind_softmax(weights, shape)
        found = GradientTimesInput().explain(network, image, [Target("prob", unit)])
        np.testing.assert_allclose(found[0], (weights[2] * image).sum(axis=0), atol=1e-5)

    def test_has_no_unit_for_the_mean_of_some_probabilities(
        self, weights: NDArray[np.float64], image: NDArray[np.float32]
    ) -> None:
        network = reshaped_behind_softmax(weights, (2, 2))
        with pytest.raises(ConfigurationError, match=r"target prob:1: expected a unit, since 'map'.*\(4, 1, 1\)"):
            GradientTimesInput().explain(network, image, [Target("prob", (1,))])
        assert GradientTimesInput(probability=True).explain(network, image, [Target("prob", (1,))]).shape == (1, 6, 5)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (IntegratedGradients(steps=0), "steps: expected a whole number, 1 or more, found 0"),
        (
            IntegratedGradients(baseline=[1, 2]),
            r"baseline: expected one number, 3 for the channels.*found shape \(2,\)",
        ),
        (IntegratedGradients(baseline=np.inf), "baseline: expected finite numbers"),
        (IntegratedGradients(baseline=1e39), "baseline: expected finite numbers"),
        (IntegratedGradients(baseline="black"), "baseline: expected"),
        (SmoothGrad(n=2.0), "n: expected a whole number, 1 or more, found 2.0"),
        (SmoothGrad(sigma=-0.1), "sigma: expected a share of the image's range, 0 or more, found -0.1"),
        (SmoothGrad(sigma=np.nan), "sigma: expected a share.*found nan"),
    ],
)
def test_impossible_parameters_are_refused(
    method: IntegratedGradients | SmoothGrad, message: str, network: Network, x: NDArray[np.float32]
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        method.explain(network, x, [Target("prob", (0,))])
    assert "\n" not in str(caught.value)
