"""Bytes of metadata values, written out; that a file with them reads back is in test_gguf_writer."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama.gguf.encoding import STRUCT_CODES, encode_value, infer_type

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


@pytest.mark.parametrize(
    ("value", "value_type", "number", "data"),
    [
        # The numbers of the types are the format's.
        (1, "uint8", 0, "01"),
        (-1, "int8", 1, "ff"),
        (1, "uint16", 2, "0100"),
        (-2, "int16", 3, "feff"),
        (1, "uint32", 4, "01000000"),
        (-2, "int32", 5, "feffffff"),
        (1.0, "float32", 6, "0000803f"),
        (True, "bool", 7, "01"),
        ("é", "string", 8, "0200000000000000c3a9"),
        (b"\xff", "string", 8, "0100000000000000ff"),
        ([1, 2], "array[uint8]", 9, "00000000 0200000000000000 0102"),
        ([], "array[float64]", 9, "0c000000 0000000000000000"),
        (["a"], "array[string]", 9, "08000000 0100000000000000 0100000000000000 61"),
        ([[7]], "array[array[int8]]", 9, "09000000 0100000000000000 01000000 0100000000000000 07"),
        (1, "uint64", 10, "0100000000000000"),
        (-2, "int64", 11, "feffffffffffffff"),
        (1.0, "float64", 12, "000000000000f03f"),
    ],
)
def test_known_bytes(value: Any, value_type: str, number: int, data: str) -> None:
    assert encode_value(value, value_type) == (number, bytes.fromhex(data))


@pytest.mark.parametrize(
    "value", [np.arange(4, dtype=">i4"), np.arange(8, dtype=np.int32)[::2], np.arange(4, dtype="<i4")]
)
def test_arrays_are_little_endian_and_contiguous_whatever_they_were(value: np.ndarray[Any, Any]) -> None:
    expected = struct.pack("<IQ4i", 5, 4, *value.tolist())
    assert encode_value(value, "array[int32]") == encode_value(value) == (9, expected)


@given(st.lists(st.integers(-3, 300), max_size=5), st.sampled_from(INTEGERS), st.sampled_from(INTEGERS))
def test_an_array_of_another_type_is_converted_or_refused_like_a_list(values: list[int], own: str, asked: str) -> None:
    info = np.iinfo(own)
    values = [value for value in values if info.min <= value <= info.max]
    array = np.array(values, own)
    wanted = np.iinfo(asked)
    if all(wanted.min <= value <= wanted.max for value in values):
        assert encode_value(array, f"array[{asked}]") == encode_value(values, f"array[{asked}]")
    else:
        with pytest.raises(ValueError, match=f"expected values of type {asked}"):
            encode_value(array, f"array[{asked}]")


@given(st.integers(-(2**63), 2**64 - 1))
def test_an_integer_gets_the_first_type_that_holds_it(value: int) -> None:
    kind = infer_type(value)
    order = ("uint32", "int32", "int64", "uint64")
    fits = [name for name in order if np.iinfo(name).min <= value <= np.iinfo(name).max]
    assert kind == fits[0]
    assert struct.unpack(f"<{STRUCT_CODES[kind]}", encode_value(value)[1]) == (value,)


@given(st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=5))
def test_integers_of_a_list_get_one_type_for_all(values: list[int]) -> None:
    order = ("int32", "int64", "uint64")
    fits = [name for name in order if all(np.iinfo(name).min <= v <= np.iinfo(name).max for v in values)]
    if not fits:
        with pytest.raises(ValueError, match="at most 64 bits"):
            infer_type(values)
    else:
        assert infer_type(values) == f"array[{fits[0]}]"
        data = encode_value(values)[1]
        assert list(struct.unpack(f"<{len(values)}{STRUCT_CODES[fits[0]]}", data[12:])) == values


@pytest.mark.parametrize("value", [-(2**63) - 1, 2**64])
def test_an_integer_of_more_than_64_bits_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="at most 64 bits"):
        encode_value(value)


@given(st.lists(st.integers(-5, 5) | st.floats(width=32, allow_nan=False), min_size=1, max_size=5))
def test_a_list_of_mixed_numbers_is_one_of_floats(values: list[float]) -> None:
    found = infer_type(values)
    assert found == ("array[int32]" if all(isinstance(value, int) for value in values) else "array[float32]")


@pytest.mark.parametrize("values", [[True, 1], [1, True], [True, 0.5], ["a", 1], [1.5, "a"]])
def test_booleans_and_texts_are_no_numbers(values: list[Any]) -> None:
    with pytest.raises(ValueError, match="expected elements of one type"):
        encode_value(values)


@pytest.mark.parametrize("inner", [[[1], 2], [[1], "a"], [np.arange(2), 5]])
def test_an_array_of_arrays_holds_nothing_else(inner: list[Any]) -> None:
    with pytest.raises(ValueError, match="expected arrays inside an array of arrays"):
        encode_value(inner)


@pytest.mark.parametrize(
    "value_type", ["", "array", "array[", "array[]", "uint32]", "array[uint32", "UINT32", "array[uint32[array]]"]
)
def test_types_that_are_none_are_refused(value_type: str) -> None:
    with pytest.raises(ValueError, match=r"expected (one of|an element type out of)"):
        encode_value([1], value_type)
