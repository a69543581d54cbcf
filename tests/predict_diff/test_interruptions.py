"""Maps whose computation is stopped in the middle, at any moment, in any way: the same bits, and no window twice."""

from __future__ import annotations

import itertools
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import pytest
from interrupted import COARSER, JOURNAL, KINDS, LOG, MAP, MODULES
from interruptions import COUNT, SEED, Ending, Processes, lines

from predict_diff.authors_code import stale_window
from predict_diff.errors import ResultError
from predict_diff.journal_progress import look
from predict_diff.result import RelevanceMap

#: What tests at any time do of what `make chaos` does `COUNT` times.
SAMPLE = 2

#: What is stopped: all kinds but the coarse map that others go on from.
STOPPED = [kind for kind in KINDS if kind != "coarse"]

ARRAYS = ("known", "expected", "relevance", "standard_error", "counts", "maps", "map_errors")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    here = Path(__file__).parent
    with Processes("interrupted:explain", [here, here.parents[1]], tmp_path_factory.mktemp("processes")) as found:
        yield found


@pytest.fixture(scope="module")
def whole(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RelevanceMap]:
    """Each kind of map, from one process that nothing stopped, without a journal."""
    found: dict[str, RelevanceMap] = {}
    for kind in sorted(KINDS, key=lambda kind: KINDS[kind].coarser):
        folder = _folder(tmp_path_factory.mktemp("whole"), kind, found)
        assert processes.run(folder=str(folder), kind=kind, journal=False).code == 0
        found[kind] = RelevanceMap.load(folder / MAP)
    return found


def _folder(folder: Path, kind: str, whole: dict[str, RelevanceMap]) -> Path:
    """A folder, with what the kind starts from."""
    folder.mkdir(exist_ok=True)
    if KINDS[kind].coarser:
        whole["coarse"].save(folder / COARSER)
    return folder


@dataclass
class Tally:
    """What happened to some runs."""

    runs: int = 0
    stopped: int = 0
    in_flight: int = 0
    damaged: int = 0
    leftovers: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        left = ", ".join(f"{count} {what}" for what, count in sorted(self.leftovers.items()))
        return (
            f"{self.runs} maps, all bit-identical; {self.stopped} processes stopped ({left}); {self.in_flight} windows "
            f"computed twice, all in flight; {self.damaged} journals begun anew"
        )


def expect_the_same_arrays(folder: Path, kind: str, whole: dict[str, RelevanceMap]) -> RelevanceMap:
    """A map that is complete has the bits of the whole."""
    found = RelevanceMap.load(folder / MAP)
    for name in ARRAYS:
        assert getattr(found, name).tobytes() == getattr(whole[kind], name).tobytes(), name
    return found


def expect_the_same_map(
    folder: Path, kind: str, whole: dict[str, RelevanceMap], stopped: list[int], tally: Tally
) -> None:
    """It has the bits of the whole, its windows were evaluated once but for those that `stopped` had in flight."""
    found = expect_the_same_arrays(folder, kind, whole)
    once = Counter(map(tuple, found.grid.positions.tolist()))
    if KINDS[kind].coarser:
        once -= Counter(map(tuple, whole["coarse"].grid.positions.tolist()))
    if KINDS[kind].stale_window:
        once[tuple(found.grid.positions[stale_window(len(found.grid), KINDS[kind].samples)].tolist())] += 1
    batches = []
    for line in (folder / LOG).read_text().splitlines():
        process, *places = line.split()
        batches.append((int(process), [tuple(map(int, place.split(","))) for place in places]))
    evaluated = Counter(place for _, places in batches for place in places)
    latest = {process: places for process, places in batches if process in stopped}
    in_flight = Counter(place for places in latest.values() for place in places)
    assert set(evaluated) == set(once)
    assert not evaluated - in_flight - once
    assert {path.name for path in folder.iterdir()} <= {MAP, LOG, COARSER}
    tally.runs += 1
    tally.in_flight += (evaluated - once).total()


def note_leftovers(folder: Path, tally: Tally) -> None:
    """What a process that was stopped left behind can be read, or is named and begun anew."""
    tally.stopped += 1
    for part in folder.glob(".*.part"):
        os.utime(part, (0, 0))  # as if it had been some time ago
    if (folder / MAP).exists():
        RelevanceMap.load(folder / MAP)
        tally.leftovers["after the map was saved"] += 1
    elif not (folder / JOURNAL).exists():
        tally.leftovers["before there was a journal"] += 1
    else:
        try:
            found = look(folder / JOURNAL)
        except ResultError:  # named and begun anew by the next; see `expect_to_be_completed`
            tally.leftovers["while the journal was begun"] += 1
            return
        assert not found.running
        with h5py.File(folder / JOURNAL) as stored:
            assert len(stored["values"]) == found.total
        tally.leftovers["before the last window" if found.done < found.total else "after the last window"] += 1


