"""A terminal to look at: a program runs in one, and what stood on its screen is asked for."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

PROJECT = Path(__file__).parents[2]


class Screen:
    """What a terminal shows, given what was written to it: as much as bars and tables need.

    It knows letters, line feeds, carriage returns, and the sequences that move up and clear what follows.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._cells: list[list[str]] = [[]]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        """Show more."""
        for piece in re.findall(r"\x1b\[\d*[A-Za-z]|.", text, re.DOTALL):
            if piece == "\n":
                self._row += 1
            elif piece == "\r":
                self._column = 0
            elif piece.startswith("\x1b["):
                self._control(piece)
            else:
                self._put(piece)
            while len(self._cells) <= self._row:
                self._cells.append([])

    @property
    def lines(self) -> list[str]:
        """What it shows, without empty lines at the end."""
        lines = ["".join(row).rstrip() for row in self._cells]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _control(self, sequence: str) -> None:
        if sequence.endswith("A"):
            self._row = max(0, self._row - int(sequence[2:-1] or 1))
        elif sequence == "\x1b[J":
            del self._cells[self._row + 1 :]
            del self._cells[self._row][self._column :]
        else:
            raise AssertionError(f"unexpected control sequence {sequence!r}")

    def _put(self, letter: str) -> None:
        if self._column == self._columns:
            self._row, self._column = self._row + 1, 0
            while len(self._cells) <= self._row:
                self._cells.append([])
        row = self._cells[self._row]
        row.extend(" " * (self._column + 1 - len(row)))
        row[self._column] = letter
        self._column += 1


def in_terminal(program: str, columns: int = 80, lines: int = 24) -> tuple[int, str]:
    """Run a Python program in a terminal of its own; its exit code, and all that it wrote."""
    child, terminal = pty.fork()
    if child == 0:
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment |= {"TERM": "xterm", "PYTHONPATH": str(PROJECT)}
        # It waits until the terminal has its size.
        os.execve(sys.executable, [sys.executable, "-c", f"input()\n{program}"], environment)  # noqa: S606
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    os.write(terminal, b"\n")
    written = b""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:  # Linux says so when the program has ended
            break
        if not block:
            break
        written += block
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), written.decode()
