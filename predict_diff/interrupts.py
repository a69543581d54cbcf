"""Ctrl-C, SIGTERM and SIGHUP where they must not come in between."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Windows has no SIGHUP.
_SIGNALS: list[int] = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What would raise in this block raises at its end; a second signal does not wait.

    Python runs what handles a signal between any two steps. An exception from there, between the making of a file and
    the line that remembers its name, leaves the file behind; and the HDF5 library, which calls Python to convert
    strings, makes another one of it, which then tells of a damaged file. Keep blocks short.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled elsewhere
        return
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}
    waiting: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if waiting:
            before[number](number, frame)
        waiting.append((number, frame))

    try:
        for number in _SIGNALS:
            if callable(handler := signal.getsignal(number)):
                before[number] = handler
                signal.signal(number, hold)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in waiting[:1]:
            before[number](number, frame)
