"""Row, KV and attention kernels of any usable level on NumPy arrays, for tests and benchmarks only.

All arrays are C-contiguous; floats are float32. A wrong shape, level or KV type is a ``ValueError``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Bytes = NDArray[np.uint8]
_Blocks = NDArray[np.int32]

KV_TYPES: dict[str, int]

def aligned_bytes(size: int) -> _Bytes:
    """Uninitialised memory, aligned as the kernels expect, that ends where its allocation ends."""

def kv_layout(level: str, kv_type: str, n_head_kv: int, k_dim: int, v_dim: int) -> tuple[int, int, int]:
    """``k_bytes``, ``head_bytes`` and ``block_bytes`` of the layout."""

def kv_store(
    level: str, kv_type: str, k: _Floats, v: _Floats, first_position: int, arena: _Bytes, blocks: _Blocks
) -> None:
    """Stores k, [tokens, n_head_kv, k_dim], and v, [tokens, n_head_kv, v_dim], at consecutive positions."""

def attention(
    level: str,
    kv_type: str,
    q: _Floats,
    n_head_kv: int,
    first_position: int,
    window: int,
    scale: float,
    arena: _Bytes,
    blocks: _Blocks,
    out: _Floats,
    first_head_kv: int = 0,
    end_head_kv: int = -1,
    repeat: int = 1,
    span: int = 0,
    n_keys: int = -1,
    soft_cap: float = 0.0,
    slopes: _Floats | None = None,
    sinks: _Floats | None = None,
) -> None:
    """Attends q, [tokens, heads, k_dim], into ``out``, [tokens, heads, v_dim], with KV heads from first_head_kv to
    end_head_kv, no GIL. n_keys: of the sequence; by default it ends with q. slopes, sinks: [heads]."""

def rms_norm(level: str, x: _Floats, weight: _Floats | None, eps: float) -> NDArray[Any]: ...
def add(level: str, x: _Floats, y: _Floats) -> NDArray[Any]: ...
def multiply(level: str, x: _Floats, y: _Floats) -> NDArray[Any]: ...
def scale(level: str, x: _Floats, factor: float) -> NDArray[Any]: ...
def add_scaled(level: str, x: _Floats, factor: float, y: _Floats) -> NDArray[Any]: ...
def layer_norm(level: str, x: _Floats, weight: _Floats | None, bias: _Floats | None, eps: float) -> NDArray[Any]: ...
def activate(level: str, function: int, x: _Floats, parameters: _Floats) -> NDArray[Any]: ...
def gated(level: str, function: int, gate: _Floats, up: _Floats, parameters: _Floats) -> NDArray[Any]: ...
def rope(level: str, halves: bool, x: _Floats, cos_sin: _Floats) -> None:
    """Rotates the heads x, [heads, head_dim], in place."""

def log_sum_exp(level: str, x: _Floats) -> float: ...
