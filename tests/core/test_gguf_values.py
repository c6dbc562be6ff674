"""Values of a GGUF file: every type comes back as it was written, and strings stay in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama._core.gguf.values import VALUE_TYPES, StringArray
from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("values")


def read_back(folder: Path, value: Any) -> Any:
    path = folder / "value.gguf"
    with GGUFWriter(path) as writer:
        writer.add("general.architecture", "none")
        writer.add("value", value)
    return GGUFFile(path).metadata["value"]


SCALARS = st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.text(st.characters(exclude_categories=["Cs"]))


@given(value=SCALARS)
def test_scalars(folder: Path, value: Any) -> None:
    found = read_back(folder, value)
    assert found == value
    assert isinstance(found, bool) == isinstance(value, bool)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), min_size=1, max_size=20))
def test_strings_of_an_array_are_bytes_in_their_order(folder: Path, texts: list[str]) -> None:
    found = read_back(folder, texts)
    assert isinstance(found, StringArray)
    assert [one.decode() for one in found] == texts
    assert found[-1] == texts[-1].encode()
    assert found[1:] == [text.encode() for text in texts[1:]]
    assert found.text(0) == texts[0]
    assert len(found) == len(texts)
    with pytest.raises(IndexError):
        found[len(texts)]


def test_string_arrays_compare_by_what_they_say_and_are_made_by_files_only(folder: Path) -> None:
    one, same, other = (read_back(folder, texts) for texts in (["a", "b"], ["a", "b"], ["a", "c"]))
    assert one == same
    assert one != other
    with pytest.raises(TypeError):
        StringArray()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_of_an_array_are_an_array(folder: Path, dtype: type) -> None:
    values: Any = np.arange(-3, 4).astype(dtype)
    found = read_back(folder, values.tolist() if dtype is np.int32 else [float(value) for value in values])
    assert np.array_equal(np.asarray(found), values)


def test_the_types_are_those_of_the_specification() -> None:
    assert len(VALUE_TYPES) == 13
    assert [VALUE_TYPES.index(name) for name in ("uint8", "float32", "bool", "string", "array", "float64")] == [
        0,
        6,
        7,
        8,
        9,
        12,
    ]
