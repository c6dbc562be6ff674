"""The draw of a token by Gumbel-max, for tests; the sampler calls gumbel.pxd."""

import numpy as np
from numpy.typing import NDArray

def gumbel(bits: int) -> float:
    """Return the Gumbel noise of 64 random bits, before it is rounded to a multiple of 2^-32."""

def draw_token(
    ids: NDArray[np.int32],
    logits: NDArray[np.float32],
    *,
    temperature: float,
    seed: int,
    choice: int,
    position: int,
    level: str | None = None,
) -> int:
    """Return the one of ``ids`` [n], distinct and in any order, that is drawn; ``logits`` [n] are finite."""

def first_look(
    logits: NDArray[np.float32],
    words: NDArray[np.uint32],
    *,
    block: int,
    best: float,
    temperature: float,
    seed: int,
    choice: int,
    position: int,
    score: int,
    level: str,
) -> int:
    """Write the high words of ``block`` to ``words`` [64]; return a bit for each token that may have ``score``."""
