"""A reply's text with the control tokens in it that mark its parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from oxillama._core.output.text_stream import TextStream
from oxillama._core.output.vocab import TokenTable
from oxillama.tools.markers import SENTINEL


class MarkedText:
    """Puts back what the text of a reply leaves out: the marking control tokens, each after SENTINEL.

    The text that was delivered says how far the reply goes: what may still become a stop text has not been delivered
    yet, and a stop text never is. ``controls``: the texts of the marking tokens by their ids."""

    def __init__(self, table: TokenTable, controls: Mapping[int, str]) -> None:
        self._controls = controls
        self._stream = TextStream(table, ())
        self._waiting: deque[tuple[str, bool]] = deque()  # (text, is a marker)
        self._delivered = 0  # characters that may be handed out

    def push(self, text: str, token_ids: Iterable[int]) -> str:
        """What may be handed out, now that this text of these tokens has been delivered."""
        for token in token_ids:
            marker = self._controls.get(token)
            if marker is None:
                self._wait(self._stream.push(token))
            else:
                # A character that a marker interrupts never becomes whole.
                self._wait(self._stream.finish())
                self._stream.reset()
                self._waiting.append((SENTINEL + marker, True))
        self._delivered += len(text)
        return self._handed_out()

    def finish(self) -> str:
        self._wait(self._stream.finish())
        return self._handed_out()

    def _wait(self, text: str) -> None:
        if text:
            self._waiting.append((text, False))

    def _handed_out(self) -> str:
        pieces: list[str] = []
        while self._waiting:
            text, is_marker = self._waiting[0]
            if not is_marker and len(text) > self._delivered:
                pieces.append(text[: self._delivered])
                self._waiting[0] = (text[self._delivered :], False)
                self._delivered = 0
                break
            self._waiting.popleft()
            pieces.append(text)
            self._delivered -= 0 if is_marker else len(text)
        return "".join(pieces)
