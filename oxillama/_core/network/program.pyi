from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oxillama._core.memory import Pages
from oxillama._core.network.adapter import AdapterSet
from oxillama._core.network.adapter_room import AdapterRoom
from oxillama._core.network.team import Team
from oxillama._core.network.weights import PackedMatrix
from oxillama._core.scheduling.kv_cache import KVCache
from oxillama._core.scheduling.profile import Profile

REST_FORM: int

def buffer_bytes(width: int, rows: int) -> int: ...
def twin_bytes(width: int, rows: int, forms: int) -> int: ...
def activation_form(type_id: int) -> int: ...
def reads_quants(type_id: int) -> bool: ...

class Program:
    kv: KVCache
    n_vocab: int
    weights: Pages | None
    team: Team
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
        n_vocab: int,
        logits: int = -1,
        hidden: int = -1,
        scores: int = -1,
        whole: bool = False,
        state_floats: int = 0,
        n_slots: int = 0,
        n_snapshots: int = 0,
        kept_floats: int = 0,
        team: Team | None = None,
    ) -> None: ...
    def append(
        self,
        name: str,
        src: list[int],
        dst: list[int],
        *,
        matrices: Sequence[PackedMatrix] = ...,
        vectors: Sequence[npt.NDArray[np.float32] | None] = ...,
        space: int = ...,
        fold: int = ...,
        barrier: bool = ...,
        **parameters: float,
    ) -> None: ...
    def checkpoint(self) -> None: ...
    def seal(self) -> None: ...
    def operations(self) -> list[tuple[str, list[tuple[int, int, int]]]]:
        """Of each operation: its name, and (ggml type, rows, values per row) of the matrices it multiplies with."""

    def adapter_room_bytes(self, width: int) -> int: ...
    def make_adapter_room(self, width: int) -> AdapterRoom | None: ...
    @property
    def n_sites(self) -> int: ...
    def start_profile(self) -> Profile:
        """Times the steps from the next one on. Always the same object, which the program keeps."""

    def stop_profile(self) -> None: ...
    @property
    def n_ops(self) -> int: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def has_state(self) -> bool: ...
    @property
    def state_bytes(self) -> int: ...
    @property
    def n_snapshots(self) -> int: ...
    @property
    def n_resident(self) -> int: ...
    @property
    def hidden_width(self) -> int: ...
    @property
    def has_logits(self) -> bool: ...
    @property
    def n_scores(self) -> int: ...
    @property
    def whole(self) -> bool: ...
    @property
    def n_threads(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def max_outputs(self) -> int: ...
    def forward(
        self,
        tokens: npt.NDArray[np.int32],
        runs: Sequence[tuple[int, int, npt.NDArray[np.int32]] | tuple[int, int, npt.NDArray[np.int32], int]],
        output_rows: npt.NDArray[np.int32],
        adapters: Sequence[AdapterSet | None] | None = None,
    ) -> npt.NDArray[np.float32]: ...
