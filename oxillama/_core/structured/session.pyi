from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oxillama._core.constraint import Constraint

class ConstraintSession:
    """A constraint that Python drives, token by token. Not safe for concurrent use.

    n_vocab: tokens of the model. Raises ValueError for a constraint that has an owner already."""

    def __init__(self, constraint: Constraint, n_vocab: int) -> None: ...
    @property
    def n_vocab(self) -> int: ...
    def mask(self) -> tuple[str, npt.NDArray[np.uint32]]:
        """("open", the mask of the next token) or another of STATUSES and a mask of nothing. uint32 [n_vocab / 32]: bit
        id % 32 of word id / 32."""

    def accept(self, token: int) -> str:
        """Moves on by a token that the mask allowed: "open" or another of STATUSES."""

    def rollback(self, n: int) -> str: ...
    def forced(self, most: int) -> Sequence[int]: ...

STATUSES: tuple[str, ...]
