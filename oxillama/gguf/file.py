"""Opens GGUF models: metadata and tensors of one file, or of all files of a split model. Not what they mean."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np

from oxillama._core.gguf.file import GGUFShard, TensorInfo
from oxillama._core.gguf.filemap import FileMap
from oxillama._core.gguf.ggml_types import GGML_TYPES, GgmlType
from oxillama._core.gguf.values import VALUE_TYPES, StringArray
from oxillama.errors import ModelLoadError
from oxillama.gguf.file_format import HEAD_BYTES, describe, describe_directory, hint_of_name
from oxillama.gguf.missing_file import missing_file
from oxillama.values import refused

__all__ = ["GGML_TYPES", "VALUE_TYPES", "GGUFFile", "GgmlType", "Metadata", "StringArray", "TensorInfo"]

MAGIC = b"GGUF"
# Of a text in a message.
SHOWN_CHARACTERS = 80
SHARD_NAME = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


class Metadata(Mapping[str, Any]):
    """The key-value pairs of a file, decoded when they are first asked for.

    Values are int, float, bool, str, read-only ndarray (numbers), StringArray (strings), or list (nested arrays).
    A string that is not UTF-8 has U+FFFD for what is wrong, where it is for people to read; one that decides what the
    model computes (the architecture, the tokenizer, the chat template) raises ModelLoadError when it is asked for.

    Copies and pickles carry the bytes of the pairs, not the file.
    """

    def __init__(self, shard: GGUFShard) -> None:
        self._shard = shard
        self._keys = dict.fromkeys(shard.keys)
        self._values: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            self._values[key] = self.read(key, strict=is_interpreted(key))
        return self._values[key]

    def read(self, key: str, *, strict: bool) -> Any:
        """The value, with or without ModelLoadError for a string that is not UTF-8; KeyError if there is none."""
        if key not in self._keys:
            raise KeyError(key)
        return self._shard.value(key, strict=strict)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def type_of(self, key: str) -> str:
        """The stored type of a value: "uint32", "string", "array[float32]", "array[array]" ..."""
        return self._shard.type_of(key)

    def raw(self, key: str) -> tuple[int, memoryview]:
        """A value's type number and its bytes as they stand in the file, for ``GGUFWriter.add_raw``."""
        return self._shard.raw_value(key)

    def detached(self) -> Metadata:
        """The same pairs over a copy of their bytes, which does not keep the file."""
        return Metadata(self._shard.detached())

    def __reduce__(self) -> tuple[Any, ...]:
        return Metadata, (self._shard,)

    def __repr__(self) -> str:
        return f"<Metadata of {len(self)} keys>"


class GGUFFile:
    """A GGUF model, opened and checked; a context manager.

    ``metadata`` maps keys to values, ``tensors`` maps names to TensorInfo in file order. Given the first file of a
    split model (``NAME-00001-of-0000N.gguf``), all of them are opened; metadata is the first one's.

    Arrays and tensor data are views of the mapped file (``mmap=False``: of a copy in memory). They stay valid after
    ``close()``, which only lets go of this object's own references.

    Raises OSError when a file cannot be opened, InvalidRequestError for a path that no file can have, and
    ModelLoadError, naming the place, what was expected and what was found, when it is not a sound little-endian GGUF
    file of version 2 or 3.
    """

    def __init__(self, path: str | os.PathLike[str], *, mmap: bool = True) -> None:
        self._path = checked_path(path)
        self._metadata: Metadata | None = None
        self._tensors: Mapping[str, TensorInfo] = MappingProxyType({})
        shards = open_shards(self._path, mmap=mmap)
        self._paths = tuple(shard.path for shard in shards)
        self._copied_bytes = 0 if mmap else sum(os.path.getsize(path) for path in self._paths)
        self._version = shards[0].version
        self._alignment = shards[0].alignment
        self._metadata = Metadata(shards[0])
        self._tensors = MappingProxyType(collect_tensors(shards))

    @property
    def path(self) -> str:
        """The path that was opened."""
        return self._path

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all files of the model; ``TensorInfo.shard`` counts in this order."""
        return self._paths

    @property
    def copied_bytes(self) -> int:
        """Bytes of memory that copies of the files take; 0 where they are mapped."""
        return self._copied_bytes

    @property
    def version(self) -> int:
        """GGUF version of the (first) file, 2 or 3."""
        return self._version

    @property
    def alignment(self) -> int:
        """Alignment of tensor data in the (first) file, in bytes."""
        return self._alignment

    @property
    def metadata(self) -> Metadata:
        """The key-value pairs of the (first) file; ValueError after ``close()``."""
        return self._open_metadata()

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by name; ValueError after ``close()``."""
        self._open_metadata()
        return self._tensors

    def tensor(self, name: str) -> TensorInfo:
        """The tensor of that name; ModelLoadError if the model has none."""
        try:
            return self.tensors[name]
        except KeyError:
            found = f"no such name among {len(self.tensors)}"
            raise ModelLoadError(f"{self._path}: expected a tensor {name!r}, found {found}") from None

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._metadata is None

    def close(self) -> None:
        """Let go of the file. Arrays and TensorInfo objects taken from it stay valid. May be called again."""
        self._metadata = None
        self._tensors = MappingProxyType({})

    def _open_metadata(self) -> Metadata:
        if self._metadata is None:
            raise ValueError(f"{self._path}: the GGUF file is closed")
        return self._metadata

    def __enter__(self) -> Self:
        self._open_metadata()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self._tensors)} tensors"
        return f"<GGUFFile {self._path!r}, {state}>"


