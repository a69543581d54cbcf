"""torch's exports of the families of classifiers that people use: torch's own values and gradients."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path

import numpy as np
import pytest

from predict_diff.network.network import Network

torch = pytest.importorskip("torch")

from torch_classifiers import CLASSIFIERS  # noqa: E402

pytestmark = pytest.mark.strangers

#: Of the largest value, and of a gradient's length: float32's rounding through some dozen layers.
TOLERANCE = 1e-5

HAS_NEWER = importlib.util.find_spec("onnxscript") is not None
EXPORTERS = [
    pytest.param({"dynamo": False, "opset_version": 17}, id="older exporter"),
    pytest.param(
        {"dynamo": True, "external_data": False},
        id="newer exporter",
        marks=pytest.mark.skipif(not HAS_NEWER, reason="onnxscript is not installed"),
    ),
]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_values_and_gradients_are_those_of_torch(name: str, exporter: dict[str, object], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = CLASSIFIERS[name]().eval()
    with torch.no_grad():
        for value in (*module.parameters(), *(each for each in module.buffers() if each.is_floating_point())):
            if value.ndim == 1:  # scales, shifts and statistics, which begin as ones and zeros
                value.copy_(torch.rand_like(value) + 0.5)
    images = torch.randn(2, 3, 32, 32)
    if exporter["dynamo"]:
        batch = {"dynamic_shapes": ({0: torch.export.Dim("N")},)}
    else:
        batch = {"dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters', about themselves
        file = tmp_path / "network.onnx"
        torch.onnx.export(module, (images,), file, input_names=["x"], output_names=["y"], **batch, **exporter)
    network = Network(file, "cpu", threads=1)

    module, images = module.double(), images.double().requires_grad_()
    values = module(images)
    (expected,) = torch.autograd.grad(values[:, 3].sum(), images)
    found = network.gradient(images.detach().numpy().astype(np.float32), "y", 3)
    value_error = np.abs(network.run(images.detach().numpy(), "y")["y"] - values.detach().numpy()).max()
    relative = [value_error / values.abs().max().item()]
    relative.append(float(np.linalg.norm(found - expected.numpy()) / np.linalg.norm(expected)))
    print(f"{name}: values {relative[0]:.1e} of the largest, gradient {relative[1]:.1e} relative in L2")
    assert max(relative) < TOLERANCE
