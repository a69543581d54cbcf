"""Plans: whatever parts a map is computed in, put together they are the map; and nothing else is put together."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from predict_diff.authors_code import stale_window
from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.plan import Plan, in_order, merge, ranges
from predict_diff.result import RelevanceMap
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

#: With so many samples the authors' code has two windows in a batch.
SAMPLES = 64

ARRAYS = ("known", "expected", "relevance", "standard_error", "counts")


def make(side: int = 8, cuts: tuple[int, ...] = (3, 4, 9, 20, 21, 30), targets: int = 2, twice: bool = False) -> Plan:
    """A plan for the windows of a photo, in no order, cut into parts; with a second draw, as the authors' code has."""
    grid = WindowGrid(side, side, 3)
    parts = np.split(np.random.default_rng(side).permutation(len(grid)), sorted(cuts))
    if twice:
        parts.append(np.array([stale_window(len(grid), SAMPLES)]))
    order, bounds = in_order(parts)
    return Plan(
        grid=grid,
        targets=tuple(Target("prob", (unit,)) for unit in range(targets)),
        measures=("WE",) * targets,
        known=np.linspace(0.1, 0.9, targets),
        order=order,
        bounds=bounds,
        batching={"evaluator": "MiniBatchEvaluator", "batch_size": 5},
        provenance={
            "network": {"sha256": "abc", "provider": "cpu", "precision": "full"},
            "photo_sha256": "def",
            "sampler": {"name": "marginal"},
            "samples": SAMPLES,
            "seed": 0,
            "laplace_instances": 1000,
            "faults": {"stale_window": twice},
            "versions": {"numpy": "2.0"},
        },
        twice=twice,
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    side = draw(st.integers(4, 8))
    windows = (side - 2) ** 2
    cuts = draw(st.sets(st.integers(1, windows - 1), max_size=windows - 1))
    return make(side, tuple(cuts), draw(st.integers(1, 3)), draw(st.booleans()))


def values_of(plan: Plan) -> NDArray[np.float64]:
    """The values of all rows; those of the second draw are others than of the first."""
    return np.random.default_rng(1).normal(size=plan.shape)


def shards_of(plan: Plan, count: int) -> tuple[list[Plan], list[NDArray[np.float64]]]:
    """All shards, and the rows of the values that belong to each."""
    shards, values = [plan.as_shard(number, count) for number in range(1, count + 1)], values_of(plan)
    ends = np.cumsum([len(shard.order) for shard in shards])
    return shards, np.split(values, ends[:-1])


def put_together(plans: list[Plan], values: list[NDArray[np.float64]], names: list[str] | None = None) -> RelevanceMap:
    return merge(plans, [[block] for block in values], names or [f"{n}.h5" for n in range(len(plans))], {})


def expect_the_same(found: RelevanceMap, whole: RelevanceMap) -> None:
    for name in (*ARRAYS, "maps", "map_errors"):
        assert getattr(found, name).tobytes() == getattr(whole, name).tobytes(), name
    assert (found.grid, found.targets, found.measures) == (whole.grid, whole.targets, whole.measures)


# --- shards ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(plans(), st.data())
def test_shards_hold_every_part_once_and_put_together_they_are_the_whole(plan: Plan, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(plan)))
    shards, values = shards_of(plan, count)
    # Every part, as it is, in one shard; all shards have about as many.
    parts = [shard.windows(part).tolist() for shard in shards for part in range(len(shard))]
    assert parts == [plan.windows(part).tolist() for part in range(len(plan))]
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    assert [shard.shard for shard in shards] == [(number, count) for number in range(1, count + 1)]
    # The second draw is in the last.
    assert [shard.twice for shard in shards] == [False] * (count - 1) + [plan.twice]
    assert [[shard.draws_again(part) for part in range(len(shard))].count(True) for shard in shards] == [
        int(shard.twice) for shard in shards
    ]
    order = data.draw(st.permutations(range(count)))
    found = put_together([shards[index] for index in order], [values[index] for index in order])
    expect_the_same(found, plan.relevance_map([values_of(plan)], {}))


@settings(max_examples=40, deadline=None)
@given(plans(), st.data())
def test_ranges_of_parts_put_together_are_the_whole(plan: Plan, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(plan) - 1)))) if len(plan) > 1 else []
    pieces = [range(*ends) for ends in zip([0, *cuts], [*cuts, len(plan)], strict=True)]
    values = values_of(plan)
    found = put_together(
        [plan.only(piece) for piece in pieces],
        [values[plan.bounds[piece.start] : plan.bounds[piece.stop]] for piece in pieces],
    )
    expect_the_same(found, plan.relevance_map([values], {}))


@settings(max_examples=40, deadline=None)
@given(plans(), st.data())
def test_with_any_shard_missing_or_there_twice_nothing_is_put_together(plan: Plan, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, max(2, len(plan))))
    if count > len(plan):
        return
    shards, values = shards_of(plan, count)
    names = [f"{number}of{count}.h5" for number in range(1, count + 1)]
    odd = data.draw(st.integers(0, count - 1))
    kept = [index for index in range(count) if index != odd]
    with pytest.raises(ResultError, match=rf"missing, those of shard {odd + 1} of {count}; compute them and merge"):
        put_together(*([items[index] for index in kept] for items in (shards, values, names)))
    again = [*range(count), odd]
    with pytest.raises(ResultError, match=rf"^{names[odd]}: .* of {names[odd]}; leave one of the two out"):
        put_together(*([items[index] for index in again] for items in (shards, values, names)))


