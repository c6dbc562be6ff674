"""Row operations of several streams that run through a network side by side (AltUp, Baykal et al. 2023,
arXiv:2301.13310), each a stretch of one row; and a threshold from the statistics of a row."""

from libc.math cimport sqrt
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from oxillama._core.network.executor cimport ox_batch, ox_op, ox_program, row_of
from oxillama._core.network.operations cimport register_rows


cdef double square_sum(int32_t n, const float *x) noexcept nogil:
    # One after another, in double: not in the innermost loop of anything.
    cdef double total = 0
    cdef int32_t i
    for i in range(n):
        total += <double>x[i] * x[i]
    return total


cdef void match_magnitude(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                          int32_t last) noexcept nogil:
    # dst = src[0], made as long as src[1]; a row without length stays as it is
    cdef int32_t row, width = program.buffers[op.dst[0]].width
    cdef double found, wanted
    for row in range(first, last):
        found = square_sum(width, row_of(program, op.src[0], row))
        wanted = square_sum(width, row_of(program, op.src[1], row))
        program.kernels.scale(width, <float>sqrt(wanted / found) if found > 0 else 1, row_of(program, op.src[0], row),
                              row_of(program, op.dst[0], row))


cdef void join_streams(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                       int32_t last) noexcept nogil:
    # dst = the n sources, one after another
    cdef int32_t row, j, n = op.integers[0], width = program.buffers[op.dst[0]].width // op.integers[0]
    for row in range(first, last):
        for j in range(n):
            memcpy(row_of(program, op.dst[0], row) + j * width, row_of(program, op.src[j], row), width * sizeof(float))


cdef void mix_streams(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                      int32_t last) noexcept nogil:
    # dst: each of n streams of src[0], plus all of them times its n factors in src[1]
    cdef int32_t row, to, of, n = op.integers[0], width = program.buffers[op.dst[0]].width // op.integers[0]
    cdef const float *streams
    cdef const float *factors
    cdef float *out
    for row in range(first, last):
        streams = row_of(program, op.src[0], row)
        factors = row_of(program, op.src[1], row)
        for to in range(n):
            out = row_of(program, op.dst[0], row) + to * width
            program.kernels.add_scaled(width, streams + to * width, factors[to * n], streams, out)
            for of in range(1, n):
                program.kernels.add_scaled(width, out, factors[to * n + of], streams + of * width, out)


cdef void add_to_streams(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                         int32_t last) noexcept nogil:
    # dst = src[0], to whose streams from `begin` on src[1] is added; if it weighs, one more time than src[2] says
    cdef int32_t row, j, n = op.integers[0], width = program.buffers[op.dst[0]].width // op.integers[0]
    cdef const float *streams
    cdef float *out
    for row in range(first, last):
        streams = row_of(program, op.src[0], row)
        out = row_of(program, op.dst[0], row)
        for j in range(n):
            if j < op.integers[1]:
                memcpy(out + j * width, streams + j * width, width * sizeof(float))
            elif op.integers[2]:
                program.kernels.add_scaled(width, streams + j * width, row_of(program, op.src[2], row)[j] + 1,
                                           row_of(program, op.src[1], row), out + j * width)
            else:
                program.kernels.add(width, streams + j * width, row_of(program, op.src[1], row), out + j * width)


cdef void above_deviations(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                           int32_t last) noexcept nogil:
    # dst: what src has above its mean plus `factor` standard deviations, else 0
    cdef int32_t row, i, width = program.buffers[op.dst[0]].width
    cdef double mean, deviation
    cdef float bound, above
    cdef const float *x
    cdef float *out
    for row in range(first, last):
        x = row_of(program, op.src[0], row)
        out = row_of(program, op.dst[0], row)
        mean = 0
        for i in range(width):
            mean += x[i]
        mean /= width
        deviation = 0
        for i in range(width):
            deviation += (x[i] - mean) * (x[i] - mean)
        bound = <float>(mean + op.floats[0] * sqrt(deviation / max(1, width - 1)))
        for i in range(width):
            above = x[i] - bound
            out[i] = above if above > 0 or above != above else 0


register_rows("join_streams", "streams", join_streams, ("n",), ())
register_rows("match_magnitude", "streams", match_magnitude, (), ())
register_rows("mix_streams", "streams", mix_streams, ("n",), ())
register_rows("add_to_streams", "streams", add_to_streams, ("n", "begin", "weighs"), ())
register_rows("above_deviations", "activation", above_deviations, (), ("factor",))
