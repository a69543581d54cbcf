"""Work that is stopped in the middle: in processes forked from one that has imported everything, to save time.

`Processes("module:function")` starts a program that imports the function, and forks a process for each call of it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

#: How often, and with which seed, things are stopped; `make chaos` leaves those empty that it was not given.
SEED, COUNT = int(os.environ.get("CHAOS_SEED") or 0), int(os.environ.get("CHAOS_COUNT") or 100)

#: Longer than anything here takes: what hangs fails.
_SECONDS_AT_MOST = 120

#: Signals that Python turns into exceptions, or that end it where nobody does.
_HELD_BACK = {signal.SIGINT, signal.SIGTERM}

#: Exit code of a process whose work raised.
RAISED = 70


@dataclass(frozen=True)
class Ending:
    """How a process ended: with which exit code, or by which signal; and what it wrote."""

    code: int | None
    signal: int | None
    out: str
    err: str


class Process:
    """A forked process."""

    def __init__(self, processes: Processes, pid: int, *written: str) -> None:
        self.pid, self._processes, self._written = pid, processes, written

    def send(self, number: int) -> None:
        """Send it a signal; one that has ended does not mind."""
        os.kill(self.pid, number)

    def wait(self) -> Ending:
        """Wait for its end."""
        # It stays a zombie until then, so that its number is nobody else's.
        alarm = threading.Timer(_SECONDS_AT_MOST, self.send, [signal.SIGKILL])
        alarm.start()
        status = self._processes.ask({"wait": self.pid})
        alarm.cancel()
        code = os.waitstatus_to_exitcode(status)
        out, err = (Path(name).read_text() for name in self._written)
        return Ending(code if code >= 0 else None, -code if code < 0 else None, out, err)


class Processes:
    """Starts processes that call one function.

    Parameters
    ----------
    function : str
        As ``module:function``; the module lies in a folder of `paths`. It takes JSON-able keywords, and returns an
        exit code.
    paths : sequence of Path
        Where modules are looked for.
    folder : Path
        For what the processes write to standard output and standard error.
    inside : sequence of str
        A command that runs the program, if something else than this process is to.
    """

    def __init__(self, function: str, paths: Sequence[Path], folder: Path, inside: Sequence[str] = ()) -> None:
        # Threads would not live through a fork.
        alone = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._program = subprocess.Popen(
            [*inside, sys.executable, __file__, function, str(folder), *map(str, paths)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **alone},
        )
        if self._answer() != "ready":
            raise OSError("the program does not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        assert self._program.stdin is not None
        self._program.stdin.close()
        self._program.wait(_SECONDS_AT_MOST)

    def start(self, stop_at: tuple[int, Sequence[str]] | None = None, **keywords: Any) -> Process:
        """Call the function in a new process.

        With `stop_at`, (n, modules), it is killed before the n-th line that it runs of some modules; how many it has
        run, `lines` says where the call has ended by itself.
        """
        return Process(self, *self.ask({"keywords": keywords, "stop_at": stop_at}))

    def run(self, **keywords: Any) -> Ending:
        """Call the function in a new process, and wait for its end."""
        return self.start(**keywords).wait()

    def ask(self, request: dict[str, Any]) -> Any:
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(request) + "\n")
        self._program.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._program.stdout is not None
        return json.loads(self._program.stdout.readline() or "null")


def lines(ending: Ending) -> int:
    """How many lines of the modules in `stop_at` a process has run."""
    return int(ending.err.splitlines()[-1].removeprefix("lines: "))


def _serve(function: Callable[..., int], folder: Path) -> None:
    # A fork takes no signal before it can say what became of it; then it takes those too that are ignored here.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _say("ready")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _say(os.waitpid(request["wait"], 0)[1])
            continue
        written = [tempfile.mkstemp(dir=folder) for _ in range(2)]
        pid = os.fork()
        if pid == 0:
            _work(function, [file for file, _ in written], request)
        for file, _ in written:
            os.close(file)
        _say([pid, *(name for _, name in written)])


def _say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def _work(function: Callable[..., int], written: Sequence[int], request: dict[str, Any]) -> None:
    code = RAISED
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(written, 1):
            os.dup2(file, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        if request["stop_at"] is None:
            code = function(**request["keywords"])
        else:
            count = _Lines(*request["stop_at"])
            sys.settrace(count)
            code = function(**request["keywords"])
            sys.settrace(None)
            print(f"lines: {count.run}", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Lines:
    """Counts the lines that are run of some modules, and ends the process before a certain one."""

    def __init__(self, stop: int, modules: Sequence[str]) -> None:
        self.run, self._stop = 0, stop
        self._modules = tuple(modules)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_globals.get("__name__") not in self._modules:
            return None
        if event == "line":
            if self.run == self._stop:
                os.kill(os.getpid(), signal.SIGKILL)
            self.run += 1
        return self


if __name__ == "__main__":
    sys.path[:0] = sys.argv[3:]
    module, name = sys.argv[1].split(":")
    _serve(getattr(importlib.import_module(module), name), Path(sys.argv[2]))
