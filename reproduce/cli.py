"""The frame of the command line: whatever the user can mend, an interruption included, ends in one line.

Only what Python itself brings is imported before the signals are taken care of; the commands are in `commands`.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

#: Exit code of every error that the user can mend, an interruption included.
FAILED = 2

_INTERRUPTED = "interrupted; what was complete is kept, nothing is half-written; the same command goes on from there"

#: Ctrl-C, a polite kill, and a terminal that was closed, which Windows does not know.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

_Handler = Callable[[int, FrameType | None], Any] | signal.Handlers


class _Stopped(BaseException):
    """One of the signals came. Not a KeyboardInterrupt, after which click prints an empty line."""


def main() -> None:
    """Run the command line."""
    if sys.stderr is None:  # closed with 2>&-; what writes to it expects to find one
        sys.stderr = io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files can hold bytes, or letters, that the terminal's encoding does not have.
            stream.reconfigure(errors="backslashreplace")
    _on_signals(_leave)
    code = run(sys.argv[1:])
    # All is said: no traceback from an impatient second Ctrl-C.
    _on_signals(signal.SIG_IGN)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        What stands behind `reproduce`.

    Returns
    -------
    int
        The exit code: 0, or `FAILED` after one line on standard error.
    """
    import click

    from predict_diff.errors import PredictDiffError

    try:
        with _log_lines():
            # Imported here: what is wrong with settings.yaml or the figures shows while the commands are made.
            from .commands import commands

            with _stoppable():
                return commands.main(list(arguments), prog_name="reproduce", standalone_mode=False) or 0
    except PredictDiffError as error:
        return _fail(str(error))
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "reproduce"
        return _fail(f"{error.format_message().rstrip('.')}; see {command} --help")
    except click.ClickException as error:
        return _fail(error.format_message())
    except (_Stopped, KeyboardInterrupt, click.Abort):
        return _fail(_INTERRUPTED)
    except MemoryError:
        return _fail("expected enough memory, found too little; lower --samples or --batch-size or take a smaller pool")
    except OSError as error:
        return _fail(f"{error.filename or 'output'}: could not be read or written ({error.strerror or error})")
    except SystemExit:
        # From click: whoever read the output is gone, as after `| head`; nobody is there to be told.
        return FAILED


def _fail(message: str) -> int:
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
    with suppress(OSError):  # nobody may be there to be told
        print("reproduce:", line, file=sys.stderr, flush=True)
    return FAILED


@contextmanager
def _log_lines() -> Iterator[None]:
    """Show what the packages log, one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    loggers = [logging.getLogger(package) for package in ("predict_diff", "reproduce")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Signals raise, so that temporary files are removed on the way out."""
    came: list[str] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(signal.Signals(number).name)
        raise _Stopped(came[0])

    before = _on_signals(stop)
    try:
        yield
    except Exception as error:
        if came:  # Python, or a library in whose midst it came, has made another error of it
            raise _Stopped(came[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_signals(handler: _Handler) -> dict[int, Any]:
    """Set what the signals do, where they are not ignored already (nohup); returns what they did before."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = {number: previous for number, previous in before.items() if previous != signal.SIG_IGN}
    for number in heard:
        signal.signal(number, handler)
    return heard


def _leave(number: int, frame: FrameType | None) -> None:
    """Before a command runs nothing can be half-written; an exception could be lost in the midst of an import."""
    os.write(2, f"reproduce: {_INTERRUPTED}\n".encode())
    os._exit(FAILED)
