"""`reproduce status`: what runs, what was stopped and what is finished, as people read it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from screen import Screen, in_terminal
from tiny_home import PROJECT, Reproduce

from predict_diff import journal_progress
from predict_diff.journal import Journal, open_journal
from predict_diff.plan import Plan, in_order
from predict_diff.targets import Target
from predict_diff.windows import WindowGrid
from reproduce import status
from reproduce.commands import commands
from reproduce.runner import journal_path
from reproduce.studies.index import open_index
from reproduce.studies.log import open_log
from reproduce.watching import survey, table
from reproduce.watching.columns import width

if "status" not in commands.commands:
    commands.add_command(status.status)

#: 27 x 27 windows, 81 batches of 9.
GRID, BATCH = WindowGrid(36, 36, 10, 1), 9


def some_plan(photo: str, shard: tuple[int, int] = (1, 1)) -> Plan:
    order, bounds = in_order([np.arange(start, start + BATCH) for start in range(0, len(GRID), BATCH)])
    title = f"{photo}, EfficientNet-Lite0, conditional"
    plan = Plan(
        grid=GRID,
        targets=(Target("prob", (0,)),),
        measures=("WE",),
        known=np.array([0.5]),
        order=order,
        bounds=bounds,
        batching={"batch_size": 8},
        provenance={"title": title, "file": f"{photo}-efficientnet_lite0-conditional-0123456789ab.h5"},
    )
    if shard == (1, 1):
        return plan
    named = {**plan.provenance, "title": title}
    return replace(plan.as_shard(*shard), provenance=named)


def begin(photo: str, parts: int, shard: tuple[int, int] = (1, 1), ago: float = 0.0, rate: float = 9.0) -> Journal:
    """A run with so many batches, the last one written some seconds ago; it runs until it is closed."""
    plan = some_plan(photo, shard)
    path = journal_path(Path("results"), plan.provenance["file"], shard)
    last = time.time() - ago
    with open_journal(path, plan) as journal, mock.patch("time.time") as clock:
        for part in range(parts):
            clock.return_value = last - (parts - 1 - part) * BATCH / rate
            journal.write(part, np.zeros((BATCH, 3, 1)), BATCH / rate)
    return open_journal(path)


def store(photo: str, seconds: float = 5000.0) -> Path:
    plan = some_plan(photo)
    path = Path("results/maps") / plan.provenance["file"]
    return plan.relevance_map([np.zeros(plan.shape)], {"seconds": seconds}).save(path)


@pytest.fixture
def shown(reproduce: Reproduce, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The lines of `reproduce status`."""

    def run(*arguments: str, columns: int = 160) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        outcome = reproduce("status", *arguments)
        assert outcome.code == 0, outcome.err
        return outcome.out.splitlines()

    return run


Shown = Callable[..., list[str]]


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_shows_how_far_it_is_how_fast_it_is_and_who_is_at_it(shown: Shown) -> None:
    with begin("cat", 27):
        lines = shown()
    assert lines[0].split() == ["run", "windows", "done", "per", "s", "left", "state"]
    assert re.split(" {2,}", lines[1]) == [
        "cat, EfficientNet-Lite0, conditional",
        "243 of 729",
        "33 %",
        "9",
        "54 s",
        f"running: process {os.getpid()} on {os.uname().nodename}",
    ]
    assert lines[-1] == "results: 1 running; no maps"


def test_a_run_that_was_stopped_says_since_when(shown: Shown) -> None:
    begin("cat", 27, ago=50 * 3600).close()
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() - 50 * 3600))
    lines = shown()
    assert lines[1].endswith(f"stopped since {since}")
    assert "left" not in lines[0]
    assert lines[-1] == "results: 1 stopped; no maps"


def test_a_run_that_writes_nothing_for_long_is_silent(shown: Shown) -> None:
    with begin("cat", 27, ago=1000):
        assert ", silent since " in shown()[1]


