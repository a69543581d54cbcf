"""Algorithm 1 against a literal transcription of the paper's listing, and what its results may not depend on."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from small_network import small_model

from predict_diff.algorithm import measures_of, prediction_difference
from predict_diff.authors_code import Faults, stale_window
from predict_diff.errors import ConfigurationError, NetworkError, SamplerError
from predict_diff.network.minibatch import MiniBatchEvaluator
from predict_diff.network.network import Network
from predict_diff.samplers import GaussianSampler, GaussianStatistics, MarginalSampler, Sampler
from predict_diff.targets import Target

K, L, S, N = 3, 5, 4, 1000
SEED = 7


@pytest.fixture(scope="module", params=["marginal", "conditional"])
def sampler(request: pytest.FixtureRequest, photos: NDArray[np.float32]) -> Sampler:
    if request.param == "marginal":
        return MarginalSampler(photos[1:], K)
    return GaussianSampler(GaussianStatistics.fit(photos[1:], L, patches=400), K)


def listing(network: Network, x: NDArray[np.float32], c: int, sampler: Sampler) -> NDArray[np.float64]:
    """The paper's listing, line by line: one window, one sample, one photo through the classifier at a time."""
    n = x.shape[1]

    def p(photo: NDArray[np.float32]) -> float:
        return float(network.run(photo, "prob")["prob"][0, c])

    def odds(probability: float) -> float:
        corrected = (probability * N + 1) / (N + 4)  # Laplace, 4 classes
        return corrected / (1 - corrected)

    evidence, counts = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n - K + 1):
        for j in range(n - K + 1):
            changed = x.copy()
            total = 0.0
            for s in range(S):
                changed[:, i : i + K, j : j + K] = sampler.sample(x, np.array([[i, j]]), S, SEED)[0, s]
                total += p(changed)
            without = total / S
            evidence[i : i + K, j : j + K] += log2(odds(p(x))) - log2(odds(without))
            counts[i : i + K, j : j + K] += 1
    return evidence / counts


def explain(
    network: Network,
    x: NDArray[np.float32],
    sampler: Sampler,
    targets: list[Target],
    batch_size: int | None = None,
    **options: object,
) -> object:
    evaluator = MiniBatchEvaluator(network, targets, batch_size)
    return prediction_difference(x, evaluator, sampler, **{"samples": S, "seed": SEED, "instances": N, **options})


def test_it_equals_the_papers_listing(network: Network, x: NDArray[np.float32], sampler: Sampler) -> None:
    found = explain(network, x, sampler, [Target("prob", (2,))])
    np.testing.assert_allclose(found.maps[0], listing(network, x, 2, sampler), rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64, 1000])
def test_the_map_does_not_depend_on_the_batch_size(
    network: Network, x: NDArray[np.float32], sampler: Sampler, batch_size: int
) -> None:
    targets = [Target("prob", (1,))]
    reference = explain(network, x, sampler, targets, 20)
    found = explain(network, x, sampler, targets, batch_size)
    np.testing.assert_allclose(found.maps, reference.maps, rtol=0, atol=1e-5)


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(
    network: Network, x: NDArray[np.float32], sampler: Sampler
) -> None:
    targets = [Target("prob", (1,))]
    first, second = (explain(network, x, sampler, targets) for _ in range(2))
    np.testing.assert_array_equal(first.relevance, second.relevance)
    assert not np.array_equal(first.relevance, explain(network, x, sampler, targets, seed=8).relevance)


def test_many_targets_in_one_pass_equal_each_by_itself(
    network: Network, x: NDArray[np.float32], sampler: Sampler
) -> None:
    targets = [Target("fc", (3,)), Target("prob", (0,)), Target("conv", (2,)), Target("conv", (2, 5, 6))]
    together = explain(network, x, sampler, targets)
    assert together.measures == ("AD", "WE", "AD", "AD")
    for u, target in enumerate(targets):
        alone = explain(network, x, sampler, [target])
        np.testing.assert_allclose(together.relevance[u], alone.relevance[0], rtol=0, atol=1e-6)


def test_classes_may_lie_along_any_axis(network: Network, x: NDArray[np.float32], sampler: Sampler) -> None:
    model = small_model()
    softmax = model.graph.node.pop()
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 1, 4]), "channels_last"))
    model.graph.node.append(helper.make_node("Reshape", [softmax.input[0], "channels_last"], ["turned"]))
    model.graph.node.append(helper.make_node("Softmax", ["turned"], ["prob"], axis=-1))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["N", 1, 4]))
    turned = explain(Network(model, "cpu", threads=1), x, sampler, [Target("prob", (0, 2))], instances=10)
    plain = explain(network, x, sampler, [Target("prob", (2,))], instances=10)
    np.testing.assert_allclose(turned.relevance, plain.relevance, rtol=0, atol=1e-6)


def test_the_mean_of_a_feature_map_is_the_mean_of_its_units(
    network: Network, x: NDArray[np.float32], sampler: Sampler
) -> None:
    # Figures 5 and 6: the average of differences is the difference of averages.
    units = [Target("pool", (4, row, column)) for row in range(7) for column in range(7)]
    whole = explain(network, x, sampler, [Target("pool", (4,))])
    single = explain(network, x, sampler, units)
    np.testing.assert_allclose(whole.maps[0], single.maps.mean(axis=0), rtol=0, atol=1e-6)


