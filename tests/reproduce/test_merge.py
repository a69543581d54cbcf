"""`reproduce merge`: shards become the map of one uninterrupted run, or it is said why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_home import PROJECT, Outcome, Reproduce, maps

from predict_diff.errors import ResultError
from predict_diff.journal import open_journal
from predict_diff.journal_progress import look, read_values
from predict_diff.network import minibatch
from predict_diff.plan import Plan, in_order
from predict_diff.result import RelevanceMap
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid
from reproduce import merging
from reproduce.commands import commands
from reproduce.merging import merge_map

pytestmark = pytest.mark.usefixtures("no_pictures")

if "merge" not in commands.commands:
    commands.add_command(merging.merge)

#: 36 windows, 4 of them evaluated together: 9 batches.
SETTINGS = ("--sampler", "marginal", "--batch-size", "8")

#: Entries of a map's provenance that tell of the run, and not of the numbers.
OF_THE_RUN = {"seconds", "processes", "shards"}

Shards = Callable[..., list[Path]]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """36 windows of 2 samples are otherwise one batch, which cannot be split."""
    monkeypatch.setattr(minibatch, "_SAMPLES_AT_ONCE", 8)


@pytest.fixture
def shards(explain: Reproduce) -> Shards:
    """Compute some shards of the map, as `shards("1/4", "2/4")`; where they lie."""

    def compute(*names: str, arguments: tuple[str, ...] = (), out: str = "results") -> list[Path]:
        paths = []
        for name in names:
            outcome = explain(*SETTINGS, "--shard", name, "--out", out, *arguments)
            assert outcome.code == 0, outcome.err
            paths += outcome.files
        return paths

    return compute


def all_of(count: int) -> list[str]:
    return [f"{number}/{count}" for number in range(1, count + 1)]


def same_map(found: RelevanceMap, expected: RelevanceMap) -> None:
    """To the last bit."""
    for name in ("known", "expected", "relevance", "standard_error", "counts", "maps", "map_errors"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    assert (found.grid, found.targets, found.measures) == (expected.grid, expected.targets, expected.measures)
    ours, theirs = (
        {key: value for key, value in one.provenance.items() if key not in OF_THE_RUN} for one in (found, expected)
    )
    assert ours == theirs


def cut(path: Path, parts: int) -> None:
    """Make a journal one that was stopped when it had so many parts."""
    with h5py.File(path, "r+") as stored:
        commits = stored["commits"][...]
        commits[parts:] = 0
        stored["commits"][...] = commits


# --- the map ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_shards_are_the_map_of_one_uninterrupted_run(
    explain: Reproduce, reproduce: Reproduce, shards: Shards, count: int
) -> None:
    explain(*SETTINGS, "--out", "whole")
    paths = shards(*reversed(all_of(count))) if count > 1 else shards_of_one(explain)
    seconds = sum(look(path).seconds for path in paths)
    outcome = reproduce("merge")
    assert outcome.code == 0, outcome.err
    assert outcome.files == list(Path("results/maps").iterdir())
    (found,) = maps().values()
    same_map(found, maps("whole")["marginal"])
    assert found.provenance["shards"] == found.provenance["processes"] == count
    assert found.provenance["seconds"] == pytest.approx(seconds)
    assert not list(Path("results/parts").iterdir())


def shards_of_one(explain: Reproduce) -> list[Path]:
    """A run in one piece that was killed after its last window, before its map was stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reproduce.runner.finish", lambda journal, out: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception, match="killed"):
            explain(*SETTINGS)
    return list(Path("results/parts").iterdir())


def test_any_mixture_of_counts_that_has_every_window_once_will_do(
    explain: Reproduce, reproduce: Reproduce, shards: Shards
) -> None:
    explain(*SETTINGS, "--out", "whole")
    paths = shards("4/4", "2/6", "1/6", "3/6", "3/4")
    outcome = reproduce("merge", *paths)
    assert outcome.code == 0, outcome.err
    same_map(maps()["marginal"], maps("whole")["marginal"])