def checked_path(path: object) -> str:
    """The path as text; InvalidRequestError for what no file system can be asked for."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise refused("path", "a str or an os.PathLike", path)
    text = os.fsdecode(path)
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        raise refused("path", "text that the file system can encode", text) from None
    if b"\0" in encoded:
        raise refused("path", "text without a NUL character", text)
    return text


def is_interpreted(key: str) -> bool:
    """Whether a text decides what is computed. All others are for people to read."""
    return key == "general.architecture" or key.startswith("tokenizer.")


def described(value: object) -> str:
    """A metadata value in the words of a message, however large it is."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.size} x {value.dtype}"
    if isinstance(value, StringArray):
        return f"an array of {len(value)} strings"
    if isinstance(value, list):
        return f"an array of {len(value)} arrays"
    text = repr(value[: SHOWN_CHARACTERS + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def open_shard(path: str, *, mmap: bool, index: int = 0) -> GGUFShard:
    """One file, checked; of a file that is something else, the ModelLoadError says what it is."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise missing_file(path) from None
    if stat.S_ISDIR(mode):
        raise ModelLoadError(f"{path}: expected a regular file, found {describe_directory(path)}")
    file = FileMap.open(path, use_mmap=mmap)
    head = bytes(memoryview(file)[:HEAD_BYTES])
    if not head.startswith(MAGIC):
        kind = describe(head, len(file))
        if kind is not None:
            what, remedy = kind
            raise ModelLoadError(f"{path}: expected a GGUF file, found {what}; {remedy}")
    try:
        return GGUFShard(file, path, index=index)
    except ModelLoadError as error:
        hint = hint_of_name(path)
        if not hint:
            raise
        raise ModelLoadError(f"{error}{hint}") from None


def open_shards(path: str, *, mmap: bool) -> list[GGUFShard]:
    """Open the file and, if it is the first of a split model, all others."""
    first = open_shard(path, mmap=mmap)
    n_shards = split_number(first, "split.count") or 1
    if n_shards == 1:
        return [first]
    folder, name = os.path.split(path)
    match = SHARD_NAME.match(name)
    if match is None or int(match["count"]) != n_shards:
        number = split_number(first, "split.no") or 0
        raise ModelLoadError(
            f"{path}: metadata key 'split.count': expected a name that ends in -00001-of-{n_shards:05d}.gguf, found "
            f"{name!r}, file {number + 1} of {n_shards} of a split model; name all of them as they were, and open the "
            "first"
        )
    names = [f"{match['stem']}-{number:05d}-of-{n_shards:05d}.gguf" for number in range(1, n_shards + 1)]
    if name != names[0]:
        raise ModelLoadError(
            f"{path}: expected the first file of the split model, {names[0]!r}, found {name!r}; open the first, which "
            "finds the others"
        )
    shards = [first]
    for index, shard_name in enumerate(names[1:], start=1):
        try:
            shards.append(open_shard(os.path.join(folder, shard_name), mmap=mmap, index=index))
        except FileNotFoundError:
            missing = f"expected {n_shards} files, found no {shard_name!r}"
            raise ModelLoadError(f"{path}: the split model is incomplete: {missing}") from None
    for shard in shards:
        check_split(shard, "split.no", shard.index)
        check_split(shard, "split.count", n_shards)
    n_tensors = sum(len(shard.tensors) for shard in shards)
    if "split.tensors.count" in first.keys:
        check_split(first, "split.tensors.count", n_tensors)
    return shards


def collect_tensors(shards: list[GGUFShard]) -> dict[str, TensorInfo]:
    """All tensors by name; ModelLoadError if two files have one of the same name."""
    tensors: dict[str, TensorInfo] = {}
    for shard in shards:
        for info in shard.tensors:
            if info.name in tensors:
                other = shards[tensors[info.name].shard].path
                raise ModelLoadError(
                    f"{shard.path}: tensor {info.name!r}: expected unique names, found it in {other} too"
                )
            tensors[info.name] = info
    return tensors


def split_number(shard: GGUFShard, key: str) -> int | None:
    """The value of one of the ``split.*`` keys, or None without the key."""
    if key not in shard.keys:
        return None
    value = shard.value(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ModelLoadError(f"{shard.path}: metadata key {key!r}: expected an integer, found {shard.type_of(key)}")
    return value


def check_split(shard: GGUFShard, key: str, expected: int) -> None:
    found = split_number(shard, key)
    if found != expected:
        raise ModelLoadError(f"{shard.path}: metadata key {key!r}: expected {expected}, found {found}")
