"""The table of operations. A new one is a function and a call of register_rows() or register_work() beside it; the
executor, the program and the lowering know no operation by name."""

from oxillama._core.network.executor cimport OX_MAX_FLOATS, OX_MAX_INTEGERS

cdef dict OPERATIONS = {}


cdef class Operation:
    """The kind of an operation: what runs it, and the names of its parameters."""


cdef Operation register(str name, str label, tuple integers, tuple floats):
    cdef Operation row = Operation.__new__(Operation)
    if name in OPERATIONS:
        raise ValueError(f"operation {name!r} is registered twice")
    if len(integers) > OX_MAX_INTEGERS or len(floats) > OX_MAX_FLOATS:
        raise ValueError(f"operation {name!r} has too many parameters")
    row.name = name
    row.label = label
    row.integers = integers
    row.floats = floats
    OPERATIONS[name] = row
    return row


cdef Operation register_rows(str name, str label, ox_rows_function rows, tuple integers, tuple floats):
    cdef Operation row = register(name, label, integers, floats)
    row.c.rows = rows
    return row


cdef Operation register_work(str name, str label, ox_work_function work, tuple integers, tuple floats):
    cdef Operation row = register(name, label, integers, floats)
    row.c.work = work
    return row


cdef Operation operation_named(str name):
    row = OPERATIONS.get(name)
    if row is None:
        raise ValueError(f"there is no operation {name!r}")
    return row


def is_row_wise(str name):
    """Does an operation of this kind work on each row alone, so that it needs no barrier after its like?"""
    return operation_named(name).c.rows != NULL


def operation_names():
    """The names of all kinds that have been registered."""
    return sorted(OPERATIONS)
