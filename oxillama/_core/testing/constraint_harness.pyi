"""Constraints for tests, and what the core does with them, call by call."""

from collections.abc import Sequence
from typing import final

from oxillama._core.constraint import Constraint

@final
class Sieve(Constraint):
    """Allows the tokens whose id leaves one of these remainders.

    length: after so many tokens only the end may follow. forced: guesses them in order. fails_at: a limit is hit there,
    dead_at: nothing may follow. Notes a misuse of the contract."""
    def __init__(
        self,
        n_vocab: int,
        *,
        modulus: int = 2,
        remainders: Sequence[int] = (0,),
        ends: Sequence[int] = (),
        length: int = -1,
        forced: Sequence[int] = (),
        fails_at: int = -1,
        dead_at: int = -1,
    ) -> None: ...
    @property
    def misuse(self) -> str | None: ...

@final
class Masks:
    """The masks of a constraint as a step prepares and draws them."""
    def __init__(self, constraint: Constraint, n_vocab: int) -> None: ...
    def prepare(self, position: int, drafts: Sequence[int] = ()) -> None: ...
    def mask(self, position: int) -> tuple[int, list[int] | None]: ...
    def take(self, token: int) -> int: ...
    def settle(self) -> int: ...
    def forced(self, most: int) -> list[int]: ...
    def accept(self, token: int) -> int: ...
    def rollback(self, n: int) -> int: ...

def only_token(words: Sequence[int], n_vocab: int) -> int: ...
def is_within(words: Sequence[int], n_vocab: int, tokens: Sequence[int]) -> bool: ...
