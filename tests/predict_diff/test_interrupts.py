"""Signals wait where they must not come in between; and no file is lost or misread for one."""

# ruff: noqa: PT012
# What a block does after a signal is what is tested.

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from predict_diff.errors import ResultError
from predict_diff.interrupts import uninterrupted
from predict_diff.sealed import open_sealed, write_sealed
from predict_diff.storage import whole_file

KIND = "test 1"


class StoppedError(Exception):
    """What signals raise here."""


@pytest.fixture(autouse=True, params=[signal.SIGINT, signal.SIGTERM])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal that raises."""

    def stop(number: int, frame: object) -> None:
        raise StoppedError

    before = signal.signal(request.param, stop)
    yield request.param
    assert signal.signal(request.param, before) is stop


def test_a_signal_raises_at_the_end_of_the_block(number: int) -> None:
    steps = []
    with pytest.raises(StoppedError), uninterrupted():
        signal.raise_signal(number)
        steps.append("after the signal")
    assert steps == ["after the signal"]


def test_a_second_signal_raises_at_once(number: int) -> None:
    steps = []
    with pytest.raises(StoppedError), uninterrupted():
        signal.raise_signal(number)
        signal.raise_signal(number)
        steps.append("after both")
    assert not steps


def test_blocks_in_blocks_end_with_the_outermost(number: int) -> None:
    steps = []
    with pytest.raises(StoppedError), uninterrupted():
        with uninterrupted():
            signal.raise_signal(number)
        steps.append("after the inner one")
    assert steps == ["after the inner one"]


def test_an_error_in_the_block_is_not_lost(number: int) -> None:
    with pytest.raises(ValueError, match="mine"), uninterrupted():
        raise ValueError("mine")
    with pytest.raises(StoppedError) as stopped, uninterrupted():
        signal.raise_signal(number)
        raise ValueError("mine")
    assert str(stopped.value.__context__) == "mine"


def test_what_ends_the_program_or_is_ignored_stays_so(number: int) -> None:
    for handler in (signal.SIG_DFL, signal.SIG_IGN):
        before = signal.signal(number, handler)
        with uninterrupted():
            assert signal.getsignal(number) is handler
        signal.signal(number, before)


def test_other_threads_are_left_alone() -> None:
    def work() -> None:
        with uninterrupted():
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_signal_while_a_file_is_made_leaves_none(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkstemp

    def made(**how: str) -> tuple[int, str]:
        handle, name = make(**how)
        signal.raise_signal(number)
        return handle, name

    monkeypatch.setattr(tempfile, "mkstemp", made)
    with pytest.raises(StoppedError), whole_file(tmp_path / "file", ResultError) as file:
        file.write(b"1")
    assert not list(tmp_path.iterdir())


def test_a_signal_while_hdf5_writes_stops_before_the_file_is_there(number: int, tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.attrs["name"] = "x"
        signal.raise_signal(number)
        file.attrs["other"] = "y"

    with pytest.raises(StoppedError):
        write_sealed(tmp_path / "file.h5", KIND, fill, ResultError)
    assert not list(tmp_path.iterdir())


def test_a_signal_while_hdf5_reads_is_not_taken_for_damage(number: int, tmp_path: Path) -> None:
    write_sealed(tmp_path / "file.h5", KIND, lambda file: file.attrs.update(name="x"), ResultError)
    read = []
    with pytest.raises(StoppedError), open_sealed(tmp_path / "file.h5", KIND) as file:
        signal.raise_signal(number)
        read.append(file.attrs["name"])
    assert read == ["x"]
