"""Old descriptions become what Caffe makes of them; rules choose the layers that Caffe runs."""

from pathlib import Path

import pytest
from google.protobuf import text_format

from predict_diff.caffe import caffe_pb2
from predict_diff.caffe.upgrade import TEST, TRAIN, V1_TYPES, UpgradeError, for_phase, upgrade, v1_type
from predict_diff.caffe.v0 import V0_TYPES

GOLDENS = Path(__file__).parents[2] / "goldens"


def parse(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


@pytest.mark.parametrize("network", ["mini_vgg", "v0_lenet", "v0_padding"])
def test_becomes_what_caffe_made_of_it(network):
    written = parse((GOLDENS / network / "deploy.prototxt").read_text())
    expected = parse((GOLDENS / network / "upgraded_by_caffe.prototxt").read_text())
    assert upgrade(written) == expected


@pytest.mark.parametrize("network", ["mini_vgg", "v0_lenet", "v0_padding"])
def test_upgrading_twice_is_upgrading_once_and_leaves_the_original_alone(network):
    written = parse((GOLDENS / network / "deploy.prototxt").read_text())
    before = written.SerializeToString(deterministic=True)
    once = upgrade(written)
    assert upgrade(once) == once
    assert written.SerializeToString(deterministic=True) == before


class TestV1:
    def test_every_type_has_a_current_name(self):
        numbers = caffe_pb2.V1LayerParameter.LayerType.values()
        names = [v1_type(number) for number in numbers]
        assert names[0] == ""
        assert len(set(names)) == len(numbers) == len(V1_TYPES)

    @pytest.mark.parametrize(
        ("old", "new"),
        [("RELU", "ReLU"), ("SOFTMAX_LOSS", "SoftmaxWithLoss"), ("TANH", "TanH"), ("IM2COL", "Im2col"), ("LRN", "LRN")],
    )
    def test_types_whose_names_follow_no_rule(self, old, new):
        (layer,) = upgrade(parse(f"layers {{ type: {old} }}")).layer
        assert layer.type == new

    def test_unknown_numbers_have_no_name(self):
        assert v1_type(99) == v1_type(-1) == ""

    def test_settings_of_each_blob_are_gathered(self):
        old = (
            "layers { name: 'c' type: CONVOLUTION blobs_lr: 1 blobs_lr: 2 weight_decay: 3 param: 'w' "
            "blob_share_mode: PERMISSIVE include { phase: TEST } loss_weight: 0.5 convolution_param { num_output: 7 } }"
        )
        new = (
            "layer { name: 'c' type: 'Convolution' loss_weight: 0.5 "
            "param { name: 'w' share_mode: PERMISSIVE lr_mult: 1 decay_mult: 3 } param { lr_mult: 2 } "
            "include { phase: TEST } convolution_param { num_output: 7 } }"
        )
        assert upgrade(parse(old)) == parse(new)

    def test_two_generations_in_one_description_are_refused(self):
        with pytest.raises(UpgradeError, match="`layer` or `layers`"):
            upgrade(parse("layer { name: 'a' } layers { name: 'b' }"))


class TestV0:
    def test_every_type_has_a_current_name(self):
        for old, middle in V0_TYPES.items():
            (layer,) = upgrade(parse(f"layers {{ layer {{ name: 'x' type: '{old}' }} }}")).layer
            assert (layer.name, layer.type) == ("x", V1_TYPES[middle])

    def test_every_setting_arrives_somewhere(self):
        """Whatever a V0 layer can say, some type takes over; but two that Caffe never used."""
        unused = {"new_num", "new_channels"}
        taken = set()
        for field in caffe_pb2.V0LayerParameter.DESCRIPTOR.fields:
            for kind in V0_TYPES:
                net = parse(f"layers {{ layer {{ name: 'x' type: '{kind}' }} }}")
                bare = upgrade(net)
                set_some_value(net.layers[0].layer, field)
                if upgrade(net) != bare:
                    taken.add(field.name)
        assert taken == {field.name for field in caffe_pb2.V0LayerParameter.DESCRIPTOR.fields} - unused

    def test_settings_that_a_type_does_not_have_are_dropped_with_a_warning(self, caplog):
        net = parse("layers { layer { name: 'r' type: 'relu' kernelsize: 3 } }")
        assert upgrade(net) == parse("layer { name: 'r' type: 'ReLU' }")
        assert "'kernelsize'" in caplog.text

    def test_unknown_types_are_refused(self):
        with pytest.raises(
            UpgradeError, match=r"layer 'x': expected a V0 layer type, found 'convs' \(did you mean 'conv'"
        ):
            upgrade(parse("layers { layer { name: 'x' type: 'convs' } }"))

    def test_v1_layers_among_v0_layers_are_refused(self):
        with pytest.raises(UpgradeError, match=r"layer 'b'.*found a V1 layer"):
            upgrade(parse("layers { layer { name: 'a' type: 'relu' } } layers { name: 'b' type: RELU }"))


class TestPaddingLayers:
    HEAD = (
        "input: 'data' input_dim: [1, 1, 9, 9] "
        "layers { layer { name: 'p' type: 'padding' pad: 2 } bottom: 'data' top: 'padded' } "
    )

    def test_pooling_takes_the_pad_too(self):
        net = upgrade(
            parse(self.HEAD + "layers { layer { name: 'm' type: 'pool' kernelsize: 3 } bottom: 'padded' top: 'm' }")
        )
        assert [layer.name for layer in net.layer] == ["input", "m"]
        assert net.layer[1].pooling_param.pad == 2
        assert net.layer[1].bottom == ["data"]

    def test_in_place_padding(self):
        net = upgrade(
            parse(
                "input: 'data' input_dim: [1, 1, 9, 9] "
                "layers { layer { name: 'p' type: 'padding' pad: 1 } bottom: 'data' top: 'data' }"
                "layers { layer { name: 'c' type: 'conv' } bottom: 'data' top: 'c' }"
            )
        )
        assert list(net.layer[1].convolution_param.pad) == [1]
        assert net.layer[1].bottom == ["data"]

    @pytest.mark.parametrize(
        ("behind", "message"),
        [
            (
                "layers { layer { name: 'f' type: 'innerproduct' } bottom: 'padded' top: 'f' }",
                "found type 'innerproduct'",
            ),
            ("layers { layer { name: 'c' type: 'conv' } bottom: 'padded' bottom: 'data' }", "with 2 bottoms"),
            ("layers { layer { name: 'q' type: 'padding' } bottom: 'padded' top: 'q' }", "found type 'padding'"),
            ("layers { layer { name: 'c' type: 'conv' } bottom: 'nowhere' top: 'c' }", "found 'nowhere'"),
        ],
    )
    def test_padding_that_cannot_be_folded_is_refused(self, behind, message):
        with pytest.raises(UpgradeError, match=message):
            upgrade(parse(self.HEAD + behind))


class TestInputs:
    LAYER = "layer { name: 'a' bottom: 'x' }"

    def test_input_dim_has_four_sizes_for_each_input(self):
        net = upgrade(parse(f"input: 'x' input: 'y' input_dim: [1, 2, 3, 4, 5, 6, 7, 8] {self.LAYER}"))
        assert net == parse(
            "layer { name: 'input' type: 'Input' top: 'x' top: 'y' "
            f"input_param {{ shape {{ dim: [1, 2, 3, 4] }} shape {{ dim: [5, 6, 7, 8] }} }} }} {self.LAYER}"
        )

    def test_input_shape_may_have_any_number_of_axes(self):
        net = upgrade(parse(f"input: 'x' input_shape {{ dim: [1, 10] }} {self.LAYER}"))
        assert list(net.layer[0].input_param.shape[0].dim) == [1, 10]

    def test_an_input_without_size_is_dropped_as_in_caffe(self):
        assert upgrade(parse(f"input: 'x' {self.LAYER}")) == parse(self.LAYER)

    @pytest.mark.parametrize(
        "sizes",
        ["input_dim: [1, 2, 3]", "input_dim: [1, 2, 3, 4]", "input_dim: [1, 2, 3, 4, 5, 6]", "input_shape { dim: 1 }"],
    )
    def test_too_few_sizes_are_refused(self, sizes):
        with pytest.raises(UpgradeError, match="each of the 2 input entries"):
            upgrade(parse(f"input: 'x' input: 'y' {sizes}"))


class TestPhases:
    @pytest.mark.parametrize(
        ("rules", "state", "runs"),
        [
            ("", {}, True),
            ("include { phase: TEST }", {}, True),
            ("include { phase: TRAIN }", {}, False),
            ("include { phase: TRAIN }", {"phase": TRAIN}, True),
            ("exclude { phase: TEST }", {}, False),
            ("exclude { phase: TRAIN }", {}, True),
            ("include { phase: TRAIN } include { phase: TEST }", {}, True),
            ("exclude { phase: TRAIN } exclude { phase: TEST }", {}, False),
            ("include { min_level: 1 }", {}, False),
            ("include { min_level: 1 }", {"level": 1}, True),
            ("include { max_level: -1 }", {}, False),
            ("include { max_level: 2 }", {"level": 2}, True),
            ("include { phase: TEST min_level: 1 }", {}, False),
            ("include { stage: 'a' }", {}, False),
            ("include { stage: 'a' }", {"stages": ["b", "a"]}, True),
            ("include { stage: 'a' stage: 'b' }", {"stages": ["a"]}, False),
            ("include { not_stage: 'a' }", {}, True),
            ("include { not_stage: 'a' }", {"stages": ["a"]}, False),
            ("exclude { not_stage: 'a' }", {}, False),
            ("include {}", {}, True),
            ("exclude {}", {}, False),
        ],
    )
    def test_rules_choose_as_in_caffe(self, rules, state, runs):
        net = parse(f"layer {{ name: 'x' {rules} }} layer {{ name: 'y' }}")
        names = [layer.name for layer in for_phase(net, **state).layer]
        assert names == (["x", "y"] if runs else ["y"])

    def test_stages_in_the_description_count(self):
        net = parse(
            "state { phase: TRAIN stage: 'deploy' } layer { name: 'x' include { phase: TEST stage: 'deploy' } }"
        )
        assert len(for_phase(net).layer) == 1

    def test_both_kinds_of_rules_on_one_layer_are_refused(self):
        with pytest.raises(UpgradeError, match="layer 'x': expected include rules or exclude rules, found both"):
            for_phase(parse("layer { name: 'x' include { phase: TEST } exclude { phase: TRAIN } }"), TEST)


def set_some_value(message, field):
    """Any value but the default."""
    if field.message_type is not None and not field.is_repeated:
        getattr(message, field.name).SetInParent()
    elif field.message_type is not None:
        getattr(message, field.name).add()
    elif field.is_repeated:
        getattr(message, field.name).append(3)
    elif field.cpp_type == field.CPPTYPE_STRING:
        setattr(message, field.name, "relu" if field.name == "type" else "some")
    else:
        setattr(message, field.name, 1)
