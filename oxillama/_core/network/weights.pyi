from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from oxillama._core.network.team import Team

def packed_bytes(type_id: int, rows: int, k: int) -> int: ...

class PackedMatrix:
    @property
    def shape(self) -> tuple[int, int]: ...
    def row(self, index: int) -> npt.NDArray[np.float32]: ...

class WeightPacker:
    def __init__(self, n_bytes: int, *, consume: bool = False) -> None: ...
    def add(
        self,
        raw: npt.NDArray[np.uint8],
        type_id: int,
        rows: int,
        k: int,
        *,
        bias: npt.NDArray[np.float32] | None = None,
        scale: float = 1.0,
        rounds: bool = False,
    ) -> PackedMatrix: ...
    def add_stack(
        self,
        raws: list[npt.NDArray[np.uint8]],
        type_id: int,
        rows: int,
        k: int,
        *,
        bias: npt.NDArray[np.float32] | None = None,
        scale: float = 1.0,
        rounds: bool = False,
    ) -> PackedMatrix: ...
    def pack(self, advance: Callable[[int], None], team: Team | None = None) -> None: ...
