from typing import NamedTuple

class GgmlType(NamedTuple):
    name: str
    block_size: int
    block_bytes: int

GGML_TYPES: dict[int, GgmlType]
