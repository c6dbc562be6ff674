from collections.abc import Sequence

from oxillama._core.constraint import Constraint

class FixedTokens(Constraint):
    def __init__(self, tokens: Sequence[int], n_vocab: int, end_tokens: Sequence[int]) -> None: ...
