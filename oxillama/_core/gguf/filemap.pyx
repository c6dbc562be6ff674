"""The bytes of one file, mapped or copied, kept alive as long as anything points into them. Knows no file format."""

import mmap
import os
import stat

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITE,
    PyBuffer_FillInfo,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t
from libc.stdlib cimport free

from oxillama.errors import ModelLoadError

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** memory, size_t alignment, size_t size)


cdef class FileMap:
    """Read-only bytes of one file; supports the buffer protocol.

    The memory is released when the last buffer taken from it is gone. A mapped file that another process truncates
    meanwhile cannot be read safely by anybody; open it with ``use_mmap=False`` where that may happen.
    """

    def __dealloc__(self):
        PyBuffer_Release(&self._view)
        free(self._copy)

    @staticmethod
    def open(path, *, bint use_mmap=True):
        """Map the file, or copy it into memory.

        Raises OSError when the file cannot be opened, ModelLoadError when it is empty or no regular file.
        """
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ModelLoadError(f"{os.fspath(path)}: expected a regular file, found a directory or a device")
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise ModelLoadError(f"{os.fspath(path)}: expected a GGUF file, found an empty file")
            if use_mmap:
                return of_mapping(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return of_reader(file.readinto, size, os.fspath(path))

    @staticmethod
    def of_bytes(data):
        """Copy ``data`` (any buffer) into memory of exactly its size; for tests and for files already in memory."""
        source = memoryview(data).cast("B")

        def read(target):
            target[:] = source
            return len(source)

        return of_reader(read, len(source), "<bytes>")

    def __len__(self):
        return self.size

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void*> self.base, self.size, 1, flags)

    def __releasebuffer__(self, Py_buffer* buffer):
        pass


cdef FileMap of_mapping(object mapping):
    cdef FileMap file = FileMap.__new__(FileMap)
    PyObject_GetBuffer(mapping, &file._view, PyBUF_SIMPLE)
    file.base = <const uint8_t*> file._view.buf
    file.size = file._view.len
    return file


cdef FileMap of_reader(object readinto, Py_ssize_t size, object path):
    cdef FileMap file = FileMap.__new__(FileMap)
    if posix_memalign(&file._copy, 64, max(size, 1)) != 0:
        file._copy = NULL
        raise MemoryError(f"{path}: no memory for a copy of {size} bytes")
    cdef Py_ssize_t filled = 0
    with PyMemoryView_FromMemory(<char*> file._copy, size, PyBUF_WRITE) as target:
        while filled < size:
            n_read = readinto(target[filled:])
            if not n_read:
                raise ModelLoadError(f"{path}: expected {size} bytes, found {filled}: the file shrank while read")
            filled += n_read
    file.base = <const uint8_t*> file._copy
    file.size = size
    return file
