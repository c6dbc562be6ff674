from collections.abc import Sequence
from typing import Self

from oxillama._core.output.thinking import ThinkingMarks
from oxillama._core.output.vocab import TokenTable

class TextStream:
    """Generated tokens become text, a piece at a time.

    The pieces joined are ``b"".join(token bytes).decode("utf-8", "replace")``, cut before the leftmost occurrence of
    one of ``stops``. No piece ends inside a character, and no byte of a stop string is ever handed out: text that
    may become one is held back. Of stop strings that start at the same place the one that is complete first (the
    shortest) is reported. When one is complete while another that started earlier may still be completed, the
    stream waits for the next token before it settles. How the text was cut into tokens never matters.

    Tokens with a flag of ``skip`` (by default control and unknown tokens) write nothing, as do ids outside the
    vocabulary. Leading spaces stay: generated text continues a prompt.

    ``thinking``: the markers of thinking that a text may begin with, in which no stop string counts; the markers belong
    to it. ``is_open``: the text begins inside.

    Raises InvalidRequestError (``param="stop"``) for an empty stop string or one that is not valid Unicode.
    """

    def __new__(
        cls,
        table: TokenTable,
        stops: Sequence[str] = (),
        *,
        skip: int = ...,
        thinking: ThinkingMarks | None = None,
        is_open: bool = False,
    ) -> Self: ...
    def push(self, token: int) -> str:
        """The text that has become certain by this token; often empty. Nothing once ``stopped``."""

    def finish(self) -> str:
        """The rest of the text. A character that never became complete is U+FFFD."""

    def reset(self) -> None:
        """Start again with an empty text and the same stop strings."""

    @property
    def table(self) -> TokenTable: ...
    @property
    def stops(self) -> tuple[str, ...]: ...
    @property
    def stopped(self) -> bool:
        """A stop string was found and settled; no further text will come."""

    @property
    def stop(self) -> str | None:
        """The stop string that ended the text."""

    @property
    def num_held(self) -> int:
        """Bytes of text held back, without the incomplete character."""

    @property
    def capacity(self) -> int:
        """Most bytes that one ``push`` or ``finish`` can hand out."""
