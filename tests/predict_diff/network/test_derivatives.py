"""Each operator's rule, against differences of ONNX's reference implementation and literal transcriptions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx
import pytest
from gradient_cases import gradient, jacobian, jacobian_by_differences, network, normal, run

from predict_diff.errors import NetworkError
from predict_diff.network.gradient import gradient_model

# Name: the operators that make y from x (1 photo of 3 x 4 values, of both signs), and their weights.
SMOOTH = {
    "LeakyRelu": ("y = LeakyRelu<alpha=0.2>(x)", {}),
    "Relu": ("y = Relu(x)", {}),
    "PRelu": ("y = PRelu(x, slope)", {"slope": normal(3, 1)}),
    "PRelu whose slope depends on x": ("s = ReduceSum(x, last)\n y = PRelu(x, s)", {"last": [-1]}),
    "Elu": ("y = Elu<alpha=0.7>(x)", {}),
    "Selu": ("y = Selu(x)", {}),
    "Selu of other slopes": ("y = Selu<alpha=1.2, gamma=0.8>(x)", {}),
    "Celu": ("y = Celu<alpha=0.6>(x)", {}),
    "ThresholdedRelu": ("y = ThresholdedRelu<alpha=0.4>(x)", {}),
    "Softsign": ("y = Softsign(x)", {}),
    "Gelu by tanh": ('y = Gelu<approximate="tanh">(x)', {}),
    "Mish": ("y = Mish(x)", {}),
    "Sigmoid": ("y = Sigmoid(x)", {}),
    "Tanh": ("y = Tanh(x)", {}),
    "Softplus": ("y = Softplus(x)", {}),
    "HardSigmoid": ("y = HardSigmoid<alpha=0.6, beta=0.4>(x)", {}),
    "HardSwish": ("wide = Mul(x, four)\n y = HardSwish(wide)", {"four": np.float32(4)}),
    "Swish": ("s = Sigmoid(x)\n y = Mul(x, s)", {}),
    "Clip": ("y = Clip(x, low, high)", {"low": np.float32(-0.5), "high": np.float32(0.8)}),
    "Clip from above": ("y = Clip(x, , high)", {"high": np.float32(0.3)}),
    "Softmax": ("y = Softmax(x)", {}),
    "Softmax over channels": ("y = Softmax<axis=1>(x)", {}),
    "LogSoftmax": ("y = LogSoftmax<axis=-2>(x)", {}),
    "Add, x broadcast": ("s = ReduceSum(x, last)\n y = Add(x, s)", {"last": [-1]}),
    "Sub, both ways": ("s = ReduceSum<keepdims=0>(x, axes)\n a = Sub(s, x)\n y = Sub(a, s)", {"axes": [0, 1]}),
    "Mul, x broadcast": ("s = ReduceMean(x, axes)\n y = Mul(s, x)", {"axes": [1, 2]}),
    "Div": ("e = Exp(x)\n s = ReduceSum(e, axes)\n y = Div(x, s)", {"axes": [1]}),
    "Div by x": ("e = Exp(x)\n y = Div(w, e)", {"w": normal(3, 1)}),
    "Pow of 3": ("y = Pow(x, three)", {"three": np.float32(3)}),
    "Pow of an integer": ("y = Pow(x, two)", {"two": np.int64(2)}),
    "Pow of 0": ("y = Pow(x, zero)", {"zero": np.float32(0)}),
    "Pow of a fraction": ("e = Exp(x)\n y = Pow(e, p)", {"p": np.float32(-0.75)}),
    "Pow with x above": ("y = Pow(base, x)", {"base": np.float32(2)}),
    "Sum": ("s = Sigmoid(x)\n y = Sum(x, s, w, x)", {"w": normal(3, 4)}),
    "Mean": ("s = Sigmoid(x)\n y = Mean(x, s, w)", {"w": normal(3, 4)}),
    "Max": ("n = Neg(x)\n s = Sigmoid(x)\n y = Max(x, n, s)", {}),
    "Min, broadcast": ("s = ReduceMean(x, axes)\n y = Min(s, x, w)", {"axes": [2], "w": normal(4)}),
    "Max of one": ("y = Max(x)", {}),
    "Exp and Log": ("e = Exp(x)\n p = Add(e, one)\n y = Log(p)", {"one": np.float32(1)}),
    "Abs": ("y = Abs(x)", {}),
    "Sqrt and Reciprocal": ("e = Exp(x)\n s = Sqrt(e)\n y = Reciprocal(s)", {}),
    "Where": ("c = Greater(x, w)\n t = Tanh(x)\n y = Where(c, t, w)", {"w": normal(4)}),
    "Where, x broadcast": ("s = ReduceSum(x, axes)\n y = Where(c, s, x)", {"axes": [1], "c": normal(3, 4) > 0}),
    "Identity and Dropout": ("i = Identity(x)\n d, mask = Dropout(i)\n y = Tanh(d)", {}),
    "Dropout that is told so": ("y = Dropout(x, half, no)", {"half": np.float32(0.5), "no": np.bool_(False)}),
    "Reshape": ("r = Reshape(x, s)\n y = Tanh(r)", {"s": [0, 2, -1]}),
    "Flatten": ("f = Flatten(x)\n y = Tanh(f)", {}),
    "Flatten within a photo": ("f = Flatten<axis=2>(x)\n t = Tanh(f)\n y = Reshape(t, s)", {"s": [-1, 3, 4]}),
    "Unsqueeze and Squeeze": ("u = Unsqueeze(x, a)\n t = Tanh(u)\n y = Squeeze(t, a)", {"a": [1, -1]}),
    "Transpose": ("y = Transpose<perm=[0,2,1]>(x)", {}),
    "Transpose, back to front": ("t = Transpose(x)\n y = Transpose<perm=[2,1,0]>(t)", {}),
    "Transpose in a circle": ("u = Unsqueeze(x, a)\n y = Transpose<perm=[0,2,3,1]>(u)", {"a": [1]}),
    "Expand": ("s = ReduceSum(x, last)\n y = Expand(s, sizes)", {"last": [2], "sizes": [1, 3, 2]}),
    "Concat": ("t = Tanh(x)\n y = Concat<axis=-1>(t, x)", {}),
    "Concat of one": ("y = Concat<axis=1>(x)", {}),
    "Split, all parts": ("a, b = Split<axis=2>(x, parts)\n s = Sum(a, b, b)\n y = Tanh(s)", {"parts": [2, 2]}),
    "Split, one part": ("a, b, c = Split<axis=1, num_outputs=3>(x)\n y = Tanh(b)", {}),
    "Slice": ("y = Slice(x, s, e, a)", {"s": [1, 0], "e": [3, -1], "a": [1, 2]}),
    "Slice backwards": ("y = Slice(x, s, e, a, d)", {"s": [-1], "e": [-9], "a": [2], "d": [-2]}),
    "Gather": ("y = Gather<axis=1>(x, i)", {"i": [[2, 0], [-1, 2]]}),
    "Gather of one": ("y = Gather<axis=2>(x, i)", {"i": np.int64(1)}),
    "GatherND": (
        "t = Transpose<perm=[1,2,0]>(x)\n g = GatherND(t, i)\n y = Transpose<perm=[1,0]>(g)",
        {"i": [[2, 1], [0, 3], [2, 1]]},
    ),
    "Tile": ("y = Tile(x, r)", {"r": [1, 2, 3]}),
    "Pad": ("y = Pad(x, p, v)", {"p": [0, 1, 2, 0, 0, 1], "v": np.float32(7)}),
    "Pad, reflected": ('y = Pad<mode="reflect">(x, p)', {"p": [0, 1, 2, 0, 2, 1]}),
    "Pad, edge": ('y = Pad<mode="edge">(x, p)', {"p": [0, 1, 2, 0, 0, 0]}),
    "ReduceSum without axes": (
        "u = Unsqueeze(x, a)\n s = ReduceSum<noop_with_empty_axes=1>(u)\n y = Tanh(s)",
        {"a": [1]},
    ),
    "ReduceMean": ("y = ReduceMean(x, a)", {"a": [1, 2]}),
    "ReduceMean, axes dropped": ("y = ReduceMean<keepdims=0>(x, a)", {"a": [-2]}),
    "ReduceL1": ("y = ReduceL1(x, a)", {"a": [-1]}),
    "ReduceL2": ("y = ReduceL2<keepdims=0>(x, a)", {"a": [1]}),
    "ReduceSumSquare": ("y = ReduceSumSquare(x, a)", {"a": [1, 2]}),
    "ReduceLogSumExp": ("y = ReduceLogSumExp<keepdims=0>(x, a)", {"a": [2]}),
    "ReduceMax": ("y = ReduceMax(x, a)", {"a": [-2]}),
    "ReduceMax over several axes": ("y = ReduceMax<keepdims=0>(x, a)", {"a": [2, 1]}),
    "ReduceMin": ("y = ReduceMin<keepdims=0>(x, a)", {"a": [1]}),
    "ReduceMin of none": ("m = ReduceMin<noop_with_empty_axes=1>(x)\n y = Tanh(m)", {}),
    "GlobalAveragePool": ("y = GlobalAveragePool(x)", {}),
    "GlobalMaxPool": ("u = Unsqueeze(x, a)\n y = GlobalMaxPool(u)", {"a": [1]}),
    "BatchNormalization": (
        "y = BatchNormalization<epsilon=0.01>(x, s, b, m, v)",
        {"s": normal(3), "b": normal(3), "m": normal(3, seed=1), "v": np.exp(normal(3))},
    ),
    "Gemm": ("f = Flatten(x)\n y = Gemm<alpha=2.0, beta=0.5>(f, b, c)", {"b": normal(12, 5), "c": normal(5)}),
    "Gemm, B transposed": ("f = Flatten(x)\n y = Gemm<transB=1>(f, b)", {"b": normal(5, 12)}),
    "MatMul": ("y = MatMul(x, w)", {"w": normal(4, 5)}),
    "MatMul from the left": ("y = MatMul(w, x)", {"w": normal(5, 3)}),
    "MatMul by a vector": ("y = MatMul(x, w)", {"w": normal(4)}),
    "MatMul of a vector": ("y = MatMul(w, x)", {"w": normal(3)}),
    "MatMul with itself": ("t = Transpose<perm=[0,2,1]>(x)\n y = MatMul(x, t)", {}),
    "Einsum of two": ('y = Einsum<equation="nij,jk->nik">(x, w)', {"w": normal(4, 5)}),
    "Einsum of x with itself": ('y = Einsum<equation="nij, nkj -> nik">(x, x)', {}),
    "Einsum of three": ('y = Einsum<equation="nij,jk,i->nki">(x, w, r)', {"w": normal(4, 2), "r": normal(3)}),
    "Einsum that sums what one operand has": ('y = Einsum<equation="nij,k->ni">(x, w)', {"w": normal(2)}),
    "Einsum that repeats": ('t = Tanh(x)\n y = Einsum<equation="nij,nij->nij">(t, w)', {"w": normal(1, 3, 1)}),
    "Einsum, x repeated": (
        's = ReduceSum(x, last)\n y = Einsum<equation="nij,nij->nji">(x, s)',
        {"last": [2]},
    ),
    "Einsum with an ellipsis, without output": ('y = Einsum<equation="...bc,cd">(x, w)', {"w": normal(4, 5)}),
    "Einsum of one": ('y = Einsum<equation="nij->nji">(x)', {}),
    "Einsum without output": ('y = Einsum<equation="abc,cd">(x, w)', {"w": normal(4, 2)}),
    "Einsum with an ellipsis": ('y = Einsum<equation="...ij,jk->...ik">(x, w)', {"w": normal(4, 5)}),
    "Conv, 1-D": ("y = Conv<pads=[1,1], strides=[2]>(x, w, b)", {"w": normal(2, 3, 3), "b": normal(2)}),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_rule_agrees_with_differences(name: str) -> None:
    body, weights = SMOOTH[name]
    model = network(body, weights=weights)
    x = normal(3, 4, seed=5)
    expected = jacobian_by_differences(model, x)
    np.testing.assert_allclose(jacobian(model, x), expected, rtol=0, atol=2e-6 * max(np.abs(expected).max(), 1))


def test_erf_has_the_slope_of_the_bell_curve() -> None:
    x, upstream = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    expected = upstream * 2 / np.sqrt(np.pi) * np.exp(-(x**2))
    np.testing.assert_allclose(gradient(network("y = Erf(x)"), x, upstream), expected, atol=1e-6)


def test_gelu_has_the_slope_of_its_definition() -> None:
    x, upstream = 3 * normal(2, 3, 4), normal(2, 3, 4, seed=1)
    below = np.vectorize(lambda number: 0.5 * math.erfc(-number / math.sqrt(2)))(x.astype(np.float64))
    slope = below + x * np.exp(-(x.astype(np.float64) ** 2) / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(gradient(network("y = Gelu(x)"), x, upstream), upstream * slope, atol=2e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.7])
def test_swish_has_the_slope_of_its_definition(alpha: float) -> None:
    x, upstream = 3 * normal(2, 3, 4), normal(2, 3, 4, seed=1)
    sigmoid = 1 / (1 + np.exp(-alpha * x.astype(np.float64)))
    found = gradient(network(f"y = Swish<alpha={alpha}>(x)", opset=24), x, upstream)
    np.testing.assert_allclose(found, upstream * (sigmoid + alpha * x * sigmoid * (1 - sigmoid)), atol=2e-6)


@pytest.mark.parametrize("opset", [17, 18, 22])
def test_of_equal_maxima_along_axes_the_first_takes_all(opset: int) -> None:
    body = "y = ReduceMax<axes=[1,3]>(x)" if opset < 18 else "y = ReduceMax(x, a)"
    model = network(body, "float[N,2,2,2] x", weights={} if opset < 18 else {"a": [3, 1]}, opset=opset)
    x = np.array([[[[1, 3], [2, 2]], [[3, 3], [0, 2]]]], np.float32)
    found = gradient(model, x, np.array([[[[5], [7]]]], np.float32))
    np.testing.assert_array_equal(found, [[[[0, 5], [7, 0]], [[0, 0], [0, 0]]]])


def test_a_norm_has_no_slope_where_all_is_zero() -> None:
    model = network("y = ReduceL2(x, a)", weights={"a": [2]})
    x = np.zeros((1, 3, 4), np.float32)
    x[0, 1] = [3, 0, 4, 0]
    found = gradient(model, x, np.full((1, 3, 1), 5, np.float32))
    np.testing.assert_allclose(found, [[[0] * 4, [3, 0, 4, 0], [0] * 4]], rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("DepthToSpace<blocksize=2>(x)", (8, 3, 2)),
        ('DepthToSpace<blocksize=2, mode="CRD">(x)', (8, 3, 2)),
        ('DepthToSpace<blocksize=3, mode="CRD">(x)', (18, 1, 2)),
        ("SpaceToDepth<blocksize=2>(x)", (3, 4, 6)),
    ],
)
def test_blocks_of_pixels_go_back_to_their_channels(body: str, shape: tuple[int, ...]) -> None:
    assert_adjoint(network(f"y = {body}", f"float[N,{','.join(map(str, shape))}] x"), (2, *shape))


ATTENTION = {
    "alone": ("is_causal=0", [(2, 5, 3), (2, 5, 3), (2, 5, 3)], None),
    "other keys and values": ("scale=0.3", [(2, 5, 3), (2, 4, 3), (2, 4, 6)], None),
    "causal": ("is_causal=1", [(2, 5, 3), (2, 5, 3), (2, 5, 3)], None),
    "with a mask": ("is_causal=0", [(2, 5, 3), (2, 4, 3), (2, 4, 3)], normal(5, 4)),
    "with a mask of flags": ("is_causal=0", [(2, 3, 3), (2, 4, 3), (2, 4, 3)], np.tril(np.ones((3, 4), bool))),
    "heads that share keys": ("is_causal=0", [(4, 5, 3), (2, 5, 3), (2, 5, 3)], None),
}


def attention(scale: float, causal: bool, mask: np.ndarray | None, q: np.ndarray, k: np.ndarray, v: np.ndarray):
    """softmax(scale q k^T + mask) v for each head; Vaswani et al. 2017, eq. 1."""
    shared = len(q) // len(k)
    k, v = np.repeat(k, shared, axis=0), np.repeat(v, shared, axis=0)
    scores = scale * q @ k.transpose(0, 2, 1)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ v


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_agrees_with_differences_of_its_definition(name: str) -> None:
    attributes, shapes, mask = ATTENTION[name]
    inputs = ", ".join(f"float[N,{','.join(map(str, shape))}] {x}" for x, shape in zip("qkv", shapes, strict=True))
    body = f"y = Attention<{attributes}>(q, k, v{'' if mask is None else ', mask'})"
    model = network(body, inputs, weights={} if mask is None else {"mask": mask}, opset=23)
    scale = 0.3 if "scale" in attributes else 3**-0.5
    given = [normal(*shape, seed=seed).astype(np.float64) for seed, shape in enumerate(shapes)]
    upstream = normal(*shapes[0][:2], shapes[2][2], seed=9)
    feeds = {x: array[None].astype(np.float32) for x, array in zip("qkv", given, strict=True)}
    found = run(gradient_model(model, "y"), feeds | {"upstream/y": upstream[None]})
    for position, x in enumerate("qkv"):
        expected = np.zeros(given[position].shape)
        for place in np.ndindex(*expected.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [array.copy() for array in given]
                moved[position][place] += step
                sides.append((attention(scale, "is_causal=1" in attributes, mask, *moved) * upstream).sum())
            expected[place] = (sides[0] - sides[1]) / 2e-6
        np.testing.assert_allclose(found[f"gradient/{x}"][0], expected, atol=5e-6)


def test_attention_whose_definition_asks_for_unknown_types_says_so() -> None:
    model = network("m = Elsewhere(x)\n y = Attention(x, x, x, m)", "float[N,2,5,3] x", opset=23)
    model.graph.node[0].domain = "elsewhere"
    model.opset_import.append(onnx.helper.make_opsetid("elsewhere", 1))
    with pytest.raises(NetworkError, match=r"net: expected Attention as the standard defines it.*export the network"):
        gradient_model(model, "y")


def test_attention_keeps_weights_once() -> None:
    body = "p = MatMul(x, w)\n y = Attention(p, x, x)"
    found = gradient_model(network(body, "float[N,2,5,3] x", weights={"w": normal(3, 3)}, opset=23), "y")
    assert [tensor.name for tensor in found.graph.initializer].count("w") == 1
    onnx.checker.check_model(found, full_check=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('y = Einsum<equation="nii->n">(x)', "no letter twice"),
        ('y = Einsum<equation="...ij,j->...j">(x, w)', "beside a sum over one operand"),
        (
            "a = ReduceMax<keepdims=0>(x)\n c = Cast<to=7>(a)\n r = Reshape(c, one)\n y = ReduceMax(x, r)",
            "constant axes",
        ),
    ],
)
def test_forms_without_a_rule_say_what_was_expected(body: str, message: str) -> None:
    model = network(body, "float[N,3,3] x", weights={"w": normal(3), "one": [1]})
    with pytest.raises(NetworkError, match=f"net: operator .* of 'y': cannot be differentiated: .*{message}"):
        gradient_model(model, "y")


def test_an_operand_that_was_repeated_along_new_axes_receives_the_sum() -> None:
    w, upstream = normal(2, 1, 3, 1), normal(2, 5, 3, 4)
    found = gradient(network("y = Mul(x, w)", weights={"w": w}), normal(5, 3, 4), upstream)
    np.testing.assert_allclose(found, (w * upstream).sum(0), rtol=1e-5, atol=1e-6)


def test_padding_that_crops_gives_the_cropped_pixels_no_diff() -> None:
    model = network("y = Pad(x, p, , a)", weights={"p": [1, -2], "a": [2]})
    upstream = normal(1, 3, 3)
    expected = np.concatenate([upstream[..., 1:], np.zeros((1, 3, 2))], axis=2)
    np.testing.assert_array_equal(gradient(model, normal(1, 3, 4), upstream), expected)


@pytest.mark.parametrize("parameters", [(1, 1e-2, 0.75, 1.0), (3, 0.9, 0.6, 1.5), (5, 2.0, 0.75, 2.0)])
def test_lrn_agrees_with_differences_of_its_definition(parameters: tuple) -> None:
    size, alpha, beta, bias = parameters

    def lrn(x: np.ndarray) -> np.ndarray:
        squares = np.pad(x**2, ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
        sums = sum(squares[:, i : i + x.shape[1]] for i in range(size))
        return x * (bias + alpha / size * sums) ** -beta

    x, upstream = normal(2, 7, 2, 3), normal(2, 7, 2, 3, seed=1)
    model = network(f"y = LRN<size={size}, alpha={alpha}, beta={beta}, bias={bias}>(x)", inputs="float[N,7,2,3] x")
    moves = 1e-6 * np.eye(x.size).reshape(x.size, *x.shape)
    expected = [((lrn(x + move) - lrn(x - move)) * upstream).sum() / 2e-6 for move in moves.astype(np.float64)]
    np.testing.assert_allclose(gradient(model, x, upstream).ravel(), expected, atol=2e-6)


# Convolutions and averages are linear in x: <upstream, y(v) - y(0)> = <gradient, v> for any v.
CONVOLUTIONS = [
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 0]},
    {"kernel_shape": [4, 4], "strides": [3, 2], "pads": [0, 2, 3, 1], "group": 2},
    {"kernel_shape": [2, 3], "strides": [1, 2], "dilations": [3, 2], "pads": [2, 1, 0, 2]},
    {"kernel_shape": [1, 1], "strides": [4, 4], "group": 4},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "group": 4},
    {"kernel_shape": [5, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 4], "strides": [2, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"},
    {"kernel_shape": [3], "strides": [2], "pads": [0, 1]},
    {"kernel_shape": [2, 3, 2], "strides": [2, 1, 3], "pads": [1, 1, 0, 0, 2, 1], "group": 2},
]


def text(attributes: dict) -> str:
    """Attributes in ONNX's text format."""
    quoted = {name: f'"{value}"' if isinstance(value, str) else value for name, value in attributes.items()}
    return ", ".join(f"{name}={value}" for name, value in quoted.items())


