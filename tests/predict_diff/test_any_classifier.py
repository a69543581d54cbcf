"""ONNX files of any origin: each gives the probabilities, and the map, of the network that is inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import foreign_files as files
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from small_network import small_model

from predict_diff.errors import NetworkError
from predict_diff.explaining import explain
from predict_diff.input_spec import InputSpec
from predict_diff.network.network import Network
from predict_diff.network.opening import open_classifier
from predict_diff.result import RelevanceMap

Array = NDArray[np.float32]

#: File, and what has to be said of it.
RIGHT: dict[str, tuple[Callable[[], onnx.ModelProto], InputSpec | None]] = {
    "plain": (small_model, None),
    "PyTorch's scores": (files.pytorch, InputSpec(softmax=True)),
    "Keras": (files.keras, InputSpec(layout="NHWC")),
    "flat": (files.flat, InputSpec(layout="flat")),
    "scikit-learn": (files.scikit_learn, InputSpec(layout="flat")),
    "float64": (files.double, None),
    "fixed batch": (files.fixed_batch, None),
    "fixed batch of one": (lambda: files.fixed_batch(1), None),
    "several outputs": (files.several_outputs, None),
    "scores of several outputs": (files.several_outputs, InputSpec(output="fc", softmax=True)),
}


def network_of(path: Path, x: Array, spec: InputSpec | None) -> Network:
    return open_classifier(path, spec).network(x, "cpu")


@pytest.mark.parametrize("kind", RIGHT)
def test_a_file_gives_what_the_network_inside_gives(kind: str, network: Network, photos: Array, tmp_path: Path) -> None:
    make, spec = RIGHT[kind]
    opened = network_of(files.saved(make(), tmp_path), photos[0], spec)
    (output,) = opened.outputs
    assert opened.input_shape == (3, 14, 14)
    assert opened.is_probability(output)
    found, expected = opened.run(photos[:7], output)[output], network.run(photos[:7], "prob")["prob"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", RIGHT)
def test_a_file_gives_the_map_of_the_network_inside(kind: str, photos: Array, tmp_path: Path) -> None:
    make, spec = RIGHT[kind]
    expected, found = (
        relevance(files.saved(model, tmp_path), photos, spec) for model, spec in ((small_model(), None), (make(), spec))
    )
    # The evaluators differ in last bits, of which log odds with N = 100 make little.
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-4)
    assert found.measures == ("WE",)


def relevance(path: Path, photos: Array, spec: InputSpec | None = None) -> RelevanceMap:
    """Of arrays as the network sees them, which a spec would take for photos."""
    opened = open_classifier(path, spec).network(photos[0], "cpu")
    found = explain(opened, photos[0], 2, pool=photos[1:], sampler="marginal", k=4, stride=4, samples=3, instances=100)
    assert isinstance(found, RelevanceMap)
    return found


class TestTypes:
    def test_half_precision_gets_half_precision(self, network: Network, photos: Array, tmp_path: Path) -> None:
        opened = network_of(files.saved(files.half(), tmp_path), photos[0], None)
        found, expected = opened.run(photos, opened.outputs)[opened.outputs[0]], network.run(photos, "prob")["prob"]
        assert found.dtype == np.float32
        # Inputs of up to 10 are off by 2**-9 at most; the small network's scores move by less than 0.01 then.
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)
        assert opened.penultimate(opened.outputs[0]) == "fc"

    def test_whole_numbers_are_rounded_and_cut_to_their_range(
        self, network: Network, photos: Array, tmp_path: Path
    ) -> None:
        images = 100 * photos[:5]
        opened = network_of(files.saved(files.whole_numbers(), tmp_path), images[0].clip(0, 255), None)
        found = opened.run(images, "prob")["prob"]
        np.testing.assert_allclose(found, network.run(images.round().clip(0, 255), "prob")["prob"], rtol=0, atol=1e-6)


class TestSizes:
    @pytest.mark.parametrize("claimed", [["N", 5], ["N"], ["N", 10**12], [7, 4]])
    def test_what_a_file_says_of_its_output_need_not_be_so(
        self, claimed: list[int | str], photos: Array, tmp_path: Path
    ) -> None:
        model = files.gives(small_model(), files.tensor("prob", sizes=claimed))
        found, expected = (relevance(files.saved(one, tmp_path), photos) for one in (model, small_model()))
        # The number of classes counts in the Laplace correction.
        np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-4)

    def test_a_batch_beyond_all_memory_is_refused(self, tmp_path: Path) -> None:
        for size in (10**9, 1 << 62):
            model = small_model()
            model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
            refused(files.saved(model, tmp_path), f"net.onnx: expected batches of at most .* found {size:,} images")

    def test_open_sizes_are_those_of_the_image(self, photos: Array, tmp_path: Path) -> None:
        path = files.saved(files.open_size(), tmp_path)
        wide = np.concatenate([photos[0], photos[1]], axis=2)
        assert network_of(path, wide, None).input_shape == (3, 14, 28)
        found = explain(path, wide, pool=np.concatenate([photos, photos[::-1]], axis=3), instances=100)
        assert found.maps.shape == (1, 14, 28)

    def test_open_sizes_are_those_of_the_spec(self, photos: Array, tmp_path: Path) -> None:
        path = files.saved(files.open_size(), tmp_path)
        pictures = np.random.default_rng(0).random((30, 20, 24, 3))
        found = explain(path, pictures[0], pool=pictures[1:], spec=InputSpec(size=(16, 12)), instances=100, stride=2)
        assert found.maps.shape == (1, 16, 12)

    def test_a_fixed_batch_is_kept_to(self, photos: Array, tmp_path: Path) -> None:
        opened = network_of(files.saved(files.fixed_batch(), tmp_path), photos[0], None)
        assert opened.fixed_batch == 3
        found = relevance(files.saved(files.fixed_batch(), tmp_path), photos)
        assert (found.provenance["evaluator"], found.provenance["batch_size"]) == ("MiniBatchEvaluator", 3)

    def test_gradients_are_those_of_any_batch(self, network: Network, photos: Array, tmp_path: Path) -> None:
        opened = network_of(files.saved(files.fixed_batch(), tmp_path), photos[0], None)
        found, expected = (one.gradient(photos[:5], "fc", 2) for one in (opened, network))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_probabilities_that_rounding_has_carried_beyond_1_are_taken(photos: Array, tmp_path: Path) -> None:
    path = files.saved(files.votes(), tmp_path)
    opened = network_of(path, photos[0], None)
    found = opened.run(photos, opened.outputs)[opened.outputs[0]]
    assert found.max() == 1
    assert opened.is_probability(opened.outputs[0])
    assert opened.penultimate(opened.outputs[0]) == opened.outputs[0]
    assert relevance(path, photos).measures == ("WE",)


def test_votes_of_an_old_file_are_taken(photos: Array, tmp_path: Path) -> None:
    model = files.votes()
    model.opset_import[0].version = 7  # whose Max and Min repeat nothing
    assert relevance(files.saved(model, tmp_path), photos).measures == ("WE",)


def test_labels_of_scikit_learn_are_taken(photos: Array, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).random((30, 14, 14, 3))
    path = files.saved(files.scikit_learn(), tmp_path)
    spec = InputSpec(layout="flat", size=14)
    found = explain(path, pictures[0], "c", pool=pictures[1:], spec=spec, instances=100, stride=2, samples=2)
    assert found.targets[0].index == (2,)


class TestExternalData:
    def test_they_are_read_and_count_in_the_hash(self, network: Network, photos: Array, tmp_path: Path) -> None:
        path = files.outside(small_model(), tmp_path)
        opened = network_of(path, photos[0], None)
        np.testing.assert_array_equal(opened.run(photos, "prob")["prob"], network.run(photos, "prob")["prob"])
        before = opened.sha256
        (tmp_path / "weights.bin").write_bytes(bytes((tmp_path / "weights.bin").stat().st_size))
        assert Network(path).sha256 != before

    @pytest.mark.parametrize(
        ("entries", "problem"),
        [
            ({"location": "../weights.bin"}, "leads elsewhere"),
            ({"location": "/etc/hostname"}, "leads elsewhere"),
            ({"location": "sub/../../weights.bin"}, "leads elsewhere"),
            ({"location": "none.bin"}, "found no such file"),
            ({"location": "."}, "found no such file"),
            ({"location": ""}, "expected the name of a file"),
            ({"location": "a\nb"}, "expected the name of a file"),
            ({"offset": "9" * 5000}, "expected the place"),
            ({"location": "x" * 5000}, "cannot be found|no such file"),
            ({"offset": -8}, "found a claim to"),
            ({"offset": 10**12}, "found a claim to"),
            ({"offset": "many"}, "expected the place"),
            ({"length": 10**12}, "found a claim to"),
            ({"length": 4}, "found a claim to"),
        ],
    )
    def test_they_stay_in_the_folder_and_in_the_file(
        self, entries: dict[str, object], problem: str, tmp_path: Path
    ) -> None:
        inner = tmp_path / "inner"
        inner.mkdir()
        path = files.outside(small_model(), inner, lambda tensor: files.place(tensor, **entries))
        (tmp_path / "weights.bin").write_bytes((inner / "weights.bin").read_bytes())
        refused(path, problem)

    def test_links_out_of_the_folder_are_not_followed(self, tmp_path: Path) -> None:
        inner = tmp_path / "inner"
        inner.mkdir()
        path = files.outside(small_model(), inner)
        (inner / "weights.bin").rename(tmp_path / "weights.bin")
        (inner / "weights.bin").symlink_to(tmp_path / "weights.bin")
        refused(path, "leads elsewhere")

    def test_sizes_that_are_not_there_are_not_reserved(self, tmp_path: Path) -> None:
        def grow(tensor: onnx.TensorProto) -> None:
            tensor.dims[0] = 1 << 40
            files.place(tensor, length=4 * 245 * (1 << 40))

        refused(files.outside(small_model(), tmp_path, grow), "found a claim to")

    def test_the_same_bytes_are_not_read_again_and_again(self, tmp_path: Path) -> None:
        path = files.outside(small_model(), tmp_path)
        model = onnx.load(path, load_external_data=False)
        large = next(entry for entry in model.graph.initializer if entry.name == "w2")
        for number in range(1000):
            model.graph.initializer.add().CopyFrom(large)
            model.graph.initializer[-1].name = f"again {number}"
        path.write_bytes(model.SerializeToString())
        refused(path, "found claims to")


def refused(path: Path, problem: str, x: Array | None = None, spec: InputSpec | None = None) -> None:
    x = np.zeros((3, 14, 14), np.float32) if x is None else x
    with pytest.raises(NetworkError, match=problem) as caught:
        network_of(path, x, spec)
    assert "\n" not in str(caught.value)


class TestWhatIsRefused:
    @pytest.mark.parametrize("kind", ["batch statistics", "softmax over the batch"])
    @pytest.mark.parametrize("batch", [None, 3])
    def test_outputs_that_depend_on_the_other_images(
        self, kind: str, batch: int | None, photos: Array, tmp_path: Path
    ) -> None:
        model = small_model() if batch is None else files.fixed_batch(batch)
        if kind == "batch statistics":
            model.graph.node.insert(5, files.node("BatchNormalization", ["fc", *"abcd"], [*"xyz"], training_mode=1))
            model.graph.node[6].input[0] = "x"
            for name in "abcd":
                files.constant(model, name, np.ones(4, np.float32))
        else:
            model.graph.node[-1].attribute[0].i = 0
        refused(files.saved(model, tmp_path), "expected the same numbers in output 'prob'.*evaluation mode", photos[0])

    @pytest.mark.parametrize("spec", [InputSpec(), InputSpec(white=255, mean=128)])
    def test_photos_that_a_network_of_whole_numbers_would_not_see(self, spec: InputSpec, tmp_path: Path) -> None:
        photo = np.random.default_rng(0).integers(0, 256, (14, 14, 3), np.uint8)
        path = files.saved(files.whole_numbers(), tmp_path)
        refused(path, "expected whole numbers from 0 to 255.*a spec whose white is 255", spec.prepare(photo), spec)
        network_of(path, InputSpec(white=255).prepare(photo), None)

    @pytest.mark.parametrize(
        ("attributes", "problem"),
        [
            ({}, "labels and probabilities in its ZipMap"),
            ({"classlabels_int64s": 3}, "labels and probabilities in its ZipMap"),
            ({"classlabels_strings": "abcd"}, "labels and probabilities in its ZipMap"),
        ],
    )
    def test_a_dictionary_without_labels(self, attributes: dict[str, object], problem: str, tmp_path: Path) -> None:
        model = files.scikit_learn()
        del model.graph.node[-1].attribute[:]
        model.graph.node[-1].attribute.extend(onnx.helper.make_attribute(*entry) for entry in attributes.items())
        refused(files.saved(model, tmp_path), problem)

    def test_a_dictionary_with_labels_that_are_no_text_and_one_without_probabilities(self, tmp_path: Path) -> None:
        model = files.scikit_learn()
        model.graph.node[-1].attribute[0].strings[0] = b"\xff"
        assert open_classifier(files.saved(model, tmp_path), InputSpec(layout="flat")).labels == ("\ufffd", *"bcd")
        del model.graph.node[-1].input[:]
        refused(files.saved(model, tmp_path), "labels and probabilities in its ZipMap")

    def test_maps_of_classes_and_outputs_without_a_batch(self, tmp_path: Path) -> None:
        maps = files.gives(small_model(), files.tensor("conv", sizes=["N", 5, 14, 14]))
        refused(files.saved(maps, tmp_path), r"found 'conv' \(5, 14, 14\).*predict_diff.Network: 'conv:0'")
        flat = small_model()
        flat.graph.node.append(files.node("Reshape", ["prob", files.constant(flat, "all", [-1])], ["row"]))
        flat = files.gives(flat, files.tensor("row", sizes=["N"]))
        refused(files.saved(flat, tmp_path), "found none; export the network with an axis for the batch")

    def test_what_the_runtime_says_last_is_said(self, tmp_path: Path) -> None:
        model = small_model()
        model.ir_version = 99
        refused(files.saved(model, tmp_path), "Unsupported model IR version: 99, max supported")
        inside = files.fixed_batch(1)  # which its input does not say
        inside.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
        refused(
            files.saved(inside, tmp_path), "net.onnx: expected a network that takes 2 images of 3 x 14 x 14 at once"
        )

    @pytest.mark.parametrize(
        ("make", "spec", "problem"),
        [
            (files.two_inputs, None, r"one input, the image, found 2 \(data, age\)"),
            (files.custom_operators, None, "expected operators of ONNX, found my.company:Swishy"),
            (files.keras, None, r'14 x 14 x 3, which look like \(N, H, W, C\).*layout="NHWC"'),
            (files.flat, None, 'layout="flat"'),
            (files.labels_only, None, r"an output with probabilities.*found label \(INT64\)"),
            (files.one_class, None, "at least two classes.*give a function with both.*the number itself, open it"),
            (small_model, InputSpec(layout="flat"), "expected 2 axes for layout flat, found sizes any x 3 x 14 x 14"),
            (small_model, InputSpec(softmax=True), "found probabilities, which add up to 1; leave softmax out"),
            (small_model, InputSpec(output="probs"), "found 'probs' in the spec"),
        ],
    )
    def test_a_file_that_is_no_classifier_of_one_image(
        self, make: Callable[[], onnx.ModelProto], spec: InputSpec | None, problem: str, tmp_path: Path
    ) -> None:
        refused(files.saved(make(), tmp_path), problem, spec=spec)

    def test_images_of_another_shape(self, tmp_path: Path) -> None:
        path = files.saved(small_model(), tmp_path)
        refused(path, "C x H x W = 3 x 14 x 14, found 14 x 14 x 3; the image's axes seem", np.zeros((14, 14, 3), "f"))
        refused(path, "found 1 x 28 x 28", np.zeros((1, 28, 28), "f"))
        flat = files.saved(files.flat(), tmp_path)
        refused(flat, "expected images of 588 numbers", np.zeros((3, 15, 15), "f"), InputSpec(layout="flat"))

    def test_nan_among_the_probabilities(self, tmp_path: Path) -> None:
        model = small_model()
        bias = next(entry for entry in model.graph.initializer if entry.name == "b2")
        bias.CopyFrom(onnx.numpy_helper.from_array(np.full(4, np.nan, np.float32), "b2"))
        refused(files.saved(model, tmp_path), "found NaN or infinity; check the network's weights")

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "net.onnx").write_bytes(b"no network")
        for path in (tmp_path / "net.onnx", tmp_path, tmp_path / "none.onnx", tmp_path / ("x" * 300)):
            refused(path, "expected an ONNX file")

    def test_scores_as_the_probabilities_that_they_are_not(self, photos: Array, tmp_path: Path) -> None:
        path = files.saved(files.pytorch(), tmp_path)
        with pytest.raises(NetworkError, match=re.escape("InputSpec(softmax=True), or explain a score itself: 'fc:0'")):
            explain(path, photos[0], pool=photos[1:])
        found = explain(path, photos[0], "fc:1", pool=photos[1:], stride=2)
        assert found.measures == ("AD",)