@pytest.mark.parametrize(("number", "count"), [(0, 3), (4, 3), (-1, 3), (1, 0), (1, 8), (8, 8)])
def test_a_shard_that_there_cannot_be_is_refused(number: int, count: int) -> None:
    with pytest.raises(ConfigurationError, match="shard"):
        make().as_shard(number, count)


@given(st.lists(st.integers(0, 30), unique=True))
def test_numbers_in_order_are_runs_without_gaps(numbers: list[int]) -> None:
    found = list(ranges(sorted(numbers)))
    assert [number for run in found for number in run] == sorted(numbers)
    assert all(before.stop < after.start for before, after in pairwise(found))


# --- a second draw, as the authors' code has ------------------------------------------------------------------------


def test_a_second_draw_counts_as_much_as_the_first() -> None:
    plan = make(twice=True)
    values = values_of(plan)
    found = plan.relevance_map([values], {})
    again = int(plan.order[-1])
    (first,) = np.flatnonzero(plan.order[:-1] == again)
    np.testing.assert_array_equal(found.relevance[:, again], (values[first, 1] + values[-1, 1]) / 2)
    np.testing.assert_array_equal(found.expected[:, again], values[first, 0])
    assert found.counts[again] == 2
    assert found.counts.sum() == len(found.grid) + 1


def test_without_its_second_draw_a_map_is_not_complete() -> None:
    plan = make(twice=True)
    shards, values = shards_of(plan, len(plan))  # the last has nothing else
    with pytest.raises(ResultError, match=rf"missing, those of shard {len(plan)} of {len(plan)};"):
        put_together(shards[:-1], values[:-1])


def test_a_second_draw_that_comes_twice_is_refused() -> None:
    plan = make(twice=True)
    shards, values = shards_of(plan, len(plan))
    with pytest.raises(ResultError, match=r"^8.h5: expected windows that no other part has, found 1 of 7.h5"):
        put_together([*shards, shards[-1]], [*values, values[-1]])


# --- what does not belong together ----------------------------------------------------------------------------------


def test_shards_of_different_counts_are_put_together_where_they_fit_and_refused_where_they_overlap() -> None:
    plan = make(cuts=tuple(range(1, 36)))
    values = values_of(plan)
    half, fourths = plan.as_shard(1, 2), [plan.as_shard(number, 4) for number in (3, 4)]
    found = put_together([fourths[1], half, fourths[0]], [values[27:], values[:18], values[18:27]])
    expect_the_same(found, plan.relevance_map([values], {}))
    with pytest.raises(
        ResultError, match=r"^b.h5: expected windows that no other part has, found 9 of a.h5; leave one of the two out$"
    ):
        put_together([half, plan.as_shard(2, 4)], [values[:18], values[9:18]], ["a.h5", "b.h5"])


def _provenance(plan: Plan, **changes: Any) -> Plan:
    return replace(plan, provenance={**plan.provenance, **changes})


MIXTURES = {
    "seed: 0, there 1": lambda plan: _provenance(plan, seed=1),
    "photo: def, there another": lambda plan: _provenance(plan, photo_sha256="another"),
    "samples: 64, there 5": lambda plan: _provenance(plan, samples=5),
    "network.sha256: abc, there xyz": lambda plan: _provenance(
        plan, network={**plan.provenance["network"], "sha256": "xyz"}
    ),
    "versions.numpy: 2.0, there 2.1": lambda plan: _provenance(plan, versions={"numpy": "2.1"}),
    "batches.batch_size: 5, there 6": lambda plan: replace(plan, batching={**plan.batching, "batch_size": 6}),
    "measures: ['WE', 'WE'], there ['WE', 'AD']": lambda plan: replace(plan, measures=("WE", "AD")),
    "stride: 1, there 2": lambda plan: replace(plan, grid=WindowGrid(8, 8, 3, 2)),
}


@pytest.mark.parametrize("difference", MIXTURES)
def test_parts_of_other_maps_are_refused_and_the_difference_is_named(difference: str) -> None:
    plan = make()
    shards, values = shards_of(plan, 3)
    shards[1] = MIXTURES[difference](shards[1])
    with pytest.raises(ResultError) as error:
        put_together(shards, values, ["a.h5", "b.h5", "c.h5"])
    assert str(error.value) == (
        f"b.h5: expected a part of the same map as a.h5, found another ({difference}); merge parts of one configuration"
    )


def test_other_predictions_for_the_photo_itself_are_refused_but_for_last_bits() -> None:
    plan = make()
    shards, values = shards_of(plan, 2)
    near = replace(shards[1], known=plan.known * (1 + 1e-7))
    expect_the_same(put_together([shards[0], near], values), plan.relevance_map([values_of(plan)], {}))
    far = replace(shards[1], known=plan.known * 1.1)
    with pytest.raises(ResultError, match=r"^1.h5: expected the predictions for the photo itself that 0.h5 has"):
        put_together([shards[0], far], values)


def test_a_map_with_a_window_missing_or_there_twice_is_none() -> None:
    plan = make()
    for order, found in ((plan.order[1:], "1 of 36 missing"), (np.append(plan.order, 0), "1 there more than once")):
        odd = replace(plan, order=order, bounds=np.array([0, len(order)]))
        with pytest.raises(ResultError, match=re.escape(found)):
            odd.relevance_map([values_of(odd)], {})