def assert_adjoint(model: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    """That the gradient of a linear network is its transpose."""
    x, v = normal(*shape), normal(*shape, seed=1)
    moved = run(model, {"x": v})["y"].astype(np.float64) - run(model, {"x": np.zeros_like(v)})["y"]
    upstream = normal(*moved.shape, seed=2)
    found = gradient(model, x, upstream)
    scale = np.linalg.norm(found) * np.linalg.norm(v)
    assert abs((upstream * moved).sum() - (found.astype(np.float64) * v).sum()) < 1e-6 * scale


@pytest.mark.parametrize("attributes", CONVOLUTIONS, ids=text)
@pytest.mark.parametrize("sizes", [(8, 9, 7), (7, 10, 8), (9, 8, 6)])
def test_convolution_is_transposed(attributes: dict, sizes: tuple[int, ...]) -> None:
    kernel = attributes["kernel_shape"]
    shape = (2, 4, *sizes[: len(kernel)])
    weights = {"w": normal(8, 4 // attributes.get("group", 1), *kernel), "b": normal(8)}
    model = network(
        f"y = Conv<{text(attributes)}>(x, w, b)", f"float[N,{','.join(map(str, shape[1:]))}] x", "y", weights
    )
    assert_adjoint(model, shape)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [3, 1], "pads": [0, 1, 2, 0], "group": 2},
        {"strides": [1, 2], "dilations": [2, 1]},
    ],
    ids=text,
)
def test_transposed_convolution_is_transposed_back(attributes: dict) -> None:
    weights = {"w": normal(4, 6 // attributes.get("group", 1), 3, 4), "b": normal(6)}
    model = network(f"y = ConvTranspose<{text(attributes)}>(x, w, b)", "float[N,4,5,6] x", "y", weights)
    assert_adjoint(model, (2, 4, 5, 6))


def windows(axes: int) -> list[dict]:
    """Pools of all kinds: overlapping and apart, evenly and unevenly padded, rounded up and down."""
    chosen = []
    for kernel, stride, begin, end, ceil in itertools.product((2, 3), (1, 2, 3, 4), (0, 1), (0, 1), (0, 1)):
        pads = [begin] * axes + [end] * axes
        chosen.append({"kernel_shape": [kernel] * axes, "strides": [stride] * axes, "pads": pads, "ceil_mode": ceil})
    return chosen


@pytest.mark.parametrize("opset", [13, 22])
@pytest.mark.parametrize("count_include_pad", [0, 1])
@pytest.mark.parametrize("size", [8, 9, 10, 11])
def test_average_pooling_gives_back_what_it_divided_by(size: int, count_include_pad: int, opset: int) -> None:
    for window in windows(2)[:: 1 if size < 10 else 3]:
        body = f"y = AveragePool<{text(window)}, count_include_pad={count_include_pad}>(x)"
        assert_adjoint(network(body, f"float[N,2,{size},{size - 1}] x", opset=opset), (2, 2, size, size - 1))


@pytest.mark.parametrize(
    "body",
    [
        "AveragePool<kernel_shape=[3], strides=[2], ceil_mode=1>(x)",
        "AveragePool<kernel_shape=[3,3], strides=[2,2], dilations=[2,1], pads=[1,0,2,1], ceil_mode=1>(x)",
        "AveragePool<kernel_shape=[2,3,2], strides=[2,2,1], pads=[1,1,0,0,1,1], count_include_pad=1>(x)",
        'AveragePool<kernel_shape=[3,2], strides=[2,3], auto_pad="SAME_UPPER">(x)',
        'AveragePool<kernel_shape=[3,2], strides=[2,3], auto_pad="SAME_LOWER", count_include_pad=1>(x)',
    ],
)
def test_average_pooling_of_other_forms(body: str) -> None:
    sizes = (8, 7, 6)[: body.split("]")[0].count(",") + 1]
    model = network(f"y = {body}", f"float[N,2,{','.join(map(str, sizes))}] x")
    assert_adjoint(model, (2, 2, *sizes))


def max_pooling_backward(x: np.ndarray, upstream: np.ndarray, window: dict) -> np.ndarray:
    """Caffe's loop: each window's diff goes to the first of its maxima, row by row."""
    found = np.zeros_like(x)
    sizes, axes = x.shape[2:], len(window["kernel_shape"])
    for place in np.ndindex(upstream.shape):
        starts = [o * s - p for o, s, p in zip(place[2:], window["strides"], window["pads"][:axes], strict=True)]
        best, owner = -np.inf, None
        for offset in np.ndindex(*window["kernel_shape"]):
            pixel = (*place[:2], *(start + step for start, step in zip(starts, offset, strict=True)))
            inside = all(0 <= q < size for q, size in zip(pixel[2:], sizes, strict=True))
            if inside and x[pixel] > best:
                best, owner = x[pixel], pixel
        found[owner] += upstream[place]
    return found


@pytest.mark.parametrize("opset", [13, 22])
@pytest.mark.parametrize("sizes", [(9,), (8,), (9, 8), (7, 10), (5, 4, 6)])
def test_max_pooling_sends_the_diff_to_the_first_maximum(sizes: tuple[int, ...], opset: int) -> None:
    # Few different, negative values: many ties, and padding must not win.
    x = np.random.default_rng(0).integers(-4, 0, (2, 2, *sizes)).astype(np.float32)
    for window in windows(len(sizes))[:: 1 if len(sizes) < 3 else 5]:
        inputs = f"float[N,2,{','.join(map(str, sizes))}] x"
        model = network(f"y = MaxPool<{text(window)}>(x)", inputs, opset=opset)
        upstream = normal(*run(model, {"x": x})["y"].shape)
        expected = max_pooling_backward(x, upstream, window)
        np.testing.assert_allclose(gradient(model, x, upstream), expected, atol=1e-6, err_msg=text(window))


def test_max_pooling_that_numbers_by_columns_for_others_is_not_misled() -> None:
    x = normal(2, 2, 6, 6)
    window = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0]}
    model = network(f"y, places = MaxPool<{text(window)}, storage_order=1>(x)", "float[N,2,6,6] x", "y, places")
    upstream = normal(2, 2, 3, 3)
    np.testing.assert_array_equal(gradient(model, x, upstream), max_pooling_backward(x, upstream, window))


