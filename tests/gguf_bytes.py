"""GGUF files put together byte by byte, right or wrong: written from the specification, not with our writer."""

from __future__ import annotations

from struct import pack


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return pack("<Q", len(data)) + data


def entry(key: str | bytes, value_type: int, payload: bytes) -> bytes:
    """One metadata entry; types: 4 uint32, 7 bool, 8 string, 9 array ..."""
    return text(key) + pack("<I", value_type) + payload


def array(element_type: int, count: int, payload: bytes) -> bytes:
    """The payload of an array, or one element of an array of arrays."""
    return pack("<IQ", element_type, count) + payload


def tensor(name: str | bytes, shape: tuple[int, ...], type_id: int = 0, offset: int = 0) -> bytes:
    """One tensor description; type 0 is F32, 8 is Q8_0."""
    return text(name) + pack("<I", len(shape)) + pack(f"<{len(shape)}Q", *shape) + pack("<IQ", type_id, offset)


def gguf(
    entries: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    n_entries: int | None = None,
    n_tensors: int | None = None,
    alignment: int = 32,
) -> bytes:
    """A whole file; the counts may lie."""
    head = b"GGUF" + pack(
        "<IQQ",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(entries) if n_entries is None else n_entries,
    )
    head += b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + data
