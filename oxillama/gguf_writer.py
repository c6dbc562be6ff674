"""Writes GGUF files: metadata, and tensors given as arrays, raw bytes, or streams of bytes. Quantises nothing."""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedWriter
from math import prod
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oxillama._core.gguf.ggml_types import GGML_TYPES
from oxillama.gguf.encoding import encode_string, encode_value

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["GGUFWriter"]

Bytes: TypeAlias = "Buffer | NDArray[Any]"
TensorData: TypeAlias = "Bytes | Callable[[], Iterable[Bytes]]"

DEFAULT_ALIGNMENT = 32
MAX_NAME_BYTES = 65535
TYPE_IDS = {row.name: number for number, row in GGML_TYPES.items()}
ARRAY_TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
}


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor that will be written; ``shape`` in GGUF's order, fastest axis first."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    n_bytes: int
    data: TensorData


class GGUFWriter:
    """Collects metadata and tensors, then writes one file.

    ::

        with GGUFWriter("model.gguf") as writer:
            writer.add("general.architecture", "llama")
            writer.add_tensor("output_norm.weight", np.ones(64, np.float32))

    The file appears under its name only when it is complete: ``write()``, which leaving the ``with`` block without an
    exception calls, fills a temporary file beside it and renames that. Data is not forced to the disk. Wrong arguments
    raise ValueError.
    """

    def __init__(self, path: str | os.PathLike[str], *, version: int = 3, alignment: int | None = None) -> None:
        """``alignment`` of tensor data in bytes: a power of two, at least 8. None: 32, with no entry in the file."""
        if version not in (2, 3):
            raise ValueError(f"version: expected 2 or 3, found {version}")
        if alignment is not None and (alignment < 8 or alignment & (alignment - 1) or alignment >= 1 << 32):
            raise ValueError(f"alignment: expected a power of two from 8 to 2^31, found {alignment}")
        self._path = os.fspath(path)
        self._version = version
        self._alignment = alignment or DEFAULT_ALIGNMENT
        self._entries: dict[str, bytes] = {}
        self._tensors: dict[str, PlannedTensor] = {}
        if alignment is not None:
            self._add_entry("general.alignment", *encode_value(alignment, "uint32"))

    def add(self, key: str, value: Any, value_type: str | None = None) -> None:
        """Add one metadata value; see ``oxillama.gguf.encoding.encode_value`` for types and their inference."""
        self._check_key(key)
        try:
            number, payload = encode_value(value, value_type)
        except ValueError as error:
            raise ValueError(f"metadata key {key!r}: {error}") from None
        self._add_entry(key, number, payload)

    def add_raw(self, key: str, type_number: int, payload: Buffer) -> None:
        """Add one metadata value as another file stores it, from ``Metadata.raw``."""
        self._check_key(key)
        self._add_entry(key, type_number, bytes(payload))

    def add_tensor(
        self,
        name: str,
        data: TensorData,
        *,
        shape: Sequence[int] | None = None,
        type_name: str | None = None,
    ) -> None:
        """Add one tensor.

        ``data`` is a float or integer array (type and shape are taken from it), or the raw bytes of a tensor of
        ``shape`` (GGUF's order, fastest axis first) and ``type_name``: either a buffer, or a function that returns an
        iterable of buffers. The function is called once, at ``write()``, so the data need not fit into memory.
        """
        place = f"tensor {name!r}"
        check_name(place, name)
        if name in self._tensors:
            raise ValueError(f"{place}: expected unique names, found the name a second time")
        if type_name is None and shape is None:
            if not isinstance(data, np.ndarray) or data.dtype.name not in ARRAY_TYPES:
                raise ValueError(f"{place}: raw data needs shape and type_name")
            type_name = ARRAY_TYPES[data.dtype.name]
            shape = data.shape[::-1]
            data = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
        if type_name is None or shape is None:
            raise ValueError(f"{place}: expected both shape and type_name, or neither")
        if type_name not in TYPE_IDS:
            raise ValueError(f"{place}: expected a type out of {', '.join(TYPE_IDS)}, found {type_name!r}")
        n_bytes = tensor_bytes(place, shape, type_name)
        if not callable(data):
            found = view_of(data).nbytes
            if found != n_bytes:
                raise ValueError(f"{place}: expected {n_bytes} bytes for {type_name} {list(shape)}, found {found}")
        self._tensors[name] = PlannedTensor(name, tuple(map(int, shape)), TYPE_IDS[type_name], n_bytes, data)

    def write(self) -> None:
        """Write the file; an existing file of that name is replaced, unless something goes wrong."""
        temporary = f"{self._path}.{secrets.token_hex(4)}.part"
        try:
            with open(temporary, "xb") as file:
                file.write(self._header())
                self._pad(file)
                for tensor in self._tensors.values():
                    write_data(file, tensor)
                    self._pad(file)
            os.replace(temporary, self._path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.write()

    def _check_key(self, key: str) -> None:
        check_name(f"metadata key {key!r}", key)
        if key == "general.alignment":
            raise ValueError("metadata key 'general.alignment': give alignment to the writer instead")

    def _add_entry(self, key: str, type_number: int, payload: bytes) -> None:
        if key in self._entries:
            raise ValueError(f"metadata key {key!r}: expected unique keys, found the key a second time")
        self._entries[key] = struct.pack("<I", type_number) + payload

    def _header(self) -> bytes:
        parts = [b"GGUF", struct.pack("<IQQ", self._version, len(self._tensors), len(self._entries))]
        for key, entry in self._entries.items():
            parts += [encode_string(key), entry]
        offset = 0
        for tensor in self._tensors.values():
            axes = len(tensor.shape)
            parts += [
                encode_string(tensor.name),
                struct.pack(f"<I{axes}Q", axes, *tensor.shape),
                struct.pack("<IQ", tensor.type_id, offset),
            ]
            offset += -(-tensor.n_bytes // self._alignment) * self._alignment
        return b"".join(parts)

    def _pad(self, file: BufferedWriter) -> None:
        file.write(bytes(-file.tell() % self._alignment))


def write_data(file: BufferedWriter, tensor: PlannedTensor) -> None:
    chunks = tensor.data() if callable(tensor.data) else [tensor.data]
    n_written = 0
    for chunk in chunks:
        n_written += file.write(view_of(chunk))
        if n_written > tensor.n_bytes:
            break
    if n_written != tensor.n_bytes:
        raise ValueError(f"tensor {tensor.name!r}: expected {tensor.n_bytes} bytes of data, found {n_written}")


def view_of(data: Bytes) -> memoryview:
    return np.ascontiguousarray(data).data if isinstance(data, np.ndarray) else memoryview(data)


def check_name(place: str, name: str) -> None:
    n_bytes = len(name.encode())
    if not 1 <= n_bytes <= MAX_NAME_BYTES:
        raise ValueError(f"{place}: expected a name of 1 to {MAX_NAME_BYTES} bytes, found {n_bytes}")


def tensor_bytes(place: str, shape: Sequence[int], type_name: str) -> int:
    """Bytes of a tensor; ValueError if the shape does not suit a GGUF file or the type."""
    row = GGML_TYPES[TYPE_IDS[type_name]]
    if not 1 <= len(shape) <= 4 or min(shape) < 1:
        raise ValueError(f"{place}: expected 1 to 4 axes, none of them empty, found shape {list(shape)}")
    if shape[0] % row.block_size:
        raise ValueError(
            f"{place}: expected rows of whole {type_name} blocks of {row.block_size} values, found rows of {shape[0]}"
        )
    return prod(shape) // row.block_size * row.block_bytes
