"""Any classifier in a few lines: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import doctest
import logging
import re
from pathlib import Path
from typing import Any

import foreign_files as files
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import resize
from small_network import small_model

from predict_diff import InputSpec, explain
from predict_diff.algorithm import prediction_difference
from predict_diff.errors import ConfigurationError, ImageError, NetworkError, PredictDiffError, SamplerError
from predict_diff.methods.prediction_difference import PredictionDifference
from predict_diff.network.choosing import choose_evaluator
from predict_diff.network.network import Network
from predict_diff.result import RelevanceMap
from predict_diff.samplers import GaussianSampler, GaussianStatistics
from predict_diff.samplers.fills import ConstantFill
from predict_diff.targets import Target

Array = NDArray[np.float32]

#: What makes a call short.
QUICK: dict[str, Any] = {"sampler": "marginal", "k": 4, "stride": 4, "samples": 2, "instances": 100}

GREY = np.random.default_rng(3).random((40, 6, 7)).astype(np.float32)
WEIGHTS = np.random.default_rng(4).normal(0, 0.5, (6, 7, 3))


def of_grey(images: Array) -> NDArray[np.float64]:
    """A function of grey images, (n, 1, 6, 7), with three classes."""
    powers = np.exp(np.tensordot(images[:, 0], WEIGHTS, 2))
    return powers / powers.sum(axis=1, keepdims=True)


def one(found: RelevanceMap | list[RelevanceMap]) -> RelevanceMap:
    assert isinstance(found, RelevanceMap)
    return found


class TestExamples:
    """Those of the docstring, as they stand there; only the photo is smaller."""

    @staticmethod
    def run(number: int, names: dict[str, Any]) -> RelevanceMap:
        lines = [entry.source for entry in doctest.DocTestParser().get_examples(explain.__doc__ or "")]
        starts = [place for place, line in enumerate(lines) if line == "import predict_diff\n"]
        chosen = lines[starts[number] : [*starts, None][number + 1]]
        assert sum(line.count("\n") for line in chosen) <= 10
        exec("".join(chosen).replace("224", "12"), names)  # noqa: S102
        return one(names["result"])

    def test_an_onnx_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        model = files.open_size()
        files.gives(model, files.tensor("fc", sizes=["N", 4]))
        files.saved(model, tmp_path)
        monkeypatch.chdir(tmp_path)
        photos = list(np.random.default_rng(0).integers(0, 256, (30, 20, 24, 3), np.uint8))
        found = self.run(0, {"photo": photos[0], "photos": photos[1:]})
        assert found.maps.shape == (1, 12, 12)
        assert found.measures == ("WE",)
        assert found.maps.any()

    @pytest.mark.slow
    def test_digits_of_scikit_learn(self) -> None:
        pytest.importorskip("sklearn")
        names: dict[str, Any] = {}
        found = self.run(1, names)
        assert found.targets == (Target("prob", (0,)),)  # the first digit is a 0
        assert found.provenance["laplace_instances"] == 1796
        # Its middle is white in no other digit: there is most of the evidence, and the border says little.
        assert found.maps[0][3:5, 3:5].min() > 1 > np.abs(found.maps[0][:, 0]).max()


class TestWhatItGives:
    def test_it_is_algorithm_1_with_these_settings(self, network: Network, x: Array, photos: Array) -> None:
        found = one(explain(network, x, 1, pool=photos[1:], k=3, l=6, samples=3, stride=2, seed=5, instances=100))
        evaluator = choose_evaluator(network, [Target("prob", (1,))], 3)
        sampler = GaussianSampler(GaussianStatistics.fit(photos[1:], 6), 3)
        expected = prediction_difference(x, evaluator, sampler, 3, 2, 5, 100)
        np.testing.assert_array_equal(found.maps, expected.maps)
        assert found.provenance["sampler"] == expected.provenance["sampler"]

    def test_a_file_a_network_and_a_function_give_the_same(
        self, network: Network, x: Array, photos: Array, tmp_path: Path
    ) -> None:
        def classify(batch: Array) -> Array:
            return network.run(batch, "prob")["prob"]

        models = (network, files.saved(small_model(), tmp_path), small_model(), classify)
        maps = [one(explain(model, x, 1, pool=photos[1:], provider="cpu", **QUICK)).maps for model in models]
        for other in maps[1:]:
            np.testing.assert_allclose(other, maps[0], rtol=0, atol=1e-4)

    def test_several_images_give_what_each_gives(self, network: Network, photos: Array) -> None:
        alone = [one(explain(network, photo, pool=photos[3:], **QUICK)) for photo in photos[:3]]
        for several in (photos[:3], list(photos[:3])):
            together = explain(network, several, pool=list(photos[3:]), **QUICK)
            assert isinstance(together, list)
            for found, expected in zip(together, alone, strict=True):
                np.testing.assert_array_equal(found.maps, expected.maps)
                assert found.targets == expected.targets
        assert len(explain(network, photos[:1], pool=photos[3:], **QUICK)) == 1  # type: ignore[arg-type]

    def test_images_are_left_as_they_are(self, network: Network, photos: Array) -> None:
        before = photos.copy()
        explain(network, photos[:2], pool=photos[2:], **QUICK)
        np.testing.assert_array_equal(photos, before)

    @pytest.mark.parametrize("channels", [1, 2, 5])
    def test_images_have_any_number_of_channels_and_any_size(self, channels: int) -> None:
        images = np.random.default_rng(0).random((50, channels, 9, 13)).astype(np.float32)

        def classify(batch: Array) -> Array:
            p = 1 / (1 + np.exp(-batch[:, -1, 4:, :5].mean(axis=(1, 2))))
            return np.stack([p, 1 - p], axis=1)

        found = one(explain(classify, images[0], pool=images[1:], samples=2))
        assert found.maps.shape == (1, 9, 13)
        assert np.abs(found.maps[0, 5:, :4]).max() > 0 == np.abs(found.maps[0, :, 8:]).max()

    def test_a_grey_image_needs_no_axis_for_its_channel(self) -> None:
        maps = [
            one(explain(of_grey, image, 0, pool=pool, samples=2)).maps
            for image, pool in (
                (GREY[0], GREY[1:]),
                (GREY[0][None], GREY[1:, None]),
                (GREY[0], list(GREY[1:])),
                (GREY[0].tolist(), GREY[1:]),
            )
        ]
        for other in maps[1:]:
            np.testing.assert_array_equal(other, maps[0])

    def test_progress_goes_over_all_images(self, network: Network, photos: Array) -> None:
        said: list[tuple[int, int]] = []
        explain(network, photos[:2], pool=photos[2:], progress=lambda *now: said.append(now), **QUICK)
        assert said[-1] == (32, 32)
        assert said == sorted(said)

    def test_a_journal_for_each_image_lets_it_go_on(self, network: Network, photos: Array, tmp_path: Path) -> None:
        first, again = (
            explain(network, photos[:2], pool=photos[2:], journal=tmp_path / "run.h5", **QUICK) for _ in range(2)
        )
        assert sorted(path.name for path in tmp_path.glob("*.h5")) == ["run0.h5", "run1.h5"]
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one.maps, other.maps)


class TestTargets:
    def found(self, network: Network, x: Array, photos: Array, target: Any, **more: Any) -> tuple[Target, ...]:
        return one(explain(network, x, target, pool=photos[1:], **QUICK, **more)).targets

    def test_the_most_probable_class_of_each_image(self, network: Network, photos: Array) -> None:
        found = explain(network, photos[:5], pool=photos[5:], **QUICK)
        tops = network.run(photos[:5], "prob")["prob"].argmax(axis=1)
        assert [one.targets[0].index for one in found] == [(top,) for top in tops]  # type: ignore[union-attr]

    def test_numbers_labels_units_and_targets(self, network: Network, x: Array, photos: Array) -> None:
        spec = InputSpec(labels=("cat", "dog", "Owl", "a:b"))
        wanted = [2, np.int64(3), "dog", "owl", "a:b", "fc:1", Target("conv", (2,))]
        pictures = np.random.default_rng(0).random((9, 14, 14, 3))
        found = one(explain(network, pictures[0], wanted, pool=pictures[1:], spec=spec, **QUICK)).targets
        assert [str(target) for target in found] == ["prob:2", "prob:3", "prob:1", "prob:2", "prob:3", "fc:1", "conv:2"]

    @pytest.mark.parametrize(
        ("target", "problem"),
        [
            (4, "a class from 0 to 3, found 4"),
            (-1, "a class from 0 to 3, found -1"),
            ("dog", "and no labels; give them"),
            (1.5, "found 1.5"),
            (True, "found True"),
            ([], "at least one, found none"),
            (Target("prob", (9,)), "has no unit"),
            ("prob:", "expected BLOB:UNIT"),
            (None, "found None"),
            ("a\nb", "found 'a b', and no labels"),
            (np.arange(1000), r"found array\(\["),
        ],
    )
    def test_those_that_do_not_exist_are_refused(
        self, network: Network, x: Array, photos: Array, target: Any, problem: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=problem) as caught:
            self.found(network, x, photos, target)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize(
        ("blob", "index"),
        [("prob", (-1,)), ("prob", (1.5,)), ("prob", (True,)), ("prob", ("a",)), ("prob", 3), (3, (0,))],
    )
    def test_a_target_has_a_name_and_whole_numbers_from_0_on(self, blob: Any, index: Any) -> None:
        with pytest.raises(ConfigurationError, match="a tuple of whole numbers from 0 on"):
            Target(blob, index)

    def test_labels_may_be_an_array(self, network: Network) -> None:
        pictures = np.random.default_rng(0).random((9, 14, 14, 3))
        spec = InputSpec(labels=np.array(["cat", "dog", "owl", "ant"]))  # as scikit-learn's target_names
        found = one(explain(network, pictures[0], "owl", pool=pictures[1:], spec=spec, **QUICK))
        assert found.targets == (Target("prob", (2,)),)

    def test_labels_that_do_not_fit_are_refused(self, network: Network) -> None:
        pictures = np.random.default_rng(0).random((9, 14, 14, 3))
        for labels, target, problem in (
            (("a", "b"), "a", "expected 4, one for each class, found 2"),
            (("cat", "dog", "owl", "ant"), "cot", r"none has it \(did you mean 'cat'"),
            (("cat", "cat", "owl", "ant"), "cat", "classes 0, 1 have that label"),
        ):
            with pytest.raises(ConfigurationError, match=problem):
                explain(network, pictures[0], target, pool=pictures[1:], spec=InputSpec(labels=labels), **QUICK)


class TestSpec:
    def test_photos_become_what_the_formula_says(self) -> None:
        photo = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
        spec = InputSpec(channels="BGR", white=255, mean=(104, 117, 123), std=(2, 3, 4), scale=0.5)
        expected = (photo[..., ::-1].astype(np.float64) - (104, 117, 123)) / (2, 3, 4) * 0.5
        np.testing.assert_allclose(spec.prepare(photo), expected.transpose(2, 0, 1), rtol=0, atol=1e-4)
        np.testing.assert_allclose(spec.prepare(photo / 255), expected.transpose(2, 0, 1), rtol=0, atol=1e-4)
        assert spec.prepare(photo).dtype == np.float32

    def test_grey_and_colour(self) -> None:
        photo = np.random.default_rng(0).random((5, 6, 3))
        grey = photo @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(InputSpec(channels="grey").prepare(photo), grey[None], atol=1e-6)
        for given in (grey, grey[..., None]):
            np.testing.assert_allclose(InputSpec().prepare(given), np.stack([grey] * 3), atol=1e-6)
            np.testing.assert_allclose(InputSpec(channels="grey").prepare(given), grey[None], atol=1e-6)

    def test_sizes(self) -> None:
        photo = np.random.default_rng(0).random((20, 30, 5))
        found = InputSpec(size=(10, 12), channels=5).prepare(photo)
        expected = resize(photo, (10, 12), order=1, mode="edge", anti_aliasing=True)
        np.testing.assert_allclose(found, expected.transpose(2, 0, 1), rtol=0, atol=1e-5)
        assert InputSpec(size=8).prepare(photo[..., :3]).shape == (3, 8, 8)

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC", "flat", "flat NHWC"])
    def test_a_function_gets_its_layout(self, layout: Any) -> None:
        pictures = np.random.default_rng(0).random((21, 5, 6, 3))
        shapes = {"NCHW": (3, 5, 6), "NHWC": (5, 6, 3), "flat": (90,), "flat NHWC": (90,)}
        weights = np.random.default_rng(1).normal(0, 0.3, (5, 6, 3))  # of one classifier, in every layout
        ours = np.moveaxis(weights, -1, 0) if layout in ("NCHW", "flat") else weights

        def classify(batch: Array) -> Array:
            assert batch.shape[1:] == shapes[layout]
            p = 1 / (1 + np.exp(-batch.reshape(len(batch), -1) @ ours.ravel()))
            return np.stack([p, 1 - p], axis=1)

        found = one(explain(classify, pictures[0], 0, pool=pictures[1:], spec=InputSpec(layout=layout), samples=2))
        p = 1 / (1 + np.exp(-(pictures[0] * weights).sum()))
        np.testing.assert_allclose(found.known, p, rtol=1e-5)

    def test_a_function_of_grey_images_without_an_axis_for_them(self) -> None:
        spec = InputSpec(layout="NHW", channels="grey")
        found = one(explain(lambda batch: of_grey(batch[:, None]), GREY[0], 0, pool=GREY[1:], spec=spec, samples=2))
        np.testing.assert_allclose(found.known, of_grey(GREY[:1, None])[0, :1], rtol=1e-5)

    def test_a_function_that_gives_scores(self) -> None:
        spec = InputSpec(softmax=True, channels="grey")
        found = one(explain(lambda batch: np.log(of_grey(batch)), GREY[0], 0, pool=GREY[1:], spec=spec, samples=2))
        np.testing.assert_allclose(found.known, of_grey(GREY[:1, None])[0, :1], rtol=1e-5)

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"size": 0}, "size: expected a number of pixels"),
            ({"size": (3, 4, 5)}, "size"),
            ({"size": "224"}, "size"),
            ({"layout": "HWC"}, "layout: expected one of NCHW, NHWC"),
            ({"layout": "NHW"}, "layout"),
            ({"channels": "rgb"}, "channels: expected one of RGB, BGR, grey, or how many, found 'rgb'"),
            ({"channels": 0}, "channels"),
            ({"white": 0}, "white"),
            ({"white": "1"}, "white"),
            ({"mean": (1, 2)}, "mean: expected a number, or one for each of 3 channels"),
            ({"mean": np.nan}, "mean"),
            ({"std": (1, 0, 1)}, "std: expected numbers other than 0"),
            ({"scale": "much"}, "scale"),
            ({"labels": "cat"}, "labels: expected a sequence"),
            ({"labels": range(3)}, "labels: expected a sequence of names, each a text"),
            ({"labels": {"cat", "dog"}}, "labels"),  # which have no order
            ({"labels": {0: "cat"}}, "labels"),
            ({"labels": (name for name in "ab")}, "labels"),
            ({"labels": [b"cat"]}, "labels"),
            ({"layout": np.array(["NCHW", "NHWC"])}, "layout"),
            ({"size": b"ab"}, "size"),
            ({"softmax": "no"}, "softmax: expected True or False, found 'no'"),
            ({"output": 1}, "output: expected the name"),
        ],
    )
    def test_impossible_values_are_refused(self, settings: dict[str, Any], problem: str) -> None:
        with pytest.raises(ConfigurationError, match=problem):
            InputSpec(**settings)

    @pytest.mark.parametrize(
        ("photo", "problem"),
        [
            (np.full((5, 6, 3), 200.0), "from 0 to 1, found 200 to 200; divide by what white is"),
            (np.full((5, 6, 3), -0.5), "found -0.5"),
            (np.ones((5, 6, 3), np.uint8), "from 0 to 255 in uint8, found none above 1"),
            (np.full((5, 6, 3), 100), "found int64"),
            (np.full((5, 6, 3), 100, np.uint16), "found uint16; divide by what white is, such as 65535"),
            (np.ma.masked_array(np.ones((5, 6, 3)), mask=True), "masked"),
            ("cat.jpg", "read the file first"),
            (np.full((5, 6, 3), np.nan), "found NaN"),
            (np.ones((3, 5, 6)), r"found shape \(3, 5, 6\); channels come last in photos"),
            (np.ones((5, 6, 4)), "leave the opacity out"),
            (np.ones((5,)), "expected shape"),
            (np.ones((0, 6, 3)), "expected shape"),
        ],
    )
    def test_photos_of_another_range_or_order_are_refused(self, photo: NDArray[Any], problem: str) -> None:
        with pytest.raises(ImageError, match=problem):
            InputSpec().prepare(photo)

    def test_numbers_that_become_too_large_are_refused(self) -> None:
        with pytest.raises(ImageError, match=r"once the spec's mean, std and scale are applied: .* beyond float32"):
            InputSpec(std=1e-45).prepare(np.ones((5, 6, 3)))

    def test_sizes_beyond_all_memory_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="found a size of 10,000,000 x 10,000,000"):
            InputSpec(size=10**7).prepare(np.ones((5, 6, 3)))
        model = small_model()  # a file, too, may claim what it likes
        for axis in (2, 3):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 10**6
        pictures = np.random.default_rng(0).random((9, 14, 14, 3))
        with pytest.raises(ImageError, match="found a size of 1,000,000 x 1,000,000; correct the spec, or the network"):
            explain(files.saved(model, tmp_path), pictures[0], pool=pictures[1:], spec=InputSpec(), **QUICK)

    def test_the_photo_that_does_not_fit_is_named(self, network: Network) -> None:
        pictures = list(np.random.default_rng(0).random((9, 14, 14, 3)))
        pictures[5] = pictures[5] * 255
        with pytest.raises(ImageError, match="pool: photo 4: expected floating point from 0 to 1"):
            explain(network, pictures[0], pool=pictures[1:], spec=InputSpec(), **QUICK)
        with pytest.raises(ImageError, match="photo 5: expected floating point from 0 to 1"):
            explain(network, pictures, pool=pictures, spec=InputSpec(), **QUICK)

    def test_what_contradicts_the_network_is_refused(self, network: Network, tmp_path: Path) -> None:
        pictures = np.random.default_rng(0).random((9, 14, 14, 3))
        path = files.saved(small_model(), tmp_path)
        for model, spec, problem in (
            (path, InputSpec(size=20), r"size: expected \(14, 14\), which the network insists on"),
            (network, InputSpec(softmax=True), "are for files and functions"),
            (lambda batch: batch[:, 0, 0, :2], InputSpec(output="prob"), "output: expected none, since a function"),
            (path, InputSpec(channels="grey"), "C x H x W = 3 x 14 x 14, found 1 x 14 x 14"),
        ):
            with pytest.raises(PredictDiffError, match=problem):
                explain(model, pictures[0], pool=pictures[1:], spec=spec, **QUICK)


class TestSettings:
    @pytest.mark.parametrize(
        ("shape", "k", "l"),
        [
            ((3, 227, 227), 10, 14),
            ((3, 91, 300), 10, 14),
            ((3, 90, 90), 9, 13),
            ((1, 28, 28), 3, 7),
            ((1, 8, 8), 2, 6),
            ((1, 3, 3), 2, 3),
        ],
    )
    def test_windows_fit_the_size(self, shape: tuple[int, ...], k: int, l: int) -> None:
        assert PredictionDifference().sides(shape) == (k, l)

    def test_what_was_chosen_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        explain(of_grey, [GREY[0], GREY[1]], pool=GREY[2:], samples=2)
        assert caplog.text.count("N of the Laplace correction is the number of images in the pool, 38") == 1
        assert caplog.text.count("Windows of 2 x 2 pixels, outer patches of 6 x 6") == 1

    def test_an_image_in_its_own_pool_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        explain(of_grey, GREY[0], pool=GREY, samples=2)
        assert "Image 0 is in the pool too" in caplog.text

    def test_a_pool_that_is_no_training_set_needs_n(self) -> None:
        with pytest.raises(
            ConfigurationError, match=r"N of the Laplace correction.*since 20 other images, for 3 classes"
        ):
            explain(of_grey, GREY[0], pool=GREY[20:])
        with pytest.raises(ConfigurationError, match="N of the Laplace correction"):
            explain(of_grey, GREY[0], sampler=ConstantFill(2))
        assert (
            one(explain(of_grey, GREY[0], sampler=ConstantFill(2), instances=50)).provenance["laplace_instances"] == 50
        )

    def test_samplers_known_by_name_need_a_pool(self) -> None:
        for name in ("conditional", "marginal"):
            with pytest.raises(ConfigurationError, match=f"pool: expected other images.*the {name} sampler.*BlurFill"):
                explain(of_grey, GREY[0], sampler=name, instances=100)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"sampler": "gaussian"}, "expected conditional, marginal or a sampler, found 'gaussian'"),
            ({"sampler": 3}, "expected conditional, marginal or a sampler, found 3"),
            ({"sampler": ConstantFill(2), "k": 3}, "k: expected 2, that of the sampler, found 3"),
            ({"k": 7}, "k: expected a whole number, from 1 to 6, to fit into the image, found 7"),
            ({"k": 0}, "k: expected"),
            ({"k": 6}, "k: expected less than 6"),
            ({"k": 3, "l": 3}, "l"),
            ({"l": 7}, "l: expected a whole number, from 1 to 6"),
            ({"samples": 0}, "samples: expected"),
            ({"samples": 2.5}, "samples: expected"),
            ({"stride": 3, "k": 2}, "stride: expected 1 to k = 2"),
            ({"instances": 0}, "instances: expected"),
            ({"batch_size": 0}, "batch_size: expected a whole number, 1 or more"),
            ({"seed": -1}, "seed: expected"),
            ({"seed": "one"}, "seed: expected"),
            ({"progress": 3}, "progress: expected a function"),
            ({"journal": ""}, "journal: expected the name of a file, found ''"),
            ({"journal": 3}, "journal: expected the name of a file, found 3"),
            ({"provider": "gpu"}, "provider: expected auto, cpu, cuda, found 'gpu'"),
            ({"spec": {"size": 6}}, "spec: expected an InputSpec, found dict"),
        ],
    )
    def test_impossible_ones_are_refused(self, settings: dict[str, Any], problem: str) -> None:
        with pytest.raises(ConfigurationError, match=problem):
            explain(of_grey, GREY[0], **{"pool": GREY[1:], **settings})

    def test_a_batch_beyond_all_memory_is_refused(self) -> None:
        with pytest.raises(PredictDiffError, match="choose a smaller batch_size"):
            explain(of_grey, GREY[0], pool=GREY[1:], batch_size=10**15)

    def test_a_seed_of_numpys_is_saved(self, tmp_path: Path) -> None:
        found = one(explain(of_grey, GREY[0], pool=GREY[1:], samples=2, seed=np.int64(3)))  # type: ignore[arg-type]
        for name in ("map.h5", "map.npz"):
            assert RelevanceMap.load(found.save(tmp_path / name)).provenance["seed"] == 3

    def test_too_few_images_to_draw_from_are_refused(self) -> None:
        with pytest.raises(SamplerError, match="at least S = 20 photos"):
            explain(of_grey, GREY[0], pool=GREY[30:], sampler="marginal", instances=100)


class TestImagesThatAreRefused:
    @pytest.mark.parametrize(
        ("image", "problem"),
        [
            (np.zeros((14, 14, 3)), r"C = 3, found \(14, 14, 3\); channels come first"),
            (np.zeros((14, 14)), "C = 3, found .*no axis for channels"),
            (np.zeros((1, 14, 14)), "with C = 3"),
            (np.zeros((3, 15, 14)), r"expected shape \(3, 14, 14\), found \(3, 15, 14\); resize it"),
            (np.full((3, 14, 14), np.nan), "found NaN"),
            (np.full((3, 14, 14), "a"), "found <U1"),
            (np.zeros((2, 2, 3, 14, 14)), "found"),
            (np.zeros(14), "found"),
            ([], "found"),
            ([np.zeros((3, 14, 14)), np.zeros((3, 15, 14))], "image 1: expected shape"),
            (None, "found"),
            ([[[1, 2], [3]]], "image 0: expected an array, found list"),
            ("cat.jpg", "read the file first"),
            (np.ma.masked_array(np.zeros((3, 14, 14)), mask=True), "masked"),
            (np.full((3, 14, 14), 1e300), r"found 1e\+300, beyond float32"),
        ],
    )
    def test_by_a_network(self, network: Network, photos: Array, image: Any, problem: str) -> None:
        with pytest.raises(PredictDiffError, match=problem) as caught:
            explain(network, image, pool=photos, **QUICK)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("spec", [None, InputSpec(channels="grey")])
    def test_several_of_different_sizes_before_anything_is_computed(self, spec: InputSpec | None) -> None:
        done: list[int] = []
        images = [GREY[0], GREY[1], GREY[2, :5]]
        with pytest.raises(
            ImageError, match=r"image 2: expected shape \(1, 6, 7\), that of image 0, found \(1, 5, 7\)"
        ):
            explain(of_grey, images, spec=spec, pool=GREY[3:], progress=lambda *at: done.append(1), **QUICK)
        assert not done

    def test_axes_that_a_function_does_not_tell_are_not_guessed(self) -> None:
        with pytest.raises(ImageError, match=r"which looks like \(H, W, C\); channels come first"):
            explain(of_grey, np.zeros((20, 20, 3)), pool=np.zeros((9, 20, 20, 3)))
        with pytest.raises(ImageError, match=r"pool: image 0: .*with C = 3, found \(6, 7\)"):
            explain(lambda batch: of_grey(batch[:, :1]), GREY[:3], pool=GREY[3:])

    @pytest.mark.parametrize(
        ("pool", "problem"),
        [
            (np.zeros((9, 3, 14, 15)), r"pool: image 0: expected shape \(3, 14, 14\), found \(3, 14, 15\)"),
            (np.zeros((9, 1, 14, 14)), "with C = 3"),
            (np.zeros((14, 14)), "pool: expected several images"),
            ([], "at least one, found none"),
            ([[[1, 2], [3]]], "pool: image 0: expected an array"),
            (np.full((9, 3, 14, 14), np.inf), "found NaN or infinity"),
        ],
    )
    def test_pools(self, network: Network, x: Array, pool: Any, problem: str) -> None:
        with pytest.raises(PredictDiffError, match=problem):
            explain(network, x, pool=pool, **QUICK)


class TestModelsThatAreRefused:
    @pytest.mark.parametrize("model", [3, None, object(), [1]])
    def test_what_is_none(self, model: Any) -> None:
        with pytest.raises(
            ConfigurationError, match="model: expected a Network, the path of an ONNX file, or a function"
        ):
            explain(model, GREY[0])

    def test_an_estimator_of_scikit_learn_is_told_apart(self) -> None:
        class Estimator:
            def predict_proba(self) -> None: ...

        with pytest.raises(ConfigurationError, match=re.escape("predict_proba on images.reshape(len(images), -1)")):
            explain(Estimator(), GREY[0])  # type: ignore[arg-type]

    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(NetworkError, match=r"none\.onnx: expected an ONNX file, found nothing there"):
            explain("none.onnx", GREY[0])
