"""The tensors of a safetensors file, mapped: a length, a header of JSON, data. Every number is checked before use."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from oxillama.adapters.pairs import Factor, Floats
from oxillama.errors import AdapterError
from oxillama.gguf.file import described

MAX_HEADER_BYTES = 100 << 20  # as in the format's own reader
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}


def open_regular(path: str) -> BinaryIO:
    """A file on a disk, to be read. Raises OSError, or AdapterError for a pipe or a device: its end may never come."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise _fault(path, "expected a regular file")


def read_safetensors(path: str) -> dict[str, Factor]:
    """All tensors by name. Raises OSError, or AdapterError for anything but a sound file of floats."""
    with open_regular(path) as file:
        n_bytes = file.seek(0, 2)
    if n_bytes < 8:
        raise _fault(path, f"expected at least 8 bytes, found {n_bytes}")
    data = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise _fault(path, f"expected a header of at most {len(data) - 8} bytes, found {length}")
    try:
        header = json.loads(data[8 : 8 + length].tobytes())
    except (ValueError, RecursionError) as error:
        raise _fault(path, f"expected a header of JSON: {error}") from None
    if not isinstance(header, dict):
        raise _fault(path, f"expected an object as header, found {type(header).__name__}")
    body = data[8 + length :]
    return {name: _factor(path, name, told, body) for name, told in header.items() if name != "__metadata__"}


def _factor(path: str, name: str, told: Any, body: npt.NDArray[np.uint8]) -> Factor:
    if not isinstance(told, Mapping):
        raise _fault(path, f"tensor {described(name)} is described by {type(told).__name__}, expected an object")
    values: tuple[Any, Any, Any] = (told.get("dtype"), told.get("shape"), told.get("data_offsets"))
    kind, shape, offsets = values
    shown = described(name)
    if not isinstance(kind, str) or kind not in ITEM_BYTES:
        raise _fault(path, f"tensor {shown} has type {described(kind)}, expected one of {', '.join(ITEM_BYTES)}")
    if not _are_sizes(shape) or not 1 <= len(shape) <= 3 or 0 in shape:
        raise _fault(path, f"tensor {shown} has shape {shortened(shape)}, expected 1 to 3 sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= len(body):
        raise _fault(path, f"tensor {shown} lies at {shortened(offsets)}, expected two places within {len(body)} bytes")
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[kind]:
        raise _fault(path, f"tensor {shown} has {offsets[1] - offsets[0]} bytes, expected those of {shape} {kind}")
    raw = body[offsets[0] : offsets[1]]
    return Factor(name, tuple(shape), kind == "F16", lambda: _decoded(kind, raw))


def _decoded(kind: str, raw: npt.NDArray[np.uint8]) -> Floats:
    raw = np.array(raw)  # what the file has need not be aligned
    match kind:
        case "F16":
            return raw.view(np.float16)
        case "BF16":
            return np.asarray((raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32))
        case "F64":
            return raw.view(np.float64).astype(np.float32)
    return raw.view(np.float32)


def shortened(value: Any) -> str:
    """What a stranger wrote, in the words of a message, however long it is."""
    return described(value if isinstance(value, str) else json.dumps(value))


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value)


def _fault(path: str, message: str) -> AdapterError:
    return AdapterError(f"{path}: {message}", param="path")
