"""What may be said on standard error, in processes that have none: daemons, windowed programs, closed descriptors."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO


def standard_error() -> TextIO | None:
    """`sys.stderr` as it is now; None where it is missing or closed."""
    stream: TextIO | None = sys.stderr
    # Hosts put objects of their own there, which may be able to do no more than write.
    return None if stream is None or getattr(stream, "closed", False) else stream


def is_terminal() -> bool:
    """Whether somebody may be looking at it."""
    stream = standard_error()
    return stream is not None and hasattr(stream, "isatty") and bool(stream.isatty())


def say(line: str) -> None:
    """Writes a line, or nothing where it cannot be written. `print(file=None)` would write to standard output."""
    Forgiving().write(line + "\n")


class Forgiving:
    """A text stream over standard error that drops what cannot be written: nothing is worth failing for there."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        stream = standard_error()
        if stream is not None:
            try:
                stream.write(text)
                stream.flush()
            except (AttributeError, OSError, ValueError):
                pass
        return len(text)

    def flush(self) -> None:
        """Every write has been flushed."""

    def isatty(self) -> bool:
        return is_terminal()

    def fileno(self) -> int:
        # Asked for the width of the terminal.
        stream = standard_error()
        if stream is None:
            raise OSError("there is no standard error")
        return stream.fileno()


def keep_descriptors() -> None:
    """Puts /dev/null where a descriptor from 0 to 2 is closed, and behind streams that Python has left out.

    For programs of our own, at their start. Otherwise the first file or connection that is opened gets such a
    descriptor, and what a library in C writes there on its own goes to a client."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


class Audible(logging.Filter):
    """Drops records that would only reach a closed standard error, by way of logging's last resort: it raises."""

    def filter(self, record: logging.LogRecord) -> bool:
        return standard_error() is not None or logging.getLogger(record.name).hasHandlers()


logging.getLogger("oxillama").addFilter(Audible())
