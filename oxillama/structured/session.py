"""A text in the making under a grammar, token by token, without an engine: for tests of one's own grammars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oxillama._core.structured.session import ConstraintSession
from oxillama.errors import GrammarError, InvalidRequestError
from oxillama.structured.compiler import GrammarCompiler
from oxillama.structured.masks import ids_of
from oxillama.tokenizer import Tokenizer

if TYPE_CHECKING:
    from oxillama.structured.grammar import Grammar


class GrammarSession:
    """Which tokens a grammar allows next, as the engine asks it. Not safe for concurrent use.

    A session without a tokenizer gets that of the sampler it is first passed to. n_vocab: the width of the model's
    logits; None: the tokens of the tokenizer.

    >>> session = GrammarSession(Grammar.choice(["yes", "no"]), tokenizer)
    >>> session.accept(tokenizer.find(b"yes"))
    >>> session.is_complete
    True
    """

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer | None = None, *, n_vocab: int | None = None) -> None:
        self.grammar = grammar
        self._session: ConstraintSession | None = None
        self._ends: frozenset[int] = frozenset()
        self._complete = False
        if tokenizer is not None:
            self._bind(tokenizer, n_vocab)

    def _bind(self, tokenizer: Tokenizer, n_vocab: int | None) -> ConstraintSession:
        self._session = GrammarCompiler.of(tokenizer, n_vocab).session(self.grammar)
        self._ends = tokenizer.eog_ids
        return self._session

    def _bound(self) -> ConstraintSession:
        if self._session is None:
            raise InvalidRequestError("the session has no tokenizer yet; pass one to session()", param="mask")
        return self._session

    @property
    def is_complete(self) -> bool:
        """Only the end may follow."""
        return self._complete or self._bound().mask()[0] == "complete"

    def allowed(self) -> list[int]:
        """The ids of the tokens that may come next, ascending; where it may end, the end-of-generation tokens too.
        Raises GrammarError with the code ``grammar_limit``."""
        return ids_of(self._mask())

    def words(self, tokenizer: object, n_vocab: int) -> NDArray[np.uint32]:
        """The same as the sampler takes it. InvalidRequestError where it cannot be told what a token writes."""
        if self._session is None:
            if not isinstance(tokenizer, Tokenizer):
                raise InvalidRequestError("a grammar as mask needs the tokenizer of the sampler", param="mask")
            self._bind(tokenizer, n_vocab)
        if self._bound().n_vocab != n_vocab:
            raise InvalidRequestError(
                f"the session is of a vocabulary of {self._bound().n_vocab} tokens, the logits have {n_vocab}",
                param="mask",
            )
        return self._mask()

    def _mask(self) -> NDArray[np.uint32]:
        session = self._bound()
        status, words = session.mask()
        if status == "failed":
            raise GrammarError(
                "following the grammar takes more work or memory than is allowed for one token",
                param="grammar",
                code="grammar_limit",
            )
        if status == "complete":
            for token in self._ends:
                words[token // 32] |= np.uint32(1 << token % 32)
        return words

    def accept(self, token: int) -> None:
        """Moves on. Raises GrammarError, and stays where it was, for a token that is not allowed."""
        session = self._bound()
        if token in self._ends and token in self.allowed():
            raise GrammarError("an end-of-generation token ends the text, nothing follows it", param="grammar")
        if token not in self.allowed():
            raise GrammarError(f"the grammar does not allow token {token} here", param="grammar", code="not_allowed")
        self._complete = session.accept(token) == "complete"

    def rollback(self, n: int) -> None:
        """Takes the last n tokens back."""
        self._bound().rollback(n)
        self._complete = False

    def forced(self, most: int = 64) -> list[int]:
        """Tokens that have to follow, as far as that is known at once."""
        return list(self._bound().forced(most))

    def __repr__(self) -> str:
        return f"<GrammarSession of {self.grammar!r}>"
