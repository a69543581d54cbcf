"""Progress as people see it: on a terminal, in a log file, and in a notebook."""

from __future__ import annotations

import io
import logging
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from screen import Screen, in_terminal
from tiny_home import SIZE
from tqdm import tqdm

from predict_diff import MarginalSampler, Target, choose_evaluator, prediction_difference
from predict_diff.network import minibatch
from reproduce import progress
from reproduce.classifier import Engine, open_classifier
from reproduce.progress import Progress, duration
from reproduce.watching.columns import width


class Stream(io.StringIO):
    """Standard error that is no terminal."""

    def isatty(self) -> bool:
        return False


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


@pytest.fixture
def error_stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Standard error; no terminal."""
    found = Stream()
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=found, modules=sys.modules))
    return found


@pytest.fixture
def log(clock: Clock, error_stream: Stream, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been logged, where there is no terminal."""
    caplog.set_level(logging.INFO, "reproduce")
    return lambda: [record.getMessage() for record in caplog.records]


# --- a log file ---------------------------------------------------------------------------------------------------


def test_a_log_gets_a_line_a_minute(clock: Clock, log: Callable[[], list[str]], error_stream: Stream) -> None:
    with Progress("cat", 36_000, "windows") as shown:
        for _ in range(30):
            clock.now += 10
            shown.update(100)
    assert log() == [
        "cat: 600 of 36,000 windows (2 %), 10 windows/s, 59 min left",
        "cat: 1,200 of 36,000 windows (3 %), 10 windows/s, 58 min left",
        "cat: 1,800 of 36,000 windows (5 %), 10 windows/s, 57 min left",
        "cat: 2,400 of 36,000 windows (7 %), 10 windows/s, 56 min left",
        "cat: 3,000 of 36,000 windows (8 %), 10 windows/s, 55 min left",
    ]
    assert error_stream.getvalue() == ""


def test_the_rate_is_that_of_what_is_done_now(clock: Clock, log: Callable[[], list[str]]) -> None:
    with Progress("cat", 1000, "windows", start=900) as shown:
        clock.now += 60
        shown.update(30)
    assert log() == ["cat: 930 of 1,000 windows (93 %), 0.5 windows/s, 2 min left"]


def test_an_unknown_total_has_no_end_in_sight(clock: Clock, log: Callable[[], list[str]]) -> None:
    with Progress("cat", None, "photos") as shown:
        clock.now += 61
        shown.update(122)
    assert log() == ["cat: 122 photos, 2 photos/s"]


def test_what_does_not_move_is_waiting(clock: Clock, log: Callable[[], list[str]]) -> None:
    with Progress("cat", 10) as shown:
        clock.now += 61
        shown.update(0)
    assert log() == ["cat: 0 of 10 windows (0 %), 0 windows/s, waiting"]


def test_a_name_cannot_move_the_cursor_or_begin_a_line(clock: Clock, log: Callable[[], list[str]]) -> None:
    with Progress("c\x1b[2Ja\nt", 10) as shown:
        clock.now += 61
        shown.update(1)
    assert log()[0].startswith("c?[2Ja?t: 1 of 10")


def test_durations_are_said_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (0.4, 89, 91, 5399, 5401, 360_000)] == [
        "0 s",
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
        "100.0 h",
    ]


# --- for whatever calls back with the work done and the total -----------------------------------------------------


def test_reports_are_shown_like_updates(clock: Clock, log: Callable[[], list[str]]) -> None:
    report = Progress("cat").report
    report(100, 1000)  # what was done when the first call came may have been done long ago
    clock.now += 60
    report(160, 1000)
    assert log() == ["cat: 160 of 1,000 windows (16 %), 1 windows/s, 14 min left"]


def test_one_report_may_serve_for_one_map_after_another(clock: Clock, log: Callable[[], list[str]]) -> None:
    report = Progress("maps").report
    for done in (50, 100, 100):  # the authors' second draw reports the end twice
        report(done, 100)
    clock.now += 1000
    for done in (10, 70, 100):
        report(done, 100)
        clock.now += 60
    assert log() == [
        "maps: 70 of 100 windows (70 %), 1 windows/s, 30 s left",
        "maps: 100 of 100 windows (100 %), 0.75 windows/s, 0 s left",
    ]


def test_algorithm_1_reports_to_it(home: Path, notebook: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minibatch, "_SAMPLES_AT_ONCE", 8)
    monkeypatch.setattr("tqdm.notebook.IProgress", None)
    monkeypatch.setattr(progress, "_EVERY_IN_PLACE", 0.0)
    network = open_classifier("tiny", Engine("cpu")).network
    evaluator = choose_evaluator(network, [Target("prob", (0,))], 6, batch_size=8)
    photos = np.random.default_rng(0).normal(0, 50, (10, 3, SIZE, SIZE)).astype(np.float32)
    found = prediction_difference(
        photos[0], evaluator, MarginalSampler(photos[1:], 6), 2, stride=6, progress=Progress("cat").report
    )
    assert len(found.grid) == 36
    assert re.fullmatch(r"cat: 36 of 36 windows \(100 %\), took \d+ s", notebook[0])
    assert len(notebook) == 1


