from collections.abc import Sequence

from oxillama._core.constraint import Constraint
from oxillama._core.output.vocab import TokenTable
from oxillama._core.structured.llguidance import Library

class GuideVocabulary:
    """A vocabulary as llguidance takes it: a trie of all tokens, made once, in 0.3 s for 128k of them.

    n_vocab: tokens of the model, which may be more than the table has. end_tokens: any of them may end a text.
    Control tokens begin with the byte 0xFF there, so that only a grammar that names them reaches them.
    Raises ValueError with the library's reason."""

    def __init__(self, library: Library, table: TokenTable, n_vocab: int, end_tokens: Sequence[int]) -> None: ...
    @property
    def n_vocab(self) -> int: ...
    def tokenize(self, text: bytes) -> list[int]:
        """As masks do where bytes are forced: the longest match, of the first 4096 bytes."""

class CompiledGrammar:
    """A grammar, compiled without the GIL. Raises ValueError with the library's reason.

    limits: fields of llguidance's LlgParserLimits, instead of its defaults."""

    def __init__(
        self, vocabulary: GuideVocabulary, kind: str, text: str, limits: dict[str, int] | None = None
    ) -> None: ...
    def guide(self) -> Guide:
        """For one sequence, at its beginning. Threads may ask at the same time."""

class Guide(Constraint):
    """One sequence on its way through a grammar."""
