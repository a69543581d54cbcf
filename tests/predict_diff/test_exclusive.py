"""Files that one process has at a time, and that others may read meanwhile."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py
import pytest

from predict_diff import exclusive
from predict_diff.exclusive import is_locked, lock, lock_in_a_moment

KINDS = ["own", "flock"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which kind of lock the system knows: both, or only the older."""
    if request.param == "own" and sys.platform != "linux":
        pytest.skip("Linux's own kind")
    if request.param == "flock":
        monkeypatch.setattr(exclusive, "_own", _unknown)
    return str(request.param)


def _unknown(*arguments: object) -> int:
    raise OSError(errno.EINVAL, "Invalid argument")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "file.h5", "w") as stored:
        stored["number"] = 1
    return tmp_path / "file.h5"


@pytest.fixture
def files(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The same file, opened twice, as by two processes."""
    with path.open("r+b") as first, path.open("r+b") as second:
        yield first, second


def test_a_file_is_had_once_until_it_is_closed(kind: str, files: tuple[BinaryIO, BinaryIO]) -> None:
    first, second = files
    assert lock(first)
    assert lock(first)
    assert not lock(second)
    first.close()
    assert lock(second)


def test_who_looks_sees_whether_it_is_had_and_disturbs_nobody(
    kind: str, path: Path, files: tuple[BinaryIO, BinaryIO]
) -> None:
    first, second = files
    with path.open("rb") as looking:
        assert not is_locked(looking)
        assert lock(first)
        assert is_locked(looking)
        assert not lock(second)
        first.close()
        assert not is_locked(looking)
        assert lock(second)


def test_who_has_it_is_not_locked_out_by_itself(files: tuple[BinaryIO, BinaryIO]) -> None:
    first, _ = files
    assert lock(first)
    assert not is_locked(first)


def test_opening_and_closing_it_once_more_does_not_let_go_of_it(
    kind: str, path: Path, files: tuple[BinaryIO, BinaryIO]
) -> None:
    # POSIX's record locks go with the first file that the process closes.
    first, second = files
    assert lock(first)
    path.open("r+b").close()
    assert not lock(second)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere HDF5's locks are of the same kind")
def test_another_process_reads_it_with_plain_h5py(path: Path, files: tuple[BinaryIO, BinaryIO]) -> None:
    assert lock(files[0])
    program = f"import h5py; print(h5py.File({str(path)!r}, 'r')['number'][()])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_has_nothing_any_more(path: Path, number: signal.Signals) -> None:
    program = (
        "import sys, time; from predict_diff.exclusive import lock; file = open(sys.argv[1], 'r+b');"
        "print(lock(file), flush=True); time.sleep(100)"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True, cwd=root) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with path.open("r+b") as file:
            assert is_locked(file)
            assert not lock(file)
            other.send_signal(number)
            other.wait()
            assert not is_locked(file)
            assert lock(file)


def test_where_there_are_no_locks_nobody_is_kept_out(
    files: tuple[BinaryIO, BinaryIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = files
    for change in ({"fcntl": None}, {"_take_own": _unknown, "_take_flock": _unknown, "_is_own_taken": _unknown}):
        for name, value in change.items():
            monkeypatch.setattr(exclusive, name, value)
        assert lock(first)
        assert lock(second)
        assert not is_locked(first)


def test_what_else_is_wrong_is_not_taken_for_a_lock(
    files: tuple[BinaryIO, BinaryIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: BinaryIO) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(exclusive, "_take_own", broken)
    with pytest.raises(OSError, match="Input/output error"):
        lock(files[0])


def test_who_asks_again_gets_what_another_had_for_a_moment_only(
    kind: str, files: tuple[BinaryIO, BinaryIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = files
    asked: list[float] = []
    monkeypatch.setattr(exclusive.time, "sleep", asked.append)
    assert lock(first)
    assert not lock_in_a_moment(second)
    patience = len(asked)
    monkeypatch.setattr(exclusive.time, "sleep", lambda seconds: first.close())
    assert lock_in_a_moment(second)
    assert patience > 1
    assert 0.1 < sum(asked) < 1
