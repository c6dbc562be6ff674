import numpy as np
import numpy.typing as npt

from oxillama._core.kv_cache import KVCache
from oxillama._core.memory import Pages
from oxillama._core.profile import Profile
from oxillama._core.weights import PackedMatrix

TOKENS: int
OUTPUTS: int

def buffer_bytes(width: int, rows: int) -> int: ...
def twin_bytes(width: int, rows: int, forms: int) -> int: ...
def activation_form(type_id: int) -> int: ...
def reads_quants(type_id: int) -> bool: ...

class Program:
    kv: KVCache
    n_vocab: int
    weights: Pages | None
    def __init__(
        self,
        buffers: list[tuple[int, int, int, int, int]],
        *,
        arena_bytes: int,
        n_ops: int,
        kv: KVCache,
        max_tokens: int,
        max_outputs: int,
        n_threads: int,
        logits: int,
        n_vocab: int,
        hidden: int = -1,
    ) -> None: ...
    def embed(self, dst: int, table: PackedMatrix, *, space: int = ..., barrier: bool = False) -> None: ...
    def rope_table(
        self,
        dst: int,
        inverse_frequencies: npt.NDArray[np.float32],
        magnitude: float,
        *,
        space: int = ...,
        barrier: bool = False,
    ) -> None: ...
    def rms_norm(
        self,
        dst: int,
        src: int,
        weight: npt.NDArray[np.float32] | None,
        epsilon: float,
        *,
        n_heads: int = ...,
        space: int = ...,
        barrier: bool = False,
    ) -> None: ...
    def quantize(self, src: int, *, space: int = ..., barrier: bool = False) -> None: ...
    def add(self, dst: int, src: int, src2: int, *, space: int = ..., barrier: bool = False) -> None: ...
    def swiglu(self, dst: int, gate: int, up: int, *, space: int = ..., barrier: bool = False) -> None: ...
    def rope(
        self,
        src: int,
        table: int,
        *,
        layout: int,
        n_heads: int,
        head_dim: int,
        rope_dims: int,
        space: int = ...,
        barrier: bool = False,
    ) -> None: ...
    def kv_store(self, k: int, v: int, layer: int, *, space: int = ..., barrier: bool = False) -> None: ...
    def select(self, dst: int, src: int, *, space: int = ..., barrier: bool = True) -> None: ...
    def matmul(
        self,
        dst: list[int],
        src: int,
        matrices: list[PackedMatrix],
        *,
        accumulate: bool = False,
        space: int = ...,
        barrier: bool = True,
    ) -> None: ...
    def matmul_swiglu(
        self, dst: int, src: int, gate: PackedMatrix, up: PackedMatrix, *, space: int = ..., barrier: bool = True
    ) -> None: ...
    def attention(
        self,
        dst: int,
        src: int,
        *,
        layer: int,
        n_heads: int,
        head_dim: int,
        scale: float,
        window: int,
        space: int = ...,
        barrier: bool = True,
    ) -> None: ...
    def checkpoint(self) -> None: ...
    def seal(self) -> None: ...
    def operations(self) -> list[tuple[str, list[tuple[int, int, int]]]]:
        """Of each operation: its name, and (ggml type, rows, values per row) of the matrices it multiplies with."""

    def start_profile(self) -> Profile:
        """Times the steps from the next one on. Always the same object, which the program keeps."""

    def stop_profile(self) -> None: ...
    @property
    def n_ops(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def hidden_width(self) -> int: ...
    @property
    def n_threads(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def max_outputs(self) -> int: ...
    def forward(
        self,
        tokens: npt.NDArray[np.int32],
        runs: list[tuple[int, int, npt.NDArray[np.int32]]],
        output_rows: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.float32]: ...
