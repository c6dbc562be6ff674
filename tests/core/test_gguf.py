from __future__ import annotations

import copy
import gc
import pickle
import re
from struct import pack

import numpy as np
import pytest

from oxillama._core.gguf.file import GGUFShard, TensorInfo
from oxillama._core.gguf.filemap import FileMap
from oxillama._core.gguf.ggml_types import GGML_TYPES
from oxillama._core.gguf.values import StringArray
from oxillama.errors import ModelLoadError
from tests.gguf_bytes import array, entry, gguf, tensor, text


def shard(data: bytes) -> GGUFShard:
    return GGUFShard(FileMap.of_bytes(data), "m.gguf")


def nested(depth: int) -> bytes:
    """The payload of arrays of arrays, ``depth`` in all, the innermost one of no bytes."""
    return array(9, 1, nested(depth - 1)) if depth > 1 else array(0, 0, b"")


F32_AT = {offset: tensor(f"t{offset}", (8,), 0, offset) for offset in (0, 8, 16, 32, 64)}
HUGE = 2**63

# What is wrong, and what the message must say, in full: place, what was expected, what was found, where.
BAD_FILES = {
    "text": (b"Once upon a time", "header: expected the magic b'GGUF', found b'Once upon a time' (byte 0)"),
    "short magic": (b"GG", "header: expected the magic b'GGUF', found b'GG' (byte 0)"),
    "no version": (b"GGUF\3\0", "header: expected 4 more bytes, found 2 before the end of the file (byte 4)"),
    "version 1": (
        gguf(version=1),
        "header: expected GGUF version 2 or 3, found version 1; convert the model anew (byte 4)",
    ),
    "version 4": (gguf(version=4), "header: expected GGUF version 2 or 3, found version 4 (byte 4)"),
    "version 0": (
        gguf(version=0),
        "header: expected GGUF version 2 or 3, found version 0; convert the model anew (byte 4)",
    ),
    "big-endian": (
        b"GGUF" + pack(">IQQ", 3, 0, 0),
        "header: expected a little-endian file, found a big-endian one, which is not supported; "
        "gguf_convert_endian.py of the gguf package turns it round (byte 4)",
    ),
    "no counts": (
        gguf()[:12],
        "number of tensors: expected 8 more bytes, found 4 before the end of the file (byte 8)",
    ),
    "absurd tensor count": (
        gguf(n_tensors=2**64 - 1, data=bytes(64)),
        f"number of tensors: expected a count that fits the 80 bytes behind it, found {2**64 - 1} (byte 8)",
    ),
    "absurd entry count": (
        gguf(n_entries=HUGE),
        f"number of metadata entries: expected a count that fits the 8 bytes behind it, found {HUGE} (byte 16)",
    ),
    "more tensors than could have data": (
        gguf((entry("general.alignment", 4, pack("<I", 4096)),), (F32_AT[0], F32_AT[32]), bytes(64)),
        "number of tensors: expected at most 1, for a file of 192 bytes, found 2 (byte 8)",
    ),
    "missing entry": (
        gguf((entry("a", 0, b"\1"),), n_entries=2, data=bytes(3)),
        "metadata entry 1 of 2: expected a name of 1 to 65535 bytes, found a length of 0 (byte 38)",
    ),
    "long key": (
        gguf((pack("<Q", HUGE),), data=bytes(64)),
        f"metadata entry 0 of 1: expected a name of 1 to 65535 bytes, found a length of {HUGE} (byte 24)",
    ),
    "truncated key": (
        gguf((pack("<Q", 100) + b"abc",), alignment=1, data=bytes(20)),
        "metadata entry 0 of 1: expected 100 more bytes, found 23 before the end of the file (byte 32)",
    ),
    "key not UTF-8": (
        gguf((entry(b"ab\xff", 0, b"\1"),)),
        "metadata entry 0 of 1: expected UTF-8, found invalid start byte (byte 34)",
    ),
    "key twice": (
        gguf((entry("a", 0, b"\1"), entry("a", 0, b"\1"))),
        "metadata key 'a': expected unique keys, found the key a second time (byte 38)",
    ),
    "unknown value type": (
        gguf((entry("a", 13, b"\1"),)),
        "metadata key 'a': expected a value type from 0 to 12, found 13 (byte 33)",
    ),
    "unknown element type": (
        gguf((entry("a", 9, array(99, 1, bytes(8))),)),
        "metadata key 'a': expected a value type from 0 to 12, found 99 (byte 37)",
    ),
    "truncated scalar": (
        gguf((entry("a.float64", 12, b""),), alignment=1),
        "metadata key 'a.float64': expected 8 more bytes, found 0 before the end of the file (byte 45)",
    ),
    "boolean of 2": (
        gguf((entry("a", 7, b"\2"),)),
        "metadata key 'a': expected a boolean of 0 or 1, found 2 (byte 37)",
    ),
    "boolean of 7 in an array": (
        gguf((entry("a", 9, array(7, 3, b"\0\1\7")),)),
        "metadata key 'a': expected a boolean of 0 or 1, found 7 (byte 51)",
    ),
    "truncated string": (
        gguf((entry("a", 8, pack("<Q", 999)),)),
        "metadata key 'a': expected 999 more bytes, found 19 before the end of the file (byte 45)",
    ),
    "overflowing string": (
        gguf((entry("a", 8, pack("<Q", 2**64 - 1)),)),
        f"metadata key 'a': expected {2**64 - 1} more bytes, found 19 before the end of the file (byte 45)",
    ),
    "absurd array": (
        gguf((entry("a", 9, array(10, 2**61 + 1, bytes(8))),)),
        f"metadata key 'a': expected a count that fits the 15 bytes behind it, found {2**61 + 1} (byte 41)",
    ),
    "absurd string array": (
        gguf((entry("a", 9, array(8, 5, text("x"))),)),
        "metadata key 'a': expected a count that fits the 15 bytes behind it, found 5 (byte 41)",
    ),
    "truncated string in an array": (
        gguf((entry("a", 9, array(8, 2, text("x") + pack("<Q", 50))),)),
        "metadata key 'a': expected 50 more bytes, found 30 before the end of the file (byte 66)",
    ),
    "absurd nested array": (
        gguf((entry("a", 9, array(9, 10**6, array(0, 1, b"x"))),)),
        "metadata key 'a': expected a count that fits the 15 bytes behind it, found 1000000 (byte 41)",
    ),
    "arrays too deep": (
        gguf((entry("a", 9, nested(9)),)),
        "metadata key 'a': expected arrays nested at most 8 deep, found 9 or more (byte 133)",
    ),
    "alignment of another type": (
        gguf((entry("general.alignment", 10, pack("<Q", 32)),)),
        "metadata key 'general.alignment': expected type uint32, found uint64 (byte 53)",
    ),
    **{
        f"alignment {value}": (
            gguf((entry("general.alignment", 4, pack("<I", value)),)),
            f"metadata key 'general.alignment': expected a power of two, at least 8, found {value} (byte 53)",
        )
        for value in (0, 4, 24, 2**32 - 1)
    },
    "empty tensor name": (
        gguf(tensors=(tensor("", (8,)),), data=bytes(32)),
        "tensor 0 of 1: expected a name of 1 to 65535 bytes, found a length of 0 (byte 24)",
    ),
    "tensor name not UTF-8": (
        gguf(tensors=(tensor(b"\xc3", (8,)),), data=bytes(32)),
        "tensor 0 of 1: expected UTF-8, found unexpected end of data (byte 32)",
    ),
    "tensor twice": (
        gguf(tensors=(tensor("t", (8,)), tensor("t", (8,), 0, 32)), data=bytes(64)),
        "tensor 't': expected unique names, found the name a second time (byte 57)",
    ),
    "no axes": (
        gguf(tensors=(tensor("t", ()),), data=bytes(32)),
        "tensor 't': expected 1 to 4 axes, found 0 (byte 33)",
    ),
    "five axes": (
        gguf(tensors=(tensor("t", (1, 1, 1, 1, 1)),), data=bytes(32)),
        "tensor 't': expected 1 to 4 axes, found 5 (byte 33)",
    ),
    "empty axis": (
        gguf(tensors=(tensor("t", (8, 0)),), data=bytes(32)),
        "tensor 't': expected no empty axis, found shape [8, 0] (byte 45)",
    ),
    "overflowing shape": (
        gguf(tensors=(tensor("t", (2**32, 2**32)),), data=bytes(32)),
        f"tensor 't': expected fewer than 2^63 values, found shape {[2**32, 2**32]} (byte 37)",
    ),
    "overflowing size": (
        gguf(tensors=(tensor("t", (2**61,)),), data=bytes(32)),
        f"tensor 't': expected fewer than 2^63 bytes, found shape {[2**61]} (byte 37)",
    ),
    "part of a block": (
        gguf(tensors=(tensor("t", (40,), 8),), data=bytes(64)),
        "tensor 't': expected rows of whole Q8_0 blocks of 32 values, found rows of 40 (byte 37)",
    ),
    "unaligned tensor": (
        gguf(tensors=(F32_AT[8],), data=bytes(64)),
        "tensor 't8': expected a data offset that is a multiple of 32, found 8 (byte 50)",
    ),
    "truncated description": (
        gguf(tensors=(tensor("t", (8, 8))[:-9],), alignment=1),
        "tensor 't': expected 4 more bytes, found 3 before the end of the file (byte 53)",
    ),
    "no data": (
        gguf(tensors=(F32_AT[0],)),
        "tensor 't0': expected 32 bytes of data, found 0 before the end of the file, "
        "as after a download that was not finished (byte 64)",
    ),
    "truncated data": (
        gguf(tensors=(F32_AT[0], F32_AT[32]), data=bytes(63)),
        "tensor 't32': expected 32 bytes of data, found 31 before the end of the file, "
        "as after a download that was not finished (byte 128)",
    ),
    "offset beyond the file": (
        gguf(tensors=(tensor("t", (8,), 0, 2**64 - 32),), data=bytes(32)),
        "tensor 't': expected 32 bytes of data, found 0 before the end of the file, as after a download that was not "
        f"finished (byte {2**64 - 1})",
    ),
    "overlap": (
        gguf(tensors=(tensor("long", (9,), 0, 32), F32_AT[64], F32_AT[0]), data=bytes(160)),
        "tensor 't64': expected data behind that of 'long', found data that overlaps it (byte 224)",
    ),
    "the same place": (
        gguf(tensors=(F32_AT[0], tensor("u", (8,))), data=bytes(64)),
        "tensor 'u': expected data behind that of 't0', found data that overlaps it (byte 96)",
    ),
    "unknown type at the same place": (
        gguf(tensors=(tensor("t", (8,), 77), tensor("u", (8,))), data=bytes(64)),
        "tensor 'u': expected data behind that of 't', found data that overlaps it (byte 96)",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(name: str) -> None:
    data, message = BAD_FILES[name]
    with pytest.raises(ModelLoadError) as caught:
        shard(data)
    assert str(caught.value) == f"m.gguf: {message}"


def test_every_truncation_is_noticed() -> None:
    whole = gguf(
        (entry("a", 8, text("bc")), entry("s", 9, array(8, 2, text("x") + text("yz"))), entry("n", 9, nested(3))),
        (tensor("t", (8,)), tensor("u", (32,), 8, 32)),
        bytes(32 + 34),
    )
    assert [info.name for info in shard(whole).tensors] == ["t", "u"]
    for size in range(len(whole)):
        with pytest.raises(ModelLoadError):
            shard(whole[:size])


def test_scalars_of_every_type() -> None:
    values: list[tuple[str, int, str, int | float | bool]] = [
        ("uint8", 0, "B", 255),
        ("int8", 1, "b", -128),
        ("uint16", 2, "H", 65535),
        ("int16", 3, "h", -32768),
        ("uint32", 4, "I", 2**32 - 1),
        ("int32", 5, "i", -(2**31)),
        ("float32", 6, "f", -1.5),
        ("bool", 7, "?", True),
        ("uint64", 10, "Q", 2**64 - 1),
        ("int64", 11, "q", -(2**63)),
        ("float64", 12, "d", 0.1),
    ]
    file = shard(gguf(tuple(entry(name, number, pack(f"<{code}", value)) for name, number, code, value in values)))
    assert file.keys == [name for name, *_ in values]
    for name, _, _, value in values:
        assert file.type_of(name) == name
        assert file.value(name) == value
        assert type(file.value(name)) is type(value)


def test_a_string_is_decoded_when_asked_for() -> None:
    file = shard(gguf((entry("bad", 8, text(b"ab\xff")), entry("good", 8, text("Größe")))))
    assert file.value("good") == "Größe"
    message = "m.gguf: metadata key 'bad': expected UTF-8, found invalid start byte (byte 49)"
    with pytest.raises(ModelLoadError, match=re.escape(message)):
        file.value("bad")
    with pytest.raises(KeyError):
        file.value("absent")


def test_string_array() -> None:
    words = [b"", b"one", b"\xff\0two", b"drei"]
    strings = shard(gguf((entry("words", 9, array(8, 4, b"".join(map(text, words)))),))).value("words")
    assert isinstance(strings, StringArray)
    assert len(strings) == 4
    assert list(strings) == words
    assert strings == words
    assert strings != words[:3]
    assert strings[-1] == b"drei"
    assert strings[1:3] == words[1:3]
    assert strings.text(1) == "one"
    assert repr(strings) == "<StringArray of 4 strings>"
    message = "m.gguf: metadata key 'words': expected UTF-8 in element 2, found invalid start byte (byte 80)"
    with pytest.raises(ModelLoadError, match=re.escape(message)):
        strings.text(2)
    for index in (4, -5):
        with pytest.raises(IndexError, match="is outside of 4 strings"):
            strings[index]


@pytest.mark.parametrize("padding", range(8))
def test_number_arrays_are_aligned_and_read_only(padding: int) -> None:
    values = np.arange(5, dtype=np.float64)
    pad = entry("p" * (padding + 1), 0, b"\0")
    array_read = shard(gguf((pad, entry("a", 9, array(12, 5, values.tobytes()))))).value("a")
    assert array_read.flags.aligned
    assert not array_read.flags.writeable
    assert array_read.dtype == np.float64
    assert np.array_equal(array_read, values)


def test_empty_arrays() -> None:
    file = shard(
        gguf((entry("n", 9, array(5, 0, b"")), entry("s", 9, array(8, 0, b"")), entry("a", 9, array(9, 0, b""))))
    )
    assert file.value("n").shape == (0,)
    assert file.value("n").dtype == np.int32
    assert len(file.value("s")) == 0
    assert file.value("a") == []


def test_nested_arrays() -> None:
    inner = array(8, 1, text("x")) + array(9, 1, array(0, 2, b"\1\2"))
    value = shard(gguf((entry("a", 9, array(9, 2, inner)), entry("deep", 9, nested(8))))).value("a")
    assert list(value[0]) == [b"x"]
    assert [element.tolist() for element in value[1]] == [[1, 2]]


def test_tensor_info() -> None:
    file = shard(gguf(tensors=(tensor("t", (64, 2, 3), 8, 32), F32_AT[0]), data=bytes(range(32)) + bytes(12 * 34)))
    info = file.tensors[0]
    assert (info.name, info.shape, info.n_dims, info.type_id, info.type_name) == ("t", (64, 2, 3), 3, 8, "Q8_0")
    assert (info.n_elements, info.n_bytes, info.offset, info.shard, info.is_known) == (384, 408, 160, 0, True)
    data = file.tensors[1].data
    assert data.tolist() == list(range(32))
    assert data.dtype == np.uint8
    assert not data.flags.writeable
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        data.flags.writeable = True
    assert repr(info) == "<TensorInfo 't' Q8_0 [64, 2, 3]>"


def test_an_unknown_tensor_type_stops_nothing_but_its_data() -> None:
    file = shard(gguf((entry("a", 0, b"\1"),), (tensor("t", (7,), 31), F32_AT[32]), bytes(64)))
    info = file.tensors[0]
    assert file.value("a") == 1
    assert (info.type_name, info.shape, info.is_known) == ("unknown(31)", (7,), False)
    message = "m.gguf: tensor 't': expected a known ggml type, found number 31"
    for attribute in ("data", "n_bytes"):
        with pytest.raises(ModelLoadError, match=re.escape(message)):
            getattr(info, attribute)
    assert file.tensors[1].n_bytes == 32


def test_everything_outlives_the_file() -> None:
    file = shard(gguf((entry("s", 9, array(8, 1, text("word"))),), (F32_AT[0],), bytes(range(32))))
    strings, info, data = file.value("s"), file.tensors[0], file.tensors[0].data
    del file
    gc.collect()
    assert strings[0] == b"word"
    del info
    gc.collect()
    assert data.tolist() == list(range(32))


@pytest.mark.parametrize("kind", [StringArray, TensorInfo])
def test_only_the_reader_makes_them(kind: type[StringArray] | type[TensorInfo]) -> None:
    with pytest.raises(TypeError, match="made by the GGUF reader only"):
        kind()
    empty = kind.__new__(kind)
    if kind is TensorInfo:
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(empty)
    else:
        assert pickle.loads(pickle.dumps(empty)) == []
    repr(empty)


def test_metadata_are_sent_as_their_bytes_alone() -> None:
    words = array(8, 2, text("x") + text("yz"))
    for version in (2, 3):
        whole = gguf(
            (entry("words", 9, words), entry("n", 9, nested(2))), (F32_AT[0],), bytes(range(32)), version=version
        )
        for sender in (shard(whole), shard(whole).detached()):
            sent = pickle.dumps(sender)
            assert bytes(range(32)) not in sent
            found = pickle.loads(sent)
            assert (found.path, found.index, found.version, found.keys) == ("m.gguf", 0, version, ["words", "n"])
            assert list(found.value("words")) == [b"x", b"yz"]
            assert found.tensors == []
    assert pickle.loads(pickle.dumps(shard(gguf()))).keys == []


def test_an_array_of_strings_is_sent_as_a_list() -> None:
    strings = shard(gguf((entry("s", 9, array(8, 2, text("x") + text("yz"))),))).value("s")
    for twin in (pickle.loads(pickle.dumps(strings)), copy.copy(strings), copy.deepcopy(strings)):
        assert twin == [b"x", b"yz"] == strings


def test_a_value_for_people_has_marks_where_it_is_not_utf8() -> None:
    file = shard(gguf((entry("author", 8, text(b"J\xfcrgen")), entry("words", 9, array(8, 1, text(b"\xff"))))))
    with pytest.raises(ModelLoadError, match="expected UTF-8"):
        file.value("author")
    assert file.value("author", strict=False) == "J\ufffdrgen"
    assert file.value("words", strict=False)[0] == b"\xff"


def test_the_table_of_types_agrees_with_the_gguf_package() -> None:
    gguf_package = pytest.importorskip("gguf")
    # The package still counts q8_1 with two float32 scales; ggml has had two float16 ones since 2023.
    expected = {
        int(number): (number.name, *sizes)
        for number, sizes in gguf_package.GGML_QUANT_SIZES.items()
        if number.name != "Q8_1"
    }
    assert {number: tuple(row) for number, row in GGML_TYPES.items() if number in expected} == expected