def expect_to_be_completed(ending: Ending, tally: Tally) -> None:
    assert ending.code == 0, ending.err
    # Python loses an interruption that comes in the midst of freeing memory, and says so.
    if "KeyboardInterrupt" not in ending.err:
        said = [line for line in ending.err.splitlines() if not line.startswith("lines: ")]
        assert all("its beginning is damaged" in line and "it is written anew" in line for line in said)
    tally.damaged += ending.err.count("its beginning is damaged")


def stop_at_random_moments(
    processes: Processes, whole: dict[str, RelevanceMap], folder: Path, count: int, number: int, seed: str
) -> Tally:
    """Compute maps in processes that are stopped, each map at least once, somewhere in the time that it takes."""
    chance, tally = random.Random(seed), Tally()
    takes: dict[tuple[str, float], float] = {}
    for attempt in itertools.count():
        if tally.runs == count:
            break
        assert attempt < 10 * count, "too few are stopped before they end by themselves"
        kind, pause = chance.choice(STOPPED), chance.choice([0.0, 0.002, 0.01])
        place = _folder(folder / seed, kind, whole)
        stopped: list[int] = []
        while True:
            began = time.monotonic()
            process = processes.start(folder=str(place), kind=kind, pause=pause)
            if len(stopped) < 8:
                time.sleep(chance.uniform(0, takes.get((kind, pause), 0.1)))
                process.send(number)
            ending = process.wait()
            if ending.code == 0:
                break
            assert ending.signal == number or "KeyboardInterrupt" in ending.err, ending
            stopped.append(process.pid)
            note_leftovers(place, tally)
            assert number == signal.SIGKILL or not list(place.glob("*.part"))
        if not stopped:
            takes[kind, pause] = time.monotonic() - began
        else:
            expect_to_be_completed(ending, tally)
            expect_the_same_map(place, kind, whole, stopped, tally)
        shutil.rmtree(place)
    return tally


def stop_at_lines(
    processes: Processes, whole: dict[str, RelevanceMap], folder: Path, kind: str, numbers: list[int]
) -> Tally:
    """Compute maps in processes that are killed before a certain line of the program, and then in whole ones."""
    tally = Tally()
    for number in numbers:
        place = _folder(folder / f"line-{number}", kind, whole)
        process = processes.start(folder=str(place), kind=kind, stop_at=(number, MODULES))
        assert process.wait().signal == signal.SIGKILL
        note_leftovers(place, tally)
        expect_to_be_completed(processes.run(folder=str(place), kind=kind), tally)
        expect_the_same_map(place, kind, whole, [process.pid], tally)
        shutil.rmtree(place)
    return tally


def lines_of_a_run(processes: Processes, whole: dict[str, RelevanceMap], folder: Path, kind: str) -> int:
    place = _folder(folder / "lines", kind, whole)
    found = lines(processes.start(folder=str(place), kind=kind, stop_at=(-1, MODULES)).wait())
    shutil.rmtree(place)
    return found


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_at_random_moments_and_resumed_it_is_the_same_map(
    processes: Processes, whole: dict[str, RelevanceMap], tmp_path: Path, number: signal.Signals
) -> None:
    stop_at_random_moments(processes, whole, tmp_path, SAMPLE, number, number.name)


@pytest.mark.parametrize("kind", STOPPED)
def test_killed_at_random_lines_and_resumed_it_is_the_same_map(
    processes: Processes, whole: dict[str, RelevanceMap], tmp_path: Path, kind: str
) -> None:
    total = lines_of_a_run(processes, whole, tmp_path, kind)
    stop_at_lines(processes, whole, tmp_path, kind, random.Random(kind).sample(range(total), SAMPLE))


