"""The kinds of operations that a program can consist of: one row each, registered by the module that implements it."""

from oxillama._core.network.executor cimport ox_operation, ox_rows_function, ox_work_function

# The row of a kind, and how the parameters of an operation are numbered.
cdef class Operation:
    cdef ox_operation c
    cdef readonly str name        # by which lowering names it
    cdef readonly str label       # by which a profile groups it
    cdef readonly tuple integers  # names, in the order of ox_op.integers
    cdef readonly tuple floats    # the same of ox_op.floats

# Called when a module is imported; a name is registered once. `label` is what a profile says, `integers` and `floats`
# name the parameters.
cdef Operation register_rows(str name, str label, ox_rows_function rows, tuple integers, tuple floats)
cdef Operation register_work(str name, str label, ox_work_function work, tuple integers, tuple floats)
cdef Operation operation_named(str name)
