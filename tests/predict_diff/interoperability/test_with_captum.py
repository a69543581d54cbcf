"""With the real torch and captum: what both have is the same, and captum's tools take ours for one of theirs."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from torch_networks import small_classifier, some_images

from predict_diff.errors import NetworkError
from predict_diff.interoperability import Attribution, TorchNetwork
from predict_diff.methods import (
    GradientTimesInput,
    IntegratedGradients,
    Occlusion,
    Rise,
    Sensitivity,
    SmoothGrad,
    UnivariateMarginal,
)
from predict_diff.methods.prediction_difference import PredictionDifference

pytestmark = [pytest.mark.strangers, pytest.mark.filterwarnings("ignore")]

#: Rounding of float32, in another order of sums.
EPSILON = 1e-5


@pytest.fixture(scope="module")
def torch() -> Any:
    pytest.importorskip("captum")
    return pytest.importorskip("torch")


@pytest.fixture
def attr(torch: Any) -> Any:
    return pytest.importorskip("captum.attr")


@pytest.fixture
def images(torch: Any) -> Any:
    return some_images(torch)


def difference(found: Any, expected: Any, record: Any) -> float:
    """The largest one, as a share of the largest value."""
    found, expected = found.double(), expected.detach().double()
    share = float((found - expected).abs().max() / expected.abs().max())
    record("largest_difference", share)
    return share


TARGET = [2, 0, 3]


def test_sensitivity_is_the_largest_saliency(torch: Any, attr: Any, images: Any, record_property: Any) -> None:
    model = small_classifier(torch)
    theirs = attr.Saliency(model).attribute(images.clone(), target=TARGET).max(dim=1).values
    ours = Attribution(model, Sensitivity(), softmax=True).attribute(images, target=TARGET).sum(dim=1)
    assert difference(ours, theirs, record_property) < EPSILON


def test_gradient_times_input_is_theirs(torch: Any, attr: Any, images: Any, record_property: Any) -> None:
    model = small_classifier(torch)
    theirs = attr.InputXGradient(model).attribute(images.clone(), target=TARGET).sum(dim=1)
    ours = Attribution(model, GradientTimesInput(), softmax=True).attribute(images, target=TARGET).sum(dim=1)
    assert difference(ours, theirs, record_property) < EPSILON


def test_gradients_of_probabilities_are_theirs(torch: Any, attr: Any, images: Any, record_property: Any) -> None:
    theirs = attr.InputXGradient(small_classifier(torch, softmax=True)).attribute(images.clone(), target=1).sum(dim=1)
    of_probability = GradientTimesInput(probability=True)
    for model, softmax in ((small_classifier(torch), True), (small_classifier(torch, softmax=True), False)):
        ours = Attribution(model, of_probability, softmax=softmax).attribute(images, target=1).sum(dim=1)
        assert difference(ours, theirs, record_property) < EPSILON


def test_integrated_gradients_are_theirs(torch: Any, attr: Any, images: Any, record_property: Any) -> None:
    model = small_classifier(torch)
    theirs = attr.IntegratedGradients(model).attribute(
        images, baselines=0.5, target=TARGET, n_steps=20, method="riemann_middle"
    )
    method = IntegratedGradients(baseline=0.5, steps=20)
    ours = Attribution(model, method, softmax=True).attribute(images, target=TARGET).sum(dim=1)
    assert difference(ours, theirs.sum(dim=1), record_property) < EPSILON


def test_occlusion_is_theirs(torch: Any, attr: Any, images: Any, record_property: Any) -> None:
    model = small_classifier(torch, softmax=True)
    theirs = attr.Occlusion(model).attribute(images, sliding_window_shapes=(3, 4, 4), target=TARGET, baselines=0.5)
    ours = Attribution(model, Occlusion(fill=0.5, size=4)).attribute(images, target=TARGET).sum(dim=1)
    # The same map in each channel.
    assert difference(ours, theirs[:, 0], record_property) < 10 * EPSILON


@pytest.mark.parametrize(
    "method",
    [
        GradientTimesInput(),
        IntegratedGradients(steps=3),
        Occlusion(size=3),
        PredictionDifference(k=2, l=4, samples=3),
        Rise(masks=20, cells=2),
        Sensitivity(),
        SmoothGrad(),
        UnivariateMarginal(),
    ],
    ids=lambda method: type(method).__name__,
)
def test_every_method_explains_a_torch_classifier(torch: Any, images: Any, method: Any) -> None:
    attribution = Attribution(small_classifier(torch), method, softmax=True)
    if hasattr(method, "fit"):
        attribution.fit(some_images(torch, 60))
    found = attribution.attribute(images, target=torch.tensor([1, 2, 3]))
    assert found.shape == images.shape
    assert (found.dtype, found.device) == (images.dtype, images.device)
    assert not found.requires_grad
    assert found.abs().max() > 0
    alone = attribution.attribute(images[1:2], target=torch.tensor(2))
    assert torch.allclose(found[1:2], alone, rtol=1e-4, atol=1e-6)


def test_captums_noise_tunnel_takes_it_for_its_own(torch: Any, attr: Any, images: Any) -> None:
    attribution = Attribution(small_classifier(torch, softmax=True), Occlusion(size=3))
    tunnel = attr.NoiseTunnel(attribution)
    found = tunnel.attribute(images, nt_type="smoothgrad", nt_samples=2, stdevs=0.0, target=1)
    assert torch.allclose(found, attribution.attribute(images, target=1), atol=1e-7)


def test_captums_metrics_take_its_maps(torch: Any, images: Any) -> None:
    metrics = pytest.importorskip("captum.metrics")
    model = small_classifier(torch, softmax=True)
    # Of single pixels, so that what several do together is about the sum.
    attribution = Attribution(model, Occlusion(fill=0.0, size=1))
    found = attribution.attribute(images, target=1)

    def removed(inputs: Any) -> tuple[Any, Any]:
        """Half of the pixels, at random, in all channels."""
        gone = (torch.rand(len(inputs), 1, *inputs.shape[2:]) < 0.5).expand_as(inputs)
        return gone.to(inputs.dtype), torch.where(gone, torch.zeros_like(inputs), inputs)

    torch.manual_seed(0)
    faithful = metrics.infidelity(model, removed, images, found, target=1, n_perturb_samples=50)
    torch.manual_seed(0)
    turned = metrics.infidelity(model, removed, images, -found, target=1, n_perturb_samples=50)
    assert (faithful < turned).all()
    torch.manual_seed(0)
    moved = metrics.sensitivity_max(attribution.attribute, images, perturb_radius=0.01, target=1, n_perturb_samples=2)
    assert moved.shape == (3,)
    assert ((moved > 0) & (moved < 1)).all()


def test_the_classifier_and_the_inputs_are_left_as_they_were(torch: Any, images: Any) -> None:
    model = small_classifier(torch)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept = images.clone().requires_grad_(True)
    for method in (GradientTimesInput(), Occlusion(size=4)):
        Attribution(model, method, softmax=True).attribute(kept, target=0)
    assert torch.equal(kept, images)
    assert kept.grad is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_double_precision_and_switched_off_gradients(torch: Any, images: Any) -> None:
    attribution = Attribution(small_classifier(torch).double(), GradientTimesInput(), softmax=True)
    expected = Attribution(small_classifier(torch), GradientTimesInput(), softmax=True).attribute(images, target=1)
    with torch.no_grad():
        found = attribution.attribute(images.double(), target=1)
    assert found.dtype == torch.float64
    assert torch.allclose(found.float(), expected, atol=1e-5)
    with torch.inference_mode():
        assert torch.allclose(attribution.attribute(images.double(), target=1).float(), expected, atol=1e-5)


def test_half_precision_is_the_classifiers_own(torch: Any, images: Any) -> None:
    model = small_classifier(torch).to(torch.bfloat16)
    found = Attribution(model, Occlusion(size=4), softmax=True).attribute(images.to(torch.bfloat16), target=1)
    assert found.dtype == torch.bfloat16


def test_modules_in_training_mode_that_draw_are_refused(torch: Any, images: Any) -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), small_classifier(torch, softmax=True)).train()
    with pytest.raises(NetworkError, match="evaluation mode"):
        Attribution(model, Occlusion(size=4)).attribute(images, target=1)


def test_functions_that_torch_cannot_differentiate_say_so(torch: Any, images: Any) -> None:
    def opaque(batch: Any) -> Any:
        return torch.from_numpy(small_classifier(torch, softmax=True)(batch).detach().numpy())

    Attribution(opaque, Occlusion(size=6)).attribute(images, target=1)
    with pytest.raises(NetworkError, match="that torch can differentiate") as error:
        Attribution(opaque, GradientTimesInput()).attribute(images, target=1)
    assert "\n" not in str(error.value)


def test_gradients_are_differences(torch: Any, images: Any) -> None:
    network = TorchNetwork(small_classifier(torch).double(), images[0].double(), softmax=True)
    x = images.numpy()
    step = np.random.default_rng(0).normal(0, 1e-3, x.shape).astype(np.float32)
    for blob in ("scores", "prob"):
        gradient = network.gradient(x, blob, 2, scale=2.0)
        change = 2 * (network.run(x + step, blob)[blob] - network.run(x - step, blob)[blob])[:, 2]
        np.testing.assert_allclose((2 * gradient * step).sum(axis=(1, 2, 3)), change, rtol=0.02, atol=1e-5)
    with pytest.raises(NetworkError, match="from 0 to 3"):
        network.gradient(x, "prob", 4)


def test_a_copy_of_a_network_of_torchs_gives_the_same(torch: Any) -> None:
    images = some_images(torch)
    network = TorchNetwork(small_classifier(torch), images[0], softmax=True)
    copied = deepcopy(network)
    batch, x = images.numpy(), images[0].numpy()
    np.testing.assert_array_equal(copied.run(batch, "prob")["prob"], network.run(batch, "prob")["prob"])
    np.testing.assert_array_equal(copied.gradient(x, "scores", 1), network.gradient(x, "scores", 1))
