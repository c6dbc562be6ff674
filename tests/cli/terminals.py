"""A pseudo-terminal with the command in it: what a person would type and see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.programs import LIMIT, command, environment

ESCAPES = re.compile(rb"\x1b\[[?]?[0-9;]*[a-zA-Z]")


class TerminalProgram:
    """`seen` is everything that it has shown so far, without colours."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self._shown = b""
        self._at = 0

    @property
    def seen(self) -> str:
        return ESCAPES.sub(b"", self._shown).decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def raw(self) -> str:
        return self._shown.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> str:
        """Waits until that is shown after what was waited for last, and returns what came up to its end."""
        limit = time.monotonic() + LIMIT
        while (found := self.seen.find(text, self._at)) < 0:
            if not self._read(limit - time.monotonic()):
                raise AssertionError(f"{text!r} did not come; seen: {self.seen[self._at :]!r}")
        part = self.seen[self._at : found + len(text)]
        self._at = found + len(text)
        return part

    def interrupt(self) -> None:
        """As Ctrl-C does it: the terminal tells all that run in it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def interrupt_until(self, text: str) -> None:
        """Ctrl-C as a person does it who sees nothing happen: one that comes just before Python waits for keys is
        noticed with the next key or signal only."""
        limit = time.monotonic() + LIMIT
        while self.seen.find(text, self._at) < 0:
            assert time.monotonic() < limit, self.seen[self._at :]
            self.interrupt()
            patience = time.monotonic() + 3
            while self.seen.find(text, self._at) < 0 and self._read(patience - time.monotonic()):
                pass
        self.wait_for(text)

    def end(self) -> int:
        """Reads to the end; the exit code."""
        limit = time.monotonic() + LIMIT
        while self._read(limit - time.monotonic()):
            pass
        return self.process.wait(LIMIT)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            piece = os.read(self._master, 1 << 16)
        except OSError:  # the other side is closed
            return False
        self._shown += piece
        return bool(piece)


@contextmanager
def in_terminal(*arguments: str, **changes: str) -> Iterator[TerminalProgram]:
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        command(*arguments),
        env=environment(**{"TERM": "xterm", **changes}),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        yield TerminalProgram(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
