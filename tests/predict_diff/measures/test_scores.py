"""Scores of images: what the network says, whatever the batch."""

import numpy as np
import pytest

from predict_diff import Target
from predict_diff.errors import ConfigurationError, NetworkError
from predict_diff.measures import deletion, scorer
from predict_diff.network.function import FunctionNetwork


def test_a_scorer_gives_a_targets_value_for_any_number_of_images(network, photos):
    expected = network.run(photos, "prob")["prob"][:, 2]
    scores = scorer(network, Target("prob", (2,)), batch_size=7)
    for count in (0, 1, 6, 7, 8, 60):
        found = scores(photos[:count])
        assert found.dtype == np.float64
        assert found == pytest.approx(expected[:count], abs=1e-6)


def test_a_score_does_not_depend_on_how_many_are_asked_for(network, photos):
    scores = scorer(network, Target("prob", (1,)), batch_size=8)
    together = scores(photos)
    assert np.array_equal(together, np.concatenate([scores(photos[:8]), scores(photos[8:])]))
    assert scores(photos[11:12])[0] == pytest.approx(together[11], abs=1e-6)


def test_every_batch_of_a_function_has_the_same_size(network, photos):
    sizes = []

    def classify(batch):
        sizes.append(len(batch))
        return network.run(batch, "prob")["prob"]

    scores = scorer(FunctionNetwork(classify, photos[0]), Target("prob", (2,)), batch_size=7)
    sizes.clear()
    found = scores(photos[:17])
    assert sizes == [7, 7, 7]
    assert found == pytest.approx(network.run(photos[:17], "prob")["prob"][:, 2], abs=1e-6)


def test_the_mean_of_a_feature_map_has_a_score_too(network, photos):
    expected = network.run(photos[:3], "pool")["pool"][:, 4].mean(axis=(1, 2))
    assert scorer(network, Target("pool", (4,)))(photos[:3]) == pytest.approx(expected, abs=1e-5)


def test_a_networks_deletion_curve_ends_at_its_value_for_the_baseline(network, x):
    target = Target("prob", (0,))
    found = deletion(scorer(network, target), x, x.sum(axis=0), steps=10)
    ends = network.run(np.stack([x, np.zeros_like(x)]), "prob")["prob"][:, 0]
    assert found.scores[[0, -1]] == pytest.approx(ends, abs=1e-6)
    assert 0 <= found.area <= 1


def test_targets_and_images_that_do_not_fit_are_refused(network):
    with pytest.raises(ConfigurationError, match="so it has no unit"):
        scorer(network, Target("prob", (9,)))
    with pytest.raises(ConfigurationError, match="batch size: expected at least 1"):
        scorer(network, Target("prob", (0,)), -1)
    with pytest.raises(NetworkError, match="expected photos of shape"):
        scorer(network, Target("prob", (0,)))(np.zeros((2, 3, 5, 5), np.float32))
