"""The Python end of a request: makes it, submits it, reads its output."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.network.adapter cimport AdapterSet
from oxillama._core.output.output cimport ox_output
from oxillama._core.output.prompt_scores cimport ox_prompt_scores
from oxillama._core.request cimport ox_request
from oxillama._core.scheduling.worker cimport Worker

cdef class Handle:
    cdef ox_request *request
    cdef ox_output *output
    cdef readonly Worker worker
    cdef AdapterSet _adapters
    # What take() has handed out.
    cdef int32_t _num_taken
    cdef int64_t _text_taken
    cdef bint _finish_taken
    cdef object _event(self, int32_t i)
    cdef str _text(self, int64_t end)
    cdef ox_prompt_scores *_scores(self) except NULL
