"""Reads one GGUF file: checks all of it, decodes metadata when asked, leaves arrays and tensors in place.

Knows nothing of what keys or tensors mean, nor of models split into several files. Format: the GGUF specification in
ggml's ``docs/gguf.md`` (versions 2 and 3, little endian).
"""

import numpy as np

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, UINT64_MAX, uint32_t, uint64_t

from oxillama._core.gguf.filemap cimport FileMap
from oxillama._core.gguf.ggml_types cimport GgmlTypeInfo, ggml_type_info
from oxillama._core.gguf.scan cimport (
    GGUF_ARRAY,
    GGUF_UINT32,
    read_u32,
    scan_bytes,
    scan_count,
    scan_u32,
    scan_u64,
    scan_value,
)
from oxillama._core.gguf.values cimport ValueReader

from oxillama._core.gguf.values import VALUE_TYPES
from oxillama.errors import ModelLoadError

cdef enum:
    HEADER_BYTES = 24       # magic, version, number of tensors, number of metadata entries
    DEFAULT_ALIGNMENT = 32
    MAX_ENTRIES = 1048576   # keys, or tensors; real files have tens of keys and thousands of tensors at most


cdef class TensorInfo:
    """One tensor of a file: where its bytes are and what they mean. Keeps the file's memory alive.

    ``shape`` is in GGUF's order, the fastest-moving axis first: a matrix that maps n inputs to m outputs is (n, m),
    m rows of n values. ``offset`` is the first byte of the data, counted from the start of file number ``shard``.
    A type number that this version does not know gives ``type_name`` "unknown(NN)" and ``is_known`` False; its size
    is unknown, so ``n_bytes`` and ``data`` raise ModelLoadError.
    """

    def __init__(self):
        raise TypeError("a TensorInfo is made by the GGUF reader only")

    @property
    def shape(self):
        """Values along each axis, fastest first."""
        return tuple([self.ne[axis] for axis in range(self.n_dims)])

    @property
    def n_elements(self):
        """Number of values."""
        return self.ne[0] * self.ne[1] * self.ne[2] * self.ne[3]

    @property
    def type_name(self):
        """Name of the ggml type, such as "Q4_K", or "unknown(NN)"."""
        cdef const GgmlTypeInfo* row = ggml_type_info(self.type_id)
        return f"unknown({self.type_id})" if row == NULL else (<const char*> row.name).decode()

    @property
    def n_bytes(self):
        """Bytes of data; ModelLoadError if the type is unknown."""
        check_known(self)
        return self.byte_count

    @property
    def data(self):
        """The raw bytes as a read-only uint8 array [n_bytes], not copied; ModelLoadError if the type is unknown."""
        check_known(self)
        return np.frombuffer(self.file, np.uint8, self.byte_count, self.offset)

    def __repr__(self):
        return f"<TensorInfo {self.name!r} {self.type_name} {list(self.shape)}>"


cdef class GGUFShard:
    """One checked file. Scalars, strings and arrays are decoded by ``value``; tensors stand in ``tensors``."""

    def __init__(self, FileMap file not None, str path not None, *, uint32_t index=0):
        """Check the whole file but the tensors' values.

        ``path`` is for messages, ``index`` the number of the file in a split model.
        Raises ModelLoadError naming the place in the file, what was expected and what was found.
        """
        self.file = file
        self.path = path
        self.index = index
        self.entries = {}
        self.tensors = []
        cdef ShardParser parser = ShardParser(file, path, 0)
        parser.shard = self
        parser.parse()

    @property
    def keys(self):
        """The metadata keys, in file order."""
        return list(self.entries)

    def value(self, str key not None, *, bint strict=True):
        """Decode one value: int, float, bool, str, ndarray (read-only), StringArray, or list (nested arrays).

        KeyError if there is no such key. A string that is not UTF-8 is a ModelLoadError, or, if not ``strict``, has
        U+FFFD for what is wrong in it.
        """
        value_type, first, _, _ = self.entries[key]
        cdef ValueReader reader = ValueReader(self.file, self.path, first)
        reader.replace = not strict
        return reader.decode(value_type, f"metadata key {key!r}")

    def type_of(self, str key not None):
        """The stored type of a value: "uint32", "string", "array[string]", "array[array]" ..."""
        return self.entries[key][3]

    def detached(self):
        """The metadata alone, over a copy of their bytes, for whoever outlives a file that is large or may change."""
        cdef GGUFShard shard = GGUFShard.__new__(GGUFShard)
        shard.file = FileMap.of_bytes(self.head())
        shard.path, shard.index, shard.entries, shard.tensors = self.path, self.index, self.entries, []
        shard.version, shard.alignment = self.version, self.alignment
        return shard

    def __reduce__(self):
        # As a file of its own, without tensors, which is checked anew where it arrives.
        head = bytes(self.head())
        return restored, (head[:8] + bytes(8) + head[16:], self.path, self.index)

    cdef object head(self):
        return memoryview(self.file)[:max([entry[2] for entry in self.entries.values()], default=HEADER_BYTES)]

    def raw_value(self, str key not None):
        """The value's type number and its bytes as they stand in the file (a read-only view), for copying."""
        value_type, first, end, _ = self.entries[key]
        return value_type, memoryview(self.file)[first:end]


