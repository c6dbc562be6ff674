from libc.stdint cimport uint8_t, uint32_t, uint64_t

from oxillama._core.gguf.filemap cimport FileMap

cdef enum:
    GGUF_MAX_DIMS = 4


cdef class TensorInfo:
    cdef FileMap file
    cdef str path                     # of the file, for error messages
    cdef readonly str name
    cdef uint64_t[GGUF_MAX_DIMS] ne   # values along each axis, fastest first; 1 beyond n_dims
    cdef readonly uint32_t n_dims     # 1 to 4
    cdef readonly uint32_t type_id
    cdef readonly bint is_known       # the type is in the table; otherwise address is valid, but the size unknown
    cdef readonly uint64_t offset     # of the data, bytes from the start of the shard's file
    cdef readonly uint32_t shard      # index of the file
    cdef uint64_t byte_count          # 0 when the size is unknown
    cdef uint64_t row_bytes           # bytes of ne[0] values; 0 when the size is unknown
    cdef const uint8_t* address       # of the data; aligned to general.alignment (at least 8 bytes), up to 64 bytes


cdef class GGUFShard:
    cdef FileMap file
    cdef readonly str path            # as given, for error messages
    cdef readonly uint32_t index      # number of the file in a split model, from 0
    cdef readonly uint32_t version    # 2 or 3
    cdef readonly uint64_t alignment  # bytes
    cdef readonly list tensors        # of TensorInfo, in file order
    cdef dict entries                 # key -> (value type, first byte, end byte, name of the type)

    cdef object head(self)            # a view of the bytes up to the end of the metadata
