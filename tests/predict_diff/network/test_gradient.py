"""The backward pass as a whole: what goes in, what comes out, what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from gradient_cases import gradient, in_double, jacobian, jacobian_by_differences, network, normal, run
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from random_networks import random_network

from predict_diff.errors import NetworkError
from predict_diff.network.gradient import gradient_model

CLASSIFIER = """
    conv = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, b)
    conv_relu = Relu(conv)
    pool = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(conv_relu)
    average = AveragePool<kernel_shape=[2,2], strides=[2,2]>(pool)
    flat = Flatten(average)
    fc = Gemm<transB=1>(flat, v)
    prob = Softmax(fc)
"""
WEIGHTS = {"w": normal(4, 2, 3, 3), "b": normal(4), "v": 0.1 * normal(3, 16)}


def classifier(opset: int = 22) -> onnx.ModelProto:
    return network(CLASSIFIER, "float[N,2,8,8] x", "prob", WEIGHTS, opset)


def signature(model: onnx.ModelProto) -> tuple[dict, dict]:
    """Shapes of inputs and of outputs; open sizes by name."""

    def shape(info: onnx.ValueInfoProto) -> list:
        return [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]

    graph = model.graph
    return {info.name: shape(info) for info in graph.input}, {info.name: shape(info) for info in graph.output}


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


class TestModel:
    def test_takes_photos_and_a_diff_and_gives_the_gradient(self) -> None:
        inputs, outputs = signature(gradient_model(classifier(), "pool"))
        assert inputs == {"x": ["N", 2, 8, 8], "upstream/pool": ["N", 4, 4, 4]}
        assert outputs == {"gradient/x": ["N", 2, 8, 8]}

    def test_is_valid_onnx(self) -> None:
        onnx.checker.check_model(gradient_model(classifier(), "prob"), full_check=True)

    def test_computes_no_layer_behind_the_blob_and_copies_none_of_its_weights(self) -> None:
        model = gradient_model(classifier(), "conv_relu")
        assert not {"MaxPool", "AveragePool", "Gemm", "Softmax"} & set(operators(model))
        assert {"w"} <= {tensor.name for tensor in model.graph.initializer}
        assert "v" not in {tensor.name for tensor in model.graph.initializer}

    def test_computes_no_layer_that_only_weights_would_need(self) -> None:
        assert operators(gradient_model(classifier(), "conv")).count("Conv") == 0

    def test_leaves_the_network_as_it_was(self) -> None:
        model = classifier()
        before = model.SerializeToString(deterministic=True)
        gradient_model(model, "prob")
        assert model.SerializeToString(deterministic=True) == before

    def test_agrees_with_differences(self) -> None:
        x = normal(2, 8, 8)
        expected = jacobian_by_differences(classifier(), x, "prob")
        np.testing.assert_allclose(jacobian(classifier(), x, "prob"), expected, atol=1e-5 * np.abs(expected).max())

    def test_treats_each_photo_of_a_batch_by_itself(self) -> None:
        x, upstream = normal(5, 2, 8, 8), normal(5, 3)
        together = gradient(classifier(), x, upstream, "prob")
        alone = [gradient(classifier(), x[i : i + 1], upstream[i : i + 1], "prob")[0] for i in range(5)]
        np.testing.assert_allclose(together, alone, atol=1e-7)

    @pytest.mark.parametrize("opset", range(13, 24))
    def test_reads_networks_of_every_opset_from_13_on(self, opset: int) -> None:
        body = CLASSIFIER + (
            "means = ReduceMean<axes=[2,3], keepdims=0>(pool)"
            if opset < 18
            else "means = ReduceMean<keepdims=0>(pool, hw)"
        )
        body += """
            parts, rest = Split<axis=1>(means, sizes)
            norms = BatchNormalization(pool, s, s, s, s)
            lrn = LRN<size=3>(norms)
            y = Concat<axis=1>(prob, parts, parts)
        """
        weights = WEIGHTS | {"hw": [2, 3], "sizes": [1, 3], "s": np.ones(4, np.float32)}
        model = network(body, "float[N,2,8,8] x", "y, lrn", weights, opset)
        x, upstream = normal(2, 2, 8, 8), {"y": normal(2, 5), "lrn": normal(2, 4, 4, 4)}
        result = gradient_model(model, list(upstream))
        assert {entry.domain: entry.version for entry in result.opset_import} == {"": max(opset, 16)}
        newest = network(
            body.replace("<axes=[2,3], keepdims=0>(pool)", "<keepdims=0>(pool, hw)"),
            "float[N,2,8,8] x",
            "y, lrn",
            weights,
            22,
        )
        feeds = {"x": x} | {f"upstream/{blob}": diff for blob, diff in upstream.items()}
        np.testing.assert_array_equal(
            run(result, feeds)["gradient/x"], run(gradient_model(newest, list(upstream)), feeds)["gradient/x"]
        )

    def test_of_float64_networks_is_float64(self) -> None:
        body = "a = MatMul(x, w)\n t = Sigmoid(a)\n s = Softmax(t)\n m = ReduceMean(s, axes)\n y = Sub(s, m)"
        model = network(body, "double[N,3,4] x", weights={"w": normal(4, 5).astype(float), "axes": [2]})
        x, v, upstream = (
            normal(1, 3, 4, seed=1).astype(float),
            normal(1, 3, 4).astype(float),
            normal(1, 3, 5).astype(float),
        )
        ahead, behind = (run(model, {"x": x + sign * 1e-6 * v})["y"] for sign in (1, -1))
        found = (gradient(model, x, upstream) * v).sum()
        assert found == pytest.approx(((ahead - behind) / 2e-6 * upstream).sum(), rel=1e-8)


class TestBlobsAndInputs:
    def test_diffs_of_several_blobs_add_up(self) -> None:
        x, diffs = (
            normal(2, 2, 8, 8),
            {"conv": normal(2, 4, 8, 8), "prob": normal(2, 3), "x": normal(2, 2, 8, 8, seed=3)},
        )
        feeds = {"x": x} | {f"upstream/{blob}": diff for blob, diff in diffs.items()}
        together = run(gradient_model(classifier(), list(diffs)), feeds)["gradient/x"]
        apart = sum(gradient(classifier(), x, diff, blob) for blob, diff in diffs.items())
        np.testing.assert_allclose(together, apart, atol=1e-5)

    def test_each_input_has_its_gradient(self) -> None:
        model = network("p = Mul(a, b)\n y = Add(p, a)", "float[N,2] a, float[N,2] b, float[N,7] unused, int64[N,1] i")
        a, b, upstream = normal(3, 2), normal(3, 2, seed=1), normal(3, 2, seed=2)
        feeds = {"a": a, "b": b, "unused": normal(3, 7), "upstream/y": upstream}
        found = run(gradient_model(model, "y"), feeds)
        np.testing.assert_allclose(found["gradient/a"], upstream * (b + 1), rtol=1e-6)
        np.testing.assert_allclose(found["gradient/b"], upstream * a, rtol=1e-6)
        np.testing.assert_array_equal(found["gradient/unused"], np.zeros((3, 7)))
        inputs, outputs = signature(gradient_model(model, "y", "b"))
        assert list(outputs) == ["gradient/b"]
        assert list(inputs) == ["a", "b", "upstream/y"]

    def test_gradient_of_the_input_itself_is_the_diff(self) -> None:
        upstream = normal(2, 2, 8, 8)
        np.testing.assert_array_equal(gradient(classifier(), normal(2, 2, 8, 8), upstream, "x"), upstream)

    def test_gradient_is_zero_where_no_path_leads_from_the_input(self) -> None:
        model = network("y = Identity(w)\n z = Relu(x)", outputs="y, z", weights={"w": normal(3)})
        np.testing.assert_array_equal(gradient(model, normal(2, 3, 4), normal(3)), np.zeros((2, 3, 4)))

    def test_a_value_that_feeds_many_receives_from_all(self) -> None:
        model = network("a = Relu(x)\n b = Neg(a)\n c = Mul(a, b)\n y = Sum(a, b, c, a)")
        x = normal(3, 4)
        np.testing.assert_allclose(jacobian(model, x), jacobian_by_differences(model, x), atol=1e-5)

    @pytest.mark.parametrize(
        ("blobs", "inputs", "message"),
        [
            ("porb", None, r"net: expected the name of a blob, found 'porb' \(did you mean 'prob'"),
            (["prob", "fc9"], None, r"found 'fc9' \(did you mean 'fc'"),
            ("prob", "data", "net: expected a floating point input, found 'data'"),
            ("prob", "w", "expected a floating point input, found 'w'"),
        ],
    )
    def test_unknown_names_are_refused(self, blobs: str | list[str], inputs: str | None, message: str) -> None:
        with pytest.raises(NetworkError, match=message):
            gradient_model(classifier(), blobs, inputs)

    def test_a_network_without_a_floating_point_input_is_refused(self) -> None:
        with pytest.raises(NetworkError, match="expected a floating point input"):
            gradient_model(network("y = Gather(w, x)", "int64[N] x", weights={"w": normal(3, 2)}), "y")

    def test_names_that_the_result_needs_must_be_free(self) -> None:
        twice = gradient_model(classifier(), "prob")
        with pytest.raises(NetworkError, match=r"'gradient/x'.*rename"):
            gradient_model(twice, "gradient/x")


class TestOperators:
    def test_one_without_a_rule_is_named_with_its_blob_and_those_that_have_one(self) -> None:
        with pytest.raises(
            NetworkError, match=r"net: operator Det of 'd' .*: Abs, Add, Attention, AveragePool, .*Where$"
        ):
            gradient_model(network("s = Relu(x)\n d = Det(s)\n y = Exp(d)", "float[N,3,3] x"), "y")

    def test_one_of_another_domain_is_not_mistaken_for_onnx(self) -> None:
        model = network("y = Relu(x)")
        model.graph.node[0].domain = "elsewhere"
        model.opset_import.append(helper.make_opsetid("elsewhere", 1))
        with pytest.raises(NetworkError, match="operator Relu of 'y'"):
            gradient_model(model, "y")

    def test_one_without_a_rule_does_not_matter_off_the_path(self) -> None:
        body = "y = Relu(x)\n behind = Det(y)\n beside = Det(w)\n z = Mul(y, beside)"
        model = network(body, "float[N,3,3] x", "z, behind", {"w": normal(3, 3)})
        found = gradient(model, np.ones((1, 3, 3), np.float32), np.ones((1, 3, 3), np.float32), "z")
        np.testing.assert_allclose(found, np.full((1, 3, 3), np.linalg.det(normal(3, 3))), rtol=1e-5)

    @pytest.mark.parametrize(
        "body",
        [
            "y = ArgMax<axis=1>(x)",
            "y = Ceil(x)",
            "m = Greater(x, w)\n y = Cast<to=1>(m)",
            "a = Floor(x)\n b = Relu(a)\n y = Exp(b)",
            "v, y = TopK(x, one)",
        ],
    )
    def test_a_blob_behind_a_step_function_only_is_refused(self, body: str) -> None:
        with pytest.raises(
            NetworkError, match=r"operator (ArgMax|Ceil|Greater|Floor|TopK) .* has no gradient, and 'y'"
        ):
            gradient_model(network(body, weights={"w": normal(4), "one": [1]}), "y")

    def test_a_step_function_on_one_of_several_paths_adds_nothing(self) -> None:
        model = network("m = Greater(x, w)\n f = Cast<to=1>(m)\n y = Mul(x, f)", weights={"w": np.float32(0)})
        x, upstream = normal(2, 3, 4), normal(2, 3, 4, seed=1)
        np.testing.assert_array_equal(gradient(model, x, upstream), np.where(x > 0, upstream, 0))

    def test_sizes_are_constant(self) -> None:
        body = "n = Size(x)\n f = Cast<to=1>(n)\n s = ReduceSum<keepdims=0>(x)\n y = Div(s, f)"
        found = gradient(network(body), normal(2, 3, 4), np.ones((), np.float32))
        np.testing.assert_allclose(found, np.full((2, 3, 4), 1 / 24), rtol=1e-6)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("y = Conv(w, x)", "expected 'x' not to depend on the network's input"),
            ("y = Dropout(x, half, yes)", "dropout as in training"),
            ("y, m, v = BatchNormalization<training_mode=1>(x, s, s, s, s)", "batch statistics as in training"),
            ("y = ConvTranspose<output_shape=[7,9]>(x, w)", "'output_shape'"),
            ("y = ConvTranspose<strides=[1,1], dilations=[2,2], output_padding=[1,1]>(x, w)", "output_padding below"),
        ],
    )
    def test_forms_without_a_rule_say_what_was_expected(self, body: str, message: str) -> None:
        weights = {"w": normal(3, 2, 2, 2), "half": np.float32(0.5), "yes": np.bool_(True), "s": normal(3)}
        with pytest.raises(NetworkError, match=f"net: operator .* cannot be differentiated: .*{message}"):
            gradient_model(network(body, "float[N,3,4,5] x", weights=weights), "y")

    def test_a_branch_that_takes_the_photo_from_around_it_is_not_overlooked(self) -> None:
        branch = onnx.parser.parse_graph("branch () => (float[N,3,4] z) { z = Relu(x) }")
        model = network("y = Identity(x)")
        model.graph.node[0].CopyFrom(helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))
        model.graph.initializer.append(numpy_helper.from_array(np.bool_(True), "c"))
        with pytest.raises(NetworkError, match="operator If of 'y' has no derivative"):
            gradient_model(model, "y")

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("y = Relu(later)\n later = Relu(x)", "topologically sorted.*'later'"),
            ("y = Gemm(x)", "input size 1 not in range"),
            ("y = AveragePool<kernel_shape=[2], strides=[0]>(x)", "sizes of at least 1"),
        ],
    )
    def test_a_graph_that_breaks_the_rules_is_refused(self, body: str, message: str) -> None:
        with pytest.raises(NetworkError, match=f"^net: .*{message}"):
            gradient_model(network(body), "y")

    def test_an_opset_that_is_too_old_is_refused(self) -> None:
        with pytest.raises(NetworkError, match="net: expected a network of ONNX opset 13 or later, found 12"):
            gradient_model(classifier(opset=12), "prob")


class TestNetworksFromElsewhere:
    def test_weights_may_stand_among_the_inputs(self) -> None:
        model = classifier()
        model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 2, 3, 3]))
        inputs, outputs = signature(gradient_model(model, "fc"))
        assert list(inputs) == ["x", "upstream/fc"]
        assert list(outputs) == ["gradient/x"]

    def test_weights_may_stand_in_constant_nodes(self) -> None:
        model = classifier()
        for tensor in reversed(model.graph.initializer):
            model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        del model.graph.initializer[:]
        x, upstream = normal(2, 2, 8, 8), normal(2, 3)
        np.testing.assert_array_equal(gradient(model, x, upstream, "prob"), gradient(classifier(), x, upstream, "prob"))

    def test_weights_may_be_sparse(self) -> None:
        model = network("y = Gemm(x, w)", "float[N,2] x")
        values = numpy_helper.from_array(np.array([3.0, 4.0], np.float32), "w")
        places = numpy_helper.from_array(np.array([1, 2]))
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 2]))
        found = gradient(model, normal(1, 2), np.ones((1, 2), np.float32))
        np.testing.assert_array_equal(found, [[3, 4]])

    def test_the_batch_may_be_computed_from_the_input(self) -> None:
        body = """
            sizes = Shape(x)
            batch = Gather(sizes, zero)
            first = Unsqueeze(batch, axes)
            target = Concat<axis=0>(first, rest)
            flat = Reshape(x, target)
            y = Gemm(flat, w)
        """
        weights = {"zero": np.int64(0), "axes": [0], "rest": [-1], "w": normal(12, 2)}
        upstream = normal(5, 2)
        found = gradient(network(body, weights=weights), normal(5, 3, 4), upstream)
        np.testing.assert_allclose(found, (upstream @ weights["w"].T).reshape(5, 3, 4), rtol=1e-5, atol=1e-6)

    def test_the_batch_may_be_fixed(self) -> None:
        model = network(
            "f = Reshape(x, s)\n y = Gemm(f, w)", "float[1,3,4] x", weights={"s": [1, 12], "w": normal(12, 2)}
        )
        assert signature(gradient_model(model, "y"))[0] == {"x": [1, 3, 4], "upstream/y": [1, 2]}
        x = normal(3, 4)
        upstream = normal(1, 2)
        found = gradient(model, x[None], upstream)
        np.testing.assert_allclose(found.ravel(), (upstream @ normal(12, 2).T).ravel(), rtol=1e-5, atol=1e-6)

    def test_height_and_width_may_be_open_for_convolutions_and_maxima(self) -> None:
        body = """
            c = Conv<strides=[2,2], pads=[1,1,0,1], kernel_shape=[3,3]>(x, w)
            r = Relu(c)
            p = MaxPool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(r)
            y = GlobalAveragePool(p)
        """
        weights = {"w": normal(4, 2, 3, 3)}
        x, upstream = normal(2, 2, 9, 12), normal(2, 4, 1, 1)
        dynamic = network(body, "float[N,2,H,W] x", weights=weights)
        fixed = network(body, "float[N,2,9,12] x", weights=weights)
        np.testing.assert_array_equal(gradient(dynamic, x, upstream), gradient(fixed, x, upstream))

    def test_averages_say_that_they_need_a_known_height_and_width(self) -> None:
        model = network("y = AveragePool<kernel_shape=[2,2]>(x)", "float[N,2,H,W] x")
        with pytest.raises(
            NetworkError, match="'x' to have known height and width; export the network with fixed ones"
        ):
            gradient_model(model, "y")

    def test_functions_are_taken_apart(self) -> None:
        function = '<domain: "local", opset_import: ["" : 22]> Swish (a) => (b) { s = Sigmoid(a) \n b = Mul(a, s) }'
        model = network("y = local.Swish(x)", functions=function)
        x = normal(3, 4)
        expected = jacobian_by_differences(network("s = Sigmoid(x)\n y = Mul(x, s)"), x)
        np.testing.assert_allclose(
            gradient(model, x[None], np.ones((1, 3, 4), np.float32)).ravel(), expected.sum(0), atol=1e-6
        )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_gradient_predicts_the_change_of_any_network_in_any_direction(seed: int) -> None:
    model = random_network(seed)
    x, v, upstream = normal(2, 4, 7, 8, seed=1), normal(2, 4, 7, 8, seed=2), normal(2, 5, seed=3)
    exact = ReferenceEvaluator(in_double(model))
    ahead, behind = (exact.run(["y"], {"x": x + sign * 1e-7 * v.astype(np.float64)})[0] for sign in (1, -1))
    change = ((ahead - behind) / 2e-7 * upstream).sum()
    found = gradient(model, x, upstream).astype(np.float64)
    assert abs((found * v).sum() - change) < 1e-5 * np.linalg.norm(found) * np.linalg.norm(v) + 1e-5
