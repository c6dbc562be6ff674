"""From a grammar as a caller wrote it to constraints, one for each sequence. One compiler per engine."""

from __future__ import annotations

from collections.abc import Sequence

from oxillama._core.constraint import Constraint
from oxillama.errors import GrammarError
from oxillama.structured.grammar import Grammar
from oxillama.structured.source import ConstraintSource
from oxillama.tokenizer import Tokenizer


class GrammarCompiler:
    """Compiles grammars for one vocabulary, and keeps what it has compiled."""

    def __init__(self, tokenizer: Tokenizer | None, n_vocab: int) -> None:
        self._tokenizer = tokenizer
        self._n_vocab = n_vocab
        self._end_tokens = sorted(tokenizer.eog_ids) if tokenizer else []

    def constraints(self, grammar: Grammar | ConstraintSource | None, n: int) -> Sequence[Constraint | None]:
        """A constraint for each of `n` sequences; None for each without a grammar. Raises GrammarError."""
        if grammar is None:
            return [None] * n
        if isinstance(grammar, ConstraintSource):
            return [grammar.constraint(self._n_vocab, self._end_tokens) for _ in range(n)]
        raise GrammarError("grammars are not supported yet", param="grammar")