def test_a_run_that_is_just_being_begun_runs(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    with begin("cat", 0) as journal:
        journal.path.write_bytes(b"")
        lines = shown()
    assert lines[1].split("  ")[-1] == "running: begins"
    assert lines[-1] == "results: 1 running; no maps"


def test_shards_of_a_map_stand_together_in_their_order(shown: Shown) -> None:
    held = [begin("cat", 1, (number, 27)) for number in (10, 9, 2)]
    lines = shown()
    for journal in held:
        journal.close()
    assert [line.split()[3] for line in lines[1:4]] == ["2/27", "9/27", "10/27"]
    assert all(line.startswith("cat, EfficientNet-Lite0, conditional ") for line in lines[1:4])


def test_what_is_complete_says_how_it_becomes_a_map(shown: Shown) -> None:
    begin("cat", 27, (1, 3)).close()
    begin("cat", 20, (2, 3)).close()
    lines = shown()
    assert [line.split("  ")[-1].split()[0] for line in lines[1:3]] == ["stopped", "complete"]
    assert lines[-2:] == [
        "results: 1 stopped, 1 complete; no maps",
        "What is complete becomes maps with: reproduce merge --out results",
    ]


def test_a_run_whose_map_is_there_is_no_longer_needed(shown: Shown) -> None:
    begin("cat", 81).close()
    store("cat")
    lines = shown()
    assert lines[1].endswith("no longer needed: the map is there")
    assert "merge" not in lines[-1]


@pytest.mark.parametrize("damage", ["seal", "plan", "another file"])
def test_a_damaged_run_is_named(shown: Shown, damage: str) -> None:
    begin("cat", 27).close()
    (path,) = Path("results/parts").iterdir()
    content = bytearray(path.read_bytes())
    if damage == "seal":
        content[:512] = bytes(512)
    elif damage == "plan":
        content[1000] ^= 1
    else:
        content = bytearray(b"hello")
    path.write_bytes(content)
    lines = shown()
    assert lines[1].startswith(path.name)
    assert "damaged (" in lines[1]
    assert lines[-1] == "results: 1 damaged; no maps"


def test_a_run_that_has_lost_its_end_says_so(shown: Shown) -> None:
    begin("cat", 27).close()
    (path,) = Path("results/parts").iterdir()
    path.write_bytes(path.read_bytes()[: -9 * 24 * 81])
    assert "damaged (it has lost its end)" in shown()[1] + shown()[2]
    open_journal(path).close()  # goes on with it
    assert "stopped since" in shown()[1]


def test_only_some_of_many_runs_are_shown_and_the_others_counted(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    look = journal_progress.look
    monkeypatch.setattr(survey, "look", lambda path: opened.append(path) or look(path))
    for number in range(30):
        begin(f"photo{number}", 1, ago=1000 - number).close()
    begin("cat", 81).close()
    with begin("dog", 2, ago=5000):
        lines = shown()
    assert lines[1].startswith("dog")  # what runs comes first, though it is the oldest
    assert lines[2].startswith("photo29")
    assert len(opened) == 20
    assert lines[21] == "... and more: 11 stopped, 1 complete"
    assert lines[-2] == "results: 1 running, 30 stopped, 1 complete; no maps"


# --- maps ---------------------------------------------------------------------------------------------------------


def test_maps_are_counted_and_only_the_latest_are_opened(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    open_sealed = survey.open_sealed
    monkeypatch.setattr(survey, "open_sealed", lambda path, kind: opened.append(path) or open_sealed(path, kind))
    for number in range(12):
        os.utime(store(f"photo{number}"), (1e9 + number, 1e9 + number))
    lines = shown()
    assert lines[0] == "12 maps, the latest:"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(1e9 + 11))
    assert lines[1] == f"  {when}  photo11, EfficientNet-Lite0, conditional  729 windows in 83 min"
    assert len(opened) == 3
    assert lines[-1] == "results: nothing runs; 12 maps"


def test_damaged_maps_are_named(shown: Shown) -> None:
    for number in range(5):
        path = store(f"photo{number}")
        if number == 0:
            path.write_bytes(b"")  # seen from outside
        if number == 4:
            path.write_bytes(path.read_bytes()[:-1])
        os.utime(path, (1e9 + number, 1e9 + number))
    lines = shown(columns=200)
    assert any("photo4" in line and "damaged (its contents do not have the checksum" in line for line in lines)
    assert any("photo0" in line and "damaged (it is too short)" in line for line in lines)
    assert lines[-1] == "results: nothing runs; 5 maps, 2 of them damaged"


def test_a_map_of_the_command_line_is_shown(reproduce: Reproduce, shown: Shown, home: Path, no_pictures: None) -> None:
    settings = ("--k", "6", "--l", "8", "--stride", "6", "--samples", "2", "--provider", "cpu", "--sampler", "marginal")
    assert reproduce("explain", "cat", "--network", "tiny", "--pool", home / "pool", *settings).code == 0
    lines = shown()
    assert lines[0] == "1 map, the latest:"
    assert "cat, Tiny, marginal  36 windows in 0 s" in lines[1]


# --- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_none_is_an_error(reproduce: Reproduce) -> None:
    Path("file").touch()
    assert reproduce("status").error.startswith("results: expected a folder of results, found nothing there")
    assert reproduce("status", "file").error.startswith("file: expected a folder of results, found a file")


def test_an_empty_folder_says_so(shown: Shown) -> None:
    Path("results/maps").mkdir(parents=True)
    assert shown() == ["results: no runs and no maps are here yet"]
    assert shown("results/maps") == ["results/maps: no runs and no maps are here yet; name the folder above it"]


def test_a_study_has_its_lines(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("results").mkdir()
    monkeypatch.setattr(status, "lines_of_study", lambda folder: [f"study {folder}: 3 of 4 maps"])
    assert shown() == ["study results: 3 of 4 maps", ""]


def test_files_from_strangers_cannot_move_the_cursor(shown: Shown) -> None:
    begin("c\x1b[2Jat", 1).close()
    store("d\x1b[2Jog")
    assert "\x1b" not in "\n".join(shown())


def test_temporary_files_do_not_count(shown: Shown) -> None:
    store("cat")
    Path("results/maps/.cat.h5").touch()
    Path("results/maps/cat.h5.tmp").touch()
    assert shown()[-1] == "results: nothing runs; 1 map"


def test_it_only_looks(shown: Shown) -> None:
    begin("cat", 27).close()
    store("dog")
    files = [path for path in Path("results").rglob("*") if path.is_file()]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    shown()
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


# --- columns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_lines_fit_the_terminal(shown: Shown, columns: int) -> None:
    held = [begin("a_photo_with_a_name_that_is_rather_long", 3, (number, 27)) for number in (1, 2)]
    held += [begin("猫の写真", 27), begin("dog", 27, ago=900)]
    begin("espresso", 27, ago=1e6).close()
    store("another_photo_with_a_name_that_is_long")
    lines = shown(columns=columns)
    for journal in held:
        journal.close()
    assert [line for line in lines if width(line) > columns] == []
    assert any("猫の写真" in line for line in lines)
    assert sum("running: process" in line for line in lines) == 4


def test_a_survey_of_nothing_special_is_a_table() -> None:
    found = survey.Survey(Path("out"), [], 0, [], [])
    assert table.table(found, [], 80, 20, 0.0) == ["out: no runs and no maps are here yet"]


# --- follow -------------------------------------------------------------------------------------------------------


class Moments:
    """Time that passes only while the program sleeps, when something happens."""

    def __init__(self, *events: Callable[[], object]) -> None:
        self.events, self.now = list(events), 0.0
        self.time, self.strftime, self.localtime = time.time, time.strftime, time.localtime

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.events:
            self.events.pop(0)()


def nothing() -> None:
    """Happens."""


def test_follow_prints_a_table_a_minute_until_nothing_runs(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begin("cat", 27)
    moments = Moments(*[nothing] * 44, journal.close)
    monkeypatch.setattr(status, "time", moments)
    lines = shown("--follow")
    # At 0 and 60 s, and, some looks after its end, the last.
    assert sum(line.startswith("run ") for line in lines) == 3
    assert [line for line in lines if line.startswith("results")] == [
        "results: 1 running; no maps",
        "results: 1 running; no maps",
        "results: 1 stopped; no maps",
    ]
    assert moments.now == pytest.approx(90 + 10)


def test_follow_waits_between_two_maps_of_one_command(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin("cat", 81)
    later: list[Journal] = []
    moments = Moments(
        nothing, first.close, nothing, lambda: later.append(begin("dog", 1)), nothing, lambda: later[0].close()
    )
    monkeypatch.setattr(status, "time", moments)
    lines = shown("--follow")
    assert any(line.startswith("dog") for line in lines)


def test_follow_stays_with_a_study_that_runs_while_no_map_does(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    begin("cat", 27).close()
    results = Path("results")
    with open_index(results / "study.sqlite"):
        pass
    made = open_log(results / "log.txt")
    made.__enter__()
    moments = Moments(*[nothing] * 20, lambda: made.__exit__(None, None, None))
    monkeypatch.setattr(status, "time", moments)
    lines = shown("--follow")
    assert moments.now == pytest.approx(42 + 10)
    assert any(line.startswith("study ") and line.endswith("running") for line in lines)


def test_follow_of_a_folder_where_nothing_runs_ends_at_once(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    begin("cat", 27).close()
    moments = Moments()
    monkeypatch.setattr(status, "time", moments)
    shown("--follow")
    assert moments.now == 0


def test_follow_redraws_in_place_on_a_terminal(reproduce: Reproduce) -> None:
    journal = begin("cat", 27)
    program = f"""
from reproduce import status
from predict_diff.journal import open_journal
journals = [open_journal({str(journal.path)!r})]
steps = [lambda: None, lambda: journals.pop().close(), *[lambda: None] * 20]
import time
class Time:
    time, localtime, sleep = time.time, time.localtime, lambda seconds: steps.pop(0)()
Time.sleep = staticmethod(Time.sleep)
status.time = Time
status.status(["--follow"])
"""
    journal.close()
    code, written = in_terminal(program, columns=80)
    assert code == 0, written
    assert written.count("\x1b[") == 2 * 7  # up and clear, for all tables but the first
    screen = Screen(80)
    screen.write(written)
    assert screen.lines[-1] == "results: 1 stopped; no maps"
    assert sum("EfficientNet" in line for line in screen.lines) == 1


def test_a_low_terminal_shows_the_end(reproduce: Reproduce) -> None:
    for number in range(30):
        begin(f"photo{number}", 1).close()
    code, written = in_terminal("from reproduce import status; status.status(['--follow'])", 100, lines=14)
    assert code == 0, written
    screen = Screen(100)
    screen.write(written)
    assert len(screen.lines) <= 13
    assert screen.lines[-1] == "results: 30 stopped; no maps"


@pytest.mark.slow
def test_another_process_is_seen(shown: Shown) -> None:
    begin("cat", 27).close()
    (path,) = Path("results/parts").iterdir()
    program = f"""
from predict_diff.journal import open_journal
journal = open_journal({str(path)!r})
print("has it", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        assert f"running: process {other.pid} on" in shown()[1]
        other.kill()
    assert "stopped since" in shown()[1]
