"""Has nothing for Python: the worker calls it."""
