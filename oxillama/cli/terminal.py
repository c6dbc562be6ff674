"""Lines in, text out: a person at a terminal, or a script at a pipe. Knows nothing of conversations."""

from __future__ import annotations

import os
import sys

PROMPT, MORE = "> ", ". "
QUOTES = '"""'


class Terminal:
    """Where standard input is a terminal, lines are edited with readline and asked for with a prompt."""

    def __init__(self) -> None:
        self.is_interactive: bool = sys.stdin.isatty() and sys.stdout.isatty()
        self._dim = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        if self.is_interactive:
            # Its import is what gives input() editing and the arrow keys their history.
            try:
                import readline

                readline.set_auto_history(True)
            except ImportError:  # a Python that was built without it
                pass

    def read(self) -> str | None:
        """What is said next, of one line or several: a line that ends with a backslash goes on, and so does everything
        between two lines of three quotes. None: the end. KeyboardInterrupt drops what was typed."""
        line = self._line(PROMPT)
        if line is None:
            return None
        if line.strip().startswith(QUOTES):
            return self._quoted(line.strip().removeprefix(QUOTES))
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1].removesuffix("\\")
            following = self._line(MORE)
            if following is None:
                break
            lines.append(following)
        return "\n".join(lines)

    def write(self, text: str, *, aside: bool = False) -> None:
        """aside: what the model thinks, shown dimmed where that can be."""
        sys.stdout.write(f"\x1b[2m{text}\x1b[0m" if aside and self._dim and text else text)
        sys.stdout.flush()

    def say(self, line: str) -> None:
        """Something of the program, not of the model: it must not be in what a pipe gets."""
        from oxillama.standard_error import say

        say(line)

    def _quoted(self, first: str) -> str:
        if first.endswith(QUOTES):
            return first.removesuffix(QUOTES)
        lines = [first] if first else []
        while (line := self._line(MORE)) is not None:
            if line.rstrip().endswith(QUOTES):
                rest = line.rstrip().removesuffix(QUOTES)
                return "\n".join([*lines, rest] if rest else lines)
            lines.append(line)
        return "\n".join(lines)

    def _line(self, prompt: str) -> str | None:
        try:
            if self.is_interactive:
                return input(prompt)
            line = sys.stdin.readline()
        except EOFError:
            return None
        return line.removesuffix("\n") if line else None
