"""`reproduce convert` on files that may hang or kill it: in a process of its own, watched and measured."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from mutations import SEEDS, Pair

SECONDS_AT_MOST = 10
_ADDRESS_SPACE = 3 * 2**30  # beyond what the process has: a runaway ends there, and not with the machine
_LINE_AT_MOST = 1500


@dataclass(frozen=True)
class Outcome:
    """What became of one pair of files.

    Attributes
    ----------
    converted : bool
    message : str
        The error line; empty if converted.
    problem : str
        What is not as it should be; empty if all is well.
    seconds : float
    growth : int
        Bytes of memory at most, beyond what the process had before; 0 where unknown.
    """

    converted: bool
    message: str = ""
    problem: str = ""
    seconds: float = 0.0
    growth: int = 0


class Converter:
    """A process that converts one pair of files after another, and is replaced where it dies or hangs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._start()

    def __call__(self, pair: Pair) -> Outcome:
        began = time.monotonic()
        try:
            self._connection.send(pair)
            # Longer than allowed, to tell a slow conversion from a hang.
            if self._connection.poll(3 * SECONDS_AT_MOST):
                outcome: Outcome = self._connection.recv()
                return outcome
            problem = f"still at work after {3 * SECONDS_AT_MOST} seconds"
        except (EOFError, ConnectionError):
            self._process.join()
            problem = f"the process died with exit code {self._process.exitcode}"
        self.close()
        self._start()
        return Outcome(False, problem=problem, seconds=time.monotonic() - began)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _start(self) -> None:
        # A fresh interpreter: a forked one would share the memory that is measured.
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._folder), daemon=True)
        self._process.start()
        other.close()
        if not self._connection.poll(60):
            raise TimeoutError("the process does not start")
        self._connection.recv()


@contextlib.contextmanager
def converter(folder: Path) -> Iterator[Converter]:
    """A Converter that works in an empty folder."""
    process = Converter(folder)
    try:
        yield process
    finally:
        process.close()


def _serve(connection: Connection, folder: Path) -> None:
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    # What libraries written in C say goes past sys.stderr.
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    notes = _Notes()
    for package in ("predict_diff", "reproduce"):
        logging.getLogger(package).addHandler(notes)
    good = Pair((SEEDS[0].parent / "deploy.prototxt").read_bytes(), SEEDS[0].read_bytes())
    for _ in range(3):
        _attempt(good, notes)
    connection.send("ready")
    while True:
        connection.send(_attempt(connection.recv(), notes))


class _Notes(logging.Handler):
    """What was logged, and so stands on standard error beside the error line."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _attempt(pair: Pair, notes: _Notes) -> Outcome:
    from reproduce.cli import run

    Path("net.prototxt").write_bytes(pair.description)
    Path("net.caffemodel").write_bytes(pair.weights)
    notes.lines.clear()
    for number in (1, 2):
        os.ftruncate(number, 0)
        os.lseek(number, 0, os.SEEK_SET)
    _release_memory()
    before = _memory("VmRSS")
    code: int | str
    began = time.monotonic()
    with _limited(4 * pair.size + _ADDRESS_SPACE):
        try:
            code = run(["convert", "net.prototxt", "net.caffemodel", "-o", "out.onnx"])
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"
    seconds, growth = time.monotonic() - began, max(_memory("VmHWM") - before, 0)
    sys.stdout.flush()
    sys.stderr.flush()
    said = Path("stderr").read_text("utf-8", "backslashreplace").splitlines()
    errors = [line for line in said if line not in notes.lines]
    outcome = Outcome(code == 0, "" if code == 0 else "\n".join(errors), "", seconds, growth)
    problem = _problem(code, errors, outcome, pair)
    Path("out.onnx").unlink(missing_ok=True)
    return Outcome(outcome.converted, outcome.message, problem, seconds, growth)


def _problem(code: int | str, errors: list[str], outcome: Outcome, pair: Pair) -> str:
    """What is not as it should be."""
    left = {path.name for path in Path().iterdir()} - {"net.prototxt", "net.caffemodel", "stdout", "stderr"}
    if code not in (0, 2):
        return f"ended with {code}"
    if left != ({"out.onnx"} if code == 0 else set()):
        return f"left {sorted(left)} behind"
    if len(errors) != (1 if code == 2 else 0):
        return f"{len(errors)} lines: {errors[:5]}"
    if code == 2 and (not errors[0].startswith("reproduce: net.") or len(errors[0]) > _LINE_AT_MOST):
        return f"an error line that names no file, or is too long: {errors[0][:_LINE_AT_MOST]}"
    if outcome.seconds > SECONDS_AT_MOST:
        return f"took {outcome.seconds:.1f} seconds"
    if outcome.growth > 4 * pair.size + 500 * 10**6:
        return f"took {outcome.growth / 1e6:.0f} MB for files of {pair.size / 1e6:.1f} MB"
    return _invalid() if code == 0 else ""


def _invalid() -> str:
    """Why the converted file is no ONNX model with sizes that are right; empty if it is one."""
    import onnx

    try:
        # The sizes that the converter calculated are checked against those that ONNX infers.
        onnx.checker.check_model(onnx.load("out.onnx"), full_check=True)
    except Exception as error:
        return f"an invalid model: {error}"
    return ""


@contextlib.contextmanager
def _limited(extra: int) -> Iterator[None]:
    """A limit to the address space, where the system has one."""
    try:
        import resource
    except ImportError:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + extra, before[1]) if _memory("VmSize") else before)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _memory(field: str) -> int:
    """Bytes that the kernel counts for this process; 0 where it does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field}:")), 0)


def _release_memory() -> None:
    """Give back what the C library holds of memory that is free, as far as it can, and let VmHWM begin anew."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
