BLOCK_TOKENS: int
LEAST_BLOCK_BYTES: int
KV_TYPES: dict[str, int]

def block_bytes(kv_dtype: str, stores: list[tuple[int, int, int]]) -> int: ...

class KVCache:
    n_stores: int
    n_blocks: int
    n_window_blocks: int
    window: int
    def __init__(
        self,
        kv_dtype: str,
        *,
        stores: list[tuple[int, int, int]],
        n_blocks: int,
        windowed: frozenset[int] = ...,
        window: int = 0,
        n_window_blocks: int = 0,
    ) -> None: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def n_tokens(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def window_block_bytes(self) -> int: ...
    @property
    def n_resident(self) -> int: ...
    def grow(self, n_blocks: int) -> None: ...
