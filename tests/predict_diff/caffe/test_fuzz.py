"""Whatever the files hold, `reproduce convert` converts them to a valid model or refuses them in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from guarded_conversion import Converter, converter
from mutations import EXTREMES, mutated

SAMPLE = 1000
SOUND_EXTREMES = (
    "a chain of 19,000 layers",
    "weights of a hundred thousand layers",
    "weights that thirty layers share",
)
# `make fuzz` leaves those empty that it was not given.
SEED, COUNT = os.environ.get("FUZZ_SEED") or "0", int(os.environ.get("FUZZ_COUNT") or 20_000)


@pytest.fixture(scope="module")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converter]:
    with converter(tmp_path_factory.mktemp("fuzz")) as process:
        yield process


def expect_converted_or_refused(convert: Converter, seed: str, count: int) -> str:
    """Convert so many mutated pairs of files; returns what became of them, in one line."""
    outcomes = {f"{seed}/{number}": convert(mutated(f"{seed}/{number}")) for number in range(count)}
    problems = [f"{number}: {outcome.problem}" for number, outcome in outcomes.items() if outcome.problem]
    converted = sum(outcome.converted for outcome in outcomes.values())
    slowest = max(outcomes, key=lambda number: outcomes[number].seconds)
    largest = max(outcomes, key=lambda number: outcomes[number].growth)
    summary = (
        f"{converted} converted, {count - converted} refused; slowest {outcomes[slowest].seconds:.2f} s ({slowest}); "
        f"most memory {outcomes[largest].growth / 1e6:.0f} MB ({largest})"
    )
    # A generator whose files are all refused at the door, or all converted, tests nothing.
    assert count // 10 < converted < count - count // 10, summary
    assert not problems, f"{summary}; {len(problems)} problems:\n" + "\n".join(problems[:100])
    return summary


def test_mutated_files_are_converted_or_refused_in_one_line(convert: Converter) -> None:
    expect_converted_or_refused(convert, "sample", SAMPLE)


@pytest.mark.fuzz
def test_many_mutated_files_are_converted_or_refused_in_one_line(
    convert: Converter, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = expect_converted_or_refused(convert, SEED, COUNT)
    with capsys.disabled():
        print(f"\nseed {SEED}, {COUNT} pairs of files: {summary}")


@pytest.mark.parametrize("kind", EXTREMES)
def test_extreme_files_are_converted_or_refused_in_one_line(convert: Converter, kind: str) -> None:
    outcome = convert(EXTREMES[kind]())
    assert not outcome.problem
    assert outcome.converted == (kind in SOUND_EXTREMES)


def test_the_mutations_do_not_depend_on_when_they_are_made() -> None:
    assert [mutated(f"{number}") for number in range(50)] == [mutated(f"{number}") for number in range(50)]