def test_the_authors_code_s_second_draw_survives(explain: Reproduce, reproduce: Reproduce, shards: Shards) -> None:
    faulty = ("--variant", "authors_code", "--samples", "10", "--stride", "5", "--batch-size", "40")
    explain(*SETTINGS, *faulty, "--out", "whole")
    shards("3/3", "1/3", "2/3", arguments=faulty)
    outcome = reproduce("merge")
    assert outcome.code == 0, outcome.err
    found = maps()["marginal"]
    assert found.counts.sum() == 50
    same_map(found, maps("whole")["marginal"])


def test_shards_of_several_maps_become_several_maps(explain: Reproduce, reproduce: Reproduce, shards: Shards) -> None:
    both = ("--sampler", "both")
    explain(*SETTINGS, *both, "--out", "whole")
    shards("1/2", "2/2", arguments=both)
    outcome = reproduce("merge")
    assert outcome.code == 0, outcome.err
    assert len(outcome.files) == 2
    for sampler, found in maps().items():
        same_map(found, maps("whole")[sampler])


def test_what_is_merged_is_not_computed_again(
    explain: Reproduce, reproduce: Reproduce, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards("1/2", "2/2")
    reproduce("merge")
    monkeypatch.setattr("reproduce.subject.compute_map", lambda *arguments: pytest.fail("computed"))
    assert explain(*SETTINGS).code == 0


def plan_of(count: int, batch: int, twice: bool) -> Plan:
    """Some plan whose batches are in no order, with a second draw or without."""
    grid = WindowGrid(count + 1, 2, 2, 1)
    windows = np.random.default_rng(count).permutation(count)
    parts = [windows[start : start + batch] for start in range(0, count, batch)]
    order, bounds = in_order([*parts, *([windows[:1]] if twice else [])])
    return Plan(
        grid=grid,
        targets=(Target("prob", (0,)), Target("fc", (1,))),
        measures=("WE", "AD"),
        known=np.array([0.5, 1.5]),
        order=order,
        bounds=bounds,
        batching={"batch_size": batch},
        provenance={"file": "some.h5", "title": "some"},
        twice=twice,
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.booleans(), st.data())
def test_however_a_map_is_split_it_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, count: int, batch: int, twice: bool, data: st.DataObject
) -> None:
    plan = plan_of(count, batch, twice)
    values = np.random.default_rng(0).standard_normal(plan.shape)
    # A tree of halvings: the shards on its leaves have every window once.
    leaves, waiting = [], [(1, 1)]
    while waiting:
        number, of = waiting.pop()
        if 2 * of <= len(plan) and data.draw(st.booleans()):
            waiting += [(2 * number - 1, 2 * of), (2 * number, 2 * of)]
        else:
            leaves.append((number, of))
    out = tmp_path_factory.mktemp("out")
    paths = []
    for number, of in data.draw(st.permutations(leaves)):
        shard = plan.as_shard(number, of)
        paths.append(out / "parts" / f"some-{number}of{of}.h5")
        first = len(plan) * (number - 1) // of
        with open_journal(paths[-1], shard) as journal:
            for part in range(len(shard)):
                journal.write(part, values[plan.rows(first + part)], 1.0)
    found = RelevanceMap.load(merge_map("some.h5", paths, out))
    expected = plan.relevance_map([values], {})
    for name in ("expected", "relevance", "standard_error", "counts"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
    assert found.provenance["seconds"] == len(plan)


# --- where the shards are, and what becomes of them ---------------------------------------------------------------


def test_shards_of_other_machines_are_read_from_their_folders_and_left(reproduce: Reproduce, shards: Shards) -> None:
    first, second = shards("1/2", out="one"), shards("2/2", out="two")
    before = [path.read_bytes() for path in (*first, *second)]
    for path in (*first, *second):
        path.chmod(0o444)
        path.parent.chmod(0o555)
    # The folder of results will do as well as that of shards; a file that is named twice counts once.
    outcome = reproduce("merge", "one", "two/parts", *first)
    assert outcome.code == 0, outcome.err
    assert [path.read_bytes() for path in (*first, *second)] == before
    for path in (*first, *second):
        path.parent.chmod(0o755)


def test_only_shards_in_the_folder_of_results_are_deleted(reproduce: Reproduce, shards: Shards, tmp_path: Path) -> None:
    (inside, moved) = shards("1/2", "2/2")
    outside = tmp_path / "outside.h5"
    shutil.move(moved, outside)
    moved.symlink_to(outside)
    assert reproduce("merge").code == 0
    assert not inside.exists()
    assert outside.exists()


def test_shards_are_kept_if_they_are_to_be(reproduce: Reproduce, shards: Shards) -> None:
    paths = shards("1/2", "2/2")
    assert reproduce("merge", "--keep").code == 0
    assert all(path.exists() for path in paths)


def test_a_map_that_is_there_is_named_and_left_and_so_are_its_shards(reproduce: Reproduce, shards: Shards) -> None:
    paths = shards("1/2", "2/2")
    reproduce("merge", "--keep")
    (place,) = Path("results/maps").iterdir()
    before = place.stat()
    outcome = reproduce("merge")
    assert outcome.code == 0
    assert outcome.files == [place]
    assert f"{place}: is there already; its shards are no longer needed: {paths[0]}, {paths[1]}." in outcome.err
    assert place.stat() == before
    assert all(path.exists() for path in paths)


def test_two_merges_at_once_do_no_harm(reproduce: Reproduce, shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = shards("1/2", "2/2")
    ((name, files),) = merging.by_map(paths).items()
    look = merging.look

    def overtaken(path: Path) -> object:
        monkeypatch.setattr(merging, "look", look)
        merge_map(name, files, Path("results"))
        return look(path)

    monkeypatch.setattr(merging, "look", overtaken)
    place = merge_map(name, files, Path("results"))
    assert RelevanceMap.load(place).provenance["shards"] == 2
    assert not any(path.exists() for path in paths)


def test_a_damaged_map_is_no_reason_to_call_its_shards_clutter(reproduce: Reproduce, shards: Shards) -> None:
    shards("1/2", "2/2")
    reproduce("merge", "--keep")
    (place,) = Path("results/maps").iterdir()
    place.write_bytes(place.read_bytes()[:-1])
    assert reproduce("merge").error.endswith("; delete the file, and merge again")
    place.unlink()
    assert reproduce("merge").code == 0


# --- what is refused ----------------------------------------------------------------------------------------------


def refused(outcome: Outcome) -> str:
    """The reason; nothing was stored."""
    reason = outcome.error
    assert not list(Path("results").glob("maps/*"))
    return reason


@pytest.mark.parametrize(
    ("there", "missing", "named"),
    [
        (["1/4", "2/4", "4/4"], 8, "shard 3 of 4 is not there"),
        (["2/9", "5/9"], 28, "shards 1, 3 to 4, 6 to 9 of 9 are not there"),
        (["1/2", "4/4"], 8, "shard 3 of 4 is not there"),
        (["1/3", "2/2"], 4, "shard 3 of 6 is not there"),
    ],
)
def test_gaps_are_named(reproduce: Reproduce, shards: Shards, there: list[str], missing: int, named: str) -> None:
    paths = shards(*there)
    reason = refused(reproduce("merge"))
    assert f"expected all 36 windows, found {missing} missing ({named})" in reason
    assert all(path.exists() for path in paths)


def test_the_shards_that_are_named_are_what_is_missing(reproduce: Reproduce, shards: Shards) -> None:
    shards("1/3", "2/2")
    refused(reproduce("merge"))
    shards("3/6")
    assert reproduce("merge").code == 0


def test_an_unfinished_shard_says_how_far_it_is(reproduce: Reproduce, shards: Shards) -> None:
    paths = shards("1/3", "2/3")
    cut(paths[1], 2)
    reason = refused(reproduce("merge"))
    assert "36 windows, found 16 missing (shard 2 of 3 has 8 of 12, shard 3 of 3 is not there)" in reason
    shards("2/3", "3/3")
    assert reproduce("merge").code == 0


def test_overlaps_are_refused(reproduce: Reproduce, shards: Shards) -> None:
    paths = shards("1/2", "2/2", "1/4")
    reason = refused(reproduce("merge"))
    assert "expected windows that no other part has, found 8 of" in reason
    assert all(path.exists() for path in paths)
    assert reproduce("merge", *paths[:2]).code == 0


def test_a_copy_of_a_shard_is_an_overlap(reproduce: Reproduce, shards: Shards) -> None:
    paths = shards("1/2", "2/2")
    shutil.copy(paths[0], "results/parts/copy.h5")
    assert "found 16 of" in refused(reproduce("merge"))


def test_a_run_in_one_piece_that_was_stopped_is_an_overlap(
    explain: Reproduce, reproduce: Reproduce, shards: Shards
) -> None:
    (whole,) = shards_of_one(explain)
    cut(whole, 3)
    shards("1/2", "2/2")
    reason = refused(reproduce("merge"))
    assert f"{whole}: expected windows" in reason or f"of {whole}; leave" in reason


def test_mixtures_are_refused_and_what_differs_is_named(explain: Reproduce, reproduce: Reproduce, home: Path) -> None:
    explain(*SETTINGS, "--shard", "1/2")
    explain(*SETTINGS, "--shard", "2/2", "--batch-size", "4")
    reason = refused(reproduce("merge"))
    assert "expected a part of the same map as" in reason
    assert "batches.batch_size: 8, there 4" in reason


def test_another_seed_is_another_map_of_which_shards_are_missing(reproduce: Reproduce, shards: Shards) -> None:
    shards("1/2")
    shards("2/2", arguments=("--seed", "1"))
    outcome = reproduce("merge")
    assert refused(outcome).startswith("2 maps could not be put together, for the reasons above: cat-tiny-marginal-")
    assert "shard 2 of 2 is not there" in outcome.err
    assert "shard 1 of 2 is not there" in outcome.err


def test_other_maps_are_merged_before_the_error(reproduce: Reproduce, shards: Shards) -> None:
    shards("1/2", arguments=("--seed", "2"))
    shards("1/2", "2/2")
    shards("2/2", arguments=("--seed", "3"))
    outcome = reproduce("merge")
    assert outcome.error.startswith("2 maps could not be put together")
    assert outcome.files == list(Path("results/maps").iterdir())
    assert len(outcome.files) == 1
    assert len(list(Path("results/parts").iterdir())) == 2


@pytest.mark.parametrize("damage", ["numbers", "plan", "seal", "end", "everything"])
def test_a_damaged_shard_is_named_and_nothing_is_stored(reproduce: Reproduce, shards: Shards, damage: str) -> None:
    paths = shards("1/2", "2/2")
    with h5py.File(paths[1]) as stored:
        numbers = stored["values"].id.get_offset()
    content = bytearray(paths[1].read_bytes())
    if damage == "numbers":
        content[numbers + 100] ^= 1
    elif damage == "plan":
        content[1000] ^= 1
    elif damage == "seal":
        content[:512] = bytes(512)
    elif damage == "end":
        del content[numbers + 100 :]
    else:
        content.clear()
    paths[1].write_bytes(content)
    reason = refused(reproduce("merge"))
    assert str(paths[1]) in reason
    assert paths[0].exists()
    paths[1].unlink()
    shards("2/2")
    assert reproduce("merge").code == 0


def test_a_shard_that_a_process_is_at_is_refused(reproduce: Reproduce, shards: Shards) -> None:
    paths = shards("1/2", "2/2")
    with open_journal(paths[0]):
        reason = refused(reproduce("merge"))
        assert f"{paths[0]}: expected a shard that nobody is at, found process" in reason
        assert "16 of 16 windows; wait for its end" in reason
    assert reproduce("merge").code == 0


def test_a_shard_that_is_replaced_while_it_is_merged_is_refused(shards: Shards, tmp_path: Path) -> None:
    first, second = shards("1/2", "2/2")
    plan = look(first).plan
    shutil.copy(second, first)
    with pytest.raises(ResultError, match="begun anew meanwhile"):
        list(read_values(first, plan))


def test_a_shard_cannot_name_a_file_elsewhere(reproduce: Reproduce, tmp_path: Path) -> None:
    plan = plan_of(4, 2, twice=False)
    plan.provenance["file"] = "../../escaped.h5"
    Path("results/parts").mkdir(parents=True)
    with open_journal("results/parts/bad.h5", plan) as journal:
        for part in range(len(plan)):
            journal.write(part, np.zeros((2, 3, 2)), 0.0)
    assert "expected the name of a map's file in it" in reproduce("merge").error
    assert not list(tmp_path.rglob("escaped.h5"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: expected a shard, or a folder of shards, found nothing there"),
        (["empty"], "empty: expected shards (*.h5) in this folder, found none"),
        ([], "results/parts: expected a shard, or a folder of shards, found nothing there"),
    ],
)
def test_nothing_to_merge_is_said(reproduce: Reproduce, arguments: list[str], said: str) -> None:
    Path("empty").mkdir()
    assert said in reproduce("merge", *arguments).error


def test_maps_are_no_shards(explain: Reproduce, reproduce: Reproduce) -> None:
    explain(*SETTINGS)
    assert "expected shards (*.h5) in this folder, found none" in reproduce("merge", "results/maps").error
    (place,) = Path("results/maps").iterdir()
    assert "expected a journal of a map, found another file" in reproduce("merge", place, "--out", "new").error


def test_a_folder_that_cannot_be_written_to_costs_no_shard(reproduce: Reproduce, shards: Shards) -> None:
    paths = shards("1/2", "2/2")
    Path("results/maps").rmdir()
    Path("results/maps").write_text("in the way")
    assert "could not be written" in reproduce("merge").error
    assert all(path.exists() for path in paths)


def test_the_provenance_of_a_merged_map_is_json(reproduce: Reproduce, shards: Shards) -> None:
    shards("1/2", "2/2")
    (place,) = reproduce("merge").files
    with h5py.File(place) as stored:
        assert json.loads(stored.attrs["provenance"])["title"] == "cat, Tiny, marginal"


@pytest.mark.slow
def test_shards_of_processes_that_run_at_once_are_the_map_of_one(home: Path, tmp_path: Path) -> None:
    # 729 windows of 4 samples: 8 batches.
    settings = ("--k", "6", "--l", "8", "--stride", "1", "--samples", "4", "--provider", "cpu", "--threads", "1")
    photo = ("explain", "cat", "--network", "tiny", "--pool", str(home / "pool"), "--sampler", "marginal", *settings)
    program = """
import sys
from reproduce import cli, merging
from reproduce.commands import commands
if "merge" not in commands.commands:
    commands.add_command(merging.merge)
sys.exit(cli.run(sys.argv[1:]))
"""

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE)

    assert start(*photo, "--out", "whole").wait() == 0
    assert [one.wait() for one in [start(*photo, "--shard", name) for name in all_of(3)]] == [0, 0, 0]
    merged = start("merge")
    printed, _ = merged.communicate()
    assert merged.returncode == 0
    ((place,), (whole,)) = (list(tmp_path.glob(f"{out}/maps/*.h5")) for out in ("results", "whole"))
    assert printed == f"results/maps/{place.name}\n"
    same_map(RelevanceMap.load(place), RelevanceMap.load(whole))
