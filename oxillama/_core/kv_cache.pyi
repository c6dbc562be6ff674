BLOCK_TOKENS: int
KV_TYPES: dict[str, int]

def block_bytes(kv_dtype: str, stores: list[tuple[int, int, int]]) -> int: ...

class KVCache:
    n_stores: int
    n_blocks: int
    block_bytes: int
    def __init__(self, kv_dtype: str, *, stores: list[tuple[int, int, int]], n_blocks: int) -> None: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def n_tokens(self) -> int: ...
