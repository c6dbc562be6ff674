from collections.abc import Sequence
from typing import Self

class ThinkingMarks:
    """What opens and closes a model's thinking, as symbols: bytes of text, or 256 plus the id of a token that writes
    nothing. ``closers[i]``: the token that goes on with the closing marker once ``i`` of its symbols are written.

    Raises ValueError for an empty closing marker, or another number of closers than it has symbols."""

    def __new__(cls, opening: Sequence[int], closing: Sequence[int], closers: Sequence[int]) -> Self: ...
    @property
    def opening(self) -> tuple[int, ...]: ...
    @property
    def closing(self) -> tuple[int, ...]: ...
    @property
    def closers(self) -> tuple[int, ...]: ...
