"""Finding llguidance's exported functions; what they are stands in the .pxd."""

from libc.stdlib cimport calloc, free
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlopen, dlsym

cdef extern from "<dlfcn.h>" nogil:
    const int RTLD_NOLOAD

# In the order of llg_functions.
NAMES = (
    "get_version", "constraint_init_set_defaults", "new_tokenizer_v2", "free_tokenizer", "tokenize_bytes",
    "new_matcher", "clone_matcher", "free_matcher", "matcher_get_error", "matcher_is_error", "matcher_is_stopped",
    "matcher_is_accepting", "matcher_get_mask_byte_size", "matcher_compute_mask_into", "matcher_consume_token",
    "matcher_rollback", "matcher_compute_ff_tokens",
)


cdef class Library:
    def __init__(self, str path not None):
        # Only what is loaded already: a second copy would be another library with the same name.
        cdef void *handle = dlopen(path.encode(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)
        cdef llg_functions *table
        cdef void **places
        cdef void *function
        if handle == NULL:
            raise LookupError(f"the module file {path} is not loaded")
        if sizeof(llg_functions) != len(NAMES) * sizeof(void *):
            raise LookupError("the table of functions and its names differ")
        table = <llg_functions *> calloc(1, sizeof(llg_functions))
        if table == NULL:
            raise MemoryError
        places = <void **> table
        missing = []
        for i, name in enumerate(NAMES):
            function = dlsym(handle, b"llg_" + name.encode())
            if function == NULL:
                missing.append(f"llg_{name}")
            places[<Py_ssize_t> i] = function
        # The handle is kept for ever, so that nothing can unload the functions.
        if missing:
            free(table)
            raise LookupError(f"the module file {path} does not export {', '.join(missing)}")
        self.f = table

    @property
    def version(self):
        if self.f == NULL:
            raise ValueError("the library was not found")
        text = self.f.get_version().decode("utf-8", "replace")
        return text.partition("@")[2].partition(" ")[0]
