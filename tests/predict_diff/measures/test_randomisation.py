"""Weight randomisation: which tensors change, in which order, and what is left of maps."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import spearmanr

from predict_diff import Network, Target
from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.measures import layer_names, randomisation_curve, randomised_models
from predict_diff.measures.layers import layers

LAYERS = ["fc", "conv@conv"]


class Gradient:
    """A method that a trained network matters to: the gradient, summed over channels."""

    def explain(self, network, x, targets, seed=0):
        return np.stack(
            [network.gradient(x, network.penultimate(t.blob), t.index).sum(axis=0, dtype=float) for t in targets]
        )


class Edges:
    """A method that looks at the image alone."""

    def explain(self, network, x, targets, seed=0):
        return np.stack([np.gradient(x.sum(axis=0), axis=0) for _ in targets]).astype(np.float64)


class Constant:
    """Says something of the trained network only."""

    def __init__(self, trained):
        self.trained = trained

    def explain(self, network, x, targets, seed=0):
        return Edges().explain(network, x, targets) * (network is self.trained)


def tensors(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


@pytest.fixture(scope="module")
def model(network):
    return network.load()


def test_layers_are_named_from_the_top(model):
    assert layer_names(model) == LAYERS
    assert [set(layer.weights) for layer in layers(model)] == [{"w2", "b2"}, {"w1", "b1"}]


def test_cascading_randomises_all_layers_from_the_top_and_independent_one_alone(model):
    before = tensors(model)
    found = {name: changed(before, tensors(made)) for name, made in randomised_models(model)}
    assert found == {"fc": {"w2", "b2"}, "conv@conv": {"w1", "b1", "w2", "b2"}}
    found = {name: changed(before, tensors(made)) for name, made in randomised_models(model, order="independent")}
    assert found == {"fc": {"w2", "b2"}, "conv@conv": {"w1", "b1"}}
    assert not changed(before, tensors(model))


def test_a_tensors_values_are_shuffled(model):
    before = tensors(model)
    *_, (_, made) = randomised_models(model, seed=3)
    for name, values in tensors(made).items():
        assert values.shape == before[name].shape
        assert np.array_equal(np.sort(values, axis=None), np.sort(before[name], axis=None))
        # Of n values in random order, a standard deviation of 1 / sqrt(n - 1).
        correlation = np.corrcoef(values.ravel(), before[name].ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(values.size - 1)


def test_the_seed_decides_and_the_order_does_not(model):
    first, again, other = (dict(randomised_models(model, seed=seed)) for seed in (1, 1, 2))
    assert all(first[name].SerializeToString() == again[name].SerializeToString() for name in LAYERS)
    assert changed(tensors(first["fc"]), tensors(other["fc"])) == {"w2", "b2"}
    alone = tensors(dict(randomised_models(model, seed=1, order="independent"))["conv@conv"])
    assert np.array_equal(alone["w1"], tensors(first["conv@conv"])["w1"])


def test_tensors_of_one_size_are_shuffled_differently(model):
    twins = onnx.ModelProto()
    twins.CopyFrom(model)
    for tensor in twins.graph.initializer:
        if tensor.name in ("w1", "w2"):
            tensor.CopyFrom(numpy_helper.from_array(np.arange(135, dtype=np.float32), tensor.name))
    *_, (_, made) = randomised_models(twins)
    assert not np.array_equal(tensors(made)["w1"], tensors(made)["w2"])


def test_only_some_layers_are_given_but_cascading_still_begins_at_the_top(model):
    ((name, made),) = randomised_models(model, only=["conv@conv"])
    assert (name, len(changed(tensors(model), tensors(made)))) == ("conv@conv", 4)
    ((name, made),) = randomised_models(model, order="independent", only=["conv@conv"])
    assert (name, len(changed(tensors(model), tensors(made)))) == ("conv@conv", 2)


def test_copies_do_not_share_anything(model):
    given = list(randomised_models(model))
    given[0][1].graph.initializer[0].raw_data = b""
    assert all(len(tensor.raw_data) for tensor in given[1][1].graph.initializer)
    assert all(len(tensor.raw_data) for tensor in model.graph.initializer)


def test_bias_scale_and_normalisation_belong_to_the_layer_before_and_formulas_to_none():
    generator = np.random.default_rng(0)

    def tensor(name, *shape, kind=np.float32):
        return numpy_helper.from_array(generator.normal(size=shape).astype(kind), name)

    weights = [tensor(name, 2) for name in ("scale", "shift", "mean", "variance", "gain", "offset")]
    weights += [tensor("colour", 2, 1, 1), tensor("w", 2, 2, 1, 1), tensor("six"), tensor("two", 8, 3, kind=np.float16)]
    weights += [tensor("bias", 3), numpy_helper.from_array(np.array([0, 8]), "flat")]
    constant = helper.make_node("Constant", [], ["slopes"], value=tensor("", 2, 1, 1))
    nodes = [
        helper.make_node("Sub", ["data", "colour"], ["centred"]),
        helper.make_node("Conv", ["centred", "w"], ["c"], name="first"),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"]),
        constant,
        helper.make_node("PRelu", ["n", "slopes"], ["p"]),
        helper.make_node("Relu", ["p"], ["r"]),
        helper.make_node("Mul", ["r", "six"], ["m"]),
        helper.make_node("InstanceNormalization", ["m", "gain", "offset"], ["i"]),
        helper.make_node("Add", ["i", "r"], ["sum"]),
        helper.make_node("Reshape", ["sum", "flat"], ["f"]),
        helper.make_node("Cast", ["two"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "wide"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["biased"]),
        helper.make_node("MatMul", ["f", "wide"], ["shared"]),
        helper.make_node("Add", ["biased", "shared"], ["scores"]),
    ]
    ends = [
        helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 2, 2, 2]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3]),
    ]
    graph = helper.make_graph(nodes, "odd", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    found = {layer.name: set(layer.weights) for layer in layers(model)}
    assert found == {
        # The tensor that both products share belongs to the topmost.
        "shared": {"two"},
        "product": {"bias"},
        "i": {"gain", "offset"},
        "first": {"w", "scale", "shift", "mean", "variance", "slopes"},
    }
    assert list(found) == ["shared", "product", "i", "first"]
    *_, (_, made) = randomised_models(model)
    before, after = tensors(model), tensors(made)
    assert {"colour", "six", "flat"}.isdisjoint(changed(before, after))
    assert changed(before, after) >= {"two", "w"}
    assert after["two"].dtype == np.float16
    assert np.array_equal(np.sort(after["two"], axis=None), np.sort(before["two"], axis=None))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_values_that_are_stored_as_numbers_are_shuffled_too(model, kind):
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    values = np.arange(4 * 5 * 7 * 7).reshape(4, 5 * 7 * 7) / 8
    (weights,) = [tensor for tensor in stored.graph.initializer if tensor.name == "w2"]
    weights.CopyFrom(helper.make_tensor("w2", kind, values.shape, values.ravel()))
    assert not weights.raw_data
    before = numpy_helper.to_array(weights).astype(np.float64)
    found = tensors(next(randomised_models(stored))[1])["w2"].astype(np.float64)
    assert not np.array_equal(found, before)
    assert np.array_equal(np.sort(found, axis=None), np.sort(before, axis=None))


def test_a_method_that_ignores_the_network_keeps_its_map(network, x):
    found = randomisation_curve(Edges(), network, x, Target("prob", (0,)))
    assert found.layers == ("fc", "conv@conv")
    assert found.signed.tolist() == found.absolute.tolist() == pytest.approx([1, 1])


def test_what_is_known_of_the_outputs_stays_known(model, x):
    told = Network(model, "cpu", probabilities=["fc"])
    seen = []

    class Watching(Edges):
        def explain(self, network, x, targets, seed=0):
            seen.append((network.is_probability("fc"), network.penultimate("prob"), network.penultimate("fc")))
            return super().explain(network, x, targets, seed)

    randomisation_curve(Watching(), told, x, Target("fc", (0,)))
    assert seen == [(True, "fc", "fc")] * 3


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_a_curve_is_the_rank_correlation_of_maps_made_by_hand(network, x, order):
    target = Target("prob", (1,))
    found = randomisation_curve(Gradient(), network, x, target, seed=5, order=order)
    (trained,) = Gradient().explain(network, x, [target])
    for number, (name, model) in enumerate(randomised_models(network.load(), 5, order)):
        (values,) = Gradient().explain(Network(model, "cpu"), x, [target])
        assert found.layers[number] == name
        assert found.signed[number] == pytest.approx(spearmanr(trained, values, axis=None).statistic)
        absolute = spearmanr(abs(trained), abs(values), axis=None).statistic
        assert found.absolute[number] == pytest.approx(absolute)
    assert (np.abs(found.signed) < 0.9).all()


def test_over_seeds_the_gradient_of_a_randomised_network_is_unrelated(network, x):
    found = [randomisation_curve(Gradient(), network, x, Target("prob", (1,)), seed).signed[-1] for seed in range(40)]
    assert abs(np.mean(found)) < 5 * np.std(found) / np.sqrt(40)


def test_a_map_that_is_the_same_everywhere_has_no_correlation(network, x):
    found = randomisation_curve(Constant(network), network, x, Target("prob", (0,)))
    assert np.isnan(found.signed).all()
    assert np.isnan(found.absolute).all()
    with pytest.raises(ResultError, match="map: expected values that vary, found 0 everywhere"):
        randomisation_curve(Constant(None), network, x, Target("prob", (0,)))


def test_what_cannot_be_randomised_is_refused_before_anything_runs(model, network, x):
    with pytest.raises(ConfigurationError, match="order: expected cascading or independent, found 'up'"):
        randomised_models(model, order="up")
    with pytest.raises(
        ConfigurationError, match=r"layer: expected one of the network's 2, found 'conv' \(did you mean"
    ):
        randomised_models(model, only=["conv"])
    with pytest.raises(ConfigurationError, match="seed: expected"):
        randomised_models(model, seed=-1)
    with pytest.raises(ConfigurationError, match="expected a network with weights, found none"):
        randomised_models(onnx.ModelProto())
    with pytest.raises(ConfigurationError, match="so it has no unit"):
        randomisation_curve(Gradient(), network, x, Target("prob", (7,)))
    with pytest.raises(ConfigurationError, match="network: expected one whose weights are known, found str"):
        randomisation_curve(Gradient(), "net", x, Target("prob", (0,)))


def test_weights_that_were_left_in_another_file_are_missed(model):
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
    with pytest.raises(ConfigurationError, match="tensor 'w2': expected its values in the model, found none"):
        next(randomised_models(bare))
