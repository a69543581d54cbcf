"""The index and the loop that fills it, with jobs whose maps are made up."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from stub_jobs import StubJob, stub_values

from predict_diff.errors import NetworkError, ResultError
from predict_diff.plan import Plan
from predict_diff.result import RelevanceMap
from reproduce.jobs import Job
from reproduce.studies.expand import Item
from reproduce.studies.index import Counts, Index, copy_of, open_index
from reproduce.studies.run import run_jobs

FOUR = range(4)


def item(number: int, **fields: object) -> Item:
    given = {"photo": f"/photos/{number}.jpg", "size": 100, "mtime_ns": 5, "network": "net", "sampler": "marginal"}
    return Item(**{"number": number, "seed": 0, "configuration": "a", **given, **fields})  # type: ignore[arg-type]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Of four maps, none of them done."""
    with open_index(tmp_path / "study.sqlite") as opened:
        opened.register("Stubs", map(item, FOUR))
        yield opened


def work(index: Index, make: Callable[[Item], Job] = lambda item: StubJob(item.number)) -> Iterator[tuple[int, Job]]:
    return ((number, make(waiting)) for number, waiting in index.waiting())


def targets(index: Index) -> list[tuple[str, str, float | None]]:
    """Photo, state, and the largest relevance of each row."""
    return [(Path(row[0]).stem, row[-2], row[9]) for row in index.rows()]


# --- the loop -----------------------------------------------------------------------------------------------------


def test_all_jobs_are_computed_and_taken_down(index: Index, tmp_path: Path) -> None:
    outcome = run_jobs(work(index), index, tmp_path)
    assert (outcome.done, outcome.failed) == (4, 0)
    assert index.counts() == Counts(4, 4, 0)
    for number in FOUR:
        found = RelevanceMap.load(tmp_path / "maps" / f"stub-{number}.h5")
        expected = stub_values(number, np.arange(len(found.grid)))
        np.testing.assert_array_equal(found.relevance[0], expected[:, 1, 0])
        assert (tmp_path / "thumbnails" / f"stub-{number}.png").is_file()
        assert targets(index)[number] == (str(number), "done", found.maps[0].max())
    assert not list((tmp_path / "parts").iterdir())


def test_jobs_are_taken_as_they_are_computed(index: Index, tmp_path: Path) -> None:
    taken: list[int] = []

    def make(waiting: Item) -> StubJob:
        assert len(list(tmp_path.glob("maps/*.h5"))) == waiting.number
        taken.append(waiting.number)
        return StubJob(waiting.number)

    run_jobs(work(index, make), index, tmp_path)
    assert taken == list(FOUR)


def test_a_job_that_fails_is_taken_down_and_tried_again_in_the_next_run(index: Index, tmp_path: Path) -> None:
    outcome = run_jobs(work(index, lambda item: StubJob(item.number, wrong=item.number == 1)), index, tmp_path)
    assert (outcome.done, outcome.failed) == (3, 1)
    assert index.counts() == Counts(4, 3, 1)
    assert [row[-1] for row in index.rows()][1] == "photo 1: expected a photo, found none; take another"
    assert index.register("Stubs", map(item, FOUR)) == Counts(4, 3, 1)
    assert [waiting.number for _, waiting in index.waiting()] == [1]
    run_jobs(work(index), index, tmp_path)
    assert index.counts() == Counts(4, 4, 0)


@dataclass(frozen=True)
class BrokenJob(StubJob):
    """Ends the program in the midst of a map, once."""

    def compute(self, plan: Plan) -> Iterator[tuple[np.ndarray, float]]:
        values = super().compute(plan)
        if self.number == 2:
            yield next(values)
            raise KeyboardInterrupt
        yield from values


def test_a_run_that_was_stopped_goes_on_with_the_window_it_was_at(index: Index, tmp_path: Path) -> None:
    log = tmp_path / "windows"
    with pytest.raises(KeyboardInterrupt):
        run_jobs(work(index, lambda item: BrokenJob(item.number, log)), index, tmp_path)
    assert index.counts() == Counts(4, 2, 0)
    run_jobs(work(index, lambda item: StubJob(item.number, log)), index, tmp_path)
    lines = log.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 4 * 36


def test_maps_that_are_there_are_only_read(index: Index, tmp_path: Path) -> None:
    run_jobs(work(index), index, tmp_path)
    rows = list(index.rows())
    with open_index(tmp_path / "study-1of1.sqlite") as other:
        other.register("Stubs", map(item, FOUR))
        log = tmp_path / "windows"
        run_jobs(work(other, lambda item: StubJob(item.number, log)), other, tmp_path)
        assert not log.exists()
        assert list(other.rows()) == rows


def test_a_full_disk_ends_the_run_at_once(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pages,) = index._connection.execute("PRAGMA page_count").fetchone()
    index._connection.execute(f"PRAGMA max_page_count = {pages}")

    class LongError(NetworkError):
        def __str__(self) -> str:
            return "x" * 10_000

    def fail(job: StubJob) -> Plan:
        raise LongError

    monkeypatch.setattr(StubJob, "plan", fail)
    with pytest.raises(ResultError, match=r"study.sqlite: could not be read or written \(database or disk is full\)"):
        run_jobs(work(index), index, tmp_path)
    assert index.counts() == Counts(4, 0, 0)


