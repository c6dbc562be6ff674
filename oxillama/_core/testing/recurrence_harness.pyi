"""Kernels of recurrences of any usable level on NumPy arrays, for tests and benchmarks only.

All arrays are C-contiguous float32. A wrong shape or level is a ``ValueError``.
"""

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]

def convolve(level: str, inputs: _Floats, weight: _Floats, bias: _Floats | None = None) -> _Floats:
    """``inputs`` and ``weight`` [n_taps, width], ``bias`` [width]: [width] sums over the taps."""

def recur(
    level: str,
    rule: str,
    state: _Floats,
    q: _Floats,
    k: _Floats,
    v: _Floats,
    *,
    decay: _Floats | None = None,
    step: _Floats | None = None,
    a: _Floats | None = None,
    b: _Floats | None = None,
    bonus: _Floats | None = None,
    rates: _Floats | None = None,
) -> _Floats:
    """The results [n, v_dim] of n tokens of one head; ``state`` [k_dim, v_dim] changes in place.

    ``q``, ``k``, ``a``, ``b``: [n, k_dim]; ``v``: [n, v_dim]; ``decay``: [n, k_dim] or [n, 1]; ``step``: [n, 1], of the
    rule ``"scan"`` [n, v_dim]; ``bonus``: [k_dim]; ``rates``: [k_dim, v_dim].
    """