@pytest.mark.chaos
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_many_stopped_at_random_moments_and_resumed_are_the_same_maps(
    processes: Processes,
    whole: dict[str, RelevanceMap],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    tally = stop_at_random_moments(processes, whole, tmp_path, COUNT, number, f"{number.name} {SEED}")
    with capsys.disabled():
        print(f"\nseed {SEED}, {number.name} at random moments: {tally}")


@pytest.mark.chaos
@pytest.mark.parametrize("kind", ["few parts", "few parts from a coarser map"])
def test_killed_at_every_single_line_and_resumed_it_is_the_same_map(
    processes: Processes,
    whole: dict[str, RelevanceMap],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    total = lines_of_a_run(processes, whole, tmp_path, kind)
    tally = stop_at_lines(processes, whole, tmp_path, kind, list(range(total)))
    with capsys.disabled():
        print(f"\n{kind}, SIGKILL before each of {total} lines: {tally}")


@pytest.mark.parametrize("kind", STOPPED)
def test_progress_goes_on_from_what_is_there(
    processes: Processes, whole: dict[str, RelevanceMap], tmp_path: Path, kind: str
) -> None:
    half = lines_of_a_run(processes, whole, tmp_path, kind) // 2
    _folder(tmp_path, kind, whole)
    processes.start(folder=str(tmp_path), kind=kind, stop_at=(half, MODULES)).wait()
    done = look(tmp_path / JOURNAL).done
    said = [tuple(map(int, line.split())) for line in processes.run(folder=str(tmp_path), kind=kind).out.splitlines()]
    assert {total for _, total in said} == {144}
    counts = [done, *(count for count, _ in said)]
    assert 0 < done < 144
    assert all(0 < after - before <= KINDS[kind].part for before, after in itertools.pairwise(counts) if after < 144)
    # A second draw is no further window.
    assert counts.count(144) == 1 + KINDS[kind].stale_window
    assert counts[-1] == 144


# --- several at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5])
def test_of_some_started_together_one_computes_and_the_others_say_which(
    processes: Processes, whole: dict[str, RelevanceMap], tmp_path: Path, count: int
) -> None:
    begun = [processes.start(folder=str(tmp_path), kind="plain", pause=0.02) for _ in range(count)]
    endings = {process.pid: process.wait() for process in begun}
    (first,) = [pid for pid, ending in endings.items() if ending.code == 0]
    node = re.escape(platform.node())
    said = (
        rf"{re.escape(str(tmp_path / JOURNAL))}: expected to be the only one that computes this map, found "
        rf"(process {first} on {node} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d|another process) at it; wait for its end, "
        r"or stop it\n"
    )
    for pid, ending in endings.items():
        if pid != first:
            assert ending.code == 2
            assert re.fullmatch(said, ending.err)
    expect_the_same_map(tmp_path, "plain", whole, [], Tally())


@pytest.mark.parametrize("count", [2, 5])
def test_where_the_system_knows_no_locks_the_map_is_right_all_the_same(
    processes: Processes, whole: dict[str, RelevanceMap], tmp_path: Path, count: int
) -> None:
    begun = [processes.start(folder=str(tmp_path), kind="plain", pause=0.005, locks=False) for _ in range(count)]
    endings = [process.wait() for process in begun]
    assert {ending.code for ending in endings} <= {0, 2}
    assert all(ending.err.count("\n") == 1 for ending in endings if ending.code == 2)
    assert 0 in {ending.code for ending in endings}
    expect_the_same_arrays(tmp_path, "plain", whole)


@pytest.mark.chaos
@pytest.mark.parametrize("locks", [True, False])
def test_many_started_together_and_killed_give_the_same_maps(
    processes: Processes,
    whole: dict[str, RelevanceMap],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    locks: bool,
) -> None:
    chance = random.Random(f"together {SEED}")
    ended: Counter[int | None] = Counter()
    for run in range(COUNT):
        place, kind = tmp_path / f"{run}", chance.choice(STOPPED)
        _folder(place, kind, whole)
        while not (place / MAP).exists():
            begun = [
                processes.start(folder=str(place), kind=kind, pause=0.01, locks=locks)
                for _ in range(chance.randint(2, 5))
            ]
            for process in begun:
                if chance.random() < 0.5:
                    time.sleep(chance.uniform(0, 0.05))
                    process.send(signal.SIGKILL)
            endings = [process.wait() for process in begun]
            ended.update(ending.code for ending in endings)
            assert all(ending.code in (0, 2, None) for ending in endings), endings
            assert all(ending.err.splitlines()[-1:] != [] for ending in endings if ending.code == 2)
        expect_the_same_arrays(place, kind, whole)
        shutil.rmtree(place)
    with capsys.disabled():
        print(
            f"\nseed {SEED}, {COUNT} maps, started together {'with' if locks else 'without'} locks: "
            f"{ended[0]} processes computed or read it, {ended[2]} were kept out, {ended[None]} killed"
        )


# --- no room --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 400, 513, 4000, 9000])
def test_a_journal_that_does_not_fit_is_refused_in_one_line_and_leaves_nothing(
    processes: Processes, whole: dict[str, RelevanceMap], tmp_path: Path, limit: int
) -> None:
    ending = processes.run(folder=str(tmp_path), kind="few parts", limit=limit)
    assert ending.code == 2
    assert ending.err.startswith(f"{tmp_path / JOURNAL}: could not be written (File too large); free some space")
    assert ending.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
    assert processes.run(folder=str(tmp_path), kind="few parts").code == 0
    expect_the_same_map(tmp_path, "few parts", whole, [], Tally())


def test_where_room_ends_in_the_middle_what_was_complete_is_kept(
    processes: Processes, whole: dict[str, RelevanceMap], tmp_path: Path
) -> None:
    process = processes.start(folder=str(tmp_path), kind="plain", stop_at=(400, MODULES))
    assert process.wait().signal == signal.SIGKILL
    stopped = [process.pid]
    size, before = (tmp_path / JOURNAL).stat().st_size, look(tmp_path / JOURNAL).done
    for limit in (size - 3000, size - 2000, size - 1990, size - 1000, size - 1):
        process = processes.start(folder=str(tmp_path), kind="plain", limit=limit)
        ending = process.wait()
        stopped.append(process.pid)
        assert ending.code == 2
        assert ending.err.startswith(f"{tmp_path / JOURNAL}: could not be written (File too large); free some space")
        assert ending.err.count("\n") == 1
        assert look(tmp_path / JOURNAL).done >= before
        before = look(tmp_path / JOURNAL).done
    assert before > 100
    assert processes.run(folder=str(tmp_path), kind="plain").code == 0
    expect_the_same_map(tmp_path, "plain", whole, stopped, Tally())


def test_a_map_that_does_not_fit_is_refused_in_one_line_and_its_journal_is_kept(
    processes: Processes, whole: dict[str, RelevanceMap], tmp_path: Path
) -> None:
    journal, saved = (tmp_path / name for name in (JOURNAL, MAP))
    processes.start(folder=str(tmp_path), kind="plain", stop_at=(1000, MODULES)).wait()
    # The journal is complete at the first of these that it fits into, the map is larger still.
    for limit in range(journal.stat().st_size, 10**6, 5000):
        ending = processes.run(folder=str(tmp_path), kind="plain", limit=limit)
        if ending.code == 0:
            break
        assert ending.code == 2
        assert ending.err.startswith(f"{saved}: could not be written (File too large); free some space")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([LOG, JOURNAL])
    expect_the_same_arrays(tmp_path, "plain", whole)


@pytest.fixture(params=["size=96k"])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Processes for which the folder `disk` is one of 96 KB, or another."""
    disk, here = tmp_path / "disk", Path(__file__).parent
    disk.mkdir()
    mount = f'mount -t tmpfs -o {request.param} none "$0" && exec "$@"'
    mounted = ["unshare", "-rm", "sh", "-c", mount, str(disk)]
    try:
        subprocess.run([*mounted, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody mount a small disk")
    (tmp_path / "said").mkdir()
    with Processes("interrupted:explain", [here, here.parents[1]], tmp_path / "said", mounted) as found:
        yield found


def fill_the_disk(
    small_disk: Processes, whole: dict[str, RelevanceMap], tmp_path: Path, count: int, seed: str
) -> tuple[Tally, Counter[str]]:
    """Compute maps on a disk that is more or less full, and fuller or emptier when they go on."""
    chance, tally, places = random.Random(seed), Tally(), Counter[str]()
    disk = tmp_path / "disk"
    for run in range(count):
        kind = chance.choice(STOPPED)
        place = _folder(tmp_path / f"{run}", kind, whole)
        stopped: list[int] = []
        for filled in (*(chance.randrange(96) * 1024 for _ in range(chance.randrange(1, 10))), 0):
            process = small_disk.start(folder=str(place), kind=kind, disk=str(disk), filled=filled)
            ending = process.wait()
            if ending.code == 0:
                break
            stopped.append(process.pid)
            assert ending.code == 2, ending.err
            said = (
                rf"{re.escape(str(disk))}/(\S+): could not be written \(No space left on device\); free some space .*\n"
            )
            name = re.fullmatch(said, ending.err)
            assert name is not None, ending.err
            places[name[1]] += 1
            tally.stopped += 1
        expect_to_be_completed(ending, tally)
        expect_the_same_map(place, kind, whole, stopped, tally)
    return tally, places


def test_on_a_full_disk_it_ends_in_one_line_and_goes_on_where_there_is_room(
    small_disk: Processes, whole: dict[str, RelevanceMap], tmp_path: Path
) -> None:
    fill_the_disk(small_disk, whole, tmp_path, SAMPLE, "disk")


@pytest.mark.parametrize("small_disk", ["ro"], indirect=True)
def test_on_a_disk_that_can_only_be_read_it_ends_in_one_line(small_disk: Processes, tmp_path: Path) -> None:
    ending = small_disk.run(folder=str(tmp_path), kind="plain", disk=str(tmp_path / "disk"))
    assert ending.code == 2
    said = f"{tmp_path / 'disk' / JOURNAL}: could not be written (Read-only file system); free some space or choose"
    assert ending.err.startswith(said)
    assert ending.err.count("\n") == 1


@pytest.mark.chaos
def test_many_on_a_full_disk_end_in_one_line_and_go_on_where_there_is_room(
    small_disk: Processes, whole: dict[str, RelevanceMap], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, places = fill_the_disk(small_disk, whole, tmp_path, COUNT, f"disk {SEED}")
    with capsys.disabled():
        print(f"\nseed {SEED}, a full disk {dict(places)}: {tally}")
