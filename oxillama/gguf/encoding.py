"""Turns Python values into the bytes of GGUF metadata values, with the type inferred or given. Writes no files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from oxillama._core.gguf.values import VALUE_TYPES, StringArray

TYPE_NUMBERS = {name: number for number, name in enumerate(VALUE_TYPES)}
STRUCT_CODES = {
    "uint8": "B",
    "int8": "b",
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "float32": "f",
    "bool": "?",
    "uint64": "Q",
    "int64": "q",
    "float64": "d",
}


def encode_value(value: Any, value_type: str | None = None) -> tuple[int, bytes]:
    """The type number and the bytes of a metadata value.

    ``value_type`` is a name such as "uint32", "string", "array[float32]", "array[array[int8]]" or "array[array]" (the
    inner arrays' types are then inferred one by one). Without it: bool, str or bytes, and NumPy scalars and arrays keep
    their type; int becomes uint32, else the first of int32, int64 and uint64 that holds it; float becomes float32; the
    elements of a list must agree, and int elements prefer int32.

    Raises ValueError if the value does not fit the type, or if an empty list has no type.
    """
    kind = infer_type(value) if value_type is None else value_type
    if kind.startswith("array[") and kind.endswith("]"):
        return TYPE_NUMBERS["array"], encode_array(value, kind[6:-1])
    if kind not in TYPE_NUMBERS or kind == "array":
        raise ValueError(f"value_type: expected one of {', '.join(VALUE_TYPES)} or array[TYPE], found {kind!r}")
    if kind == "string":
        return TYPE_NUMBERS[kind], encode_string(value)
    return TYPE_NUMBERS[kind], encode_numbers([value], kind)


def encode_string(value: Any) -> bytes:
    """Length and bytes of a ``str`` (as UTF-8) or of ``bytes`` (as they are)."""
    if not isinstance(value, (str, bytes)):
        raise ValueError(f"expected str or bytes, found {type(value).__name__}")
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def encode_array(values: Any, element_type: str) -> bytes:
    """Element type, count and elements."""
    if not isinstance(values, (list, tuple, np.ndarray, StringArray)):
        raise ValueError(f"expected a list or an array, found {type(values).__name__}")
    base = element_type.partition("[")[0]
    if base not in TYPE_NUMBERS or (element_type != base and base != "array"):
        raise ValueError(f"expected an element type out of {', '.join(VALUE_TYPES)}, found {element_type!r}")
    head = struct.pack("<IQ", TYPE_NUMBERS[base], len(values))
    if base == "string":
        return head + b"".join(map(encode_string, values))
    if base == "array":
        inner = None if element_type == "array" else element_type
        return head + b"".join(encode_inner(value, inner) for value in values)
    return head + encode_numbers(values if isinstance(values, np.ndarray) else list(values), element_type)


def encode_inner(value: Any, value_type: str | None) -> bytes:
    number, data = encode_value(value, value_type)
    if number != TYPE_NUMBERS["array"]:
        raise ValueError(f"expected arrays inside an array of arrays, found {type(value).__name__}")
    return data


def encode_numbers(values: Sequence[Any] | np.ndarray[Any, Any], kind: str) -> bytes:
    """Numbers or booleans, little endian, one after another."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(f"expected an array of one axis, found shape {list(values.shape)}")
        if values.dtype.name == kind:
            return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        values = values.tolist()
    for value in values:
        if isinstance(value, (bool, np.bool_)) != (kind == "bool"):
            raise ValueError(f"expected {kind}, found {value!r}")
    try:
        return struct.pack(f"<{len(values)}{STRUCT_CODES[kind]}", *values)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"expected values of type {kind}: {error}") from None


def infer_type(value: Any) -> str:
    """The name of the type under which a value is stored if nobody says otherwise."""
    if isinstance(value, np.ndarray):
        return f"array[{numpy_type(value.dtype)}]"
    if isinstance(value, StringArray):
        return "array[string]"
    if isinstance(value, (list, tuple)):
        return f"array[{infer_element_type(value)}]"
    if isinstance(value, np.generic):
        return numpy_type(value.dtype)
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return smallest_type([value], ("uint32", "int32", "int64", "uint64"))
    if isinstance(value, float):
        return "float32"
    if isinstance(value, (str, bytes)):
        return "string"
    raise ValueError(f"expected a number, a string, a list or an array, found {type(value).__name__}")


def infer_element_type(values: Sequence[Any]) -> str:
    if not values:
        raise ValueError("an empty list has no element type; give value_type, such as 'array[int32]'")
    if any(isinstance(value, (list, tuple, np.ndarray, StringArray)) for value in values):
        return "array"
    kinds = {infer_type(value) for value in values}
    if len(kinds) == 1 and kinds != {"uint32"}:
        return kinds.pop()
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return smallest_type(values, ("int32", "int64", "uint64"))
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return "float32"
    raise ValueError(f"expected elements of one type, found {', '.join(sorted(kinds))}")


def numpy_type(dtype: np.dtype[Any]) -> str:
    if dtype.name not in STRUCT_CODES:
        raise ValueError(f"expected an array of a type that GGUF has, found {dtype.name}")
    return dtype.name


def smallest_type(values: Sequence[int], kinds: Sequence[str]) -> str:
    for kind in kinds:
        info = np.iinfo(kind)
        if min(values) >= info.min and max(values) <= info.max:
            return kind
    raise ValueError(f"expected integers of at most 64 bits, found {min(values)} to {max(values)}")
