from typing import Any

from oxillama._core.constraint import Constraint

class PythonGuide(Constraint):
    """One sequence on its way through a grammar, by llguidance's Python class, which takes the GIL for every call.

    pristine: an LLMatcher that is never advanced. n_vocab: tokens of the model; the matcher's has n_tokens."""

    def __init__(self, pristine: Any, n_vocab: int, n_tokens: int) -> None: ...
