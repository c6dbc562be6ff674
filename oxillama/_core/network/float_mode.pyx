"""The floating-point mode of the calling thread while results depend on it."""

from libc.stdint cimport uint64_t

from oxillama._core.network.executor cimport ox_default_fp_mode, ox_restore_fp_mode


cdef class DefaultFloatMode:
    """`with DefaultFloatMode():` rounds to nearest and keeps denormals, whatever mode a host library left behind; the
    former mode returns afterwards."""

    cdef uint64_t _before

    def __enter__(self):
        self._before = ox_default_fp_mode()

    def __exit__(self, kind, error, trace):
        ox_restore_fp_mode(self._before)
