"""What a home with one tiny network is made of, so that an explanation takes milliseconds; how a command ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from predict_diff.caffe.caffe_pb2 import NetParameter
from predict_diff.result import RelevanceMap

PROJECT = Path(__file__).parents[2]

#: 36 windows.
CHEAP = ("--k", "6", "--l", "8", "--stride", "6", "--samples", "2", "--provider", "cpu")

#: Pixels along a side of the tiny network's input.
SIZE = 32

DESCRIPTION = f"""\
name: "tiny"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: {SIZE} dim: {SIZE} }} }} }}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 4 kernel_size: 5 stride: 3 }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv1" top: "fc" inner_product_param {{ num_output: 3 }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""

LABELS = "n00000001 first class, one\nn00000002 second class, two\nn00000003 third class, three\n"


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def files(self) -> list[Path]:
        """The files that it says it wrote."""
        return [Path(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        """The one line that says what was wrong; whatever stands before it is what was logged of earlier steps."""
        lines = self.err.splitlines()
        found = [line for line in lines if line.startswith("reproduce: ")]
        assert self.code == 2, self.err
        assert found == lines[-1:], self.err
        assert "Traceback" not in self.err
        return found[0].removeprefix("reproduce: ")


Reproduce = Callable[..., Outcome]


def tiny_weights(seed: int = 0, scale: float = 1.0) -> bytes:
    """A .caffemodel for the tiny network; at scale 1 probabilities stay clear of 0 and 1."""
    generator = np.random.default_rng(seed)
    net = NetParameter(name="tiny")
    side = (SIZE - 5) // 3 + 1
    for name, kind, shapes in (
        ("conv1", "Convolution", [(4, 3, 5, 5), (4,)]),
        ("fc", "InnerProduct", [(3, 4 * side * side), (3,)]),
    ):
        layer = net.layer.add(name=name, type=kind)
        for shape in shapes:
            blob = layer.blobs.add()
            blob.shape.dim.extend(shape)
            values = generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) / (10 if name == "conv1" else 3)
            blob.data.extend((scale * values).ravel().tolist())
    return net.SerializeToString(deterministic=True)


def card(name: str, weights: bytes, **fields: Any) -> dict[str, Any]:
    """The card of a tiny network, whose weights no server has."""
    return {
        "name": name,
        "title": name.capitalize(),
        "kind": "paper",
        "licence": "nobody's",
        "input_size": SIZE,
        "preprocessing": {
            "resize": "square",
            "mean": [100.0, 110.0, 120.0],
            "raw_scale": 255,
            "channel_order": "BGR",
        },
        "blobs": {
            "output": "prob",
            "penultimate": "fc",
            "convolutional": {"early": "conv1", "middle": "conv1", "last": "conv1"},
        },
        "labels": "data/tiny_labels.txt",
        "accuracy": {"top1": 33.3, "source": "chance"},
        "weights": {
            "file": f"{name}.caffemodel",
            "bytes": len(weights),
            "sha256": hashlib.sha256(weights).hexdigest(),
            "urls": [f"http://127.0.0.1:1/{name}.caffemodel"],
        },
        **fields,
    }


def add_network(home: Path, name: str, weights: bytes | None = None, present: bool = True, **fields: Any) -> Path:
    """Put a tiny network into a home; its folder."""
    folder = home / "models" / name
    folder.mkdir(parents=True)
    weights = tiny_weights() if weights is None else weights
    described = card(name, weights, **fields)
    (folder / "model.yaml").write_text(yaml.safe_dump(described))
    (folder / "deploy.prototxt").write_text(DESCRIPTION)
    if present:
        (folder / described["weights"]["file"]).write_bytes(weights)
    return folder


def noise(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """A photo of smooth noise; (H, W, 3), uint8."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def maps(out: str | Path = "results") -> dict[str, RelevanceMap]:
    """The maps in a folder for results, one of each sampler."""
    found = {path.stem.split("-")[-2]: RelevanceMap.load(path) for path in Path(out).glob("maps/*.h5")}
    assert len(found) == len(list(Path(out).glob("maps/*")))
    return found
