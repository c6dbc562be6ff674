"""Packs weight matrices from the file's own blocks into the layout that the chosen kernels read.

All matrices of a model lie in one stretch of memory, in the order in which a step reads them, and the team that will
walk them packs them: each takes the next few megabytes as long as there are any, touches the new memory itself, and
lets go of what it has read. So peak memory is the weights once, whatever the size of a single tensor."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc, realloc

from collections.abc import Callable

import numpy as np

from oxillama._core.network.executor cimport ox_default_fp_mode, ox_restore_fp_mode
from oxillama._core.gguf.ggml_types cimport GGML_BF16
from oxillama._core.network.kernels cimport OX_GROUP_ROWS, active_kernels, ox_kernels
from oxillama._core.memory cimport Pages, ox_pages, pages_settle, pages_touch, release_pages
from oxillama._core.network.team cimport Team, ox_team, ox_team_share

cdef extern from "float_rows.h" nogil:
    void ox_f16_rows_to_bf16(const uint16_t *source, size_t n, uint16_t *out) noexcept

cdef enum:
    # What a thread takes at a time: a few huge pages, so that two threads seldom meet in one of them.
    PIECE_BYTES = 4 << 20
    # How much of a source is let go at a time, about.
    CONSUMED_BYTES = 1 << 19
    # Between two reports of progress, which is also where loading can be ended.
    BATCH_BYTES = 64 << 20


ctypedef struct Pack:
    # Pieces that are packed together, as the team is called for them.
    const ox_kernels *kernels
    const Piece *pieces
    ox_pages *pages
    bint consume
    unsigned char *rounded  # [places][rounded_bytes]: a group of float16 rows as bfloat16
    size_t rounded_bytes


def packed_bytes(int type_id, Py_ssize_t rows, Py_ssize_t k):
    """Bytes a matrix takes when packed, or 0 if the active kernels cannot multiply this type."""
    cdef size_t group_bytes = active_kernels().packed_group_bytes(type_id, <int32_t>k)
    return group_bytes * ((rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS)


cdef class PackedMatrix:
    """`rows` x `k` values of a ggml type, packed for the active kernels. Made by a WeightPacker."""

    @property
    def shape(self):
        return self.desc.rows, self.desc.k

    def row(self, int index):
        """The float32 values of one row, exactly as the format defines them."""
        if not 0 <= index < self.desc.rows:
            raise IndexError(f"row {index} of a matrix of {self.desc.rows} rows")
        cdef float[::1] out = np.empty(self.desc.k, dtype=np.float32)
        active_kernels().unpack_row(&self.desc, index, &out[0])
        return np.asarray(out)


cdef void pack_piece(void *context, int32_t item, int32_t place) noexcept nogil:
    cdef const Pack *pack = <const Pack *>context
    cdef const Piece *piece = &pack.pieces[item]
    # The caller is one of those who pack, with whatever floating-point mode a host library left in its thread.
    cdef uint64_t fp_mode = ox_default_fp_mode()
    cdef int32_t row = 0, kept = 0  # the first row that has not been let go
    cdef int32_t rows
    cdef const unsigned char *source
    cdef unsigned char *rounded = pack.rounded + <size_t>place * pack.rounded_bytes
    pages_touch(pack.pages, piece.out, (piece.rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS * piece.group_bytes)
    while row < piece.rows:
        rows = min(OX_GROUP_ROWS, piece.rows - row)
        source = piece.source + <size_t>row * piece.row_bytes
        if piece.rounds:
            ox_f16_rows_to_bf16(<const uint16_t *>source, <size_t>rows * piece.k, <uint16_t *>rounded)
            source = rounded
        pack.kernels.pack_group(piece.type, piece.k, rows, source, piece.row_bytes,
                                piece.out + <size_t>(row // OX_GROUP_ROWS) * piece.group_bytes)
        row += rows
        if pack.consume and (row == piece.rows or <size_t>(row - kept) * piece.row_bytes >= CONSUMED_BYTES):
            release_pages(piece.source + <size_t>kept * piece.row_bytes, <size_t>(row - kept) * piece.row_bytes)
            kept = row
    ox_restore_fp_mode(fp_mode)


cdef int pack_all(const Piece *pieces, size_t n_pieces, Pack *work, ox_team *packers, advance) except -1:
    cdef size_t first = 0, last, n_bytes
    while first < n_pieces:
        n_bytes = 0
        last = first
        while last < n_pieces and n_bytes < BATCH_BYTES:
            n_bytes += <size_t>pieces[last].rows * pieces[last].row_bytes
            last += 1
        work.pieces = pieces + first
        with nogil:
            ox_team_share(packers, <int32_t>(last - first), pack_piece, work)
        first = last
        advance(n_bytes)
    return 0


cdef class WeightPacker:
    """Room for `n_bytes` of packed matrices, which are added first and packed together afterwards.

    consume: the bytes that matrices are made of are not needed any more. Those of a file mapping are read again when
    they are touched; those of other memory are lost."""

    def __cinit__(self, size_t n_bytes, *, bint consume=False):
        self._pages = Pages(n_bytes)
        self._consume = consume
        self._sources = []

    def __dealloc__(self):
        free(self._pieces)

    def add(self, const unsigned char[::1] raw not None, int type_id, Py_ssize_t rows, Py_ssize_t k, *,
            const float[::1] bias=None, float scale=1.0, bint rounds=False):
        """A PackedMatrix whose values are there after `pack()`.

        raw: the tensor's bytes as the file has them, row after row; bias: float32 [rows] or None. Both are kept, not
        copied. scale: of the products, before the bias is added. rounds: the bytes are F16, type_id is BF16: values are
        rounded to the nearest. Raises ValueError for sizes that do not fit each
        other, MemoryError when the room is used up."""
        return self.add_stack([raw], type_id, rows, k, bias=bias, scale=scale, rounds=rounds)

    def add_stack(self, list raws not None, int type_id, Py_ssize_t rows, Py_ssize_t k, *, const float[::1] bias=None,
                  float scale=1.0, bint rounds=False):
        """The same for several matrices of one size, which a mixture of experts chooses from: one after another, each
        beginning with a group of its own. raws: their bytes; bias: float32 [rows] of each, one after another, or
        None."""
        cdef size_t group_bytes = active_kernels().packed_group_bytes(type_id, <int32_t>k)
        cdef Py_ssize_t n_groups = (rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS
        cdef Py_ssize_t n_all = n_groups * len(raws)
        cdef PackedMatrix matrix = PackedMatrix.__new__(PackedMatrix)
        cdef const unsigned char[::1] raw
        cdef Py_ssize_t i
        if not 0 < rows < 2**31 or not 0 < k < 2**31 or n_all >= 2**31:
            raise ValueError(f"a matrix of {rows} x {k} cannot be packed")
        if group_bytes == 0:
            raise ValueError(f"ggml type {type_id} cannot be packed")
        for raw in raws:
            if raw.shape[0] == 0 or raw.shape[0] % rows:
                raise ValueError(f"{raw.shape[0]} bytes are not {rows} rows")
            if rounds and (type_id != GGML_BF16 or raw.shape[0] != 2 * rows * k):
                raise ValueError(f"{raw.shape[0]} bytes are not {rows} x {k} float16 values to be rounded to BF16")
        if bias is not None and bias.shape[0] != rows * len(raws):
            raise ValueError(f"bias has {bias.shape[0]} values, expected {rows * len(raws)}")
        if n_all * group_bytes > self._pages.c.size - self._used:
            left = self._pages.c.size - self._used
            raise MemoryError(f"{n_all * group_bytes} bytes do not fit into the {left} left")
        matrix._pages = self._pages
        matrix._bias = bias
        matrix.desc.type = type_id
        matrix.desc.rows = <int32_t>rows
        matrix.desc.k = <int32_t>k
        matrix.desc.group_bytes = group_bytes
        matrix.desc.data = self._pages.c.data + self._used
        matrix.desc.scale = scale
        matrix.desc.bias = &bias[0] if bias is not None else NULL
        for i, raw in enumerate(raws):
            self._cut(matrix, &raw[0], raw.shape[0] // rows, i * n_groups * group_bytes, rounds)
        self._used += n_all * group_bytes
        self._sources.append(raws)
        return matrix

    cdef int _cut(self, PackedMatrix matrix, const unsigned char *source, size_t row_bytes, size_t offset,
                  bint rounds) except -1:
        cdef size_t step = max(1, PIECE_BYTES // (OX_GROUP_ROWS * row_bytes)) * OX_GROUP_ROWS
        cdef size_t rows = matrix.desc.rows
        cdef size_t n_new = (rows + step - 1) // step
        cdef size_t row = 0
        cdef Piece *pieces = <Piece *>realloc(self._pieces, (self._n_pieces + n_new) * sizeof(Piece))
        cdef Piece *piece
        if pieces == NULL:
            raise MemoryError(f"no memory for {n_new} pieces of a matrix")
        self._pieces = pieces
        while row < rows:
            piece = &pieces[self._n_pieces]
            piece.type = matrix.desc.type
            piece.k = matrix.desc.k
            piece.rows = <int32_t>min(step, rows - row)
            piece.row_bytes = row_bytes
            piece.group_bytes = matrix.desc.group_bytes
            piece.rounds = rounds
            piece.source = source + row * row_bytes
            piece.out = <unsigned char *>matrix.desc.data + offset + row // OX_GROUP_ROWS * matrix.desc.group_bytes
            self._n_pieces += 1
            row += step
        return 0

    def pack(self, advance: Callable[[int], None], Team team=None):
        """Packs what has been added, with the team or alone. `advance` is told the bytes read since it was last called,
        and may raise."""
        cdef ox_team *packers = team.here() if team is not None else NULL
        cdef Pack work
        cdef size_t first, widest = 0
        cdef size_t n_places = packers.size if packers != NULL else 1
        work.kernels = active_kernels()
        work.pages = &self._pages.c
        work.consume = self._consume
        for first in range(self._n_pieces):
            if self._pieces[first].rounds:
                widest = max(widest, self._pieces[first].row_bytes)
        # Whole lines, so that no two threads write to one.
        work.rounded_bytes = (widest * OX_GROUP_ROWS + 63) // 64 * 64
        work.rounded = <unsigned char *>malloc(n_places * work.rounded_bytes) if widest > 0 else NULL
        if widest > 0 and work.rounded == NULL:
            raise MemoryError(f"no {n_places * work.rounded_bytes} bytes to round float16 weights in")
        try:
            pack_all(self._pieces, self._n_pieces, &work, packers, advance)
        finally:
            free(work.rounded)
        pages_settle(work.pages)
        self._n_pieces = 0
        self._sources.clear()
