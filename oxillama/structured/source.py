"""What a request's `grammar` may be besides a `Grammar`: anything that makes constraints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from oxillama._core.constraint import Constraint


@runtime_checkable
class ConstraintSource(Protocol):
    """Makes the constraint of one sequence, called once for each choice of a request, in the caller's thread.

    ``n_vocab`` is the width of the model's logits, ``end_tokens`` are its end-of-generation tokens. Raises whatever
    should refuse the request. See docs/design/constraint.md for what a constraint of one's own has to do.
    """

    def constraint(self, n_vocab: int, end_tokens: Sequence[int]) -> Constraint: ...