cdef class ShardParser(ValueReader):
    """Fills a GGUFShard, checking everything on the way."""

    cdef GGUFShard shard

    cdef int parse(self) except -1:
        self.read_magic()
        # At least: name length, name, number of axes, one axis, type, offset. And: key length, key, type, value.
        cdef uint64_t n_tensors = scan_count(&self.scan, 8 + 1 + 4 + 8 + 4 + 8)
        self.check("number of tensors")
        cdef uint64_t n_entries = scan_count(&self.scan, 8 + 1 + 4 + 1)
        self.check("number of metadata entries")
        self.check_limit("number of tensors", n_tensors, 8)
        self.check_limit("number of metadata entries", n_entries, 16)
        self.read_entries(n_entries)
        self.read_alignment()
        self.read_tensors(n_tensors)
        return 0

    cdef int check_limit(self, str what, uint64_t count, uint64_t at) except -1:
        if count > MAX_ENTRIES:
            raise self.error(what, at, f"at most {MAX_ENTRIES}", count)
        return 0

    cdef int read_magic(self) except -1:
        magic = PyBytes_FromStringAndSize(<const char*> self.scan.base, min(<uint64_t> 16, self.scan.size))
        if not magic.startswith(b"GGUF"):
            raise self.error("header", 0, "the magic b'GGUF'", magic)
        scan_bytes(&self.scan, 4)
        self.shard.version = scan_u32(&self.scan)
        self.check("header")
        if self.shard.version not in (2, 3):
            if self.shard.version & 0xFFFF == 0 and self.shard.version != 0:
                remedy = "gguf_convert_endian.py of the gguf package turns it round"
                found = f"a big-endian one, which is not supported; {remedy}"
                raise self.error("header", 4, "a little-endian file", found)
            remedy = "; convert the model anew" if self.shard.version < 2 else ""
            raise self.error("header", 4, "GGUF version 2 or 3", f"version {self.shard.version}{remedy}")
        return 0

    cdef int read_entries(self, uint64_t n_entries) except -1:
        cdef uint64_t i, first, at
        cdef uint32_t value_type
        for i in range(n_entries):
            at = self.scan.pos
            key = self.read_name(f"metadata entry {i} of {n_entries}")
            if key in self.shard.entries:
                raise self.error(f"metadata key {key!r}", at, "unique keys", "the key a second time")
            place = f"metadata key {key!r}"
            value_type = scan_u32(&self.scan)
            first = self.scan.pos
            scan_value(&self.scan, value_type, 0)
            self.check(place)
            type_name = VALUE_TYPES[value_type]
            if value_type == GGUF_ARRAY:
                type_name = f"array[{VALUE_TYPES[read_u32(self.file.base + first)]}]"
            self.shard.entries[key] = (value_type, first, self.scan.pos, type_name)
        return 0

    cdef int read_alignment(self) except -1:
        self.shard.alignment = DEFAULT_ALIGNMENT
        entry = self.shard.entries.get("general.alignment")
        if entry is None:
            return 0
        value_type, first, _, _ = entry
        place = "metadata key 'general.alignment'"
        if value_type != GGUF_UINT32:
            raise self.error(place, first, "type uint32", VALUE_TYPES[value_type])
        self.shard.alignment = read_u32(self.file.base + <uint64_t> first)
        if self.shard.alignment < 8 or self.shard.alignment & (self.shard.alignment - 1):
            raise self.error(place, first, "a power of two, at least 8", self.shard.alignment)
        return 0

    cdef int read_tensors(self, uint64_t n_tensors) except -1:
        # Tensors do not overlap and start at aligned places, so more of them than this cannot be sound; it bounds the
        # memory for their descriptions by the size of the file.
        cdef uint64_t most = (self.scan.size - self.scan.pos) // self.shard.alignment + 1
        if n_tensors > most:
            raise self.error("number of tensors", 8, f"at most {most}, for a file of {self.scan.size} bytes", n_tensors)
        cdef TensorInfo info
        cdef uint64_t i, at
        names = set()
        for i in range(n_tensors):
            at = self.scan.pos
            info = self.read_tensor(f"tensor {i} of {n_tensors}")
            if info.name in names:
                raise self.error(f"tensor {info.name!r}", at, "unique names", "the name a second time")
            names.add(info.name)
            self.shard.tensors.append(info)
        if n_tensors:
            self.place_tensors((self.scan.pos + self.shard.alignment - 1) & ~(self.shard.alignment - 1))
        return 0

    # Leaves in `offset` what the file says, which counts from the start of the data section.
    cdef TensorInfo read_tensor(self, str place):
        cdef TensorInfo info = TensorInfo.__new__(TensorInfo)
        cdef uint64_t at
        cdef uint32_t axis
        info.file = self.file
        info.path = self.path
        info.shard = self.shard.index
        info.name = self.read_name(place)
        place = f"tensor {info.name!r}"
        at = self.scan.pos
        info.n_dims = scan_u32(&self.scan)
        self.check(place)
        if not 1 <= info.n_dims <= GGUF_MAX_DIMS:
            raise self.error(place, at, f"1 to {GGUF_MAX_DIMS} axes", info.n_dims)
        for axis in range(GGUF_MAX_DIMS):
            info.ne[axis] = 1
        at = self.scan.pos
        for axis in range(info.n_dims):
            info.ne[axis] = scan_u64(&self.scan)
        info.type_id = scan_u32(&self.scan)
        info.offset = scan_u64(&self.scan)
        self.check(place)
        self.measure(info, place, at)
        if info.offset & (self.shard.alignment - 1):
            expected = f"a data offset that is a multiple of {self.shard.alignment}"
            raise self.error(place, self.scan.pos - 8, expected, info.offset)
        return info

    # `at` is where the axes stand.
    cdef int measure(self, TensorInfo info, str place, uint64_t at) except -1:
        cdef const GgmlTypeInfo* row = ggml_type_info(info.type_id)
        cdef uint64_t n_elements = 1
        cdef uint64_t n_blocks, n_rows
        cdef uint32_t axis
        for axis in range(info.n_dims):
            if info.ne[axis] == 0:
                raise self.error(place, at + 8 * axis, "no empty axis", f"shape {list(info.shape)}")
            if info.ne[axis] > <uint64_t> INT64_MAX // n_elements:
                raise self.error(place, at, "fewer than 2^63 values", f"shape {list(info.shape)}")
            n_elements *= info.ne[axis]
        info.is_known = row != NULL
        if row == NULL:
            return 0
        if info.ne[0] % row.block_size:
            raise self.error(
                place, at, f"rows of whole {info.type_name} blocks of {row.block_size} values", f"rows of {info.ne[0]}"
            )
        n_rows = n_elements // info.ne[0]
        n_blocks = n_elements // row.block_size
        if n_blocks > <uint64_t> INT64_MAX // row.block_bytes:
            raise self.error(place, at, "fewer than 2^63 bytes", f"shape {list(info.shape)}")
        info.byte_count = n_blocks * row.block_bytes
        info.row_bytes = info.byte_count // n_rows
        return 0

    # Turns offsets into addresses, once it is known that every tensor lies inside the file and on no other tensor.
    cdef int place_tensors(self, uint64_t data_start) except -1:
        cdef TensorInfo info
        cdef TensorInfo previous = None
        cdef uint64_t room, needed
        cdef uint64_t size = self.scan.size
        for info in sorted(self.shard.tensors, key=file_offset):
            place = f"tensor {info.name!r}"
            needed = max(<uint64_t> 1, info.byte_count)
            room = size - data_start if size > data_start else 0
            if info.offset > room or needed > room - info.offset:
                raise self.error(
                    place,
                    min(data_start, UINT64_MAX - info.offset) + info.offset,
                    f"{needed} bytes of data",
                    f"{room - info.offset if room > info.offset else 0} before the end of the file, "
                    "as after a download that was not finished",
                )
            info.offset += data_start
            info.address = self.file.base + info.offset
            if previous is not None and info.offset - previous.offset < max(<uint64_t> 1, previous.byte_count):
                raise self.error(place, info.offset, f"data behind that of {previous.name!r}", "data that overlaps it")
            previous = info
        return 0


cdef int check_known(TensorInfo info) except -1:
    if not info.is_known:
        raise ModelLoadError(
            f"{info.path}: tensor {info.name!r}: expected a known ggml type, found number {info.type_id}"
        )
    return 0


def file_offset(TensorInfo info):
    return info.offset


def restored(bytes head not None, str path not None, uint32_t index):
    """The metadata that GGUFShard.__reduce__ has sent."""
    return GGUFShard(FileMap.of_bytes(head), path, index=index)