def test_global_max_pooling_sends_the_diff_to_the_first_maximum() -> None:
    x = np.array([[[[1, 3], [3, 3]], [[-2, -2], [-2, -1]]]], np.float32)
    found = gradient(network("y = GlobalMaxPool(x)", "float[N,2,2,2] x"), x, np.array([[[[5]], [[7]]]], np.float32))
    np.testing.assert_array_equal(found, [[[[0, 5], [0, 0]], [[0, 0], [0, 7]]]])


# Derivatives at x = -1, 0, 1, 2 where the textbook leaves a choice; the choice is Caffe's.
KINKS = {
    "y = Relu(x)": [0, 0, 1, 1],
    "y = LeakyRelu<alpha=0.25>(x)": [0.25, 0.25, 1, 1],
    "y = LeakyRelu<alpha=-2.0>(x)": [-2, -2, 1, 1],
    "y = PRelu(x, half)": [0.5, 0.5, 1, 1],
    "y = Elu<alpha=0.5>(x)": [0.5 * np.exp(-1), 0.5, 1, 1],
    "y = Selu<alpha=0.5, gamma=2.0>(x)": [np.exp(-1), 1, 2, 2],
    "y = ThresholdedRelu<alpha=1.0>(x)": [0, 0, 0, 1],
    "y = Clip(x, zero, one)": [0, 1, 1, 0],
    "y = Abs(x)": [-1, 0, 1, 1],
    "y = Pow(x, zero)": [0, 0, 0, 0],
    "y = Pow(x, one)": [1, 1, 1, 1],
    # The second of two equal operands wins: the constant, ...
    "y = Max(x, zero)": [0, 0, 1, 1],
    "y = Min(x, one)": [1, 1, 0, 0],
    # ... or x. From the third on, an operand has to be larger than the largest before it.
    "y = Max(zero, x)": [0, 1, 1, 1],
    "y = Max(zero, one, x)": [0, 0, 0, 1],
    "y = Max(zero, x, one)": [0, 0, 1, 1],
    "y = Max(x, x, x)": [1, 1, 1, 1],
}


@pytest.mark.parametrize("body", KINKS)
def test_kinks_and_ties_are_those_of_caffe(body: str) -> None:
    weights = {name: np.float32(number) for name, number in (("zero", 0), ("half", 0.5), ("one", 1))}
    model = network(body, "float[N,4] x", weights=weights)
    found = gradient(model, np.array([[-1, 0, 1, 2]], np.float32), np.ones((1, 4), np.float32))
    np.testing.assert_allclose(found, [KINKS[body]], atol=1e-6)
