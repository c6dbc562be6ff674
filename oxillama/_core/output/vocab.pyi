from collections.abc import Iterable, Sequence
from enum import IntFlag
from typing import Self

class TokenFlag(IntFlag):
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 4
    USER_DEFINED = 8
    UNUSED = 16
    BYTE = 32
    HIDDEN = 6

class TokenTable:
    """What every token writes, as bytes, and the way back from bytes to the token.

    ``texts`` holds the token texts as a vocabulary file spells them (``bytes`` each). ``types`` holds one GGUF token
    type per token (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte); without it all are normal.
    With ``byte_level`` normal texts use the alphabet of GPT-2 in which one character stands for one byte, otherwise
    U+2581 stands for a space and ``<0xNN>`` of type byte for one byte. Control, unknown and user-defined texts stand
    for themselves. Unused tokens write nothing.

    Raises ModelLoadError when the lengths differ, when a byte token is misspelt, or beyond 4 GiB of text.
    """

    def __new__(cls, texts: Iterable[bytes], types: Sequence[int] | None = None, *, byte_level: bool) -> Self: ...
    def __len__(self) -> int: ...
    def __getitem__(self, token: int, /) -> bytes: ...
    def find(self, piece: bytes) -> int | None:
        """The token that writes exactly ``piece``; of several a text token before a byte token before a control
        token, then the lowest id."""

    def build_index(self) -> None:
        """Prepare ``find``; done on its first use otherwise."""

    def flag(self, token: int) -> TokenFlag: ...
    def set_flag(self, token: int, flag: int) -> None:
        """Replace the flags of one token. Only while no generation uses the table."""

    def flagged(self, mask: int) -> list[int]:
        """The ids of the tokens that carry a bit of ``mask``, ascending."""

    def join(self, tokens: Iterable[int], *, skip: int = 0) -> bytes:
        """The pieces of ``tokens`` one after another, without those that carry a bit of ``skip``."""

    @property
    def blob(self) -> bytes:
        """All pieces, one after another."""

    @property
    def offsets(self) -> memoryview:
        """uint32 [len + 1]: piece ``i`` is ``blob[offsets[i]:offsets[i + 1]]``."""

    @property
    def flags(self) -> memoryview:
        """uint8 [len], read-only: the TokenFlag bits of each token."""

    @property
    def longest(self) -> int:
        """Bytes of the longest piece."""
