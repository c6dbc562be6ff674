from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama.gguf import GGML_TYPES, GGUFFile, StringArray
from oxillama.gguf_writer import GGUFWriter

RANGES = {
    "uint8": (0, 2**8 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "uint16": (0, 2**16 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.integers(low, high) for name, (low, high) in RANGES.items()},
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "string": st.text(),
}
typed_scalars = st.sampled_from(sorted(SCALARS)).flatmap(lambda name: st.tuples(st.just(name), SCALARS[name]))

# The reader itself acts on these, and Hypothesis does guess them: it tries strings that it finds in the source.
keys = st.text(min_size=1).filter(lambda key: key != "general.alignment" and not key.startswith("split."))


def arrays_of(name: str) -> st.SearchStrategy[tuple[str, Any]]:
    elements = st.binary() if name == "string" else SCALARS[name]
    return st.tuples(st.just(f"array[{name}]"), st.lists(elements, max_size=9))


typed_arrays = st.recursive(
    st.sampled_from(sorted(SCALARS)).flatmap(arrays_of),
    lambda inner: inner.flatmap(
        lambda typed: st.tuples(st.just(f"array[{typed[0]}]"), st.lists(st.just(typed[1]), max_size=3))
    ),
    max_leaves=4,
)


def plain(value: Any) -> Any:
    """What the reader gives, as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (StringArray, list)):
        return [plain(element) for element in value]
    return value


@pytest.mark.parametrize("mmap", [True, False])
@given(
    values=st.dictionaries(keys, typed_scalars | typed_arrays),
    version=st.sampled_from([2, 3]),
    alignment=st.sampled_from([None, 8, 32, 4096]),
)
@settings(deadline=None, max_examples=150)
def test_metadata_survives(mmap: bool, values: dict[str, tuple[str, Any]], version: int, alignment: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.gguf")
        with GGUFWriter(path, version=version, alignment=alignment) as writer:
            for key, (value_type, value) in values.items():
                writer.add(key, value, value_type)
        with GGUFFile(path, mmap=mmap) as file:
            metadata = file.metadata
            assert file.version == version
            assert [key for key in metadata if key != "general.alignment"] == list(values)
            assert metadata.get("general.alignment") == alignment
            for key, (value_type, value) in values.items():
                outer = "array[array]" if value_type.startswith("array[array") else value_type
                assert metadata.type_of(key) == outer
                assert plain(metadata[key]) == value
                assert type(plain(metadata[key])) is type(value)


@given(data=st.data(), alignment=st.sampled_from([8, 32, 256]))
@settings(deadline=None, max_examples=60)
def test_tensors_survive(data: st.DataObject, alignment: int) -> None:
    shapes = st.lists(st.integers(1, 3), min_size=1, max_size=4)
    written = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.gguf")
        with GGUFWriter(path, alignment=alignment) as writer:
            for name in data.draw(st.lists(st.text(min_size=1), unique=True, max_size=5)):
                row = data.draw(st.sampled_from(sorted(GGML_TYPES.values())))
                axes = data.draw(shapes)
                axes[0] *= row.block_size
                raw = os.urandom(int(np.prod(axes)) // row.block_size * row.block_bytes)
                written[name] = (tuple(axes), row.name, raw)
                if data.draw(st.booleans()):
                    writer.add_tensor(name, raw, shape=axes, type_name=row.name)
                else:
                    chunks = [raw[i : i + 5] for i in range(0, len(raw), 5)]
                    writer.add_tensor(name, partial(iter, chunks), shape=axes, type_name=row.name)
        with GGUFFile(path) as file:
            read = {name: (info.shape, info.type_name, bytes(info.data)) for name, info in file.tensors.items()}
            assert read == written
            assert list(file.tensors) == list(written)
            assert all(info.offset % alignment == 0 for info in file.tensors.values())


@pytest.mark.parametrize(
    ("value", "value_type"),
    [
        (1, "uint32"),
        (-1, "int32"),
        (2**32, "int64"),
        (-(2**40), "int64"),
        (2**63, "uint64"),
        (0.5, "float32"),
        (True, "bool"),
        ("x", "string"),
        (b"x", "string"),
        (np.float64(0.5), "float64"),
        (np.uint8(3), "uint8"),
        ([1, 2], "array[int32]"),
        ([1, 2**31], "array[int64]"),
        ([1, 0.5], "array[float32]"),
        ([True], "array[bool]"),
        (["x", b"y"], "array[string]"),
        (np.arange(3, dtype=np.int16), "array[int16]"),
        ([[1], ["x"]], "array[array]"),
    ],
)
def test_types_are_inferred(tmp_path: Path, value: Any, value_type: str) -> None:
    with GGUFWriter(tmp_path / "a.gguf") as writer:
        writer.add("key", value)
    with GGUFFile(tmp_path / "a.gguf") as file:
        assert file.metadata.type_of("key") == value_type


@pytest.mark.parametrize(
    ("value", "value_type", "message"),
    [
        (256, "uint8", "expected values of type uint8"),
        (-1, "uint32", "expected values of type uint32"),
        (1e300, "float32", "expected values of type float32"),
        (1, "bool", "expected bool, found 1"),
        (True, "uint8", "expected uint8, found True"),
        (0.5, "int32", "expected values of type int32"),
        ("x", "int32", "expected values of type int32"),
        (1, "string", "expected str or bytes, found int"),
        ("x", "array[string]", "expected a list or an array, found str"),
        ([1], "array[float16]", "expected an element type out of"),
        ([1], "array", "expected one of"),
        ([1], "array[uint8[x]]", "expected an element type out of"),
        ([1], "array[array]", "expected arrays inside"),
        ([], None, "an empty list has no element type"),
        ([1, "x"], None, "expected elements of one type, found string, uint32"),
        (2**64, None, "expected integers of at most 64 bits"),
        (None, None, "expected a number, a string, a list or an array, found NoneType"),
        (np.zeros((2, 2), np.float32), None, "expected an array of one axis"),
        (np.zeros(2, np.complex64), None, "expected an array of a type that GGUF has, found complex64"),
    ],
)
def test_bad_values_are_refused(tmp_path: Path, value: Any, value_type: str | None, message: str) -> None:
    writer = GGUFWriter(tmp_path / "a.gguf")
    with pytest.raises(ValueError, match=message) as caught:
        writer.add("some.key", value, value_type)
    assert "'some.key'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": b""}, "raw data needs shape and type_name"),
        ({"data": bytes(4), "shape": (1,)}, "expected both shape and type_name"),
        ({"data": bytes(4), "shape": (1,), "type_name": "Q9"}, "found 'Q9'"),
        ({"data": bytes(4), "shape": (2,), "type_name": "F32"}, "expected 8 bytes"),
        ({"data": bytes(4), "shape": (), "type_name": "F32"}, "expected 1 to 4 axes"),
        ({"data": bytes(4), "shape": (1, 0), "type_name": "F32"}, "none of them empty"),
        ({"data": bytes(4), "shape": (1, 1, 1, 1, 1), "type_name": "F32"}, "expected 1 to 4 axes"),
        ({"data": bytes(34), "shape": (33,), "type_name": "Q8_0"}, "rows of whole Q8_0 blocks of 32 values"),
        ({"data": np.zeros(3, np.complex64)}, "raw data needs"),
    ],
)
def test_bad_tensors_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    writer = GGUFWriter(tmp_path / "a.gguf")
    with pytest.raises(ValueError, match=message):
        writer.add_tensor("t", **options)


def test_names_are_unique_and_not_empty(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "a.gguf")
    writer.add("key", 1)
    writer.add_tensor("t", np.zeros(1, np.float32))
    calls: list[Callable[[], None]] = [
        lambda: writer.add("key", 1),
        lambda: writer.add("", 1),
        lambda: writer.add("general.alignment", 64),
        lambda: writer.add_tensor("t", np.zeros(1, np.float32)),
        lambda: writer.add_tensor("x" * 65536, np.zeros(1, np.float32)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"second time|of 1 to 65535 bytes|give alignment"):
            call()


@pytest.mark.parametrize("alignment", [0, 4, 24, 2**32])
def test_bad_alignment_is_refused(tmp_path: Path, alignment: int) -> None:
    with pytest.raises(ValueError, match="expected a power of two"):
        GGUFWriter(tmp_path / "a.gguf", alignment=alignment)


def test_raw_values_are_copied_as_they_are(tmp_path: Path) -> None:
    with GGUFWriter(tmp_path / "a.gguf") as writer:
        writer.add("nested", [["a"], [1, 2]])
        writer.add("scalar", 7, "uint16")
    with GGUFFile(tmp_path / "a.gguf") as source, GGUFWriter(tmp_path / "b.gguf") as writer:
        for key in source.metadata:
            writer.add_raw(key, *source.metadata.raw(key))
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize("chunks", [[b"12345"], [b"123", b"4", b""], [b"123", b"45", b"6"]])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, chunks: list[bytes]) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"old")

    def stream() -> Iterator[bytes]:
        yield from chunks
        if len(b"".join(chunks)) == 4:
            raise RuntimeError("the source failed")

    writer = GGUFWriter(path)
    writer.add_tensor("t", stream, shape=(1,), type_name="F32")
    with pytest.raises((ValueError, RuntimeError), match=r"expected 4 bytes of data|the source failed"):
        writer.write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_in_the_block_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), GGUFWriter(tmp_path / "a.gguf"):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_the_gguf_package_reads_it(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    with GGUFWriter(tmp_path / "a.gguf", alignment=64) as writer:
        writer.add("general.architecture", "llama")
        writer.add("words", ["a", "bc"])
        writer.add("numbers", [1.5, 2.5])
        writer.add_tensor("w", weights)
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    assert reader.fields["words"].contents() == ["a", "bc"]
    assert reader.fields["numbers"].contents() == [1.5, 2.5]
    assert reader.tensors[0].name == "w"
    assert np.array_equal(reader.tensors[0].data, weights)