# --- a terminal ---------------------------------------------------------------------------------------------------

BAR = """
import time
from reproduce.progress import Progress
print("before")
with Progress({name!r}, 2000, "windows", 1000) as shown:
    for _ in range(10):
        time.sleep(0.03)
        shown.update(50)
print("after")
"""


def shown_bars(name: str, columns: int) -> tuple[list[str], list[str]]:
    """What stood on the line of the bar, and what a terminal shows at the end."""
    code, written = in_terminal(BAR.format(name=name), columns)
    assert code == 0, written
    screen = Screen(columns)
    screen.write(written)
    bars = [piece for piece in re.split(r"[\r\n]+", written) if "%" in piece]
    return bars, screen.lines


@pytest.mark.parametrize("columns", [80, 120])
def test_a_bar_shows_name_percent_rate_and_time_left_and_vanishes(columns: int) -> None:
    bars, left = shown_bars("cat, EfficientNet-Lite0, conditional, shard 3 of 16", columns)
    assert len(bars) > 2
    assert bars[0].startswith("cat, Efficient")
    assert "of 16:  50 %|" in bars[0]
    # 50 windows in at least 0.03 s; those of before do not count.
    rate = re.search(r" *([\d.]+) windows/s, (\d\d:\d\d) left", bars[-1])
    assert rate is not None
    assert 0 < float(rate[1]) <= 50 / 0.03
    assert all(width(bar) < columns for bar in bars)
    assert left == ["before", "after"]
    assert ("/2000 [" in bars[-1]) == (columns == 120)


def test_a_name_with_wide_letters_leaves_room_for_the_numbers() -> None:
    bars, left = shown_bars("猫" * 60, 80)
    assert bars[-1].rstrip().endswith(" left")
    assert all(width(bar) < 80 for bar in bars)
    assert left == ["before", "after"]


def test_without_a_total_there_is_no_bar_but_a_count() -> None:
    program = """
import time
from reproduce.progress import Progress
with Progress("weights", None, "B") as shown:
    for _ in range(5):
        time.sleep(0.03)
        shown.update(1 << 20)
"""
    code, written = in_terminal(program)
    assert code == 0, written
    assert re.search(r"weights: [\d.]+MB \[", written)
    screen = Screen(80)
    screen.write(written)
    assert screen.lines == []


# --- a notebook ---------------------------------------------------------------------------------------------------


class Handle:
    """Of a line below a notebook's cell."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def update(self, data: dict[str, str], raw: bool) -> None:
        assert raw
        self.lines[-1] = data["text/plain"]


@pytest.fixture
def notebook(error_stream: Stream, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A notebook's kernel, without ipywidgets; the lines below its cell."""
    lines: list[str] = []

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        lines.append(data["text/plain"])
        return Handle(lines)

    ipython, displays = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    displays.display = display  # type: ignore[attr-defined]
    displays.HTML = str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    return lines


def test_a_notebook_without_widgets_gets_a_line_that_changes_in_place(
    notebook: list[str], error_stream: Stream, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tqdm.notebook.IProgress", None)
    seen = []
    with Progress("cat", 1000, "windows", 500) as shown:
        for _ in range(5):
            clock.now += 0.5
            shown.update(10)
            seen.append(list(notebook))
    first = "cat: 520 of 1,000 windows (52 %), 20 windows/s, 24 s left"
    second = "cat: 540 of 1,000 windows (54 %), 20 windows/s, 23 s left"
    assert seen == [[], [first], [first], [second], [second]]
    assert notebook == ["cat: 550 of 1,000 windows (55 %), took 2 s"]
    assert error_stream.getvalue() == ""


def test_a_notebook_with_widgets_gets_its_own_bar(notebook: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    class Bar:
        def __init__(self, **settings: Any) -> None:
            made.append({**settings, "done": settings["initial"], "closed": False})

        def update(self, count: int) -> None:
            made[-1]["done"] += count

        def close(self) -> None:
            made[-1]["closed"] = True

    monkeypatch.setattr("tqdm.notebook.IProgress", object)
    monkeypatch.setattr("tqdm.notebook.tqdm", Bar)
    with Progress("cat", 1000, "windows", 500) as shown:
        shown.update(10)
    (bar,) = made
    assert (bar["desc"], bar["total"], bar["initial"], bar["done"], bar["closed"]) == ("cat", 1000, 500, 510, True)
    assert notebook == []


def test_ipython_on_a_terminal_is_no_notebook(
    notebook: list[str], error_stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = types.SimpleNamespace(config={"TerminalIPythonApp": {}})
    made: list[str] = []
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: shell)
    monkeypatch.setattr(progress, "tqdm", lambda **settings: made.append(settings["desc"]) or tqdm(disable=True))
    monkeypatch.setattr(error_stream, "isatty", lambda: True)
    with Progress("cat", 10) as shown:
        shown.update(1)
    assert made == ["cat"]
    assert notebook == []


def test_ipython_that_is_only_imported_is_no_notebook(notebook: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    with Progress("cat", 10) as shown:
        shown.update(1)
    assert notebook == []