def test_a_folder_that_has_no_room_ends_the_run_at_once(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "maps").touch()  # no map can be written
    monkeypatch.setattr("reproduce.studies.run._ROOM", 1 << 60)
    with pytest.raises(ResultError, match="expected 1,152,921,504,606,846,976 bytes free for the results"):
        run_jobs(work(index), index, tmp_path)
    assert index.counts().failed == 1


@pytest.mark.slow
def test_workers_of_a_cluster_compute_them_as_well(index: Index, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from reproduce.workers import open_workers

    with open_workers("local:2") as workers:
        outcome = run_jobs(
            work(index, lambda item: StubJob(item.number, wrong=item.number == 1)), index, tmp_path, workers
        )
    assert (outcome.done, outcome.failed) == (3, 1)
    assert [state for _, state, _ in targets(index)] == ["done", "failed", "done", "done"]


def test_memory_does_not_grow_with_the_study(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"study-1of{count}.sqlite"
        tracemalloc.start()
        with open_index(path) as index:
            index.register("Many", map(item, range(count)))
            assert sum(1 for _ in index.waiting()) == count
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(10)
    # Some 250 kB, whenever Python collects its garbage; 20 bytes a map would be 360 kB more.
    assert peak(20_000) < 2 * peak(2000)


# --- the file -----------------------------------------------------------------------------------------------------


def done(index: Index, numbers: list[int]) -> None:
    """Some of the maps are there, empty files as they are."""
    (index.path.parent / "maps").mkdir(exist_ok=True)
    for job, waiting in index.waiting():
        if waiting.number in numbers:
            (index.path.parent / "maps" / f"{waiting.number}.h5").touch()
            index.done(job, f"{waiting.number}.h5", 1.5, "ab", [])


def test_what_has_changed_is_waited_for_again(index: Index) -> None:
    done(index, [0, 1, 2, 3])
    (index.path.parent / "maps" / "1.h5").unlink()
    changed = [item(0), item(1), item(2, configuration="b"), item(3, mtime_ns=6)]
    assert index.register("Stubs", changed) == Counts(4, 1, 0)
    assert [waiting for _, waiting in index.waiting()] == changed[1:]


def test_numbers_may_change_when_photos_come_and_go(index: Index) -> None:
    done(index, [0, 2])
    moved = [item(0, photo="/photos/new.jpg"), item(1, photo="/photos/2.jpg"), item(2, photo="/photos/0.jpg")]
    assert index.register("Stubs", moved) == Counts(3, 2, 0)
    assert [Path(row[0]).stem for row in index.rows()] == ["2", "0"]


def test_what_was_not_committed_when_the_process_was_killed_is_as_if_it_had_not_been(index: Index) -> None:
    done(index, [0])
    child = os.fork()
    if child == 0:
        with open_index(index.path) as own, own._transaction() as database:
            database.execute("UPDATE jobs SET state = 'failed'")
            database.execute("PRAGMA cache_spill = 1")
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    with open_index(index.path) as again:
        assert again.counts() == Counts(4, 1, 0)


def test_another_index_is_taken_over_as_far_as_it_fits(index: Index, tmp_path: Path) -> None:
    done(index, [0])
    with open_index(tmp_path / "study-1of2.sqlite") as part:
        part.register("Stubs", [item(0), item(1), item(2), item(3, configuration="other"), item(9)])
        done(part, [0, 1, 2, 3, 9])
        (tmp_path / "maps" / "2.h5").unlink()
    assert index.adopt(tmp_path / "study-1of2.sqlite") == 1
    assert index.counts() == Counts(4, 2, 0)
    assert index.adopt(tmp_path / "study-1of2.sqlite") == 0


def test_a_copy_is_one_s_own(index: Index) -> None:
    done(index, [0])
    before = index.path.read_bytes()
    with copy_of(index.path) as copy:
        copy.register("Other", [item(7)])
        assert copy.counts() == Counts(1, 0, 0)
    with copy_of(index.path.with_name("none.sqlite")) as copy:
        assert copy.counts() == Counts(0, 0, 0)
    assert index.path.read_bytes() == before
    assert not index.path.with_name("none.sqlite").exists()


def test_one_who_looks_does_not_disturb_one_who_writes(index: Index) -> None:
    with copy_of(index.path) as copy:
        done(index, [0, 1])
        assert copy.counts() == Counts(4, 0, 0)
    assert index.counts() == Counts(4, 2, 0)


def test_hashes_of_files_are_kept_until_the_files_change(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"one")
    first = index.sha256(path)
    assert first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    stamp = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert index.sha256(path) == first  # it was not read
    os.utime(path, ns=(0, 0))
    assert index.sha256(path) != first
    with pytest.raises(ResultError, match="expected a file that can be read"):
        index.sha256(tmp_path / "none")


def test_tables_refuse_what_does_not_belong_there(index: Index) -> None:
    done(index, [0])
    for statement in (
        "UPDATE jobs SET map = '../../elsewhere.h5'",
        "UPDATE jobs SET state = 'lost'",
        "UPDATE jobs SET seed = 'one'",
        "INSERT INTO targets (job, place, mean) VALUES (1, 0, 'high')",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            index._connection.execute(statement)
