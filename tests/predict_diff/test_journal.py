"""Journals: whatever happens to the file, what it says is there is right, and what survives is not computed again."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import platform
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from interruptions import COUNT, SEED
from numpy.typing import NDArray

from predict_diff import journal as journals
from predict_diff.errors import ResultError
from predict_diff.journal import Journal, OtherRunError, open_journal
from predict_diff.journal_progress import look
from predict_diff.plan import Plan, in_order
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid

#: First line of a journal, and sizes of its first block and of a commit: what files written today will have for good.
FIRST_LINE, BLOCK, COMMIT = b"prediction-difference journal 1\n", 512, 40

#: Of damages that tests try at any time, for each that `make chaos` counts.
SAMPLE, MANY = 150, 100


def plan_of(windows: int = 36, targets: int = 2, parts: int = 7, seed: int = 0, **fields: Any) -> Plan:
    """A plan whose parts are not of one size, and whose windows are in no order."""
    side = round(windows**0.5)
    grid = WindowGrid(side + 2, side + 2, 3)
    assert len(grid) == windows
    chance = np.random.default_rng(0)
    cuts = np.sort(chance.choice(np.arange(1, windows), parts - 1, replace=False))
    order, bounds = in_order(np.split(chance.permutation(windows), cuts))
    provenance = {
        "network": {"name": "small", "sha256": "abc", "provider": "cpu", "precision": "full"},
        "photo_sha256": "def",
        "sampler": {"name": "marginal", "k": 3},
        "samples": 4,
        "seed": seed,
        "laplace_instances": 1000,
        "faults": {"stale_window": False},
        "versions": {"python": "3", "numpy": "2.0", "scipy": "1.0", "onnx": "1.0", "onnxruntime": "1.30"},
    }
    return Plan(
        **{
            "grid": grid,
            "targets": tuple(Target("prob", (unit,)) for unit in range(targets)),
            "measures": ("WE",) * targets,
            "known": np.linspace(0.1, 0.9, targets),
            "order": order,
            "bounds": bounds,
            "batching": {"evaluator": "MiniBatchEvaluator", "batch_size": 5},
            "provenance": provenance,
            **fields,
        }
    )


PLAN = plan_of()


def truth(plan: Plan) -> NDArray[np.float64]:
    """What is to be computed; numbers that comparisons overlook among them."""
    values = np.random.default_rng(len(plan.order)).normal(size=plan.shape)
    values[::5, 2], values[1::7, 0], values[2::9, 1] = np.nan, -0.0, np.inf
    return values


TRUTH = truth(PLAN)


def compute(journal: Journal, parts: list[int] | None = None) -> None:
    """Write the values of some parts, all that are missing by default."""
    values = truth(journal.plan)
    for part in journal.missing if parts is None else parts:
        journal.write(part, values[journal.plan.rows(part)], 0.25)


def read(journal: Journal) -> NDArray[np.float64]:
    """The values of all parts."""
    return np.concatenate(list(journal.values()))


def begun(path: Path, parts: list[int], plan: Plan = PLAN) -> bytes:
    """A journal with some parts; what is in the file."""
    path.unlink(missing_ok=True)
    with open_journal(path, plan) as journal:
        compute(journal, parts)
    return path.read_bytes()


def places(content: bytes) -> tuple[int, int]:
    """Where values and commits begin, as the first block says."""
    values, commits = re.findall(rb"\n(?:values|commits): (\d+) \d+", content[:BLOCK])
    return int(values), int(commits)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "parts" / "run.h5"


def one_line(error: pytest.ExceptionInfo[ResultError], path: Path) -> str:
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_what_was_written_is_there_and_nothing_else(path: Path) -> None:
    with open_journal(path, PLAN) as journal:
        assert journal.missing == list(range(7))
        assert (journal.windows_done, journal.seconds, journal.processes) == (0, 0.0, 0)
        compute(journal, [2, 0, 5])
    with open_journal(path, PLAN) as journal:
        assert journal.missing == [1, 3, 4, 6]
        assert journal.windows_done == sum(len(PLAN.windows(part)) for part in (2, 0, 5))
        compute(journal)
        assert journal.missing == []
        assert read(journal).tobytes() == TRUTH.tobytes()
        assert (journal.windows_done, journal.seconds, journal.processes) == (36, 7 * 0.25, 2)
    with open_journal(path) as journal:
        assert read(journal).tobytes() == TRUTH.tobytes()
        journal.discard()
    assert not path.exists()


def test_its_own_plan_counts(path: Path) -> None:
    begun(path, [3])
    with open_journal(path, plan_of(parts=4)) as journal:
        assert len(journal.plan) == 7
        for name in ("grid", "targets", "measures", "batching", "provenance", "twice", "shard", "map_dtype"):
            assert getattr(journal.plan, name) == getattr(PLAN, name)
        for name in ("known", "order", "bounds"):
            np.testing.assert_array_equal(getattr(journal.plan, name), getattr(PLAN, name))


def test_the_same_plan_gives_the_same_bytes_but_for_who_has_it(tmp_path: Path) -> None:
    first = begun(tmp_path / "first.h5", [])
    time.sleep(1.1)  # HDF5 counts seconds
    second = begun(tmp_path / "second.h5", [])
    assert first[:384] + first[BLOCK:] == second[:384] + second[BLOCK:]


@pytest.mark.parametrize("windows", [4, 36, 64, 2500])
@pytest.mark.parametrize("targets", [1, 7, 300])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("letters", [0, 2000, 70_000])
def test_numbers_lie_behind_all_that_the_library_needs(
    path: Path, windows: int, targets: int, share: float, letters: int
) -> None:
    # A file that has lost its end has still its plan, and no part of the plan is without a checksum.
    parts = 1 + round(share * (windows - 1))
    content = begun(path, [], plan_of(windows, targets, parts, provenance={"title": "x" * letters}))
    values, commits = places(content)
    assert BLOCK < commits < values
    assert commits + parts * COMMIT <= values
    assert len(content) == values + windows * 3 * targets * 8
    assert not any(content[commits:])


def test_plain_h5py_reads_it_at_any_moment(path: Path) -> None:
    with open_journal(path, PLAN) as journal:
        for part in range(len(PLAN)):
            with h5py.File(path) as stored:
                assert list(stored) == ["bounds", "commits", "known", "order", "values"]
                written = stored["commits"]["time"] > 0
                np.testing.assert_array_equal(written, np.arange(7) < part)
                rows = PLAN.bounds[part]
                assert stored["values"][:rows].tobytes() == TRUTH[:rows].tobytes()
                assert json.loads(stored.attrs["provenance"]) == PLAN.provenance
            compute(journal, [part])


def test_who_looks_sees_how_far_it_is_and_who_has_it(path: Path) -> None:
    begun(path, [1])
    with open_journal(path, PLAN) as journal:
        compute(journal, [2, 4])
        found = look(path)
        assert found.running
        assert re.fullmatch(
            rf"process {os.getpid()} on {re.escape(platform.node())} since [-0-9]+ [:0-9]+", found.owner
        )
        assert (found.done, found.total) == (journal.windows_done, 36)
        assert found.seconds == 0.75
        compute(journal)
    assert not look(path).running
    assert look(path).done == 36


def test_what_is_known_beforehand_is_written_and_filled_in_again_if_it_is_torn(path: Path) -> None:
    given = TRUTH[PLAN.rows(0)]
    plan = replace(PLAN, given=given)
    with open_journal(path, plan) as journal:
        assert journal.missing == [1, 2, 3, 4, 5, 6]
    content = bytearray(path.read_bytes())
    values, _ = places(content)
    content[values + 3] ^= 1
    path.write_bytes(content)
    with open_journal(path, plan) as journal:
        assert journal.missing == [1, 2, 3, 4, 5, 6]
        compute(journal)
        assert read(journal).tobytes() == TRUTH.tobytes()
    # Of other windows, it is of no use.
    path.write_bytes(content)
    other = plan_of(parts=4)
    with open_journal(path, replace(other, given=np.zeros((int(other.bounds[1]), 3, 2)))) as journal:
        assert journal.missing == list(range(7))


# --- damage ---------------------------------------------------------------------------------------------------------


def expect_right(path: Path, before: bytes, after: bytes) -> str:
    """Open a damaged file: parts whose bytes are as they were are there, and no others. Returns what became of it."""
    path.write_bytes(after)
    shape = places(before)
    survived = [
        part for part in range(len(PLAN)) if _piece(after, shape, part) == _piece(before, shape, part) and part in DONE
    ]
    if not after.startswith(FIRST_LINE.rstrip()) and any(after[:4096]):
        with pytest.raises(ResultError, match="another file; move it away") as error:
            open_journal(path, PLAN)
        one_line(error, path)
        assert path.read_bytes() == after
        return "refused"
    with open_journal(path, PLAN) as journal:
        assert journal.missing == [part for part in range(len(PLAN)) if part not in survived]
        compute(journal)
        assert read(journal).tobytes() == TRUTH.tobytes()
    with open_journal(path, PLAN) as journal:
        assert not journal.missing
        assert read(journal).tobytes() == TRUTH.tobytes()
    with h5py.File(path) as stored:
        assert stored["values"][()].tobytes() == TRUTH.tobytes()
        assert (stored["commits"]["time"] > 0).all()
    return "whole" if len(survived) == len(DONE) else "some parts lost" if survived else "all parts lost"


#: Which parts are there before the damage.
DONE = [0, 1, 2, 4, 5]


def _piece(content: bytes, shape: tuple[int, int], part: int) -> tuple[bytes, bytes]:
    """Values and commit of a part. What a file has lost at its end is zeros."""
    values, commits = shape
    size, rows, commit = 8 * 3 * len(PLAN.targets), PLAN.rows(part), commits + part * COMMIT
    content = content.ljust(values + len(PLAN.order) * size, b"\0")
    return content[values + rows.start * size : values + rows.stop * size], content[commit : commit + COMMIT]


@pytest.fixture
def content(path: Path) -> bytes:
    return begun(path, DONE)


def interesting(content: bytes) -> list[int]:
    """Places at and beside which something begins or ends."""
    values, commits = places(content)
    edges = [0, 31, 52, 130, 384, BLOCK, 4096, commits, values, len(content)]
    edges += [commits + part * COMMIT for part in range(len(PLAN))]
    edges += [values + int(row) * 48 for row in PLAN.bounds]
    return sorted({place + beside for place in edges for beside in (-1, 0, 1, 8) if 0 <= place + beside < len(content)})


def test_truncated_at_any_interesting_place_it_is_right(path: Path, content: bytes) -> None:
    for size in interesting(content):
        expect_right(path, content, content[:size])


def test_with_any_interesting_byte_changed_it_is_right(path: Path, content: bytes) -> None:
    for place in interesting(content):
        for change in (0xFF, 0x01):
            damaged = bytearray(content)
            damaged[place] ^= change
            expect_right(path, content, bytes(damaged))


@pytest.mark.parametrize("size", [512, 4096])
def test_with_any_block_of_zeros_it_is_right(path: Path, content: bytes, size: int) -> None:
    # What a power failure leaves: commits without values, values without commits, names without a beginning.
    for start in range(0, len(content), size):
        damaged = content[:start] + bytes(min(size, len(content) - start)) + content[start + size :]
        expect_right(path, content, damaged)


def test_bytes_at_its_end_do_no_harm(path: Path, content: bytes) -> None:
    for more in (b"\0", b"x" * 100, content):
        assert expect_right(path, content, content + more) == "whole"


def test_nothing_but_zeros_is_begun_anew(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert expect_right(path, content, bytes(len(content))) == "all parts lost"
    assert caplog.messages == [f"{path}: its beginning is damaged (it is empty); it is written anew."]


def test_an_empty_file_is_one_that_was_just_to_be_begun(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.touch()
    with open_journal(path, PLAN) as journal:
        assert journal.missing == list(range(7))
    assert not caplog.messages


def test_a_damaged_plan_is_written_anew_and_costs_no_window(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = bytearray(content)
    damaged[700] ^= 1
    assert expect_right(path, content, bytes(damaged)) == "whole"
    assert caplog.messages == [f"{path}: its beginning is damaged (its checksum is another); it is written anew."]


def test_a_damaged_plan_of_another_run_is_written_anew_without_its_windows(path: Path, content: bytes) -> None:
    damaged = bytearray(content)
    damaged[700] ^= 1
    path.write_bytes(damaged)
    with open_journal(path, plan_of(seed=1)) as journal:
        assert journal.missing == list(range(7))
        # Nor do its records look as if they were complete.
        assert look(path).done == 0


def test_without_a_plan_at_hand_a_damaged_one_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content[:1000])
    with pytest.raises(ResultError) as error:
        open_journal(path)
    assert one_line(error, path).startswith("expected a journal of a map, found one with a damaged beginning")
    assert path.read_bytes() == content[:1000]


def test_values_and_commits_of_another_part_or_another_run_are_not_taken(path: Path, tmp_path: Path) -> None:
    plan = plan_of(parts=36)  # all parts have one size
    journal, other = begun(path, [3], plan), begun(tmp_path / "other.h5", [3], replace(plan, known=plan.known + 0.01))
    values, commits = places(journal)
    assert (values, commits) == places(other)
    # Another part's.
    moved = bytearray(journal)
    moved[values + 4 * 48 : values + 5 * 48] = journal[values + 3 * 48 : values + 4 * 48]
    moved[commits + 4 * COMMIT : commits + 5 * COMMIT] = journal[commits + 3 * COMMIT : commits + 4 * COMMIT]
    path.write_bytes(moved)
    with open_journal(path, plan) as found:
        assert 3 not in found.missing
        assert 4 in found.missing
    # Those of a run whose plan differs in nothing but the predictions for the photo itself.
    path.write_bytes(journal[:commits] + other[commits:])
    with open_journal(path, plan) as found:
        assert 3 in found.missing


def test_a_file_that_promises_other_places_is_not_believed(path: Path, content: bytes) -> None:
    values, commits = places(content)
    for old, new in ((values, values + 8), (values, values - 8), (commits, commits + 40)):
        for size in (len(content), values, commits + 280):
            damaged = content.replace(b": %d " % old, b": %d " % new, 1)
            expect_right(path, content, damaged[:size])


def test_what_changes_while_it_is_open_is_noticed(path: Path) -> None:
    with open_journal(path, PLAN) as journal:
        compute(journal)
        values, _ = places(path.read_bytes())
        with path.open("r+b") as other:
            other.seek(values + 100)
            other.write(b"torn")
        with pytest.raises(ResultError, match="expected the numbers that were written, found others") as error:
            list(journal.values())
        one_line(error, path)
    with open_journal(path, PLAN) as journal:
        assert len(journal.missing) == 1
        compute(journal)
        assert read(journal).tobytes() == TRUTH.tobytes()


def damaged_at_random(content: bytes, chance: random.Random) -> bytes:
    """A file after one to three mishaps."""
    found = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        if not found:
            break
        place = chance.choice([chance.randrange(len(found)), chance.randrange(min(BLOCK, len(found)))])
        kind = chance.choice(["cut", "bits", "bytes", "zeros", "moved", "more"])
        size = chance.choice([1, 8, 40, 512, 4096])
        if kind == "cut":
            del found[place:]
        elif kind == "bits":
            for _ in range(chance.choice([1, 1, 20])):
                found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
        elif kind == "bytes":
            found[place : place + size] = chance.randbytes(len(found[place : place + size]))
        elif kind == "zeros":
            place -= place % size
            found[place : place + size] = bytes(len(found[place : place + size]))
        elif kind == "moved":
            piece = found[place : place + size]
            start = chance.randrange(len(found) - len(piece) + 1)
            found[start : start + len(piece)] = piece
        else:
            found += chance.randbytes(size)
    return bytes(found)


def expect_right_after_random_damages(path: Path, content: bytes, count: int, seed: str) -> Counter[str]:
    chance = random.Random(seed)
    return Counter(expect_right(path, content, damaged_at_random(content, chance)) for _ in range(count))


def test_after_random_damages_it_is_right(path: Path, content: bytes) -> None:
    outcomes = expect_right_after_random_damages(path, content, SAMPLE, "sample")
    assert set(outcomes) == {"whole", "some parts lost", "all parts lost", "refused"}


@pytest.mark.chaos
def test_after_many_random_damages_it_is_right(
    path: Path, content: bytes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    outcomes = expect_right_after_random_damages(path, content, MANY * COUNT, f"{SEED}")
    with capsys.disabled():
        print(f"\nseed {SEED}, {MANY * COUNT} damaged journals, all right: {dict(outcomes)}")


@pytest.mark.chaos
def test_truncated_at_every_single_place_it_is_right(
    path: Path, content: bytes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    outcomes = Counter(expect_right(path, content, content[:size]) for size in range(len(content)))
    with capsys.disabled():
        print(f"\n{len(content)} truncated journals, all right: {dict(outcomes)}")


# --- no room, no right ----------------------------------------------------------------------------------------------


class Narrow(io.FileIO):
    """A file on a disk that takes so many bytes more, a few at a time."""

    room = 0

    def write(self, data: Any) -> int:
        piece = bytes(data)[: min(self.room, 100)]
        if not piece:
            raise OSError(errno.ENOSPC, "No space left on device")
        Narrow.room -= len(piece)
        return super().write(piece)


def test_wherever_the_disk_is_full_what_was_complete_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = begun(path, list(range(7)))
    path.unlink()
    rooms = [place + beside for place in interesting(whole) for beside in (0, 3)] + [10**6]
    ended, said = Counter[str](), set[str]()
    for room in rooms:
        Narrow.room, written = room, []
        monkeypatch.setattr(journals, "_open", lambda path, create: Narrow(path, "x+b"))
        path.unlink(missing_ok=True)
        try:
            with open_journal(path, PLAN) as journal:
                for part in journal.missing:
                    journal.write(part, TRUTH[PLAN.rows(part)], 0.25)
                    written.append(part)
            ended["wrote all"] += 1
        except ResultError as error:
            ended["in the middle" if written else "at first"] += 1
            said.add(str(error))
        monkeypatch.undo()
        with open_journal(path, PLAN) as journal:
            assert journal.missing == [part for part in range(7) if part not in written]
            compute(journal)
            assert read(journal).tobytes() == TRUTH.tobytes()
    assert set(ended) == {"in the middle", "at first", "wrote all"}
    (line,) = said
    assert re.fullmatch(rf"{path}: could not be written \(No space left on device\); free some [^\n]*", line)


def test_a_disk_that_fails_to_keep_what_it_took_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_journal(path, PLAN) as journal:
        compute(journal, [0])
        monkeypatch.setattr(journals, "SYNC_EVERY", 0.0)
        monkeypatch.setattr(os, "fsync", _broken)
        with pytest.raises(ResultError, match="could not be written") as error:
            compute(journal, [1])
        one_line(error, path)
    monkeypatch.undo()
    with open_journal(path, PLAN) as journal:
        assert 0 not in journal.missing


def _broken(*arguments: object, **options: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_where_room_cannot_be_promised_it_is_taken_when_it_is_needed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    expected = begun(path, [1])
    for known in (True, False):
        if known:
            monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
        else:
            monkeypatch.delattr(os, "posix_fallocate")
        assert len(begun(path, [1])) == len(expected)
        with open_journal(path, PLAN) as journal:
            assert 1 not in journal.missing


def _file_for_folder(folder: Path) -> Path:
    (folder / "parts").write_text("a file")
    return folder / "parts" / "run.h5"


def _folder_for_file(folder: Path) -> Path:
    (folder / "run.h5").mkdir()
    return folder / "run.h5"


def _link_to_nowhere(folder: Path) -> Path:
    (folder / "run.h5").symlink_to(folder / "nowhere" / "run.h5")
    return folder / "run.h5"


def _folder_of_the_kernel(folder: Path) -> Path:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc")
    return Path("/proc/self/run.h5")


def _read_only(folder: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder.chmod(0o500)
    return folder / "run.h5"


@pytest.mark.parametrize(
    "place", [_file_for_folder, _folder_for_file, _link_to_nowhere, _folder_of_the_kernel, _read_only]
)
def test_where_nothing_can_be_written_it_says_so_in_one_line(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    path = place(tmp_path)
    with pytest.raises(ResultError) as error:
        open_journal(path, PLAN)
    assert one_line(error, path).startswith("could not be written (")


@pytest.mark.parametrize("content", [b"my notes\n", b"\x89HDF\r\n\x1a\n" + bytes(5000), b"PK\x03\x04"])
def test_another_programs_file_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for plan in (PLAN, None):
        with pytest.raises(ResultError) as error:
            open_journal(path, plan)
        assert one_line(error, path) == "expected a journal of a map, found another file; move it away"
    assert path.read_bytes() == content


def test_another_programs_hdf5_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    with h5py.File(path, "w") as stored:
        stored["values"] = np.zeros(PLAN.shape)
    before = path.read_bytes()
    with pytest.raises(ResultError, match="found another file; move it away"):
        open_journal(path, PLAN)
    assert path.read_bytes() == before


def test_a_journal_that_cannot_be_deleted_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with open_journal(path, PLAN) as journal:
        compute(journal)
        monkeypatch.setattr(Path, "unlink", _broken)
        journal.discard()
    assert caplog.messages == [f"{path}: could not be deleted (Input/output error); it is of no use any more."]


# --- another configuration ------------------------------------------------------------------------------------------


def _provenance(**changes: Any) -> Plan:
    return replace(PLAN, provenance={**PLAN.provenance, **changes})


OTHERS = {
    "size of the photo: [9, 9], there [8, 8]": plan_of(49),
    "k: 4, there 3": replace(PLAN, grid=WindowGrid(8, 8, 4)),
    "stride: 2, there 1": replace(PLAN, grid=WindowGrid(8, 8, 3, 2)),
    "targets: ['prob:0'], there ['prob:0', 'prob:1']": plan_of(targets=1),
    "measures: ['WE', 'AD'], there ['WE', 'WE']": replace(PLAN, measures=("WE", "AD")),
    "batches.batch_size: 6, there 5": replace(PLAN, batching={**PLAN.batching, "batch_size": 6}),
    "batches.evaluator: IncrementalEvaluator, there MiniBatchEvaluator": replace(
        PLAN, batching={**PLAN.batching, "evaluator": "IncrementalEvaluator"}
    ),
    "network.sha256: xyz, there abc": _provenance(network={**PLAN.provenance["network"], "sha256": "xyz"}),
    "network.provider: cuda, there cpu": _provenance(network={**PLAN.provenance["network"], "provider": "cuda"}),
    "network.precision: fp16, there full": _provenance(network={**PLAN.provenance["network"], "precision": "fp16"}),
    "photo: another, there def": _provenance(photo_sha256="another"),
    "sampler.name: conditional, there marginal": _provenance(sampler={"name": "conditional", "k": 3}),
    "samples: 5, there 4": _provenance(samples=5),
    "seed: 1, there 0": plan_of(seed=1),
    "laplace_instances: 7, there 1000": _provenance(laplace_instances=7),
    "faults.stale_window: True, there False": _provenance(faults={"stale_window": True}),
    "versions.numpy: 2.1, there 2.0": _provenance(versions={**PLAN.provenance["versions"], "numpy": "2.1"}),
    "versions.onnxruntime: 1.31, there 1.30": _provenance(
        versions={**PLAN.provenance["versions"], "onnxruntime": "1.31"}
    ),
    "identity: {'pool': 'abc'}, there nothing": _provenance(identity={"pool": "abc"}),
}


@pytest.mark.parametrize("difference", OTHERS)
def test_a_run_of_another_configuration_is_named_and_left_as_it_is(path: Path, difference: str) -> None:
    before = begun(path, [2])
    with pytest.raises(OtherRunError) as error:
        open_journal(path, OTHERS[difference])
    assert one_line(error, path) == (
        f"expected a run with this configuration, found one that was begun with another ({difference}); go on with "
        f"that one, or delete the file, or say --force, to begin anew"
    )
    assert path.read_bytes() == before
    with open_journal(path, PLAN) as journal:
        assert 2 not in journal.missing


def test_what_changes_no_number_is_no_other_configuration(path: Path) -> None:
    begun(path, [2])
    network = {**PLAN.provenance["network"], "name": "renamed"}
    versions = {**PLAN.provenance["versions"], "python": "4", "onnx": "2.0"}
    with open_journal(path, _provenance(network=network, versions=versions, title="another")) as journal:
        assert 2 not in journal.missing


# --- several at once ------------------------------------------------------------------------------------------------


def test_whoever_comes_second_is_told_who_is_first(path: Path) -> None:
    with open_journal(path, PLAN), pytest.raises(ResultError) as error:
        open_journal(path, PLAN)
    said = one_line(error, path)
    assert said.startswith(f"expected to be the only one that computes this map, found process {os.getpid()} on ")
    assert said.endswith(" at it; wait for its end, or stop it")
    open_journal(path, PLAN).close()


def test_some_that_begin_and_delete_it_all_the_time_never_stumble(path: Path) -> None:
    problems: list[BaseException] = []
    begun_by: Counter[int] = Counter()
    inside = threading.Lock()

    def work(number: int) -> None:
        try:
            for _ in range(30):
                try:
                    with open_journal(path, PLAN) as journal:
                        # Here is one at a time.
                        assert inside.acquire(blocking=False)
                        compute(journal)
                        assert read(journal).tobytes() == TRUTH.tobytes()
                        begun_by[number] += 1
                        inside.release()
                        journal.discard()
                except ResultError as error:
                    if "the only one" not in str(error):
                        raise
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert begun_by.total() >= 30
