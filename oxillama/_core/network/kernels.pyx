"""Chooses the kernel table of this process, once, at import. The kernels are C (csrc/levels/kernel_body.h)."""

import os

cdef extern from "levels/kernel_levels.h" nogil:
    const ox_kernels *const *ox_compiled_levels
    enum:
        OX_COMPILED_LEVELS
    int ox_level_usable(const ox_kernels *level)

cdef const ox_kernels* _active = NULL


cdef const ox_kernels* active_kernels() noexcept nogil:
    return _active


cdef const ox_kernels* kernels_of(str level) except NULL:
    for i in range(OX_COMPILED_LEVELS):
        if ox_level_usable(ox_compiled_levels[i]) and ox_compiled_levels[i].name.decode() == level:
            return ox_compiled_levels[i]
    raise ValueError(f"instruction-set level {level!r} is not usable here; usable: {', '.join(usable_levels())}")


def compiled_levels():
    return tuple([ox_compiled_levels[i].name.decode() for i in range(OX_COMPILED_LEVELS) if ox_compiled_levels[i]])


def usable_levels():
    return tuple([
        ox_compiled_levels[i].name.decode()
        for i in range(OX_COMPILED_LEVELS)
        if ox_level_usable(ox_compiled_levels[i])
    ])


def active_level():
    return _active.name.decode()


cdef const ox_kernels* _choose() except NULL:
    wanted = os.environ.get("OXILLAMA_ISA")
    usable = usable_levels()
    if not wanted:
        return kernels_of(usable[len(usable) - 1])
    if wanted not in usable:
        known = "is not usable on this machine" if wanted in compiled_levels() else "is unknown"
        raise ImportError(f"OXILLAMA_ISA={wanted!r} {known}; usable levels: {', '.join(usable)}")
    return kernels_of(wanted)


_active = _choose()