def test_a_linear_unit_has_the_closed_form_difference(network: Network, x: NDArray[np.float32]) -> None:
    # Of an input unit itself the activation difference is x minus the mean of its samples, in covering windows only.
    photos = np.stack([x + 1, x + 3])
    found = explain(network, x, MarginalSampler(photos, K), [Target("data", (1, 6, 6))], samples=2)
    inside = (np.abs(found.grid.positions - (6 - (K - 1) / 2)) <= (K - 1) / 2).all(axis=1)
    assert inside.sum() == K * K
    np.testing.assert_allclose(found.relevance[0], np.where(inside, -2.0, 0.0), atol=1e-5)


def test_the_standard_error_is_that_of_the_mean_over_repetitions(
    network: Network, x: NDArray[np.float32], sampler: Sampler
) -> None:
    targets = [Target("prob", (2,))]
    runs = [explain(network, x, sampler, targets, samples=12, seed=seed) for seed in range(40)]
    spread = np.std([run.maps[0] for run in runs], axis=0, ddof=1)
    stated = np.sqrt(np.mean([np.square(run.map_errors[0]) for run in runs], axis=0))
    # Samples without replacement from a small pool vary a little less than independent ones.
    assert 0.75 < np.median(stated / spread) < 1.35


def test_a_coarser_stride_keeps_the_windows_it_has(network: Network, x: NDArray[np.float32], sampler: Sampler) -> None:
    targets = [Target("prob", (2,))]
    fine, coarse = (explain(network, x, sampler, targets, stride=stride) for stride in (1, 3))
    places = {tuple(place): value for place, value in zip(fine.grid.positions, fine.relevance[0], strict=True)}
    expected = [places[tuple(place)] for place in coarse.grid.positions]
    np.testing.assert_allclose(coarse.relevance[0], expected, rtol=0, atol=1e-6)


def test_progress_ends_at_the_number_of_windows(network: Network, x: NDArray[np.float32], sampler: Sampler) -> None:
    seen: list[tuple[int, int]] = []
    explain(network, x, sampler, [Target("prob", (0,))], progress=lambda *now: seen.append(now))
    assert seen[-1] == (144, 144)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_no_sample_and_no_instance_are_refused(network: Network, x: NDArray[np.float32], sampler: Sampler) -> None:
    with pytest.raises(ConfigurationError, match="at least one sample a window, found 0"):
        explain(network, x, sampler, [Target("prob", (0,))], samples=0)
    with pytest.raises(ConfigurationError, match="positive number, found 0"):
        explain(network, x, sampler, [Target("prob", (0,))], instances=0)


def test_a_network_that_gives_nan_is_refused(network: Network, x: NDArray[np.float32]) -> None:
    class Broken:
        k = K

        def sample(self, x: object, windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
            return np.full((len(windows), count, 3, K, K), 3e38, np.float32)  # what is added up overflows

        def describe(self) -> dict[str, object]:
            return {}

    with pytest.raises(NetworkError, match="NaN or infinity"):
        explain(network, x, Broken(), [Target("prob", (0,))])


def test_what_a_result_could_not_be_saved_with_is_refused_before_anything_is_computed(
    network: Network, x: NDArray[np.float32]
) -> None:
    class Described:
        k = K

        def sample(self, x: object, windows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.float32]:
            raise AssertionError

        def describe(self) -> dict[str, object]:
            return {"deviation": np.float32(2)}

    with pytest.raises(SamplerError, match=r"Described: expected describe to give what JSON can hold.*float32"):
        explain(network, x, Described(), [Target("prob", (0,))])


class TestAuthorsFaults:
    """Authors' code: its faults are off by default, and each can be switched on by itself."""

    def test_the_stale_window_is_averaged_in_once_more(
        self, network: Network, x: NDArray[np.float32], sampler: Sampler
    ) -> None:
        targets = [Target("prob", (2,))]
        plain = explain(network, x, sampler, targets)
        faulty = explain(network, x, sampler, targets, faults=Faults(stale_window=True))
        again = explain(network, x, sampler, targets, seed=SEED + 1)
        # 144 windows in batches of 128 // 4 = 32: four are full, the last holds 16 and one of the batch before.
        stale = 3 * 32 + 16
        assert stale_window(144, S) == stale
        evidence, counts = np.zeros((14, 14)), np.zeros((14, 14))
        entries = [*zip(plain.grid.positions, plain.relevance[0], strict=True)]
        entries.append((plain.grid.positions[stale], again.relevance[0, stale]))
        for (row, column), value in entries:
            evidence[row : row + K, column : column + K] += value
            counts[row : row + K, column : column + K] += 1
        np.testing.assert_allclose(faulty.maps[0], evidence / counts, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("windows", "samples", "stale"), [(144, 10, 132), (24, 10, 12), (25, 10, 13), (11, 10, None)]
    )
    def test_which_window_is_stale(self, windows: int, samples: int, stale: int | None) -> None:
        # A list of windows is overwritten from its start; the last batch reads one entry too many.
        assert stale_window(windows, samples) == stale
        entries: list[int] = [-1] * (128 // samples)
        filled, full = 0, False
        for window in range(windows):
            entries[filled] = window
            filled += 1
            if filled == len(entries):
                filled, full = 0, True
        assert stale == (entries[filled] if full else None)

    def test_more_samples_than_a_batch_holds_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="at most 128, found 129"):
            stale_window(100, 129)

    def test_feature_maps_fail(self, network: Network, x: NDArray[np.float32], sampler: Sampler) -> None:
        with pytest.raises(ConfigurationError, match="feature map"):
            explain(network, x, sampler, [Target("conv", (2,))], faults=Faults(no_feature_maps=True))

    def test_evidence_goes_by_position(self, network: Network) -> None:
        targets = [Target("prob", (0,)), Target("fc", (0,))]
        assert measures_of(network, targets) == ("WE", "AD")
        assert measures_of(network, targets, by_position=True) == ("AD", "WE")
