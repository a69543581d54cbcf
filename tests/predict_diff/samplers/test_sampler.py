"""Counter-based streams: one for each seed, position and purpose."""

import itertools

import numpy as np
import pytest

from predict_diff.errors import ConfigurationError
from predict_diff.samplers import stream


def test_a_stream_starts_anew_each_time():
    once = stream(5, 3, 4, "test").standard_normal(1000)
    stream(5, 3, 5, "test").standard_normal(1000)
    assert np.array_equal(once, stream(5, 3, 4, "test").standard_normal(1000))


def test_seed_row_column_and_purpose_each_choose_another_stream():
    settings = itertools.product([0, 1, 2**64 - 1], [0, 1, 217], [0, 1, 217], ["marginal", "gaussian"])
    first = [tuple(stream(*setting).integers(0, 2**62, 4)) for setting in settings]
    assert len(set(first)) == 3 * 3 * 3 * 2


def test_seed_and_position_are_the_words_of_philox():
    """Key (seed, purpose), counter (0, 0, row, column), the least significant word first."""
    state = stream(11, 12, 13, "test").bit_generator.state["state"]
    assert state["key"][0] == 11
    assert state["counter"].tolist() == [0, 0, 12, 13]


def test_streams_of_neighbours_are_not_correlated():
    numbers = np.stack(
        [stream(0, row, column, "test").standard_normal(4000) for row in range(4) for column in range(4)]
    )
    correlation = np.corrcoef(numbers) - np.eye(16)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "one", None])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ConfigurationError, match="seed: expected a whole number from 0"):
        stream(seed, 0, 0, "test")
