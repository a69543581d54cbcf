"""Networks of random layers, joined at random, whose shapes fit."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from gradient_cases import network

Plane = tuple[int, int, int]


def random_network(seed: int, layers: int = 9, units: int = 5) -> onnx.ModelProto:
    """A network from x, shape (N, 4, 7, 8), to y, shape (N, units)."""
    builder = _Builder(np.random.default_rng(seed))
    kinds = [
        builder.convolution,
        builder.pool,
        builder.neuron,
        builder.join,
        builder.concat,
        builder.gate,
        builder.normalisation,
        builder.slice,
    ]
    for _ in range(layers):
        kinds[builder.rng.integers(len(kinds))](*builder.pick())
    last, shape = list(builder.shapes.items())[-1]
    builder.lines += [f"flat = Flatten({last})", f"y = Gemm(flat, {builder.weight(int(np.prod(shape)), units)})"]
    return network("\n".join(builder.lines), "float[N,4,7,8] x", weights=builder.weights)


@dataclass
class _Builder:
    rng: np.random.Generator
    lines: list[str] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, Plane] = field(default_factory=lambda: {"x": (4, 7, 8)})

    def pick(self) -> tuple[str, Plane]:
        """One of the latest values."""
        name = str(self.rng.choice(list(self.shapes)[-3:]))
        return name, self.shapes[name]

    def weight(self, *shape: int) -> str:
        return self.constant(self.rng.standard_normal(shape).astype(np.float32) / np.sqrt(np.prod(shape[1:])))

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array, dtype=np.float32 if array.dtype.kind == "f" else np.int64)
        return name

    def add(self, operator: str, shape: Plane) -> None:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {operator}")
        self.shapes[name] = shape

    def neuron(self, x: str, shape: Plane) -> None:
        self.add(f"{self.rng.choice(['Relu', 'Tanh', 'Softplus', 'Elu'])}({x})", shape)

    def convolution(self, x: str, shape: Plane) -> None:
        channels, height, width = shape
        stride, begin, end, group = (int(number) for number in self.rng.integers([1, 1, 1, 1], [3, 3, 4, 3]))
        group = group if channels % group == 0 else 1
        weights, bias = self.weight(2 * group, channels // group, 3, 2), self.weight(2 * group)
        attributes = f"kernel_shape=[3,2], strides=[{stride},2], pads=[{begin},0,{end},1], group={group}"
        sizes = (2 * group, (height + begin + end - 3) // stride + 1, (width - 1) // 2 + 1)
        self.add(f"Conv<{attributes}>({x}, {weights}, {bias})", sizes)

    def pool(self, x: str, shape: Plane) -> None:
        channels, height, width = shape
        kind = self.rng.choice(["MaxPool<", "AveragePool<count_include_pad=1, "])
        attributes = "kernel_shape=[3,3], strides=[2,1], pads=[1,1,1,1]"
        self.add(f"{kind}{attributes}>({x})", (channels, (height - 1) // 2 + 1, width))

    def join(self, x: str, shape: Plane) -> None:
        other = self.rng.choice([name for name, candidate in self.shapes.items() if candidate == shape])
        self.add(f"{self.rng.choice(['Add', 'Sub', 'Mul', 'Max'])}({x}, {other})", shape)

    def concat(self, x: str, shape: Plane) -> None:
        other = str(self.rng.choice([name for name, candidate in self.shapes.items() if candidate[1:] == shape[1:]]))
        self.add(f"Concat<axis=1>({x}, {other})", (shape[0] + self.shapes[other][0], *shape[1:]))

    def gate(self, x: str, shape: Plane) -> None:
        number = len(self.lines)
        self.lines.append(f"m{number} = ReduceMean({x}, {self.constant(np.array([2, 3]))})")
        self.lines.append(f"s{number} = Sigmoid(m{number})")
        self.add(f"Mul(s{number}, {x})", shape)

    def normalisation(self, x: str, shape: Plane) -> None:
        scale, shift, mean = (self.weight(shape[0]) for _ in range(3))
        variance = self.constant(np.exp(self.rng.standard_normal(shape[0])))
        self.add(f"BatchNormalization({x}, {scale}, {shift}, {mean}, {variance})", shape)

    def slice(self, x: str, shape: Plane) -> None:
        start = min(1, shape[0] - 1)
        first, end, axis = (self.constant(np.array([number])) for number in (start, shape[0], 1))
        self.add(f"Slice({x}, {first}, {end}, {axis})", (shape[0] - start, *shape[1:]))
