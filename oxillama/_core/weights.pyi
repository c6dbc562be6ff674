import numpy as np
import numpy.typing as npt

def release_team() -> None: ...
def packed_bytes(type_id: int, rows: int, k: int) -> int: ...

class PackedMatrix:
    def __init__(
        self,
        raw: npt.NDArray[np.uint8],
        type_id: int,
        rows: int,
        k: int,
        *,
        bias: npt.NDArray[np.float32] | None = None,
        n_threads: int = 1,
    ) -> None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def n_bytes(self) -> int: ...
    def row(self, index: int) -> npt.NDArray[np.float32]: ...
