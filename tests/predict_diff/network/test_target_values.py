"""Evaluators that are used for other targets: the very numbers of one that is made for them, and no further session."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from foreign_files import fixed_batch
from numpy.typing import NDArray
from small_network import small_model

from predict_diff.errors import ConfigurationError
from predict_diff.network import incremental
from predict_diff.network.function import FunctionNetwork
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.network.predictor import Predictor
from predict_diff.network.target_values import TargetValues
from predict_diff.targets import Target

Array = NDArray[np.float32]
Make = Callable[[Predictor, list[Target]], MiniBatchEvaluator | IncrementalEvaluator]

MAKE: dict[str, Make] = {
    "minibatch": lambda network, targets: MiniBatchEvaluator(network, targets, 4),
    "incremental": lambda network, targets: IncrementalEvaluator(network, targets, 3, 4),  # type: ignore[arg-type]
}
#: Units, a single unit of a feature map, and whole feature maps, of the same blobs in the same order.
SOME = [Target("prob", (1,)), Target("conv", (2,)), Target("pool", (0, 3, 4)), Target("prob", (3,)), Target("fc", (0,))]
OTHERS = [
    Target("prob", (2,)), Target("conv", (4,)), Target("pool", (4, 6, 0)), Target("prob", (2,)), Target("fc", (3,))
]  # fmt: skip
WINDOWS = np.array([[0, 0], [11, 11], [5, 4], [2, 9], [7, 7]])


@pytest.fixture
def patches(photos: Array) -> Array:
    return np.stack([[photos[s, :, r : r + 3, c : c + 3] for s in (7, 8, 9)] for r, c in WINDOWS])


@pytest.fixture(params=MAKE)
def make(request: pytest.FixtureRequest) -> Make:
    return MAKE[request.param]


def test_other_targets_have_the_numbers_of_an_evaluator_made_for_them(
    make: Make, network: Network, photos: Array, patches: Array
) -> None:
    first = make(network, SOME)
    second = first.for_targets(OTHERS)
    assert (first.targets, second.targets) == (tuple(SOME), tuple(OTHERS))
    assert first.batching == second.batching
    expected = [make(network, targets).evaluate(photos[0], WINDOWS, patches) for targets in (SOME, OTHERS)]
    known = [make(network, targets).values(photos[0]) for targets in (SOME, OTHERS)]
    for _ in range(2):  # by turns
        for evaluator, values, of_photo in zip((first, second), expected, known, strict=True):
            np.testing.assert_array_equal(evaluator.values(photos[0]), of_photo)
            np.testing.assert_array_equal(evaluator.evaluate(photos[0], WINDOWS, patches), values)


def test_each_has_a_photo_of_its_own(make: Make, network: Network, photos: Array, patches: Array) -> None:
    first = make(network, SOME)
    second = first.for_targets(OTHERS)
    expected = [
        make(network, targets).evaluate(x, WINDOWS, patches) for targets, x in ((SOME, photos[0]), (OTHERS, photos[1]))
    ]
    for _ in range(2):
        np.testing.assert_array_equal(first.evaluate(photos[0], WINDOWS, patches), expected[0])
        np.testing.assert_array_equal(second.evaluate(photos[1], WINDOWS, patches), expected[1])


def test_no_further_session_is_opened(
    make: Make, network: Network, photos: Array, patches: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = make(network, SOME)
    evaluator.evaluate(photos[0], WINDOWS, patches)
    opened: list[onnx.ModelProto] = []
    open_session = Network.extended
    monkeypatch.setattr(Network, "extended", lambda self, model: opened.append(model) or open_session(self, model))
    other = evaluator.for_targets(OTHERS)
    assert not opened
    other.evaluate(photos[0], WINDOWS, patches)
    # What a photo gives is computed once for each, by a session that is not kept.
    assert all(not name.startswith("targets") for model in opened for name in (info.name for info in model.graph.input))
    assert len(opened) <= 1


def test_a_photo_that_failed_is_not_taken_for_known(
    network: Network, photos: Array, patches: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = MAKE["incremental"](network, SOME)
    evaluator.values(photos[0])
    other = evaluator.for_targets(OTHERS)

    def fail(*arguments: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(incremental.Buffer, "fill", fail)
        with pytest.raises(MemoryError):
            other.values(photos[1])
    expected = MAKE["incremental"](network, SOME).evaluate(photos[0], WINDOWS, patches)
    np.testing.assert_array_equal(evaluator.evaluate(photos[0], WINDOWS, patches), expected)


@pytest.mark.parametrize(
    "targets",
    [
        SOME[:-1],
        [*SOME, SOME[0]],
        [SOME[1], SOME[0], *SOME[2:]],
        [Target("fc", (1,)), *SOME[1:]],
        [*SOME[:2], Target("pool", (0,)), *SOME[3:]],
    ],
)
def test_targets_of_other_blobs_need_another_evaluator(make: Make, network: Network, targets: list[Target]) -> None:
    with pytest.raises(ConfigurationError, match=r"expected units of the same blobs as prob:1, .*; make another"):
        make(network, SOME).for_targets(targets)


def test_units_that_do_not_exist_are_refused(make: Make, network: Network) -> None:
    with pytest.raises(ConfigurationError, match=r"blob 'prob' is 4, so it has no unit \(4,\)"):
        make(network, SOME).for_targets([Target("prob", (4,)), *SOME[1:]])


def test_in_half_precision(network: Network, photos: Array, patches: Array) -> None:
    half = Network(small_model(), provider="cpu", threads=1, precision="fp16")
    for make in MAKE.values():
        expected = make(half, OTHERS).evaluate(photos[0], WINDOWS, patches)
        np.testing.assert_array_equal(
            make(half, SOME).for_targets(OTHERS).evaluate(photos[0], WINDOWS, patches), expected
        )


def test_of_a_network_that_insists_on_the_size_of_its_batch() -> None:
    network = Network(fixed_batch(3), provider="cpu", threads=1)
    blob = network.outputs[0]
    images = np.random.default_rng(0).random((7, *network.input_shape)).astype(np.float32)
    whole = network.run(images, blob)[blob]
    values = TargetValues(network, [Target(blob, (0,))])
    np.testing.assert_array_equal(values(images)[:, 0], whole[:, 0])
    np.testing.assert_array_equal(values.for_targets([Target(blob, (1,))])(images)[:, 0], whole[:, 1])


def test_of_a_function(network: Network, photos: Array, patches: Array) -> None:
    function = FunctionNetwork(lambda batch: network.run(batch, "prob")["prob"], photos[0])
    evaluators = [MAKE["minibatch"](function, [Target("prob", (unit,))]) for unit in (1, 3)]
    found = evaluators[0].for_targets([Target("prob", (3,))]).evaluate(photos[0], WINDOWS, patches)
    np.testing.assert_array_equal(found, evaluators[1].evaluate(photos[0], WINDOWS, patches))


def test_threads_that_share_sessions_do_not_see_each_others_photos(
    make: Make, network: Network, photos: Array, patches: Array
) -> None:
    first = make(network, SOME)
    evaluators = [first, first.for_targets(OTHERS), first, first.for_targets(OTHERS)]
    expected = [
        make(network, list(evaluator.targets)).evaluate(x, WINDOWS, patches)
        for evaluator, x in zip(evaluators, photos, strict=False)
    ]

    def often(number: int) -> list[Array]:
        return [evaluators[number].evaluate(photos[number], WINDOWS, patches) for _ in range(10)]

    with ThreadPoolExecutor(len(evaluators)) as pool:
        for number, found in enumerate(pool.map(often, range(len(evaluators)))):
            for values in found:
                np.testing.assert_array_equal(values, expected[number])
